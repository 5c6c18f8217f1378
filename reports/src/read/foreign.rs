//! MLE-bench's files: run directories, grading reports, and the list of experiments.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use medalist_grading::InvalidSubmission;
use serde::Deserialize;

use super::group::facts_of;
use super::{CompetitionSource, Group, Warning, json};
use crate::attempt::{Attempt, Ending, Grade, Medal, Thresholds};
use crate::record::AttemptKey;

/// One entry of a grading report, or our `grade.json`, which has the same fields and more.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) competition_id: String,
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
    is_lower_better: Option<bool>,
    rank: Option<u64>,
    n_teams: Option<u64>,
    percentile: Option<f64>,
    own_leaderboard: Option<String>,
    strict_score: Option<f64>,
    invalid: Option<InvalidSubmission>,
}

impl Entry {
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
        Grade {
            score,
            medal,
            gold: self.gold_medal,
            silver: self.silver_medal,
            bronze: self.bronze_medal,
            above_median: self.above_median,
            exists: self.submission_exists,
            valid: self.valid_submission,
            lower_is_better: self.is_lower_better.unwrap_or(false),
            thresholds,
            rank: self.rank,
            teams: self.n_teams,
            percentile: self.percentile.or(percentile),
            own_leaderboard: self.own_leaderboard.or(from_own),
            strict_score: self.strict_score,
            problem: self.invalid.map(|invalid| invalid.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Report {
    competition_reports: Vec<serde_json::Value>,
}

/// A grading report as a group of its own; its attempts are successive runs of their competitions.
pub(super) fn read_report_group(
    path: &Path,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Group> {
    let id = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let parent = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let folder =
        parent.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let agent = folder.as_deref().map_or(id.as_str(), agent_of_folder).to_owned();
    let attempts = read_report(path, &id, &agent, source, warnings)?;
    Some(Group { id, path: path.to_owned(), agent, record: None, attempts })
}

/// MLE-bench's `runs/<timestamp>_run-group_<agent>/` with `metadata.json` and, once graded, one
/// grading report.
pub(super) fn read_run_directory(
    dir: &Path,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Group> {
    let id = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let agent = agent_of_folder(&id).to_owned();
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
    Some(Group { id, path: dir.to_owned(), agent, record: None, attempts })
}

fn agent_of_folder(name: &str) -> &str {
    name.split_once("_run-group_").map_or(name, |(_, agent)| agent)
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
    for (i, value) in report.competition_reports.into_iter().enumerate() {
        let entry: Entry = match serde_json::from_value(value) {
            Ok(entry) => entry,
            Err(error) => {
                warnings.push(Warning::new(
                    path,
                    format!("entry {i} of `competition_reports` is damaged ({error}); left out"),
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
