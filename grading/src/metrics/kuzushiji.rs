//! Characters on pages (Kuzushiji recognition).

use std::collections::HashMap;

use super::{Metric, MetricOption, OptionKind};
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::parse_float;
use crate::table::Column;
use crate::task::bad_answer;

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
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let mut total = Counts::default();
        for (a, s) in pairs.answers.iter().zip(pairs.submission.iter()) {
            let boxes = labelled::<4>(&truth, a)
                .map_err(|_| bad_answer(a, &truth, "is no list of boxes"))?;
            let points = labelled::<2>(&prediction, s)?;
            if let Some(most) = task.integer("max_points")
                && points.len() as i64 > most
            {
                let message =
                    format!("the page has {} predictions, more than {most}", points.len());
                return Err(InvalidSubmission::new(InvalidKind::BadCell, message)
                    .at(s)
                    .in_column(prediction.name())
                    .into());
            }
            total.add(match_points(&boxes, &points));
        }
        Ok(total.f1())
    },
};

/// A label with numbers behind it.
type Labelled<'a, const N: usize> = (&'a str, [f64; N]);

/// Splits a cell at single blanks into labels with `N` numbers each; a missing cell has none.
fn labelled<'a, const N: usize>(
    column: &Column<'a>,
    row: usize,
) -> Result<Vec<Labelled<'a, N>>, Refusal> {
    let Some(text) = column.text(row) else { return Ok(Vec::new()) };
    let bad = |message: String| -> Refusal {
        InvalidSubmission::new(InvalidKind::BadCell, message)
            .at(row)
            .in_column(column.name())
            .expecting("a label and coordinates for each character, separated by single blanks")
            .into()
    };
    let tokens: Vec<&str> = text.split(' ').collect();
    if !tokens.len().is_multiple_of(N + 1) {
        return Err(bad(format!(
            "the cell has {} tokens, not a multiple of {}",
            tokens.len(),
            N + 1
        )));
    }
    let one = |group: &[&'a str]| {
        let mut numbers = [0.0; N];
        for (number, token) in numbers.iter_mut().zip(&group[1..]) {
            *number = parse_float(token).ok_or_else(|| {
                bad(format!("`{}` is not a number", token.chars().take(40).collect::<String>()))
            })?;
        }
        Ok((group[0], numbers))
    };
    tokens.chunks_exact(N + 1).map(one).collect()
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
/// `boxes`: label and `[x, y, width, height]`. `points`: label and `[x, y]`.
pub fn match_points(boxes: &[(&str, [f64; 4])], points: &[(&str, [f64; 2])]) -> Counts {
    let mut unused: HashMap<&str, Vec<[f64; 2]>> = HashMap::new();
    for &(label, point) in points {
        unused.entry(label).or_default().push(point);
    }
    let mut hits = 0;
    for (label, [x, y, width, height]) in boxes {
        let Some(candidates) = unused.get_mut(label) else { continue };
        let inside =
            |[px, py]: &[f64; 2]| *x < *px && *px < x + width && *y < *py && *py < y + height;
        if let Some(found) = candidates.iter().position(inside) {
            candidates.remove(found);
            hits += 1;
        }
    }
    Counts { hits, false_positives: points.len() as u64 - hits, misses: boxes.len() as u64 - hits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_and_other_labels_do_not_count() {
        let boxes = [("a", [0.0, 0.0, 10.0, 10.0]), ("a", [5.0, 0.0, 10.0, 10.0])];
        let count = |points: &[(&str, [f64; 2])]| match_points(&boxes, points);
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
