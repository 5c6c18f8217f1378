//! Dice coefficients of run-length encoded masks.

use rayon::prelude::*;

use super::overlap::Areas;
use super::{public_pixels, size, submitted_mask, true_mask};
use crate::invalid::{InvalidSubmission, Refusal, bad_answer, missing_value};
use crate::metrics::{Metric, MetricOption, OptionKind};
use crate::rle::Run;
use crate::sum::mean;
use crate::table::Column;

/// Dice coefficient of masks, pooled or averaged over images.
pub static DICE: Metric = Metric {
    name: "dice",
    aliases: &["dice_coefficient"],
    summary: "2 |P and T| / (|P| + |T|) of masks, over all pixels together or as a mean over images (1 where both are empty).",
    inputs: "one text column of run lengths (pairs of a 1-based start and a length); the answers also have each image's height and width",
    source: "MLE-bench `google-research-identify-contrails-reduce-global-warming` and `hubmap-kidney-segmentation`",
    options: &[
        MetricOption {
            name: "height",
            kind: OptionKind::Text,
            required: true,
            doc: "the answers' column with the image's height",
        },
        MetricOption {
            name: "width",
            kind: OptionKind::Text,
            required: true,
            doc: "the answers' column with the image's width",
        },
        MetricOption {
            name: "empty",
            kind: OptionKind::Text,
            required: false,
            doc: "a cell that stands for the empty mask; a missing cell is refused then",
        },
        MetricOption {
            name: "per_image",
            kind: OptionKind::Flag,
            required: false,
            doc: "mean over images instead of all pixels together (the default)",
        },
    ],
    validate: |form| {
        let (prediction, pairs) = (form.prediction(0)?, form.pairs()?);
        let side = |option: &str| form.sample_column(form.spec.text(option).unwrap_or(option));
        let (height, width, empty) = (side("height"), side("width"), form.spec.text("empty"));
        (0..pairs.submission.len()).into_par_iter().try_for_each(|k| {
            let expected = pairs.expected.at(k);
            let pixels = public_pixels(height.zip(width), expected)?;
            predicted_mask(&prediction, pairs.submission.at(k), pixels, empty)?;
            Ok(())
        })
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let side = |option: &str| task.answer(task.spec.text(option).unwrap_or(option));
        let (height, width, empty) = (side("height")?, side("width")?, task.spec.text("empty"));
        let areas = |(a, s): (usize, usize)| {
            let pixels = size(&height, a)? * size(&width, a)?;
            let of_truth = match empty {
                Some(_) if truth.is_missing(a) => return Err(bad_answer(a, &truth, "is no mask")),
                Some(empty) if truth.raw(a) == empty => Vec::new(),
                _ => true_mask(&truth, a, pixels)?,
            };
            Ok(Areas::of(&of_truth, &predicted_mask(&prediction, s, pixels, empty)?))
        };
        let rows = (0..pairs.expected.len()).into_par_iter();
        let rows = rows.map(|k| (pairs.expected.at(k), pairs.submission.at(k)));
        let areas: Vec<Areas> = rows.map(areas).collect::<Result<_, Refusal>>()?;
        if task.spec.flag("per_image") {
            let scores: Vec<f64> = areas.iter().map(|areas| areas.dice().unwrap_or(1.0)).collect();
            return Ok(mean(&scores));
        }
        let total = areas.iter().fold(Areas::default(), |sum, areas| Areas {
            both: sum.both + areas.both,
            sum: sum.sum + areas.sum,
        });
        Ok(total.dice().unwrap_or(f64::NAN))
    },
};

/// Decodes a submitted cell, which may be the word for an empty mask.
fn predicted_mask(
    prediction: &Column<'_>,
    row: usize,
    pixels: u64,
    empty: Option<&str>,
) -> Result<Vec<Run>, InvalidSubmission> {
    match empty {
        Some(empty) if prediction.is_missing(row) => Err(missing_value(prediction, row)
            .expecting(format!("run lengths, or `{empty}` for an empty mask"))),
        Some(empty) if prediction.raw(row) == empty => Ok(Vec::new()),
        _ => submitted_mask(prediction, row, pixels),
    }
}
