//! Rows of the test data that stand in the training data as well. That is the data's doing, and the context
//! of every score on them.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use medalist_grading::untrusted::Shown;

use crate::finding::{Confidence, Finding, Rule};

/// Columns that two rows must share to be called the same.
const COLUMNS: usize = 2;

/// How many test rows stand in the training data.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overlap {
    pub test_rows: usize,
    pub train_rows: usize,
    /// Test rows that are equal to a training row in all columns that both have.
    pub equal: usize,
    /// The first such row of the test data, from 0.
    pub first: Option<usize>,
    /// How many would be equal if test rows were training rows: rows of few levels meet by chance.
    pub by_chance: f64,
}

/// Counts rows by their hashes; rows come one after the other, and are read once.
#[derive(Debug, Default)]
pub struct Counter {
    /// In which half of the training data a row was seen.
    train: HashMap<u64, [bool; 2]>,
    rows: usize,
    /// Rows of one half that the other half has.
    met: usize,
    overlap: Overlap,
}

impl Counter {
    /// Takes a training row: its cells in the columns that both tables have.
    pub fn train<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        let half = self.rows % 2;
        self.rows += 1;
        if let Some(hash) = hash(cells) {
            let seen = self.train.entry(hash).or_default();
            self.met += usize::from(seen[1 - half]);
            seen[half] = true;
        }
    }

    /// Takes a test row, after all training rows.
    pub fn test<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        let row = self.overlap.test_rows;
        self.overlap.test_rows += 1;
        if hash(cells).is_some_and(|hash| self.train.contains_key(&hash)) {
            self.overlap.equal += 1;
            self.overlap.first.get_or_insert(row);
        }
    }

    /// What was counted.
    pub fn overlap(self) -> Overlap {
        // A row finds its like among half of the others on average; a test row among all.
        let rate = (2.0 * self.met as f64 / self.rows.max(1) as f64).min(1.0);
        let by_chance = rate * self.overlap.test_rows as f64;
        Overlap { train_rows: self.rows, by_chance, ..self.overlap }
    }
}

impl Overlap {
    /// Whether more rows are equal than chance explains.
    pub fn is_leak(&self) -> bool {
        let bound = 1.5 * self.by_chance + 3.0 * self.by_chance.sqrt();
        self.equal > 0 && self.equal as f64 > bound
    }

    /// The finding, if test rows stand in the training data. `test` and `train`: what the tables are called.
    pub fn finding(&self, test: &str, train: &str) -> Option<Finding> {
        if !self.is_leak() {
            return None;
        }
        let share = self.share();
        let row = self.first.unwrap_or_default();
        Some(Finding {
            rule: Rule::TestRowsInTrain,
            file: Shown::new(test),
            line: Some(row as u64 + 2),
            // It says nothing against an attempt.
            confidence: if share >= 0.01 { Confidence::Medium } else { Confidence::Low },
            evidence: Shown::new(&format!("row {} and others", row + 1)),
            says: format!(
                "{} of {} test rows ({:.2} %) are equal to a row of `{train}` in all columns that both have, and chance gives {:.0}",
                self.equal,
                self.test_rows,
                100.0 * share,
                self.by_chance
            ),
        })
    }

    /// The share of test rows that are equal to a training row.
    pub fn share(&self) -> f64 {
        self.equal as f64 / self.test_rows.max(1) as f64
    }
}

/// The columns that two tables share and that tell something: none that is named as an id or a target, and
/// none that has another value in nearly every row because it counts them.
pub fn shared_columns<'a>(train: &'a [String], test: &[String], not: &[String]) -> Vec<&'a str> {
    let test: HashSet<&str> = test.iter().map(String::as_str).collect();
    let skip = |name: &str| {
        not.iter().any(|other| other.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case("id")
            || name.starts_with("Unnamed")
    };
    train.iter().map(String::as_str).filter(|name| test.contains(name) && !skip(name)).collect()
}

/// A row's hash; none if too little stands in it.
fn hash<'a>(cells: impl IntoIterator<Item = &'a str>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let mut filled = 0;
    let mut length = 0;
    for cell in cells {
        let cell = cell.trim();
        filled += usize::from(!cell.is_empty());
        length += cell.len();
        cell.to_lowercase().hash(&mut hasher);
    }
    // One long text says as much as several cells.
    (filled >= COLUMNS || length >= 24).then(|| hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(train: &[[&str; 2]], test: &[[&str; 2]]) -> Overlap {
        let mut counter = Counter::default();
        train.iter().for_each(|row| counter.train(row.iter().copied()));
        test.iter().for_each(|row| counter.test(row.iter().copied()));
        counter.overlap()
    }

    #[test]
    fn equal_rows_are_a_leak_unless_rows_meet_by_chance() {
        let leak = count(&[["1.5", "a"], ["2.5", "b"], ["3.5", "c"]], &[["9", "z"], ["2.5", "b"]]);
        assert_eq!((leak.equal, leak.first, leak.by_chance), (1, Some(1), 0.0));
        assert!(leak.is_leak());
        let common =
            count(&[["1", "a"], ["1", "a"], ["1", "b"], ["1", "b"]], &[["1", "a"], ["1", "b"]]);
        assert!(common.equal == 2 && !common.is_leak(), "{common:?}");
        assert_eq!(count(&[["", ""]], &[["", ""]]).equal, 0, "rows that say nothing are not equal");
    }
}
