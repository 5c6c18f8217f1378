use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let columns: Vec<String> = (0..10).map(|digit| format!("digit_{digit}")).collect();
    let (train, test) = ctx.read_csv("labels.csv")?.train_test_split(0.25, 0)?;
    let labels = test.ints("label")?;
    let (mut sample, mut answers) = (test.select(["id"])?, test.select(["id"])?);
    for (digit, column) in (0..).zip(&columns) {
        let is_digit: Vec<i64> = labels.iter().map(|&label| i64::from(label == digit)).collect();
        answers = answers.with(column, is_digit)?;
        sample = sample.with(column, 0.1)?;
    }
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.write_csv("private/test.csv", &answers)?;
    let image = |part: &str, id: &str| {
        (format!("images.zip/images/{id}.png"), format!("public/{part}/{id}.png"))
    };
    ctx.copy_all(train.texts("id")?.iter().map(|id| image("train", id)))?;
    ctx.copy_all(test.texts("id")?.iter().map(|id| image("test", id)))
}
