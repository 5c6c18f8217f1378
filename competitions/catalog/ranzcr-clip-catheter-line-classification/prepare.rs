//! Chest X-rays with catheters. 10 % of the pictures become the test part. The sample submission
//! shows nine of the eleven labels.

use std::collections::HashSet;

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

const SAMPLE_LABELS: [&str; 9] = [
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    const ID: &str = "StudyInstanceUID";
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    let sample = test.select([ID])?.with_all(SAMPLE_LABELS, Value::Int(0))?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    let train_ids: HashSet<String> = train.texts(ID)?.into_iter().collect();
    let annotations = ctx.read_csv("train_annotations.csv")?.filter_in(ID, &train_ids)?;
    ctx.write_csv("public/train_annotations.csv", &annotations)?;
    let picture =
        |part: &str, id: &str| (format!("train/{id}.jpg"), format!("public/{part}/{id}.jpg"));
    ctx.copy_all(train.texts(ID)?.iter().map(|id| picture("train", id)))?;
    ctx.copy_all(test.texts(ID)?.iter().map(|id| picture("test", id)))
}
