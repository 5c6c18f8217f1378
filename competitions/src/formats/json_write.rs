//! JSON as Python's `json.dump` and pandas' `to_json` write it.

use std::io::{self, Write};

use super::{FormatError, Json};
use crate::frame::PythonFloat;

/// The layout of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonStyle {
    /// `json.dump(value)`: one line, `, ` and `: ` between parts.
    Compact,
    /// `json.dump(value, indent=4)`.
    Indented,
    /// `json.dump(value, indent=4, sort_keys=True)`.
    IndentedSorted,
    /// `to_json(orient="records", lines=True)`: no blanks, `\/`, at most 10 decimals.
    Pandas,
}

/// A value that is written piece by piece, so that a long list need not be in memory.
pub enum JsonStream<'a> {
    /// A value that is at hand.
    Value(Json),
    /// The elements of an array as they come.
    List(Box<dyn Iterator<Item = Result<Json, FormatError>> + 'a>),
    /// An object of such values.
    Object(Vec<(String, JsonStream<'a>)>),
}

/// Why a stream could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonWriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl Json {
    /// The value as a JSON text.
    pub fn dump(&self, style: JsonStyle) -> String {
        let mut out = Vec::new();
        self.write(&mut out, style, 0).expect("writing to memory cannot fail");
        String::from_utf8(out).expect("JSON is written in ASCII")
    }

    fn write(&self, out: &mut impl Write, style: JsonStyle, depth: usize) -> io::Result<()> {
        match self {
            Self::Null => out.write_all(b"null"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Float(value) => match style {
                JsonStyle::Pandas => pandas_float(out, *value),
                _ => python_float(out, *value),
            },
            Self::Text(text) => string(out, text, style),
            Self::List(items) => {
                let mut layout = Layout::open(out, style, depth, b'[')?;
                for item in items {
                    layout.next(out)?;
                    item.write(out, style, depth + 1)?;
                }
                layout.close(out, b']')
            }
            Self::Object(fields) => {
                let mut sorted: Vec<&(String, Self)> = fields.iter().collect();
                if style == JsonStyle::IndentedSorted {
                    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                let mut layout = Layout::open(out, style, depth, b'{')?;
                for (key, value) in sorted {
                    layout.next(out)?;
                    layout.key(out, key)?;
                    value.write(out, style, depth + 1)?;
                }
                layout.close(out, b'}')
            }
        }
    }
}

impl JsonStream<'_> {
    pub(crate) fn write(
        self,
        out: &mut impl Write,
        style: JsonStyle,
    ) -> Result<(), JsonWriteError> {
        self.write_at(out, style, 0)
    }

    fn write_at(
        self,
        out: &mut impl Write,
        style: JsonStyle,
        depth: usize,
    ) -> Result<(), JsonWriteError> {
        match self {
            Self::Value(value) => value.write(out, style, depth)?,
            Self::List(items) => {
                let mut layout = Layout::open(out, style, depth, b'[')?;
                for item in items {
                    layout.next(out)?;
                    item?.write(out, style, depth + 1)?;
                }
                layout.close(out, b']')?;
            }
            Self::Object(mut fields) => {
                if style == JsonStyle::IndentedSorted {
                    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                let mut layout = Layout::open(out, style, depth, b'{')?;
                for (key, value) in fields {
                    layout.next(out)?;
                    layout.key(out, &key)?;
                    value.write_at(out, style, depth + 1)?;
                }
                layout.close(out, b'}')?;
            }
        }
        Ok(())
    }
}

/// The signs between the parts of an array or object.
struct Layout {
    style: JsonStyle,
    depth: usize,
    first: bool,
}

impl Layout {
    fn open(out: &mut impl Write, style: JsonStyle, depth: usize, sign: u8) -> io::Result<Self> {
        out.write_all(&[sign])?;
        Ok(Self { style, depth, first: true })
    }

    fn is_indented(&self) -> bool {
        matches!(self.style, JsonStyle::Indented | JsonStyle::IndentedSorted)
    }

    fn line(&self, out: &mut impl Write, depth: usize) -> io::Result<()> {
        write!(out, "\n{:width$}", "", width = 4 * depth)
    }

    fn next(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.first {
            out.write_all(if self.style == JsonStyle::Compact { b", " } else { b"," })?;
        }
        self.first = false;
        if self.is_indented() { self.line(out, self.depth + 1) } else { Ok(()) }
    }

    fn key(&self, out: &mut impl Write, key: &str) -> io::Result<()> {
        string(out, key, self.style)?;
        out.write_all(if self.style == JsonStyle::Pandas { b":" } else { b": " })
    }

    fn close(self, out: &mut impl Write, sign: u8) -> io::Result<()> {
        if self.is_indented() && !self.first {
            self.line(out, self.depth)?;
        }
        out.write_all(&[sign])
    }
}

fn string(out: &mut impl Write, text: &str, style: JsonStyle) -> io::Result<()> {
    out.write_all(b"\"")?;
    let plain = |byte: u8| match byte {
        b'"' | b'\\' => false,
        // Python escapes the delete sign and leaves the slash, pandas the other way round.
        b'/' => style != JsonStyle::Pandas,
        0x7f => style == JsonStyle::Pandas,
        _ => matches!(byte, 0x20..=0x7e),
    };
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.bytes().position(|byte| !plain(byte)).unwrap_or(rest.len());
        out.write_all(&rest.as_bytes()[..length])?;
        let mut chars = rest[length..].chars();
        if let Some(c) = chars.next() {
            match c {
                '"' | '\\' | '/' => write!(out, "\\{c}")?,
                '\n' => out.write_all(b"\\n")?,
                '\r' => out.write_all(b"\\r")?,
                '\t' => out.write_all(b"\\t")?,
                '\u{8}' => out.write_all(b"\\b")?,
                '\u{c}' => out.write_all(b"\\f")?,
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        rest = chars.as_str();
    }
    out.write_all(b"\"")
}

fn python_float(out: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_nan() {
        return out.write_all(b"NaN");
    }
    if value.is_infinite() {
        return out.write_all(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    write!(out, "{}", PythonFloat(value))
}

/// # Source
/// pandas 2.2.3 `ultrajsonenc.c`, `Buffer_AppendDoubleUnchecked`, with 10 decimals.
fn pandas_float(out: &mut impl Write, value: f64) -> io::Result<()> {
    const SCALE: f64 = 1e10;
    if !value.is_finite() {
        return out.write_all(b"null");
    }
    let magnitude = value.abs();
    if magnitude > 9_999_999_999_999_999.0 || magnitude > 0.0 && magnitude < 1e-15 {
        return crate::frame::FloatFormat::General(10).print(out, value);
    }
    let mut whole = magnitude.floor();
    let scaled = (magnitude - whole) * SCALE;
    let mut fraction = scaled.floor();
    let rest = scaled - fraction;
    if rest > 0.5 || rest == 0.5 && (fraction == 0.0 || fraction % 2.0 == 1.0) {
        fraction += 1.0;
    }
    if fraction >= SCALE {
        fraction = 0.0;
        whole += 1.0;
    }
    let digits = format!("{:010}", fraction as u64);
    let digits = digits.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    write!(out, "{sign}{}.{}", whole as u64, if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::NumberRules;

    fn value(text: &str) -> Json {
        Json::parse(text.as_bytes(), "t.json", NumberRules::Python).unwrap()
    }

    #[test]
    fn dumps_as_python() {
        let sample =
            value(r#"{"b":[1.0,1e-5,"é/😀\u0001\u007f"],"a":{},"c":[],"d":{"y":null,"x":true}}"#);
        assert_eq!(
            sample.dump(JsonStyle::Compact),
            r#"{"b": [1.0, 1e-05, "\u00e9/\ud83d\ude00\u0001\u007f"], "a": {}, "c": [], "d": {"y": null, "x": true}}"#
        );
        let sorted = value(r#"{"b":[1,{}],"a":[]}"#);
        assert_eq!(
            sorted.dump(JsonStyle::IndentedSorted),
            "{\n    \"a\": [],\n    \"b\": [\n        1,\n        {}\n    ]\n}"
        );
        assert_eq!(
            sorted.dump(JsonStyle::Indented),
            "{\n    \"b\": [\n        1,\n        {}\n    ],\n    \"a\": []\n}"
        );
    }

    #[test]
    fn a_stream_is_written_like_its_value() {
        let whole = value(r#"{"images":[{"id":1},{"id":2}],"info":{"a":[]}}"#);
        for style in
            [JsonStyle::Compact, JsonStyle::Indented, JsonStyle::IndentedSorted, JsonStyle::Pandas]
        {
            let items = whole.get("images").and_then(Json::as_list).unwrap().to_vec();
            let stream = JsonStream::Object(vec![
                ("images".into(), JsonStream::List(Box::new(items.into_iter().map(Ok)))),
                ("info".into(), JsonStream::Value(whole.get("info").unwrap().clone())),
            ]);
            let mut out = Vec::new();
            stream.write(&mut out, style).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), whole.dump(style));
        }
    }

    #[test]
    fn prints_floats_as_pandas() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (0.00000000004, "0.0"),
            (0.1 + 0.2, "0.3"),
            (0.99999999999, "1.0"),
            (1e17, "1e+17"),
            (1.5e-16, "1.5e-16"),
            (f64::NAN, "null"),
        ];
        for (value, text) in cases {
            let mut out = Vec::new();
            pandas_float(&mut out, value).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text, "{value:?}");
        }
    }
}
