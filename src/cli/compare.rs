//! `medalist compare`: two sets of run groups, paired by competition, and a gate for CI.

use std::path::{Path, PathBuf};
use std::time::Duration;

use medalist_reports::compare::{self, Comparison, Gate, Verdict};
use medalist_reports::plots::{self, Plot, Theme};
use medalist_reports::read::Reading;
use medalist_reports::{compare_text, export, html};

use super::report::{AgentArgs, AtArgs};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::{Experiment, Source, read_groups, reading_at, short};
use crate::app::terminal::look;

/// Compare two versions of an agent, and fail if the new one is worse.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups or grading reports of the old version.
    #[arg(value_name = "BASELINE", required = true)]
    baseline: Vec<PathBuf>,
    /// Run groups or grading reports of the new version.
    #[arg(long, value_name = "CANDIDATE", required = true, num_args = 1..)]
    against: Vec<PathBuf>,
    /// Exit with code 6 if the medal rate fell significantly (at `--confidence`) and by at least
    /// `--margin` points, with code 5 if more than half of a side's attempts were lost.
    #[arg(long)]
    fail_on_regression: bool,
    /// Smallest drop of the medal rate that fails, in percentage points.
    #[arg(long, value_name = "POINTS", default_value_t = 0.0)]
    margin: f64,
    /// Confidence level of the gate, in percent: 95 gives a false alarm in 5 % of comparisons where
    /// nothing changed.
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0)]
    confidence: f64,
    /// Exit with code 6 if the cost of an attempt rose significantly (at `--confidence`) and by more
    /// than this share, such as `10%`; with code 5 if costs are not known.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    max_cost_increase: Option<f64>,
    /// True drop of the medal rate, in percentage points, for which the verdict tells how likely it
    /// is caught and how many seeds that takes.
    #[arg(long, value_name = "POINTS", default_value_t = 5.0)]
    plan: f64,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    at: AtArgs,
    /// Compare even if brief, data, time limit or network differ.
    #[arg(long)]
    allow_differing_conditions: bool,
    /// Print `comparison.json` instead of the table.
    #[arg(long)]
    json: bool,
    /// Write a Markdown summary for a pull request.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write JUnit XML for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a self-contained HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a plot of the differences as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the same plot as PNG, in light colours.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

impl Args {
    fn writes_files(&self) -> bool {
        [&self.markdown, &self.junit, &self.html, &self.svg, &self.png]
            .into_iter()
            .any(Option::is_some)
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Unreadable sides, nothing in common, other conditions, or a file that cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let gate = gate(args)?;
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let mut baseline = read_groups(&args.baseline, &Experiment::default(), context, &source)?;
    let mut candidate = read_groups(&args.against, &Experiment::default(), context, &source)?;
    args.agent.keep(&mut baseline)?;
    args.agent.keep(&mut candidate)?;
    let times = args.at.times();
    if times.len() > 1 && args.writes_files() {
        let message = "files are of one comparison, and `--at` names several times";
        return Err(CliError::message(Exit::Usage, message).hint("give one time for each call"));
    }
    let mut exits = Vec::new();
    for at in times {
        let [before, after] =
            [&baseline, &candidate].map(|side| reading_at(side, at, context, &source));
        exits.push(one(args, context, [&before, &after], at, gate)?);
    }
    let worst = [Exit::Regression, Exit::Partial];
    Ok(worst.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Success))
}

/// Compares the two sides as they are.
fn one(
    args: &Args,
    context: &Context,
    [baseline, candidate]: [&Reading; 2],
    at: Option<Duration>,
    gate: Gate,
) -> Result<Exit, CliError> {
    let comparison = compare::compare(baseline, candidate, gate)
        .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))?;
    write_files(args, &comparison)?;
    if args.json {
        context.print(export::pretty_json(&comparison))?;
    } else {
        if let Some(at) = at {
            context.print(format!("After {}:\n", short(at)))?;
        }
        context.print(compare_text::terminal(&comparison, look()))?;
    }
    let refused: Vec<&str> =
        comparison.refusals().map(|difference| difference.condition.as_str()).collect();
    if !refused.is_empty() && !args.allow_differing_conditions {
        let mut names = refused.clone();
        names.sort_unstable();
        names.dedup();
        return Err(CliError::message(
            Exit::BadInput,
            format!("the two sides did not get the same task: they differ in {}", names.join(", ")),
        )
        .hint("run both sides under the same conditions, or give `--allow-differing-conditions` and say so when you report"));
    }
    Ok(exit_of(&comparison.verdict, args.fail_on_regression))
}

/// A failure is certain, whatever else could not be decided; lost attempts are none.
fn exit_of(verdict: &Verdict, fail_on_regression: bool) -> Exit {
    let medals = fail_on_regression.then_some((verdict.decided, verdict.regressed));
    let cost = verdict.cost.as_ref().map(|cost| (cost.decided, cost.exceeded));
    let asked: Vec<(bool, bool)> = medals.into_iter().chain(cost).collect();
    if asked.iter().any(|(decided, failed)| *decided && *failed) {
        Exit::Regression
    } else if asked.iter().any(|(decided, _)| !decided) {
        Exit::Partial
    } else {
        Exit::Success
    }
}

/// A share such as `10%`; `10` is the same.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("expected a percentage of 0 or more, such as `10%`".to_owned()),
    }
}

fn gate(args: &Args) -> Result<Gate, CliError> {
    let usage = |message: String| Err(CliError::message(Exit::Usage, message));
    if !(0.0..=100.0).contains(&args.margin) {
        return usage(format!(
            "`--margin` is {}, expected percentage points between 0 and 100",
            args.margin
        ));
    }
    if !(50.0..100.0).contains(&args.confidence) {
        return usage(format!(
            "`--confidence` is {}, expected a percentage from 50 to below 100",
            args.confidence
        ));
    }
    if !(args.plan > 0.0 && args.plan <= 100.0) {
        return usage(format!(
            "`--plan` is {}, expected percentage points above 0, 100 at most",
            args.plan
        ));
    }
    Ok(Gate {
        margin: args.margin / 100.0,
        confidence: args.confidence / 100.0,
        wanted_drop: args.plan / 100.0,
        max_cost_increase: args.max_cost_increase,
    })
}

fn write_files(args: &Args, comparison: &Comparison) -> Result<(), CliError> {
    let put = |path: &Option<PathBuf>,
               text: &dyn Fn() -> Result<String, CliError>|
     -> Result<(), CliError> {
        let Some(path) = path else { return Ok(()) };
        write(path, text()?.as_bytes())
    };
    put(&args.markdown, &|| Ok(compare_text::markdown(comparison)))?;
    put(&args.junit, &|| Ok(compare_text::junit(comparison)))?;
    put(&args.html, &|| Ok(html::comparison_page(comparison)?))?;
    if args.svg.is_none() && args.png.is_none() {
        return Ok(());
    }
    let plot = plots::difference(comparison)?;
    write_picture(&plot, args.svg.as_deref(), args.png.as_deref())
}

/// Writes a picture to the files that were asked for.
pub(super) fn write_picture(
    plot: &Plot,
    svg: Option<&Path>,
    png: Option<&Path>,
) -> Result<(), CliError> {
    if let Some(path) = svg {
        write(path, plot.to_file()?.as_bytes())?;
    }
    if let Some(path) = png {
        write(path, &plot.to_png(Theme::Light)?)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    export::write_file(path, bytes)
        .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))
}
