//! Seismic pictures in which salt is to be outlined. A quarter of the pictures becomes the test
//! part; both parts are sorted.

use std::collections::HashSet;

use crate::prepare::{Prepare, PrepareError};

const DATA: &str = "competition_data.zip/competition_data";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv(&format!("{DATA}/train.csv"))?.train_test_split(0.25, 0)?;
    let (train, test) = (train.sort_by_text("id")?, test.sort_by_text("id")?);
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("rle_mask", "1 1")?)?;
    let (train, test) = (train.texts("id")?, test.texts("id")?);
    let train_ids: HashSet<String> = train.iter().cloned().collect();
    ctx.write_csv(
        "public/depths.csv",
        &ctx.read_csv("depths.csv")?.filter_in("id", &train_ids)?.sort_by_text("id")?,
    )?;
    let picture = |part: &str, kind: &str, id: &str| {
        (format!("{DATA}/train/{kind}/{id}.png"), format!("public/{part}/{kind}/{id}.png"))
    };
    ctx.copy_all(train.iter().map(|id| picture("train", "images", id)))?;
    ctx.copy_all(train.iter().map(|id| picture("train", "masks", id)))?;
    ctx.copy_all(test.iter().map(|id| picture("test", "images", id)))
}
