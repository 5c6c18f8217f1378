//! One submission beside what is public: what checks and [`Metric::validate`](crate::Metric) see.
//!
//! Nothing here can reach a true value. The answers lend a [`Form`] their ids and their number of
//! rows when a submission is graded, and nothing else; when it is validated, both come from the
//! sample submission.

use std::path::Path;
use std::sync::OnceLock;

use crate::ids::{Rows, id_matches, sorted_alone, sorted_rows};
use crate::invalid::{
    AnswersError, InvalidKind, InvalidSubmission, MetricError, Refusal, missing_column,
    not_a_number,
};
use crate::spec::{GradingSpec, Pairing};
use crate::table::{Column, Limits, ReadError, Table, Values, init_once};

/// What anyone may know of a competition beside its `[grading]` table: its sample submission.
///
/// The ids and the number of rows that a submission must have are the sample's, and so is the kind
/// of its labels.
#[derive(Debug)]
pub struct PublicFacts {
    sample: Table,
}

impl PublicFacts {
    /// The facts that a sample submission tells.
    pub fn new(sample: Table) -> Self {
        Self { sample }
    }

    /// Reads a sample submission, whatever its size. Links are followed.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let real = path.canonicalize().map_err(|source| ReadError::Io { source })?;
        Ok(Self::new(Table::read(&real, &Limits::trusted())?))
    }
}

/// The rows of two tables that belong together: the k-th of one with the k-th of the other.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'t> {
    /// Rows of the answers, or of the sample submission when a submission is only validated.
    pub expected: &'t Rows,
    /// Rows of the submission; as many, unless the metric selects among them.
    pub submission: &'t Rows,
}

/// One submission beside the rows it must have and the competition's entry.
#[derive(Debug)]
pub struct Form<'t> {
    /// The competition's `[grading]` table.
    pub spec: &'t GradingSpec,
    /// The submission.
    pub submission: &'t Table,
    /// The sample submission, where the submission is only validated.
    sample: Option<&'t Table>,
    /// Whose ids and rows are expected; none where the answers are no table.
    expected: Option<&'t Table>,
    expected_names: &'t [String],
    sorted_submission: OnceLock<Rows>,
    sorted_expected: OnceLock<Rows>,
    paired: OnceLock<(Rows, Rows)>,
}

impl<'t> Form<'t> {
    /// A submission beside the public facts.
    pub fn new(spec: &'t GradingSpec, submission: &'t Table, facts: &'t PublicFacts) -> Self {
        let sample = Some(&facts.sample);
        Self { sample, ..Self::expecting(spec, submission, sample, &spec.id_columns) }
    }

    /// A submission that must have the rows of `expected`, whose id columns have these names.
    pub(crate) fn expecting(
        spec: &'t GradingSpec,
        submission: &'t Table,
        expected: Option<&'t Table>,
        expected_names: &'t [String],
    ) -> Self {
        Self {
            spec,
            submission,
            sample: None,
            expected,
            expected_names,
            sorted_submission: OnceLock::new(),
            sorted_expected: OnceLock::new(),
            paired: OnceLock::new(),
        }
    }

    /// A column of the submission by name.
    ///
    /// # Errors
    /// An invalid submission if it is not there.
    pub fn submitted(&self, name: &str) -> Result<Column<'t>, Refusal> {
        self.submission.column(name).ok_or_else(|| missing_column(self.submission, name).into())
    }

    /// The submission's k-th target column.
    ///
    /// # Errors
    /// As [`Form::submitted`].
    pub fn prediction(&self, target: usize) -> Result<Column<'t>, Refusal> {
        self.submitted(&self.spec.target_columns[target])
    }

    /// The sample submission's k-th target column, if there is one. None while grading.
    pub fn sample(&self, target: usize) -> Option<Column<'t>> {
        self.sample_column(&self.spec.target_columns[target])
    }

    /// A column of the sample submission, if there is one. None while grading.
    pub fn sample_column(&self, name: &str) -> Option<Column<'t>> {
        self.sample?.column(name)
    }

    /// The submission's id columns.
    ///
    /// # Errors
    /// As [`Form::submitted`].
    pub fn submission_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        self.spec.id_columns.iter().map(|name| self.submitted(name)).collect()
    }

    /// The id columns that the submission's are compared with.
    ///
    /// # Errors
    /// [`Refusal::Answers`] if they are not there.
    pub fn expected_ids(&self) -> Result<Vec<Column<'t>>, Refusal> {
        let table = self.expected.ok_or(AnswersError::NotTable)?;
        let missing = |column: &String| match self.sample {
            Some(_) => AnswersError::SampleColumn { column: column.clone() },
            None => AnswersError::MissingColumn { column: column.clone() },
        };
        let names = self.expected_names.iter();
        Ok(names
            .map(|name| table.column(name).ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?)
    }

    /// Number of rows that are expected; 0 where the answers are no table.
    pub fn expected_count(&self) -> usize {
        self.expected.map_or(0, Table::rows)
    }

    /// The submission's rows sorted by id.
    ///
    /// # Errors
    /// As [`Form::submission_ids`].
    pub fn sorted_submission(&self) -> Result<&Rows, Refusal> {
        let ids = self.submission_ids()?;
        Ok(init_once(&self.sorted_submission, || sorted_rows(&ids)))
    }

    /// The expected rows sorted by id.
    ///
    /// # Errors
    /// As [`Form::expected_ids`].
    pub fn sorted_expected(&self) -> Result<&Rows, Refusal> {
        let ids = self.expected_ids()?;
        Ok(init_once(&self.sorted_expected, || sorted_rows(&ids)))
    }

    /// The rows that belong together by the competition's pairing.
    ///
    /// # Errors
    /// An invalid submission if the row counts differ (where the pairing needs equal ones) or an id
    /// column is missing.
    pub fn pairs(&self) -> Result<Pairs<'_>, Refusal> {
        let (expected, submission) = match self.spec.pairing {
            Pairing::Sorted | Pairing::FileOrder
                if self.submission.rows() != self.expected_count() =>
            {
                return Err(self.row_count().into());
            }
            Pairing::Sorted => {
                let (expected, submission) =
                    rayon::join(|| self.sorted_expected(), || self.sorted_submission());
                (expected?, submission?)
            }
            Pairing::FileOrder => {
                let rows = || {
                    (Rows::InOrder(self.expected_count()), Rows::InOrder(self.submission.rows()))
                };
                let (expected, submission) = init_once(&self.paired, rows);
                (expected, submission)
            }
            Pairing::SortedKnown | Pairing::Join => self.matched()?,
        };
        Ok(Pairs { expected, submission })
    }

    /// The pairs of the two pairings that leave rows out.
    fn matched(&self) -> Result<(&Rows, &Rows), Refusal> {
        let (expected_ids, submission_ids) = (self.expected_ids()?, self.submission_ids()?);
        let sorted = (
            (&expected_ids[..], self.sorted_expected()?),
            (&submission_ids[..], self.sorted_submission()?),
        );
        let (expected, submission) = init_once(&self.paired, || {
            let matched = id_matches(sorted.0, sorted.1);
            if self.spec.pairing == Pairing::Join {
                let (expected, submission) = matched.into_iter().unzip();
                return (Rows::Listed(expected), Rows::Listed(submission));
            }
            let mut known: Vec<u32> = matched.into_iter().map(|(_, row)| row).collect();
            known.dedup();
            if let [column] = submission_ids[..] {
                known = sorted_alone(column, known);
            }
            known.truncate(sorted.0.1.len());
            (sorted.0.1.clone(), Rows::Listed(known))
        });
        if self.spec.pairing == Pairing::SortedKnown && submission.len() < expected.len() {
            return Err(self.row_count().into());
        }
        Ok((expected, submission))
    }

    /// The rows of the submission that are paired with one of the answers or may be, in the file's
    /// order unless some are left out.
    ///
    /// # Errors
    /// As [`Form::pairs`].
    pub fn submitted_rows(&self) -> Result<Rows, Refusal> {
        match self.spec.pairing {
            Pairing::Sorted | Pairing::FileOrder => {
                if self.submission.rows() != self.expected_count() {
                    return Err(self.row_count().into());
                }
                Ok(Rows::InOrder(self.submission.rows()))
            }
            Pairing::SortedKnown | Pairing::Join => Ok(self.pairs()?.submission.clone()),
        }
    }

    /// The verdict that the number of rows is wrong.
    pub fn row_count(&self) -> InvalidSubmission {
        InvalidSubmission::new(InvalidKind::RowCount, "the submission has the wrong number of rows")
            .with_value(self.submission.rows().to_string())
            .expecting(format!("{} rows", self.expected_count()))
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
        match (self.prediction(target), self.pairs()) {
            (Ok(column), Ok(pairs)) => blamed(&column, pairs.submission, error).into(),
            _ => error.into(),
        }
    }

    /// Checks that every paired cell of every target column is a finite number. `bad` may find
    /// another fault with a number at a place.
    ///
    /// # Errors
    /// Names the first that is not, or that there are no rows.
    pub fn finite_targets(
        &self,
        bad: impl Fn(f64, usize) -> Option<MetricError>,
    ) -> Result<(), Refusal> {
        let rows = &self.submitted_rows()?;
        for target in 0..self.spec.target_columns.len() {
            let column = self.prediction(target)?;
            if rows.is_empty() {
                return Err(InvalidSubmission::from(MetricError::Empty)
                    .in_column(column.name())
                    .into());
            }
            for (place, row) in rows.iter().enumerate() {
                let value = column.number(row).ok_or_else(|| not_a_number(row, &column))?;
                let error = if value.is_nan() {
                    Some(MetricError::Missing { index: place })
                } else if value.is_infinite() {
                    Some(MetricError::Infinite { index: place })
                } else {
                    bad(value, place)
                };
                if let Some(error) = error {
                    return Err(blamed(&column, rows, error).into());
                }
            }
        }
        Ok(())
    }
}

/// A column's cells as numbers in the given order; the error is the row of the first that is none.
pub(crate) fn numbers(column: &Column<'_>, rows: &Rows) -> Result<Vec<f64>, usize> {
    match (column.values(), rows) {
        (Values::Float(values), Rows::InOrder(_)) => Ok(values.clone()),
        (Values::Float(values), Rows::Listed(rows)) => {
            Ok(rows.iter().map(|&row| values[row as usize]).collect())
        }
        (Values::Int(values), _) => Ok(rows.iter().map(|row| values[row] as f64).collect()),
        _ => rows.iter().map(|row| column.number(row).ok_or(row)).collect(),
    }
}

/// The verdict for a metric's error over a column's cells in the given order.
fn blamed(column: &Column<'_>, rows: &Rows, error: MetricError) -> InvalidSubmission {
    let place = error.index();
    let invalid = InvalidSubmission::from(error);
    match place {
        Some(place) => {
            let row = rows.at(place);
            invalid.at(row).in_column(column.name()).with_value(column.raw(row))
        }
        None => invalid,
    }
}
