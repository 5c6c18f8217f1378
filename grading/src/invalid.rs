//! Why a submission gets no score, as a value.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::table::{Column, ReadError, Table};
use crate::untrusted::{Shown, name_list};

/// What is wrong with a submission, coarsely; agents and reports may branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidKind {
    /// There is no such file, or it cannot be read.
    Unreadable,
    /// It is a link, directory, pipe or device.
    NotAFile,
    /// It is another format: gzip, Parquet, Excel, UTF-16, …
    ForeignFormat,
    /// It is larger than the limit.
    TooLarge,
    /// To check or grade it takes more memory or time than is allowed.
    TooExpensive,
    /// It is not UTF-8 text.
    Encoding,
    /// An open quote or a row that is too long.
    Malformed,
    /// A required column is missing.
    MissingColumn,
    /// A column is there that must not be.
    ExtraColumn,
    /// The columns are not in the required order.
    ColumnOrder,
    /// The number of rows is wrong.
    RowCount,
    /// The ids are not those of the answers.
    Ids,
    /// A cell is missing that must hold something.
    MissingValue,
    /// A cell is no number.
    NotANumber,
    /// A cell is no label of the required kind (a fraction where a class is expected, say).
    BadLabel,
    /// A cell that must be text is not.
    NotText,
    /// A number is infinite.
    NotFinite,
    /// A number is outside the allowed range.
    OutOfRange,
    /// A row's probabilities do not add up.
    RowSum,
    /// A cell's contents cannot be decoded (run lengths, boxes, lists).
    BadCell,
    /// The metric is not defined for these values.
    Undefined,
    /// The answers hold a value that cannot be graded against; no submission can be valid then.
    Answers,
}

/// The most characters of a column's name or a cell's value that a verdict keeps.
const LONGEST_VALUE: usize = 80;

/// A submission without a score: what is wrong, where, and what was expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvalidSubmission {
    /// The kind of fault.
    pub kind: InvalidKind,
    /// The data row of the submission, from 1; the header does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Shown>,
    /// The offending value, cut if long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Shown>,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Shown>,
    /// The fault in a sentence, without the places above.
    pub message: Shown,
}

impl InvalidSubmission {
    /// A fault of a kind, in words; places are added with the `with_…` and `at` methods.
    pub fn new(kind: InvalidKind, message: impl Into<String>) -> Self {
        // A message may quote what an agent wrote.
        let message = Shown::message(&message.into());
        Self { kind, row: None, column: None, value: None, expected: None, message }
    }

    /// Names the data row, counted from 0 here.
    #[must_use]
    pub fn at(mut self, row: usize) -> Self {
        self.row = Some(row as u64 + 1);
        self
    }

    /// Names the column.
    #[must_use]
    pub fn in_column(mut self, column: impl AsRef<str>) -> Self {
        self.column = Some(Shown::cut(column.as_ref(), LONGEST_VALUE));
        self
    }

    /// Shows the value, at most 80 characters of it.
    #[must_use]
    pub fn with_value(mut self, value: impl AsRef<str>) -> Self {
        self.value = Some(Shown::cut(value.as_ref(), LONGEST_VALUE));
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(Shown::message(&expected.into()));
        self
    }
}

impl fmt::Display for InvalidSubmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.column, self.row) {
            (Some(column), Some(row)) => write!(f, " (column `{column}`, row {row})")?,
            (Some(column), None) => write!(f, " (column `{column}`)")?,
            (None, Some(row)) => write!(f, " (row {row})")?,
            (None, None) => {}
        }
        if let Some(value) = &self.value {
            write!(f, ": found `{value}`")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "{}expected {expected}", if self.value.is_some() { ", " } else { ": " })?;
        }
        Ok(())
    }
}

impl From<&ReadError> for InvalidSubmission {
    fn from(error: &ReadError) -> Self {
        let (kind, row) = match error {
            ReadError::Io { .. } => (InvalidKind::Unreadable, None),
            ReadError::NotRegular { .. } => (InvalidKind::NotAFile, None),
            ReadError::TooLarge { .. }
            | ReadError::TooManyRows { .. }
            | ReadError::TooManyColumns { .. }
            | ReadError::TooManyCells { .. } => (InvalidKind::TooLarge, None),
            ReadError::Foreign(_) => (InvalidKind::ForeignFormat, None),
            ReadError::NotUtf8 { .. } => (InvalidKind::Encoding, None),
            ReadError::OpenQuote { row }
            | ReadError::LongRow { row, .. }
            | ReadError::LoneReturn { row } => (InvalidKind::Malformed, Some(*row as u64)),
        };
        let message = match error {
            ReadError::Io { source } => format!("the submission cannot be read: {source}"),
            _ => format!("the submission is no readable CSV file: {error}"),
        };
        Self { row, ..Self::new(kind, message) }
    }
}

/// Why grading one submission stops: the submission's fault, or that of the answers.
#[derive(Debug)]
pub enum Refusal {
    /// The submission is invalid.
    Invalid(Box<InvalidSubmission>),
    /// The answers are not what the competition's entry says.
    Answers(AnswersError),
}

impl From<InvalidSubmission> for Refusal {
    fn from(invalid: InvalidSubmission) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

impl From<AnswersError> for Refusal {
    fn from(error: AnswersError) -> Self {
        Self::Answers(error)
    }
}

/// What is wrong with the answers.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// A column that the competition's entry names is missing.
    #[error("the answers have no column `{column}`")]
    MissingColumn { column: String },
    /// A column that the competition's entry names is missing from the sample submission.
    #[error("the sample submission has no column `{column}`")]
    SampleColumn { column: String },
    /// There is no row.
    #[error("the answers are empty")]
    Empty,
    /// The file cannot be read.
    #[error("the answers cannot be read")]
    Unreadable {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The answers are a table where JSON lines are needed.
    #[error("the answers are a CSV table; this competition's are JSON lines")]
    NotLines,
    /// The answers are JSON lines where a table is needed.
    #[error("the answers are JSON lines; this competition's are a CSV table")]
    NotTable,
    /// The competition's own grading program did not give a verdict.
    #[error("the grading program failed: {message}")]
    Program {
        /// What went wrong.
        message: String,
    },
    /// A cell or record is not what the metric needs.
    #[error("row {row} of the answers: {message}")]
    BadValue {
        /// The data row, from 1.
        row: usize,
        /// What is wrong.
        message: String,
    },
}

/// Why a metric has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// The two inputs have different lengths.
    #[error("there are {truth} true values and {predicted} predicted ones")]
    Lengths {
        /// True values.
        truth: usize,
        /// Predicted values.
        predicted: usize,
    },
    /// There are no rows.
    #[error("there are no rows")]
    Empty,
    /// A value is NaN.
    #[error("a value is missing")]
    Missing {
        /// Its place, from 0.
        index: usize,
    },
    /// A value is infinite.
    #[error("a value is infinite")]
    Infinite {
        /// Its place, from 0.
        index: usize,
    },
    /// A value is negative.
    #[error("a value is negative")]
    Negative {
        /// Its place, from 0.
        index: usize,
    },
    /// The truth holds one class only.
    #[error("the truth holds one class only")]
    OneClass,
    /// A value is no label of the kind needed.
    #[error("{message}")]
    BadLabel {
        /// Its place, from 0, where one is to blame.
        index: Option<usize>,
        /// What is wrong.
        message: &'static str,
    },
}

impl MetricError {
    /// The place of the value to blame.
    pub fn index(&self) -> Option<usize> {
        match *self {
            Self::Missing { index } | Self::Infinite { index } | Self::Negative { index } => {
                Some(index)
            }
            Self::BadLabel { index, .. } => index,
            Self::Lengths { .. } | Self::Empty | Self::OneClass => None,
        }
    }
}

impl From<MetricError> for InvalidSubmission {
    fn from(error: MetricError) -> Self {
        let kind = match error {
            MetricError::Lengths { .. } | MetricError::Empty => InvalidKind::RowCount,
            MetricError::Missing { .. } => InvalidKind::MissingValue,
            MetricError::Infinite { .. } => InvalidKind::NotFinite,
            MetricError::Negative { .. } => InvalidKind::OutOfRange,
            MetricError::OneClass => InvalidKind::Undefined,
            MetricError::BadLabel { .. } => InvalidKind::BadLabel,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<MetricError> for Refusal {
    fn from(error: MetricError) -> Self {
        InvalidSubmission::from(error).into()
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
    let message = if names.is_empty() {
        "the submission is empty".to_owned()
    } else {
        format!("the submission has no column `{name}`; its columns are {}", name_list(names))
    };
    InvalidSubmission::new(InvalidKind::MissingColumn, message).in_column(name)
}

/// The verdict that a cell is missing.
pub fn missing_value(column: &Column<'_>, row: usize) -> InvalidSubmission {
    let invalid = InvalidSubmission::new(InvalidKind::MissingValue, "the cell is missing")
        .at(row)
        .in_column(column.name());
    match column.raw(row) {
        "" => invalid.expecting("a value"),
        word => invalid.with_value(word).expecting("a value (this word reads as a missing one)"),
    }
}
