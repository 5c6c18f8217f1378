//! Metrics over class labels.

use std::collections::{BTreeSet, HashMap};

use super::{Metric, MetricError, MetricOption, OptionKind, check_lengths};
use crate::form::Form;
use crate::ids::{Rows, same};
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal, bad_answer};
use crate::labels::{
    beyond_64_bits, check_comparable, check_labels, different_kinds, integer_labels,
};
use crate::pytext::{parse_int, split_words};
use crate::sum::mean;
use crate::table::{Cell, Column, Values};

/// Accuracy: the share of rows whose label is right.
pub static ACCURACY: Metric = Metric {
    name: "accuracy",
    aliases: &["accuracy_score"],
    summary: "Share of rows whose label equals the true one.",
    inputs: "one label column: integers, integral floats, booleans (1 and 0) or text",
    source: "scikit-learn 1.5.2 `accuracy_score`",
    options: &[MetricOption {
        name: "missing_label",
        kind: OptionKind::Text,
        required: false,
        doc: "The text that stands for a missing label. Default: a missing label is refused.",
    }],
    validate: comparable_labels,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        if let (Some(filled), true) =
            (task.spec.text("missing_label"), prediction.first_missing().is_some())
        {
            // Filled gaps make the column text, whatever it held.
            let right = |a, s| {
                truth.is_text()
                    && truth.text(a).is_some_and(|text| text == prediction.filled(s, filled))
            };
            return Ok(accuracy(rows.map(|(a, s)| right(a, s))));
        }
        check_comparable(&truth, &prediction)?;
        // To fill gaps, the labels are made a list of Python's.
        if task.spec.text("missing_label").is_some() {
            check_list(&prediction, pairs.submission)?;
        }
        Ok(accuracy(rows.map(|(a, s)| same(truth, a, prediction, s))))
    },
};

/// Checks that integers, some of which need the last bit, fit a type of numpy's as a list.
fn check_list(column: &Column<'_>, rows: &Rows) -> Result<(), Refusal> {
    let Values::UInt(values) = column.values() else { return Ok(()) };
    check_width(column, rows, |row| Ok(i128::from(values[row])))
}

/// Labels that can be compared with the true ones, which are taken to be of the sample's kind.
fn comparable_labels(form: &Form<'_>) -> Result<(), Refusal> {
    let prediction = form.prediction(0)?;
    form.submitted_rows()?;
    if form.spec.text("missing_label").is_some() && prediction.first_missing().is_some() {
        return Ok(());
    }
    // A sample with gaps tells no kind: some are blank throughout.
    match form.sample(0).filter(|sample| sample.first_missing().is_none()) {
        Some(sample) => check_comparable(&sample, &prediction)?,
        None => check_labels(&prediction)?,
    }
    Ok(())
}

/// Accuracy of the cells as printed text.
pub static TEXT_ACCURACY: Metric = Metric {
    name: "text_accuracy",
    aliases: &["exact_match"],
    summary: "Share of rows whose text equals the true one exactly.",
    inputs: "one column of any kind; numbers are printed first (`7`, `7.0`), a missing cell is the text `nan`",
    source: "pandas 2.2.3 `astype(str)`; scikit-learn 1.5.2 `accuracy_score`",
    options: &[],
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        Ok(accuracy(rows.map(|(a, s)| truth.printed(a) == prediction.printed(s))))
    },
};

/// Share of `true` among `matches`, `[n]`: whether each row's label is right. NaN for no rows.
///
/// # Source
/// scikit-learn 1.5.2 `accuracy_score`: the mean of the comparison.
pub fn accuracy(matches: impl ExactSizeIterator<Item = bool>) -> f64 {
    let rows = matches.len();
    matches.filter(|&right| right).count() as f64 / rows as f64
}

/// Top-1 error: the share of rows whose first guess is wrong.
pub static TOP_1_ERROR: Metric = Metric {
    name: "top_1_error",
    aliases: &["classification_error"],
    summary: "Share of rows whose first guess differs from the true class.",
    inputs: "integers; the submission may list guesses separated by white space, of which the first counts",
    source: "MLE-bench `inaturalist-2019-fgvc6/grade.py`",
    options: &[],
    validate: |form| {
        let prediction = form.prediction(0)?;
        let rows = form.submitted_rows()?;
        rows.iter().try_for_each(|row| first_guess(&prediction, row).map(drop))?;
        check_width(&prediction, &rows, |row| first_guess(&prediction, row))
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        check_width(&prediction, pairs.submission, |row| first_guess(&prediction, row))?;
        let matches: Result<Vec<bool>, Refusal> = pairs
            .expected
            .iter()
            .zip(pairs.submission.iter())
            .map(|(a, s)| Ok(whole_number(&truth, a)? == first_guess(&prediction, s)?))
            .collect();
        Ok(1.0 - accuracy(matches?.into_iter()))
    },
};

fn first_guess(column: &Column<'_>, row: usize) -> Result<i128, Refusal> {
    let guess = match column.values() {
        Values::Int(values) => return Ok(i128::from(values[row])),
        Values::UInt(values) => return Ok(i128::from(values[row])),
        Values::Bool(values) => return Ok(i128::from(values[row])),
        // One float makes the whole column float, which the reference cannot split.
        Values::Float(_) | Values::BoolOrMissing(_) | Values::Mixed(_) => None,
        Values::Text => {
            column.text(row).and_then(|text| split_words(text).next()).and_then(parse_int)
        }
    };
    // In a column of floats the first float is to blame, wherever it stands.
    let culprit = || match column.values() {
        Values::Text => row,
        _ => column.not_integer().map_or(row, |rejected| rejected.row),
    };
    Ok(guess.ok_or_else(|| {
        bad_label(column, culprit(), "an integer, or integers separated by blanks")
    })?)
}

/// Checks that cells that were read as Python's integers fit a type of numpy's together.
fn check_width(
    column: &Column<'_>,
    rows: &Rows,
    label: impl Fn(usize) -> Result<i128, Refusal>,
) -> Result<(), Refusal> {
    if matches!(column.values(), Values::Int(_) | Values::Bool(_)) {
        return Ok(());
    }
    rows.iter().try_for_each(|row| label(row).map(drop))?;
    match beyond_64_bits(rows.iter().map(|row| label(row).unwrap_or_default())) {
        Some(place) => {
            let expected = "an integer of at most 64 bits with its sign";
            Err(bad_label(column, rows.at(place), expected).into())
        }
        None => Ok(()),
    }
}

fn bad_label(column: &Column<'_>, row: usize, expected: &str) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::BadLabel, "the cell is no class label")
        .at(row)
        .in_column(column.name())
        .with_value(column.raw(row))
        .expecting(expected)
}

/// A true class as an integer.
fn whole_number(column: &Column<'_>, row: usize) -> Result<i128, Refusal> {
    cut_to_integer(column, row).ok_or_else(|| bad_answer(row, column, "is no integer"))
}

/// A predicted class as an integer.
fn class(column: &Column<'_>, row: usize) -> Result<i128, Refusal> {
    Ok(cut_to_integer(column, row).ok_or_else(|| bad_label(column, row, "an integer"))?)
}

/// Checks that all true classes are integers.
fn check_whole_numbers(truth: &Column<'_>, rows: &Rows) -> Result<(), Refusal> {
    rows.iter().try_for_each(|row| whole_number(truth, row).map(drop))
}

/// A cell as Python's `int()` takes it: floats are cut toward zero, text follows the integer
/// syntax.
fn cut_to_integer(column: &Column<'_>, row: usize) -> Option<i128> {
    match column.cell(row) {
        Cell::Int(value) => Some(value),
        Cell::Float(value) => value.is_finite().then_some(value as i128),
        Cell::Bool(value) => Some(value.into()),
        Cell::Text(text) => parse_int(text),
    }
}

/// Cohen's kappa with quadratic weights.
pub static QUADRATIC_WEIGHTED_KAPPA: Metric = Metric {
    name: "quadratic_weighted_kappa",
    aliases: &["qwk", "cohen_kappa_score"],
    summary: "Cohen's kappa; a miss costs the square of its distance in the sorted list of labels seen.",
    inputs: "one column of integers, integral floats or booleans",
    source: "scikit-learn 1.5.2 `cohen_kappa_score(weights=\"quadratic\")`",
    options: &[MetricOption {
        name: "labels",
        kind: OptionKind::Numbers,
        required: false,
        doc: "smallest and largest label: others are refused and distances are those of the values; without it, of positions",
    }],
    validate: rated_labels,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let predicted =
            integer_labels(&prediction)?.ok_or_else(|| different_kinds(&prediction, false))?;
        check_whole_numbers(&truth, pairs.expected)?;
        check_lengths(pairs.expected.len(), pairs.submission.len())?;
        labels_in_range(task.form(), &prediction, predicted)?;
        let labels = (0..pairs.expected.len()).map(|k| {
            let (a, s) = (pairs.expected.at(k), pairs.submission.at(k));
            (cut_to_integer(&truth, a).unwrap_or_default(), predicted(s))
        });
        // Within known bounds distances are those of the values.
        let known = task.spec.numbers("labels").len() == 2;
        Ok(match prediction.values() {
            _ if known => kappa_of_distances(labels),
            Values::UInt(_) => kappa_of_unsigned(labels),
            _ => kappa_of_positions(labels),
        })
    },
};

/// Labels that kappa takes: integers, within the bounds of the option `labels` if it is set.
fn rated_labels(form: &Form<'_>) -> Result<(), Refusal> {
    let (prediction, rows) = (form.prediction(0)?, form.submitted_rows()?);
    let labels = integer_labels(&prediction)?.ok_or_else(|| different_kinds(&prediction, false))?;
    check_lengths(rows.len(), rows.len())?;
    labels_in_range(form, &prediction, labels)
}

/// Checks paired labels against the option `labels`, if it is set.
fn labels_in_range(
    form: &Form<'_>,
    prediction: &Column<'_>,
    label: impl Fn(usize) -> i128,
) -> Result<(), Refusal> {
    let [low, high] = form.spec.numbers("labels")[..] else { return Ok(()) };
    let rows = form.submitted_rows()?;
    let found = rows.iter().find(|&row| !(low..=high).contains(&(label(row) as f64)));
    match found {
        None => Ok(()),
        Some(row) => {
            Err(bad_label(prediction, row, &format!("a label from {low} to {high}")).into())
        }
    }
}

/// Cohen's kappa of two raters with weights `(i - j)²`, i and j the labels' positions in the sorted
/// union of labels.
///
/// `y_true`, `y_pred`: `[n]`. 1 for equal, about 0 for independent raters; NaN if both give one and
/// the same label throughout.
///
/// # Errors
/// [`MetricError`] if the lengths differ or there are no rows.
///
/// # Source
/// scikit-learn 1.5.2 `cohen_kappa_score`. Differs from it in that the sums over the label matrix
/// are taken as whole numbers over rows, so that many distinct labels cost no more than a sort.
pub fn quadratic_weighted_kappa<T: Ord + Copy>(
    y_true: &[T],
    y_pred: &[T],
) -> Result<f64, MetricError> {
    check_lengths(y_true.len(), y_pred.len())?;
    Ok(kappa_of_positions(y_true.iter().copied().zip(y_pred.iter().copied())))
}

fn kappa_of_positions<T: Ord + Copy>(pairs: impl Iterator<Item = (T, T)> + Clone) -> f64 {
    // One by one: collecting would first make a list of all.
    let mut seen = BTreeSet::new();
    for (t, p) in pairs.clone() {
        seen.extend([t, p]);
    }
    let labels: Vec<T> = seen.into_iter().collect();
    // Every label was put into the list, so the search finds it.
    let position = |label: T| labels.binary_search(&label).unwrap_or_else(|place| place) as i128;
    kappa_of_distances(pairs.map(|(t, p)| (position(t), position(p))))
}

/// As [`kappa_of_positions`], for signed true labels beside unsigned predicted ones.
///
/// # Source
/// scikit-learn 1.5.2 `confusion_matrix` of the predictions and the truth. Where a true label is not
/// predicted, the list of all labels is one of doubles, in which a label is only found if it is a
/// double; rows with another one do not count.
fn kappa_of_unsigned(pairs: impl Iterator<Item = (i128, i128)> + Clone) -> f64 {
    let predicted: BTreeSet<i128> = pairs.clone().map(|(_, p)| p).collect();
    let mut seen = predicted.clone();
    seen.extend(pairs.clone().map(|(t, _)| t));
    if seen.len() == predicted.len() {
        return kappa_of_positions(pairs);
    }
    let labels: Vec<f64> = seen.into_iter().map(|label| label as f64).collect();
    // Of labels that are the same double the last one gives the position.
    let position = |label: i128| {
        let value = label as f64;
        let place = labels.partition_point(|&other| other <= value) as i128 - 1;
        (value as i128 == label).then_some(place)
    };
    let found: Vec<_> = pairs.filter_map(|(t, p)| Some((position(t)?, position(p)?))).collect();
    kappa_of_distances(found.into_iter())
}

/// Cohen's kappa of two raters, a pair of labels a row, with the squared distance of their values as
/// weight.
fn kappa_of_distances(pairs: impl Iterator<Item = (i128, i128)>) -> f64 {
    let (mut n, mut observed, mut sums, mut squares) = (0_i128, 0, [0, 0], 0);
    for (t, p) in pairs {
        n += 1;
        observed += (t - p) * (t - p);
        sums[0] += t;
        sums[1] += p;
        squares += t * t + p * p;
    }
    // n times the expected weight: the sum over all pairs of a true and a predicted label of their
    // squared distance.
    let expected = n * squares - 2 * sums[0] * sums[1];
    1.0 - observed as f64 / (expected as f64 / n as f64)
}

/// F1, averaged over classes.
pub static F1_MACRO: Metric = Metric {
    name: "f1_macro",
    aliases: &["macro_f1"],
    summary: "Mean over the classes of truth and prediction of F1 = 2TP / (2TP + FP + FN).",
    inputs: "one column of classes; floats are cut toward zero, texts must be integers",
    source: "scikit-learn 1.5.2 `f1_score(average=\"macro\")`",
    options: &[],
    validate: |form| {
        let prediction = form.prediction(0)?;
        let rows = form.submitted_rows()?;
        rows.iter().try_for_each(|row| class(&prediction, row).map(drop))?;
        check_width(&prediction, &rows, |row| class(&prediction, row))
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        check_whole_numbers(&truth, pairs.expected)?;
        pairs.submission.iter().try_for_each(|row| class(&prediction, row).map(drop))?;
        check_width(&prediction, pairs.submission, |row| class(&prediction, row))?;
        check_lengths(pairs.expected.len(), pairs.submission.len())?;
        let class = |column, row| cut_to_integer(column, row).unwrap_or_default();
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        Ok(f1_of_pairs(rows.map(|(a, s)| (class(&truth, a), class(&prediction, s)))))
    },
};

/// Mean F1 over all classes that occur in truth or prediction; a class without a hit counts 0.
///
/// `y_true`, `y_pred`: `[n]`.
///
/// # Errors
/// [`MetricError`] if the lengths differ or there are no rows.
///
/// # Source
/// scikit-learn 1.5.2 `f1_score(average="macro")`: classes are averaged in ascending order.
pub fn f1_macro<T: Ord + Copy + std::hash::Hash>(
    y_true: &[T],
    y_pred: &[T],
) -> Result<f64, MetricError> {
    check_lengths(y_true.len(), y_pred.len())?;
    Ok(f1_of_pairs(y_true.iter().copied().zip(y_pred.iter().copied())))
}

fn f1_of_pairs<T: Ord + Copy + std::hash::Hash>(pairs: impl Iterator<Item = (T, T)>) -> f64 {
    // Per class: hits, and how often it is true or predicted, together.
    let mut counts: HashMap<T, (u64, u64)> = HashMap::new();
    for (t, p) in pairs {
        counts.entry(t).or_default().1 += 1;
        let predicted = counts.entry(p).or_default();
        predicted.1 += 1;
        predicted.0 += u64::from(t == p);
    }
    let mut classes: Vec<_> = counts.into_iter().collect();
    classes.sort_unstable_by_key(|&(class, _)| class);
    let scores: Vec<f64> = classes
        .into_iter()
        .map(|(_, (hits, occurrences))| 2.0 * hits as f64 / occurrences as f64)
        .collect();
    mean(&scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_equals_scikit_learn() {
        let cases: &[(&[i32], &[i32], f64)] = &[
            (&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4], 1.0),
            (&[0, 1, 2, 3, 4], &[4, 3, 2, 1, 0], -1.0),
            (&[0, 0, 1, 2], &[0, 1, 1, 2], 0.8),
            // A stray label is a position of its own, not a distance.
            (&[0, 1, 2, 2], &[0, 1, 2, 50], 0.875),
        ];
        for (truth, predicted, expected) in cases {
            let kappa = quadratic_weighted_kappa(truth, predicted).unwrap();
            assert!((kappa - expected).abs() < 1e-12, "{truth:?} {predicted:?}: {kappa}");
        }
        assert!(quadratic_weighted_kappa(&[1, 1], &[1, 1]).unwrap().is_nan());
    }

    #[test]
    fn labels_of_64_bits_are_looked_up_among_doubles() {
        // 2^64 - 1 is no double, so that its rows do not count; 2^63 is one.
        let kappa = |pairs: &[(i128, i128)]| kappa_of_unsigned(pairs.iter().copied());
        let (odd, even) = (i128::from(u64::MAX), 1 << 63);
        let found = kappa(&[(1, 1), (2, 2), (3, 1), (1, odd), (2, odd)]);
        assert!((found - kappa(&[(1, 1), (2, 2), (3, 1)])).abs() < 1e-15, "{found}");
        let found = kappa(&[(2, 0), (1, 1), (1, even), (0, odd)]);
        assert!((found + 0.5).abs() < 1e-15, "{found}");
        // With every true label among the predicted ones all are unsigned integers.
        let found = kappa(&[(0, 0), (1, 1), (1, even), (0, odd)]);
        assert!(found.abs() < 1e-15, "{found}");
        let found = kappa(&[(0, 0), (1, 1), (1, even + 1), (1, even), (0, odd), (2, even)]);
        assert!((found - 0.380_952_380_952_380_93).abs() < 1e-15, "{found}");
    }

    #[test]
    fn integers_that_numpy_has_no_type_for_together_are_found() {
        let (last_bit, more) = (1_i128 << 63, 1_i128 << 64);
        let found = |labels: &[i128]| beyond_64_bits(labels.iter().copied());
        assert_eq!(found(&[1, 2, -3, last_bit - 1, -last_bit]), None);
        assert_eq!(found(&[last_bit, more - 1]), None);
        assert_eq!(found(&[1, last_bit]), Some(1));
        assert_eq!(found(&[last_bit, more]), Some(1));
        assert_eq!(found(&[last_bit, -last_bit - 1]), Some(1));
    }

    #[test]
    fn macro_f1_counts_predicted_classes() {
        // Class 1: TP 1, FN 1; class 2: TP 1; class 9: FP only.
        let score = f1_macro(&[1, 1, 2], &[1, 9, 2]).unwrap();
        assert!((score - (2.0 / 3.0 + 1.0 + 0.0) / 3.0).abs() < 1e-15);
    }
}
