//! Rotated boxes in space (Lyft 3-D object detection).

use std::collections::BTreeSet;

use memchr::memchr_iter;
use rayon::prelude::*;

use super::Metric;
use super::rank::Rank;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal, bad_answer};
use crate::pytext::parse_float;
use crate::sum::mean;
use crate::table::Column;

/// Mean average precision of rotated 3-D boxes.
pub static BOX_3D_MAP: Metric = Metric {
    name: "box_3d_map",
    aliases: &["lyft_map"],
    summary: "Average precision of 3-D boxes, averaged over the sample's true classes, the samples and IoU thresholds 0.50, 0.55, ... 0.95.",
    inputs: "text: nine tokens per box (`confidence x y z width length height yaw class`), all joined by single blanks",
    source: "MLE-bench `3d-object-detection-for-autonomous-vehicles/grade.py`, Lyft's nuScenes SDK `eval_detection`",
    options: &[],
    validate: |form| {
        super::any_cells(form)?;
        let prediction = form.prediction(0)?;
        let rows = form.submitted_rows()?;
        // Which classes are true is not public, so that the boxes of all are looked at.
        (0..rows.len()).into_par_iter().try_for_each(|place| {
            let row = rows.at(place);
            let detections = submitted(&prediction, row)?;
            detections
                .iter()
                .try_for_each(|(_, detection)| Prism::new(detection.shape).map(drop))
                .map_err(|message| bad_box(&prediction, row, message))
        })
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let rows = |place| (pairs.expected.at(place), pairs.submission.at(place));
        // Every cell is read before any box is looked at, and read again then: the texts of the
        // tables are all that is kept of them.
        let places = || (0..pairs.expected.len()).into_par_iter().map(rows);
        let read = |(a, s): (usize, usize)| -> Result<_, Refusal> {
            let of_truth = Detections::of(&truth, a)
                .map_err(|_| bad_answer(a, &truth, "is no list of boxes"))?;
            Ok((of_truth, submitted(&prediction, s)?))
        };
        places().try_for_each(|rows| read(rows).map(drop))?;
        let scores: Vec<[f64; THRESHOLDS]> = places()
            .map(|rows| {
                let (of_truth, predicted) = read(rows)?;
                sample_precisions(&of_truth, &predicted)
                    .map_err(|message| bad_box(&prediction, rows.1, message))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(mean(scores.as_flattened()))
    },
};

const THRESHOLDS: usize = 10;

/// The overlap that a hit must exceed at a threshold.
fn least_iou(threshold: usize) -> f64 {
    0.5 + 0.05 * threshold as f64
}

/// A box with its class and confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection<'a> {
    /// The class, compared as text.
    pub class: &'a str,
    /// How sure the detector is; any number.
    pub confidence: f64,
    /// Centre x, y, z; width, length, height; yaw in radians.
    pub shape: [f64; 7],
}

/// The boxes of a cell, which stay text: a list of them would be several times as large.
#[derive(Clone, Copy, Debug)]
pub struct Detections<'a> {
    text: &'a str,
}

impl<'a> Detections<'a> {
    /// The boxes of a text: `confidence x y z width length height yaw class` for each, all joined
    /// by single blanks. A blank text has none.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        if text.trim_matches(crate::pytext::is_space).is_empty() {
            return Ok(Self { text: "" });
        }
        let tokens = text.split(' ').count();
        if !tokens.is_multiple_of(9) {
            return Err(format!("the cell has {tokens} tokens, not a multiple of 9"));
        }
        let numbers = text.split(' ').enumerate().filter(|(place, _)| place % 9 != 8);
        match numbers.map(|(_, token)| token).find(|token| parse_float(token).is_none()) {
            Some(token) => {
                Err(format!("`{}` is not a number", token.chars().take(40).collect::<String>()))
            }
            None => Ok(Self { text }),
        }
    }

    /// The boxes of a cell; a missing one has none.
    fn of(column: &Column<'a>, row: usize) -> Result<Self, String> {
        Self::parse(column.text(row).unwrap_or_default())
    }

    /// The boxes in order, each with the place in the text where it starts.
    pub fn iter(self) -> impl Iterator<Item = (usize, Detection<'a>)> + use<'a> {
        let mut rest = Some(self.text).filter(|text| !text.is_empty());
        std::iter::from_fn(move || {
            let text = rest?;
            let end = memchr_iter(b' ', text.as_bytes()).nth(8);
            rest = end.map(|end| &text[end + 1..]);
            Some((self.text.len() - text.len(), read_detection(text)))
        })
    }

    /// The box that starts at a place.
    fn at(self, place: usize) -> Detection<'a> {
        read_detection(&self.text[place..])
    }
}

/// The first box of a text that was checked.
fn read_detection(text: &str) -> Detection<'_> {
    let mut tokens = text.split(' ');
    let numbers = [(); 8].map(|()| tokens.next().and_then(parse_float).unwrap_or(f64::NAN));
    let [confidence, shape @ ..] = numbers;
    Detection { class: tokens.next().unwrap_or_default(), confidence, shape }
}

/// The boxes of a submitted cell.
fn submitted<'a>(column: &Column<'a>, row: usize) -> Result<Detections<'a>, Refusal> {
    let expected =
        "`confidence x y z width length height yaw class` per box, separated by single blanks";
    Ok(Detections::of(column, row).map_err(|message| {
        InvalidSubmission::new(InvalidKind::BadCell, message)
            .at(row)
            .in_column(column.name())
            .expecting(expected)
    })?)
}

fn bad_box(column: &Column<'_>, row: usize, message: String) -> Refusal {
    InvalidSubmission::new(InvalidKind::BadCell, message).at(row).in_column(column.name()).into()
}

/// A box as a footprint and a height interval.
struct Prism {
    corners: [[f64; 2]; 4],
    bottom: f64,
    top: f64,
    volume: f64,
}

impl Prism {
    fn new([x, y, z, width, length, height, yaw]: [f64; 7]) -> Result<Self, String> {
        if [x, y, z, width, length, height, yaw].iter().any(|v| v.is_nan()) {
            return Err("a box has a number that is NaN".to_owned());
        }
        if width <= 0.0 || length <= 0.0 || height <= 0.0 {
            return Err("a box has a size that is not above 0".to_owned());
        }
        let (sin, cos) = yaw.sin_cos();
        let along = [length / 2.0 * cos, length / 2.0 * sin];
        let across = [width / 2.0 * sin, -width / 2.0 * cos];
        let corner =
            |l: f64, w: f64| [x + l * along[0] + w * across[0], y + l * along[1] + w * across[1]];
        let corners = [corner(1.0, 1.0), corner(1.0, -1.0), corner(-1.0, -1.0), corner(-1.0, 1.0)];
        for k in 0..4 {
            let (before, here, after) = (corners[(k + 3) % 4], corners[k], corners[(k + 1) % 4]);
            let product = (before[0] - here[0]) * (after[0] - here[0])
                + (before[1] - here[1]) * (after[1] - here[1]);
            if product.is_nan() || product.abs() > 1e-8 {
                return Err("a box's corners form no right angles: its coordinates are too large"
                    .to_owned());
            }
        }
        Ok(Self {
            corners,
            bottom: z - height / 2.0,
            top: z + height / 2.0,
            volume: width * length * height,
        })
    }

    fn iou(&self, other: &Self) -> f64 {
        let height = (self.top.min(other.top) - self.bottom.max(other.bottom)).max(0.0);
        let intersection =
            if height > 0.0 { height * common_area(&self.corners, &other.corners) } else { 0.0 };
        (intersection / (self.volume + other.volume - intersection)).clamp(0.0, 1.0)
    }
}

/// Area common to two convex quadrilaterals: the one is cut along the sides of the other.
fn common_area(subject: &[[f64; 2]; 4], clip: &[[f64; 2]; 4]) -> f64 {
    let signed_area = |polygon: &[[f64; 2]]| -> f64 {
        // Coordinates relative to a corner keep the digits of small boxes far from the origin.
        let Some(&[x0, y0]) = polygon.first() else { return 0.0 };
        let next = polygon.iter().cycle().skip(1);
        let cross =
            |(a, b): (&[f64; 2], &[f64; 2])| (a[0] - x0) * (b[1] - y0) - (b[0] - x0) * (a[1] - y0);
        polygon.iter().zip(next).map(cross).sum::<f64>() / 2.0
    };
    let turn = signed_area(clip).signum();
    let mut polygon = subject.to_vec();
    for k in 0..4 {
        let ([ax, ay], [bx, by]) = (clip[k], clip[(k + 1) % 4]);
        let inside = |p: &[f64; 2]| turn * ((bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax));
        let mut cut = Vec::with_capacity(8);
        for (place, point) in polygon.iter().enumerate() {
            let previous = &polygon[(place + polygon.len() - 1) % polygon.len()];
            let (d0, d1) = (inside(previous), inside(point));
            if (d0 >= 0.0) != (d1 >= 0.0) {
                let t = d0 / (d0 - d1);
                cut.push([
                    previous[0] + t * (point[0] - previous[0]),
                    previous[1] + t * (point[1] - previous[1]),
                ]);
            }
            if d1 >= 0.0 {
                cut.push(*point);
            }
        }
        polygon = cut;
    }
    signed_area(&polygon).abs()
}

/// The mean over a sample's true classes of the average precision, at each IoU threshold.
///
/// Predictions of classes without truth are not looked at.
///
/// # Errors
/// Says what is wrong with a box that is looked at.
pub fn sample_precisions(
    truth: &Detections<'_>,
    predicted: &Detections<'_>,
) -> Result<[f64; THRESHOLDS], String> {
    let classes: BTreeSet<&str> = truth.iter().map(|(_, detection)| detection.class).collect();
    let mut sums = [0.0; THRESHOLDS];
    for &class in &classes {
        let true_boxes = truth
            .iter()
            .filter(|(_, detection)| detection.class == class)
            .map(|(_, detection)| Prism::new(detection.shape))
            .collect::<Result<Vec<_>, _>>()?;
        let best = ranked(predicted, class)?
            .into_iter()
            .map(|rank| Ok(best_match(&Prism::new(predicted.at(rank.place()).shape)?, &true_boxes)))
            .collect::<Result<Vec<_>, String>>()?;
        for (threshold, sum) in sums.iter_mut().enumerate() {
            *sum += average_precision(&best, true_boxes.len(), threshold);
        }
    }
    Ok(sums.map(|sum| sum / classes.len() as f64))
}

/// The boxes of a class by falling confidence, equal ones in their order and NaN last.
///
/// # Errors
/// Says what is wrong with the first that is no box.
fn ranked(boxes: &Detections<'_>, class: &str) -> Result<Vec<Rank>, String> {
    let of_class = || boxes.iter().filter(move |(_, detection)| detection.class == class);
    let mut ranks = Vec::with_capacity(of_class().count());
    for (place, detection) in of_class() {
        Prism::new(detection.shape)?;
        ranks.push(Rank::new(detection.confidence, place));
    }
    ranks.sort_unstable();
    Ok(ranks)
}

/// What a prediction overlaps most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Match {
    /// The true box.
    truth: u32,
    /// How many of the thresholds the overlap exceeds.
    thresholds: u32,
}

fn best_match(predicted: &Prism, truth: &[Prism]) -> Match {
    let mut best = (f64::NEG_INFINITY, 0);
    for (place, other) in truth.iter().enumerate() {
        let iou = predicted.iou(other);
        if iou > best.0 {
            best = (iou, place);
        }
    }
    Match::new(best.0, best.1)
}

impl Match {
    fn new(iou: f64, truth: usize) -> Self {
        let thresholds = (0..THRESHOLDS).filter(|&threshold| iou > least_iou(threshold)).count();
        Self { truth: truth as u32, thresholds: thresholds as u32 }
    }
}

/// Average precision with interpolated precisions; `best`: each prediction's match, by falling
/// confidence.
fn average_precision(best: &[Match], truths: usize, threshold: usize) -> f64 {
    let mut taken = vec![false; truths];
    let is_hit: Vec<bool> = best
        .iter()
        .map(|best| {
            best.thresholds as usize > threshold
                && !std::mem::replace(&mut taken[best.truth as usize], true)
        })
        .collect();
    // From the last prediction to the first, so that the best precision from here on is known.
    let mut hits = is_hit.iter().filter(|&&hit| hit).count();
    let (mut precision, mut area) = (0.0_f64, 0.0);
    for (place, &is_hit) in is_hit.iter().enumerate().rev() {
        precision = precision.max(hits as f64 / (place + 1) as f64);
        let recall = hits as f64 / truths as f64;
        hits -= usize::from(is_hit);
        area += (recall - hits as f64 / truths as f64) * precision;
    }
    area
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

    use super::*;

    fn iou(a: [f64; 7], b: [f64; 7]) -> f64 {
        Prism::new(a).unwrap().iou(&Prism::new(b).unwrap())
    }

    #[test]
    fn overlaps_of_rotated_boxes() {
        let unit = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        assert!((iou(unit, unit) - 1.0).abs() < 1e-12);
        assert!((iou(unit, [0.5, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(iou(unit, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]), 0.0);
        // A square turned by 45 degrees shares a regular octagon with itself.
        let octagon = 2.0 * (2.0_f64.sqrt() - 1.0);
        assert!(
            (iou(unit, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, FRAC_PI_4]) - octagon / (2.0 - octagon))
                .abs()
                < 1e-12
        );
        let (a, b) =
            ([3.0, 4.0, 0.0, 2.0, 5.0, 1.0, 0.0], [3.0, 4.0, 0.0, 5.0, 2.0, 1.0, FRAC_PI_2]);
        assert!((iou(a, b) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn broken_boxes_are_refused() {
        assert!(Prism::new([f64::NAN, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]).is_err());
        assert!(Prism::new([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]).is_err());
        assert!(Prism::new([1e12, 0.0, 0.0, 1.3, 1.7, 1.0, 0.3]).is_err());
        assert!(Prism::new([f64::INFINITY, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]).is_err());
    }

    #[test]
    fn precision_is_interpolated() {
        // Hit, miss, hit of two boxes: the second step has precision 2/3.
        let best = [(0.9, 0), (0.1, 0), (0.8, 1)].map(|(iou, truth)| Match::new(iou, truth));
        assert!((average_precision(&best, 2, 0) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        // A second prediction of a taken box is a miss.
        assert_eq!(average_precision(&[Match::new(0.9, 0); 2], 1, 0), 1.0);
        assert_eq!(average_precision(&[], 1, 0), 0.0);
    }
}
