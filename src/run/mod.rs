//! Runs a plan: who may start, in what order, and each attempt's states.
//!
//! ```text
//!  queue ──StartPoint──► tries (one task an attempt) ──► clock ──► executor
//!    ▲ scheduler          │ AttemptMessage, TaskEnd
//!      └── dispatcher ◄───┘ ──RunEvent──► sinks
//! ```
//! The dispatcher is the one place that puts everything in order; an attempt's task writes only
//! into its own folder.

mod apart;
mod attempt_record;
pub mod clock;
mod dispatcher;
pub mod events;
mod gpu;
#[cfg(test)]
mod gpu_tests;
mod grade;
mod group_files;
mod leases;
mod llm;
mod messages;
mod pool;
mod queue;
mod resume;
mod scheduler;
pub mod sinks;
pub mod stop;
mod sweep;
#[cfg(test)]
mod tests;
mod tries;

pub use apart::{Apart, First, JobEnd};
pub use attempt_record::{planned_conditions, record_of_lost};
pub use dispatcher::{Run, RunError, RunSummary, run};
pub use gpu::{BadGpu, GpuWatch, Gpus};
pub use group_files::{close_group, write_group};
pub use llm::{LlmError, LlmRun, describe as describe_llm, recorded_totals, totals_of};
pub use queue::forecast;
pub use scheduler::{Capacity, Forecast};
pub use stop::StopRequest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medalist_grading::{Direction, GradeReport};

use crate::attempt::launch::Validator;

#[cfg(test)]
pub(crate) fn plan_for_tests(seeds: u32) -> crate::attempt::plan::Plan {
    tests::plan(1, seeds)
}

/// Label of every container with its run group's name.
pub const GROUP_LABEL: &str = "io.medalist.group";

/// What the runner must know of a competition to launch an attempt on it.
#[derive(Clone)]
pub struct Material {
    /// `prepared/public`.
    pub public_dir: PathBuf,
    /// The text the agent gets as `description.md`.
    pub description: String,
    /// Who wrote that text, in a word.
    pub brief_source: String,
    /// SHA-256 of that text.
    pub brief_sha256: String,
    /// How often something was replaced in it, by kind; empty if nothing was.
    pub brief_replaced: BTreeMap<String, u64>,
    /// SHA-256 over the prepared data's manifest, where there is one.
    pub data_sha256: Option<String>,
    /// How the data were prepared, in a word: `v1`, `fixed`, or what was changed.
    pub data_edition: String,
    /// Which way the metric goes.
    pub direction: Direction,
    /// Answers whether a submission is well formed.
    pub validator: Arc<dyn Validator>,
}

/// Why a competition cannot be run or a submission cannot be graded, in words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JudgeError {
    /// One line.
    pub message: String,
}

/// Knows competitions: what an agent gets, and what its submission is worth.
pub trait Judge: Send + Sync {
    /// What an attempt on the competition needs.
    ///
    /// # Errors
    /// [`JudgeError`] if the competition is not prepared.
    fn material(&self, competition: &str) -> Result<Material, JudgeError>;

    /// Grades a submission, which need not exist. Called on a blocking thread.
    ///
    /// # Errors
    /// [`JudgeError`] if the answers cannot be read; a bad submission is a grade.
    fn grade(&self, competition: &str, submission: &Path) -> Result<GradeReport, JudgeError>;
}
