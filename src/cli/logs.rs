//! `medalist logs`: what an agent printed, also while it prints.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::logs::Log;

/// Print the output of an attempt's agent.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    #[arg(value_name = "ATTEMPT")]
    attempt: String,
    /// The attempt's run group, by folder or name; by default the newest that has the attempt.
    #[arg(long, value_name = "GROUP")]
    group: Option<PathBuf>,
    /// Keep printing until the attempt ends.
    #[arg(short, long, conflicts_with = "try_number")]
    follow: bool,
    /// Start with the last N lines.
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u64>,
    /// The log of an earlier try that failed because of the machine.
    #[arg(long = "try", value_name = "N")]
    try_number: Option<u32>,
}

/// Runs the subcommand.
///
/// # Errors
/// The attempt or its log cannot be found or read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let log = Log::find(&args.attempt, args.group.as_deref(), args.try_number, context)?;
    let stdout = io::stdout().lock();
    let is_terminal = stdout.is_terminal();
    match args.follow {
        false => log.show(args.tail, stdout, is_terminal)?,
        true => log.follow(args.tail, stdout, is_terminal, context)?,
    }
    Ok(Exit::Success)
}
