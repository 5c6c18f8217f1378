//! Apple leaves, healthy or with diseases. 10 % become the test part; the pictures of each part are
//! numbered anew from 0.

use crate::frame::{Frame, Value};
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    let (train, test) = (renamed(ctx, "Train", &train)?, renamed(ctx, "Test", &test)?);
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/test.csv", &test.select(["image_id"])?)?;
    let labels = ["healthy", "multiple_diseases", "rust", "scab"];
    let sample = test.select(["image_id"])?.with_all(labels, Value::Float(0.25))?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

/// The rows with ids `PREFIX_0`, `PREFIX_1`, ..., after their pictures are copied under the new
/// ids.
fn renamed(ctx: &Prepare, prefix: &str, rows: &Frame) -> Result<Frame, PrepareError> {
    let old = rows.texts("image_id")?;
    let new: Vec<String> = (0..rows.rows()).map(|i| format!("{prefix}_{i}")).collect();
    ctx.copy_all(
        old.iter()
            .zip(&new)
            .map(|(old, new)| (format!("images/{old}.jpg"), format!("public/images/{new}.jpg"))),
    )?;
    Ok(rows.with("image_id", new)?)
}
