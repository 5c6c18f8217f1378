//! Stops what another process runs: one attempt of a group, or all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, AttemptRecord};

use super::cluster;
use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_attempt, find_error, is_over, read_plan};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::Plan;
use crate::host::files::{read_json, read_json_if_there};
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
    let plan = read_plan(&found.group)?;
    if plan.on.is_none() {
        must_run(&found.group)?;
    }
    // Asked before the request is written: after it the harness may already have made the folder.
    let began = dir.root().is_dir();
    let reason = if how.kill { CancelReason::Kill } else { CancelReason::Stopped };
    let name = found.attempt.dir;
    stop::request(&found.group, &StopRequest::Attempt { dir: name.clone(), reason })?;
    if plan.on.is_some() && !cluster::has_jobs(&found.group, &plan)? {
        // What was asked stands: a job that is handed over later ends at once.
        context.say(format_args!("{key} is in no queue; a job of it that comes ends at once"));
        return Ok(None);
    }
    if cluster::stop_waiting(&found.group, &plan, &|dir| dir == name)? > 0 {
        context.say(format_args!("{key} had not begun; it is taken out of the queue"));
        return Ok(None);
    }
    if !began {
        context.say(format_args!("{key} has not begun; it is passed over when its turn comes"));
        return Ok(None);
    }
    if !how.wait {
        return Ok(None);
    }
    context.say(format_args!("{key} is asked to end; waiting until it is over (--kill is faster)"));
    let mut escalation = Escalation::new(&plan, how);
    while !is_over(&dir) {
        if plan.on.is_some() {
            escalation.look(&found.group, &plan, &|dir| dir == name)?;
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
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
    // A try that was lost has none.
    let grade: Option<GradeReport> = read_json_if_there(&dir.grade())?;
    let outcome = record.outcome.unwrap_or_default();
    Ok(Some(Stopped {
        key,
        outcome: outcome.detail.map_or_else(|| outcome.kind.to_string(), Shown::into_string),
        grade: grade.as_ref().map(GradeLine::from).unwrap_or_default(),
    }))
}

/// Asks whoever runs a group to end all of its attempts and to start no more.
///
/// # Errors
/// There is no such group, or nobody runs it.
pub fn stop_group(group: &Path, how: How, context: &Context) -> Result<(), CliError> {
    let group = find::group(&context.runs_dir, group).map_err(find_error)?;
    let plan = read_plan(&group)?;
    if plan.on.is_none() {
        must_run(&group)?;
    }
    let reason = if how.kill { CancelReason::Kill } else { CancelReason::Interrupt };
    stop::request(&group, &StopRequest::Group(reason))?;
    let waiting = cluster::stop_waiting(&group, &plan, &|_| true)?;
    if waiting > 0 {
        context
            .say(format_args!("{waiting} attempts had not begun; they are taken out of the queue"));
    }
    if !how.wait {
        return Ok(());
    }
    context.say("the agents are asked to end; waiting until they have");
    let mut escalation = Escalation::new(&plan, how);
    while group.is_running() || escalation.is_needed(&group, &plan)? {
        escalation.look(&group, &plan, &|_| true)?;
        std::thread::sleep(LOOK_EVERY);
    }
    context.say(format_args!(
        "stopped; resume with: medalist run --resume {}",
        group.root().display()
    ));
    Ok(())
}

/// How long beyond their grace attempts on nodes may take to answer a request before their scheduler is
/// asked to end their jobs.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two questions to a scheduler whether jobs are left.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Ends by their scheduler what does not answer a request in the group's folder.
struct Escalation {
    due: Instant,
    done: bool,
    asked: Option<(Instant, bool)>,
}

impl Escalation {
    fn new(plan: &Plan, how: How) -> Self {
        let grace = if how.kill { Duration::ZERO } else { plan.limits.grace };
        Self { due: Instant::now() + grace + ANSWER, done: plan.on.is_none(), asked: None }
    }

    fn look(
        &mut self,
        group: &GroupDir,
        plan: &Plan,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), CliError> {
        if self.done || Instant::now() < self.due {
            return Ok(());
        }
        self.done = true;
        cluster::end_running(group, plan, wanted)
    }

    /// Whether the scheduler still has jobs of the group.
    fn is_needed(&mut self, group: &GroupDir, plan: &Plan) -> Result<bool, CliError> {
        if plan.on.is_none() {
            return Ok(false);
        }
        if let Some((_, left)) = self.asked.filter(|(at, _)| at.elapsed() < ASK_EVERY) {
            return Ok(left);
        }
        let left = cluster::has_jobs(group, plan)?;
        self.asked = Some((Instant::now(), left));
        Ok(left)
    }
}

fn must_run(group: &GroupDir) -> Result<(), CliError> {
    if group.is_running() {
        return Ok(());
    }
    let root = group.root().display();
    Err(CliError::message(Exit::BadInput, format!("no harness runs `{root}` now"))
        .hint(format!("`medalist run --resume {root}` takes up what still runs; `medalist clean --running` kills it")))
}
