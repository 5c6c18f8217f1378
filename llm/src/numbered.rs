//! Numbered files in a folder that several machines share.
//!
//! A network file system shows new names at once; but it may show the old content of a name for a
//! minute, and remembers for half a minute that a name was not there. So each text has a name of its
//! own, and names are listed and never asked for one by one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The files `<prefix><number>.json` of a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) prefix: &'static str,
}

impl Numbered<'_> {
    pub(crate) fn path(self, number: u32) -> PathBuf {
        self.folder.join(format!("{}{number}.json", self.prefix))
    }

    /// The numbers of the files that are there, in order; none if there is no folder.
    pub(crate) fn numbers(self) -> io::Result<Vec<u32>> {
        let entries = match std::fs::read_dir(self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix(self.prefix));
            let number = name.and_then(|name| name.strip_suffix(".json")?.parse::<u32>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Writes a file whole or not at all, for this user alone, and flushes it; false if another
    /// process has taken the number.
    pub(crate) fn add(self, number: u32, bytes: &[u8]) -> io::Result<bool> {
        // A temporary file is its owner's alone.
        let mut aside = tempfile::Builder::new().prefix(".aside-").tempfile_in(self.folder)?;
        aside.write_all(bytes)?;
        aside.as_file().sync_all()?;
        match aside.persist_noclobber(self.path(number)) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.error),
        }
        File::open(self.folder)?.sync_all()?;
        Ok(true)
    }
}
