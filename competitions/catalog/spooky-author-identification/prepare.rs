//! Sentences of three writers of horror stories. 10 % become the test part; the answers have one
//! column a writer.

use crate::prepare::{Prepare, PrepareError};

/// The writers and the share of each in the sample submission.
const AUTHORS: [(&str, f64); 3] =
    [("EAP", 0.403493538995863), ("HPL", 0.287808366106543), ("MWS", 0.308698094897594)];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.zip/train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["author"])?)?;
    let labels = test.texts("author")?;
    let mut answers = test.select(["id"])?;
    let mut sample = answers.clone();
    for (author, share) in AUTHORS {
        answers = answers.with(
            author,
            labels.iter().map(|label| i64::from(label == author)).collect::<Vec<_>>(),
        )?;
        sample = sample.with(author, share)?;
    }
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}
