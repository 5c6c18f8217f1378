//! Column types, decided over all cells of a column in pandas' order: integer, float, boolean,
//! text.

use std::sync::atomic::{AtomicBool, Ordering};

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

/// Types one column.
///
/// # Source
/// pandas 2.2.3 `_libs/parsers.pyx` `_convert_tokens` and `tokenizer.c` (`str_to_int64`,
/// `str_to_uint64`, `round_trip`, `to_boolean`), with `float_precision="round_trip"`.
pub(super) fn infer(table: &Table, column: usize) -> Values {
    if table.rows == 0 {
        return Values::Text;
    }
    let missing = AtomicBool::new(false);
    // No word for a missing value reads as a number, so the words are only looked for where reading
    // fails.
    let ints = fill(table, column, 0_i64, |cell| {
        if let Some(value) = small_integer(cell.as_bytes()) {
            return Ok(value);
        }
        match integer(cell) {
            Ok(value) => i64::try_from(value).map_err(|_| IntError::Overflow),
            Err(_) if is_missing(cell) => {
                missing.store(true, Ordering::Relaxed);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    });
    let any_missing = || (0..table.rows).any(|row| is_missing(table.cell(row, column)));
    match ints {
        Ok(values) if !missing.into_inner() => return Values::Int(values),
        Ok(_) | Err(IntError::Syntax) => {}
        Err(IntError::Overflow) => {
            // pandas reads the column again as unsigned; a sign or a gap beside a value that needs
            // the last bit makes it text.
            let negative = AtomicBool::new(false);
            let unsigned = fill(table, column, 0_u64, |cell| {
                if is_missing(cell) {
                    return Ok(0);
                }
                if cell.trim_start_matches(is_blank).starts_with('-') {
                    negative.store(true, Ordering::Relaxed);
                    return Ok(0);
                }
                let value = integer(cell)?;
                u64::try_from(value).map_err(|_| IntError::Overflow)
            });
            match unsigned {
                Err(IntError::Overflow) => return Values::Text,
                Ok(values) => {
                    let conflict = negative.into_inner() || any_missing();
                    return if conflict { Values::Text } else { Values::UInt(values) };
                }
                Err(IntError::Syntax) => {}
            }
        }
    }
    let floats = fill(table, column, 0_f64, |cell| match float(cell) {
        Some(value) => Ok(value),
        None if is_missing(cell) => Ok(f64::NAN),
        None => Err(()),
    });
    if let Ok(values) = floats {
        return Values::Float(values);
    }
    let bools = fill(table, column, None, |cell| {
        if is_missing(cell) { Ok(None) } else { boolean(cell).map(Some).ok_or(()) }
    });
    match bools {
        Ok(values) if values.iter().all(Option::is_some) => {
            Values::Bool(values.into_iter().flatten().collect())
        }
        Ok(values) => Values::BoolOrMissing(values),
        Err(()) => Values::Text,
    }
}

/// Parses every cell of a column, both cores at work on long ones. The error is that of the first
/// row that has one.
fn fill<T, E>(
    table: &Table,
    column: usize,
    empty: T,
    parse: impl Fn(&str) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E>
where
    T: Clone + Send + Sync,
    E: Send,
{
    const BLOCK: usize = 32_768;
    // Most columns that are not of a kind show it in their first cell.
    parse(table.cell(0, column))?;
    let mut values = vec![empty; table.rows];
    let block = |(number, chunk): (usize, &mut [T])| {
        for (offset, value) in chunk.iter_mut().enumerate() {
            *value = parse(table.cell(number * BLOCK + offset, column))
                .map_err(|error| (number, error))?;
        }
        Ok(())
    };
    let worst = if table.rows <= BLOCK {
        block((0, &mut values)).err()
    } else {
        values
            .par_chunks_mut(BLOCK)
            .enumerate()
            .map(block)
            .filter_map(Result::err)
            .min_by_key(|(number, _)| *number)
    };
    match worst {
        Some((_, error)) => Err(error),
        None => Ok(values),
    }
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
