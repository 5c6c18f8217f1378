//! Pictures with or without an invasive plant. 20 % of the labelled pictures become the test part.
//!
//! The reference packs empty archives by mistake, so that its agents see no picture; here the
//! archives hold the pictures.

use crate::frame::{CsvStyle, Frame};
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) =
        ctx.read_csv("train_labels.csv.zip/train_labels.csv")?.train_test_split(0.2, 0)?;
    let sample = test.with("invasive", 0.5)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("private/sample_submission.csv", &sample)?;
    for (name, table) in [("train_labels.csv", &train), ("sample_submission.csv", &sample)] {
        let mut zip = ctx.zip(&format!("public/{name}.zip"))?;
        zip.add_csv(name, table, &CsvStyle::default())?;
        zip.finish()?;
    }
    let pack = |part: &str, table: &Frame| {
        let mut archive = ctx.seven_zip(&format!("public/{part}.7z"))?;
        let names = table.texts("name")?;
        archive.add_all(
            names.iter().map(|n| (format!("train.7z/train/{n}.jpg"), format!("{part}/{n}.jpg"))),
        )?;
        archive.finish()
    };
    pack("train", &train)?;
    pack("test", &test)
}
