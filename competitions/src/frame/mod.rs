//! Tables as pandas has them: typed when read, split by the same random numbers, printed digit for
//! digit.
//!
//! A [`Frame`] is a view: cells of a CSV file are read when they are wanted, so that splitting and
//! writing a table takes little memory however large it is.

mod column;
mod derive;
mod error;
mod export;
mod float;
mod infer;
mod parquet;
mod parquet_parts;
mod source;
mod split;
mod spread;
mod value;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use column::{Column, Data, Rows};
use source::CsvSource;

pub use column::NewColumn;
pub use error::FrameError;
pub use export::{ExportColumn, write_parquet};
pub use float::FloatParser;
pub(crate) use float::PythonFloat;
pub(crate) use parquet::parquet_hash;
pub use parquet_parts::ParquetPart;
pub(crate) use parquet_parts::{ParquetFile, each_parquet_part};
pub use source::CsvOptions;
pub(crate) use source::Reopen;
pub(crate) use split::test_rows;
pub use split::{
    Size, Split, group_shuffle_split, k_fold, sample, sample_share, split_within_groups,
    stratified_split, train_test_split, train_test_split_sizes,
};
pub use value::{Kind, Value};
pub use write::{CsvStyle, FloatFormat, Quoting, WriteCsvError};

/// A table.
#[derive(Clone, Debug)]
pub struct Frame {
    name: Arc<str>,
    columns: Vec<Column>,
    rows: usize,
}

impl Frame {
    /// Reads a CSV file; messages call it `name`.
    ///
    /// # Errors
    /// When the file cannot be read or a row is malformed.
    pub fn read_csv(path: &Path, name: &str, options: &CsvOptions) -> Result<Self, FrameError> {
        Ok(Self::of_source(CsvSource::open(path, name, options)?))
    }

    /// Reads CSV text from memory; messages call it `name`.
    ///
    /// # Errors
    /// When a row is malformed.
    pub fn from_csv(
        text: impl Into<Vec<u8>>,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        Ok(Self::of_source(CsvSource::from_bytes(text.into(), name, options)?))
    }

    /// Reads CSV text of `length` bytes that can be read from its front to its end any number of
    /// times; messages call it `name`.
    pub(crate) fn stream_csv(
        text: Box<dyn Reopen>,
        length: u64,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        Ok(Self::of_source(CsvSource::stream(text, length, name, options)?))
    }

    fn of_source(source: CsvSource) -> Self {
        let source = Arc::new(source);
        let rows = source.rows();
        let columns = source.columns.iter().enumerate().map(|(field, (name, kind))| Column {
            name: name.as_str().into(),
            kind: *kind,
            data: Arc::new(Data::Csv { source: Arc::clone(&source), field }),
            rows: Rows::All(rows),
        });
        Self { name: source.name().into(), columns: columns.collect(), rows }
    }

    /// A table of `rows` rows without columns, to which columns are added.
    pub fn new(name: &str, rows: usize) -> Self {
        Self { name: name.into(), columns: Vec::new(), rows }
    }

    /// How messages call the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The names of the columns in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| &*column.name).collect()
    }

    /// The type of a column.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn kind(&self, column: &str) -> Result<Kind, FrameError> {
        Ok(self.column(column)?.kind)
    }

    fn column(&self, name: &str) -> Result<&Column, FrameError> {
        self.columns.iter().find(|column| &*column.name == name).ok_or_else(|| {
            FrameError::NoColumn {
                table: self.name.to_string(),
                column: name.to_owned(),
                known: self
                    .columns
                    .iter()
                    .map(|column| format!("`{}`", column.name))
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })
    }

    /// The columns named, in the order given.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn select<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, FrameError> {
        let columns = names.into_iter().map(|name| self.column(name.as_ref()).cloned());
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, ..self.clone() })
    }

    /// All columns but those named.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn drop<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, FrameError> {
        let mut rest = self.clone();
        for name in names {
            self.column(name.as_ref())?;
            rest.columns.retain(|column| &*column.name != name.as_ref());
        }
        Ok(rest)
    }

    /// The table with a column under another name.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn rename(&self, from: &str, to: &str) -> Result<Self, FrameError> {
        self.column(from)?;
        let mut renamed = self.clone();
        for column in &mut renamed.columns {
            if &*column.name == from {
                column.name = to.into();
            }
        }
        Ok(renamed)
    }

    /// The table with a column of new values, in the place of the one with that name or else at the
    /// end.
    ///
    /// # Errors
    /// When the number of values is not that of the rows.
    pub fn with(&self, name: &str, values: impl Into<NewColumn>) -> Result<Self, FrameError> {
        let NewColumn { kind, data } = self.checked(name, values.into())?;
        let column =
            Column { name: name.into(), kind, data: Arc::new(data), rows: Rows::All(self.rows) };
        let mut changed = self.clone();
        match changed.columns.iter().position(|column| &*column.name == name) {
            Some(place) => changed.columns[place] = column,
            None => changed.columns.push(column),
        }
        Ok(changed)
    }

    fn checked(&self, name: &str, values: NewColumn) -> Result<NewColumn, FrameError> {
        match values.len() {
            Some(found) if found != self.rows => {
                Err(FrameError::Length { column: name.to_owned(), found, rows: self.rows })
            }
            _ => Ok(values),
        }
    }

    /// The table with the same new values in several columns.
    ///
    /// # Errors
    /// None are expected for single values.
    pub fn with_all<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
        value: Value<'_>,
    ) -> Result<Self, FrameError> {
        names
            .into_iter()
            .try_fold(self.clone(), |table, name| table.with(name.as_ref(), value.clone()))
    }

    /// The rows with these numbers, in this order.
    pub fn take(&self, rows: &[u32]) -> Self {
        let whole = 0..rows.len();
        self.pick(&Arc::from(rows), std::slice::from_ref(&whole)).remove(0)
    }

    /// Several tables from ranges of one list of row numbers, which they share.
    fn pick(&self, list: &Arc<[u32]>, ranges: &[std::ops::Range<usize>]) -> Vec<Self> {
        let mut known: Vec<(Rows, Arc<[u32]>)> = Vec::new();
        let mut lists: Vec<Arc<[u32]>> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let list = match &column.rows {
                Rows::All(_) => Arc::clone(list),
                rows => match known.iter().find(|(seen, _)| seen.is_same(rows)) {
                    Some((_, list)) => Arc::clone(list),
                    None => {
                        let composed: Arc<[u32]> =
                            list.iter().map(|&row| rows.at(row as usize) as u32).collect();
                        known.push((rows.clone(), Arc::clone(&composed)));
                        composed
                    }
                },
            };
            lists.push(list);
        }
        let table = |range: &std::ops::Range<usize>| Self {
            name: Arc::clone(&self.name),
            rows: range.len(),
            columns: self
                .columns
                .iter()
                .zip(&lists)
                .map(|(column, list)| Column {
                    rows: Rows::Picked(Arc::clone(list), range.clone()),
                    ..column.clone()
                })
                .collect(),
        };
        ranges.iter().map(table).collect()
    }

    /// The first `count` rows.
    pub fn head(&self, count: usize) -> Self {
        self.take(&(0..count.min(self.rows) as u32).collect::<Vec<_>>())
    }

    /// `train_test_split(table, test_size=test, random_state=seed)`: the train and the test rows,
    /// each in the order of the permutation.
    ///
    /// # Errors
    /// When a part would be empty.
    pub fn train_test_split(
        &self,
        test: impl Into<Size>,
        seed: u32,
    ) -> Result<(Self, Self), FrameError> {
        self.train_test_split_sizes(None, Some(test.into()), seed)
    }

    /// [`train_test_split`](Self::train_test_split) with `train_size`, `test_size` or both.
    ///
    /// # Errors
    /// When a part would be empty or both are larger than the table.
    pub fn train_test_split_sizes(
        &self,
        train: Option<Size>,
        test: Option<Size>,
        seed: u32,
    ) -> Result<(Self, Self), FrameError> {
        let split = train_test_split_sizes(self.rows, train, test, seed)?;
        let (n_test, n_train) = (split.test.len(), split.train.len());
        let mut order = split.test;
        order.extend_from_slice(&split.train);
        let mut parts = self.pick(&order.into(), &[n_test..n_test + n_train, 0..n_test]);
        let test = parts.pop().expect("two ranges were asked for");
        let train = parts.pop().expect("two ranges were asked for");
        Ok((train, test))
    }

    /// The rows and the others, both in table order, by whether a test holds for the printed value
    /// of a column.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn partition(
        &self,
        column: &str,
        mut holds: impl FnMut(&str) -> bool,
    ) -> Result<(Self, Self), FrameError> {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let mut text = String::new();
        self.column(column)?.each(|row, value| {
            print_into(&mut text, &value);
            if holds(&text) {
                yes.push(row as u32)
            } else {
                no.push(row as u32)
            }
            Ok::<_, FrameError>(())
        })?;
        Ok((self.take(&yes), self.take(&no)))
    }

    /// The rows, in table order, whose printed value in a column fulfils a test.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn filter(
        &self,
        column: &str,
        holds: impl FnMut(&str) -> bool,
    ) -> Result<Self, FrameError> {
        Ok(self.partition(column, holds)?.0)
    }

    /// The rows, in table order, whose printed value in a column is one of a set.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn filter_in(&self, column: &str, set: &HashSet<String>) -> Result<Self, FrameError> {
        self.filter(column, |value| set.contains(value))
    }

    /// Splits the distinct values of a column (in order of first appearance) with
    /// [`train_test_split`] and gives the train and the test rows, both in table order.
    ///
    /// # Errors
    /// When there is no such column or a part would be empty.
    pub fn split_by_value(
        &self,
        column: &str,
        test: impl Into<Size>,
        seed: u32,
    ) -> Result<(Self, Self), FrameError> {
        let values = self.distinct(column)?;
        let (_, test) = train_test_split(values.len(), test, seed)?.of(&values);
        let test: HashSet<String> = test.into_iter().collect();
        let (test, train) = self.partition(column, |value| test.contains(value))?;
        Ok((train, test))
    }

    /// The values of a column as they are printed; missing ones are empty.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn texts(&self, column: &str) -> Result<Vec<String>, FrameError> {
        let mut texts = Vec::with_capacity(self.rows);
        self.each(column, |value| texts.push(value.to_string()))?;
        Ok(texts)
    }

    /// The values of a column.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn values(&self, column: &str) -> Result<Vec<Value<'static>>, FrameError> {
        let mut values = Vec::with_capacity(self.rows);
        self.each(column, |value| values.push(value.into_owned()))?;
        Ok(values)
    }

    /// Goes through the values of a column in order.
    ///
    /// # Errors
    /// When there is no such column or a cell is malformed.
    pub fn each(&self, column: &str, mut visit: impl FnMut(Value<'_>)) -> Result<(), FrameError> {
        self.column(column)?.each(|_, value| {
            visit(value);
            Ok(())
        })
    }

    /// The values of an integer column.
    ///
    /// # Errors
    /// When there is no such column or a value is no integer.
    pub fn ints(&self, column: &str) -> Result<Vec<i64>, FrameError> {
        self.numbers(column, "an integer", |value| match *value {
            Value::Int(value) => Some(value),
            Value::UInt(value) => i64::try_from(value).ok(),
            _ => None,
        })
    }

    /// The values of a numeric column; missing ones are NaN.
    ///
    /// # Errors
    /// When there is no such column or a value is no number.
    pub fn floats(&self, column: &str) -> Result<Vec<f64>, FrameError> {
        self.numbers(column, "a number", |value| value.as_f64())
    }

    fn numbers<T>(
        &self,
        column: &str,
        expected: &'static str,
        number: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Vec<T>, FrameError> {
        let mut numbers = Vec::with_capacity(self.rows);
        self.column(column)?.each(|row, value| {
            numbers.push(number(&value).ok_or_else(|| FrameError::Cell {
                file: self.name.to_string(),
                row: row + 1,
                column: column.to_owned(),
                expected,
                value: value.to_string(),
            })?);
            Ok::<_, FrameError>(())
        })?;
        Ok(numbers)
    }

    /// The distinct printed values of a column in order of first appearance.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn distinct(&self, column: &str) -> Result<Vec<String>, FrameError> {
        Ok(self.groups(column)?.into_iter().map(|(value, _)| value).collect())
    }

    /// The distinct printed values of a column in order of first appearance, each with its row
    /// numbers ascending.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn groups(&self, column: &str) -> Result<Vec<(String, Vec<u32>)>, FrameError> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        let mut text = String::new();
        self.column(column)?.each(|row, value| {
            print_into(&mut text, &value);
            let place = match places.get(&text) {
                Some(&place) => place,
                None => {
                    places.insert(text.clone(), groups.len());
                    groups.push((text.clone(), Vec::new()));
                    groups.len() - 1
                }
            };
            groups[place].1.push(row as u32);
            Ok::<_, FrameError>(())
        })?;
        Ok(groups)
    }

    /// The rows sorted by the printed text of a column, by code point; equal ones stay in order.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn sort_by_text(&self, column: &str) -> Result<Self, FrameError> {
        let keys = self.texts(column)?;
        let mut order: Vec<u32> = (0..self.rows as u32).collect();
        order.sort_by(|&a, &b| keys[a as usize].cmp(&keys[b as usize]));
        Ok(self.take(&order))
    }

    /// The rows sorted by the numbers of a column, missing ones last; equal ones stay in order.
    ///
    /// # Errors
    /// When there is no such column or a value is no number.
    pub fn sort_by_number(&self, column: &str) -> Result<Self, FrameError> {
        let mut order: Vec<u32> = (0..self.rows as u32).collect();
        match self.kind(column)? {
            Kind::Int => {
                let keys = self.ints(column)?;
                order.sort_by_key(|&row| keys[row as usize]);
            }
            _ => {
                let keys = self.floats(column)?;
                order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
            }
        }
        Ok(self.take(&order))
    }

    /// The rows of several tables one after the other; the columns are those of the first.
    ///
    /// # Errors
    /// When a table lacks a column or has it with another type.
    pub fn concat(tables: &[&Self]) -> Result<Self, FrameError> {
        let (first, rest) = tables.split_first().ok_or_else(|| FrameError::Mismatch {
            left: "nothing".into(),
            right: "nothing".into(),
            what: "there is no table".into(),
        })?;
        let rows = tables.iter().map(|table| table.rows).sum();
        let mut columns = Vec::with_capacity(first.columns.len());
        for column in &first.columns {
            let mut parts = vec![column];
            for table in rest {
                let other = table.column(&column.name)?;
                if other.kind != column.kind {
                    return Err(FrameError::Mismatch {
                        left: first.name.to_string(),
                        right: table.name.to_string(),
                        what: format!(
                            "column `{}` is {:?} here and {:?} there",
                            column.name, column.kind, other.kind
                        ),
                    });
                }
                parts.push(other);
            }
            columns.push(joined(column, &parts, rows)?);
        }
        Ok(Self { name: Arc::clone(&first.name), columns, rows })
    }

    /// A cell.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn cell(&self, row: usize, column: &str) -> Result<Value<'static>, FrameError> {
        self.column(column)?.value(row, None)
    }
}

fn print_into(text: &mut String, value: &Value<'_>) {
    use std::fmt::Write as _;
    text.clear();
    write!(text, "{value}").expect("writing to a string cannot fail");
}

fn joined(first: &Column, parts: &[&Column], rows: usize) -> Result<Column, FrameError> {
    if parts.iter().all(|part| Arc::ptr_eq(&part.data, &first.data)) {
        let list: Arc<[u32]> = parts
            .iter()
            .flat_map(|part| (0..part.rows.len()).map(|row| part.rows.at(row) as u32))
            .collect();
        return Ok(Column { rows: Rows::Picked(list, 0..rows), ..first.clone() });
    }
    let mut values = Vec::with_capacity(rows);
    for part in parts {
        part.each(|_, value| {
            values.push(value.into_owned());
            Ok::<_, FrameError>(())
        })?;
    }
    let NewColumn { kind, data } = NewColumn::from_values(first.kind, values);
    Ok(Column { name: Arc::clone(&first.name), kind, data: Arc::new(data), rows: Rows::All(rows) })
}
