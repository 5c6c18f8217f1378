//! Dried plants, labelled by taxon. Each taxon gives its own test pictures: 20 % of five or more,
//! the last of two to four, none of a single one. Test pictures are shuffled and numbered anew.

use crate::formats::{JsonEncoding, JsonStream, JsonStyle};
use crate::frame::{Frame, split_within_groups};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    prepare_below(ctx, "", JsonEncoding::Utf8)
}

/// The preparation of data whose folders lie below `base`, which is empty or ends with a slash.
pub(super) fn prepare_below(
    ctx: &Prepare,
    base: &str,
    encoding: JsonEncoding,
) -> Result<(), PrepareError> {
    let file = format!("{base}train/metadata.json");
    let raw = ctx.json_object(&file, encoding)?;
    let (images, annotations) = (raw.list("images")?, raw.list("annotations")?);
    ctx.check(images.len() == annotations.len(), &file, "expected as many annotations as images")?;
    let mut categories = Vec::with_capacity(images.len());
    for (image, annotation) in images.iter().zip(annotations.iter()) {
        let (image, annotation) = (image?, annotation?);
        let is_pair = image.get("id").is_some() && image.get("id") == annotation.get("image_id");
        ctx.check(is_pair, &file, "expected the annotations in the order of the images")?;
        categories.push(annotation.int("category_id", &file)? as i64);
    }
    let splits = split_within_groups(&categories, 0.2, 0, true)?;
    let rows = |pick: fn(&crate::frame::Split) -> &Vec<u32>| -> Vec<usize> {
        splits.iter().flat_map(pick).map(|&row| row as usize).collect()
    };
    let (train, mut test) = (rows(|split| &split.train), rows(|split| &split.test));
    PythonRandom::new(0).shuffle(&mut test);

    let mut train_fields = Vec::new();
    for key in raw.keys() {
        let value = match key {
            "images" => JsonStream::List(Box::new(train.iter().map(|&row| images.get(row)))),
            "annotations" => {
                JsonStream::List(Box::new(train.iter().map(|&row| annotations.get(row))))
            }
            _ => JsonStream::Value(raw.value(key)?),
        };
        train_fields.push((key.to_owned(), value));
    }
    let metadata = |part: &str| format!("public/{base}{part}/metadata.json");
    ctx.write_json_stream(
        &metadata("train"),
        JsonStream::Object(train_fields),
        JsonStyle::IndentedSorted,
    )?;
    let new_name = |k: usize| format!("images/{:03}/{k}.jpg", k / 1000);
    let renamed = test.iter().enumerate().map(|(k, &row)| {
        let mut image = images.get(row)?;
        image.set("id", k.to_string());
        image.set("file_name", new_name(k));
        Ok(image)
    });
    let test_fields = vec![
        ("images".to_owned(), JsonStream::List(Box::new(renamed))),
        ("info".to_owned(), JsonStream::Value(raw.value("info")?)),
        ("licenses".to_owned(), JsonStream::Value(raw.value("licenses")?)),
    ];
    ctx.write_json_stream(
        &metadata("test"),
        JsonStream::Object(test_fields),
        JsonStyle::IndentedSorted,
    )?;

    let name =
        |row: usize| Ok::<_, PrepareError>(images.get(row)?.text("file_name", &file)?.to_owned());
    copy_in_batches(ctx, &train, |_, row| {
        let name = name(row)?;
        Ok((format!("{base}train/{name}"), format!("public/{base}train/{name}")))
    })?;
    copy_in_batches(ctx, &test, |k, row| {
        Ok((format!("{base}train/{}", name(row)?), format!("public/{base}test/{}", new_name(k))))
    })?;
    let predicted: Vec<i64> = test.iter().map(|&row| categories[row]).collect();
    write_answers(ctx, predicted, 0)
}

/// Copies the pictures of many rows without holding all their names.
pub(super) fn copy_in_batches(
    ctx: &Prepare,
    rows: &[usize],
    place: impl Fn(usize, usize) -> Result<(String, String), PrepareError>,
) -> Result<(), PrepareError> {
    const BATCH: usize = 16 << 10;
    for (batch, rows) in rows.chunks(BATCH).enumerate() {
        let places = rows.iter().enumerate().map(|(i, &row)| place(batch * BATCH + i, row));
        ctx.copy_all(places.collect::<Result<Vec<_>, _>>()?)?;
    }
    Ok(())
}

/// The answers, numbered from 0, and a sample submission with one guess for all.
pub(super) fn write_answers(
    ctx: &Prepare,
    predicted: Vec<i64>,
    guess: i64,
) -> Result<(), PrepareError> {
    let ids: Vec<i64> = (0..predicted.len() as i64).collect();
    let answers = Frame::new("answers", ids.len()).with("Id", ids)?.with("Predicted", predicted)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("Predicted", guess)?)
}
