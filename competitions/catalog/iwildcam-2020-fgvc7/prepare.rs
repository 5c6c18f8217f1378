//! Animals in front of camera traps. 22 % of the places become the test part; then places move
//! between the parts, one at a time, until the share of test pictures, counted against all pictures
//! and the test pictures once more, is no more than 22 %.

use std::collections::{HashMap, HashSet};

use crate::formats::{Json, JsonStyle};
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::RandomState;

const TRAIN: &str = "iwildcam2020_train_annotations.json";
const TEST: &str = "iwildcam2020_test_information.json";
const MEGADETECTOR: &str = "iwildcam2020_megadetector_results.json";
const TEST_SHARE: f64 = 0.22;

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut raw_train = ctx.read_json(TRAIN)?;
    let mut raw_test = ctx.read_json(TEST)?;
    let take = |raw: &mut Json, key: &str, file: &str| {
        raw.remove(key)
            .ok_or_else(|| ctx.unexpected(file, format!("expected an object with the key `{key}`")))
    };
    let images = as_table(take(&mut raw_train, "images", TRAIN)?.into_list(TRAIN)?);
    let annotations = as_table(take(&mut raw_train, "annotations", TRAIN)?.into_list(TRAIN)?);

    let test_locations = test_locations(ctx, &images)?;
    let (test_images, train_images) =
        partition(images, |image| Ok(test_locations.contains(&id(ctx, image, "location")?)))?;
    let test_ids = ids(ctx, &test_images)?;
    let train_ids = ids(ctx, &train_images)?;
    let (test_annotations, rest) =
        partition(annotations, |a| Ok(test_ids.contains(&id(ctx, a, "image_id")?)))?;
    let (train_annotations, _) =
        partition(rest, |a| Ok(train_ids.contains(&id(ctx, a, "image_id")?)))?;

    let names =
        test_annotations.iter().map(|a| id(ctx, a, "image_id")).collect::<Result<Vec<_>, _>>()?;
    let labels = test_annotations.iter().map(|a| Ok(a.int("category_id", TRAIN)? as i64));
    let labels = labels.collect::<Result<Vec<_>, PrepareError>>()?;
    let answers = Frame::new("answers", names.len()).with("Id", names)?.with("Category", labels)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    let mut random = RandomState::new(0);
    let guesses: Vec<i64> = (0..answers.rows()).map(|_| random.randint(0, 676)).collect();
    ctx.write_csv("public/sample_submission.csv", &answers.with("Category", guesses)?)?;

    for (part, images) in [("train", &train_images), ("test", &test_images)] {
        let copies = images.iter().map(|image| {
            let id = id(ctx, image, "id")?;
            Ok((format!("train/{id}.jpg"), format!("public/{part}/{id}.jpg")))
        });
        ctx.copy_all(copies.collect::<Result<Vec<_>, PrepareError>>()?)?;
    }
    let field = |key: &str, value: Json| (key.to_owned(), value);
    let public_train = Json::Object(vec![
        field("annotations", train_annotations.into()),
        field("images", train_images.into()),
        field("categories", take(&mut raw_train, "categories", TRAIN)?),
        field("info", take(&mut raw_train, "info", TRAIN)?),
    ]);
    ctx.write_json(
        "public/iwildcam2020_train_annotations.json",
        &public_train,
        JsonStyle::Compact,
    )?;
    let public_test = Json::Object(vec![
        field("images", test_images.into()),
        field("categories", take(&mut raw_test, "categories", TEST)?),
        field("info", take(&mut raw_test, "info", TEST)?),
    ]);
    ctx.write_json("public/iwildcam2020_test_information.json", &public_test, JsonStyle::Compact)?;
    ctx.copy(MEGADETECTOR, &format!("public/{MEGADETECTOR}"))
}

/// The places of the test part.
fn test_locations(ctx: &Prepare, images: &[Json]) -> Result<HashSet<String>, PrepareError> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut locations = Vec::new();
    for image in images {
        let location = id(ctx, image, "location")?;
        let count = counts.entry(location.clone()).or_default();
        if *count == 0 {
            locations.push(location);
        }
        *count += 1;
    }
    let (mut train, mut test) = train_test_split(locations.len(), TEST_SHARE, 0)?.of(&locations);
    let share = |test: &[String]| {
        let pictures: usize = test.iter().map(|location| counts[location]).sum();
        pictures as f64 / (images.len() + pictures) as f64
    };
    while share(&test) < TEST_SHARE {
        let last = train.pop().ok_or_else(|| ctx.unexpected(TRAIN, "expected more places"))?;
        test.push(last);
    }
    while share(&test) > TEST_SHARE {
        let last = test.pop().ok_or_else(|| ctx.unexpected(TRAIN, "expected more places"))?;
        train.push(last);
    }
    Ok(test.into_iter().collect())
}

fn id(ctx: &Prepare, record: &Json, key: &str) -> Result<String, PrepareError> {
    let value = record.field(key, TRAIN)?;
    match value {
        // Places turn into floats where one record lacks its place.
        Json::Float(value) => Ok(value.to_string()),
        _ => value
            .to_id()
            .map(Into::into)
            .ok_or_else(|| ctx.unexpected(TRAIN, format!("expected an id under the key `{key}`"))),
    }
}

fn ids(ctx: &Prepare, records: &[Json]) -> Result<HashSet<String>, PrepareError> {
    records.iter().map(|record| id(ctx, record, "id")).collect()
}

fn partition(
    records: Vec<Json>,
    holds: impl Fn(&Json) -> Result<bool, PrepareError>,
) -> Result<(Vec<Json>, Vec<Json>), PrepareError> {
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for record in records {
        if holds(&record)? { yes.push(record) } else { no.push(record) }
    }
    Ok((yes, no))
}

/// What becomes of records on the way through a pandas table: all have all keys, in order of first
/// appearance; gaps are NaN; integers beside gaps or floats are floats.
fn as_table(mut records: Vec<Json>) -> Vec<Json> {
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in records.iter().flat_map(|record| record.as_object().unwrap_or_default()) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    let is_float = |key: &String| {
        let cells = || records.iter().map(|record| record.get(key));
        let numeric = cells()
            .all(|cell| matches!(cell, None | Some(Json::Null | Json::Int(_) | Json::Float(_))));
        numeric && cells().any(|cell| !matches!(cell, Some(Json::Int(_))))
    };
    let floats: Vec<bool> = keys.iter().map(is_float).collect();
    // One after the other: two such lists are more than is wanted in memory.
    for record in &mut records {
        let cells = keys.iter().zip(&floats).map(|(key, float)| {
            let value = match record.remove(key) {
                None => Json::Float(f64::NAN),
                Some(Json::Null) if *float => Json::Float(f64::NAN),
                Some(Json::Int(value)) if *float => Json::Float(value as f64),
                Some(value) => value,
            };
            (key.clone(), value)
        });
        *record = Json::Object(cells.collect());
    }
    records
}
