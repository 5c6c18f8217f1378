//! Bootstrap intervals of means over competitions, for both questions.
//!
//! Ends lie where Efron's accelerated interval (BCa) puts them, so that a rate near 0 or 1, whose
//! distribution is skewed, is covered as often as one in the middle. For a mean, bias correction
//! and acceleration are both a sixth of the skewness of its distribution. Where values lie on a
//! grid, which medals do, the distribution is exact; else it is drawn.
//!
//! # Source
//! Efron and Tibshirani, "An introduction to the bootstrap", chapter 14; Davison and Hinkley,
//! "Bootstrap methods and their application", sections 2.6 and 3.8.

use std::collections::BTreeMap;

use super::exact::{Grid, Sum};
use super::{Cluster, Interval, Rng, mean, normal_cdf, normal_quantile, t_quantile, variance};

/// Most seeds of which every way of drawing them anew is tabulated.
const TABULATED: usize = 4;

/// Bootstrap interval of [`cluster_mean`](super::cluster_mean) *on these competitions*: seeds are
/// drawn anew within each competition.
///
/// Drawing n of n values understates their variance by (n - 1) / n, which matters at three seeds;
/// deviations are therefore stretched by sqrt(n / (n - 1)). The spread of so few seeds is itself
/// uncertain, so the ends are those of Student's t with Satterthwaite's degrees of freedom. `None`
/// if no competition has two seeds, or if no seed of any competition differs from its others: then
/// the data say nothing about how seeds vary.
pub fn bootstrap_seeds(clusters: &[Cluster], confidence: f64, rng: &mut Rng) -> Option<Interval> {
    let clusters: Vec<&Cluster> = clusters.iter().filter(|c| !c.is_empty()).collect();
    let varying: Vec<&Cluster> =
        clusters.iter().copied().filter(|c| c.iter().any(|x| x != &c[0])).collect();
    if varying.is_empty() {
        return None;
    }
    let m = clusters.len() as f64;
    let centre = clusters.iter().map(|c| mean(c)).sum::<f64>() / m;
    // Moments of the sum of the competitions' drawn means.
    let (mut total, mut spread, mut second, mut third) = (0.0, 0.0, 0.0, 0.0);
    for cluster in &varying {
        let (n, middle) = (cluster.len() as f64, mean(cluster));
        let error = variance(cluster).unwrap_or_default() / n;
        total += error;
        spread += error * error / (n - 1.0);
        second += cluster.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / n.powi(2);
        third += cluster.iter().map(|x| (x - middle).powi(3)).sum::<f64>() / n.powi(3);
    }
    let quantile = t_quantile(0.5 + confidence / 2.0, total * total / spread);
    let ends = ends(third / (6.0 * second.powf(1.5)), quantile);
    let shifts = exact_seed_shifts(&varying).unwrap_or_else(|| drawn_seed_shifts(&varying, rng));
    Some(shifts.interval(centre, 1.0 / m, ends))
}

/// Hierarchical bootstrap interval of [`cluster_mean`](super::cluster_mean) *on competitions like
/// these*.
///
/// Competitions are drawn with replacement, each with all its seeds: the spread of their means
/// already contains the seeds' (Davison and Hinkley, section 3.8, strategy 1), and drawing seeds a
/// second time would count it twice. Deviations are stretched by sqrt(m / (m - 1)) for m
/// competitions. `None` for fewer than two competitions or no spread.
pub fn bootstrap_competitions(
    clusters: &[Cluster],
    confidence: f64,
    rng: &mut Rng,
) -> Option<Interval> {
    let means: Vec<f64> = clusters.iter().filter(|c| !c.is_empty()).map(|c| mean(c)).collect();
    bootstrap_means(&means, confidence, rng)
}

/// [`bootstrap_competitions`] for values that are one a competition already, such as paired
/// differences.
pub fn bootstrap_means(means: &[f64], confidence: f64, rng: &mut Rng) -> Option<Interval> {
    let m = means.len();
    if m < 2 || means.iter().all(|x| x == &means[0]) {
        return None;
    }
    let centre = mean(means);
    let second: f64 = means.iter().map(|x| (x - centre).powi(2)).sum();
    let third: f64 = means.iter().map(|x| (x - centre).powi(3)).sum();
    let ends = ends(third / (6.0 * second.powf(1.5)), normal_quantile(0.5 + confidence / 2.0));
    let shifts = match Grid::of(means, m) {
        Some(grid) => Shifts::Exact { sum: Sum::one_of(&grid.steps).times(m), step: grid.step },
        None => {
            let table: Vec<f64> = means.iter().map(|x| x - centre).collect();
            Shifts::Drawn(
                (0..rng.resamples)
                    .map(|_| rng.draw_each((0..m).map(|_| table.as_slice())))
                    .collect(),
            )
        }
    };
    Some(shifts.interval(centre, (m as f64 / (m - 1) as f64).sqrt() / m as f64, ends))
}

/// Probabilities at which an interval ends whose normal or t quantile is `quantile`, given the
/// acceleration.
fn ends(acceleration: f64, quantile: f64) -> (f64, f64) {
    let at = |z: f64| {
        let moved = acceleration + z;
        let scale = 1.0 - acceleration * moved;
        // Beyond its pole the correction asks for the end of the distribution.
        if scale <= 0.0 {
            if moved > 0.0 { 1.0 } else { 0.0 }
        } else {
            normal_cdf(acceleration + moved / scale)
        }
    };
    (at(-quantile), at(quantile))
}

/// The distribution of a sum around its mean.
enum Shifts {
    Exact { sum: Sum, step: f64 },
    Drawn(Vec<f64>),
}

impl Shifts {
    /// `centre` plus the shifts at both probabilities, times `scale`.
    fn interval(self, centre: f64, scale: f64, (lower, upper): (f64, f64)) -> Interval {
        let (lower, upper) = match self {
            Self::Exact { sum, step } => {
                let middle = sum.mean();
                let at = |p| (sum.quantile(p) - middle) * step;
                (at(lower), at(upper))
            }
            Self::Drawn(mut draws) => {
                let mut at = |p: f64| {
                    let index = ((draws.len() - 1) as f64 * p).round() as usize;
                    *draws.select_nth_unstable_by(index, f64::total_cmp).1
                };
                (at(lower), at(upper))
            }
        };
        Interval { lower: centre + lower * scale, upper: centre + upper * scale }
    }
}

fn stretch(seeds: usize) -> f64 {
    (seeds as f64 / (seeds - 1) as f64).sqrt()
}

/// Sums of drawn means, stretched; `None` unless all competitions have equally many seeds with
/// values on one grid.
fn exact_seed_shifts(varying: &[&Cluster]) -> Option<Shifts> {
    let n = varying.first()?.len();
    if varying.iter().any(|cluster| cluster.len() != n) {
        return None;
    }
    let values: Vec<f64> = varying.iter().flat_map(|cluster| cluster.iter().copied()).collect();
    let grid = Grid::of(&values, values.len())?;
    let mut alike: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for steps in grid.steps.chunks(n) {
        let mut steps = steps.to_vec();
        steps.sort_unstable();
        *alike.entry(steps).or_default() += 1;
    }
    let sum = alike
        .iter()
        .fold(Sum::nothing(), |sum, (steps, count)| sum.plus(&Sum::one_of(steps).times(n * count)));
    Some(Shifts::Exact { sum, step: grid.step * stretch(n) / n as f64 })
}

fn drawn_seed_shifts(varying: &[&Cluster], rng: &mut Rng) -> Shifts {
    // Few seeds can be drawn in few ways: one look into a table replaces n draws.
    let (small, large): (Vec<&Cluster>, Vec<&Cluster>) =
        varying.iter().partition(|c| c.len() <= TABULATED);
    let tables: Vec<Vec<f64>> = small.iter().map(|cluster| all_shifts(cluster)).collect();
    let shift = |rng: &mut Rng| {
        let tabulated = rng.draw_each(tables.iter().map(Vec::as_slice));
        let others: f64 = large
            .iter()
            .map(|cluster| {
                let n = cluster.len();
                let drawn = (0..n).map(|_| cluster[rng.below(n)]).sum::<f64>() / n as f64;
                (drawn - mean(cluster)) * stretch(n)
            })
            .sum();
        tabulated + others
    };
    Shifts::Drawn((0..rng.resamples).map(|_| shift(rng)).collect())
}

/// Stretched shifts of the mean for every ordered draw of n of n values.
fn all_shifts(cluster: &Cluster) -> Vec<f64> {
    let n = cluster.len();
    let centre = mean(cluster);
    (0..n.pow(n as u32))
        .map(|draw| {
            let sum: f64 = (0..n).map(|place| cluster[draw / n.pow(place as u32) % n]).sum();
            (sum / n as f64 - centre) * stretch(n)
        })
        .collect()
}
