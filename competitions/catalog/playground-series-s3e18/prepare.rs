//! Molecules and the enzymes that act on them. 10 % of the rows become the test part; two of the
//! six classes are asked for.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["EC1", "EC2", "EC3", "EC4", "EC5", "EC6"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    let sample = test.select(["id"])?.with_all(["EC1", "EC2"], Value::Float(0.5))?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}
