//! `medalist grade`: many submissions, listed in a JSON-lines file, to one grading report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::Utc;
use medalist_competitions::{Catalogue, CompetitionSpec};
use medalist_grading::report::{CompetitionFacts, grade_report, submission_file};
use medalist_grading::table::Limits;
use medalist_grading::{Answers, GradeReport, Grader, Medal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::app::boards::Board;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::host::store;

/// Grade the submissions of a JSON-lines file and write one grading report.
///
/// Each line is an object with `competition_id` and `submission_path` (null where there is none);
/// empty lines and lines that begin with `#` or `//` are skipped. A line that cannot be graded is
/// named on stderr and in the report, and does not stop the others: the exit code is then 5.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The list of submissions, as `make_submission.py` writes it.
    #[arg(long, value_name = "FILE")]
    submission: PathBuf,
    /// Where `<timestamp>_grading_report.json` is written.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Print the report to stdout as well.
    #[arg(long)]
    json: bool,
}

/// A line of the list. MLE-bench's lines name logs and code as well, which grading does not need.
#[derive(Debug, Deserialize)]
struct Line {
    competition_id: String,
    submission_path: Option<PathBuf>,
}

/// The report: MLE-bench's fields, then what could not be graded.
#[derive(Debug, Serialize)]
struct GroupReport {
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

/// Runs the subcommand.
///
/// # Errors
/// The list cannot be read, or the report cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let text = fs_err::read_to_string(&args.submission)
        .map_err(|error| CliError::new(Exit::BadInput, error))?;
    let catalogue = context.catalogue()?;
    let (lines, mut failures) = parse_lines(&text);

    // Attempts on one competition share its answers, which may be far larger than the submissions.
    let mut groups: BTreeMap<&str, Vec<&(usize, Line)>> = BTreeMap::new();
    for line in &lines {
        groups.entry(&line.1.competition_id).or_default().push(line);
    }
    let graded: Vec<(usize, Result<GradeReport, Failure>)> = groups
        .into_par_iter()
        .flat_map(|(id, lines)| grade_group(&catalogue, context, id, &lines))
        .collect();
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
            args.submission.display(),
            failure.error
        ));
    }

    let report =
        GroupReport::new(reports.into_iter().map(|(_, report)| report).collect(), failures);
    fs_err::create_dir_all(&args.output_dir)?;
    let json = serde_json::to_string_pretty(&report)?;
    let path = args
        .output_dir
        .join(format!("{}_grading_report.json", Utc::now().format("%Y-%m-%dT%H-%M-%S-UTC")));
    store::write_atomic(&path, json.as_bytes())?;
    context.say(format_args!(
        "graded {} of {} runs: {} valid; medals: {} ({} gold, {} silver, {} bronze); {} above the median",
        report.competition_reports.len(),
        report.total_runs,
        report.total_valid_submissions,
        report.total_medals,
        report.total_gold_medals,
        report.total_silver_medals,
        report.total_bronze_medals,
        report.total_above_median,
    ));
    let own: BTreeMap<&str, &str> = report
        .competition_reports
        .iter()
        .filter_map(|report| {
            Some((report.competition_id.as_str(), report.own_leaderboard.as_deref()?))
        })
        .collect();
    for (id, origin) in own {
        context
            .warn(format_args!("`{id}` is measured against a leaderboard of your own: {origin}"));
    }
    context.say(format_args!("report: {}", path.display()));
    if args.json {
        context.print(format_args!("{json}\n"))?;
    }
    Ok(if report.failures.is_empty() { Exit::Success } else { Exit::Partial })
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

/// Grades the lines of one competition; its answers are read once, and only if there is something
/// to grade.
fn grade_group(
    catalogue: &Catalogue,
    context: &Context,
    id: &str,
    lines: &[&(usize, Line)],
) -> Vec<(usize, Result<GradeReport, Failure>)> {
    let target = Target::new(catalogue, id, &context.data_dir);
    // Read before the lines share the cores: a thread that waits for the answers must not be the
    // one that reads them.
    let answers = match &target {
        Ok(target)
            if lines
                .iter()
                .any(|(_, line)| submission_file(line.submission_path.as_deref()).is_some()) =>
        {
            Some(target.read_answers(&context.data_dir))
        }
        _ => None,
    };
    let grade = |line: &Line| -> Result<GradeReport, String> {
        let target = target.as_ref().map_err(Clone::clone)?;
        let path = line.submission_path.as_deref();
        let graded = match (submission_file(path), &answers) {
            (Some(path), Some(answers)) => {
                let answers = answers.as_ref().map_err(Clone::clone)?;
                Some(
                    target
                        .grader
                        .grade_file(path, answers, &Limits::default())
                        .map_err(|error| chain(&error))?,
                )
            }
            _ => None,
        };
        Ok(GradeReport::new(&target.facts(), &target.grader, path, graded))
    };
    lines
        .par_iter()
        .map(|(number, line)| {
            let result = grade(line).map_err(|error| Failure {
                line: *number,
                competition_id: Some(id.to_owned()),
                submission_path: line.submission_path.clone(),
                error,
            });
            (*number, result)
        })
        .collect()
}

/// A competition ready to grade.
pub(super) struct Target<'c> {
    spec: &'c CompetitionSpec,
    board: Board,
    pub(super) grader: Grader,
}

impl<'c> Target<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, id: &str, data_dir: &Path) -> Result<Self, String> {
        let spec = catalogue.get(id).map_err(|error| error.to_string())?;
        let grader = Grader::new(spec.grading.clone())
            .map_err(|error| format!("cannot grade `{id}`: {error}"))?;
        let board = Board::in_force(spec, data_dir).map_err(|error| chain(&error))?;
        Ok(Self { spec, board, grader })
    }

    fn facts(&self) -> CompetitionFacts<'_> {
        self.board.facts(self.spec)
    }

    /// Where the answers are, below a data directory.
    pub(super) fn answers_path(&self, data_dir: &Path) -> PathBuf {
        self.spec.answers_path(&self.prepared(data_dir))
    }

    /// Where the sample submission is, below a data directory.
    pub(super) fn sample_path(&self, data_dir: &Path) -> PathBuf {
        self.spec.sample_submission_path(&self.prepared(data_dir))
    }

    fn prepared(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(self.spec.id.as_str()).join("prepared")
    }

    fn read_answers(&self, data_dir: &Path) -> Result<Answers, String> {
        let path = self.answers_path(data_dir);
        self.grader.read_answers(&path).map_err(|error| {
            format!("cannot read the answers `{}`: {}", path.display(), chain(&error))
        })
    }

    /// The report of one submission against the answers at a path.
    pub(super) fn report(
        &self,
        submission: Option<&Path>,
        answers: &Path,
    ) -> Result<GradeReport, CliError> {
        grade_report(&self.facts(), &self.grader, submission, answers, &Limits::default()).map_err(|error| {
            let id = self.spec.id.as_str();
            let what = format!("cannot grade `{id}` with the answers `{}`", answers.display());
            let error = CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what));
            if answers.exists() {
                error
            } else {
                error.hint(format!(
                    "prepare the competition with `medalist prepare -c {id}`, or name the answers with `--answers`"
                ))
            }
        })
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
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
