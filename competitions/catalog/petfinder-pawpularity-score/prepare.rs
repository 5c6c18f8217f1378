//! Photographs of pets and how popular they were. 10 % become the test part; the sample submission
//! guesses at random.

use crate::prepare::{Prepare, PrepareError};
use crate::rng::Generator;

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["Pawpularity"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    let mut random = Generator::new(0);
    let guess = |_| (random.uniform(1.0, 100.0) * 100.0).round_ties_even() / 100.0;
    let guesses: Vec<f64> = (0..test.rows()).map(guess).collect();
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["Id"])?.with("Pawpularity", guesses)?,
    )?;
    let photo =
        |part: &str, id: &str| (format!("train/{id}.jpg"), format!("public/{part}/{id}.jpg"));
    ctx.copy_all(train.texts("Id")?.iter().map(|id| photo("train", id)))?;
    ctx.copy_all(test.texts("Id")?.iter().map(|id| photo("test", id)))
}
