//! Hands a group's attempts to a scheduler and sees that each comes to an end: what fits now, the rest when
//! there is room, and again what a machine has failed.
//!
//! Nothing is remembered but what is on disk: whoever follows next, on whatever machine, goes on here.

mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use medalist_reports::record::OutcomeRecord;

use super::decide::{Known, Where, verdict};
use super::order::{self, Element, Order, OrderState};
use super::queue;
use super::request::{gpus_of, request, resources};
use crate::app::error::{CliError, Exit};
use crate::attempt::plan::{Plan, PlannedAttempt, Remote};
use crate::attempt::text::chain;
use crate::host::files::write_json;
use crate::host::scheduler::{Habits, Request, Scheduler, Seen, State, SubmitError, Submitted};
use crate::host::store::GroupDir;
use crate::host::store::tries::{self, Claim, Standing};
use crate::run::events::{GradeLine, RunStats};
use crate::run::{Judge, stop};

/// On how many jobs that never began a node is left out.
const DEAD_STARTS: u32 = 2;

/// How it is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two questions to the scheduler.
    pub(super) every: Duration,
    /// How long a job must be gone before its last words must be in the folder: network file systems
    /// are late.
    pub(super) settle: Duration,
}

impl Pace {
    /// Of questions that are asked so often.
    pub(super) fn of(every: Duration) -> Self {
        Self { every, settle: (every * 3 / 2).min(Duration::from_secs(90)) }
    }
}

/// What a step came to.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Counts of the group.
    pub(super) stats: RunStats,
    /// Attempts whose jobs wait.
    pub(super) waiting: usize,
    /// Attempts that have not been handed over yet.
    pub(super) open: usize,
    /// What happened, for people.
    pub(super) told: Vec<String>,
    /// Whether nothing is left to be done.
    pub(super) is_done: bool,
}

/// Hands over and follows.
pub(super) struct Follower<'a> {
    group: &'a GroupDir,
    plan: &'a Plan,
    remote: &'a Remote,
    scheduler: &'a dyn Scheduler,
    judge: &'a dyn Judge,
    program: &'a Path,
    habits: Habits,
    pace: Pace,
    us: Claim,
    orders: BTreeMap<u32, Order>,
    /// The first order of this session: what ended before it is made again.
    session: u32,
    seen: Vec<Seen>,
    recorded: Vec<Seen>,
    asked_at: Option<Duration>,
    away: bool,
    /// Since when jobs are gone from the queue, by order and index.
    gone: BTreeMap<(u32, u32), Duration>,
    /// Attempts that are over for this session: final ones, and those that nobody is to make again.
    over: BTreeMap<String, (OutcomeRecord, GradeLine)>,
    /// Attempts that only a person may make again.
    held: BTreeSet<String>,
    dead_starts: BTreeMap<String, u32>,
    /// How many jobs the scheduler had when it took no more.
    full_at: Option<usize>,
}

/// Where an attempt's job is, by the files of its group.
#[derive(Clone, Copy)]
struct JobOf {
    order: u32,
    index: u32,
    after: u32,
}

impl<'a> Follower<'a> {
    /// Goes on with what is on disk.
    ///
    /// # Errors
    /// An order cannot be read.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that it works with")]
    pub(super) fn new(
        group: &'a GroupDir,
        plan: &'a Plan,
        remote: &'a Remote,
        scheduler: &'a dyn Scheduler,
        judge: &'a dyn Judge,
        program: &'a Path,
        habits: Habits,
        pace: Pace,
    ) -> Result<Self, CliError> {
        let orders = order::all(group)?;
        let session = orders.keys().last().copied().unwrap_or(0) + 1;
        Ok(Self {
            group,
            plan,
            remote,
            scheduler,
            judge,
            program,
            habits,
            pace,
            us: Claim::of_this_process(None),
            orders,
            session,
            seen: Vec::new(),
            recorded: Vec::new(),
            asked_at: None,
            away: false,
            gone: BTreeMap::new(),
            over: BTreeMap::new(),
            held: BTreeSet::new(),
            dead_starts: BTreeMap::new(),
            full_at: None,
        })
    }

    /// Looks once, and does what is to be done; `now` is any clock that runs evenly.
    ///
    /// # Errors
    /// The group's files cannot be read or written, or the scheduler refuses the jobs for good.
    pub(super) fn step(&mut self, now: Duration) -> Result<Step, CliError> {
        let mut step = Step {
            stats: RunStats { planned: self.plan.attempts.len(), ..RunStats::default() },
            ..Step::default()
        };
        let asked = self.ask(now, &mut step)?;
        let jobs = self.jobs();
        let mut open: Vec<(&'a PlannedAttempt, u32)> = Vec::new();
        let plan = self.plan;
        for attempt in &plan.attempts {
            if self.over.contains_key(&attempt.dir) {
                continue;
            }
            let dir = self.group.attempt(&attempt.dir);
            let standing = tries::standing(&dir)?;
            let last = number_of(&standing);
            let Some(job) = jobs.get(&attempt.dir).copied() else {
                match standing {
                    Standing::Final(one) => self.finish(attempt, &dir, &one, &mut step)?,
                    _ => open.push((attempt, last)),
                }
                continue;
            };
            let place = self.place(job, now);
            let known = Known {
                overtime: self.overtime(&dir, last),
                asked_to_end: stop::is_asked(self.group, &attempt.dir),
                standing,
                after: job.after,
                job: place,
            };
            let found = verdict(known);
            if let Some(number) = self.act(found, attempt, &dir, job, asked, &mut step)? {
                open.push((attempt, number));
            }
        }
        self.hand_over(&open, asked, &mut step)?;
        for (outcome, grade) in self.over.values() {
            step.stats.count(outcome, grade);
        }
        let handed_over: usize = step.waiting + step.stats.running + step.stats.finished;
        step.open = step.stats.planned.saturating_sub(handed_over);
        step.is_done = step.stats.finished == step.stats.planned;
        Ok(step)
    }

    /// Asks the scheduler, if it is time; whether its answer is fresh.
    fn ask(&mut self, now: Duration, step: &mut Step) -> Result<bool, CliError> {
        if self.asked_at.is_some_and(|at| now < at + self.pace.every) {
            return Ok(false);
        }
        self.asked_at = Some(now);
        self.orders = order::all(self.group)?;
        let names: Vec<String> = self
            .orders
            .values()
            .filter(|order| !is_withdrawn(order))
            .map(|it| it.name.clone())
            .collect();
        if names.is_empty() {
            return Ok(true);
        }
        match self.scheduler.queue(&names) {
            Ok(seen) => self.seen = seen,
            Err(away) => {
                if !std::mem::replace(&mut self.away, true) {
                    step.told.push(format!("{away}; what runs goes on"));
                }
                return Ok(false);
            }
        }
        if std::mem::take(&mut self.away) {
            step.told.push("the scheduler answers again".to_owned());
        }
        queue::keep(self.group, &self.seen);
        let missing = self.note_gone(now);
        if missing {
            let since =
                self.orders.values().map(|order| order.made_at).min().unwrap_or_else(Utc::now);
            // Its records may come late, or not at all: the folder is what counts.
            self.recorded = self.scheduler.recorded(&names, since).unwrap_or_default();
        }
        self.settle_intents(now, step)?;
        Ok(true)
    }

    /// Notes since when jobs are gone from the queue; whether any is whose attempt is not over.
    fn note_gone(&mut self, now: Duration) -> bool {
        let mut missing = false;
        let jobs = self.jobs();
        for (dir, job) in &jobs {
            if self.over.contains_key(dir) {
                continue;
            }
            let is_there = self.find(&self.seen, job).is_some();
            match is_there {
                true => drop(self.gone.remove(&(job.order, job.index))),
                false => {
                    missing = true;
                    self.gone.entry((job.order, job.index)).or_insert(now);
                }
            }
        }
        missing
    }

    /// The latest job of each attempt.
    fn jobs(&self) -> BTreeMap<String, JobOf> {
        let mut jobs = BTreeMap::new();
        for (order, it) in self.orders.iter().filter(|(_, it)| !is_withdrawn(it)) {
            for (index, element) in (0u32..).zip(&it.elements) {
                let job = JobOf { order: *order, index, after: element.after };
                jobs.insert(element.dir.clone(), job);
            }
        }
        jobs
    }

    /// The element of a list that is a job: by its name, since ids come back.
    fn find<'s>(&self, list: &'s [Seen], job: &JobOf) -> Option<&'s Seen> {
        let order = self.orders.get(&job.order)?;
        list.iter().find(|seen| {
            seen.name == order.name && seen.index.is_none_or(|index| index == job.index)
        })
    }

    fn place(&self, job: JobOf, now: Duration) -> Where<'_> {
        if let Some(seen) = self.find(&self.seen, &job) {
            return match seen.state {
                State::Running => Where::Running,
                // A word that we do not know is none that says it is over.
                State::Waiting | State::Unknown(_) => Where::Waiting,
                State::Over(_) => Where::Gone(Some(seen)),
            };
        }
        match self.gone.get(&(job.order, job.index)) {
            Some(since) if now >= *since + self.pace.settle => {
                let recorded = self.find(&self.recorded, &job);
                match recorded.map(|seen| &seen.state) {
                    // Its records are behind.
                    Some(State::Waiting | State::Running) => Where::Gone(None),
                    _ => Where::Gone(recorded),
                }
            }
            _ => Where::Waiting,
        }
    }

    /// Finds out what became of orders whose answer was lost.
    fn settle_intents(&mut self, now: Duration, step: &mut Step) -> Result<(), CliError> {
        let intents: Vec<u32> = self
            .orders
            .iter()
            .filter(|(_, order)| order.state == OrderState::Intended)
            .map(|(number, _)| *number)
            .collect();
        for number in intents {
            let Some(order) = self.orders.get_mut(&number) else { continue };
            let mut all = self.seen.iter().chain(&self.recorded);
            let seen = all.find(|seen| seen.name == order.name).map(|seen| seen.id.clone());
            if let Some(id) = seen.or_else(|| id_by_its_jobs(self.group, order)) {
                step.told.push(format!("`{}` was taken as {id}", order.name));
                let submitted = Submitted { id, cluster: None };
                order.become_state(self.group, number, OrderState::Submitted(submitted))?;
            } else if self.gone.get(&(number, 0)).is_some_and(|at| now >= *at + self.pace.settle) {
                // A job of it that comes all the same finds this, and leaves.
                self.withdraw(number, "the scheduler had not heard of it", step)?;
            }
        }
        Ok(())
    }

    fn withdraw(&mut self, number: u32, why: &str, step: &mut Step) -> Result<(), CliError> {
        if let Some(order) = self.orders.get_mut(&number) {
            order.become_state(self.group, number, OrderState::Withdrawn(why.to_owned()))?;
            step.told.push(format!("`{}` counts for nothing: {why}", order.name));
        }
        Ok(())
    }

    /// Hands over what is open, in arrays as large as the scheduler takes.
    fn hand_over(
        &mut self,
        open: &[(&PlannedAttempt, u32)],
        asked: bool,
        step: &mut Step,
    ) -> Result<(), CliError> {
        // Where there was no room, only a fresh answer tells whether there is some now.
        if self.full_at.is_some() && !asked {
            return Ok(());
        }
        if open.is_empty() || self.away || stop::is_stopped(self.group) {
            return Ok(());
        }
        let held = self.seen.len();
        let mut most = match self.full_at {
            // What has ended since has made room.
            Some(full_at) if held >= full_at => return Ok(()),
            Some(full_at) => full_at - held,
            None => usize::MAX,
        };
        self.full_at = None;
        let mut handed = 0;
        let mut by_gpus: BTreeMap<u32, Vec<Element>> = BTreeMap::new();
        for (attempt, last) in open {
            let gpus = gpus_of(self.plan, attempt)?;
            let element = Element { dir: attempt.dir.clone(), after: *last };
            by_gpus.entry(gpus).or_default().push(element);
        }
        let largest = usize::try_from(self.habits.largest_array).unwrap_or(usize::MAX).max(1);
        for (gpus, elements) in by_gpus {
            let mut rest = elements.as_slice();
            while !rest.is_empty() {
                let size = rest.len().min(largest).min(most);
                match self.submit(&rest[..size], gpus, step)? {
                    true => {
                        rest = &rest[size..];
                        handed += size;
                    }
                    false if self.away => return Ok(()),
                    // Half of it may fit.
                    false if size > 1 => most = size / 2,
                    false => {
                        self.full_at = Some((held + handed).max(1));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands one array over; false if the scheduler has no room for it now, or did not answer.
    fn submit(
        &mut self,
        elements: &[Element],
        gpus: u32,
        step: &mut Step,
    ) -> Result<bool, CliError> {
        let resources = resources(self.plan, gpus);
        let kill_wait = Some(self.habits.kill_wait);
        let (number, mut order) =
            Order::make(self.group, &self.remote.prefix, elements.to_vec(), resources, kill_wait)?;
        let request = request(self.group, self.plan, self.remote, &order, number, self.program);
        let dead = self.dead_starts.iter().filter(|(_, starts)| **starts >= DEAD_STARTS);
        let excluded = dead.map(|(node, _)| node.clone()).collect();
        let request = Request { excluded, ..request };
        let taken = self.scheduler.submit(&request);
        let result = match taken {
            Ok(submitted) => {
                step.told.push(format!(
                    "handed over {} attempts as {} (`{}`)",
                    elements.len(),
                    submitted.id,
                    order.name
                ));
                order.become_state(self.group, number, OrderState::Submitted(submitted))?;
                step.waiting += elements.len();
                Ok(true)
            }
            Err(SubmitError::Full(why)) => {
                order.become_state(self.group, number, OrderState::Withdrawn(why))?;
                Ok(false)
            }
            // Such jobs were taken before: nodes are missing, say, and come back.
            Err(SubmitError::Refused(why)) if self.has_been_taken() => {
                step.told.push(format!("not handed over: {why}; tried again later"));
                order.become_state(self.group, number, OrderState::Withdrawn(why))?;
                Ok(false)
            }
            Err(SubmitError::Refused(why)) => {
                order.become_state(self.group, number, OrderState::Withdrawn(why.clone()))?;
                Err(CliError::new(Exit::BadInput, SubmitError::Refused(why)).hint(format!(
                    "nothing of it was handed over; `medalist run --resume {}` tries again",
                    self.group.root().display()
                )))
            }
            // It may have taken them: who asks by name finds out.
            Err(SubmitError::Away(away)) => {
                self.away = true;
                step.told.push(format!("{away}; whether it took `{}` is asked later", order.name));
                Ok(false)
            }
        };
        self.orders.insert(number, order);
        result
    }

    /// Whether the scheduler has ever taken an order of the group.
    fn has_been_taken(&self) -> bool {
        self.orders.values().any(|order| matches!(order.state, OrderState::Submitted(_)))
    }

    /// Writes that the group is done, and what only running attempts needed is removed.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(super) fn close(&self) -> Result<(), CliError> {
        let finished: BTreeMap<String, bool> = self
            .over
            .iter()
            .map(|(dir, (outcome, _))| (dir.clone(), !outcome.infrastructure))
            .collect();
        crate::run::close_group(self.group, self.plan, &finished)?;
        order::forget_environment(self.group)?;
        Ok(())
    }
}

/// The id of an order of which a job has begun, by what that has left in the group's folder.
fn id_by_its_jobs(group: &GroupDir, order: &Order) -> Option<String> {
    (0u32..).zip(&order.elements).find_map(|(index, element)| {
        let dir = group.attempt(&element.dir);
        let claimed = tries::claimed(&dir).unwrap_or_default().into_iter();
        let jobs = claimed.filter_map(|one| one.claim?.job);
        let mut own = jobs.filter(|job| job.name.as_ref() == Some(&order.name));
        own.next().map(|job| job.id).or_else(|| {
            order::output(group, &order.name, index).exists().then(|| "an unknown id".to_owned())
        })
    })
}

fn is_withdrawn(order: &Order) -> bool {
    matches!(order.state, OrderState::Withdrawn(_))
}

/// The number of an attempt's last try; 0 if it has none.
pub(super) fn number_of(standing: &Standing) -> u32 {
    match standing {
        Standing::Apart => 0,
        Standing::Claimed(one) | Standing::Ended(one) | Standing::Final(one) => one.number,
    }
}

/// What the whole of a scheduler's answers is kept in.
pub(super) fn keep_or_say(result: Result<(), crate::host::files::StoreError>) {
    if let Err(error) = result {
        tracing::debug!(error = chain(&error), "cannot be kept");
    }
}

/// Writes a small file of the group's jobs that nobody depends on.
pub(super) fn write_aside(path: &Path, value: &impl serde::Serialize) {
    keep_or_say(write_json(path, value));
}
