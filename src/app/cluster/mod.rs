//! Run groups that a batch scheduler's nodes run. The group's folder, which all machines share, is the
//! truth; the scheduler says where jobs are, and is asked once a minute.

mod dead;
mod decide;
mod follow;
pub mod order;
pub mod queue;
mod request;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use medalist_grading::GradeReport;
use medalist_reports::record::AttemptRecord;
use nix::fcntl::FlockArg;

use super::context::{Context, tell};
use super::error::{CliError, Exit};
use super::judge::CatalogueJudge;
use super::preflight;
use super::run::create_group;
use crate::attempt::outcome::{CancelReason, Outcome};
use crate::attempt::plan::{Plan, PlannedAttempt, Remote, SchedulerKind, SchedulerWishes};
use crate::attempt::text::shell_word;
use crate::host::files::{StoreError, read_json, read_json_if_there};
use crate::host::lock::lock;
use crate::host::machine;
use crate::host::scheduler::{self, Elements, Habits, Scheduler, State};
use crate::host::store::GroupDir;
use crate::host::store::tries::{self, Claim, Claimed, Standing, TryState};
use crate::run::events::{GradeLine, RunStats};
use crate::run::{RunSummary, close_group, record_of_lost, stop, write_group};
use follow::{Follower, Pace, Setup};
use order::{Order, OrderState};
pub(in crate::app) use request::longest_timeout;

/// The longest pause between two looks at the group's folder.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a scheduler that does not answer is waited for when a group is taken up again, and between
/// two questions then.
const AWAY_PATIENCE: Duration = Duration::from_secs(5 * 60);
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How a group is handed over and followed.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    /// Whether to return once all is handed over.
    pub detach: bool,
    /// Between two questions to the scheduler.
    pub every: Duration,
}

/// What following came to.
#[derive(Debug)]
pub enum Followed {
    /// Every attempt is over.
    Over(RunSummary),
    /// All is handed over, and nobody follows.
    Detached,
}

/// The scheduler that a plan names.
///
/// # Errors
/// Its template is wrong.
pub(super) fn scheduler_of(remote: &Remote) -> Result<Box<dyn Scheduler>, CliError> {
    scheduler::open(remote).map_err(|error| CliError::message(Exit::BadInput, error))
}

/// A scheduler for a new group.
///
/// # Errors
/// Its template is wrong.
pub fn new_remote(
    scheduler: SchedulerKind,
    mut wishes: SchedulerWishes,
) -> Result<Remote, CliError> {
    // What is current later may be another cluster, on which nothing of the group is found.
    if scheduler == SchedulerKind::Kubernetes && wishes.cluster.is_none() {
        wishes.cluster = super::kubernetes::current_context();
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let remote = Remote { scheduler, prefix: format!("medalist-{}", &id[..8]), wishes };
    scheduler_of(&remote)?;
    Ok(remote)
}

fn remote(plan: &Plan) -> Result<&Remote, CliError> {
    plan.on.as_ref().ok_or_else(|| {
        CliError::message(Exit::Usage, "the group's plan names no scheduler")
            .hint("`--on` is chosen when a group is made; resume this one without it")
    })
}

/// Makes a group, hands its attempts over and follows them.
///
/// # Errors
/// [`CliError`] with the documented exit codes; nothing is handed over then.
pub async fn run_new_group(
    plan: Plan,
    following: Following,
    context: &Context,
) -> Result<(GroupDir, Followed), CliError> {
    check(&plan, context)?;
    let (dir, plan) = create_group(plan, context)?;
    write_group(&dir, &plan, &machine::hardware(), None, None)?;
    order::keep_environment(&dir, &plan)?;
    let followed = follow_until(&dir, plan, following, context).await?;
    Ok((dir, followed))
}

/// Goes on with a group: hands over what is not over and not in the queue, and follows.
///
/// # Errors
/// As [`run_new_group`].
pub async fn resume_group(
    dir: &GroupDir,
    plan: Plan,
    following: Following,
    context: &Context,
) -> Result<Followed, CliError> {
    if let Some(summary) = close_if_over(dir, &plan)? {
        return Ok(Followed::Over(summary));
    }
    if order::all(dir)?.is_empty() {
        check(&plan, context)?;
    } else {
        // What was taken once was well asked for; what is refused or not answered now, the follower
        // waits for.
        preflight::check_for_nodes(&plan, Vec::new())?;
    }
    stop::clear(dir, plan.attempts.iter().map(|attempt| attempt.dir.as_str()))?;
    order::keep_environment(dir, &plan)?;
    follow_until(dir, plan, following, context).await
}

/// Closes a group whose attempts are all over, for which nobody needs to be asked.
fn close_if_over(dir: &GroupDir, plan: &Plan) -> Result<Option<RunSummary>, CliError> {
    let mut stats = RunStats { planned: plan.attempts.len(), ..RunStats::default() };
    let mut finished = BTreeMap::new();
    for attempt in &plan.attempts {
        let own = dir.attempt(&attempt.dir);
        let Standing::Final(_) = tries::standing(&own)? else { return Ok(None) };
        tries::publish(&own)?;
        let record: AttemptRecord = read_json(&own.record())?;
        let grade: Option<GradeReport> = read_json_if_there(&own.grade())?;
        let grade = grade.as_ref().map(GradeLine::from).unwrap_or_default();
        let outcome = record.outcome.unwrap_or_default();
        stats.count(&outcome, &grade);
        finished.insert(attempt.dir.clone(), !outcome.infrastructure);
    }
    close_group(dir, plan, &finished)?;
    order::forget_environment(dir)?;
    let orders = order::all(dir)?;
    if !orders.is_empty() {
        follow::forget(&*scheduler_of(remote(plan)?)?, &orders);
    }
    Ok(Some(RunSummary { stats, stopped: None, damaged: 0 }))
}

/// Checks what can be known before anything is handed over.
///
/// # Errors
/// All that stands in the way, in one error.
pub fn check(plan: &Plan, context: &Context) -> Result<(), CliError> {
    let remote = remote(plan)?;
    let mut found = Vec::new();
    let gpus: Result<BTreeSet<u32>, CliError> =
        plan.attempts.iter().map(|attempt| request::gpus_of(plan, attempt)).collect();
    if plan.gpu_share > 1 {
        found.push(
            CliError::message(Exit::Usage, "attempts that are jobs of their own share no GPU")
                .hint("leave `--gpu-share` out, or run without `--on`"),
        );
    }
    match gpus {
        Ok(gpus) => {
            for count in gpus {
                let resources = request::resources(plan, count);
                let checked = match remote.scheduler {
                    SchedulerKind::Slurm => super::slurm::check(plan, remote, resources, context),
                    SchedulerKind::Kubernetes => {
                        super::kubernetes::check(plan, remote, resources, context)
                    }
                    SchedulerKind::Command => super::commands::check(remote),
                };
                found.extend(checked.err());
            }
        }
        Err(error) => found.push(error),
    }
    found.extend(must_have_room(&context.runs_dir).err());
    preflight::check_for_nodes(plan, found).map(drop)
}

/// What the runs folder must take before anything is handed over.
const ROOM: usize = 8 << 20;

/// Refuses a runs folder that takes nothing more. It is tried: a quota is told by nothing else.
fn must_have_room(runs_dir: &Path) -> Result<(), CliError> {
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(runs_dir)?;
        let mut file = tempfile::Builder::new().prefix(".room-").tempfile_in(runs_dir)?;
        file.write_all(&vec![0x5A; ROOM])?;
        file.as_file().sync_all()
    };
    write().map_err(|error| {
        let what = format!("the runs folder `{}` takes no files", runs_dir.display());
        CliError::new(Exit::Environment, anyhow::Error::new(error).context(what))
            .hint("attempts write their results there: make room (`quota` tells yours), or name another with `--runs-dir`")
    })
}

/// Follows until all is over, or all is handed over; Ctrl-C ends nothing but that.
async fn follow_until(
    dir: &GroupDir,
    plan: Plan,
    following: Following,
    context: &Context,
) -> Result<Followed, CliError> {
    let (group, ours) = (dir.clone(), context.clone());
    let work = tokio::task::spawn_blocking(move || follow(&group, &plan, following, &ours));
    let root = shell_word(&dir.root().to_string_lossy());
    tokio::select! {
        followed = work => match followed {
            Ok(followed) => followed,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        _ = tokio::signal::ctrl_c() => {
            tell(format_args!(
                "nobody follows any more; what was handed over runs on: `medalist status {root}` says where it stands, \
                 `medalist run --resume {root}` follows again, `medalist stop --all --group {root}` ends it"
            ));
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    }
}

/// What the scheduler allows. Where jobs of the group are there already, one that does not answer, as
/// while it is started again, is waited for.
fn habits(scheduler: &dyn Scheduler, is_new: bool, context: &Context) -> Result<Habits, CliError> {
    let began = Instant::now();
    loop {
        match scheduler.habits() {
            Ok(habits) => return Ok(habits),
            Err(away) if is_new || began.elapsed() > AWAY_PATIENCE => {
                return Err(CliError::new(Exit::Environment, away));
            }
            Err(away) => context.warn(format_args!("{away}; it is asked again")),
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

fn follow(
    group: &GroupDir,
    plan: &Plan,
    following: Following,
    context: &Context,
) -> Result<Followed, CliError> {
    let remote = remote(plan)?;
    let scheduler = scheduler_of(remote)?;
    let _alone = hold(group)?;
    let judge = CatalogueJudge::of_plan(plan)
        .map_err(|error| CliError::new(Exit::BadInput, error))?
        .with_workers(|| context.workers());
    let orders = order::all(group)?;
    let habits = habits(&*scheduler, orders.is_empty(), context)?;
    must_be_of_this_program(&orders, &*scheduler)?;
    let program = std::env::current_exe()?;
    // What is handed over is read on other machines, from other folders.
    let group = GroupDir::new(std::path::absolute(group.root())?);
    let mut follower = Follower::new(Setup {
        group: &group,
        plan,
        remote,
        scheduler: &*scheduler,
        judge: &judge,
        program: &program,
        habits,
        pace: Pace::of(following.every),
    })?;
    let began = Instant::now();
    let mut shown = String::new();
    loop {
        let looked = Instant::now();
        let step = follower.step(began.elapsed())?;
        for line in &step.told {
            context.say(line);
        }
        if step.is_done {
            follower.close()?;
            return Ok(Followed::Over(RunSummary { stats: step.stats, stopped: None, damaged: 0 }));
        }
        if stop::is_stopped(&group) && step.waiting + step.stats.running == 0 {
            let stopped = Some(CancelReason::Interrupt);
            return Ok(Followed::Over(RunSummary { stats: step.stats, stopped, damaged: 0 }));
        }
        let line = format!("{}, {} waiting", step.stats, step.waiting);
        if line != shown && step.told.is_empty() {
            context.say(&line);
        }
        shown = line;
        if following.detach && !step.is_paced {
            if step.open > 0 {
                context.warn(format_args!(
                    "{} attempts are not handed over yet; `medalist run --resume` hands them over when there is room",
                    step.open
                ));
            }
            return Ok(Followed::Detached);
        }
        // A folder of many attempts that is slow to be read is read less often.
        std::thread::sleep(LOOK_EVERY.min(following.every).max(looked.elapsed() * 3));
    }
}

/// Refuses to hand over more while jobs are left that another version of this program has handed over:
/// they run the program that is there when they begin, and leave when that is not theirs.
fn must_be_of_this_program(
    orders: &BTreeMap<u32, Order>,
    scheduler: &dyn Scheduler,
) -> Result<(), CliError> {
    let others = orders.values().filter(|order| {
        order.harness_version != crate::attempt::VERSION
            && !matches!(order.state, OrderState::Withdrawn(_))
    });
    let others: BTreeMap<String, &str> =
        others.map(|order| (order.name.clone(), order.harness_version.as_str())).collect();
    let names: Vec<String> = others.keys().cloned().collect();
    let left = scheduler.queue(&names).map_err(|away| CliError::new(Exit::Environment, away))?;
    let Some(theirs) = left.first().and_then(|seen| others.get(&seen.name)) else { return Ok(()) };
    Err(CliError::message(
        Exit::BadInput,
        format!(
            "{} jobs of the group are left that medalist {theirs} handed over, and this is {}",
            left.len(),
            crate::attempt::VERSION
        ),
    )
    .hint("put that version back, or end them first with `medalist stop --all`"))
}

/// Keeps others from handing over the same; where there are no locks, the orders' numbers and the claims do.
fn hold(group: &GroupDir) -> Result<Option<nix::fcntl::Flock<std::fs::File>>, CliError> {
    let folder = order::folder(group);
    std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    match lock(&folder.join("follow.lock"), FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::Locked { .. }) => {
            let root = group.root().display();
            Err(CliError::message(Exit::BadInput, format!("another medalist follows `{root}`"))
                .hint(format!("`medalist status {root}` looks on beside it")))
        }
        Err(_) => Ok(None),
    }
}

/// Names of a group's jobs.
fn names(group: &GroupDir) -> Result<Vec<String>, CliError> {
    let orders = order::all(group).map_err(|error| CliError::new(Exit::BadInput, error))?;
    let counts = orders.into_values().filter(|it| !matches!(it.state, OrderState::Withdrawn(_)));
    Ok(counts.map(|order| order.name).collect())
}

/// Refuses to run a group's attempts here while a scheduler may have jobs of it.
///
/// # Errors
/// It has, or does not answer.
pub fn must_be_over(group: &GroupDir, remote: &Remote) -> Result<(), CliError> {
    let names = names(group)?;
    if names.is_empty() {
        return Ok(());
    }
    let root = shell_word(&group.root().to_string_lossy());
    let seen = scheduler_of(remote)?.queue(&names).map_err(|away| {
        CliError::new(Exit::Environment, away)
            .context("cannot tell whether jobs of the group are left")
    })?;
    match seen.len() {
        0 => Ok(()),
        jobs => Err(CliError::message(
            Exit::BadInput,
            format!("{jobs} jobs of the group still wait or run"),
        )
        .hint(format!("`medalist stop --all --group {root}` ends them"))),
    }
}

/// Whether a scheduler has jobs of a group, asked now.
///
/// # Errors
/// It does not answer.
pub fn has_jobs(group: &GroupDir, plan: &Plan) -> Result<bool, CliError> {
    let (Some(remote), names) = (&plan.on, names(group)?) else { return Ok(false) };
    let seen = scheduler_of(remote)?.queue(&names);
    Ok(!seen.map_err(|away| CliError::new(Exit::Environment, away))?.is_empty())
}

/// Where the jobs of a group are, by what its readers show: counts of those that wait by reason, and the
/// node of each that runs.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Why jobs wait, and how many for each reason.
    pub waiting: BTreeMap<String, usize>,
    /// Nodes with how many jobs each.
    pub running: BTreeMap<String, usize>,
    /// Why the scheduler did not answer.
    pub away: Option<String>,
}

impl Jobs {
    /// Whether a job may still begin or go on, as far as anybody knows.
    pub fn are_left(&self) -> bool {
        self.away.is_some() || !self.waiting.is_empty() || !self.running.is_empty()
    }
}

/// Asks for the jobs of a group, unless somebody has within the last minute; `None` if it has none.
///
/// # Errors
/// Its orders cannot be read.
pub fn jobs(group: &GroupDir, plan: &Plan) -> Result<Option<Jobs>, CliError> {
    let (Some(remote), names) = (&plan.on, names(group)?) else { return Ok(None) };
    if names.is_empty() {
        return Ok(None);
    }
    let queue = queue::look(group, &*scheduler_of(remote)?, &names);
    let mut jobs = Jobs { away: queue.away, ..Jobs::default() };
    for seen in &queue.seen {
        match &seen.state {
            State::Running => *jobs.running.entry(seen.node.clone()).or_default() += 1,
            _ => *jobs.waiting.entry(seen.reason.clone()).or_default() += 1,
        }
    }
    Ok(Some(jobs))
}

/// Takes attempts out of the queue whose jobs have not begun, and writes down that they were stopped; how
/// many. What runs finds the request in the group's folder.
///
/// # Errors
/// The scheduler does not answer; the requests stand all the same.
pub fn stop_waiting(
    group: &GroupDir,
    plan: &Plan,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<usize, CliError> {
    let Some(remote) = &plan.on else { return Ok(0) };
    let scheduler = scheduler_of(remote)?;
    let orders = order::all(group)?;
    let mut latest: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    for order in orders.values().filter(|it| !matches!(it.state, OrderState::Withdrawn(_))) {
        for (index, element) in (0u32..).zip(&order.elements) {
            latest.insert(&element.dir, (&order.name, index));
        }
    }
    let names = names(group)?;
    let away = |away| CliError::new(Exit::Environment, away);
    let seen = Elements::from(scheduler.queue(&names).map_err(away)?);
    let waits = |name: &str, index: u32| {
        let found = seen.find(name, index).filter(|seen| seen.state == State::Waiting);
        found.map(|seen| seen.id.clone())
    };
    let chosen: Vec<(&str, &str, u32, String)> = latest
        .iter()
        .filter(|(dir, _)| wanted(dir))
        .filter_map(|(dir, (name, index))| Some((*dir, *name, *index, waits(name, *index)?)))
        .collect();
    let ids: Vec<(String, u32)> = chosen.iter().map(|it| (it.3.clone(), it.2)).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    scheduler.cancel(&ids, true).map_err(away)?;
    // One that began in the same moment was not cancelled, and finds the request.
    let left = Elements::from(scheduler.queue(&names).map_err(away)?);
    let planned: HashMap<&str, &PlannedAttempt> =
        plan.attempts.iter().map(|attempt| (attempt.dir.as_str(), attempt)).collect();
    let mut stopped = 0;
    for (dir, name, index, _) in chosen {
        if left.find(name, index).is_some_and(|seen| seen.state == State::Running) {
            continue;
        }
        if let Some(attempt) = planned.get(dir) {
            stopped += usize::from(note_stopped(group, plan, attempt)?);
        }
    }
    Ok(stopped)
}

/// Ends jobs that run, which their scheduler signals.
///
/// # Errors
/// The scheduler does not answer.
pub fn end_running(
    group: &GroupDir,
    plan: &Plan,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), CliError> {
    let Some(remote) = &plan.on else { return Ok(()) };
    let scheduler = scheduler_of(remote)?;
    let orders = order::all(group)?;
    let away = |away| CliError::new(Exit::Environment, away);
    let seen = Elements::from(scheduler.queue(&names(group)?).map_err(away)?);
    let mut ids = Vec::new();
    for order in orders.values() {
        for (index, _) in (0u32..).zip(&order.elements).filter(|(_, it)| wanted(&it.dir)) {
            let found = seen.find(&order.name, index).filter(|seen| seen.index.is_some());
            ids.extend(found.map(|seen| (seen.id.clone(), index)));
        }
    }
    scheduler.cancel(&ids, false).map_err(away)
}

/// Writes down that an attempt was stopped before it began; false if somebody has begun it.
fn note_stopped(group: &GroupDir, plan: &Plan, attempt: &PlannedAttempt) -> Result<bool, CliError> {
    let dir = group.attempt(&attempt.dir);
    std::fs::create_dir_all(dir.root()).map_err(StoreError::io("create", dir.root()))?;
    let us = Claim::of_this_process(None);
    if matches!(tries::standing(&dir)?, Standing::Final(_)) {
        return Ok(false);
    }
    let gone = |last: &TryState| tries::gone(&dir, last, &us);
    let Claimed::New(number) = tries::claim(&dir, &us, &gone)? else { return Ok(false) };
    let reason = CancelReason::Stopped;
    let outcome = Outcome::Cancelled { reason }.record();
    let record = || record_of_lost(plan, attempt, &dir, number, None);
    Ok(tries::settle(&dir, number, outcome, &record, None)?)
}

/// Where a job's own output is, for who looks for it.
pub fn outputs(group: &GroupDir) -> PathBuf {
    order::folder(group)
}

#[cfg(test)]
pub(in crate::app) mod tests;
