//! Logarithmic loss.

use super::{Metric, MetricError, MetricOption, OptionKind, check_lengths};
use crate::form::Form;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::labels::not_numeric;
use crate::sum::{mean, pairwise_sum};
use crate::table::{Column, Values};
use crate::task::Task;

/// Binary or multi-class log loss.
pub static LOG_LOSS: Metric = Metric {
    name: "log_loss",
    aliases: &["logloss", "cross_entropy", "multiclass_log_loss"],
    summary: "Mean of -ln(p of the true class), p clipped to [2^-52, 1 - 2^-52]; rows are not rescaled to sum 1.",
    inputs: "one target column: 0/1 in the truth and the probability of 1; several: one-hot truth and a probability per class",
    source: "scikit-learn 1.5.2 `log_loss`",
    options: &[],
    validate: super::finite_cells,
    score: |task| match task.spec.target_columns.len() {
        1 => {
            let positive = super::ranking::two_classes(task, 0)?;
            binary_log_loss(&positive, &task.predicted_numbers(0)?)
                .map_err(|error| task.refuse(0, error))
        }
        classes => multiclass(task, classes),
    },
};

/// Mean over target columns of the binary log loss.
pub static COLUMNWISE_LOG_LOSS: Metric = Metric {
    name: "columnwise_log_loss",
    aliases: &["mean_columnwise_log_loss", "multilabel_log_loss"],
    summary: "Binary log loss of each target column, averaged plainly or with weights.",
    inputs: "per target column two classes in the truth (the larger one is positive) and the probability of the positive one",
    source: "scikit-learn 1.5.2 `log_loss`, a column at a time",
    options: &[MetricOption {
        name: "weights",
        kind: OptionKind::Numbers,
        required: false,
        doc: "a weight for each target column, in their order. Default: all the same.",
    }],
    validate: super::finite_cells,
    score: |task| {
        let columns = task.spec.target_columns.len();
        let mut weights = task.spec.numbers("weights");
        weights.resize(columns, if weights.is_empty() { 1.0 } else { 0.0 });
        let losses: Result<Vec<f64>, Refusal> = (0..columns)
            .map(|target| {
                let positive = super::ranking::two_classes(task, target)?;
                let loss = binary_log_loss(&positive, &task.predicted_numbers(target)?)
                    .map_err(|error| task.refuse(target, error))?;
                Ok(weights[target] * loss)
            })
            .collect();
        Ok(pairwise_sum(&losses?) / pairwise_sum(&weights))
    },
};

fn multiclass(task: &Task<'_>, classes: usize) -> Result<f64, Refusal> {
    let mut losses = vec![0.0; task.pairs()?.expected.len()];
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
/// `positive`: `[n]`, the true class. `probability`: `[n]`, finite, of the positive class. The
/// negative class has `1 - p`, formed before both are clipped to [2^-52, 1 - 2^-52].
///
/// # Errors
/// [`MetricError::OneClass`] if all rows are of one class; [`MetricError::Missing`] or
/// [`MetricError::Infinite`] names the first bad row.
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

/// Mean Kullback-Leibler divergence of vote shares.
pub static KL_DIVERGENCE: Metric = Metric {
    name: "kl_divergence",
    aliases: &["kullback_leibler_divergence"],
    summary: "Mean over rows of the sum of t ln(t / p), t the shares of the votes in the answers, p clipped to [1e-15, 1 - 1e-15].",
    inputs: "votes per class in the truth; probabilities, also in every further column of the submission; missing ones cost nothing",
    source: "MLE-bench `hms-harmful-brain-activity-classification/grade.py` and `kaggle_metric_utilities`",
    options: &[],
    validate: |form| {
        all_probabilities(form)?;
        form.submitted_rows().map(drop)
    },
    score: kl_divergence,
};

fn kl_divergence(task: &Task<'_>) -> Result<f64, Refusal> {
    const CLIP: f64 = 1e-15;
    all_probabilities(task.form())?;
    let classes = task.spec.target_columns.len();
    let mut totals = vec![0.0; task.pairs()?.expected.len()];
    for class in 0..classes {
        let votes = task.truth_numbers(class)?;
        totals.iter_mut().zip(votes).for_each(|(total, votes)| *total += votes);
    }
    let mut rows = vec![0.0; totals.len()];
    for class in 0..classes {
        let (votes, predicted) = (task.truth_numbers(class)?, task.predicted_numbers(class)?);
        // The reference clips float columns only: a column of whole numbers keeps its zeros and
        // ones.
        let clipped = matches!(task.prediction(class)?.values(), Values::Float(_));
        for (row, sum) in rows.iter_mut().enumerate() {
            let share = votes[row] / totals[row];
            let p = if clipped { predicted[row].clamp(CLIP, 1.0 - CLIP) } else { predicted[row] };
            if share != 0.0 && !p.is_nan() {
                *sum += share * (share / p).ln();
            }
        }
    }
    Ok(mean(&rows))
}

/// Checks that all columns but the ids together are a distribution in every row, missing cells
/// skipped.
fn all_probabilities(form: &Form<'_>) -> Result<(), Refusal> {
    const TOLERANCE: f64 = 1.001e-5;
    let others = form.submission.names().iter().filter(|name| !form.spec.id_columns.contains(name));
    let columns: Vec<Column<'_>> =
        others.map(|name| form.submitted(name)).collect::<Result<_, _>>()?;
    if let Some(column) = columns.iter().find(|column| !column.is_numeric()) {
        return Err(not_numeric(column).into());
    }
    for row in 0..form.submission.rows() {
        let mut sum = 0.0;
        for column in &columns {
            let value = column.number(row).unwrap_or(f64::NAN);
            if !(value.is_nan() || (0.0..=1.0).contains(&value)) {
                return Err(InvalidSubmission::new(
                    InvalidKind::OutOfRange,
                    "the value is out of range",
                )
                .at(row)
                .in_column(column.name())
                .with_value(column.raw(row))
                .expecting("a probability from 0 to 1")
                .into());
            }
            sum += if value.is_nan() { 0.0 } else { value };
        }
        if (sum - 1.0).abs() > TOLERANCE {
            return Err(InvalidSubmission::new(
                InvalidKind::RowSum,
                "the row's values, further columns included, do not add up to 1",
            )
            .at(row)
            .with_value(crate::check::plain_number(sum))
            .expecting("a sum of 1")
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_miss_costs_36() {
        let loss = binary_log_loss(&[true, false], &[1.0, 0.0]).unwrap();
        assert!((loss - 2.2e-16).abs() < 1e-16, "{loss}");
        let loss = binary_log_loss(&[true, false], &[0.0, 1e-320]).unwrap();
        assert!((loss - 36.043_653_389_117_15 / 2.0).abs() < 1e-12);
        assert_eq!(binary_log_loss(&[true, true], &[0.5, 0.5]), Err(MetricError::OneClass));
    }

    #[test]
    fn class_losses_add_up() {
        let mut losses = [0.0, 0.0];
        add_class_loss(&mut losses, &[1.0, 0.0], &[0.5, 0.5]);
        add_class_loss(&mut losses, &[0.0, 1.0], &[0.5, 0.25]);
        assert_eq!(losses, [2.0_f64.ln(), 4.0_f64.ln()]);
    }
}
