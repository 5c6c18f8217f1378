//! Breaths of a ventilator, 80 rows each. 10 % of the breaths become the test part, in the order of
//! the draw; the rows of each part are numbered anew from 1.

use std::collections::BTreeMap;

use crate::frame::{CsvOptions, CsvStyle, FloatFormat, Frame, Kind, train_test_split};
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let floats = ["time_step", "u_in", "pressure"];
    let options = floats
        .into_iter()
        .fold(CsvOptions::default(), |options, column| options.kind(column, Kind::Float));
    let table = ctx.read_csv_with("train.csv", &options)?;
    let mut breaths: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, breath) in table.ints("breath_id")?.into_iter().enumerate() {
        breaths.entry(breath).or_default().push(row as u32);
    }
    let breaths: Vec<Vec<u32>> = breaths.into_values().collect();
    let split = train_test_split(breaths.len(), 0.1, 0)?;
    let part = |chosen: &[u32]| -> Result<Frame, PrepareError> {
        let rows: Vec<u32> =
            chosen.iter().flat_map(|&breath| breaths[breath as usize].iter().copied()).collect();
        let part = table.take(&rows).select([
            "id",
            "breath_id",
            "R",
            "C",
            "time_step",
            "u_in",
            "u_out",
            "pressure",
        ])?;
        Ok(part.with("id", (1..=rows.len() as i64).collect::<Vec<_>>())?)
    };
    let (train, test) = (part(&split.train)?, part(&split.test)?);
    let style = CsvStyle { floats: FloatFormat::General(10), ..CsvStyle::default() };
    ctx.write_csv_with("public/train.csv", &train, &style)?;
    ctx.write_csv_with("public/test.csv", &test.drop(["pressure"])?, &style)?;
    ctx.write_csv_with("private/test.csv", &test, &style)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("pressure", 0)?)
}
