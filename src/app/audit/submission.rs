//! Submissions beside the answers, and beside each other.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use medalist_audit::Finding;
use medalist_audit::near::nearness;
use medalist_audit::same::{SAMPLE, Submitted};
use medalist_grading::table::{Column, Limits, Table};

use super::task::Task;

/// What of a submission is read.
const LIMITS: Limits =
    Limits { bytes: 1 << 30, rows: 20_000_000, columns: 10_000, cells: 100_000_000 };
/// Columns that are compared with the answers.
const COLUMNS: usize = 200;

/// Reads a submission.
///
/// # Errors
/// In words, why it is no table.
pub(super) fn read(path: &Path) -> Result<Table, String> {
    Table::read(path, &LIMITS).map_err(|error| error.to_string())
}

/// A row's name: its ids, one after the other.
fn key(columns: &[Column<'_>], row: usize) -> String {
    let parts: Vec<&str> = columns.iter().map(|column| column.raw(row).trim()).collect();
    parts.join("\u{1f}")
}

fn columns<'t>(table: &'t Table, names: &[String]) -> Option<Vec<Column<'t>>> {
    names.iter().map(|name| table.column(name)).collect()
}

/// The surest finding of a submission's columns beside their answers.
///
/// # Errors
/// In words, why the two cannot be compared.
pub(super) fn near(
    table: &Table,
    file: &str,
    task: &Task,
    score: Option<f64>,
) -> Result<Option<Finding>, String> {
    let Some(answers) = &task.answers else { return Err(task.missing.join("; ")) };
    let ids = columns(table, &task.id_columns).ok_or("the submission lacks a column of ids")?;
    let keys = columns(answers, &task.answer_ids).ok_or("the answers lack a column of ids")?;
    let rows: HashMap<String, usize> =
        (0..answers.rows()).map(|row| (key(&keys, row), row)).collect();
    let paired: Vec<(usize, usize)> =
        (0..table.rows()).filter_map(|row| Some((row, *rows.get(&key(&ids, row))?))).collect();
    if paired.len() * 10 < answers.rows() * 9 {
        return Err(format!(
            "{} of {} ids of the answers are in the submission",
            paired.len(),
            answers.rows()
        ));
    }
    let mut found: Option<Finding> = None;
    let mut compared = 0;
    for (own, answer) in task.targets.iter().take(COLUMNS) {
        let (Some(own_column), Some(answer_column)) = (table.column(own), answers.column(answer))
        else {
            continue;
        };
        compared += 1;
        let pairs: Vec<(&str, &str)> =
            paired.iter().map(|(row, at)| (own_column.raw(*row), answer_column.raw(*at))).collect();
        let Some(near) = nearness(&pairs, &task.scores(score)) else { continue };
        let mut finding = near.finding(file, own, &pairs);
        finding.line =
            finding.line.and_then(|line| Some(paired.get(line as usize - 2)?.0 as u64 + 2));
        if found.as_ref().is_none_or(|known| finding.confidence > known.confidence) {
            found = Some(finding);
        }
    }
    match compared {
        0 => Err("the answers have other columns than the submission".to_owned()),
        _ => Ok(found),
    }
}

/// What is compared with other attempts; none if the submission lacks columns.
pub(super) fn submitted(table: &Table, task: &Task) -> Option<Submitted> {
    let ids = columns(table, &task.id_columns)?;
    let names: Vec<String> = task.targets.iter().map(|(own, _)| own.clone()).collect();
    let targets: Vec<Column<'_>> = names.iter().filter_map(|name| table.column(name)).collect();
    let mut order: Vec<(String, usize)> =
        (0..table.rows()).map(|row| (key(&ids, row), row)).collect();
    order.sort_unstable();
    let mut all = DefaultHasher::new();
    let mut cells = Vec::new();
    for (id, row) in &order {
        id.hash(&mut all);
        for column in &targets {
            let cell = column.raw(*row);
            cell.hash(&mut all);
            if cells.len() < SAMPLE {
                let mut hasher = DefaultHasher::new();
                cell.hash(&mut hasher);
                cells.push(hasher.finish());
            }
        }
    }
    Some(Submitted { all: all.finish(), cells, ..Submitted::default() })
}
