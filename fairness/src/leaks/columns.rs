//! Columns that are the answer in another form.

use std::collections::HashMap;

use medalist_agents::ladder::Cells;
use medalist_stats::Rng;
use serde::Serialize;

use super::Sight;
use crate::signal::{self, rank_correlation, separation};
use crate::truth::{Target, Values};
use crate::{Finding, Severity};

/// Most columns that are looked at.
const MOST_COLUMNS: usize = 500;
/// Fewest test rows.
const FEWEST: usize = 30;
/// Fewest rows of each of two classes that a column may separate; fewer are separated by chance.
const FEW_OF_CLASS: usize = 20;
/// From which strength on a column is told of, and is the answer.
const NEAR: f64 = 0.98;
const SAME: f64 = 0.999;
/// Training rows for each different value of a column that may be looked up.
const ROWS_PER_VALUE: usize = 5;

/// A column that goes with an answer nearly everywhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The target column.
    pub target: String,
    /// How it tells: `copy`, `rising`, `falling` or `code`.
    pub form: &'static str,
    /// How well it tells the answers of test rows, from 0 to 1: Cohen's kappa, a rank correlation, or
    /// 2 AUC - 1.
    pub strength: f64,
}

pub(super) fn measure(sight: &Sight<'_>, rng: &mut Rng, report: &mut crate::Report) {
    let Some(ladder) = sight.ladder else { return };
    let (train, test) = (ladder.train(), ladder.test());
    if test.rows() != sight.truth.rows || test.rows() < FEWEST {
        return;
    }
    let shared = ladder.shared();
    for name in shared.iter().take(MOST_COLUMNS) {
        let (Some(train_cells), Some(cells)) = (train.cells(name), test.cells(name)) else {
            continue;
        };
        report.leaks.columns_looked_at += 1;
        for target in &sight.truth.targets {
            let known = (0..test.rows())
                .filter(|row| target.values.is_known(*row) && !cells.get(*row).is_empty());
            let rows = signal::sample(known, rng);
            if rows.len() < FEWEST {
                continue;
            }
            let own = sight.train.iter().find(|own| own.name == target.name);
            let code = own.and_then(|own| code(train_cells, own, cells, target, &rows));
            let found = copy(cells, target, &rows).or_else(|| along(cells, target, &rows)).or(code);
            if let Some((form, strength)) = found.filter(|(_, strength)| *strength >= NEAR) {
                let column = Column {
                    name: (*name).to_owned(),
                    target: target.name.clone(),
                    form,
                    strength,
                };
                report.findings.push(finding(&column, rows.len()));
                report.leaks.columns.push(column);
            }
        }
    }
}

fn finding(column: &Column, rows: usize) -> Finding {
    let how = match column.form {
        "copy" => "equals",
        "rising" => "rises with",
        "falling" => "falls with",
        _ => "is a code of",
    };
    Finding::new(
        "column",
        if column.strength >= SAME { Severity::Fault } else { Severity::Warning },
        format!(
            "the column `{}` {how} the answer `{}` in {rows} test rows: strength {:.4} of 1",
            column.name, column.target, column.strength
        ),
        "hide the column from agents, unless it is known when a prediction is made",
        [("strength", column.strength), ("rows", rows as f64)],
    )
}

/// Cohen's kappa of the cells and the answers, if they are nearly all equal.
fn copy(cells: Cells<'_>, target: &Target, rows: &[usize]) -> Option<(&'static str, f64)> {
    let pair = |&row: &usize| {
        let number = cells.number(row).map(|value| value.to_string());
        let answer = match &target.values {
            Values::Numbers(values) => values[row].to_string(),
            Values::Classes { names, of } => names[of[row]? as usize].clone(),
        };
        Some((number.unwrap_or_else(|| cells.get(row).to_owned()), answer))
    };
    let pairs: Vec<(String, String)> = rows.iter().filter_map(pair).collect();
    let kappa = kappa(pairs.iter().map(|(cell, answer)| (cell.as_str(), answer.as_str())))?;
    (kappa >= NEAR).then_some(("copy", kappa))
}

/// Cohen's kappa of two columns of words; `None` where one word stands nearly everywhere, which leaves
/// too little to agree on.
fn kappa<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<f64> {
    const FEW: f64 = 5.0;
    let (mut equal, mut n) = (0.0, 0.0);
    let (mut first, mut second) = (HashMap::new(), HashMap::new());
    for (a, b) in pairs {
        n += 1.0;
        equal += f64::from(u8::from(a == b));
        *first.entry(a).or_insert(0.0) += 1.0;
        *second.entry(b).or_insert(0.0) += 1.0;
    }
    let most = second.values().fold(0.0, |most: f64, count| most.max(*count));
    let mut products: Vec<f64> =
        first.iter().map(|(word, a)| a * second.get(word).unwrap_or(&0.0)).collect();
    // The order of a map is another one each time, and so would be the last digits.
    products.sort_by(f64::total_cmp);
    let by_chance = products.iter().sum::<f64>() / (n * n);
    (n - most >= FEW && by_chance < 1.0)
        .then(|| ((equal / n - by_chance) / (1.0 - by_chance)).min(1.0))
}

/// How far a column of numbers rises or falls with the answer.
fn along(cells: Cells<'_>, target: &Target, rows: &[usize]) -> Option<(&'static str, f64)> {
    let values: Vec<f64> = rows.iter().map(|&row| cells.number(row)).collect::<Option<_>>()?;
    let signed = match &target.values {
        Values::Numbers(truth) => {
            let truth: Vec<f64> = rows.iter().map(|&row| truth[row]).collect();
            rank_correlation(&values, &truth)
        }
        Values::Classes { names, of } if names.len() == 2 => {
            let inside: Vec<bool> = rows.iter().map(|&row| of[row] == Some(1)).collect();
            let is_enough =
                |class: bool| inside.iter().filter(|of| **of == class).count() >= FEW_OF_CLASS;
            (is_enough(true) && is_enough(false)).then(|| separation(&values, &inside)).flatten()
        }
        Values::Classes { .. } => None,
    }?;
    Some((if signed > 0.0 { "rising" } else { "falling" }, signed.abs()))
        .filter(|(_, strength)| *strength >= NEAR)
}

/// How well the most frequent class of a column's value among training rows is that of test rows:
/// Cohen's kappa.
fn code(
    train: Cells<'_>,
    own: &Target,
    cells: Cells<'_>,
    target: &Target,
    rows: &[usize],
) -> Option<(&'static str, f64)> {
    let (Values::Classes { names, of }, Values::Classes { names: own_names, of: own_of }) =
        (&target.values, &own.values)
    else {
        return None;
    };
    let mut counts: HashMap<&str, HashMap<u32, usize>> = HashMap::new();
    for (row, class) in own_of.iter().enumerate().take(train.len()) {
        if let Some(class) = *class {
            *counts.entry(train.get(row)).or_default().entry(class).or_default() += 1;
        }
        if counts.len() * ROWS_PER_VALUE > train.len() {
            return None;
        }
    }
    let most: HashMap<&str, &str> = counts
        .iter()
        .filter_map(|(value, classes)| {
            // Of equally frequent ones the first, so that equal data give equal numbers.
            let (class, _) = classes.iter().max_by_key(|(class, n)| (**n, u32::MAX - **class))?;
            Some((*value, own_names[*class as usize].as_str()))
        })
        .collect();
    let pairs = rows.iter().map(|&row| {
        let guess = most.get(cells.get(row)).copied().unwrap_or_default();
        (guess, of[row].map_or("", |class| names[class as usize].as_str()))
    });
    let kappa = kappa(pairs)?;
    (kappa >= NEAR).then_some(("code", kappa))
}
