//! Carbonised papyrus with ink to be found. Fragments 1 and 2 are the train part, fragment 3 is the
//! test part under the name `a`.

use crate::formats::png_size;
use crate::prepare::{Prepare, PrepareError};

const LABELS: [&str; 3] = ["inklabels.png", "inklabels_rle.csv", "ir.png"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    for fragment in ["1", "2"] {
        ctx.copy_folder(&format!("train/{fragment}"), &format!("public/train/{fragment}"))?;
    }
    let is_label = |file: &str| LABELS.contains(&file.rsplit('/').next().unwrap_or(file));
    ctx.copy_folder_if("train/3", "public/test/a", |file| !is_label(file))?;

    let infrared = "train/3/ir.png";
    let (width, height) = png_size(&ctx.read(infrared)?, infrared)?;
    let gold = ctx.read_csv("train/3/inklabels_rle.csv")?.with("Id", "a")?;
    ctx.write_csv("private/gold_submission.csv", &gold)?;
    let answers = gold.with("width", i64::from(width))?.with("height", i64::from(height))?;
    ctx.write_csv("private/inklabels_rle.csv", &answers)?;
    ctx.write("public/sample_submission.csv", "Id,Predicted\na,1 1 5 1\n")
}
