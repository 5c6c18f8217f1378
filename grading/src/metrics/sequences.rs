//! Sequences of integers.

use std::collections::HashMap;

use super::Metric;
use crate::invalid::{InvalidKind, InvalidSubmission};
use crate::pytext::{parse_int, split_words};
use crate::table::Column;
use crate::task::bad_answer;

/// Edit distance over true length.
pub static SEQUENCE_ERROR_RATE: Metric = Metric {
    name: "sequence_error_rate",
    aliases: &["normalized_levenshtein"],
    summary: "Total edit distance between the sequences, divided by the total length of the true ones; can exceed 1.",
    inputs: "one column of integers separated by white space; a missing cell is refused, one of spaces is empty",
    source: "MLE-bench `multi-modal-gesture-recognition/grade.py`",
    options: &[],
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let mut words = Words::default();
        let mut sequences = Vec::with_capacity(pairs.answers.len());
        for (a, s) in pairs.answers.iter().zip(pairs.submission.iter()) {
            let predicted =
                words.read(&prediction, s).ok_or_else(|| bad_sequence(&prediction, s))?;
            let of_truth = words
                .read(&truth, a)
                .ok_or_else(|| bad_answer(a, &truth, "is no list of integers"))?;
            sequences.push((of_truth, predicted));
        }
        let pairs =
            sequences.iter().map(|(truth, predicted)| (truth.as_slice(), predicted.as_slice()));
        sequence_error_rate(pairs).ok_or_else(|| no_length().into())
    },
};

/// Sum of the Levenshtein distances over the sum of the true lengths; `None` if that is 0.
///
/// `pairs`: truth and prediction. Insertions, deletions and substitutions cost 1 each.
#[must_use]
pub fn sequence_error_rate<'s>(pairs: impl Iterator<Item = (&'s [u32], &'s [u32])>) -> Option<f64> {
    let (mut edits, mut length) = (0, 0);
    for (truth, predicted) in pairs {
        edits += rapidfuzz::distance::levenshtein::distance(
            truth.iter().copied(),
            predicted.iter().copied(),
        );
        length += truth.len();
    }
    (length > 0).then(|| edits as f64 / length as f64)
}

/// Numbers the distinct integers of both files, which may be of any size.
#[derive(Default)]
struct Words {
    numbers: HashMap<i128, u32>,
}

impl Words {
    /// The sequence in a cell; `None` if it is missing or a token is no integer.
    fn read(&mut self, column: &Column<'_>, row: usize) -> Option<Vec<u32>> {
        let text = column.printed(row);
        split_words(&text)
            .map(|token| {
                let next = self.numbers.len() as u32;
                Some(*self.numbers.entry(parse_int(token)?).or_insert(next))
            })
            .collect()
    }
}

fn bad_sequence(column: &Column<'_>, row: usize) -> InvalidSubmission {
    let message = if column.is_missing(row) {
        "the cell is missing; an empty sequence has to be written as a space"
    } else {
        "the cell is no list of integers"
    };
    InvalidSubmission::new(InvalidKind::BadCell, message)
        .at(row)
        .in_column(column.name())
        .with_value(column.raw(row))
        .expecting("integers separated by spaces")
}

fn no_length() -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::Undefined, "the true sequences are all empty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edits_are_pooled() {
        let pairs: [(&[u32], &[u32]); 2] = [(&[1, 2, 3], &[1, 3]), (&[4], &[5, 6])];
        assert_eq!(sequence_error_rate(pairs.into_iter()), Some(0.75));
        assert_eq!(sequence_error_rate([(&[][..], &[1][..])].into_iter()), None);
    }

    proptest! {
        #[test]
        fn edits_are_bounded_by_the_longer(truth in proptest::collection::vec(0_u32..5, 1..60), predicted in proptest::collection::vec(0_u32..5, 0..60)) {
            let rate = sequence_error_rate([(&truth[..], &predicted[..])].into_iter()).unwrap();
            prop_assert!(rate * truth.len() as f64 <= truth.len().max(predicted.len()) as f64 + 1e-9);
            prop_assert_eq!(sequence_error_rate([(&truth[..], &truth[..])].into_iter()), Some(0.0));
        }
    }
}
