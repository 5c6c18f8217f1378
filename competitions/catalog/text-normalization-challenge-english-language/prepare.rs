//! Written words and how they are spoken. 10 % of the sentences become the test part; sentences are
//! numbered anew in each part.

use std::collections::HashMap;

use crate::frame::{CsvStyle, Frame, Quoting};
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    prepare_language(ctx, "en")
}

/// The same for any language, by the prefix of its files.
pub(super) fn prepare_language(ctx: &Prepare, language: &str) -> Result<(), PrepareError> {
    let file = format!("{language}_train.csv");
    let (train, test) =
        ctx.read_csv(&format!("{file}.zip/{file}"))?.split_by_value("sentence_id", 0.1, 0)?;
    let (train, test) = (renumbered(&train)?, renumbered(&test)?);
    let (sentences, tokens) = (test.ints("sentence_id")?, test.ints("token_id")?);
    let ids: Vec<String> = sentences
        .iter()
        .zip(&tokens)
        .map(|(sentence, token)| format!("{sentence}_{token}"))
        .collect();
    let answers = test.with("id", ids)?.select(["id", "after", "before"])?;
    let sample = answers.select(["id", "before"])?.rename("before", "after")?;
    let style = CsvStyle { quoting: Quoting::NonNumeric, ..CsvStyle::default() };
    ctx.write_csv_with("private/answers.csv", &answers.drop(["before"])?, &style)?;
    ctx.write_csv_with("private/sample_submission.csv", &sample, &style)?;
    for (name, table) in [
        ("train", &train.select(["sentence_id", "token_id", "class", "before", "after"])?),
        ("test_2", &test.select(["sentence_id", "token_id", "before"])?),
        ("sample_submission_2", &sample),
    ] {
        let member = format!("{language}_{name}.csv");
        let mut zip = ctx.zip(&format!("public/{member}.zip"))?;
        zip.add_csv(&member, table, &style)?;
        zip.finish()?;
    }
    Ok(())
}

fn renumbered(rows: &Frame) -> Result<Frame, PrepareError> {
    let mut new: HashMap<i64, i64> = HashMap::new();
    let mut ids = rows.ints("sentence_id")?;
    for id in &mut ids {
        let next = new.len() as i64;
        *id = *new.entry(*id).or_insert(next);
    }
    Ok(rows.with("sentence_id", ids)?)
}
