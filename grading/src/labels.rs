//! Label columns, judged as scikit-learn's `type_of_target` and `_check_targets` judge them.

use std::collections::HashSet;

use crate::invalid::{InvalidKind, InvalidSubmission};
use crate::table::{Column, Values, Why};

/// Whether a column may hold class labels: integers, booleans, integral floats, or text without
/// gaps.
///
/// # Errors
/// Names the first cell that is missing, infinite or fractional.
///
/// # Source
/// scikit-learn 1.5.2 `sklearn.utils.multiclass.type_of_target`.
pub fn check_labels(column: &Column<'_>) -> Result<(), InvalidSubmission> {
    let bad = |row: usize, kind, message: &str| {
        let cell = InvalidSubmission::new(kind, message)
            .at(row)
            .in_column(column.name())
            .with_value(column.raw(row));
        Err(cell.expecting("a class label"))
    };
    match column.values() {
        Values::Int(_) | Values::UInt(_) | Values::Bool(_) => Ok(()),
        Values::Float(values) => {
            let integral = |v: f64| v.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&v);
            match values.iter().position(|&v| !integral(v)) {
                Some(row) if values[row].is_nan() => {
                    bad(row, InvalidKind::MissingValue, "the label is missing")
                }
                Some(row) if values[row].fract() == 0.0 => {
                    bad(row, InvalidKind::BadLabel, "the label is beyond 64 bits")
                }
                Some(row) => bad(row, InvalidKind::BadLabel, "the label is not an integer"),
                None => Ok(()),
            }
        }
        Values::BoolOrMissing(_) | Values::Text => match column.first_missing() {
            Some(row) => bad(row, InvalidKind::MissingValue, "the label is missing"),
            None => Ok(()),
        },
        Values::Mixed(_) => {
            let row = column.not_numeric().map_or(0, |rejected| rejected.row);
            bad(row, InvalidKind::BadLabel, "the label is of another kind than those before it")
        }
    }
}

/// 2^63, the first double beyond the integers of 64 bits.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// The place of the first of some Python integers that numpy has no integer type for together with
/// the others: one beyond 64 bits, or one that needs the last bit beside one that does not.
///
/// # Source
/// numpy 1.26.4 makes objects or doubles of such a list; scikit-learn 1.5.2 `type_of_target` calls
/// them unknown, or continuous where a double is beyond the signed integers.
pub fn beyond_64_bits(mut labels: impl Iterator<Item = i128> + Clone) -> Option<usize> {
    let signed = |label: i128| i64::try_from(label).is_ok();
    let any_signed = labels.clone().any(signed);
    labels.position(|label| {
        !signed(label) && (any_signed || label < 0 || u64::try_from(label).is_err())
    })
}

/// Checks that a truth and a prediction column can be compared as labels.
///
/// Text beside numbers is an error if neither holds more than two distinct labels; otherwise such
/// labels just never match.
///
/// # Errors
/// As [`check_labels`], or that text stands where numbers belong.
///
/// # Source
/// scikit-learn 1.5.2 `sklearn.metrics._classification._check_targets`.
pub fn check_comparable(
    truth: &Column<'_>,
    prediction: &Column<'_>,
) -> Result<(), InvalidSubmission> {
    check_labels(prediction)?;
    if truth.is_text() != prediction.is_text()
        && !truth.is_empty()
        && few_labels(truth)
        && few_labels(prediction)
    {
        return Err(different_kinds(prediction, truth.is_text()));
    }
    Ok(())
}

/// The verdict that labels are text where numbers belong, or the other way round.
pub fn different_kinds(prediction: &Column<'_>, text_expected: bool) -> InvalidSubmission {
    let verdict = InvalidSubmission::new(
        InvalidKind::BadLabel,
        "the labels are of another kind than the answers'",
    )
    .in_column(prediction.name())
    .expecting(if text_expected { "text" } else { "numbers" });
    // A number among texts is text; so only texts among numbers have one to blame.
    match prediction.not_numeric() {
        Some(rejected) if !text_expected => {
            verdict.at(rejected.row).with_value(prediction.raw(rejected.row))
        }
        _ => verdict,
    }
}

/// The verdict on a column that is not numeric: on the cell that keeps it from being so, if it has
/// any.
pub fn not_numeric(column: &Column<'_>) -> InvalidSubmission {
    let Some(rejected) = column.not_numeric() else {
        return InvalidSubmission::new(InvalidKind::NotANumber, "the column is not numeric")
            .in_column(column.name())
            .expecting("numbers");
    };
    let (kind, message, expected) = match rejected.why {
        Why::Syntax => (InvalidKind::NotANumber, "the cell is not a number", "a number"),
        Why::Overflow => (
            InvalidKind::NotANumber,
            "the number is too large",
            "an integer of at most 64 bits, or a number below 1.8e308",
        ),
        Why::Missing => (InvalidKind::MissingValue, "the cell is missing", "a value"),
    };
    InvalidSubmission::new(kind, message)
        .at(rejected.row)
        .in_column(column.name())
        .with_value(column.raw(rejected.row))
        .expecting(expected)
}

/// Whether a column holds at most two distinct labels.
fn few_labels(column: &Column<'_>) -> bool {
    let mut seen = HashSet::new();
    for row in 0..column.len() {
        let key = match column.values() {
            // Text equal to a number elsewhere is still text, so the raw spelling tells labels
            // apart.
            Values::Text => column.raw(row).to_owned(),
            _ => column.number(row).unwrap_or(f64::NAN).to_string(),
        };
        seen.insert(key);
        if seen.len() > 2 {
            return false;
        }
    }
    true
}

/// A label column's values as integers, by their rows; `None` for text.
///
/// # Errors
/// As [`check_labels`].
pub fn integer_labels<'t>(
    column: &Column<'t>,
) -> Result<Option<impl Fn(usize) -> i128 + Copy + use<'t>>, InvalidSubmission> {
    check_labels(column)?;
    let values = column.values();
    if matches!(values, Values::BoolOrMissing(_) | Values::Text | Values::Mixed(_)) {
        return Ok(None);
    }
    Ok(Some(move |row: usize| match values {
        Values::Int(values) => i128::from(values[row]),
        Values::UInt(values) => i128::from(values[row]),
        Values::Bool(values) => i128::from(values[row]),
        Values::Float(values) => values[row] as i128,
        Values::BoolOrMissing(_) | Values::Text | Values::Mixed(_) => 0,
    }))
}
