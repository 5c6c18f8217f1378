//! Tables as `DataFrame.to_csv(index=False)` writes them.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use rayon::prelude::*;

use super::column::{Column, Rows};
use super::float::{PythonFloat, is_canonical, is_canonical_integer};
use super::infer::is_missing;
use super::source::{CsvSource, FetchedRows, LoadedRow, RowReader};
use super::spread;
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
            Self::Shortest => out.write_all(PythonFloat(value).text().as_bytes()),
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

/// Rows that are printed by one thread at a time.
const ROWS: usize = 4096;

/// What is needed to print a table.
pub(super) struct Printer<'a> {
    pub(super) rows: usize,
    pub(super) sources: Vec<(&'a Arc<CsvSource>, &'a Rows)>,
    /// Of each source, whether its rows are fetched many at a time.
    scattered: Vec<bool>,
    cells: Vec<Cells<'a>>,
    style: &'a CsvStyle,
}

impl Printer<'_> {
    /// Prints all rows on all threads; `write` gets the texts in order, some at a time.
    fn print(
        &self,
        mut write: impl FnMut(Vec<Vec<u8>>) -> Result<(), WriteCsvError>,
    ) -> Result<(), WriteCsvError> {
        if let [(source, rows)] = &self.sources[..]
            && source.must_pass(rows)
            && let Some(places) = spread::places(rows, source.rows())
        {
            return spread::print(self, places, spread::PART, write);
        }
        /// So that the threads end at about the same time.
        const SHARES: usize = 4;
        let batch = ROWS * rayon::current_num_threads() * SHARES;
        let mut fetched = Fetched { from: 0, to: 0, rows: Vec::new() };
        while fetched.to < self.rows {
            fetched = Fetched::next(&self.sources, &self.scattered, fetched.to, self.rows)?;
            for begin in (fetched.from..fetched.to).step_by(batch) {
                let end = (begin + batch).min(fetched.to);
                let starts: Vec<usize> = (begin..end).step_by(ROWS).collect();
                let texts: Result<Vec<Vec<u8>>, FrameError> = starts
                    .par_iter()
                    .map(|&start| self.print_rows(start..(start + ROWS).min(end), &fetched))
                    .collect();
                write(texts?)?;
            }
        }
        Ok(())
    }

    /// As [`print`](Self::print), while what was printed before is written.
    fn print_ahead(
        &self,
        mut write: impl FnMut(Vec<Vec<u8>>) -> Result<(), WriteCsvError>,
    ) -> Result<(), WriteCsvError> {
        /// Batches that wait to be written.
        const WAITING: usize = 2;
        let (send, receive) = sync_channel(WAITING);
        thread::scope(|scope| {
            scope.spawn(move || {
                let printed = self.print(|texts| match send.send(Ok(texts)) {
                    Ok(()) => Ok(()),
                    // Nobody listens once writing has failed.
                    Err(_) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
                });
                if let Err(error) = printed {
                    let _ = send.send(Err(error));
                }
            });
            for texts in receive {
                write(texts?)?;
            }
            Ok(())
        })
    }
}

fn write_all(out: &mut impl Write, texts: &[Vec<u8>]) -> Result<(), WriteCsvError> {
    texts.iter().try_for_each(|text| Ok(out.write_all(text)?))
}

impl Frame {
    /// Writes the table as CSV.
    ///
    /// # Errors
    /// When the writer fails, or a cell cannot be read.
    pub fn write_csv(&self, mut out: impl Write, style: &CsvStyle) -> Result<(), WriteCsvError> {
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

        let printer = self.printer(style);
        // A thread of the pool must not wait for others that print.
        if self.rows <= ROWS || rayon::current_thread_index().is_some() {
            printer.print(|texts| write_all(&mut out, &texts))?;
        } else {
            printer.print_ahead(|texts| write_all(&mut out, &texts))?;
        }
        out.flush()?;
        Ok(())
    }

    pub(super) fn printer<'a>(&'a self, style: &'a CsvStyle) -> Printer<'a> {
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
            .map(|(source, rows)| source.must_fetch(rows.are_ascending(), false))
            .collect();
        Printer { rows: self.rows, sources, scattered, cells, style }
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
        let budget =
            jumping().map(|(source, _)| source.fetched_at_a_time()).min().unwrap_or(u64::MAX);
        let mut to = end;
        let bytes = |to: usize| -> u64 {
            jumping()
                .map(|(source, rows)| source.about_bytes((from..to).map(|row| rows.at(row))))
                .sum()
        };
        while to - from > 1 && bytes(to) > budget {
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

impl Printer<'_> {
    fn print_rows(&self, rows: Range<usize>, fetched: &Fetched) -> Result<Vec<u8>, FrameError> {
        let Self { sources, cells, .. } = self;
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
            self.print_row(&mut out, row, &loaded)?;
        }
        Ok(out)
    }

    /// Prints a row, for which each source has loaded what it has for it.
    pub(super) fn print_row(
        &self,
        out: &mut Vec<u8>,
        row: usize,
        loaded: &[LoadedRow<'_>],
    ) -> Result<(), FrameError> {
        let Self { cells, style, .. } = self;
        let line = out.len();
        // Neighbours that are printed as they stand are copied together.
        let mut run: Option<(usize, Range<usize>)> = None;
        let copy = |out: &mut Vec<u8>, run: Option<(usize, Range<usize>)>| {
            if let Some((reader, range)) = run {
                out.extend_from_slice(&loaded[reader].text()[range]);
            }
        };
        for (i, cell) in cells.iter().enumerate() {
            let stands = match cell {
                Cells::Stored(_) => None,
                Cells::Read { reader, field, kind } => {
                    let stands = style.as_it_stands(&loaded[*reader], *field, *kind);
                    stands.map(|range| (*reader, range))
                }
            };
            if let (Some((before, run)), Some((reader, range))) = (&mut run, &stands)
                && before == reader
                && run.end + 1 == range.start
                && loaded[*reader].separator() == style.separator
            {
                run.end = range.end;
                continue;
            }
            copy(out, run.take());
            if i > 0 {
                out.push(style.separator);
            }
            run = stands;
            match cell {
                _ if run.is_some() => {}
                Cells::Stored(column) => {
                    style.value(out, &column.stored(column.rows.at(row)));
                }
                Cells::Read { reader, field, kind } => {
                    style.cell(out, &loaded[*reader], *field, *kind)?;
                }
            }
        }
        copy(out, run);
        // A line without any character would be read as no row at all.
        if out.len() == line && cells.len() == 1 {
            out.extend_from_slice(b"\"\"");
        }
        out.push(b'\n');
        Ok(())
    }
}

impl CsvStyle {
    /// Where a cell stands in its row, if that is known to be how it is printed.
    fn as_it_stands(&self, row: &LoadedRow<'_>, field: usize, kind: Kind) -> Option<Range<usize>> {
        let text = row.cell(field);
        let stands = match kind {
            _ if text.is_empty() => self.quoting == Quoting::Minimal,
            Kind::Text => {
                self.quoting == Quoting::Minimal
                    && self.separator == row.separator()
                    && !is_missing(text)
            }
            Kind::Float => self.floats == FloatFormat::Shortest && is_canonical(text),
            Kind::Int | Kind::UInt => is_canonical_integer(text),
            Kind::Bool => matches!(text, b"True" | b"False"),
        };
        // A number's text has nothing in it that needs quotes.
        stands.then(|| row.standing(field)).flatten()
    }

    /// Prints a cell of a CSV file from its value.
    fn cell(
        &self,
        out: &mut Vec<u8>,
        row: &LoadedRow<'_>,
        field: usize,
        kind: Kind,
    ) -> Result<(), FrameError> {
        match (kind, row.cell(field)) {
            (Kind::Text, text) if is_missing(text) => self.missing(out),
            (Kind::Text, text) => self.text(out, text),
            _ => self.value(out, &row.value(field)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::CsvOptions;

    /// Every cell printed from its value, without a look at its text.
    fn by_value(table: &Frame, style: &CsvStyle) -> Vec<u8> {
        let mut out = Vec::new();
        let names = table.column_names();
        for (i, name) in names.iter().enumerate() {
            if i > 0 {
                out.push(style.separator);
            }
            style.text(&mut out, name.as_bytes());
        }
        out.push(b'\n');
        let columns: Vec<_> = names.iter().map(|name| table.values(name).unwrap()).collect();
        for row in 0..table.rows() {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    out.push(style.separator);
                }
                style.value(&mut out, &column[row]);
            }
            out.push(b'\n');
        }
        out
    }

    proptest! {
        #[test]
        fn cells_that_pass_as_they_stand_are_printed_as_their_values(
            rows in prop::collection::vec(
                (
                    "[+-]?[0-9]{0,3}(0{0,3}|[0-9]{1,16})",
                    "[+-]?[0-9]{1,9}(\\.[0-9]{0,9}0{0,2})?(e[+-]?[0-9]{1,2})?",
                    "(True|False|true|FALSE|)",
                    "([a-c \\t;']{0,3}|NA|\"[a,;\r\n]{0,2}(\"\")?\"|a\"b|a\0b)",
                ),
                1..20,
            ),
            separator in prop::sample::select(vec![b',', b';']),
            quotes in any::<bool>(),
            chosen in prop::sample::select(vec![
                &["whole", "real", "truth", "words", "end"][..],
                &["whole", "truth", "words"],
                &["end", "words", "real"],
                &["real", "end"],
            ]),
        ) {
            let mut text = "whole,real,truth,words,end\n".to_owned();
            for (whole, real, truth, words) in &rows {
                text.push_str(&format!("{whole},{real},{truth},{words},x\n"));
            }
            let table = Frame::from_csv(text, "t.csv", &CsvOptions::default()).unwrap();
            let table = table.select(chosen).unwrap();
            let quoting = if quotes { Quoting::NonNumeric } else { Quoting::Minimal };
            let style = CsvStyle { separator, quoting, ..CsvStyle::default() };
            let printed = table.to_csv(&style).unwrap();
            let expected = by_value(&table, &style);
            prop_assert_eq!(
                String::from_utf8_lossy(&printed),
                String::from_utf8_lossy(&expected)
            );
        }
    }
}
