//! Metrics over texts.

use std::borrow::Cow;
use std::collections::HashSet;

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
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let distances: Vec<f64> = (0..pairs.expected.len())
            .into_par_iter()
            .map(|place| {
                let (truth, predicted) = (
                    truth.printed(pairs.expected.at(place)),
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
    let (shorter, longer) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    // The library keeps 32 bytes for each character of the longer text. Where that is much longer,
    // it is better taken as the one that is gone through.
    if longer.len() / 2 > shorter.len().max(64) {
        return levenshtein::BatchComparator::new(shorter.chars()).distance(longer.chars());
    }
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
    validate: super::any_cells,
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let refused = task.spec.flag("refuse_wordless_pair");
        let mut scores = Vec::with_capacity(pairs.expected.len());
        for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
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
    let (a, b) = (lower_case(a), lower_case(b));
    let (a, b) = (WordSet::new(&a), WordSet::new(&b));
    let (smaller, larger) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    let common = smaller.iter().filter(|word| larger.contains(word)).count();
    let all = a.len() + b.len() - common;
    (all > 0).then(|| common as f64 / all as f64)
}

/// The text in lower case; itself if it is that already.
fn lower_case(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| c.to_lowercase().next() != Some(c)) {
        text.to_lowercase().into()
    } else {
        text.into()
    }
}

/// The distinct words of a text, by where they start: four bytes a word, where a slice has sixteen.
struct WordSet<'t> {
    text: &'t str,
    /// Words of one or two bytes, of which there are few, however often they occur.
    short: Vec<&'t str>,
    /// The starts of the others, in the order of the words.
    long: Vec<u32>,
}

impl<'t> WordSet<'t> {
    fn new(text: &'t str) -> Self {
        let is_long = |word: &&str| word.len() > 2;
        let mut short: HashSet<&str> = HashSet::new();
        let mut long = Vec::with_capacity(split_words(text).filter(is_long).count());
        for word in split_words(text) {
            if is_long(&word) {
                long.push((word.as_ptr() as usize - text.as_ptr() as usize) as u32);
            } else {
                short.insert(word);
            }
        }
        let mut short: Vec<&str> = short.into_iter().collect();
        short.sort_unstable();
        long.sort_unstable_by_key(|&start| word_at(text, start));
        long.dedup_by_key(|start| word_at(text, *start));
        Self { text, short, long }
    }

    fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    fn iter(&self) -> impl Iterator<Item = &'t str> {
        self.short.iter().copied().chain(self.long.iter().map(|&start| word_at(self.text, start)))
    }

    fn contains(&self, word: &str) -> bool {
        self.short.binary_search(&word).is_ok()
            || self.long.binary_search_by_key(&word, |&start| word_at(self.text, start)).is_ok()
    }
}

/// The word that starts there.
fn word_at(text: &str, start: u32) -> &str {
    split_words(&text[start as usize..]).next().unwrap_or_default()
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
