//! Reports on run groups: what is read, what the catalogue adds, what is written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use medalist_competitions::frame::{ExportColumn, FrameError, write_parquet};
use medalist_competitions::{Catalogue, CompetitionSpec, Suite};
use medalist_reports::contamination::Cutoffs;
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::export::{self, Column, Format};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::{self, CompetitionSource, ReadError, Reading};
use medalist_reports::record::CompetitionFacts;

use super::boards::Board;
use super::context::Context;
use super::error::{CliError, Exit};
use super::transcript::Recorded;
use crate::attempt::text::duration;

/// MLE-bench's list of experiments as a source of reports.
#[derive(Debug, Default, Clone)]
pub struct Experiment {
    /// Experiment whose run groups are read.
    pub id: Option<String>,
    /// List of `experiment_id,run_group` lines; `run_group_experiments.csv` in the runs folder if
    /// none.
    pub list: Option<PathBuf>,
}

/// A form in which a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// One of the reports crate.
    Format(Format),
    /// The attempts' table as parquet, which is written here: only this crate may use the table
    /// engine.
    Parquet,
}

/// What a report is made of.
#[derive(Debug)]
pub struct ReportRequest<'a> {
    /// Run groups, folders of them, or grading reports; all of the runs folder if empty.
    pub paths: &'a [PathBuf],
    /// A list of experiments in their place.
    pub experiment: &'a Experiment,
    /// The agent whose groups count; all if none.
    pub agent: Option<&'a str>,
    /// The times after which attempts are looked at, a report for each; their end where none.
    pub at: &'a [Option<Duration>],
    /// How seeds of leaderboard rows are built.
    pub seeds: SeedRule,
    /// Where the files go, if the user says so.
    pub out: Option<PathBuf>,
    /// What is written.
    pub outputs: &'a [Output],
    /// Heading, if the user says so.
    pub title: Option<String>,
    /// Training cut-offs to compare with.
    pub cutoffs: Cutoffs,
}

/// Computes reports and writes their files; `each` gets a report with what was written of it.
///
/// # Errors
/// Nothing to read, or the folder cannot be written; or what `each` says.
pub fn write_reports(
    request: ReportRequest<'_>,
    context: &Context,
    mut each: impl FnMut(ReportData, &[PathBuf]) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let mut whole = read_groups(request.paths, request.experiment, context, &source)?;
    keep_agent(&mut whole, request.agent)?;
    let whole_title = request.title.unwrap_or_else(|| default_title(&whole));
    let whole_dir = request.out.unwrap_or_else(|| default_dir(&whole));
    for at in request.at.iter().copied() {
        let (title, dir) = match at {
            None => (whole_title.clone(), whole_dir.clone()),
            Some(at) => (
                format!("{whole_title} after {}", duration(at)),
                whole_dir.join(format!("after-{}", short(at))),
            ),
        };
        let reading = reading_at(&whole, at, context, &source);
        let options = ReportOptions {
            title,
            generated_at: Utc::now(),
            seed_rule: request.seeds,
            cutoffs: request.cutoffs.clone(),
        };
        let data = ReportData::compute(&reading, &source, &options);
        for warning in data.warnings.iter().skip(reading.warnings.len()) {
            context.warn(warning);
        }
        let written = write_files(&dir, &data, request.outputs)?;
        each(data, &written)?;
    }
    Ok(())
}

fn write_files(
    dir: &Path,
    data: &ReportData,
    outputs: &[Output],
) -> Result<Vec<PathBuf>, CliError> {
    let formats: Vec<Format> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Format(format) => Some(*format),
            Output::Parquet => None,
        })
        .collect();
    let mut written = export::write(dir, data, &formats, &Recorded)
        .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))?;
    if outputs.contains(&Output::Parquet) {
        let path = dir.join("attempts.parquet");
        write_attempts(&path, data)
            .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))?;
        written.push(path);
    }
    Ok(written)
}

/// The attempts' table as parquet.
fn write_attempts(path: &Path, data: &ReportData) -> Result<(), FrameError> {
    let columns = export::attempt_columns(data)
        .into_iter()
        .map(|(name, column)| {
            let column = match column {
                Column::Text(values) => ExportColumn::Text(values),
                Column::Number(values) => ExportColumn::Number(values),
                Column::Whole(values) => ExportColumn::Whole(values),
                Column::Flag(values) => ExportColumn::Flag(values),
            };
            (name, column)
        })
        .collect();
    write_parquet(path, columns)
}

/// Reads what the user named, prints a warning for everything that was left out.
pub fn read_groups(
    paths: &[PathBuf],
    experiment: &Experiment,
    context: &Context,
    source: &Source,
) -> Result<Reading, CliError> {
    let mut paths = paths.to_vec();
    let mut warnings = Vec::new();
    if let Some(id) = &experiment.id {
        let list = experiment
            .list
            .clone()
            .unwrap_or_else(|| context.runs_dir.join("run_group_experiments.csv"));
        let (reports, more) = read::experiment_groups(&list, id, &context.runs_dir)
            .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))?;
        paths.extend(reports);
        warnings.extend(more);
    } else if paths.is_empty() {
        paths.push(context.runs_dir.clone());
    }
    let mut reading = read::read(&paths, source).map_err(|error| {
        let hints: Vec<String> = match &error {
            ReadError::Nothing { warnings, .. } => {
                warnings.iter().map(ToString::to_string).collect()
            }
            ReadError::Path { .. } | ReadError::NoSuchAgent { .. } => Vec::new(),
        };
        let hint = "name a run group, a folder of run groups or MLE-bench's grading reports";
        hints.into_iter().fold(
            CliError::new(Exit::BadInput, anyhow::Error::new(error)).hint(hint),
            CliError::hint,
        )
    })?;
    reading.warnings.splice(0..0, warnings);
    if let Some(id) = &experiment.id {
        // All groups of an experiment are runs of one agent, whatever their folders are called.
        reading.rename_agent(id);
    }
    for warning in &reading.warnings {
        context.warn(warning);
    }
    Ok(reading)
}

/// Keeps the groups of one agent, if one is named.
///
/// # Errors
/// No group is of this agent.
pub fn keep_agent(reading: &mut Reading, agent: Option<&str>) -> Result<(), CliError> {
    agent.map_or(Ok(()), |agent| {
        reading
            .keep_agent(agent)
            .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))
    })
}

/// What was read, as it stood after a time if one is given, and a warning for all that this leaves out.
pub fn reading_at<'a>(
    reading: &'a Reading,
    at: Option<Duration>,
    context: &Context,
    source: &Source,
) -> Cow<'a, Reading> {
    let Some(at) = at else { return Cow::Borrowed(reading) };
    let cut = reading.at(at, source);
    for warning in cut.warnings.iter().skip(reading.warnings.len()) {
        context.warn(warning);
    }
    Cow::Owned(cut)
}

/// A length of time as a word, such as `12h` or `1h30m`.
pub fn short(length: Duration) -> String {
    humantime::format_duration(length).to_string().replace(' ', "")
}

pub fn default_title(reading: &Reading) -> String {
    let mut agents: Vec<&str> = reading.groups.iter().map(|group| group.agent.as_str()).collect();
    agents.sort_unstable();
    agents.dedup();
    match agents.as_slice() {
        few if few.len() <= 3 => few.join(" and "),
        many => format!("{} agents", many.len()),
    }
}

fn default_dir(reading: &Reading) -> PathBuf {
    match reading.groups.as_slice() {
        [group] if group.path.is_dir() => group.path.join("report"),
        _ => Path::new("medalist-report").to_owned(),
    }
}

/// What the catalogue tells a report.
#[derive(Debug)]
pub struct Source {
    catalogue: Catalogue,
    data_dir: PathBuf,
    boards: Mutex<HashMap<String, Arc<Board>>>,
}

impl Source {
    /// A source that answers from `catalogue` and the leaderboards of the user's own in `data_dir`.
    pub fn new(catalogue: Catalogue, data_dir: &Path) -> Self {
        Self { catalogue, data_dir: data_dir.to_owned(), boards: Mutex::default() }
    }

    /// The competitions that it knows.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    fn board(&self, id: &str) -> Arc<Board> {
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let spec = self.catalogue.get(id).ok()?;
            Board::in_force(spec, &self.data_dir)
                .inspect_err(|error| tracing::warn!("no percentiles for `{id}`: {error}"))
                .ok()
        };
        Arc::clone(
            boards.entry(id.to_owned()).or_insert_with(|| Arc::new(read().unwrap_or_default())),
        )
    }
}

/// Facts of a competition as records and reports keep them.
pub fn facts(spec: &CompetitionSpec) -> CompetitionFacts {
    CompetitionFacts {
        id: spec.id.to_string(),
        title: spec.title.clone(),
        modality: spec.modality.to_string(),
        category: spec.category.clone().unwrap_or_else(|| "unknown".to_owned()),
        complexity: spec.complexity.to_string(),
        metric: spec.grading.metric.clone(),
        suites: Suite::ALL
            .iter()
            .filter(|suite| suite.contains(spec))
            .map(ToString::to_string)
            .collect(),
        size_bytes: spec.size_gb.map(|size| (size * 1e9) as u64),
        ended: spec.ended,
    }
}

impl CompetitionSource for Source {
    fn facts(&self, id: &str) -> Option<CompetitionFacts> {
        self.catalogue.get(id).ok().map(facts)
    }

    fn suite(&self, name: &str) -> Option<Vec<String>> {
        let suite: Suite = name.parse().ok()?;
        Some(self.catalogue.suite(suite).map(|spec| spec.id.to_string()).collect())
    }

    fn percentile(&self, id: &str, score: f64) -> Option<f64> {
        let board = self.board(id);
        let board = board.leaderboard.as_ref()?;
        board.standing(score, board.direction()).map(|standing| standing.percentile)
    }

    fn own_leaderboard(&self, id: &str) -> Option<String> {
        self.board(id).own.clone()
    }
}
