//! Rotated boxes in space (Lyft 3-D object detection).

use rayon::prelude::*;

use super::Metric;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::parse_float;
use crate::sum::mean;
use crate::table::Column;
use crate::task::bad_answer;

/// Mean average precision of rotated 3-D boxes.
pub static BOX_3D_MAP: Metric = Metric {
    name: "box_3d_map",
    aliases: &["lyft_map"],
    summary: "Average precision of 3-D boxes, averaged over the sample's true classes, the samples and IoU thresholds 0.50, 0.55, ... 0.95.",
    inputs: "text: nine tokens per box (`confidence x y z width length height yaw class`), all joined by single blanks",
    source: "MLE-bench `3d-object-detection-for-autonomous-vehicles/grade.py`, Lyft's nuScenes SDK `eval_detection`",
    options: &[],
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        // Every cell is read before any box is looked at.
        let samples: Vec<(Vec<Detection<'_>>, Vec<Detection<'_>>)> = (0..pairs.answers.len())
            .into_par_iter()
            .map(|place| {
                let a = pairs.answers.at(place);
                let truth = detections(&truth, a)
                    .map_err(|_| bad_answer(a, &truth, "is no list of boxes"))?;
                Ok((truth, detections(&prediction, pairs.submission.at(place))?))
            })
            .collect::<Result<_, Refusal>>()?;
        let scores: Vec<[f64; THRESHOLDS]> = samples
            .par_iter()
            .enumerate()
            .map(|(place, (truth, predicted))| {
                sample_precisions(truth, predicted).map_err(|message| {
                    let row = pairs.submission.at(place);
                    InvalidSubmission::new(InvalidKind::BadCell, message)
                        .at(row)
                        .in_column(prediction.name())
                        .into()
                })
            })
            .collect::<Result<_, Refusal>>()?;
        let all: Vec<f64> = scores.into_iter().flatten().collect();
        Ok(mean(&all))
    },
};

const THRESHOLDS: usize = 10;

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

/// Reads the boxes of a cell; a missing or blank cell has none.
fn detections<'a>(column: &Column<'a>, row: usize) -> Result<Vec<Detection<'a>>, Refusal> {
    let Some(text) = column.text(row) else { return Ok(Vec::new()) };
    if text.trim_matches(crate::pytext::is_space).is_empty() {
        return Ok(Vec::new());
    }
    let bad = |message: String| -> Refusal {
        InvalidSubmission::new(InvalidKind::BadCell, message)
            .at(row)
            .in_column(column.name())
            .expecting("`confidence x y z width length height yaw class` per box, separated by single blanks")
            .into()
    };
    let tokens: Vec<&str> = text.split(' ').collect();
    if !tokens.len().is_multiple_of(9) {
        return Err(bad(format!("the cell has {} tokens, not a multiple of 9", tokens.len())));
    }
    let one = |tokens: &[&'a str]| {
        let mut numbers = [0.0; 8];
        for (number, token) in numbers.iter_mut().zip(tokens) {
            *number = parse_float(token).ok_or_else(|| {
                bad(format!("`{}` is not a number", token.chars().take(40).collect::<String>()))
            })?;
        }
        let [confidence, shape @ ..] = numbers;
        Ok(Detection { class: tokens[8], confidence, shape })
    };
    tokens.chunks_exact(9).map(one).collect()
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
    truth: &[Detection<'_>],
    predicted: &[Detection<'_>],
) -> Result<[f64; THRESHOLDS], String> {
    let mut classes: Vec<&str> = truth.iter().map(|d| d.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let mut sums = [0.0; THRESHOLDS];
    for &class in &classes {
        let of_class = |boxes: &[Detection<'_>]| {
            boxes
                .iter()
                .filter(|d| d.class == class)
                .map(|d| Prism::new(d.shape))
                .collect::<Result<Vec<_>, _>>()
        };
        let (true_boxes, boxes) = (of_class(truth)?, of_class(predicted)?);
        let confidences: Vec<f64> =
            predicted.iter().filter(|d| d.class == class).map(|d| d.confidence).collect();
        // Falling confidence; the sort is stable, and NaN stays where a comparison leaves it: last.
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by(|&a, &b| {
            crate::medal::Direction::Higher.compare(confidences[a], confidences[b])
        });
        let best: Vec<(f64, usize)> = order
            .iter()
            .map(|&k| {
                let mut best = (f64::NEG_INFINITY, 0);
                for (place, other) in true_boxes.iter().enumerate() {
                    let iou = boxes[k].iou(other);
                    if iou > best.0 {
                        best = (iou, place);
                    }
                }
                best
            })
            .collect();
        for (step, sum) in sums.iter_mut().enumerate() {
            *sum += average_precision(&best, true_boxes.len(), 0.5 + 0.05 * step as f64);
        }
    }
    Ok(sums.map(|sum| sum / classes.len() as f64))
}

/// Average precision with interpolated precisions; `best`: each prediction's best IoU and true box,
/// by falling confidence.
fn average_precision(best: &[(f64, usize)], truths: usize, threshold: f64) -> f64 {
    if best.is_empty() {
        return 0.0;
    }
    let mut taken = vec![false; truths];
    let mut hits = 0_usize;
    let mut points = Vec::with_capacity(best.len() + 1);
    for (place, &(iou, truth)) in best.iter().enumerate() {
        if iou > threshold && !std::mem::replace(&mut taken[truth], true) {
            hits += 1;
        }
        points.push((hits as f64 / truths as f64, hits as f64 / (place + 1) as f64));
    }
    let mut precision = 0.0_f64;
    let mut area = 0.0;
    for place in (0..points.len()).rev() {
        precision = precision.max(points[place].1);
        let before = if place == 0 { 0.0 } else { points[place - 1].0 };
        area += (points[place].0 - before) * precision;
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
        let best = [(0.9, 0), (0.1, 0), (0.8, 1)];
        assert!((average_precision(&best, 2, 0.5) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        // A second prediction of a taken box is a miss.
        assert_eq!(average_precision(&[(0.9, 0), (0.9, 0)], 1, 0.5), 1.0);
        assert_eq!(average_precision(&[], 1, 0.5), 0.0);
    }
}
