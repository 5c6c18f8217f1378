//! A made-up machine with two states. A fixed number of rows, 100000, becomes the test part; all
//! rows are numbered anew.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let test_size: usize = ctx.option("test_size", 100_000)?;
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(test_size, 0)?;
    let (n_train, n) = (train.rows() as i64, (train.rows() + test.rows()) as i64);
    let train = train.with("id", (0..n_train).collect::<Vec<_>>())?;
    let test = test.with("id", (n_train..n).collect::<Vec<_>>())?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["target"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    let answers = test.select(["id", "target"])?;
    ctx.write_csv("private/gold_submission.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("target", 0.5)?)
}
