//! A CSV file that stays where it is: the place of every row is known, cells are read when they are
//! wanted.
//!
//! Small files are held in memory. Of large ones only the row offsets are, 4 bytes a row, so that a
//! table of any size can be split and written in any order.

mod fetch;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::FrameError;
use super::float::FloatParser;
use super::infer::{Guess, is_missing, parse_bool, parse_i64, parse_u64};
use super::value::{Kind, Value};
pub(super) use fetch::FetchedRows;

/// Files up to this size are read into memory whole.
const IN_MEMORY: u64 = 24 << 20;
/// How much of a large file is scanned at a time.
const BLOCK: usize = 8 << 20;
/// A row beyond this is an error, so that a stray quote does not pull a whole file into memory.
const LONGEST_ROW: usize = 256 << 20;
/// Rows that share one 64-bit offset.
const GROUP: usize = 64;

/// How to read a CSV file.
#[derive(Clone, Debug, Default)]
pub struct CsvOptions {
    floats: FloatParser,
    separator: Option<u8>,
    kinds: Vec<(String, Kind)>,
    all_text: bool,
}

impl CsvOptions {
    /// Reads floats with pandas' default parser instead of the correctly rounded one.
    pub fn fast_floats(mut self) -> Self {
        self.floats = FloatParser::Fast;
        self
    }

    /// Separates cells by another character than a comma.
    pub fn separator(mut self, separator: u8) -> Self {
        self.separator = Some(separator);
        self
    }

    /// Fixes the type of a column.
    pub fn kind(mut self, column: &str, kind: Kind) -> Self {
        self.kinds.push((column.to_owned(), kind));
        self
    }

    /// Reads a column as text, so that `0012` stays as it is.
    pub fn text(self, column: &str) -> Self {
        self.kind(column, Kind::Text)
    }

    /// Reads every column as text.
    pub fn all_text(mut self) -> Self {
        self.all_text = true;
        self
    }
}

#[derive(Debug)]
enum Bytes {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

/// The starts of rows, and behind the last the end of the file.
#[derive(Debug, Default)]
struct Offsets {
    bases: Vec<u64>,
    steps: Vec<u32>,
}

impl Offsets {
    fn push(&mut self, offset: u64) -> Result<(), u64> {
        if self.steps.len().is_multiple_of(GROUP) {
            self.bases.push(offset);
        }
        let base = self.bases[self.steps.len() / GROUP];
        self.steps.push(u32::try_from(offset - base).map_err(|_| offset - base)?);
        Ok(())
    }

    fn at(&self, i: usize) -> u64 {
        self.bases[i / GROUP] + u64::from(self.steps[i])
    }
}

/// A CSV file with typed columns.
#[derive(Debug)]
pub(super) struct CsvSource {
    name: String,
    bytes: Bytes,
    offsets: Offsets,
    pub(super) columns: Vec<(String, Kind)>,
    separator: u8,
    floats: FloatParser,
}

impl CsvSource {
    /// Opens a file; messages call it `name`.
    pub(super) fn open(path: &Path, name: &str, options: &CsvOptions) -> Result<Self, FrameError> {
        let io = |source| FrameError::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let bytes = if length <= IN_MEMORY {
            Bytes::Memory(std::fs::read(path).map_err(io)?)
        } else {
            Bytes::File { file, path: path.to_owned() }
        };
        Self::scan(bytes, name, options)
    }

    /// Reads a table from memory; messages call it `name`.
    pub(super) fn from_bytes(
        bytes: Vec<u8>,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        Self::scan(Bytes::Memory(bytes), name, options)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rows(&self) -> usize {
        self.offsets.steps.len().saturating_sub(1)
    }

    fn scan(bytes: Bytes, name: &str, options: &CsvOptions) -> Result<Self, FrameError> {
        let separator = options.separator.unwrap_or(b',');
        let mut scan = Scan {
            name,
            separator,
            floats: options.floats,
            header: None,
            guesses: Vec::new(),
            offsets: Offsets::default(),
            fixed: options,
        };
        let end = match &bytes {
            Bytes::Memory(text) => {
                let begin = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
                scan.block(&text[begin..], begin as u64, true)?;
                text.len() as u64
            }
            Bytes::File { file, path } => scan.file(file, path)?,
        };
        let Some(header) = scan.header.take() else {
            return Err(FrameError::Row {
                file: name.to_owned(),
                row: 0,
                what: "expected a header, the file is empty".into(),
            });
        };
        let rows = scan.offsets.steps.len();
        scan.push_offset(rows, end)?;
        let mut columns: Vec<(String, Kind)> =
            header.into_iter().zip(scan.guesses.iter().map(Guess::kind)).collect();
        for (column, kind) in &mut columns {
            if options.all_text {
                *kind = Kind::Text;
            }
            if let Some((_, wanted)) = options.kinds.iter().find(|(name, _)| name == column) {
                *kind = *wanted;
            }
        }
        if let Some((missing, _)) =
            options.kinds.iter().find(|(name, _)| columns.iter().all(|(column, _)| column != name))
        {
            let known = columns
                .iter()
                .map(|(column, _)| format!("`{column}`"))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(FrameError::NoColumn {
                table: name.to_owned(),
                column: missing.clone(),
                known,
            });
        }
        let offsets = scan.offsets;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            offsets,
            columns,
            separator,
            floats: options.floats,
        })
    }

    /// Whether rows are read from a file whenever they are wanted.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self.bytes, Bytes::File { .. })
    }

    pub(super) fn reader(&self) -> RowReader<'_> {
        RowReader { source: self, window: Vec::new(), at: 0, spans: Spans::default() }
    }

    /// The value of a cell of column `field`, whose text is given.
    pub(super) fn value<'a>(
        &self,
        row: usize,
        field: usize,
        cell: &'a [u8],
    ) -> Result<Value<'a>, FrameError> {
        if is_missing(cell) {
            return Ok(Value::Missing);
        }
        let (column, kind) = &self.columns[field];
        let (value, expected) = match kind {
            Kind::Int => (parse_i64(cell).map(Value::Int), "an integer"),
            Kind::UInt => (parse_u64(cell).map(Value::UInt), "a non-negative integer"),
            Kind::Float => (self.floats.parse(cell).map(Value::Float), "a number"),
            Kind::Bool => (parse_bool(cell).map(Value::Bool), "`True` or `False`"),
            Kind::Text => {
                (std::str::from_utf8(cell).ok().map(|text| Value::Text(text.into())), "UTF-8 text")
            }
        };
        value.ok_or_else(|| FrameError::Cell {
            file: self.name.clone(),
            row: row + 1,
            column: column.clone(),
            expected,
            value: String::from_utf8_lossy(cell).into_owned(),
        })
    }
}

/// One pass over a file: finds the rows, checks their shape and guesses the types.
struct Scan<'a> {
    name: &'a str,
    separator: u8,
    floats: FloatParser,
    header: Option<Vec<String>>,
    guesses: Vec<Guess>,
    offsets: Offsets,
    fixed: &'a CsvOptions,
}

impl Scan<'_> {
    fn error(&self, row: usize, what: impl Into<String>) -> FrameError {
        FrameError::Row { file: self.name.to_owned(), row, what: what.into() }
    }

    fn push_offset(&mut self, row: usize, offset: u64) -> Result<(), FrameError> {
        self.offsets.push(offset).map_err(|length| {
            self.error(
                row,
                format!("expected rows of less than 4 GiB, found {length} bytes without an end"),
            )
        })
    }

    /// Scans a large file block by block and gives its length.
    fn file(&mut self, file: &File, path: &Path) -> Result<u64, FrameError> {
        let io = |source| FrameError::Io { action: "read", path: path.to_owned(), source };
        let length = file.metadata().map_err(io)?.len();
        let mut buffer: Vec<u8> = Vec::new();
        let mut offset = 0u64;
        loop {
            let kept = buffer.len();
            let wanted = (length - offset - kept as u64).min(BLOCK as u64) as usize;
            buffer.resize(kept + wanted, 0);
            file.read_exact_at(&mut buffer[kept..], offset + kept as u64).map_err(io)?;
            let last = offset + buffer.len() as u64 == length;
            if offset == 0 && buffer.starts_with(b"\xef\xbb\xbf") {
                buffer.drain(..3);
                offset = 3;
            }
            let used = self.block(&buffer, offset, last)?;
            if last {
                return Ok(length);
            }
            buffer.drain(..used);
            offset += used as u64;
            if buffer.len() > LONGEST_ROW {
                let what = format!(
                    "expected a row of at most {LONGEST_ROW} bytes; a quote is probably never closed"
                );
                return Err(self.error(self.offsets.steps.len() + 1, what));
            }
        }
    }

    /// Takes the whole rows at the head of `text`, which starts at `offset` in the file, and says
    /// how many bytes they have.
    fn block(&mut self, text: &[u8], offset: u64, last: bool) -> Result<usize, FrameError> {
        let mut rows: Vec<Range<usize>> = Vec::new();
        let mut position = 0;
        while let Some(found) = next_row(&text[position..], self.separator, last) {
            let row = found.map_err(|()| {
                let number =
                    self.offsets.steps.len() + rows.len() + usize::from(self.header.is_some());
                self.error(
                    number,
                    "expected a closing quote, found the end of the file; it may be cut short",
                )
            })?;
            let range = position + row.text.start..position + row.text.end;
            position += row.next;
            if row.blank {
                continue;
            }
            if self.header.is_none() {
                let names = header_names(&text[range], self.separator);
                self.header =
                    Some(names.ok_or_else(|| self.error(0, "expected UTF-8 column names"))?);
                self.guesses = vec![Guess::new(); self.header.as_ref().map_or(0, Vec::len)];
                for (guess, name) in self.guesses.iter_mut().zip(self.header.iter().flatten()) {
                    if self.fixed.all_text
                        || self.fixed.kinds.iter().any(|(fixed, _)| fixed == name)
                    {
                        guess.settle();
                    }
                }
                continue;
            }
            rows.push(range);
        }
        let first_row = self.offsets.steps.len();
        for range in &rows {
            self.push_offset(first_row, offset + range.start as u64)?;
        }
        let width = self.guesses.len();
        let share = rows.len().div_ceil(rayon::current_num_threads()).max(1024);
        let judged: Vec<Result<Vec<Guess>, (usize, String)>> = rows
            .par_chunks(share)
            .enumerate()
            .map(|(k, rows)| self.judge(text, rows).map_err(|(row, what)| (k * share + row, what)))
            .collect();
        for guesses in judged {
            let guesses = guesses.map_err(|(row, what)| self.error(first_row + row + 1, what))?;
            for (known, later) in self.guesses.iter_mut().zip(&guesses) {
                known.join(later);
            }
        }
        if last && let Some(range) = rows.last() {
            let ended = text[range.end..].iter().any(|byte| matches!(byte, b'\n' | b'\r'));
            let mut spans = Spans::default();
            spans.split(&text[range.clone()], self.separator);
            if !ended && spans.len() < width {
                let what = format!(
                    "expected {width} cells and a line end, found {} cells and the end of the file; it looks cut short",
                    spans.len()
                );
                return Err(self.error(first_row + rows.len(), what));
            }
        }
        Ok(position)
    }

    /// The guesses over some rows, or the first row that is malformed.
    fn judge(&self, text: &[u8], rows: &[Range<usize>]) -> Result<Vec<Guess>, (usize, String)> {
        let mut guesses = vec![Guess::new(); self.guesses.len()];
        for (guess, known) in guesses.iter_mut().zip(&self.guesses) {
            if known.is_settled() {
                guess.settle();
            }
        }
        let mut spans = Spans::default();
        for (i, range) in rows.iter().enumerate() {
            let row = &text[range.clone()];
            if std::str::from_utf8(row).is_err() {
                return Err((i, "expected UTF-8 text".into()));
            }
            spans.split(row, self.separator);
            if spans.len() > guesses.len() {
                return Err((
                    i,
                    format!("expected {} cells, found {}", guesses.len(), spans.len()),
                ));
            }
            for (field, guess) in guesses.iter_mut().enumerate() {
                guess.see(spans.get(row, field), self.floats);
            }
        }
        Ok(guesses)
    }
}

/// Column names as pandas makes them unique: `Unnamed: 3` for an empty one, `name.1` for a repeated
/// one.
fn header_names(row: &[u8], separator: u8) -> Option<Vec<String>> {
    let mut spans = Spans::default();
    spans.split(row, separator);
    let mut names: Vec<String> = Vec::with_capacity(spans.len());
    let given: Vec<String> = (0..spans.len())
        .map(|i| {
            let text = std::str::from_utf8(spans.get(row, i)).ok()?;
            Some(if text.is_empty() { format!("Unnamed: {i}") } else { text.to_owned() })
        })
        .collect::<Option<_>>()?;
    for name in &given {
        let mut unique = name.clone();
        let mut count = 0;
        while names.contains(&unique) || count > 0 && given.contains(&unique) {
            count += 1;
            unique = format!("{name}.{count}");
        }
        names.push(unique);
    }
    Some(names)
}

struct Row {
    text: Range<usize>,
    next: usize,
    blank: bool,
}

/// Finds the next row; `None` if the text ends before it does and more may follow, an error for an
/// open quote at the very end.
fn next_row(text: &[u8], separator: u8, last: bool) -> Option<Result<Row, ()>> {
    if text.is_empty() {
        return None;
    }
    let mut at = 0;
    let end = loop {
        if text.get(at) == Some(&b'"') {
            // A doubled quote closes and opens again at once, which ends at the same place.
            loop {
                let Some(closing) = memchr::memchr(b'"', &text[at + 1..]) else {
                    return last.then_some(Err(()));
                };
                at += closing + 2;
                if text.get(at) != Some(&b'"') {
                    break;
                }
            }
        }
        match memchr::memchr3(separator, b'\n', b'\r', &text[at..]) {
            Some(found) if text[at + found] == separator => at += found + 1,
            Some(found) => break at + found,
            None if last => break text.len(),
            None => return None,
        }
    };
    let next = match text.get(end..) {
        Some([b'\r', b'\n', ..]) => end + 2,
        // Only the next block can tell whether a line feed follows.
        Some([b'\r']) if !last => return None,
        Some([]) | None => end,
        Some(_) => end + 1,
    };
    let blank = text[..end].iter().all(|byte| matches!(byte, b' ' | b'\t'))
        && !text[..end].contains(&separator);
    Some(Ok(Row { text: 0..end, next, blank }))
}

/// Where the cells of one row are.
#[derive(Debug, Default)]
struct Spans {
    cells: Vec<Span>,
    unescaped: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    begin: usize,
    end: usize,
    unescaped: bool,
}

impl Spans {
    fn len(&self) -> usize {
        self.cells.len()
    }

    /// The text of a cell; empty for one that the row does not have.
    fn get<'a>(&'a self, row: &'a [u8], i: usize) -> &'a [u8] {
        match self.cells.get(i) {
            None => b"",
            Some(span) if span.unescaped => &self.unescaped[span.begin..span.end],
            Some(span) => &row[span.begin..span.end],
        }
    }

    /// Splits the row at the head of `text` and gives the place of its end.
    fn split(&mut self, text: &[u8], separator: u8) -> usize {
        self.cells.clear();
        self.unescaped.clear();
        let mut at = 0;
        loop {
            let begin = at;
            let mut quoted = None;
            if text.get(at) == Some(&b'"') {
                let start = self.unescaped.len();
                loop {
                    let rest = &text[at + 1..];
                    let length = memchr::memchr(b'"', rest).unwrap_or(rest.len());
                    self.unescaped.extend_from_slice(&rest[..length]);
                    at += (length + 2).min(rest.len() + 1);
                    if text.get(at) != Some(&b'"') {
                        break;
                    }
                    self.unescaped.push(b'"');
                }
                quoted = Some(start);
            }
            let rest = &text[at..];
            let length = memchr::memchr3(separator, b'\n', b'\r', rest).unwrap_or(rest.len());
            let mut span = match quoted {
                None => Span { begin, end: at + length, unescaped: false },
                Some(start) => {
                    self.unescaped.extend_from_slice(&rest[..length]);
                    Span { begin: start, end: self.unescaped.len(), unescaped: true }
                }
            };
            // To pandas' C code a cell ends at a zero byte.
            let cell = if span.unescaped {
                &self.unescaped[span.begin..span.end]
            } else {
                &text[span.begin..span.end]
            };
            if let Some(zero) = memchr::memchr(0, cell) {
                span.end = span.begin + zero;
            }
            self.cells.push(span);
            at += length;
            if text.get(at) != Some(&separator) {
                return at;
            }
            at += 1;
        }
    }
}

/// Reads rows of a source in any order.
pub(super) struct RowReader<'a> {
    source: &'a CsvSource,
    window: Vec<u8>,
    /// Where the window lies in the file.
    at: u64,
    spans: Spans,
}

impl RowReader<'_> {
    /// Loads a row, after which [`cell`](Self::cell) gives its cells.
    pub(super) fn load(&mut self, row: usize) -> Result<LoadedRow<'_>, FrameError> {
        const AHEAD: u64 = 128 << 10;
        let (begin, end) = (self.source.offsets.at(row), self.source.offsets.at(row + 1));
        let text = match &self.source.bytes {
            Bytes::Memory(text) => &text[begin as usize..end as usize],
            Bytes::File { file, path } => {
                let covered = self.at..self.at + self.window.len() as u64;
                if !(covered.start <= begin && end <= covered.end) {
                    // A row right behind the window is a sign of reading in order.
                    let ahead =
                        if covered.contains(&begin) || begin == covered.end { AHEAD } else { 0 };
                    let whole = self.source.offsets.at(self.source.rows());
                    let length = (end - begin).max(ahead).min(whole - begin) as usize;
                    self.window.resize(length, 0);
                    self.at = begin;
                    file.read_exact_at(&mut self.window, begin).map_err(|source| {
                        FrameError::Io { action: "read", path: path.clone(), source }
                    })?;
                }
                &self.window[(begin - self.at) as usize..(end - self.at) as usize]
            }
        };
        self.spans.split(text, self.source.separator);
        Ok(LoadedRow { source: self.source, row, text, spans: &self.spans })
    }
}

/// A row whose cells can be had.
pub(super) struct LoadedRow<'a> {
    source: &'a CsvSource,
    row: usize,
    text: &'a [u8],
    spans: &'a Spans,
}

impl<'a> LoadedRow<'a> {
    pub(super) fn cell(&self, field: usize) -> &'a [u8] {
        self.spans.get(self.text, field)
    }

    pub(super) fn value(&self, field: usize) -> Result<Value<'a>, FrameError> {
        self.source.value(self.row, field, self.cell(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<String>, Vec<Vec<String>>), FrameError> {
        let source =
            CsvSource::from_bytes(text.as_bytes().to_vec(), "t.csv", &CsvOptions::default())?;
        let mut reader = source.reader();
        let rows = (0..source.rows()).map(|row| {
            let loaded = reader.load(row)?;
            (0..source.columns.len()).map(|field| Ok(loaded.value(field)?.to_string())).collect()
        });
        let rows = rows.collect::<Result<_, FrameError>>()?;
        Ok((source.columns.into_iter().map(|(name, _)| name).collect(), rows))
    }

    #[test]
    fn reads_as_pandas() {
        type Case = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);
        let cases: [Case; 16] = [
            ("a,a\n1,2\n", &["a", "a.1"], &[&["1", "2"]]),
            ("a,a.1,a\n1,2,3\n", &["a", "a.1", "a.2"], &[&["1", "2", "3"]]),
            (",b\n1,2\n", &["Unnamed: 0", "b"], &[&["1", "2"]]),
            ("a,b\n1\n", &["a", "b"], &[&["1", ""]]),
            ("a\n  \nx\n\n", &["a"], &[&["x"]]),
            ("a,b\n  \n  x,y\n", &["a", "b"], &[&["  x", "y"]]),
            ("a,b\n\"x\"y,\"z\"\n", &["a", "b"], &[&["xy", "z"]]),
            ("a,b\n\"x\"y\"z\",1\n", &["a", "b"], &[&["xy\"z\"", "1"]]),
            ("a,b\nx\"y\"z,1\n", &["a", "b"], &[&["x\"y\"z", "1"]]),
            ("a,b\n \"x\",1\n", &["a", "b"], &[&[" \"x\"", "1"]]),
            ("a,b\n\"x\n\"\"y\"\"\",1\n", &["a", "b"], &[&["x\n\"y\"", "1"]]),
            ("a,b\r1,2\r3,4\r", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
            ("a,b\r\n1,2\r\n\r\n3,4", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
            ("\u{feff}\"a\",b\n,\n", &["a", "b"], &[&["", ""]]),
            ("a,b\n\"NA\",\"null\"\nx,y\n", &["a", "b"], &[&["", ""], &["x", "y"]]),
            ("a,b\nx\0y,1\n", &["a", "b"], &[&["x", "1"]]),
        ];
        for (text, names, rows) in cases {
            let (found_names, found_rows) =
                read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(found_names, names, "{text:?}");
            assert_eq!(found_rows, rows, "{text:?}");
        }
    }

    #[test]
    fn malformed_files_are_named() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(message(""), "row 0 of `t.csv`: expected a header, the file is empty");
        assert_eq!(message("a,b\n1,2\n1,2,3\n"), "row 2 of `t.csv`: expected 2 cells, found 3");
        assert!(
            message("a,b\n1,2\n\"x,2\n").starts_with("row 2 of `t.csv`: expected a closing quote")
        );
        assert!(message("a,b\n1,2\n1").contains("looks cut short"));
        let latin1 =
            CsvSource::from_bytes(b"a\nx\n\xe9\n".to_vec(), "t.csv", &CsvOptions::default());
        assert_eq!(latin1.unwrap_err().to_string(), "row 2 of `t.csv`: expected UTF-8 text");
    }

    #[test]
    fn a_row_is_found_however_the_text_is_cut() {
        let text = b"a,b\r\n\"x\r\n\"\"\",1\r\n\r\ny,2\r\n";
        let whole = rows_in_blocks(text, text.len());
        assert_eq!(whole.len(), 3);
        for block in 1..text.len() {
            assert_eq!(rows_in_blocks(text, block), whole, "blocks of {block}");
        }
    }

    fn rows_in_blocks(text: &[u8], block: usize) -> Vec<Vec<u8>> {
        let mut rows = Vec::new();
        let (mut at, mut seen) = (0, block.min(text.len()));
        loop {
            while let Some(row) = next_row(&text[at..seen], b',', seen == text.len()) {
                let row = row.unwrap();
                if !row.blank {
                    rows.push(text[at..at + row.text.end].to_vec());
                }
                at += row.next;
            }
            if seen == text.len() {
                return rows;
            }
            seen = (seen + block).min(text.len());
        }
    }
}
