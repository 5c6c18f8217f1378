//! What changed in each part of the suite and on each competition.

use std::collections::BTreeMap;

use super::{
    AsPlanned, AttemptBrief, Change, CompetitionChange, Moved, Pair, PartChange, change, known,
    values,
};
use crate::attempt::{Attempt, Measure};
use crate::data::{FactOf, part_key, part_order};
use crate::stats::{self, Rng};

pub(super) fn part_changes(pairs: &BTreeMap<&str, Pair<'_>>) -> Vec<PartChange> {
    let kinds: [(&str, FactOf); 2] =
        [("complexity", |f| &f.complexity), ("modality", |f| &f.modality)];
    let mut parts: BTreeMap<(usize, &str, usize, String), Vec<&Pair<'_>>> = BTreeMap::new();
    for (i, (kind, of)) in kinds.into_iter().enumerate() {
        for pair in pairs.values() {
            let name = part_key(pair.0.first().map_or("unknown", |attempt| of(&attempt.facts)));
            parts.entry((i, kind, part_order(&name), name)).or_default().push(pair);
        }
    }
    let changes: Vec<(String, String, Change)> = parts
        .into_iter()
        .map(|((_, kind, _, name), pairs)| {
            (kind.to_owned(), name, change(&values(pairs, Measure::AnyMedal)))
        })
        .collect();
    let corrected =
        stats::holm(&changes.iter().map(|(_, _, change)| change.p_on_these).collect::<Vec<_>>());
    changes
        .into_iter()
        .zip(corrected)
        .map(|((kind, name, change), p_corrected)| PartChange { kind, name, change, p_corrected })
        .collect()
}

/// Changes of `tested` attempts beside all planned ones, which are listed.
pub(super) fn competition_changes(
    pairs: &BTreeMap<&str, Pair<'_>>,
    tested: &BTreeMap<&str, Pair<'_>>,
) -> Vec<CompetitionChange> {
    let brief = |attempts: &[&Attempt]| -> Vec<AttemptBrief> {
        attempts
            .iter()
            .map(|a| AttemptBrief {
                group: a.group.clone(),
                seed: a.key.seed,
                score: a.grade.score,
                medal: a.grade.medal,
                outcome: a.outcome().to_owned(),
                infrastructure: a.is_infrastructure(),
            })
            .collect()
    };
    let mut changes: Vec<CompetitionChange> = tested
        .iter()
        .map(|(id, pair)| {
            let planned = pairs[id];
            let medals = values([pair], Measure::AnyMedal);
            let percentiles = known(values([pair], Measure::Percentile));
            let medal_difference = stats::mean(&medals[0].1) - stats::mean(&medals[0].0);
            let percentile_difference =
                percentiles.first().map(|(b, c)| stats::mean(c) - stats::mean(b));
            let tested = if percentiles.is_empty() { &medals } else { &percentiles };
            let moved = match medal_difference {
                d if d > 0.0 => Moved::Up,
                d if d < 0.0 => Moved::Down,
                _ => Moved::Same,
            };
            CompetitionChange {
                competition: (*id).to_owned(),
                moved,
                baseline: brief(planned.0),
                candidate: brief(planned.1),
                medal_difference,
                percentile_difference,
                p: stats::permutation_differs(tested, &mut Rng::new(stats::SEED)),
                p_corrected: 1.0,
            }
        })
        .collect();
    let corrected = stats::holm(&changes.iter().map(|change| change.p).collect::<Vec<_>>());
    for (change, p) in changes.iter_mut().zip(corrected) {
        change.p_corrected = p;
    }
    changes.sort_by(|a, b| {
        let size = |c: &CompetitionChange| {
            (c.medal_difference.abs(), c.percentile_difference.unwrap_or(0.0).abs())
        };
        let (x, y) = (size(a), size(b));
        y.0.total_cmp(&x.0)
            .then(y.1.total_cmp(&x.1))
            .then_with(|| a.competition.cmp(&b.competition))
    });
    changes
}

/// Medal rates with lost attempts counted as failed.
pub(super) fn as_planned(pairs: &[Pair<'_>]) -> AsPlanned {
    let lost_fail = |attempts: &[&Attempt]| {
        let won = attempts
            .iter()
            .filter(|a| !a.is_lost() && Measure::AnyMedal.value(&a.grade) == Some(1.0));
        won.count() as f64 / attempts.len() as f64
    };
    let baseline = stats::mean(&pairs.iter().map(|(b, _)| lost_fail(b)).collect::<Vec<_>>());
    let candidate = stats::mean(&pairs.iter().map(|(_, c)| lost_fail(c)).collect::<Vec<_>>());
    AsPlanned { baseline, candidate, difference: candidate - baseline }
}
