//! What happened in a group and where it stands, from the events of all who ran it.
//!
//! A group is run by one harness, which keeps `events.jsonl` in the group's folder, or by many that
//! run an attempt each (`medalist attempt`), which keep one in the folder of each try. All are read
//! and merged by time.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_llm::ledger::read_leases;
use medalist_reports::record::{AttemptKey, OutcomeRecord, Phase};
use rayon::prelude::*;

use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_error, passed_over, read_plan};
use crate::attempt::outcome::LlmUsage;
use crate::attempt::plan::{Plan, PlannedAttempt};
use crate::attempt::text::chain;
use crate::host::files::{StoreError, read_json_if_there};
use crate::host::store::tries::{self, Standing};
use crate::host::store::{GroupDir, find};
use crate::run::events::{EventKind, GradeLine, RunEvent, RunStats};
use crate::run::recorded_totals;
use crate::run::sinks::jsonl;

/// An event of a group and who wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupEvent {
    /// Folder of the attempt whose own process wrote it; `None` for the harness of the group.
    pub attempt: Option<String>,
    /// What happened.
    pub event: RunEvent,
}

/// A group with everything that happened in it.
#[derive(Debug)]
pub struct GroupEvents {
    pub group: GroupDir,
    /// What was planned.
    pub plan: Plan,
    /// What happened, in the order of time.
    pub events: Vec<GroupEvent>,
}

/// Reads the events of a group: of the one that is named, or the newest.
///
/// # Errors
/// There is no such group, its files cannot be read, or nothing has happened in it yet.
pub fn read_events(group: Option<&Path>, context: &Context) -> Result<GroupEvents, CliError> {
    let (group, plan) = open(group, context)?;
    let events = events_of(&group, &plan.attempts.iter().collect::<Vec<_>>(), context)?;
    if events.is_empty() {
        must_have_begun(&group, &plan)?;
    }
    Ok(GroupEvents { group, plan, events })
}

/// Reads where a group stands: the one that is named, or the newest.
///
/// # Errors
/// As [`read_events`].
pub fn read_status(
    group: Option<&Path>,
    context: &Context,
) -> Result<(GroupDir, Plan, Status), CliError> {
    let (group, plan) = open(group, context)?;
    let on_disk: Vec<OnDisk> =
        plan.attempts.par_iter().map(|attempt| OnDisk::read(&group, &attempt.dir)).collect();
    // What has ended has written what counts of it, and the logs of long attempts are long.
    let open = plan.attempts.iter().zip(&on_disk).filter(|(_, it)| !it.is_told());
    let open: Vec<&PlannedAttempt> = open.map(|(attempt, _)| attempt).collect();
    let events = events_of(&group, &open, context)?;
    if events.is_empty() && open.len() == plan.attempts.len() {
        must_have_begun(&group, &plan)?;
    }
    let status = status(&group, &plan, &events, on_disk);
    Ok((group, plan, status))
}

fn open(group: Option<&Path>, context: &Context) -> Result<(GroupDir, Plan), CliError> {
    let found = match group {
        Some(group) => find::group(&context.runs_dir, group),
        None => find::newest_group(&context.runs_dir, &mut passed_over(context)),
    };
    let group = found.map_err(find_error)?;
    let plan = read_plan(&group)?;
    // Listed, so that folders which other machines have just made are found by their names.
    let _ = std::fs::read_dir(group.root()).map(Iterator::count);
    Ok((group, plan))
}

/// What happened in a group by its own log and those of some attempts, in the order of time.
fn events_of(
    group: &GroupDir,
    attempts: &[&PlannedAttempt],
    context: &Context,
) -> Result<Vec<GroupEvent>, CliError> {
    let read = |attempt: Option<&str>, path: PathBuf| match jsonl::read(&path) {
        Ok((events, damaged)) => {
            if damaged > 0 {
                let lines = if damaged == 1 { "line" } else { "lines" };
                context
                    .warn(format_args!("`{}`: {damaged} damaged {lines} skipped", path.display()));
            }
            let attempt = attempt.map(str::to_owned);
            let event = |event| GroupEvent { attempt: attempt.clone(), event };
            Ok(events.into_iter().map(event).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            let what = format!("cannot read `{}`", path.display());
            Err(CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what)))
        }
    };
    let of_attempt = |attempt: &&PlannedAttempt| {
        let dir = group.attempt(&attempt.dir);
        let numbers = tries::numbers(&dir).unwrap_or_default().into_iter();
        let of_tries = numbers.map(|number| dir.earlier_try(number).events());
        // An earlier version kept one log for all tries of such an attempt.
        let mut logs = std::iter::once(dir.events()).chain(of_tries);
        logs.try_fold(Vec::new(), |mut events, path| {
            events.extend(read(Some(&attempt.dir), path)?);
            Ok::<Vec<GroupEvent>, CliError>(events)
        })
    };
    let mut events: Vec<GroupEvent> = read(None, group.events())?;
    let of_attempts: Vec<Vec<GroupEvent>> =
        attempts.par_iter().map(of_attempt).collect::<Result<_, _>>()?;
    events.extend(of_attempts.into_iter().flatten());
    // Equal times keep the order of their log.
    events.sort_by_key(|event| event.event.at);
    Ok(events)
}

/// Refuses a group in which nothing can happen before somebody runs it.
fn must_have_begun(group: &GroupDir, plan: &Plan) -> Result<(), CliError> {
    if plan.on.is_some() || group.events().exists() {
        return Ok(());
    }
    let root = group.root().display();
    Err(CliError::message(Exit::BadInput, format_args!("nothing has happened in `{root}` yet"))
        .hint(format!("it is only planned; `medalist run --resume {root}` runs it")))
}

/// What is on disk of an attempt's end.
struct OnDisk {
    standing: Standing,
    /// The end, grade included, if it is there whole.
    end: Option<(OutcomeRecord, GradeLine)>,
    damaged: Vec<String>,
}

impl OnDisk {
    fn read(group: &GroupDir, dir: &str) -> Self {
        let dir = group.attempt(dir);
        let mut damaged = Vec::new();
        let standing = tries::standing(&dir).unwrap_or_else(|error| {
            damaged.push(chain(&error));
            Standing::Apart
        });
        let mut one = Self { standing, end: None, damaged: Vec::new() };
        let end = || -> Result<_, StoreError> {
            let outcome = tries::outcome_in(&dir.record())?;
            let grade = read_json_if_there::<GradeReport>(&dir.grade())?;
            // A try that was lost has nothing to be graded.
            let line = grade.as_ref().map(GradeLine::from);
            Ok(outcome.zip(line.or_else(|| one.has_ended().then(GradeLine::default))))
        };
        one.end = end().unwrap_or_else(|error| {
            damaged.push(chain(&error));
            None
        });
        one.damaged = damaged;
        one
    }

    fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_) | Standing::Final(_))
    }

    /// Whether no event can tell more.
    fn is_told(&self) -> bool {
        self.has_ended() && self.end.is_some()
    }
}

/// Where a group stands.
#[derive(Debug, Default)]
pub struct Status {
    /// Records that cannot be read, in words; what they would say is left out.
    pub damaged: Vec<String>,
    /// Counts of the whole group.
    pub stats: RunStats,
    /// What runs, as far as its events tell.
    pub running: BTreeMap<AttemptKey, RunningAttempt>,
    /// The last word on the group's calls of language models, if it may make any.
    pub llm: Option<LlmUsage>,
    /// Dollars that running attempts have leased of the group's budget and not spent.
    pub leased: f64,
}

/// What the last events say of an attempt that runs.
#[derive(Debug, Default)]
pub struct RunningAttempt {
    /// When its try began.
    pub since: DateTime<Utc>,
    /// Its time limit.
    pub timeout_s: f64,
    /// Where it is.
    pub phase: Phase,
    /// Memory and processors in use, once they were looked at.
    pub usage: Option<(u64, f64)>,
    /// Its calls of language models, if it may make any.
    pub llm: Option<LlmUsage>,
    /// The end of the last line that the agent printed.
    pub last_line: Shown,
}

/// Where a group stands: what its events say, and what is on disk of attempts whose end no event
/// tells, which a killed harness leaves.
fn status(group: &GroupDir, plan: &Plan, events: &[GroupEvent], on_disk: Vec<OnDisk>) -> Status {
    let mut finished: HashMap<&AttemptKey, (OutcomeRecord, GradeLine)> = HashMap::new();
    let mut running: BTreeMap<AttemptKey, RunningAttempt> = BTreeMap::new();
    let mut spent: Option<LlmUsage> = None;
    let keys: HashMap<&str, &AttemptKey> =
        plan.attempts.iter().map(|attempt| (attempt.dir.as_str(), &attempt.key)).collect();
    for GroupEvent { attempt, event } in events {
        match &event.kind {
            // A harness that begins again knows nothing of what the last one had running, and makes
            // again what a failing machine or a person ended.
            EventKind::GroupStarted { .. } => match attempt {
                None => {
                    running.clear();
                    finished.retain(|_, (outcome, _)| outcome.is_final());
                }
                Some(dir) => {
                    if let Some(key) = keys.get(dir.as_str()) {
                        running.remove(*key);
                        let is_final = finished.get(key).is_some_and(|it| it.0.is_final());
                        if !is_final {
                            finished.remove(key);
                        }
                    }
                }
            },
            EventKind::Started { key, timeout_s, .. } => {
                finished.remove(key);
                let attempt = RunningAttempt {
                    since: event.at,
                    timeout_s: *timeout_s,
                    ..RunningAttempt::default()
                };
                running.insert(key.clone(), attempt);
            }
            EventKind::Phase { key, phase } => {
                if let Some(known) = running.get_mut(key) {
                    known.phase.clone_from(phase);
                }
            }
            EventKind::Usage { key, memory_bytes, cpus, last_line, llm, .. } => {
                spent = llm.or(spent);
                if let Some(known) = running.get_mut(key) {
                    known.usage = Some((*memory_bytes, *cpus));
                    known.llm = *llm;
                    known.last_line.clone_from(last_line);
                }
            }
            EventKind::Finished { key, outcome, grade, .. } => {
                running.remove(key);
                finished.insert(key, (outcome.clone(), grade.clone()));
            }
            EventKind::TryFailed { .. }
            | EventKind::Snapshot { .. }
            | EventKind::Warning { .. }
            | EventKind::CancelBegan { .. }
            | EventKind::GroupFinished { .. } => {}
        }
    }
    let mut damaged = Vec::new();
    for (attempt, one) in plan.attempts.iter().zip(on_disk) {
        let has_ended = one.has_ended();
        damaged.extend(one.damaged);
        if has_ended {
            // A process that was lost has told no end.
            running.remove(&attempt.key);
        }
        match one.end {
            _ if matches!(one.standing, Standing::Claimed(_)) => {
                finished.remove(&attempt.key);
            }
            Some(end) if has_ended => drop(finished.insert(&attempt.key, end)),
            Some(end) if !running.contains_key(&attempt.key) => {
                finished.entry(&attempt.key).or_insert(end);
            }
            _ => {}
        }
    }
    let mut stats =
        RunStats { planned: plan.attempts.len(), running: running.len(), ..RunStats::default() };
    finished.values().for_each(|(outcome, grade)| stats.count(outcome, grade));
    let mut llm = spent.or_else(|| spent_on_disk(group, plan));
    let mut leased = 0.0;
    match read_leases(&group.llm_budget()) {
        Ok(Some((spent, held))) => {
            leased = held.money.dollars();
            if let Some(llm) = &mut llm {
                // A process knows what others have spent as of when it last leased something.
                llm.group_dollars = llm.group_dollars.max(spent.money.dollars());
            }
        }
        Ok(None) => {}
        Err(error) => damaged.push(error.to_string()),
    }
    Status { damaged, stats, running, llm, leased }
}

/// What the records of attempts say was spent on language models, where no event tells.
fn spent_on_disk(group: &GroupDir, plan: &Plan) -> Option<LlmUsage> {
    let settings = plan.llm.as_ref()?;
    let totals = recorded_totals(plan, group);
    let limit = settings.config().ok()?.budget.group.dollars;
    Some(LlmUsage {
        calls: totals.calls,
        group_dollars: totals.known_dollars(),
        group_dollars_limit: limit.map(medalist_llm::Picodollars::dollars),
        ..LlmUsage::default()
    })
}
