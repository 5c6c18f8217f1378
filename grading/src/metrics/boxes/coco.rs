//! COCO average precision at one overlap threshold.

use std::collections::HashMap;

use super::descending;

/// A true or predicted box for [`coco_map`].
#[derive(Debug, Clone, PartialEq)]
pub struct CocoBox {
    /// The image, from 0.
    pub image: usize,
    /// The class number.
    pub class: f64,
    /// Higher is surer, NaN ranks last; ignored in true boxes.
    pub score: f64,
    /// Left, top, width and height.
    pub rect: [f64; 4],
    /// The area that the range filter looks at, in square pixels.
    pub area: f64,
}

/// How [`coco_map`] counts.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoOptions {
    /// Least overlap of a match.
    pub min_iou: f64,
    /// Most predictions of one class in one image.
    pub max_boxes: usize,
    /// Least and largest area; a true box outside is ignored, as is an unmatched prediction
    /// outside.
    pub area_range: [f64; 2],
    /// Whether box numbers count from 0 and 0 means "no match", so that the match with the first
    /// true box of all counts as false and a true box taken by the first prediction of all stays
    /// free.
    pub zero_is_unmatched: bool,
}

/// Overlap of two rectangles over their union; `fmin` and `fmax` ignore NaN as C's do.
fn iou_of_rects(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let width = (a[0] + a[2]).min(b[0] + b[2]) - a[0].max(b[0]);
    if width <= 0.0 {
        return 0.0;
    }
    let height = (a[1] + a[3]).min(b[1] + b[3]) - a[1].max(b[1]);
    if height <= 0.0 {
        return 0.0;
    }
    let common = width * height;
    common / (a[2] * a[3] + b[2] * b[3] - common)
}

/// COCO mean average precision at a single IoU threshold, over the classes of the true boxes.
///
/// Boxes are numbered by their place in `truth` and in `predicted`. Per class and image the
/// predictions are taken by score (stable), at most `max_boxes` of them; each takes the free true
/// box of largest overlap (the last one of equal overlap, ignored boxes last). The precision is
/// made non-increasing and read off at 101 recall values. A class without predictions has 0; a
/// class whose true boxes are all ignored is left out; -1 if no class is left.
///
/// # Source
/// pycocotools 2.0.11 `COCOeval` (`evaluate`, `accumulate`, `stats[0]`) with numpy 1.26.4, and
/// `maskApi.c`, `bbIou`.
#[must_use]
pub fn coco_map(truth: &[CocoBox], predicted: &[CocoBox], options: &CocoOptions) -> f64 {
    let mut classes: Vec<f64> = truth.iter().map(|b| b.class).collect();
    classes.sort_by(f64::total_cmp);
    classes.dedup();
    let class_of = |class: f64| classes.binary_search_by(|known| known.total_cmp(&class)).ok();
    let groups = |boxes: &[CocoBox]| {
        let mut groups: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for (number, b) in boxes.iter().enumerate() {
            if let Some(class) = class_of(b.class) {
                groups.entry((class, b.image)).or_default().push(number);
            }
        }
        groups
    };
    let (true_groups, mut predicted_groups) = (groups(truth), groups(predicted));
    let mut places: Vec<(usize, usize)> =
        true_groups.keys().chain(predicted_groups.keys()).copied().collect();
    places.sort_unstable();
    places.dedup();
    let mut aps: Vec<f64> = Vec::with_capacity(classes.len());
    for places in places.chunk_by(|a, b| a.0 == b.0) {
        let (mut decisions, mut wanted) = (Vec::new(), 0_usize);
        for place in places {
            let targets = true_groups.get(place).map_or(&[][..], Vec::as_slice);
            let mut guesses = predicted_groups.remove(place).unwrap_or_default();
            guesses.sort_by(|&a, &b| descending(predicted[a].score, predicted[b].score));
            guesses.truncate(options.max_boxes);
            wanted += targets.iter().filter(|&&t| !is_outside(truth[t].area, options)).count();
            match_image(truth, targets, predicted, &guesses, options, &mut decisions);
        }
        if wanted > 0 {
            aps.push(interpolated_ap(decisions, wanted));
        }
    }
    if aps.is_empty() { -1.0 } else { aps.iter().sum::<f64>() / aps.len() as f64 }
}

fn is_outside(area: f64, options: &CocoOptions) -> bool {
    area < options.area_range[0] || area > options.area_range[1]
}

/// A prediction that counts: its score and whether it is a hit.
type Decision = (f64, bool);

/// Matches one image's predictions of one class, sorted by score, to its true boxes, and appends
/// those that count.
fn match_image(
    truth: &[CocoBox],
    targets: &[usize],
    predicted: &[CocoBox],
    guesses: &[usize],
    options: &CocoOptions,
    decisions: &mut Vec<Decision>,
) {
    let mut targets = targets.to_vec();
    targets.sort_by_key(|&t| is_outside(truth[t].area, options));
    let mut taken = vec![false; targets.len()];
    for &guess in guesses {
        let mut least = options.min_iou.min(1.0 - 1e-10);
        let mut best: Option<usize> = None;
        for (index, &target) in targets.iter().enumerate() {
            if taken[index] {
                continue;
            }
            let ignored = is_outside(truth[target].area, options);
            if ignored && best.is_some_and(|b| !is_outside(truth[targets[b]].area, options)) {
                break;
            }
            let iou = iou_of_rects(&predicted[guess].rect, &truth[target].rect);
            // A NaN overlap is not below the bound, so it is taken, as in the source.
            if iou < least {
                continue;
            }
            least = iou;
            best = Some(index);
        }
        let mut ignored = false;
        let mut hit = false;
        if let Some(index) = best {
            ignored = is_outside(truth[targets[index]].area, options);
            hit = !options.zero_is_unmatched || targets[index] != 0;
            taken[index] = !options.zero_is_unmatched || guess != 0;
        }
        if !hit && is_outside(predicted[guess].area, options) {
            ignored = true;
        }
        if !ignored {
            decisions.push((predicted[guess].score, hit));
        }
    }
}

/// Mean of the non-increasing precision at the recalls 0, 0.01, ..., 1.
fn interpolated_ap(mut decisions: Vec<Decision>, wanted: usize) -> f64 {
    decisions.sort_by(|a, b| descending(a.0, b.0));
    let (mut hits, mut recall, mut precision) = (0_usize, Vec::new(), Vec::new());
    for (seen, &(_, hit)) in decisions.iter().enumerate() {
        hits += usize::from(hit);
        let misses = (seen + 1 - hits) as f64;
        recall.push(hits as f64 / wanted as f64);
        precision.push(hits as f64 / (misses + hits as f64 + f64::EPSILON));
    }
    for k in (1..precision.len()).rev() {
        if precision[k] > precision[k - 1] {
            precision[k - 1] = precision[k];
        }
    }
    let mut total = 0.0;
    for k in 0..=100_u32 {
        let asked = if k == 100 { 1.0 } else { f64::from(k) * 0.01 };
        let place = recall.partition_point(|&r| r < asked);
        total += precision.get(place).copied().unwrap_or(0.0);
    }
    total / 101.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: CocoOptions = CocoOptions {
        min_iou: 0.4,
        max_boxes: 100,
        area_range: [0.0, 1e10],
        zero_is_unmatched: false,
    };

    fn coco(image: usize, class: f64, score: f64, rect: [f64; 4]) -> CocoBox {
        CocoBox { image, class, score, rect, area: rect[2] * rect[3] }
    }

    #[test]
    fn number_zero_means_no_match() {
        let truth =
            [coco(0, 1.0, 0.0, [0.0, 0.0, 5.0, 5.0]), coco(1, 1.0, 0.0, [0.0, 0.0, 5.0, 5.0])];
        assert!((coco_map(&truth, &truth, &OPTIONS) - 1.0).abs() < 1e-15);
        let quirk = CocoOptions { zero_is_unmatched: true, ..OPTIONS };
        // The first prediction is false; the second reaches a recall of one half at precision one
        // half: 51 of 101 recalls.
        assert!((coco_map(&truth, &truth, &quirk) - 51.0 * 0.5 / 101.0).abs() < 1e-12);
        assert_eq!(coco_map(&truth, &[], &OPTIONS), 0.0);
        assert_eq!(coco_map(&[], &truth, &OPTIONS), -1.0);
    }

    #[test]
    fn boxes_outside_the_area_range_are_ignored() {
        let mut truth = vec![
            coco(0, 1.0, 0.0, [0.0, 0.0, 5.0, 5.0]),
            coco(0, 1.0, 0.0, [50.0, 50.0, 5.0, 5.0]),
        ];
        truth[1].area = -1.0;
        let mut predicted = truth.clone();
        assert!(
            (coco_map(&truth, &predicted, &OPTIONS) - 1.0).abs() < 1e-15,
            "a match with an ignored box is dropped"
        );
        predicted.push(CocoBox { area: -1.0, ..coco(0, 1.0, 1.0, [90.0, 90.0, 1.0, 1.0]) });
        assert!(
            (coco_map(&truth, &predicted, &OPTIONS) - 1.0).abs() < 1e-15,
            "as is an unmatched one outside the range"
        );
        predicted[2].area = 1.0;
        assert!((coco_map(&truth, &predicted, &OPTIONS) - 0.5).abs() < 1e-12);
    }

    fn coco_boxes(images: usize) -> impl Strategy<Value = Vec<CocoBox>> {
        let one = (0..images, 0..3_u8, 0..50_u8, 0..6_u8, 0..6_u8).prop_map(
            |(image, class, score, x, y)| {
                coco(
                    image,
                    f64::from(class),
                    f64::from(score) / 10.0,
                    [f64::from(x), f64::from(y), 4.0, 4.0],
                )
            },
        );
        proptest::collection::vec(one, 0..30)
    }

    proptest! {
        #[test]
        fn coco_scores_stay_in_range(truth in coco_boxes(4), predicted in coco_boxes(4), quirk in any::<bool>()) {
            let options = CocoOptions { zero_is_unmatched: quirk, ..OPTIONS };
            let score = coco_map(&truth, &predicted, &options);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&score) || (truth.is_empty() && score == -1.0));
            // A class without predictions costs, and so no subset of classes can do worse than
            // none.
            prop_assert!(truth.is_empty() || coco_map(&truth, &truth, &OPTIONS) > 1.0 - 1e-12);
        }
    }
}
