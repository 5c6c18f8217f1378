//! Recorded gestures. The test part is the fourth training archive; its labels are those of the
//! training table.

use std::collections::HashSet;

use crate::frame::{CsvOptions, Frame};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const TEST: &str = "training4.tar.gz";
const COPIED: [&str; 9] = [
    "training1.tar.gz",
    "training2.tar.gz",
    "training3.tar.gz",
    "validation1.tar.gz",
    "validation2.tar.gz",
    "validation3.tar.gz",
    "devel01-40.7z",
    "valid_all_files_combined.7z",
    "sample_code_mmrgc.zip",
];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    // A member is called `Sample00123.zip`; its last four digits are the id.
    let members = ctx.tar_names(TEST)?;
    let id = |name: &str| {
        name.strip_suffix(".zip")
            .and_then(|stem| stem.get(stem.len().saturating_sub(4)..))
            .map(str::to_owned)
    };
    let mut ids: Vec<String> =
        members.iter().filter(|name| !name.contains('/')).filter_map(|name| id(name)).collect();
    ids.sort();
    let test_ids: HashSet<String> = ids.iter().cloned().collect();
    let table =
        ctx.read_csv_with("training.csv", &CsvOptions::default().text("Id").text("Sequence"))?;
    let (test, train) = table.partition("Id", |id| test_ids.contains(id))?;
    let found: HashSet<String> = test.texts("Id")?.into_iter().collect();
    ctx.check(
        test.rows() == ids.len() && found == test_ids,
        "training.csv",
        format!("expected every sample of `{TEST}` once"),
    )?;
    ctx.write_csv("public/training.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    let names = Frame::new("test", ids.len()).with("Id", ids)?;
    ctx.write_csv("public/test.csv", &names)?;
    let mut random = PythonRandom::new(0);
    let gestures: Vec<u32> = (1..=20).collect();
    let guess = |_| {
        random
            .sample(&gestures, gestures.len())
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let guesses: Vec<String> = (0..names.rows()).map(guess).collect();
    ctx.write_csv("public/randomPredictions.csv", &names.with("Sequence", guesses)?)?;
    if ctx.fixed() {
        // The MATLAB files hold the gestures themselves beside the skeletons.
        let mut tar = ctx.tar_gz("public/test.tar.gz")?;
        for member in members {
            let raw = format!("{TEST}/{member}");
            match member.ends_with(".zip") {
                true => tar.add_zip_if(&raw, &member, |name| !name.ends_with("_data.mat"))?,
                false => tar.add(&raw, &member)?,
            }
        }
        tar.finish()?;
    } else {
        ctx.copy(TEST, "public/test.tar.gz")?;
    }
    ctx.copy_all(COPIED.map(|name| (name, format!("public/{name}"))))
}
