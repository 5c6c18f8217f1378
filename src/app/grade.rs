//! Many submissions, listed in a JSON-lines file, to one grading report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::Utc;
use medalist_competitions::suggestion;
use medalist_grading::report::submission_file;
use medalist_grading::untrusted::Shown;
use medalist_grading::{GradeReport, Medal};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::{CliError, Exit};
use crate::host::files::write_new;

/// A line of the list. MLE-bench's lines name logs and code as well, which grading does not need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    competition_id: String,
    /// Null where there is none; a line without the key is an error, as a misspelt one is.
    #[serde(deserialize_with = "Option::deserialize")]
    submission_path: Option<PathBuf>,
    #[serde(default, rename = "logs_path")]
    _logs_path: IgnoredAny,
    #[serde(default, rename = "code_path")]
    _code_path: IgnoredAny,
}

/// The keys of a line.
const KEYS: [&str; 4] = ["competition_id", "submission_path", "logs_path", "code_path"];

/// The report: MLE-bench's fields, then what could not be graded or was not found.
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_submissions: Vec<Missing>,
}

/// A line whose path leads to no submission: it counts as a run without one, as in MLE-bench, but
/// the list promised more.
#[derive(Debug, Serialize)]
struct Missing {
    line: usize,
    competition_id: String,
    submission_path: PathBuf,
    why: String,
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
    fn new(
        competition_reports: Vec<GradeReport>,
        failures: Vec<Failure>,
        missing_submissions: Vec<Missing>,
    ) -> Self {
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
            missing_submissions,
        }
    }
}

/// Grades the submissions of a list and writes the report into a folder, beside those that are
/// there.
///
/// Lines that cannot be graded, and paths that lead to no submission, are named on stderr and in
/// the report.
///
/// # Errors
/// The list cannot be read, or the report cannot be written.
pub fn grade_list(list: &Path, output_dir: &Path, context: &Context) -> Result<Graded, CliError> {
    let text =
        fs_err::read_to_string(list).map_err(|error| CliError::new(Exit::BadInput, error))?;
    let grading = context.grading()?;
    let (lines, mut failures) = parse_lines(&text);
    let missing: Vec<Missing> = lines.iter().filter_map(Missing::of).collect();
    if lines.is_empty() && failures.is_empty() {
        context.warn(format_args!("`{}` lists no submission", list.display()));
    }

    let jobs: Vec<_> = lines
        .iter()
        .map(|(_, line)| (line.competition_id.as_str(), line.submission_path.as_deref()))
        .collect();
    let mut reports = Vec::new();
    for ((number, line), result) in lines.iter().zip(grading.report_all(&jobs)) {
        match result {
            Ok(report) => reports.push((*number, report)),
            Err(error) => failures.push(Failure {
                line: *number,
                competition_id: Some(line.competition_id.clone()),
                submission_path: line.submission_path.clone(),
                error,
            }),
        }
    }
    failures.sort_by_key(|failure| failure.line);
    for failure in &failures {
        context.warn(format_args!(
            "line {} of `{}`: {}",
            failure.line,
            list.display(),
            failure.error
        ));
    }
    for Missing { line, submission_path, why, .. } in &missing {
        let path = submission_path.display();
        context.warn(format_args!("line {line} of `{}`: `{path}` {why}", list.display()));
    }
    let reports = reports.into_iter().map(|(_, report)| report).collect();
    let report = GroupReport::new(reports, failures, missing);
    fs_err::create_dir_all(output_dir)?;
    let json = serde_json::to_string_pretty(&report)?;
    let time = Utc::now().format("%Y-%m-%dT%H-%M-%S-UTC").to_string();
    // Before the words by which reports are found, so that a pattern that finds one finds all.
    let name = |number: u32| match number {
        1 => output_dir.join(format!("{time}_grading_report.json")),
        number => output_dir.join(format!("{time}-{number}_grading_report.json")),
    };
    let path = write_new(name, json.as_bytes())?;
    Ok(Graded { report, json, path })
}

impl Missing {
    /// What is wrong with the path of a line, if it leads to no submission.
    fn of((line, listed): &(usize, Line)) -> Option<Self> {
        let path = listed.submission_path.as_deref()?;
        if submission_file(Some(path)).is_some() {
            return None;
        }
        Some(Self {
            line: *line,
            competition_id: listed.competition_id.clone(),
            submission_path: path.to_owned(),
            why: why_missing(path),
        })
    }
}

/// Why a path leads to no submission; fits behind the path.
fn why_missing(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        return "is empty; write null where there is no submission".to_owned();
    }
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            return "is a folder, expected a CSV file; it counts as no submission".to_owned();
        }
        Ok(_) => {
            return "does not end in `.csv`, so that it counts as no submission".to_owned();
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return format!("cannot be looked at ({error}); it counts as no submission");
        }
        Err(_) => {}
    }
    let mut why = "does not exist; it counts as no submission".to_owned();
    if path.starts_with("~") {
        why.push_str(" (a list is not read by a shell: write the home directory out)");
    } else if path.is_relative()
        && let Ok(here) = std::env::current_dir()
    {
        why.push_str(&format!(" (it was looked for from `{}`)", here.display()));
    }
    why
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
    /// Whether the list names runs, every line could be graded, and no path led nowhere.
    pub fn is_complete(&self) -> bool {
        self.total_runs > 0 && self.failures.is_empty() && self.missing_submissions.is_empty()
    }

    /// The counts, for people.
    pub fn summary(&self) -> String {
        let missing = match self.missing_submissions.len() {
            0 => String::new(),
            count => format!(", {count} with a path that leads to no submission"),
        };
        format!(
            "graded {} of {} runs: {} valid{missing}; medals: {} ({} gold, {} silver, {} bronze); {} above the median",
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
                error: what_is_wrong(text, &error),
            }),
        }
    }
    (lines, failures)
}

/// Why a line is none, with the key that was meant where one is misspelt.
fn what_is_wrong(text: &str, error: &serde_json::Error) -> String {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).unwrap_or_default();
    if let Some(unknown) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let unknown = Shown::cut(unknown, 80);
        return format!(
            "unknown key `{unknown}`{}; a line has `competition_id` and `submission_path`, and may have `logs_path` and `code_path`",
            suggestion(unknown.as_str(), KEYS)
        );
    }
    format!("expected an object with `competition_id` and `submission_path`: {error}")
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
