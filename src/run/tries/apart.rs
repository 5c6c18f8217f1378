//! Tries that are claimed against other processes: where this one begins, and what the tries before came
//! to.

use std::time::Duration;

use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, TryRecord};

use super::{Began, Tries, set_aside_last_try};
use crate::attempt::dir::AttemptDir;
use crate::host::files::{StoreError, read_json, read_json_if_there};
use crate::host::store::tries::{self as claims, Claimed, TryEnd};
use crate::run::apart::{Beat, First};
use crate::run::attempt_record::fresh_record;
use crate::run::dispatcher::RunError;
use crate::run::messages::{FinishedAttempt, StartPoint};

impl Tries {
    /// Makes the first claimed try this task's; nothing where tries are not claimed.
    pub(super) fn begin_apart(&mut self, begin: StartPoint) -> Result<Began, RunError> {
        let Some(apart) = self.apart.clone() else { return Ok(Began::At(begin)) };
        match (apart.first.filter(|_| self.run.only.is_some()), begin) {
            (Some(First::New(number)), begin) => {
                let work = self.dir.earlier_try(number);
                let own: Option<AttemptRecord> = read_json_if_there(&work.record())?;
                match own.filter(|record| record.outcome.is_some()) {
                    // It has ended already, and its GPUs were the reason: this is the next one.
                    Some(record) => {
                        (self.work, self.record) = (work, record);
                        self.next_claimed()?;
                    }
                    None => self.begin_try(number)?,
                }
                Ok(Began::At(begin))
            }
            (Some(First::Again(number) | First::Ungraded(number)), begin) => {
                self.take_over(number)?;
                Ok(Began::At(begin))
            }
            (None, begin) => match self.claim_next()? {
                Claimed::New(number) => {
                    self.begin_try(number)?;
                    Ok(Began::At(begin))
                }
                Claimed::Ungraded(number) => {
                    self.take_over(number)?;
                    Ok(Began::At(StartPoint::GradeOnly))
                }
                Claimed::Over => {
                    let record: AttemptRecord = read_json(&self.dir.record())?;
                    let grade: GradeReport = read_json(&self.dir.grade())?;
                    let outcome = record.outcome.unwrap_or_default();
                    let (dir, took) = (self.attempt.dir.clone(), Duration::ZERO);
                    let grade = (&grade).into();
                    Ok(Began::Over(Box::new(FinishedAttempt { dir, outcome, grade, took })))
                }
                Claimed::Elsewhere { who } => Err(self.elsewhere(who)),
            },
        }
    }

    fn claim_next(&self) -> Result<Claimed, StoreError> {
        match &self.apart {
            Some(apart) => apart.claim(&self.dir),
            None => Ok(Claimed::Over),
        }
    }

    pub(super) fn elsewhere(&self, who: String) -> RunError {
        RunError::Elsewhere { attempt: self.attempt.key.to_string(), who }
    }

    /// Goes on with the try of a process that is gone.
    fn take_over(&mut self, number: u32) -> Result<(), StoreError> {
        self.work = self.dir.earlier_try(number);
        let own: Option<AttemptRecord> = read_json_if_there(&self.work.record())?;
        self.record = own.unwrap_or_else(|| fresh_record(&self.run, &self.attempt));
        self.beat = Some(Beat::start(self.work.clone()));
        Ok(())
    }

    /// Begins a claimed try: writes down that it does, and what the tries before it came to.
    fn begin_try(&mut self, number: u32) -> Result<(), StoreError> {
        self.work = self.dir.earlier_try(number);
        self.beat = Some(Beat::start(self.work.clone()));
        let mut record = fresh_record(&self.run, &self.attempt);
        record.tries = earlier_records(&self.dir, number)?;
        record.started_at = record.tries.iter().find_map(|one| one.started_at);
        self.record = record;
        // What a harness of the whole group has left in the attempt's folder is its last try's.
        if let Some(left) = read_json_if_there::<AttemptRecord>(&self.dir.record())? {
            set_aside_last_try(&self.dir, &left)?;
        }
        self.push_try(number)
    }

    /// Ends the claimed try that is over and claims the next one.
    pub(super) fn next_claimed(&mut self) -> Result<(), RunError> {
        let Some(last) = self.record.tries.last() else { return Ok(()) };
        if !claims::end(&self.dir, last.number, &TryEnd::Itself)? {
            return Err(self.elsewhere("a later try has begun".to_owned()));
        }
        match self.claim_next()? {
            Claimed::New(number) => Ok(self.begin_try(number)?),
            Claimed::Elsewhere { who } => Err(self.elsewhere(who)),
            Claimed::Over | Claimed::Ungraded(_) => Err(self.elsewhere("it is over".to_owned())),
        }
    }
}

/// What the tries before `number` came to, from their folders.
pub(in crate::run) fn earlier_records(
    dir: &AttemptDir,
    number: u32,
) -> Result<Vec<TryRecord>, StoreError> {
    let mut records = Vec::new();
    // Those of a harness of the whole group are in the attempt's own record.
    let own: Option<AttemptRecord> = read_json_if_there(&dir.record())?;
    let own = own.map(|record| record.tries).unwrap_or_default();
    for earlier in claims::numbers(dir)?.into_iter().filter(|earlier| *earlier < number) {
        let found = claims::state(dir, earlier)?;
        if found.end == Some(TryEnd::Withdrawn) {
            continue;
        }
        let folder: Option<AttemptRecord> =
            read_json_if_there(&dir.earlier_try(earlier).record()).unwrap_or_default();
        let told = folder.map(|record| record.tries).unwrap_or_default();
        let is_it = |one: &TryRecord| one.number == earlier;
        let told =
            told.into_iter().find(is_it).or_else(|| own.iter().find(|one| is_it(one)).cloned());
        let mut record = told.unwrap_or_else(|| TryRecord {
            number: earlier,
            started_at: found.claim.as_ref().map(|claim| claim.started_at),
            node: found.claim.as_ref().map(claims::Claim::place),
            ..TryRecord::default()
        });
        if let Some(TryEnd::Superseded { outcome, .. } | TryEnd::Lost { outcome }) = found.end {
            record.outcome = Some(outcome);
        }
        records.push(record);
    }
    for one in own.into_iter().filter(|one| one.number < number) {
        if !records.iter().any(|known| known.number == one.number) {
            records.push(one);
        }
    }
    records.sort_by_key(|one| one.number);
    Ok(records)
}
