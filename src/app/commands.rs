//! A scheduler that a file of commands describes, for those who are about to hand attempts over.

use super::doctor::{Finding, Level};
use super::error::{CliError, Exit};
use crate::attempt::plan::Remote;
use crate::host::scheduler::Scheduler as _;
use crate::host::scheduler::command::Commands;

fn open(remote: &Remote) -> Result<Commands, CliError> {
    Commands::of(&remote.wishes).map_err(|error| {
        CliError::message(Exit::BadInput, error)
            .hint("`--commands FILE` names it; examples/schedulers has some")
    })
}

/// Whether a plan's jobs can be handed over at all.
///
/// # Errors
/// The file is wrong, or a program of it is not here.
pub(super) fn check(remote: &Remote) -> Result<(), CliError> {
    match open(remote)?.missing().as_slice() {
        [] => Ok(()),
        missing => Err(CliError::message(
            Exit::Environment,
            format!("there is no `{}` here", missing.join("`, `")),
        )
        .hint("run this where jobs are handed over, on a login node")),
    }
}

/// What `doctor --on command` says.
///
/// # Errors
/// The file is wrong.
pub fn examine(remote: &Remote) -> Result<Vec<Finding>, CliError> {
    if let Err(error) = check(remote) {
        let hint = "run this on a login node of the cluster";
        return match error.exit() {
            Exit::Environment => {
                Ok(vec![Finding::other("programs", Level::Missing, error.message_chain(), hint)])
            }
            _ => Err(error),
        };
    }
    let commands = open(remote)?;
    let listed = commands.queue(&[format!("{}-check", remote.prefix)]);
    Ok(vec![
        Finding::ok("programs", "all are here"),
        match listed {
            Ok(_) => Finding::ok("scheduler", "lists its jobs"),
            Err(away) => {
                let hint = "the file's `list` must work here";
                Finding::other("scheduler", Level::Missing, away.to_string(), hint)
            }
        },
    ])
}
