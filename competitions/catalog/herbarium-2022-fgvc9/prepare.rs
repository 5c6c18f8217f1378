//! Dried plants, labelled by taxon. 20 % of each taxon become test pictures; both parts are
//! numbered anew.

use super::herbarium_2021_fgvc8::{copy_in_batches, write_answers};
use crate::formats::{FormatError, Json, JsonEncoding, JsonStream, JsonStyle};
use crate::frame::split_within_groups;
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const FILE: &str = "train_metadata.json";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let raw = ctx.json_object(FILE, JsonEncoding::Utf8)?;
    let (images, annotations) = (raw.list("images")?, raw.list("annotations")?);
    ctx.check(images.len() == annotations.len(), FILE, "expected as many annotations as images")?;
    let mut categories = Vec::with_capacity(images.len());
    for (image, annotation) in images.iter().zip(annotations.iter()) {
        let (image, annotation) = (image?, annotation?);
        let is_pair =
            image.get("image_id").is_some() && image.get("image_id") == annotation.get("image_id");
        ctx.check(is_pair, FILE, "expected the annotations in the order of the images")?;
        categories.push(annotation.int("category_id", FILE)? as i64);
    }
    // A train picture is named by its category and its place in it.
    let (mut train, mut places, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for split in split_within_groups(&categories, 0.2, 0, false)? {
        train.extend(split.train.iter().map(|&row| row as usize));
        places.extend(1..=split.train.len());
        test.extend(split.test.iter().map(|&row| row as usize));
    }
    PythonRandom::new(0).shuffle(&mut test);

    let train_id = |i: usize| format!("{:05}__{:03}", categories[train[i]], places[i]);
    let train_name = |i: usize| {
        let category = categories[train[i]];
        format!("{:03}/{:02}/{}.jpg", category / 100, category % 100, train_id(i))
    };
    let test_name = |k: usize| format!("{:03}/test-{k:06}.jpg", k / 1000);
    let train_image =
        |i: usize| Ok(with_id(images.get(train[i])?, train_id(i), Some(train_name(i))));
    let train_annotation = |i: usize| Ok(with_id(annotations.get(train[i])?, train_id(i), None));
    let mut fields = Vec::new();
    for key in raw.keys() {
        let value = match key {
            "images" => JsonStream::List(Box::new((0..train.len()).map(train_image))),
            "annotations" => JsonStream::List(Box::new((0..train.len()).map(train_annotation))),
            _ => JsonStream::Value(raw.value(key)?),
        };
        fields.push((key.to_owned(), value));
    }
    ctx.write_json_stream(
        "public/train_metadata.json",
        JsonStream::Object(fields),
        JsonStyle::IndentedSorted,
    )?;
    let test_image = |(k, &row): (usize, &usize)| {
        Ok::<_, FormatError>(with_id(images.get(row)?, k.to_string(), Some(test_name(k))))
    };
    let test_images = JsonStream::List(Box::new(test.iter().enumerate().map(test_image)));
    ctx.write_json_stream("public/test_metadata.json", test_images, JsonStyle::IndentedSorted)?;

    let raw_name = |row: usize| {
        let image = images.get(row)?;
        Ok::<_, PrepareError>(format!("train_images/{}", image.text("file_name", FILE)?))
    };
    copy_in_batches(ctx, &train, |i, row| {
        Ok((raw_name(row)?, format!("public/train_images/{}", train_name(i))))
    })?;
    copy_in_batches(ctx, &test, |k, row| {
        Ok((raw_name(row)?, format!("public/test_images/{}", test_name(k))))
    })?;
    write_answers(ctx, test.iter().map(|&row| categories[row]).collect(), 42)
}

fn with_id(mut record: Json, id: String, file_name: Option<String>) -> Json {
    record.set("image_id", id);
    if let Some(name) = file_name {
        record.set("file_name", name);
    }
    record
}
