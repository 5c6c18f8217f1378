//! Intervals of means over competitions, and of their differences, for both questions.
//!
//! A mean of values in 0..1 has Wilson's score interval once its *effective* number of attempts is
//! known: the number of independent attempts whose mean would vary as much. That variance comes
//! from the data (between seeds for one question, between competitions for the other); because an
//! estimated variance is itself uncertain, Student's t takes the place of the normal quantile. The
//! form keeps its coverage near 0 and 1 and never leaves 0..1. Independent attempts never vary more
//! than equally likely ones, so the effective number is never below the plain one.
//!
//! An interval is *rough* where the simulations of `examples/coverage.rs` do not cover the truth 93
//! to 97 times in 100: few competitions, few wins or few losses, or a variance known from few of
//! the competitions.
//!
//! # Source
//! Effective sample sizes with t quantiles: Franco, Little, Louis and Slud, "Comparative study of
//! confidence intervals for proportions in complex sample surveys" (2019). Differences from the
//! intervals of both sides: Newcombe, "Interval estimation for the difference between independent
//! proportions" (1998), method 10. Degrees of freedom: Satterthwaite (1946).

use super::{Cluster, Interval, mean, normal_quantile, t_quantile, variance};

/// Fewest competitions of an interval on these competitions that is not rough.
const FEW_THESE: usize = 10;
/// Fewest competitions of an interval on competitions like these that is not rough.
const FEW_LIKE: usize = 20;
/// Fewest wins and losses, in effective attempts or competitions, of an interval that is not rough.
const FEW_EVENTS: f64 = 5.0;
/// The same in attempts for each side of a difference: with fewer, the ends of both sides together
/// reach too far.
const FEW_EVENTS_OF_A_SIDE: f64 = 25.0;
/// Fewest competitions that must differ for an interval of a difference on ones like these not to
/// be rough.
const FEW_DIFFERENT: f64 = 8.0;
/// Fewest degrees of freedom of a variance between seeds that is not rough.
const FEW_DEGREES: f64 = 10.0;
/// The same for fewer than [`SMALL`] competitions, whose rate moves in larger steps.
const FEW_DEGREES_OF_SMALL: f64 = 16.0;
/// Competitions below which more degrees of freedom are needed.
const SMALL: usize = 30;

/// A variance of a mean over competitions, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// Variance of the mean.
    pub(super) variance: f64,
    /// Degrees of freedom.
    pub(super) degrees: f64,
    /// Whether the variance is guessed from too few competitions.
    rough: bool,
}

/// Variance of the mean between runs with new seeds.
///
/// Variances add over competitions. One with a single attempt says nothing about its own variance
/// and takes the mean of the others'; how much these differ then counts in the degrees of freedom.
/// `None` if no competition has two attempts.
pub(super) fn between_seeds(clusters: &[Cluster]) -> Option<Spread> {
    let m = clusters.len() as f64;
    let known: Vec<(f64, f64)> =
        clusters.iter().filter_map(|c| Some((variance(c)?, c.len() as f64))).collect();
    let smallest = known.iter().map(|(_, n)| *n).reduce(f64::min)?;
    let singles = clusters.iter().filter(|c| c.len() == 1).count() as f64;
    let k = known.len() as f64;
    // How much a known variance weighs: for its own competition and for its share of the unknown.
    let weight = |n: f64| 1.0 / n + singles / k;
    let total: f64 = known.iter().map(|(s, n)| weight(*n) * s).sum();
    let rough = singles > 0.0 && known.len() < FEW_THESE;
    if total == 0.0 {
        // No two attempts differ. The variance is not 0 for that: it is taken for what it would be
        // if one competition had one attempt that differs.
        let least = weight(smallest) / smallest;
        return Some(Spread { variance: least / (m * m), degrees: smallest - 1.0, rough: true });
    }
    let normal: f64 = known.iter().map(|(s, n)| 2.0 * (weight(*n) * s).powi(2) / (n - 1.0)).sum();
    let differing = variance(&known.iter().map(|(s, _)| *s).collect::<Vec<_>>()).unwrap_or(0.0);
    let seen: f64 = known.iter().map(|(_, n)| weight(*n).powi(2) * differing).sum();
    let spread = if singles > 0.0 { normal.max(seen) } else { normal };
    Some(Spread { variance: total / (m * m), degrees: 2.0 * total * total / spread, rough })
}

/// Wilson's interval of `centre` with as many effective attempts as `spread` says, but at least
/// `least`.
fn wilson_of(centre: f64, spread: Option<Spread>, least: f64, confidence: f64) -> Interval {
    let z = normal_quantile(0.5 + confidence / 2.0);
    let effective = match spread {
        Some(spread) if centre > 0.0 && centre < 1.0 => {
            let t = t_quantile(0.5 + confidence / 2.0, spread.degrees);
            (centre * (1.0 - centre) / spread.variance * (z / t).powi(2)).max(least)
        }
        _ => least,
    };
    let denominator = 1.0 + z * z / effective;
    let middle = (centre + z * z / (2.0 * effective)) / denominator;
    let under_root = centre * (1.0 - centre) / effective + (z / (2.0 * effective)).powi(2);
    let half = z / denominator * under_root.max(0.0).sqrt();
    Interval::new(middle - half, middle + half).clipped(0.0, 1.0)
}

fn means(clusters: &[Cluster]) -> Vec<f64> {
    clusters.iter().map(|c| mean(c)).collect()
}

fn filled(clusters: &[Cluster]) -> Vec<Cluster> {
    clusters.iter().filter(|c| !c.is_empty()).cloned().collect()
}

/// Interval of [`cluster_mean`](super::cluster_mean) *on these competitions*: only seeds vary.
/// Values are 0 to 1.
///
/// `None` if no competition has two attempts: then the data say nothing about how seeds vary. For a
/// single competition it is Wilson's interval over its attempts.
pub fn on_these(clusters: &[Cluster], confidence: f64) -> Option<Interval> {
    on_these_with(clusters, confidence, FEW_EVENTS)
}

/// [`on_these`], which is rough with fewer than `few` wins or losses.
fn on_these_with(clusters: &[Cluster], confidence: f64, few: f64) -> Option<Interval> {
    let clusters = filled(clusters);
    let spread = between_seeds(&clusters)?;
    let m = clusters.len() as f64;
    let centre = mean(&means(&clusters));
    let attempts = m * m / clusters.iter().map(|c| 1.0 / c.len() as f64).sum::<f64>();
    let interval = wilson_of(centre, Some(spread), attempts, confidence);
    let events = attempts * centre.min(1.0 - centre);
    let few_degrees = if clusters.len() < SMALL { FEW_DEGREES_OF_SMALL } else { FEW_DEGREES };
    Some(interval.roughly(
        clusters.len() < FEW_THESE || events < few || spread.degrees < few_degrees || spread.rough,
    ))
}

/// Interval of [`cluster_mean`](super::cluster_mean) *on competitions like these*: competitions
/// vary too. Values are 0 to 1.
///
/// The spread of the competitions' means already contains the seeds'. `None` for fewer than two
/// competitions. Never narrower than [`on_these`].
pub fn on_like_these(clusters: &[Cluster], confidence: f64) -> Option<Interval> {
    let clusters = filled(clusters);
    let m = clusters.len();
    let means = means(&clusters);
    let variance = variance(&means)? / m as f64;
    let centre = mean(&means);
    let spread = Spread { variance, degrees: (m - 1) as f64, rough: false };
    let spread = (variance > 0.0).then_some(spread);
    let interval = wilson_of(centre, spread, m as f64, confidence);
    let rare: Vec<f64> = means.iter().map(|x| if centre < 0.5 { *x } else { 1.0 - x }).collect();
    let interval = interval.roughly(m < FEW_LIKE || taking_part(&rare) < FEW_EVENTS);
    Some(interval.wider(on_these(&clusters, confidence)))
}

/// How many of `values` their sum of squares is spread over: k for k equal ones beside zeros.
fn taking_part(values: &[f64]) -> f64 {
    let (second, fourth) = values.iter().fold((0.0, 0.0), |(a, b), x| (a + x * x, b + x.powi(4)));
    if fourth > 0.0 { second * second / fourth } else { 0.0 }
}

/// Interval of candidate minus baseline *on these competitions* from (baseline, candidate) values a
/// competition: both sides' [`on_these`], whose seeds are independent. `None` if either is.
pub fn difference_on_these(pairs: &[(Cluster, Cluster)], confidence: f64) -> Option<Interval> {
    let side = |get: fn(&(Cluster, Cluster)) -> &Cluster| -> Option<(f64, Interval)> {
        let clusters: Vec<Cluster> = pairs.iter().map(|pair| get(pair).clone()).collect();
        let interval = on_these_with(&clusters, confidence, FEW_EVENTS_OF_A_SIDE)?;
        Some((super::cluster_mean(&clusters), interval))
    };
    Some(newcombe(side(|p| &p.0)?, side(|p| &p.1)?))
}

/// Interval of second minus first *on competitions like these*, where both sides are different
/// competitions: both sides' [`on_like_these`], which are independent. `None` if a side has fewer than
/// two competitions.
pub fn difference_of_others(
    first: &[Cluster],
    second: &[Cluster],
    confidence: f64,
) -> Option<Interval> {
    let side = |clusters: &[Cluster]| -> Option<(f64, Interval)> {
        Some((super::cluster_mean(clusters), on_like_these(clusters, confidence)?))
    };
    Some(newcombe(side(first)?, side(second)?))
}

/// Interval of second minus first from the mean and interval of each.
fn newcombe((b, of_b): (f64, Interval), (c, of_c): (f64, Interval)) -> Interval {
    let down = (c - of_c.lower).hypot(of_b.upper - b);
    let up = (of_c.upper - c).hypot(b - of_b.lower);
    Interval::new(c - b - down, c - b + up).clipped(-1.0, 1.0).roughly(of_b.rough || of_c.rough)
}

/// Interval of candidate minus baseline *on competitions like these*: Student's t over the paired
/// differences, whose degrees of freedom follow from how many competitions the change is spread
/// over. `None` for fewer than two competitions. Never narrower than [`difference_on_these`].
pub fn difference_on_like_these(pairs: &[(Cluster, Cluster)], confidence: f64) -> Option<Interval> {
    let differences: Vec<f64> = pairs.iter().map(|(b, c)| mean(c) - mean(b)).collect();
    let m = differences.len() as f64;
    let taking_part = taking_part(&differences);
    let error = (variance(&differences)? / m).sqrt();
    let centre = mean(&differences);
    let half = t_quantile(0.5 + confidence / 2.0, like_degrees(&differences)) * error;
    let these = difference_on_these(pairs, confidence);
    let half = match these {
        Some(_) => half,
        // One attempt a competition. That few of them differ says little: with none of m, the
        // share that would is below Wilson's end.
        None => {
            let z = normal_quantile(0.5 + confidence / 2.0);
            half.max(z * z / (m + z * z))
        }
    };
    let interval = Interval::new(centre - half, centre + half).clipped(-1.0, 1.0);
    let rough = differences.len() < FEW_LIKE
        || taking_part < FEW_DIFFERENT
        || these.is_some_and(|these| these.rough);
    Some(interval.roughly(rough).wider(these))
}

/// Degrees of freedom of the variance of paired differences of which most may be 0.
pub(super) fn like_degrees(differences: &[f64]) -> f64 {
    (2.0 * taking_part(differences)).clamp(1.0, (differences.len() as f64 - 1.0).max(1.0))
}
