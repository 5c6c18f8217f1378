//! Metrics over numbers.

use std::collections::BTreeMap;

use super::{Metric, MetricError, MetricOption, OptionKind, check_finite};
use crate::invalid::Refusal;
use crate::sum::mean;
use crate::table::Values;
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

/// Mean over groups of the logarithm of the mean absolute error.
pub static GROUP_LOG_MAE: Metric = Metric {
    name: "group_log_mae",
    aliases: &["log_mae_by_group"],
    summary: "Mean over groups of ln(mean absolute error); minus infinity if a group has no error.",
    inputs: "one column of finite numbers; the answers also have the group",
    source: "MLE-bench `champs-scalar-coupling/grade.py`",
    options: &[MetricOption {
        name: "group",
        kind: OptionKind::Text,
        required: true,
        doc: "the answers' column with the group",
    }],
    score: |task| {
        let group = task.answer(task.option_text("group").unwrap_or_default())?;
        let (truth, predicted) = (task.truth_numbers(0)?, task.predicted_numbers(0)?);
        check_finite(&truth, &predicted).map_err(|error| task.refuse(0, error))?;
        let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (place, row) in task.pairs()?.answers.iter().enumerate() {
            errors.entry(group.raw(row)).or_default().push((truth[place] - predicted[place]).abs());
        }
        let scores: Vec<f64> = errors.values().map(|errors| mean(errors).ln()).collect();
        Ok(mean(&scores))
    },
};

/// Mean angle between predicted and true directions.
pub static ANGULAR_ERROR: Metric = Metric {
    name: "mean_angular_error",
    aliases: &["angular_error"],
    summary: "Mean angle, in radians, between the true and the predicted direction.",
    inputs: "two columns of finite numbers: azimuth and zenith in radians",
    source: "MLE-bench `icecube-neutrinos-in-deep-ice/grade.py`",
    options: &[],
    score: |task| {
        let columns: Vec<[Vec<f64>; 2]> = (0..2)
            .map(|target| {
                let column = task.prediction(target)?;
                if matches!(column.values(), Values::Bool(_)) {
                    return Err(crate::task::not_a_number(0, &column).into());
                }
                let (truth, predicted) = (task.truth_numbers(target)?, task.predicted_numbers(target)?);
                check_finite(&truth, &predicted).map_err(|error| task.refuse(target, error))?;
                Ok([truth, predicted])
            })
            .collect::<Result<_, Refusal>>()?;
        let [azimuth, azimuth_predicted] = &columns[0];
        let [zenith, zenith_predicted] = &columns[1];
        let errors: Vec<f64> = (0..azimuth.len())
            .map(|k| angular_distance((azimuth[k], zenith[k]), (azimuth_predicted[k], zenith_predicted[k])))
            .collect();
        Ok(mean(&errors))
    },
};

/// Angle in radians between two directions, each (azimuth, zenith) in radians; any finite values will do.
///
/// # Source
/// MLE-bench `icecube-neutrinos-in-deep-ice/grade.py` `angular_dist_score`. Near 0 the arc cosine turns the last bit of the sines into
/// 1e-8, so equal directions give 0 or that.
pub fn angular_distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    let ((sa1, ca1), (sz1, cz1)) = (a.0.sin_cos(), a.1.sin_cos());
    let ((sa2, ca2), (sz2, cz2)) = (b.0.sin_cos(), b.1.sin_cos());
    let product = sz1 * sz2 * (ca1 * ca2 + sa1 * sa2) + cz1 * cz2;
    product.clamp(-1.0, 1.0).acos()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_PI_2, PI};

    use super::*;

    #[test]
    fn errors_have_their_usual_values() {
        assert_eq!(rmse(&[0.0, 0.0], &[3.0, 4.0]), Ok(12.5_f64.sqrt()));
        assert_eq!(mae(&[0.0, 0.0], &[3.0, -4.0]), Ok(3.5));
        assert_eq!(mae(&[0.0], &[f64::INFINITY]), Err(MetricError::Infinite { index: 0 }));
        assert_eq!(mae(&[], &[]), Err(MetricError::Empty));
    }

    #[test]
    fn angles_are_between_zero_and_pi() {
        assert!((angular_distance((0.0, FRAC_PI_2), (PI, FRAC_PI_2)) - PI).abs() < 1e-12);
        assert!((angular_distance((1.0, 0.0), (2.0, FRAC_PI_2)) - FRAC_PI_2).abs() < 1e-12);
    }
}
