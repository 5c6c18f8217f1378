//! Opening a file that may be anything: a pipe, a link, an archive.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;

use super::scan::ReadError;
use crate::platform::{open_plain, read_exact_at};

/// A format that agents write under a `.csv` name by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignFormat {
    /// gzip-compressed data.
    Gzip,
    /// A zip archive that is no spreadsheet.
    Zip,
    /// An Excel workbook (`.xlsx`).
    Xlsx,
    /// An Excel workbook of the old kind (`.xls`).
    Xls,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow or Feather.
    Arrow,
    /// xz-compressed data.
    Xz,
    /// bzip2-compressed data.
    Bzip2,
    /// Zstandard-compressed data.
    Zstd,
    /// A 7z archive.
    SevenZip,
    /// An HDF5 file.
    Hdf5,
    /// A NumPy array.
    Npy,
    /// A Python pickle.
    Pickle,
    /// UTF-16 text with a byte-order mark.
    Utf16,
    /// UTF-32 text with a byte-order mark.
    Utf32,
}

impl ForeignFormat {
    /// The format whose first bytes these are.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        let zip_kind = || {
            let head = &bytes[..bytes.len().min(4096)];
            let names = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
            if names(b"[Content_Types].xml") || names(b"xl/") { Self::Xlsx } else { Self::Zip }
        };
        Some(match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'P', b'K', 3, 4, ..] => zip_kind(),
            [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [b'F', b'E', b'A', b'1', ..] => Self::Arrow,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..] => Self::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Self::SevenZip,
            [0x89, b'H', b'D', b'F', ..] => Self::Hdf5,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Self::Npy,
            [0xd0, 0xcf, 0x11, 0xe0, ..] => Self::Xls,
            [0x80, 2..=5, ..] => Self::Pickle,
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Self::Utf32,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Utf16,
            _ => return None,
        })
    }

    /// What it is, with an article.
    pub fn description(self) -> &'static str {
        match self {
            Self::Gzip => "a gzip-compressed file",
            Self::Zip => "a zip archive",
            Self::Xlsx => "an Excel workbook (.xlsx)",
            Self::Xls => "an Excel workbook (.xls)",
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow or Feather file",
            Self::Xz => "an xz-compressed file",
            Self::Bzip2 => "a bzip2-compressed file",
            Self::Zstd => "a Zstandard-compressed file",
            Self::SevenZip => "a 7z archive",
            Self::Hdf5 => "an HDF5 file",
            Self::Npy => "a NumPy array file",
            Self::Pickle => "a Python pickle",
            Self::Utf16 => "UTF-16 text",
            Self::Utf32 => "UTF-32 text",
        }
    }
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// A symbolic link, pipe, socket, device or directory is refused without being read, and nothing
/// here can block on one.
///
/// # Errors
/// [`ReadError::Io`], [`ReadError::NotRegular`], [`ReadError::TooLarge`].
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { source };
    // Looked at by name first: opening a socket or a link fails with errors that say less.
    let kind = fs::symlink_metadata(path).map_err(io)?.file_type();
    if kind.is_symlink() {
        return Err(ReadError::NotRegular { what: "a symbolic link" });
    }
    let file = if kind.is_file() {
        open_plain(path).map_err(io)?
    } else {
        return Err(ReadError::NotRegular {
            what: if kind.is_dir() { "a directory" } else { "a pipe, socket or device" },
        });
    };
    read_open(file, limit)
}

fn read_open(file: File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { source };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular { what: "a pipe, socket or device" });
    }
    if metadata.len() > limit {
        return Err(ReadError::TooLarge { bytes: metadata.len(), limit });
    }
    let mut bytes = read_blocks(&file, metadata.len() as usize);
    (&file).seek(SeekFrom::Start(bytes.len() as u64)).map_err(io)?;
    // The file may still be growing, so the limit holds for what is read as well.
    file.take((limit + 1).saturating_sub(bytes.len() as u64))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { bytes: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// Reads the first `size` bytes of a large file on all cores: what takes time is the memory that is
/// filled. No bytes where that fails or is not worth while; what is missing is read in order then.
fn read_blocks(file: &File, size: usize) -> Vec<u8> {
    const BLOCK: usize = 1 << 20;
    // Room for a line feed at the end, which should not move the whole text.
    if size < 4 * BLOCK {
        return Vec::with_capacity(size + 2);
    }
    let mut bytes = vec![0; size + 2];
    bytes.truncate(size);
    let blocks = bytes.par_chunks_mut(BLOCK).enumerate();
    if blocks
        .map(|(number, block)| read_exact_at(file, block, (number * BLOCK) as u64))
        .any(|read| read.is_err())
    {
        bytes.clear();
    }
    bytes
}
