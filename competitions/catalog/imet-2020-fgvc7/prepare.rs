//! Artworks with their attributes. 15 % of the labelled pictures, chosen row by row, become the
//! test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.15, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("attribute_ids", "0 1 2")?)?;
    ctx.copy("labels.csv", "public/labels.csv")?;
    let picture =
        |part: &str, id: &str| (format!("train/{id}.png"), format!("public/{part}/{id}.png"));
    ctx.copy_all(train.texts("id")?.iter().map(|id| picture("train", id)))?;
    ctx.copy_all(test.texts("id")?.iter().map(|id| picture("test", id)))
}
