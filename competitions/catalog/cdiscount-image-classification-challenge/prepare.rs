//! Products with pictures, as BSON documents. 10 % of the documents become the test part; the file
//! is only streamed, for it is far larger than memory.

use std::collections::HashSet;

use crate::formats::bson_documents;
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const FILE: &str = "train.bson";
const EXAMPLES: usize = 100;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (mut ids, mut categories) = (Vec::new(), Vec::new());
    ctx.stream(FILE, |stream| {
        for document in bson_documents(stream, FILE) {
            let document = document?;
            ids.push(document.int("_id")?);
            categories.push(document.int("category_id")?);
        }
        Ok(())
    })?;
    let split = train_test_split(ids.len(), 0.1, 0)?;
    let mut test: Vec<(i64, i64)> =
        split.test.iter().map(|&row| (ids[row as usize], categories[row as usize])).collect();
    test.sort_unstable();
    let (test_ids, labels): (Vec<i64>, Vec<i64>) = test.into_iter().unzip();
    let is_test: HashSet<i64> = test_ids.iter().copied().collect();
    let answers =
        Frame::new("answers", test_ids.len()).with("_id", test_ids)?.with("category_id", labels)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("category_id", 1_000_010_653)?)?;
    ctx.copy("category_names.csv", "public/category_names.csv")?;

    let mut train_file = ctx.create("public/train.bson")?;
    let mut test_file = ctx.create("public/test.bson")?;
    let mut examples = ctx.create("public/train_example.bson")?;
    let mut train_documents = 0;
    ctx.stream(FILE, |stream| {
        for document in bson_documents(stream, FILE) {
            let document = document?;
            if is_test.contains(&document.int("_id")?) {
                test_file.write(document.without("category_id")?.bytes())?;
                continue;
            }
            train_file.write(document.bytes())?;
            if train_documents < EXAMPLES {
                examples.write(document.bytes())?;
            }
            train_documents += 1;
        }
        Ok(())
    })?;
    ctx.finished(train_file)?;
    ctx.finished(test_file)?;
    ctx.finished(examples)
}
