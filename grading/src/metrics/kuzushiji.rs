//! Characters on pages (Kuzushiji recognition).

use std::collections::{HashMap, HashSet};

use super::{Metric, MetricOption, OptionKind};
use crate::form::Form;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal, bad_answer};
use crate::pytext::parse_float;
use crate::table::Column;

/// F1 of labelled points in labelled boxes, pooled over pages.
pub static POINT_IN_BOX_F1: Metric = Metric {
    name: "point_in_box_f1",
    aliases: &["kuzushiji_f1"],
    summary: "F1 over all pages: a true box is found by the first unused point of its label that lies strictly inside it.",
    inputs: "text: boxes `label x y width height` in the truth, points `label x y` in the submission, tokens joined by single blanks",
    source: "MLE-bench `kuzushiji-recognition/metric.py`",
    options: &[MetricOption {
        name: "max_points",
        kind: OptionKind::Integer,
        required: false,
        doc: "most points of a page; the reference knows no limit (the default)",
    }],
    validate: |form| {
        super::any_cells(form)?;
        let prediction = form.prediction(0)?;
        form.submitted_rows()?.iter().try_for_each(|row| points(form, &prediction, row).map(drop))
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let mut total = Counts::default();
        for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
            let boxes = truth.text(a).unwrap_or_default();
            check_groups::<4>(boxes).map_err(|_| bad_answer(a, &truth, "is no list of boxes"))?;
            let boxes: Vec<_> = labelled::<4>(boxes).collect();
            total.add(match_points(&boxes, points(task.form(), &prediction, s)?));
        }
        Ok(total.f1())
    },
};

/// A label with numbers behind it.
type Labelled<'a, const N: usize> = (&'a str, [f64; N]);

/// The points of a page, none in a missing cell.
fn points<'a>(
    form: &Form<'_>,
    column: &Column<'a>,
    row: usize,
) -> Result<impl Iterator<Item = Labelled<'a, 2>> + use<'a>, Refusal> {
    let text = column.text(row).unwrap_or_default();
    let bad = |message: String| {
        InvalidSubmission::new(InvalidKind::BadCell, message).at(row).in_column(column.name())
    };
    let count = check_groups::<2>(text).map_err(|message| {
        bad(message)
            .expecting("a label and coordinates for each character, separated by single blanks")
    })?;
    match form.spec.integer("max_points").filter(|&most| count as i64 > most) {
        Some(most) => {
            Err(bad(format!("the page has {count} predictions, more than {most}")).into())
        }
        None => Ok(labelled::<2>(text)),
    }
}

/// Checks that a text is labels with `N` numbers each, joined by single blanks, and counts them.
///
/// # Errors
/// What is wrong.
fn check_groups<const N: usize>(text: &str) -> Result<usize, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let tokens = text.split(' ').count();
    if !tokens.is_multiple_of(N + 1) {
        return Err(format!("the cell has {tokens} tokens, not a multiple of {}", N + 1));
    }
    let numbers = text.split(' ').enumerate().filter(|(place, _)| !place.is_multiple_of(N + 1));
    match numbers.map(|(_, token)| token).find(|token| parse_float(token).is_none()) {
        Some(token) => {
            Err(format!("`{}` is not a number", token.chars().take(40).collect::<String>()))
        }
        None => Ok(tokens / (N + 1)),
    }
}

/// The labels of a checked text, one after the other: a page of any length is never held as a list.
fn labelled<const N: usize>(text: &str) -> impl Iterator<Item = Labelled<'_, N>> + use<'_, N> {
    let mut tokens = text.split(' ').filter(move |_| !text.is_empty());
    std::iter::from_fn(move || {
        let label = tokens.next()?;
        Some((label, [(); N].map(|()| tokens.next().and_then(parse_float).unwrap_or(f64::NAN))))
    })
}

/// True positives, false positives and false negatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Boxes found.
    pub hits: u64,
    /// Points in no box of their own.
    pub false_positives: u64,
    /// Boxes not found.
    pub misses: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.false_positives += other.false_positives;
        self.misses += other.misses;
    }

    /// The harmonic mean of precision and recall; 0 without a hit.
    pub fn f1(self) -> f64 {
        if self.hits == 0 {
            return 0.0;
        }
        let precision = self.hits as f64 / (self.hits + self.false_positives) as f64;
        let recall = self.hits as f64 / (self.hits + self.misses) as f64;
        2.0 * precision * recall / (precision + recall)
    }
}

/// Matches points to boxes: each box, in order, takes the first unused point of its label strictly
/// inside it.
///
/// `boxes`: label and `[x, y, width, height]`. `points`: label and `[x, y]`, gone through once.
pub fn match_points<'a>(
    boxes: &[(&str, [f64; 4])],
    points: impl Iterator<Item = (&'a str, [f64; 2])>,
) -> Counts {
    let mut of_label: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, (label, _)) in boxes.iter().enumerate() {
        of_label.entry(*label).or_default().push(place);
    }
    // The first points inside each box. As the boxes of its label before it take one point each at
    // most, it never needs more than one above their number.
    let mut inside: Vec<Vec<u64>> = vec![Vec::new(); boxes.len()];
    let mut count = 0;
    for (label, [px, py]) in points {
        for (before, &place) in of_label.get(label).into_iter().flatten().enumerate() {
            let (_, [x, y, width, height]) = boxes[place];
            if inside[place].len() <= before
                && x < px
                && px < x + width
                && y < py
                && py < y + height
            {
                inside[place].push(count);
            }
        }
        count += 1;
    }
    let mut used: HashSet<u64> = HashSet::new();
    let hits =
        inside.iter().filter(|points| points.iter().any(|&point| used.insert(point))).count();
    let hits = hits as u64;
    Counts { hits, false_positives: count - hits, misses: boxes.len() as u64 - hits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: a list of unused points, from which each box takes one.
    fn by_list(boxes: &[(&str, [f64; 4])], points: &[(&str, [f64; 2])]) -> Counts {
        let mut unused = points.to_vec();
        for (label, [x, y, width, height]) in boxes {
            let found = unused.iter().position(|(other, [px, py])| {
                other == label && x < px && *px < x + width && y < py && *py < y + height
            });
            found.map(|place| unused.remove(place));
        }
        let hits = (points.len() - unused.len()) as u64;
        Counts { hits, false_positives: unused.len() as u64, misses: boxes.len() as u64 - hits }
    }

    proptest! {
        #[test]
        fn one_pass_matches_as_a_list_does(
            boxes in proptest::collection::vec(("[ab]", [0_u8..6, 0_u8..6, 1_u8..6, 1_u8..6]), 0..12),
            points in proptest::collection::vec(("[abc]", [0_u8..9, 0_u8..9]), 0..25),
        ) {
            let boxes: Vec<_> = boxes.iter().map(|(l, b)| (l.as_str(), b.map(f64::from))).collect();
            let points: Vec<_> = points.iter().map(|(l, p)| (l.as_str(), p.map(f64::from))).collect();
            prop_assert_eq!(match_points(&boxes, points.iter().copied()), by_list(&boxes, &points));
        }
    }

    #[test]
    fn borders_and_other_labels_do_not_count() {
        let boxes = [("a", [0.0, 0.0, 10.0, 10.0]), ("a", [5.0, 0.0, 10.0, 10.0])];
        let count = |points: &[(&str, [f64; 2])]| match_points(&boxes, points.iter().copied());
        assert_eq!(count(&[("a", [7.0, 5.0])]), Counts { hits: 1, false_positives: 0, misses: 1 });
        assert_eq!(
            count(&[("a", [10.0, 5.0]), ("a", [0.0, 5.0])]),
            Counts { hits: 1, false_positives: 1, misses: 1 }
        );
        assert_eq!(count(&[("b", [7.0, 5.0])]), Counts { hits: 0, false_positives: 1, misses: 2 });
        // Greedy in written order: the first box takes the point both hold.
        assert_eq!(
            count(&[("a", [7.0, 5.0]), ("a", [2.0, 5.0])]),
            Counts { hits: 1, false_positives: 1, misses: 1 }
        );
        assert_eq!(Counts::default().f1(), 0.0);
    }
}
