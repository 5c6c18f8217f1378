//! Errors of predicted numbers beyond the usual ones: squares, shares, quantiles, weights.

use super::{Metric, MetricError, MetricOption, OptionKind, check_finite};
use crate::invalid::{Refusal, bad_answer};
use crate::sum::{mean, pairwise_sum};
use crate::task::Task;

const NUMBERS: &str = "numeric columns, finite";

const WEIGHT: MetricOption = MetricOption {
    name: "weight",
    kind: OptionKind::Text,
    required: true,
    doc: "the answers' column with the weight of a row, at least 0",
};

/// Mean squared error.
pub static MSE: Metric = Metric {
    name: "mse",
    aliases: &["mean_squared_error"],
    summary: "Mean squared error, averaged over the target columns.",
    inputs: NUMBERS,
    source: "scikit-learn 1.5.2 `mean_squared_error`",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, mse),
};

/// Mean squared logarithmic error.
pub static MSLE: Metric = Metric {
    name: "msle",
    aliases: &["mean_squared_log_error"],
    summary: "Mean squared error of the logarithms of one plus the value, averaged over the target columns.",
    inputs: "numeric columns, finite and not negative",
    source: "scikit-learn 1.5.2 `mean_squared_log_error`",
    options: &[],
    validate: |form| {
        form.finite_targets(|value, index| (value < 0.0).then_some(MetricError::Negative { index }))
    },
    score: |task| over_columns(task, msle),
};

/// Mean absolute percentage error.
pub static MAPE: Metric = Metric {
    name: "mape",
    aliases: &["mean_absolute_percentage_error"],
    summary: "Mean of |truth - predicted| / max(|truth|, floor), averaged over the target columns; 0.1 is ten percent.",
    inputs: NUMBERS,
    source: "scikit-learn 1.5.2 `mean_absolute_percentage_error`",
    options: &[MetricOption {
        name: "floor",
        kind: OptionKind::Number,
        required: false,
        doc: "Least value that an error is divided by. Default 2^-52.",
    }],
    validate: super::finite_cells,
    score: |task| {
        let floor = task.spec.number("floor").unwrap_or(f64::EPSILON);
        over_columns(task, |truth, predicted| mape(truth, predicted, floor))
    },
};

/// Symmetric mean absolute percentage error.
pub static SMAPE: Metric = Metric {
    name: "smape",
    aliases: &["symmetric_mean_absolute_percentage_error"],
    summary: "100 times the mean of 2 |truth - predicted| / (|truth| + |predicted|), 0 where both are 0, averaged over the target columns.",
    inputs: NUMBERS,
    source: "Kaggle's web-traffic-time-series-forecasting, evaluation page",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, smape),
};

/// Root mean squared percentage error.
pub static RMSPE: Metric = Metric {
    name: "rmspe",
    aliases: &["root_mean_squared_percentage_error"],
    summary: "Root of the mean of ((truth - predicted) / truth)^2 over the rows whose truth is not 0, averaged over the target columns.",
    inputs: NUMBERS,
    source: "Kaggle's rossmann-store-sales, evaluation page",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, rmspe),
};

/// Coefficient of determination.
pub static R2: Metric = Metric {
    name: "r2",
    aliases: &["r2_score", "coefficient_of_determination"],
    summary: "Coefficient of determination, averaged over the target columns: 1 is perfect, 0 is no better than the mean.",
    inputs: NUMBERS,
    source: "scikit-learn 1.5.2 `r2_score`",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, r2),
};

/// Median absolute error.
pub static MEDIAN_ABSOLUTE_ERROR: Metric = Metric {
    name: "median_absolute_error",
    aliases: &["medae"],
    summary: "Median of |truth - predicted|, averaged over the target columns.",
    inputs: NUMBERS,
    source: "scikit-learn 1.5.2 `median_absolute_error`",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, median_absolute_error),
};

/// Pinball loss of a quantile.
pub static PINBALL_LOSS: Metric = Metric {
    name: "pinball_loss",
    aliases: &["mean_pinball_loss", "quantile_loss"],
    summary: "Mean pinball loss of one quantile, averaged over the target columns.",
    inputs: NUMBERS,
    source: "scikit-learn 1.5.2 `mean_pinball_loss`",
    options: &[MetricOption {
        name: "quantile",
        kind: OptionKind::Number,
        required: true,
        doc: "the quantile that is predicted, between 0 and 1",
    }],
    validate: super::finite_cells,
    score: |task| {
        let quantile = task.spec.number("quantile").unwrap_or(0.5);
        over_columns(task, |truth, predicted| pinball_loss(truth, predicted, quantile))
    },
};

/// Weighted mean absolute error.
pub static WEIGHTED_MAE: Metric = Metric {
    name: "weighted_mae",
    aliases: &["wmae"],
    summary: "Mean absolute error with a weight for each row, averaged over the target columns.",
    inputs: "numeric columns, finite; the answers also have the weight",
    source: "scikit-learn 1.5.2 `mean_absolute_error(sample_weight=...)`",
    options: &[WEIGHT],
    validate: super::finite_cells,
    score: |task| weighted(task, |t, p| (t - p).abs()),
};

/// Weighted root mean squared error.
pub static WEIGHTED_RMSE: Metric = Metric {
    name: "weighted_rmse",
    aliases: &["wrmse"],
    summary: "Root mean squared error with a weight for each row, averaged over the target columns.",
    inputs: "numeric columns, finite; the answers also have the weight",
    source: "scikit-learn 1.5.2 `root_mean_squared_error(sample_weight=...)`",
    options: &[WEIGHT],
    validate: super::finite_cells,
    score: |task| {
        let weights = weights(task)?;
        over_columns(task, |truth, predicted| {
            Ok(weighted_mean(truth, predicted, &weights, |t, p| (t - p) * (t - p))?.sqrt())
        })
    },
};

/// A function of paired values over the target columns, averaged.
pub(super) fn over_columns(
    task: &Task<'_>,
    score: impl Fn(&[f64], &[f64]) -> Result<f64, MetricError>,
) -> Result<f64, Refusal> {
    let mut scores = Vec::with_capacity(task.spec.target_columns.len());
    for target in 0..task.spec.target_columns.len() {
        let truth = true_numbers(task, target)?;
        let predicted = task.predicted_numbers(target)?;
        scores.push(score(&truth, &predicted).map_err(|error| task.refuse(target, error))?);
    }
    Ok(mean(&scores))
}

/// The k-th target of the answers, in the paired order; all finite.
fn true_numbers(task: &Task<'_>, target: usize) -> Result<Vec<f64>, Refusal> {
    let truth = task.truth_numbers(target)?;
    match truth.iter().position(|value| !value.is_finite()) {
        None => Ok(truth),
        Some(place) => {
            let row = task.pairs()?.expected.at(place);
            Err(bad_answer(row, &task.truth(target)?, "is no finite number"))
        }
    }
}

/// The answers' column that the option `weight` names, in the paired order.
pub(super) fn weights(task: &Task<'_>) -> Result<Vec<f64>, Refusal> {
    let column = task.answer(task.spec.text("weight").unwrap_or_default())?;
    let rows = task.pairs()?.expected;
    rows.iter()
        .map(|row| {
            let weight = column.number(row).filter(|weight| weight.is_finite() && *weight >= 0.0);
            weight.ok_or_else(|| bad_answer(row, &column, "is no weight of at least 0"))
        })
        .collect()
}

fn weighted(task: &Task<'_>, error: impl Fn(f64, f64) -> f64) -> Result<f64, Refusal> {
    let weights = weights(task)?;
    over_columns(task, |truth, predicted| weighted_mean(truth, predicted, &weights, &error))
}

/// `sum(weight * error) / sum(weight)`. NaN if all weights are 0.
///
/// # Errors
/// As [`mse`].
pub fn weighted_mean(
    truth: &[f64],
    predicted: &[f64],
    weights: &[f64],
    error: impl Fn(f64, f64) -> f64,
) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    let errors: Vec<f64> =
        truth.iter().zip(predicted).zip(weights).map(|((&t, &p), &w)| w * error(t, p)).collect();
    Ok(pairwise_sum(&errors) / pairwise_sum(weights))
}

/// Mean squared error: `mean((truth - predicted)^2)`.
///
/// `truth`, `predicted`: `[n]`, finite.
///
/// # Errors
/// [`MetricError`] if the lengths differ, there are no values, or one is not finite.
///
/// # Source
/// scikit-learn 1.5.2 `mean_squared_error`.
pub fn mse(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    mean_error(truth, predicted, |t, p| (t - p) * (t - p))
}

/// Mean squared logarithmic error: [`mse`] of `ln(1 + value)`.
///
/// # Errors
/// As [`mse`], or [`MetricError::Negative`].
///
/// # Source
/// scikit-learn 1.5.2 `mean_squared_log_error`.
pub fn msle(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    for values in [truth, predicted] {
        if let Some(index) = values.iter().position(|&value| value < 0.0) {
            return Err(MetricError::Negative { index });
        }
    }
    mean_error(truth, predicted, |t, p| (t.ln_1p() - p.ln_1p()).powi(2))
}

/// Mean absolute percentage error. No error is divided by less than `floor`.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// scikit-learn 1.5.2 `mean_absolute_percentage_error`.
pub fn mape(truth: &[f64], predicted: &[f64], floor: f64) -> Result<f64, MetricError> {
    mean_error(truth, predicted, |t, p| (t - p).abs() / t.abs().max(floor))
}

/// Symmetric mean absolute percentage error, in percent: 0 to 200.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// Kaggle's web-traffic-time-series-forecasting, evaluation page: a row counts 0 where both values
/// are 0.
pub fn smape(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    let error = mean_error(truth, predicted, |t, p| {
        let size = t.abs() + p.abs();
        if size == 0.0 { 0.0 } else { 2.0 * (t - p).abs() / size }
    })?;
    Ok(100.0 * error)
}

/// Root mean squared percentage error over the rows whose truth is not 0; NaN if there are none.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// Kaggle's rossmann-store-sales, evaluation page.
pub fn rmspe(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    let shares: Vec<f64> = truth
        .iter()
        .zip(predicted)
        .filter(|(t, _)| **t != 0.0)
        .map(|(t, p)| ((t - p) / t).powi(2))
        .collect();
    Ok(mean(&shares).sqrt())
}

/// Coefficient of determination, `1 - sum((truth - predicted)^2) / sum((truth - mean)^2)`. For a
/// constant truth 1 if every prediction is right and else 0; NaN for fewer than two rows.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// scikit-learn 1.5.2 `r2_score`.
pub fn r2(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    if truth.len() < 2 {
        return Ok(f64::NAN);
    }
    let middle = mean(truth);
    let squares = |values: Vec<f64>| pairwise_sum(&values);
    let residual = squares(truth.iter().zip(predicted).map(|(t, p)| (t - p).powi(2)).collect());
    let spread = squares(truth.iter().map(|t| (t - middle).powi(2)).collect());
    Ok(match (residual == 0.0, spread == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => 1.0 - residual / spread,
    })
}

/// Median of the absolute errors; the mean of the middle two for an even number of rows.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// scikit-learn 1.5.2 `median_absolute_error`.
pub fn median_absolute_error(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    let mut errors: Vec<f64> = truth.iter().zip(predicted).map(|(t, p)| (t - p).abs()).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let middle = errors.len() / 2;
    Ok(match errors.len() % 2 {
        1 => errors[middle],
        _ => f64::midpoint(errors[middle - 1], errors[middle]),
    })
}

/// Mean pinball loss of a quantile.
///
/// # Errors
/// As [`mse`].
///
/// # Source
/// scikit-learn 1.5.2 `mean_pinball_loss`.
pub fn pinball_loss(truth: &[f64], predicted: &[f64], quantile: f64) -> Result<f64, MetricError> {
    mean_error(truth, predicted, |t, p| {
        let over = t - p;
        if over >= 0.0 { quantile * over } else { (quantile - 1.0) * over }
    })
}

fn mean_error(
    truth: &[f64],
    predicted: &[f64],
    error: impl Fn(f64, f64) -> f64,
) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    Ok(mean(&truth.iter().zip(predicted).map(|(&t, &p)| error(t, p)).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(found: Result<f64, MetricError>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    #[test]
    fn known_errors() {
        // From scikit-learn's documentation of the functions.
        let (truth, predicted) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        near(mse(&truth, &predicted), 0.375);
        near(r2(&truth, &predicted), 0.948_608_137_044_967_9);
        near(mape(&truth, &predicted, f64::EPSILON), 0.327_380_952_380_952_4);
        near(median_absolute_error(&truth, &predicted), 0.5);
        near(msle(&[3.0, 5.0, 2.5, 7.0], &[2.5, 5.0, 4.0, 8.0]), 0.039_730_122_984_587_57);
        near(pinball_loss(&[1.0, 2.0, 3.0], &[0.0, 2.0, 3.0], 0.1), 0.1 / 3.0);
        near(pinball_loss(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0], 0.1), 0.3);
        // Zeros: nothing is divided by them.
        near(smape(&[0.0, 1.0], &[0.0, 3.0]), 50.0);
        near(rmspe(&[0.0, 2.0], &[5.0, 1.0]), 0.5);
        near(weighted_mean(&[1.0, 2.0], &[2.0, 4.0], &[3.0, 1.0], |t, p| (t - p).abs()), 1.25);
    }

    #[test]
    fn a_constant_truth_has_a_coefficient() {
        assert_eq!(r2(&[2.0, 2.0], &[2.0, 2.0]), Ok(1.0));
        assert_eq!(r2(&[2.0, 2.0], &[2.0, 3.0]), Ok(0.0));
        assert!(r2(&[2.0], &[2.0]).unwrap().is_nan());
    }

    proptest! {
        #[test]
        fn the_truth_is_best(rows in proptest::collection::vec((0.1_f64..1e6, 0.1_f64..1e6), 2..50)) {
            let (truth, predicted): (Vec<f64>, Vec<f64>) = rows.iter().copied().unzip();
            let quantile = |t: &[f64], p: &[f64]| pinball_loss(t, p, 0.3);
            for error in [mse, msle, smape, rmspe, median_absolute_error, quantile] {
                prop_assert!(error(&truth, &predicted).unwrap() >= 0.0);
                prop_assert_eq!(error(&truth, &truth), Ok(0.0));
            }
            prop_assert!(r2(&truth, &predicted).unwrap() <= 1.0);
            prop_assert!(smape(&truth, &predicted).unwrap() <= 200.0);
        }
    }
}
