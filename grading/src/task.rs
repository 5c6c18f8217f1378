//! One submission beside its answers: what a metric is given.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;

use serde::de::DeserializeOwned;

use crate::ids::{Rows, id_matches, sorted_rows};
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::metrics::MetricError;
use crate::spec::{GradingSpec, Pairing};
use crate::table::{Column, Limits, ReadError, Table, Values, init_once};

/// A competition's answers.
#[derive(Debug)]
pub enum Answers {
    /// A CSV file.
    Table(Table),
    /// JSON lines.
    Lines(JsonLines),
}

impl Answers {
    /// Reads the answers, as JSON lines if the name ends in `.jsonl` and else as CSV. Links are
    /// followed.
    ///
    /// JSON lines may be far larger than memory; they are only read when they are graded against,
    /// line by line.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::read_for(path, &[])
    }

    /// Reads the answers for the sake of the named columns; see [`Table::read_for`].
    pub(crate) fn read_for(path: &Path, columns: &[&str]) -> Result<Self, ReadError> {
        let real = path.canonicalize().map_err(|source| ReadError::Io { source })?;
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            let limits = Limits {
                rows: usize::MAX,
                columns: usize::MAX,
                cells: usize::MAX,
                ..Limits::default()
            };
            return Ok(Self::Table(Table::read_for(&real, &limits, columns)?));
        }
        File::open(&real).map_err(|source| ReadError::Io { source })?;
        Ok(Self::Lines(JsonLines { path: real }))
    }
}

/// A file of one JSON value a line.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
}

impl JsonLines {
    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands each value to `visit`, in order; blank lines are skipped and fields that `T` lacks
    /// cost no memory.
    ///
    /// # Errors
    /// [`AnswersError`] if the file cannot be read or a line is not a `T`.
    pub fn for_each<T: DeserializeOwned>(
        &self,
        mut visit: impl FnMut(T),
    ) -> Result<(), AnswersError> {
        let unreadable = |source| AnswersError::Unreadable { source };
        let mut lines = BufReader::new(File::open(&self.path).map_err(unreadable)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while lines.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            number += 1;
            if !line.trim_ascii().is_empty() {
                let bad = |error: serde_json::Error| AnswersError::BadValue {
                    row: number,
                    message: error.to_string(),
                };
                visit(serde_json::from_slice(&line).map_err(bad)?);
            }
            line.clear();
        }
        Ok(())
    }
}

/// The rows of the two tables that belong together: the k-th of one with the k-th of the other.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'t> {
    /// Rows of the answers.
    pub answers: &'t Rows,
    /// Rows of the submission; as many.
    pub submission: &'t Rows,
}

/// One submission beside its answers and the competition's entry.
#[derive(Debug)]
pub struct Task<'t> {
    /// The competition's `[grading]` table.
    pub spec: &'t GradingSpec,
    /// The submission.
    pub submission: &'t Table,
    answers: &'t Answers,
    sorted_submission: OnceLock<Rows>,
    sorted_answers: OnceLock<Rows>,
    paired: OnceLock<(Rows, Rows)>,
}

impl<'t> Task<'t> {
    /// Puts a submission beside its answers.
    pub fn new(spec: &'t GradingSpec, submission: &'t Table, answers: &'t Answers) -> Self {
        Self {
            spec,
            submission,
            answers,
            sorted_submission: OnceLock::new(),
            sorted_answers: OnceLock::new(),
            paired: OnceLock::new(),
        }
    }

    /// Types the id and target columns of both tables, all cores at work; later uses find them
    /// typed.
    pub(crate) fn type_columns(&self) {
        let names = |ids: &'t [String], targets: &'t [String]| ids.iter().chain(targets);
        let mut columns: Vec<(&Table, &String)> =
            names(&self.spec.id_columns, &self.spec.target_columns)
                .map(|name| (self.submission, name))
                .collect();
        if let Answers::Table(table) = self.answers {
            columns.extend(
                names(self.spec.answer_ids(), self.spec.answer_targets()).map(|name| (table, name)),
            );
        }
        columns.into_par_iter().for_each(|(table, name)| {
            table.column(name);
        });
    }

    /// The answers in either form.
    pub(crate) fn raw_answers(&self) -> &'t Answers {
        self.answers
    }

    /// The answers as a table.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if they are JSON lines.
    pub fn answers(&self) -> Result<&'t Table, Refusal> {
        match self.answers {
            Answers::Table(table) => Ok(table),
            Answers::Lines(_) => Err(AnswersError::NotTable.into()),
        }
    }

    /// The answers as JSON lines.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if they are a table.
    pub fn lines(&self) -> Result<&'t JsonLines, Refusal> {
        match self.answers {
            Answers::Lines(lines) => Ok(lines),
            Answers::Table(_) => Err(AnswersError::NotLines.into()),
        }
    }

    /// Number of rows of the answers; JSON lines are not counted.
    pub fn answer_count(&self) -> usize {
        self.answers().map_or(0, Table::rows)
    }

    /// A column of the submission by name.
    ///
    /// # Errors
    /// An invalid submission if it is not there.
    pub fn submitted(&self, name: &str) -> Result<Column<'t>, Refusal> {
        self.submission.column(name).ok_or_else(|| missing_column(self.submission, name).into())
    }

    /// A column of the answers by name.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if it is not there.
    pub fn answer(&self, name: &str) -> Result<Column<'t>, Refusal> {
        self.answers()?
            .column(name)
            .ok_or_else(|| AnswersError::MissingColumn { column: name.to_owned() }.into())
    }

    /// The submission's k-th target column.
    ///
    /// # Errors
    /// As [`Task::submitted`].
    pub fn prediction(&self, target: usize) -> Result<Column<'t>, Refusal> {
        self.submitted(&self.spec.target_columns[target])
    }

    /// The answers' k-th target column.
    ///
    /// # Errors
    /// As [`Task::answer`].
    pub fn truth(&self, target: usize) -> Result<Column<'t>, Refusal> {
        self.answer(&self.spec.answer_targets()[target])
    }

    /// The submission's id columns.
    ///
    /// # Errors
    /// As [`Task::submitted`].
    pub fn submission_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        self.spec.id_columns.iter().map(|name| self.submitted(name)).collect()
    }

    /// The answers' id columns.
    ///
    /// # Errors
    /// As [`Task::answer`].
    pub fn answer_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        self.spec.answer_ids().iter().map(|name| self.answer(name)).collect()
    }

    /// The submission's rows sorted by id.
    ///
    /// # Errors
    /// As [`Task::submission_ids`].
    pub fn sorted_submission(&self) -> Result<&Rows, Refusal> {
        let ids = self.submission_ids()?;
        Ok(init_once(&self.sorted_submission, || sorted_rows(&ids)))
    }

    /// The answers' rows sorted by id.
    ///
    /// # Errors
    /// As [`Task::answer_ids`].
    pub fn sorted_answers(&self) -> Result<&Rows, Refusal> {
        let ids = self.answer_ids()?;
        Ok(init_once(&self.sorted_answers, || sorted_rows(&ids)))
    }

    /// The rows that belong together by the competition's pairing.
    ///
    /// # Errors
    /// An invalid submission if the row counts differ (where the pairing needs equal ones) or an id
    /// column is missing.
    pub fn pairs(&self) -> Result<Pairs<'_>, Refusal> {
        let (answers, submission) = match self.spec.pairing {
            Pairing::Sorted | Pairing::FileOrder
                if self.submission.rows() != self.answer_count() =>
            {
                return Err(self.row_count().into());
            }
            Pairing::Sorted => {
                let (answers, submission) =
                    rayon::join(|| self.sorted_answers(), || self.sorted_submission());
                (answers?, submission?)
            }
            Pairing::FileOrder => {
                let rows =
                    || (Rows::InOrder(self.answer_count()), Rows::InOrder(self.submission.rows()));
                let (answers, submission) = init_once(&self.paired, rows);
                (answers, submission)
            }
            Pairing::SortedKnown | Pairing::Join => {
                let (answer_ids, submission_ids) = (self.answer_ids()?, self.submission_ids()?);
                let sorted = (
                    (&answer_ids[..], self.sorted_answers()?),
                    (&submission_ids[..], self.sorted_submission()?),
                );
                let (answers, submission) = init_once(&self.paired, || {
                    let matched = id_matches(sorted.0, sorted.1);
                    if self.spec.pairing == Pairing::Join {
                        let (answers, submission) = matched.into_iter().unzip();
                        return (Rows::Listed(answers), Rows::Listed(submission));
                    }
                    let mut known: Vec<u32> = matched.into_iter().map(|(_, row)| row).collect();
                    known.dedup();
                    known.truncate(sorted.0.1.len());
                    (sorted.0.1.clone(), Rows::Listed(known))
                });
                if self.spec.pairing == Pairing::SortedKnown && submission.len() < answers.len() {
                    return Err(self.row_count().into());
                }
                (answers, submission)
            }
        };
        Ok(Pairs { answers, submission })
    }

    /// The verdict that the number of rows is wrong.
    pub fn row_count(&self) -> InvalidSubmission {
        InvalidSubmission::new(InvalidKind::RowCount, "the submission has the wrong number of rows")
            .with_value(self.submission.rows().to_string())
            .expecting(format!("{} rows", self.answer_count()))
    }

    /// The k-th target of the answers as numbers, in the paired order. A missing cell is NaN.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if a cell is no number.
    pub fn truth_numbers(&self, target: usize) -> Result<Vec<f64>, Refusal> {
        let (column, rows) = (self.truth(target)?, self.pairs()?.answers);
        numbers(&column, rows).map_err(|row| bad_answer(row, &column, "is no number"))
    }

    /// The k-th target of the submission as numbers, in the paired order. A missing cell is NaN.
    ///
    /// # Errors
    /// An invalid submission if a text cell is no number.
    pub fn predicted_numbers(&self, target: usize) -> Result<Vec<f64>, Refusal> {
        let (column, rows) = (self.prediction(target)?, self.pairs()?.submission);
        numbers(&column, rows).map_err(|row| not_a_number(row, &column).into())
    }

    /// Turns the error of a metric over the k-th target's paired values into a verdict with row and
    /// value.
    pub fn refuse(&self, target: usize, error: MetricError) -> Refusal {
        let mut invalid = InvalidSubmission::from(error.clone());
        if let (Some(index), Ok(column), Ok(pairs)) =
            (error.index(), self.prediction(target), self.pairs())
        {
            let row = pairs.submission.at(index);
            invalid = invalid.at(row).in_column(column.name()).with_value(column.raw(row));
        }
        invalid.into()
    }
}

/// A column's cells as numbers in the given order; the error is the row of the first that is none.
fn numbers(column: &Column<'_>, rows: &Rows) -> Result<Vec<f64>, usize> {
    match (column.values(), rows) {
        (Values::Float(values), Rows::InOrder(_)) => Ok(values.clone()),
        (Values::Float(values), Rows::Listed(rows)) => {
            Ok(rows.iter().map(|&row| values[row as usize]).collect())
        }
        (Values::Int(values), _) => Ok(rows.iter().map(|row| values[row] as f64).collect()),
        _ => rows.iter().map(|row| column.number(row).ok_or(row)).collect(),
    }
}

/// The verdict that a cell is no number.
pub fn not_a_number(row: usize, column: &Column<'_>) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::NotANumber, "the cell is not a number")
        .at(row)
        .in_column(column.name())
        .with_value(column.raw(row))
        .expecting("a number")
}

/// The error that a cell of the answers is not what the metric needs.
pub fn bad_answer(row: usize, column: &Column<'_>, message: &str) -> Refusal {
    // The value stays out: a verdict may be shown to those who must not see the answers.
    let message = format!("the value in column `{}` {message}", column.name());
    AnswersError::BadValue { row: row + 1, message }.into()
}

/// The verdict that a column is missing, with what is there instead.
pub(crate) fn missing_column(table: &Table, name: &str) -> InvalidSubmission {
    let names = table.names();
    let mut there: Vec<String> = names.iter().take(12).map(|n| format!("`{n}`")).collect();
    if names.len() > 12 {
        there.push(format!("… ({} columns)", names.len()));
    }
    let message = if names.is_empty() {
        "the submission is empty".to_owned()
    } else {
        format!("the submission has no column `{name}`; its columns are {}", there.join(", "))
    };
    InvalidSubmission::new(InvalidKind::MissingColumn, message).in_column(name)
}
