//! Scans of kidneys with outlines. Twelve of the 15 scans are train, three are test.

use std::collections::{HashMap, HashSet};

use crate::frame::Size;
use crate::prepare::{Prepare, PrepareError};

const INFORMATION: &str = "HuBMAP-20-dataset_information.csv";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv("train.csv")?;
    ctx.check(
        table.rows() == 15,
        "train.csv",
        format!("expected 15 rows, found {}", table.rows()),
    )?;
    let (train, test) =
        table.train_test_split_sizes(Some(Size::Rows(12)), Some(Size::Rows(3)), 0)?;

    let files: HashSet<String> = table.texts("id")?.iter().map(|id| format!("{id}.tiff")).collect();
    let information = ctx.read_csv(INFORMATION)?.filter_in("image_file", &files)?;
    ctx.write_csv(&format!("public/{INFORMATION}"), &information)?;
    let sizes: HashMap<String, (i64, i64)> = information
        .texts("image_file")?
        .into_iter()
        .zip(information.ints("width_pixels")?.into_iter().zip(information.ints("height_pixels")?))
        .collect();
    let size = |id: &String| {
        let size = sizes.get(&format!("{id}.tiff")).copied();
        size.ok_or_else(|| ctx.unexpected(INFORMATION, format!("expected a row for `{id}.tiff`")))
    };
    let test_ids = test.texts("id")?;
    let test_sizes = test_ids.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let (widths, heights): (Vec<i64>, Vec<i64>) = test_sizes.into_iter().unzip();

    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv(
        "private/test.csv",
        &test.with("width_pixels", widths)?.with("height_pixels", heights)?,
    )?;
    let gold = test.rename("encoding", "predicted")?;
    ctx.write_csv("private/gold_submission.csv", &gold)?;
    let sample = gold.with("predicted", "")?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.write_csv("public/test/sample_submission.csv", &sample)?;
    for (part, ids) in [("train", train.texts("id")?), ("test", test_ids)] {
        for ending in [".tiff", ".json", "-anatomical-structure.json"] {
            ctx.copy_all(
                ids.iter().map(|id| {
                    (format!("train/{id}{ending}"), format!("public/{part}/{id}{ending}"))
                }),
            )?;
        }
    }
    Ok(())
}
