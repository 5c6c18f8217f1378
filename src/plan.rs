//! What will run is computed first and is a value: `run --dry-run` prints it, `run` takes it, the report counts against it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_reports::record::{AttemptKeyRecord, CompetitionFacts, FormatVersion};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agents::AgentSpec;
use crate::limits::{GpuRequest, Limits, Network, seconds};

/// The version of `plan.json` that this program writes.
pub const PLAN_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Everything a run group consists of, fixed before anything starts; `--resume` reads it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Format of the file.
    pub format: FormatVersion,
    /// The group's name, which is its folder's.
    pub group: String,
    /// When the plan was made.
    pub created_at: DateTime<Utc>,
    /// The agent.
    pub agent: AgentSpec,
    /// The suite asked for, if one was.
    pub suite: Option<String>,
    /// Which executor runs it.
    pub executor: ExecutorKind,
    /// Limits of every attempt.
    pub limits: Limits,
    /// What agents can reach.
    pub network: Network,
    /// GPUs of every attempt.
    pub gpus: GpuRequest,
    /// How many attempts share one card.
    pub gpu_share: u32,
    /// Attempts at once; `None` as many as the machine's resources allow.
    pub parallel: Option<usize>,
    /// Tries again after a failure of the machine.
    pub retries: u32,
    /// How often a copy of the submission is taken.
    pub snapshot_every: Option<SnapshotEvery>,
    /// OCI runtime other than the daemon's default.
    pub runtime: Option<String>,
    /// CPUs that attempts may use, such as `0-3`; any otherwise.
    #[serde(default)]
    pub cpuset: Option<String>,
    /// Whether secrets that the agent names may be put into its environment.
    pub pass_secrets: bool,
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

/// Time between two snapshots of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotEvery(#[serde(with = "seconds")] pub Duration);

/// One attempt of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedAttempt {
    /// Competition, agent, seed.
    pub key: AttemptKey,
    /// Its folder below the group's: `<competition>_<uuid>`, as MLE-bench names it.
    pub dir: String,
    /// Facts of the competition, so that a report needs no catalogue.
    pub competition: CompetitionFacts,
}

/// The kinds of executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// Containers through Docker or Podman.
    Docker,
    /// Plain child processes, not sealed.
    Process,
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Process => "process",
        })
    }
}

/// Which attempt: one agent on one competition with one seed. Prints and parses as `spaceship-titanic/dummy/0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AttemptKey {
    /// Competition id.
    pub competition: String,
    /// Agent id, which may hold a slash (`aide/dev`).
    pub agent: String,
    /// Seed number, from 0.
    pub seed: u32,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.competition, self.agent, self.seed)
    }
}

impl From<AttemptKey> for String {
    fn from(key: AttemptKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for AttemptKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

/// A text that is not `competition/agent/seed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attempt, expected `competition/agent/seed`")]
pub struct KeyError(String);

impl FromStr for AttemptKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bad = || KeyError(text.to_owned());
        let (competition, rest) = text.split_once('/').ok_or_else(bad)?;
        let (agent, seed) = rest.rsplit_once('/').ok_or_else(bad)?;
        let seed = seed.parse().map_err(|_| bad())?;
        if competition.is_empty() || agent.is_empty() {
            return Err(bad());
        }
        Ok(Self { competition: competition.to_owned(), agent: agent.to_owned(), seed })
    }
}

impl From<&AttemptKey> for AttemptKeyRecord {
    fn from(key: &AttemptKey) -> Self {
        Self { competition: key.competition.clone(), agent: key.agent.clone(), seed: key.seed }
    }
}

/// Attempts of one agent on competitions with seeds `0..seeds`.
///
/// Seeds are the outer loop, so that a run that is cut short has whole seeds. `uuid` names the folders.
pub fn attempts(
    agent: &str,
    competitions: &[CompetitionFacts],
    seeds: u32,
    mut uuid: impl FnMut() -> Uuid,
) -> Vec<PlannedAttempt> {
    (0..seeds)
        .flat_map(|seed| competitions.iter().map(move |competition| (seed, competition)))
        .map(|(seed, competition)| PlannedAttempt {
            key: AttemptKey { competition: competition.id.clone(), agent: agent.to_owned(), seed },
            dir: format!("{}_{}", competition.id, uuid()),
            competition: competition.clone(),
        })
        .collect()
}

/// The name of a group, as MLE-bench writes it: `2026-11-24T12-00-00-UTC_run-group_<agent>`.
pub fn group_name(at: DateTime<Utc>, agent: &str) -> String {
    let agent: String = agent.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    format!("{}-UTC_run-group_{agent}", at.format("%Y-%m-%dT%H-%M-%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_and_parse_alike() {
        for text in ["spaceship-titanic/dummy/0", "a/aide/dev/12"] {
            assert_eq!(text.parse::<AttemptKey>().unwrap().to_string(), text);
        }
        assert_eq!("a/aide/dev/12".parse::<AttemptKey>().unwrap().agent, "aide/dev");
        for text in ["", "a", "a/b", "a/b/x", "/b/1", "a//1"] {
            assert!(text.parse::<AttemptKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn equal_inputs_give_an_equal_plan_with_whole_seeds_first() {
        let facts = |id: &str| CompetitionFacts { id: id.into(), ..CompetitionFacts::default() };
        let plan = || attempts("x", &[facts("a"), facts("b")], 2, Uuid::nil);
        assert_eq!(plan(), plan());
        let keys: Vec<String> = plan().iter().map(|attempt| attempt.key.to_string()).collect();
        assert_eq!(keys, ["a/x/0", "b/x/0", "a/x/1", "b/x/1"]);
    }

    #[test]
    fn a_group_name_is_one_path_component() {
        let at = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(group_name(at, "aide/dev"), "1970-01-01T00-00-00-UTC_run-group_aide-dev");
    }
}
