//! Where each compared value wins: by modality, complexity and size of the data, with the attempts
//! to look at.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure};
use crate::data::{part_key, part_order};
use crate::record::CompetitionFacts;
use crate::stats;

/// Sizes of the raw data, by bytes below which they begin.
const SIZES: [(u64, &str); 4] = [
    (0, "below 100 MB"),
    (100_000_000, "100 MB to 1 GB"),
    (1_000_000_000, "1 to 10 GB"),
    (10_000_000_000, "10 GB and more"),
];

/// One way of parting the competitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wins {
    /// `modality`, `complexity` or `data size`.
    pub kind: String,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// A part of the competitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Competitions in it.
    pub competitions: usize,
    /// Medal rate of each compared value, in the table's order; `None` without an attempt. Lost
    /// attempts are left out.
    pub medal_rates: Vec<Option<f64>>,
    /// Mean normalised score of each.
    pub scores: Vec<Option<f64>>,
    /// Who has the most medals, or, where medals are equal, the higher mean score; `None` if nobody
    /// leads.
    pub leader: Option<String>,
    /// Whether medals alone make the leader.
    pub by_medals: bool,
    /// The attempts at the competition on which they differ most.
    pub look_at: Vec<Link>,
}

/// An attempt to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The compared value.
    pub name: String,
    /// The competition.
    pub competition: String,
    /// The seed.
    pub seed: u32,
    /// What became of it, in a word.
    pub result: String,
    /// Its folder, from the report's.
    pub path: Option<String>,
}

pub(super) fn wins(arms: &[(&str, Vec<&Attempt>)], root: &Path) -> Vec<Wins> {
    let kinds: [(&str, fn(&CompetitionFacts) -> (usize, String)); 3] = [
        ("modality", |facts| (0, part_key(&facts.modality))),
        ("complexity", |facts| (part_order(&facts.complexity), part_key(&facts.complexity))),
        ("data size", size),
    ];
    kinds
        .into_iter()
        .map(|(kind, of)| {
            let mut parts: BTreeMap<(usize, String), Vec<Vec<&Attempt>>> = BTreeMap::new();
            for (i, (_, attempts)) in arms.iter().enumerate() {
                for attempt in attempts.iter().filter(|attempt| !attempt.is_lost()) {
                    let sides = parts.entry(of(&attempt.facts)).or_default();
                    sides.resize(arms.len(), Vec::new());
                    sides[i].push(attempt);
                }
            }
            let parts = parts
                .into_iter()
                .map(|((_, name), sides)| part(name, arms, &sides, root))
                .collect();
            Wins { kind: kind.to_owned(), parts }
        })
        .collect()
}

/// The class of a competition's data.
fn size(facts: &CompetitionFacts) -> (usize, String) {
    let Some(bytes) = facts.size_bytes else { return (SIZES.len(), "unknown".to_owned()) };
    let place = SIZES.iter().rposition(|(from, _)| *from <= bytes).unwrap_or(0);
    (place, SIZES[place].1.to_owned())
}

/// Mean over competitions of the mean over their attempts.
fn mean_of(attempts: &[&Attempt], measure: Measure) -> Option<f64> {
    let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for attempt in attempts {
        let values = clusters.entry(&attempt.key.competition).or_default();
        values.extend(measure.value(&attempt.grade));
    }
    let clusters: Vec<Vec<f64>> = clusters.into_values().filter(|c| !c.is_empty()).collect();
    (!clusters.is_empty()).then(|| stats::cluster_mean(&clusters))
}

fn part(
    name: String,
    arms: &[(&str, Vec<&Attempt>)],
    sides: &[Vec<&Attempt>],
    root: &Path,
) -> Part {
    let of = |measure| -> Vec<Option<f64>> {
        sides.iter().map(|attempts| mean_of(attempts, measure)).collect()
    };
    let (medal_rates, scores) = (of(Measure::AnyMedal), of(Measure::NormalisedScore));
    let by_medals = leader(&medal_rates);
    let leads = by_medals.or_else(|| {
        let medals_are_equal = medal_rates.iter().all(|rate| *rate == medal_rates[0]);
        medals_are_equal.then(|| leader(&scores)).flatten()
    });
    let mut competitions: Vec<&str> =
        sides.iter().flatten().map(|a| a.key.competition.as_str()).collect();
    competitions.sort_unstable();
    competitions.dedup();
    Part {
        name,
        competitions: competitions.len(),
        medal_rates,
        scores,
        leader: leads.map(|i| arms[i].0.to_owned()),
        by_medals: by_medals.is_some(),
        look_at: look_at(arms, sides, &competitions, root),
    }
}

/// The place of the single greatest value.
fn leader(values: &[Option<f64>]) -> Option<usize> {
    let best = values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut at = values.iter().enumerate().filter(|(_, value)| **value == Some(best));
    let first = at.next()?.0;
    (at.next().is_none() && values.iter().flatten().count() > 1).then_some(first)
}

/// Each side's best attempt at the competition on which their scores lie farthest apart.
fn look_at(
    arms: &[(&str, Vec<&Attempt>)],
    sides: &[Vec<&Attempt>],
    competitions: &[&str],
    root: &Path,
) -> Vec<Link> {
    let spread = |competition: &str| {
        let values = sides.iter().filter_map(|attempts| {
            let own: Vec<&Attempt> =
                attempts.iter().copied().filter(|a| a.key.competition == competition).collect();
            let medals = mean_of(&own, Measure::AnyMedal)?;
            Some(medals + mean_of(&own, Measure::NormalisedScore).unwrap_or(0.0))
        });
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        high - low
    };
    let Some(widest) = competitions.iter().max_by(|a, b| spread(a).total_cmp(&spread(b))) else {
        return Vec::new();
    };
    arms.iter()
        .zip(sides)
        .filter_map(|((name, _), attempts)| {
            let own = attempts.iter().filter(|a| a.key.competition == *widest);
            let worth = |a: &Attempt| {
                let of = |measure: Measure| measure.value(&a.grade).unwrap_or(0.0);
                of(Measure::AnyMedal) + of(Measure::Valid) + of(Measure::NormalisedScore)
            };
            let best = own.max_by(|a, b| worth(a).total_cmp(&worth(b)))?;
            Some(link(name, best, root))
        })
        .collect()
}

fn link(name: &str, attempt: &Attempt, root: &Path) -> Link {
    let result = match attempt.grade.medal {
        Some(medal) => format!("{medal:?}").to_lowercase(),
        None if attempt.grade.valid => "no medal".to_owned(),
        None => "no valid submission".to_owned(),
    };
    let path = attempt.dir.as_deref().and_then(|dir| dir.strip_prefix(root).ok());
    Link {
        name: name.to_owned(),
        competition: attempt.key.competition.clone(),
        seed: attempt.key.seed,
        result,
        path: path.map(|path| path.display().to_string()),
    }
}
