//! Pictures of dogs of 120 breeds. 10 % of the rows become the test part; the answers have one
//! column a breed.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let breeds: Vec<&str> = include_str!("classes.txt").lines().collect();
    let (train, test) = ctx.read_csv("labels.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/labels.csv", &train)?;
    ctx.write_csv("private/test.csv", &test.with_indicators("breed", &breeds)?.drop(["breed"])?)?;
    let sample = test.select(["id"])?.with_all(&breeds, Value::Float(1.0 / breeds.len() as f64))?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    let image =
        |part: &str, id: &str| (format!("train/{id}.jpg"), format!("public/{part}/{id}.jpg"));
    ctx.copy_all(train.texts("id")?.iter().map(|id| image("train", id)))?;
    ctx.copy_all(test.texts("id")?.iter().map(|id| image("test", id)))
}
