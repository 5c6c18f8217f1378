//! MLE-bench's files: run directories, grading reports, and the list of experiments.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use medalist_grading::InvalidSubmission;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::agents::agent_of_run_group;
use super::group::facts_of;
use super::{CompetitionSource, Group, Warning, json};
use crate::attempt::{Attempt, Ending, Grade, Medal, Thresholds};
use crate::record::AttemptKey;

/// One entry of a grading report, or our `grade.json`, which has the same fields and more.
///
/// A field that is missing, null or of another type is as if it were not there, and a flag that is
/// not there is false: an entry with a competition counts, whatever else is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Entry {
    competition_id: String,
    score: Option<f64>,
    gold_threshold: Option<f64>,
    silver_threshold: Option<f64>,
    bronze_threshold: Option<f64>,
    median_threshold: Option<f64>,
    gold_medal: bool,
    silver_medal: bool,
    bronze_medal: bool,
    above_median: bool,
    submission_exists: bool,
    valid_submission: bool,
    is_lower_better: bool,
    rank: Option<u64>,
    n_teams: Option<u64>,
    percentile: Option<f64>,
    own_leaderboard: Option<String>,
    strict_score: Option<f64>,
    invalid: Option<InvalidSubmission>,
}

/// Fields of an entry that is being read, and what was wrong with some.
struct Fields<'a> {
    value: &'a Value,
    wrong: Vec<String>,
}

impl Fields<'_> {
    fn get<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        T::deserialize(value)
            .inspect_err(|_| {
                let shown: String = value.to_string().chars().take(40).collect();
                self.wrong.push(format!("`{name}` is {shown}"));
            })
            .ok()
    }

    fn flag(&mut self, name: &str) -> bool {
        if self.value.get(name).is_some_and(Value::is_null) {
            self.wrong.push(format!("`{name}` is null"));
        }
        self.get(name).unwrap_or(false)
    }
}

impl Entry {
    /// The entry, and its fields that were read as absent, in words.
    ///
    /// # Errors
    /// Why it cannot be told which competition it is about.
    pub(super) fn of(value: &Value) -> Result<(Self, Vec<String>), String> {
        let mut fields = Fields { value, wrong: Vec::new() };
        if !value.is_object() {
            return Err("it is not an object".to_owned());
        }
        let id: Option<String> = fields.get("competition_id");
        let Some(competition_id) = id.filter(|id| !id.trim().is_empty()) else {
            return Err("it names no competition".to_owned());
        };
        let entry = Self {
            competition_id,
            score: fields.get("score"),
            gold_threshold: fields.get("gold_threshold"),
            silver_threshold: fields.get("silver_threshold"),
            bronze_threshold: fields.get("bronze_threshold"),
            median_threshold: fields.get("median_threshold"),
            gold_medal: fields.flag("gold_medal"),
            silver_medal: fields.flag("silver_medal"),
            bronze_medal: fields.flag("bronze_medal"),
            above_median: fields.flag("above_median"),
            submission_exists: fields.flag("submission_exists"),
            valid_submission: fields.flag("valid_submission"),
            is_lower_better: fields.get("is_lower_better").unwrap_or(false),
            rank: fields.get("rank"),
            n_teams: fields.get("n_teams"),
            percentile: fields.get("percentile"),
            own_leaderboard: fields.get("own_leaderboard"),
            strict_score: fields.get("strict_score"),
            invalid: fields.get("invalid"),
        };
        Ok((entry, fields.wrong))
    }

    /// [`Entry::of`] for our own `grade.json`.
    pub(super) fn read(path: &Path, warnings: &mut Vec<Warning>) -> Option<Self> {
        let value: Value = json::read(path, warnings)?;
        match Self::of(&value) {
            Ok((entry, wrong)) => {
                warnings.extend(absent(path, "", &wrong));
                Some(entry)
            }
            Err(reason) => {
                warnings.push(Warning::new(path, format!("is no grade ({reason}); left out")));
                None
            }
        }
    }

    pub(super) fn grade(self, source: &dyn CompetitionSource) -> Grade {
        let score = self.score.filter(|score| score.is_finite());
        let thresholds = match (
            self.gold_threshold,
            self.silver_threshold,
            self.bronze_threshold,
            self.median_threshold,
        ) {
            (Some(gold), Some(silver), Some(bronze), Some(median)) => {
                Some(Thresholds { gold, silver, bronze, median })
            }
            _ => None,
        };
        let medal = [
            (self.gold_medal, Medal::Gold),
            (self.silver_medal, Medal::Silver),
            (self.bronze_medal, Medal::Bronze),
        ]
        .into_iter()
        .find_map(|(won, medal)| won.then_some(medal));
        let asked = score.filter(|_| self.percentile.is_none());
        let percentile = asked.and_then(|score| source.percentile(&self.competition_id, score));
        let from_own = percentile.and_then(|_| source.own_leaderboard(&self.competition_id));
        // Whether others at the competition tell a leaderboard is known when all are read.
        Grade {
            score,
            medal,
            gold: self.gold_medal,
            silver: self.silver_medal,
            bronze: self.bronze_medal,
            above_median: self.above_median,
            exists: self.submission_exists,
            valid: self.valid_submission,
            lower_is_better: self.is_lower_better,
            thresholds,
            rank: self.rank,
            teams: self.n_teams,
            percentile: self.percentile.or(percentile),
            has_leaderboard: false,
            has_thresholds: false,
            own_leaderboard: self.own_leaderboard.or(from_own),
            is_claimed: false,
            strict_score: self.strict_score,
            problem: self.invalid.map(|invalid| invalid.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Report {
    competition_reports: Vec<Value>,
}

/// That fields were read as absent.
fn absent(path: &Path, whose: &str, wrong: &[String]) -> Option<Warning> {
    const SHOWN: usize = 3;
    let mut shown = wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if wrong.len() > SHOWN {
        shown.push_str(&format!(" and {} more", wrong.len() - SHOWN));
    }
    let message = format!("{whose}{shown}; read as absent, a flag as false");
    (!wrong.is_empty()).then(|| Warning::new(path, message))
}

/// A grading report as a group of its own; its attempts are successive runs of their competitions.
/// Whose they are is told by [`super::agents`].
pub(super) fn read_report_group(
    path: &Path,
    agent: &str,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Group> {
    let id = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let attempts = read_report(path, &id, agent, source, warnings)?;
    Some(Group {
        id,
        path: path.to_owned(),
        agent: agent.to_owned(),
        agent_is_recorded: false,
        record: None,
        attempts,
    })
}

/// MLE-bench's `runs/<timestamp>_run-group_<agent>/` with `metadata.json` and, once graded, one
/// grading report.
pub(super) fn read_run_directory(
    dir: &Path,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Group> {
    let id = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let recorded = agent_of_run_group(&id);
    let agent = recorded.unwrap_or(&id).to_owned();
    let report = grading_reports_in(dir).ok().and_then(|mut reports| reports.pop());
    let attempts = match report {
        Some(report) => read_report(&report, &id, &agent, source, warnings)?,
        None => {
            let attempts = ungraded(dir, &id, &agent, source, warnings)?;
            let n = attempts.len();
            warnings.push(Warning::new(
                dir,
                format!(
                    "has {n} attempt(s) and no grading report; they count as failed until graded"
                ),
            ));
            attempts
        }
    };
    Some(Group {
        agent_is_recorded: recorded.is_some(),
        id,
        path: dir.to_owned(),
        agent,
        record: None,
        attempts,
    })
}

fn read_report(
    path: &Path,
    group: &str,
    agent: &str,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Vec<Attempt>> {
    let report: Report = json::read(path, warnings)?;
    let mut seeds: HashMap<String, u32> = HashMap::new();
    let mut attempts = Vec::with_capacity(report.competition_reports.len());
    let mut wrong = Vec::new();
    for (i, value) in report.competition_reports.iter().enumerate() {
        let entry = match Entry::of(value) {
            Ok((entry, more)) => {
                wrong.extend(more.into_iter().map(|what| format!("{what} in entry {i}")));
                entry
            }
            Err(reason) => {
                warnings.push(Warning::new(
                    path,
                    format!("entry {i} of `competition_reports` is damaged ({reason}); left out"),
                ));
                continue;
            }
        };
        let seed = seeds.entry(entry.competition_id.clone()).or_default();
        let key = AttemptKey {
            competition: entry.competition_id.clone(),
            agent: agent.to_owned(),
            seed: *seed,
        };
        *seed += 1;
        attempts.push(Attempt {
            facts: facts_of(&key.competition, None, source),
            key,
            group: group.to_owned(),
            dir: None,
            ending: Ending::Unrecorded,
            grade: entry.grade(source),
            record: None,
        });
    }
    warnings.extend(absent(path, "", &wrong));
    if attempts.is_empty() {
        warnings.push(Warning::new(path, "holds no usable entry; left out"));
        return None;
    }
    attempts.sort_by(|a, b| a.key.competition.cmp(&b.key.competition));
    Some(attempts)
}

/// Attempts that only their folders `<competition>_<uuid>` tell of.
fn ungraded(
    dir: &Path,
    group: &str,
    agent: &str,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Vec<Attempt>> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut seeds: HashMap<String, u32> = HashMap::new();
    let attempts: Vec<Attempt> = names
        .iter()
        .filter_map(|name| name.rsplit_once('_'))
        .filter(|(_, run)| {
            run.len() == 36 && run.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
        })
        .map(|(competition, _)| {
            let seed = seeds.entry(competition.to_owned()).or_default();
            let key = AttemptKey {
                competition: competition.to_owned(),
                agent: agent.to_owned(),
                seed: *seed,
            };
            *seed += 1;
            Attempt {
                facts: facts_of(competition, None, source),
                key,
                group: group.to_owned(),
                dir: None,
                ending: Ending::Unfinished,
                grade: Grade::default(),
                record: None,
            }
        })
        .collect();
    if attempts.is_empty() {
        warnings.push(Warning::new(dir, "has neither attempts nor a grading report; left out"));
        return None;
    }
    Some(attempts)
}

/// Files that match `*grading_report*.json` directly in `dir`, sorted by name.
///
/// # Errors
/// If the folder cannot be listed.
pub fn grading_reports_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut reports: Vec<PathBuf> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.strip_suffix(".json").is_some_and(|stem| stem.contains("grading_report"))
                    && path.is_file()
            })
        })
        .collect();
    reports.sort();
    Ok(reports)
}

/// An experiment that cannot be resolved to reports.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The list of experiments cannot be read.
    #[error("cannot read `{}`", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The list was not fetched.
    #[error("`{}` is a Git LFS pointer and not the file itself, fetch it with `git lfs pull`", path.display())]
    Pointer {
        /// The list.
        path: PathBuf,
    },
    /// A line without a comma.
    #[error("line {line} of `{}` is `{text}`, expected `experiment_id,run_group`", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// No line names the experiment.
    #[error("`{}` has no run group of experiment `{experiment}`, it knows {}", path.display(), known.join(", "))]
    Unknown {
        /// The list.
        path: PathBuf,
        /// What was asked for.
        experiment: String,
        /// Experiments that it has, sorted.
        known: Vec<String>,
    },
    /// A run group with two grading reports.
    #[error("`{}` has {count} grading reports, expected one", path.display())]
    Several {
        /// Folder of the run group.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// No run group of the experiment has a report.
    #[error("no grading report for experiment `{experiment}` in `{}`", path.display())]
    NoReport {
        /// Folder of the run groups.
        path: PathBuf,
        /// What was asked for.
        experiment: String,
    },
}

/// Grading reports of an experiment, by MLE-bench's rules: run groups from `list`
/// (`experiment_id,run_group` lines), sorted, each with exactly one report directly in
/// `runs_dir/<run_group>/`. Groups without one are left out, with a warning.
///
/// # Errors
/// See [`ExperimentError`].
///
/// # Source
/// openai/mle-bench at 783b15a, `experiments/aggregate_grading_reports.py`.
pub fn experiment_groups(
    list: &Path,
    experiment: &str,
    runs_dir: &Path,
) -> Result<(Vec<PathBuf>, Vec<Warning>), ExperimentError> {
    let text = std::fs::read_to_string(list)
        .map_err(|source| ExperimentError::List { path: list.to_owned(), source })?;
    if text.as_bytes().starts_with(json::LFS_POINTER) {
        return Err(ExperimentError::Pointer { path: list.to_owned() });
    }
    let mut groups = Vec::new();
    let mut known = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("experiment_id") {
            continue;
        }
        let Some((id, group)) = line.split_once(',') else {
            return Err(ExperimentError::Line {
                path: list.to_owned(),
                line: i + 1,
                text: line.to_owned(),
            });
        };
        if id.trim() == experiment {
            groups.push(group.trim().to_owned());
        }
        known.push(id.trim().to_owned());
    }
    if groups.is_empty() {
        known.sort();
        known.dedup();
        return Err(ExperimentError::Unknown {
            path: list.to_owned(),
            experiment: experiment.to_owned(),
            known,
        });
    }
    groups.sort();
    let (mut reports, mut warnings) = (Vec::new(), Vec::new());
    for group in groups {
        let dir = runs_dir.join(group);
        match grading_reports_in(&dir) {
            Err(error) => {
                warnings.push(Warning::new(&dir, format!("cannot be read ({error}); left out")))
            }
            Ok(found) if found.len() > 1 => {
                return Err(ExperimentError::Several { path: dir, count: found.len() });
            }
            Ok(found) if found.is_empty() => {
                warnings.push(Warning::new(&dir, "has no grading report; left out"))
            }
            Ok(found) => reports.extend(found),
        }
    }
    if reports.is_empty() {
        return Err(ExperimentError::NoReport {
            path: runs_dir.to_owned(),
            experiment: experiment.to_owned(),
        });
    }
    Ok((reports, warnings))
}
