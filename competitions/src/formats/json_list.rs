//! Long JSON lists and objects on disk, of which one element at a time is in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use medalist_grading::platform;

use super::{FormatError, Json, NumberRules};

/// A file with a JSON list; where each element begins is known, elements are parsed when they are
/// wanted.
#[derive(Debug)]
pub struct JsonList {
    text: JsonText,
    /// Begin and length of the elements.
    elements: Vec<(u64, usize)>,
}

/// Parts of a file, parsed when they are wanted.
#[derive(Clone, Debug)]
struct JsonText {
    file: Arc<File>,
    name: String,
    encoding: JsonEncoding,
}

/// How a file stores its characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonEncoding {
    /// As JSON asks for.
    #[default]
    Utf8,
    /// A byte a character, the first 256 of Unicode.
    Latin1,
}

impl JsonText {
    fn open(path: &Path, name: &str, encoding: JsonEncoding) -> Result<Self, FormatError> {
        let io = |source| FormatError::Io { action: "read", file: name.to_owned(), source };
        Ok(Self { file: Arc::new(File::open(path).map_err(io)?), name: name.to_owned(), encoding })
    }

    /// A stream from a place on.
    fn from(&self, begin: u64) -> Result<impl BufRead + '_, FormatError> {
        let io = |source| FormatError::Io { action: "read", file: self.name.clone(), source };
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(begin)).map_err(io)?;
        Ok(BufReader::with_capacity(1 << 20, file))
    }

    fn part(&self, begin: u64, length: usize) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![0; length];
        let io = |source| FormatError::Io { action: "read", file: self.name.clone(), source };
        platform::read_exact_at(&self.file, &mut bytes, begin).map_err(io)?;
        Ok(match self.encoding {
            JsonEncoding::Utf8 => bytes,
            JsonEncoding::Latin1 => {
                bytes.iter().map(|&byte| byte as char).collect::<String>().into_bytes()
            }
        })
    }

    fn value(&self, begin: u64, length: usize) -> Result<Json, FormatError> {
        let text = self.part(begin, length)?;
        Json::parse(&text, &self.name, NumberRules::Python).map_err(|error| match error {
            FormatError::Json { file, at, what } => {
                FormatError::Json { file, at: begin + at, what }
            }
            other => other,
        })
    }
}

/// A file with a JSON object of large values; they are parsed when they are wanted.
#[derive(Debug)]
pub struct JsonObject {
    text: JsonText,
    /// Keys with begin and length of their values.
    fields: Vec<(String, u64, usize)>,
}

impl JsonObject {
    /// Opens a file; messages call it `name`.
    ///
    /// # Errors
    /// When the file cannot be read or is no object.
    pub fn open(path: &Path, name: &str, encoding: JsonEncoding) -> Result<Self, FormatError> {
        let text = JsonText::open(path, name, encoding)?;
        let places = element_places(text.from(0)?, name, usize::MAX, b'{')?;
        let fields = places.into_iter().map(|(begin, length)| {
            let wrong = || FormatError::Json {
                file: name.to_owned(),
                at: begin,
                what: "expected `\"key\": value`".to_owned(),
            };
            // A key is short; the value behind it may be most of the file.
            let head = text.part(begin, length.min(4096))?;
            let quote = closing_quote(&head).ok_or_else(wrong)?;
            let key = Json::parse(&head[..=quote], name, NumberRules::Python)?;
            let key = key.as_str().ok_or_else(wrong)?.to_owned();
            let colon = head[quote + 1..]
                .iter()
                .position(|byte| !byte.is_ascii_whitespace())
                .ok_or_else(wrong)?;
            let colon = quote + 1 + colon;
            if head[colon] != b':' || colon + 1 >= length {
                return Err(wrong());
            }
            Ok((key, begin + colon as u64 + 1, length - colon - 1))
        });
        Ok(Self { fields: fields.collect::<Result<_, FormatError>>()?, text })
    }

    /// The keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(key, ..)| key.as_str())
    }

    fn field(&self, key: &str) -> Result<(u64, usize), FormatError> {
        let field = self.fields.iter().rev().find(|(name, ..)| name == key);
        field.map(|&(_, begin, length)| (begin, length)).ok_or_else(|| FormatError::Shape {
            file: self.text.name.clone(),
            expected: format!("an object with the key `{key}`"),
            place: String::new(),
        })
    }

    /// The value under a key.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub fn value(&self, key: &str) -> Result<Json, FormatError> {
        let (begin, length) = self.field(key)?;
        self.text.value(begin, length)
    }

    /// The list under a key.
    ///
    /// # Errors
    /// When there is none.
    pub fn list(&self, key: &str) -> Result<JsonList, FormatError> {
        let (begin, length) = self.field(key)?;
        let stream = self.text.from(begin)?.take(length as u64);
        let places = element_places(stream, &self.text.name, usize::MAX, b'[')?;
        let elements = places.into_iter().map(|(at, length)| (begin + at, length)).collect();
        Ok(JsonList { text: self.text.clone(), elements })
    }
}

/// The place of the quote that closes the text which begins at the first byte.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().enumerate().skip(1).find_map(|(at, &byte)| {
        let closes = !escaped && byte == b'"';
        escaped = !escaped && byte == b'\\';
        closes.then_some(at)
    })
}

impl JsonList {
    /// Opens a file; messages call it `name`.
    ///
    /// # Errors
    /// When the file cannot be read or is no list.
    pub fn open(path: &Path, name: &str) -> Result<Self, FormatError> {
        Self::open_first(path, name, usize::MAX)
    }

    /// Opens a file but looks at its first `count` elements only.
    ///
    /// # Errors
    /// When the file cannot be read or is no list.
    pub fn open_first(path: &Path, name: &str, count: usize) -> Result<Self, FormatError> {
        let text = JsonText::open(path, name, JsonEncoding::Utf8)?;
        let elements = element_places(text.from(0)?, name, count, b'[')?;
        Ok(Self { text, elements })
    }

    /// How messages call the file.
    pub fn name(&self) -> &str {
        &self.text.name
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// An element, its numbers as Python reads them.
    ///
    /// # Errors
    /// When the element is malformed.
    pub fn get(&self, index: usize) -> Result<Json, FormatError> {
        let (begin, length) = self.elements[index];
        self.text.value(begin, length)
    }

    /// All elements, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Result<Json, FormatError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Finds what lies between the brackets (`[` or `{`) and commas of the outermost list or object.
fn element_places(
    mut stream: impl BufRead,
    name: &str,
    count: usize,
    open: u8,
) -> Result<Vec<(u64, usize)>, FormatError> {
    let wrong = |at: u64, what: &str| FormatError::Json {
        file: name.to_owned(),
        at,
        what: what.to_owned(),
    };
    let mut elements: Vec<(u64, usize)> = Vec::new();
    let (mut at, mut depth) = (0u64, 0u32);
    let (mut in_text, mut escaped, mut closed) = (false, false, false);
    let mut begin: Option<u64> = None;
    let mut end = 0;
    loop {
        let bytes = stream.fill_buf().map_err(|source| FormatError::Io {
            action: "read",
            file: name.to_owned(),
            source,
        })?;
        if bytes.is_empty() {
            return if closed {
                Ok(elements)
            } else {
                Err(wrong(at, "expected a closing bracket, found the end of the text"))
            };
        }
        let length = bytes.len();
        for &byte in bytes {
            at += 1;
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                end = at;
                continue;
            }
            if byte.is_ascii_whitespace() || (at <= 3 && matches!(byte, 0xef | 0xbb | 0xbf)) {
                continue;
            }
            let opens = matches!(byte, b'[' | b'{');
            let closes = byte == if open == b'[' { b']' } else { b'}' };
            if closed || (depth == 0 && byte != open) {
                let expected = if open == b'[' { "expected a list" } else { "expected an object" };
                return Err(wrong(
                    at - 1,
                    if closed { "expected the end of the text" } else { expected },
                ));
            }
            if depth == 1 && (byte == b',' || closes) {
                match begin.take() {
                    Some(begin) => elements.push((begin, (end - begin) as usize)),
                    None if closes && elements.is_empty() => {}
                    None => return Err(wrong(at - 1, "expected a value")),
                }
                if elements.len() >= count {
                    return Ok(elements);
                }
            } else if depth == 1 && matches!(byte, b']' | b'}') {
                return Err(wrong(at - 1, "expected the other closing bracket"));
            } else if depth >= 1 {
                begin.get_or_insert(at - 1);
                end = at;
            }
            match byte {
                b'"' => in_text = true,
                _ if opens => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            closed = depth == 0;
        }
        stream.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::formats::JsonStyle;

    fn list(text: &str) -> Result<JsonList, FormatError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        JsonList::open(file.path(), "a.json")
    }

    #[test]
    fn elements_are_found() {
        let list =
            list("\u{feff} [ {\"a\": [1, \"]},\\\"\"]} , 2.50, \"x,y\\\\\", [], null ]\n").unwrap();
        let elements: Vec<String> =
            (0..list.len()).map(|i| list.get(i).unwrap().dump(JsonStyle::Compact)).collect();
        assert_eq!(elements, ["{\"a\": [1, \"]},\\\"\"]}", "2.5", "\"x,y\\\\\"", "[]", "null"]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "{}", "[1, 2", "[1,,2]", "[,1]", "[1] 2", "[\"a]", "[1,]", "]", "[}"] {
            assert!(list(text).is_err(), "{text}");
        }
        assert!(list(" [ ] ").unwrap().is_empty());
    }

    #[test]
    fn fields_of_an_object_are_found() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(
            b" {\"a\\\"b\" : [ {\"c\": \"\xe9\"}, 2 ], \"info\": {\"a\": [1]}, \"e\":[]}",
        )
        .unwrap();
        let object = JsonObject::open(file.path(), "a.json", JsonEncoding::Latin1).unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["a\"b", "info", "e"]);
        let list = object.list("a\"b").unwrap();
        let texts: Vec<String> =
            list.iter().map(|item| item.unwrap().dump(JsonStyle::Compact)).collect();
        assert_eq!(texts, ["{\"c\": \"\\u00e9\"}", "2"]);
        assert_eq!(object.value("info").unwrap().dump(JsonStyle::Compact), "{\"a\": [1]}");
        assert!(object.list("e").unwrap().is_empty());
        assert!(object.list("info").is_err());
        assert!(object.value("none").is_err());
    }

    proptest! {
        #[test]
        fn elements_equal_those_of_the_whole(texts in prop::collection::vec(".*", 0..6), numbers in prop::collection::vec(any::<i64>(), 0..4)) {
            let mut items: Vec<Json> = texts.into_iter().map(Json::from).collect();
            items.push(Json::List(numbers.into_iter().map(Json::from).collect()));
            let list = list(&Json::List(items.clone()).dump(JsonStyle::Indented)).unwrap();
            let read: Vec<Json> = (0..list.len()).map(|i| list.get(i).unwrap()).collect();
            prop_assert_eq!(read, items);
        }
    }
}
