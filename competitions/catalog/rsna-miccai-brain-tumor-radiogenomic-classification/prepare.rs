//! Brain scans and a genetic marker of the tumour. 10 % of the patients become the test part.

use crate::frame::CsvOptions;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    // The folders' names need the ids' leading zeros.
    let table = ctx.read_csv_with("train_labels.csv", &CsvOptions::default().text("BraTS21ID"))?;
    let (train, test) = table.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train_labels.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("MGMT_value", 0.5)?)?;
    for (part, rows) in [("train", &train), ("test", &test)] {
        for id in rows.texts("BraTS21ID")? {
            ctx.copy_folder(&format!("train/{id}"), &format!("public/{part}/{id}"))?;
        }
    }
    Ok(())
}
