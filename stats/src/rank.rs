//! Rank correlation.

use serde::{Deserialize, Serialize};

use super::{Interval, mean, normal_quantile};

/// Fewest pairs of an interval that is not rough.
const FEW: usize = 10;

/// Spearman's rank correlation of pairs, with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankCorrelation {
    /// From -1 to 1; ties have the mean of their ranks.
    pub rho: f64,
    /// Where the true one may be.
    pub interval: Interval,
    /// Pairs.
    pub pairs: usize,
}

/// Spearman's rank correlation; `None` for fewer than four pairs, for values that are no numbers, and
/// where one side does not vary.
///
/// # Source
/// The coefficient is scipy 1.17 `stats.spearmanr`. The interval is Fisher's with the variance of
/// Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman
/// correlations" (2000). Where all ranks agree, it is that of the nearest coefficient that one swap of
/// neighbours leaves, since the form has none for 1.
pub fn spearman(pairs: &[(f64, f64)], confidence: f64) -> Option<RankCorrelation> {
    let n = pairs.len();
    if n < 4 || pairs.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return None;
    }
    let x = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let y = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let (mx, my) = (mean(&x), mean(&y));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(a, b)| f(a - mx, b - my)).sum::<f64>();
    let (xx, yy) = (sum(&|a, _| a * a), sum(&|_, b| b * b));
    if xx == 0.0 || yy == 0.0 {
        return None;
    }
    let rho = (sum(&|a, b| a * b) / (xx * yy).sqrt()).clamp(-1.0, 1.0);
    let m = n as f64;
    let most = 1.0 - 12.0 / (m * (m * m - 1.0));
    let near = rho.clamp(-most, most);
    let error = ((1.0 + near * near / 2.0) / (m - 3.0)).sqrt();
    let half = normal_quantile(0.5 + confidence / 2.0) * error;
    let interval = Interval::new((near.atanh() - half).tanh(), (near.atanh() + half).tanh());
    // The coefficient itself is always inside.
    let interval =
        Interval { lower: interval.lower.min(rho), upper: interval.upper.max(rho), ..interval };
    Some(RankCorrelation { rho, interval: interval.roughly(n < FEW), pairs: n })
}

/// The ranks of values, from 1; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = |at: &usize| values[order[*at]] == values[order[start]];
        let end = (start..order.len()).take_while(same).count() + start;
        for &at in &order[start..end] {
            ranks[at] = (start + end + 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_ties() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ranks(&[]), Vec::<f64>::new());
    }

    #[test]
    fn the_coefficient_is_that_of_squared_differences_of_ranks() {
        // Without ties rho is 1 - 6 Σd² / (n (n² - 1)): d² sums to 8 here, so 1 - 48 / 120.
        let pairs = [(10.0, 2.0), (20.0, 1.0), (30.0, 5.0), (40.0, 3.0), (50.0, 4.0)];
        let found = spearman(&pairs, 0.95).expect("five pairs");
        assert!((found.rho - 0.6).abs() < 1e-12, "{found:?}");
        assert!(found.interval.rough && found.interval.lower < 0.0 && found.interval.upper < 1.0);
        let turned: Vec<(f64, f64)> = pairs.iter().map(|(x, y)| (*x, -*y)).collect();
        let other = spearman(&turned, 0.95).expect("five pairs");
        assert!((other.rho + found.rho).abs() < 1e-12);
        assert!((other.interval.lower + found.interval.upper).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_that_of_bonett_and_wright() {
        let pairs: Vec<(f64, f64)> =
            (0..20).map(|i| (f64::from(i), f64::from((i * 7) % 20))).collect();
        let found = spearman(&pairs, 0.95).expect("twenty pairs");
        let half = 1.959_963_984_540_054 * ((1.0 + found.rho.powi(2) / 2.0) / 17.0).sqrt();
        assert!((found.interval.upper - (found.rho.atanh() + half).tanh()).abs() < 1e-9);
        assert!(!found.interval.rough);
    }

    #[test]
    fn few_or_equal_values_have_none_and_perfect_ones_an_interval() {
        assert_eq!(spearman(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], 0.95), None);
        assert_eq!(spearman(&[(1.0, 1.0); 5], 0.95), None);
        assert_eq!(spearman(&[(1.0, f64::NAN); 5], 0.95), None);
        let all: Vec<(f64, f64)> = (0..6).map(|i| (f64::from(i), f64::from(i * i))).collect();
        let found = spearman(&all, 0.95).expect("six pairs");
        assert!(found.rho > 1.0 - 1e-12 && found.interval.lower < found.rho);
        assert!(found.interval.upper >= found.rho);
    }
}
