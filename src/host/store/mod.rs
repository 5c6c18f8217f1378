//! The run directory: every path of a group is built here, and every write is atomic or an append.
//!
//! ```text
//! <runs>/<timestamp>_run-group_<agent>/
//!   plan.json        what was asked for; written once, read by `--resume`
//!   group.json       what reports read
//!   metadata.json    MLE-bench's own file, written again as attempts end, every five seconds at most
//!   events.jsonl     everything that happened, one object a line
//!   group.lock       held by the harness that writes here
//!   llm-budget/      leases of the group's budget for language models
//!   stop/            what `medalist stop` asks of that harness
//!   <competition>_<uuid>/{attempt.json, run.log, submission/, logs/, code/, grade.json, snapshots/}
//! ```

pub mod find;
pub mod tries;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::files::StoreError;
use super::lock::{is_locked, lock, lock_patiently};
use crate::attempt::dir::AttemptDir;

/// What a process holds that runs one attempt, in the attempt's folder.
const ATTEMPT_LOCK: &str = "attempt.lock";

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

    /// Where processes that run one attempt each lease what they spend of the group's budget for
    /// language models.
    pub fn llm_budget(&self) -> PathBuf {
        self.root.join("llm-budget")
    }

    /// Whether a harness runs the group now, or an attempt of it. Only asks: a harness that starts
    /// at the same moment is not held up.
    pub fn is_running(&self) -> bool {
        if is_locked(&self.group_lock()) {
            return true;
        }
        let attempts = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        attempts.map(|entry| entry.path().join(ATTEMPT_LOCK)).any(|lock| is_locked(&lock))
    }

    fn group_lock(&self) -> PathBuf {
        self.root.join("group.lock")
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
        let lock = lock_patiently(&self.group_lock(), FlockArg::LockExclusiveNonblock)?;
        Ok(GroupLock { _locks: vec![lock] })
    }

    /// Takes one attempt of the group for this process, beside others that hold other attempts;
    /// makes its folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds the attempt or the whole group.
    pub fn lock_attempt(&self, dir: &str) -> Result<GroupLock, StoreError> {
        let group = lock(&self.group_lock(), FlockArg::LockSharedNonblock)?;
        let attempt = self.root.join(dir);
        std::fs::create_dir_all(&attempt).map_err(StoreError::io("create", &attempt))?;
        let lock = attempt.join(ATTEMPT_LOCK);
        let attempt = lock_patiently(&lock, FlockArg::LockExclusiveNonblock)?;
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

    #[test]
    fn who_asks_whether_a_group_runs_keeps_nobody_from_running_it() {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "g").unwrap();
        assert!(!group.is_running());
        for lock in [GroupDir::lock, |group: &GroupDir| group.lock_attempt("a_1")] {
            let held = lock(&group).unwrap();
            assert!(group.is_running());
            drop(held);
        }
        assert!(!group.is_running());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        group.is_running();
                    }
                });
            }
            for round in 0..200 {
                let held = group.lock();
                let taken = held.map(drop).map_err(|error| error.to_string());
                if taken.is_err() {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert_eq!(taken, Ok(()), "round {round}");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
