//! Scores made for medical competitions.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::Metric;
use crate::check::check;
use crate::form::Form;
use crate::ids::Rows;
use crate::invalid::{
    InvalidKind, InvalidSubmission, Refusal, bad_answer, missing_value, not_a_number,
};
use crate::labels::not_numeric;
use crate::pytext::parse_int;
use crate::spec::Check;
use crate::table::Column;
use crate::task::Task;

/// Laplace log likelihood of lung capacities.
pub static LAPLACE_LOG_LIKELIHOOD: Metric = Metric {
    name: "laplace_log_likelihood",
    aliases: &["modified_laplace_log_likelihood"],
    summary: "Mean modified Laplace log likelihood of each patient's last three measurements.",
    inputs: "two numeric columns: the prediction and its confidence; ids `<patient>_<week>`; the answers also hold `Patient`",
    source: "MLE-bench `osic-pulmonary-fibrosis-progression/grade.py`",
    options: &[],
    validate: measured_weeks,
    score: last_weeks_likelihood,
};

/// Weighted log loss of fractures.
pub static FRACTURE_LOG_LOSS: Metric = Metric {
    name: "weighted_multilabel_log_loss",
    aliases: &["fracture_log_loss"],
    summary: "Log loss over eight labels a study (overall counts 7, the vertebrae 1; double where positive), averaged over studies.",
    inputs: "one column of probabilities; ids `<study>_<label>`",
    source: "MLE-bench `rsna-2022-cervical-spine-fracture-detection/grade.py`",
    options: &[],
    validate: |form| {
        let (prediction, rows) = (form.prediction(0)?, form.submitted_rows()?);
        let is_number = |row| {
            prediction.number(row).map(drop).ok_or_else(|| not_a_number(row, &prediction).into())
        };
        rows.iter().try_for_each(is_number)
    },
    score: fracture_log_loss,
};

/// Probabilistic F1.
pub static PROBABILISTIC_F1: Metric = Metric {
    name: "probabilistic_f1",
    aliases: &["pf1"],
    summary: "F1 score in which each prediction counts as that share of a positive.",
    inputs: "one numeric column, clipped to [0, 1]",
    source: "MLE-bench `rsna-breast-cancer-detection/grade.py`",
    options: &[],
    validate: |form| {
        let prediction = form.prediction(0)?;
        numeric_column(&prediction)?;
        let predicted = form.predicted_numbers(0)?;
        // One true positive stands for all there may be.
        probabilistic_f1(&vec![true; predicted.len()], &predicted)
            .map(drop)
            .ok_or_else(|| divides_by_zero().into())
    },
    score: |task| {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        numeric_column(&prediction)?;
        let positive = |row: usize| {
            truth
                .number(row)
                .map(|v| v != 0.0)
                .ok_or_else(|| bad_answer(row, &truth, "is no number"))
        };
        let labels = pairs.expected.iter().map(positive).collect::<Result<Vec<_>, _>>()?;
        probabilistic_f1(&labels, &task.predicted_numbers(0)?)
            .ok_or_else(|| divides_by_zero().into())
    },
};

/// Refuses a column of text, even of text that reads as numbers.
fn numeric_column(prediction: &Column<'_>) -> Result<(), InvalidSubmission> {
    if prediction.is_text() && !prediction.is_empty() {
        Err(not_numeric(prediction))
    } else {
        Ok(())
    }
}

fn divides_by_zero() -> InvalidSubmission {
    InvalidSubmission::new(
        InvalidKind::Undefined,
        "the score divides by zero: no prediction or no true value is above 0",
    )
}

/// Rows of each patient that are graded.
const LAST_WEEKS: usize = 3;

/// Whether a text id is among rows that are sorted by it.
fn has_id(ids: &Column<'_>, rows: &Rows, id: &str) -> bool {
    let (mut from, mut to) = (0, rows.len());
    while from < to {
        let middle = from.midpoint(to);
        match ids.raw(rows.at(middle)).cmp(id) {
            Ordering::Less => from = middle + 1,
            Ordering::Greater => to = middle,
            Ordering::Equal => return true,
        }
    }
    false
}

/// Checks that every row is of a week that was measured, as far as the ids tell.
fn known_weeks(form: &Form<'_>) -> Result<(), Refusal> {
    let (weeks, ids) = (form.expected_ids()?[0], form.submission_ids()?[0]);
    let known = form.sorted_expected()?;
    for row in 0..ids.len() {
        match ids.text(row).filter(|_| ids.is_text()) {
            None if ids.is_missing(row) => return Err(missing_value(&ids, row).into()),
            Some(id) if has_id(&weeks, known, id) => {}
            _ => {
                let unknown =
                    InvalidSubmission::new(InvalidKind::Ids, "the id is not one of the test set's");
                return Err(unknown
                    .at(row)
                    .in_column(ids.name())
                    .with_value(ids.raw(row))
                    .expecting("an id of the test set")
                    .into());
            }
        }
    }
    Ok(())
}

/// A week of the sample once each: which of them are graded is not public.
fn measured_weeks(form: &Form<'_>) -> Result<(), Refusal> {
    form.prediction(1)?;
    known_weeks(form)?;
    check(form, Check::Ids)
}

fn last_weeks_likelihood(task: &Task<'_>) -> Result<f64, Refusal> {
    let (weeks, truth, patients) = (task.answer_ids()?[0], task.truth(0)?, task.answer("Patient")?);
    let (ids, prediction, confidence) =
        (task.submission_ids()?[0], task.prediction(0)?, task.prediction(1)?);
    known_weeks(task.form())?;
    // The last measured weeks of each patient, by the number after the id's last underscore.
    let mut measured: Vec<(i64, u32)> = Vec::with_capacity(truth.len());
    for row in (0..truth.len()).filter(|&row| !truth.is_missing(row)) {
        let week = weeks.text(row).and_then(|id| parse_int(id.rsplit('_').next()?));
        let week = week.and_then(|week| i64::try_from(week).ok());
        let week = week.ok_or_else(|| bad_answer(row, &weeks, "does not end in a week"))?;
        measured.push((week, row as u32));
    }
    measured.sort_unstable();
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let mut scored: Vec<u32> = Vec::new();
    for &(_, row) in measured.iter().rev() {
        let count = taken.entry(patients.raw(row as usize)).or_default();
        *count += 1;
        if *count <= LAST_WEEKS {
            scored.push(row);
        }
    }
    scored.sort_unstable_by_key(|&row| (weeks.raw(row as usize), row));
    let scored = Rows::Listed(scored);
    let order = task.sorted_submission()?.iter();
    let order = order.filter(|&row| has_id(&weeks, &scored, ids.raw(row)));
    let order = Rows::Listed(order.map(|row| row as u32).collect());
    let actual: Vec<f64> = scored
        .iter()
        .filter(|&row| has_id(&ids, &order, weeks.raw(row)))
        .map(|row| truth.number(row).ok_or_else(|| bad_answer(row, &truth, "is no number")))
        .collect::<Result<_, _>>()?;
    let number = |column: &Column<'_>, row: usize| column.number(row).unwrap_or(f64::NAN);
    let rows = actual.len().max(order.len());
    // A single value stands for all rows, as numpy broadcasts it.
    if actual.len() != order.len() && actual.len() != 1 && order.len() != 1 {
        return Err(InvalidSubmission::new(
            InvalidKind::RowCount,
            "a graded week does not occur as often as it was measured",
        )
        .with_value(order.len().to_string())
        .expecting(format!("{} rows of graded weeks", actual.len()))
        .into());
    }
    let mut total = 0.0;
    for k in 0..rows {
        let row = order.at(k.min(order.len() - 1));
        // A missing confidence counts as 0.
        let sure = number(&confidence, row);
        let sure = if sure.is_nan() { 0.0 } else { sure };
        total +=
            laplace_log_likelihood(actual[k.min(actual.len() - 1)], number(&prediction, row), sure);
    }
    Ok(total / rows as f64)
}

fn fracture_log_loss(task: &Task<'_>) -> Result<f64, Refusal> {
    let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
    let ids = task.answer_ids()?[0];
    let mut studies: HashMap<&str, Study> = HashMap::new();
    for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
        let split = ids.text(a).filter(|_| ids.is_text()).and_then(|id| id.split_once('_'));
        let (study, label) = split.ok_or_else(|| bad_answer(a, &ids, "is no `<study>_<label>`"))?;
        let positive = match truth.number(a) {
            Some(0.0) => false,
            Some(1.0) => true,
            _ => return Err(bad_answer(a, &truth, "is neither 0 nor 1")),
        };
        let Some(place) = LABELS.iter().position(|&known| known == label) else { continue };
        let probability = prediction.number(s).ok_or_else(|| not_a_number(s, &prediction))?;
        let loss = clipped_log_loss(positive, probability);
        if !studies.entry(study).or_default().add(place, positive, loss) {
            return Err(bad_answer(a, &ids, "occurs twice"));
        }
    }
    let mut names: Vec<&str> = studies.keys().copied().collect();
    names.sort_unstable();
    Ok(names.iter().map(|study| studies[study].loss()).sum::<f64>() / names.len() as f64)
}

/// What is known of a study's labels.
#[derive(Default)]
struct Study {
    losses: [f64; 8],
    /// A bit for each label that was seen.
    seen: u8,
    /// A bit for each that is positive.
    positive: u8,
}

impl Study {
    /// Notes the loss of a label; false if there is one already.
    fn add(&mut self, place: usize, positive: bool, loss: f64) -> bool {
        let is_new = self.seen & 1 << place == 0;
        self.seen |= 1 << place;
        self.positive |= u8::from(positive) << place;
        self.losses[place] = loss;
        is_new
    }

    fn loss(&self) -> f64 {
        let (mut weights, mut losses) = (0.0, 0.0);
        for (place, loss) in self.losses.iter().enumerate() {
            let weight = if place == 0 { 7.0 } else { 1.0 };
            let weight = if self.positive & 1 << place == 0 { weight } else { weight * 2.0 };
            // A label that a study lacks makes its loss NaN.
            let weight = if self.seen & 1 << place == 0 { f64::NAN } else { weight };
            weights += weight;
            losses += weight * loss;
        }
        losses / weights
    }
}

/// The labels of a study.
const LABELS: [&str; 8] = ["patient_overall", "C1", "C2", "C3", "C4", "C5", "C6", "C7"];

/// The largest error that [`laplace_log_likelihood`] counts, in millilitres.
const LARGEST_ERROR: f64 = 1000.0;
/// The smallest standard deviation that it counts, in millilitres.
const SMALLEST_DEVIATION: f64 = 70.0;

/// Modified Laplace log likelihood of one measurement; higher is better, at most `-ln(70 sqrt 2)`.
///
/// `truth`, `predicted`: forced vital capacity. `confidence`: the predicted standard deviation;
/// below 70 it counts as 70. Errors above 1000 count as 1000. A NaN prediction gives NaN, an
/// infinite confidence minus infinity.
///
/// # Source
/// MLE-bench `osic-pulmonary-fibrosis-progression/grade.py`, `laplace_log_likelihood`.
#[must_use]
pub fn laplace_log_likelihood(truth: f64, predicted: f64, confidence: f64) -> f64 {
    let deviation = confidence.max(SMALLEST_DEVIATION);
    let error = (truth - predicted).abs();
    let error = if error > LARGEST_ERROR { LARGEST_ERROR } else { error };
    let root = 2.0_f64.sqrt();
    -root * error / deviation - (root * deviation).ln()
}

/// Log loss of one probability, clipped to [1e-15, 1 - 1e-15].
///
/// # Source
/// MLE-bench `rsna-2022-cervical-spine-fracture-detection/grade.py`. `1 - (1 - 1e-15)` is not 1e-15
/// in doubles, so the expression is kept as it is there.
#[must_use]
pub fn clipped_log_loss(positive: bool, probability: f64) -> f64 {
    let p = probability.clamp(1e-15, 1.0 - 1e-15);
    if positive { -p.ln() } else { -(1.0 - p).ln() }
}

/// Probabilistic F1: the F1 score with each prediction counting as that share of a positive.
///
/// `truth`: `[n]`. `predicted`: `[n]`, clipped to [0, 1]; a NaN makes the score 0. `None` if
/// nothing is positive, or if every prediction is below 0: the reference divides by a zero that is
/// no float there.
///
/// # Source
/// MLE-bench `rsna-breast-cancer-detection/grade.py`, `pfbeta`.
#[must_use]
pub fn probabilistic_f1(truth: &[bool], predicted: &[f64]) -> Option<f64> {
    let positives = truth.iter().filter(|&&t| t).count();
    if positives == 0 || predicted.iter().all(|&p| p < 0.0) {
        return None;
    }
    let (mut hits, mut false_hits) = (0.0, 0.0);
    for (&t, &p) in truth.iter().zip(predicted) {
        // `clamp` lets NaN through.
        *(if t { &mut hits } else { &mut false_hits }) += p.clamp(0.0, 1.0);
    }
    let precision: f64 = hits / (hits + false_hits);
    let recall = hits / positives as f64;
    Some(if precision > 0.0 && recall > 0.0 {
        2.0 * (precision * recall) / (precision + recall)
    } else {
        0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn laplace_bounds() {
        let best = -(70.0 * 2.0_f64.sqrt()).ln();
        assert!((laplace_log_likelihood(2500.0, 2500.0, 0.0) - best).abs() < 1e-15);
        assert_eq!(
            laplace_log_likelihood(2500.0, f64::INFINITY, 70.0),
            laplace_log_likelihood(2500.0, 9999.0, 70.0)
        );
        assert!(laplace_log_likelihood(2500.0, f64::NAN, 70.0).is_nan());
        assert_eq!(laplace_log_likelihood(2500.0, 2500.0, f64::INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn log_loss_of_certain_answers() {
        assert_eq!(clipped_log_loss(true, 1.0), -((1.0 - 1e-15_f64).ln()));
        assert_eq!(clipped_log_loss(true, 0.0), -(1e-15_f64.ln()));
        assert_eq!(clipped_log_loss(false, 1.0), -(9.992_007_221_626_409e-16_f64.ln()));
    }

    #[test]
    fn probabilistic_f1_edges() {
        assert_eq!(probabilistic_f1(&[true, false], &[1.0, 0.0]), Some(1.0));
        assert_eq!(probabilistic_f1(&[true, false], &[f64::INFINITY, -1.0]), Some(1.0));
        assert_eq!(probabilistic_f1(&[true, false], &[0.0, 0.0]), Some(0.0));
        assert_eq!(probabilistic_f1(&[true, false], &[f64::NAN, 0.5]), Some(0.0));
        assert_eq!(probabilistic_f1(&[true, false], &[-1.0, -0.5]), None);
        assert_eq!(probabilistic_f1(&[false, false], &[0.5, 0.5]), None);
    }

    proptest! {
        #[test]
        fn probabilistic_f1_is_a_share(rows in proptest::collection::vec((any::<bool>(), -0.5_f64..1.5), 1..40)) {
            let (truth, predicted): (Vec<bool>, Vec<f64>) = rows.into_iter().unzip();
            let hard: Vec<f64> = truth.iter().map(|&t| f64::from(u8::from(t))).collect();
            if let Some(score) = probabilistic_f1(&truth, &predicted) {
                prop_assert!((0.0..=1.0).contains(&score));
                prop_assert_eq!(probabilistic_f1(&truth, &hard), Some(1.0));
            }
        }
    }
}
