//! What attempts had reached after part of their time: by then, the last valid snapshot of the
//! submission is the submission.

use std::time::Duration;

use medalist_grading::Direction;

use crate::attempt::{Attempt, Ending, Grade};
use crate::read::{CompetitionSource, Reading, Warning};
use crate::record::{AttemptRecord, OutcomeKind, OutcomeRecord, SnapshotRecord};
use crate::text;

/// How an attempt stood at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stood {
    /// It had ended, or had no more time than that.
    Over,
    /// It ran on, and snapshots say what its submission was.
    Cut,
    /// It ran on, or for an unknown time, and no snapshot was taken.
    Unknown,
}

impl Reading {
    /// The same attempts as they stood `after` the start of each agent, by wall-clock time.
    ///
    /// An attempt that ran on has the grade of its last valid snapshot by then, or none if no snapshot
    /// was valid; its cost and its usage are left out, since they are those of the whole attempt. One
    /// that ran on without snapshots counts as unfinished. What was done is among the warnings.
    pub fn at(&self, after: Duration, source: &dyn CompetitionSource) -> Self {
        let mut cut = self.clone();
        let limit_s = after.as_secs_f64();
        let at = text::duration(Some(limit_s));
        let mut counts = [0_usize; 3];
        for attempt in cut.groups.iter_mut().flat_map(|group| &mut group.attempts) {
            let stood = stood(attempt, limit_s);
            counts[stood as usize] += 1;
            match stood {
                Stood::Over => {}
                Stood::Cut => shorten(attempt, limit_s, source),
                Stood::Unknown => attempt.forget(),
            }
        }
        let [over, snapshots, unknown] = counts;
        let mut warn = |count: usize, message: String| {
            let path = match cut.groups.as_slice() {
                [group] => group.path.clone(),
                groups => format!("{} run groups", groups.len()).into(),
            };
            if count > 0 {
                cut.warnings.push(Warning { path, message });
            }
        };
        warn(
            snapshots,
            format!(
                "at {at}, attempts that were over by then and count by their submission: {over}; that ran on and count by their last valid snapshot, without \
                 their cost and usage: {snapshots}"
            ),
        );
        warn(
            unknown,
            format!(
                "at {at}, attempts of which nothing is known, since no snapshot was taken or their time was not recorded, and which count as unfinished: \
                 {unknown}"
            ),
        );
        cut
    }
}

fn stood(attempt: &Attempt, limit_s: f64) -> Stood {
    if matches!(attempt.ending, Ending::Unfinished) {
        return Stood::Over;
    }
    let Some(record) = attempt.record.as_deref() else { return Stood::Unknown };
    // An attempt that had no more time than that may have saved its work a little later.
    let had = record.conditions.limits.time_s.is_some_and(|time_s| time_s <= limit_s);
    match record.took_s {
        _ if had => Stood::Over,
        Some(took_s) if took_s <= limit_s => Stood::Over,
        Some(_) if !record.snapshots.is_empty() => Stood::Cut,
        _ => Stood::Unknown,
    }
}

fn shorten(attempt: &mut Attempt, limit_s: f64, source: &dyn CompetitionSource) {
    let Some(record) = attempt.record.as_deref_mut() else { return };
    record.snapshots.retain(|snapshot| snapshot.after_s <= limit_s);
    record.took_s = Some(limit_s);
    record.llm = None;
    record.usage = AttemptRecord::default().usage;
    let last = record.snapshots.iter().filter(|one| one.valid && one.score.is_some());
    let last = last.max_by(|a, b| a.after_s.total_cmp(&b.after_s)).cloned();
    let has_any = !record.snapshots.is_empty();
    attempt.grade = grade(&attempt.grade, last.as_ref(), has_any, |score| {
        source.percentile(&attempt.key.competition, score)
    });
    let detail = last.map(|last| {
        format!("its last valid snapshot, after {}", text::duration(Some(last.after_s)))
    });
    attempt.ending = Ending::Ended(OutcomeRecord {
        kind: OutcomeKind::TimedOut,
        detail: detail.map(Into::into),
        ..OutcomeRecord::default()
    });
}

/// The grade of a snapshot, on the thresholds of the submission's.
fn grade(
    whole: &Grade,
    snapshot: Option<&SnapshotRecord>,
    exists: bool,
    percentile: impl Fn(f64) -> Option<f64>,
) -> Grade {
    let none = Grade {
        lower_is_better: whole.lower_is_better,
        thresholds: whole.thresholds,
        has_leaderboard: whole.has_leaderboard,
        has_thresholds: whole.has_thresholds,
        own_leaderboard: whole.own_leaderboard.clone(),
        teams: whole.teams,
        exists,
        ..Grade::default()
    };
    let Some(snapshot) = snapshot else { return none };
    let direction = if whole.lower_is_better { Direction::Lower } else { Direction::Higher };
    let score = snapshot.score.unwrap_or(f64::NAN);
    let medal = match &whole.thresholds {
        Some(thresholds) => thresholds.medal(score, direction),
        None => snapshot.medal,
    };
    let has = |wanted| medal == Some(wanted);
    Grade {
        score: snapshot.score,
        medal,
        gold: has(crate::attempt::Medal::Gold),
        silver: has(crate::attempt::Medal::Silver),
        bronze: has(crate::attempt::Medal::Bronze),
        above_median: whole.thresholds.is_some_and(|t| t.above_median(score, direction)),
        valid: true,
        percentile: percentile(score),
        ..none
    }
}

impl Attempt {
    /// Leaves out all that is known of how it ended.
    fn forget(&mut self) {
        self.ending = Ending::Unfinished;
        self.grade = Grade {
            lower_is_better: self.grade.lower_is_better,
            thresholds: self.grade.thresholds,
            has_leaderboard: self.grade.has_leaderboard,
            has_thresholds: self.grade.has_thresholds,
            ..Grade::default()
        };
        if let Some(record) = self.record.as_deref_mut() {
            record.outcome = None;
            record.llm = None;
            record.usage = AttemptRecord::default().usage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Medal, Thresholds};
    use crate::read::Group;
    use crate::record::{AttemptKey, LimitsRecord};

    fn attempt(took_s: f64, score: f64, snapshots: &[(f64, Option<f64>)]) -> Attempt {
        let thresholds = Thresholds { gold: 0.1, silver: 0.2, bronze: 0.3, median: 0.5 };
        let snapshots = snapshots.iter().map(|(after_s, score)| SnapshotRecord {
            after_s: *after_s,
            valid: score.is_some(),
            score: *score,
            ..SnapshotRecord::default()
        });
        let mut record = AttemptRecord {
            took_s: Some(took_s),
            snapshots: snapshots.collect(),
            ..AttemptRecord::default()
        };
        record.conditions.limits = LimitsRecord { time_s: Some(86_400.0), ..Default::default() };
        Attempt {
            key: AttemptKey { competition: "c".into(), agent: "a".into(), seed: 0 },
            group: "g".into(),
            dir: None,
            facts: Default::default(),
            ending: Ending::Ended(OutcomeRecord {
                kind: OutcomeKind::Finished,
                ..OutcomeRecord::default()
            }),
            grade: Grade {
                score: Some(score),
                valid: true,
                exists: true,
                gold: score <= 0.1,
                medal: (score <= 0.1).then_some(Medal::Gold),
                lower_is_better: true,
                thresholds: Some(thresholds),
                has_thresholds: true,
                ..Grade::default()
            },
            record: Some(Box::new(record)),
        }
    }

    fn at_an_hour(attempt: Attempt) -> (Attempt, Vec<Warning>) {
        let group = Group {
            id: "g".into(),
            path: "runs/g".into(),
            agent: "a".into(),
            agent_is_recorded: true,
            record: None,
            attempts: vec![attempt],
        };
        let whole = Reading { groups: vec![group], warnings: Vec::new() };
        let mut cut = whole.at(Duration::from_secs(3600), &());
        (cut.groups.remove(0).attempts.remove(0), cut.warnings)
    }

    #[test]
    fn the_last_valid_snapshot_by_then_counts() {
        let snapshots =
            [(600.0, Some(0.4)), (1800.0, Some(0.25)), (3000.0, None), (4000.0, Some(0.15))];
        let (cut, warnings) = at_an_hour(attempt(5000.0, 0.05, &snapshots));
        assert_eq!((cut.grade.score, cut.grade.medal), (Some(0.25), Some(Medal::Bronze)));
        assert!(cut.grade.above_median && cut.grade.bronze && !cut.grade.gold);
        assert_eq!(cut.outcome(), "timed_out");
        let record = cut.record.unwrap();
        assert_eq!((record.took_s, record.snapshots.len()), (Some(3600.0), 3));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn without_a_valid_snapshot_there_was_nothing() {
        let (cut, _) = at_an_hour(attempt(5000.0, 0.05, &[(4000.0, Some(0.15))]));
        assert_eq!((cut.grade.score, cut.grade.valid, cut.grade.exists), (None, false, false));
        let (cut, _) = at_an_hour(attempt(5000.0, 0.05, &[(60.0, None)]));
        assert_eq!((cut.grade.valid, cut.grade.exists), (false, true));
    }

    #[test]
    fn what_was_over_by_then_stays_and_what_nobody_saw_is_unfinished() {
        let over = attempt(3000.0, 0.05, &[(600.0, Some(0.4))]);
        assert_eq!(at_an_hour(over.clone()), (over, Vec::new()));
        let mut saved = attempt(3610.0, 0.05, &[(600.0, Some(0.4))]);
        saved.record.as_mut().unwrap().conditions.limits.time_s = Some(3600.0);
        assert_eq!(at_an_hour(saved.clone()).0, saved, "it had an hour and saved its work");
        let (unknown, warnings) = at_an_hour(attempt(5000.0, 0.05, &[]));
        assert!(unknown.is_lost() && !unknown.grade.valid && unknown.grade.medal.is_none());
        assert!(warnings[0].message.contains("no snapshot"), "{warnings:?}");
    }
}
