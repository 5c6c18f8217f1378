//! The border between running and showing: everything that happens in a run is a [`RunEvent`].
//!
//! The live stream and the stored log are one type, so a replay is "read events, feed sinks".
//! Events own their data.

use std::fmt;

use chrono::{DateTime, Utc};
use medalist_grading::untrusted::Shown;
use medalist_grading::{GradeReport, Medal};
use medalist_reports::record::{AttemptKey, OutcomeKind, OutcomeRecord, Phase};
use serde::{Deserialize, Serialize};

use crate::attempt::outcome::{GpuUsage, LlmUsage};

/// One thing that happened, numbered and timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Position in the group's log, from 0; goes on after a resume.
    pub seq: u64,
    /// Wall-clock time.
    pub at: DateTime<Utc>,
    /// What happened.
    #[serde(rename = "event")]
    pub kind: EventKind,
}

/// What can happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EventKind {
    /// The harness begins, or begins again after a resume.
    GroupStarted {
        /// The group's name.
        group: String,
        /// The agent's id.
        agent: String,
        /// `docker`, `process`, ...
        executor: String,
        /// Whether answers, host and network are out of the agent's reach.
        sealed: bool,
        /// Whether this is a resumed group.
        resumed: bool,
        /// SHA-256 of the program that runs it, hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program_sha256: Option<String>,
        /// Counts so far.
        stats: RunStats,
    },
    /// An attempt begins (or is attached to again).
    Started {
        /// Which attempt.
        key: AttemptKey,
        /// Its folder below the group's.
        dir: String,
        /// Number of this try, from 1.
        try_number: u32,
        /// Wall-clock limit.
        timeout_s: f64,
        /// Whether the attempt was already running when this harness began.
        attached: bool,
        /// Counts so far.
        stats: RunStats,
    },
    /// An attempt enters its next phase.
    Phase {
        /// Which attempt.
        key: AttemptKey,
        /// Which phase.
        phase: Phase,
    },
    /// A sample of what an attempt uses.
    Usage {
        /// Which attempt.
        key: AttemptKey,
        /// Seconds since the agent started.
        elapsed_s: f64,
        /// Memory in use.
        memory_bytes: u64,
        /// Processors in use, e.g. 1.5.
        cpus: f64,
        /// Its GPUs, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpu: Option<GpuUsage>,
        /// Its calls of language models, if it may make any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        llm: Option<LlmUsage>,
        /// The end of the last line the agent printed.
        last_line: Shown,
    },
    /// Infrastructure failed; the attempt is tried again.
    TryFailed {
        /// Which attempt.
        key: AttemptKey,
        /// Number of the failed try.
        try_number: u32,
        /// How it failed.
        outcome: OutcomeRecord,
        /// Seconds until the next try.
        retry_in_s: f64,
    },
    /// A copy of the submission was taken while the agent runs.
    Snapshot {
        /// Which attempt.
        key: AttemptKey,
        /// Seconds since the agent started.
        after_s: f64,
        /// Bytes of the copy.
        bytes: u64,
    },
    /// An attempt is over: collected, graded and on disk.
    Finished {
        /// Which attempt.
        key: AttemptKey,
        /// How the last try ended.
        outcome: OutcomeRecord,
        /// What its submission is worth.
        grade: GradeLine,
        /// Seconds that the agent ran.
        took_s: f64,
        /// Counts so far.
        stats: RunStats,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// The attempt it is about, if any.
        key: Option<AttemptKey>,
        /// One line.
        message: Shown,
    },
    /// The run is being stopped.
    CancelBegan {
        /// Why, for people.
        reason: String,
    },
    /// The harness is done with the group.
    GroupFinished {
        /// Final counts of this group.
        stats: RunStats,
    },
}

/// The grade of an attempt in one line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradeLine {
    /// Whether a submission was left.
    pub submitted: bool,
    /// Whether it was valid.
    pub valid: bool,
    /// Rounded score.
    pub score: Option<f64>,
    /// What it won.
    pub medal: Option<Medal>,
    /// Whether the score beats the median.
    pub above_median: bool,
    /// What is wrong with an invalid submission.
    pub problem: Option<Shown>,
}

impl From<&GradeReport> for GradeLine {
    fn from(report: &GradeReport) -> Self {
        Self {
            submitted: report.submission_exists,
            valid: report.valid_submission,
            score: report.score,
            medal: report.medal,
            above_median: report.above_median,
            problem: report.invalid.as_ref().map(|invalid| invalid.message.clone()),
        }
    }
}

impl fmt::Display for GradeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.submitted, self.valid, self.score, self.medal) {
            (false, ..) => f.write_str("no submission"),
            (true, false, ..) => {
                write!(f, "invalid submission: {}", self.problem.as_deref().unwrap_or("unreadable"))
            }
            (true, true, None, _) => f.write_str("score is not a number"),
            (true, true, Some(score), None) => write!(f, "score {score}, no medal"),
            (true, true, Some(score), Some(medal)) => write!(f, "score {score}, {medal}"),
        }
    }
}

/// Counts of a group, derived in one place and carried by events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStats {
    /// Attempts in the plan.
    pub planned: usize,
    /// Attempts running now.
    pub running: usize,
    /// Attempts over.
    pub finished: usize,
    /// Of those: with a valid submission.
    pub valid: usize,
    /// Of those: gold medals.
    pub gold: usize,
    /// Of those: silver medals.
    pub silver: usize,
    /// Of those: bronze medals.
    pub bronze: usize,
    /// Of those: ended by a failure of the machine.
    pub infrastructure: usize,
    /// Of those: cancelled by the user.
    pub cancelled: usize,
}

impl RunStats {
    /// Counts one finished attempt.
    pub fn count(&mut self, outcome: &OutcomeRecord, grade: &GradeLine) {
        self.finished += 1;
        self.valid += usize::from(grade.valid);
        self.infrastructure += usize::from(outcome.infrastructure);
        self.cancelled += usize::from(outcome.kind == OutcomeKind::Cancelled);
        match grade.medal {
            Some(Medal::Gold) => self.gold += 1,
            Some(Medal::Silver) => self.silver += 1,
            Some(Medal::Bronze) => self.bronze += 1,
            None => {}
        }
    }

    /// Medals of any colour.
    pub fn medals(&self) -> usize {
        self.gold + self.silver + self.bronze
    }
}

impl fmt::Display for RunStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} done, {} running, {} valid, {} medals",
            self.finished,
            self.planned,
            self.running,
            self.valid,
            self.medals()
        )?;
        if self.infrastructure > 0 {
            write!(f, ", {} failed for reasons of this machine", self.infrastructure)?;
        }
        Ok(())
    }
}

/// A sink could not take an event.
#[derive(Debug, thiserror::Error)]
#[error("cannot write events to `{to}`")]
pub struct SinkError {
    /// Where they should have gone.
    pub to: String,
    #[source]
    pub(crate) source: std::io::Error,
}

/// Something that consumes events. Sinks never act on a run.
pub trait EventSink: Send {
    /// Takes one event.
    ///
    /// # Errors
    /// [`SinkError`]; the run goes on without the sink.
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError>;
}
