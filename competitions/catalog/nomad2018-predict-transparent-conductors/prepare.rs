//! Crystals with two energies. 10 % become the test part; the crystals of each part are numbered
//! anew from 1.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

const ENERGIES: [&str; 2] = ["formation_energy_ev_natom", "bandgap_energy_ev"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv.zip/train.csv")?.train_test_split(0.1, 0)?;
    let (train, test) = (renumbered(ctx, "train", &train)?, renumbered(ctx, "test", &test)?);
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/test.csv", &test.drop(ENERGIES)?)?;
    let sample = test.select(["id"])?.with(ENERGIES[0], 0.1779)?.with(ENERGIES[1], 1.8892)?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

/// The rows with ids 1, 2, 3, ..., after their geometries are copied under the new ids.
fn renumbered(ctx: &Prepare, part: &str, rows: &Frame) -> Result<Frame, PrepareError> {
    let old = rows.texts("id")?;
    let geometry = |(i, id): (usize, &String)| {
        (
            format!("train.zip/train/{id}/geometry.xyz"),
            format!("public/{part}/{}/geometry.xyz", i + 1),
        )
    };
    ctx.copy_all(old.iter().enumerate().map(geometry))?;
    Ok(rows.with("id", (1..=rows.rows() as i64).collect::<Vec<_>>())?)
}
