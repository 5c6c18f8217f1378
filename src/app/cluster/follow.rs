//! Hands a group's attempts to a scheduler and sees that each comes to an end: what fits now, the rest when
//! there is room, and again what a machine has failed.
//!
//! Nothing is remembered but what is on disk: whoever follows next, on whatever machine, goes on here.

mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use medalist_reports::record::OutcomeRecord;

use super::dead::{self, DeadStarts};
use super::decide::{Known, Where, verdict};
use super::order::{self, Element, Order, OrderState};
use super::queue;
use super::request::{gpus_of, request, resources};
use crate::app::error::{CliError, Exit};
use crate::attempt::plan::{Plan, PlannedAttempt, Remote};
use crate::attempt::text::chain;
use crate::host::files::write_json;
use crate::host::scheduler::{
    Elements, Habits, Over, Request, Scheduler, Seen, State, SubmitError, Submitted,
};
use crate::host::store::GroupDir;
use crate::host::store::tries::{self, Claim, Standing};
use crate::run::events::{GradeLine, RunStats};
use crate::run::{Judge, stop};

/// How often in a minute a scheduler that is asked gently is asked to take jobs, at most.
const SUBMISSIONS: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// After how long it may have more room than it once had: others' jobs count as well.
const ROOM_IS_KNOWN: Duration = Duration::from_secs(10 * 60);
/// What a job that asks for its own end gets after its agent's grace, to collect what that left.
const AFTER_THE_GRACE: Duration = Duration::from_secs(60);

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
    /// What was handed over: how many attempts, the id, the name.
    handed: Vec<(usize, String, String)>,
    /// Whether more would be handed over, had not so much been handed over within a minute.
    pub(super) is_paced: bool,
    /// Whether nothing is left to be done.
    pub(super) is_done: bool,
}

impl Step {
    /// Tells what was handed over: in one line where each attempt is a job of its own.
    fn tell_handed(&mut self) {
        let line = |count: &usize, id: &str, name: &str| match count {
            1 => format!("handed over 1 attempt as {id} (`{name}`)"),
            _ => format!("handed over {count} attempts as {id} (`{name}`)"),
        };
        match self.handed.as_slice() {
            [(1, _, first), .., (1, _, last)] if self.handed.len() > 3 => {
                let jobs = self.handed.len();
                let line = format!("handed over {jobs} attempts as `{first}` to `{last}`");
                self.told.push(line);
            }
            some => self.told.extend(some.iter().map(|(count, id, name)| line(count, id, name))),
        }
    }
}

/// What is followed, and with what.
pub(super) struct Setup<'a> {
    pub(super) group: &'a GroupDir,
    pub(super) plan: &'a Plan,
    pub(super) remote: &'a Remote,
    pub(super) scheduler: &'a dyn Scheduler,
    pub(super) judge: &'a dyn Judge,
    /// What jobs run: this program, where nodes see it.
    pub(super) program: &'a Path,
    pub(super) habits: Habits,
    pub(super) pace: Pace,
}

/// Hands over and follows.
pub(super) struct Follower<'a> {
    setup: Setup<'a>,
    us: Claim,
    orders: BTreeMap<u32, Order>,
    /// The first order of this follower: what ended before it is made again.
    first_order: u32,
    seen: Elements,
    recorded: Elements,
    asked_at: Option<Duration>,
    away: bool,
    /// Since when jobs are gone from the queue, by order and index.
    gone: BTreeMap<(u32, u32), Duration>,
    /// Attempts that are over for this follower: final ones, and those that nobody is to make again.
    over: BTreeMap<String, (OutcomeRecord, GradeLine)>,
    /// Attempts that only a person may make again.
    held: BTreeSet<String>,
    dead_starts: DeadStarts,
    /// Orders of which a job is known to have printed something.
    printed: BTreeSet<u32>,
    /// How many jobs of the group the scheduler had when it took no more, and when that was.
    full_at: Option<(usize, Duration)>,
    /// When it was last asked to take jobs, at most a minute ago.
    submitted_at: VecDeque<Duration>,
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
    pub(super) fn new(setup: Setup<'a>) -> Result<Self, CliError> {
        let orders = order::all(setup.group)?;
        let first_order = orders.keys().last().copied().unwrap_or(0) + 1;
        let dead_starts = DeadStarts::read(setup.group)?;
        Ok(Self {
            setup,
            us: Claim::of_this_process(None),
            orders,
            first_order,
            seen: Elements::default(),
            recorded: Elements::default(),
            asked_at: None,
            away: false,
            gone: BTreeMap::new(),
            over: BTreeMap::new(),
            held: BTreeSet::new(),
            dead_starts,
            printed: BTreeSet::new(),
            full_at: None,
            submitted_at: VecDeque::new(),
        })
    }

    /// Looks once, and does what is to be done; `now` is any clock that runs evenly.
    ///
    /// # Errors
    /// The group's files cannot be read or written, or the scheduler refuses the jobs for good.
    pub(super) fn step(&mut self, now: Duration) -> Result<Step, CliError> {
        let mut step = Step {
            stats: RunStats { planned: self.setup.plan.attempts.len(), ..RunStats::default() },
            ..Step::default()
        };
        let asked = self.ask(now, &mut step)?;
        let jobs = self.jobs();
        let mut open: Vec<(&'a PlannedAttempt, u32)> = Vec::new();
        let plan = self.setup.plan;
        for attempt in &plan.attempts {
            if self.over.contains_key(&attempt.dir) {
                continue;
            }
            let dir = self.setup.group.attempt(&attempt.dir);
            let job = jobs.get(&attempt.dir).copied();
            if job.is_some_and(|job| self.is_queued(&job)) {
                // Nothing is new in its folder, and a folder on a network is slow.
                step.waiting += 1;
                continue;
            }
            let standing = tries::standing(&dir)?;
            let last = number_of(&standing);
            let Some(job) = job else {
                match standing {
                    Standing::Final(_) => self.finish(attempt, &dir, &mut step)?,
                    _ => open.push((attempt, last)),
                }
                continue;
            };
            let place = self.place(job, now);
            let over = match &place {
                Where::Gone(Some(Seen { state: State::Over(over), .. })) => Some(over),
                _ => None,
            };
            let known = Known {
                overtime: match over {
                    Some(Over::TimedOut) => self.overtime(&dir, last),
                    _ => None,
                },
                asked_to_end: matches!(over, Some(Over::Cancelled(_)))
                    && stop::is_asked(self.setup.group, &attempt.dir),
                standing,
                after: job.after,
                job: place,
            };
            let found = verdict(known);
            if let Some(number) = self.act(found, attempt, &dir, job, asked, &mut step)? {
                open.push((attempt, number));
            }
        }
        let handed = self.hand_over(&open, asked, now, &mut step);
        step.tell_handed();
        handed?;
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
        if self.asked_at.is_some_and(|at| now < at + self.setup.pace.every) {
            return Ok(false);
        }
        self.asked_at = Some(now);
        self.orders = order::all(self.setup.group)?;
        let names: Vec<String> = self
            .orders
            .values()
            .filter(|order| !is_withdrawn(order))
            .map(|it| it.name.clone())
            .collect();
        if names.is_empty() {
            return Ok(true);
        }
        match self.setup.scheduler.queue(&names) {
            Ok(seen) => self.seen = seen.into(),
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
        queue::keep(self.setup.group, self.seen.all());
        // What is over and still there would be started by a word of somebody, beside the one that is handed
        // over in its place.
        let over = self.seen.all().iter().filter(|seen| matches!(seen.state, State::Over(_)));
        let over: Vec<(String, u32)> =
            over.filter_map(|seen| Some((seen.id.clone(), seen.index?))).collect();
        if let Err(away) = self.setup.scheduler.cancel(&over, false) {
            tracing::debug!(%away, "jobs that are over are left in the queue");
        }
        let missing = self.note_gone(now);
        if missing {
            let since =
                self.orders.values().map(|order| order.made_at).min().unwrap_or_else(Utc::now);
            // Its records may come late, or not at all: the folder is what counts.
            let recorded = self.setup.scheduler.recorded(&names, since).unwrap_or_default();
            self.recorded = recorded.into();
        }
        self.settle_intents(now, step)?;
        Ok(true)
    }

    /// Notes since when jobs are gone from the queue; whether any is whose attempt is not over.
    fn note_gone(&mut self, now: Duration) -> bool {
        let open = self.jobs().into_iter().filter(|(dir, _)| !self.over.contains_key(dir));
        let (there, missing): (Vec<JobOf>, Vec<JobOf>) =
            open.map(|(_, job)| job).partition(|job| self.find(&self.seen, job).is_some());
        for job in there {
            self.gone.remove(&(job.order, job.index));
        }
        for job in &missing {
            self.gone.entry((job.order, job.index)).or_insert(now);
        }
        !missing.is_empty()
    }

    /// The latest job of each attempt.
    fn jobs(&self) -> HashMap<String, JobOf> {
        let mut jobs = HashMap::new();
        for (order, it) in self.orders.iter().filter(|(_, it)| !is_withdrawn(it)) {
            for (index, element) in (0u32..).zip(&it.elements) {
                let job = JobOf { order: *order, index, after: element.after };
                jobs.insert(element.dir.clone(), job);
            }
        }
        jobs
    }

    /// The element of a list that is a job: by its name, since ids come back.
    fn find<'s>(&self, list: &'s Elements, job: &JobOf) -> Option<&'s Seen> {
        list.find(&self.orders.get(&job.order)?.name, job.index)
    }

    /// Whether a job waits in the queue, as the scheduler has just said.
    fn is_queued(&self, job: &JobOf) -> bool {
        let seen = self.find(&self.seen, job).filter(|_| !self.away);
        seen.is_some_and(|seen| seen.state == State::Waiting)
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
            Some(since) if now >= *since + self.setup.pace.settle => {
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
            let seen = self.seen.any(&order.name).or_else(|| self.recorded.any(&order.name));
            let seen = seen.map(|seen| seen.id.clone());
            if let Some(id) = seen.or_else(|| id_by_its_jobs(self.setup.group, order)) {
                step.told.push(format!("`{}` was taken as {id}", order.name));
                let submitted = Submitted { id, cluster: None };
                order.become_state(self.setup.group, number, OrderState::Submitted(submitted))?;
            } else if self
                .gone
                .get(&(number, 0))
                .is_some_and(|at| now >= *at + self.setup.pace.settle)
            {
                // A job of it that comes all the same finds this, and leaves.
                self.withdraw(number, "the scheduler had not heard of it", step)?;
            }
        }
        Ok(())
    }

    fn withdraw(&mut self, number: u32, why: &str, step: &mut Step) -> Result<(), CliError> {
        if let Some(order) = self.orders.get_mut(&number) {
            order.become_state(self.setup.group, number, OrderState::Withdrawn(why.to_owned()))?;
            step.told.push(format!("`{}` counts for nothing: {why}", order.name));
        }
        Ok(())
    }

    /// Hands over what is open, in arrays as large as the scheduler takes.
    fn hand_over(
        &mut self,
        open: &[(&PlannedAttempt, u32)],
        asked: bool,
        now: Duration,
        step: &mut Step,
    ) -> Result<(), CliError> {
        self.full_at = self.full_at.filter(|(_, since)| now < *since + ROOM_IS_KNOWN);
        // Where there was no room, only a fresh answer tells whether there is some now.
        if self.full_at.is_some() && !asked {
            return Ok(());
        }
        if open.is_empty() || self.away || stop::is_stopped(self.setup.group) {
            return Ok(());
        }
        let held = self.seen.all().len();
        let at_once = self.setup.plan.parallel.filter(|_| !self.setup.habits.throttles);
        // What has ended since has made room.
        let limits = [self.full_at.map(|(full_at, _)| full_at), at_once];
        let limit = limits.into_iter().flatten().min();
        let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(held));
        let mut by_gpus: BTreeMap<u32, Vec<Element>> = BTreeMap::new();
        for (attempt, last) in open {
            let gpus = gpus_of(self.setup.plan, attempt)?;
            let element = Element { dir: attempt.dir.clone(), after: *last };
            by_gpus.entry(gpus).or_default().push(element);
        }
        let largest = usize::try_from(self.setup.habits.largest_array).unwrap_or(usize::MAX).max(1);
        let (mut handed, mut most) = (0, largest);
        for (gpus, elements) in by_gpus {
            let mut rest = elements.as_slice();
            while !rest.is_empty() {
                let size = rest.len().min(most).min(room - handed);
                if size == 0 {
                    // How many there are now, only a fresh answer tells.
                    self.full_at = self.full_at.or(Some(((held + handed).max(1), now)));
                    return Ok(());
                }
                if self.setup.habits.is_asked_gently && !self.may_submit(now) {
                    step.is_paced = true;
                    return Ok(());
                }
                match self.submit(&rest[..size], gpus, step)? {
                    true => {
                        rest = &rest[size..];
                        handed += size;
                        if at_once.is_some() {
                            most = most.saturating_sub(size);
                        }
                    }
                    false if self.away => return Ok(()),
                    // Half of it may fit.
                    false if size > 1 => most = size / 2,
                    false => {
                        self.full_at = Some(((held + handed).max(1), now));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the scheduler may be asked once more to take jobs; counts that it is.
    fn may_submit(&mut self, now: Duration) -> bool {
        while self.submitted_at.front().is_some_and(|at| now >= *at + MINUTE) {
            self.submitted_at.pop_front();
        }
        let may = self.submitted_at.len() < SUBMISSIONS;
        if may {
            self.submitted_at.push_back(now);
        }
        may
    }

    /// Hands one array over; false if the scheduler has no room for it now, or did not answer.
    fn submit(
        &mut self,
        elements: &[Element],
        gpus: u32,
        step: &mut Step,
    ) -> Result<bool, CliError> {
        let resources = resources(self.setup.plan, gpus);
        let kill_wait = self.setup.habits.kill_wait;
        let kill_wait = kill_wait.unwrap_or(self.setup.plan.limits.grace + AFTER_THE_GRACE);
        let last = self.orders.keys().last().copied().unwrap_or(0);
        let (number, mut order) = Order::make(
            self.setup.group,
            &self.setup.remote.prefix,
            last,
            elements.to_vec(),
            resources,
            Some(kill_wait),
        )?;
        let request = request(
            self.setup.group,
            self.setup.plan,
            self.setup.remote,
            &order,
            number,
            self.setup.program,
        );
        let request = Request { excluded: self.dead_starts.excluded(), ..request };
        let taken = self.setup.scheduler.submit(&request);
        let result = match taken {
            Ok(submitted) => {
                step.handed.push((elements.len(), submitted.id.clone(), order.name.clone()));
                order.become_state(self.setup.group, number, OrderState::Submitted(submitted))?;
                step.waiting += elements.len();
                Ok(true)
            }
            Err(SubmitError::Full(why)) => {
                order.become_state(self.setup.group, number, OrderState::Withdrawn(why))?;
                Ok(false)
            }
            // Such jobs were taken before: nodes are missing, say, and come back.
            Err(SubmitError::Refused(why)) if self.has_been_taken() => {
                let left_out = match request.excluded.is_empty() {
                    true => String::new(),
                    false => format!(
                        " (`{}` are left out, since jobs on them never began; without `{}` they are used again)",
                        Vec::from_iter(request.excluded).join("`, `"),
                        dead::path(self.setup.group).display()
                    ),
                };
                step.told.push(format!("not handed over: {why}{left_out}; tried again later"));
                order.become_state(self.setup.group, number, OrderState::Withdrawn(why))?;
                Ok(false)
            }
            Err(SubmitError::Refused(why)) => {
                order.become_state(self.setup.group, number, OrderState::Withdrawn(why.clone()))?;
                Err(CliError::new(Exit::BadInput, SubmitError::Refused(why)).hint(format!(
                    "nothing of it was handed over; `medalist run --resume {}` tries again",
                    self.setup.group.root().display()
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
        crate::run::close_group(self.setup.group, self.setup.plan, &finished)?;
        order::forget_environment(self.setup.group)?;
        forget(self.setup.scheduler, &self.orders);
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

/// Has what a scheduler keeps of jobs that are over removed. What stays does no harm.
pub(super) fn forget(scheduler: &dyn Scheduler, orders: &BTreeMap<u32, Order>) {
    let names: Vec<String> = orders.values().map(|order| order.name.clone()).collect();
    if let Err(away) = scheduler.forget(&names) {
        tracing::debug!(%away, "jobs that are over stay");
    }
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
