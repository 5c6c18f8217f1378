//! How an attempt ended and what it used.

use std::fmt;
use std::time::Duration;

use medalist_grading::untrusted::Shown;
use medalist_reports::record::{OutcomeKind, OutcomeRecord};
use serde::{Deserialize, Serialize};

use crate::attempt::limits::seconds;

/// How an attempt ended. What its submission is worth is another fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The agent's main process ended by itself; 128 + n when signal n ended it.
    Finished {
        /// Exit status, 0 to 255.
        exit: i32,
    },
    /// The soft deadline passed, whether the agent then used its grace or had to be killed.
    TimedOut {
        /// Time it ran, grace included.
        #[serde(rename = "after_s", with = "seconds")]
        after: Duration,
        /// True if it was still there at the end of the grace.
        killed: bool,
    },
    /// It ran into its memory limit and failed.
    OutOfMemory,
    /// It wrote more than its disk limit.
    DiskFull,
    /// It ran into its limit of processes and failed.
    TooManyProcesses,
    /// A person or another failure asked for the end.
    Cancelled {
        /// Who asked.
        reason: CancelReason,
    },
    /// The daemon, or the process that stands for it, went away under the attempt.
    EngineLost {
        /// What was seen.
        cause: String,
    },
    /// The machine's own disk ran full.
    HostFull {
        /// What was seen.
        cause: String,
    },
    /// A GPU failed under the attempt.
    GpuLost {
        /// What was seen.
        cause: String,
    },
    /// The language models could not be reached for too long.
    LlmOutage {
        /// What was seen.
        cause: String,
    },
    /// The machine was lost under the attempt: its node failed, or the scheduler took it away.
    NodeLost {
        /// What was seen.
        cause: String,
    },
    /// The image cannot be run under the seal, or its agent cannot be started.
    ImageRefused {
        /// What is wrong with it.
        cause: String,
    },
    /// There is no such image here and none could be had.
    ImageMissing {
        /// The reference looked for.
        image: String,
    },
    /// The attempt could not be started.
    SetupFailed {
        /// What went wrong.
        cause: String,
    },
}

/// Why an attempt was cancelled, from the least to the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// `medalist stop ATTEMPT`.
    Stopped,
    /// A failure with `--fail-fast`.
    FailFast,
    /// The first Ctrl-C or SIGTERM: the agent gets its grace.
    Interrupt,
    /// The batch job that the harness is part of ends: the agent gets what is left of its time.
    JobEnds,
    /// The second: the agent is killed.
    Kill,
}

impl Outcome {
    /// How an attempt ended that somebody asked to end. A scheduler that takes the machine away is a
    /// failure of the machine.
    #[must_use]
    pub fn of_request(reason: CancelReason) -> Self {
        match reason {
            CancelReason::JobEnds => {
                Self::NodeLost { cause: "the scheduler ended its job".to_owned() }
            }
            reason => Self::Cancelled { reason },
        }
    }

    /// True if the machine failed and not the agent: such a try is repeated and reported apart.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        self.kind().is_infrastructure()
    }

    /// True if the agent ended by itself with exit status 0.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Finished { exit: 0 })
    }

    /// The word that files and tables show.
    #[must_use]
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Finished { .. } => OutcomeKind::Finished,
            Self::TimedOut { .. } => OutcomeKind::TimedOut,
            Self::OutOfMemory => OutcomeKind::OutOfMemory,
            Self::DiskFull => OutcomeKind::DiskFull,
            Self::TooManyProcesses => OutcomeKind::TooManyProcesses,
            Self::Cancelled { .. } => OutcomeKind::Cancelled,
            Self::EngineLost { .. } => OutcomeKind::EngineLost,
            Self::HostFull { .. } => OutcomeKind::HostFull,
            Self::GpuLost { .. } => OutcomeKind::GpuLost,
            Self::LlmOutage { .. } => OutcomeKind::LlmOutage,
            Self::NodeLost { .. } => OutcomeKind::NodeLost,
            Self::ImageRefused { .. } => OutcomeKind::ImageRefused,
            Self::ImageMissing { .. } => OutcomeKind::ImageMissing,
            Self::SetupFailed { .. } => OutcomeKind::SetupFailed,
        }
    }

    /// What a record keeps of it.
    #[must_use]
    pub fn record(&self) -> OutcomeRecord {
        let detail = match self {
            Self::Finished { .. } | Self::OutOfMemory | Self::DiskFull | Self::TooManyProcesses => {
                None
            }
            other => Some(Shown::message(&other.to_string())),
        };
        let exit_code = match self {
            Self::Finished { exit } => Some(*exit),
            _ => None,
        };
        let infrastructure = self.is_infrastructure();
        OutcomeRecord { kind: self.kind(), infrastructure, exit_code, detail }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { exit: 0 } => f.write_str("finished"),
            Self::Finished { exit } => write!(f, "finished with exit status {exit}"),
            Self::TimedOut { after, killed } => {
                let end = if *killed { "killed" } else { "ended in its grace" };
                write!(f, "timed out after {} s, {end}", after.as_secs())
            }
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::DiskFull => f.write_str("over its disk limit"),
            Self::TooManyProcesses => f.write_str("over its limit of processes"),
            Self::Cancelled { reason } => write!(f, "cancelled ({reason})"),
            Self::EngineLost { cause } => write!(f, "container engine lost: {cause}"),
            Self::HostFull { cause } => write!(f, "the machine's disk is full: {cause}"),
            Self::GpuLost { cause } => write!(f, "GPU lost: {cause}"),
            Self::LlmOutage { cause } => write!(f, "language models out of reach: {cause}"),
            Self::NodeLost { cause } => write!(f, "node lost: {cause}"),
            Self::ImageRefused { cause } => write!(f, "image refused: {cause}"),
            Self::ImageMissing { image } => write!(f, "image `{image}` is missing"),
            Self::SetupFailed { cause } => write!(f, "could not be started: {cause}"),
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::FailFast => "after another failure",
            Self::Interrupt => "interrupted",
            Self::JobEnds => "its job ends",
            Self::Kill => "killed",
        })
    }
}

/// What an attempt used, so far or in all. A missing figure could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Memory now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most memory it ever held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// CPU time of all its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time_s: Option<f64>,
    /// Processes and threads now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Bytes in the container's layer (or the attempt's home) when last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Whether a control group of its own holds and counts its memory, processes and CPU time;
    /// otherwise they are measured from its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_group: Option<bool>,
    /// Bytes of output, dropped ones included.
    #[serde(default)]
    pub log_bytes: u64,
    /// Bytes of output that did not fit the limit and were dropped.
    #[serde(default)]
    pub log_bytes_dropped: u64,
    /// Requests the validation service answered.
    #[serde(default)]
    pub validations: u64,
    /// Its GPUs, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUsage>,
    /// Its calls of language models, if it may make any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmUsage>,
}

/// What an attempt's calls of language models have come to so far, and its group's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmUsage {
    /// Calls that are settled.
    pub calls: u64,
    /// Their tokens of all kinds.
    pub tokens: u64,
    /// Their price, as far as it is known.
    pub dollars: f64,
    /// The most that the attempt may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars_limit: Option<f64>,
    /// What the whole group has spent.
    pub group_dollars: f64,
    /// The most that it may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_dollars_limit: Option<f64>,
    /// How long the attempt has waited for overloaded providers.
    pub held_s: f64,
}

impl LlmUsage {
    /// What is spent, of what may be spent.
    pub fn money(spent: f64, limit: Option<f64>) -> String {
        match limit {
            Some(limit) => format!("${spent:.2} of ${limit:.2}"),
            None => format!("${spent:.2}"),
        }
    }
}

/// What the GPUs of an attempt do, all of them together. Others on a shared GPU count too: the
/// driver tells them not apart.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct GpuUsage {
    /// Share of the time in which something ran, now: the mean of the GPUs, 0 to 1.
    pub utilisation: f64,
    /// The same over the time watched.
    pub mean_utilisation: f64,
    /// Memory now, the sum of the GPUs.
    pub memory_bytes: u64,
    /// The most memory ever seen.
    pub peak_memory_bytes: u64,
}

impl Usage {
    /// Takes from `newer` what it knows; peaks never fall.
    pub fn update(&mut self, newer: &Self) {
        let peak = self.peak_memory_bytes.max(newer.peak_memory_bytes).max(newer.memory_bytes);
        self.memory_bytes = newer.memory_bytes.or(self.memory_bytes);
        self.peak_memory_bytes = peak;
        self.own_group = newer.own_group.or(self.own_group);
        self.cpu_time_s = newer.cpu_time_s.or(self.cpu_time_s);
        self.pids = newer.pids.or(self.pids);
        self.disk_bytes = newer.disk_bytes.or(self.disk_bytes);
        self.log_bytes = self.log_bytes.max(newer.log_bytes);
        self.log_bytes_dropped = self.log_bytes_dropped.max(newer.log_bytes_dropped);
        self.validations = self.validations.max(newer.validations);
        self.gpu = newer.gpu.or(self.gpu);
        self.llm = newer.llm.or(self.llm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_outcome() -> Vec<Outcome> {
        let cause = || "x".to_string();
        vec![
            Outcome::Finished { exit: 3 },
            Outcome::TimedOut { after: Duration::from_secs(7), killed: true },
            Outcome::OutOfMemory,
            Outcome::DiskFull,
            Outcome::TooManyProcesses,
            Outcome::Cancelled { reason: CancelReason::Interrupt },
            Outcome::ImageRefused { cause: cause() },
            Outcome::EngineLost { cause: cause() },
            Outcome::HostFull { cause: cause() },
            Outcome::GpuLost { cause: cause() },
            Outcome::LlmOutage { cause: cause() },
            Outcome::NodeLost { cause: cause() },
            Outcome::ImageMissing { image: cause() },
            Outcome::SetupFailed { cause: cause() },
        ]
    }

    #[test]
    fn kinds_are_the_serialized_ones_and_survive_a_round_trip() {
        for outcome in every_outcome() {
            let value = serde_json::to_value(&outcome).unwrap();
            assert_eq!(value["kind"], outcome.kind().as_str());
            assert_eq!(serde_json::from_value::<Outcome>(value).unwrap(), outcome);
        }
    }

    #[test]
    fn the_agents_endings_come_first_and_are_not_infrastructure() {
        let flags: Vec<bool> = every_outcome().iter().map(Outcome::is_infrastructure).collect();
        assert_eq!(flags, [[false; 7].as_slice(), &[true; 7]].concat());
    }

    #[test]
    fn an_update_keeps_peaks() {
        let mut usage =
            Usage { peak_memory_bytes: Some(10), memory_bytes: Some(9), ..Usage::default() };
        usage.update(&Usage { memory_bytes: Some(4), ..Usage::default() });
        assert_eq!((usage.memory_bytes, usage.peak_memory_bytes), (Some(4), Some(10)));
    }
}
