//! CT scans of necks. The train part is small, 10 % of the studies, and drawn so that studies with
//! boxes, with segmentations and with both are in it in the same proportion; the test part is the
//! rest, one row a study and vertebra.

use std::collections::HashSet;

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const ID: &str = "StudyInstanceUID";
const TARGETS: [&str; 8] = ["patient_overall", "C1", "C2", "C3", "C4", "C5", "C6", "C7"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv("train.csv")?;
    let boxes = ctx.read_csv("train_bounding_boxes.csv")?;
    let mut boxed = boxes.distinct(ID)?;
    boxed.sort();
    let segmented: Vec<String> = ctx
        .files("segmentations")?
        .iter()
        .filter_map(|file| file.strip_suffix(".nii").map(str::to_owned))
        .collect();
    let mut segmented = segmented;
    segmented.sort();

    let tenth = |count: usize| (count as f64 * 0.1).round_ties_even() as usize;
    let (in_boxed, in_segmented): (HashSet<&String>, HashSet<&String>) =
        (boxed.iter().collect(), segmented.iter().collect());
    let (both, boxed_only): (Vec<String>, Vec<String>) =
        boxed.iter().cloned().partition(|id| in_segmented.contains(id));
    let segmented_only: Vec<String> =
        segmented.iter().filter(|id| !in_boxed.contains(id)).cloned().collect();
    let left = |whole: usize, part: usize| {
        let left = whole.checked_sub(part);
        left.ok_or_else(|| {
            ctx.unexpected("train.csv", "expected more studies than have boxes or segmentations")
        })
    };
    let mut random = PythonRandom::new(0);
    let with_both = random.sample(&both, tenth(both.len()));
    let with_segmentation =
        random.sample(&segmented_only, left(tenth(segmented.len()), with_both.len())?);
    let with_boxes = random.sample(&boxed_only, left(tenth(boxed.len()), with_both.len())?);
    let mut train: HashSet<String> =
        [&with_both[..], &with_segmentation, &with_boxes].concat().into_iter().collect();
    let others: Vec<String> =
        table.texts(ID)?.into_iter().filter(|id| !train.contains(id)).collect();
    train.extend(random.sample(&others, left(tenth(table.rows()), train.len())?));

    let (train_rows, test_rows) = table.partition(ID, |id| train.contains(id))?;
    ctx.write_csv("public/train.csv", &train_rows)?;
    let public_boxes: HashSet<String> = with_both.iter().chain(&with_boxes).cloned().collect();
    ctx.write_csv("public/train_bounding_boxes.csv", &boxes.filter_in(ID, &public_boxes)?)?;
    let answers = one_row_a_target(&test_rows)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("public/test.csv", &answers.drop(["fractured"])?)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &answers.select(["row_id"])?.with("fractured", 0.5)?,
    )?;
    for (part, rows) in [("train", &train_rows), ("test", &test_rows)] {
        for id in rows.texts(ID)? {
            ctx.copy_folder(&format!("train_images/{id}"), &format!("public/{part}_images/{id}"))?;
        }
    }
    let public_segmentations = with_both.iter().chain(&with_segmentation);
    ctx.copy_all(public_segmentations.map(|id| {
        let file = format!("segmentations/{id}.nii");
        (file.clone(), format!("public/{file}"))
    }))
}

/// From a column for each target to a row for each study and target, target after target.
fn one_row_a_target(studies: &Frame) -> Result<Frame, PrepareError> {
    let ids = studies.texts(ID)?;
    let (mut uids, mut kinds, mut labels, mut row_ids) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for target in TARGETS {
        labels.extend(studies.ints(target)?);
        for id in &ids {
            uids.push(id.clone());
            kinds.push(target.to_owned());
            row_ids.push(format!("{id}_{target}"));
        }
    }
    Ok(Frame::new("answers", uids.len())
        .with(ID, uids)?
        .with("prediction_type", kinds)?
        .with("fractured", labels)?
        .with("row_id", row_ids)?)
}
