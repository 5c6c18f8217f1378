//! What an executor is given to start an attempt, and what it says when it cannot.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dir::AttemptDir;
use super::limits::{GpuAccess, GpuHandle, Limits, Network};
use super::llm::LlmAccess;

/// A boxed future, so that the traits stay object safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where an agent's folders are in a container.
pub const HOME: &str = "/home";
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DataMode {
    /// Mounted read-only.
    #[default]
    ReadOnly,
    /// Copied into the container, writable.
    Copy,
}

impl DataMode {
    /// Whether agents cannot change the data.
    pub fn is_read_only(&self) -> bool {
        *self == Self::ReadOnly
    }
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
    pub attempt_dir: AttemptDir,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
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
    /// The language models that it may call.
    pub llm: Option<LlmAccess>,
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

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// The image cannot be run under the seal.
    #[error("image `{image}` is refused: {why}")]
    ImageRefused {
        /// The reference.
        image: String,
        /// What is wrong with it.
        why: String,
    },
    /// A step of the agent's Dockerfile failed.
    #[error("the agent's image cannot be built from `{dockerfile}`: {cause}{}", quoted(.last_lines))]
    BuildFailed {
        /// The Dockerfile.
        dockerfile: String,
        /// What the builder says.
        cause: String,
        /// What it printed last.
        last_lines: Vec<String>,
        /// All that it printed.
        log: PathBuf,
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

/// Lines of a program's output below a message.
fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
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
                 `DOCKER_HOST` at its socket; `--executor namespaces` makes sealed containers without one, `--executor process` runs unsealed"
                    .to_string(),
            ),
            Self::ImageMissing { hint, .. } => Some(hint.clone()),
            Self::HostFull { .. } => Some("free some space; `medalist clean` removes what old runs left".to_string()),
            Self::BuildFailed { log, .. } => Some(format!(
                "give the step what it lacks; `{}` has all that the builder printed",
                log.display()
            )),
            Self::ImageRefused { .. } => Some("docs/containers.md says what an image may hold".to_string()),
            Self::Unsupported { .. } | Self::Engine { .. } | Self::Gone { .. } | Self::Io(_) => None,
        }
    }
}

/// The environment every agent gets, whatever runs it: MLE-bench's names, and ours for the budget
/// and the seed.
///
/// `home` is `/home` in a container, `llm_port` where the gateway listens, if there is one.
/// [`LaunchSpec::env`] comes after it and wins, but for a time limit beyond the attempt's own.
#[must_use]
pub fn agent_env(spec: &LaunchSpec, home: &str, llm_port: u16) -> Vec<(String, String)> {
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
    // Numeric libraries count the machine's processors, of which an attempt has a share of the time.
    let here = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    set("OMP_NUM_THREADS", (spec.limits.cpus.ceil() as usize).clamp(1, here).to_string());
    for name in ["SEED", "MLE_SEED", "MEDALIST_SEED"] {
        set(name, spec.seed.to_string());
    }
    for (name, value) in spec.llm.iter().flat_map(|llm| llm.environment(llm_port)) {
        set(name, value);
    }
    for (name, value) in &spec.env {
        // An agent may ask for less time than it is given, and cannot have more.
        if name == "TIME_LIMIT_SECS"
            && value.trim().parse().is_ok_and(|asked: f64| asked > budget as f64)
        {
            continue;
        }
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}
