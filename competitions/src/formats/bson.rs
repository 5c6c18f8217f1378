//! BSON documents one after the other, as MongoDB dumps them.

use std::io::{self, BufRead};

use super::FormatError;

/// Documents beyond this are taken for damage.
const LARGEST: usize = 64 << 20;

/// One document, in its stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BsonDocument {
    bytes: Vec<u8>,
    file: String,
}

/// Goes through the documents of a stream; messages call it `file`.
pub fn bson_documents<'a>(
    mut stream: impl BufRead + 'a,
    file: &'a str,
) -> impl Iterator<Item = Result<BsonDocument, FormatError>> + 'a {
    let mut number = 0u64;
    std::iter::from_fn(move || {
        number += 1;
        let wrong =
            |what: String| FormatError::Binary { file: file.to_owned(), format: "BSON", what };
        let document = match next_document(&mut stream) {
            Ok(None) => return None,
            Ok(Some(bytes)) => Ok(BsonDocument { bytes, file: file.to_owned() }),
            Err(error) => Err(wrong(format!("document {number}: {error}"))),
        };
        Some(document)
    })
}

fn next_document(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let size = u32::from_le_bytes(length) as usize;
    if !(5..=LARGEST).contains(&size) {
        return Err(io::Error::other(format!(
            "expected a length from 5 to {LARGEST}, found {size}"
        )));
    }
    let mut bytes = vec![0; size];
    bytes[..4].copy_from_slice(&length);
    stream.read_exact(&mut bytes[4..])?;
    if bytes[size - 1] != 0 {
        return Err(io::Error::other("expected a zero byte at its end"));
    }
    Ok(Some(bytes))
}

impl BsonDocument {
    /// The stored bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The integer of 32 or 64 bits under a key.
    ///
    /// # Errors
    /// When there is none.
    pub fn int(&self, key: &str) -> Result<i64, FormatError> {
        let element = self.element(key)?;
        let value = element.and_then(|Element { kind, value, .. }| match kind {
            0x10 => value.try_into().ok().map(|bytes| i64::from(i32::from_le_bytes(bytes))),
            0x12 => value.try_into().ok().map(i64::from_le_bytes),
            _ => None,
        });
        value.ok_or_else(|| self.wrong(format!("expected an integer under the key `{key}`")))
    }

    /// The document without a key.
    ///
    /// # Errors
    /// When the document is malformed.
    pub fn without(&self, key: &str) -> Result<Self, FormatError> {
        let mut bytes = self.bytes.clone();
        if let Some(Element { begin, end, .. }) = self.element(key)? {
            bytes.drain(begin..end);
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        Ok(Self { bytes, file: self.file.clone() })
    }

    fn wrong(&self, what: String) -> FormatError {
        FormatError::Binary { file: self.file.clone(), format: "BSON", what }
    }

    fn element(&self, key: &str) -> Result<Option<Element<'_>>, FormatError> {
        let mut at = 4;
        while at < self.bytes.len() - 1 {
            let element = self
                .element_at(at)
                .ok_or_else(|| self.wrong(format!("the element at byte {at} is damaged")))?;
            if element.name == key.as_bytes() {
                return Ok(Some(element));
            }
            at = element.end;
        }
        Ok(None)
    }

    fn element_at(&self, begin: usize) -> Option<Element<'_>> {
        // The last byte closes the document.
        let body = &self.bytes[..self.bytes.len() - 1];
        let kind = body[begin];
        let name_begin = begin + 1;
        let name_end = name_begin + body[name_begin..].iter().position(|&byte| byte == 0)?;
        let rest = &body[name_end + 1..];
        let length = || Some(u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize);
        let size = match kind {
            0x06 | 0x0a | 0x7f | 0xff => 0,
            0x08 => 1,
            0x10 => 4,
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            0x07 => 12,
            0x13 => 16,
            0x02 | 0x0d | 0x0e => length()?.checked_add(4)?,
            0x03 | 0x04 | 0x0f => length()?,
            0x05 => length()?.checked_add(5)?,
            _ => return None,
        };
        let value = rest.get(..size)?;
        Some(Element {
            kind,
            name: &body[name_begin..name_end],
            value,
            begin,
            end: name_end + 1 + size,
        })
    }
}

struct Element<'a> {
    kind: u8,
    name: &'a [u8],
    value: &'a [u8],
    begin: usize,
    end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{_id: 7 (int32), category_id: 1000010653 (int64), imgs: [{picture: 3 bytes}]}`.
    fn sample() -> Vec<u8> {
        let mut picture = b"\0\0\0\0\x05picture\0\x03\0\0\0\0abc\0".to_vec();
        picture[0] = picture.len() as u8;
        let mut list = [b"\0\0\0\0\x030\0", &*picture, b"\0"].concat();
        list[0] = list.len() as u8;
        let category = 1_000_010_653i64.to_le_bytes();
        let mut document = [
            b"\0\0\0\0\x10_id\0\x07\0\0\0\x12category_id\0",
            &category[..],
            b"\x04imgs\0",
            &*list,
            b"\0",
        ]
        .concat();
        document[0] = document.len() as u8;
        document
    }

    fn read(bytes: &[u8]) -> Result<Vec<BsonDocument>, FormatError> {
        bson_documents(bytes, "t.bson").collect()
    }

    #[test]
    fn reads_integers_and_drops_keys() {
        let documents = read(&[sample(), sample()].concat()).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].int("_id").unwrap(), 7);
        assert_eq!(documents[1].int("category_id").unwrap(), 1_000_010_653);
        let short = documents[0].without("category_id").unwrap();
        assert_eq!(short.bytes().len(), sample().len() - 21);
        assert_eq!(usize::from(short.bytes()[0]), short.bytes().len());
        assert!(short.int("category_id").is_err());
        assert_eq!(short.int("_id").unwrap(), 7);
        assert_eq!(documents[0].without("absent").unwrap(), documents[0]);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = sample();
        for length in 1..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let mut wrong = whole.clone();
        wrong[4] = 0x77;
        assert!(read(&wrong).unwrap()[0].int("_id").is_err());
        let mut wrong = whole;
        wrong[0] = 4;
        assert!(read(&wrong).is_err());
    }
}
