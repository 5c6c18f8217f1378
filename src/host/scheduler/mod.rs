//! Batch schedulers: what is asked of one, whatever kind it is.
//!
//! A scheduler is never believed about what an attempt came to: that is in the group's folder. It is asked
//! where jobs are, and why one ended that has left nothing there.

pub mod command;
pub mod kubernetes;
mod programs;
pub mod slurm;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::attempt::plan::{Remote, SchedulerKind, SchedulerWishes};

/// Jobs to be handed over: one array, whose elements differ by their index alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The array's name, which no other has.
    pub name: String,
    /// Elements, with the indices from 0.
    pub elements: u32,
    /// How many may run at once.
    pub at_once: Option<usize>,
    /// The program of each element and its arguments.
    pub command: Vec<String>,
    /// Where what elements print goes, and the batch script.
    pub folder: PathBuf,
    /// What each element has.
    pub resources: Resources,
    /// What each element should have between its SIGTERM and its SIGKILL, where that can be asked for.
    pub kill_wait: Duration,
    /// Nodes that must not be used.
    pub excluded: BTreeSet<String>,
    /// What the user adds.
    pub wishes: SchedulerWishes,
}

/// What an element has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u32,
    /// How long it may run.
    pub time_s: u64,
    /// How long before the end of that time it is warned by SIGTERM.
    pub warning_s: u64,
}

/// Jobs that were handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The array's id.
    pub id: String,
    /// The cluster, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// Why jobs were not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is no room for so many now: fewer may do, or the same later.
    #[error("the scheduler takes no more jobs now: {0}")]
    Full(String),
    /// It refuses them whatever the time.
    #[error("the scheduler refuses the jobs: {0}")]
    Refused(String),
    /// It did not answer; it may have taken them all the same.
    #[error(transparent)]
    Away(#[from] Away),
}

/// A scheduler that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler does not answer: {0}")]
pub struct Away(pub String);

/// An element of an array as its scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The array's name.
    pub name: String,
    /// The array's id.
    pub id: String,
    /// The element's index; `None` for all of an array that has not been split.
    pub index: Option<u32>,
    /// Where it is.
    pub state: State,
    /// Why it waits, in the scheduler's word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The node it is on, or was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not begun, or will begin again.
    Waiting,
    /// It runs, or is being cleared away.
    Running,
    /// It is over.
    Over(Over),
    /// In a word that we do not know.
    Unknown(String),
}

/// How a job is over, in the scheduler's view. Exit codes prove nothing and are not among it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Its program has ended.
    Ended,
    /// It took more memory than it had.
    OutOfMemory,
    /// It took more time than it had.
    TimedOut,
    /// Somebody ended it: the user with this number, where that is told.
    Cancelled(Option<u32>),
    /// Its node was taken away or failed, in the scheduler's word.
    NodeLost(String),
    /// It cannot begin where it is, and waits there for nothing.
    Stuck(String),
}

/// Elements of arrays, found by name and index: ids come back.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    all: Vec<Seen>,
    places: HashMap<String, HashMap<Option<u32>, usize>>,
}

impl From<Vec<Seen>> for Elements {
    fn from(all: Vec<Seen>) -> Self {
        let mut places: HashMap<String, HashMap<Option<u32>, usize>> = HashMap::new();
        for (place, seen) in all.iter().enumerate() {
            places.entry(seen.name.clone()).or_default().entry(seen.index).or_insert(place);
        }
        Self { all, places }
    }
}

impl Elements {
    /// All of them.
    pub fn all(&self) -> &[Seen] {
        &self.all
    }

    /// The element of an array; the array itself if it has not been split.
    pub fn find(&self, name: &str, index: u32) -> Option<&Seen> {
        let places = self.places.get(name)?;
        let place = places.get(&Some(index)).or_else(|| places.get(&None))?;
        self.all.get(*place)
    }

    /// Any element of an array.
    pub fn any(&self, name: &str) -> Option<&Seen> {
        self.places.get(name)?.values().next().and_then(|place| self.all.get(*place))
    }
}

/// Limits and habits of a scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Habits {
    /// Elements of one array.
    pub largest_array: u32,
    /// Between a job's SIGTERM and its SIGKILL; `None` where each asks for its own.
    pub kill_wait: Option<Duration>,
    /// Whether it keeps to [`Request::at_once`] itself.
    pub throttles: bool,
    /// Whether it serves all users of a cluster by one process, which many questions slow down.
    pub is_asked_gently: bool,
}

/// A batch scheduler.
pub trait Scheduler: Send + Sync {
    /// Its limits and habits.
    ///
    /// # Errors
    /// [`Away`].
    fn habits(&self) -> Result<Habits, Away>;

    /// Hands jobs over.
    ///
    /// # Errors
    /// [`SubmitError`].
    fn submit(&self, request: &Request) -> Result<Submitted, SubmitError>;

    /// All elements of arrays of these names that wait or run.
    ///
    /// # Errors
    /// [`Away`].
    fn queue(&self, names: &[String]) -> Result<Vec<Seen>, Away>;

    /// What is recorded of elements of arrays of these names, made since then; the last start of each.
    ///
    /// # Errors
    /// [`Away`]; also where nothing is recorded on this cluster.
    fn recorded(&self, names: &[String], since: DateTime<Utc>) -> Result<Vec<Seen>, Away>;

    /// Ends elements: `(id, index)`. Those that wait never begin; `gently` those that run are only asked.
    ///
    /// # Errors
    /// [`Away`].
    fn cancel(&self, elements: &[(String, u32)], gently: bool) -> Result<(), Away>;

    /// Removes what the scheduler keeps of arrays of these names, all of which are over.
    ///
    /// # Errors
    /// [`Away`].
    fn forget(&self, _names: &[String]) -> Result<(), Away> {
        Ok(())
    }
}

/// The scheduler that a plan names.
///
/// # Errors
/// What is wrong with its template.
pub fn open(remote: &Remote) -> Result<Box<dyn Scheduler>, String> {
    Ok(match remote.scheduler {
        SchedulerKind::Slurm => Box::new(slurm::Slurm::default()),
        SchedulerKind::Kubernetes => Box::new(kubernetes::Kubernetes::of(&remote.wishes)?),
        SchedulerKind::Command => Box::new(command::Commands::of(&remote.wishes)?),
    })
}
