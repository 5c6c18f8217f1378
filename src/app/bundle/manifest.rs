//! `manifest.json`, the first file of a bundle: what is in it, and what it claims.

use std::collections::{BTreeMap, BTreeSet};

use medalist_grading::{GradeReport, Medal};
use medalist_reports::record::{AttemptRecord, FormatVersion};
use serde::{Deserialize, Serialize};

/// The version of bundles that this program writes.
pub const BUNDLE_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// What a bundle is told by.
pub const KIND: &str = "medalist-bundle";

/// Name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";

/// Name of the signature over it.
pub const SIGNATURE: &str = "manifest.json.sig";

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`KIND`].
    pub kind: String,
    /// Format of the bundle.
    pub format: FormatVersion,
    /// The program that made the bundle.
    pub made_by: MadeBy,
    /// What was left out on purpose.
    pub without: BTreeSet<Part>,
    /// The run groups, in the order of their names.
    pub groups: Vec<GroupClaim>,
    /// Every file, in the order of the paths.
    pub files: Vec<Listed>,
    /// Files that were left out on purpose, so that they can be shown later.
    #[serde(default)]
    pub left_out: Vec<Listed>,
}

/// A program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MadeBy {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: Option<String>,
}

/// A part of what attempts leave that a bundle can do without.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The agents' code.
    Code,
    /// Submissions and the copies that were taken of them.
    Submissions,
    /// What agents and language models said to each other.
    Transcripts,
    /// What agents printed and logged.
    Logs,
}

impl Part {
    /// What nobody can check without it.
    pub fn loss(self) -> &'static str {
        match self {
            Self::Code => "what the agents' programs do cannot be looked at",
            Self::Submissions => "no submission can be graded again",
            Self::Transcripts => "calls of language models cannot be set against what was said",
            Self::Logs => "what the agents printed cannot be looked at",
        }
    }

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Submissions => "submissions",
            Self::Transcripts => "transcripts",
            Self::Logs => "logs",
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// `<group>/<path below the group>`, with `/` between the parts.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// A run group and what it came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupClaim {
    /// Its name, which is its folder's in the bundle.
    pub id: String,
    /// The agent's id.
    pub agent: String,
    /// SHA-256 of `plan.json`.
    pub plan_sha256: String,
    /// SHA-256 over the agent's package.
    pub agent_sha256: Option<String>,
    /// Images that attempts ran in.
    #[serde(default)]
    pub images: BTreeSet<String>,
    /// SHA-256 over the prepared data by competition.
    #[serde(default)]
    pub data: BTreeMap<String, BTreeSet<String>>,
    /// SHA-256 of the programs that ran the group.
    #[serde(default)]
    pub programs: BTreeSet<String>,
    /// The last link of the group's event log; none without a chain.
    #[serde(default)]
    pub chain: Option<String>,
    /// Competitions whose answers were searched for in the bundle.
    #[serde(default)]
    pub answers_searched: BTreeSet<String>,
    /// What the grades come to.
    pub results: Results,
}

/// Counts of attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// In the plan.
    pub planned: u64,
    /// With an outcome.
    pub ended: u64,
    /// Of those: ended by a failure of the machine.
    pub infrastructure: u64,
    /// With a submission.
    pub submitted: u64,
    /// With a valid one.
    pub valid: u64,
    /// Better than the median.
    pub above_median: u64,
    /// Gold medals.
    pub gold: u64,
    /// Silver medals.
    pub silver: u64,
    /// Bronze medals.
    pub bronze: u64,
    /// Tries beyond the first of each attempt.
    pub retries: u64,
}

impl Results {
    /// Counts an attempt.
    pub fn count(&mut self, record: Option<&AttemptRecord>, grade: Option<&GradeReport>) {
        self.planned += 1;
        if let Some(record) = record {
            self.ended += u64::from(record.outcome.is_some());
            let lost = record.outcome.as_ref().is_some_and(|outcome| outcome.infrastructure);
            self.infrastructure += u64::from(lost);
            self.retries += (record.tries.len() as u64).saturating_sub(1);
        }
        if let Some(grade) = grade {
            self.submitted += u64::from(grade.submission_exists);
            self.valid += u64::from(grade.valid_submission);
            self.above_median += u64::from(grade.above_median);
            self.gold += u64::from(grade.medal == Some(Medal::Gold));
            self.silver += u64::from(grade.medal == Some(Medal::Silver));
            self.bronze += u64::from(grade.medal == Some(Medal::Bronze));
        }
    }

    /// Medals of any colour.
    pub fn medals(&self) -> u64 {
        self.gold + self.silver + self.bronze
    }
}
