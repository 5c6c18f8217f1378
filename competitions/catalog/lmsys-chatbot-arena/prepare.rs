//! Two chatbots' answers and which one people preferred. 10 % of the battles become the test part.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

const WINNERS: [&str; 3] = ["winner_model_a", "winner_model_b", "winner_tie"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.select(["id", "prompt", "response_a", "response_b"])?)?;
    ctx.write_csv("private/answers.csv", &test)?;
    let sample = test.select(["id"])?.with_all(WINNERS, Value::Float(1.0 / 3.0))?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}
