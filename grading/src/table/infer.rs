//! Column types, decided over all cells of a column in pandas' order: integer, float, boolean, text.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::Table;

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
    if !matches!(cell.as_bytes(), [] | [b'#' | b'-' | b'1' | b'<' | b'N' | b'n', ..]) || cell.len() > 8 {
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

enum IntError {
    Syntax,
    Overflow,
}

/// Types one column.
///
/// # Source
/// pandas 2.2.3 `_libs/parsers.pyx` `_convert_tokens` and `tokenizer.c` (`str_to_int64`, `str_to_uint64`, `round_trip`,
/// `to_boolean`), with `float_precision="round_trip"`.
pub(super) fn infer(table: &Table, column: usize) -> Values {
    if table.rows == 0 {
        return Values::Text;
    }
    let missing = AtomicBool::new(false);
    // No word for a missing value reads as a number, so the words are only looked for where reading fails.
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
            // pandas reads the column again as unsigned; a sign or a gap beside a value that needs the last bit makes it text.
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
    let bools =
        fill(table, column, None, |cell| if is_missing(cell) { Ok(None) } else { boolean(cell).map(Some).ok_or(()) });
    match bools {
        Ok(values) if values.iter().all(Option::is_some) => Values::Bool(values.into_iter().flatten().collect()),
        Ok(values) => Values::BoolOrMissing(values),
        Err(()) => Values::Text,
    }
}

/// Parses every cell of a column, both cores at work on long ones. The error is that of the first row that has one.
fn fill<T, E>(table: &Table, column: usize, empty: T, parse: impl Fn(&str) -> Result<T, E> + Sync) -> Result<Vec<T>, E>
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
            *value = parse(table.cell(number * BLOCK + offset, column)).map_err(|error| (number, error))?;
        }
        Ok(())
    };
    let worst = if table.rows <= BLOCK {
        block((0, &mut values)).err()
    } else {
        values.par_chunks_mut(BLOCK).enumerate().map(block).filter_map(Result::err).min_by_key(|(number, _)| *number)
    };
    match worst {
        Some((_, error)) => Err(error),
        None => Ok(values),
    }
}

/// C's `isspace` over ASCII.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Up to 18 digits and nothing else, which is what most integers look like.
fn small_integer(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    bytes.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| value * 10 + i64::from(digit))
    })
}

/// `[+-]?digits` with blanks around it.
fn integer(cell: &str) -> Result<i128, IntError> {
    let mut bytes = cell.as_bytes();
    if let (Some(first), Some(last)) = (bytes.first(), bytes.last())
        && (is_blank(*first as char) || is_blank(*last as char))
    {
        bytes = cell.trim_matches(is_blank).as_bytes();
    }
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() {
        return Err(IntError::Syntax);
    }
    if digits.len() <= 18 {
        let mut value = 0_i64;
        for &digit in digits {
            if !digit.is_ascii_digit() {
                return Err(IntError::Syntax);
            }
            value = value * 10 + i64::from(digit - b'0');
        }
        return Ok(i128::from(if negative { -value } else { value }));
    }
    let mut value = 0_i128;
    for &digit in digits {
        // The digits up to the overflow are looked at before what follows them, as a reader from left to right does.
        if value > i128::from(u64::MAX) {
            return Err(IntError::Overflow);
        }
        if !digit.is_ascii_digit() {
            return Err(IntError::Syntax);
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    Ok(if negative { -value } else { value })
}

/// A decimal number, or `inf`/`infinity` in any case. Blanks are allowed around a decimal number only.
fn float(cell: &str) -> Option<f64> {
    let mut number = cell;
    if let (Some(first), Some(last)) = (cell.as_bytes().first(), cell.as_bytes().last())
        && (is_blank(*first as char) || is_blank(*last as char))
    {
        number = cell.trim_matches(is_blank);
    }
    let value: f64 = number.parse().ok()?;
    if value.is_finite() {
        return Some(value);
    }
    let digits = number.trim_start_matches(['+', '-']);
    if digits.starts_with(['i', 'I']) {
        return (number.len() == cell.len()).then_some(value);
    }
    // An overflowing literal is no number for pandas, unless it is negative: it compares with +infinity only.
    (value == f64::NEG_INFINITY).then_some(value)
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
