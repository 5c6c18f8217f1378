//! Correlation coefficients.

use super::{Metric, check_finite};
use crate::form::Form;
use crate::ids::{Rows, compare, same};
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::labels::not_numeric;
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
    validate: |form| {
        (0..form.spec.target_columns.len()).try_for_each(|k| form.prediction(k).map(drop))?;
        form.submitted_rows().map(drop)
    },
    score: |task| {
        let scores: Result<Vec<f64>, Refusal> = (0..task.spec.target_columns.len())
            .map(|target| column_spearman(task, target))
            .collect();
        Ok(mean(&scores?))
    },
};

fn column_spearman(task: &Task<'_>, target: usize) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(target)?, task.prediction(target)?, task.pairs()?);
    if truth.first_missing().is_some() || prediction.first_missing().is_some() {
        return Ok(f64::NAN);
    }
    Ok(pearson(&average_ranks(truth, pairs.expected), &average_ranks(prediction, pairs.submission)))
}

/// The ranks, from 1, of a column's cells in the given order of rows; equal cells share the mean of
/// their ranks.
fn average_ranks(column: Column<'_>, rows: &Rows) -> Vec<f64> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    let by_value =
        |a: u32, b: u32| compare(column, rows.at(a as usize), column, rows.at(b as usize));
    order.sort_unstable_by(|&a, &b| by_value(a, b));
    let mut ranks = vec![0.0; order.len()];
    let mut from = 0;
    while from < order.len() {
        let to = (from..order.len())
            .find(|&k| by_value(order[from], order[k]).is_ne())
            .unwrap_or(order.len());
        for &place in &order[from..to] {
            ranks[place as usize] = (from + 1 + to) as f64 / 2.0;
        }
        from = to;
    }
    ranks
}

/// Pearson's coefficient.
pub static PEARSON: Metric = Metric {
    name: "pearsonr",
    aliases: &["pearson", "pearson_correlation"],
    summary: "Pearson's correlation coefficient; NaN if either column is constant.",
    inputs: "one numeric column; a constant column of any kind gives NaN",
    source: "scipy 1.13.1 `stats.pearsonr`",
    options: &[],
    validate: correlated_numbers,
    score: pearson_of_columns,
};

/// Whether every cell equals the first one, which a missing cell never does.
fn is_constant(column: &Column<'_>) -> bool {
    (0..column.len()).all(|row| same(*column, row, *column, 0))
}

/// Numbers for a correlation. A constant column, of whatever kind, has none: that is NaN.
fn correlated_numbers(form: &Form<'_>) -> Result<(), Refusal> {
    let prediction = form.prediction(0)?;
    two_rows(form)?;
    if is_constant(&prediction) {
        return Ok(());
    }
    ordinary_numbers(&prediction)?;
    // Of two rows scipy only looks at the signs of the differences.
    if prediction.len() > 2 { super::finite_cells(form) } else { Ok(()) }
}

fn two_rows(form: &Form<'_>) -> Result<(), Refusal> {
    if form.submitted_rows()?.len() >= 2 {
        return Ok(());
    }
    let message = "a correlation needs at least two rows";
    Err(InvalidSubmission::new(InvalidKind::Undefined, message).into())
}

fn ordinary_numbers(prediction: &Column<'_>) -> Result<(), InvalidSubmission> {
    if prediction.is_numeric() || prediction.is_empty() {
        return Ok(());
    }
    Err(not_numeric(prediction))
}

fn pearson_of_columns(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction) = (task.truth(0)?, task.prediction(0)?);
    two_rows(task.form())?;
    if is_constant(&truth) || is_constant(&prediction) {
        return Ok(f64::NAN);
    }
    ordinary_numbers(&prediction)?;
    let (x, y) = (task.truth_numbers(0)?, task.predicted_numbers(0)?);
    // With two rows scipy takes the signs of the differences and looks at nothing else.
    if x.len() > 2 {
        check_finite(&x, &y).map_err(|error| task.refuse(0, error))?;
    }
    Ok(pearson(&x, &y))
}

/// Pearson's correlation coefficient, clipped to [-1, 1].
///
/// `x`, `y`: `[n]`, finite. NaN if either is constant. The centred columns are divided by their
/// norms before they are multiplied, so values of any size neither overflow nor underflow. For two
/// rows it is the product of the two signs.
///
/// # Source
/// scipy 1.13.1 `stats.pearsonr`.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let constant = |values: &[f64]| values.windows(2).all(|pair| pair[0] == pair[1]);
    if constant(x) || constant(y) {
        return f64::NAN;
    }
    if let (&[x0, x1], &[y0, y1]) = (x, y) {
        // Neither difference is 0, and one that is NaN has a NaN sign.
        return (x1 - x0).signum() * (y1 - y0).signum();
    }
    let (x, y) = (unit_vector(x), unit_vector(y));
    x.iter().zip(&y).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0)
}

/// The values minus their mean, scaled to length 1.
fn unit_vector(values: &[f64]) -> Vec<f64> {
    // Differences to the first value are summed, so a large common offset costs no digits.
    let origin = values[0];
    let mean = origin + values.iter().map(|v| v - origin).sum::<f64>() / values.len() as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let largest = centred.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
    let norm = largest * centred.iter().map(|v| (v / largest).powi(2)).sum::<f64>().sqrt();
    centred.iter().map(|v| v / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_and_extreme_values() {
        let y = [1.0, 2.0, 4.0, 3.0];
        let plain = pearson(&[1.0, 2.0, 3.0, 4.0], &y);
        assert!((plain - 0.8).abs() < 1e-15);
        for scale in [1e-200, 1e-310, 1e200] {
            assert!(
                (pearson(&[scale, 2.0 * scale, 3.0 * scale, 4.0 * scale], &y) - plain).abs() < 1e-9,
                "{scale}"
            );
        }
        assert!((pearson(&[1e7 + 1.0, 1e7 + 2.0, 1e7 + 3.0, 1e7 + 4.0], &y) - plain).abs() < 1e-12);
        assert_eq!(pearson(&[1.0, 2.0], &[5.0, -5.0]), -1.0);
        assert!(pearson(&[1.0, 1.0], &[5.0, -5.0]).is_nan());
    }

    proptest! {
        #[test]
        fn the_coefficient_is_symmetric_and_in_range(rows in proptest::collection::vec((-3_i8..3, -3_i8..3), 2..50)) {
            let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|&(a, b)| (f64::from(a), f64::from(b))).unzip();
            let score = pearson(&x, &y);
            prop_assert!(score.is_nan() || ((-1.0..=1.0).contains(&score) && (score - pearson(&y, &x)).abs() < 1e-12));
            let perfect = pearson(&x, &x);
            prop_assert!(perfect.is_nan() || perfect > 1.0 - 1e-12);
        }
    }
}
