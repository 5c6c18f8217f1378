//! One measured number with everything needed to judge it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure};
use crate::stats::{self, Cluster, Interval};

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// A rate or a mean over attempts, 0 to 1.
///
/// `value` is the mean over competitions of the mean over their attempts, so that a competition
/// with more attempts does not count more. Where every competition has equally many, it equals `sum
/// / attempts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// What is measured.
    pub measure: Measure,
    /// The estimate; `None` if nothing is known.
    pub value: Option<f64>,
    /// Sum over attempts: for a yes-or-no measure, how many have it.
    pub sum: f64,
    /// Attempts that count, which is the denominator of `sum`.
    pub attempts: usize,
    /// Attempts left out because the measure is unknown on them, such as a percentile without a
    /// leaderboard.
    pub unknown: usize,
    /// Competitions with at least one attempt that counts.
    pub competitions: usize,
    /// Mean over complete seeds as MLE-bench reports it.
    pub seeds: Option<SeedEstimate>,
    /// Wilson's interval of `sum` of `attempts`, where these are independent: one attempt each on
    /// several competitions, or several on one. It is about competitions like these in the first
    /// case and about this competition in the second.
    pub wilson: Option<Interval>,
    /// Interval *on these competitions*: only seeds vary.
    pub on_these: Option<Interval>,
    /// Interval *on competitions like these*: competitions vary too.
    pub on_like_these: Option<Interval>,
    /// Why an interval is missing or has no width, in words.
    pub notes: Vec<String>,
}

/// Mean over seeds that cover every competition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedEstimate {
    /// The value of each complete seed.
    pub values: Vec<f64>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard error of the mean; 0 for one seed, as MLE-bench prints it.
    pub sem: f64,
    /// Student's t interval; `None` for one seed or if all seeds are equal.
    pub t: Option<Interval>,
    /// Lowest seed.
    pub worst: f64,
    /// Highest seed.
    pub best: f64,
}

impl Estimate {
    /// Measures attempts, which are grouped by competition and ordered by seed within.
    pub fn of(measure: Measure, by_competition: &BTreeMap<&str, Vec<&Attempt>>) -> Self {
        let mut unknown = 0;
        let clusters: Vec<Cluster> = by_competition
            .values()
            .map(|attempts| {
                let values: Vec<f64> =
                    attempts.iter().filter_map(|a| measure.value(&a.grade)).collect();
                unknown += attempts.len() - values.len();
                values
            })
            .filter(|values: &Cluster| !values.is_empty())
            .collect();
        let attempts: usize = clusters.iter().map(Vec::len).sum();
        let sum: f64 = clusters.iter().flatten().sum();
        let mut notes = Vec::new();
        if unknown > 0 {
            notes.push(format!(
                "unknown on {unknown} of {} attempts, which are left out",
                attempts + unknown
            ));
        }
        let value = (!clusters.is_empty()).then(|| stats::cluster_mean(&clusters));
        let complete = clusters.iter().map(Vec::len).min().unwrap_or(0);
        let seeds = (complete > 0).then(|| SeedEstimate::of(&clusters, complete));
        let most = clusters.iter().map(Vec::len).max().unwrap_or(0);
        if most > complete && complete > 0 {
            notes.push(format!("competitions have {complete} to {most} attempts; the mean over seeds uses {complete}"));
        }
        let wilson = (measure.is_binary() && (most == 1 || clusters.len() == 1))
            .then(|| stats::wilson(sum.round() as usize, attempts, CONFIDENCE))
            .flatten();
        if let Some(seeds) = &seeds {
            match seeds.values.len() {
                1 => notes.push("one complete seed: how much seeds vary is not known".to_owned()),
                n if seeds.t.is_none() => notes.push(format!(
                    "SEM is 0 because all {n} seeds gave the same number; with {n} seeds that happens by chance and is no sign of certainty"
                )),
                _ => {}
            }
        }
        let on_these = stats::on_these(&clusters, CONFIDENCE);
        let on_like_these = stats::on_like_these(&clusters, CONFIDENCE);
        if [on_these, on_like_these].into_iter().flatten().any(|interval| interval.rough) {
            notes.push(
                "an interval marked rough has too few competitions, medals or failures behind it to hold the true rate just 95 times in 100"
                    .to_owned(),
            );
        }
        let competitions = clusters.len();
        Self {
            measure,
            value,
            sum,
            attempts,
            unknown,
            competitions,
            seeds,
            wilson,
            on_these,
            on_like_these,
            notes,
        }
    }

    /// The interval to show beside the value, with the question that it answers.
    pub fn headline(&self) -> Option<(Interval, &'static str)> {
        let like = self.on_like_these.map(|interval| (interval, "on competitions like these"));
        let one =
            if self.competitions == 1 { "on this competition" } else { "on these competitions" };
        like.or_else(|| self.on_these.map(|interval| (interval, one)))
    }
}

impl SeedEstimate {
    fn of(clusters: &[Cluster], complete: usize) -> Self {
        let values: Vec<f64> = (0..complete)
            .map(|k| clusters.iter().map(|cluster| cluster[k]).sum::<f64>() / clusters.len() as f64)
            .collect();
        let equal = values.iter().all(|v| v == &values[0]);
        Self {
            mean: stats::mean(&values),
            sem: if equal { 0.0 } else { stats::standard_error(&values) },
            t: if equal {
                None
            } else {
                stats::t_interval(&values, CONFIDENCE).map(|i| i.clipped(0.0, 1.0))
            },
            worst: values.iter().copied().fold(f64::INFINITY, f64::min),
            best: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values,
        }
    }
}
