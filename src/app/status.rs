//! What happened in a group and where it stands, from the events of all who ran it.
//!
//! A group is run by one harness, which keeps `events.jsonl` in the group's folder, or by many that
//! run an attempt each (`medalist attempt`), which keep one in the folder of each try. All are read
//! and merged by time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_llm::ledger::read_leases;
use medalist_reports::record::{AttemptKey, AttemptRecord, OutcomeRecord, Phase};

use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_error, passed_over, read_plan};
use crate::attempt::outcome::LlmUsage;
use crate::attempt::plan::Plan;
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
    let found = match group {
        Some(group) => find::group(&context.runs_dir, group),
        None => find::newest_group(&context.runs_dir, &mut passed_over(context)),
    };
    let group = found.map_err(find_error)?;
    let plan = read_plan(&group)?;
    let mut logs: Vec<(Option<String>, PathBuf)> = vec![(None, group.events())];
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        let numbers = tries::numbers(&dir).unwrap_or_default().into_iter();
        let of_tries = numbers.map(|number| dir.earlier_try(number).events());
        // An earlier version kept one log for all tries of such an attempt.
        let logs_of_it = std::iter::once(dir.events()).chain(of_tries);
        logs.extend(logs_of_it.map(|path| (Some(attempt.dir.clone()), path)));
    }
    logs.retain(|(_, path)| path.exists());
    if logs.is_empty() && plan.on.is_none() {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!("nothing has happened in `{}` yet", group.root().display()),
        )
        .hint(format!(
            "it is only planned; `medalist run --resume {}` runs it",
            group.root().display()
        )));
    }
    let mut events = Vec::new();
    for (attempt, path) in logs {
        let (read, damaged) = jsonl::read(&path).map_err(|error| {
            let what = format!("cannot read `{}`", path.display());
            CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what))
        })?;
        if damaged > 0 {
            let lines = if damaged == 1 { "line" } else { "lines" };
            context.warn(format_args!("`{}`: {damaged} damaged {lines} skipped", path.display()));
        }
        let read = read.into_iter().map(|event| GroupEvent { attempt: attempt.clone(), event });
        events.extend(read);
    }
    // Equal times keep the order of their log.
    events.sort_by_key(|event| event.event.at);
    Ok(GroupEvents { group, plan, events })
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

impl GroupEvents {
    /// Where the group stands: what its events say, and what is on disk of attempts whose end no
    /// event tells, which a killed harness leaves.
    pub fn status(&self) -> Status {
        let mut finished: BTreeMap<AttemptKey, (OutcomeRecord, GradeLine)> = BTreeMap::new();
        let mut running: BTreeMap<AttemptKey, RunningAttempt> = BTreeMap::new();
        let mut spent: Option<LlmUsage> = None;
        for GroupEvent { attempt, event } in &self.events {
            match &event.kind {
                EventKind::GroupStarted { .. } => {
                    // A harness that begins again knows nothing of what the last one had running,
                    // and makes again what a failing machine or a person ended.
                    let of_it = self.keys_of(attempt.as_deref());
                    running.retain(|key, _| !of_it.contains(key));
                    finished.retain(|key, (outcome, _)| outcome.is_final() || !of_it.contains(key));
                }
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
                    finished.insert(key.clone(), (outcome.clone(), grade.clone()));
                }
                EventKind::TryFailed { .. }
                | EventKind::Snapshot { .. }
                | EventKind::Warning { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::GroupFinished { .. } => {}
            }
        }
        let mut damaged = Vec::new();
        for attempt in &self.plan.attempts {
            let standing = tries::standing(&self.group.attempt(&attempt.dir));
            let standing = standing.unwrap_or_else(|error| {
                damaged.push(chain(&error));
                Standing::Apart
            });
            let has_ended = matches!(standing, Standing::Ended(_) | Standing::Final(_));
            if has_ended {
                // A process that was lost has told no end.
                running.remove(&attempt.key);
            }
            match self.ended_on_disk(&attempt.dir, has_ended) {
                Ok(_) if matches!(standing, Standing::Claimed(_)) => {
                    finished.remove(&attempt.key);
                }
                Ok(Some(end)) if has_ended => drop(finished.insert(attempt.key.clone(), end)),
                Ok(Some(end)) if !running.contains_key(&attempt.key) => {
                    finished.entry(attempt.key.clone()).or_insert(end);
                }
                Ok(_) => {}
                Err(error) => damaged.push(chain(&error)),
            }
        }
        let mut stats = RunStats {
            planned: self.plan.attempts.len(),
            running: running.len(),
            ..RunStats::default()
        };
        finished.values().for_each(|(outcome, grade)| stats.count(outcome, grade));
        let mut llm = spent.or_else(|| self.spent_on_disk());
        let mut leased = 0.0;
        match read_leases(&self.group.llm_budget()) {
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
    fn spent_on_disk(&self) -> Option<LlmUsage> {
        let settings = self.plan.llm.as_ref()?;
        let totals = recorded_totals(&self.plan, &self.group);
        let limit = settings.config().ok()?.budget.group.dollars;
        Some(LlmUsage {
            calls: totals.calls,
            group_dollars: totals.known_dollars(),
            group_dollars_limit: limit.map(medalist_llm::Picodollars::dollars),
            ..LlmUsage::default()
        })
    }

    /// The attempts that a log is about: one, or all.
    fn keys_of(&self, dir: Option<&str>) -> BTreeSet<AttemptKey> {
        let attempts = self.plan.attempts.iter();
        let of_it = attempts.filter(|attempt| dir.is_none_or(|dir| attempt.dir == dir));
        of_it.map(|attempt| attempt.key.clone()).collect()
    }

    /// The end of an attempt that is on disk whole, grade included.
    fn ended_on_disk(
        &self,
        dir: &str,
        has_ended: bool,
    ) -> Result<Option<(OutcomeRecord, GradeLine)>, StoreError> {
        let dir = self.group.attempt(dir);
        let record = read_json_if_there::<AttemptRecord>(&dir.record())?;
        let grade = read_json_if_there::<GradeReport>(&dir.grade())?;
        let outcome = record.and_then(|record| record.outcome);
        // A try that was lost has nothing to be graded.
        let line =
            grade.as_ref().map(GradeLine::from).or_else(|| has_ended.then(GradeLine::default));
        Ok(outcome.zip(line))
    }
}
