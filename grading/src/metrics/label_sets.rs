//! Metrics over sets and lists of tokens in a cell.

use std::collections::{HashMap, HashSet};

use super::{Metric, MetricOption, OptionKind};
use crate::pytext::split_words;
use crate::sum::mean;

/// Micro-averaged F1 over label sets.
pub static F1_MICRO_LABEL_SETS: Metric = Metric {
    name: "f1_micro_label_sets",
    aliases: &["micro_f1", "f1_micro"],
    summary: "F1 = 2TP / (2TP + FP + FN) with the counts of all rows together; labels that the answers never use are ignored.",
    inputs: "one text column of labels separated by white space; a missing cell is the empty set",
    source: "scikit-learn 1.5.2 `MultiLabelBinarizer` and `f1_score(average=\"micro\")`",
    options: &[],
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        let vocabulary: HashMap<&str, u32> = {
            let words = (0..truth.len()).flat_map(|row| split_words(truth.text(row).unwrap_or("")));
            let distinct: HashSet<&str> = words.collect();
            distinct.into_iter().zip(0..).collect()
        };
        Ok(f1_micro(
            vocabulary.len(),
            rows.map(|(a, s)| {
                (known(truth.text(a), &vocabulary), known(prediction.text(s), &vocabulary))
            }),
        ))
    },
};

/// The numbers of the labels in a cell that the answers use.
fn known<'t>(
    text: Option<&'t str>,
    vocabulary: &'t HashMap<&'t str, u32>,
) -> impl Iterator<Item = u32> + use<'t> {
    split_words(text.unwrap_or("")).filter_map(move |word| vocabulary.get(word).copied())
}

/// F1 over the labels of all rows together; 0 if no row has a label on either side.
///
/// `rows`: the true and the predicted labels of each row, below `labels`; repeats do not count.
///
/// # Source
/// scikit-learn 1.5.2 `f1_score(average="micro", zero_division=0)` on a multilabel indicator
/// matrix.
pub fn f1_micro<T, P>(labels: usize, rows: impl Iterator<Item = (T, P)>) -> f64
where
    T: Iterator<Item = u32>,
    P: Iterator<Item = u32>,
{
    // In which row, from 1, each label was last seen on either side.
    let mut seen = vec![[0_usize; 2]; labels];
    let (mut hits, mut total) = (0_u64, 0_u64);
    for (row, (truth, predicted)) in (1..).zip(rows) {
        for label in truth {
            let seen = &mut seen[label as usize][0];
            total += u64::from(*seen != row);
            *seen = row;
        }
        for label in predicted {
            let [in_truth, seen] = &mut seen[label as usize];
            total += u64::from(*seen != row);
            hits += u64::from(*seen != row && *in_truth == row);
            *seen = row;
        }
    }
    if total == 0 { 0.0 } else { 2.0 * hits as f64 / total as f64 }
}

/// Mean average precision at k.
pub static MAP_AT_K: Metric = Metric {
    name: "map_at_k",
    aliases: &["mapk", "mean_average_precision_at_k"],
    summary: "Mean over rows of the average precision of the first k guesses.",
    inputs: "tokens separated by single blanks, best guess first; numbers are printed as text first, a missing cell is `nan`",
    source: "MLE-bench `hotel-id-2021-fgvc8`, `h-and-m-personalized-fashion-recommendations`; `ml_metrics.mapk`",
    options: &[MetricOption {
        name: "k",
        kind: OptionKind::Integer,
        required: true,
        doc: "number of guesses that count",
    }],
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let k = usize::try_from(task.spec.integer("k").unwrap_or(0)).unwrap_or(0);
        let scores: Vec<f64> = pairs
            .expected
            .iter()
            .zip(pairs.submission.iter())
            .map(|(a, s)| {
                let (truth, guesses) = (truth.printed(a), prediction.printed(s));
                average_precision_at_k(&truth.split(' ').collect(), guesses.split(' '), k)
            })
            .collect();
        Ok(mean(&scores))
    },
};

/// Average precision of the first `k` guesses against a set of right answers.
///
/// A guess counts once; a repeat keeps its place. The sum of precisions is divided by the smaller
/// of k and the number of right answers. NaN if there are none.
///
/// # Source
/// `ml_metrics` 0.1.4 `apk`.
pub fn average_precision_at_k<'a>(
    truth: &HashSet<&'a str>,
    guesses: impl Iterator<Item = &'a str>,
    k: usize,
) -> f64 {
    let (mut hits, mut sum) = (0_u32, 0.0);
    let mut seen: Vec<&str> = Vec::new();
    for (place, guess) in guesses.take(k).enumerate() {
        if truth.contains(guess) && !seen.contains(&guess) {
            hits += 1;
            sum += f64::from(hits) / (place + 1) as f64;
            seen.push(guess);
        }
    }
    sum / truth.len().min(k) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_keep_their_place_and_score_once() {
        let truth = HashSet::from(["a", "b"]);
        let ap = |guesses: &str| average_precision_at_k(&truth, guesses.split(' '), 3);
        assert_eq!(ap("a b"), 1.0);
        assert_eq!(ap("a a b"), (1.0 + 2.0 / 3.0) / 2.0);
        assert_eq!(ap("x y z a"), 0.0);
        assert_eq!(ap(" a"), 0.25);
    }

    #[test]
    fn micro_f1_pools_rows() {
        let rows = [(vec![1, 2, 1], vec![2, 3, 3]), (vec![4], vec![]), (vec![], vec![])];
        let rows = rows.map(|(truth, predicted)| (truth.into_iter(), predicted.into_iter()));
        assert_eq!(f1_micro(5, rows.into_iter()), 2.0 / 5.0);
        let none: [(std::vec::IntoIter<u32>, std::vec::IntoIter<u32>); 0] = [];
        assert_eq!(f1_micro(0, none.into_iter()), 0.0);
    }
}
