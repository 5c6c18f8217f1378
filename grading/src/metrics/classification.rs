//! Metrics over class labels.

use super::Metric;
use crate::ids::same;
use crate::invalid::Refusal;
use crate::labels::check_comparable;
use crate::task::Task;

/// Accuracy: the share of rows whose label is right.
pub static ACCURACY: Metric = Metric {
    name: "accuracy",
    aliases: &["accuracy_score"],
    summary: "Share of rows whose label equals the true one.",
    inputs: "one label column: integers, integral floats, booleans (1 and 0) or text",
    source: "scikit-learn 1.5.2 `accuracy_score`",
    options: &[],
    score: |task| Ok(accuracy(matches(task)?)),
};

/// For each pair, whether the submitted label is right.
fn matches(task: &Task<'_>) -> Result<impl ExactSizeIterator<Item = bool>, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    check_comparable(&truth, &prediction)?;
    let rows = pairs.answers.iter().zip(pairs.submission.iter());
    Ok(rows.map(move |(a, s)| same(truth, a, prediction, s)))
}

/// Share of `true` among `matches`, `[n]`: whether each row's label is right. NaN for no rows.
///
/// # Source
/// scikit-learn 1.5.2 `accuracy_score`: the mean of the comparison.
pub fn accuracy(matches: impl ExactSizeIterator<Item = bool>) -> f64 {
    let rows = matches.len();
    matches.filter(|&right| right).count() as f64 / rows as f64
}
