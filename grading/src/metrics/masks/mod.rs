//! Scores of binary masks written as run lengths.

mod dice;
mod overlap;
mod volume;

use std::collections::HashMap;

use rayon::prelude::*;

pub use dice::DICE;
pub use overlap::{Areas, EmptyPrediction, f_beta, precision_over_iou};
pub use volume::{Volume, unit_hausdorff};

use super::{Metric, MetricOption, OptionKind};
use crate::ids::same;
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::rle::{self, Run};
use crate::spec::Pairing;
use crate::sum::mean;
use crate::table::Column;
use crate::task::{Task, bad_answer};

/// Precision over IoU thresholds of one object an image.
pub static MASK_IOU_PRECISION: Metric = Metric {
    name: "mask_iou_precision",
    aliases: &["mean_iou_precision"],
    summary: "Mean over images of the share of the IoU thresholds 0.5, 0.55, ..., 0.95 that the mask's overlap exceeds.",
    inputs: "one column of run lengths down the columns, blank for an empty mask",
    source: "MLE-bench `tgs-salt-identification-challenge/grade.py`",
    options: &[
        MetricOption {
            name: "height",
            kind: OptionKind::Integer,
            required: true,
            doc: "Rows of every image.",
        },
        MetricOption {
            name: "width",
            kind: OptionKind::Integer,
            required: true,
            doc: "Columns of every image.",
        },
        MetricOption {
            name: "empty_counts_as_full",
            kind: OptionKind::Flag,
            required: false,
            doc: "Whether an empty prediction for a non-empty mask is scored as the whole image. Default false.",
        },
    ],
    score: mask_iou_precision,
};

/// F0.5 of masks.
pub static MASK_F_BETA: Metric = Metric {
    name: "mask_f_beta",
    aliases: &["mask_f05"],
    summary: "F-beta score of the pixels of each mask, averaged over the masks; 0 where nothing is hit.",
    inputs: "one column of run lengths, never blank; the answers also hold `width` and `height`",
    source: "MLE-bench `vesuvius-challenge-ink-detection/grade.py`; scikit-learn 1.5.2 `fbeta_score`",
    options: &[MetricOption {
        name: "beta",
        kind: OptionKind::Number,
        required: false,
        doc: "Weight of recall. Default 0.5.",
    }],
    score: mask_f_beta,
};

/// Dice and 3-D Hausdorff distance.
pub static DICE_HAUSDORFF: Metric = Metric {
    name: "dice_hausdorff",
    aliases: &["dice_3d_hausdorff"],
    summary: "0.4 x mean Dice coefficient of the masks + 0.6 x (1 - mean Hausdorff distance of the volumes they stack up to).",
    inputs: "one column of run lengths, blank for an empty mask; ids `<volume>_slice_<number>`; the answers also hold \
             `image_width` and `image_height`",
    source: "MLE-bench `uw-madison-gi-tract-image-segmentation/grade.py`; scipy 1.13.1 `directed_hausdorff`",
    options: &[MetricOption {
        name: "row_major",
        kind: OptionKind::Flag,
        required: false,
        doc: "Whether pixels are numbered along the rows instead of down the columns; matters to the distances. Default false.",
    }],
    score: dice_hausdorff,
};

/// A cell of a mask column: blank where it is missing.
fn mask_text<'t>(column: &Column<'t>, row: usize) -> Result<&'t str, InvalidSubmission> {
    if column.is_missing(row) {
        Ok("")
    } else if column.is_text() {
        Ok(column.raw(row))
    } else {
        Err(not_text(column, row))
    }
}

fn not_text(column: &Column<'_>, row: usize) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::NotText, "the column reads as numbers, not as run lengths")
        .at(row)
        .in_column(column.name())
        .with_value(column.raw(row))
        .expecting("pairs of a start and a length")
}

/// Decodes a submitted cell.
fn submitted_mask(
    column: &Column<'_>,
    row: usize,
    pixels: u64,
) -> Result<Vec<Run>, InvalidSubmission> {
    rle::decode(mask_text(column, row)?, pixels).map_err(|error| {
        InvalidSubmission::new(InvalidKind::BadCell, format!("the run lengths are wrong: {error}"))
            .at(row)
            .in_column(column.name())
            .with_value(column.raw(row))
            .expecting("ascending, disjoint pairs of a 1-based start and a length")
    })
}

/// Decodes a cell of the answers.
fn true_mask(column: &Column<'_>, row: usize, pixels: u64) -> Result<Vec<Run>, Refusal> {
    let bad = |message: String| AnswersError::BadValue { row: row + 1, message };
    let text = mask_text(column, row).map_err(|_| bad("the mask is not text".to_owned()))?;
    rle::decode(text, pixels)
        .map_err(|error| bad(format!("the run lengths are wrong: {error}")).into())
}

/// An image size of the answers.
fn size(column: &Column<'_>, row: usize) -> Result<u64, Refusal> {
    match column.number(row) {
        Some(value) if (0.0..=1e9).contains(&value) => Ok(value as u64),
        _ => Err(bad_answer(row, column, "is no image size")),
    }
}

fn mask_iou_precision(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    for ids in task.submission_ids()? {
        // The reference asks for text in every cell.
        if let Some(row) = (0..ids.len()).find(|_| !ids.is_text()) {
            return Err(not_text(&ids, row).expecting("text ids").into());
        }
    }
    let side = |name: &str| task.integer(name).and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    let pixels = side("height") * side("width");
    let empty = if task.flag("empty_counts_as_full") {
        EmptyPrediction::CountsAsFull
    } else {
        EmptyPrediction::IsAMiss
    };
    let rows: Vec<(usize, usize)> = pairs.answers.iter().zip(pairs.submission.iter()).collect();
    let scores: Vec<f64> = rows
        .par_iter()
        .map(|&(a, s)| {
            let predicted = submitted_mask(&prediction, s, pixels)?;
            Ok(precision_over_iou(&true_mask(&truth, a, pixels)?, &predicted, pixels, empty))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(mean(&scores))
}

fn mask_f_beta(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    let (width, height) = (task.answer("width")?, task.answer("height")?);
    let ids: Vec<_> = task.answer_ids()?.into_iter().zip(task.submission_ids()?).collect();
    let beta = task.number("beta").unwrap_or(0.5);
    let rows: Vec<(usize, usize)> = pairs.answers.iter().zip(pairs.submission.iter()).collect();
    let scores: Vec<f64> = rows
        .par_iter()
        .map(|&(a, s)| {
            if let Some((expected, found)) = ids.iter().find(|(x, y)| !same(*x, a, *y, s)) {
                return Err(InvalidSubmission::new(
                    InvalidKind::Ids,
                    "another id belongs in this row",
                )
                .at(s)
                .in_column(found.name())
                .with_value(found.raw(s))
                .expecting(format!("`{}`", expected.raw(a)))
                .into());
            }
            if prediction.is_missing(s) {
                return Err(crate::check::missing_value(&prediction, s).into());
            }
            if truth.is_missing(a) {
                return Err(bad_answer(a, &truth, "is no mask"));
            }
            let pixels = size(&width, a)? * size(&height, a)?;
            let predicted = submitted_mask(&prediction, s, pixels)?;
            Ok(f_beta(&true_mask(&truth, a, pixels)?, &predicted, beta))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(mean(&scores))
}

/// One row of a file, as the volumes are built from it.
#[derive(Clone, Copy)]
struct Slice<'t> {
    id: &'t str,
    row: usize,
    height: u64,
    width: u64,
}

fn dice_hausdorff(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction) = (task.truth(0)?, task.prediction(0)?);
    let (heights, widths) = (task.answer("image_height")?, task.answer("image_width")?);
    let (true_ids, ids) = (task.answer_ids()?[0], task.submission_ids()?[0]);
    let rows = truth.len().min(prediction.len());
    // The strict reading pairs rows by their ids; the reference by their place, up to the end of
    // the shorter file.
    let pairs = match task.spec.pairing {
        Pairing::FileOrder => None,
        _ => Some(task.pairs()?),
    };
    let place =
        |k: usize| pairs.map_or((k, k), |pairs| (pairs.answers.at(k), pairs.submission.at(k)));
    // An image whose pixels are numbered along its rows is the transpose of one numbered down the
    // columns.
    let (heights, widths) =
        if task.flag("row_major") { (widths, heights) } else { (heights, widths) };
    let sizes: Vec<(u64, u64)> = (0..truth.len())
        .map(|row| Ok((size(&heights, row)?, size(&widths, row)?)))
        .collect::<Result<_, Refusal>>()?;
    let dices: Vec<Option<f64>> = (0..rows)
        .into_par_iter()
        .map(|k| {
            let (a, s) = place(k);
            let pixels = sizes[a].0 * sizes[a].1;
            let predicted = submitted_mask(&prediction, s, pixels)?;
            Ok(Areas::of(&true_mask(&truth, a, pixels)?, &predicted).dice())
        })
        .collect::<Result<_, Refusal>>()?;
    let mut submitted_rows = Vec::with_capacity(rows);
    for k in 0..rows {
        let (a, s) = place(k);
        let Some(id) = ids.text(s).filter(|_| ids.is_text()) else {
            return Err(not_text(&ids, s).expecting("a text id").into());
        };
        submitted_rows.push(Slice { id, row: s, height: sizes[a].0, width: sizes[a].1 });
    }
    let mut true_rows = Vec::with_capacity(truth.len());
    for (row, &(height, width)) in sizes.iter().enumerate() {
        let Some(id) = true_ids.text(row).filter(|_| true_ids.is_text()) else {
            return Err(bad_answer(row, &true_ids, "is no text id"));
        };
        true_rows.push(Slice { id, row, height, width });
    }
    let true_volumes = volumes(true_rows).map_err(|slice| {
        bad_answer(slice.row, &true_ids, "has another image size than its volume")
    })?;
    let predicted_volumes = volumes(submitted_rows).map_err(|slice| {
        InvalidSubmission::new(
            InvalidKind::Ids,
            "the images of one volume have different sizes: the rows are not in the answers' order",
        )
        .at(slice.row)
        .in_column(ids.name())
        .with_value(slice.id)
        .expecting("the rows in the order of the sample submission")
    })?;
    let distances: Vec<Option<f64>> = true_volumes
        .par_iter()
        .zip(&predicted_volumes)
        .map(|(of_truth, of_prediction)| {
            let of_truth = stack(of_truth, |row, pixels| true_mask(&truth, row, pixels))?;
            let of_prediction =
                stack(of_prediction, |row, pixels| Ok(submitted_mask(&prediction, row, pixels)?))?;
            Ok(unit_hausdorff(&of_truth, &of_prediction))
        })
        .collect::<Result<_, Refusal>>()?;
    let present =
        |values: Vec<Option<f64>>| mean(&values.into_iter().flatten().collect::<Vec<_>>());
    Ok(0.4 * present(dices) + 0.6 * (1.0 - present(distances)))
}

/// Groups rows into volumes: slices of one id in text order of the ids, volumes in order of
/// appearance.
///
/// # Errors
/// The first row whose image size differs from that of its volume.
fn volumes(mut rows: Vec<Slice<'_>>) -> Result<Vec<Vec<Slice<'_>>>, Slice<'_>> {
    rows.sort_by_key(|slice| slice.id);
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut volumes: Vec<Vec<Slice<'_>>> = Vec::new();
    for slice in rows {
        let name = slice.id.split("_slice_").next().unwrap_or(slice.id);
        let place = *places.entry(name).or_insert(volumes.len());
        if place == volumes.len() {
            volumes.push(Vec::new());
        }
        let volume = &mut volumes[place];
        if volume
            .first()
            .is_some_and(|first| (first.height, first.width) != (slice.height, slice.width))
        {
            return Err(slice);
        }
        volume.push(slice);
    }
    Ok(volumes)
}

/// Decodes the rows of one volume; rows of equal id are one slice.
fn stack(
    rows: &[Slice<'_>],
    decode: impl Fn(usize, u64) -> Result<Vec<Run>, Refusal>,
) -> Result<Volume, Refusal> {
    let mut slices = Vec::new();
    for rows in rows.chunk_by(|a, b| a.id == b.id) {
        let mut joined = Vec::new();
        for slice in rows {
            joined = rle::union(&joined, &decode(slice.row, slice.height * slice.width)?);
        }
        slices.push(joined);
    }
    Ok(Volume { height: rows[0].height, width: rows[0].width, slices })
}
