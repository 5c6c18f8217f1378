//! Rice leaves with their diseases. Three quarters of the labelled pictures are the train part, the
//! rest is the test part.

use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) =
        ctx.read_csv("train.csv")?.train_test_split_sizes(Some(0.75.into()), None, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["image_id"])?.with("label", "")?)?;
    for (part, rows) in [("train", &train), ("test", &test)] {
        let (labels, images) = (rows.texts("label")?, rows.texts("image_id")?);
        ctx.copy_all(labels.iter().zip(&images).map(|(label, image)| {
            // The folder of a test picture would give its label away.
            let place = if part == "train" { format!("{label}/{image}") } else { image.clone() };
            (format!("train_images/{label}/{image}"), format!("public/{part}_images/{place}"))
        }))?;
    }
    Ok(())
}
