//! The run directory: every path of a group is built here, and every write is atomic or an append.
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

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::files::StoreError;
use super::lock::lock;
use crate::attempt::dir::AttemptDir;

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
        AttemptDir::new(self.root.join(dir))
    }

    /// Takes the group for this process; given back when the value is dropped or the process dies.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds it.
    pub fn lock(&self) -> Result<GroupLock, StoreError> {
        let lock = lock(&self.root.join("group.lock"), FlockArg::LockExclusiveNonblock)?;
        Ok(GroupLock { _locks: vec![lock] })
    }

    /// Takes one attempt of the group for this process, beside others that hold other attempts;
    /// makes its folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds the attempt or the whole group.
    pub fn lock_attempt(&self, dir: &str) -> Result<GroupLock, StoreError> {
        let group = lock(&self.root.join("group.lock"), FlockArg::LockSharedNonblock)?;
        let attempt = self.root.join(dir);
        std::fs::create_dir_all(&attempt).map_err(StoreError::io("create", &attempt))?;
        let attempt = lock(&attempt.join("attempt.lock"), FlockArg::LockExclusiveNonblock)?;
        Ok(GroupLock { _locks: vec![group, attempt] })
    }
}

/// Proof that this process alone writes to a group, or to one attempt of it.
#[derive(Debug)]
pub struct GroupLock {
    _locks: Vec<Flock<File>>,
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
}
