//! `medalist disclose`: the block that a leaderboard entry must carry.

use std::path::PathBuf;

use medalist_reports::disclose;

use super::report::AgentArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::{Experiment, Source, read_groups};

/// Fill in what a leaderboard entry must disclose: MLE-bench's form, hardware, time, feedback, network,
/// language models, versions.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups.
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// Unreadable groups.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let mut reading = read_groups(&args.groups, &Experiment::default(), context, &source)?;
    args.agent.keep(&mut reading)?;
    context.print(disclose::markdown(&reading))?;
    Ok(Exit::Success)
}
