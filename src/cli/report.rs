//! `medalist report`: numbers, pictures and a page from run groups.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use clap::ValueEnum;

use medalist_competitions::frame::{ExportColumn, FrameError, write_parquet};
use medalist_competitions::{Catalogue, CompetitionSpec, Suite};
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::export::{self, Column, Format};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::{self, CompetitionSource, ReadError, Reading};
use medalist_reports::record::CompetitionFacts;
use medalist_reports::terminal;

use crate::app::boards::Board;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Most attempts, and most files of one folder, that the terminal lists.
const LISTED: usize = 60;

/// Write a report on run groups: a table here, and a page, pictures and data in a folder.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups, folders of run groups, MLE-bench run directories or grading reports; all of
    /// `--runs-dir` by default.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    experiment: Experiment,
    #[command(flatten)]
    seeds: Seeds,
    /// Where the files go; `report/` inside the run group, or `medalist-report/` for several paths.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to write.
    #[arg(short, long, value_delimiter = ',', default_values_t = [FormatName::Html, FormatName::Json])]
    format: Vec<FormatName>,
    /// Heading of the report.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Print `report.json` to stdout in place of the table.
    #[arg(long)]
    json: bool,
}

/// MLE-bench's list of experiments as a source of reports.
#[derive(clap::Args, Debug, Default)]
pub struct Experiment {
    /// Experiment whose run groups are read.
    #[arg(long, value_name = "ID")]
    experiment_id: Option<String>,
    /// List of `experiment_id,run_group` lines; `run_group_experiments.csv` in `--runs-dir` by
    /// default.
    #[arg(long, value_name = "FILE", requires = "experiment_id")]
    experiments: Option<PathBuf>,
}

impl Experiment {
    /// Whether an experiment was named.
    pub(super) fn is_named(&self) -> bool {
        self.experiment_id.is_some()
    }
}

/// How seeds of leaderboard rows are built.
#[derive(clap::Args, Debug, Default, Clone, Copy)]
pub struct Seeds {
    /// Number of seeds of the leaderboard row; all complete ones by default.
    #[arg(long, value_name = "N")]
    num_seeds: Option<usize>,
    /// Fill incomplete seeds of the leaderboard row with failures.
    #[arg(long)]
    pad_missing: bool,
}

impl Seeds {
    pub(super) fn rule(self) -> SeedRule {
        SeedRule { seeds: self.num_seeds, pad_missing: self.pad_missing }
    }
}

/// A format on the command line.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// One self-contained page.
    Html,
    /// Everything, versioned.
    Json,
    /// One line an attempt.
    Csv,
    /// A summary for a pull request.
    Markdown,
    /// MLE-bench's grading reports.
    Mlebench,
    /// The pictures as SVG files.
    Plots,
    /// The pictures as PNG files, each in light and in dark colours.
    Png,
    /// A folder of pages, one an attempt, with its log's end.
    Pages,
    /// The columns of the CSV file as a parquet file.
    Parquet,
}

impl std::fmt::Display for FormatName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.format().map_or("parquet", Format::name))
    }
}

impl FormatName {
    /// The format of the reports crate; parquet is written here, for only this crate may use the
    /// table engine.
    fn format(self) -> Option<Format> {
        Some(match self {
            Self::Html => Format::Html,
            Self::Json => Format::Json,
            Self::Csv => Format::Csv,
            Self::Markdown => Format::Markdown,
            Self::Mlebench => Format::MleBench,
            Self::Plots => Format::Plots,
            Self::Png => Format::Png,
            Self::Pages => Format::Pages,
            Self::Parquet => return None,
        })
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Nothing to read, or the folder cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let reading = read_groups(&args.paths, &args.experiment, context, &source)?;
    let title = args.title.clone().unwrap_or_else(|| default_title(&reading));
    let options = ReportOptions { title, generated_at: Utc::now(), seed_rule: args.seeds.rule() };
    let data = ReportData::compute(&reading, &source, &options);
    for warning in data.warnings.iter().skip(reading.warnings.len()) {
        context.warn(warning);
    }
    let dir = args.out.clone().unwrap_or_else(|| default_dir(&reading));
    let formats: Vec<Format> = args.format.iter().filter_map(|format| format.format()).collect();
    let mut written = export::write(&dir, &data, &formats)
        .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))?;
    if args.format.contains(&FormatName::Parquet) {
        let path = dir.join("attempts.parquet");
        write_attempts(&path, &data)
            .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))?;
        written.push(path);
    }
    if args.json {
        context.print(export::json_text(&data))?;
    } else {
        context.print(terminal::render(&data, LISTED))?;
    }
    tell_written(&written, context);
    Ok(Exit::Success)
}

/// Names every file, but only the folder where there are many.
fn tell_written(written: &[PathBuf], context: &Context) {
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for folder in written.iter().filter_map(|path| path.parent()) {
        *folders.entry(folder).or_default() += 1;
    }
    let crowded =
        |path: &PathBuf| path.parent().is_some_and(|folder| folders.get(folder) > Some(&LISTED));
    for path in written.iter().filter(|path| !crowded(path)) {
        context.say(format_args!("wrote {}", path.display()));
    }
    for (folder, count) in folders.iter().filter(|(_, count)| **count > LISTED) {
        context.say(format_args!("wrote {count} files in {}", folder.display()));
    }
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
pub(super) fn read_groups(
    paths: &[PathBuf],
    experiment: &Experiment,
    context: &Context,
    source: &Source,
) -> Result<Reading, CliError> {
    let mut paths = paths.to_vec();
    let mut warnings = Vec::new();
    if let Some(id) = &experiment.experiment_id {
        let list = experiment
            .experiments
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
            ReadError::Path { .. } => Vec::new(),
        };
        let hint = "name a run group, a folder of run groups or MLE-bench's grading reports";
        hints.into_iter().fold(
            CliError::new(Exit::BadInput, anyhow::Error::new(error)).hint(hint),
            CliError::hint,
        )
    })?;
    reading.warnings.splice(0..0, warnings);
    for warning in &reading.warnings {
        context.warn(warning);
    }
    Ok(reading)
}

pub(super) fn default_title(reading: &Reading) -> String {
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
