//! Files: whole or not at all, with hashes; an error names the file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("cannot {verb} `{path}`")]
    Io {
        /// `read`, `write`, ...
        verb: &'static str,
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The content is not what the file should hold.
    #[error("`{path}` is damaged: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// Another process works on the group.
    #[error("another medalist is working on `{path}`")]
    Locked {
        /// The group's folder.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io<'a>(
        verb: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether a full disk or quota is the cause.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Whether what was removed was there; that it was not is no error.
///
/// # Errors
/// Every other of the removal.
pub(crate) fn if_there(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a file's name begins with while it is written; a killed harness leaves some.
const ASIDE: &str = ".aside-";

/// A file of its own beside those of a folder, with these bytes, flushed to disk.
fn aside_in(dir: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(ASIDE);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    let mut aside = builder.tempfile_in(dir)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    Ok(aside)
}

/// Makes a rename in a folder survive a power loss; Windows opens no folders.
pub(super) fn flush_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// The folder that a file is in; the parent of a bare name is empty, which is no path.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file aside, flushes it to disk and renames it into place: readers see the old content
/// or the new, never a part.
///
/// # Errors
/// [`StoreError::Io`]; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = folder_of(path);
    let write = || -> io::Result<()> {
        aside_in(dir, bytes)?.persist(path).map_err(|error| error.error)?;
        flush_folder(dir)
    };
    write().map_err(StoreError::io("write", path))
}

/// Writes a file that is not there yet, whole or not at all, under the first of the names `name(1)`,
/// `name(2)`, … that nobody has taken; gives its path.
///
/// # Errors
/// [`StoreError::Io`].
pub fn write_new(name: impl Fn(u32) -> PathBuf, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    let first = name(1);
    let dir = folder_of(&first);
    let write = || -> io::Result<PathBuf> {
        let mut aside = aside_in(dir, bytes)?;
        for number in 1..=u32::MAX {
            let path = name(number);
            match aside.persist_noclobber(&path) {
                Ok(_) => {
                    flush_folder(dir)?;
                    return Ok(path);
                }
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    aside = error.file;
                }
                Err(error) => return Err(error.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    };
    write().map_err(StoreError::io("write", &first))
}

/// Writes a file that is not there yet, whole or not at all; false if there is one of that name.
///
/// # Errors
/// [`StoreError::Io`].
pub fn write_exclusive(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    let dir = folder_of(path);
    let write = || -> io::Result<bool> {
        match aside_in(dir, bytes)?.persist_noclobber(path) {
            Ok(_) => flush_folder(dir).map(|()| true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    };
    write().map_err(StoreError::io("write", path))
}

/// Writes a value as indented JSON through [`write_atomic`].
///
/// # Errors
/// As [`write_atomic`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Reads a JSON file.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read, [`StoreError::Damaged`] if it is not what it should be.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = std::fs::read(path).map_err(StoreError::io("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), message: error.to_string() })
}

/// As [`read_json`], with `None` for a file that does not exist.
///
/// # Errors
/// As [`read_json`].
pub fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match read_json(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// As [`read_json_if_there`], of a file that another machine may just have made: its folder is listed, since
/// a network file system remembers for half a minute that a name was not there.
///
/// # Errors
/// As [`read_json`], and if the folder is there and cannot be listed.
pub fn read_json_if_listed<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match is_listed(path)? {
        true => read_json_if_there(path),
        false => Ok(None),
    }
}

/// Whether a file is among those that its folder lists.
///
/// # Errors
/// [`StoreError::Io`] if the folder is there and cannot be listed.
pub fn is_listed(path: &Path) -> Result<bool, StoreError> {
    let folder = folder_of(path);
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries
            .flatten()
            .any(|entry| Some(entry.file_name().as_os_str()) == path.file_name())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("read", folder)(error)),
    }
}

/// Whether a file's name says that it was never finished.
pub fn is_left_aside(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(ASIDE.as_bytes())
}

/// Counts and hashes what is read from or written to `inner`.
#[derive(Debug)]
pub struct Hashed<T> {
    /// Where it comes from or goes to.
    pub inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    /// Nothing has gone through it yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// SHA-256 of all that went through, as hexadecimal digits, how many bytes it was, and the inside.
    pub fn finish(self) -> (String, u64, T) {
        (hex::encode(self.hash.finalize()), self.bytes, self.inner)
    }

    fn see(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.see(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.see(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 of a file, as hexadecimal digits, and its length.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read.
pub fn file_sha256(path: &Path) -> Result<(String, u64), StoreError> {
    let read = || -> io::Result<(String, u64)> {
        let mut hashed = Hashed::new(File::open(path)?);
        let mut buffer = vec![0; 1 << 16];
        while hashed.read(&mut buffer)? > 0 {}
        let (sha256, bytes, _) = hashed.finish();
        Ok((sha256, bytes))
    };
    read().map_err(StoreError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        write_json(&path, &1).unwrap();
        assert!(write_json(&temp.path().join("no").join("a.json"), &2).is_err());
        write_json(&path, &3).unwrap();
        assert_eq!(read_json::<i32>(&path).unwrap(), 3);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        for (path, folder) in [("a.json", "."), ("b/a.json", "b"), ("/a.json", "/")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder));
        }
    }

    #[test]
    fn a_new_file_replaces_none() {
        let temp = tempfile::tempdir().unwrap();
        let name = |number: u32| temp.path().join(format!("report-{number}.json"));
        std::fs::write(name(2), "mine").unwrap();
        for (text, number) in [("one", 1), ("two", 3), ("three", 4)] {
            assert_eq!(write_new(name, text.as_bytes()).unwrap(), name(number));
            assert_eq!(std::fs::read_to_string(name(number)).unwrap(), text);
        }
        assert_eq!(std::fs::read_to_string(name(2)).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 4, "nothing is left aside");
    }

    #[test]
    fn damage_is_told_from_absence() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        assert_eq!(read_json_if_there::<i32>(&path).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(read_json_if_there::<i32>(&path), Err(StoreError::Damaged { .. })));
    }
}
