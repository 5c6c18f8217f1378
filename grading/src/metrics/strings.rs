//! Metrics over texts.

use rapidfuzz::distance::levenshtein;
use rayon::prelude::*;

use super::{Metric, MetricOption, OptionKind};
use crate::invalid::{InvalidKind, InvalidSubmission};
use crate::pytext::split_words;
use crate::sum::mean;

/// Mean edit distance.
pub static LEVENSHTEIN: Metric = Metric {
    name: "levenshtein",
    aliases: &["mean_edit_distance", "edit_distance"],
    summary: "Mean number of insertions, deletions and replacements of code points between the texts.",
    inputs: "one column, printed as text (a missing cell is `nan`, numbers lose their spelling)",
    source: "MLE-bench `bms-molecular-translation` and `billion-word-imputation`; python-Levenshtein `distance`",
    options: &[],
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let distances: Vec<f64> = (0..pairs.answers.len())
            .into_par_iter()
            .map(|place| {
                let (truth, predicted) = (
                    truth.printed(pairs.answers.at(place)),
                    prediction.printed(pairs.submission.at(place)),
                );
                edit_distance(&truth, &predicted) as f64
            })
            .collect();
        Ok(mean(&distances))
    },
};

/// Levenshtein distance over code points, without any Unicode normalisation.
///
/// # Source
/// python-Levenshtein 0.25 `distance`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    levenshtein::distance(a.chars(), b.chars())
}

/// Mean Jaccard index of the word sets.
pub static WORD_JACCARD: Metric = Metric {
    name: "word_jaccard",
    aliases: &["jaccard"],
    summary: "Mean over rows of the share of common words among all words of both texts, in lower case.",
    inputs: "one column; a missing cell is the empty text, numbers are printed first",
    source: "MLE-bench `chaii-hindi-and-tamil-question-answering/grade.py` and `tweet-sentiment-extraction/grade.py`",
    options: &[MetricOption {
        name: "refuse_wordless_pair",
        kind: OptionKind::Flag,
        required: false,
        doc: "Whether a row without a word on either side makes the submission invalid instead of scoring 0. Default false.",
    }],
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let refused = task.flag("refuse_wordless_pair");
        let mut scores = Vec::with_capacity(pairs.answers.len());
        for (a, s) in pairs.answers.iter().zip(pairs.submission.iter()) {
            match word_jaccard(&truth.filled(a, ""), &prediction.filled(s, "")) {
                Some(score) => scores.push(score),
                None if !refused => scores.push(0.0),
                None => {
                    return Err(InvalidSubmission::new(
                        InvalidKind::Undefined,
                        "neither text has a word, which divides by zero",
                    )
                    .at(s)
                    .in_column(prediction.name())
                    .with_value(prediction.raw(s))
                    .expecting("a text with at least one word")
                    .into());
                }
            }
        }
        Ok(mean(&scores))
    },
};

/// Jaccard index of the sets of lower-case words of two texts; `None` if neither has a word.
///
/// Words are separated by Python's white space; punctuation sticks to them.
pub fn word_jaccard(a: &str, b: &str) -> Option<f64> {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let set = |text| {
        let mut words: Vec<&str> = split_words(text).collect();
        words.sort_unstable();
        words.dedup();
        words
    };
    let (a, b) = (set(&a), set(&b));
    let common = a.iter().filter(|word| b.binary_search(word).is_ok()).count();
    let all = a.len() + b.len() - common;
    (all > 0).then(|| common as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_over_code_points() {
        for (a, b, distance) in [
            ("kitten", "sitting", 3),
            ("e\u{301}", "\u{e9}", 2),
            ("\u{1f600}", "", 1),
            ("a b", "ab", 1),
        ] {
            assert_eq!(edit_distance(a, b), distance);
        }
    }

    #[test]
    fn words_are_lower_case_sets() {
        assert_eq!(word_jaccard("A a\u{a0}b", "B c"), Some(1.0 / 3.0));
        assert_eq!(word_jaccard("\u{39f}\u{3a3}", "\u{3bf}\u{3c2}"), Some(1.0));
        assert_eq!(word_jaccard(" ", ""), None);
    }
}
