//! Chest X-rays with the findings of several radiologists. 10 % of the pictures become the test
//! part. The answers keep one finding of a class for each picture, put together from the first
//! values that are not missing.

use std::collections::BTreeMap;

use crate::frame::{Frame, NewColumn, Value, train_test_split};
use crate::prepare::{Prepare, PrepareError};

/// The class that stands for a picture without findings.
const NO_FINDING: i64 = 14;

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv("train.csv")?;
    let images = table.distinct("image_id")?;
    let (train_ids, test_ids) = train_test_split(images.len(), 0.1, 0)?.of(&images);
    let is_train: std::collections::HashSet<&String> = train_ids.iter().collect();
    let (train, test) = table.partition("image_id", |id| is_train.contains(&id.to_owned()))?;
    ctx.write_csv("public/train.csv", &train)?;
    let sample = Frame::new("sample", test_ids.len())
        .with("image_id", test_ids.clone())?
        .with("PredictionString", "14 1 0 0 1 1")?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    let answers = one_finding_a_class(&test)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("private/gold_submission.csv", &gold_submission(&answers)?)?;
    for (part, ids) in [("train", &train_ids), ("test", &test_ids)] {
        ctx.copy_all(
            ids.iter().map(|id| (format!("train/{id}.dicom"), format!("public/{part}/{id}.dicom"))),
        )?;
    }
    Ok(())
}

/// A row for each picture and class found in it, sorted by both.
fn one_finding_a_class(rows: &Frame) -> Result<Frame, PrepareError> {
    let mut groups: BTreeMap<(String, i64), Vec<usize>> = BTreeMap::new();
    for (row, key) in rows.texts("image_id")?.into_iter().zip(rows.ints("class_id")?).enumerate() {
        groups.entry(key).or_default().push(row);
    }
    let (ids, classes): (Vec<String>, Vec<i64>) = groups.keys().cloned().unzip();
    let mut answers = Frame::new("answers", groups.len())
        .with("image_id", ids)?
        .with("class_id", classes.clone())?;
    for column in ["class_name", "rad_id", "x_min", "y_min", "x_max", "y_max"] {
        let values = rows.values(column)?;
        let fixed = if column.ends_with("_max") { 1.0 } else { 0.0 };
        let first = |(group, class): (&Vec<usize>, &i64)| {
            let first = group.iter().map(|&row| &values[row]).find(|value| !value.is_missing());
            match first {
                _ if *class == NO_FINDING && fixed == 1.0 => Value::Float(fixed),
                None => Value::Int(0),
                Some(value) => value.clone(),
            }
        };
        let firsts = groups.values().zip(&classes).map(first).collect();
        answers = answers.with(column, NewColumn::from_values(rows.kind(column)?, firsts))?;
    }
    Ok(answers)
}

/// A row for each picture with its findings as `CLASS 1.0 X_MIN Y_MIN X_MAX Y_MAX ...`.
fn gold_submission(answers: &Frame) -> Result<Frame, PrepareError> {
    let numbers = ["class_id", "x_min", "y_min", "x_max", "y_max"];
    let columns =
        numbers.iter().map(|column| answers.texts(column)).collect::<Result<Vec<_>, _>>()?;
    let finding = |row: u32| {
        let cell = |column: usize| columns[column][row as usize].as_str();
        format!("{} 1.0 {} {} {} {}", cell(0), cell(1), cell(2), cell(3), cell(4))
    };
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    for (id, rows) in answers.groups("image_id")? {
        ids.push(id);
        texts.push(rows.into_iter().map(finding).collect::<Vec<_>>().join(" "));
    }
    Ok(Frame::new("gold", ids.len()).with("image_id", ids)?.with("PredictionString", texts)?)
}
