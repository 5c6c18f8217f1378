//! Smartphones in cars and where they really were. 10 % of the days become the test part, with all
//! drives of these days.

use std::collections::HashSet;

use crate::frame::{CsvOptions, Frame, Kind, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const TRUTH: &str = "ground_truth.csv";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let drives = ctx.folders("train")?;
    let mut dates = drives.iter().map(|drive| date(ctx, drive)).collect::<Result<Vec<_>, _>>()?;
    let dates_of_drives = dates.clone();
    dates.sort();
    dates.dedup();
    let (_, test) = train_test_split(dates.len(), 0.1, 0)?.of(&dates);
    let test: HashSet<String> = test.into_iter().collect();
    let mut truths = Vec::new();
    for (drive, date) in drives.iter().zip(&dates_of_drives) {
        let source = format!("train/{drive}");
        if !test.contains(date) {
            ctx.copy_folder(&source, &format!("public/train/{drive}"))?;
            continue;
        }
        let is_truth = |file: &str| file.rsplit('/').next() == Some(TRUTH);
        ctx.copy_folder_if(&source, &format!("public/test/{drive}"), |file| !is_truth(file))?;
        for file in ctx.walk(&source)?.iter().filter(|file| is_truth(file)) {
            truths.push(truth(ctx, &format!("{source}/{file}"))?);
        }
    }
    ctx.copy_folder("metadata", "public/metadata")?;
    let answers = Frame::concat(&truths.iter().collect::<Vec<_>>())?;
    ctx.write_csv("private/test.csv", &answers)?;
    let sample = answers
        .with("LatitudeDegrees", 37.904611315634504)?
        .with("LongitudeDegrees", -86.48107806249548)?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

/// The date at the beginning of a drive's name, with two digits for month and day.
fn date(ctx: &Prepare, drive: &str) -> Result<String, PrepareError> {
    let parts: Vec<&str> = drive.split('-').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts[..] {
        [year, month, day, ..] if [year, month, day].iter().all(digits) => {
            Ok(format!("{year}-{month:0>2}-{day:0>2}"))
        }
        _ => {
            Err(ctx
                .unexpected(&format!("train/{drive}"), "expected a name that begins with a date"))
        }
    }
}

/// The true places of one phone; the trip is called after the two folders around the file.
fn truth(ctx: &Prepare, file: &str) -> Result<Frame, PrepareError> {
    let options = CsvOptions::default()
        .fast_floats()
        .kind("LatitudeDegrees", Kind::Float)
        .kind("LongitudeDegrees", Kind::Float);
    let mut folders = file.rsplit('/').skip(1);
    let (phone, drive) = (folders.next().unwrap_or_default(), folders.next().unwrap_or_default());
    let table =
        ctx.read_csv_with(file, &options)?.with("tripId", format!("{drive}-{phone}").as_str())?;
    Ok(table.select(["tripId", "UnixTimeMillis", "LatitudeDegrees", "LongitudeDegrees"])?)
}
