//! Radar pictures of ships and icebergs. 20 % of the labelled pictures become the test part, with
//! the fields of the original one.

use crate::formats::{Json, JsonList, JsonStyle};
use crate::frame::{CsvStyle, Frame, train_test_split};
use crate::prepare::{Packer, Prepare, PrepareError};

const TRAIN: &str = "train.json.7z/data/processed/train.json";
const TEST: &str = "test.json.7z/data/processed/test.json";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let pictures = JsonList::open(&ctx.on_disk(TRAIN)?, TRAIN)?;
    let original_test = JsonList::open_first(&ctx.on_disk(TEST)?, TEST, 1)?;
    ctx.check(!original_test.is_empty(), TEST, "expected a list of objects")?;
    let first = original_test.get(0)?;
    let fields =
        first.as_object().ok_or_else(|| ctx.unexpected(TEST, "expected a list of objects"))?;
    let split = train_test_split(pictures.len(), 0.2, 0)?;

    let pack = |name: &str, rows: &[u32], shown: &dyn Fn(Json) -> Result<Json, PrepareError>| {
        let mut archive = ctx.seven_zip(&format!("public/{name}.json.7z"))?;
        add_list(&mut archive, &format!("{name}.json"), &pictures, rows, shown)?;
        archive.finish()
    };
    pack("train", &split.train, &Ok)?;
    pack("test", &split.test, &|picture| {
        let kept =
            fields.iter().map(|(key, _)| Ok((key.clone(), picture.field(key, TRAIN)?.clone())));
        Ok(Json::Object(kept.collect::<Result<_, PrepareError>>()?))
    })?;

    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    for &row in &split.test {
        let picture = pictures.get(row as usize)?;
        ids.push(picture.text("id", TRAIN)?.to_owned());
        labels.push(picture.int("is_iceberg", TRAIN)? as i64);
    }
    let answers = Frame::new("answers", ids.len()).with("id", ids)?.with("is_iceberg", labels)?;
    ctx.write_csv("private/test.csv", &answers)?;
    let sample = answers.with("is_iceberg", 0.5)?;
    ctx.write_csv("private/sample_submission.csv", &sample)?;
    let mut archive = ctx.seven_zip("public/sample_submission.csv.7z")?;
    archive.add_csv("sample_submission.csv", &sample, &CsvStyle::default())?;
    archive.finish()
}

fn add_list(
    archive: &mut Packer,
    member: &str,
    pictures: &JsonList,
    rows: &[u32],
    shown: &dyn Fn(Json) -> Result<Json, PrepareError>,
) -> Result<(), PrepareError> {
    let objects = rows.iter().enumerate().map(|(i, &row)| {
        let begin = if i == 0 { "[" } else { ", " };
        Ok(begin.to_owned() + &shown(pictures.get(row as usize)?)?.dump(JsonStyle::Compact))
    });
    let none = rows.is_empty().then(|| Ok("[".to_owned()));
    archive.add_pieces(member, none.into_iter().chain(objects).chain([Ok("]".to_owned())]))
}
