//! JSON values that keep what Python keeps: the order of keys, all digits of integers, and which
//! numbers were floats.

use std::borrow::Cow;
use std::collections::HashMap;

use super::FormatError;

/// How the numbers of a text become doubles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberRules {
    /// Python's `json`: correctly rounded.
    #[default]
    Python,
    /// pandas' `read_json`: whole and fraction digits apart, at most 15 of the latter.
    Pandas,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without point or exponent.
    Int(i128),
    /// Any other number; also Python's `NaN` and `Infinity`.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object in the order of its text; of equal keys the last value counts, in the first's
    /// place.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a UTF-8 text; messages call it `file`.
    ///
    /// # Errors
    /// With the place and what was expected there.
    pub fn parse(text: &[u8], file: &str, numbers: NumberRules) -> Result<Self, FormatError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut parser = Parser { text, at: 0, file, numbers, depth: 0 };
        parser.blanks();
        let value = parser.value()?;
        parser.blanks();
        if parser.at < text.len() {
            return Err(parser.wrong("expected the end of the text"));
        }
        Ok(value)
    }

    /// The value under a key of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => {
                fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Replaces the value under a key in its place, or appends it. Does nothing to what is no
    /// object.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        if let Self::Object(fields) = self {
            match fields.iter_mut().find(|(name, _)| name == key) {
                Some((_, old)) => *old = value.into(),
                None => fields.push((key.to_owned(), value.into())),
            }
        }
    }

    /// Takes the value under a key out of an object.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        match self {
            Self::Object(fields) => {
                let place = fields.iter().position(|(name, _)| name == key)?;
                Some(fields.remove(place).1)
            }
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The fields of an object.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// The value under a key, which must be there.
    ///
    /// # Errors
    /// When this is no object or has no such key; `file` is named.
    pub fn field(&self, key: &str, file: &str) -> Result<&Self, FormatError> {
        self.get(key).ok_or_else(|| shape(file, format!("an object with the key `{key}`")))
    }

    /// The text under a key, which must be there.
    ///
    /// # Errors
    /// When there is none; `file` is named.
    pub fn text(&self, key: &str, file: &str) -> Result<&str, FormatError> {
        self.field(key, file)?
            .as_str()
            .ok_or_else(|| shape(file, format!("text under the key `{key}`")))
    }

    /// The integer under a key, which must be there.
    ///
    /// # Errors
    /// When there is none; `file` is named.
    pub fn int(&self, key: &str, file: &str) -> Result<i128, FormatError> {
        self.field(key, file)?
            .as_int()
            .ok_or_else(|| shape(file, format!("an integer under the key `{key}`")))
    }

    /// The array under a key, which must be there.
    ///
    /// # Errors
    /// When there is none; `file` is named.
    pub fn list(&self, key: &str, file: &str) -> Result<&[Self], FormatError> {
        self.field(key, file)?
            .as_list()
            .ok_or_else(|| shape(file, format!("a list under the key `{key}`")))
    }

    /// The elements of an array.
    ///
    /// # Errors
    /// When it is none; `file` is named.
    pub fn into_list(self, file: &str) -> Result<Vec<Self>, FormatError> {
        match self {
            Self::List(items) => Ok(items),
            _ => Err(shape(file, "a list".to_owned())),
        }
    }

    /// The key and value texts of ids: strings as they are, integers in digits.
    pub fn to_id(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Int(value) => Some(value.to_string().into()),
            _ => None,
        }
    }
}

fn shape(file: &str, expected: String) -> FormatError {
    FormatError::Shape { file: file.to_owned(), expected, place: String::new() }
}

macro_rules! json_from {
    ($($type:ty, $value:ident => $json:expr;)*) => {
        $(impl From<$type> for Json {
            fn from($value: $type) -> Self {
                $json
            }
        })*
    };
}

json_from! {
    bool, value => Self::Bool(value);
    i64, value => Self::Int(value.into());
    usize, value => Self::Int(value as i128);
    f64, value => Self::Float(value);
    &str, value => Self::Text(value.to_owned());
    String, value => Self::Text(value);
    Vec<Json>, value => Self::List(value);
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    file: &'a str,
    numbers: NumberRules,
    depth: usize,
}

impl Parser<'_> {
    fn wrong(&self, what: impl Into<String>) -> FormatError {
        FormatError::Json { file: self.file.to_owned(), at: self.at as u64, what: what.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, FormatError> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self) -> Result<Json, FormatError> {
        const DEEPEST: usize = 200;
        match self.peek() {
            None => Err(self.wrong("expected a value, found the end of the text")),
            Some(b'{' | b'[') if self.depth == DEEPEST => {
                Err(self.wrong("values are nested too deeply"))
            }
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'N') => self.word("NaN", Json::Float(f64::NAN)),
            Some(b'I') => self.word("Infinity", Json::Float(f64::INFINITY)),
            Some(b'-') if self.text[self.at..].starts_with(b"-I") => {
                self.word("-Infinity", Json::Float(f64::NEG_INFINITY))
            }
            Some(_) => self.number(),
        }
    }

    fn nested(
        &mut self,
        parse: fn(&mut Self) -> Result<Json, FormatError>,
    ) -> Result<Json, FormatError> {
        self.depth += 1;
        self.at += 1;
        self.blanks();
        let value = parse(self);
        self.depth -= 1;
        value
    }

    /// After an element: whether another follows.
    fn goes_on(&mut self, close: u8) -> Result<bool, FormatError> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.blanks();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wrong(format!("expected `,` or `{}`", close as char))),
        }
    }

    fn list(&mut self) -> Result<Json, FormatError> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if !self.goes_on(b']')? {
                return Ok(Json::List(items));
            }
        }
    }

    fn object(&mut self) -> Result<Json, FormatError> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a key in quotes"));
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.wrong("expected `:`"));
            }
            self.at += 1;
            self.blanks();
            let value = self.value()?;
            fields.push((key, value));
            if !self.goes_on(b'}')? {
                // There may be hundreds of thousands of small objects.
                fields.shrink_to_fit();
                return Ok(Json::Object(last_of_equal_keys(fields)));
            }
        }
    }

    fn string(&mut self) -> Result<String, FormatError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.wrong("expected a closing quote"));
            };
            text.extend_from_slice(&rest[..length]);
            self.at += length + 1;
            if rest[length] == b'"' {
                return String::from_utf8(text).map_err(|_| self.wrong("expected UTF-8 text"));
            }
            let escaped = self.peek().ok_or_else(|| self.wrong("expected an escape"))?;
            self.at += 1;
            let plain = match escaped {
                b'"' | b'\\' | b'/' => escaped,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let c = self.unicode()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(self.wrong("there is no such escape")),
            };
            text.push(plain);
        }
    }

    fn unicode(&mut self) -> Result<char, FormatError> {
        let unit = self.hex()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit)
                .ok_or_else(|| self.wrong("half of a surrogate pair stands alone"));
        }
        if !self.text[self.at..].starts_with(b"\\u") {
            return Err(self.wrong("half of a surrogate pair stands alone"));
        }
        self.at += 2;
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(self.wrong("half of a surrogate pair stands alone"));
        }
        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(code).expect("a surrogate pair is a character"))
    }

    fn hex(&mut self) -> Result<u32, FormatError> {
        let digits =
            self.text.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let unit = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = unit.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.wrong("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Json, FormatError> {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..length]).expect("these bytes are ASCII");
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let starts_well = unsigned.starts_with(|c: char| c.is_ascii_digit());
        let padded = unsigned.len() > 1
            && unsigned.starts_with('0')
            && unsigned.as_bytes()[1].is_ascii_digit();
        if !starts_well || padded {
            return Err(self.wrong("expected a value"));
        }
        let value = if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok().map(Json::Int)
        } else {
            match self.numbers {
                NumberRules::Python => text.parse().ok(),
                NumberRules::Pandas => pandas_float(text),
            }
            .map(Json::Float)
        };
        let value =
            value.ok_or_else(|| self.wrong(format!("expected a number, found `{text}`")))?;
        self.at += length;
        Ok(value)
    }
}

/// Of equal keys the last value, in the place of the first, as in a Python dictionary.
fn last_of_equal_keys(fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(fields.len());
    if fields.iter().enumerate().all(|(place, (key, _))| places.insert(key, place).is_none()) {
        return fields;
    }
    let mut unique: Vec<(String, Json)> = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        match unique.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => unique.push((key, value)),
        }
    }
    unique
}

/// # Source
/// pandas 2.2.3 `ultrajsondec.c`, `decode_numeric`, without `precise_float`.
fn pandas_float(text: &str) -> Option<f64> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut value = whole as f64;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if !fraction.is_empty() {
        let used = fraction.len().min(15);
        let digits = fraction
            .bytes()
            .take(used)
            .fold(0.0, |sum, digit| sum * 10.0 + f64::from(digit - b'0'));
        let scale: f64 = format!("1e-{used}").parse().expect("a power of ten is a number");
        value += digits * scale;
    }
    value *= sign;
    match exponent {
        None => Some(value),
        Some(exponent) => {
            let exponent: i32 = exponent.parse().ok()?;
            Some(value * 10f64.powi(exponent))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json, FormatError> {
        Json::parse(text.as_bytes(), "t.json", NumberRules::Python)
    }

    #[test]
    fn keeps_order_kinds_and_digits() {
        let value = parse(
            r#" {"b": [1, -0, 1.50, 1E-5, null], "a": "\u00e9\ud83d\ude00\/", "b2": 18446744073709551616} "#,
        );
        let expected = Json::Object(vec![
            (
                "b".into(),
                Json::List(vec![
                    Json::Int(1),
                    Json::Int(0),
                    Json::Float(1.5),
                    Json::Float(1e-5),
                    Json::Null,
                ]),
            ),
            ("a".into(), Json::Text("é😀/".into())),
            ("b2".into(), Json::Int(18_446_744_073_709_551_616)),
        ]);
        assert_eq!(value.unwrap(), expected);
    }

    #[test]
    fn of_equal_keys_the_last_value_counts() {
        let value = parse(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
        assert_eq!(
            value,
            Json::Object(vec![("a".into(), Json::Int(3)), ("b".into(), Json::Int(2))])
        );
    }

    #[test]
    fn mistakes_are_located() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "+1",
            ".5",
            "1.e",
            "tru",
            "\"\\ud83d\"",
            "\"\\x\"",
            "1 2",
            "\"a",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with("`t.json` is no valid JSON at byte "), "{text}: {message}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn pandas_rounds_in_its_own_way() {
        assert_eq!(pandas_float("0.3297"), Some(3297.0 * 0.0001));
        assert_eq!(pandas_float("-2.5"), Some(-2.5));
        assert_eq!(pandas_float("1.5e3"), Some(1500.0));
    }
}
