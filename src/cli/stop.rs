//! `medalist stop`: ends one attempt of a group that another process runs, or all of them.

use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::stop::{How, Stopped, stop_attempt, stop_group};

/// Stop an attempt, or a whole run group, that another medalist runs. Submissions are salvaged and
/// graded.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    #[arg(value_name = "ATTEMPT", required_unless_present = "all")]
    attempt: Option<String>,
    /// The attempt's run group, by folder or name; by default the newest that has the attempt.
    #[arg(long, value_name = "GROUP")]
    group: Option<PathBuf>,
    /// Stop all attempts of the group and start no more, like Ctrl-C in its terminal.
    #[arg(long, requires = "group", conflicts_with = "attempt")]
    all: bool,
    /// Kill the agent at once, without the grace period.
    #[arg(long)]
    kill: bool,
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The attempt cannot be found, or nobody runs its group.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let how = How { kill: args.kill, wait: !args.no_wait };
    match (&args.attempt, &args.group) {
        (Some(attempt), group) => {
            let stopped = stop_attempt(attempt, group.as_deref(), how, context)?;
            if let Some(Stopped { key, outcome, grade }) = stopped {
                context.print(format_args!("{key}  {outcome}, {grade}\n"))?;
            }
            Ok(Exit::Success)
        }
        (None, Some(group)) => {
            stop_group(group, how, context)?;
            Ok(Exit::Success)
        }
        (None, None) => {
            Err(CliError::message(Exit::Usage, "neither an attempt nor a group is named"))
        }
    }
}
