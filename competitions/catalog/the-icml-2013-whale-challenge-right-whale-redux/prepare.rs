//! Two seconds of sea, with or without the call of a whale. Of four days of recording the first two
//! are the train part, the last two the test part; clips are numbered anew in each part, and test
//! clips lose the label in their name.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

const FOLDER: &str = "train2.zip/train2";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let clips: Vec<String> =
        ctx.files(FOLDER)?.into_iter().filter(|name| name.ends_with(".aif")).collect();
    let date = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let mut dates: Vec<String> = clips.iter().map(|name| date(name)).collect();
    dates.sort();
    dates.dedup();
    ctx.check(
        dates.len() == 4,
        FOLDER,
        format!("expected clips of four days, found {}", dates.len()),
    )?;
    let (test, train): (Vec<&String>, Vec<&String>) =
        clips.iter().partition(|name| dates[2..].contains(&date(name)));

    let mut zip = ctx.zip("public/train2.zip")?;
    zip.add_folder("train2/")?;
    let renamed = train
        .iter()
        .enumerate()
        .map(|(i, name)| (format!("{FOLDER}/{name}"), format!("train2/{}", renumbered(name, i))));
    zip.add_all(renamed)?;
    zip.finish()?;

    let new_names: Vec<String> = test
        .iter()
        .enumerate()
        .map(|(i, name)| format!("{}Test{i}.aif", before_train(name)))
        .collect();
    let mut zip = ctx.zip("public/test2.zip")?;
    zip.add_folder("test2/")?;
    zip.add_all(
        test.iter()
            .zip(&new_names)
            .map(|(old, new)| (format!("{FOLDER}/{old}"), format!("test2/{new}"))),
    )?;
    zip.finish()?;

    let labels: Vec<i64> =
        test.iter().map(|name| i64::from(name.trim_end_matches(".aif").ends_with("_1"))).collect();
    let answers =
        Frame::new("answers", test.len()).with("clip", new_names)?.with("probability", labels)?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sampleSubmission.csv", &answers.with("probability", 0)?)
}

fn before_train(name: &str) -> &str {
    name.split("TRAIN").next().unwrap_or(name)
}

/// The name with `number` in the place of the digits behind every `TRAIN`.
fn renumbered(name: &str, number: usize) -> String {
    let mut parts = name.split("TRAIN");
    let mut new = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        new.push_str("TRAIN");
        if rest.len() < part.len() {
            new.push_str(&number.to_string());
        }
        new.push_str(rest);
    }
    new
}
