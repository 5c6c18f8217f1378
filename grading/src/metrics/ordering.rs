//! Kendall's tau over cell orders (AI4Code).

use std::collections::HashMap;

use super::Metric;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::split_words;

/// Kendall's tau of orders, pooled over rows.
pub static KENDALL_TAU_ORDERS: Metric = Metric {
    name: "kendall_tau_orders",
    aliases: &["kendall_tau"],
    summary: "1 - 4 * (inversions of all rows) / (sum of n (n - 1)), n the number of items of a row.",
    inputs: "one text column: the items in order, separated by white space; the submission must permute the true items",
    source: "MLE-bench `AI4Code/grade.py`",
    options: &[],
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let (mut inversions, mut pairs_twice) = (0_u64, 0_u64);
        for (a, s) in pairs.answers.iter().zip(pairs.submission.iter()) {
            let (truth, predicted) = (truth.printed(a), prediction.printed(s));
            let truth: Vec<&str> = split_words(&truth).collect();
            let predicted: Vec<&str> = split_words(&predicted).collect();
            let bad = |message: String| -> Refusal {
                InvalidSubmission::new(InvalidKind::BadCell, message)
                    .at(s)
                    .in_column(prediction.name())
                    .into()
            };
            if truth.len() != predicted.len() {
                return Err(bad(format!(
                    "the row orders {} items, expected {}",
                    predicted.len(),
                    truth.len()
                )));
            }
            let places: HashMap<&str, usize> =
                predicted.iter().enumerate().map(|(place, &item)| (item, place)).collect();
            let order: Option<Vec<usize>> =
                truth.iter().map(|item| places.get(item).copied()).collect();
            let order = order.ok_or_else(|| {
                bad("the row does not hold every item of the notebook once".to_owned())
            })?;
            inversions += count_inversions(&order);
            pairs_twice += (truth.len() as u64) * (truth.len() as u64).saturating_sub(1);
        }
        Ok(1.0 - 4.0 * inversions as f64 / pairs_twice as f64)
    },
};

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
