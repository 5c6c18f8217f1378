//! What grows while attempts run: scores against time and dollars, and the length of contexts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calls::{self, Call};
use crate::attempt::{Attempt, Grade, Measure};
use crate::record::{AttemptRecord, Phase};
use crate::stats;

/// Points of a curve of scores.
const POINTS: usize = 60;
/// Spans of time in which the calls' lengths are summed up.
const SPANS: usize = 24;

/// One curve for each compared value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// In the order of the table's rows.
    pub curves: Vec<Curve>,
}

impl Growth {
    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.curves.iter().all(|curve| curve.points.len() < 2)
    }
}

/// A curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The compared value.
    pub name: String,
    /// x and y, by x; none if nothing was recorded.
    pub points: Vec<(f64, f64)>,
    /// Attempts behind it.
    pub attempts: usize,
    /// Attempts on which nothing is known, which are left out.
    pub left_out: usize,
    /// Attempts with graded snapshots; the others have one score, at their end.
    pub with_snapshots: usize,
}

/// An attempt with what was recorded while it ran.
pub(super) struct Watched<'a> {
    attempt: &'a Attempt,
    /// Seconds after the agent's start and normalised score; `None` without thresholds or end.
    scores: Option<Vec<(f64, f64)>>,
    snapshots: usize,
    /// `None` if its calls were not recorded.
    calls: Option<Vec<Call>>,
}

impl<'a> Watched<'a> {
    pub(super) fn of(attempt: &'a Attempt) -> Self {
        let record = attempt.record.as_deref();
        let calls = record.filter(|record| record.llm.is_some()).and_then(|record| {
            let path = attempt.dir.as_ref()?.join("llm").join("calls.jsonl");
            calls::read(&path, agent_start(record)?)
        });
        let scores = record.filter(|_| !attempt.is_lost()).and_then(|r| scores(attempt, r));
        let graded = |record: &AttemptRecord| {
            record.snapshots.iter().filter(|s| s.valid && s.score.is_some()).count()
        };
        Self { attempt, scores, snapshots: record.map_or(0, graded), calls }
    }

    /// Dollars that were spent until `after_s`; `None` if a price is not known.
    fn dollars(&self, after_s: f64) -> Option<f64> {
        let until = |call: &&Call| call.after_s <= after_s;
        self.calls.as_ref()?.iter().filter(until).map(|call| call.usd).sum()
    }

    /// Dollars and normalised score; `None` if one of both is not known.
    fn bought(&self) -> Option<Vec<(f64, f64)>> {
        let scores = self.scores.as_ref()?;
        scores.iter().map(|(after_s, score)| Some((self.dollars(*after_s)?, *score))).collect()
    }
}

/// When the agent of the last try began.
fn agent_start(record: &AttemptRecord) -> Option<chrono::DateTime<chrono::Utc>> {
    let last = record.tries.last().and_then(|last| last.started_at).or(record.started_at)?;
    let began = record.phases.iter().find(|phase| phase.name == Phase::Agent);
    let began_s = began.map_or(0.0, |phase| phase.began_s).clamp(0.0, 1e9);
    Some(last + chrono::Duration::milliseconds((began_s * 1e3) as i64))
}

/// Normalised scores of the snapshots and of the submission, by time.
fn scores(attempt: &Attempt, record: &AttemptRecord) -> Option<Vec<(f64, f64)>> {
    let grade = &attempt.grade;
    let thresholds = grade.thresholds;
    let value = |valid: bool, score: Option<f64>| {
        let graded = Grade {
            score: score.filter(|score| score.is_finite()),
            valid: valid && score.is_some(),
            thresholds,
            lower_is_better: grade.lower_is_better,
            has_thresholds: true,
            ..Grade::default()
        };
        Measure::NormalisedScore.value(&graded)
    };
    if thresholds.is_none() && !grade.has_thresholds {
        return None;
    }
    let mut scores: Vec<(f64, f64)> = match thresholds {
        Some(_) => record
            .snapshots
            .iter()
            .filter_map(|s| Some((s.after_s, value(s.valid, s.score)?)))
            .collect(),
        None => Vec::new(),
    };
    let end = record.took_s?;
    scores.retain(|(after_s, _)| *after_s <= end);
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    scores.push((end, Measure::NormalisedScore.value(grade)?));
    Some(scores)
}

/// What the submission was worth at each moment, on average over competitions; 0 before the first.
pub(super) fn against_time(arms: &[(&str, Vec<Watched<'_>>)]) -> Growth {
    grown(arms, |watched| watched.scores.clone())
}

/// What the submission was worth once so many dollars were spent.
pub(super) fn against_dollars(arms: &[(&str, Vec<Watched<'_>>)]) -> Growth {
    grown(arms, |watched| watched.bought())
}

fn grown(
    arms: &[(&str, Vec<Watched<'_>>)],
    steps: impl Fn(&Watched<'_>) -> Option<Vec<(f64, f64)>>,
) -> Growth {
    let known: Vec<Vec<Option<Vec<(f64, f64)>>>> =
        arms.iter().map(|(_, watched)| watched.iter().map(&steps).collect()).collect();
    let end = known.iter().flatten().flatten().flatten().map(|(x, _)| *x).fold(0.0, f64::max);
    let curves = arms.iter().zip(known).map(|((name, watched), known)| {
        let mut competitions: BTreeMap<&str, Vec<&[(f64, f64)]>> = BTreeMap::new();
        let mut curve = Curve { name: (*name).to_owned(), ..Curve::default() };
        for (watched, steps) in watched.iter().zip(&known) {
            let Some(steps) = steps else {
                curve.left_out += 1;
                continue;
            };
            curve.attempts += 1;
            curve.with_snapshots += usize::from(watched.snapshots > 0);
            competitions.entry(&watched.attempt.key.competition).or_default().push(steps);
        }
        if !competitions.is_empty() && end > 0.0 {
            curve.points = (0..=POINTS)
                .map(|i| end * i as f64 / POINTS as f64)
                .map(|x| (x, mean_at(&competitions, x)))
                .collect();
        }
        curve
    });
    Growth { curves: curves.collect() }
}

/// Mean over competitions of the mean over their attempts of the last step until `x`.
fn mean_at(competitions: &BTreeMap<&str, Vec<&[(f64, f64)]>>, x: f64) -> f64 {
    let at = |steps: &&[(f64, f64)]| {
        steps.iter().take_while(|(from, _)| *from <= x + 1e-9).last().map_or(0.0, |step| step.1)
    };
    let means: Vec<f64> = competitions
        .values()
        .map(|attempts| stats::mean(&attempts.iter().map(at).collect::<Vec<_>>()))
        .collect();
    stats::mean(&means)
}

/// The median number of tokens that a conversation's call reads, over spans of elapsed time.
pub(super) fn context(arms: &[(&str, Vec<Watched<'_>>)]) -> Growth {
    let chats = |watched: &[Watched<'_>]| -> Vec<(f64, f64)> {
        let calls = watched.iter().filter_map(|watched| watched.calls.as_ref()).flatten();
        let chats = calls.filter(|call| call.is_chat && call.input_tokens > 0);
        chats.map(|call| (call.after_s, call.input_tokens as f64)).collect()
    };
    let all: Vec<Vec<(f64, f64)>> = arms.iter().map(|(_, watched)| chats(watched)).collect();
    let end = all.iter().flatten().map(|(x, _)| *x).fold(0.0, f64::max);
    let curves = arms.iter().zip(all).map(|((name, watched), calls)| {
        let recorded = watched.iter().filter(|watched| watched.calls.is_some()).count();
        let mut spans: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (after_s, tokens) in &calls {
            let span = if end > 0.0 { (after_s / end * SPANS as f64) as usize } else { 0 };
            spans.entry(span.min(SPANS - 1)).or_default().push(*tokens);
        }
        let points = spans.into_iter().map(|(span, mut tokens)| {
            tokens.sort_by(f64::total_cmp);
            let middle = (span as f64 + 0.5) * end / SPANS as f64;
            (middle, tokens[tokens.len() / 2])
        });
        Curve {
            name: (*name).to_owned(),
            points: points.collect(),
            attempts: recorded,
            left_out: watched.len() - recorded,
            with_snapshots: 0,
        }
    });
    Growth { curves: curves.collect() }
}
