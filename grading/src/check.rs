//! The checks a submission passes before its metric, by the names that `checks = [...]` uses.

use crate::form::Form;
use crate::ids::{IdDifference, IdRule, Rows, id_difference};
use crate::invalid::{
    InvalidKind, InvalidSubmission, Refusal, bad_answer, missing_column, missing_value,
    not_a_number,
};
use crate::labels::not_numeric;
use crate::spec::Check;
use crate::table::{Column, Values};
use crate::task::Task;

/// Makes one check of the submission. Those of the answers hold here; see [`check_answers`].
pub(crate) fn check(form: &Form<'_>, check: Check) -> Result<(), Refusal> {
    let spec = form.spec;
    match check {
        Check::IdColumns => columns_present(form, &spec.id_columns),
        Check::TargetColumns => {
            columns_present(form, &spec.target_columns)?;
            columns_present(form, &spec.unscored_columns)
        }
        Check::ExactColumns => exact_columns(form),
        Check::OrderedColumns => ordered_columns(form),
        Check::ColumnCount => column_count(form),
        Check::FirstColumn => first_column(form),
        Check::RowCount if form.submission.rows() != form.expected_count() => {
            Err(form.row_count().into())
        }
        Check::RowCount => Ok(()),
        Check::NotEmpty if form.submission.rows() == 0 => {
            Err(InvalidSubmission::new(InvalidKind::RowCount, "the submission has no rows").into())
        }
        Check::NotEmpty => Ok(()),
        Check::Numeric => targets(form)?.iter().try_for_each(numeric),
        Check::Text => targets(form)?.iter().try_for_each(text),
        Check::SomeText => targets(form)?.iter().try_for_each(some_text),
        Check::Range => {
            let [low, high] = spec.range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
            targets(form)?.iter().try_for_each(|column| range(column, low, high))
        }
        Check::NotMissing => targets(form)?.iter().try_for_each(not_missing),
        Check::Finite => targets(form)?.iter().try_for_each(finite),
        Check::RowSum => row_sum(form),
        Check::Ids => ids(form, IdRule::Equal),
        Check::IdSet => ids(form, IdRule::SameSet),
        Check::IdSuperset => ids(form, IdRule::Superset),
        Check::UniqueIds => unique_ids(form),
        Check::AnswersComplete | Check::AnswersRange => Ok(()),
    }
}

/// Makes one check of the answers; the others look at the submission and hold here.
pub(crate) fn check_answers(task: &Task<'_>, check: Check) -> Result<(), Refusal> {
    match check {
        Check::AnswersComplete => answers_complete(task),
        Check::AnswersRange => answers_range(task),
        _ => Ok(()),
    }
}

fn answers_complete(task: &Task<'_>) -> Result<(), Refusal> {
    let answers = task.answers()?;
    for column in (0..answers.names().len()).map(|index| answers.column_at(index)) {
        if let Some(row) = column.first_missing() {
            return Err(bad_answer(row, &column, "is missing"));
        }
    }
    Ok(())
}

fn answers_range(task: &Task<'_>) -> Result<(), Refusal> {
    let [low, high] = task.spec.range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    for target in 0..task.spec.target_columns.len() {
        let column = task.truth(target)?;
        let inside = |row: usize| column.number(row).is_some_and(|v| (low..=high).contains(&v));
        if let Some(row) = (0..column.len()).find(|&row| !inside(row)) {
            return Err(bad_answer(row, &column, "is out of range"));
        }
    }
    Ok(())
}

fn targets<'t>(form: &Form<'t>) -> Result<Vec<Column<'t>>, Refusal> {
    form.spec.target_columns.iter().map(|name| form.submitted(name)).collect()
}

fn columns_present(form: &Form<'_>, names: &[String]) -> Result<(), Refusal> {
    match names.iter().find(|name| !form.submission.has_column(name)) {
        Some(name) => Err(missing_column(form.submission, name).into()),
        None => Ok(()),
    }
}

fn wanted<'t>(form: &Form<'t>) -> impl ExactSizeIterator<Item = &'t String> + Clone + use<'t> {
    let spec = form.spec;
    let count = spec.id_columns.len();
    (0..count + spec.target_columns.len())
        .map(move |k| spec.id_columns.get(k).unwrap_or_else(|| &spec.target_columns[k - count]))
}

fn exact_columns(form: &Form<'_>) -> Result<(), Refusal> {
    columns_present(form, &form.spec.id_columns)?;
    columns_present(form, &form.spec.target_columns)?;
    match form.submission.names().iter().find(|name| !wanted(form).any(|w| w == *name)) {
        Some(name) => Err(InvalidSubmission::new(
            InvalidKind::ExtraColumn,
            "the submission has a column it must not have",
        )
        .in_column(name)
        .expecting(column_list(form))
        .into()),
        None => Ok(()),
    }
}

fn ordered_columns(form: &Form<'_>) -> Result<(), Refusal> {
    exact_columns(form)?;
    match form.submission.names().iter().zip(wanted(form)).find(|(found, wanted)| found != wanted) {
        Some((found, wanted)) => Err(InvalidSubmission::new(
            InvalidKind::ColumnOrder,
            format!("column `{found}` stands where `{wanted}` belongs"),
        )
        .in_column(found)
        .expecting(column_list(form))
        .into()),
        None => column_count(form),
    }
}

fn column_count(form: &Form<'_>) -> Result<(), Refusal> {
    let (found, expected) = (form.submission.names().len(), wanted(form).len());
    if found == expected {
        return Ok(());
    }
    let kind = if found > expected { InvalidKind::ExtraColumn } else { InvalidKind::MissingColumn };
    Err(InvalidSubmission::new(kind, format!("the submission has {found} columns"))
        .expecting(format!("{expected} columns: {}", column_list(form)))
        .into())
}

fn first_column(form: &Form<'_>) -> Result<(), Refusal> {
    let Some(wanted) = form.spec.id_columns.first() else {
        return Ok(());
    };
    match form.submission.names().first() {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(InvalidSubmission::new(
            InvalidKind::ColumnOrder,
            format!("the first column is `{found}`"),
        )
        .in_column(found)
        .expecting(format!("`{wanted}` as the first column"))
        .into()),
        None => Err(missing_column(form.submission, wanted).into()),
    }
}

fn column_list(form: &Form<'_>) -> String {
    let names = wanted(form);
    let total = names.len();
    let mut list: Vec<String> = names.take(8).map(|n| format!("`{n}`")).collect();
    if total > 8 {
        list.push(format!("… ({total} columns)"));
    }
    list.join(", ")
}

fn numeric(column: &Column<'_>) -> Result<(), Refusal> {
    if column.is_numeric() {
        return Ok(());
    }
    Err(not_numeric(column).into())
}

fn text(column: &Column<'_>) -> Result<(), Refusal> {
    match column.values() {
        Values::Float(values) if values.iter().all(|v| v.is_nan()) => Ok(()),
        _ => some_text(column),
    }
}

fn some_text(column: &Column<'_>) -> Result<(), Refusal> {
    if column.is_text() {
        return Ok(());
    }
    Err(InvalidSubmission::new(InvalidKind::NotText, "the column holds no text")
        .in_column(column.name())
        .expecting("text")
        .into())
}

fn range(column: &Column<'_>, low: f64, high: f64) -> Result<(), Refusal> {
    if column.is_text() && !column.is_empty() {
        return numeric(column);
    }
    let outside = match column.values() {
        Values::Float(values) => values.iter().position(|v| *v < low || *v > high),
        Values::Int(values) => values.iter().position(|v| (*v as f64) < low || *v as f64 > high),
        _ => (0..column.len()).find(|&row| column.number(row).is_some_and(|v| v < low || v > high)),
    };
    match outside {
        Some(row) => {
            Err(InvalidSubmission::new(InvalidKind::OutOfRange, "the value is out of range")
                .at(row)
                .in_column(column.name())
                .with_value(column.raw(row))
                .expecting(format!("a number from {low} to {high}"))
                .into())
        }
        None => Ok(()),
    }
}

fn not_missing(column: &Column<'_>) -> Result<(), Refusal> {
    match column.first_missing() {
        Some(row) => Err(missing_value(column, row).into()),
        None => Ok(()),
    }
}

pub(crate) fn finite(column: &Column<'_>) -> Result<(), Refusal> {
    for row in 0..column.len() {
        let value = column.number(row).ok_or_else(|| not_a_number(row, column))?;
        if value.is_nan() {
            return Err(missing_value(column, row).into());
        }
        if value.is_infinite() {
            return Err(InvalidSubmission::new(InvalidKind::NotFinite, "the value is infinite")
                .at(row)
                .in_column(column.name())
                .with_value(column.raw(row))
                .expecting("a finite number")
                .into());
        }
    }
    Ok(())
}

fn row_sum(form: &Form<'_>) -> Result<(), Refusal> {
    let tolerance = match (form.spec.row_sum_decimals, form.spec.row_sum_tolerance) {
        (Some(decimals), _) => 0.5 * 10_f64.powi(-decimals),
        (None, tolerance) => tolerance.unwrap_or(0.0),
    };
    let columns = targets(form)?;
    if let Some(column) = columns.iter().find(|column| column.is_text() && !column.is_empty()) {
        return numeric(column);
    }
    for row in 0..form.submission.rows() {
        let sum: f64 =
            columns.iter().filter_map(|column| column.number(row)).filter(|v| !v.is_nan()).sum();
        let off = match form.spec.row_sum_decimals {
            Some(decimals) => {
                let scale = 10_f64.powi(decimals);
                // As numpy rounds, halves to even.
                (sum * scale).round_ties_even() / scale != 1.0
            }
            None => (sum - 1.0).abs() > tolerance || sum.is_nan(),
        };
        if off {
            return Err(InvalidSubmission::new(
                InvalidKind::RowSum,
                "the row's values do not add up to 1",
            )
            .at(row)
            .with_value(plain_number(sum))
            .expecting(format!("a sum of 1 within {tolerance:?}"))
            .into());
        }
    }
    Ok(())
}

/// A computed number as people write it: without the digits that only binary fractions make.
pub(crate) fn plain_number(value: f64) -> String {
    let short: f64 = format!("{value:.9e}").parse().unwrap_or(value);
    short.to_string()
}

fn ids(form: &Form<'_>, rule: IdRule) -> Result<(), Refusal> {
    let (expected_ids, submission_ids) = (form.expected_ids()?, form.submission_ids()?);
    let (expected, submission) =
        rayon::join(|| form.sorted_expected(), || form.sorted_submission());
    let (expected, submission): (&Rows, &Rows) = (expected?, submission?);
    let show = |columns: &[Column<'_>], row: usize| {
        columns.iter().map(|c| c.raw(row)).collect::<Vec<_>>().join(", ")
    };
    let names = || form.spec.id_columns.join(", ");
    let difference = id_difference((&expected_ids, expected), (&submission_ids, submission), rule);
    if let (Some(_), Some(invalid)) = (difference, other_kind(&expected_ids, &submission_ids)) {
        return Err(invalid.into());
    }
    match difference {
        None => Ok(()),
        Some(IdDifference::Missing { answer_row }) => {
            Err(InvalidSubmission::new(InvalidKind::Ids, "an id is missing from the submission")
                .in_column(names())
                .expecting(format!("a row with id `{}`", show(&expected_ids, answer_row)))
                .into())
        }
        Some(IdDifference::Unknown { submission_row }) => Err(InvalidSubmission::new(
            InvalidKind::Ids,
            "an id is not one of the test set's, or occurs too often",
        )
        .at(submission_row)
        .in_column(names())
        .with_value(show(&submission_ids, submission_row))
        .expecting("each id of the test set, as often as it occurs there")
        .into()),
    }
}

/// The verdict that ids are text where they should be numbers, or the other way round: then none is
/// equal to any.
fn other_kind(answers: &[Column<'_>], submission: &[Column<'_>]) -> Option<InvalidSubmission> {
    let mut pairs = answers.iter().zip(submission);
    let (answer, id) = pairs.find(|(a, s)| a.is_text() != s.is_text() && !s.is_empty())?;
    let message = "the ids are of another kind than the test set's, and so none of them is equal";
    let verdict = InvalidSubmission::new(InvalidKind::Ids, message).in_column(id.name());
    Some(match id.not_numeric() {
        Some(rejected) if !answer.is_text() => verdict
            .at(rejected.row)
            .with_value(id.raw(rejected.row))
            .expecting("a number, since one text makes all ids of the column texts"),
        _ => verdict.at(0).with_value(id.raw(0)).expecting("texts (digits alone read as numbers)"),
    })
}

fn unique_ids(form: &Form<'_>) -> Result<(), Refusal> {
    let ids = form.submission_ids()?;
    let sorted = form.sorted_submission()?;
    let repeated = (1..sorted.len()).find(|&place| {
        let (before, row) = (sorted.at(place - 1), sorted.at(place));
        ids.iter().all(|c| crate::ids::same(*c, before, *c, row))
    });
    match repeated {
        Some(place) => {
            let row = sorted.at(place);
            Err(InvalidSubmission::new(InvalidKind::Ids, "an id occurs twice")
                .at(row)
                .with_value(ids.iter().map(|c| c.raw(row)).collect::<Vec<_>>().join(", "))
                .expecting("every id once")
                .into())
        }
        None => Ok(()),
    }
}
