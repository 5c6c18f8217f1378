//! Phrases of film reviews with five grades of sentiment. 30 % of the phrases become the test part.

use crate::frame::{CsvOptions, CsvStyle};
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table =
        ctx.read_csv_with("train.tsv.zip/train.tsv", &CsvOptions::default().separator(b'\t'))?;
    let (train, test) = table.train_test_split(0.3, 0)?;
    for (name, part) in [("train.tsv", &train), ("test.tsv", &test.drop(["Sentiment"])?)] {
        let mut zip = ctx.zip(&format!("public/{name}.zip"))?;
        zip.add_csv(name, part, &CsvStyle::separated_by(b'\t'))?;
        zip.finish()?;
    }
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/sampleSubmission.csv", &test.select(["PhraseId"])?.with("Sentiment", 2)?)
}
