//! Seedlings of twelve species, one folder a species. 14 % of the pictures, listed by species and
//! name, become the test part.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (mut files, mut species) = (Vec::new(), Vec::new());
    for folder in ctx.folders("train")? {
        for file in
            ctx.files(&format!("train/{folder}"))?.into_iter().filter(|file| file.ends_with(".png"))
        {
            files.push(file);
            species.push(folder.clone());
        }
    }
    let table = Frame::new("train", files.len()).with("file", files)?.with("species", species)?;
    let (train, test) = table.train_test_split(0.14, 0)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("species", "Sugar beet")?)?;
    for (part, rows) in [("train", &train), ("test", &test)] {
        let (files, species) = (rows.texts("file")?, rows.texts("species")?);
        ctx.copy_all(files.iter().zip(&species).map(|(file, species)| {
            // The folder of a test picture would give its species away.
            let place = if part == "train" { format!("{species}/{file}") } else { file.clone() };
            (format!("train/{species}/{file}"), format!("public/{part}/{place}"))
        }))?;
    }
    Ok(())
}
