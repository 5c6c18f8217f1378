//! What the engine hands over: a tar of a directory, or of one file.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::{Enough, Gate, Kind, Rules, write_aside};
use crate::sandbox::Salvage;

/// Bytes of refused files that are read over in search of the next one.
const SKIPPED: u64 = 4 << 30;

/// Takes over a directory from the engine's tar of it, whose entries all begin with the directory's
/// own name.
pub(crate) fn from_tar(
    tar: impl Read,
    label: &str,
    to: &Path,
    rules: Rules,
    salvage: &mut Salvage,
) {
    let mut gate = Gate { rules, label, to, salvage, entries: 0, kept: 0 };
    if let Err(enough) = read_tar(tar, &mut gate) {
        enough.record(gate.salvage);
    }
}

fn read_tar(tar: impl Read, gate: &mut Gate<'_>) -> Result<(), Enough> {
    let label = gate.label.to_string();
    let unreadable = |error: io::Error| Enough::failed(&label, &error);
    let mut archive = tar::Archive::new(tar);
    let mut skipped = 0_u64;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let size = entry.size();
        let name = entry.path_bytes().into_owned();
        let relative = strip_first(Path::new(OsStr::from_bytes(&name)));
        let kind = match entry.header().entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Symlink => Kind::Other("a symbolic link"),
            EntryType::Link => {
                let target = entry.link_name_bytes();
                let target = target.as_deref().map(|name| Path::new(OsStr::from_bytes(name)));
                Kind::HardLink(target.and_then(strip_first))
            }
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            EntryType::Fifo => Kind::Other("a pipe"),
            _ => Kind::Other("neither file nor directory"),
        };
        let relative = match (&kind, relative) {
            (Kind::Directory, None) => continue,
            // The directory itself was replaced by something else.
            (_, None) => PathBuf::new(),
            (_, Some(relative)) => relative,
        };
        if relative.as_os_str().is_empty() && matches!(kind, Kind::File) {
            gate.refuse(&relative, "a file in place of the directory");
            continue;
        }
        match gate.admit(&relative, &kind, size)? {
            Some(path) if matches!(kind, Kind::Directory) => {
                gate.keep_directory(&path).map_err(unreadable)?
            }
            Some(_) if let Kind::HardLink(target) = &kind => {
                gate.keep_link(&relative, target.as_deref())?
            }
            Some(path) => gate.keep_file(&relative, &path, &mut entry, size).map_err(unreadable)?,
            None => {
                skipped = skipped.saturating_add(size);
                if skipped > SKIPPED {
                    return Err(Enough::refused(format!(
                        "{label} is read no further: its refused files are too large"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The path below the first component; `None` for the first component itself.
fn strip_first(path: &Path) -> Option<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_prefix(b"./").unwrap_or(bytes);
    let at = bytes.iter().position(|byte| *byte == b'/')?;
    let rest = &bytes[at + 1..];
    (!rest.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(rest)))
}

/// Takes over one file from the engine's tar of it; false if it is no plain file of the allowed
/// size.
pub(crate) fn file_from_tar(
    tar: impl Read,
    label: &str,
    to: &Path,
    largest: u64,
    salvage: &mut Salvage,
) -> bool {
    let take = || -> io::Result<bool> {
        let mut archive = tar::Archive::new(tar);
        let Some(entry) = archive.entries()?.next() else { return Ok(false) };
        let entry = entry?;
        let size = entry.size();
        let why = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous if size > largest => {
                format!("too large: {size} bytes")
            }
            EntryType::Regular | EntryType::Continuous => {
                write_aside(to, &mut entry.take(size))?;
                salvage.files += 1;
                salvage.bytes += size;
                return Ok(true);
            }
            EntryType::Symlink => "a symbolic link".to_string(),
            EntryType::Directory => "a directory".to_string(),
            _ => "not a plain file".to_string(),
        };
        salvage.refuse(label, why);
        Ok(false)
    };
    take().unwrap_or_else(|error| {
        Enough::failed(label, &error).record(salvage);
        false
    })
}
