//! A thousand species of plants and animals. Each category gives its own test pictures: 12 % of
//! five or more, the last of two to four, none of a single one. The test list is shuffled.

use crate::formats::{Json, JsonStream, JsonStyle};
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const FILE: &str = "train2019.json";
const ARCHIVE: &str = "train_val2019.tar.gz";
const FOLDER: &str = "train_val2019";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let raw = ctx.read_json(FILE)?;
    let (images, annotations) = (raw.list("images", FILE)?, raw.list("annotations", FILE)?);
    let (train, test) = split(ctx, images, annotations)?;

    let fields = raw.as_object().unwrap_or_default();
    let train_fields = fields.iter().map(|(key, value)| match key.as_str() {
        "images" => (key.clone(), picked(images, &train)),
        "annotations" => (key.clone(), picked(annotations, &train)),
        _ => (key.clone(), JsonStream::Value(value.clone())),
    });
    ctx.write_json_stream(
        "public/train2019.json",
        JsonStream::Object(train_fields.collect()),
        JsonStyle::IndentedSorted,
    )?;
    ctx.copy("val2019.json", "public/val2019.json")?;

    let mut test_images = Vec::new();
    for &i in &test {
        let mut image = images[i].clone();
        let name = image.text("file_name", FILE)?.rsplit('/').next().unwrap_or_default().to_owned();
        image.set("file_name", format!("test2019/{name}"));
        test_images.push(image);
    }
    let kept = fields
        .iter()
        .filter(|(key, _)| !["categories", "annotations", "images"].contains(&key.as_str()));
    let mut public_test = Json::Object(kept.cloned().collect());
    public_test.set("images", test_images);
    let keys: Vec<&str> =
        public_test.as_object().unwrap_or_default().iter().map(|(key, _)| key.as_str()).collect();
    let known = keys.iter().all(|key| ["images", "info", "licenses"].contains(key));
    ctx.check(
        known,
        FILE,
        format!("expected no keys that could tell a test label, found `{}`", keys.join("`, `")),
    )?;
    ctx.write_json("public/test2019.json", &public_test, JsonStyle::IndentedSorted)?;

    let ids = test
        .iter()
        .map(|&i| Ok(images[i].int("id", FILE)? as i64))
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let labels = test.iter().map(|&i| Ok(annotations[i].int("category_id", FILE)? as i64));
    let labels = labels.collect::<Result<Vec<_>, PrepareError>>()?;
    let answers = Frame::new("answers", test.len()).with("id", ids)?.with("predicted", labels)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    // Every guess comes from a new generator with the same seed.
    let guess = PythonRandom::new(42).randint(0, 1009);
    ctx.write_csv("public/kaggle_sample_submission.csv", &answers.with("predicted", guess)?)?;

    let base = if ctx.exists(FOLDER)? { FOLDER.to_owned() } else { format!("{ARCHIVE}/{FOLDER}") };
    let pack = |name: &str, part: &[usize], keep_folders: bool| {
        let mut tar = ctx.tar(&format!("public/{name}.tar.gz"))?;
        for &i in part {
            let file = images[i].text("file_name", FILE)?;
            let below = file.strip_prefix("train_val2019/").unwrap_or(file);
            let member =
                if keep_folders { below } else { below.rsplit('/').next().unwrap_or(below) };
            tar.add(&format!("{base}/{below}"), member)?;
        }
        tar.finish()
    };
    pack("train_val2019", &train, true)?;
    pack("test2019", &test, false)
}

fn picked<'a>(items: &'a [Json], rows: &'a [usize]) -> JsonStream<'a> {
    JsonStream::List(Box::new(rows.iter().map(|&row| Ok(items[row].clone()))))
}

/// The positions of the train and the test pictures in the two parallel lists.
fn split(
    ctx: &Prepare,
    images: &[Json],
    annotations: &[Json],
) -> Result<(Vec<usize>, Vec<usize>), PrepareError> {
    ctx.check(images.len() == annotations.len(), FILE, "expected as many annotations as images")?;
    let mut labels = Vec::with_capacity(images.len());
    for (image, annotation) in images.iter().zip(annotations) {
        let same = image.int("id", FILE)? == annotation.int("image_id", FILE)?;
        ctx.check(same, FILE, "expected the annotations in the order of the images")?;
        labels.push(annotation.int("category_id", FILE)? as i64);
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (_, members) in
        Frame::new(FILE, labels.len()).with("category_id", labels)?.groups("category_id")?
    {
        let members: Vec<usize> = members.into_iter().map(|row| row as usize).collect();
        let (more_train, more_test) = match members.len() {
            1 => (members, Vec::new()),
            2..=4 => (members[..members.len() - 1].to_vec(), members[members.len() - 1..].to_vec()),
            count => train_test_split(count, 0.12, 0)?.of(&members),
        };
        train.extend(more_train);
        test.extend(more_test);
    }
    PythonRandom::new(0).shuffle(&mut test);
    Ok((train, test))
}
