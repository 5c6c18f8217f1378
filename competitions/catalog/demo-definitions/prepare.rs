use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("definitions.csv")?.train_test_split(0.25, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["category"])?)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("category", "act")?)?;
    ctx.write_csv("private/test.csv", &test.select(["id", "category"])?)
}
