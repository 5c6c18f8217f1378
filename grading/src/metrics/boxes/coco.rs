//! COCO average precision at one overlap threshold.

use super::super::rank::Rank;
use super::descending;

/// A true or predicted box for [`coco_map`].
#[derive(Debug, Clone, PartialEq)]
pub struct CocoBox {
    /// The image, from 0.
    pub image: u32,
    /// The class number.
    pub class: f64,
    /// Higher is surer, NaN ranks last; ignored in true boxes.
    pub score: f64,
    /// Left, top, width and height.
    pub rect: [f64; 4],
    /// The area that the range filter looks at, in square pixels.
    pub area: f64,
}

/// Where a predicted box is: in which list (a row of a table, say), and where in it. The first
/// prediction of all is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub list: u32,
    /// The place in the list.
    pub at: u32,
}

/// Predicted boxes, which need not all be in memory at once.
pub trait PredictedBoxes {
    /// Visits the boxes of an image in the order of their places.
    fn of_image(&self, image: u32, visit: &mut dyn FnMut(Place, CocoBox));

    /// The box at a place that was visited.
    fn at(&self, image: u32, place: Place) -> CocoBox;
}

impl PredictedBoxes for Vec<CocoBox> {
    fn of_image(&self, image: u32, visit: &mut dyn FnMut(Place, CocoBox)) {
        for (list, b) in (0..).zip(self).filter(|(_, b)| b.image == image) {
            visit(Place { list, at: 0 }, b.clone());
        }
    }

    fn at(&self, _image: u32, place: Place) -> CocoBox {
        self[place.list as usize].clone()
    }
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
/// `truth` ascends by image. Boxes are numbered by their place in `truth` and in `predicted`. Per class and image the
/// predictions are taken by score (stable), at most `max_boxes` of them; each takes the free true
/// box of largest overlap (the last one of equal overlap, ignored boxes last). The precision is
/// made non-increasing and read off at 101 recall values. A class without predictions has 0; a
/// class whose true boxes are all ignored is left out; -1 if no class is left.
///
/// # Source
/// pycocotools 2.0.11 `COCOeval` (`evaluate`, `accumulate`, `stats[0]`) with numpy 1.26.4, and
/// `maskApi.c`, `bbIou`.
#[must_use]
pub fn coco_map(truth: &[CocoBox], predicted: &impl PredictedBoxes, options: &CocoOptions) -> f64 {
    let mut classes: Vec<f64> = truth.iter().map(|b| b.class).collect();
    classes.sort_by(f64::total_cmp);
    classes.dedup();
    let class_of = |class: f64| classes.binary_search_by(|known| known.total_cmp(&class)).ok();
    let mut wanted_of = vec![0; classes.len()];
    for b in truth.iter().filter(|b| !is_outside(b.area, options)) {
        class_of(b.class).into_iter().for_each(|class| wanted_of[class] += 1);
    }
    let mut decisions: Vec<Decisions> = classes.iter().map(|_| Decisions::default()).collect();
    let images = truth.last().map_or(0, |b| b.image + 1);
    let mut guesses: Vec<Guess> = Vec::new();
    for image in 0..images {
        let of_image =
            truth.partition_point(|b| b.image < image)..truth.partition_point(|b| b.image <= image);
        let mut count = 0;
        predicted.of_image(image, &mut |_, b| count += usize::from(class_of(b.class).is_some()));
        guesses.clear();
        guesses.reserve_exact(count);
        predicted.of_image(image, &mut |place, b| {
            if let Some(class) = class_of(b.class) {
                guesses.push(Guess::new(class, b.score, place));
            }
        });
        // By class, and then by falling score and in order.
        guesses.sort_unstable();
        for guesses in guesses.chunk_by(|a, b| a.class == b.class) {
            let class = guesses[0].class as usize;
            let targets =
                of_image.clone().filter(|&number| class_of(truth[number].class) == Some(class));
            let best = guesses.iter().take(options.max_boxes).map(|guess| guess.place);
            let boxes = best.map(|place| (place, predicted.at(image, place)));
            match_image(truth, targets.collect(), boxes, options, &mut decisions[class]);
        }
    }
    let scored = decisions.into_iter().zip(wanted_of).filter(|&(_, wanted)| wanted > 0);
    let aps: Vec<f64> = scored.map(|(decisions, wanted)| decisions.precision(wanted)).collect();
    if aps.is_empty() { -1.0 } else { aps.iter().sum::<f64>() / aps.len() as f64 }
}

/// A prediction of a scored class. Only what orders it is kept, without padding: the box is read
/// again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Guess {
    class: u32,
    rank: Rank,
    place: Place,
}

impl Guess {
    fn new(class: usize, score: f64, place: Place) -> Self {
        Self { class: class as u32, rank: Rank::new(score, 0), place }
    }
}

fn is_outside(area: f64, options: &CocoOptions) -> bool {
    area < options.area_range[0] || area > options.area_range[1]
}

/// Predictions that count, in the order of images: their scores and whether they are hits.
#[derive(Default)]
struct Decisions {
    scores: Vec<f64>,
    hits: Vec<bool>,
}

/// Matches one image's predictions of one class, sorted by score, to its true boxes, and appends
/// those that count.
fn match_image(
    truth: &[CocoBox],
    mut targets: Vec<usize>,
    predicted: impl Iterator<Item = (Place, CocoBox)>,
    options: &CocoOptions,
    decisions: &mut Decisions,
) {
    targets.sort_by_key(|&t| is_outside(truth[t].area, options));
    let mut taken = vec![false; targets.len()];
    for (place, guess) in predicted {
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
            let iou = iou_of_rects(&guess.rect, &truth[target].rect);
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
            taken[index] = !options.zero_is_unmatched || place != Place::default();
        }
        if !hit && is_outside(guess.area, options) {
            ignored = true;
        }
        if !ignored {
            decisions.scores.push(guess.score);
            decisions.hits.push(hit);
        }
    }
}

impl Decisions {
    /// Mean of the non-increasing precision at the recalls 0, 0.01, ..., 1.
    fn precision(self, wanted: usize) -> f64 {
        let mut order: Vec<u32> = (0..self.scores.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            descending(self.scores[a as usize], self.scores[b as usize]).then(a.cmp(&b))
        });
        drop(self.scores);
        let is_hit = |place: usize| self.hits[order[place] as usize];
        // From the last decision to the first: the best precision from each hit on, the last hit
        // first.
        let mut hits = self.hits.iter().filter(|&&hit| hit).count();
        let mut from_hit = Vec::with_capacity(hits);
        let mut best = 0.0_f64;
        for place in (0..order.len()).rev() {
            let misses = (place + 1 - hits) as f64;
            let precision = hits as f64 / (misses + hits as f64 + f64::EPSILON);
            best = if precision > best { precision } else { best };
            if is_hit(place) {
                from_hit.push(best);
                hits -= 1;
            }
        }
        let from_start = best;
        let recall = |hit: usize| hit as f64 / wanted as f64;
        let mut total = 0.0;
        for k in 0..=100_u32 {
            let asked = if k == 100 { 1.0 } else { f64::from(k) * 0.01 };
            // The first decision whose recall is as large as asked is a hit, or the first of all.
            let needed = (0..=from_hit.len()).find(|&hit| recall(hit) >= asked);
            total += match needed {
                Some(0) => from_start,
                Some(hit) => from_hit[from_hit.len() - hit],
                None => 0.0,
            };
        }
        total / 101.0
    }
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

    fn coco(image: u32, class: f64, score: f64, rect: [f64; 4]) -> CocoBox {
        CocoBox { image, class, score, rect, area: rect[2] * rect[3] }
    }

    #[test]
    fn number_zero_means_no_match() {
        let truth =
            vec![coco(0, 1.0, 0.0, [0.0, 0.0, 5.0, 5.0]), coco(1, 1.0, 0.0, [0.0, 0.0, 5.0, 5.0])];
        assert!((coco_map(&truth, &truth, &OPTIONS) - 1.0).abs() < 1e-15);
        let quirk = CocoOptions { zero_is_unmatched: true, ..OPTIONS };
        // The first prediction is false; the second reaches a recall of one half at precision one
        // half: 51 of 101 recalls.
        assert!((coco_map(&truth, &truth, &quirk) - 51.0 * 0.5 / 101.0).abs() < 1e-12);
        assert_eq!(coco_map(&truth, &Vec::new(), &OPTIONS), 0.0);
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

    fn coco_boxes(images: u32) -> impl Strategy<Value = Vec<CocoBox>> {
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
        proptest::collection::vec(one, 0..30).prop_map(|mut boxes| {
            boxes.sort_by_key(|b| b.image);
            boxes
        })
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
