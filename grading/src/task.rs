//! One submission beside its answers: what a metric scores.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::de::DeserializeOwned;

use crate::form::{Form, Pairs, numbers};
use crate::ids::Rows;
use crate::invalid::{AnswersError, MetricError, Refusal, bad_answer};
use crate::spec::GradingSpec;
use crate::table::{Column, Limits, ReadError, Table};

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
            return Ok(Self::Table(Table::read_for(&real, &Limits::trusted(), columns)?));
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

/// One submission beside its answers and the competition's entry.
#[derive(Debug)]
pub struct Task<'t> {
    /// The competition's `[grading]` table.
    pub spec: &'t GradingSpec,
    /// The submission.
    pub submission: &'t Table,
    form: Form<'t>,
    answers: &'t Answers,
}

impl<'t> Task<'t> {
    /// Puts a submission beside its answers.
    pub fn new(spec: &'t GradingSpec, submission: &'t Table, answers: &'t Answers) -> Self {
        let table = match answers {
            Answers::Table(table) => Some(table),
            Answers::Lines(_) => None,
        };
        let form = Form::expecting(spec, submission, table, spec.answer_ids());
        Self { spec, submission, form, answers }
    }

    /// The submission beside the answers' ids and number of rows, without their values.
    pub fn form(&self) -> &Form<'t> {
        &self.form
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

    /// A column of the answers by name.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if it is not there.
    pub fn answer(&self, name: &str) -> Result<Column<'t>, Refusal> {
        self.answers()?
            .column(name)
            .ok_or_else(|| AnswersError::MissingColumn { column: name.to_owned() }.into())
    }

    /// The answers' k-th target column.
    ///
    /// # Errors
    /// As [`Task::answer`].
    pub fn truth(&self, target: usize) -> Result<Column<'t>, Refusal> {
        self.answer(&self.spec.answer_targets()[target])
    }

    /// As [`Form::submitted`].
    ///
    /// # Errors
    /// As there.
    pub fn submitted(&self, name: &str) -> Result<Column<'t>, Refusal> {
        self.form.submitted(name)
    }

    /// As [`Form::prediction`].
    ///
    /// # Errors
    /// As there.
    pub fn prediction(&self, target: usize) -> Result<Column<'t>, Refusal> {
        self.form.prediction(target)
    }

    /// As [`Form::pairs`]; the expected rows are those of the answers.
    ///
    /// # Errors
    /// As there.
    pub fn pairs(&self) -> Result<Pairs<'_>, Refusal> {
        self.form.pairs()
    }

    /// As [`Form::predicted_numbers`].
    ///
    /// # Errors
    /// As there.
    pub fn predicted_numbers(&self, target: usize) -> Result<Vec<f64>, Refusal> {
        self.form.predicted_numbers(target)
    }

    /// As [`Form::refuse`].
    pub fn refuse(&self, target: usize, error: MetricError) -> Refusal {
        self.form.refuse(target, error)
    }

    /// As [`Form::submission_ids`].
    ///
    /// # Errors
    /// As there.
    pub fn submission_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        self.form.submission_ids()
    }

    /// The answers' id columns.
    ///
    /// # Errors
    /// As [`Task::answer`].
    pub fn answer_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        self.form.expected_ids()
    }

    /// The submission's rows sorted by id.
    ///
    /// # Errors
    /// As [`Task::submission_ids`].
    pub fn sorted_submission(&self) -> Result<&Rows, Refusal> {
        self.form.sorted_submission()
    }

    /// The answers' rows sorted by id.
    ///
    /// # Errors
    /// As [`Task::answer_ids`].
    pub fn sorted_answers(&self) -> Result<&Rows, Refusal> {
        self.form.sorted_expected()
    }

    /// The k-th target of the answers as numbers, in the paired order. A missing cell is NaN.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if a cell is no number.
    pub fn truth_numbers(&self, target: usize) -> Result<Vec<f64>, Refusal> {
        let (column, rows) = (self.truth(target)?, self.pairs()?.expected);
        numbers(&column, rows).map_err(|row| bad_answer(row, &column, "is no number"))
    }
}
