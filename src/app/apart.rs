//! One attempt in a process of its own: on any machine that shares the group's folder, by hand or as a
//! batch scheduler's job.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, OutcomeRecord};

use super::cluster::order::Order;
use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_attempt, is_over, read_plan};
use super::preflight::{self, Ready};
use super::run::{How, run_plan};
use crate::attempt::dir::AttemptDir;
use crate::attempt::job::{Allocation, Job};
use crate::attempt::launch::LABEL_NAME;
use crate::attempt::plan::Plan;
use crate::attempt::text::duration;
use crate::host::files::{StoreError, read_json};
use crate::host::machine;
use crate::host::scheduler::slurm::Slurm;
use crate::host::store::find::Found;
use crate::host::store::tries::{self, Claim, Claimed, TryState};
use crate::host::store::{GroupDir, GroupLock};
use crate::run::events::{GradeLine, RunStats};
use crate::run::{Apart, First, JobEnd, RunSummary, stop};
use crate::sandbox::control::Control;

/// Between a scheduler's SIGTERM and its SIGKILL, where nothing else is known: Slurm's own default.
const KILL_WAIT: Duration = Duration::from_secs(30);
/// What an attempt needs of its job beside its agent's time: for taking over what the agent left, and
/// for the grade.
const AFTER_THE_AGENT: Duration = Duration::from_secs(30);

/// What a job whose scheduler writes nothing into the group's folder prints, it writes there itself.
const OUTPUT: &str = "MEDALIST_JOB_OUTPUT";

/// Sends what this process prints where its job says, if it says so.
///
/// # Errors
/// The file cannot be opened.
pub fn keep_output() -> Result<(), CliError> {
    let Some(path) = std::env::var_os(OUTPUT) else { return Ok(()) };
    let file = fs_err::File::options().append(true).create(true).open(path)?;
    nix::unistd::dup2_stdout(&file).map_err(std::io::Error::from)?;
    nix::unistd::dup2_stderr(&file).map_err(std::io::Error::from)?;
    Ok(())
}

/// Runs one attempt of a planned group in this process.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn run_one_attempt(
    group: &Path,
    attempt: &str,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let found = find_attempt(attempt, Some(group), context)?;
    run_found(found, None, context).await
}

/// Runs the attempt that an order gives to the job that this process is part of.
///
/// # Errors
/// As [`run_one_attempt`]; the order cannot be read, or this is no job of it.
pub async fn run_ordered(order: &Path, context: &Context) -> Result<RunSummary, CliError> {
    let (group, order) = Order::read(order)?;
    let allocation = Allocation::current();
    let index = allocation.as_ref().and_then(|job| job.job.index);
    let element = order.element(index)?.clone();
    super::cluster::order::take_environment(&group)?;
    let context = Context { data_dir: read_plan(&group)?.data_dir, ..context.clone() };
    let found = find_attempt(&element.dir, Some(group.root()), &context)?;
    run_found(found, Some((&order, element.after)), &context).await
}

async fn run_found(
    found: Found,
    order: Option<(&Order, u32)>,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let Found { group, attempt } = found;
    let plan = read_plan(&group)?;
    if stop::is_stopped(&group) {
        let root = group.root().display();
        return Err(CliError::message(Exit::Interrupted, format!("`{root}` was stopped"))
            .hint(format!("resume with: medalist run --resume {root}")));
    }
    let name = attempt.dir.clone();
    let (key, dir) = (attempt.key.to_string(), group.attempt(&name));
    let allocation = Allocation::current();
    let job = allocation.as_ref().map(|allocation| JobEnd {
        at: allocation.ends_at.or_else(|| ends_at(&allocation.job)),
        kill_wait: order.and_then(|(order, _)| order.kill_wait).unwrap_or(KILL_WAIT),
    });
    let us = Claim::of_this_process(allocation.map(|allocation| allocation.job));
    let lock = lock(&group, &name, us.job.is_some(), context)?;
    match tries::standing(&dir)? {
        tries::Standing::Final(_) => {
            tries::publish(&dir)?;
            return over(&dir);
        }
        // A harness of the whole group may have brought it to its end.
        tries::Standing::Apart if is_over(&dir) => {
            let record: AttemptRecord = read_json(&dir.record())?;
            if record.outcome.as_ref().is_some_and(OutcomeRecord::is_final) {
                return over(&dir);
            }
        }
        _ => {}
    }
    let plan = Plan { attempts: vec![attempt], ..plan };
    let ready = preflight::check(&plan, context).await?;
    enough_time(&plan, job)?;
    let after = order.map_or(0, |(_, after)| after);
    let first = match claim(&dir, &name, &us, after, &ready).await? {
        Taken::First(first) => first,
        Taken::Over => return over(&dir),
        Taken::Elsewhere(who) => return Err(elsewhere(&key, &who)),
    };
    forget_the_dead(&dir, first.number(), &us);
    let apart = Apart { us, first: Some(first), others_are_gone: false, job };
    let how = How { only: Some(name), apart, lock, events: None };
    run_plan(plan, &group, how, ready, context).await
}

/// When a job ends, where only its scheduler says so.
fn ends_at(job: &Job) -> Option<DateTime<Utc>> {
    if job.scheduler != "slurm" {
        return None;
    }
    let index = job.index.map_or(String::new(), |index| format!("_{index}"));
    Slurm::default().ends_at(&format!("{}{index}", job.id))
}

/// The error of an attempt that somebody else makes.
pub(super) fn elsewhere(key: &str, who: &str) -> CliError {
    CliError::message(Exit::Elsewhere, format!("{key} is made elsewhere: {who}"))
        .hint("`medalist status` says where the group stands")
}

/// Takes the attempt against processes of this machine, as far as the file system has locks. In a
/// scheduler's job the claims decide alone: a lost node's process may still hold its lock.
fn lock(
    group: &GroupDir,
    name: &str,
    in_job: bool,
    context: &Context,
) -> Result<Option<GroupLock>, CliError> {
    match group.lock_attempt(name) {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::Locked { .. }) if in_job => Ok(None),
        Err(error @ StoreError::Locked { .. }) => Err(CliError::new(Exit::BadInput, error)
            .hint("wait for it, or stop it with `medalist stop`")),
        Err(error) => {
            let root = group.attempt(name);
            std::fs::create_dir_all(root.root()).map_err(StoreError::io("create", root.root()))?;
            let error = CliError::new(Exit::Failure, error).message_chain();
            context.warn(format_args!(
                "no locks here ({error}); tries are told apart by their claims"
            ));
            Ok(None)
        }
    }
}

/// Refuses to begin what the job cannot finish.
fn enough_time(plan: &Plan, job: Option<JobEnd>) -> Result<(), CliError> {
    let Some(at) = job.and_then(|job| job.at) else { return Ok(()) };
    let left = (at - Utc::now()).to_std().unwrap_or(Duration::ZERO);
    if left >= plan.limits.timeout + AFTER_THE_AGENT {
        return Ok(());
    }
    Err(CliError::message(
        Exit::Elsewhere,
        format!(
            "not started: the job has {} left, and the agent's time limit is {}",
            duration(Duration::from_secs(left.as_secs())),
            duration(plan.limits.timeout)
        ),
    )
    .hint("give the job more time (`--slurm-arg=--time=...`), or the agent less (`--timeout`)"))
}

/// What a claim came to.
enum Taken {
    First(First),
    Over,
    Elsewhere(String),
}

/// Claims a try; or goes on with one that a process before this one has left on this machine. Whoever
/// ordered the job knows that the makers of all tries up to `after` are gone.
async fn claim(
    dir: &AttemptDir,
    name: &str,
    us: &Claim,
    after: u32,
    ready: &Ready,
) -> Result<Taken, CliError> {
    let is_gone = |last: &TryState| match tries::gone(dir, last, us) {
        Err(who) if last.number <= after => Ok(format!("{who} is over")),
        known => known,
    };
    if let tries::Standing::Claimed(last) = tries::standing(dir)?
        && us.job.is_none()
        && let Some(claim) = &last.claim
        && claim.job.is_none()
        && (&claim.host, &claim.boot) == (&us.host, &us.boot)
        && is_gone(&last).is_ok()
    {
        let labels = [(LABEL_NAME.to_owned(), name.to_owned())].into();
        let left = ready.opened.list_orphans(&labels).await?;
        if !left.is_empty() {
            return Ok(Taken::First(First::Again(last.number)));
        }
    }
    Ok(match tries::claim(dir, us, &is_gone)? {
        Claimed::New(number) => Taken::First(First::New(number)),
        Claimed::Ungraded(number) => Taken::First(First::Ungraded(number)),
        Claimed::Over => Taken::Over,
        Claimed::Elsewhere { who } => Taken::Elsewhere(who),
    })
}

/// Removes what earlier tries of the attempt have left on this machine's own disk, an agent's environment
/// among it, where their processes are gone.
fn forget_the_dead(dir: &AttemptDir, number: u32, us: &Claim) {
    for one in tries::claimed(dir).unwrap_or_default() {
        let Some(claim) = one.claim.filter(|_| one.number < number) else { continue };
        let is_dead =
            claim.boot != us.boot || machine::process_started(claim.pid) != Some(claim.pid_started);
        if claim.host == us.host
            && is_dead
            && let Err(error) = Control::of(&dir.earlier_try(one.number)).remove()
        {
            tracing::debug!(%error, number = one.number, "a leftover stays");
        }
    }
}

/// What an attempt that is over came to.
fn over(dir: &AttemptDir) -> Result<RunSummary, CliError> {
    let record: AttemptRecord = read_json(&dir.record())?;
    let grade: GradeReport = read_json(&dir.grade())?;
    let mut stats = RunStats { planned: 1, ..RunStats::default() };
    stats.count(&record.outcome.unwrap_or_default(), &GradeLine::from(&grade));
    Ok(RunSummary { stats, stopped: None, damaged: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ends_before_the_agent_may_is_not_begun() {
        let plan = crate::app::cluster::tests::plan(1);
        let limit = plan.limits.timeout;
        let ends =
            |left: Duration| Some(JobEnd { at: Some(Utc::now() + left), kill_wait: KILL_WAIT });
        enough_time(&plan, None).unwrap();
        enough_time(&plan, ends(limit + AFTER_THE_AGENT * 2)).unwrap();
        let refused = enough_time(&plan, ends(limit / 2)).unwrap_err();
        assert_eq!(refused.exit(), Exit::Elsewhere);
        assert!(refused.render().contains("not started: the job has"), "{}", refused.render());
    }
}
