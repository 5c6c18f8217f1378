use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) =
        ctx.read_csv("train.csv")?.train_test_split(ctx.option("test_size", 0.1)?, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["Transported"])?)?;
    let sample = test.select(["PassengerId"])?.with("Transported", false)?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.write_csv("private/test.csv", &test)
}
