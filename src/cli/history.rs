//! `medalist history`: how an agent's medal rate developed over its run groups.

use std::path::PathBuf;

use medalist_reports::history::History;
use medalist_reports::{export, plots};

use super::compare::write_picture;
use super::report::AgentArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::{Experiment, Source, read_groups};
use crate::app::terminal::look;

/// Show each agent's medal rate over time, one line per run group.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups or folders of them; all of `--runs-dir` by default.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
    /// Write a plot as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the plot as PNG, in light colours.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Unreadable paths, an agent without groups, or a file that cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let mut reading = read_groups(&args.paths, &Experiment::default(), context, &source)?;
    args.agent.keep(&mut reading)?;
    let history = History::of(&reading);
    if args.svg.is_some() || args.png.is_some() {
        let plot = plots::history(&history)?.ok_or_else(|| {
            CliError::message(
                Exit::BadInput,
                "no run group says when it began, so no line can be drawn",
            )
        })?;
        write_picture(&plot, args.svg.as_deref(), args.png.as_deref())?;
    }
    if args.json {
        context.print(export::pretty_json(&history))?;
    } else {
        context.print(history.terminal(look()))?;
    }
    Ok(Exit::Success)
}
