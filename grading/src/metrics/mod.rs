//! All metrics, by name.
//!
//! A metric is a pure function over slices, documented with shapes, ties, edge cases and source,
//! and a [`Metric`]: its row in [`METRICS`], whose `score` takes the values from a [`Task`]. A
//! competition's `[grading]` table names the metric; help and the metrics page are made from the
//! rows.

pub mod agreement;
pub mod boxes;
pub mod boxes3d;
pub mod classification;
pub mod command;
pub mod correlation;
pub mod errors;
pub mod geo;
pub mod jigsaw;
pub mod kuzushiji;
pub mod label_sets;
pub mod log_loss;
pub mod masks;
pub mod matthews;
pub mod medical;
pub mod ordering;
pub mod question_answering;
mod rank;
pub mod ranking;
pub mod regression;
pub mod retrieval;
pub mod sequences;
pub mod strings;

pub use crate::invalid::MetricError;

use crate::form::Form;
use crate::invalid::Refusal;
use crate::task::Task;

/// A metric as competitions choose it.
#[derive(Debug)]
pub struct Metric {
    /// Its name in the field, in `snake_case`.
    pub name: &'static str,
    /// Other names it is known by.
    pub aliases: &'static [&'static str],
    /// What it measures, in a sentence.
    pub summary: &'static str,
    /// What the target columns of answers and submission hold.
    pub inputs: &'static str,
    /// The library and function, or the competition, that defines it.
    pub source: &'static str,
    /// The keys it understands in `[grading.options]`.
    pub options: &'static [MetricOption],
    /// Says whether a submission that has passed the competition's checks is one that the metric
    /// can score, as far as that does not depend on the answers. It sees none.
    pub validate: fn(&Form<'_>) -> Result<(), Refusal>,
    /// Scores a submission that has passed the competition's checks.
    pub score: fn(&Task<'_>) -> Result<f64, Refusal>,
}

/// A key that a metric understands in `[grading.options]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricOption {
    /// The key.
    pub name: &'static str,
    /// The type of its value.
    pub kind: OptionKind,
    /// Whether it must be set.
    pub required: bool,
    /// What it does, and its default.
    pub doc: &'static str,
}

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// A text.
    Text,
    /// A list of numbers.
    Numbers,
    /// A list of texts.
    Texts,
}

/// Every metric, in the order of the metrics page.
pub static METRICS: &[&Metric] = &[
    &classification::ACCURACY,
    &classification::TEXT_ACCURACY,
    &classification::TOP_1_ERROR,
    &classification::F1_MACRO,
    &classification::QUADRATIC_WEIGHTED_KAPPA,
    &matthews::MATTHEWS_CORRCOEF,
    &agreement::F_BETA,
    &agreement::BALANCED_ACCURACY,
    &agreement::COHEN_KAPPA,
    &agreement::WEIGHTED_ACCURACY,
    &agreement::HAMMING_LOSS,
    &label_sets::F1_MICRO_LABEL_SETS,
    &question_answering::ANSWER_SPAN_F1,
    &label_sets::MAP_AT_K,
    &retrieval::NDCG_AT_K,
    &retrieval::TOP_K_ERROR,
    &retrieval::MEAN_F_BETA_SETS,
    &retrieval::GLOBAL_AVERAGE_PRECISION,
    &log_loss::LOG_LOSS,
    &log_loss::COLUMNWISE_LOG_LOSS,
    &log_loss::KL_DIVERGENCE,
    &medical::FRACTURE_LOG_LOSS,
    &medical::PROBABILISTIC_F1,
    &ranking::ROC_AUC,
    &ranking::WEIGHTED_ROC_AUC,
    &retrieval::AVERAGE_PRECISION,
    &retrieval::GINI,
    &retrieval::NORMALIZED_GINI,
    &ranking::LWLRAP,
    &jigsaw::MARKED_MEAN_ROC_AUC,
    &jigsaw::IDENTITY_BIAS_AUC,
    &regression::MAE,
    &regression::RMSE,
    &regression::RMSLE,
    &errors::MSE,
    &errors::MSLE,
    &errors::MAPE,
    &errors::SMAPE,
    &errors::RMSPE,
    &errors::R2,
    &errors::MEDIAN_ABSOLUTE_ERROR,
    &errors::PINBALL_LOSS,
    &errors::WEIGHTED_MAE,
    &errors::WEIGHTED_RMSE,
    &regression::GROUP_LOG_MAE,
    &regression::ANGULAR_ERROR,
    &medical::LAPLACE_LOG_LIKELIHOOD,
    &geo::TRIP_DISTANCE,
    &correlation::PEARSON,
    &correlation::SPEARMAN,
    &ordering::KENDALL_TAU_ORDERS,
    &sequences::SEQUENCE_ERROR_RATE,
    &strings::LEVENSHTEIN,
    &strings::WORD_JACCARD,
    &masks::DICE,
    &masks::MASK_IOU_PRECISION,
    &masks::MASK_F_BETA,
    &masks::DICE_HAUSDORFF,
    &boxes::LABELLED_BOX_MAP,
    &boxes::COCO_BOX_MAP,
    &kuzushiji::POINT_IN_BOX_F1,
    &boxes3d::BOX_3D_MAP,
    &command::COMMAND,
];

/// [`Metric::validate`] of a metric that takes any cells: there is a target column, and its rows
/// can be paired.
fn any_cells(form: &Form<'_>) -> Result<(), Refusal> {
    form.prediction(0)?;
    form.submitted_rows().map(drop)
}

/// [`Metric::validate`] of a metric that takes finite numbers. All rows must hold some, since which
/// of them are graded is not public.
fn finite_cells(form: &Form<'_>) -> Result<(), Refusal> {
    form.finite_targets(|_, _| None)
}

/// Checks that two inputs have the same length and at least one value, all finite.
pub fn check_finite(y_true: &[f64], y_pred: &[f64]) -> Result<(), MetricError> {
    check_lengths(y_true.len(), y_pred.len())?;
    for values in [y_true, y_pred] {
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(not_finite(index, values[index]));
        }
    }
    Ok(())
}

/// The error for a value that is NaN or infinite.
fn not_finite(index: usize, value: f64) -> MetricError {
    if value.is_nan() { MetricError::Missing { index } } else { MetricError::Infinite { index } }
}

/// Checks that two inputs have the same length and at least one value.
pub fn check_lengths(truth: usize, predicted: usize) -> Result<(), MetricError> {
    if truth != predicted {
        return Err(MetricError::Lengths { truth, predicted });
    }
    if truth == 0 { Err(MetricError::Empty) } else { Ok(()) }
}
