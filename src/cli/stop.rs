//! `medalist stop`: ends one attempt of a group that another process runs, or all of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_reports::record::AttemptRecord;

use super::logs::is_over;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::{find_attempt, find_error};
use crate::attempt::outcome::CancelReason;
use crate::host::files::read_json;
use crate::host::store::GroupDir;
use crate::host::store::find::{self, Found};
use crate::run::events::GradeLine;
use crate::run::{StopRequest, stop};

/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    match (&args.attempt, &args.group) {
        (Some(attempt), group) => {
            let found = find_attempt(attempt, group.as_deref(), context)?;
            stop_attempt(&found, args, context)
        }
        (None, Some(group)) => stop_group(group, args, context),
        (None, None) => {
            Err(CliError::message(Exit::Usage, "neither an attempt nor a group is named"))
        }
    }
}

fn stop_attempt(found: &Found, args: &Args, context: &Context) -> Result<Exit, CliError> {
    let dir = found.group.attempt(&found.attempt.dir);
    let key = &found.attempt.key;
    if is_over(&dir) {
        context.say(format_args!("{key} is over already"));
        return Ok(Exit::Success);
    }
    must_run(&found.group)?;
    let began = dir.root().is_dir();
    let reason = if args.kill { CancelReason::Kill } else { CancelReason::Stopped };
    stop::request(&found.group, &StopRequest::Attempt { dir: found.attempt.dir.clone(), reason })?;
    if !began {
        context.say(format_args!("{key} has not begun; it is passed over when its turn comes"));
        return Ok(Exit::Success);
    }
    if args.no_wait {
        return Ok(Exit::Success);
    }
    context.say(format_args!("{key} is asked to end; waiting until it is over (--kill is faster)"));
    while !is_over(&dir) {
        still_runs(&found.group)?;
        std::thread::sleep(LOOK_EVERY);
    }
    let record: AttemptRecord = read_json(&dir.record())?;
    let grade: GradeReport = read_json(&dir.grade())?;
    let outcome = record.outcome.unwrap_or_default();
    context.print(format_args!(
        "{key}  {}, {}\n",
        outcome.detail.map_or_else(|| outcome.kind.to_string(), Shown::into_string),
        GradeLine::from(&grade)
    ))?;
    Ok(Exit::Success)
}

fn stop_group(group: &Path, args: &Args, context: &Context) -> Result<Exit, CliError> {
    let group = find::group(&context.runs_dir, group).map_err(find_error)?;
    must_run(&group)?;
    let reason = if args.kill { CancelReason::Kill } else { CancelReason::Interrupt };
    stop::request(&group, &StopRequest::Group(reason))?;
    if args.no_wait {
        return Ok(Exit::Success);
    }
    context.say("the agents are asked to end; waiting until they have");
    while group.is_running() {
        std::thread::sleep(LOOK_EVERY);
    }
    context.say(format_args!(
        "stopped; resume with: medalist run --resume {}",
        group.root().display()
    ));
    Ok(Exit::Success)
}

fn must_run(group: &GroupDir) -> Result<(), CliError> {
    if group.is_running() {
        return Ok(());
    }
    let root = group.root().display();
    Err(CliError::message(Exit::BadInput, format!("no harness runs `{root}` now"))
        .hint(format!("`medalist run --resume {root}` takes up what still runs; `medalist clean --running` kills it")))
}

/// An error once the harness that was asked is gone.
fn still_runs(group: &GroupDir) -> Result<(), CliError> {
    must_run(group).map_err(|error| error.context("the harness ended before the attempt did"))
}
