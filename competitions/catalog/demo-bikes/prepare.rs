use crate::prepare::{Prepare, PrepareError};

/// The first hour of the test set; text in this form sorts by time.
const TEST_FROM: &str = "2011-11-01";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (test, train) =
        ctx.read_csv("bikes.csv")?.partition("datetime", |hour| hour >= TEST_FROM)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["rentals"])?)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["datetime"])?.with("rentals", 100)?,
    )?;
    ctx.write_csv("private/test.csv", &test.select(["datetime", "rentals"])?)
}
