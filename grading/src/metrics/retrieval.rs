//! How well what matters is put first: rankings of rows, and of guesses within a row.

use std::collections::HashSet;

use super::errors::over_columns;
use super::ranking::two_classes;
use super::{Metric, MetricError, MetricOption, OptionKind, check_finite, check_lengths};
use crate::form::Form;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::split_words;
use crate::sum::mean;

const K: MetricOption = MetricOption {
    name: "k",
    kind: OptionKind::Integer,
    required: true,
    doc: "number of guesses that count",
};
const GUESSES: &str = "labels separated by white space, best guess first; a missing cell has none";

/// Average precision.
pub static AVERAGE_PRECISION: Metric = Metric {
    name: "average_precision",
    aliases: &["average_precision_score", "pr_auc"],
    summary: "Average precision of the rows put in order of their scores, averaged over the target columns.",
    inputs: "per target column two classes in the truth (the larger one is positive) and finite scores",
    source: "scikit-learn 1.5.2 `average_precision_score`",
    options: &[],
    validate: super::finite_cells,
    score: |task| {
        let columns = 0..task.spec.target_columns.len();
        let scores: Result<Vec<f64>, Refusal> = columns
            .map(|target| {
                let positive = two_classes(task, target)?;
                average_precision(&positive, &task.predicted_numbers(target)?)
                    .map_err(|error| task.refuse(target, error))
            })
            .collect();
        Ok(mean(&scores?))
    },
};

/// Gini index of an order.
pub static GINI: Metric = Metric {
    name: "gini",
    aliases: &["gini_index"],
    summary: "Area between the Lorenz curve of the truth, in order of falling predictions, and the diagonal; averaged over the target columns.",
    inputs: "numeric columns, finite; the truth is not negative",
    source: "Kaggle's ClaimPredictionChallenge, evaluation page",
    options: &[],
    validate: super::finite_cells,
    score: |task| over_columns(task, gini),
};

/// Gini index over that of the perfect order.
pub static NORMALIZED_GINI: Metric = Metric {
    name: "normalized_gini",
    aliases: &["normalized_gini_index"],
    summary: "Gini index of the predicted order, divided by that of the perfect order; averaged over the target columns.",
    inputs: "numeric columns, finite; the truth is not negative",
    source: "Kaggle's ClaimPredictionChallenge and porto-seguro-safe-driver-prediction, evaluation pages",
    options: &[],
    validate: super::finite_cells,
    score: |task| {
        over_columns(task, |truth, predicted| Ok(gini(truth, predicted)? / gini(truth, truth)?))
    },
};

/// Normalized discounted cumulative gain.
pub static NDCG_AT_K: Metric = Metric {
    name: "ndcg_at_k",
    aliases: &["ndcg"],
    summary: "Mean over rows of the discounted gain of the first k guesses, divided by the best that is possible; a right guess gains 1, once.",
    inputs: GUESSES,
    source: "scikit-learn 1.5.2 `ndcg_score(k=...)` with relevances 0 and 1",
    options: &[K],
    validate: super::any_cells,
    score: |task| over_guesses(task, |truth, guesses, k| ndcg(truth, guesses, k)),
};

/// Share of rows none of whose first guesses is right.
pub static TOP_K_ERROR: Metric = Metric {
    name: "top_k_error",
    aliases: &["mean_best_error_at_k"],
    summary: "Share of rows none of whose first k guesses is a true label.",
    inputs: GUESSES,
    source: "scikit-learn 1.5.2 `top_k_accuracy_score`, as one minus it",
    options: &[K],
    validate: super::any_cells,
    score: |task| {
        over_guesses(task, |truth, guesses, k| {
            let is_hit = guesses.take(k).any(|guess| truth.contains(guess));
            f64::from(u8::from(!is_hit))
        })
    },
};

/// Mean F-beta of label sets.
pub static MEAN_F_BETA_SETS: Metric = Metric {
    name: "mean_f_beta_sets",
    aliases: &["mean_f_score", "f1_samples"],
    summary: "Mean over rows of the F-beta of the true and the predicted set of labels; 0 where both are empty.",
    inputs: "one text column of labels separated by white space; a missing cell is the empty set",
    source: "scikit-learn 1.5.2 `MultiLabelBinarizer` and `fbeta_score(average=\"samples\", zero_division=0)`",
    options: &[MetricOption {
        name: "beta",
        kind: OptionKind::Number,
        required: false,
        doc: "How many times as much recall counts as precision. Default 1.",
    }],
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let beta = task.spec.number("beta").unwrap_or(1.0);
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        let scores: Vec<f64> = rows
            .map(|(a, s)| {
                let (truth, guesses) = (truth.printed(a), prediction.printed(s));
                set_f_beta(words(&truth), words(&guesses), beta)
            })
            .collect();
        Ok(mean(&scores))
    },
};

/// Global average precision.
pub static GLOBAL_AVERAGE_PRECISION: Metric = Metric {
    name: "global_average_precision",
    aliases: &["gap"],
    summary: "Average precision of all rows' guesses put in order of their confidence, over the number of true labels.",
    inputs: "labels in the truth; in the submission each label is followed by its confidence; a missing cell has none",
    source: "Kaggle's landmark-recognition-challenge and youtube8m, evaluation pages",
    options: &[],
    validate: |form| {
        let (prediction, rows) = (form.prediction(0)?, form.submitted_rows()?);
        rows.iter().try_for_each(|row| {
            let text = prediction.printed(row);
            guesses_of(form, row, words(&text)).map(drop)
        })
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let mut guesses: Vec<(f64, bool)> = Vec::new();
        let mut labels = 0;
        for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
            let (truth, predicted) = (truth.printed(a), prediction.printed(s));
            let mut truth: Vec<&str> = words(&truth).collect();
            labels += truth.len();
            for (label, confidence) in guesses_of(task.form(), s, words(&predicted))? {
                let hit = truth.iter().position(|known| *known == label);
                // A label that is guessed again is wrong.
                hit.map(|place| truth.swap_remove(place));
                guesses.push((confidence, hit.is_some()));
            }
        }
        Ok(global_average_precision(guesses, labels))
    },
};

/// The tokens of a printed cell; a missing one, which is printed `nan`, has none.
fn words(printed: &str) -> impl Iterator<Item = &str> {
    split_words(if printed == "nan" { "" } else { printed })
}

/// The mean over rows of a function of the true labels, the guesses and the option `k`.
fn over_guesses(
    task: &crate::task::Task<'_>,
    score: impl Fn(&HashSet<&str>, &mut dyn Iterator<Item = &str>, usize) -> f64,
) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    check_lengths(pairs.expected.len(), pairs.submission.len())?;
    let k = usize::try_from(task.spec.integer("k").unwrap_or(0)).unwrap_or(0);
    let rows = pairs.expected.iter().zip(pairs.submission.iter());
    let scores: Vec<f64> = rows
        .map(|(a, s)| {
            let (truth, guesses) = (truth.printed(a), prediction.printed(s));
            score(&words(&truth).collect(), &mut words(&guesses), k)
        })
        .collect();
    Ok(mean(&scores))
}

/// A row's labels, each with the confidence behind it.
fn guesses_of<'t>(
    form: &Form<'_>,
    row: usize,
    mut words: impl Iterator<Item = &'t str>,
) -> Result<Vec<(&'t str, f64)>, Refusal> {
    let mut guesses = Vec::new();
    while let Some(label) = words.next() {
        let confidence = words.next().and_then(|text| text.parse().ok());
        match confidence.filter(|confidence: &f64| confidence.is_finite()) {
            Some(confidence) => guesses.push((label, confidence)),
            None => {
                let column = form.prediction(0)?;
                return Err(InvalidSubmission::new(
                    InvalidKind::NotANumber,
                    "a label has no confidence",
                )
                .at(row)
                .in_column(column.name())
                .with_value(column.raw(row))
                .expecting("labels, each followed by a number")
                .into());
            }
        }
    }
    Ok(guesses)
}

/// Places of the rows in order of falling scores; equal scores keep their order.
fn falling(score: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..score.len() as u32).collect();
    order.sort_by(|&a, &b| score[b as usize].total_cmp(&score[a as usize]));
    order
}

/// Average precision: the sum over thresholds of precision times the gain in recall.
///
/// `positive`: `[n]`, the true class. `score`: `[n]`, finite, higher means positive. Rows of equal
/// scores are at one threshold.
///
/// # Errors
/// [`MetricError::OneClass`] if no row is positive; [`MetricError::Missing`] or
/// [`MetricError::Infinite`] names the first bad row.
///
/// # Source
/// scikit-learn 1.5.2 `average_precision_score`.
pub fn average_precision(positive: &[bool], score: &[f64]) -> Result<f64, MetricError> {
    check_lengths(positive.len(), score.len())?;
    check_finite(score, score)?;
    let total = positive.iter().filter(|&&p| p).count();
    if total == 0 {
        return Err(MetricError::OneClass);
    }
    let order = falling(score);
    let (mut hits, mut counted, mut sum) = (0_usize, 0_usize, 0.0);
    for (place, &row) in order.iter().enumerate() {
        hits += usize::from(positive[row as usize]);
        let next = order.get(place + 1).map(|&next| score[next as usize]);
        if next != Some(score[row as usize]) {
            sum += (hits - counted) as f64 / total as f64 * (hits as f64 / (place + 1) as f64);
            counted = hits;
        }
    }
    Ok(sum)
}

/// Gini index of the truth in the order of falling predictions; equal ones keep the order of the
/// rows, which is that of their ids where rows are paired by them.
///
/// `truth`: `[n]`, finite, with a sum above 0. `predicted`: `[n]`, finite.
///
/// # Errors
/// [`MetricError`] if the lengths differ, there are no rows, or a value is not finite.
///
/// # Source
/// Kaggle's ClaimPredictionChallenge, evaluation page: the mean over rows of the share of the truth
/// that is passed less the share of rows that is.
pub fn gini(truth: &[f64], predicted: &[f64]) -> Result<f64, MetricError> {
    check_finite(truth, predicted)?;
    let n = truth.len() as f64;
    let total: f64 = truth.iter().sum();
    let (mut passed, mut sum) = (0.0, 0.0);
    for row in falling(predicted) {
        passed += truth[row as usize];
        sum += passed;
    }
    Ok((sum / total - f64::midpoint(n, 1.0)) / n)
}

/// Normalized discounted cumulative gain of the first `k` guesses: a right one at place i, from 1,
/// gains `1 / log2(i + 1)`, a repeat nothing. 0 if there are no true labels.
///
/// # Source
/// scikit-learn 1.5.2 `ndcg_score` with relevances 0 and 1.
pub fn ndcg(truth: &HashSet<&str>, guesses: &mut dyn Iterator<Item = &str>, k: usize) -> f64 {
    let gain = |place: usize| 1.0 / ((place + 2) as f64).log2();
    let mut seen: Vec<&str> = Vec::new();
    let mut sum = 0.0;
    for (place, guess) in guesses.take(k).enumerate() {
        if truth.contains(guess) && !seen.contains(&guess) {
            seen.push(guess);
            sum += gain(place);
        }
    }
    let best: f64 = (0..truth.len().min(k)).map(gain).sum();
    if best == 0.0 { 0.0 } else { sum / best }
}

/// F-beta of two sets of labels; repeats do not count. 0 if both are empty.
///
/// # Source
/// scikit-learn 1.5.2 `fbeta_score(average="samples", zero_division=0)`.
pub fn set_f_beta<'t>(
    truth: impl Iterator<Item = &'t str>,
    predicted: impl Iterator<Item = &'t str>,
    beta: f64,
) -> f64 {
    let truth: HashSet<&str> = truth.collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let hits = predicted.filter(|label| seen.insert(label) && truth.contains(label)).count();
    let square = beta * beta;
    let size = square * truth.len() as f64 + seen.len() as f64;
    if size == 0.0 { 0.0 } else { (1.0 + square) * hits as f64 / size }
}

/// Average precision of guesses in order of falling confidence, over the number of true labels; 0 if
/// there are none. Equal confidences keep their order.
///
/// # Source
/// Kaggle's landmark-recognition-challenge, evaluation page.
pub fn global_average_precision(mut guesses: Vec<(f64, bool)>, labels: usize) -> f64 {
    guesses.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut sum) = (0_usize, 0.0);
    for (place, (_, hit)) in guesses.iter().enumerate() {
        if *hit {
            hits += 1;
            sum += hits as f64 / (place + 1) as f64;
        }
    }
    if labels == 0 { 0.0 } else { sum / labels as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_rankings() {
        // From scikit-learn's documentation of the function.
        let area = average_precision(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8]).unwrap();
        assert!((area - 0.833_333_333_333_333_3).abs() < 1e-15);
        // Equal scores are at one threshold.
        assert_eq!(average_precision(&[true, false], &[0.5, 0.5]), Ok(0.5));
        // The index of two classes is twice the area under the ROC curve less one.
        let (truth, score) = ([0.0, 1.0, 0.0, 1.0, 1.0], [0.1, 0.7, 0.4, 0.3, 0.9]);
        let normalized = gini(&truth, &score).unwrap() / gini(&truth, &truth).unwrap();
        assert!((normalized - (2.0 * 5.0 / 6.0 - 1.0)).abs() < 1e-12, "{normalized}");
    }

    #[test]
    fn guesses_count_once() {
        let truth = HashSet::from(["a", "b"]);
        let of = |guesses: &str, k| ndcg(&truth, &mut split_words(guesses), k);
        assert_eq!(of("a b", 2), 1.0);
        assert_eq!(of("a a", 2), 1.0 / (1.0 + 1.0 / 3_f64.log2()));
        assert_eq!(of("x y", 2), 0.0);
        assert_eq!(set_f_beta(split_words("a b"), split_words("a a c"), 1.0), 0.5);
        assert_eq!(set_f_beta(split_words(""), split_words(""), 1.0), 0.0);
        let guesses = vec![(0.2, true), (0.9, true), (0.5, false)];
        assert_eq!(global_average_precision(guesses, 4), (1.0 + 2.0 / 3.0) / 4.0);
    }

    proptest! {
        #[test]
        fn the_perfect_order_is_best(rows in proptest::collection::vec((0_u8..2, 0.0_f64..1.0), 2..60)) {
            prop_assume!(rows.iter().any(|(class, _)| *class == 1));
            let truth: Vec<f64> = rows.iter().map(|(class, _)| f64::from(*class)).collect();
            let positive: Vec<bool> = rows.iter().map(|(class, _)| *class == 1).collect();
            let score: Vec<f64> = rows.iter().map(|(_, score)| *score).collect();
            prop_assert!((average_precision(&positive, &truth).unwrap() - 1.0).abs() < 1e-12);
            prop_assert!(average_precision(&positive, &score).unwrap() <= 1.0 + 1e-12);
            prop_assert!(gini(&truth, &score).unwrap() <= gini(&truth, &truth).unwrap() + 1e-12);
        }
    }
}
