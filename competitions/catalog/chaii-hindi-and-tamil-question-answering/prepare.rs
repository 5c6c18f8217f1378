//! Questions in Hindi and Tamil about a text. 10 % of the rows become the test part.

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["answer_start", "answer_text"])?)?;
    let answers = test.select(["id", "answer_text"])?.rename("answer_text", "PredictionString")?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("PredictionString", "dummy text")?)
}
