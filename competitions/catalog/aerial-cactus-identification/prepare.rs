//! Aerial pictures with or without a cactus. 19 % of the rows become the test part; the pictures go
//! from archive to archive.

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.19, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("has_cactus", 0.5)?)?;
    for (part, table) in [("train", &train), ("test", &test)] {
        let mut zip = ctx.zip(&format!("public/{part}.zip"))?;
        zip.add_all(table.texts("id")?.iter().map(|id| (format!("train.zip/train/{id}"), id)))?;
        zip.finish()?;
    }
    Ok(())
}
