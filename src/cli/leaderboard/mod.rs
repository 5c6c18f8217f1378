//! `medalist leaderboard`: measured rows among the published ones.

mod import;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use medalist_reports::data::{obfuscated_briefs, other_data};
use medalist_reports::export;
use medalist_reports::leaderboard::{self, Row};
use medalist_reports::read::{CompetitionSource, Group};
use serde_json::json;

use super::report::{AtArgs, ExperimentArgs, SeedArgs};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::{Source, read_groups, reading_at, short};
use crate::app::terminal::{fold, look};

/// Print MLE-bench's leaderboard, with rows of your own run groups computed as MLE-bench does.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Subcommand>,
    /// Run groups, grading reports or tables of claimed medals (`*.csv`); without any, the published
    /// rows alone.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    experiment: ExperimentArgs,
    #[command(flatten)]
    at: AtArgs,
    #[command(flatten)]
    seeds: SeedArgs,
    /// Agent name on the measured rows; by default that of the run groups.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Language models of the measured rows.
    #[arg(long, value_name = "NAME")]
    llm: Option<String>,
    /// Date of rows that are made of claimed medals.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Where claimed medals were published.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Take the published rows from this file, a README in MLE-bench's form, in place of those that
    /// medalist carries.
    #[arg(long, value_name = "FILE", conflicts_with = "measured_only")]
    published: Option<PathBuf>,
    /// Omit the published rows.
    #[arg(long)]
    measured_only: bool,
    /// Print what MLE-bench's aggregator prints, for one split: low, medium, high, all, dev,
    /// systemcard, or a file of ids.
    #[arg(long, value_name = "SPLIT", conflicts_with = "json")]
    split: Option<String>,
    /// Print JSON instead of the table (on a terminal) or Markdown (elsewhere).
    #[arg(long)]
    json: bool,
}

/// Subcommands of `leaderboard`.
#[derive(clap::Subcommand, Debug)]
enum Subcommand {
    Import(import::ImportArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// Unreadable paths, or seeds that cannot be built.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if let Some(Subcommand::Import(args)) = &args.command {
        return import::run(args, context);
    }
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let asked = !args.paths.is_empty() || args.experiment.experiment().id.is_some();
    let reading = asked
        .then(|| read_groups(&args.paths, &args.experiment.experiment(), context, &source))
        .transpose()?;
    let mut rows = published(args)?;
    for at in args.at.times() {
        let cut = reading.as_ref().map(|reading| reading_at(reading, at, context, &source));
        let groups: &[Group] = cut.as_ref().map_or(&[], |reading| &reading.groups);
        if let Some(split) = &args.split {
            aggregate(args, context, &source, groups, split)?;
        } else {
            measured(args, context, &source, groups, at, &mut rows);
        }
    }
    if args.split.is_some() {
        return Ok(Exit::Success);
    }
    leaderboard::sort(&mut rows);
    if args.json {
        context.print(export::pretty_json(&rows))?;
    } else if std::io::stdout().is_terminal() {
        context.print(leaderboard::terminal(&rows, look()))?;
    } else {
        context.print(leaderboard::markdown(&rows))?;
    }
    Ok(Exit::Success)
}

fn published(args: &Args) -> Result<Vec<Row>, CliError> {
    let Some(path) = &args.published else {
        return Ok(if args.measured_only { Vec::new() } else { leaderboard::published() });
    };
    let bad = |error: anyhow::Error| {
        CliError::new(Exit::BadInput, error.context(format!("cannot read `{}`", path.display())))
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.into()))?;
    leaderboard::read_published(&text).map_err(|error| bad(error.into()))
}

/// Adds the rows of run groups, as they stood `at` a time.
fn measured(
    args: &Args,
    context: &Context,
    source: &Source,
    groups: &[Group],
    at: Option<Duration>,
    rows: &mut Vec<Row>,
) {
    let mut by_agent: BTreeMap<&str, Vec<&Group>> = BTreeMap::new();
    for group in groups {
        by_agent.entry(args.agent.as_deref().unwrap_or(&group.agent)).or_default().push(group);
    }
    for (agent, groups) in by_agent {
        let (mut row, gaps) = leaderboard::row(&groups, args.seeds.rule(), source);
        agent.clone_into(&mut row.agent);
        if let Some(at) = at {
            let hours = at.as_secs_f64() / 3600.0;
            row.agent = format!("{agent}, {}", short(at));
            row.hours = Some(row.hours.map_or(hours, |whole| whole.min(hours)));
        }
        if let Some(llm) = &args.llm {
            llm.clone_into(&mut row.llm);
        }
        if row.claimed {
            row.date = args.date.clone().unwrap_or_default();
            row.section.clone_from(&args.source);
        }
        let attempts = || groups.iter().flat_map(|group| &group.attempts);
        for warning in other_data(attempts()).into_iter().chain(obfuscated_briefs(attempts())) {
            context.warn(fold(&format!("`{agent}`: {warning}")));
        }
        for (column, error) in gaps {
            let why = error.brief();
            context.warn(fold(&format!("no {column} column for `{agent}`: {why}")));
        }
        if row.cells.iter().flatten().filter_map(|cell| cell.seeds).any(|seeds| seeds < 3) {
            context.warn(format_args!(
                "`{agent}` has fewer than the three seeds that MLE-bench asks for"
            ));
        }
        rows.push(row);
    }
}

/// What `experiments/aggregate_grading_reports.py` prints, as one JSON object.
fn aggregate(
    args: &Args,
    context: &Context,
    source: &Source,
    groups: &[Group],
    split: &str,
) -> Result<(), CliError> {
    let ids = match source.suite(split) {
        Some(ids) => ids,
        None => std::fs::read_to_string(split)
            .map(|text| {
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .map_err(|error| {
                CliError::new(Exit::BadInput, error)
                    .context(format!("`{split}` is neither a suite nor a readable file of ids"))
            })?,
    };
    let groups: Vec<&Group> = groups.iter().collect();
    let (seeds, aggregate) = leaderboard::aggregate(&groups, &ids, args.seeds.rule())
        .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))?;
    context.print(export::pretty_json(&json!({ "seeds": seeds, "aggregate": aggregate })))?;
    Ok(())
}
