//! Tables as `DataFrame.to_csv(index=False)` writes them.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::column::{Column, Rows};
use super::float::is_canonical;
use super::infer::is_missing;
use super::source::{CsvSource, FetchedRows, RowReader};
use super::value::{Kind, Value};
use super::{Frame, FrameError};

/// When a field is put in quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// Only where the text needs it.
    #[default]
    Minimal,
    /// All text, header and missing cells; numbers stay bare.
    NonNumeric,
}

/// How a double is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatFormat {
    /// Shortest digits that read back, as Python's `repr`.
    #[default]
    Shortest,
    /// C's `%.{digits}f`.
    Fixed(usize),
    /// C's `%.{digits}g`.
    General(usize),
}

impl FloatFormat {
    /// Prints a finite double.
    pub fn print(self, out: &mut impl Write, value: f64) -> io::Result<()> {
        match self {
            Self::Shortest => write!(out, "{}", Value::Float(value)),
            Self::Fixed(digits) => write!(out, "{value:.digits$}"),
            Self::General(digits) => general(out, value, digits.max(1)),
        }
    }
}

/// C's `%.{digits}g`: rounded to so many significant digits, exponent form outside
/// `1e-4..10^digits`, no trailing zeros.
fn general(out: &mut impl Write, value: f64, digits: usize) -> io::Result<()> {
    if value.is_infinite() {
        return write!(out, "{value}");
    }
    let rounded = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = rounded.split_once('e').expect("exponent form has an `e`");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent) as usize;
    out.write_all(trimmed(&format!("{value:.decimals$}")).as_bytes())
}

/// The layout of a CSV file.
#[derive(Clone, Debug)]
pub struct CsvStyle {
    /// Between cells.
    pub separator: u8,
    /// When fields are quoted.
    pub quoting: Quoting,
    /// How the doubles of float columns are printed.
    pub floats: FloatFormat,
    /// Whether the names of the columns come first; a later part of a file has none.
    pub header: bool,
}

impl Default for CsvStyle {
    fn default() -> Self {
        Self {
            separator: b',',
            quoting: Quoting::default(),
            floats: FloatFormat::default(),
            header: true,
        }
    }
}

impl CsvStyle {
    /// The default style with another separator.
    pub fn separated_by(separator: u8) -> Self {
        Self { separator, ..Self::default() }
    }

    /// The default style with all text quoted.
    pub fn quoting_text() -> Self {
        Self { quoting: Quoting::NonNumeric, ..Self::default() }
    }

    /// The default style with another format for doubles.
    pub fn floats(floats: FloatFormat) -> Self {
        Self { floats, ..Self::default() }
    }

    fn text(&self, out: &mut Vec<u8>, text: &[u8]) {
        let needed =
            text.iter().any(|&byte| byte == self.separator || matches!(byte, b'"' | b'\n'));
        if !needed && self.quoting == Quoting::Minimal {
            return out.extend_from_slice(text);
        }
        out.push(b'"');
        for (i, part) in text.split(|&byte| byte == b'"').enumerate() {
            if i > 0 {
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(part);
        }
        out.push(b'"');
    }

    fn missing(&self, out: &mut Vec<u8>) {
        if self.quoting == Quoting::NonNumeric {
            out.extend_from_slice(b"\"\"");
        }
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value<'_>) {
        match value {
            _ if value.is_missing() => self.missing(out),
            Value::Text(text) => self.text(out, text.as_bytes()),
            Value::Float(value) => {
                self.floats.print(out, *value).expect("writing to memory cannot fail")
            }
            other => write!(out, "{other}").expect("writing to memory cannot fail"),
        }
    }
}

/// How the cells of one column are found while rows are written.
enum Cells<'a> {
    /// In the given reader, at a field.
    Read {
        reader: usize,
        field: usize,
        kind: Kind,
    },
    Stored(&'a Column),
}

impl Frame {
    /// Writes the table as CSV.
    ///
    /// # Errors
    /// When the writer fails, or a cell cannot be read.
    pub fn write_csv(&self, mut out: impl Write, style: &CsvStyle) -> Result<(), WriteCsvError> {
        const ROWS: usize = 4096;
        let mut header = Vec::new();
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                header.push(style.separator);
            }
            style.text(&mut header, column.name.as_bytes());
        }
        header.push(b'\n');
        if style.header {
            out.write_all(&header)?;
        }

        let mut sources: Vec<(&Arc<CsvSource>, &Rows)> = Vec::new();
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            cells.push(match column.source() {
                None => Cells::Stored(column),
                Some((source, field)) => {
                    let known = |(seen, rows): &(&Arc<CsvSource>, &Rows)| {
                        Arc::ptr_eq(seen, source) && rows.is_same(&column.rows)
                    };
                    let reader = sources.iter().position(known).unwrap_or_else(|| {
                        sources.push((source, &column.rows));
                        sources.len() - 1
                    });
                    Cells::Read { reader, field, kind: column.kind }
                }
            });
        }
        let scattered: Vec<bool> = sources
            .iter()
            .map(|(source, rows)| source.is_on_disk() && !rows.are_ascending())
            .collect();
        let batch = ROWS * rayon::current_num_threads();
        let mut fetched = Fetched { from: 0, to: 0, rows: Vec::new() };
        while fetched.to < self.rows {
            fetched = Fetched::next(&sources, &scattered, fetched.to, self.rows)?;
            for begin in (fetched.from..fetched.to).step_by(batch) {
                let end = (begin + batch).min(fetched.to);
                let starts: Vec<usize> = (begin..end).step_by(ROWS).collect();
                let texts: Vec<Result<Vec<u8>, FrameError>> = starts
                    .par_iter()
                    .map(|&start| {
                        print_rows(
                            start..(start + ROWS).min(end),
                            &sources,
                            &fetched,
                            &cells,
                            style,
                        )
                    })
                    .collect();
                for text in texts {
                    out.write_all(&text?)?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    /// The table as CSV text.
    ///
    /// # Errors
    /// When a cell cannot be read.
    pub fn to_csv(&self, style: &CsvStyle) -> Result<Vec<u8>, FrameError> {
        let mut text = Vec::new();
        match self.write_csv(&mut text, style) {
            Ok(()) => Ok(text),
            Err(WriteCsvError::Cell(error)) => Err(error),
            Err(WriteCsvError::Io(error)) => unreachable!("memory cannot fail: {error}"),
        }
    }
}

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteCsvError {
    /// The writer failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A cell could not be read.
    #[error(transparent)]
    Cell(#[from] FrameError),
}

/// Rows of the output from `from` to `to`, and for each source that is read in no order what it has
/// for them.
struct Fetched {
    from: usize,
    to: usize,
    rows: Vec<Option<FetchedRows>>,
}

impl Fetched {
    /// Fetches as many rows as take a bounded amount of memory; all rows, if none has to be
    /// fetched.
    fn next(
        sources: &[(&Arc<CsvSource>, &Rows)],
        scattered: &[bool],
        from: usize,
        end: usize,
    ) -> Result<Self, FrameError> {
        const BYTES: u64 = 96 << 20;
        const ROWS: usize = 1 << 20;
        let jumping = || {
            sources
                .iter()
                .zip(scattered)
                .filter(|(_, scattered)| **scattered)
                .map(|(source, _)| source)
        };
        if jumping().next().is_none() {
            return Ok(Self { from, to: end, rows: sources.iter().map(|_| None).collect() });
        }
        let mut to = end.min(from + ROWS);
        let bytes = |to: usize| -> u64 {
            jumping()
                .map(|(source, rows)| source.about_bytes((from..to).map(|row| rows.at(row))))
                .sum()
        };
        while to - from > 1 && bytes(to) > BYTES {
            to = from + (to - from) / 2;
        }
        let fetch = |((source, rows), scattered): (&(&Arc<CsvSource>, &Rows), &bool)| {
            let wanted = || (from..to).map(|row| rows.at(row) as u32).collect::<Vec<_>>();
            scattered.then(|| source.fetch(&wanted())).transpose()
        };
        let rows = sources.iter().zip(scattered).map(fetch).collect::<Result<_, _>>()?;
        Ok(Self { from, to, rows })
    }
}

fn print_rows(
    rows: Range<usize>,
    sources: &[(&Arc<CsvSource>, &Rows)],
    fetched: &Fetched,
    cells: &[Cells<'_>],
    style: &CsvStyle,
) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::with_capacity(rows.len() * cells.len() * 8);
    let mut readers: Vec<RowReader<'_>> =
        sources.iter().map(|(source, _)| source.reader()).collect();
    for row in rows {
        let loaded = readers
            .iter_mut()
            .zip(sources)
            .zip(&fetched.rows)
            .map(|((reader, (_, rows)), there)| match there {
                Some(there) => Ok(reader.load_fetched(rows.at(row), there, row - fetched.from)),
                None => reader.load(rows.at(row)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let line = out.len();
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                out.push(style.separator);
            }
            match cell {
                Cells::Stored(column) => style.value(&mut out, &column.stored(column.rows.at(row))),
                Cells::Read { reader, field, kind } => {
                    let row = &loaded[*reader];
                    let text = row.cell(*field);
                    match kind {
                        Kind::Text if is_missing(text) => style.missing(&mut out),
                        Kind::Text => style.text(&mut out, text),
                        Kind::Float
                            if style.floats == FloatFormat::Shortest && is_canonical(text) =>
                        {
                            out.extend_from_slice(text);
                        }
                        _ => style.value(&mut out, &row.value(*field)?),
                    }
                }
            }
        }
        // A line without any character would be read as no row at all.
        if out.len() == line && cells.len() == 1 {
            out.extend_from_slice(b"\"\"");
        }
        out.push(b'\n');
    }
    Ok(out)
}
