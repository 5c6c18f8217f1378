//! Archives that can only be read from front to back are unpacked whole: tar, and 7z, whose members
//! share one stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sevenz_rust2::{ArchiveReader, Password};

use super::other::or_unreadable;
use super::{ArchiveError, Guard};

/// The archives we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    Zip,
    SevenZip,
    Tar,
}

impl ArchiveKind {
    /// By the ending of a file's name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if name.ends_with(".zip") {
            Some(Self::Zip)
        } else if name.ends_with(".7z") {
            Some(Self::SevenZip)
        } else if [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending)) {
            Some(Self::Tar)
        } else {
            None
        }
    }
}

/// Unpacks a tar (gzipped or not) or a 7z into a folder, which must exist.
pub(crate) fn unpack(
    kind: ArchiveKind,
    archive: &Path,
    name: &str,
    into: &Path,
    ignores_case: bool,
) -> Result<(), ArchiveError> {
    let io = |source| ArchiveError::Io { action: "read", path: archive.to_owned(), source };
    let file = File::open(archive).map_err(io)?;
    let packed = file.metadata().map_err(io)?.len();
    let mut target = Target { guard: Guard::new(name, packed, ignores_case), name, into };
    let unpacked = match kind {
        ArchiveKind::SevenZip => target.seven_zip(file),
        ArchiveKind::Tar => target.tar(file),
        ArchiveKind::Zip => unreachable!("zip archives are read member by member"),
    };
    unpacked.map_err(|error| match error {
        ArchiveError::Unreadable { kind, reason, .. } => or_unreadable(archive, name, kind, reason),
        other => other,
    })
}

/// A tar, gzipped or not.
fn open_tar<'a>(mut stream: impl BufRead + 'a) -> io::Result<tar::Archive<Box<dyn Read + 'a>>> {
    let is_gzip = stream.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let stream: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(stream)) } else { Box::new(stream) };
    Ok(tar::Archive::new(stream))
}

/// The paths of the files in a tar (gzipped or not), without unpacking it; messages call it `name`.
pub(crate) fn tar_names(stream: impl BufRead, name: &str) -> Result<Vec<String>, ArchiveError> {
    let unreadable = |error: io::Error| ArchiveError::Unreadable {
        archive: name.to_owned(),
        kind: "tar",
        reason: error.to_string(),
    };
    let mut names = Vec::new();
    for entry in open_tar(stream).map_err(unreadable)?.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.header().entry_type().is_file() {
            let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = super::safe_path(&member).map_err(|what| ArchiveError::Refused {
                archive: name.to_owned(),
                member: member.clone(),
                what: what.to_owned(),
            })?;
            names.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

struct Target<'a> {
    guard: Guard<'a>,
    name: &'a str,
    into: &'a Path,
}

impl Target<'_> {
    fn unreadable(&self, kind: &'static str, reason: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::Unreadable { archive: self.name.to_owned(), kind, reason: reason.to_string() }
    }

    fn tar(&mut self, file: File) -> Result<(), ArchiveError> {
        let opened = open_tar(BufReader::with_capacity(256 << 10, file));
        let mut archive = opened.map_err(|error| self.unreadable("tar", error))?;
        for entry in archive.entries().map_err(|error| self.unreadable("tar", error))? {
            let mut entry = entry.map_err(|error| self.unreadable("tar", error))?;
            let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                super::safe_path(&member)
                    .map_err(|what| self.guard.refuse(&member, what))
                    .or_else(root_is_fine(&member))?;
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                let size = entry.size();
                self.file("tar", &member, size, &mut entry)?;
            } else if !kind.is_pax_global_extensions() {
                return Err(self.guard.refuse(&member, "it is a link or a device"));
            }
        }
        Ok(())
    }

    fn seven_zip(&mut self, file: File) -> Result<(), ArchiveError> {
        // A 7z says itself how much memory its decoder takes, and may lie.
        const MEMORY_KIB: usize = 256 << 10;
        let mut archive = ArchiveReader::new_with_memory_limit(
            BufReader::with_capacity(256 << 10, file),
            Password::empty(),
            MEMORY_KIB,
        )
        .map_err(|error| self.unreadable("7z", error))?;
        // An error of ours must not be dressed up as the decoder's.
        let mut failure = None;
        let outcome = archive.for_each_entries(|entry, stream| {
            // The upper half of the attributes holds the Unix mode where the packer knew one.
            let is_link = entry.has_windows_attributes
                && (entry.windows_attributes() >> 16) & 0xf000 == 0xa000;
            let result = if is_link {
                Err(self.guard.refuse(entry.name(), "it is a link"))
            } else if entry.is_directory() {
                super::safe_path(entry.name())
                    .map(drop)
                    .map_err(|what| self.guard.refuse(entry.name(), what))
            } else {
                self.file("7z", entry.name(), entry.size(), stream)
            };
            let goes_on = result.is_ok();
            failure = result.err();
            if goes_on { Ok(true) } else { Err(io::Error::other("stopped").into()) }
        });
        match (failure, outcome) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(self.unreadable("7z", error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Writes one member, of which at most the announced bytes are taken.
    fn file(
        &mut self,
        kind: &'static str,
        member: &str,
        size: u64,
        stream: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let path = self.into.join(self.guard.name(member)?);
        self.guard.size(size)?;
        let io = |source| ArchiveError::Io { action: "write", path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        // Only new: a member must not write through a link, or over another member.
        let mut out = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io)?;
        // What was announced is what the guard has counted.
        let mut stream = stream.take(size);
        let mut buffer = vec![0; 64 << 10];
        let mut written = 0;
        loop {
            let read = stream.read(&mut buffer).map_err(|error| self.unreadable(kind, error))?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read]).map_err(io)?;
            written += read as u64;
        }
        if written != size {
            let reason = format!("member `{member}` has {written} of {size} bytes");
            return Err(self.unreadable(kind, reason));
        }
        Ok(())
    }
}

/// `./` names the folder itself, which every tar made with `tar -C` begins with.
fn root_is_fine(
    member: &str,
) -> impl FnOnce(ArchiveError) -> Result<std::path::PathBuf, ArchiveError> {
    let is_root = member.chars().all(|c| matches!(c, '.' | '/'))
        && member.starts_with('.')
        && !member.contains("..");
    move |error| if is_root { Ok(std::path::PathBuf::new()) } else { Err(error) }
}
