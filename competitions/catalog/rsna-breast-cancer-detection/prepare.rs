//! Mammograms. 10 % of the patients become the test part. Submissions give one value for each
//! breast of a patient.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.split_by_value("patient_id", 0.1, 42)?;
    ctx.write_csv("public/train.csv", &train)?;
    let (patients, sides) = (test.texts("patient_id")?, test.texts("laterality")?);
    let ids: Vec<String> =
        patients.iter().zip(&sides).map(|(patient, side)| format!("{patient}_{side}")).collect();
    let test = test.with("prediction_id", ids)?;
    let shown = [
        "site_id",
        "patient_id",
        "image_id",
        "laterality",
        "view",
        "age",
        "implant",
        "machine_id",
        "prediction_id",
    ];
    ctx.write_csv("public/test.csv", &test.select(shown)?)?;
    let firsts: Vec<u32> = test.groups("prediction_id")?.iter().map(|(_, rows)| rows[0]).collect();
    let answers =
        test.take(&firsts).select(["prediction_id", "cancer"])?.sort_by_text("prediction_id")?;
    ctx.write_csv("private/answers.csv", &answers)?;
    let labels = train.floats("cancer")?;
    let mean = labels.iter().sum::<f64>() / labels.len() as f64;
    ctx.write_csv("public/sample_submission.csv", &answers.with("cancer", mean)?)?;
    let copy = |part: &str, rows: &Frame| {
        let (patients, images) = (rows.texts("patient_id")?, rows.texts("image_id")?);
        ctx.copy_all(patients.iter().zip(&images).map(|(patient, image)| {
            let file = format!("{patient}/{image}.dcm");
            (format!("train_images/{file}"), format!("public/{part}_images/{file}"))
        }))
    };
    copy("train", &train)?;
    copy("test", &test)
}
