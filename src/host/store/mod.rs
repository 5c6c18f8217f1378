//! The run directory: every path of it is built here, and every write is atomic or an append.
//!
//! ```text
//! <runs>/<timestamp>_run-group_<agent>/
//!   plan.json        what was asked for; written once, read by `--resume`
//!   group.json       what reports read
//!   metadata.json    MLE-bench's own file, written again as attempts end, every five seconds at most
//!   events.jsonl     everything that happened, one object a line
//!   group.lock       held by the harness that writes here
//!   stop/            what `medalist stop` asks of that harness
//!   <competition>_<uuid>/{attempt.json, run.log, submission/, logs/, code/, grade.json, snapshots/}
//! ```

pub mod find;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::attempt::text::hex;

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
    fn io<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether a full disk or quota is the cause.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// The folder of a run group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDir {
    root: PathBuf,
}

impl GroupDir {
    /// The folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes a new folder below `runs`; a name that is taken gets a number.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be made.
    pub fn create(runs: &Path, name: &str) -> Result<(Self, String), StoreError> {
        std::fs::create_dir_all(runs).map_err(StoreError::io("create", runs))?;
        let mut taken = 1u32;
        loop {
            let name = if taken == 1 { name.to_owned() } else { format!("{name}-{taken}") };
            let root = runs.join(&name);
            match std::fs::create_dir(&root) {
                Ok(()) => return Ok((Self { root }, name)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken += 1,
                Err(error) => return Err(StoreError::io("create", &root)(error)),
            }
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The plan as it was made.
    pub fn plan(&self) -> PathBuf {
        self.root.join("plan.json")
    }

    /// What reports read of the group.
    pub fn group(&self) -> PathBuf {
        self.root.join("group.json")
    }

    /// MLE-bench's own summary.
    pub fn metadata(&self) -> PathBuf {
        self.root.join("metadata.json")
    }

    /// The event log.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// Where requests to stop are left.
    pub fn stop_requests(&self) -> PathBuf {
        self.root.join("stop")
    }

    /// Whether a harness runs the group now.
    pub fn is_running(&self) -> bool {
        self.root.join("group.lock").is_file()
            && matches!(self.lock(), Err(StoreError::Locked { .. }))
    }

    /// One attempt's folder.
    pub fn attempt(&self, dir: &str) -> AttemptDir {
        AttemptDir { root: self.root.join(dir) }
    }

    /// Takes the group for this process; given back when the value is dropped or the process dies.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds it.
    pub fn lock(&self) -> Result<GroupLock, StoreError> {
        let lock = flock(&self.root, "group.lock", FlockArg::LockExclusiveNonblock)?;
        Ok(GroupLock { _locks: vec![lock] })
    }

    /// Takes one attempt of the group for this process, beside others that hold other attempts;
    /// makes its folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds the attempt or the whole group.
    pub fn lock_attempt(&self, dir: &str) -> Result<GroupLock, StoreError> {
        let group = flock(&self.root, "group.lock", FlockArg::LockSharedNonblock)?;
        let attempt = self.root.join(dir);
        std::fs::create_dir_all(&attempt).map_err(StoreError::io("create", &attempt))?;
        let attempt = flock(&attempt, "attempt.lock", FlockArg::LockExclusiveNonblock)?;
        Ok(GroupLock { _locks: vec![group, attempt] })
    }
}

/// Proof that this process alone writes to a group, or to one attempt of it.
#[derive(Debug)]
pub struct GroupLock {
    _locks: Vec<Flock<File>>,
}

fn flock(folder: &Path, name: &str, how: FlockArg) -> Result<Flock<File>, StoreError> {
    let path = folder.join(name);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => StoreError::Locked { path: folder.to_owned() },
        errno => StoreError::io("lock", &path)(errno.into()),
    })
}

/// The folder of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir {
    root: PathBuf,
}

impl AttemptDir {
    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What reports read of the attempt.
    pub fn record(&self) -> PathBuf {
        self.root.join("attempt.json")
    }

    /// The grade of what was submitted.
    pub fn grade(&self) -> PathBuf {
        self.root.join("grade.json")
    }

    /// What happened, where the attempt was run by a process of its own.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// What a resumed run needs to find a running container again.
    pub fn token(&self) -> PathBuf {
        self.root.join("running.json")
    }

    /// The salvaged submission, whether or not there is one.
    pub fn submission(&self) -> PathBuf {
        self.root.join("submission").join("submission.csv")
    }

    /// What the agent printed.
    pub fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    /// Copies of the submission taken while the agent ran.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
}

/// Writes a file aside, flushes it to disk and renames it into place: readers see the old content
/// or the new, never a part.
///
/// # Errors
/// [`StoreError::Io`]; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut aside = tempfile::Builder::new()
            .prefix(".aside-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(dir)?;
        aside.write_all(bytes)?;
        aside.as_file().sync_all()?;
        aside.persist(path).map_err(|error| error.error)?;
        // The rename itself must survive a power loss too.
        File::open(dir)?.sync_all()
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

/// SHA-256 of a file, as hexadecimal digits, and its length.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read.
pub fn file_sha256(path: &Path) -> Result<(String, u64), StoreError> {
    let read = || -> io::Result<(String, u64)> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok((hex(&hash.finalize()), length));
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
    };
    read().map_err(StoreError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_one_writer() {
        let temp = tempfile::tempdir().unwrap();
        let (group, name) = GroupDir::create(temp.path(), "g").unwrap();
        assert_eq!(name, "g");
        let held = group.lock().unwrap();
        assert!(matches!(group.lock(), Err(StoreError::Locked { .. })));
        drop(held);
        group.lock().unwrap();
        assert_eq!(GroupDir::create(temp.path(), "g").unwrap().1, "g-2");
    }

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
    fn damage_is_told_from_absence() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        assert_eq!(read_json_if_there::<i32>(&path).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(read_json_if_there::<i32>(&path), Err(StoreError::Damaged { .. })));
    }
}
