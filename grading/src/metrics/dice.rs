//! Dice coefficients of run-length encoded masks.

use super::{Metric, MetricOption, OptionKind};
use crate::check::missing_value;
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::rle::{self, Run};
use crate::sum::mean;
use crate::table::Column;
use crate::task::{Task, bad_answer};

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
    score: |task| {
        let pairs = task.pairs()?;
        let areas: Result<Vec<Areas>, Refusal> =
            pairs.answers.iter().zip(pairs.submission.iter()).map(|(a, s)| areas(task, a, s)).collect();
        let areas = areas?;
        if task.flag("per_image") {
            let scores: Vec<f64> = areas.iter().map(|areas| areas.dice().unwrap_or(1.0)).collect();
            return Ok(mean(&scores));
        }
        let total = areas
            .iter()
            .fold(Areas::default(), |sum, areas| Areas { both: sum.both + areas.both, sum: sum.sum + areas.sum });
        Ok(total.dice().unwrap_or(f64::NAN))
    },
};

/// Sizes of two masks: pixels in both, and the sum of their pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// Pixels set in both.
    pub both: u64,
    /// Pixels of the one plus pixels of the other.
    pub sum: u64,
}

impl Areas {
    /// The sizes for two masks as [`rle::decode`] gives them.
    pub fn of(a: &[Run], b: &[Run]) -> Self {
        let size = |runs: &[Run]| runs.iter().map(|run| run.end - run.start).sum::<u64>();
        Self { both: rle::intersection_area(a, b), sum: size(a) + size(b) }
    }

    /// The Dice coefficient; `None` if both masks are empty.
    pub fn dice(self) -> Option<f64> {
        (self.sum > 0).then(|| 2.0 * self.both as f64 / self.sum as f64)
    }
}

fn areas(task: &Task<'_>, a: usize, s: usize) -> Result<Areas, Refusal> {
    let (truth, prediction) = (task.truth(0)?, task.prediction(0)?);
    let empty = task.option_text("empty");
    let pixels = side(task, "height", a)? * side(task, "width", a)?;
    let runs = |column: &Column<'_>, row| match (column.text(row), empty) {
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err(missing_value(column, row)),
        (Some(cell), Some(empty)) if cell == empty => Ok(Vec::new()),
        (Some(cell), _) => rle::decode(cell, pixels).map_err(|error| {
            InvalidSubmission::new(InvalidKind::BadCell, format!("the mask cannot be decoded: {error}"))
                .at(row)
                .in_column(column.name())
                .with_value(cell)
                .expecting("run lengths: pairs of a start and a length")
        }),
    };
    let truth = runs(&truth, a).map_err(|_| bad_answer(a, &truth, "is no mask"))?;
    Ok(Areas::of(&truth, &runs(&prediction, s)?))
}

fn side(task: &Task<'_>, option: &str, row: usize) -> Result<u64, Refusal> {
    let column = task.answer(task.option_text(option).unwrap_or(option))?;
    let value = column.number(row).filter(|value| (0.0..4e9).contains(value));
    value.map(|value| value as u64).ok_or_else(|| {
        AnswersError::BadValue { row: row + 1, message: format!("`{}` is no image size", column.raw(row)) }.into()
    })
}
