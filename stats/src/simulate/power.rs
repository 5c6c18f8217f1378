//! What difference of medal rates a suite of some size finds, with the test that comparisons use.

use super::coverage::Rates;
use crate::{Cluster, Rng, mean, permutation_differs};

/// A comparison of two agents over a suite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suite {
    /// Competitions.
    pub competitions: usize,
    /// Attempts of each agent on each of them.
    pub seeds: usize,
    /// How the rates of the weaker agent are spread; drawn anew for every comparison.
    pub rates: Rates,
}

/// A share of comparisons in which a difference was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// True difference of the mean medal rates, over the comparisons.
    pub difference: f64,
    /// Share of comparisons in which it was found.
    pub found: f64,
}

impl Suite {
    /// Makes up `runs` comparisons in which the chance of a medal is `shift` higher for one agent, at most 1, and counts
    /// those in which the two-sided test *on these competitions* is sure at `alpha`.
    pub fn power(&self, shift: f64, alpha: f64, runs: usize, seed: u64) -> Power {
        let mut rng = Rng::new(seed);
        let (mut found, mut difference) = (0, 0.0);
        for _ in 0..runs {
            let attempts = |rate: f64, rng: &mut Rng| -> Cluster {
                (0..self.seeds).map(|_| if rng.unit() < rate { 1.0 } else { 0.0 }).collect()
            };
            let mut shifts = Vec::with_capacity(self.competitions);
            let pairs: Vec<(Cluster, Cluster)> = (0..self.competitions)
                .map(|_| {
                    let low = self.rates.draw(&mut rng);
                    let high = (low + shift).min(1.0);
                    shifts.push(high - low);
                    (attempts(low, &mut rng), attempts(high, &mut rng))
                })
                .collect();
            difference += mean(&shifts);
            found += usize::from(permutation_differs(&pairs, &mut rng) <= alpha);
        }
        Power { difference: difference / runs as f64, found: found as f64 / runs as f64 }
    }

    /// The smallest true difference that is found with probability `power`; none if not even the largest is.
    pub fn detectable(&self, power: f64, alpha: f64, runs: usize) -> Option<f64> {
        let (mut low, mut high) = (0.0, 1.0);
        if self.power(high, alpha, runs, 0).found < power {
            return None;
        }
        // The same draws at each step, so that more is never found less.
        for _ in 0..10 {
            let middle = (low + high) / 2.0;
            if self.power(middle, alpha, runs, 0).found < power {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(self.power(high, alpha, runs, 0).difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_found_where_nothing_differs() {
        for seeds in [1, 3] {
            let suite = Suite { competitions: 12, seeds, rates: Rates::Uniform };
            let none = suite.power(0.0, 0.05, 2000, 1);
            assert_eq!(none.difference, 0.0);
            assert!(none.found <= 0.05 + 0.01, "{none:?}");
        }
    }

    #[test]
    fn more_seeds_find_smaller_differences() {
        let of = |seeds| {
            Suite { competitions: 12, seeds, rates: Rates::Extreme }.detectable(0.8, 0.05, 400)
        };
        let (three, ten) = (of(3).unwrap(), of(10).unwrap());
        assert!((0.12..0.35).contains(&three) && ten < three - 0.05, "{three} {ten}");
        let one = Suite { competitions: 3, seeds: 1, rates: Rates::Extreme };
        assert_eq!(one.detectable(0.8, 0.05, 100), None, "three attempts are never sure");
    }
}
