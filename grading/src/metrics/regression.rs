//! Errors of predicted numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Metric, MetricError, MetricOption, OptionKind, check_finite};
use crate::form::numbers;
use crate::ids::Rows;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal, bad_answer, not_a_number};
use crate::sum::mean;
use crate::table::{Column, Values};
use crate::task::Task;

const WHERE_COLUMN: MetricOption = MetricOption {
    name: "where_column",
    kind: OptionKind::Text,
    required: false,
    doc: "A column of the answers; only rows where it holds `where_value` are graded. Default: all rows.",
};
const WHERE_VALUE: MetricOption = MetricOption {
    name: "where_value",
    kind: OptionKind::Number,
    required: false,
    doc: "The value that `where_column` holds in graded rows; a true flag is 1. Default 1.",
};
const WHERE_BY_POSITION: MetricOption = MetricOption {
    name: "where_by_position",
    kind: OptionKind::Flag,
    required: false,
    doc: "Whether the submission's rows are selected by their place in the file instead of by their id. Default false.",
};

/// Root mean squared error.
pub static RMSE: Metric = Metric {
    name: "rmse",
    aliases: &["root_mean_squared_error", "mcrmse"],
    summary: "Root mean squared error, averaged over the target columns.",
    inputs: "numeric columns, finite in the graded rows",
    source: "scikit-learn 1.5.2 `root_mean_squared_error`",
    options: &[WHERE_COLUMN, WHERE_VALUE, WHERE_BY_POSITION],
    validate: super::finite_cells,
    score: |task| mean_over_columns(task, 1.0, rmse),
};

/// Mean absolute error.
pub static MAE: Metric = Metric {
    name: "mae",
    aliases: &["mean_absolute_error"],
    summary: "Mean absolute error, averaged over the target columns.",
    inputs: "numeric columns, finite in the graded rows",
    source: "scikit-learn 1.5.2 `mean_absolute_error`",
    options: &[
        WHERE_COLUMN,
        WHERE_VALUE,
        WHERE_BY_POSITION,
        MetricOption {
            name: "whole_number",
            kind: OptionKind::Flag,
            required: false,
            doc: "Whether the error is rounded to a whole number, halves to even. Default false.",
        },
    ],
    validate: super::finite_cells,
    score: |task| {
        let error = mean_over_columns(task, 1.0, mae)?;
        if !task.spec.flag("whole_number") {
            return Ok(error);
        }
        if !error.is_finite() {
            let message = "the mean error is too large for a number, and so cannot be rounded";
            return Err(InvalidSubmission::new(InvalidKind::Undefined, message).into());
        }
        Ok(error.round_ties_even())
    },
};

/// Root mean squared logarithmic error.
pub static RMSLE: Metric = Metric {
    name: "rmsle",
    aliases: &["root_mean_squared_log_error"],
    summary: "Root mean squared error of the logarithms of one plus the value, averaged over the target columns.",
    inputs: "numeric columns, finite and not negative in the graded rows",
    source: "scikit-learn 1.5.2 `root_mean_squared_log_error`",
    options: &[WHERE_COLUMN, WHERE_VALUE, WHERE_BY_POSITION],
    validate: |form| {
        form.finite_targets(|value, index| (value < 0.0).then_some(MetricError::Negative { index }))
    },
    // numpy takes the logarithm of a boolean with half precision.
    score: |task| mean_over_columns(task, HALF_LN_2.exp_m1(), rmsle),
};

/// Root mean squared error: `sqrt(mean((truth - predicted)^2))`.
///
/// `truth`, `predicted`: `[n]`, finite.
///
/// # Errors
/// [`MetricError`] if the lengths differ, there are no values, or one is not finite.
///
/// # Source
/// scikit-learn 1.5.2 `root_mean_squared_error`.
pub fn rmse(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    Ok(mean_of(truth, predicted, |t, p| (t - p) * (t - p)).sqrt())
}

/// Mean absolute error: `mean(|truth - predicted|)`.
///
/// `truth`, `predicted`: `[n]`, finite.
///
/// # Errors
/// As [`rmse`].
///
/// # Source
/// scikit-learn 1.5.2 `mean_absolute_error`.
pub fn mae(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    Ok(mean_of(truth, predicted, |t, p| (t - p).abs()))
}

/// Root mean squared logarithmic error: [`rmse`] of `ln(1 + value)`.
///
/// `truth`, `predicted`: `[n]`, finite and not below 0; -0.0 is fine.
///
/// # Errors
/// As [`rmse`], or [`MetricError::Negative`].
///
/// # Source
/// scikit-learn 1.5.2 `root_mean_squared_log_error`.
pub fn rmsle(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    for values in [truth, predicted] {
        if let Some(index) = values.iter().position(|&v| v < 0.0) {
            return Err(MetricError::Negative { index });
        }
    }
    Ok(mean_of(truth, predicted, |t, p| (t.ln_1p() - p.ln_1p()).powi(2)).sqrt())
}

fn mean_of(truth: &[f64], predicted: &[f64], error: impl Fn(f64, f64) -> f64) -> f64 {
    mean(&truth.iter().zip(predicted).map(|(&t, &p)| error(t, p)).collect::<Vec<_>>())
}

/// The graded rows: those of the answers, and those of the submission, each in the order in which
/// they are paired.
struct GradedRows<'t> {
    answers: Cow<'t, Rows>,
    submission: Cow<'t, Rows>,
}

fn graded_rows<'f>(task: &'f Task<'_>) -> Result<GradedRows<'f>, Refusal> {
    let pairs = task.pairs()?;
    let Some(name) = task.spec.text("where_column") else {
        let (answers, submission) =
            (Cow::Borrowed(pairs.expected), Cow::Borrowed(pairs.submission));
        return Ok(GradedRows { answers, submission });
    };
    let column = task.answer(name)?;
    let wanted = task.spec.number("where_value").unwrap_or(1.0);
    let graded = |row: usize| column.number(row) == Some(wanted);
    let by_position = task.spec.flag("where_by_position");
    let listed = |rows: Vec<u32>| Cow::Owned(Rows::Listed(rows));
    let answers = pairs.expected.iter().filter(|&row| graded(row)).map(|row| row as u32);
    let submission = pairs
        .submission
        .iter()
        .zip(pairs.expected.iter())
        .filter(|&(row, expected)| graded(if by_position { row } else { expected }))
        .map(|(row, _)| row as u32);
    Ok(GradedRows { answers: listed(answers.collect()), submission: listed(submission.collect()) })
}

/// The double next to ln 2 that has half precision.
const HALF_LN_2: f64 = 0.693_359_375;

/// The mean of an error over the target columns; `true_as`: what a boolean true counts for.
fn mean_over_columns(
    task: &Task<'_>,
    true_as: f64,
    error: impl Fn(&[f64], &[f64]) -> Result<f64, MetricError>,
) -> Result<f64, Refusal> {
    let rows = graded_rows(task)?;
    let mut errors = Vec::with_capacity(task.spec.target_columns.len());
    for target in 0..task.spec.target_columns.len() {
        let (truth, prediction) = (task.truth(target)?, task.prediction(target)?);
        let mut predicted =
            numbers(&prediction, &rows.submission).map_err(|row| not_a_number(row, &prediction))?;
        if let (Values::Bool(_), Values::Bool(_)) = (truth.values(), prediction.values()) {
            let message = "true and false cannot be subtracted from true and false";
            return Err(InvalidSubmission::new(InvalidKind::NotANumber, message)
                .in_column(prediction.name())
                .expecting("numbers")
                .into());
        }
        if let (Values::Bool(_), true) = (prediction.values(), true_as != 1.0) {
            predicted.iter_mut().for_each(|value| *value *= true_as);
        }
        let actual = numbers(&truth, &rows.answers)
            .map_err(|row| bad_answer(row, &truth, "is no number"))?;
        if let Some(place) = actual.iter().position(|v| !v.is_finite()) {
            return Err(bad_answer(rows.answers.at(place), &truth, "is no finite number"));
        }
        errors.push(
            error(&actual, &predicted)
                .map_err(|error| blame(&prediction, &rows.submission, &error))?,
        );
    }
    Ok(mean(&errors))
}

/// The verdict for a metric's error over the given rows.
fn blame(column: &Column<'_>, rows: &Rows, error: &MetricError) -> Refusal {
    let invalid = InvalidSubmission::from(error.clone()).in_column(column.name());
    match error.index() {
        Some(index) => {
            let row = rows.at(index);
            invalid.at(row).with_value(column.raw(row)).into()
        }
        None if rows.is_empty() => {
            InvalidSubmission::new(InvalidKind::Undefined, "no row is graded")
                .in_column(column.name())
                .into()
        }
        None => invalid.into(),
    }
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
    validate: super::finite_cells,
    score: |task| {
        let group = task.answer(task.spec.text("group").unwrap_or_default())?;
        let (truth, predicted) = (task.truth_numbers(0)?, task.predicted_numbers(0)?);
        check_finite(&truth, &predicted).map_err(|error| task.refuse(0, error))?;
        let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (place, row) in task.pairs()?.expected.iter().enumerate() {
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
    validate: |form| {
        for target in 0..2 {
            no_booleans(&form.prediction(target)?)?;
        }
        super::finite_cells(form)
    },
    score: |task| {
        let columns: Vec<[Vec<f64>; 2]> = (0..2)
            .map(|target| {
                no_booleans(&task.prediction(target)?)?;
                let (truth, predicted) =
                    (task.truth_numbers(target)?, task.predicted_numbers(target)?);
                check_finite(&truth, &predicted).map_err(|error| task.refuse(target, error))?;
                Ok([truth, predicted])
            })
            .collect::<Result<_, Refusal>>()?;
        let [azimuth, azimuth_predicted] = &columns[0];
        let [zenith, zenith_predicted] = &columns[1];
        let errors: Vec<f64> = (0..azimuth.len())
            .map(|k| {
                angular_distance(
                    (azimuth[k], zenith[k]),
                    (azimuth_predicted[k], zenith_predicted[k]),
                )
            })
            .collect();
        Ok(mean(&errors))
    },
};

fn no_booleans(column: &Column<'_>) -> Result<(), InvalidSubmission> {
    match column.values() {
        Values::Bool(_) => Err(not_a_number(0, column)),
        _ => Ok(()),
    }
}

/// Angle in radians between two directions, each (azimuth, zenith) in radians; any finite values
/// will do.
///
/// # Source
/// MLE-bench `icecube-neutrinos-in-deep-ice/grade.py` `angular_dist_score`. Near 0 the arc cosine
/// turns the last bit of the sines into 1e-8, so equal directions give 0 or that.
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
    use proptest::prelude::*;

    #[test]
    fn known_errors() {
        // From scikit-learn's documentation of the functions.
        let (truth, predicted) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        assert!((rmse(&truth, &predicted).unwrap() - 0.612_372_435_695_794_5).abs() < 1e-15);
        assert_eq!(mae(&truth, &predicted), Ok(0.5));
        let (truth, predicted) = ([3.0, 5.0, 2.5, 7.0], [2.5, 5.0, 4.0, 8.0]);
        assert!((rmsle(&truth, &predicted).unwrap() - 0.199_324_165_581_08).abs() < 1e-14);
        assert_eq!(rmsle(&[0.0], &[-0.0]), Ok(0.0));
    }

    #[test]
    fn refused_values_are_named() {
        assert_eq!(rmse(&[1.0, 2.0], &[1.0]), Err(MetricError::Lengths { truth: 2, predicted: 1 }));
        assert_eq!(rmse(&[], &[]), Err(MetricError::Empty));
        assert_eq!(mae(&[1.0, 2.0], &[1.0, f64::NAN]), Err(MetricError::Missing { index: 1 }));
        assert_eq!(mae(&[1.0], &[f64::INFINITY]), Err(MetricError::Infinite { index: 0 }));
        assert_eq!(rmsle(&[1.0], &[-1.0]), Err(MetricError::Negative { index: 0 }));
    }

    #[test]
    fn angles_are_between_zero_and_pi() {
        assert!((angular_distance((0.0, FRAC_PI_2), (PI, FRAC_PI_2)) - PI).abs() < 1e-12);
        assert!((angular_distance((1.0, 0.0), (2.0, FRAC_PI_2)) - FRAC_PI_2).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn errors_are_symmetric_and_ordered(rows in proptest::collection::vec((0.0_f64..1e6, 0.0_f64..1e6), 1..50)) {
            let (truth, predicted): (Vec<f64>, Vec<f64>) = rows.iter().copied().unzip();
            for error in [rmse, mae, rmsle] {
                let value = error(&truth, &predicted).unwrap();
                prop_assert!(value >= 0.0 && error(&truth, &truth) == Ok(0.0));
                prop_assert_eq!(value, error(&predicted, &truth).unwrap());
            }
            prop_assert!(mae(&truth, &predicted).unwrap() <= rmse(&truth, &predicted).unwrap() * (1.0 + 1e-12));
        }
    }
}
