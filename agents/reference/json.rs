//! JSON, as far as language models and services need it: a value, a parser, a writer.

use std::fmt::Write as _;

/// Deeper nesting is refused: nothing here needs it, and a stack is finite.
const DEEPEST: usize = 100;

/// A JSON value. Objects keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn object<const N: usize>(entries: [(&str, Json); N]) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The value of a key; null for what is absent or no object.
    pub(crate) fn get(&self, key: &str) -> &Self {
        let Self::Object(entries) = self else { return &Self::Null };
        entries.iter().find(|(name, _)| name == key).map_or(&Self::Null, |(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Object(entries) = self else { return None };
        entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// Reads one value and nothing after it.
    ///
    /// # Errors
    /// What is wrong, with the byte where it is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { bytes: text.as_bytes(), at: 0 };
        let value = parser.value(0)?;
        parser.space();
        match parser.at == parser.bytes.len() {
            true => Ok(value),
            false => Err(parser.wrong("the end")),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            // JSON has no infinities.
            Self::Number(number) if number.is_finite() => {
                let _ = write!(out, "{number}");
            }
            Self::Number(_) => out.push_str("null"),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self, expected: &str) -> String {
        format!("expected {expected} at byte {}", self.at)
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|b| b" \t\r\n".contains(b)) {
            self.at += 1;
        }
    }

    /// Steps over `word` if it comes next.
    fn took(&mut self, word: &str) -> bool {
        let comes = self.bytes[self.at..].starts_with(word.as_bytes());
        self.at += if comes { word.len() } else { 0 };
        comes
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEEPEST {
            return Err(self.wrong("less nesting"));
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.took("true") => Ok(Json::Bool(true)),
            _ if self.took("false") => Ok(Json::Bool(false)),
            _ if self.took("null") => Ok(Json::Null),
            _ => Err(self.wrong("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.space();
            if entries.is_empty() && self.took("}") {
                return Ok(Json::Object(entries));
            }
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.wrong("a key"));
            }
            let key = self.string()?;
            self.space();
            if !self.took(":") {
                return Err(self.wrong("`:`"));
            }
            entries.push((key, self.value(depth + 1)?));
            self.space();
            if self.took("}") {
                return Ok(Json::Object(entries));
            }
            if !self.took(",") {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            if items.is_empty() && self.took("]") {
                return Ok(Json::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.space();
            if self.took("]") {
                return Ok(Json::List(items));
            }
            if !self.took(",") {
                return Err(self.wrong("`,` or `]`"));
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|b| b"+-.eE0123456789".contains(b)) {
            self.at += 1;
        }
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]);
        text.parse().map(Json::Number).map_err(|_| format!("`{text}` at byte {start} is no number"))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(&byte) = self.bytes.get(self.at) else { return Err(self.wrong("`\"`")) };
            self.at += 1;
            match byte {
                // The input is UTF-8, and escapes add whole characters.
                b'"' => return String::from_utf8(out).map_err(|error| error.to_string()),
                b'\\' => {
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => out.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.wrong("an escape")) };
        self.at += 1;
        Ok(match byte {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' => char::from(byte),
            b'u' => {
                let first = self.unit()?;
                let is_half = (0xd800..0xdc00).contains(&first);
                let code = if is_half && self.took("\\u") {
                    let second = self.unit()?;
                    0x10000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff)
                } else {
                    first
                };
                // Half of a pair alone stands for no character.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.wrong("an escape")),
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let code = std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.filter(|_| digits.len() == 4).ok_or_else(|| self.wrong("four digits"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = Json::object([
            ("text", Json::text("a \"quoted\" line\nand \u{1f600} \\ \u{1}")),
            ("list", Json::List(vec![Json::Null, Json::Bool(true), Json::Number(-2.5e-3)])),
            ("empty", Json::Object(Vec::new())),
            ("whole", Json::Number(12.0)),
        ]);
        let text = value.to_string();
        assert!(text.contains("\"whole\":12}"), "{text}");
        assert_eq!(Json::parse(&text).unwrap(), value);
        assert_eq!(Json::Number(f64::NAN).to_string(), "null");
    }

    #[test]
    fn other_writers_are_read() {
        let value = Json::parse(" { \"a\" : [ 1 , 2.0e1 ] , \"b\":\"\\u00e4\\ud83d\\ude00\\/\" } ");
        let value = value.unwrap();
        assert_eq!(value.get("a").items()[1].as_f64(), Some(20.0));
        assert_eq!(value.get("b").as_str(), Some("ä😀/"));
        assert_eq!(Json::parse("\"\\ud83d\"").unwrap().as_str(), Some("\u{fffd}"));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let deep = "[".repeat(5000);
        for text in
            ["", "{", "{\"a\"", "{\"a\":}", "[1,]", "\"\\x\"", "\"\\u12", "1 2", "nul", "-", &deep]
        {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
