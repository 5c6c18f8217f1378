//! The size of a PNG picture.

use super::FormatError;

/// Width and height in pixels from the head of a PNG file, of which 24 bytes suffice; messages call
/// it `file`.
///
/// # Errors
/// When it does not begin as a PNG file does.
pub fn png_size(bytes: &[u8], file: &str) -> Result<(u32, u32), FormatError> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    match (number(16), number(20)) {
        (Some(width), Some(height))
            if bytes.starts_with(b"\x89PNG\r\n\x1a\n") && &bytes[12..16] == b"IHDR" =>
        {
            Ok((width, height))
        }
        _ => Err(FormatError::Binary {
            file: file.to_owned(),
            format: "PNG",
            what: "it does not begin as one".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_has_the_size() {
        let head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x02\0\0\0\x03rest";
        assert_eq!(png_size(head, "a.png").unwrap(), (258, 3));
        assert!(png_size(&head[..20], "a.png").is_err());
        assert!(png_size(b"\xff\xd8 is JPEG, which is something else", "a.png").is_err());
    }
}
