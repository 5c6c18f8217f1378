//! Pages of classical Japanese with the place of every character. 10 % of the pages become the test
//! part.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("labels", "U+003F 1 1 U+FF2F 2 2")?)?;
    let points = test
        .texts("labels")?
        .iter()
        .map(|boxes| points_inside(ctx, boxes))
        .collect::<Result<Vec<_>, _>>()?;
    ctx.write_csv("private/gold_submission.csv", &test.with("labels", points)?)?;
    ctx.copy("unicode_translation.csv", "public/unicode_translation.csv")?;
    let pack = |part: &str, table: &Frame| {
        let mut zip = ctx.zip(&format!("public/{part}_images.zip"))?;
        let ids = table.texts("image_id")?;
        zip.add_all(
            ids.iter().map(|id| (format!("train_images.zip/{id}.jpg"), format!("{id}.jpg"))),
        )?;
        zip.finish()
    };
    pack("train", &train)?;
    pack("test", &test)
}

/// Turns `CODE X Y WIDTH HEIGHT ...` into a point inside each box, `CODE X+1 Y+1 ...`.
fn points_inside(ctx: &Prepare, boxes: &str) -> Result<String, PrepareError> {
    let wrong = || {
        ctx.unexpected(
            "train.csv",
            format!("expected groups of `code x y width height` as labels, found `{boxes}`"),
        )
    };
    let parts: Vec<&str> = boxes.split_whitespace().collect();
    if parts.is_empty() || !parts.len().is_multiple_of(5) {
        return Err(wrong());
    }
    let point = |group: &[&str]| {
        let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        Ok(format!("{} {} {}", group[0], number(group[1])? + 1, number(group[2])? + 1))
    };
    let points: Vec<String> = parts.chunks(5).map(point).collect::<Result<_, PrepareError>>()?;
    Ok(points.join(" "))
}
