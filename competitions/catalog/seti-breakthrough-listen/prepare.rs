//! Spectrograms of radio telescopes, some with a signal. 10 % become the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train_labels.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train_labels.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("target", 0.5)?)?;
    for (part, rows) in [("train", &train), ("test", &test)] {
        let ids = rows.texts("id")?;
        ctx.copy_all(ids.iter().map(|id| {
            let folder: String = id.chars().take(1).collect();
            (format!("train/{folder}/{id}.npy"), format!("public/{part}/{folder}/{id}.npy"))
        }))?;
    }
    ctx.copy_folder("old_leaky_data", "public/old_leaky_data")
}
