//! Metrics over scores whose order counts.

use super::{Metric, MetricError, check_lengths};
use crate::invalid::Refusal;
use crate::sum::mean;
use crate::table::{Column, Values};
use crate::task::Task;

/// Area under the ROC curve, averaged over the target columns.
pub static ROC_AUC: Metric = Metric {
    name: "roc_auc",
    aliases: &["auroc", "roc_auc_score", "mean_columnwise_roc_auc"],
    summary: "Area under the ROC curve; with several target columns the plain mean of theirs.",
    inputs: "per target column two classes in the truth (the larger one is positive) and finite scores",
    source: "scikit-learn 1.5.2 `roc_auc_score`",
    options: &[],
    score: |task| {
        let areas: Result<Vec<f64>, Refusal> =
            (0..task.spec.target_columns.len()).map(|target| column_auc(task, target)).collect();
        Ok(mean(&areas?))
    },
};

fn column_auc(task: &Task<'_>, target: usize) -> Result<f64, Refusal> {
    let positive = two_classes(task, target)?;
    let score = task.predicted_numbers(target)?;
    roc_auc(&positive, &score).map_err(|error| task.refuse(target, error))
}

/// The truth of a target as two classes, in the paired order; the larger label is `true`.
pub(crate) fn two_classes(task: &Task<'_>, target: usize) -> Result<Vec<bool>, Refusal> {
    let (column, rows) = (task.truth(target)?, task.pairs()?.answers);
    two_labels(&column)?;
    let labels = task.truth_numbers(target)?;
    let largest = labels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    debug_assert_eq!(labels.len(), rows.len());
    Ok(labels.into_iter().map(|label| label == largest).collect())
}

/// Refuses a truth with more than two labels or a missing one; one class only is left to the metric.
fn two_labels(column: &Column<'_>) -> Result<(), Refusal> {
    if let Values::Int(values) = column.values()
        && values.iter().all(|v| matches!(v, 0 | 1))
    {
        return Ok(());
    }
    let mut seen: Vec<f64> = Vec::new();
    for row in 0..column.len() {
        let label = column.number(row).filter(|v| !v.is_nan()).ok_or(MetricError::Missing { index: row })?;
        if !seen.contains(&label) {
            seen.push(label);
        }
        if seen.len() > 2 {
            return Err(MetricError::BadLabel { index: None, message: "the truth holds more than two classes" }.into());
        }
    }
    Ok(())
}

/// Area under the ROC curve for two classes.
///
/// `positive`: `[n]`, the true class. `score`: `[n]`, finite, higher means positive. Equal scores (`0.0` and `-0.0` too) count half.
///
/// # Errors
/// [`MetricError::OneClass`] if all rows are of one class; [`MetricError::Missing`] or [`MetricError::Infinite`] names the first bad row.
///
/// # Source
/// scikit-learn 1.5.2 `roc_auc_score` (binary). Differs from it in the order of additions: the pairs are counted exactly and divided
/// once, which is within 1e-15 of the sum of trapezoids.
pub fn roc_auc(positive: &[bool], score: &[f64]) -> Result<f64, MetricError> {
    check_lengths(positive.len(), score.len())?;
    let count = positive.iter().filter(|&&p| p).count();
    let (mut above, mut below) = (Vec::with_capacity(count), Vec::with_capacity(score.len() - count));
    for (index, (&positive, &score)) in positive.iter().zip(score).enumerate() {
        if !score.is_finite() {
            return Err(if score.is_nan() { MetricError::Missing { index } } else { MetricError::Infinite { index } });
        }
        if positive { &mut above } else { &mut below }.push(crate::ids::sortable(score));
    }
    if above.is_empty() || below.is_empty() {
        return Err(MetricError::OneClass);
    }
    rayon::join(|| above.sort_unstable(), || below.sort_unstable());
    // Twice the number of (positive, negative) pairs in the right order, plus the ties once.
    let mut halves: u128 = 0;
    let (mut lower, mut not_above) = (0, 0);
    for score in &above {
        while lower < below.len() && below[lower] < *score {
            lower += 1;
        }
        not_above = not_above.max(lower);
        while not_above < below.len() && below[not_above] <= *score {
            not_above += 1;
        }
        halves += (lower + not_above) as u128;
    }
    Ok(halves as f64 / (2.0 * above.len() as f64 * below.len() as f64))
}
