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
use crate::form::{Form, Pairs};
use crate::ids::same;
use crate::invalid::{
    AnswersError, InvalidKind, InvalidSubmission, Refusal, bad_answer, missing_value,
};
use crate::rle::{self, Run};
use crate::spec::{GradingSpec, Pairing};
use crate::sum::mean;
use crate::table::Column;
use crate::task::Task;

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
    validate: readable_masks,
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
    validate: filled_masks,
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
    validate: stacked_masks,
    score: dice_hausdorff,
};

/// The verdict that a mask is missing where it must be there.
fn no_mask(column: &Column<'_>, row: usize) -> InvalidSubmission {
    missing_value(column, row).expecting(
        "run lengths; an empty mask is a cell of one blank, since an empty cell reads as a missing one",
    )
}

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

/// The size of an image as far as it is public: where the sample tells none, no pixel is too far.
fn public_pixels(
    sides: Option<(Column<'_>, Column<'_>)>,
    sample_row: usize,
) -> Result<u64, Refusal> {
    match sides {
        Some((height, width)) => Ok(size(&height, sample_row)? * size(&width, sample_row)?),
        None => Ok(u64::MAX),
    }
}

/// Checks that all ids are text, as the reference asks of every cell.
fn text_ids(form: &Form<'_>) -> Result<(), Refusal> {
    for ids in form.submission_ids()? {
        if let Some(row) = (0..ids.len()).find(|_| !ids.is_text()) {
            return Err(not_text(&ids, row).expecting("text ids").into());
        }
    }
    Ok(())
}

/// The pixels of every image, as the options say.
fn pixels_of_all(spec: &GradingSpec) -> u64 {
    let side = |name: &str| spec.integer(name).and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    side("height") * side("width")
}

fn readable_masks(form: &Form<'_>) -> Result<(), Refusal> {
    let (prediction, pairs) = (form.prediction(0)?, form.pairs()?);
    text_ids(form)?;
    let pixels = pixels_of_all(form.spec);
    (0..pairs.submission.len()).into_par_iter().try_for_each(|k| {
        submitted_mask(&prediction, pairs.submission.at(k), pixels)?;
        Ok(())
    })
}

fn mask_iou_precision(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    text_ids(task.form())?;
    let pixels = pixels_of_all(task.spec);
    let empty = if task.spec.flag("empty_counts_as_full") {
        EmptyPrediction::CountsAsFull
    } else {
        EmptyPrediction::IsAMiss
    };
    let scores: Vec<f64> = (0..pairs.expected.len())
        .into_par_iter()
        .map(|k| {
            let (a, s) = (pairs.expected.at(k), pairs.submission.at(k));
            let predicted = submitted_mask(&prediction, s, pixels)?;
            Ok(precision_over_iou(&true_mask(&truth, a, pixels)?, &predicted, pixels, empty))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(mean(&scores))
}

/// Checks that a submitted row has the id that is expected of it and holds something.
fn filled_row(
    ids: &[(Column<'_>, Column<'_>)],
    prediction: &Column<'_>,
    expected_row: usize,
    row: usize,
) -> Result<(), InvalidSubmission> {
    if let Some((expected, found)) = ids.iter().find(|(x, y)| !same(*x, expected_row, *y, row)) {
        return Err(InvalidSubmission::new(InvalidKind::Ids, "another id belongs in this row")
            .at(row)
            .in_column(found.name())
            .with_value(found.raw(row))
            .expecting(format!("`{}`", expected.raw(expected_row))));
    }
    if prediction.is_missing(row) { Err(no_mask(prediction, row)) } else { Ok(()) }
}

fn filled_masks(form: &Form<'_>) -> Result<(), Refusal> {
    let (prediction, pairs) = (form.prediction(0)?, form.pairs()?);
    let ids: Vec<_> = form.expected_ids()?.into_iter().zip(form.submission_ids()?).collect();
    let sides = form.sample_column("height").zip(form.sample_column("width"));
    (0..pairs.submission.len()).into_par_iter().try_for_each(|k| {
        let (expected, row) = (pairs.expected.at(k), pairs.submission.at(k));
        filled_row(&ids, &prediction, expected, row)?;
        submitted_mask(&prediction, row, public_pixels(sides, expected)?)?;
        Ok(())
    })
}

fn mask_f_beta(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    let (width, height) = (task.answer("width")?, task.answer("height")?);
    let ids: Vec<_> = task.answer_ids()?.into_iter().zip(task.submission_ids()?).collect();
    let beta = task.spec.number("beta").unwrap_or(0.5);
    let scores: Vec<f64> = (0..pairs.expected.len())
        .into_par_iter()
        .map(|k| {
            let (a, s) = (pairs.expected.at(k), pairs.submission.at(k));
            filled_row(&ids, &prediction, a, s)?;
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

/// One row of a file, and the row of the answers that tells the size of its image.
#[derive(Clone, Copy)]
struct Slice {
    row: u32,
    size: u32,
}

/// What the slices of a file have: their ids, and heights and widths by rows of the answers.
#[derive(Clone, Copy)]
struct Slices<'f, 't> {
    ids: &'f Column<'t>,
    sizes: &'f [(u32, u32)],
}

/// The rows that belong together: by their ids in the strict reading; in the reference by their
/// place, up to the end of the shorter file.
struct PairedRows<'f> {
    pairs: Option<Pairs<'f>>,
    len: usize,
}

impl<'f> PairedRows<'f> {
    fn of(form: &'f Form<'_>) -> Result<Self, Refusal> {
        let pairs = match form.spec.pairing {
            Pairing::FileOrder => None,
            _ => Some(form.pairs()?),
        };
        Ok(Self { pairs, len: form.expected_count().min(form.submission.rows()) })
    }

    fn at(&self, k: usize) -> (usize, usize) {
        self.pairs.map_or((k, k), |pairs| (pairs.expected.at(k), pairs.submission.at(k)))
    }
}

/// Masks of slices that have text ids. How large the images are is not public.
fn stacked_masks(form: &Form<'_>) -> Result<(), Refusal> {
    let (prediction, ids) = (form.prediction(0)?, form.submission_ids()?[0]);
    let paired = PairedRows::of(form)?;
    let sides = form.sample_column("image_height").zip(form.sample_column("image_width"));
    (0..paired.len).into_par_iter().try_for_each(|k| {
        let (expected, row) = paired.at(k);
        submitted_mask(&prediction, row, public_pixels(sides, expected)?)?;
        text_id(&ids, row).map(drop)
    })
}

fn text_id<'t>(ids: &Column<'t>, row: usize) -> Result<&'t str, Refusal> {
    let id = ids.text(row).filter(|_| ids.is_text());
    Ok(id.ok_or_else(|| not_text(ids, row).expecting("a text id"))?)
}

fn dice_hausdorff(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction) = (task.truth(0)?, task.prediction(0)?);
    let (heights, widths) = (task.answer("image_height")?, task.answer("image_width")?);
    let (true_ids, ids) = (task.answer_ids()?[0], task.submission_ids()?[0]);
    let paired = PairedRows::of(task.form())?;
    let (rows, place) = (paired.len, |k: usize| paired.at(k));
    // An image whose pixels are numbered along its rows is the transpose of one numbered down the
    // columns.
    let (heights, widths) =
        if task.spec.flag("row_major") { (widths, heights) } else { (heights, widths) };
    let side = |column: &Column<'_>, row| size(column, row).map(|pixels| pixels as u32);
    let sizes: Vec<(u32, u32)> = (0..truth.len())
        .map(|row| Ok((side(&heights, row)?, side(&widths, row)?)))
        .collect::<Result<_, Refusal>>()?;
    let dices: Vec<Option<f64>> = (0..rows)
        .into_par_iter()
        .map(|k| {
            let (a, s) = place(k);
            let pixels = u64::from(sizes[a].0) * u64::from(sizes[a].1);
            let predicted = submitted_mask(&prediction, s, pixels)?;
            Ok(Areas::of(&true_mask(&truth, a, pixels)?, &predicted).dice())
        })
        .collect::<Result<_, Refusal>>()?;
    let mut submitted_rows = Vec::with_capacity(rows);
    for (size, row) in (0..rows).map(place) {
        text_id(&ids, row)?;
        submitted_rows.push(Slice { row: row as u32, size: size as u32 });
    }
    let mut true_rows = Vec::with_capacity(truth.len());
    for row in 0..truth.len() {
        if true_ids.text(row).filter(|_| true_ids.is_text()).is_none() {
            return Err(bad_answer(row, &true_ids, "is no text id"));
        }
        true_rows.push(Slice { row: row as u32, size: row as u32 });
    }
    let of_truth = Slices { ids: &true_ids, sizes: &sizes };
    let of_submission = Slices { ids: &ids, sizes: &sizes };
    let true_volumes = of_truth.volumes(true_rows).map_err(|slice| {
        bad_answer(slice.row as usize, &true_ids, "has another image size than its volume")
    })?;
    let predicted_volumes = of_submission.volumes(submitted_rows).map_err(|slice| {
        InvalidSubmission::new(
            InvalidKind::Ids,
            "the images of one volume have different sizes: the rows are not in the answers' order",
        )
        .at(slice.row as usize)
        .in_column(ids.name())
        .with_value(of_submission.id(slice))
        .expecting("the rows in the order of the sample submission")
    })?;
    let distances: Vec<Option<f64>> = true_volumes
        .par_iter()
        .zip(&predicted_volumes)
        .map(|(true_slices, predicted_slices)| {
            let true_volume =
                of_truth.stack(true_slices, |row, pixels| true_mask(&truth, row, pixels))?;
            let predicted_volume = of_submission.stack(predicted_slices, |row, pixels| {
                Ok(submitted_mask(&prediction, row, pixels)?)
            })?;
            Ok(unit_hausdorff(&true_volume, &predicted_volume))
        })
        .collect::<Result<_, Refusal>>()?;
    let present =
        |values: Vec<Option<f64>>| mean(&values.into_iter().flatten().collect::<Vec<_>>());
    Ok(0.4 * present(dices) + 0.6 * (1.0 - present(distances)))
}

impl<'t> Slices<'_, 't> {
    fn id(self, slice: Slice) -> &'t str {
        self.ids.raw(slice.row as usize)
    }

    fn size(self, slice: Slice) -> (u64, u64) {
        let (height, width) = self.sizes[slice.size as usize];
        (height.into(), width.into())
    }

    /// Groups rows into volumes: slices of one id in text order of the ids, volumes in order of
    /// appearance.
    ///
    /// # Errors
    /// The first row whose image size differs from that of its volume.
    fn volumes(self, mut rows: Vec<Slice>) -> Result<Vec<Vec<Slice>>, Slice> {
        rows.sort_by_key(|&slice| self.id(slice));
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut volumes: Vec<Vec<Slice>> = Vec::new();
        for slice in rows {
            let id = self.id(slice);
            let name = id.split("_slice_").next().unwrap_or(id);
            let place = *places.entry(name).or_insert(volumes.len());
            if place == volumes.len() {
                volumes.push(Vec::new());
            }
            let volume = &mut volumes[place];
            if volume.first().is_some_and(|&first| self.size(first) != self.size(slice)) {
                return Err(slice);
            }
            volume.push(slice);
        }
        Ok(volumes)
    }

    /// Decodes the rows of one volume; rows of equal id are one slice.
    fn stack(
        self,
        rows: &[Slice],
        decode: impl Fn(usize, u64) -> Result<Vec<Run>, Refusal>,
    ) -> Result<Volume, Refusal> {
        let (height, width) = self.size(rows[0]);
        let mut slices = Vec::new();
        for rows in rows.chunk_by(|&a, &b| self.id(a) == self.id(b)) {
            let mut joined = Vec::new();
            for slice in rows {
                let runs = decode(slice.row as usize, height * width)?;
                joined = if joined.is_empty() { runs } else { rle::union(&joined, &runs) };
            }
            slices.push(joined);
        }
        Ok(Volume { height, width, slices })
    }
}
