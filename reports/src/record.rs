//! What a run leaves on disk and a report reads: `group.json` of a run group and `attempt.json` of
//! an attempt.
//!
//! The runner writes these types, reports read them. Fields that a reader does not know are
//! ignored, fields that an older writer did not have are filled with their defaults, so both files
//! may grow within a major version.
//!
//! How an attempt ended ([`OutcomeRecord`]) and how its submission graded (`grade.json`) are two
//! facts in two files.

mod key;
mod llm;
mod version;
mod words;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use medalist_grading::Medal;
use medalist_grading::untrusted::Shown;
use serde::{Deserialize, Serialize};

pub use key::{AttemptKey, AttemptKeyError, key_text};
pub use llm::{LlmBudgetRecord, LlmGroupRecord, LlmRecord, LlmTokens, LlmTotals};
pub use version::{FormatVersion, FormatVersionError, RECORD_FORMAT};
pub use words::{OutcomeKind, Phase};

/// `group.json`: what was planned, with what, on which machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Format of this file.
    pub format: FormatVersion,
    /// Name of the group, which is the name of its directory.
    pub id: String,
    /// The agent that all attempts of the group run.
    pub agent: AgentRecord,
    /// Suite that was asked for; `None` if competitions were named one by one.
    #[serde(default)]
    pub suite: Option<String>,
    /// Which suite that is, if it is one in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_file: Option<SuiteRecord>,
    /// Every attempt of the plan, also those that have not started, so that none drops out of a
    /// denominator.
    #[serde(default)]
    pub attempts: Vec<PlannedRecord>,
    /// When the group began.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last attempt ended; `None` while the group runs or after it was killed.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Version of the harness that made the plan.
    #[serde(default)]
    pub harness_version: String,
    /// The command line, program name first.
    #[serde(default)]
    pub command: Vec<String>,
    /// The machine that made the plan.
    #[serde(default)]
    pub hardware: HardwareRecord,
    /// Free words of the user, shown on top of the report.
    #[serde(default)]
    pub notes: Option<String>,
    /// What the attempts' calls of language models came to; `None` if there was no gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmGroupRecord>,
}

/// Which suite it was that stands in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteRecord {
    /// The version that its author gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The day after which all its competitions ended, of a suite that was made by date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<NaiveDate>,
    /// Its limits that were not kept, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departures: Vec<String>,
}

impl SuiteRecord {
    /// The suite in a few lines, for what is about to run.
    pub fn describe(&self) -> String {
        let mut text = format!("suite      sha256 {}\n", self.sha256);
        for departure in &self.departures {
            text.push_str(&format!("           NOT KEPT: {departure}\n"));
        }
        text
    }
}

/// One line of the plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedRecord {
    /// What is attempted.
    pub key: AttemptKey,
    /// Folder of the attempt, relative to the group's.
    pub dir: String,
}

/// The agent as it was packaged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Agent id.
    pub id: String,
    /// Version that its package states.
    #[serde(default)]
    pub version: Option<String>,
    /// LLM that it uses.
    #[serde(default)]
    pub backbone: Option<String>,
    /// Image reference as configured.
    #[serde(default)]
    pub image: Option<String>,
    /// SHA-256 over the files of its package, hexadecimal.
    #[serde(default)]
    pub files_sha256: Option<String>,
}

/// `attempt.json`: one attempt, as it was run and as it ended. Written again whenever its state
/// changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Format of this file.
    pub format: FormatVersion,
    /// Which attempt this is.
    pub key: AttemptKey,
    /// Name of the run group.
    #[serde(default)]
    pub group: String,
    /// Facts of the competition, so that a report needs no catalogue.
    #[serde(default)]
    pub competition: CompetitionFacts,
    /// How the last try ended; `None` while it is waiting or running.
    #[serde(default)]
    pub outcome: Option<OutcomeRecord>,
    /// When the first try began.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last try ended.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Wall-clock seconds of the agent in the last try.
    #[serde(default)]
    pub took_s: Option<f64>,
    /// All tries, in order; the last one gave the submission.
    #[serde(default)]
    pub tries: Vec<TryRecord>,
    /// Resources used by the last try.
    #[serde(default)]
    pub usage: UsageRecord,
    /// What must be equal for two attempts to be comparable.
    #[serde(default)]
    pub conditions: ConditionsRecord,
    /// The submission that was salvaged; `None` if there was none.
    #[serde(default)]
    pub submission: Option<SubmissionRecord>,
    /// Graded copies of the submission taken while the agent ran, in order of time.
    #[serde(default)]
    pub snapshots: Vec<SnapshotRecord>,
    /// Calls that went through the LLM gateway; `None` if there was none.
    #[serde(default, deserialize_with = "crate::llm::recorded")]
    pub llm: Option<LlmRecord>,
    /// Phases of the last try in order, for the time line.
    #[serde(default)]
    pub phases: Vec<PhaseRecord>,
    /// How often the agent asked whether a submission is valid.
    #[serde(default)]
    pub validations: Option<u64>,
    /// What of the agent's files was not taken over; `None` if all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage: Option<SalvageRecord>,
}

/// What was left behind of what an agent left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SalvageRecord {
    /// Entries that were refused, the first 100.
    #[serde(default)]
    pub refused: Vec<RefusedRecord>,
    /// How many were refused in all.
    #[serde(default)]
    pub refused_count: u64,
    /// What could not be read at all, one sentence each.
    #[serde(default)]
    pub errors: Vec<Shown>,
    /// What may have been meant as the submission where there is none.
    #[serde(default)]
    pub hint: Option<Shown>,
}

/// An entry that was not taken over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusedRecord {
    /// Its path below the attempt.
    pub path: Shown,
    /// Why, such as `a symbolic link`.
    pub why: Shown,
}

/// Facts of a competition that a report shows or groups by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompetitionFacts {
    /// Competition id.
    pub id: String,
    /// Title for people.
    #[serde(default)]
    pub title: String,
    /// `image`, `text`, `tabular`, `time series`, `audio`, `multimodal`, ...
    #[serde(default)]
    pub modality: String,
    /// MLE-bench's category.
    #[serde(default)]
    pub category: String,
    /// `low`, `medium`, `high`, `dev`, ...; other writers' words are kept and shown as they are.
    #[serde(default)]
    pub complexity: String,
    /// Name of the metric.
    #[serde(default)]
    pub metric: String,
    /// Suites that contain it.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Size of its raw data, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The last day of the competition, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<NaiveDate>,
}

/// How a try ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// How, in a word.
    pub kind: OutcomeKind,
    /// Whether the machine and not the agent is to blame. Such attempts are counted apart.
    #[serde(default)]
    pub infrastructure: bool,
    /// Exit code of the agent, where it has one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// One line for people; it may quote an image or an agent.
    #[serde(default)]
    pub detail: Option<Shown>,
}

impl OutcomeRecord {
    /// Whether a resumed run keeps it: what a failing machine or a person ended is made again.
    pub fn is_final(&self) -> bool {
        !self.infrastructure && self.kind != OutcomeKind::Cancelled
    }
}

/// One try of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TryRecord {
    /// From 1.
    pub number: u32,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// Wall-clock seconds.
    #[serde(default)]
    pub took_s: Option<f64>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Option<OutcomeRecord>,
    /// The machine or job that made it, where processes of their own make tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// GPUs it was given; written before it starts, so that a resumed run knows which GPUs are
    /// taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuRecord>,
}

/// A GPU that a try was given: a whole one or a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuRecord {
    /// `GPU-…` or `MIG-…`, as the driver prints it.
    pub uuid: String,
    /// Model, and the profile of a slice.
    #[serde(default)]
    pub model: String,
    /// Memory of the GPU or slice.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// Resources that a try used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Highest memory use of the container.
    #[serde(default)]
    pub memory_peak_bytes: Option<u64>,
    /// Processor seconds, user and system, over all processes.
    #[serde(default)]
    pub cpu_s: Option<f64>,
    /// Mean utilisation of the GPUs over the time watched, 0 to 1.
    #[serde(default)]
    pub gpu_utilisation: Option<f64>,
    /// Highest GPU memory use.
    #[serde(default)]
    pub gpu_memory_peak_bytes: Option<u64>,
    /// Bytes of log that the agent wrote.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// Bytes on disk that the agent wrote.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
}

/// What must be equal for two attempts to be comparable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// Executor: `docker`, `podman`, `namespaces` or `process`.
    #[serde(default)]
    pub executor: String,
    /// Network mode: `sealed`, `allowlist`, `open`.
    #[serde(default)]
    pub network: String,
    /// Hosts that an allowlist opened.
    #[serde(default)]
    pub network_hosts: Vec<String>,
    /// Whether the executor kept the answers, the host and the network away from the agent.
    #[serde(default)]
    pub sealed: bool,
    /// Limits in force.
    #[serde(default)]
    pub limits: LimitsRecord,
    /// By a limit's name, who holds it: `kernel`, `watched` (measured again and again, so that a fast
    /// agent can overshoot), or `none`. Empty if that was not recorded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub enforcement: BTreeMap<String, String>,
    /// How the GPUs got into the container: `device-request`, `nvidia-runtime`, `cdi`,
    /// `device-nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_access: Option<String>,
    /// Directories of the machine that were mounted read-only, as `host:container`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    /// Names of the secrets that were handed to the agent, which could read them; none if that was
    /// not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Digest or id of the image.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// Who wrote the brief: `catalogue`, `prepared`, `mle-bench`, `mle-bench-obfuscated`; with
    /// `+obfuscated` behind it if rules have replaced what tells where the competition comes from.
    #[serde(default)]
    pub brief_source: Option<String>,
    /// SHA-256 of the brief, hexadecimal.
    #[serde(default)]
    pub brief_sha256: Option<String>,
    /// How often such rules have replaced something in the brief, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub brief_replaced: BTreeMap<String, u64>,
    /// SHA-256 over names and contents of the prepared data, hexadecimal.
    #[serde(default)]
    pub data_sha256: Option<String>,
    /// How the data were prepared: `v1` as MLE-bench does it, `fixed` without what is known to be
    /// wrong with them, or in words what else was changed. Results on other data than `v1` do not
    /// compare with published ones.
    #[serde(default)]
    pub data_edition: Option<String>,
    /// SHA-256 over the files of the agent's package, hexadecimal.
    #[serde(default)]
    pub agent_sha256: Option<String>,
    /// Version of the harness that ran the attempt.
    #[serde(default)]
    pub harness_version: String,
    /// The machine that ran it.
    #[serde(default)]
    pub hardware: HardwareRecord,
}

impl ConditionsRecord {
    /// The edition of the data, if it is known to be another than the one that published results
    /// are on.
    pub fn other_data(&self) -> Option<&str> {
        self.data_edition.as_deref().filter(|edition| *edition != "v1")
    }

    /// Whether the agent was not told where the competition comes from.
    pub fn is_obfuscated(&self) -> bool {
        self.brief_source.as_deref().is_some_and(|source| source.ends_with("obfuscated"))
    }
}

/// Limits of an attempt; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitsRecord {
    /// Wall-clock seconds until the agent is asked to stop.
    #[serde(default)]
    pub time_s: Option<f64>,
    /// Seconds between asking and killing.
    #[serde(default)]
    pub grace_s: Option<f64>,
    /// Processors.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Memory including swap.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Shared memory.
    #[serde(default)]
    pub shm_bytes: Option<u64>,
    /// Container layer and `/home` together.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Log.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
    /// GPUs handed to the attempt.
    #[serde(default)]
    pub gpus: u32,
    /// How many attempts may share each of them; `None` is one, and what older writers left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_share: Option<u32>,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HardwareRecord {
    /// Model of the processor.
    #[serde(default)]
    pub cpu: String,
    /// Logical processors.
    #[serde(default)]
    pub cpu_count: u32,
    /// Memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Models of the GPUs, one entry each.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// Version of the GPU driver.
    #[serde(default)]
    pub gpu_driver: Option<String>,
    /// Operating system kernel.
    #[serde(default)]
    pub kernel: String,
}

/// A submission that was salvaged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    /// Path relative to the attempt's folder.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A copy of the submission taken while the agent ran, and its grade.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Seconds after the start of the try.
    pub after_s: f64,
    /// Path relative to the attempt's folder.
    #[serde(default)]
    pub path: String,
    /// Folder with the agent's code at that time, relative to the attempt's folder: that of an earlier
    /// copy if nothing had changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Files of the code that were left out of the copy: too large, or no plain files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code_left_out: u64,
    /// Whether it was a valid submission.
    #[serde(default)]
    pub valid: bool,
    /// Score; `None` if it was not valid.
    #[serde(default)]
    pub score: Option<f64>,
    /// The medal that it would have won.
    #[serde(default)]
    pub medal: Option<Medal>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A phase of a try.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Which.
    pub name: Phase,
    /// Seconds after the start of the try.
    pub began_s: f64,
    /// Length in seconds.
    pub took_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_ignored_and_a_missing_one_is_filled() {
        let text = r#"{"format":"1.7","key":{"competition":"c","agent":"a","seed":2,"flavour":"x"},"mood":"good"}"#;
        let record: AttemptRecord = serde_json::from_str(text).expect("a minimal record");
        assert_eq!(record.key.to_string(), "c/a/2");
        assert!(RECORD_FORMAT.reads(record.format));
        assert_eq!(record.outcome, None);
    }

    #[test]
    fn a_newer_major_version_is_not_read() {
        assert!(!RECORD_FORMAT.reads(FormatVersion { major: 2, minor: 0 }));
        assert_eq!(
            "x.1".parse::<FormatVersion>().unwrap_err().to_string(),
            "`x.1` is not a format version, expected `major.minor`"
        );
    }

    #[test]
    fn keys_print_and_parse_alike() {
        for text in ["spaceship-titanic/dummy/0", "a/aide/dev/12"] {
            assert_eq!(text.parse::<AttemptKey>().expect("a key").to_string(), text);
        }
        assert_eq!("a/aide/dev/12".parse::<AttemptKey>().expect("a key").agent, "aide/dev");
        for text in ["", "a", "a/b", "a/b/x", "/b/1", "a//1"] {
            assert!(text.parse::<AttemptKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_kept_also_where_they_are_new() {
        let phases = Phase::KNOWN.iter().map(|phase| serde_json::to_value(phase).expect("a word"));
        let words: Vec<serde_json::Value> = phases.collect();
        assert_eq!(
            words,
            ["gpu", "image", "create", "agent", "grace", "collect", "remove", "grade"]
        );
        for kind in OutcomeKind::KNOWN {
            assert_eq!(&OutcomeKind::from(kind.as_str()), kind);
        }
        let text = r#"{"kind":"struck_by_lightning","infrastructure":true,"exit_code":null,"detail":null}"#;
        let record: OutcomeRecord = serde_json::from_str(text).expect("an outcome of a newer kind");
        assert_eq!(record.kind, OutcomeKind::Other("struck_by_lightning".to_owned()));
        assert_eq!(serde_json::to_string(&record).expect("serialises"), text);
    }

    #[test]
    fn a_record_survives_the_round_trip() {
        let record = AttemptRecord {
            took_s: Some(0.1 + 0.2),
            outcome: Some(OutcomeRecord { kind: "timed_out".into(), ..OutcomeRecord::default() }),
            snapshots: vec![SnapshotRecord {
                after_s: 60.0,
                score: Some(0.7),
                ..SnapshotRecord::default()
            }],
            ..AttemptRecord::default()
        };
        let text = serde_json::to_string(&record).expect("serialises");
        assert_eq!(serde_json::from_str::<AttemptRecord>(&text).expect("parses"), record);
    }
}
