//! Metrics over numbers.

use super::{Metric, MetricError, check_finite};
use crate::invalid::Refusal;
use crate::sum::mean;
use crate::task::Task;

/// Root mean squared error, averaged over the target columns.
pub static RMSE: Metric = Metric {
    name: "rmse",
    aliases: &["root_mean_squared_error", "mcrmse"],
    summary: "Root of the mean squared error; with several target columns the plain mean of theirs.",
    inputs: "finite numbers in every target column",
    source: "scikit-learn 1.5.2 `mean_squared_error(squared=False)`",
    options: &[],
    score: |task| mean_over_columns(task, rmse),
};

/// Mean absolute error, averaged over the target columns.
pub static MAE: Metric = Metric {
    name: "mae",
    aliases: &["mean_absolute_error"],
    summary: "Mean absolute error; with several target columns the plain mean of theirs.",
    inputs: "finite numbers in every target column",
    source: "scikit-learn 1.5.2 `mean_absolute_error`",
    options: &[],
    score: |task| mean_over_columns(task, mae),
};

/// Applies a metric over slices to every target column's pairs and takes the mean.
pub(crate) fn mean_over_columns(
    task: &Task<'_>,
    metric: impl Fn(&[f64], &[f64]) -> Result<f64, MetricError>,
) -> Result<f64, Refusal> {
    let scores: Result<Vec<f64>, Refusal> = (0..task.spec.target_columns.len())
        .map(|target| {
            let (truth, predicted) = (task.truth_numbers(target)?, task.predicted_numbers(target)?);
            metric(&truth, &predicted).map_err(|error| task.refuse(target, error))
        })
        .collect();
    Ok(mean(&scores?))
}

/// Root mean squared error of `y_pred` against `y_true`, both `[n]` and finite.
///
/// # Errors
/// [`MetricError`] if the lengths differ, there are no values, or one is not finite.
///
/// # Source
/// scikit-learn 1.5.2 `mean_squared_error`, then a square root.
pub fn rmse(y_true: &[f64], y_pred: &[f64]) -> Result<f64, MetricError> {
    check_finite(y_true, y_pred)?;
    let squares: Vec<f64> = y_true.iter().zip(y_pred).map(|(t, p)| (t - p) * (t - p)).collect();
    Ok(mean(&squares).sqrt())
}

/// Mean absolute error of `y_pred` against `y_true`, both `[n]` and finite.
///
/// # Errors
/// [`MetricError`] if the lengths differ, there are no values, or one is not finite.
///
/// # Source
/// scikit-learn 1.5.2 `mean_absolute_error`.
pub fn mae(y_true: &[f64], y_pred: &[f64]) -> Result<f64, MetricError> {
    check_finite(y_true, y_pred)?;
    let errors: Vec<f64> = y_true.iter().zip(y_pred).map(|(t, p)| (t - p).abs()).collect();
    Ok(mean(&errors))
}
