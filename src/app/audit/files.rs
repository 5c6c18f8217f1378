//! Reads what agents left: no link is followed, and no file can take more memory or time than it may.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use medalist_grading::table::{ReadError, read_bytes};
use nix::fcntl::OFlag;

/// The largest file of code; notebooks hold pictures.
pub(super) const CODE: u64 = 32 << 20;
/// Bytes of a log that are read.
const LOG: u64 = 512 << 20;
/// The longest piece of a line that is looked at at once.
const LINE: usize = 64 << 10;
/// The longest line of a transcript.
const ENTRY: usize = 32 << 20;
/// Bytes by which a file is told to be no text.
const HEAD: usize = 8 << 10;

/// Opens a regular file; a link, pipe or device is refused without being opened.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The bytes of a file of code or data.
///
/// # Errors
/// In words: it cannot be read, or is too large.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path, CODE).map_err(|error| match error {
        ReadError::TooLarge { bytes, .. } => {
            format!("it has {bytes} bytes, and no more than {} MiB are read", CODE >> 20)
        }
        error => error.to_string(),
    })
}

/// Whether a file is no text, by its beginning. An agent may put a zero into any file: only what its name
/// does not call text may be passed over for it.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(HEAD)].contains(&0)
}

/// Hands each line of a log to `each`, in pieces where it is long; false if more is in it than is read.
///
/// # Errors
/// It cannot be read.
pub(super) fn lines(path: &Path, mut each: impl FnMut(&str)) -> io::Result<bool> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let mut from = BufReader::new(file.take(LOG));
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LINE as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(length <= LOG);
        }
        each(&String::from_utf8_lossy(&line));
    }
}

/// Hands each line of a transcript to `each`, as JSON; why the rest could not be read, if there is one.
///
/// # Errors
/// It cannot be opened.
pub(super) fn transcript(
    path: &Path,
    mut each: impl FnMut(u64, &serde_json::Value),
) -> io::Result<Option<String>> {
    let mut from = BufReader::new(MultiGzDecoder::new(BufReader::new(open(path)?)).take(LOG));
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match from.by_ref().take(ENTRY as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) if from.get_ref().limit() == 0 => {
                return Ok(Some(format!("it has more than {} MiB", LOG >> 20)));
            }
            Ok(0) => return Ok(None),
            Ok(_) if line.len() > ENTRY => {
                return Ok(Some(format!("line {number} is longer than {} MiB", ENTRY >> 20)));
            }
            Ok(_) => match serde_json::from_slice(&line) {
                Ok(value) => each(number, &value),
                Err(error) => return Ok(Some(format!("line {number} is no JSON: {error}"))),
            },
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    Ok(None)
}

/// The regular files below a folder.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// In order.
    pub(super) files: Vec<PathBuf>,
    /// Folders that could not be listed, and why.
    pub(super) unlisted: Vec<(PathBuf, io::Error)>,
    /// Whether there are more files, or folders, than are listed.
    pub(super) is_cut: bool,
}

/// The regular files below a folder, without links; at most `most`.
pub(super) fn below(folder: &Path, most: usize) -> Below {
    let mut below = Below::default();
    let (mut pending, mut folders) = (vec![folder.to_owned()], 0);
    while let Some(folder) = pending.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                below.unlisted.push((folder, error));
                continue;
            }
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok((kind, path)) if kind.is_dir() => {
                    folders += 1;
                    pending.push(path);
                }
                Ok((kind, path)) if kind.is_file() => below.files.push(path),
                Ok(_) => {}
                Err(error) => below.unlisted.push((folder.clone(), error)),
            }
            if below.files.len() > most || folders > most {
                below.files.truncate(most);
                below.is_cut = true;
                pending.clear();
                break;
            }
        }
    }
    below.files.sort_unstable();
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_read_and_long_lines_come_in_pieces() {
        let temp = tempfile::tempdir().unwrap();
        let (log, link) = (temp.path().join("a.log"), temp.path().join("b.log"));
        std::fs::write(&log, format!("{}\nend", "x".repeat(3 * LINE))).unwrap();
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let mut pieces = Vec::new();
        assert!(lines(&log, |piece| pieces.push(piece.len())).unwrap());
        assert_eq!(pieces, [LINE, LINE, LINE, 1, 3]);
        assert!(lines(&link, |_| ()).is_err() && bytes(&link).is_err());
        std::fs::write(&log, b"\x7fELF\0\0").unwrap();
        assert!(is_binary(&bytes(&log).unwrap()) && !is_binary(b"text"));
        assert_eq!(below(temp.path(), 1).files, [log]);
    }

    #[test]
    fn a_folder_is_listed_as_far_as_it_may_be_and_what_is_not_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let inner = temp.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        for name in ["1", "2", "3"] {
            std::fs::write(inner.join(name), "").unwrap();
        }
        let whole = below(temp.path(), 3);
        assert_eq!(whole.files, ["1", "2", "3"].map(|name| inner.join(name)));
        assert!(!whole.is_cut && whole.unlisted.is_empty());
        let cut = below(temp.path(), 2);
        assert!(cut.is_cut && cut.files.len() == 2, "{cut:?}");
        let none = below(&temp.path().join("none"), 2);
        assert_eq!(none.unlisted.len(), 1, "{none:?}");
    }

    #[test]
    fn a_transcript_that_is_none_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("t.gz");
        std::fs::write(&path, "no gzip").unwrap();
        assert!(transcript(&path, |_, _| ()).unwrap().is_some());
    }
}
