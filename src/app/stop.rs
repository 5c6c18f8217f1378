//! Stops what another process runs: one attempt of a group, or all of them.

use std::path::Path;
use std::time::Duration;

use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, AttemptRecord};

use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_attempt, find_error, is_over};
use crate::attempt::outcome::CancelReason;
use crate::host::files::read_json;
use crate::host::store::{GroupDir, find};
use crate::run::events::GradeLine;
use crate::run::{StopRequest, stop};

/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How something is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// Agents are killed at once, without the grace period.
    pub kill: bool,
    /// Whether the end is waited for.
    pub wait: bool,
}

/// An attempt that was stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Which.
    pub key: AttemptKey,
    /// How it ended, in words.
    pub outcome: String,
    /// What its submission is worth.
    pub grade: GradeLine,
}

/// Asks whoever runs an attempt to end it; `None` if it was over already, has not begun, or its end
/// is not waited for.
///
/// # Errors
/// The attempt cannot be found, nobody runs its group, or its harness ends before it does.
pub fn stop_attempt(
    attempt: &str,
    group: Option<&Path>,
    how: How,
    context: &Context,
) -> Result<Option<Stopped>, CliError> {
    let found = find_attempt(attempt, group, context)?;
    let dir = found.group.attempt(&found.attempt.dir);
    let key = found.attempt.key;
    if is_over(&dir) {
        context.say(format_args!("{key} is over already"));
        return Ok(None);
    }
    must_run(&found.group)?;
    // Asked before the request is written: after it the harness may already have made the folder.
    let began = dir.root().is_dir();
    let reason = if how.kill { CancelReason::Kill } else { CancelReason::Stopped };
    stop::request(&found.group, &StopRequest::Attempt { dir: found.attempt.dir, reason })?;
    if !began {
        context.say(format_args!("{key} has not begun; it is passed over when its turn comes"));
        return Ok(None);
    }
    if !how.wait {
        return Ok(None);
    }
    context.say(format_args!("{key} is asked to end; waiting until it is over (--kill is faster)"));
    while !is_over(&dir) {
        if let Err(error) = must_run(&found.group) {
            // Its end may have been that of its harness, between the two looks.
            if is_over(&dir) {
                break;
            }
            return Err(error.context("the harness ended before the attempt did"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let record: AttemptRecord = read_json(&dir.record())?;
    let grade: GradeReport = read_json(&dir.grade())?;
    let outcome = record.outcome.unwrap_or_default();
    Ok(Some(Stopped {
        key,
        outcome: outcome.detail.map_or_else(|| outcome.kind.to_string(), Shown::into_string),
        grade: GradeLine::from(&grade),
    }))
}

/// Asks whoever runs a group to end all of its attempts and to start no more.
///
/// # Errors
/// There is no such group, or nobody runs it.
pub fn stop_group(group: &Path, how: How, context: &Context) -> Result<(), CliError> {
    let group = find::group(&context.runs_dir, group).map_err(find_error)?;
    must_run(&group)?;
    let reason = if how.kill { CancelReason::Kill } else { CancelReason::Interrupt };
    stop::request(&group, &StopRequest::Group(reason))?;
    if !how.wait {
        return Ok(());
    }
    context.say("the agents are asked to end; waiting until they have");
    while group.is_running() {
        std::thread::sleep(LOOK_EVERY);
    }
    context.say(format_args!(
        "stopped; resume with: medalist run --resume {}",
        group.root().display()
    ));
    Ok(())
}

fn must_run(group: &GroupDir) -> Result<(), CliError> {
    if group.is_running() {
        return Ok(());
    }
    let root = group.root().display();
    Err(CliError::message(Exit::BadInput, format!("no harness runs `{root}` now"))
        .hint(format!("`medalist run --resume {root}` takes up what still runs; `medalist clean --running` kills it")))
}
