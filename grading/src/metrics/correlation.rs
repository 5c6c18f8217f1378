//! Correlation coefficients.

use super::Metric;
use crate::ids::{Rows, compare};
use crate::invalid::Refusal;
use crate::sum::mean;
use crate::table::Column;
use crate::task::Task;

/// Spearman's rank correlation, averaged over the target columns.
pub static SPEARMAN: Metric = Metric {
    name: "spearman",
    aliases: &["spearmanr", "mean_columnwise_spearman"],
    summary: "Pearson's correlation of the ranks; with several target columns the plain mean of theirs.",
    inputs: "columns that can be ordered, text by code point; a constant column or a missing cell gives NaN",
    source: "scipy 1.13.1 `spearmanr`",
    options: &[],
    score: |task| {
        let scores: Result<Vec<f64>, Refusal> =
            (0..task.spec.target_columns.len()).map(|target| column_spearman(task, target)).collect();
        Ok(mean(&scores?))
    },
};

fn column_spearman(task: &Task<'_>, target: usize) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(target)?, task.prediction(target)?, task.pairs()?);
    if truth.first_missing().is_some() || prediction.first_missing().is_some() {
        return Ok(f64::NAN);
    }
    Ok(correlation(&average_ranks(truth, pairs.answers), &average_ranks(prediction, pairs.submission)))
}

/// The ranks, from 1, of a column's cells in the given order of rows; equal cells share the mean of their ranks.
fn average_ranks(column: Column<'_>, rows: &Rows) -> Vec<f64> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let by_value = |a: usize, b: usize| compare(column, rows.at(a), column, rows.at(b));
    order.sort_unstable_by(|&a, &b| by_value(a, b));
    let mut ranks = vec![0.0; order.len()];
    let mut from = 0;
    while from < order.len() {
        let to = (from..order.len()).find(|&k| by_value(order[from], order[k]).is_ne()).unwrap_or(order.len());
        for &place in &order[from..to] {
            ranks[place] = (from + 1 + to) as f64 / 2.0;
        }
        from = to;
    }
    ranks
}

/// Pearson's correlation of two finite samples of equal length; NaN if one is constant.
///
/// # Source
/// numpy 1.26.4 `corrcoef`: centred, scaled by the roots of the variances, clipped to [-1, 1].
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    if xx == 0.0 || yy == 0.0 { f64::NAN } else { (xy / xx.sqrt() / yy.sqrt()).clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_has_its_usual_values() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-15);
        assert!((correlation(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]) - 0.5).abs() < 1e-15);
        assert!(correlation(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}
