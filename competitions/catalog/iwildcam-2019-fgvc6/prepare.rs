//! Animals in front of camera traps. 10 % of the places become the test part, with all their
//! pictures.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv("train.csv")?;
    // The sample submission shows the row numbers of the raw table in a column without a name.
    let numbered = table.with("", (0..table.rows() as i64).collect::<Vec<_>>())?;
    let (train, test) = numbered.split_by_value("location", 0.1, 8)?;
    let answers = test
        .select(["", "id", "category_id"])?
        .rename("id", "Id")?
        .rename("category_id", "Category")?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("Category", 0)?)?;
    ctx.write_csv("private/answers.csv", &answers.drop([""])?)?;
    let (train, test) = (train.drop([""])?, test.drop([""])?);
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["category_id"])?)?;
    ctx.write_csv("private/test.csv", &test)?;
    let pack = |part: &str, table: &Frame| {
        let mut zip = ctx.zip(&format!("public/{part}_images.zip"))?;
        let ids = table.distinct("id")?;
        zip.add_all(
            ids.iter().map(|id| (format!("train_images.zip/{id}.jpg"), format!("{id}.jpg"))),
        )?;
        zip.finish()
    };
    pack("train", &train)?;
    pack("test", &test)
}
