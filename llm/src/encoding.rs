//! Compressed bodies: requests come so, and some relays compress answers without being asked.

use std::io::{Read, Write};

use bytes::Bytes;

/// Why a request's body cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The encoding has no decoder here.
    Unknown(String),
    /// The data are damaged.
    Corrupt(String),
    /// More than the limit comes out.
    TooLarge,
}

/// Decodes a request's body by its `content-encoding`, up to `limit` bytes.
pub(crate) fn decode(body: Bytes, encoding: &str, limit: usize) -> Result<Bytes, DecodeError> {
    let encodings: Vec<_> = encoding
        .split(',')
        .map(|e| e.trim().to_ascii_lowercase())
        .filter(|e| !e.is_empty() && e != "identity")
        .collect();
    let [name] = encodings.as_slice() else {
        return if encodings.is_empty() {
            Ok(body)
        } else {
            Err(DecodeError::Unknown(encoding.to_owned()))
        };
    };
    match name.as_str() {
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(&body[..]), limit),
        "deflate" if body.first().is_some_and(|b| b & 0x0f == 8) => {
            read(flate2::read::ZlibDecoder::new(&body[..]), limit)
        }
        "deflate" => read(flate2::read::DeflateDecoder::new(&body[..]), limit),
        "zstd" => {
            let mut decoder =
                zstd::Decoder::new(&body[..]).map_err(|e| DecodeError::Corrupt(e.to_string()))?;
            // 8 MiB windows, as RFC 8878 asks of decoders; more could fill the memory.
            decoder.window_log_max(23).map_err(|e| DecodeError::Corrupt(e.to_string()))?;
            read(decoder, limit)
        }
        _ => Err(DecodeError::Unknown(name.clone())),
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Bytes, DecodeError> {
    let mut plain = Vec::new();
    decoder
        .take(limit as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|e| DecodeError::Corrupt(e.to_string()))?;
    if plain.len() > limit { Err(DecodeError::TooLarge) } else { Ok(plain.into()) }
}

/// Makes an answer plain as it comes, piece by piece.
pub(crate) enum Inflate {
    /// Nothing has come yet; the first bytes tell.
    Unknown,
    Plain,
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Inflate {
    /// The plain bytes of a piece; an error if the data are damaged.
    pub(crate) fn next(&mut self, piece: Bytes) -> std::io::Result<Bytes> {
        if let Self::Unknown = self {
            if piece.is_empty() {
                return Ok(piece);
            }
            *self = match &piece[..] {
                [0x1f, 0x8b, ..] => {
                    Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new())))
                }
                [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                    Self::Zstd(Box::new(zstd::stream::write::Decoder::new(Vec::new())?))
                }
                _ => Self::Plain,
            };
        }
        match self {
            Self::Unknown | Self::Plain => Ok(piece),
            Self::Gzip(decoder) => {
                decoder.write_all(&piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd(decoder) => {
                decoder.write_all(&piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd_of(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).expect("memory")
    }

    #[test]
    fn requests_are_decoded_by_name() {
        for (encoding, body) in [
            ("", b"text".to_vec()),
            ("identity", b"text".to_vec()),
            ("gzip", gzip(b"text")),
            ("GZIP", gzip(b"text")),
            ("deflate", zlib(b"text")),
            ("zstd", zstd_of(b"text")),
        ] {
            assert_eq!(
                decode(body.into(), encoding, 4),
                Ok(Bytes::from_static(b"text")),
                "{encoding}"
            );
        }
    }

    #[test]
    fn bombs_damage_and_unknown_encodings_are_told_apart() {
        let bomb = vec![0; 10 << 20];
        assert_eq!(decode(gzip(&bomb).into(), "gzip", 1 << 20), Err(DecodeError::TooLarge));
        assert_eq!(decode(zstd_of(&bomb).into(), "zstd", 1 << 20), Err(DecodeError::TooLarge));
        assert!(matches!(
            decode(Bytes::from_static(b"no"), "gzip", 9),
            Err(DecodeError::Corrupt(_))
        ));
        let cut = gzip(b"text")[..10].to_vec();
        assert!(matches!(decode(cut.into(), "gzip", 9), Err(DecodeError::Corrupt(_))));
        for name in ["br", "gzip, gzip", "nonsense"] {
            assert!(matches!(decode(Bytes::new(), name, 9), Err(DecodeError::Unknown(_))));
        }
    }

    #[test]
    fn answers_become_plain_whatever_their_pieces() {
        let text = b"data: {}\n\n".repeat(50);
        for body in [text.clone(), gzip(&text), zstd_of(&text)] {
            for size in [1, 7, 1000] {
                let mut inflate = Inflate::Unknown;
                let mut plain = Vec::new();
                // The magic number comes in one piece, as the first read of a socket has it.
                let (head, tail) = body.split_at(4);
                for piece in std::iter::once(head).chain(tail.chunks(size)) {
                    plain.extend(inflate.next(Bytes::copy_from_slice(piece)).expect("sound"));
                }
                assert_eq!(plain, text);
            }
        }
    }
}
