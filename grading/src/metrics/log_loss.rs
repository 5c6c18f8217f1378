//! Logarithmic loss.

use super::{Metric, MetricError, check_lengths};
use crate::invalid::Refusal;
use crate::sum::mean;
use crate::task::Task;

/// Binary or multi-class log loss.
pub static LOG_LOSS: Metric = Metric {
    name: "log_loss",
    aliases: &["logloss", "cross_entropy", "multiclass_log_loss"],
    summary: "Mean of -ln(p of the true class), p clipped to [2^-52, 1 - 2^-52]; rows are not rescaled to sum 1.",
    inputs: "one target column: 0/1 in the truth and the probability of 1; several: one-hot truth and a probability per class",
    source: "scikit-learn 1.5.2 `log_loss`",
    options: &[],
    score: |task| match task.spec.target_columns.len() {
        1 => {
            let positive = super::ranking::two_classes(task, 0)?;
            binary_log_loss(&positive, &task.predicted_numbers(0)?).map_err(|error| task.refuse(0, error))
        }
        classes => multiclass(task, classes),
    },
};

fn multiclass(task: &Task<'_>, classes: usize) -> Result<f64, Refusal> {
    let mut losses = vec![0.0; task.pairs()?.answers.len()];
    for class in 0..classes {
        let (truth, predicted) = (task.truth_numbers(class)?, task.predicted_numbers(class)?);
        super::check_finite(&truth, &predicted).map_err(|error| task.refuse(class, error))?;
        add_class_loss(&mut losses, &truth, &predicted);
    }
    Ok(mean(&losses))
}

/// Adds one class's part to each row's loss: `-truth * ln(p)`, p clipped to [2^-52, 1 - 2^-52].
///
/// `losses`, `truth`, `predicted`: `[n]`; the truth is 1 in the rows of this class, else 0.
///
/// # Source
/// scikit-learn 1.5.2 `log_loss`: `-xlogy(transformed_labels, clip(y_pred)).sum(axis=1)`.
pub fn add_class_loss(losses: &mut [f64], truth: &[f64], predicted: &[f64]) {
    for ((loss, &truth), &p) in losses.iter_mut().zip(truth).zip(predicted) {
        if truth != 0.0 {
            *loss -= truth * clip(p).ln();
        }
    }
}

/// Log loss for two classes.
///
/// `positive`: `[n]`, the true class. `probability`: `[n]`, finite, of the positive class. The negative class has `1 - p`, formed before
/// both are clipped to [2^-52, 1 - 2^-52].
///
/// # Errors
/// [`MetricError::OneClass`] if all rows are of one class; [`MetricError::Missing`] or [`MetricError::Infinite`] names the first bad row.
///
/// # Source
/// scikit-learn 1.5.2 `log_loss` with a one-dimensional `y_pred`.
pub fn binary_log_loss(positive: &[bool], probability: &[f64]) -> Result<f64, MetricError> {
    check_lengths(positive.len(), probability.len())?;
    super::check_finite(probability, probability)?;
    if positive.iter().all(|&p| p == positive[0]) {
        return Err(MetricError::OneClass);
    }
    let losses: Vec<f64> = positive
        .iter()
        .zip(probability)
        .map(|(&positive, &p)| -clip(if positive { p } else { 1.0 - p }).ln())
        .collect();
    Ok(mean(&losses))
}

fn clip(p: f64) -> f64 {
    p.clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}
