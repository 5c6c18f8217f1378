//! Tweets and the words that carry their sentiment. 10 % become the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["selected_text"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["textID"])?.with("selected_text", "")?,
    )
}
