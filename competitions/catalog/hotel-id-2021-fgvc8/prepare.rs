//! Pictures of hotel rooms. 10 % of the rows become the test part, after one picture that is listed
//! twice was dropped.

use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let rows =
        ctx.read_csv("train.csv")?.filter("image", |image| image != "ce27d36c9147cc19.jpg")?;
    let (train, test) = rows.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    let sample = test.select(["image"])?.with("hotel_id", "36363 53586 18807 64314 60181")?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    let places = |table: &crate::frame::Frame| {
        Ok::<_, PrepareError>(table.texts("chain")?.into_iter().zip(table.texts("image")?))
    };
    ctx.copy_all(places(&train)?.map(|(chain, image)| {
        let path = format!("train_images/{chain}/{image}");
        (path.clone(), format!("public/{path}"))
    }))?;
    ctx.copy_all(places(&test)?.map(|(chain, image)| {
        (format!("train_images/{chain}/{image}"), format!("public/test_images/{image}"))
    }))
}
