//! Sums of independent values on a grid, exactly. Medals are 0 or 1 and their means thirds, so what
//! a permutation test would draw ten thousand times can be written down.

/// Most steps of the grid that a sum may span; wider sums are drawn instead.
const WIDEST: usize = 2_048;
/// Largest denominator of values that are looked for.
const FINEST: u32 = 12;
/// Values this close to the grid lie on it.
const SLACK: f64 = 1e-9;

/// Values as whole steps above the lowest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    pub(super) low: f64,
    pub(super) step: f64,
    pub(super) steps: Vec<usize>,
}

impl Grid {
    /// The coarsest grid of a denominator up to 12 that holds all values; `None` if there is none,
    /// or if a sum of `terms` values would span more of it than can be added up quickly.
    pub(super) fn of(values: &[f64], terms: usize) -> Option<Self> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let denominator = (1..=FINEST).map(f64::from).find(|denominator| {
            (high - low) * denominator * terms as f64 <= WIDEST as f64
                && values.iter().all(|value| {
                    let steps = (value - low) * denominator;
                    (steps - steps.round()).abs() < SLACK
                })
        })?;
        let steps =
            values.iter().map(|value| ((value - low) * denominator).round() as usize).collect();
        Some(Self { low, step: 1.0 / denominator, steps })
    }
}

/// Probabilities of 0, 1, 2, ... steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum(pub(super) Vec<f64>);

impl Sum {
    /// The sum of nothing.
    pub(super) fn nothing() -> Self {
        Self(vec![1.0])
    }

    /// One of `steps`, each equally likely.
    pub(super) fn one_of(steps: &[usize]) -> Self {
        let mut chances = vec![0.0; steps.iter().max().map_or(1, |most| most + 1)];
        for step in steps {
            chances[*step] += 1.0 / steps.len() as f64;
        }
        Self(chances)
    }

    /// `count` of `steps`, drawn without replacement. `count` is at most their number.
    pub(super) fn some_of(steps: &[usize], count: usize) -> Self {
        // ways[j][s]: subsets of j elements so far that add up to s.
        let most: usize = steps.iter().sum();
        let mut ways = vec![vec![0.0; most + 1]; count + 1];
        ways[0][0] = 1.0;
        for (seen, step) in steps.iter().enumerate() {
            for j in (1..=count.min(seen + 1)).rev() {
                for s in (*step..=most).rev() {
                    ways[j][s] += ways[j - 1][s - step];
                }
            }
        }
        let chances = ways.swap_remove(count);
        let all: f64 = chances.iter().sum();
        Self(chances.into_iter().map(|ways| ways / all).collect())
    }

    /// The sum of two independent ones.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut chances = vec![0.0; self.0.len() + other.0.len() - 1];
        for (i, a) in self.0.iter().enumerate().filter(|(_, a)| **a > 0.0) {
            for (sum, b) in chances[i..].iter_mut().zip(&other.0) {
                *sum += a * b;
            }
        }
        Self(chances)
    }

    /// The sum of `count` independent copies.
    pub(super) fn times(&self, count: usize) -> Self {
        let (mut sum, mut power, mut left) = (Self::nothing(), self.clone(), count);
        while left > 0 {
            if left % 2 == 1 {
                sum = sum.plus(&power);
            }
            left /= 2;
            if left > 0 {
                power = power.plus(&power);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_the_coarsest_that_fits() {
        let grid = |values: &[f64], terms| {
            Grid::of(values, terms).map(|grid| ((1.0 / grid.step).round(), grid.steps))
        };
        assert_eq!(grid(&[0.0, 1.0, 1.0], 75), Some((1.0, vec![0, 1, 1])));
        assert_eq!(grid(&[1.0 / 3.0, 1.0, -1.0], 75), Some((3.0, vec![4, 6, 0])));
        assert_eq!(grid(&[0.5, 1.0 / 3.0], 2), Some((6.0, vec![1, 0])));
        assert_eq!(grid(&[0.0, 0.123_4], 2), None);
        assert_eq!(grid(&[0.0, 5_000.0], 1), None, "too wide to add up");
    }

    #[test]
    fn sums_agree_with_counting_all_outcomes() {
        // Two dice, and two of the three cards 0, 1, 3.
        let die = Sum::one_of(&[1, 2, 3, 4, 5, 6]);
        let two = die.times(2);
        assert_eq!(two, die.plus(&die));
        assert!((two.0[7] - 6.0 / 36.0).abs() < 1e-15 && (two.0[12] - 1.0 / 36.0).abs() < 1e-15);
        assert_eq!(Sum::some_of(&[0, 1, 3], 2).0, [0.0, 1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(Sum::some_of(&[2, 2], 2).0, [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(die.times(0), Sum::nothing());
    }
}
