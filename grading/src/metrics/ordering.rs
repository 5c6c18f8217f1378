//! Kendall's tau over cell orders (AI4Code).

use std::collections::HashMap;

use super::Metric;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::split_words;
use crate::table::Column;

/// Kendall's tau of orders, pooled over rows.
pub static KENDALL_TAU_ORDERS: Metric = Metric {
    name: "kendall_tau_orders",
    aliases: &["kendall_tau"],
    summary: "1 - 4 * (inversions of all rows) / (sum of n (n - 1)), n the number of items of a row.",
    inputs: "one text column: the items in order, separated by white space; the submission must permute the true items",
    source: "MLE-bench `AI4Code/grade.py`",
    options: &[],
    validate: |form| {
        super::any_cells(form)?;
        let (prediction, pairs) = (form.prediction(0)?, form.pairs()?);
        // The sample holds every item of each row, in an order that tells nothing.
        let Some(sample) = form.sample(0) else { return Ok(()) };
        let mut rows = pairs.expected.iter().zip(pairs.submission.iter());
        rows.try_for_each(|(a, s)| places(&sample, a, &prediction, s).map(drop))
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let (mut inversions, mut pairs_twice) = (0_u64, 0_u64);
        for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
            let order = places(&truth, a, &prediction, s)?;
            inversions += count_inversions(&order);
            pairs_twice += (order.len() as u64) * (order.len() as u64).saturating_sub(1);
        }
        Ok(1.0 - 4.0 * inversions as f64 / pairs_twice as f64)
    },
};

/// The place that each expected item has in the submitted order.
fn places(
    expected: &Column<'_>,
    expected_row: usize,
    prediction: &Column<'_>,
    row: usize,
) -> Result<Vec<usize>, Refusal> {
    let (expected, predicted) = (expected.printed(expected_row), prediction.printed(row));
    let bad = |message: String| -> Refusal {
        InvalidSubmission::new(InvalidKind::BadCell, message)
            .at(row)
            .in_column(prediction.name())
            .into()
    };
    // Counted first, so that a cell of any length costs no more memory than the true one.
    let (wanted, found) = (split_words(&expected).count(), split_words(&predicted).count());
    if wanted != found {
        return Err(bad(format!("the row orders {found} items, expected {wanted}")));
    }
    let places: HashMap<&str, usize> =
        split_words(&predicted).enumerate().map(|(place, item)| (item, place)).collect();
    let order: Option<Vec<usize>> =
        split_words(&expected).map(|item| places.get(item).copied()).collect();
    order.ok_or_else(|| bad("the row does not hold every item of the notebook once".to_owned()))
}

/// Number of pairs that stand in descending order, counted by a merge sort.
pub fn count_inversions(order: &[usize]) -> u64 {
    let (mut from, mut to) = (order.to_vec(), order.to_vec());
    let mut inversions = 0;
    let mut width = 1;
    while width < from.len() {
        for start in (0..from.len()).step_by(2 * width) {
            let (middle, end) =
                ((start + width).min(from.len()), (start + 2 * width).min(from.len()));
            let (mut left, mut right) = (start, middle);
            for slot in &mut to[start..end] {
                if right == end || left < middle && from[left] <= from[right] {
                    *slot = from[left];
                    left += 1;
                } else {
                    inversions += (middle - left) as u64;
                    *slot = from[right];
                    right += 1;
                }
            }
        }
        std::mem::swap(&mut from, &mut to);
        width *= 2;
    }
    inversions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inversions_are_counted() {
        for (order, expected) in [
            (&[][..], 0),
            (&[0, 1, 2], 0),
            (&[2, 1, 0], 3),
            (&[1, 0, 3, 2, 4], 2),
            (&[4, 0, 1, 2, 3], 4),
            (&[1, 1, 0], 2),
        ] {
            assert_eq!(count_inversions(order), expected, "{order:?}");
        }
    }
}
