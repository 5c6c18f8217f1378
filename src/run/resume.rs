//! What a run directory says about a plan: which attempts are over, which run, which have not
//! begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, OutcomeKind};

use super::dispatcher::{Over, Run};
use super::tries::{Begin, grade_line};
use crate::attempt::plan::PlannedAttempt;
use crate::host::store::{StoreError, read_json_if_there};
use crate::sandbox::{Orphan, RunToken};

/// Where every attempt of a plan stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// Over and graded.
    pub(super) over: Vec<Over>,
    /// Still to be done, those that run already first.
    pub(super) open: Vec<(Arc<PlannedAttempt>, Begin)>,
    /// Containers of attempts whose end is on disk already.
    pub(super) leftovers: Vec<RunToken>,
    /// Events in the log.
    pub(super) events_so_far: u64,
}

/// Reads the run directory and joins it with what the executor still has.
///
/// A token on disk says that an attempt was started, but the container itself is the better
/// witness: it carries the attempt's name from its creation on, so that a harness killed between
/// creating and writing still finds it.
pub(super) fn standing(run: &Run, orphans: &[Orphan]) -> Result<Standing, StoreError> {
    let (group, plan) = (&run.group, &run.plan);
    let by_name: BTreeMap<&str, &RunToken> =
        orphans.iter().map(|orphan| (orphan.token.name.as_str(), &orphan.token)).collect();
    let mut standing =
        Standing { over: Vec::new(), open: Vec::new(), leftovers: Vec::new(), events_so_far: 0 };
    let (mut running, mut fresh) = (Vec::new(), Vec::new());
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        let record = read_json_if_there::<AttemptRecord>(&dir.record())?;
        let outcome = record.as_ref().and_then(|record| record.outcome.clone());
        // What a failing machine or an impatient user ended is made again.
        let is_final = outcome.as_ref().is_some_and(|outcome| {
            !outcome.infrastructure && outcome.kind != OutcomeKind::Cancelled
        });
        let token = by_name.get(attempt.dir.as_str()).map(|token| (*token).clone());
        let last_try_ended = record
            .as_ref()
            .and_then(|record| record.tries.last())
            .is_some_and(|last| last.outcome.is_some());
        match (is_final, outcome, token) {
            (true, Some(outcome), token) => {
                standing.leftovers.extend(token);
                match read_json_if_there::<GradeReport>(&dir.grade())? {
                    Some(report) => {
                        standing.over.push((attempt.dir.clone(), outcome, grade_line(&report)))
                    }
                    None => running.push((Arc::new(attempt.clone()), Begin::Grade)),
                }
            }
            (_, _, Some(token)) if last_try_ended => {
                standing.leftovers.push(token);
                fresh.push((Arc::new(attempt.clone()), Begin::Fresh));
            }
            (_, _, Some(token)) => {
                let last = record.as_ref().and_then(|record| record.tries.last());
                let cards = last.map(|last| last.gpus.iter().map(|gpu| gpu.uuid.clone()).collect());
                running.push((
                    Arc::new(attempt.clone()),
                    Begin::Attach(token, cards.unwrap_or_default()),
                ));
            }
            (_, _, None) => fresh.push((Arc::new(attempt.clone()), Begin::Fresh)),
        }
    }
    standing.open = running;
    standing.open.append(&mut fresh);
    standing.events_so_far = std::fs::read(run.events())
        .map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count() as u64);
    Ok(standing)
}
