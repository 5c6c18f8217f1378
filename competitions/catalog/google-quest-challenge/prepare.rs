//! Questions and answers, rated on 30 scales. 10 % of the rows become the test part; one row is
//! swapped if a scale would have a single value there.

use std::collections::HashSet;

use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

/// The scale that is almost always zero.
const RARE: &str = "question_type_spelling";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let targets: Vec<&str> = include_str!("classes.txt").lines().collect();
    let table = ctx.read_csv("train.csv")?;
    let mut split = train_test_split(table.rows(), 0.1, 0)?;
    let rare = table.floats(RARE)?;
    let seen: HashSet<u64> = split.test.iter().map(|&row| rare[row as usize].to_bits()).collect();
    if seen.len() == 1 {
        let other = split.train.iter().position(|&row| rare[row as usize] != 0.0);
        let other = other.ok_or_else(|| {
            ctx.unexpected("train.csv", format!("expected a row with `{RARE}` above 0"))
        })?;
        std::mem::swap(&mut split.train[other], &mut split.test[0]);
    }
    let (train, test) = (table.take(&split.train), table.take(&split.test));
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(&targets)?)?;
    let answers = test.select(["qa_id"].iter().chain(&targets))?;
    for target in &targets {
        let values = answers.distinct(target)?.len();
        ctx.check(
            values > 1,
            "train.csv",
            format!("expected two values of `{target}` at least among the test rows"),
        )?;
    }
    ctx.write_csv("private/test.csv", &answers)?;

    let steps = evenly_spaced(test.rows());
    let sample = targets
        .iter()
        .try_fold(test.select(["qa_id"])?, |sample, target| sample.with(target, steps.clone()))?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

/// `numpy.linspace(0, 1, count)`: multiples of the step, and exactly 1 at the end.
fn evenly_spaced(count: usize) -> Vec<f64> {
    let step = 1.0 / (count.max(2) - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step).collect();
    if let [_, .., last] = values.as_mut_slice() {
        *last = 1.0;
    }
    values
}
