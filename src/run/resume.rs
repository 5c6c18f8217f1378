//! What a run directory says about a plan: which attempts are over, which run, which have not
//! begun.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptKey, AttemptRecord, OutcomeRecord};

use super::apart::First;
use super::dispatcher::Run;
use super::messages::{FinishedAttempt, StartPoint};
use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::PlannedAttempt;
use crate::attempt::text::chain;
use crate::host::files::{StoreError, read_json, read_json_if_there};
use crate::host::store::tries::{self, Standing};
use crate::sandbox::{Orphan, RunToken};

/// Where every attempt of a group is.
#[derive(Debug)]
pub(super) struct GroupState {
    /// Over and graded.
    pub(super) finished: Vec<FinishedAttempt>,
    /// Still to be done, those that run already first.
    pub(super) open: Vec<(Arc<PlannedAttempt>, StartPoint)>,
    /// Attempts whose record cannot be read: what became of them is unknown, and making them again
    /// would put something else in its place. Each with what is wrong.
    pub(super) damaged: Vec<(AttemptKey, String)>,
    /// Attempts that are graded again, since their grade cannot be read; each with what is wrong.
    pub(super) regraded: Vec<(AttemptKey, String)>,
    /// Containers of attempts whose end is on disk already.
    pub(super) stale_containers: Vec<RunToken>,
    /// Events in the log.
    pub(super) events_so_far: u64,
}

/// Reads the run directory and joins it with what the executor still has.
///
/// A token on disk says that an attempt was started, but the container itself is the better
/// witness: it carries the attempt's name from its creation on, so that a harness killed between
/// creating and writing still finds it.
pub(super) fn group_state(run: &Run, orphans: &[Orphan]) -> GroupState {
    let (group, plan) = (&run.group, &run.plan);
    let by_name: BTreeMap<&str, &RunToken> =
        orphans.iter().map(|orphan| (orphan.token.name.as_str(), &orphan.token)).collect();
    let mut state = GroupState {
        finished: Vec::new(),
        open: Vec::new(),
        damaged: Vec::new(),
        regraded: Vec::new(),
        stale_containers: Vec::new(),
        events_so_far: 0,
    };
    let (mut running, mut fresh) = (Vec::new(), Vec::new());
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        let token = by_name.get(attempt.dir.as_str()).map(|token| (*token).clone());
        match apart_state(run, attempt, &dir, token) {
            Ok(None) => {}
            Ok(Some(Separate { begin, stale, finished })) => {
                state.stale_containers.extend(stale);
                state.finished.extend(finished);
                match begin {
                    Some(StartPoint::Fresh) => {
                        fresh.push((Arc::new(attempt.clone()), StartPoint::Fresh));
                    }
                    Some(begin) => running.push((Arc::new(attempt.clone()), begin)),
                    None => {}
                }
                continue;
            }
            Err(error) => {
                state.damaged.push((attempt.key.clone(), chain(&error)));
                continue;
            }
        }
        let record = match read_json_if_there::<AttemptRecord>(&dir.record()) {
            Ok(record) => record,
            Err(error) => {
                state.damaged.push((attempt.key.clone(), chain(&error)));
                continue;
            }
        };
        let outcome = record.as_ref().and_then(|record| record.outcome.clone());
        let is_final = outcome.as_ref().is_some_and(OutcomeRecord::is_final);
        let token = by_name.get(attempt.dir.as_str()).map(|token| (*token).clone());
        let last_try_ended = record
            .as_ref()
            .and_then(|record| record.tries.last())
            .is_some_and(|last| last.outcome.is_some());
        match (is_final, outcome, token) {
            (true, Some(outcome), token) => {
                state.stale_containers.extend(token);
                let grade = read_json_if_there::<GradeReport>(&dir.grade());
                let grade = grade.unwrap_or_else(|error| {
                    state.regraded.push((attempt.key.clone(), chain(&error)));
                    None
                });
                match grade {
                    Some(report) => state.finished.push(FinishedAttempt {
                        dir: attempt.dir.clone(),
                        outcome,
                        grade: (&report).into(),
                        took: Duration::ZERO,
                    }),
                    None => running.push((Arc::new(attempt.clone()), StartPoint::GradeOnly)),
                }
            }
            // Its end was written down and its container not removed. That end was no final one: again.
            (_, _, Some(token)) if last_try_ended => {
                state.stale_containers.push(token);
                fresh.push((Arc::new(attempt.clone()), StartPoint::Fresh));
            }
            (_, _, Some(token)) => {
                let last = record.as_ref().and_then(|record| record.tries.last());
                let gpus = last.map(|last| last.gpus.iter().map(|gpu| gpu.uuid.clone()).collect());
                running.push((
                    Arc::new(attempt.clone()),
                    StartPoint::Reattach { token, gpus: gpus.unwrap_or_default() },
                ));
            }
            (_, _, None) => fresh.push((Arc::new(attempt.clone()), StartPoint::Fresh)),
        }
    }
    state.open = running;
    state.open.append(&mut fresh);
    // Lines and not events: a damaged line had a number as well.
    state.events_so_far = std::fs::read(run.events())
        .map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count() as u64);
    state
}

/// What is to be done of an attempt whose tries processes of their own make.
struct Separate {
    /// How it begins, if it is not over.
    begin: Option<StartPoint>,
    /// A container that no try of this run takes up.
    stale: Option<RunToken>,
    /// How it is over.
    finished: Option<FinishedAttempt>,
}

/// Where an attempt stands by its tries; `None` if no process of its own makes or has made any.
fn apart_state(
    run: &Run,
    attempt: &PlannedAttempt,
    dir: &AttemptDir,
    token: Option<RunToken>,
) -> Result<Option<Separate>, StoreError> {
    let Some(apart) = &run.apart else { return Ok(None) };
    let begins = |begin, stale| Some(Separate { begin: Some(begin), stale, finished: None });
    match (run.only.is_some(), apart.first) {
        (true, Some(First::New(_))) => return Ok(begins(StartPoint::Fresh, token)),
        (true, Some(First::Ungraded(_))) => return Ok(begins(StartPoint::GradeOnly, token)),
        (true, Some(First::Again(number))) => {
            let Some(token) = token else { return Ok(begins(StartPoint::Fresh, None)) };
            let record: Option<AttemptRecord> =
                read_json_if_there(&dir.earlier_try(number).record())?;
            let last = record.as_ref().and_then(|record| record.tries.last());
            let gpus = last.map(|last| last.gpus.iter().map(|gpu| gpu.uuid.clone()).collect());
            let gpus = gpus.unwrap_or_default();
            return Ok(begins(StartPoint::Reattach { token, gpus }, None));
        }
        _ => {}
    }
    match tries::standing(dir)? {
        Standing::Apart => Ok(None),
        Standing::Claimed(_) | Standing::Ended(_) => Ok(begins(StartPoint::Fresh, token)),
        Standing::Final(_) => {
            tries::publish(dir)?;
            let record: AttemptRecord = read_json(&dir.record())?;
            let grade: GradeReport = read_json(&dir.grade())?;
            let finished = FinishedAttempt {
                dir: attempt.dir.clone(),
                outcome: record.outcome.unwrap_or_default(),
                grade: (&grade).into(),
                took: Duration::ZERO,
            };
            Ok(Some(Separate { begin: None, stale: token, finished: Some(finished) }))
        }
    }
}
