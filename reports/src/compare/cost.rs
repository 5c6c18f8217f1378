//! What language models cost on both sides, as the second axis of a comparison.
//!
//! Costs are dollars an attempt and not rates, so that their intervals are Student's t and not
//! Wilson's; the tests are those of medals. Everything is counted in the baseline's mean, so that
//! fractions of a cent are not taken for nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CONFIDENCE, Gate, Pair, known};
use crate::attempt::Attempt;
use crate::stats::{self, Cluster, Exchanged, Interval, Rng, StandardError};
use crate::text;

/// Fewest competitions of an interval on these that is not rough.
const FEW_THESE: usize = 10;
/// Fewest degrees of freedom of an interval on these that is not rough.
const FEW_DEGREES: f64 = 10.0;
/// Fewest competitions of an interval on ones like these that is not rough.
const FEW_LIKE: usize = 20;

/// How the cost of an attempt changed over the paired competitions; US dollars, candidate minus
/// baseline. Lost attempts are left out, as everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostChange {
    /// Baseline's mean over competitions.
    pub baseline: f64,
    /// Candidate's mean over competitions.
    pub candidate: f64,
    /// Candidate minus baseline.
    pub difference: f64,
    /// The same as a share of the baseline's mean; `None` if that cost nothing.
    pub relative: Option<f64>,
    /// Competitions on which the cost of both sides is known.
    pub competitions: usize,
    /// Attempts of the baseline whose cost is known, and all that count.
    pub known_baseline: (usize, usize),
    /// Attempts of the candidate whose cost is known, and all that count.
    pub known_candidate: (usize, usize),
    /// Interval *on these competitions*.
    pub on_these: Option<Interval>,
    /// Interval *on competitions like these*.
    pub on_like_these: Option<Interval>,
    /// Two-sided p value *on these competitions*.
    pub p_on_these: f64,
    /// Two-sided p value *on competitions like these*.
    pub p_on_like_these: f64,
    /// One-sided p value of a rise *on these competitions*.
    pub p_rise: f64,
}

/// What the gate says of the cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostVerdict {
    /// Whether the attempts allow a verdict: their ends, and the cost of at least half of those of
    /// each side, are known.
    pub decided: bool,
    /// Whether the cost rose by more than is allowed, and surely. Never where nothing is decided.
    pub exceeded: bool,
    /// The reason in words.
    pub reason: String,
}

/// Dollars of an attempt, if nothing is missing in them.
fn dollars(attempt: &Attempt) -> Option<f64> {
    attempt.record.as_ref()?.llm.as_ref()?.totals.cost().exact()
}

/// Whether a gateway stood before any of the attempts.
fn is_metered(attempts: &[&Attempt]) -> bool {
    attempts.iter().any(|a| a.record.as_ref().is_some_and(|record| record.llm.is_some()))
}

/// The change of costs; `None` if neither side recorded any.
pub(super) fn cost_change(pairs: &BTreeMap<&str, Pair<'_>>) -> Option<CostChange> {
    if !pairs.values().any(|(b, c)| is_metered(b) || is_metered(c)) {
        return None;
    }
    let of = |attempts: &[&Attempt]| -> Cluster {
        attempts.iter().filter_map(|attempt| dollars(attempt)).collect()
    };
    let priced: Vec<(Cluster, Cluster)> = pairs.values().map(|(b, c)| (of(b), of(c))).collect();
    let count = |known: fn(&(Cluster, Cluster)) -> usize, all: fn(&Pair<'_>) -> usize| {
        (priced.iter().map(known).sum(), pairs.values().map(all).sum())
    };
    let known_baseline = count(|p| p.0.len(), |p| p.0.len());
    let known_candidate = count(|p| p.1.len(), |p| p.1.len());
    let dollars = known(priced);
    let mean = |get: fn(&(Cluster, Cluster)) -> &Cluster| match dollars.is_empty() {
        true => 0.0,
        false => stats::mean(&dollars.iter().map(|p| stats::mean(get(p))).collect::<Vec<_>>()),
    };
    let (baseline, candidate) = (mean(|p| &p.0), mean(|p| &p.1));
    let unit = if baseline > 0.0 { baseline } else { 1.0 };
    let scaled = |cluster: &Cluster| -> Cluster { cluster.iter().map(|x| x / unit).collect() };
    let shares: Vec<(Cluster, Cluster)> =
        dollars.iter().map(|(b, c)| (scaled(b), scaled(c))).collect();
    let differences: Vec<f64> =
        shares.iter().map(|(b, c)| stats::mean(c) - stats::mean(b)).collect();
    let exchanged: Vec<(Cluster, Cluster)> =
        shares.iter().map(|(b, c)| (c.clone(), b.clone())).collect();
    let in_dollars = |interval: Interval| Interval {
        lower: interval.lower * unit,
        upper: interval.upper * unit,
        ..interval
    };
    let (these, like) = intervals(&shares, &differences);
    let mut rng = Rng::new(stats::SEED);
    Some(CostChange {
        baseline,
        candidate,
        difference: candidate - baseline,
        relative: (baseline > 0.0).then(|| candidate / baseline - 1.0),
        competitions: dollars.len(),
        known_baseline,
        known_candidate,
        on_these: these.map(in_dollars),
        on_like_these: like.map(in_dollars),
        p_on_these: stats::permutation_differs(&shares, &mut rng),
        p_on_like_these: stats::sign_flip(&differences, &mut rng),
        // That the baseline is lower is that the candidate is higher.
        p_rise: Exchanged::new(&exchanged, &mut rng).p_worse(),
    })
}

fn intervals(
    pairs: &[(Cluster, Cluster)],
    differences: &[f64],
) -> (Option<Interval>, Option<Interval>) {
    if pairs.is_empty() {
        return (None, None);
    }
    let centre = stats::mean(differences);
    let these = StandardError::on_these(pairs).map(|error| {
        let half = stats::t_quantile(0.5 + CONFIDENCE / 2.0, error.degrees) * error.value;
        Interval::new(centre - half, centre + half)
            .roughly(pairs.len() < FEW_THESE || error.degrees < FEW_DEGREES)
    });
    let like = stats::t_interval(differences, CONFIDENCE)
        .map(|interval| interval.roughly(differences.len() < FEW_LIKE).wider(these));
    (these, like)
}

impl CostChange {
    /// `+12.5%`, or `n/a` where the baseline cost nothing.
    pub fn relative_words(&self) -> String {
        self.relative
            .map_or_else(|| "n/a".to_owned(), |share| format!("{}%", text::points(Some(share))))
    }

    /// The change in a sentence.
    pub fn words(&self) -> String {
        if self.competitions == 0 {
            return "the cost of an attempt is known on one side at most".to_owned();
        }
        let (b, c) = (self.known_baseline, self.known_candidate);
        let missing = if b.0 < b.1 || c.0 < c.1 {
            format!("; known of {} of {} attempts before and {} of {} after", b.0, b.1, c.0, c.1)
        } else {
            String::new()
        };
        format!(
            "cost of an attempt: {} before, {} after, change {} ({}), 95% on these {} ({}), on ones like these {} ({}){missing}",
            text::dollars(self.baseline),
            text::dollars(self.candidate),
            text::signed_dollars(self.difference),
            self.relative_words(),
            text::dollars_interval(self.on_these),
            text::p_equals(self.p_on_these),
            text::dollars_interval(self.on_like_these),
            text::p_equals(self.p_on_like_these),
        )
    }
}

/// The verdict on costs; `None` if the gate asks for none.
pub(super) fn cost_verdict(
    change: Option<&CostChange>,
    gate: &Gate,
    decided: bool,
) -> Option<CostVerdict> {
    let allowed = gate.max_cost_increase?;
    let undecided = |reason: &str| {
        Some(CostVerdict { decided: false, exceeded: false, reason: reason.to_owned() })
    };
    if !decided {
        return undecided(
            "more than half of the attempts of a side were lost, so nothing can be said of their cost",
        );
    }
    let is_known = |(known, all): (usize, usize)| known > 0 && 2 * known >= all;
    let Some(change) = change else {
        return undecided("no side recorded what language models cost");
    };
    if change.competitions == 0
        || !is_known(change.known_baseline)
        || !is_known(change.known_candidate)
    {
        let (b, c) = (change.known_baseline, change.known_candidate);
        return undecided(&format!(
            "the cost is known of {} of {} attempts before and {} of {} after, of the others it is not recorded or not priced",
            b.0, b.1, c.0, c.1
        ));
    }
    let alpha = 1.0 - gate.confidence;
    // Something from nothing is more than any share.
    let rise = change.relative.unwrap_or(if change.difference > 0.0 { f64::INFINITY } else { 0.0 });
    let sure = change.p_rise <= alpha + 1e-12;
    let large = change.difference > 0.0 && rise > allowed;
    let by = format!("{} ({})", text::signed_dollars(change.difference), change.relative_words());
    let limit = text::percent(Some(allowed));
    let told = text::p_equals(change.p_rise);
    let reason = match (large, sure) {
        (true, true) => {
            format!(
                "the cost of an attempt rose by {by}, more than {limit} ({told}, at most {} allowed)",
                text::p_value(alpha)
            )
        }
        (true, false) => format!(
            "the cost of an attempt rose by {by}, which these attempts do not tell from chance ({told}, more than {})",
            text::p_value(alpha)
        ),
        (false, _) if change.difference > 0.0 => {
            format!("the cost of an attempt rose by {by}, not more than {limit}")
        }
        (false, _) => format!("the cost of an attempt did not rise (change {by})"),
    };
    Some(CostVerdict { decided: true, exceeded: large && sure, reason })
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
