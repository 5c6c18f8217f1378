//! Detection: predicted boxes are matched to true boxes, and the matches ranked by confidence.

mod coco;
mod labelled;

use std::cmp::Ordering;
use std::collections::HashMap;

use rayon::prelude::*;

pub use coco::{CocoBox, CocoOptions, coco_map};
pub use labelled::{Corners, DetectionError, LabelledBox, average_precision, labelled_map};

use super::{Metric, MetricOption, OptionKind};
use crate::check::missing_value;
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::{parse_float, split_words};
use crate::table::Column;
use crate::task::{Task, bad_answer};

/// Mean average precision of labelled boxes.
pub static LABELLED_BOX_MAP: Metric = Metric {
    name: "labelled_box_map",
    aliases: &["map_iou_50"],
    summary: "Mean over classes of the average precision (not interpolated) of boxes that overlap a true box by more than half.",
    inputs: "one text column of groups `label confidence x_min y_min x_max y_max` separated by white space",
    source: "MLE-bench `siim-covid19-detection/grade.py`; scikit-learn 1.5.2 `average_precision_score`",
    options: &[],
    score: labelled_box_map,
};

/// COCO's mean average precision.
pub static COCO_BOX_MAP: Metric = Metric {
    name: "coco_box_map",
    aliases: &["coco_map"],
    summary: "COCO mean average precision of boxes at one IoU threshold, read off at 101 recall values.",
    inputs: "one text column of groups `class score x_min y_min x_max y_max` separated by single spaces; the answers hold one box a row \
             in `class_id`, `x_min`, `y_min`, `x_max`, `y_max`",
    source: "pycocotools 2.0.11 `COCOeval`; MLE-bench `vinbigdata-chest-xray-abnormalities-detection/grade.py`",
    options: &[
        MetricOption {
            name: "min_iou",
            kind: OptionKind::Number,
            required: true,
            doc: "Least overlap of a match.",
        },
        MetricOption {
            name: "max_boxes",
            kind: OptionKind::Integer,
            required: false,
            doc: "Most boxes of one class in one image that count. Default 100.",
        },
        MetricOption {
            name: "corners_as_sizes",
            kind: OptionKind::Flag,
            required: false,
            doc: "Whether `x_max` and `y_max` are taken as width and height. Default false.",
        },
        MetricOption {
            name: "zero_is_unmatched",
            kind: OptionKind::Flag,
            required: false,
            doc: "Whether a match with the first true box of all, or of the first predicted box of all, is not recorded. Default false.",
        },
    ],
    score: coco_box_map,
};

/// Higher scores first, NaN last.
fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The verdict that a cell does not hold groups of six.
fn bad_boxes(column: &Column<'_>, row: usize, what: String, expected: &str) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::BadCell, what)
        .at(row)
        .in_column(column.name())
        .with_value(column.raw(row))
        .expecting(expected)
}

/// The text of a cell that has to be text.
fn boxes_text<'t>(
    column: &Column<'t>,
    row: usize,
    expected: &str,
) -> Result<&'t str, InvalidSubmission> {
    if column.is_missing(row) {
        Err(missing_value(column, row))
    } else if column.is_text() {
        Ok(column.raw(row))
    } else {
        let column_is_numeric = InvalidSubmission::new(
            InvalidKind::NotText,
            "the column reads as numbers, not as boxes",
        );
        Err(column_is_numeric
            .at(row)
            .in_column(column.name())
            .with_value(column.raw(row))
            .expecting(expected))
    }
}

const LABELLED_FORM: &str =
    "groups of `label confidence x_min y_min x_max y_max`, separated by spaces";

/// Reads the boxes of one cell.
fn labelled_boxes<'t>(
    column: &Column<'t>,
    row: usize,
) -> Result<Vec<LabelledBox<'t>>, InvalidSubmission> {
    let tokens: Vec<&str> = split_words(boxes_text(column, row, LABELLED_FORM)?).collect();
    if !tokens.len().is_multiple_of(6) {
        return Err(bad_boxes(
            column,
            row,
            format!("the cell has {} tokens, no multiple of six", tokens.len()),
            LABELLED_FORM,
        ));
    }
    let mut boxes = Vec::with_capacity(tokens.len() / 6);
    for group in tokens.chunks_exact(6) {
        let mut numbers = [0.0; 5];
        for (number, token) in numbers.iter_mut().zip(&group[1..]) {
            let bad = || {
                bad_boxes(
                    column,
                    row,
                    format!("`{}` is no number", shortened(token)),
                    LABELLED_FORM,
                )
            };
            *number = parse_float(token).ok_or_else(bad)?;
        }
        let [confidence, corners @ ..] = numbers;
        boxes.push(LabelledBox { label: group[0], confidence, corners });
    }
    Ok(boxes)
}

/// The first characters of a token, for messages.
fn shortened(token: &str) -> String {
    token.chars().take(32).collect()
}

fn labelled_box_map(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    let rows: Vec<(usize, usize)> = pairs.answers.iter().zip(pairs.submission.iter()).collect();
    let boxes: Vec<(Vec<LabelledBox<'_>>, Vec<LabelledBox<'_>>)> = rows
        .par_iter()
        .map(|&(a, s)| {
            let predicted = labelled_boxes(&prediction, s)?;
            let bad = |error: InvalidSubmission| AnswersError::BadValue {
                row: a + 1,
                message: error.message,
            };
            Ok((labelled_boxes(&truth, a).map_err(bad)?, predicted))
        })
        .collect::<Result<_, Refusal>>()?;
    let (of_truth, of_prediction): (Vec<_>, Vec<_>) = boxes.into_iter().unzip();
    labelled_map(&of_truth, &of_prediction).map_err(|error| {
        let kind = match error {
            DetectionError::NotFinite { .. } => InvalidKind::NotFinite,
            DetectionError::NoNegative { .. } => InvalidKind::Undefined,
        };
        let invalid = InvalidSubmission::new(kind, error.to_string()).in_column(prediction.name());
        match error {
            DetectionError::NotFinite { image, .. } => invalid.at(rows[image].1).into(),
            DetectionError::NoNegative { .. } => invalid.into(),
        }
    })
}

const COCO_FORM: &str =
    "groups of `class score x_min y_min x_max y_max`, separated by single spaces";

/// An id as a key that is equal where the ids are.
#[derive(PartialEq, Eq, Hash)]
enum Key<'t> {
    Text(&'t str),
    /// The bits of a double, both zeros alike.
    Number(u64),
}

fn key<'t>(column: &Column<'t>, row: usize) -> Key<'t> {
    match column.number(row) {
        Some(number) if !column.is_text() => Key::Number((number + 0.0).to_bits()),
        _ => Key::Text(column.raw(row)),
    }
}

fn coco_box_map(task: &Task<'_>) -> Result<f64, Refusal> {
    let prediction = task.prediction(0)?;
    let (true_ids, ids) = (task.answer_ids()?[0], task.submission_ids()?[0]);
    let as_sizes = task.flag("corners_as_sizes");
    let located =
        |image: usize, class: f64, score: f64, [x_min, y_min, x_max, y_max]: Corners| CocoBox {
            image,
            class,
            score,
            rect: if as_sizes {
                [x_min, y_min, x_max, y_max]
            } else {
                [x_min, y_min, x_max - x_min, y_max - y_min]
            },
            area: (x_max - x_min) * (y_max - y_min),
        };
    let columns = ["class_id", "x_min", "y_min", "x_max", "y_max"];
    let columns = columns.iter().map(|name| task.answer(name)).collect::<Result<Vec<_>, _>>()?;
    let mut images: HashMap<Key<'_>, usize> = HashMap::new();
    let mut truth = Vec::with_capacity(true_ids.len());
    for row in 0..true_ids.len() {
        let next = images.len();
        let image = *images.entry(key(&true_ids, row)).or_insert(next);
        let mut values = [0.0; 5];
        for (value, column) in values.iter_mut().zip(&columns) {
            *value = column
                .number(row)
                .filter(|v| !v.is_nan())
                .ok_or_else(|| bad_answer(row, column, "is no number"))?;
        }
        let [class, corners @ ..] = values;
        truth.push(located(image, class, 0.0, corners));
    }
    // The reference numbers true boxes image by image; a stable sort gives the same order.
    truth.sort_by_key(|b| b.image);
    let mut predicted = Vec::new();
    for row in 0..prediction.len() {
        let text = boxes_text(&prediction, row, COCO_FORM)?;
        let unknown = || {
            InvalidSubmission::new(InvalidKind::Ids, "the image is not one of the answers'")
                .at(row)
                .in_column(ids.name())
        };
        let image = *images.get(&key(&ids, row)).ok_or_else(unknown)?;
        let mut group = [0.0; 6];
        let mut filled = 0;
        for token in text.split(' ') {
            let bad = || {
                bad_boxes(
                    &prediction,
                    row,
                    format!("`{}` is no number", shortened(token)),
                    COCO_FORM,
                )
            };
            group[filled] = parse_float(token).ok_or_else(bad)?;
            filled = (filled + 1) % 6;
            if filled == 0 {
                let [class, score, corners @ ..] = group;
                if !class.is_finite() {
                    return Err(bad_boxes(
                        &prediction,
                        row,
                        format!("`{class}` is no class"),
                        COCO_FORM,
                    )
                    .into());
                }
                predicted.push(located(image, class.trunc() + 0.0, score, corners));
            }
        }
        if filled != 0 {
            return Err(bad_boxes(
                &prediction,
                row,
                "the number of tokens is no multiple of six".to_owned(),
                COCO_FORM,
            )
            .into());
        }
    }
    let options = CocoOptions {
        min_iou: task.number("min_iou").unwrap_or(0.5),
        max_boxes: task.integer("max_boxes").and_then(|v| usize::try_from(v).ok()).unwrap_or(100),
        area_range: [0.0, 1e10],
        zero_is_unmatched: task.flag("zero_is_unmatched"),
    };
    Ok(coco_map(&truth, &predicted, &options))
}
