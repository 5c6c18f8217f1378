//! Is a prepared competition a fair task?
//!
//! Four measurements, each of which stands alone and says why where it cannot be made:
//!
//! 1. the [`ladder`]: what simple models score, beside the leaderboard;
//! 2. [`leaks`]: whether ids, order, copies of rows, columns or files give the answers away;
//! 3. [`balance`]: how the answers are spread;
//! 4. [`noise`]: how much a score moves with the choice of test rows, against the gaps between medals.
//!
//! What stands out becomes a [`Finding`] with a severity, numbers and what to do about it.

pub mod balance;
mod finding;
pub mod ladder;
pub mod leaks;
pub mod noise;
mod signal;
mod tables;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Duration;

use medalist_agents::ladder::{Facts, Ladder};
use medalist_grading::{GradingSpec, Leaderboard, Thresholds};
use serde::Serialize;

pub use finding::{Finding, Severity};
pub use truth::{Target, Truth, Values};

/// The competition that is measured.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a str,
    /// How it is graded.
    pub grading: &'a GradingSpec,
    /// What agents see.
    pub public: PathBuf,
    /// The sample submission.
    pub sample: PathBuf,
    /// The answers.
    pub answers: PathBuf,
    /// Scores that earn medals.
    pub thresholds: Option<Thresholds>,
    /// The leaderboard.
    pub board: Option<&'a Leaderboard>,
}

/// How much is spent on a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Chooses rows, permutations and resamples: equal data and seeds give equal numbers, unless a
    /// model is cut short by its time.
    pub seed: u64,
    /// Time for each model of the ladder that learns.
    pub time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 0, time: Duration::from_secs(20) }
    }
}

/// Grades a submission: the rounded score, or why there is none.
pub type Score<'a> = dyn Fn(&Path) -> Result<f64, String> + 'a;

/// Something that was not measured, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotMeasured {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl NotMeasured {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The competition.
    pub id: String,
    /// The seed of rows, permutations and resamples.
    pub seed: u64,
    /// What was read, in words.
    pub task: Vec<String>,
    /// What simple models score.
    pub ladder: ladder::Report,
    /// What was looked at for leaks.
    pub leaks: leaks::Report,
    /// How the answers are spread.
    pub balance: balance::Report,
    /// How much of a score is noise.
    pub noise: Option<noise::Report>,
    /// What could not be measured.
    pub not_measured: Vec<NotMeasured>,
    /// What stands out, the gravest first.
    pub findings: Vec<Finding>,
}

impl Report {
    fn new(subject: &Subject<'_>, settings: Settings) -> Self {
        Self {
            id: subject.id.to_owned(),
            seed: settings.seed,
            task: Vec::new(),
            ladder: ladder::Report::default(),
            leaks: leaks::Report::default(),
            balance: balance::Report::default(),
            noise: None,
            not_measured: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn in_order(mut self) -> Self {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self
    }

    /// The gravest severity among the findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Measures a competition. What cannot be measured is in the report, not an error.
pub fn check(subject: &Subject<'_>, settings: Settings, score: &Score<'_>) -> Report {
    let scratch = match tempfile::tempdir() {
        Ok(scratch) => scratch,
        Err(error) => {
            let mut report = Report::new(subject, settings);
            let why = format!("there is no room for temporary files: {error}");
            report.not_measured.push(NotMeasured::new("everything", why));
            return report;
        }
    };
    let (mut report, ladder) = look_with(subject, settings, scratch.path());
    let ladder = ladder.as_ref();
    let best = ladder::measure(subject, ladder, scratch.path(), settings, score, &mut report);
    noise::measure(subject, best.as_ref(), settings, &mut report);
    report.in_order()
}

/// Looks for leaks and counts the answers alone: nothing is learnt and nothing graded.
///
/// # Errors
/// There is no room for temporary files.
pub fn look(subject: &Subject<'_>, settings: Settings) -> std::io::Result<Report> {
    let scratch = tempfile::tempdir()?;
    Ok(look_with(subject, settings, scratch.path()).0.in_order())
}

fn look_with(
    subject: &Subject<'_>,
    settings: Settings,
    scratch: &Path,
) -> (Report, Option<Ladder>) {
    let mut report = Report::new(subject, settings);
    let facts = Facts {
        sample: subject.sample.clone(),
        ids: subject.grading.id_columns.clone(),
        targets: subject.grading.target_columns.clone(),
        tables: tables::from_json(&subject.public, scratch),
        metric: subject.grading.metric.clone(),
    };
    let found = match Ladder::find(&subject.public, &facts, settings.seed) {
        Ok(ladder) => {
            report.task = ladder.describe();
            Some(ladder)
        }
        Err(why) => {
            for what in ["simple models", "leaks through tables"] {
                report.not_measured.push(NotMeasured::new(what, why.clone()));
            }
            None
        }
    };
    match Truth::read(subject) {
        Ok(truth) => {
            balance::measure(&truth, found.as_ref(), &mut report);
            leaks::measure(subject, &truth, found.as_ref(), settings, &mut report);
        }
        Err(why) => {
            for what in ["leaks", "balance of the answers"] {
                report.not_measured.push(NotMeasured::new(what, why.clone()));
            }
        }
    }
    (report, found)
}
