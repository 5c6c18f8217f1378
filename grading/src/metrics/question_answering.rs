//! Answers picked from a document: token spans, yes or no, or none.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Metric, MetricOption, OptionKind};
use crate::form::Form;
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::pytext::{parse_int, strip};
use crate::table::{Column, Table};
use crate::task::Task;

/// F1 of long and short answers.
pub static ANSWER_SPAN_F1: Metric = Metric {
    name: "answer_span_f1",
    aliases: &["nq_micro_f1"],
    summary: "Micro F1 of the long and short answers given; a right answer is one of the annotated ones.",
    inputs: "ids `<example>_long` and `<example>_short`; predictions `start:end`, `YES`, `NO` or blank; the answers are JSON lines \
             with `example_id` and `annotations`",
    source: "MLE-bench `tensorflow2-question-answering/grade.py`",
    options: &[MetricOption {
        name: "count_true_negatives",
        kind: OptionKind::Flag,
        required: false,
        doc: "Whether a blank where nothing is annotated counts as a hit, which makes the score plain accuracy. Default false.",
    }],
    validate: readable_answers,
    score: answer_span_f1,
};

/// An example of the answers.
#[derive(Deserialize)]
struct Example {
    example_id: String,
    annotations: Vec<Annotation>,
}

/// What one annotator marked; only the first annotation of an example counts.
#[derive(Deserialize)]
struct Annotation {
    yes_no_answer: String,
    long_answer: Span,
    short_answers: Vec<Span>,
}

/// A range of tokens; a long answer that starts at -1 is none.
#[derive(Deserialize)]
struct Span {
    start_token: i64,
    end_token: i64,
}

/// An answer, annotated or predicted.
#[derive(PartialEq)]
enum Answer {
    Span(i128, i128),
    Word(String),
}

impl From<&Span> for Answer {
    fn from(span: &Span) -> Self {
        Self::Span(span.start_token.into(), span.end_token.into())
    }
}

impl Annotation {
    /// The right answers, long and short.
    fn answers(&self) -> [Vec<Answer>; 2] {
        let long = if self.long_answer.start_token == -1 {
            Vec::new()
        } else {
            vec![(&self.long_answer).into()]
        };
        let mut short: Vec<Answer> = self.short_answers.iter().map(Answer::from).collect();
        if self.yes_no_answer != "NONE" {
            short.push(Answer::Word(self.yes_no_answer.clone()));
        }
        [long, short]
    }
}

/// The predicted answer in a cell, `None` if it is blank.
fn predicted(column: &Column<'_>, row: usize) -> Result<Option<Answer>, InvalidSubmission> {
    if column.is_missing(row) {
        return Ok(None);
    }
    let printed = column.printed(row);
    let text = strip(&printed);
    let parts: Vec<&str> = text.split(':').collect();
    let answer = match parts[..] {
        [start, end] => {
            parse_int(start).zip(parse_int(end)).map(|(start, end)| Some(Answer::Span(start, end)))
        }
        [""] => Some(None),
        ["YES" | "NO"] => Some(Some(Answer::Word(text.to_owned()))),
        _ => None,
    };
    answer.ok_or_else(|| {
        InvalidSubmission::new(InvalidKind::BadCell, "the cell is no answer")
            .at(row)
            .in_column(column.name())
            .with_value(column.raw(row))
            .expecting("`start:end`, `YES`, `NO` or blank")
    })
}

/// Checks that there are two rows for each example.
fn row_count(submission: &Table, examples: usize) -> Result<(), InvalidSubmission> {
    let rows = submission.rows();
    if rows == 2 * examples {
        return Ok(());
    }
    Err(InvalidSubmission::new(
        InvalidKind::RowCount,
        "the submission has the wrong number of rows",
    )
    .with_value(rows.to_string())
    .expecting(format!("{} rows, a long and a short answer for each example", 2 * examples)))
}

/// The place of a row's answer: 2k for the long answer of the k-th example, 2k + 1 for the short
/// one.
///
/// `seen`: the places of the rows before, to which this one is added. `example`: the place of an
/// example by its id.
///
/// # Errors
/// The id is none of these, or occurs twice.
fn place_of(
    ids: &Column<'_>,
    row: usize,
    seen: &mut [bool],
    example: impl Fn(&str) -> Option<usize>,
) -> Result<usize, InvalidSubmission> {
    let id = ids.filled(row, "");
    let place = split_id(&id).and_then(|(name, kind)| Some(2 * example(name)? + kind));
    let bad_id = |what: &str| {
        let invalid = InvalidSubmission::new(InvalidKind::Ids, what)
            .at(row)
            .in_column(ids.name())
            .with_value(&id);
        invalid.expecting("`<example>_long` and `<example>_short` once for each example")
    };
    let place = place.ok_or_else(|| bad_id("the id is not one of the test set's"))?;
    if std::mem::replace(&mut seen[place], true) {
        return Err(bad_id("the id occurs twice"));
    }
    Ok(place)
}

/// The example of an id, and 0 for its long answer or 1 for the short one.
fn split_id(id: &str) -> Option<(&str, usize)> {
    let (example, kind) = id.rsplit_once('_')?;
    Some((example, ["long", "short"].iter().position(|&known| known == kind)?))
}

/// A readable answer in each row of the sample's.
fn readable_answers(form: &Form<'_>) -> Result<(), Refusal> {
    let expected = form.expected_ids()?[0];
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in 0..expected.len() {
        if let Some((example, _)) = split_id(&expected.filled(row, "")) {
            let next = places.len();
            places.entry(example.to_owned()).or_insert(next);
        }
    }
    row_count(form.submission, places.len())?;
    let (ids, prediction) = (form.submission_ids()?[0], form.prediction(0)?);
    let mut seen = vec![false; 2 * places.len()];
    for row in 0..ids.len() {
        place_of(&ids, row, &mut seen, |example| places.get(example).copied())?;
        predicted(&prediction, row)?;
    }
    Ok(())
}

fn answer_span_f1(task: &Task<'_>) -> Result<f64, Refusal> {
    let lines = task.lines()?;
    // Each example's place among the answers, whose long answers are at 2k and short ones at 2k +
    // 1.
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut right: Vec<Vec<Answer>> = Vec::new();
    let (mut examples, mut bare) = (0, None);
    lines.for_each(|example: Example| {
        examples += 1;
        match example.annotations.first() {
            Some(annotation) => {
                // An example that occurs twice keeps its last annotation; no submission can then
                // have every id once.
                let place = *places.entry(example.example_id).or_insert(right.len() / 2);
                right.resize_with(right.len().max(2 * place + 2), Vec::new);
                right[2 * place..2 * place + 2].swap_with_slice(&mut annotation.answers());
            }
            None => bare = bare.or(Some(examples)),
        }
    })?;
    if let Some(row) = bare {
        let message = "the example has no annotation".to_owned();
        return Err(crate::invalid::AnswersError::BadValue { row, message }.into());
    }
    row_count(task.submission, examples)?;
    let (ids, prediction) = (task.submission_ids()?[0], task.prediction(0)?);
    let mut seen = vec![false; right.len()];
    let (mut hits, mut false_hits, mut missed, mut blanks) = (0_u64, 0_u64, 0_u64, 0_u64);
    for row in 0..ids.len() {
        let place = place_of(&ids, row, &mut seen, |example| places.get(example).copied())?;
        let (answer, right) = (predicted(&prediction, row)?, &right[place]);
        match answer {
            Some(answer) if right.contains(&answer) => hits += 1,
            Some(_) => false_hits += 1,
            None if right.is_empty() => blanks += 1,
            None => missed += 1,
        }
    }
    if task.spec.flag("count_true_negatives") {
        return Ok((hits + blanks) as f64 / ids.len() as f64);
    }
    Ok(micro_f1(hits, false_hits, missed))
}

/// F1 of pooled counts: `2 hits / (2 hits + false hits + missed)`; 0 of nothing.
///
/// A wrong answer counts as a false hit only, not as missed as well.
fn micro_f1(hits: u64, false_hits: u64, missed: u64) -> f64 {
    if hits == 0 { 0.0 } else { 2.0 * hits as f64 / (2 * hits + false_hits + missed) as f64 }
}
