//! Sequences of integers.

use std::collections::HashMap;

use rapidfuzz::distance::levenshtein;

use super::Metric;
use crate::invalid::{InvalidKind, InvalidSubmission, bad_answer};
use crate::pytext::{is_space, parse_int, split_words};
use crate::table::Column;

/// Edit distance over true length.
pub static SEQUENCE_ERROR_RATE: Metric = Metric {
    name: "sequence_error_rate",
    aliases: &["normalized_levenshtein"],
    summary: "Total edit distance between the sequences, divided by the total length of the true ones; can exceed 1.",
    inputs: "one column of integers separated by white space; a missing cell is refused, one of spaces is empty",
    source: "MLE-bench `multi-modal-gesture-recognition/grade.py`",
    options: &[],
    validate: |form| {
        let prediction = form.prediction(0)?;
        form.submitted_rows()?.iter().try_for_each(|row| Ok(check_sequence(&prediction, row)?))
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let (mut edits, mut length) = (0, 0);
        for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
            check_sequence(&prediction, s)?;
            let text = truth.printed(a);
            let of_truth: Vec<i128> = split_words(&text)
                .map(parse_int)
                .collect::<Option<_>>()
                .ok_or_else(|| bad_answer(a, &truth, "is no list of integers"))?;
            edits += sequence_edits(&of_truth, &prediction.printed(s));
            length += of_truth.len();
        }
        if length == 0 { Err(no_length().into()) } else { Ok(edits as f64 / length as f64) }
    },
};

/// Levenshtein distance between a sequence and the integers of a text, whose words all are some.
///
/// Insertions, deletions and substitutions cost 1 each. The text is gone through as it stands: a
/// cell of any length costs no memory of its own.
#[must_use]
pub fn sequence_edits(truth: &[i128], predicted: &str) -> usize {
    // Numbers stand for the true integers; all others are alike, since none of them matches.
    let mut numbers: HashMap<i128, u32> = HashMap::new();
    let truth: Vec<u32> = truth
        .iter()
        .map(|&word| {
            let next = numbers.len() as u32 + 1;
            *numbers.entry(hash(word)).or_insert(next)
        })
        .collect();
    let predicted = predicted.split(is_space).filter(|word| !word.is_empty()).map(|word| {
        parse_int(word).and_then(|word| numbers.get(&hash(word)).copied()).unwrap_or(0)
    });
    levenshtein::BatchComparator::new(truth).distance(predicted)
}

/// What an integer is compared by.
///
/// # Source
/// Levenshtein 0.25.1 compares the elements of lists by their hash, which for CPython's integers is
/// the rest after 2^61 - 1, with -2 for -1 but for -1 itself.
fn hash(word: i128) -> i128 {
    match word % ((1 << 61) - 1) {
        -1 if word != -1 => -2,
        rest => rest,
    }
}

/// Checks that a cell is a list of integers, perhaps an empty one.
fn check_sequence(column: &Column<'_>, row: usize) -> Result<(), InvalidSubmission> {
    match split_words(&column.printed(row)).all(|word| parse_int(word).is_some()) {
        true => Ok(()),
        false => Err(bad_sequence(column, row)),
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

    fn text(sequence: &[i128]) -> String {
        sequence.iter().map(i128::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn known_distances() {
        assert_eq!(sequence_edits(&[1, 2, 3], "1 3"), 1);
        assert_eq!(sequence_edits(&[4], "5 06"), 2);
        assert_eq!(sequence_edits(&[4], " +4 "), 0);
        assert_eq!(sequence_edits(&[], "1 2"), 2);
        assert_eq!(sequence_edits(&[7, 8], ""), 2);
        // 2^64 has the hash of 8, and -2^61 that of -2.
        assert_eq!(sequence_edits(&[7, 8], "7 18446744073709551616"), 0);
        assert_eq!(sequence_edits(&[-2, -1], "-2305843009213693952 -1"), 0);
        assert_eq!(sequence_edits(&[-2], "-1"), 1);
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_plain_sequences(truth in proptest::collection::vec(0_i128..5, 0..90), predicted in proptest::collection::vec(0_i128..7, 0..90)) {
            let plain = levenshtein::distance(truth.iter().map(|&v| v as u32), predicted.iter().map(|&v| v as u32));
            prop_assert_eq!(sequence_edits(&truth, &text(&predicted)), plain);
        }
    }
}
