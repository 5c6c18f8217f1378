//! Wikipedia comments with six kinds of toxicity. The original test part and the labels published
//! for it are used as they are.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let read = |name: &str| ctx.read_csv(&format!("{name}.csv.zip/{name}.csv"));
    ctx.write_csv("public/train.csv", &read("train")?)?;
    ctx.write_csv("public/test.csv", &read("test")?)?;
    ctx.write_csv("private/test.csv", &read("test_labels")?)?;
    let sample = read("sample_submission")?;
    let labels = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"];
    ctx.write_csv("public/sample_submission.csv", &sample.with_all(labels, Value::Float(0.5))?)
}
