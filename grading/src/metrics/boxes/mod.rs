//! Detection: predicted boxes are matched to true boxes, and the matches ranked by confidence.

mod coco;
mod labelled;

use std::cmp::Ordering;
use std::collections::HashMap;

use memchr::memchr_iter;
use rayon::prelude::*;

pub use coco::{CocoBox, CocoOptions, Place, PredictedBoxes, coco_map};
pub use labelled::{
    Corners, DetectionError, LabelledBox, LabelledBoxes, average_precision, labelled_map,
};

use super::{Metric, MetricOption, OptionKind};
use crate::form::Form;
use crate::ids::Rows;
use crate::invalid::{
    AnswersError, InvalidKind, InvalidSubmission, Refusal, bad_answer, missing_value,
};
use crate::pytext::parse_float;
use crate::table::Column;
use crate::task::Task;

/// Mean average precision of labelled boxes.
pub static LABELLED_BOX_MAP: Metric = Metric {
    name: "labelled_box_map",
    aliases: &["map_iou_50"],
    summary: "Mean over classes of the average precision (not interpolated) of boxes that overlap a true box by more than half.",
    inputs: "one text column of groups `label confidence x_min y_min x_max y_max` separated by white space",
    source: "MLE-bench `siim-covid19-detection/grade.py`; scikit-learn 1.5.2 `average_precision_score`",
    options: &[],
    validate: readable_boxes,
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
    validate: |form| {
        let images = numbered_images(&form.expected_ids()?[0]);
        predicted_images(form, &images).map(drop)
    },
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

/// The boxes of one cell.
fn labelled_boxes<'t>(
    column: &Column<'t>,
    row: usize,
) -> Result<LabelledBoxes<'t>, InvalidSubmission> {
    LabelledBoxes::parse(boxes_text(column, row, LABELLED_FORM)?)
        .map_err(|what| bad_boxes(column, row, what, LABELLED_FORM))
}

/// The first characters of a token, for messages.
fn shortened(token: &str) -> String {
    token.chars().take(32).collect()
}

/// Boxes that can be read. Which classes are true is not public, so that all must have a finite
/// confidence.
fn readable_boxes(form: &Form<'_>) -> Result<(), Refusal> {
    let (prediction, rows) = (form.prediction(0)?, form.submitted_rows()?);
    (0..rows.len()).into_par_iter().try_for_each(|place| {
        labelled_boxes(&prediction, rows.at(place))?
            .check_finite(place)
            .map_err(|error| bad_detection(&prediction, &rows, error))
    })
}

fn labelled_box_map(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    let boxes: Vec<(LabelledBoxes<'_>, LabelledBoxes<'_>)> = (0..pairs.expected.len())
        .into_par_iter()
        .map(|place| {
            let a = pairs.expected.at(place);
            let predicted = labelled_boxes(&prediction, pairs.submission.at(place))?;
            let bad = |error: InvalidSubmission| AnswersError::BadValue {
                row: a + 1,
                message: error.message.into_string(),
            };
            Ok((labelled_boxes(&truth, a).map_err(bad)?, predicted))
        })
        .collect::<Result<_, Refusal>>()?;
    let (of_truth, of_prediction): (Vec<_>, Vec<_>) = boxes.into_iter().unzip();
    labelled_map(&of_truth, &of_prediction)
        .map_err(|error| bad_detection(&prediction, pairs.submission, error))
}

/// The verdict that detections cannot be ranked.
fn bad_detection(column: &Column<'_>, rows: &Rows, error: DetectionError) -> Refusal {
    let kind = match error {
        DetectionError::NotFinite { .. } => InvalidKind::NotFinite,
        DetectionError::NoNegative { .. } => InvalidKind::Undefined,
    };
    let invalid = InvalidSubmission::new(kind, error.to_string()).in_column(column.name());
    match error {
        DetectionError::NotFinite { image, .. } => invalid.at(rows.at(image)).into(),
        DetectionError::NoNegative { .. } => invalid.into(),
    }
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

/// The images of an id column, numbered from 0 in order of appearance.
fn numbered_images<'t>(ids: &Column<'t>) -> HashMap<Key<'t>, u32> {
    let mut images = HashMap::new();
    for row in 0..ids.len() {
        let next = images.len() as u32;
        images.entry(key(ids, row)).or_insert(next);
    }
    images
}

/// The images and rows of the submission, in the order of the images; every cell is read once.
///
/// # Errors
/// The first row of an unknown image, or whose cell does not hold groups of six numbers.
fn predicted_images(
    form: &Form<'_>,
    images: &HashMap<Key<'_>, u32>,
) -> Result<Vec<(u32, u32)>, Refusal> {
    let (prediction, ids) = (form.prediction(0)?, form.submission_ids()?[0]);
    let mut rows = Vec::with_capacity(prediction.len());
    for row in 0..prediction.len() {
        let text = boxes_text(&prediction, row, COCO_FORM)?;
        let unknown = || {
            InvalidSubmission::new(InvalidKind::Ids, "the image is not one of the test set's")
                .at(row)
                .in_column(ids.name())
        };
        let image = *images.get(&key(&ids, row)).ok_or_else(unknown)?;
        check_coco_boxes(text).map_err(|what| bad_boxes(&prediction, row, what, COCO_FORM))?;
        rows.push((image, row as u32));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Checks that a cell is groups of six numbers, the first of which is a class.
fn check_coco_boxes(text: &str) -> Result<(), String> {
    let mut filled = 0;
    let mut class = 0.0_f64;
    for token in text.split(' ') {
        let number =
            parse_float(token).ok_or_else(|| format!("`{}` is no number", shortened(token)))?;
        if filled == 0 {
            class = number;
        }
        filled = (filled + 1) % 6;
        if filled == 0 && !class.is_finite() {
            return Err(format!("`{class}` is no class"));
        }
    }
    match filled {
        0 => Ok(()),
        _ => Err("the number of tokens is no multiple of six".to_owned()),
    }
}

/// How the corners of a box are taken.
#[derive(Clone, Copy)]
struct Layout {
    as_sizes: bool,
}

impl Layout {
    fn coco_box(
        self,
        image: u32,
        class: f64,
        score: f64,
        [x_min, y_min, x_max, y_max]: Corners,
    ) -> CocoBox {
        let rect = if self.as_sizes {
            [x_min, y_min, x_max, y_max]
        } else {
            [x_min, y_min, x_max - x_min, y_max - y_min]
        };
        CocoBox { image, class, score, rect, area: (x_max - x_min) * (y_max - y_min) }
    }
}

/// The boxes of a submission, which stay text until they are looked at.
struct SubmittedBoxes<'t> {
    column: Column<'t>,
    /// Images and rows, in order.
    rows: Vec<(u32, u32)>,
    layout: Layout,
}

impl SubmittedBoxes<'_> {
    /// The box at the start of a text that was checked.
    fn read(&self, image: u32, text: &str) -> CocoBox {
        let mut tokens = text.split(' ');
        let numbers = [(); 6].map(|()| tokens.next().and_then(parse_float).unwrap_or(f64::NAN));
        let [class, score, corners @ ..] = numbers;
        self.layout.coco_box(image, class.trunc() + 0.0, score, corners)
    }
}

impl PredictedBoxes for SubmittedBoxes<'_> {
    fn of_image(&self, image: u32, visit: &mut dyn FnMut(Place, CocoBox)) {
        let from = self.rows.partition_point(|&(other, _)| other < image);
        for &(_, row) in self.rows[from..].iter().take_while(|&&(other, _)| other == image) {
            let text = self.column.raw(row as usize);
            let mut start = 0;
            loop {
                let place = Place { list: row, at: start as u32 };
                visit(place, self.read(image, &text[start..]));
                match memchr_iter(b' ', &text.as_bytes()[start..]).nth(5) {
                    Some(end) => start += end + 1,
                    None => break,
                }
            }
        }
    }

    fn at(&self, image: u32, place: Place) -> CocoBox {
        self.read(image, &self.column.raw(place.list as usize)[place.at as usize..])
    }
}

fn coco_box_map(task: &Task<'_>) -> Result<f64, Refusal> {
    let ids = task.answer_ids()?[0];
    let layout = Layout { as_sizes: task.spec.flag("corners_as_sizes") };
    let columns = ["class_id", "x_min", "y_min", "x_max", "y_max"];
    let columns = columns.iter().map(|name| task.answer(name)).collect::<Result<Vec<_>, _>>()?;
    let images = numbered_images(&ids);
    // The reference numbers true boxes image by image.
    let mut order: Vec<(u32, u32)> =
        (0..ids.len()).map(|row| (images[&key(&ids, row)], row as u32)).collect();
    order.sort_unstable();
    let mut truth = Vec::with_capacity(ids.len());
    for (image, row) in order {
        let row = row as usize;
        let mut values = [0.0; 5];
        for (value, column) in values.iter_mut().zip(&columns) {
            *value = column
                .number(row)
                .filter(|v| !v.is_nan())
                .ok_or_else(|| bad_answer(row, column, "is no number"))?;
        }
        let [class, corners @ ..] = values;
        truth.push(layout.coco_box(image, class, 0.0, corners));
    }
    let rows = predicted_images(task.form(), &images)?;
    let predicted = SubmittedBoxes { column: task.prediction(0)?, rows, layout };
    let options = CocoOptions {
        min_iou: task.spec.number("min_iou").unwrap_or(0.5),
        max_boxes: task
            .spec
            .integer("max_boxes")
            .and_then(|v| usize::try_from(v).ok())
            .unwrap_or(100),
        area_range: [0.0, 1e10],
        zero_is_unmatched: task.spec.flag("zero_is_unmatched"),
    };
    Ok(coco_map(&truth, &predicted, &options))
}
