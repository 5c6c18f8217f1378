//! Pictures of the eye's background with a grade of the disease. 10 % of the rows become the test
//! part.

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.select(["id_code"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("diagnosis", 0)?)?;
    let image = |part: &str, id: &str| {
        (format!("train_images/{id}.png"), format!("public/{part}_images/{id}.png"))
    };
    ctx.copy_all(train.texts("id_code")?.iter().map(|id| image("train", id)))?;
    ctx.copy_all(test.texts("id_code")?.iter().map(|id| image("test", id)))
}
