//! The two Jigsaw competitions on toxic comments.

use super::ranking::roc_auc;
use super::{Metric, MetricOption, OptionKind};
use crate::check::{check, finite};
use crate::form::Form;
use crate::ids::{Rows, id_matches, sorted_index};
use crate::invalid::{
    InvalidKind, InvalidSubmission, Refusal, bad_answer, missing_value, not_a_number,
};
use crate::labels::not_numeric;
use crate::spec::Check;
use crate::sum::mean;
use crate::table::Column;
use crate::task::Task;

/// Mean ROC AUC over columns, rows marked in the answers left out.
pub static MARKED_MEAN_ROC_AUC: Metric = Metric {
    name: "jigsaw_toxic_roc_auc",
    aliases: &[],
    summary: "Mean ROC AUC of the class columns over the rows whose true values do not sum to less than 0.",
    inputs: "one 0/1 column per class in the truth (-1 in rows that are not graded) and finite scores; columns are paired by position",
    source: "MLE-bench `jigsaw-toxic-comment-classification-challenge/grade.py`",
    options: &[MetricOption {
        name: "columns_by_name",
        kind: OptionKind::Flag,
        required: false,
        doc: "pair class columns by name, where the reference pairs them by position (the default)",
    }],
    validate: scored_comments,
    score: toxic,
};

/// The pairs (row of the expected ids, row of the submission) of equal ids.
fn known_comments(form: &Form<'_>) -> Result<Vec<(u32, u32)>, Refusal> {
    let (expected_ids, submission_ids) = (form.expected_ids()?, form.submission_ids()?);
    let sorted = sorted_index(submission_ids[0]);
    let matches = id_matches((&expected_ids, form.sorted_expected()?), (&submission_ids, &sorted));
    if matches.len() < form.submission.rows() {
        let mut known = vec![false; form.submission.rows()];
        matches.iter().for_each(|&(_, row)| known[row as usize] = true);
        // Each known row is paired at least once, so that one must be unknown.
        let row = known.iter().position(|known| !known);
        let ids =
            |row: usize| submission_ids.iter().map(|c| c.raw(row)).collect::<Vec<_>>().join(", ");
        let invalid =
            InvalidSubmission::new(InvalidKind::Ids, "the id is not one of the test set's");
        return Err(row.map_or(invalid.clone(), |row| invalid.at(row).with_value(ids(row))).into());
    }
    Ok(matches)
}

/// The submission's class columns: those that are no ids, in the file's order unless the option
/// says otherwise.
fn class_columns<'t>(form: &Form<'t>) -> Result<Vec<Column<'t>>, Refusal> {
    if form.spec.flag("columns_by_name") {
        return (0..form.spec.target_columns.len()).map(|k| form.prediction(k)).collect();
    }
    let names = form.submission.names().iter().filter(|name| !form.spec.id_columns.contains(name));
    names.map(|name| form.submitted(name)).collect()
}

/// Finite scores for every comment once: which comments are graded is not public.
fn scored_comments(form: &Form<'_>) -> Result<(), Refusal> {
    known_comments(form)?;
    check(form, Check::Ids)?;
    class_columns(form)?.iter().try_for_each(finite)
}

fn toxic(task: &Task<'_>) -> Result<f64, Refusal> {
    let sorted_answers = task.sorted_answers()?;
    let truths: Vec<Column<'_>> =
        (0..task.spec.target_columns.len()).map(|k| task.truth(k)).collect::<Result<_, _>>()?;
    let graded =
        |row: usize| truths.iter().filter_map(|column| column.number(row)).sum::<f64>() >= 0.0;

    let matches = known_comments(task.form())?;
    let kept_submission: Vec<u32> =
        matches.into_iter().filter(|&(a, _)| graded(a as usize)).map(|(_, s)| s).collect();
    let kept_answers: Vec<u32> =
        sorted_answers.iter().filter(|&row| graded(row)).map(|row| row as u32).collect();
    if kept_answers.len() != kept_submission.len() {
        return Err(InvalidSubmission::new(
            InvalidKind::Ids,
            "the graded ids do not occur as often as in the test set",
        )
        .into());
    }
    let (kept_answers, kept_submission) =
        (Rows::Listed(kept_answers), Rows::Listed(kept_submission));

    let columns = class_columns(task.form())?;
    let areas: Result<Vec<f64>, Refusal> = truths
        .iter()
        .zip(&columns)
        .map(|(truth, column)| {
            // Rows that are not graded are dropped before cells are read as numbers.
            let bad = |row: usize| -> Refusal { not_a_number(row, column).into() };
            let positive: Vec<bool> =
                kept_answers.iter().map(|row| truth.number(row) == Some(1.0)).collect();
            let scores = kept_submission
                .iter()
                .map(|row| column.number(row).ok_or_else(|| bad(row)))
                .collect::<Result<Vec<f64>, Refusal>>()?;
            roc_auc(&positive, &scores).map_err(|error| {
                let place = error.index().map(|index| kept_submission.at(index));
                let invalid = InvalidSubmission::from(error).in_column(column.name());
                place
                    .map_or(invalid.clone(), |row| invalid.at(row).with_value(column.raw(row)))
                    .into()
            })
        })
        .collect();
    Ok(mean(&areas?))
}

/// ROC AUC blended with power means of AUCs over identity groups.
pub static IDENTITY_BIAS_AUC: Metric = Metric {
    name: "jigsaw_identity_auc",
    aliases: &["bias_auc"],
    summary: "Overall ROC AUC and power means (-5) of subgroup, BPSN and BNSP AUCs over identities, a quarter each; predictions are cut at 0.5.",
    inputs: "a number per row (`prediction` or `toxicity`); the answers have `toxicity` and one column per identity",
    source: "MLE-bench `jigsaw-unintended-bias-in-toxicity-classification/grade.py`",
    options: &[
        MetricOption {
            name: "alternative",
            kind: OptionKind::Text,
            required: true,
            doc: "the other name the submission's column may have; not both",
        },
        MetricOption {
            name: "identities",
            kind: OptionKind::Texts,
            required: true,
            doc: "the answers' identity columns",
        },
        MetricOption {
            name: "rank_scores",
            kind: OptionKind::Flag,
            required: false,
            doc: "rank the predictions as they are, where the reference cuts them at 0.5 first (the default)",
        },
    ],
    validate: |form| {
        let prediction = bias_prediction(form)?;
        bias_scores(form, &prediction).map(drop)
    },
    score: identity_bias,
};

/// The submission's column under the one name or the other.
fn bias_prediction<'t>(form: &Form<'t>) -> Result<Column<'t>, Refusal> {
    let alternative = form.spec.text("alternative").unwrap_or_default();
    let prediction = match (form.prediction(0), form.submission.column(alternative)) {
        (Ok(_), Some(column)) => {
            return Err(InvalidSubmission::new(
                InvalidKind::ExtraColumn,
                "two columns could be the prediction",
            )
            .in_column(column.name())
            .expecting(format!("one of `{}` and `{alternative}`", form.spec.target_columns[0]))
            .into());
        }
        (Ok(column), None) | (Err(_), Some(column)) => column,
        (Err(refusal), None) => return Err(refusal),
    };
    if prediction.is_text() {
        return Err(not_numeric(&prediction).into());
    }
    Ok(prediction)
}

/// The scores in the paired order, cut at 0.5 unless the option says otherwise.
fn bias_scores(form: &Form<'_>, prediction: &Column<'_>) -> Result<Vec<f64>, Refusal> {
    let pairs = form.pairs()?;
    let scores: Vec<f64> = pairs
        .submission
        .iter()
        .map(|row| {
            let score = prediction.number(row).unwrap_or(f64::NAN);
            if form.spec.flag("rank_scores") { score } else { f64::from(u8::from(score >= 0.5)) }
        })
        .collect();
    if let Some(place) = scores.iter().position(|score| score.is_nan()) {
        return Err(missing_value(prediction, pairs.submission.at(place)).into());
    }
    Ok(scores)
}

fn identity_bias(task: &Task<'_>) -> Result<f64, Refusal> {
    let prediction = bias_prediction(task.form())?;
    let pairs = task.pairs()?;
    let flags = |column: Column<'_>| -> Result<Vec<bool>, Refusal> {
        let at_least_half = |row| {
            column
                .number(row)
                .map(|v| v >= 0.5)
                .ok_or_else(|| bad_answer(row, &column, "is no number"))
        };
        pairs.expected.iter().map(at_least_half).collect()
    };
    let truth = flags(task.truth(0)?)?;
    let scores = bias_scores(task.form(), &prediction)?;

    let area = |rows: &dyn Fn(usize) -> bool| {
        let rows: Vec<usize> = (0..truth.len()).filter(|&row| rows(row)).collect();
        let positive: Vec<bool> = rows.iter().map(|&row| truth[row]).collect();
        let score: Vec<f64> = rows.iter().map(|&row| scores[row]).collect();
        roc_auc(&positive, &score)
    };
    let overall = area(&|_| true)?;
    let (mut subgroup, mut bpsn, mut bnsp) = (Vec::new(), Vec::new(), Vec::new());
    for name in task.spec.texts("identities") {
        let group = flags(task.answer(name)?)?;
        subgroup.push(area(&|row| group[row])?);
        bpsn.push(area(&|row| group[row] != truth[row])?);
        bnsp.push(area(&|row| group[row] == truth[row])?);
    }
    let bias = mean(&[subgroup, bpsn, bnsp].map(|areas| power_mean(&areas, -5.0)));
    Ok(0.25 * overall + 0.75 * bias)
}

/// The p-th power mean of the values: for p < 0 a single 0 makes it 0.
pub fn power_mean(values: &[f64], p: f64) -> f64 {
    let powers: Vec<f64> = values.iter().map(|v| v.powf(p)).collect();
    mean(&powers).powf(1.0 / p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_means_lean_to_the_worst() {
        assert!((power_mean(&[0.5, 0.5], -5.0) - 0.5).abs() < 1e-15);
        assert!(power_mean(&[0.5, 1.0], -5.0) < 0.6);
        assert_eq!(power_mean(&[0.0, 1.0], -5.0), 0.0);
    }
}
