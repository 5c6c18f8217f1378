//! Satellite pictures with condensation trails. As many train records become the test part as there
//! are validation records; the answers are the outlined pixels as runs.

use crate::formats::{Json, JsonStyle, NpyArray};
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const MASK: &str = "human_pixel_masks.npy";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let records = ctx.read_json("train_metadata.json")?.into_list("train_metadata.json")?;
    let validation =
        ctx.read_json("validation_metadata.json")?.into_list("validation_metadata.json")?;
    let (train, test) = train_test_split(records.len(), validation.len(), 0)?.of(&records);
    let (train_ids, test_ids) = (ids(&train)?, ids(&test)?);
    ctx.write_json("public/train_metadata.json", &Json::List(train), JsonStyle::Compact)?;
    ctx.copy("validation_metadata.json", "public/validation_metadata.json")?;
    ctx.copy_folder("validation", "public/validation")?;

    let bands: Vec<String> = (8..=16).map(|band| format!("band_{band:02}.npy")).collect();
    let labelled: Vec<&str> =
        bands.iter().map(String::as_str).chain([MASK, "human_individual_masks.npy"]).collect();
    let copy = |part: &str, id: &str, name: &str| {
        (format!("train/{id}/{name}"), format!("public/{part}/{id}/{name}"))
    };
    ctx.copy_all(
        train_ids.iter().flat_map(|id| labelled.iter().map(move |name| copy("train", id, name))),
    )?;
    ctx.copy_all(
        test_ids.iter().flat_map(|id| bands.iter().map(move |name| copy("test", id, name))),
    )?;

    let (mut runs, mut heights, mut widths) = (Vec::new(), Vec::new(), Vec::new());
    for id in &test_ids {
        let file = format!("train/{id}/band_08.npy");
        let &[height, width, ..] = NpyArray::parse(&ctx.read(&file)?, &file)?.shape() else {
            return Err(ctx.unexpected(&file, "expected rows and columns"));
        };
        let file = format!("train/{id}/{MASK}");
        let mask = NpyArray::parse(&ctx.read(&file)?, &file)?;
        ctx.check(
            mask.shape() == [height, width, 1],
            &file,
            "expected one value for each pixel of the bands",
        )?;
        runs.push(runs_down_the_columns(&mask.ints()?, height, width));
        heights.push(height as i64);
        widths.push(width as i64);
    }
    let answers = Frame::new("answers", test_ids.len()).with("record_id", test_ids)?;
    let answers =
        answers.with("encoded_pixels", runs)?.with("height", heights)?.with("width", widths)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    let mut random = PythonRandom::new(0);
    let guesses: Vec<String> =
        (0..answers.rows()).map(|_| (*random.choice(&["1 3 10 5", "-"])).to_owned()).collect();
    ctx.write_csv("public/sample_submission.csv", &answers.with("encoded_pixels", guesses)?)
}

fn ids(records: &[Json]) -> Result<Vec<String>, PrepareError> {
    records
        .iter()
        .map(|record| Ok(record.text("record_id", "train_metadata.json")?.to_owned()))
        .collect()
}

/// Runs of ones as `start length ...`, pixels numbered from 1 down the columns; `-` if there is
/// none.
fn runs_down_the_columns(mask: &[i64], height: usize, width: usize) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in
        (0..height * width).filter(|number| mask[number % height * width + number / height] == 1)
    {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == number + 1 => *length += 1,
            _ => runs.push((number + 1, 1)),
        }
    }
    if runs.is_empty() {
        return "-".to_owned();
    }
    runs.iter().map(|(start, length)| format!("{start} {length}")).collect::<Vec<_>>().join(" ")
}
