//! Overlap of two masks given as runs.

use crate::rle::{self, Run};

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
    #[must_use]
    pub fn of(a: &[Run], b: &[Run]) -> Self {
        Self { both: rle::intersection_area(a, b), sum: rle::area(a) + rle::area(b) }
    }

    /// The Dice coefficient; `None` if both masks are empty.
    #[must_use]
    pub fn dice(self) -> Option<f64> {
        (self.sum > 0).then(|| 2.0 * self.both as f64 / self.sum as f64)
    }
}

/// F-beta score of a predicted mask over its pixels; 0 if no pixel is in both, also where both
/// masks are empty.
///
/// # Source
/// scikit-learn 1.5.2 `fbeta_score` (binary, `zero_division` 0).
#[must_use]
pub fn f_beta(truth: &[Run], predicted: &[Run], beta: f64) -> f64 {
    let hits = rle::intersection_area(truth, predicted);
    if hits == 0 {
        return 0.0;
    }
    let missed = (rle::area(truth) - hits) as f64;
    let false_hits = (rle::area(predicted) - hits) as f64;
    let square = beta * beta;
    (1.0 + square) * hits as f64 / ((1.0 + square) * hits as f64 + square * missed + false_hits)
}

/// What an empty prediction for a non-empty mask is worth in [`precision_over_iou`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyPrediction {
    /// Scored as if the whole image had been predicted. The reference counts pixels in a two-bin
    /// histogram, and the bins of a constant mask put every pixel into the foreground.
    CountsAsFull,
    /// Scored as a miss: 0.
    IsAMiss,
}

/// Share of the ten IoU thresholds 0.5, 0.55, ..., 0.95 that the overlap of two masks exceeds
/// (strictly).
///
/// An empty truth scores 1 against an empty prediction and 0 against any other. `pixels` is the
/// size of the image.
///
/// # Source
/// MLE-bench `tgs-salt-identification-challenge/grade.py`, `iou_metric`. The thresholds are those
/// of numpy 1.26.4 `arange(0.5, 1.0, 0.05)`, whose step is `0.050000000000000044`.
#[must_use]
pub fn precision_over_iou(
    truth: &[Run],
    predicted: &[Run],
    pixels: u64,
    empty: EmptyPrediction,
) -> f64 {
    let (true_area, predicted_area) = (rle::area(truth), rle::area(predicted));
    let iou = match (true_area, predicted_area) {
        (0, 0) => return 1.0,
        (0, _) => return 0.0,
        (_, 0) => match empty {
            EmptyPrediction::CountsAsFull => true_area as f64 / pixels as f64,
            EmptyPrediction::IsAMiss => 0.0,
        },
        _ => {
            let common = rle::intersection_area(truth, predicted);
            common as f64 / (true_area + predicted_area - common) as f64
        }
    };
    let step = (0.5 + 0.05) - 0.5;
    (0..10).filter(|&k| iou > 0.5 + f64::from(k) * step).count() as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rle::decode;

    fn mask(text: &str) -> Vec<Run> {
        decode(text, 10_201).expect("test masks decode")
    }

    #[test]
    fn overlap_scores() {
        let (a, b) = (mask("1 10"), mask("6 10"));
        assert_eq!(Areas::of(&a, &b).dice(), Some(0.5));
        assert_eq!(Areas::of(&a, &[]).dice(), Some(0.0));
        assert_eq!(Areas::of(&[], &[]).dice(), None);
        assert_eq!(f_beta(&a, &b, 0.5), 1.25 * 5.0 / (1.25 * 5.0 + 0.25 * 5.0 + 5.0));
        assert_eq!(f_beta(&a, &a, 0.5), 1.0);
        assert_eq!(f_beta(&[], &[], 0.5), 0.0);
    }

    #[test]
    fn iou_precision_and_its_quirks() {
        let quirk = |truth: &str, predicted: &str| {
            precision_over_iou(
                &mask(truth),
                &mask(predicted),
                10_201,
                EmptyPrediction::CountsAsFull,
            )
        };
        assert_eq!(quirk("", ""), 1.0);
        assert_eq!(quirk("", "1 1"), 0.0);
        assert_eq!(quirk("1 10", "1 10"), 1.0);
        // 0.6 and 0.75 as quotients are not above their own thresholds.
        assert_eq!(quirk("1 10", "1 6"), 0.2);
        assert_eq!(quirk("1 4", "1 3"), 0.5);
        assert_eq!(quirk("1 10201", ""), 1.0);
        assert_eq!(quirk("1 6000", ""), 0.2);
        let strict = precision_over_iou(&mask("1 10201"), &[], 10_201, EmptyPrediction::IsAMiss);
        assert_eq!(strict, 0.0);
    }
}
