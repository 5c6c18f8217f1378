//! What will run is computed first and is a value: `run --dry-run` prints it, `run` takes it, the
//! report counts against it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_competitions::Complexity;
use medalist_reports::record::{
    AttemptKey, CompetitionFacts, FormatVersion, SuiteRecord, key_text,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attempt::agents::{AgentError, AgentSpec, Told};
use crate::attempt::launch::DataMode;
use crate::attempt::limits::{GpuRequest, Limits, Network, seconds};
use crate::attempt::llm::{self, LlmPlan};

/// The version of `plan.json` that this program writes.
pub const PLAN_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 3 };

/// Everything a run group consists of, fixed before anything starts; `--resume` reads it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Format of the file.
    pub format: FormatVersion,
    /// The group's name, which is its folder's.
    pub group: String,
    /// When the plan was made.
    pub created_at: DateTime<Utc>,
    pub agent: AgentSpec,
    /// The suite asked for, if one was.
    pub suite: Option<String>,
    /// Which suite that is, if it is one in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_file: Option<SuiteRecord>,
    /// Which executor runs it.
    pub executor: ExecutorKind,
    /// Where attempts go that a scheduler's nodes run; this machine runs them otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Remote>,
    /// Limits of every attempt.
    pub limits: Limits,
    /// What agents can reach.
    pub network: Network,
    /// How the public data get to agents.
    #[serde(default, skip_serializing_if = "DataMode::is_read_only")]
    pub data: DataMode,
    /// Whether the text that describes a competition says where it comes from.
    #[serde(default, skip_serializing_if = "BriefKind::is_plain")]
    pub brief: BriefKind,
    /// GPUs of every attempt.
    pub gpus: GpuRequest,
    /// How many attempts share one GPU.
    pub gpu_share: u32,
    /// The GPUs that this run may use, by UUID; empty for all.
    #[serde(default)]
    pub gpu_pool: Vec<String>,
    /// How GPUs get into containers; `None` for the first way that works.
    #[serde(default)]
    pub gpu_access: Option<AccessKind>,
    /// What of this machine is mounted into containers, read-only.
    #[serde(default)]
    pub mounts: Vec<MountSpec>,
    /// Attempts at once; `None` as many as the machine's resources allow.
    pub parallel: Option<usize>,
    /// Tries again after a failure of the machine.
    pub retries: u32,
    /// Whether the first attempt that fails ends the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_fast: bool,
    /// How often a copy of the submission is taken.
    pub snapshot_every: Option<SnapshotEvery>,
    /// OCI runtime other than the daemon's default.
    pub runtime: Option<String>,
    /// CPUs that attempts may use, such as `0-3`; any otherwise.
    #[serde(default)]
    pub cpuset: Option<String>,
    /// Whether secrets that the agent names may be put into its environment.
    pub pass_secrets: bool,
    /// The language models that agents may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmPlan>,
    /// Where the prepared data are.
    pub data_dir: PathBuf,
    /// The user's own catalogue folders.
    pub catalog_dirs: Vec<PathBuf>,
    /// The command line that made the plan.
    pub command: Vec<String>,
    /// Free words of the user.
    pub notes: Option<String>,
    /// One entry for each attempt, in the order in which they start.
    pub attempts: Vec<PlannedAttempt>,
}

impl Plan {
    /// The network that agents have, in a word: nothing keeps plain processes from the machine's.
    pub fn network_in_force(&self) -> &str {
        match self.executor {
            ExecutorKind::Docker | ExecutorKind::Podman | ExecutorKind::Namespaces => {
                self.network.mode()
            }
            ExecutorKind::Process => Network::Open.mode(),
        }
    }

    /// Whether an attempt of this plan is sealed, on an executor that can seal (`by_executor`): no
    /// answers, nothing of the host and no network are in the agent's reach.
    ///
    /// All that says "sealed" to people or in files asks here.
    pub fn is_sealed(&self, by_executor: bool) -> bool {
        by_executor
            && self.network == Network::Sealed
            && !self.agent.privileged
            && !self.llm.as_ref().is_some_and(LlmPlan::opens_the_seal)
    }

    /// The secrets that the agent names and the plan must hand over: the gateway stands in for keys
    /// of language models.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = self.agent.secrets();
        secrets.retain(|(variable, _)| self.llm.is_none() || !llm::is_key(variable));
        secrets
    }

    /// The environment and command of an attempt's agent, whose folders are below `home`, with secrets
    /// filled in from `lookup`; no key of a language model gets in where the gateway holds it.
    ///
    /// # Errors
    /// As [`AgentSpec::resolve`].
    pub fn resolve_agent(
        &self,
        key: &AttemptKey,
        home: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(BTreeMap<String, String>, Vec<String>), AgentError> {
        let mut agent = self.agent.clone();
        if self.llm.is_some() {
            agent.env.retain(|name, _| !llm::is_key(name));
        }
        let config = self.llm.as_ref().and_then(|llm| llm.config().ok());
        let told = Told {
            home,
            limits: &self.limits,
            budget: config.map(|config| config.budget.attempt).unwrap_or_default(),
            competition: self.brief.told_id(&key.competition),
            seed: key.seed,
        };
        agent.resolve(&told, lookup)
    }
}

/// Whether agents are told where a competition comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum BriefKind {
    /// The text as it is.
    #[default]
    Plain,
    /// Names of the competition and its organisers, links, dates and prizes are replaced by rules.
    Obfuscated,
}

impl BriefKind {
    /// Whether the text is left as it is.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// What an agent is told as the competition's id.
    pub fn told_id(self, id: &str) -> &str {
        match self {
            Self::Plain => id,
            Self::Obfuscated => "this-competition",
        }
    }
}

/// The batch scheduler that a group's attempts are handed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Its kind.
    pub scheduler: SchedulerKind,
    /// What the names of the group's jobs begin with; no other group's do.
    pub prefix: String,
    /// What else it is told.
    #[serde(default)]
    pub wishes: SchedulerWishes,
}

/// The kinds of schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerKind {
    /// Slurm.
    Slurm,
    /// Kubernetes: a pod for each attempt.
    Kubernetes,
    /// Any other, by the commands that a file names.
    Command,
}

/// What a user says to a scheduler beside what medalist says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerWishes {
    /// The queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Who pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// More arguments of the scheduler's submitting program; they go after ours, and win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Arguments that are left out, by their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The cluster, by its name in the user's own settings: of Kubernetes the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What each job is made from: of Kubernetes a pod's manifest, otherwise the scheduler's commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// A file of the user's, kept in the plan: whoever follows later has the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Where it was, for messages.
    pub file: PathBuf,
    /// What was in it.
    pub text: String,
}

/// Time between two snapshots of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotEvery(#[serde(with = "seconds")] pub Duration);

/// One attempt of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedAttempt {
    /// Competition, agent, seed.
    #[serde(with = "key_text")]
    pub key: AttemptKey,
    /// Its folder below the group's: `<competition>_<uuid>`, as MLE-bench names it.
    pub dir: String,
    /// Facts of the competition, so that a report needs no catalogue.
    pub competition: CompetitionFacts,
    /// GPUs of this attempt, where they are not those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuRequest>,
}

/// The ways of a GPU into a container, as they are asked for; [`crate::attempt::limits::GpuAccess`] is what
/// becomes of one on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AccessKind {
    /// The engine's `--gpus` (NVIDIA Container Toolkit).
    DeviceRequest,
    /// The OCI runtime `nvidia`.
    NvidiaRuntime,
    /// The Container Device Interface.
    Cdi,
    /// Plain device nodes and the driver's libraries, without the toolkit.
    DeviceNodes,
}

/// A directory or file of this machine that containers see read-only. Prints and parses as
/// `SOURCE:TARGET`, or `PATH` for both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MountSpec {
    /// Here.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
}

impl fmt::Display for MountSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.display(), self.target.display())
    }
}

impl From<MountSpec> for String {
    fn from(mount: MountSpec) -> Self {
        mount.to_string()
    }
}

impl TryFrom<String> for MountSpec {
    type Error = MountError;

    fn try_from(text: String) -> Result<Self, MountError> {
        text.parse()
    }
}

/// A text that is no mount, or one that would break the seal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot mount `{text}`: {why}")]
pub struct MountError {
    /// What was asked for.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl FromStr for MountSpec {
    type Err = MountError;

    fn from_str(text: &str) -> Result<Self, MountError> {
        let (source, target) = text.split_once(':').unwrap_or((text, text));
        let mount = Self { source: source.into(), target: target.into() };
        let plain = |path: &Path| {
            path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
        };
        let ours = ["/private", "/home", "/medalist", "/proc", "/sys", "/dev"];
        let why = if !plain(&mount.source) || !plain(&mount.target) {
            "both paths must be absolute and without `..`"
        } else if mount.target == Path::new("/")
            || ours.iter().any(|ours| mount.target.starts_with(ours))
        {
            "that place in the container is the harness's or the kernel's"
        } else {
            return Ok(mount);
        };
        Err(MountError { text: text.to_owned(), why: why.to_owned() })
    }
}

impl MountSpec {
    /// Checks that the mount shows an agent nothing that a run keeps from it: neither holds nor
    /// lies in one of `secret`.
    ///
    /// # Errors
    /// [`MountError`] names the place, or says that there is nothing to mount.
    pub fn check(&self, secret: &[&Path]) -> Result<(), MountError> {
        let error = |why: String| MountError { text: self.to_string(), why };
        let source = self.source.canonicalize().map_err(|cause| error(cause.to_string()))?;
        let sockets = ["/run", "/var/run"].map(PathBuf::from);
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let secret =
            secret.iter().map(|path| real(path)).chain(sockets.iter().map(|path| real(path)));
        for place in secret {
            if source.starts_with(&place) || place.starts_with(&source) {
                let place = place.display();
                return Err(error(format!(
                    "it would show agents `{place}`, which holds answers, runs or sockets"
                )));
            }
        }
        Ok(())
    }
}

/// The kinds of executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// Containers through Docker or Podman.
    Docker,
    /// Containers through a Podman of this user that the run starts for itself.
    Podman,
    /// Containers that medalist makes itself: no engine, no root.
    Namespaces,
    /// Plain child processes, not sealed.
    Process,
}

impl ExecutorKind {
    /// Whether attempts are containers, with an image, a `/home` and a network of their own.
    pub fn has_containers(self) -> bool {
        self != Self::Process
    }

    /// Whether a container engine runs them.
    pub fn has_engine(self) -> bool {
        matches!(self, Self::Docker | Self::Podman)
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Namespaces => "namespaces",
            Self::Process => "process",
        })
    }
}

/// Attempts of one agent on competitions with the given seeds.
///
/// Seeds are the outer loop, so that a run that is cut short has whole seeds. In a seed the
/// attempts that may take longest come first, and of those the ones with the most GPUs, so that
/// the end of a run is made of short ones. `gpus_for` says which competitions get other GPUs than
/// the plan's; `uuid` names the folders.
pub fn attempts(
    agent: &str,
    competitions: &[CompetitionFacts],
    seeds: Range<u32>,
    brief: BriefKind,
    gpus_for: impl Fn(&CompetitionFacts) -> Option<GpuRequest>,
    mut uuid: impl FnMut() -> Uuid,
) -> Vec<PlannedAttempt> {
    let devices = |competition: &CompetitionFacts| match gpus_for(competition) {
        Some(GpuRequest::Count(count)) => count,
        _ => 0,
    };
    let mut order: Vec<&CompetitionFacts> = competitions.iter().collect();
    order.sort_by_key(|competition| {
        (expected_length(competition), std::cmp::Reverse(devices(competition)))
    });
    let order = &order;
    seeds
        .flat_map(|seed| order.iter().map(move |competition| (seed, *competition)))
        .map(|(seed, competition)| PlannedAttempt {
            key: AttemptKey { competition: competition.id.clone(), agent: agent.to_owned(), seed },
            // An agent finds the folder's name in its environment, and as a plain process in its paths.
            dir: format!("{}_{}", brief.told_id(&competition.id), uuid()),
            competition: competition.clone(),
            gpus: gpus_for(competition),
        })
        .collect()
}

/// How long a competition is expected to keep an agent, from the longest down. All have the same
/// limit; what differs is how much of it an agent uses, and the complexity is the best guess there
/// is.
fn expected_length(competition: &CompetitionFacts) -> u32 {
    match competition.complexity.parse() {
        Ok(Complexity::High) => 0,
        Ok(Complexity::Medium) => 1,
        Ok(Complexity::Low) => 2,
        Ok(Complexity::Dev | Complexity::Demo | Complexity::Open | Complexity::Unrated)
        | Err(_) => 3,
    }
}

/// The name of a group, as MLE-bench writes it: `2026-11-24T12-00-00-UTC_run-group_<agent>`.
pub fn group_name(at: DateTime<Utc>, agent: &str) -> String {
    let agent: String = agent
        .chars()
        .map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    format!("{}-UTC_run-group_{agent}", at.format("%Y-%m-%dT%H-%M-%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_give_an_equal_plan_with_whole_seeds_first() {
        let facts = |id: &str| CompetitionFacts { id: id.into(), ..CompetitionFacts::default() };
        let plan = || {
            attempts("x", &[facts("a"), facts("b")], 0..2, BriefKind::Plain, |_| None, Uuid::nil)
        };
        assert_eq!(plan(), plan());
        let keys: Vec<String> = plan().iter().map(|attempt| attempt.key.to_string()).collect();
        assert_eq!(keys, ["a/x/0", "b/x/0", "a/x/1", "b/x/1"]);
        let later = attempts("x", &[facts("a")], 3..5, BriefKind::Plain, |_| None, Uuid::nil);
        assert_eq!((later[0].key.seed, later[1].key.seed, later.len()), (3, 4, 2));
    }

    #[test]
    fn what_may_take_longest_comes_first_in_each_seed() {
        let facts = |id: &str, complexity: &str| CompetitionFacts {
            id: id.into(),
            complexity: complexity.into(),
            ..CompetitionFacts::default()
        };
        let all =
            [facts("l", "low"), facts("h", "high"), facts("m", "medium"), facts("big", "medium")];
        let gpus = |competition: &CompetitionFacts| {
            (competition.id == "big").then_some(GpuRequest::Count(4))
        };
        let plan = attempts("x", &all, 0..2, BriefKind::Plain, gpus, Uuid::nil);
        let keys: Vec<String> = plan.iter().map(|attempt| attempt.key.to_string()).collect();
        assert_eq!(keys[..4], ["h/x/0", "big/x/0", "m/x/0", "l/x/0"]);
        assert_eq!(keys[4], "h/x/1");
        assert_eq!((&plan[1].gpus, &plan[2].gpus), (&Some(GpuRequest::Count(4)), &None));
    }

    #[test]
    fn a_mount_is_refused_where_it_would_break_the_seal() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        std::fs::create_dir_all(data.join("c/prepared/private")).unwrap();
        std::fs::create_dir(temp.path().join("weights")).unwrap();
        let mount = |path: &str| -> Result<MountSpec, MountError> {
            temp.path().join(path).display().to_string().parse()
        };
        mount("weights").unwrap().check(&[&data]).unwrap();
        for path in ["data", "data/c/prepared/private", "."] {
            let source = temp.path().join(path);
            let target = "/weights".into();
            let error = MountSpec { source, target }.check(&[&data]).unwrap_err().to_string();
            assert!(error.contains("holds answers"), "{path}: {error}");
        }
        // A link leads where it leads.
        std::os::unix::fs::symlink(&data, temp.path().join("link")).unwrap();
        assert!(mount("link").unwrap().check(&[&data]).is_err());
        assert!("/run:/x".parse::<MountSpec>().unwrap().check(&[]).is_err());
        for text in ["weights", "/a/../b", "/a:/home/data", "/a:/", "/a:/private/x", "/a:b"] {
            assert!(text.parse::<MountSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_name_is_one_path_component() {
        let at = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(group_name(at, "aide/dev"), "1970-01-01T00-00-00-UTC_run-group_aide-dev");
    }
}
