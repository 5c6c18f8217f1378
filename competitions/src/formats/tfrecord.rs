//! TensorFlow's record files: framed messages, each a `tf.train.Example`.

use std::io::{ErrorKind, Read};

use super::FormatError;

/// The first text under a feature's name in each record, in order; messages call the file `file`.
/// Checksums are not compared.
///
/// # Errors
/// When the file is cut short or a record has no such feature.
///
/// # Source
/// TensorFlow 2 `tfrecord` framing (length, its checksum, bytes, their checksum) and the `Example`
/// message: features (1) are map entries (1) of name (1) and feature (2); a feature with bytes has
/// a list (1) of values (1).
pub fn tfrecord_texts(
    mut stream: impl Read,
    feature: &str,
    file: &str,
) -> Result<Vec<String>, FormatError> {
    const LONGEST: u64 = 1 << 30;
    let wrong =
        |what: String| FormatError::Binary { file: file.to_owned(), format: "TFRecord", what };
    let mut texts = Vec::new();
    let mut record = Vec::new();
    loop {
        let number = texts.len() + 1;
        let mut head = [0; 12];
        match read_up_to(&mut stream, &mut head) {
            Ok(0) => return Ok(texts),
            Ok(12) => {}
            Ok(_) => return Err(wrong(format!("record {number} is cut short"))),
            Err(source) => {
                return Err(FormatError::Io { action: "read", file: file.to_owned(), source });
            }
        }
        let length = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        if length > LONGEST {
            return Err(wrong(format!("record {number} claims {length} bytes")));
        }
        // Memory for what is there, not for what is claimed.
        record.clear();
        let read = stream.by_ref().take(length + 4).read_to_end(&mut record);
        if !read.is_ok_and(|read| read as u64 == length + 4) {
            return Err(wrong(format!("record {number} is cut short")));
        }
        let text = first_text(&record[..length as usize], feature.as_bytes());
        texts.push(text.ok_or_else(|| wrong(format!("record {number} has no text `{feature}`")))?);
    }
}

fn read_up_to(stream: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn first_text(example: &[u8], feature: &[u8]) -> Option<String> {
    let features = fields(example).find(|(number, _)| *number == 1)?.1;
    let entries = fields(features).filter(|(number, _)| *number == 1);
    let value = entries
        .map(|(_, entry)| entry)
        .find(|entry| fields(entry).any(|field| field == (1, feature)))?;
    let mut message = fields(value).find(|(number, _)| *number == 2)?.1;
    // The feature's list, then the list's first value.
    for _ in 0..2 {
        message = fields(message).find(|(number, _)| *number == 1)?.1;
    }
    String::from_utf8(message.to_vec()).ok()
}

/// The length-delimited fields of a protobuf message; the iterator ends at what is malformed.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut message)?;
            let size = match key & 7 {
                0 => {
                    varint(&mut message)?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut message)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (field, rest) = message.split_at_checked(size)?;
            message = rest;
            if key & 7 == 2 {
                return Some((key >> 3, field));
            }
        }
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    fn record(features: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(name, text): &(&str, &str)| {
            let list = field(1, &field(1, text.as_bytes()));
            field(1, &[field(1, name.as_bytes()), field(2, &list)].concat())
        };
        let number = field(1, &[field(1, b"target"), field(2, &field(3, &[8, 1]))].concat());
        let entries: Vec<u8> = features.iter().flat_map(entry).collect();
        let example = field(1, &[number, entries].concat());
        [&(example.len() as u64).to_le_bytes()[..], &[0; 4], &example, &[0; 4]].concat()
    }

    #[test]
    fn the_named_feature_is_found() {
        let file = [
            record(&[("image_name", "ISIC_1"), ("sex", "m")]),
            record(&[("a", "b"), ("image_name", "ISIC_2")]),
        ]
        .concat();
        assert_eq!(
            tfrecord_texts(&file[..], "image_name", "x.tfrec").unwrap(),
            ["ISIC_1", "ISIC_2"]
        );
        for (bytes, what) in [
            (&file[..file.len() - 1], "record 2 is cut short"),
            (&file[..5], "record 1 is cut short"),
            (&[0xff; 20][..], "record 1 claims"),
            // A length that is allowed and not there.
            (&[&(1_u64 << 30).to_le_bytes()[..], &[0; 8]].concat()[..], "record 1 is cut short"),
            (&record(&[("a", "b")])[..], "record 1 has no text `image_name`"),
        ] {
            let error = tfrecord_texts(bytes, "image_name", "x.tfrec").unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
