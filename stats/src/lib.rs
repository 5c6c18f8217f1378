//! Estimates, intervals and tests over attempts. Rates are fractions (0 to 1), never percent.
//!
//! Two questions are kept apart everywhere. *On these competitions*: the competitions are fixed,
//! only seeds vary. *On competitions like these*: the competitions are a sample too. The second
//! interval is the wider one.

mod exact;
mod intervals;
mod permutation;
mod rank;
pub mod sequential;
pub mod simulate;
pub mod stopping;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

pub use self::intervals::{
    difference_of_others, difference_on_like_these, difference_on_these, on_like_these, on_these,
};
pub use self::permutation::{Exchanged, permutation_differs, permutation_worse, sign_flip};
pub use self::rank::{RankCorrelation, spearman};

/// Draws of every permutation test that is not exact.
pub const RESAMPLES: usize = 10_000;
/// Probability of finding a difference that makes it detectable.
pub const POWER: f64 = 0.8;
/// Seed of every resampling, so that equal inputs give equal reports.
pub const SEED: u64 = 0x006d_6564_616c_6973;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Whether too few data stand behind it for it to cover the truth as often as it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rough: bool,
}

impl Interval {
    /// From `lower` to `upper`, not rough.
    pub fn new(lower: f64, upper: f64) -> Self {
        Self { lower, upper, rough: false }
    }

    /// Marked as rough if `rough`.
    #[must_use]
    pub fn roughly(self, rough: bool) -> Self {
        Self { rough, ..self }
    }

    /// The wider of both.
    #[must_use]
    pub fn wider(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.width() > self.width() => other.roughly(self.rough || other.rough),
            _ => self,
        }
    }

    /// Cuts both ends to `low..=high`.
    #[must_use]
    pub fn clipped(self, low: f64, high: f64) -> Self {
        Self { lower: self.lower.clamp(low, high), upper: self.upper.clamp(low, high), ..self }
    }

    /// Upper minus lower end.
    pub fn width(self) -> f64 {
        self.upper - self.lower
    }
}

/// SplitMix64: small, fast, and reproducible on every machine.
///
/// # Source
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
    resamples: usize,
}

impl Rng {
    /// A stream that depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, resamples: RESAMPLES }
    }

    /// The same stream for resamplings of another size than [`RESAMPLES`].
    #[must_use]
    pub fn with_resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..n`; `n` must not be 0. The bias is below n / 2^32, far under the noise
    /// of a resampling.
    pub fn below(&mut self, n: usize) -> usize {
        (((self.next_u64() >> 32) * n as u64) >> 32) as usize
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample variance (divisor n - 1); `None` for fewer than two values.
pub fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let m = mean(values);
    Some(values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// Standard error of the mean, as MLE-bench computes it: sample standard deviation by the root of
/// n; 0 for one value.
pub fn standard_error(values: &[f64]) -> f64 {
    variance(values).map_or(0.0, |v| v.sqrt() / (values.len() as f64).sqrt())
}

/// Student's t interval of the mean; `None` for fewer than two values.
///
/// # Source
/// scipy 1.17 `stats.t.interval(confidence, n - 1, loc=mean, scale=sem)`.
pub fn t_interval(values: &[f64], confidence: f64) -> Option<Interval> {
    variance(values)?;
    let half =
        t_quantile(0.5 + confidence / 2.0, (values.len() - 1) as f64) * standard_error(values);
    let m = mean(values);
    Some(Interval::new(m - half, m + half))
}

/// Quantile of Student's t distribution with `df` degrees of freedom.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if !df.is_finite() {
        return normal_quantile(p);
    }
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(p))
}

/// Quantile of the standard normal distribution.
pub fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Distribution function of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Wilson's score interval for `successes` of `n`; `None` for n = 0.
///
/// # Source
/// statsmodels 0.15 `stats.proportion.proportion_confint(method="wilson")`.
pub fn wilson(successes: usize, n: usize, confidence: f64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (k, n) = (successes as f64, n as f64);
    let z = normal_quantile(0.5 + confidence / 2.0);
    let p = k / n;
    let denominator = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / denominator;
    let half = z / denominator * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some(Interval::new(centre - half, centre + half).clipped(0.0, 1.0))
}

/// Chance that at least one of `k` attempts succeeds, from `successes` of `n`: 1 - C(n - c, k) /
/// C(n, k), without bias.
///
/// `None` if k is 0 or above n.
///
/// # Source
/// Chen et al., "Evaluating large language models trained on code" (2021), section 2.1.
pub fn pass_at_k(n: usize, successes: usize, k: usize) -> Option<f64> {
    if k == 0 || k > n || successes > n {
        return None;
    }
    if n - successes < k {
        return Some(1.0);
    }
    Some(1.0 - ((n - successes + 1)..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

/// Values of one competition, one a seed.
pub type Cluster = Vec<f64>;

/// Mean over competitions of the mean over their seeds; NaN if there are none. Empty competitions
/// do not count.
pub fn cluster_mean(clusters: &[Cluster]) -> f64 {
    let (sum, n) = clusters
        .iter()
        .filter(|c| !c.is_empty())
        .fold((0.0, 0_usize), |(s, n), c| (s + mean(c), n + 1));
    sum / n as f64
}

/// Exact two-sided McNemar test: `gained` and `lost` are the discordant pairs. 1 if there are none.
///
/// # Source
/// statsmodels 0.15 `stats.contingency_tables.mcnemar(exact=True)`.
pub fn mcnemar(gained: usize, lost: usize) -> f64 {
    let n = gained + lost;
    let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut tail = 0.0;
    for i in 0..=gained.min(lost) {
        tail += term;
        term *= (n - i) as f64 / (i + 1) as f64;
    }
    (2.0 * tail).min(1.0)
}

/// Holm's step-down correction; the result has the order of the input.
///
/// # Source
/// statsmodels 0.15 `stats.multitest.multipletests(method="holm")`.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let m = p_values.len();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; m];
    let mut highest: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        highest = highest.max((p_values[i] * (m - rank) as f64).min(1.0));
        adjusted[i] = highest;
    }
    adjusted
}

/// Standard error of a difference of two [`cluster_mean`]s, with its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandardError {
    /// The standard error.
    pub value: f64,
    /// Its degrees of freedom.
    pub degrees: f64,
}

impl StandardError {
    /// Of candidate minus baseline *on these competitions*, from (baseline, candidate) values a
    /// competition. `None` if a side has no competition with two attempts.
    pub fn on_these(pairs: &[(Cluster, Cluster)]) -> Option<Self> {
        let (b, c) = seed_spreads(pairs)?;
        let total = b.variance + c.variance;
        let spread = b.variance.powi(2) / b.degrees + c.variance.powi(2) / c.degrees;
        Some(Self { value: total.sqrt(), degrees: total * total / spread })
    }

    /// Of candidate minus baseline *on competitions like these*; at least that on these. `None` for
    /// fewer than two competitions, or if nothing varies.
    pub fn on_like_these(pairs: &[(Cluster, Cluster)]) -> Option<Self> {
        let differences: Vec<f64> = pairs.iter().map(|(b, c)| mean(c) - mean(b)).collect();
        let own = Self {
            value: (variance(&differences)? / differences.len() as f64).sqrt(),
            degrees: intervals::like_degrees(&differences),
        };
        match Self::on_these(pairs) {
            Some(these) if these.value > own.value => Some(these),
            _ => (own.value > 0.0).then_some(own),
        }
    }

    /// Smallest true difference that a two-sided test at `alpha` finds with probability `power`.
    pub fn detectable(self, alpha: f64, power: f64) -> f64 {
        let t = |p| t_quantile(p, self.degrees);
        (t(1.0 - alpha / 2.0) + t(power)) * self.value
    }
}

fn seed_spreads(pairs: &[(Cluster, Cluster)]) -> Option<(intervals::Spread, intervals::Spread)> {
    let side = |get: fn(&(Cluster, Cluster)) -> &Cluster| {
        intervals::between_seeds(&pairs.iter().map(|pair| get(pair).clone()).collect::<Vec<_>>())
    };
    Some((side(|p| &p.0)?, side(|p| &p.1)?))
}

/// Seeds a competition and side with which a one-sided test at `alpha` finds a true drop of `drop`
/// *on these competitions* with probability `power`; 1 at least. `None` if nothing varies.
///
/// Variances between seeds are those of the data. A side whose attempts never differ within a
/// competition, or that has one attempt each, is taken to vary as much as its rate allows.
pub fn seeds_needed(
    pairs: &[(Cluster, Cluster)],
    drop: f64,
    alpha: f64,
    power: f64,
) -> Option<SeedsNeeded> {
    let of = |get: fn(&(Cluster, Cluster)) -> &Cluster| -> (f64, bool) {
        let known: Vec<f64> = pairs.iter().filter_map(|pair| variance(get(pair))).collect();
        let seen = known.iter().sum::<f64>() / known.len().max(1) as f64;
        if seen > 0.0 {
            return (seen, false);
        }
        let rate = pairs.iter().map(|pair| mean(get(pair))).sum::<f64>() / pairs.len() as f64;
        (rate * (1.0 - rate), true)
    };
    let ((b, b_at_most), (c, c_at_most)) = (of(|p| &p.0), of(|p| &p.1));
    let quantiles = normal_quantile(1.0 - alpha) + normal_quantile(power);
    let seeds = ((quantiles / drop).powi(2) * (b + c) / pairs.len() as f64).ceil().max(1.0);
    let at_most = b_at_most || c_at_most;
    (b + c > 0.0).then_some(SeedsNeeded { seeds: seeds as u64, at_most })
}

/// What [`seeds_needed`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedsNeeded {
    /// Seeds a competition and side.
    pub seeds: u64,
    /// Whether fewer may do, because the data do not tell how much seeds vary.
    pub at_most: bool,
}

#[cfg(test)]
mod tests;
