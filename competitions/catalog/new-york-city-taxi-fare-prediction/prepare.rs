//! Taxi rides and their fares. A fixed number of the 55 million rides, 9914, become the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let test_size: usize = ctx.option("test_size", 9914)?;
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(test_size, 0)?;
    ctx.write_csv("public/labels.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["fare_amount"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["key"])?.with("fare_amount", 11.35)?,
    )?;
    ctx.copy("GCP-Coupons-Instructions.rtf", "public/GCP-Coupons-Instructions.rtf")
}
