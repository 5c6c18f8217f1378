//! Where agents run. One file a kind, all with the same interface and the same contract tests.
//!
//! An [`Executor`] starts an attempt and gives a [`Running`]; the attempt's clock, its limits in
//! time and its ending are decided in one place, [`crate::runner::attempt`], for all of them.

pub(crate) mod control;
pub mod docker;
pub mod fake;
pub mod gpu_probe;
pub mod process;
pub(crate) mod salvage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::limits::{GpuAccess, GpuHandle, Limits, Network};
use crate::outcome::Usage;

/// A boxed future, so that the traits stay object safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Label that every container of ours carries; its value is the harness's version.
pub const LABEL: &str = "io.medalist.version";
/// Label with the attempt's unique name, as given in [`LaunchSpec::name`].
pub const LABEL_NAME: &str = "io.medalist.attempt";

/// Answers whether a submission is well formed. It must not tell the score.
pub trait Validator: Send + Sync {
    /// Checks a file that the agent sent. Called on a blocking thread; the file is a plain file of
    /// limited size, its content is hostile.
    fn validate(&self, csv: &Path) -> ValidationReply;
}

/// What the validation service says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationReply {
    /// True if the submission can be graded.
    pub valid: bool,
    /// The whole message, such as `Submission is valid.`; agents match on MLE-bench's wording.
    pub message: String,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A container image; `argv` is run as `nonroot` in /home, by default `bash
    /// /home/agent/start.sh`.
    Image {
        /// Tag or digest.
        reference: String,
        /// Command and arguments.
        argv: Vec<String>,
    },
    /// A command of this machine, for executors without containers.
    Local {
        /// Directory whose files are copied to the agent's directory before the start.
        agent_dir: Option<PathBuf>,
        /// Command and arguments; a relative command is looked for in the agent's directory first,
        /// then on PATH.
        argv: Vec<String>,
    },
}

/// How the public data get to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataMode {
    /// Mounted read-only.
    #[default]
    ReadOnly,
    /// Copied into the container, writable.
    Copy,
}

/// Everything an executor needs to start an attempt. All paths are absolute.
#[derive(Clone)]
pub struct LaunchSpec {
    /// Unique name of the attempt on this machine (`<competition>_<uuid>`): letters, digits, `_`,
    /// `.`, `-`.
    pub name: String,
    /// More labels for `resume` and `clean`, such as the group's id.
    pub labels: BTreeMap<String, String>,
    /// The competition's id: `COMPETITION_ID`, and what an `exp-id` header must name.
    pub competition: String,
    /// What to start.
    pub program: Program,
    /// Environment of the agent, on top of [`agent_env`].
    pub env: Vec<(String, String)>,
    /// `prepared/public`.
    pub public_dir: PathBuf,
    /// Text of `description.md`; it hides a file of that name in `public_dir`.
    pub description: String,
    /// Text of `instructions.txt`.
    pub instructions: String,
    /// The attempt's directory, which must exist: run.log, submission/, logs/ and code/ are made in
    /// it.
    pub attempt_dir: PathBuf,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
    /// Its GPUs.
    pub gpus: Vec<GpuHandle>,
    /// How the GPUs get in.
    pub gpu_access: GpuAccess,
    /// Directories and files of this machine that are mounted read-only: where from, and where in
    /// the container.
    pub mounts: Vec<(PathBuf, PathBuf)>,
    /// How the data get in.
    pub data_mode: DataMode,
    /// Told to the agent as `SEED`, `MLE_SEED` and `MEDALIST_SEED`.
    pub seed: u32,
    /// A privileged container, for which the user must have consented in the way MLE-bench asks.
    pub privileged: bool,
    /// CPUs it may use, such as `0-3`; any otherwise.
    pub cpuset: Option<String>,
    /// OCI runtime, such as `sysbox-runc` or `runsc`; the daemon's default otherwise.
    pub runtime: Option<String>,
    /// The validation service's judge.
    pub validator: Arc<dyn Validator>,
}

impl fmt::Debug for LaunchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchSpec")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("limits", &self.limits)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

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

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedImage {
    /// The reference asked for.
    pub reference: String,
    /// The engine's id of the image, `sha256:…`.
    pub id: String,
    /// The registry digest, if it came from one.
    pub digest: Option<String>,
    /// Bytes on disk.
    pub bytes: u64,
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
    /// Its labels.
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
    /// The init could not start the agent.
    SetupFailed(String),
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
    pub errors: Vec<String>,
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
    pub path: String,
    /// Why, such as `a symbolic link`.
    pub why: String,
}

impl Salvage {
    /// How many refused entries are kept by name.
    pub const REFUSED_KEPT: usize = 100;

    /// Records an entry that is not taken over.
    pub fn refuse(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.refused_count += 1;
        if self.refused.len() < Self::REFUSED_KEPT {
            // Names are the agent's: control characters must not reach a terminal.
            let path = path.into().replace(char::is_control, "\u{fffd}");
            self.refused.push(Refused { path, why: why.into() });
        }
    }
}

/// Why an executor could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// No daemon answers.
    #[error("no container engine answers at `{address}`")]
    Unavailable {
        /// Socket or URL.
        address: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The daemon went away.
    #[error("lost the container engine while trying to {action}")]
    EngineAway {
        /// What was tried.
        action: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The image is not here.
    #[error("image `{image}` is not on this machine")]
    ImageMissing {
        /// The reference.
        image: String,
        /// What would help.
        hint: String,
    },
    /// The machine's disk is full.
    #[error("no space left on the machine's disk: {cause}")]
    HostFull {
        /// Where it was seen.
        cause: String,
    },
    /// What was asked for cannot be had here.
    #[error("{what}")]
    Unsupported {
        /// A sentence.
        what: String,
    },
    /// The engine refused or failed.
    #[error("cannot {action}")]
    Engine {
        /// What was tried, as `start the container`.
        action: String,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The attempt is no longer there.
    #[error("attempt `{name}` is gone from the executor")]
    Gone {
        /// [`LaunchSpec::name`].
        name: String,
    },
    /// A file of the attempt could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A cause of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl ExecutorError {
    /// Whether the engine cannot be talked to now: a daemon that restarts needs seconds, and
    /// containers outlast it.
    #[must_use]
    pub fn is_engine_away(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::EngineAway { .. })
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unavailable { .. } | Self::EngineAway { .. } => Some(
                "start Docker (`systemctl start docker`) or Podman (`systemctl --user start podman.socket`), or point \
                 `DOCKER_HOST` at its socket; `--executor process` runs without one, unsealed"
                    .to_string(),
            ),
            Self::ImageMissing { hint, .. } => Some(hint.clone()),
            Self::HostFull { .. } => Some("free some space; `medalist clean` removes what old runs left".to_string()),
            Self::Unsupported { .. } | Self::Engine { .. } | Self::Gone { .. } | Self::Io(_) => None,
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

    /// Everything of ours whose labels include `labels`, [`LABEL_NAME`] among them.
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

    /// Asks the agent to end, or ends it.
    fn stop(&self, how: Stop) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// What it uses now; cheap enough for every second.
    fn usage(&self) -> BoxFuture<'_, Usage>;

    /// Bytes it has on disk, if they can be told while it runs; may take a while.
    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>>;

    /// Directories of this machine that fill up with the attempt's files, besides its own.
    fn storage(&self) -> Vec<PathBuf>;

    /// Copies the submission as it is now to `to`, under the rules of salvage; false if there is
    /// none.
    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>>;

    /// After the end: brings submission/, logs/ and code/ into the attempt's directory.
    fn collect(&self) -> BoxFuture<'_, Salvage>;

    /// After the end: removes what is left of it outside the attempt's directory.
    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>>;
}

/// The environment every agent gets, whatever runs it: MLE-bench's names, and ours for the budget
/// and the seed.
///
/// `home` is `/home` in a container. [`LaunchSpec::env`] comes after it and wins.
#[must_use]
pub fn agent_env(spec: &LaunchSpec, home: &str) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| env.push((name.to_string(), value));
    set("MEDALIST_ATTEMPT", spec.name.clone());
    set("COMPETITION_ID", spec.competition.clone());
    set("SUBMISSION_DIR", format!("{home}/submission"));
    set("LOGS_DIR", format!("{home}/logs"));
    set("CODE_DIR", format!("{home}/code"));
    set("AGENT_DIR", format!("{home}/agent"));
    set("DATA_DIR", format!("{home}/data"));
    let budget = spec.limits.timeout.as_secs();
    set("TIME_LIMIT_SECS", budget.to_string());
    set("MEDALIST_TIME_LIMIT_S", budget.to_string());
    set("MEDALIST_GRACE_S", spec.limits.grace.as_secs().to_string());
    set("MEDALIST_MEMORY_BYTES", spec.limits.memory_bytes.to_string());
    set("MEDALIST_DISK_BYTES", spec.limits.disk_bytes.to_string());
    set("MEDALIST_CPUS", spec.limits.cpus.to_string());
    set("MEDALIST_GPUS", spec.gpus.len().to_string());
    for name in ["SEED", "MLE_SEED", "MEDALIST_SEED"] {
        set(name, spec.seed.to_string());
    }
    for (name, value) in &spec.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
