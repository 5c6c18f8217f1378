//! Permutation tests: labels of attempts exchanged within competitions, and signs of paired
//! differences flipped.
//!
//! Where values lie on a grid, which medals do, all permutations are counted and p values are
//! exact; so are they for a single competition. Else permutations are drawn, and the observed one
//! is counted in.

use std::collections::BTreeMap;

use super::exact::{Grid, Sum};
use super::{Cluster, Rng, mean};

/// Sums of the same numbers in another order differ in their last bits; they count as equal within
/// this.
const SLACK: f64 = 1e-9;
/// Most attempts of a single competition of which every exchange is listed.
const LISTED: usize = 14;

/// Sum over competitions of the difference of means, candidate minus baseline, when labels are
/// exchanged.
#[derive(Debug, Clone)]
pub struct Exchanged {
    observed: f64,
    competitions: usize,
    null: Null,
}

#[derive(Debug, Clone)]
enum Null {
    /// `low + k * step` has probability `sum[k]`.
    Exact { sum: Sum, low: f64, step: f64 },
    /// All values, equally likely.
    Listed(Vec<f64>),
    /// Random ones.
    Drawn(Vec<f64>),
}

impl Exchanged {
    /// Exchanges labels within each of `pairs`: (baseline values, candidate values) of a
    /// competition. Empty sides do not count.
    pub fn new(pairs: &[(Cluster, Cluster)], rng: &mut Rng) -> Self {
        let pairs: Vec<_> = pairs.iter().filter(|(b, c)| !b.is_empty() && !c.is_empty()).collect();
        let observed: f64 = pairs.iter().map(|(b, c)| mean(c) - mean(b)).sum();
        // A pool: values of both sides, and how many of them are the candidate's. Pools of equal
        // values have nothing to exchange, and their difference is 0.
        let pools: Vec<(Vec<f64>, usize)> = pairs
            .iter()
            .map(|(b, c)| (c.iter().chain(b).copied().collect::<Vec<f64>>(), c.len()))
            .filter(|(pool, _)| pool.iter().any(|x| x != &pool[0]))
            .collect();
        let null = exact(&pools).or_else(|| listed(&pools)).unwrap_or_else(|| drawn(&pools, rng));
        Self { observed, competitions: pairs.len(), null }
    }

    /// One-sided p value that the candidate is worse. Valid *on these competitions* without any
    /// assumption on how often seeds agree.
    pub fn p_worse(&self) -> f64 {
        self.share(|value| value <= self.observed + SLACK)
    }

    /// Two-sided p value that the sides differ.
    pub fn p_differs(&self) -> f64 {
        self.share(|value| value.abs() >= self.observed.abs() - SLACK)
    }

    fn share(&self, extreme: impl Fn(f64) -> bool) -> f64 {
        let hits = |values: &[f64]| values.iter().filter(|value| extreme(**value)).count();
        match &self.null {
            Null::Exact { sum, low, step } => {
                let at = |k: usize| low + k as f64 * step;
                let share: f64 = sum
                    .0
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| extreme(at(*k)))
                    .map(|(_, chance)| chance)
                    .sum();
                share.min(1.0)
            }
            Null::Listed(values) => hits(values) as f64 / values.len() as f64,
            Null::Drawn(values) => (hits(values) + 1) as f64 / (values.len() + 1) as f64,
        }
    }

    /// The drop of the mean over competitions from which on [`Exchanged::p_worse`] is at most
    /// `alpha`, less half a step of the grid, so that a normal variable passes it as often as the
    /// drop reaches it. Infinite if no drop can be that sure.
    pub fn critical_drop(&self, alpha: f64) -> f64 {
        let sum = match &self.null {
            Null::Exact { sum, low, step } => {
                let mut tail = 0.0;
                let sure = sum.0.iter().take_while(|chance| {
                    tail += **chance;
                    tail <= alpha
                });
                match sure.count() {
                    0 => f64::NEG_INFINITY,
                    n => low + (n as f64 - 0.5) * step,
                }
            }
            Null::Listed(values) | Null::Drawn(values) => {
                let mut values = values.clone();
                values.sort_by(f64::total_cmp);
                match (alpha * values.len() as f64).floor() as usize {
                    0 => f64::NEG_INFINITY,
                    n => values[n - 1],
                }
            }
        };
        -sum / self.competitions as f64
    }
}

/// Counts all exchanges; `None` unless all pools are of one size with values on one grid.
fn exact(pools: &[(Vec<f64>, usize)]) -> Option<Null> {
    let Some((first, taken)) = pools.first() else {
        return Some(Null::Exact { sum: Sum::nothing(), low: 0.0, step: 1.0 });
    };
    let (size, taken) = (first.len(), *taken);
    if pools.iter().any(|(pool, n)| (pool.len(), *n) != (size, taken)) {
        return None;
    }
    let values: Vec<f64> = pools.iter().flat_map(|(pool, _)| pool.iter().copied()).collect();
    let grid = Grid::of(&values, values.len())?;
    let mut alike: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for steps in grid.steps.chunks(size) {
        let mut steps = steps.to_vec();
        steps.sort_unstable();
        *alike.entry(steps).or_default() += 1;
    }
    let sum = alike.iter().fold(Sum::nothing(), |sum, (steps, count)| {
        sum.plus(&Sum::some_of(steps, taken).times(*count))
    });
    // The candidate's sum decides the difference, for the pool's sum is given; both count from the
    // grid's lowest value.
    let (candidate, baseline) = (1.0 / taken as f64, 1.0 / (size - taken) as f64);
    let total: usize = grid.steps.iter().sum();
    Some(Null::Exact {
        sum,
        low: -(total as f64) * grid.step * baseline,
        step: grid.step * (candidate + baseline),
    })
}

/// Lists every exchange within a single small pool.
fn listed(pools: &[(Vec<f64>, usize)]) -> Option<Null> {
    let [(pool, taken)] = pools else { return None };
    if pool.len() > LISTED {
        return None;
    }
    let total: f64 = pool.iter().sum();
    let values = (0_u32..1 << pool.len())
        .filter(|mask| mask.count_ones() as usize == *taken)
        .map(|mask| {
            let candidate: f64 =
                pool.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, x)| x).sum();
            candidate / *taken as f64 - (total - candidate) / (pool.len() - taken) as f64
        })
        .collect();
    Some(Null::Listed(values))
}

fn drawn(pools: &[(Vec<f64>, usize)], rng: &mut Rng) -> Null {
    let mut pools: Vec<(Vec<f64>, usize, f64)> =
        pools.iter().map(|(pool, taken)| (pool.clone(), *taken, pool.iter().sum())).collect();
    let values = (0..rng.resamples)
        .map(|_| {
            let mut difference = 0.0;
            for (pool, taken, total) in &mut pools {
                let mut candidate = 0.0;
                for i in 0..*taken {
                    let j = i + rng.below(pool.len() - i);
                    pool.swap(i, j);
                    candidate += pool[i];
                }
                difference +=
                    candidate / *taken as f64 - (*total - candidate) / (pool.len() - *taken) as f64;
            }
            difference
        })
        .collect();
    Null::Drawn(values)
}

/// One-sided p value that the candidate is worse; see [`Exchanged`].
pub fn permutation_worse(pairs: &[(Cluster, Cluster)], rng: &mut Rng) -> f64 {
    Exchanged::new(pairs, rng).p_worse()
}

/// Two-sided form of [`permutation_worse`].
pub fn permutation_differs(pairs: &[(Cluster, Cluster)], rng: &mut Rng) -> f64 {
    Exchanged::new(pairs, rng).p_differs()
}

/// Two-sided sign-flip test that paired differences are symmetric about 0.
///
/// Exact over all sign patterns where differences lie on a grid or at most 16 are not 0, else by
/// random patterns with the observed one counted in. 1 if all differences are 0.
///
/// # Source
/// Agrees with scipy 1.17 `stats.permutation_test((d,), mean, permutation_type="samples")` where
/// that is exact.
pub fn sign_flip(differences: &[f64], rng: &mut Rng) -> f64 {
    let nonzero: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = nonzero.iter().sum::<f64>().abs();
    let reaches = |sum: f64| sum.abs() >= observed - SLACK;
    // A sum with random signs is twice the sum of those with plus, less the sum of all.
    let sizes: Vec<f64> = nonzero.iter().map(|d| d.abs()).chain([0.0]).collect();
    let total: f64 = sizes.iter().sum();
    if let Some(grid) = Grid::of(&sizes, sizes.len()) {
        let mut alike: BTreeMap<usize, usize> = BTreeMap::new();
        for steps in grid.steps.iter().filter(|steps| **steps > 0) {
            *alike.entry(*steps).or_default() += 1;
        }
        let plus = alike.iter().fold(Sum::nothing(), |sum, (steps, count)| {
            sum.plus(&Sum::one_of(&[0, *steps]).times(*count))
        });
        let chances = plus.0.iter().enumerate();
        let share: f64 = chances
            .filter(|(k, _)| reaches(2.0 * *k as f64 * grid.step - total))
            .map(|(_, p)| p)
            .sum();
        return share.min(1.0);
    }
    if nonzero.len() <= 16 {
        let all = 1_u32 << nonzero.len();
        let hits = (0..all)
            .filter(|pattern| {
                reaches(
                    nonzero
                        .iter()
                        .enumerate()
                        .map(|(i, d)| if pattern >> i & 1 == 1 { -d } else { *d })
                        .sum(),
                )
            })
            .count();
        return hits as f64 / f64::from(all);
    }
    let hits = (0..rng.resamples)
        .filter(|_| {
            let mut bits = 0;
            reaches(
                nonzero
                    .iter()
                    .enumerate()
                    .map(|(i, d)| {
                        if i % 64 == 0 {
                            bits = rng.next_u64();
                        }
                        let flip = bits & 1 == 1;
                        bits >>= 1;
                        if flip { -d } else { *d }
                    })
                    .sum(),
            )
        })
        .count();
    (hits + 1) as f64 / (rng.resamples + 1) as f64
}
