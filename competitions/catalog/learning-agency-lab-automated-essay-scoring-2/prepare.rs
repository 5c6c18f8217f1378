//! Essays with a score from 1 to 6. 10 % of the essays become the test part; the sample submission
//! guesses at random.

use crate::prepare::{Prepare, PrepareError};
use crate::rng::RandomState;

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["score"])?)?;
    ctx.write_csv("private/answers.csv", &test)?;
    let mut random = RandomState::new(42);
    let guesses: Vec<i64> = (0..test.rows()).map(|_| random.randint(1, 7)).collect();
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["essay_id"])?.with("score", guesses)?,
    )
}
