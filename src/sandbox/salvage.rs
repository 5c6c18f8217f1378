//! Takes over what an agent left, from a tar or from a directory. All of it is hostile.
//!
//! Only plain files and directories are made, in a fresh directory, under names that were checked;
//! symbolic links, devices, pipes and whatever is too large, too deep or too many is refused and
//! recorded. A hard link is the file that it names. `submission.csv` is taken first and by itself,
//! so that nothing beside it can use up its room.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::{Postponed, Salvage};

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
/// Bytes of refused files that are read over in search of the next one.
const SKIPPED: u64 = 4 << 30;
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
        salvage.errors.push(self.why);
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

/// Makes an empty directory where another attempt at this may have left something.
pub(crate) fn make_room(path: &Path, salvage: &mut Salvage) -> bool {
    fresh_directory(path)
        .map_err(|error| Enough::failed(&path.display().to_string(), &error).record(salvage))
        .is_ok()
}

/// An empty directory in place of whatever was there.
pub(crate) fn fresh_directory(path: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs_err::create_dir_all(path)
}

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

/// Opens a file that must not be a link, and does not wait for a pipe's other end.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    File::options().read(true).custom_flags(flags.bits()).open(path)
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

/// Where no submission was left, looks for what may have been meant as one.
pub(crate) fn say_what_was_meant(attempt_dir: &Path, salvage: &mut Salvage) {
    if salvage.submission {
        return;
    }
    let refused = salvage.refused.iter().find(|entry| entry.path == SUBMISSION);
    salvage.hint = match refused {
        Some(entry) => Some(format!("`{SUBMISSION}` was not taken: {}", entry.why)),
        None => LABELS.iter().find_map(|label| meant_in(&attempt_dir.join(label), label, 0)),
    };
}

/// The first file below `dir` that looks like a submission under another name or in another place.
fn meant_in(dir: &Path, named: &str, depth: usize) -> Option<String> {
    let mut entries: Vec<_> = fs::read_dir(dir).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let lower = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase();
    let place = |entry: &fs::DirEntry| format!("{named}/{}", entry.file_name().to_string_lossy());
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let found = entries.iter().find(|entry| lower(entry).starts_with("submission.csv"));
    if let Some(entry) = found {
        let why = match lower(entry).as_str() {
            "submission.csv" if is_dir(entry) => "is a directory",
            "submission.csv" if named == "submission" => "is spelt in another way",
            "submission.csv" => "is in another place",
            _ => "is packed, or under another name",
        };
        return Some(format!("there is no `{SUBMISSION}`, but `{}` {why}", place(entry)));
    }
    if depth < 2 {
        let below = |entry: &fs::DirEntry| {
            is_dir(entry).then(|| meant_in(&entry.path(), &place(entry), depth + 1))?
        };
        if let Some(hint) = entries.iter().find_map(below) {
            return Some(hint);
        }
    }
    let only = (named == "submission" && depth == 0)
        .then(|| entries.iter().find(|entry| lower(entry).ends_with(".csv")));
    let entry = only.flatten()?;
    Some(format!("there is no `{SUBMISSION}`, but `{}`", place(entry)))
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
        salvage.errors.push(error.to_string());
        salvage
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o777);
        header
    }

    /// Sets a name that the builder itself would refuse.
    fn raw_name(header: &mut Header, name: &str) {
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
    }

    fn add(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &[u8]) {
        let mut header = header(kind, content.len() as u64);
        raw_name(&mut header, name);
        builder.append(&header, content).unwrap();
    }

    fn salvaged(tar: Vec<u8>, rules: Rules) -> (tempfile::TempDir, Salvage) {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("submission");
        fresh_directory(&to).unwrap();
        let mut salvage = Salvage::default();
        from_tar(tar.as_slice(), "submission", &to, rules, &mut salvage);
        (dir, salvage)
    }

    const RULES: Rules = Rules { entries: 20, bytes: 1000, file_bytes: 600 };

    #[test]
    fn hostile_entries_are_refused_and_recorded_and_the_rest_is_kept() {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "submission/", EntryType::Directory, b"");
        add(&mut builder, "submission/../../evil", EntryType::Regular, b"x");
        add(&mut builder, "submission//etc/passwd", EntryType::Regular, b"x");
        add(&mut builder, "submission/link", EntryType::Symlink, b"");
        add(&mut builder, "submission/hard", EntryType::Link, b"");
        add(&mut builder, "submission/null", EntryType::Char, b"");
        add(&mut builder, "submission/disk", EntryType::Block, b"");
        add(&mut builder, "submission/pipe", EntryType::Fifo, b"");
        add(&mut builder, "submission/large", EntryType::Regular, &[0; 601]);
        add(&mut builder, "submission/a\nb", EntryType::Regular, b"x");
        add(&mut builder, "submission/sub/", EntryType::Directory, b"");
        add(&mut builder, "submission/sub/kept", EntryType::Regular, b"kept");
        add(&mut builder, "submission/sub/kept", EntryType::Regular, b"again");
        let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
        let whys: Vec<(&str, &str)> = salvage
            .refused
            .iter()
            .map(|refused| (refused.path.as_str(), refused.why.as_str()))
            .collect();
        let expected = [
            ("submission/../../evil", "a path that leads elsewhere"),
            ("submission//etc/passwd", "a path that leads elsewhere"),
            ("submission/link", "a symbolic link"),
            ("submission/hard", "a hard link to a file that was not taken"),
            ("submission/null", "a device"),
            ("submission/disk", "a device"),
            ("submission/pipe", "a pipe"),
            ("submission/large", "too large: 601 bytes"),
            ("submission/a\u{fffd}b", "a name with control characters, or too long"),
            ("submission/sub/kept", "a second entry of this name"),
        ];
        assert_eq!(whys, expected);
        assert_eq!((salvage.files, salvage.bytes, salvage.refused_count), (1, 4, 10));
        assert_eq!(fs::read(dir.path().join("submission/sub/kept")).unwrap(), b"kept");
        assert!(!dir.path().join("evil").exists());
    }

    fn add_link(builder: &mut Builder<Vec<u8>>, name: &str, target: &str) {
        let mut header = header(EntryType::Link, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        raw_name(&mut header, name);
        builder.append(&header, &b""[..]).unwrap();
    }

    #[test]
    fn a_hard_link_is_the_file_that_it_names() {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "submission/best.csv", EntryType::Regular, &[7; 400]);
        add_link(&mut builder, "submission/same.csv", "submission/best.csv");
        add_link(&mut builder, "submission/again.csv", "submission/same.csv");
        add_link(&mut builder, "submission/out", "submission/../../secret");
        add_link(&mut builder, "submission/absolute", "/etc/passwd");
        add_link(&mut builder, "submission/later", "submission/not-yet");
        add_link(&mut builder, "submission/itself", "submission/itself");
        add(&mut builder, "submission/not-yet", EntryType::Regular, b"x");
        let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
        assert_eq!(fs::read(dir.path().join("submission/same.csv")).unwrap(), [7; 400]);
        assert_eq!((salvage.files, salvage.bytes), (3, 801));
        let whys: Vec<&str> = salvage.refused.iter().map(|entry| entry.why.as_str()).collect();
        let link = "a hard link to a file that was not taken";
        assert_eq!(whys, ["too large: 400 bytes", link, link, link, link]);
    }

    #[test]
    fn the_submission_is_left_to_its_own_taking() {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "submission/big", EntryType::Regular, &[0; 600]);
        add(&mut builder, "submission/submission.csv", EntryType::Regular, &[0; 600]);
        add_link(&mut builder, "submission/copy", "submission/submission.csv");
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("submission");
        fresh_directory(&to).unwrap();
        fs::write(to.join("submission.csv"), "id").unwrap();
        let mut salvage = Salvage::default();
        let tar = builder.into_inner().unwrap();
        from_tar(tar.as_slice(), "submission", &to, RULES, &mut salvage);
        assert_eq!(fs::read(to.join("submission.csv")).unwrap(), b"id");
        assert_eq!(fs::read(to.join("copy")).unwrap(), b"id");
        assert_eq!((salvage.refused_count, salvage.bytes), (0, 602));
    }

    #[test]
    fn a_submission_under_another_name_is_pointed_out() {
        let cases = [
            ("submission/Submission.csv", "is spelt in another way"),
            ("submission/submission.csv.gz", "is packed, or under another name"),
            ("submission/submission.csv/part-0", "is a directory"),
            ("submission/out/submission.csv", "is in another place"),
            ("code/submission.csv", "is in another place"),
            ("submission/predictions.csv", "but `submission/predictions.csv`"),
        ];
        for (path, said) in cases {
            let dir = tempfile::tempdir().unwrap();
            for label in LABELS {
                fs::create_dir(dir.path().join(label)).unwrap();
            }
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "id").unwrap();
            let mut salvage = Salvage::default();
            say_what_was_meant(dir.path(), &mut salvage);
            assert!(salvage.hint.clone().unwrap().contains(said), "{:?}", salvage.hint);
        }
        let mut salvage = Salvage::default();
        salvage.refuse(SUBMISSION, "a symbolic link");
        say_what_was_meant(Path::new("/nowhere"), &mut salvage);
        assert_eq!(
            salvage.hint.as_deref(),
            Some("`submission/submission.csv` was not taken: a symbolic link")
        );
    }

    #[test]
    fn a_directory_that_is_a_link_gives_nothing() {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "submission", EntryType::Symlink, b"");
        let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
        assert_eq!(salvage.refused[0].why, "a symbolic link");
        assert_eq!(fs::read_dir(dir.path().join("submission")).unwrap().count(), 0);
    }

    #[test]
    fn sums_and_counts_are_limited() {
        let mut builder = Builder::new(Vec::new());
        for name in ["submission/a", "submission/b", "submission/c"] {
            add(&mut builder, name, EntryType::Regular, &[0; 400]);
        }
        let (_, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
        assert_eq!((salvage.files, salvage.bytes), (2, 800));
        assert_eq!(salvage.refused[0].path, "submission/c");

        let mut builder = Builder::new(Vec::new());
        for number in 0..30 {
            add(&mut builder, &format!("submission/{number}"), EntryType::Regular, b"");
        }
        let (_, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
        assert_eq!(salvage.files, 20);
        assert_eq!(salvage.errors, ["submission has more than 20 entries"]);
    }

    #[test]
    fn a_broken_tar_is_an_error_and_no_panic() {
        let (_, salvage) = salvaged(vec![7; 2000], RULES);
        assert_eq!(salvage.errors.len(), 1);
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "submission/a", EntryType::Regular, &[1; 500]);
        let mut tar = builder.into_inner().unwrap();
        tar.truncate(700);
        let (_, salvage) = salvaged(tar, RULES);
        assert!(salvage.errors.len() <= 1);
    }

    #[test]
    fn a_directory_of_this_machine_is_held_to_the_same_rules() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/kept"), "kept").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), from.join("link")).unwrap();
        fs::hard_link(from.join("sub/kept"), from.join("hard")).unwrap();
        File::create(from.join("sparse")).unwrap().set_len(10 << 30).unwrap();
        let to = dir.path().join("to");
        fresh_directory(&to).unwrap();
        let mut salvage = Salvage::default();
        from_directory(&from, "code", &to, RULES, &mut salvage);
        let mut whys: Vec<&str> =
            salvage.refused.iter().map(|refused| refused.why.as_str()).collect();
        whys.sort_unstable();
        assert_eq!(whys, ["a symbolic link", "too large: 10737418240 bytes"]);
        assert_eq!(fs::read(to.join("sub/kept")).unwrap(), b"kept");
        assert_eq!(fs::read(to.join("hard")).unwrap(), b"kept");
        assert!(!file_from_directory(
            &from.join("link"),
            "submission.csv",
            &to.join("x"),
            10,
            &mut salvage
        ));
        assert!(file_from_directory(
            &from.join("sub/kept"),
            "submission.csv",
            &to.join("x"),
            10,
            &mut salvage
        ));
    }
}
