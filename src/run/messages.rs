//! What passes between the dispatcher and the task of one attempt.
//!
//! ```text
//!  dispatcher ──StartPoint, Lease──► task of one attempt
//!      │  ▲ ◄──AttemptMessage──────── │ while it goes on
//!      │  └────TaskEnd─────────────── ┘ at its end
//!      └───────CancelReason─────────►   at any time
//! ```

use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{OutcomeRecord, Phase};

use super::gpu::BadGpu;
use crate::attempt::outcome::Usage;
use crate::run::events::GradeLine;
use crate::sandbox::RunToken;

/// Where the task of an attempt begins.
#[derive(Debug, Clone)]
pub(super) enum StartPoint {
    /// From nothing.
    Fresh,
    /// Its agent runs, or has ended and nobody has collected what it left.
    Reattach {
        /// Finds its container.
        token: RunToken,
        /// UUIDs of the GPUs that it was given.
        gpus: Vec<String>,
    },
    /// It has ended and was collected, but not graded.
    GradeOnly,
    /// It can never start on this machine, which has too few GPUs for it.
    Unschedulable {
        /// In words.
        why: String,
    },
}

/// What the task of an attempt tells while it goes on.
#[derive(Debug)]
pub(super) struct AttemptMessage {
    /// Folder of the attempt.
    pub(super) dir: String,
    pub(super) update: AttemptUpdate,
}

/// The news of an [`AttemptMessage`].
#[derive(Debug)]
pub(super) enum AttemptUpdate {
    /// A try begins.
    TryStarted { number: u32, attached: bool },
    /// The agent runs since then.
    AgentRuns { since: DateTime<Utc> },
    /// It enters its next phase.
    Phase(Phase),
    /// A sample of what it uses.
    Usage { usage: Usage, last_line: Shown },
    /// A copy of its submission was taken.
    Snapshot { elapsed: Duration, bytes: u64 },
    /// The machine failed; another try follows.
    TryFailed { outcome: OutcomeRecord, number: u32, retry_in: Duration },
    /// Something that the user should know.
    Warning(Shown),
}

impl AttemptUpdate {
    /// A warning, which may quote an engine or an image.
    pub(super) fn warning(text: &str) -> Self {
        Self::Warning(Shown::message(text))
    }
}

/// What the task of an attempt ends with.
#[derive(Debug)]
pub(super) struct TaskEnd {
    /// How the attempt is over; `None` if it must be tried again on other GPUs.
    pub(super) finished: Option<FinishedAttempt>,
    /// GPUs that must not be handed out again.
    pub(super) bad_gpus: Vec<BadGpu>,
}

/// How an attempt is over: its record and grade are on disk.
#[derive(Debug)]
pub(super) struct FinishedAttempt {
    /// Folder of the attempt.
    pub(super) dir: String,
    pub(super) outcome: OutcomeRecord,
    pub(super) grade: GradeLine,
    /// How long the agent ran.
    pub(super) took: Duration,
}
