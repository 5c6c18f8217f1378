//! A column: values somewhere, and which of them are the rows.

use std::ops::Range;
use std::sync::Arc;

use super::FrameError;
use super::source::{CsvSource, RowReader};
use super::value::{Kind, Value};

/// Which stored values are the rows of a column, in which order.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// All, as stored.
    All(usize),
    /// Those of a shared list that lie in a range of it.
    Picked(Arc<[u32]>, Range<usize>),
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(len) => *len,
            Self::Picked(_, range) => range.len(),
        }
    }

    pub(super) fn at(&self, row: usize) -> usize {
        match self {
            Self::All(_) => row,
            Self::Picked(list, range) => list[range.start + row] as usize,
        }
    }

    /// Whether the rows are in the order in which they are stored.
    pub(super) fn are_ascending(&self) -> bool {
        match self {
            Self::All(_) => true,
            Self::Picked(list, range) => list[range.clone()].is_sorted(),
        }
    }

    /// Whether both are the same rows without comparing them one by one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All(a), Self::All(b)) => a == b,
            (Self::Picked(a, range_a), Self::Picked(b, range_b)) => {
                Arc::ptr_eq(a, b) && range_a == range_b
            }
            _ => false,
        }
    }
}

/// Where values are kept.
#[derive(Debug)]
pub(super) enum Data {
    Csv { source: Arc<CsvSource>, field: usize },
    Constant(Value<'static>),
    Ints(Vec<i64>),
    UInts(Vec<u64>),
    Floats(Vec<f64>),
    Bools(Vec<Option<bool>>),
    Texts(Vec<Option<Box<str>>>),
}

/// A named, typed column of a [`Frame`](super::Frame).
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) data: Arc<Data>,
    pub(super) rows: Rows,
}

impl Column {
    /// Goes through the values in order, until an error.
    pub(super) fn each<E: From<FrameError>>(
        &self,
        mut visit: impl FnMut(usize, Value<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Data::Csv { source, field } = &*self.data {
            let mut reader = source.reader();
            if source.must_fetch(self.rows.are_ascending(), true) {
                return self.each_fetched(source, *field, visit);
            }
            for row in 0..self.rows.len() {
                visit(row, reader.load(self.rows.at(row))?.value(*field)?)?;
            }
            return Ok(());
        }
        for row in 0..self.rows.len() {
            visit(row, self.stored(self.rows.at(row)))?;
        }
        Ok(())
    }

    fn each_fetched<E: From<FrameError>>(
        &self,
        source: &CsvSource,
        field: usize,
        mut visit: impl FnMut(usize, Value<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        const ROWS: usize = 1 << 20;
        let mut reader = source.reader();
        for begin in (0..self.rows.len()).step_by(ROWS) {
            let rows: Vec<u32> = (begin..self.rows.len().min(begin + ROWS))
                .map(|row| self.rows.at(row) as u32)
                .collect();
            let fetched = source.fetch(&rows)?;
            for (place, &row) in rows.iter().enumerate() {
                let loaded = reader.load_fetched(row as usize, &fetched, place);
                visit(begin + place, loaded.value(field)?)?;
            }
        }
        Ok(())
    }

    /// A stored value; a CSV column has none, for it needs a [`RowReader`].
    pub(super) fn stored(&self, at: usize) -> Value<'_> {
        match &*self.data {
            Data::Csv { .. } => Value::Missing,
            Data::Constant(value) => borrowed(value),
            Data::Ints(values) => Value::Int(values[at]),
            Data::UInts(values) => Value::UInt(values[at]),
            Data::Floats(values) => Value::Float(values[at]),
            Data::Bools(values) => values[at].map_or(Value::Missing, Value::Bool),
            Data::Texts(values) => {
                values[at].as_deref().map_or(Value::Missing, |text| Value::Text(text.into()))
            }
        }
    }

    /// The CSV file, if that is where the values are.
    pub(super) fn source(&self) -> Option<(&Arc<CsvSource>, usize)> {
        match &*self.data {
            Data::Csv { source, field } => Some((source, *field)),
            _ => None,
        }
    }

    /// Reads a value at any row.
    pub(super) fn value(
        &self,
        row: usize,
        reader: Option<&mut RowReader<'_>>,
    ) -> Result<Value<'static>, FrameError> {
        let at = self.rows.at(row);
        match (&*self.data, reader) {
            (Data::Csv { field, .. }, Some(reader)) => {
                Ok(reader.load(at)?.value(*field)?.into_owned())
            }
            (Data::Csv { source, field }, None) => {
                Ok(source.reader().load(at)?.value(*field)?.into_owned())
            }
            _ => Ok(self.stored(at).into_owned()),
        }
    }
}

fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text((&**text).into()),
        other => other.clone(),
    }
}

/// What a table can be given as a column: one value for all rows, or a value a row.
#[derive(Debug)]
pub struct NewColumn {
    pub(super) kind: Kind,
    pub(super) data: Data,
}

impl NewColumn {
    pub(super) fn len(&self) -> Option<usize> {
        match &self.data {
            Data::Constant(_) | Data::Csv { .. } => None,
            Data::Ints(values) => Some(values.len()),
            Data::UInts(values) => Some(values.len()),
            Data::Floats(values) => Some(values.len()),
            Data::Bools(values) => Some(values.len()),
            Data::Texts(values) => Some(values.len()),
        }
    }

    /// A column from values of one kind, with missing ones where the kind allows them; integers
    /// with gaps become floats.
    pub fn from_values(kind: Kind, values: Vec<Value<'_>>) -> Self {
        let gaps = values.iter().any(Value::is_missing);
        let numbers = || values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect();
        let (kind, data) = match kind {
            Kind::Int | Kind::UInt if gaps => (Kind::Float, Data::Floats(numbers())),
            Kind::Int => {
                let whole =
                    |value: &Value<'_>| if let Value::Int(value) = value { *value } else { 0 };
                (kind, Data::Ints(values.iter().map(whole).collect()))
            }
            Kind::UInt => {
                let whole = |value: &Value<'_>| match value {
                    Value::UInt(value) => *value,
                    Value::Int(value) => *value as u64,
                    _ => 0,
                };
                (kind, Data::UInts(values.iter().map(whole).collect()))
            }
            Kind::Float => (kind, Data::Floats(numbers())),
            Kind::Bool => {
                let truth = |value: &Value<'_>| {
                    if let Value::Bool(value) = value { Some(*value) } else { None }
                };
                (kind, Data::Bools(values.iter().map(truth).collect()))
            }
            Kind::Text => {
                let text =
                    |value: Value<'_>| (!value.is_missing()).then(|| value.to_string().into());
                (kind, Data::Texts(values.into_iter().map(text).collect()))
            }
        };
        Self { kind, data }
    }
}

macro_rules! new_column {
    ($($type:ty => $kind:ident, $values:ident => $data:expr;)*) => {
        $(impl From<$type> for NewColumn {
            fn from($values: $type) -> Self {
                Self { kind: Kind::$kind, data: $data }
            }
        })*
    };
}

new_column! {
    i64 => Int, value => Data::Constant(Value::Int(value));
    i32 => Int, value => Data::Constant(Value::Int(value.into()));
    f64 => Float, value => Data::Constant(Value::Float(value));
    bool => Bool, value => Data::Constant(Value::Bool(value));
    &str => Text, value => Data::Constant(Value::Text(value.to_owned().into()));
    Vec<i64> => Int, values => Data::Ints(values);
    Vec<f64> => Float, values => Data::Floats(values);
    Vec<bool> => Bool, values => Data::Bools(values.into_iter().map(Some).collect());
    Vec<String> => Text, values => Data::Texts(values.into_iter().map(|text| Some(text.into())).collect());
    Vec<Option<String>> => Text, values => Data::Texts(values.into_iter().map(|text| text.map(Into::into)).collect());
}

impl From<Value<'_>> for NewColumn {
    fn from(value: Value<'_>) -> Self {
        Self { kind: value.kind(), data: Data::Constant(value.into_owned()) }
    }
}
