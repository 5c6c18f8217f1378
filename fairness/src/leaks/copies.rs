//! Rows of the test part that stand in the training part as well.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use medalist_agents::ladder::Cells;
use serde::Serialize;

use super::Sight;
use crate::truth::Values;
use crate::{Finding, NotMeasured, Severity};

/// Equal rows that chance alone may give a test row, above which equal rows say nothing.
const BY_CHANCE: f64 = 1e-3;
/// Share of test rows from which on copies are a warning, and a fault.
const SOME: f64 = 0.005;
const MANY: f64 = 0.05;
/// Fewest copies that are told of.
const FEWEST: usize = 3;
/// Digits of a number in which nearly equal rows agree.
const DIGITS: usize = 3;

/// How many test rows have a twin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Copies {
    /// Test rows that were looked at.
    pub rows: usize,
    /// Those with an equal row among the training rows that were read.
    pub equal: usize,
    /// Those with a nearly equal one besides: texts without case, blanks and punctuation, numbers in
    /// three digits.
    pub nearly: usize,
    /// Of both, those whose twin has the same answers, where that is known.
    pub same_answer: Option<usize>,
    /// Equal training rows that chance would give a test row if columns were independent.
    pub by_chance: f64,
}

pub(super) fn measure(sight: &Sight<'_>, report: &mut crate::Report) {
    const WHAT: &str = "copies of test rows among the training rows";
    let Some(ladder) = sight.ladder else { return };
    let (train, test) = (ladder.train(), ladder.test());
    let columns: Vec<(Cells<'_>, Cells<'_>)> = ladder
        .shared()
        .into_iter()
        .filter_map(|name| Some((train.cells(name)?, test.cells(name)?)))
        .filter(|(train, test)| !is_another_id(*train, *test))
        .collect();
    if columns.is_empty() || train.rows() == 0 || test.rows() != sight.truth.rows {
        let why = "the training and the test rows have no columns in common";
        report.not_measured.push(NotMeasured::new(WHAT, why));
        return;
    }
    let exact = |cell: &str, hasher: &mut DefaultHasher| cell.hash(hasher);
    let mut found = Vec::new();
    for form in [&exact as &dyn Fn(&str, &mut DefaultHasher), &near] {
        let by_chance = by_chance(&columns, train.rows(), form);
        if by_chance <= BY_CHANCE {
            found.push((by_chance, twins(&columns, train.rows(), test.rows(), form)));
        }
    }
    let Some((by_chance, equal)) = found.first() else {
        let why = "rows have so few different values that equal ones come by chance";
        report.not_measured.push(NotMeasured::new(WHAT, why));
        return;
    };
    let nearly = found.get(1).map(|(_, twins)| twins);
    let twin = |row: usize| {
        equal[row].or_else(|| nearly.and_then(|twins: &Vec<Option<usize>>| twins[row]))
    };
    let count = (0..test.rows()).filter(|row| equal[*row].is_some()).count();
    let all: Vec<(usize, usize)> =
        (0..test.rows()).filter_map(|row| Some((row, twin(row)?))).collect();
    let same = |(test, train): &&(usize, usize)| same_answers(sight, *test, *train);
    let copies = Copies {
        rows: test.rows(),
        equal: count,
        nearly: all.len() - count,
        same_answer: (sight.train.len() == sight.truth.targets.len())
            .then(|| all.iter().filter(same).count()),
        by_chance: *by_chance,
    };
    report.findings.extend(finding(&copies, "rows"));
    report.leaks.copies = Some(copies);
}

/// What copies of rows or files come to.
pub(super) fn finding(copies: &Copies, what: &str) -> Option<Finding> {
    let all = copies.equal + copies.nearly;
    if all < FEWEST {
        return None;
    }
    let share = all as f64 / copies.rows as f64;
    let telling = copies.same_answer.map_or(share, |same| same as f64 / copies.rows as f64);
    let severity = match telling {
        telling if telling >= MANY => Severity::Fault,
        telling if telling >= SOME => Severity::Warning,
        _ => Severity::Note,
    };
    let same = match copies.same_answer {
        Some(same) => format!("; the answer is the same in {same} of them"),
        None => String::new(),
    };
    let nearly = match copies.nearly {
        0 => String::new(),
        nearly => format!(" and {nearly} nearly so"),
    };
    let kind = if what == "rows" { "copies" } else { "file-copies" };
    Some(Finding::new(
        kind,
        severity,
        format!(
            "{} of {} test {what} stand in the training part, too{nearly}{same}",
            copies.equal, copies.rows
        ),
        "keep equal rows in one part (a grouped split), or leave them out of one",
        [
            ("equal", copies.equal as f64),
            ("nearly", copies.nearly as f64),
            ("rows", copies.rows as f64),
            ("same_answer", copies.same_answer.map_or(f64::NAN, |same| same as f64)),
            ("by_chance", copies.by_chance),
        ],
    ))
}

/// Whether a column names rows: all different in both parts, and neither numbers with decimals nor
/// texts of words.
fn is_another_id(train: Cells<'_>, test: Cells<'_>) -> bool {
    let plain = |cell: &str| !cell.is_empty() && !cell.contains(['.', ' ']);
    let mut seen = std::collections::HashSet::new();
    train.iter().chain(test.iter()).all(|cell| plain(cell) && seen.insert(cell))
}

/// How many of the training rows would equal a test row if columns were independent: the product of
/// the columns' chances that two rows agree, times the training rows.
fn by_chance(
    columns: &[(Cells<'_>, Cells<'_>)],
    rows: usize,
    form: &dyn Fn(&str, &mut DefaultHasher),
) -> f64 {
    let agree = |cells: Cells<'_>| {
        let mut counts: HashMap<u64, f64> = HashMap::new();
        for cell in cells.iter() {
            let mut hasher = DefaultHasher::new();
            form(cell, &mut hasher);
            *counts.entry(hasher.finish()).or_default() += 1.0;
        }
        let n = cells.len() as f64;
        // Pairs of different rows: all-different values never agree.
        let pairs: f64 = counts.values().map(|count| count * (count - 1.0)).sum();
        (pairs / (n * (n - 1.0)).max(1.0)).max(1.0 / (n * n))
    };
    columns.iter().map(|(train, _)| agree(*train)).product::<f64>() * rows as f64
}

/// The first training row that each test row equals.
fn twins(
    columns: &[(Cells<'_>, Cells<'_>)],
    train: usize,
    test: usize,
    form: &dyn Fn(&str, &mut DefaultHasher),
) -> Vec<Option<usize>> {
    let key = |row: usize, of_test: bool| {
        let mut hasher = DefaultHasher::new();
        for (a, b) in columns {
            form(if of_test { b.get(row) } else { a.get(row) }, &mut hasher);
            0xFF_u8.hash(&mut hasher);
        }
        hasher.finish()
    };
    let mut first: HashMap<u64, usize> = HashMap::with_capacity(train);
    for row in 0..train {
        first.entry(key(row, false)).or_insert(row);
    }
    (0..test).map(|row| first.get(&key(row, true)).copied()).collect()
}

/// A cell without what nearly equal ones differ in.
fn near(cell: &str, hasher: &mut DefaultHasher) {
    match cell.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => format!("{value:.*e}", DIGITS - 1).hash(hasher),
        _ => {
            for c in cell.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase) {
                c.hash(hasher);
            }
        }
    }
}

/// Whether a test and a training row have the same answers.
pub(super) fn same_answers(sight: &Sight<'_>, test: usize, train: usize) -> bool {
    sight.truth.targets.iter().zip(&sight.train).all(|(known, other)| {
        known.name == other.name && is_same(&known.values, test, &other.values, train)
    })
}

fn is_same(a: &Values, row: usize, b: &Values, other: usize) -> bool {
    match (a, b) {
        (Values::Numbers(a), Values::Numbers(b)) => a[row] == b[other],
        (Values::Classes { names: a, of: x }, Values::Classes { names: b, of: y }) => {
            match (x[row], y[other]) {
                (Some(x), Some(y)) => a[x as usize] == b[y as usize],
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_equal_cells_are_one() {
        let key = |cell: &str| {
            let mut hasher = DefaultHasher::new();
            near(cell, &mut hasher);
            hasher.finish()
        };
        assert_eq!(key("Well,  then!"), key("well then"));
        assert_eq!(key("1.2341"), key("1.2343"));
        assert_ne!(key("1.23"), key("1.24"));
        assert_ne!(key("one"), key("two"));
    }
}
