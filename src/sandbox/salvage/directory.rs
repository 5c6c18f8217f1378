//! What lies in a directory of this machine.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use medalist_grading::platform::open_plain;

use super::{
    Enough, Gate, Kind, LABELS, Rules, SUBMISSION, make_room, say_what_was_meant, write_aside,
};
use crate::attempt::dir::AttemptDir;
use crate::sandbox::Salvage;

/// Takes over all that an agent left below its `/home`, which is a directory of this machine:
/// `submission.csv` first, where it may have `largest` bytes.
pub(crate) fn from_home(home: &Path, to: &AttemptDir, largest: u64, salvage: &mut Salvage) {
    if !make_room(to, salvage) {
        return;
    }
    let from = home.join(SUBMISSION);
    salvage.submission = file_from_directory(&from, SUBMISSION, &to.submission(), largest, salvage);
    for label in LABELS {
        let rules = Rules::of(label, largest);
        from_directory(&home.join(label), label, &to.salvaged(label), rules, salvage);
    }
    say_what_was_meant(to, salvage);
}

/// Takes over a directory of this machine.
pub(crate) fn from_directory(
    from: &Path,
    label: &str,
    to: &Path,
    rules: Rules,
    salvage: &mut Salvage,
) {
    let mut gate = Gate { rules, label, to, salvage, entries: 0, kept: 0 };
    match fs::symlink_metadata(from) {
        Ok(facts) if facts.is_dir() => {
            if let Err(enough) = read_directory(from, Path::new(""), &mut gate) {
                enough.record(gate.salvage);
            }
        }
        Ok(_) => gate.refuse(Path::new(""), "something else in place of the directory"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => Enough::failed(label, &error).record(gate.salvage),
    }
}

fn read_directory(from: &Path, below: &Path, gate: &mut Gate<'_>) -> Result<(), Enough> {
    let label = gate.label.to_string();
    let unreadable = |error: io::Error| Enough::failed(&label, &error);
    for entry in fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let relative = below.join(entry.file_name());
        let facts = match entry.metadata() {
            Ok(facts) => facts,
            Err(error) => {
                gate.refuse(&relative, error.to_string());
                continue;
            }
        };
        if is_removed(&facts) {
            continue;
        }
        let kind = kind_of(&facts);
        let Some(path) = gate.admit(&relative, &kind, facts.len())? else { continue };
        if facts.is_dir() {
            gate.keep_directory(&path).map_err(unreadable)?;
            read_directory(&entry.path(), &relative, gate)?;
        } else {
            match open_plain(&entry.path()) {
                Ok(mut file) => {
                    gate.keep_file(&relative, &path, &mut file, facts.len()).map_err(unreadable)?
                }
                Err(error) => gate.refuse(&relative, error.to_string()),
            }
        }
    }
    Ok(())
}

/// How the kernel's overlay notes that a file of the image is gone. It is a device that does nothing
/// and that everybody may make.
fn is_removed(facts: &fs::Metadata) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    facts.file_type().is_char_device() && facts.rdev() == 0
}

fn kind_of(facts: &fs::Metadata) -> Kind {
    use std::os::unix::fs::FileTypeExt;
    let kind = facts.file_type();
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Other("a symbolic link")
    } else if kind.is_file() {
        Kind::File
    } else if kind.is_block_device() || kind.is_char_device() {
        Kind::Other("a device")
    } else if kind.is_fifo() {
        Kind::Other("a pipe")
    } else {
        Kind::Other("neither file nor directory")
    }
}

/// Takes over one file of this machine; false if there is none or it is no plain file of the
/// allowed size.
pub(crate) fn file_from_directory(
    from: &Path,
    label: &str,
    to: &Path,
    largest: u64,
    salvage: &mut Salvage,
) -> bool {
    let facts = match fs::symlink_metadata(from) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => {
            Enough::failed(label, &error).record(salvage);
            return false;
        }
    };
    match kind_of(&facts) {
        _ if is_removed(&facts) => {}
        Kind::File if facts.len() > largest => {
            salvage.refuse(label, format!("too large: {} bytes", facts.len()))
        }
        Kind::File => {
            let taken =
                open_plain(from).and_then(|file| write_aside(to, &mut file.take(facts.len())));
            match taken {
                Ok(()) => {
                    salvage.files += 1;
                    salvage.bytes += facts.len();
                    return true;
                }
                Err(error) => Enough::failed(label, &error).record(salvage),
            }
        }
        Kind::Directory => salvage.refuse(label, "a directory"),
        Kind::HardLink(_) => salvage.refuse(label, "a hard link"),
        Kind::Other(what) => salvage.refuse(label, what),
    }
    false
}
