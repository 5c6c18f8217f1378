//! Agreement of two label columns beyond chance.

use std::collections::HashMap;

use super::Metric;
use crate::invalid::bad_answer;
use crate::labels::{different_kinds, integer_labels};

/// Matthews' coefficient.
pub static MATTHEWS_CORRCOEF: Metric = Metric {
    name: "matthews_corrcoef",
    aliases: &["mcc"],
    summary: "Matthews correlation coefficient over all labels of truth and prediction; 0 if either is constant.",
    inputs: "one column of integer labels (integral floats and booleans are fine)",
    source: "scikit-learn 1.5.2 `matthews_corrcoef`",
    options: &[],
    validate: |form| {
        let (prediction, rows) = (form.prediction(0)?, form.submitted_rows()?);
        let labels = integer_labels(&prediction)?.map(drop);
        labels.ok_or_else(|| different_kinds(&prediction, false))?;
        Ok(super::check_lengths(rows.len(), rows.len())?)
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        let predicted =
            integer_labels(&prediction)?.ok_or_else(|| different_kinds(&prediction, false))?;
        let actual = integer_labels(&truth)
            .ok()
            .flatten()
            .ok_or_else(|| bad_answer(0, &truth, "is no integer label"))?;
        super::check_lengths(pairs.expected.len(), pairs.submission.len())?;
        let rows = pairs.expected.iter().zip(pairs.submission.iter());
        Ok(matthews(rows.map(|(a, s)| (actual(a), predicted(s)))))
    },
};

/// Matthews correlation coefficient of two label columns, over any number of classes.
///
/// `pairs`: the true and the predicted label of each row, any integers. The classes are those of both. 0 if either column is
/// constant, also where they agree.
///
/// # Source
/// scikit-learn 1.5.2 `matthews_corrcoef`.
#[must_use]
pub fn matthews(pairs: impl Iterator<Item = (i128, i128)>) -> f64 {
    let mut counts: HashMap<i128, [u64; 2]> = HashMap::new();
    let (mut correct, mut rows) = (0_u64, 0_u64);
    for (t, p) in pairs {
        rows += 1;
        counts.entry(t).or_default()[0] += 1;
        counts.entry(p).or_default()[1] += 1;
        correct += u64::from(t == p);
    }
    // Products of two counts stay below 2^64, and their sums over the classes below n^2.
    let product = |a: usize, b: usize| {
        counts.values().map(|c| u128::from(c[a]) * u128::from(c[b])).sum::<u128>() as f64
    };
    let samples = rows as f64;
    let covariance = correct as f64 * samples - product(0, 1);
    let spread = (samples * samples - product(1, 1)) * (samples * samples - product(0, 0));
    if spread == 0.0 { 0.0 } else { covariance / spread.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::matthews as of_pairs;
    use proptest::prelude::*;

    fn matthews(truth: &[i128], predicted: &[i128]) -> f64 {
        of_pairs(truth.iter().copied().zip(predicted.iter().copied()))
    }

    #[test]
    fn known_tables() {
        // From scikit-learn's documentation of the function.
        assert!((matthews(&[1, 1, 1, -1], &[1, -1, 1, 1]) + 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(matthews(&[1, 1], &[1, 1]), 0.0);
        assert_eq!(matthews(&[0, 1], &[1, 1]), 0.0);
        assert_eq!(matthews(&[0, 1, 0], &[1, 0, 1]), -1.0);
        assert_eq!(matthews(&[0, 1, 2], &[0, 1, 2]), 1.0);
    }

    proptest! {
        #[test]
        fn the_coefficient_is_symmetric_and_in_range(rows in proptest::collection::vec((-3_i128..3, -3_i128..3), 2..50)) {
            let (a, b): (Vec<i128>, Vec<i128>) = rows.into_iter().unzip();
            let score = matthews(&a, &b);
            prop_assert!((-1.0 - 1e-12..=1.0 + 1e-12).contains(&score) && (score - matthews(&b, &a)).abs() < 1e-12);
            let perfect = matthews(&a, &a);
            prop_assert!(perfect == 0.0 || (perfect - 1.0).abs() < 1e-12);
        }
    }
}
