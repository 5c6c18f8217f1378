//! The answers, in the order of the sample submission.

use std::collections::HashMap;

use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, chain};

use crate::Subject;

/// Most target columns that are looked at.
const MOST_TARGETS: usize = 50;
/// Most different numbers that are taken for classes.
const FEW_NUMBERS: usize = 20;

/// The true values of one target column, a row of the sample submission each.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// The class of each row, as a place in the names; `None` where it is missing.
    Classes {
        /// What the classes are called, in the order of their first rows.
        names: Vec<String>,
        /// The class of each row.
        of: Vec<Option<u32>>,
    },
    /// A number of each row; NaN where it is missing.
    Numbers(Vec<f64>),
}

/// A target column.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name in the submission.
    pub name: String,
    /// Its values.
    pub values: Values,
}

impl Values {
    /// From cells: classes where they are not all numbers or are few, numbers otherwise. Empty cells
    /// are missing.
    pub fn of<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        let number = |cell: &str| cell.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        let filled = || cells.clone().filter(|cell| !cell.is_empty());
        let mut distinct: Vec<&str> = Vec::new();
        for cell in filled() {
            if distinct.len() > FEW_NUMBERS {
                break;
            }
            if !distinct.contains(&cell) {
                distinct.push(cell);
            }
        }
        if distinct.len() > FEW_NUMBERS && filled().all(|cell| number(cell).is_some()) {
            return Self::Numbers(cells.map(|cell| number(cell).unwrap_or(f64::NAN)).collect());
        }
        let mut places: HashMap<String, u32> = HashMap::new();
        let mut names = Vec::new();
        let of = cells.map(|cell| {
            // `1`, `1.0` and ` 1` are one class.
            let name = number(cell).map_or_else(|| cell.to_owned(), |value| value.to_string());
            (!cell.is_empty()).then(|| {
                *places.entry(name).or_insert_with_key(|name| {
                    names.push(name.clone());
                    names.len() as u32 - 1
                })
            })
        });
        let of = of.collect();
        Self::Classes { names, of }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { of, .. } => of.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row has a value.
    pub fn is_known(&self, row: usize) -> bool {
        match self {
            Self::Classes { of, .. } => of[row].is_some(),
            Self::Numbers(values) => !values[row].is_nan(),
        }
    }

    /// The values of some rows.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes { names, of } => Self::Classes {
                names: names.clone(),
                of: rows.iter().map(|&row| of[row]).collect(),
            },
            Self::Numbers(values) => Self::Numbers(rows.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// The answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Each target column, the first fifty of many.
    pub targets: Vec<Target>,
    /// The ids of the rows, joined where there are several columns; none where rows have no names.
    pub ids: Option<Vec<String>>,
    /// Number of rows.
    pub rows: usize,
}

impl Truth {
    /// Reads the answers of a competition.
    ///
    /// # Errors
    /// A sentence: the files cannot be read, or are not tables of the same rows.
    pub fn read(subject: &Subject<'_>) -> Result<Self, String> {
        let answers = match Answers::read(&subject.answers) {
            Ok(Answers::Table(table)) => table,
            Ok(Answers::Lines(_)) => return Err("the answers are no table".to_owned()),
            Err(error) => return Err(format!("the answers cannot be read: {}", chain(&error))),
        };
        let sample = Table::read(
            &subject.sample.canonicalize().map_err(|error| error.to_string())?,
            &Limits::trusted(),
        )
        .map_err(|error| format!("the sample submission cannot be read: {}", chain(&error)))?;
        let spec = subject.grading;
        let asked = keys(&sample, &spec.id_columns);
        let known = keys(&answers, spec.answer_ids());
        let order: Vec<usize> = match (&asked, &known) {
            (Some(asked), Some(known)) => {
                let places: HashMap<&str, usize> =
                    known.iter().enumerate().map(|(row, key)| (key.as_str(), row)).collect();
                asked
                    .iter()
                    .map(|key| places.get(key.as_str()).copied())
                    .collect::<Option<_>>()
                    .ok_or("the sample submission asks for rows that the answers do not have")?
            }
            _ if sample.rows() == answers.rows() => (0..answers.rows()).collect(),
            _ => {
                return Err(format!(
                    "the sample submission has {} rows and the answers {}",
                    sample.rows(),
                    answers.rows()
                ));
            }
        };
        let names = spec.target_columns.iter().zip(spec.answer_targets());
        let targets: Vec<Target> = names
            .take(MOST_TARGETS)
            .filter_map(|(name, answer)| {
                let column = answers.column(answer)?;
                let cell = |row: &usize| match column.is_missing(*row) {
                    true => "",
                    false => column.raw(*row),
                };
                Some(Target { name: name.clone(), values: Values::of(order.iter().map(cell)) })
            })
            .collect();
        if targets.is_empty() {
            return Err("the answers have no target column of the submission".to_owned());
        }
        Ok(Self { targets, ids: asked, rows: order.len() })
    }
}

/// The ids of a table's rows; `None` without id columns.
fn keys(table: &Table, names: &[String]) -> Option<Vec<String>> {
    let columns: Vec<_> = names.iter().map(|name| table.column(name)).collect::<Option<_>>()?;
    let key = |row| columns.iter().map(|column| column.raw(row)).collect::<Vec<_>>().join("\u{1f}");
    (!columns.is_empty()).then(|| (0..table.rows()).map(key).collect())
}
