//! Takes over what an agent left, from a tar or from a directory. All of it is hostile.
//!
//! Only plain files and directories are made, in a fresh directory, under names that were checked;
//! symbolic links, devices, pipes and whatever is too large, too deep or too many is refused and
//! recorded. A hard link is the file that it names. `submission.csv` is taken first and by itself,
//! so that nothing beside it can use up its room.

mod archive;
mod directory;
mod hint;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use medalist_grading::untrusted::Shown;

use super::{Postponed, Salvage};
use crate::attempt::dir::AttemptDir;
use crate::host::files::if_there;
pub(crate) use archive::{file_from_tar, from_tar};
pub(crate) use directory::{file_from_directory, from_directory, from_home};
pub(crate) use hint::say_what_was_meant;

/// How much of one directory is taken over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Entries that are looked at.
    pub(crate) entries: u64,
    /// Bytes that are kept in all.
    pub(crate) bytes: u64,
    /// Bytes of one file.
    pub(crate) file_bytes: u64,
}

/// Levels below the directory.
const DEPTH: usize = 32;
/// Longest name that is taken over.
const NAME: usize = 255;

const GIB: u64 = 1 << 30;

/// The directories that are taken over, in this order.
pub(crate) const LABELS: [&str; 3] = ["submission", "logs", "code"];
/// What is graded, below the attempt and below the agent's home.
pub(crate) const SUBMISSION: &str = "submission/submission.csv";

impl Rules {
    /// For one of [`LABELS`], where a submission may have `largest` bytes.
    pub(crate) fn of(label: &str, largest: u64) -> Self {
        match label {
            "submission" => Self { entries: 1_000, bytes: largest, file_bytes: largest },
            _ => Self { entries: 50_000, bytes: 2 * GIB, file_bytes: GIB },
        }
    }
}

/// The folder of code, below the agent's home.
pub(crate) const CODE: &str = "code";
/// For a copy of the code while the agent runs: programs, and no weights.
const CODE_COPY: Rules = Rules { entries: 2_000, bytes: 16 << 20, file_bytes: 1 << 20 };
/// Bytes of the engine's tar of the code that are gone through for such a copy.
const CODE_TAR: u64 = 256 << 20;

/// Copies small files of the code from the engine's tar; how many entries were left out.
pub(crate) fn code_from_tar(tar: impl Read, to: &Path) -> u64 {
    left_out(|salvage| from_tar(tar.take(CODE_TAR), CODE, to, CODE_COPY, salvage))
}

/// Copies small files of the code from a directory of this machine; how many entries were left out.
pub(crate) fn code_from_directory(from: &Path, to: &Path) -> u64 {
    left_out(|salvage| from_directory(from, CODE, to, CODE_COPY, salvage))
}

/// What was refused, and one for what could not be read.
fn left_out(copy: impl FnOnce(&mut Salvage)) -> u64 {
    let mut salvage = Salvage::default();
    copy(&mut salvage);
    salvage.refused_count + salvage.errors.len() as u64
}

/// What an entry is, whatever it comes from.
enum Kind {
    Directory,
    File,
    /// Another name of a file that came before, by its path below the directory.
    HardLink(Option<PathBuf>),
    Other(&'static str),
}

/// Decides about each entry of one directory and keeps count.
struct Gate<'a> {
    rules: Rules,
    /// `submission`, `logs` or `code`: how refused entries are named.
    label: &'a str,
    to: &'a Path,
    salvage: &'a mut Salvage,
    entries: u64,
    kept: u64,
}

/// Why no more of a directory is taken over.
struct Enough {
    why: String,
    /// Set if the agent is not to blame, and later the rest can be had.
    postponed: Option<Postponed>,
}

impl Enough {
    /// A reason that lies in the entries themselves.
    fn refused(why: String) -> Self {
        Self { why, postponed: None }
    }

    fn failed(label: &str, error: &io::Error) -> Self {
        let postponed = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Postponed::HostFull),
            // How a transfer from the engine breaks off.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
                Some(Postponed::EngineAway)
            }
            _ => None,
        };
        Self { why: format!("{label} cannot be read: {error}"), postponed }
    }

    fn record(self, salvage: &mut Salvage) {
        salvage.postponed = salvage.postponed.or(self.postponed);
        salvage.errors.push(Shown::message(&self.why));
    }
}

impl Gate<'_> {
    fn refuse(&mut self, relative: &Path, why: impl Into<String>) {
        self.salvage.refuse(format!("{}/{}", self.label, relative.display()), why);
    }

    /// Where an entry goes, if it may: checks its kind, name and size.
    fn admit(
        &mut self,
        relative: &Path,
        kind: &Kind,
        size: u64,
    ) -> Result<Option<PathBuf>, Enough> {
        self.entries += 1;
        if self.entries > self.rules.entries {
            return Err(Enough::refused(format!(
                "{} has more than {} entries",
                self.label, self.rules.entries
            )));
        }
        if self.is_ready(relative) {
            return Ok(None);
        }
        if let Kind::Other(what) = kind {
            self.refuse(relative, *what);
            return Ok(None);
        }
        if let Err(why) = check_name(relative) {
            self.refuse(relative, why);
            return Ok(None);
        }
        if matches!(kind, Kind::File) {
            let room = self.rules.bytes.saturating_sub(self.kept);
            if size > self.rules.file_bytes.min(room) {
                self.refuse(relative, format!("too large: {size} bytes"));
                return Ok(None);
            }
        }
        Ok(Some(self.to.join(relative)))
    }

    /// Whether this is the submission, which is dealt with before all others, taken or refused.
    fn is_ready(&self, relative: &Path) -> bool {
        Path::new(self.label).join(relative) == Path::new(SUBMISSION)
    }

    /// Copies the file that a hard link names, if it was taken.
    fn keep_link(&mut self, relative: &Path, target: Option<&Path>) -> Result<(), Enough> {
        let first =
            target.filter(|target| check_name(target).is_ok()).map(|target| self.to.join(target));
        let first = first.and_then(|path| Some((fs::symlink_metadata(&path).ok()?, path)));
        let Some((facts, first)) = first.filter(|(facts, _)| facts.is_file()) else {
            self.refuse(relative, "a hard link to a file that was not taken");
            return Ok(());
        };
        let size = facts.len();
        self.entries -= 1;
        let Some(path) = self.admit(relative, &Kind::File, size)? else { return Ok(()) };
        let copied = File::open(&first)
            .and_then(|mut file| self.keep_file(relative, &path, &mut file, size));
        copied.map_err(|error| Enough::failed(self.label, &error))
    }

    fn keep_directory(&mut self, path: &Path) -> io::Result<()> {
        fs_err::create_dir_all(path)
    }

    /// Copies at most `size` bytes to a new file.
    fn keep_file(
        &mut self,
        relative: &Path,
        path: &Path,
        from: &mut dyn Read,
        size: u64,
    ) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let mut file = match File::options().write(true).create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.refuse(relative, "a second entry of this name");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let copied = io::copy(&mut from.take(size), &mut file).inspect_err(|_| {
            // Half a submission must not pass for a whole one.
            let _ = fs::remove_file(path);
        })?;
        if copied < size {
            let _ = fs::remove_file(path);
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.kept += copied;
        self.salvage.files += 1;
        self.salvage.bytes += copied;
        Ok(())
    }
}

fn check_name(relative: &Path) -> Result<(), String> {
    let mut depth = 0;
    for component in relative.components() {
        let std::path::Component::Normal(name) = component else {
            return Err("a path that leads elsewhere".to_string());
        };
        let Some(name) = name.to_str() else { return Err("a name that is not UTF-8".to_string()) };
        if name.len() > NAME || name.chars().any(char::is_control) {
            return Err("a name with control characters, or too long".to_string());
        }
        depth += 1;
    }
    if depth > DEPTH {
        return Err(format!("more than {DEPTH} levels deep"));
    }
    Ok(())
}

/// Makes empty directories for what is taken over, where another attempt at this may have left
/// something; whether it could.
pub(crate) fn make_room(dir: &AttemptDir, salvage: &mut Salvage) -> bool {
    LABELS.map(|label| dir.salvaged(label)).iter().all(|path| {
        fresh_directory(path)
            .map_err(|error| Enough::failed(&path.display().to_string(), &error).record(salvage))
            .is_ok()
    })
}

/// An empty directory in place of whatever was there.
pub(crate) fn fresh_directory(path: &Path) -> io::Result<()> {
    if_there(fs_err::remove_dir_all(path))?;
    fs_err::create_dir_all(path)
}

/// Writes a file so that it is there whole or not at all.
fn write_aside(to: &Path, from: &mut dyn Read) -> io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    io::copy(from, &mut file)?;
    // Temporary files are for their owner alone; what was salvaged is as readable as anything else.
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(to).map(|_| ()).map_err(|error| error.error)
}

/// Runs a step of the salvage on a blocking thread.
pub(crate) async fn in_background(
    salvage: Salvage,
    step: impl FnOnce(&mut Salvage) + Send + 'static,
) -> Salvage {
    let before = salvage.clone();
    let done = tokio::task::spawn_blocking(move || {
        let mut salvage = salvage;
        step(&mut salvage);
        salvage
    });
    done.await.unwrap_or_else(|error| {
        let mut salvage = before;
        salvage.errors.push(Shown::message(&error.to_string()));
        salvage
    })
}

#[cfg(test)]
mod tests;
