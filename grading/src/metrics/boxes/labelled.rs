//! Boxes with text labels, matched by confidence, and average precision without interpolation.

use std::collections::BTreeSet;

use super::super::rank::Rank;
use crate::pytext::{parse_float, split_words};

/// Average precision of ranked decisions: the sum over distinct scores of (recall step) x
/// (precision).
///
/// `positive`, `negative`: the scores of the items of either class, finite; higher ranks first, and
/// equal scores enter together. Sorts both. No interpolation. 0 if nothing is positive.
///
/// # Source
/// scikit-learn 1.5.2 `average_precision_score` (binary).
#[must_use]
pub fn average_precision(positive: &mut [f64], negative: &mut [f64]) -> f64 {
    positive.sort_unstable_by(|&a, &b| super::descending(a, b));
    negative.sort_unstable_by(|&a, &b| super::descending(a, b));
    let (mut misses, mut found, mut total) = (0_usize, 0_usize, 0.0);
    // A score that no positive has adds nothing.
    for group in positive.chunk_by(|a, b| a == b) {
        misses += negative[misses..].partition_point(|&score| score >= group[0]);
        found += group.len();
        let seen = (found + misses) as f64;
        total += (found as f64 / seen) * (group.len() as f64 / positive.len() as f64);
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

/// The boxes of an image, which stay text: a list of them would be several times as large.
#[derive(Clone, Copy, Debug)]
pub struct LabelledBoxes<'t> {
    text: &'t str,
}

impl<'t> LabelledBoxes<'t> {
    /// The boxes of a text: groups of `label confidence x_min y_min x_max y_max`, separated by
    /// white space.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        let tokens = split_words(text).count();
        if !tokens.is_multiple_of(6) {
            return Err(format!("the cell has {tokens} tokens, no multiple of six"));
        }
        let numbers = split_words(text).enumerate().filter(|(place, _)| place % 6 != 0);
        match numbers.map(|(_, token)| token).find(|token| parse_float(token).is_none()) {
            Some(token) => Err(format!("`{}` is no number", super::shortened(token))),
            None => Ok(Self { text }),
        }
    }

    /// The labels in order, each with the place in the text where its box starts.
    fn labels(self) -> impl Iterator<Item = (usize, &'t str)> + use<'t> {
        let text = self.text;
        let labels = split_words(text).step_by(6);
        labels.map(move |label| (label.as_ptr() as usize - text.as_ptr() as usize, label))
    }

    /// The boxes whose labels are among these, which ascend: the place of the label in the list, and
    /// that of the box in the text.
    fn scored<'l>(
        self,
        labels: &'l [&'l str],
    ) -> impl Iterator<Item = (usize, usize)> + use<'t, 'l> {
        self.labels()
            .filter_map(move |(place, label)| Some((labels.binary_search(&label).ok()?, place)))
    }

    /// Checks that every confidence is finite.
    ///
    /// # Errors
    /// [`DetectionError::NotFinite`] about `image`.
    pub fn check_finite(self, image: usize) -> Result<(), DetectionError> {
        let mut boxes = self.labels().map(|(place, _)| self.at(place));
        match boxes.find(|b| !b.confidence.is_finite()) {
            Some(LabelledBox { label, confidence, .. }) => {
                Err(DetectionError::NotFinite { image, label: label.to_owned(), confidence })
            }
            None => Ok(()),
        }
    }

    /// The box that starts at a place.
    fn at(self, place: usize) -> LabelledBox<'t> {
        let mut tokens = split_words(&self.text[place..]);
        let label = tokens.next().unwrap_or_default();
        // The text was checked.
        let numbers = [(); 5].map(|()| tokens.next().and_then(parse_float).unwrap_or(f64::NAN));
        let [confidence, corners @ ..] = numbers;
        LabelledBox { label, confidence, corners }
    }
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

/// What is ranked of one class.
#[derive(Default)]
struct Ranking {
    /// Confidences of the predictions that found a true box.
    hits: Vec<f64>,
    /// Confidences of the others.
    misses: Vec<f64>,
    /// True boxes that were not found: positives with score 0.
    unfound: usize,
    /// Images without any box of the class: negatives with score 0.
    empty: usize,
    /// The image looked at last in which the class was predicted.
    predicted_in: Option<usize>,
}

/// Mean over classes of the [`average_precision`] of boxes matched at an IoU above 0.5.
///
/// `truth` and `predicted`: the boxes of each image, in the same order. The classes are the labels
/// of the true boxes; predictions of other labels do not count. For each class, an image's
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
    truth: &[LabelledBoxes<'_>],
    predicted: &[LabelledBoxes<'_>],
) -> Result<f64, DetectionError> {
    let all = truth.iter().flat_map(|image| image.labels());
    let labels: Vec<&str> =
        all.map(|(_, label)| label).collect::<BTreeSet<_>>().into_iter().collect();
    if labels.is_empty() {
        return Ok(0.0);
    }
    let class_of = |label: &str| labels.binary_search(&label).ok();
    // Counted first: a list that grows may be twice as large as what is in it.
    let (mut counts, mut most) = (vec![0_usize; labels.len()], 0);
    for image in predicted {
        let before: usize = counts.iter().sum();
        image.scored(&labels).for_each(|(class, _)| counts[class] += 1);
        most = most.max(counts.iter().sum::<usize>() - before);
    }
    let mut rankings: Vec<Ranking> = counts
        .into_iter()
        .map(|count| Ranking { misses: Vec::with_capacity(count), ..Ranking::default() })
        .collect();
    let mut guesses: Vec<Rank> = Vec::with_capacity(most);
    let mut targets: Vec<Vec<Corners>> = vec![Vec::new(); labels.len()];
    for (image, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        guesses.clear();
        for (_, place) in predicted.scored(&labels) {
            let guess = predicted.at(place);
            if !guess.confidence.is_finite() {
                return Err(DetectionError::NotFinite {
                    image,
                    label: guess.label.to_owned(),
                    confidence: guess.confidence,
                });
            }
            guesses.push(Rank::new(guess.confidence, place));
        }
        guesses.sort_unstable();
        for (class, place) in truth.scored(&labels) {
            targets[class].push(truth.at(place).corners);
        }
        for guess in guesses.iter().map(|rank| predicted.at(rank.place())) {
            let Some(class) = class_of(guess.label) else { continue };
            rankings[class].take(image, &guess, &mut targets[class]);
        }
        for (ranking, left) in rankings.iter_mut().zip(&mut targets) {
            ranking.empty += usize::from(left.is_empty() && ranking.predicted_in != Some(image));
            ranking.unfound += left.len();
            left.clear();
        }
    }
    let mut total = 0.0;
    for (ranking, label) in rankings.into_iter().zip(&labels) {
        if ranking.misses.is_empty() && ranking.empty == 0 {
            return Err(DetectionError::NoNegative { label: (*label).to_owned() });
        }
        total += ranking.average_precision();
    }
    Ok(total / labels.len() as f64)
}

impl Ranking {
    /// Ranks a prediction, which takes the true box of largest overlap out of those that are free.
    fn take(&mut self, image: usize, guess: &LabelledBox<'_>, free: &mut Vec<Corners>) {
        let mut best = (0.0, None);
        for (index, corners) in free.iter().enumerate() {
            let iou = iou_of_corners(&guess.corners, corners);
            if iou > best.0 && iou > 0.5 {
                best = (iou, Some(index));
            }
        }
        // Adding 0 makes the two zeros equal.
        let confidence = guess.confidence + 0.0;
        match best.1 {
            Some(index) => {
                // Keeps the order, which decides between equal overlaps.
                free.remove(index);
                self.hits.push(confidence);
            }
            None => self.misses.push(confidence),
        }
        self.predicted_in = Some(image);
    }

    fn average_precision(mut self) -> f64 {
        self.hits.extend(std::iter::repeat_n(0.0, self.unfound));
        self.misses.extend(std::iter::repeat_n(0.0, self.empty));
        average_precision(&mut self.hits, &mut self.misses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn images<'t>(texts: &[&'t str]) -> Vec<LabelledBoxes<'t>> {
        texts
            .iter()
            .map(|text| LabelledBoxes::parse(text).expect("it is a list of boxes"))
            .collect()
    }

    fn map(truth: &[&str], predicted: &[&str]) -> Result<f64, DetectionError> {
        labelled_map(&images(truth), &images(predicted))
    }

    /// The definition, over a list of decisions.
    fn slow_average_precision(hits: &[bool], scores: &[f64]) -> f64 {
        let positives = hits.iter().filter(|&&hit| hit).count();
        let above = |bound: f64, hit: Option<bool>| {
            let counts = |k: &usize| scores[*k] >= bound && hit.is_none_or(|hit| hits[*k] == hit);
            (0..hits.len()).filter(counts).count() as f64
        };
        let mut bounds = scores.to_vec();
        bounds.sort_by(|a, b| b.total_cmp(a));
        bounds.dedup();
        let (mut total, mut recall) = (0.0, 0.0);
        for bound in bounds {
            let found = above(bound, Some(true));
            total += (found / positives as f64 - recall) * found / above(bound, None);
            recall = found / positives as f64;
        }
        if positives == 0 { 0.0 } else { total }
    }

    #[test]
    fn average_precision_of_known_rankings() {
        // From scikit-learn's documentation of the function.
        let ap = average_precision(&mut [0.35, 0.8], &mut [0.1, 0.4]);
        assert!((ap - 0.833_333_333_333_333_3).abs() < 1e-15);
        assert_eq!(average_precision(&mut [0.5], &mut [0.5]), 0.5);
        assert_eq!(average_precision(&mut [], &mut [0.5]), 0.0);
        assert_eq!(average_precision(&mut [], &mut []), 0.0);
    }

    #[test]
    fn matching_needs_more_than_half() {
        let truth = ["a 1 0 0 10 10", "b 1 0 0 1 1"];
        assert_eq!(map(&truth, &["a 0.9 0 0 10 10", "b 0.9 0 0 1 1"]), Ok(1.0));
        // An overlap of exactly one half is a miss: ranks are false 0.9, then a missed truth and an
        // empty image at 0.
        let half = ["a 0.9 0 0 10 5", "b 0.9 0 0 1 1"];
        assert_eq!(map(&truth, &half), Ok(0.5 * (1.0 + 1.0 / 3.0)));
    }

    #[test]
    fn detection_errors() {
        let truth = ["a 1 0 0 1 1"];
        let error = map(&truth, &["a nan 0 0 0 0"]);
        assert!(matches!(error, Err(DetectionError::NotFinite { image: 0, .. })));
        assert_eq!(map(&truth, &truth), Err(DetectionError::NoNegative { label: "a".into() }));
        assert_eq!(map(&[""], &["z nan 0 0 0 0"]), Ok(0.0));
        assert!(LabelledBoxes::parse("a 1 0 0 1").is_err());
        assert!(LabelledBoxes::parse("a 1 0 0 1 b").is_err());
    }

    proptest! {
        #[test]
        fn average_precision_follows_its_definition(items in proptest::collection::vec((any::<bool>(), -20_i8..20), 1..40)) {
            let hits: Vec<bool> = items.iter().map(|item| item.0).collect();
            let scores: Vec<f64> = items.iter().map(|item| f64::from(item.1)).collect();
            let of = |wanted: bool| -> Vec<f64> {
                items.iter().filter(|item| item.0 == wanted).map(|item| f64::from(item.1)).collect()
            };
            let ap = average_precision(&mut of(true), &mut of(false));
            prop_assert!((ap - slow_average_precision(&hits, &scores)).abs() < 1e-12);
            let stretched = |values: Vec<f64>| values.into_iter().map(f64::exp).collect::<Vec<_>>();
            prop_assert_eq!(ap, average_precision(&mut stretched(of(true)), &mut stretched(of(false))));
        }
    }
}
