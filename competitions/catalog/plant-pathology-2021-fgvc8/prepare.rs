//! Apple leaves with any number of diseases. 20 % of the labelled pictures become the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.2, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("labels", "healthy")?)?;
    let picture = |part: &str, image: &str| {
        (format!("train_images/{image}"), format!("public/{part}_images/{image}"))
    };
    ctx.copy_all(train.texts("image")?.iter().map(|image| picture("train", image)))?;
    ctx.copy_all(test.texts("image")?.iter().map(|image| picture("test", image)))
}
