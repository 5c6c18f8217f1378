//! Column types, decided over all cells of a column in pandas' order: integer, float, boolean,
//! text.
//!
//! pandas reads a long file in pieces and types each piece of a column on its own, so that a column
//! may come out as a mixture.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::Table;
use super::number::{IntError, float, integer, is_blank, small_integer};

/// The values of a typed column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// All cells are integers that fit in 64 bits; none is missing.
    Int(Vec<i64>),
    /// All cells are integers, none negative or missing, some above `i64::MAX`.
    UInt(Vec<u64>),
    /// Numbers; a missing cell is NaN (and every NaN is a missing cell).
    Float(Vec<f64>),
    /// `true`/`false` in any capitalisation; none missing.
    Bool(Vec<bool>),
    /// `true`/`false` with missing cells.
    BoolOrMissing(Vec<Option<bool>>),
    /// Anything else; the cells are read through [`Column::text`](super::Column::text).
    Text,
    /// Pieces of different types, as pandas leaves them in long files; the cells are read through
    /// [`Column::cell`](super::Column::cell).
    Mixed(Vec<Piece>),
}

/// Consecutive rows of a [`Values::Mixed`] column.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The row behind the last one.
    pub(super) end: usize,
    pub(super) typed: Typed,
}

/// Values, and how gaps are read beside them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Typed {
    pub(super) values: Values,
    /// Whether the words for a missing value are text like any other, which pandas makes of a
    /// column that is all integers but for 64 bits and a gap or a sign.
    pub(super) verbatim: bool,
}

impl From<Values> for Typed {
    fn from(values: Values) -> Self {
        Self { values, verbatim: false }
    }
}

/// A cell that keeps a column from being of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its row, from 0.
    pub row: usize,
    /// Why the reader of that type did not take it.
    pub why: Why,
}

/// Why a cell is not of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not written as such a value.
    Syntax,
    /// It is written as a number, but is too large for one.
    Overflow,
    /// It is missing.
    Missing,
}

/// Whether a cell's text stands for a missing value.
pub fn is_missing(cell: &str) -> bool {
    if !matches!(cell.as_bytes(), [] | [b'#' | b'-' | b'1' | b'<' | b'N' | b'n', ..])
        || cell.len() > 8
    {
        return false;
    }
    matches!(
        cell,
        "" | "#N/A"
            | "#N/A N/A"
            | "#NA"
            | "-1.#IND"
            | "-1.#QNAN"
            | "-NaN"
            | "-nan"
            | "1.#IND"
            | "1.#QNAN"
            | "<NA>"
            | "N/A"
            | "NA"
            | "NULL"
            | "NaN"
            | "None"
            | "n/a"
            | "nan"
            | "null"
    )
}

/// Rows that pandas reads at a time from a file with that many columns.
///
/// # Source
/// pandas 2.2.3 `_libs/parsers.pyx` `TextReader.__cinit__` (`buffer_lines`), with `low_memory`.
fn piece_rows(columns: usize) -> usize {
    let most = (1_usize << 20) / columns.max(1);
    let mut rows = 1;
    while rows * 2 < most {
        rows *= 2;
    }
    rows
}

/// Types one column.
///
/// # Source
/// pandas 2.2.3 `io/parsers/c_parser_wrapper.py` `_concatenate_chunks`.
pub(super) fn infer(table: &Table, column: usize) -> Typed {
    if table.rows == 0 {
        return Values::Text.into();
    }
    let whole = infer_rows(table, column, 0..table.rows);
    let step = piece_rows(table.stride);
    // Pieces of integers and of floats that hold no integer of more than 63 bits together are what
    // the column is as a whole.
    let settled = match &whole.values {
        Values::Int(_) | Values::Bool(_) => true,
        Values::Float(values) => !values.iter().any(|v| v.abs() >= TWO_TO_63),
        _ => false,
    };
    if settled || table.rows <= step {
        return whole;
    }
    let pieces = (0..table.rows).step_by(step).map(|start| {
        let end = (start + step).min(table.rows);
        Piece { end, typed: infer_rows(table, column, start..end) }
    });
    join(pieces.collect(), whole)
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Puts the pieces of a column together; `whole` is the column typed at once.
fn join(mut pieces: Vec<Piece>, whole: Typed) -> Typed {
    let same = |typed: &Typed| match (&typed.values, &whole.values) {
        (Values::Text, Values::Text) => typed.verbatim == whole.verbatim,
        // A piece without any text is gaps beside text.
        (Values::Float(values), Values::Text) => {
            !whole.verbatim && values.iter().all(|v| v.is_nan())
        }
        (Values::Float(values), Values::BoolOrMissing(_)) => values.iter().all(|v| v.is_nan()),
        (Values::Bool(_) | Values::BoolOrMissing(_), Values::BoolOrMissing(_))
        | (Values::UInt(_), Values::UInt(_))
        | (Values::Float(_), Values::Float(_)) => true,
        _ => false,
    };
    if pieces.iter().all(|piece| same(&piece.typed)) {
        return whole;
    }
    let any = |is: fn(&Values) -> bool| pieces.iter().any(|piece| is(&piece.typed.values));
    let objects = any(|v| matches!(v, Values::Text | Values::BoolOrMissing(_) | Values::Mixed(_)));
    let float = any(|v| matches!(v, Values::Float(_)))
        || any(|v| matches!(v, Values::Int(_))) && any(|v| matches!(v, Values::UInt(_)));
    let bools = any(|v| matches!(v, Values::Bool(_)));
    if objects {
        return Values::Mixed(pieces).into();
    }
    // Numbers of several types become doubles, or whole numbers if the others are booleans.
    if float {
        let values = pieces.iter().flat_map(|piece| doubles(&piece.typed.values)).collect();
        let (values, end) = (Values::Float(values), pieces.last().map_or(0, |piece| piece.end));
        return if bools {
            Values::Mixed(vec![Piece { end, typed: values.into() }]).into()
        } else {
            values.into()
        };
    }
    for piece in &mut pieces {
        if let Values::Bool(values) = &piece.typed.values {
            piece.typed.values = Values::Int(values.iter().map(|&v| i64::from(v)).collect());
        }
    }
    Values::Mixed(pieces).into()
}

fn doubles(values: &Values) -> Vec<f64> {
    match values {
        Values::Int(values) => values.iter().map(|&v| v as f64).collect(),
        Values::UInt(values) => values.iter().map(|&v| v as f64).collect(),
        Values::Float(values) => values.clone(),
        Values::Bool(values) => values.iter().map(|&v| f64::from(u8::from(v))).collect(),
        Values::BoolOrMissing(_) | Values::Text | Values::Mixed(_) => Vec::new(),
    }
}

/// Types some rows of a column.
///
/// # Source
/// pandas 2.2.3 `_libs/parsers.pyx` `_convert_tokens`, `_maybe_upcast` and `tokenizer.c` (`str_to_int64`,
/// `str_to_uint64`, `round_trip`, `to_boolean`), with `float_precision="round_trip"`.
fn infer_rows(table: &Table, column: usize, rows: Range<usize>) -> Typed {
    let cells = Reader { table, column, rows };
    let mut has_gaps = false;
    match cells.integers() {
        Ok(values) => return Values::Int(values).into(),
        Err(Rejected { why: Why::Overflow, .. }) => match cells.unsigned() {
            Ok(Unsigned::Values(values)) => return Values::UInt(values).into(),
            Ok(Unsigned::Conflict { verbatim }) => return Typed { values: Values::Text, verbatim },
            Err(Rejected { why: Why::Overflow, .. }) => return Values::Text.into(),
            Err(_) => {}
        },
        Err(rejected) => has_gaps = rejected.why == Why::Missing,
    }
    if let Ok(mut values) = cells.floats() {
        if has_gaps {
            cells.drop_least(&mut values);
        }
        return Values::Float(values).into();
    }
    match cells.booleans() {
        Ok(values) if values.iter().all(Option::is_some) => {
            Values::Bool(values.into_iter().flatten().collect()).into()
        }
        Ok(values) => Values::BoolOrMissing(values).into(),
        Err(_) => Values::Text.into(),
    }
}

/// The cell that keeps a column from being numeric: what the readers of numbers themselves say.
pub(super) fn not_numeric(table: &Table, column: usize, values: &Values) -> Option<Rejected> {
    let cells = |rows: Range<usize>| Reader { table, column, rows };
    match values {
        Values::Int(_) | Values::UInt(_) | Values::Float(_) | Values::Bool(_) => None,
        Values::BoolOrMissing(values) => {
            let row = values.iter().position(Option::is_none)?;
            Some(Rejected { row, why: Why::Missing })
        }
        Values::Text => cells(0..table.rows).not_numeric(),
        Values::Mixed(pieces) => {
            let starts = std::iter::once(0).chain(pieces.iter().map(|piece| piece.end));
            let mut ranges = starts.zip(pieces);
            ranges.find_map(|(start, piece)| cells(start..piece.end).not_numeric())
        }
    }
}

/// The cell that keeps a column from being integers.
pub(super) fn not_integer(table: &Table, column: usize) -> Option<Rejected> {
    Reader { table, column, rows: 0..table.rows }.integers().err()
}

/// Some rows of a column. Each way of reading them names the first cell that it does not take.
struct Reader<'t> {
    table: &'t Table,
    column: usize,
    rows: Range<usize>,
}

/// What reading as unsigned integers gives.
enum Unsigned {
    Values(Vec<u64>),
    /// A sign or a gap, beside a value that needs the last bit if the cells stay as they are, else
    /// beside one below all that are signed.
    Conflict {
        verbatim: bool,
    },
}

impl Reader<'_> {
    fn integers(&self) -> Result<Vec<i64>, Rejected> {
        let missing = AtomicUsize::new(usize::MAX);
        // No word for a missing value reads as a number, so the words are only looked for where
        // reading fails.
        let values = self.fill(0_i64, |row, cell| {
            if let Some(value) = small_integer(cell.as_bytes()) {
                return Ok(value);
            }
            match integer(cell) {
                Ok(value) => i64::try_from(value).map_err(|_| Why::Overflow),
                Err(_) if is_missing(cell) => {
                    missing.fetch_min(row, Ordering::Relaxed);
                    Ok(0)
                }
                Err(IntError::Overflow) => Err(Why::Overflow),
                Err(IntError::Syntax) => Err(Why::Syntax),
            }
        })?;
        match missing.into_inner() {
            usize::MAX => Ok(values),
            row => Err(Rejected { row, why: Why::Missing }),
        }
    }

    /// pandas reads a column again as unsigned where an integer has more than 63 bits.
    fn unsigned(&self) -> Result<Unsigned, Rejected> {
        let conflict = AtomicBool::new(false);
        let values = self.fill(0_u64, |_, cell| {
            if is_missing(cell) || cell.trim_start_matches(is_blank).starts_with('-') {
                conflict.store(true, Ordering::Relaxed);
                return Ok(0);
            }
            match integer(cell) {
                Ok(value) => u64::try_from(value).map_err(|_| Why::Overflow),
                Err(IntError::Overflow) => Err(Why::Overflow),
                Err(IntError::Syntax) => Err(Why::Syntax),
            }
        })?;
        if !conflict.into_inner() {
            return Ok(Unsigned::Values(values));
        }
        let verbatim = values.iter().any(|&value| i64::try_from(value).is_err());
        Ok(Unsigned::Conflict { verbatim })
    }

    fn floats(&self) -> Result<Vec<f64>, Rejected> {
        self.fill(0_f64, |_, cell| match float(cell) {
            Some(value) => Ok(value),
            None if is_missing(cell) => Ok(f64::NAN),
            None if is_overflow(cell) => Err(Why::Overflow),
            None => Err(Why::Syntax),
        })
    }

    /// Among integers with gaps the least of all stands for a gap itself.
    fn drop_least(&self, values: &mut [f64]) {
        for (row, value) in self.rows.clone().zip(values) {
            let is_least =
                || integer(self.table.cell(row, self.column)).ok() == Some(i64::MIN.into());
            if *value == -TWO_TO_63 && is_least() {
                *value = f64::NAN;
            }
        }
    }

    fn booleans(&self) -> Result<Vec<Option<bool>>, Rejected> {
        self.fill(None, |_, cell| {
            if is_missing(cell) { Ok(None) } else { boolean(cell).map(Some).ok_or(Why::Syntax) }
        })
    }

    fn not_numeric(&self) -> Option<Rejected> {
        match self.integers() {
            Ok(_) => return None,
            Err(signed @ Rejected { why: Why::Overflow, .. }) => match self.unsigned() {
                Ok(Unsigned::Values(_)) => return None,
                Ok(Unsigned::Conflict { .. }) => return Some(signed),
                Err(unsigned @ Rejected { why: Why::Overflow, .. }) => return Some(unsigned),
                Err(_) => {}
            },
            Err(_) => {}
        }
        self.floats().err()
    }

    /// Parses every cell, all cores at work on long columns.
    ///
    /// # Errors
    /// The first cell that `parse` refuses.
    fn fill<T>(
        &self,
        empty: T,
        parse: impl Fn(usize, &str) -> Result<T, Why> + Sync,
    ) -> Result<Vec<T>, Rejected>
    where
        T: Clone + Send + Sync,
    {
        const BLOCK: usize = 32_768;
        let one = |row: usize| {
            parse(row, self.table.cell(row, self.column)).map_err(|why| Rejected { row, why })
        };
        // Most columns that are not of a kind show it in their first cell.
        one(self.rows.start)?;
        let mut values = vec![empty; self.rows.len()];
        let block = |(number, chunk): (usize, &mut [T])| {
            let start = self.rows.start + number * BLOCK;
            chunk.iter_mut().enumerate().try_for_each(|(offset, value)| {
                *value = one(start + offset)?;
                Ok(())
            })
        };
        let first = if values.len() <= BLOCK {
            block((0, &mut values)).err()
        } else {
            let blocks = values.par_chunks_mut(BLOCK).enumerate().map(block);
            blocks.filter_map(Result::err).min_by_key(|rejected: &Rejected| rejected.row)
        };
        match first {
            Some(rejected) => Err(rejected),
            None => Ok(values),
        }
    }
}

/// Whether a cell that is no float is written as one, but is too large.
fn is_overflow(cell: &str) -> bool {
    let number = cell.trim_matches(is_blank);
    number.parse::<f64>().is_ok()
        && !number.trim_start_matches(['+', '-']).starts_with(char::is_alphabetic)
}

fn boolean(cell: &str) -> Option<bool> {
    if cell.eq_ignore_ascii_case("true") {
        Some(true)
    } else if cell.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}
