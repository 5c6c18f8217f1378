//! `medalist report`: numbers, pictures and a page from run groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use clap::ValueEnum;
use medalist_reports::contamination::Cutoffs;
use medalist_reports::export::{self, Format};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::Reading;
use medalist_reports::terminal;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::{Experiment, Output, ReportRequest, keep_agent, write_reports};
use crate::app::terminal::look;

/// Most attempts, and most files of one folder, that the terminal lists.
const LISTED: usize = 60;

/// Write a report on run groups: a table on stdout, and a page, plots and data in a folder.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups, folders of run groups, MLE-bench run directories, grading reports or tables of
    /// claimed medals (`*.csv`); all of
    /// `--runs-dir` by default.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    experiment: ExperimentArgs,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    at: AtArgs,
    #[command(flatten)]
    seeds: SeedArgs,
    /// Output folder; by default `report/` inside the run group, or `medalist-report/` for several
    /// paths.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to write.
    #[arg(short, long, value_delimiter = ',', default_values_t = [FormatName::Html, FormatName::Json])]
    format: Vec<FormatName>,
    /// Compare medal rates on competitions that ended by a model's training cut-off with those on
    /// later ones: the contamination gap (docs/reports.md). With AGENT= of this agent alone; may be
    /// repeated.
    #[arg(long = "cutoff", value_name = "[AGENT=]YYYY-MM-DD", value_parser = cutoff)]
    cutoffs: Vec<(Option<String>, NaiveDate)>,
    /// Heading of the report.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Print `report.json` instead of the table.
    #[arg(long)]
    json: bool,
}

/// MLE-bench's list of experiments as a source of reports.
#[derive(clap::Args, Debug, Default)]
pub struct ExperimentArgs {
    /// Experiment whose run groups are read.
    #[arg(long, value_name = "ID")]
    experiment_id: Option<String>,
    /// List of `experiment_id,run_group` lines; `run_group_experiments.csv` in `--runs-dir` by
    /// default.
    #[arg(long, value_name = "FILE", requires = "experiment_id")]
    experiments: Option<PathBuf>,
}

impl ExperimentArgs {
    /// What was asked for.
    pub(super) fn experiment(&self) -> Experiment {
        Experiment { id: self.experiment_id.clone(), list: self.experiments.clone() }
    }
}

/// Whose run groups are read.
#[derive(clap::Args, Debug, Default)]
pub struct AgentArgs {
    /// Read only run groups of this agent; grading reports, which do not name one, count as its
    /// where no group carries the name.
    #[arg(long, value_name = "NAME")]
    pub(super) agent: Option<String>,
}

impl AgentArgs {
    /// Keeps what was asked for.
    pub(super) fn keep(&self, reading: &mut Reading) -> Result<(), CliError> {
        keep_agent(reading, self.agent.as_deref())
    }
}

/// When attempts are looked at.
#[derive(clap::Args, Debug, Default)]
pub struct AtArgs {
    /// Count what each attempt had reached after this time, such as `12h`: the last valid snapshot of
    /// its submission by then. Several times, separated by commas, give one result each.
    #[arg(long, value_name = "TIME", value_delimiter = ',', value_parser = humantime::parse_duration)]
    at: Vec<Duration>,
}

impl AtArgs {
    /// The times, or once none for the end.
    pub(super) fn times(&self) -> Vec<Option<Duration>> {
        match self.at.as_slice() {
            [] => vec![None],
            times => times.iter().copied().map(Some).collect(),
        }
    }
}

/// How seeds of leaderboard rows are built.
#[derive(clap::Args, Debug, Default, Clone, Copy)]
pub struct SeedArgs {
    /// Number of seeds of the leaderboard row; all complete ones by default.
    #[arg(long, value_name = "N")]
    num_seeds: Option<usize>,
    /// Fill incomplete seeds of the leaderboard row with failures.
    #[arg(long)]
    pad_missing: bool,
}

impl SeedArgs {
    pub(super) fn rule(self) -> SeedRule {
        SeedRule { seeds: self.num_seeds, pad_missing: self.pad_missing }
    }
}

/// A training cut-off on the command line.
fn cutoff(text: &str) -> Result<(Option<String>, NaiveDate), String> {
    let (agent, day) = match text.rsplit_once('=') {
        Some(("", _)) => return Err("expected an agent before `=`".to_owned()),
        Some((agent, day)) => (Some(agent.to_owned()), day),
        None => (None, text),
    };
    let date = day.parse().map_err(|_| format!("`{day}` is no day such as 2025-06-01"))?;
    Ok((agent, date))
}

/// The cut-offs that were named, the last of several for one agent.
fn cutoffs(named: &[(Option<String>, NaiveDate)]) -> Cutoffs {
    let mut cutoffs = Cutoffs::default();
    for (agent, date) in named {
        match agent {
            Some(agent) => {
                cutoffs.by_agent.insert(agent.clone(), *date);
            }
            None => cutoffs.all = Some(*date),
        }
    }
    cutoffs
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
    /// A folder of pages, one an attempt and one a competition.
    Pages,
    /// The columns of the CSV file as a parquet file.
    Parquet,
}

impl std::fmt::Display for FormatName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.output() {
            Output::Format(format) => format.name(),
            Output::Parquet => "parquet",
        })
    }
}

impl FormatName {
    fn output(self) -> Output {
        Output::Format(match self {
            Self::Html => Format::Html,
            Self::Json => Format::Json,
            Self::Csv => Format::Csv,
            Self::Markdown => Format::Markdown,
            Self::Mlebench => Format::MleBench,
            Self::Plots => Format::Plots,
            Self::Png => Format::Png,
            Self::Pages => Format::Pages,
            Self::Parquet => return Output::Parquet,
        })
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Nothing to read, or the folder cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let outputs: Vec<Output> = args.format.iter().map(|format| format.output()).collect();
    let mut all = Vec::new();
    let request = ReportRequest {
        paths: &args.paths,
        experiment: &args.experiment.experiment(),
        agent: args.agent.agent.as_deref(),
        at: &args.at.times(),
        seeds: args.seeds.rule(),
        out: args.out.clone(),
        outputs: &outputs,
        title: args.title.clone(),
        cutoffs: cutoffs(&args.cutoffs),
    };
    write_reports(request, context, |data, written| {
        if !args.json {
            context.print(terminal::render(&data, LISTED, look()))?;
        }
        tell_written(written, context);
        all.push(data);
        Ok(())
    })?;
    if args.json {
        match all.as_slice() {
            [data] => context.print(export::json_text(data))?,
            several => context.print(export::pretty_json(&several))?,
        }
    }
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
