//! Many submissions, listed in a JSON-lines file, to one grading report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use chrono::Utc;
use medalist_grading::{GradeReport, Medal};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::{CliError, Exit};
use super::grading::Grading;
use crate::attempt::text::chain;
use crate::host::files::write_atomic;
use crate::host::machine::cpu_count;

/// A line of the list. MLE-bench's lines name logs and code as well, which grading does not need.
#[derive(Debug, Deserialize)]
struct Line {
    competition_id: String,
    submission_path: Option<PathBuf>,
}

/// The report: MLE-bench's fields, then what could not be graded.
#[derive(Debug, Serialize)]
pub struct GroupReport {
    total_runs: usize,
    total_runs_with_submissions: usize,
    total_valid_submissions: usize,
    total_medals: usize,
    total_gold_medals: usize,
    total_silver_medals: usize,
    total_bronze_medals: usize,
    total_above_median: usize,
    competition_reports: Vec<GradeReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failure>,
}

/// A line that could not be graded, for a reason other than its submission.
#[derive(Debug, Serialize)]
struct Failure {
    line: usize,
    competition_id: Option<String>,
    submission_path: Option<PathBuf>,
    error: String,
}

impl GroupReport {
    fn new(competition_reports: Vec<GradeReport>, failures: Vec<Failure>) -> Self {
        let count = |wanted: fn(&GradeReport) -> bool| {
            competition_reports.iter().filter(|report| wanted(report)).count()
        };
        Self {
            total_runs: competition_reports.len() + failures.len(),
            total_runs_with_submissions: count(|report| report.submission_exists),
            total_valid_submissions: count(|report| report.valid_submission),
            total_medals: count(|report| report.any_medal),
            total_gold_medals: count(|report| report.medal == Some(Medal::Gold)),
            total_silver_medals: count(|report| report.medal == Some(Medal::Silver)),
            total_bronze_medals: count(|report| report.medal == Some(Medal::Bronze)),
            total_above_median: count(|report| report.above_median),
            competition_reports,
            failures,
        }
    }
}

/// Grades the submissions of a list and writes the report into a folder.
///
/// Lines that cannot be graded are named on stderr and in the report.
///
/// # Errors
/// The list cannot be read, or the report cannot be written.
pub fn grade_list(list: &Path, output_dir: &Path, context: &Context) -> Result<Graded, CliError> {
    let text =
        fs_err::read_to_string(list).map_err(|error| CliError::new(Exit::BadInput, error))?;
    let grading = context.grading()?;
    let (lines, mut failures) = parse_lines(&text);

    let graded = grade_lines(&grading, &lines);
    let mut reports = Vec::new();
    for (line, result) in graded {
        match result {
            Ok(report) => reports.push((line, report)),
            Err(failure) => failures.push(failure),
        }
    }
    reports.sort_by_key(|(line, _)| *line);
    failures.sort_by_key(|failure| failure.line);
    for failure in &failures {
        context.warn(format_args!(
            "line {} of `{}`: {}",
            failure.line,
            list.display(),
            failure.error
        ));
    }
    let report =
        GroupReport::new(reports.into_iter().map(|(_, report)| report).collect(), failures);
    fs_err::create_dir_all(output_dir)?;
    let json = serde_json::to_string_pretty(&report)?;
    let path = output_dir
        .join(format!("{}_grading_report.json", Utc::now().format("%Y-%m-%dT%H-%M-%S-UTC")));
    write_atomic(&path, json.as_bytes())?;
    Ok(Graded { report, json, path })
}

/// A grading report and where it is.
#[derive(Debug)]
pub struct Graded {
    /// What was graded.
    pub report: GroupReport,
    /// The same as JSON.
    pub json: String,
    /// Its file.
    pub path: PathBuf,
}

impl GroupReport {
    /// Whether every line could be graded.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The counts, for people.
    pub fn summary(&self) -> String {
        format!(
            "graded {} of {} runs: {} valid; medals: {} ({} gold, {} silver, {} bronze); {} above the median",
            self.competition_reports.len(),
            self.total_runs,
            self.total_valid_submissions,
            self.total_medals,
            self.total_gold_medals,
            self.total_silver_medals,
            self.total_bronze_medals,
            self.total_above_median,
        )
    }

    /// Competitions that were measured against a leaderboard of the user's own, with its origin.
    pub fn own_leaderboards(&self) -> BTreeMap<&str, &str> {
        let own = self.competition_reports.iter().filter_map(|report| {
            Some((report.competition_id.as_str(), report.own_leaderboard.as_deref()?))
        });
        own.collect()
    }
}

/// The lines with their numbers, from 1, and those that are no such line.
fn parse_lines(text: &str) -> (Vec<(usize, Line)>, Vec<Failure>) {
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') || text.starts_with("//") {
            continue;
        }
        match serde_json::from_str::<Line>(text) {
            Ok(line) => lines.push((number, line)),
            Err(error) => failures.push(Failure {
                line: number,
                competition_id: None,
                submission_path: None,
                error: format!(
                    "expected an object with `competition_id` and `submission_path`: {error}"
                ),
            }),
        }
    }
    (lines, failures)
}

/// Grades all lines, as many at a time as there are processors. Lines of one competition follow each
/// other, since its answers are kept by who grades.
fn grade_lines(
    grading: &Grading,
    lines: &[(usize, Line)],
) -> Vec<(usize, Result<GradeReport, Failure>)> {
    let mut targets = BTreeMap::new();
    for (_, line) in lines {
        let id = line.competition_id.as_str();
        targets.entry(id).or_insert_with(|| grading.target(id).map_err(|error| chain(&error)));
    }
    let mut order: Vec<&(usize, Line)> = lines.iter().collect();
    order.sort_by(|a, b| a.1.competition_id.cmp(&b.1.competition_id));
    let grade = |line: &Line| {
        let target = targets[line.competition_id.as_str()].as_ref().map_err(Clone::clone)?;
        let report = target.report(line.submission_path.as_deref(), &target.answers_path());
        report.map_err(|error| chain(&error))
    };
    let (next, (sender, results)) = (AtomicUsize::new(0), mpsc::channel());
    std::thread::scope(|scope| {
        for _ in 0..(cpu_count() as usize).min(order.len()) {
            let (sender, next, order, grade) = (sender.clone(), &next, &order, &grade);
            scope.spawn(move || {
                while let Some((number, line)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = grade(line).map_err(|error| Failure {
                        line: *number,
                        competition_id: Some(line.competition_id.clone()),
                        submission_path: line.submission_path.clone(),
                        error,
                    });
                    // The receiver lives until all threads have ended.
                    let _ = sender.send((*number, result));
                }
            });
        }
    });
    drop(sender);
    results.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_broken_ones_named() {
        let text = "# a\n\n// b\n{\"competition_id\": \"x\", \"submission_path\": null, \"logs_path\": null}\nnot json\n";
        let (lines, failures) = parse_lines(text);
        assert_eq!((lines.len(), lines[0].0), (1, 4));
        assert_eq!((failures.len(), failures[0].line), (1, 5));
    }
}
