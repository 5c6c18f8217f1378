//! Drawings of molecules with their chemical notation. 20 % of the rows become the test part;
//! pictures stay nested by the first three characters of their ids.

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train_labels.csv")?.train_test_split(0.2, 0)?;
    ctx.write_csv("public/train_labels.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("InChI", "InChI=1S/H2O/h1H2")?)?;
    ctx.copy("extra_approved_InChIs.csv", "public/extra_approved_InChIs.csv")?;
    for (part, table) in [("train", &train), ("test", &test)] {
        let ids = table.texts("image_id")?;
        ctx.copy_all(ids.iter().map(|id| {
            let nested = nested(id);
            (format!("train/{nested}"), format!("public/{part}/{nested}"))
        }))?;
    }
    Ok(())
}

fn nested(id: &str) -> String {
    let folders: String = id.chars().take(3).flat_map(|c| [c, '/']).collect();
    format!("{folders}{id}.png")
}
