//! Comments that may insult. The original division is kept, for the test labels were released.

use std::collections::HashSet;

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let test = ctx.read_csv("test_with_solutions.csv")?;
    let seen: HashSet<String> = ctx.read_csv("train.csv")?.texts("Comment")?.into_iter().collect();
    let repeated = test.texts("Comment")?.iter().any(|comment| seen.contains(comment));
    ctx.check(
        !repeated,
        "test_with_solutions.csv",
        "expected comments that the train part does not have",
    )?;

    ctx.copy("train.csv", "public/train.csv")?;
    ctx.copy("test_with_solutions.csv", "private/test.csv")?;
    let gold = test.select(["Insult", "Date", "Comment"])?;
    ctx.write_csv("private/gold_submission.csv", &gold)?;
    ctx.write_csv("public/test.csv", &gold.drop(["Insult"])?)?;
    ctx.write_csv("public/sample_submission_null.csv", &gold.with("Insult", 0)?)
}
