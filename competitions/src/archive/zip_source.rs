//! A zip file whose members are read in any order, by several threads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::shared_file::SharedFile;
use super::{ArchiveError, Guard};

/// An opened zip whose list of members was checked.
pub(crate) struct ZipSource {
    name: String,
    archive: ZipArchive<SharedFile>,
    /// Files only, sorted by name, with their number in the archive.
    members: Vec<(String, usize)>,
}

impl ZipSource {
    /// Opens a zip; messages call it `name`.
    pub(crate) fn open(path: &Path, name: &str, ignores_case: bool) -> Result<Self, ArchiveError> {
        let io = |source| ArchiveError::Io { action: "read", path: path.to_owned(), source };
        let unreadable = |reason: zip::result::ZipError| ArchiveError::Unreadable {
            archive: name.to_owned(),
            kind: "zip",
            reason: reason.to_string(),
        };
        let file = SharedFile::new(File::open(path).map_err(io)?).map_err(io)?;
        let packed = file.len();
        let mut archive = ZipArchive::new(file).map_err(unreadable)?;
        if archive.has_overlapping_files().map_err(unreadable)? {
            let what = "members share the same bytes, as in a zip bomb".to_owned();
            return Err(ArchiveError::Bomb { archive: name.to_owned(), what });
        }
        let mut guard = Guard::new(name, packed, ignores_case);
        let mut members = Vec::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(unreadable)?;
            let member = entry.name().map_err(unreadable)?.into_owned();
            if entry.is_symlink() {
                return Err(guard.refuse(&member, "it is a link"));
            }
            if entry.is_dir() {
                super::safe_path(&member).map_err(|what| guard.refuse(&member, what))?;
                continue;
            }
            if entry.encrypted() {
                return Err(guard.refuse(&member, "it is encrypted"));
            }
            let path = guard.name(&member)?;
            guard.size(entry.size())?;
            members.push((path.to_string_lossy().into_owned(), index));
        }
        members.sort();
        Ok(Self { name: name.to_owned(), archive, members })
    }

    pub(crate) fn contains(&self, member: &str) -> bool {
        self.index(member).is_some()
    }

    fn index(&self, member: &str) -> Option<usize> {
        let place = self.members.binary_search_by(|(name, _)| name.as_str().cmp(member)).ok()?;
        Some(self.members[place].1)
    }

    /// The names of all files below a folder (`""` for all), sorted by code point.
    pub(crate) fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let begin = self.members.partition_point(|(name, _)| name.as_str() < prefix.as_str());
        let names = self.members[begin..].iter().map(|(name, _)| name.as_str());
        names.take_while(move |name| name.starts_with(&prefix))
    }

    /// A reader for one thread.
    pub(crate) fn reader(&self) -> ZipReader<'_> {
        ZipReader { source: self, archive: self.archive.clone() }
    }
}

/// Reads members of a [`ZipSource`].
pub(crate) struct ZipReader<'a> {
    source: &'a ZipSource,
    archive: ZipArchive<SharedFile>,
}

impl ZipReader<'_> {
    fn failed(&self, member: &str, reason: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::Member {
            archive: self.source.name.clone(),
            member: member.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn position(&self, member: &str) -> Result<usize, ArchiveError> {
        self.source.index(member).ok_or_else(|| self.failed(member, "there is no such member"))
    }

    /// The size of a member when unpacked, as announced.
    pub(crate) fn size(&mut self, member: &str) -> Result<u64, ArchiveError> {
        let index = self.position(member)?;
        let entry = self.archive.by_index_data(index).map(|entry| entry.size());
        entry.map_err(|error| self.failed(member, error))
    }

    /// A stream of a member's bytes; its end checks the checksum.
    pub(crate) fn open(&mut self, member: &str) -> Result<impl Read + '_, ArchiveError> {
        let index = self.position(member)?;
        let (source, name) = (self.source, member.to_owned());
        self.archive.by_index(index).map_err(move |error| ArchiveError::Member {
            archive: source.name.clone(),
            member: name,
            reason: error.to_string(),
        })
    }

    /// Writes a member's bytes to `out` and gives their number, which must be the announced one.
    pub(crate) fn copy(&mut self, member: &str, out: &mut impl Write) -> Result<u64, CopyError> {
        let announced = self.size(member)?;
        let mut stream = self.open(member)?.take(announced.saturating_add(1));
        let mut buffer = vec![0; 64 << 10];
        let mut written = 0;
        loop {
            let read = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => {
                    drop(stream);
                    return Err(self.failed(member, error).into());
                }
            };
            out.write_all(&buffer[..read]).map_err(CopyError::Write)?;
            written += read as u64;
        }
        drop(stream);
        if written != announced {
            return Err(self.failed(member, format!("expected {announced} bytes, found {written}")).into());
        }
        Ok(written)
    }

    /// A member with its bytes still packed.
    pub(super) fn packed(&mut self, member: &str) -> Result<ZipFile<'_, SharedFile>, ArchiveError> {
        let index = self.position(member)?;
        let (source, name) = (self.source, member.to_owned());
        self.archive.by_index_raw(index).map_err(move |error| ArchiveError::Member {
            archive: source.name.clone(),
            member: name,
            reason: error.to_string(),
        })
    }
}

/// Which side of a copy failed.
pub(crate) enum CopyError {
    Read(ArchiveError),
    Write(io::Error),
}

impl From<ArchiveError> for CopyError {
    fn from(error: ArchiveError) -> Self {
        Self::Read(error)
    }
}
