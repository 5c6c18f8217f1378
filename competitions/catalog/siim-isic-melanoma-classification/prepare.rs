//! Skin lesions. The test part are the pictures inside two of the record files; no randomness.

use std::collections::HashSet;

use crate::formats::tfrecord_texts;
use crate::frame::{CsvOptions, Frame};
use crate::prepare::{Prepare, PrepareError};

const TEST_RECORDS: [&str; 2] = ["train00-2071.tfrec", "train06-2071.tfrec"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut test_names: HashSet<String> = HashSet::new();
    for name in TEST_RECORDS {
        let file = format!("tfrecords/{name}");
        test_names
            .extend(ctx.stream(&file, |stream| Ok(tfrecord_texts(stream, "image_name", &file)?))?);
    }
    let table = ctx.read_csv_with("train.csv", &CsvOptions::default().fast_floats())?;
    let (test, train) = table.partition("image_name", |name| test_names.contains(name))?;
    ctx.write_csv("public/train.csv", &train)?;
    let shown = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"];
    ctx.write_csv("public/test.csv", &test.select(shown)?)?;
    let answers = test.select(["image_name", "target"])?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("target", 0)?)?;

    let copy = |part: &str, rows: &Frame| {
        let names = rows.texts("image_name")?;
        ctx.copy_all(
            names.iter().map(|n| (format!("train/{n}.dcm"), format!("public/{part}/{n}.dcm"))),
        )?;
        ctx.copy_all(
            names
                .iter()
                .map(|n| (format!("jpeg/train/{n}.jpg"), format!("public/jpeg/{part}/{n}.jpg"))),
        )
    };
    copy("train", &train)?;
    copy("test", &test)?;
    // Record files are numbered anew; the number of pictures behind the dash stays.
    let records = ctx
        .files("tfrecords")?
        .into_iter()
        .filter(|n| n.starts_with("train") && n.ends_with(".tfrec"));
    let (mut n_train, mut n_test) = (0, 0);
    for name in records {
        let (part, number) = match TEST_RECORDS.contains(&name.as_str()) {
            true => ("test", &mut n_test),
            false => ("train", &mut n_train),
        };
        let count = name.trim_end_matches(".tfrec").split('-').nth(1);
        let count = count
            .ok_or_else(|| ctx.unexpected(&name, "expected a name like `train00-2071.tfrec`"))?;
        ctx.copy(
            &format!("tfrecords/{name}"),
            &format!("public/tfrecords/{part}{number:02}-{count}.tfrec"),
        )?;
        *number += 1;
    }
    Ok(())
}
