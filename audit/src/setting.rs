//! What the rules know of an attempt's task.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Whether something was allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leave {
    Given,
    /// The rules that hold are not known to the program.
    #[default]
    Unknown,
    Denied,
}

/// An attempt's task, as far as it is known.
#[derive(Debug, Default)]
pub struct Setting {
    /// The ids of the test rows; none where the data are not at hand.
    pub ids: Option<Ids>,
    /// The columns that hold ids.
    pub id_columns: Vec<String>,
    /// Whether something may be fetched.
    pub downloads: Leave,
    /// Whether nothing could be fetched, since there was no network.
    pub sealed: bool,
    /// Whether weights that others trained may be used.
    pub weights: Leave,
    /// Parts of paths below which the agent was given something, beside `/home` and `/tmp`.
    pub roots: Vec<String>,
}

/// The ids of the test rows, and the answers where they are one word each.
#[derive(Debug, Default)]
pub struct Ids {
    /// The row of each id, by the id's hash.
    rows: HashMap<u64, u32>,
    /// One for each row, or none at all.
    answers: Vec<String>,
    /// The share of rows that the commonest answer has.
    commonest: f64,
    count: usize,
    /// Least and largest, if all are numbers.
    range: Option<(i64, i64)>,
}

impl Ids {
    /// The ids in the order of their rows; `answers` has the answer of each, or is empty.
    pub fn new<'a>(ids: impl IntoIterator<Item = &'a str>, answers: Vec<String>) -> Self {
        let mut new = Self { answers, ..Self::default() };
        let (mut low, mut high, mut numbers) = (i64::MAX, i64::MIN, true);
        for id in ids {
            new.rows.insert(hash(bare(id)), u32::try_from(new.count).unwrap_or(u32::MAX));
            new.count += 1;
            match id.parse::<i64>() {
                Ok(number) => (low, high) = (low.min(number), high.max(number)),
                Err(_) => numbers = false,
            }
        }
        new.range = (numbers && new.count > 0).then_some((low, high));
        if new.answers.len() != new.count {
            new.answers.clear();
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for answer in &new.answers {
            *counts.entry(answer).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or_default();
        new.commonest = most as f64 / new.count.max(1) as f64;
        new
    }

    /// Number of test rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The row of an id, which may stand as a file's name: `train/0001.png`.
    pub(crate) fn row(&self, text: &str) -> Option<u32> {
        if text.len() > 200 {
            return None;
        }
        let text = text.trim();
        self.rows.get(&hash(text)).or_else(|| self.rows.get(&hash(bare(text)))).copied()
    }

    /// The answer of a row, where it is known.
    pub(crate) fn answer(&self, row: u32) -> Option<&str> {
        self.answers.get(row as usize).map(String::as_str)
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// All answers in the order of the rows, if they are known.
    pub(crate) fn answers(&self) -> &[String] {
        &self.answers
    }

    /// The share of rows that the commonest answer has.
    pub(crate) fn commonest(&self) -> f64 {
        self.commonest
    }

    /// The least and the largest id, if all are whole numbers.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        self.range
    }

    /// Whether numbers that mean something else are often ids too: the ids are small numbers, or fill
    /// their range.
    pub(crate) fn are_common_numbers(&self) -> bool {
        self.range.is_some_and(|(low, high)| {
            high < 10_000 || (high.abs_diff(low) as f64) < 20.0 * self.count as f64
        })
    }
}

/// A file's name without folder and ending.
fn bare(text: &str) -> &str {
    let text = text.trim().rsplit('/').next().unwrap_or(text);
    match text.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && is_ending(end) => stem,
        _ => text,
    }
}

fn is_ending(end: &str) -> bool {
    (2..=5).contains(&end.len()) && end.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_a_files_name() {
        let ids = Ids::new(["a.png", "b", "0012"], vec!["x".into(), "y".into(), "z".into()]);
        for (text, row) in [
            ("a", Some(0)),
            ("test/a.png", Some(0)),
            ("b.jpeg", Some(1)),
            ("0012", Some(2)),
            ("c", None),
        ] {
            assert_eq!(ids.row(text), row, "{text}");
        }
        assert_eq!((ids.answer(1), ids.len(), ids.range()), (Some("y"), 3, None));
    }

    #[test]
    fn ids_are_common_numbers_where_they_are_small_or_dense() {
        let of = |numbers: &[i64]| {
            let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
            Ids::new(texts.iter().map(String::as_str), Vec::new())
        };
        assert!(of(&[1461, 1462, 2919]).are_common_numbers());
        assert!(of(&[100_000, 100_001, 100_002]).are_common_numbers());
        assert!(!of(&[12_345_678, 99_123_456, 45_678_901]).are_common_numbers());
    }
}
