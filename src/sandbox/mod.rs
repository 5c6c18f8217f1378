//! Where agents run. One file a kind, all with the same interface and the same contract tests.
//!
//! An [`Executor`] starts an attempt and gives a [`Running`]; the attempt's clock, its limits in
//! time and its ending are decided in one place for all of them, `run/clock.rs`.

pub(crate) mod cache;
pub(crate) mod control;
pub mod docker;
pub mod embedded;
pub mod engine;
pub mod fake;
pub mod gpu;
pub mod namespaces;
pub mod podman;
pub mod process;
pub(crate) mod salvage;
pub mod services;
mod setup;
mod supervisor;

pub(crate) use control::LONGEST_PAUSE;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::untrusted::Shown;
use serde::{Deserialize, Serialize};

use crate::attempt::launch::{BoxFuture, ExecutorError, LaunchSpec, PreparedImage, Program};
use crate::attempt::outcome::{CancelReason, Usage};

/// What an executor is and what it holds on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorInfo {
    /// `docker`, `process`, ...
    pub name: String,
    /// True if agents can reach neither network, nor answers, nor each other.
    pub sealed: bool,
    /// Facts worth a record: engine version, API version, storage driver, cgroup version, runtimes.
    pub details: BTreeMap<String, String>,
    /// How each limit is held, by the limit's name.
    pub limits: BTreeMap<String, Enforcement>,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Who holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The kernel, at once.
    Kernel,
    /// The harness looks again and again; a fast agent can overshoot between two looks.
    Watched,
    /// Nobody.
    None,
}

impl Enforcement {
    /// The word in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Watched => "watched",
            Self::None => "none",
        }
    }
}

/// What finds a started attempt again, after this process is gone. Written to disk by whoever
/// resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunToken {
    /// [`ExecutorInfo::name`].
    pub executor: String,
    /// [`LaunchSpec::name`].
    pub name: String,
    /// Container id, process id with start time, ...
    pub id: String,
    /// When the agent started: its clock runs on while nobody watches.
    pub started: DateTime<Utc>,
}

/// Something of ours that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// To attach to it or to remove it.
    pub token: RunToken,
    pub labels: BTreeMap<String, String>,
    /// True if its agent still runs.
    pub running: bool,
}

/// How hard to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM to the agent's process group: it may save its work.
    Term,
    /// The end of all its processes, at once.
    Kill,
}

/// Why the harness ends an agent. It is on disk before the signal is sent, so that a harness that
/// dies in between leaves the right reason behind, and so that signals of others can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StopReason {
    /// Its time is up.
    TimedOut {
        /// True once its grace is over too.
        killed: bool,
    },
    /// A person or another failure asked for it.
    Cancelled {
        /// Who asked.
        reason: CancelReason,
    },
    /// It wrote more than its disk limit.
    DiskFull,
    /// The machine's own disk ran full.
    HostFull {
        /// What was seen.
        cause: String,
    },
    /// One of its GPUs failed.
    GpuLost {
        /// What was seen.
        cause: String,
    },
    /// The language models could not be reached for too long.
    LlmOutage {
        /// What was seen.
        cause: String,
    },
    /// Nobody waits for its end.
    Abandoned,
}

/// What ended the agent, as the executor sees it; the driver makes an outcome of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitCause {
    /// Its main process ended; 128 + n for signal n.
    Exited(i32),
    /// It was ended for memory.
    OutOfMemory,
    /// It ended by itself, not cleanly, after it had run into its limit of processes.
    TooManyProcesses,
    /// It ended by itself, not cleanly, with its disk quota used up.
    DiskFull,
    /// It was ended because no harness was left to hold its time limit.
    Overtime,
    /// The engine lost it.
    Lost(String),
    /// The init could not start the agent, and the machine is to blame.
    SetupFailed(String),
    /// Its image cannot be run under the seal, or its agent cannot be started.
    ImageRefused(String),
}

/// The end of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitReport {
    /// Why.
    pub cause: ExitCause,
    /// What it used in all.
    pub usage: Usage,
    /// How long it ran, where that was measured beside it; it may have ended while no harness
    /// watched.
    pub ran: Option<Duration>,
}

/// What was taken over from the attempt's directories, and what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Salvage {
    /// True if `submission/submission.csv` is there.
    pub submission: bool,
    /// Files taken over.
    pub files: u64,
    /// Bytes taken over.
    pub bytes: u64,
    /// Entries refused, the first 100 by name.
    pub refused: Vec<Refused>,
    /// How many were refused in all.
    pub refused_count: u64,
    /// What could not be read at all, one sentence each.
    pub errors: Vec<Shown>,
    /// What the agent may have meant, if it left no `submission.csv`.
    #[serde(default)]
    pub hint: Option<Shown>,
    /// Why it can still be collected later, if something was in the way that is not the agent's.
    #[serde(default)]
    pub postponed: Option<Postponed>,
}

/// What was in the way of taking over what an agent left. It is still in the agent's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Postponed {
    /// This machine's disk was full.
    HostFull,
    /// The engine did not answer.
    EngineAway,
}

/// An entry that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its path below the attempt, such as `submission/submission.csv`; bytes that are not UTF-8
    /// are replaced.
    pub path: Shown,
    /// Why, such as `a symbolic link`.
    pub why: Shown,
}

impl Salvage {
    /// How many refused entries are kept by name.
    pub const REFUSED_KEPT: usize = 100;

    /// What could not be read, in one text.
    pub fn errors_text(&self) -> String {
        self.errors.iter().map(Shown::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Records an entry that is not taken over.
    pub fn refuse(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.refused_count += 1;
        if self.refused.len() < Self::REFUSED_KEPT {
            let (path, why) = (Shown::new(&path.into()), Shown::new(&why.into()));
            self.refused.push(Refused { path, why });
        }
    }
}

/// Starts attempts and finds them again.
pub trait Executor: Send + Sync {
    /// What it is and what it can hold here.
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>>;

    /// Makes sure that the program can be started, pulling its image if need be; `None` where there
    /// are no images. The attempt's clock does not run meanwhile.
    fn prepare_image<'a>(
        &'a self,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Option<PreparedImage>, ExecutorError>>;

    /// Starts an attempt. On an error nothing of it is left, unless the engine is away: then it may
    /// have been started, and [`Executor::list_orphans`] tells once the engine is back.
    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>>;

    /// Finds a started attempt again, running or ended, and takes over its validation service.
    fn attach<'a>(
        &'a self,
        token: &'a RunToken,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, ExecutorError>>;

    /// Everything of ours whose labels include `labels`, its name among them.
    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>>;

    /// Kills and removes an orphan; one that is gone already is no error.
    fn remove_orphan<'a>(&'a self, token: &'a RunToken)
    -> BoxFuture<'a, Result<(), ExecutorError>>;
}

/// A started attempt.
pub trait Running: Send + Sync {
    /// What finds it again.
    fn token(&self) -> RunToken;

    /// How long the agent had run when this value was made: nothing after a start, more after an
    /// attach.
    fn elapsed_before(&self) -> Duration;

    /// Waits for the end of the agent. May be dropped and called again.
    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>>;

    /// Writes down why, then asks the agent to end, or ends it.
    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Why it was asked to end, by this harness or by one before it, and how long ago.
    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>>;

    /// What it uses now; cheap enough for every second.
    fn usage(&self) -> BoxFuture<'_, Usage>;

    /// Bytes it has on disk, if they can be told while it runs; may take a while.
    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>>;

    /// Directories of this machine that fill up with the attempt's files, besides its own.
    fn storage(&self) -> Vec<PathBuf>;

    /// Copies the submission as it is now to `to`, under the rules of salvage; false if there is
    /// none.
    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>>;

    /// Copies the folder of code as it is now into the new folder `to`, as far as its files are plain and
    /// small; how many entries were left out. Where there is no code, no folder is made.
    fn snapshot_code<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<u64, ExecutorError>>;

    /// After the end: brings submission/, logs/ and code/ into the attempt's directory.
    fn collect(&self) -> BoxFuture<'_, Salvage>;

    /// After the end: removes what is left of it outside the attempt's directory.
    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>>;
}
