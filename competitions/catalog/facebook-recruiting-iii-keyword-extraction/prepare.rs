//! Questions of programmers with their tags. 10 % of the rows become the test part.

use crate::frame::CsvOptions;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let options = CsvOptions::default().text("Id").text("Tags");
    let table = ctx.read_csv_with("Train.zip/Train.csv", &options)?;
    let (train, test) = table.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    let public = test.drop(["Tags"])?;
    ctx.write_csv("public/test.csv", &public)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &public.with("Tags", "javascript c# python php java")?,
    )
}
