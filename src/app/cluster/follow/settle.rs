//! What is done of attempts whose jobs are over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, OutcomeKind, OutcomeRecord};

use super::{Follower, JobOf, Step, is_withdrawn, number_of};
use crate::app::cluster::decide::Verdict;
use crate::app::cluster::{dead, order};
use crate::app::error::CliError;
use crate::attempt::dir::AttemptDir;
use crate::attempt::outcome::{CancelReason, Outcome};
use crate::attempt::plan::PlannedAttempt;
use crate::host::files::read_json_if_there;
use crate::host::scheduler::{Over, State};
use crate::host::store::tries::{self, Claimed, Standing, TryState};
use crate::run::events::GradeLine;
use crate::run::{record_of_lost, stop};

/// How much of what a job printed is told where it left nothing else.
const SAID_BYTES: usize = 400;

impl Follower<'_> {
    /// Does what a verdict asks for; the number of the last try if the attempt is to be handed over again.
    pub(super) fn act(
        &mut self,
        found: Verdict,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        job: JobOf,
        asked: bool,
        step: &mut Step,
    ) -> Result<Option<u32>, CliError> {
        match found {
            Verdict::Waits => step.waiting += 1,
            Verdict::Runs => step.stats.running += 1,
            Verdict::Final => {
                if let Standing::Final(_) = tries::standing(dir)? {
                    self.finish(attempt, dir, step)?;
                }
            }
            Verdict::Ended(one) => return self.ended(attempt, dir, &one, job, step),
            // Only what the scheduler has just said decides over a try.
            Verdict::Lost { .. } | Verdict::NeverBegan { .. } | Verdict::Unheard if !asked => {
                step.waiting += 1;
            }
            // Its agent's files are here; the next job finds that, and only grades them.
            Verdict::Lost { number, .. } if tries::is_collected(dir, number)? => {
                return Ok(Some(number));
            }
            Verdict::Lost { number, outcome, again } => {
                if !again {
                    self.held.insert(attempt.dir.clone());
                }
                self.settle(attempt, dir, number, outcome, None, step)?;
                if let Standing::Ended(one) = tries::standing(dir)? {
                    return self.ended(attempt, dir, &one, job, step);
                }
                step.waiting += 1;
            }
            Verdict::NeverBegan { why, node, again } => {
                return self.never_began(attempt, dir, job, (why, node, again), step);
            }
            Verdict::Unheard => return self.unheard(attempt, dir, job, step),
        }
        Ok(None)
    }

    /// Writes down the end of a try whose maker is gone.
    fn settle(
        &self,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        number: u32,
        outcome: OutcomeRecord,
        node: Option<String>,
        step: &mut Step,
    ) -> Result<(), CliError> {
        let record = || record_of_lost(self.setup.plan, attempt, dir, number, node.clone());
        // The agent had all of its time, and what it last saved is its submission.
        let grade = match outcome.kind {
            OutcomeKind::TimedOut => self.grade_last_snapshot(attempt, &dir.earlier_try(number)),
            _ => None,
        };
        let detail =
            outcome.detail.as_ref().map_or(outcome.kind.as_str(), |detail| detail.as_str());
        step.told.push(format!("{}: try {number}: {detail}", attempt.key));
        tries::settle(dir, number, outcome, &record, grade.as_ref())?;
        Ok(())
    }

    fn grade_last_snapshot(
        &self,
        attempt: &PlannedAttempt,
        work: &AttemptDir,
    ) -> Option<GradeReport> {
        let snapshots = std::fs::read_dir(work.snapshots()).into_iter().flatten().flatten();
        let snapshots = snapshots.map(|entry| entry.path());
        let last = snapshots.filter(|path| path.extension().is_some_and(|end| end == "csv")).max();
        let path = last.unwrap_or_else(|| work.submission());
        self.setup.judge.grade(&attempt.key.competition, &path).ok()
    }

    /// A job that is over, and no try of which has begun.
    fn never_began(
        &mut self,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        job: JobOf,
        (why, node, again): (String, String, bool),
        step: &mut Step,
    ) -> Result<Option<u32>, CliError> {
        if let Some(order) = self.orders.get(&job.order).filter(|_| !node.is_empty() && again) {
            let one = format!("{}_{}", order.name, job.index);
            if self.dead_starts.note(self.setup.group, &node, one)? {
                step.told.push(format!(
                    "{} jobs on `{node}` ended before they began; it is left out from now on, as long as `{}` is there",
                    dead::LIMIT,
                    dead::path(self.setup.group).display()
                ));
            }
        }
        if !again {
            self.held.insert(attempt.dir.clone());
        }
        // What it waits for may still come; the attempt is made by another job then.
        if let Some(seen) = self.find(&self.recorded, &job)
            && matches!(seen.state, State::Over(Over::Stuck(_)))
            && let Err(away) = self.setup.scheduler.cancel(&[(seen.id.clone(), job.index)], false)
        {
            step.told.push(format!("{away}"));
        }
        let said = self.last_words(job, &node);
        let outcome = match again {
            true => Outcome::SetupFailed {
                cause: format!("its job ended before the attempt began: {why}{said}"),
            },
            false if stop::is_asked(self.setup.group, &attempt.dir) => {
                let reason = CancelReason::Stopped;
                Outcome::Cancelled { reason }
            }
            false => Outcome::NodeLost { cause: why },
        };
        let gone = |_: &TryState| Ok("its job is over".to_owned());
        match tries::claim(dir, &self.us, &gone)? {
            Claimed::New(number) => {
                let node = (!node.is_empty()).then_some(node);
                self.settle(attempt, dir, number, outcome.record(), node, step)?;
            }
            // An earlier try has all but its grade, which another job is to give.
            Claimed::Ungraded(number) => return Ok(Some(number)),
            Claimed::Over | Claimed::Elsewhere { .. } => {}
        }
        match tries::standing(dir)? {
            Standing::Ended(one) => self.ended(attempt, dir, &one, job, step),
            _ => Ok(None),
        }
    }

    /// A job of which nobody knows anything. If that is so of all jobs of its order, the scheduler has lost
    /// the order.
    fn unheard(
        &mut self,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        job: JobOf,
        step: &mut Step,
    ) -> Result<Option<u32>, CliError> {
        let Some(order) = self.orders.get(&job.order) else { return Ok(None) };
        // Another job of it has told so a moment ago.
        if !is_withdrawn(order) {
            let name = &order.name;
            let is_known = self.seen.any(name).or_else(|| self.recorded.any(name)).is_some()
                || self.printed.contains(&job.order)
                || order::has_printed(self.setup.group, order);
            if is_known {
                self.printed.insert(job.order);
                let why = "its job is gone from the queue".to_owned();
                return self.never_began(attempt, dir, job, (why, String::new(), true), step);
            }
            self.withdraw(job.order, "the scheduler knows nothing of it", step)?;
        }
        Ok(Some(number_of(&tries::standing(dir)?)))
    }

    /// The end of what a job on `node` printed, where it has left nothing else.
    fn last_words(&self, job: JobOf, node: &str) -> String {
        let Some(order) = self.orders.get(&job.order) else { return String::new() };
        let Ok(bytes) = std::fs::read(order::output(self.setup.group, &order.name, job.index))
        else {
            return match node {
                "" => String::new(),
                node => {
                    format!("; nothing that it printed is here: does `{node}` see this folder?")
                }
            };
        };
        let tail = &bytes[bytes.len().saturating_sub(SAID_BYTES)..];
        let text = String::from_utf8_lossy(tail);
        match text.trim() {
            "" => String::new(),
            text => format!("; it said last: {text}"),
        }
    }

    /// A try that ended and is not the attempt's end: again, or not.
    fn ended(
        &mut self,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        one: &TryState,
        job: JobOf,
        step: &mut Step,
    ) -> Result<Option<u32>, CliError> {
        tries::publish(dir)?;
        let record: Option<AttemptRecord> = read_json_if_there(&dir.record())?;
        let outcome = record.as_ref().and_then(|record| record.outcome.clone()).unwrap_or_default();
        // A new follower makes again what an earlier one was done with.
        let is_of_before = job.order < self.first_order;
        let cancelled = outcome.kind == OutcomeKind::Cancelled
            || self.held.contains(&attempt.dir)
            || matches!(
                self.find(&self.recorded, &job).map(|seen| &seen.state),
                Some(State::Over(Over::Cancelled(_)))
            );
        let failed = record.iter().flat_map(|record| &record.tries);
        let failed = failed
            .filter(|one| one.outcome.as_ref().is_some_and(|outcome| outcome.infrastructure))
            .count();
        let may_try = u32::try_from(failed).unwrap_or(u32::MAX) <= self.setup.plan.retries;
        if is_of_before || (!cancelled && may_try) {
            return Ok(Some(one.number));
        }
        self.finish(attempt, dir, step)?;
        Ok(None)
    }

    /// Counts an attempt that is over for this follower.
    pub(super) fn finish(
        &mut self,
        attempt: &PlannedAttempt,
        dir: &AttemptDir,
        step: &mut Step,
    ) -> Result<(), CliError> {
        tries::publish(dir)?;
        let record: Option<AttemptRecord> = read_json_if_there(&dir.record())?;
        let grade: Option<GradeReport> = read_json_if_there(&dir.grade())?;
        let outcome = record.and_then(|record| record.outcome).unwrap_or_default();
        let grade = grade.as_ref().map(GradeLine::from).unwrap_or_default();
        step.told.push(format!(
            "{}: {}, {grade}",
            attempt.key,
            crate::run::sinks::describe(&outcome)
        ));
        self.over.insert(attempt.dir.clone(), (outcome, grade));
        Ok(())
    }

    /// How long the agent of a try had run when the try was last heard of, if its own time was over then.
    pub(super) fn overtime(&self, dir: &AttemptDir, number: u32) -> Option<Duration> {
        let work = dir.earlier_try(number);
        let record: Option<AttemptRecord> = read_json_if_there(&work.record()).unwrap_or_default();
        let began = record?.tries.last()?.started_at?;
        let beaten: DateTime<Utc> = work.beat().metadata().ok()?.modified().ok()?.into();
        let ran = (beaten - began).to_std().ok()?;
        (ran >= self.setup.plan.limits.timeout).then_some(ran)
    }
}
