//! The tokenizer: splits CSV bytes into cells by the rules of pandas' C parser, in place.
//!
//! One buffer and one offset a cell are all that is kept. A [`Plain`] text is split where it lies,
//! on all cores. In any other, cells are moved down over the quotes, carriage returns and blank
//! lines that are dropped.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::OnceLock;

use memchr::{memchr, memchr_iter};

use super::infer::Typed;
use super::open::ForeignFormat;
use super::plain::Plain;
use super::{Cells, Limits, Table};

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read the file")]
    Io {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The path leads to something that is not a plain file.
    #[error("it is {what}, not a regular file")]
    NotRegular {
        /// What it is.
        what: &'static str,
    },
    /// The file is over the size limit.
    #[error("it has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        limit: u64,
    },
    /// There are more data rows than the limit.
    #[error("it has more than {limit} rows")]
    TooManyRows { limit: usize },
    /// There are more columns than the limit.
    #[error("row {row} has more than {limit} columns")]
    TooManyColumns {
        /// The row, 0 for the header.
        row: usize,
        limit: usize,
    },
    /// There are more cells than the limit, missing ones at the ends of short rows counted.
    #[error("it has more than {limit} cells")]
    TooManyCells { limit: usize },
    /// The first bytes are those of another format.
    #[error("it is {}, not CSV text", .0.description())]
    Foreign(ForeignFormat),
    /// Some bytes are not UTF-8.
    #[error("it is not UTF-8 text: byte {offset} (line {line}) is {byte:#04x}")]
    NotUtf8 {
        /// Where, from 0.
        offset: usize,
        /// The line, from 1.
        line: usize,
        byte: u8,
    },
    /// A quoted cell does not end.
    #[error("the quote that opens in row {row} is never closed")]
    OpenQuote {
        /// The data row, from 1; 0 is the header.
        row: usize,
    },
    /// A row begins with blanks behind a lone carriage return, which sends pandas round in circles.
    #[error(
        "row {row} begins with a blank behind a lone carriage return (CR), where pandas loses its way; a text \
         with a line break must be quoted"
    )]
    LoneReturn {
        /// The data row, from 1; 0 is the header.
        row: usize,
    },
    /// A row has more cells than the header and the first data row.
    #[error("row {row} has {found} cells, expected at most {expected}")]
    LongRow {
        /// The data row, from 1.
        row: usize,
        /// Its cells.
        found: usize,
        /// The most there may be.
        expected: usize,
    },
}

/// Splits `bytes` into a table, and types the columns of the given names at once if that is
/// quicker.
pub(super) fn scan(bytes: Vec<u8>, limits: &Limits, wanted: &[&str]) -> Result<Table, ReadError> {
    let limit = limits.bytes.min(Limits::MAX_BYTES);
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { bytes: bytes.len() as u64, limit });
    }
    if let Some(format) = ForeignFormat::detect(&bytes) {
        return Err(ReadError::Foreign(format));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let (offset, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + memchr_iter(b'\n', &bytes[..offset]).count();
        ReadError::NotUtf8 { offset, line, byte: bytes[offset] }
    })?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if let Some(plain) = Plain::find(&text, limits) {
        let names = unique_names(plain.names(&text));
        let places: Vec<usize> =
            (0..names.len()).filter(|&k| wanted.contains(&names[k].as_str())).collect();
        let numbers = plain.numbers(&text, &places);
        let starts = if numbers.is_some() {
            Some(OnceLock::new())
        } else {
            plain.starts(&text).map(OnceLock::from)
        };
        if let Some(starts) = starts {
            check_rows(plain.rows(), limits)?;
            let typed: Vec<OnceLock<Typed>> = names.iter().map(|_| OnceLock::new()).collect();
            for (place, values) in places.into_iter().zip(numbers.unwrap_or_default()) {
                let _ = typed[place].set(values.into());
            }
            let (stride, rows) = (plain.stride(), plain.rows());
            return Ok(Table {
                text,
                names,
                cells: Cells::Plain { plain, starts },
                stride,
                index_cells: 0,
                rows,
                stray_return: None,
                typed,
            });
        }
    }
    let Split { text, starts, stride, index_cells, stray_return, names } =
        general_cells(text, limits)?;
    let rows = (starts.len() - 1).checked_div(stride).unwrap_or(0);
    check_rows(rows, limits)?;
    let typed = names.iter().map(|_| OnceLock::new()).collect();
    Ok(Table {
        text,
        names: unique_names(names),
        cells: Cells::Moved(starts),
        stride,
        index_cells,
        rows,
        stray_return,
        typed,
    })
}

fn check_rows(rows: usize, limits: &Limits) -> Result<(), ReadError> {
    if rows > limits.rows { Err(ReadError::TooManyRows { limit: limits.rows }) } else { Ok(()) }
}

/// A file in cells: the data rows' starts and one more for the end, and the names as they are
/// written.
#[derive(Default)]
struct Split {
    text: String,
    starts: Vec<u32>,
    stride: usize,
    index_cells: usize,
    stray_return: Option<usize>,
    names: Vec<String>,
}

/// The cells of any text, one byte after the other.
fn general_cells(text: String, limits: &Limits) -> Result<Split, ReadError> {
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut scanner = Scanner {
        read: start,
        write: start,
        ends: Ends::default(),
        starts: Vec::new(),
        bytes: text.into_bytes(),
        columns: limits.columns,
    };
    let columns = scanner.record(0)?;
    if columns == 0 {
        return Ok(Split { starts: vec![0], stride: 1, ..Split::default() });
    }
    let mut header = std::mem::take(&mut scanner.starts);
    header.push(scanner.write as u32);
    // Each name ends before the separator in front of the next one.
    let name = |pair: &[u32]| {
        let name = &scanner.bytes[pair[0] as usize..pair[1] as usize - 1];
        short_name(&String::from_utf8_lossy(&name[..name.len().min(2 * LONGEST_NAME)]))
    };
    let names: Vec<String> = header.windows(2).map(name).collect();

    let first = scanner.record(1)?;
    let stride = first.max(columns);
    if first > 0 {
        scanner.pad(stride - first);
        scanner.rows(stride, limits)?;
    }
    let Scanner { mut bytes, mut starts, write, ends, .. } = scanner;
    starts.push(write as u32);
    bytes.truncate(write);
    // Cells were moved as wholes, so what is left is as valid as what came in.
    let text = String::from_utf8(bytes).map_err(|error| {
        let (offset, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        ReadError::NotUtf8 { offset, line: 1, byte: bytes[offset] }
    })?;
    Ok(Split {
        text,
        starts,
        stride,
        index_cells: first.saturating_sub(columns),
        stray_return: ends.stray(),
        names,
    })
}

struct Scanner {
    bytes: Vec<u8>,
    /// Most columns.
    columns: usize,
    read: usize,
    write: usize,
    starts: Vec<u32>,
    ends: Ends,
}

/// How rows end.
#[derive(Default)]
struct Ends {
    /// Rows that end in a line feed.
    line_feeds: usize,
    /// The first row that ends in a lone carriage return, from 1; 0 is the header.
    first_return: Option<usize>,
    /// Whether there is a lone carriage return since the last line feed, or since the second row
    /// began.
    lone_return: bool,
}

impl Ends {
    fn line_feed(&mut self) {
        self.line_feeds += 1;
        self.lone_return = false;
    }

    /// The data row, from 0, whose end is the odd one out.
    fn stray(&self) -> Option<usize> {
        self.first_return.filter(|_| self.line_feeds > 1)?.checked_sub(1)
    }
}

impl Scanner {
    /// Splits all further rows, one after the other.
    fn rows(&mut self, stride: usize, limits: &Limits) -> Result<(), ReadError> {
        let mut row = 2;
        loop {
            let cells = self.record(row)?;
            if cells == 0 {
                return Ok(());
            }
            if cells > stride {
                return Err(ReadError::LongRow { row, found: cells, expected: stride });
            }
            if row > limits.rows {
                return Err(ReadError::TooManyRows { limit: limits.rows });
            }
            self.pad(stride - cells);
            if self.starts.len() > limits.cells {
                return Err(ReadError::TooManyCells { limit: limits.cells });
            }
            row += 1;
        }
    }

    /// Adds missing cells to the row just read. They start where the next row does and so have no
    /// length.
    fn pad(&mut self, cells: usize) {
        self.starts.extend(std::iter::repeat_n(self.write as u32, cells));
    }

    /// Splits the next line that is not blank and returns its number of cells; 0 at the end of the
    /// file.
    fn record(&mut self, row: usize) -> Result<usize, ReadError> {
        self.skip_blank_lines(row)?;
        if self.read == self.bytes.len() {
            return Ok(0);
        }
        let before = self.starts.len();
        loop {
            self.starts.push(self.write as u32);
            if self.starts.len() - before > self.columns {
                return Err(ReadError::TooManyColumns { row, limit: self.columns });
            }
            let separator = self.cell(row)?;
            // The separator is written as well: it is what tells a cell's end from the next one's
            // start.
            self.bytes[self.write] = separator;
            self.write += 1;
            if separator == b'\n' {
                return Ok(self.starts.len() - before);
            }
        }
    }

    /// Moves behind blank lines.
    ///
    /// # Errors
    /// [`ReadError::LoneReturn`]: where a line begins with blanks, pandas' tokenizer goes back to the
    /// last line feed. If a lone carriage return lies between, it comes here again and again, and
    /// gives up, or goes on after a quarter of a million rows.
    ///
    /// # Source
    /// pandas 2.2.3 `tokenizer.c` `tokenize_bytes`, states `WHITESPACE_LINE` and `EAT_CRNL_NOP`.
    fn skip_blank_lines(&mut self, row: usize) -> Result<(), ReadError> {
        let mut blanks = false;
        while let Some(&byte) = self.bytes.get(self.read) {
            match byte {
                b'\n' => {
                    self.ends.lone_return = false;
                    blanks = false;
                }
                b'\r' => {
                    self.ends.lone_return = true;
                    blanks = false;
                    // A comma behind a blank line's lone carriage return goes with it.
                    if self.bytes.get(self.read + 1) == Some(&b',') {
                        self.read += 1;
                    }
                }
                b' ' | b'\t' => blanks = true,
                _ if blanks && self.ends.lone_return => {
                    return Err(ReadError::LoneReturn { row });
                }
                // The blanks belong to the cell.
                _ if blanks => {
                    let line = &self.bytes[..self.read];
                    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
                    self.read -= line.iter().rev().take_while(blank).count();
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.read += 1;
        }
        Ok(())
    }

    /// Copies one cell down and returns the separator that ended it: a comma or a line feed (also
    /// for a carriage return).
    fn cell(&mut self, row: usize) -> Result<u8, ReadError> {
        let start = self.write;
        let mut quoted = self.bytes[self.read] == b'"';
        if quoted {
            self.read += 1;
        }
        loop {
            let Some(&byte) = self.bytes.get(self.read) else {
                return Err(ReadError::OpenQuote { row });
            };
            self.read += 1;
            match byte {
                b'"' if quoted => {
                    if self.bytes.get(self.read) == Some(&b'"') {
                        self.read += 1;
                    } else {
                        quoted = false;
                        continue;
                    }
                }
                b',' | b'\n' if !quoted => {
                    if byte == b'\n' {
                        self.ends.line_feed();
                    }
                    self.cut_at_nul(start);
                    return Ok(byte);
                }
                b'\r' if !quoted => {
                    if self.bytes.get(self.read) == Some(&b'\n') {
                        self.read += 1;
                        self.ends.line_feed();
                    } else {
                        self.ends.first_return.get_or_insert(row);
                        // The first two lines are read for the sake of the header; what follows
                        // starts afresh.
                        self.ends.lone_return = row != 1;
                    }
                    self.cut_at_nul(start);
                    return Ok(b'\n');
                }
                _ => {}
            }
            self.bytes[self.write] = byte;
            self.write += 1;
        }
    }

    /// pandas hands cells on as C strings, which end at a NUL.
    fn cut_at_nul(&mut self, start: usize) {
        if let Some(length) = memchr(0, &self.bytes[start..self.write]) {
            self.write = start + length;
        }
    }
}

/// The most bytes of a column's name that are kept.
const LONGEST_NAME: usize = 1_000;

/// A column's name. No competition asks for one of a kilobyte, so that longer ones, which would cost
/// memory several times over, are cut.
pub(super) fn short_name(name: &str) -> String {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = name[..end].to_owned();
    if end < name.len() {
        short.push('…');
    }
    short
}

/// Names columns as pandas does: `Unnamed: k` for an empty name, `.1`, `.2`, … for repeats, later
/// ones giving way.
fn unique_names(mut names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(names.len());
    if names.iter().all(|name| !name.is_empty() && seen.insert(name.as_str())) {
        return names;
    }
    let mut unnamed = Vec::new();
    for (k, name) in names.iter_mut().enumerate() {
        if name.is_empty() {
            *name = format!("Unnamed: {k}");
            unnamed.push(k);
        }
    }
    let named = (0..names.len()).filter(|k| unnamed.binary_search(k).is_err());
    let order: Vec<usize> = named.chain(unnamed.iter().copied()).collect();
    let mut taken: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *taken.entry(name.clone()).or_default() += 1;
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    for k in order {
        let old = names[k].clone();
        let mut name = old.clone();
        let mut count = counts.get(&name).copied().unwrap_or(0);
        while count > 0 {
            counts.insert(old.clone(), count + 1);
            name = format!("{old}.{count}");
            count = if taken.contains_key(&name) {
                count + 1
            } else {
                counts.get(&name).copied().unwrap_or(0)
            };
        }
        counts.insert(name.clone(), count + 1);
        taken.entry(name.clone()).or_default();
        names[k] = name;
    }
    names
}
