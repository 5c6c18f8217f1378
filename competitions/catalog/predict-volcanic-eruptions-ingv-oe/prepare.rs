//! Ten minutes of volcano sensors and the time to the next eruption. 10 % of the segments become
//! the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("time_to_eruption", 0)?)?;
    let segment =
        |part: &str, id: &str| (format!("train/{id}.csv"), format!("public/{part}/{id}.csv"));
    ctx.copy_all(train.texts("segment_id")?.iter().map(|id| segment("train", id)))?;
    ctx.copy_all(test.texts("segment_id")?.iter().map(|id| segment("test", id)))
}
