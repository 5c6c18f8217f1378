//! Boxes with text labels, matched by confidence, and average precision without interpolation.

/// Average precision of ranked decisions: the sum over distinct scores of (recall step) x
/// (precision).
///
/// `hits`: `[n]`, whether each item is a positive. `scores`: `[n]`, finite, higher ranks first;
/// equal scores enter together. No interpolation. 0 if nothing is positive.
///
/// # Source
/// scikit-learn 1.5.2 `average_precision_score` (binary).
#[must_use]
pub fn average_precision(hits: &[bool], scores: &[f64]) -> f64 {
    let positives = hits.iter().filter(|&&hit| hit).count();
    if positives == 0 {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_by(|&a, &b| super::descending(scores[a], scores[b]));
    let (mut found, mut seen, mut total) = (0_usize, 0_usize, 0.0);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let gained = group.iter().filter(|&&item| hits[item]).count();
        found += gained;
        seen += group.len();
        if gained > 0 {
            total += (found as f64 / seen as f64) * (gained as f64 / positives as f64);
        }
    }
    total
}

/// A box by its corners, as its text gives them: `x_min, y_min, x_max, y_max`. The corners need not
/// be in order.
pub type Corners = [f64; 4];

/// A labelled box with a confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledBox<'t> {
    /// Its class.
    pub label: &'t str,
    /// Higher is surer; ignored in true boxes.
    pub confidence: f64,
    /// Where it is.
    pub corners: Corners,
}

/// Why [`labelled_map`] has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DetectionError {
    /// A confidence of a scored class is NaN or infinite.
    #[error("the confidence of a `{label}` box is {confidence}, expected a finite number")]
    NotFinite {
        /// The image, from 0.
        image: usize,
        /// The class.
        label: String,
        /// What was found.
        confidence: f64,
    },
    /// Every image holds the class and every box of it is found, so that there is nothing to rank
    /// against.
    #[error(
        "class `{label}` has no negative: every image holds it and every prediction of it is a hit"
    )]
    NoNegative {
        /// The class.
        label: String,
    },
}

/// Overlap of two boxes over their union, with signed areas; 0 where the union is not above 0.
///
/// Comparisons are Python's `max` and `min`, which keep their first argument where the second is
/// NaN.
fn iou_of_corners(a: &Corners, b: &Corners) -> f64 {
    let max = |first: f64, second: f64| if second > first { second } else { first };
    let min = |first: f64, second: f64| if second < first { second } else { first };
    let width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]));
    let height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]));
    let common = width * height;
    let union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

/// Mean over classes of the [`average_precision`] of boxes matched at an IoU above 0.5.
///
/// `truth` and `predicted`: one list of boxes an image, in the same order. The classes are the
/// labels of the true boxes; predictions of other labels do not count. For each class, an image's
/// predictions are taken by confidence (stable) and each takes the free true box of largest
/// overlap. Each prediction is ranked by its confidence; a true box left over enters as a positive
/// and an image without any box of the class as a negative, both with score 0. 0 without classes.
///
/// # Errors
/// [`DetectionError`] if a scored confidence is not finite or a class has no negative at all.
///
/// # Source
/// MLE-bench `siim-covid19-detection/grade.py`, `calculate_map`. Differs from it: predictions of
/// unscored classes are dropped before sorting, so a NaN confidence among them cannot disturb the
/// order of the others.
pub fn labelled_map(
    truth: &[Vec<LabelledBox<'_>>],
    predicted: &[Vec<LabelledBox<'_>>],
) -> Result<f64, DetectionError> {
    let mut labels: Vec<&str> = truth.iter().flatten().map(|b| b.label).collect();
    labels.sort_unstable();
    labels.dedup();
    if labels.is_empty() {
        return Ok(0.0);
    }
    let class_of = |label: &str| labels.binary_search(&label).ok();
    // Per class: whether each item is a positive, and its score.
    let mut ranked: Vec<(Vec<bool>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); labels.len()];
    let mut touched = vec![usize::MAX; labels.len()];
    for (image, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        let mut guesses: Vec<(usize, &LabelledBox<'_>)> =
            predicted.iter().filter_map(|b| Some((class_of(b.label)?, b))).collect();
        if let Some((_, bad)) = guesses.iter().find(|(_, b)| !b.confidence.is_finite()) {
            return Err(DetectionError::NotFinite {
                image,
                label: bad.label.to_owned(),
                confidence: bad.confidence,
            });
        }
        // Adding 0 makes the two zeros equal.
        guesses.sort_by(|(_, a), (_, b)| (b.confidence + 0.0).total_cmp(&(a.confidence + 0.0)));
        let mut targets: Vec<Vec<&Corners>> = vec![Vec::new(); labels.len()];
        for b in truth {
            targets[class_of(b.label).expect("the classes are the true labels")].push(&b.corners);
        }
        for (class, guess) in guesses {
            let free = &mut targets[class];
            let mut best = (0.0, None);
            for (index, corners) in free.iter().enumerate() {
                let iou = iou_of_corners(&guess.corners, corners);
                if iou > best.0 && iou > 0.5 {
                    best = (iou, Some(index));
                }
            }
            if let Some(index) = best.1 {
                // Keeps the order, which decides between equal overlaps.
                free.remove(index);
            }
            ranked[class].0.push(best.1.is_some());
            ranked[class].1.push(guess.confidence + 0.0);
            touched[class] = image;
        }
        for (class, left) in targets.iter().enumerate() {
            let (hits, scores) = &mut ranked[class];
            let fill = if left.is_empty() && touched[class] != image { 1 } else { left.len() };
            hits.resize(hits.len() + fill, !left.is_empty());
            scores.resize(scores.len() + fill, 0.0);
        }
    }
    let mut total = 0.0;
    for ((hits, scores), label) in ranked.iter().zip(&labels) {
        if hits.iter().all(|&hit| hit) {
            return Err(DetectionError::NoNegative { label: (*label).to_owned() });
        }
        total += average_precision(hits, scores);
    }
    Ok(total / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labelled(label: &str, confidence: f64, corners: Corners) -> LabelledBox<'_> {
        LabelledBox { label, confidence, corners }
    }

    #[test]
    fn average_precision_of_known_rankings() {
        // From scikit-learn's documentation of the function.
        let ap = average_precision(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8]);
        assert!((ap - 0.833_333_333_333_333_3).abs() < 1e-15);
        assert_eq!(average_precision(&[true, false], &[0.5, 0.5]), 0.5);
        assert_eq!(average_precision(&[false], &[0.5]), 0.0);
        assert_eq!(average_precision(&[], &[]), 0.0);
    }

    #[test]
    fn matching_needs_more_than_half() {
        let truth = vec![
            vec![labelled("a", 1.0, [0.0, 0.0, 10.0, 10.0])],
            vec![labelled("b", 1.0, [0.0, 0.0, 1.0, 1.0])],
        ];
        let with = |corners| {
            labelled_map(
                &truth,
                &[
                    vec![labelled("a", 0.9, corners)],
                    vec![labelled("b", 0.9, [0.0, 0.0, 1.0, 1.0])],
                ],
            )
        };
        assert_eq!(with([0.0, 0.0, 10.0, 10.0]), Ok(1.0));
        // An overlap of exactly one half is a miss: ranks are false 0.9, then a missed truth and an
        // empty image at 0.
        assert_eq!(with([0.0, 0.0, 10.0, 5.0]), Ok(0.5 * (1.0 + 1.0 / 3.0)));
    }

    #[test]
    fn detection_errors() {
        let truth = vec![vec![labelled("a", 1.0, [0.0, 0.0, 1.0, 1.0])]];
        let nan = vec![vec![labelled("a", f64::NAN, [0.0; 4])]];
        assert!(matches!(
            labelled_map(&truth, &nan),
            Err(DetectionError::NotFinite { image: 0, .. })
        ));
        assert_eq!(
            labelled_map(&truth, &truth),
            Err(DetectionError::NoNegative { label: "a".into() })
        );
        let other = vec![vec![labelled("z", f64::NAN, [0.0; 4])]];
        assert_eq!(labelled_map(&[vec![]], &other), Ok(0.0));
    }

    proptest! {
        #[test]
        fn average_precision_only_depends_on_ranks(items in proptest::collection::vec((any::<bool>(), -20_i8..20), 1..40)) {
            let hits: Vec<bool> = items.iter().map(|item| item.0).collect();
            let scores: Vec<f64> = items.iter().map(|item| f64::from(item.1)).collect();
            let stretched: Vec<f64> = scores.iter().map(|s| s.exp()).collect();
            let ap = average_precision(&hits, &scores);
            prop_assert!((0.0..=1.0).contains(&ap));
            prop_assert_eq!(ap, average_precision(&hits, &stretched));
            let as_scores: Vec<f64> = hits.iter().map(|&hit| f64::from(u8::from(hit))).collect();
            prop_assert!(!hits.contains(&true) || average_precision(&hits, &as_scores) == 1.0);
        }
    }
}
