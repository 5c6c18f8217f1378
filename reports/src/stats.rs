//! Estimates, intervals and tests over attempts. Rates are fractions (0 to 1), never percent.
//!
//! Two questions are kept apart everywhere. *On these competitions*: the competitions are fixed,
//! only seeds vary. *On competitions like these*: the competitions are a sample too. The second
//! interval is the wider one.

mod bootstrap;
mod exact;
mod permutation;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

pub use self::bootstrap::{bootstrap_competitions, bootstrap_means, bootstrap_seeds};
pub use self::permutation::{Exchanged, permutation_differs, permutation_worse, sign_flip};

/// Resamples of every headline bootstrap and Monte-Carlo permutation test.
pub const RESAMPLES: usize = 10_000;
/// Resamples of bootstraps within a modality, complexity or category, of which a report has dozens.
pub const PART_RESAMPLES: usize = 2_000;
/// Seed of every resampling, so that equal inputs give equal reports.
pub const SEED: u64 = 0x006d_6564_616c_6973;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Interval {
    /// Cuts both ends to `low..=high`.
    #[must_use]
    pub fn clipped(self, low: f64, high: f64) -> Self {
        Self { lower: self.lower.clamp(low, high), upper: self.upper.clamp(low, high) }
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

    /// The sum of one value at random of each table. Tables must not be empty.
    fn draw_each<'a>(&mut self, mut tables: impl Iterator<Item = &'a [f64]>) -> f64 {
        let pick = |table: &[f64], bits: u64| table[((bits * table.len() as u64) >> 32) as usize];
        let mut sum = 0.0;
        // One number of 64 bits is enough for two draws.
        while let Some(table) = tables.next() {
            let bits = self.next_u64();
            sum += pick(table, bits >> 32);
            sum += tables.next().map_or(0.0, |table| pick(table, bits & 0xffff_ffff));
        }
        sum
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
    Some(Interval { lower: m - half, upper: m + half })
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
    Some(Interval { lower: centre - half, upper: centre + half }.clipped(0.0, 1.0))
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

/// Difference of two [`cluster_mean`]s on fixed competitions, with its standard error and degrees
/// of freedom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Candidate minus baseline.
    pub value: f64,
    /// Standard error over seeds; `None` if no competition has two attempts on both sides.
    pub standard_error: Option<f64>,
    /// Satterthwaite's degrees of freedom of the standard error.
    pub degrees: f64,
}

/// [`Difference`] of candidate and baseline from (baseline, candidate) values a competition.
///
/// Seeds are independent, so variances add over competitions and sides. Competitions with a single
/// attempt on a side take the mean variance of that side's others.
pub fn difference(pairs: &[(Cluster, Cluster)]) -> Difference {
    let pairs: Vec<_> = pairs.iter().filter(|(b, c)| !b.is_empty() && !c.is_empty()).collect();
    let m = pairs.len() as f64;
    let value = pairs.iter().map(|(b, c)| mean(c) - mean(b)).sum::<f64>() / m;
    let side = |get: fn(&(Cluster, Cluster)) -> &Cluster| {
        let known: Vec<f64> = pairs.iter().filter_map(|p| variance(get(p))).collect();
        let filler = if known.is_empty() { return None } else { mean(&known) };
        Some(
            pairs
                .iter()
                .map(move |p| {
                    let values = get(p);
                    let n = values.len() as f64;
                    (variance(values).unwrap_or(filler) / n, (n - 1.0).max(1.0))
                })
                .collect::<Vec<_>>(),
        )
    };
    let (Some(b), Some(c)) = (side(|p| &p.0), side(|p| &p.1)) else {
        return Difference { value, standard_error: None, degrees: 0.0 };
    };
    let total: f64 = b.iter().chain(&c).map(|(v, _)| v).sum();
    let spread: f64 = b.iter().chain(&c).map(|(v, df)| v * v / df).sum();
    Difference {
        value,
        standard_error: Some(total.sqrt() / m),
        degrees: if spread > 0.0 { total * total / spread } else { f64::INFINITY },
    }
}

/// Smallest true difference that a two-sided test at `alpha` finds with probability `power`, given
/// its standard error.
pub fn minimum_detectable(standard_error: f64, alpha: f64, power: f64) -> f64 {
    (normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)) * standard_error
}

#[cfg(test)]
mod tests;
