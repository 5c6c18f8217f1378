//! Tissue with or without cancer. As many rows in proportion become the test part as the original
//! test part had.

use std::collections::HashSet;

use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let labels = ctx.read_csv("train_labels.csv")?;
    let original_test = ctx.files("test")?.iter().filter(|name| name.ends_with(".tif")).count();
    let share = original_test as f64 / (labels.rows() + original_test) as f64;
    let ids = labels.texts("id")?;
    let (_, test_ids) = train_test_split(ids.len(), share, 0)?.of(&ids);
    let test_ids: HashSet<String> = test_ids.into_iter().collect();
    let (test, train) = labels.partition("id", |id| test_ids.contains(id))?;
    ctx.write_csv("public/train_labels.csv", &train)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("label", 0)?)?;
    let image =
        |part: &str, id: &str| (format!("train/{id}.tif"), format!("public/{part}/{id}.tif"));
    ctx.copy_all(train.texts("id")?.iter().map(|id| image("train", id)))?;
    ctx.copy_all(test.texts("id")?.iter().map(|id| image("test", id)))
}
