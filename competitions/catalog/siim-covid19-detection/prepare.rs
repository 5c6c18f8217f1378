//! Chest X-rays: what a study shows, and where in its images. 10 % of the studies become the test
//! part, with their images.

use std::collections::HashSet;

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

const CLASSES: [(&str, &str); 4] = [
    ("Negative for Pneumonia", "negative"),
    ("Typical Appearance", "typical"),
    ("Indeterminate Appearance", "indeterminate"),
    ("Atypical Appearance", "atypical"),
];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train_study_level.csv")?.train_test_split(0.1, 0)?;
    let (train, test) = (train.sort_by_text("id")?, test.sort_by_text("id")?);
    let test_ids: HashSet<String> = test.texts("id")?.into_iter().collect();
    let images = ctx.read_csv("train_image_level.csv")?.sort_by_text("id")?;
    let (test_images, train_images) = images
        .partition("StudyInstanceUID", |study| test_ids.contains(&format!("{study}_study")))?;
    ctx.write_csv("public/train_study_level.csv", &train)?;
    ctx.write_csv("public/train_image_level.csv", &train_images)?;

    let both = |studies: Vec<String>, boxes: Vec<String>| {
        let ids = [test.texts("id")?, test_images.texts("id")?].concat();
        Ok::<_, PrepareError>(
            Frame::new("answers", ids.len())
                .with("id", ids)?
                .with("PredictionString", [studies, boxes].concat())?,
        )
    };
    let shown = study_classes(&test)?.into_iter().map(|word| format!("{word} 1 0 0 1 1")).collect();
    ctx.write_csv("private/test.csv", &both(shown, test_images.texts("label")?)?)?;
    let same = |text: &str, table: &Frame| vec![text.to_owned(); table.rows()];
    let sample = both(same("negative 1 0 0 1 1", &test), same("none 1 0 0 1 1", &test_images))?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    for (part, studies) in [("train", &train), ("test", &test)] {
        for id in studies.texts("id")? {
            let study = id.strip_suffix("_study").unwrap_or(&id);
            ctx.copy_folder(&format!("train/{study}"), &format!("public/{part}/{study}"))?;
        }
    }
    Ok(())
}

/// The word for the first of the classes with the largest value in each row.
fn study_classes(studies: &Frame) -> Result<Vec<&'static str>, PrepareError> {
    let columns = CLASSES.iter().map(|(column, word)| Ok((studies.floats(column)?, *word)));
    let columns = columns.collect::<Result<Vec<_>, PrepareError>>()?;
    let word = |row: usize| {
        let mut best = &columns[0];
        for column in &columns[1..] {
            if column.0[row] > best.0[row] {
                best = column;
            }
        }
        best.1
    };
    Ok((0..studies.rows()).map(word).collect())
}
