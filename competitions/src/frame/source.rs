//! A CSV file whose cells are read when they are wanted: only the place of every row is known, in 4
//! bytes a row.
//!
//! Its text is held in memory where that is a small part of what is free. Larger ones stay where
//! they are, so that a table of any size can be split and written in any order: rows of a file are
//! read at their places, those of an archive's member in passes from its front to its end.

mod ahead;
mod fetch;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::FrameError;
use super::float::FloatParser;
use super::infer::{Guess, is_missing, parse_bool, parse_i64, parse_u64};
use super::value::{Kind, Value};
pub(super) use fetch::FetchedRows;

/// Files up to this size are read into memory whatever is free.
const IN_MEMORY: u64 = 24 << 20;
/// How much of a file is scanned at a time.
const BLOCK: usize = 4 << 20;
/// A row beyond this is an error, so that a stray quote does not pull a whole file into memory.
const LONGEST_ROW: usize = 256 << 20;
/// What a file in UTF-8 may begin with.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Rows that share one 64-bit offset.
const GROUP: usize = 64;

/// Whether a text of so many bytes is held in memory.
fn fits_in_memory(bytes: u64) -> bool {
    bytes <= IN_MEMORY || bytes <= memory_to_use()
}

/// How much memory a table may take: a third of what is free.
fn memory_to_use() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let available = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    });
    // A container may have less than the machine.
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<u64>().ok());
    let limit = number("/sys/fs/cgroup/memory.max")
        .map(|max| max.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    available.into_iter().chain(limit).min().unwrap_or(0) / 3
}

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
    Memory(Blocks),
    File { file: File, path: PathBuf },
    Member(Box<dyn Reopen>),
}

/// A text that can be read from its front to its end any number of times.
pub(crate) trait Reopen: std::fmt::Debug + Send + Sync {
    /// A stream from the front.
    fn reopen(&self) -> std::io::Result<Box<dyn Read + Send>>;
}

/// A text in memory, cut between rows.
#[derive(Debug, Default)]
struct Blocks {
    begins: Vec<u64>,
    texts: Vec<Vec<u8>>,
}

impl Blocks {
    fn push(&mut self, begin: u64, text: Vec<u8>) {
        self.begins.push(begin);
        self.texts.push(text);
    }

    /// A range of the text that is not cut.
    fn get(&self, range: Range<u64>) -> &[u8] {
        let block = self.begins.partition_point(|begin| *begin <= range.start).saturating_sub(1);
        let (Some(begin), Some(text)) = (self.begins.get(block), self.texts.get(block)) else {
            return b"";
        };
        let end = text.len().min((range.end - begin) as usize);
        &text[(range.start - begin) as usize..end]
    }
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
        let stream = Box::new(file.try_clone().map_err(io)?);
        if fits_in_memory(length) {
            return Self::scan_stream(stream, None, name, options);
        }
        let place = Bytes::File { file, path: path.to_owned() };
        Self::scan_stream(stream, Some(place), name, options)
    }

    /// Opens a text of `length` bytes that can be read from front to end; messages call it `name`.
    pub(super) fn stream(
        text: Box<dyn Reopen>,
        length: u64,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        let io = |source| FrameError::Io { action: "read", path: name.into(), source };
        let stream = text.reopen().map_err(io)?;
        let place = (!fits_in_memory(length)).then_some(Bytes::Member(text));
        Self::scan_stream(stream, place, name, options)
    }

    /// Reads a table from memory; messages call it `name`.
    pub(super) fn from_bytes(
        bytes: Vec<u8>,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        let mut scan = Scan::new(name, options);
        let begin = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        scan.block(&bytes[begin..], begin as u64, true)?;
        let mut blocks = Blocks::default();
        let length = bytes.len() as u64;
        blocks.push(0, bytes);
        scan.finish(Bytes::Memory(blocks), length)
    }

    /// Scans a stream. Its text is kept in memory, unless there is a `place` to read rows from.
    fn scan_stream(
        stream: Box<dyn Read + Send>,
        place: Option<Bytes>,
        name: &str,
        options: &CsvOptions,
    ) -> Result<Self, FrameError> {
        let mut scan = Scan::new(name, options);
        let mut blocks = place.is_none().then(Blocks::default);
        let length = scan.stream(stream, &mut blocks)?;
        let bytes = place.unwrap_or_else(|| Bytes::Memory(blocks.unwrap_or_default()));
        scan.finish(bytes, length)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rows(&self) -> usize {
        self.offsets.steps.len().saturating_sub(1)
    }

    /// Whether rows had better be [fetched](Self::fetch) than loaded one by one: those that are
    /// not in memory, in an order other than that of the file or by several readers.
    pub(super) fn must_fetch(&self, are_ascending: bool, one_reader: bool) -> bool {
        match self.bytes {
            Bytes::Memory(_) => false,
            Bytes::File { .. } => !are_ascending,
            Bytes::Member(_) => !are_ascending || !one_reader,
        }
    }

    /// How many bytes of rows are fetched at a time: as few as do no harm where each is read at its
    /// place, as many as there is room for where each time costs a pass over everything.
    pub(super) fn fetched_at_a_time(&self) -> u64 {
        match self.bytes {
            Bytes::Member(_) => memory_to_use().max(96 << 20),
            _ => 96 << 20,
        }
    }

    pub(super) fn reader(&self) -> RowReader<'_> {
        let spans = Spans::default();
        RowReader { source: self, window: Vec::new(), at: 0, stream: None, spans }
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

impl<'a> Scan<'a> {
    fn new(name: &'a str, options: &'a CsvOptions) -> Self {
        Self {
            name,
            separator: options.separator.unwrap_or(b','),
            floats: options.floats,
            header: None,
            guesses: Vec::new(),
            offsets: Offsets::default(),
            fixed: options,
        }
    }

    /// The source, once everything was scanned.
    fn finish(mut self, bytes: Bytes, end: u64) -> Result<CsvSource, FrameError> {
        let Some(header) = self.header.take() else {
            return Err(self.error(0, "expected a header, the file is empty"));
        };
        self.push_offset(self.offsets.steps.len(), end)?;
        let options = self.fixed;
        let mut columns: Vec<(String, Kind)> =
            header.into_iter().zip(self.guesses.iter().map(Guess::kind)).collect();
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
                table: self.name.to_owned(),
                column: missing.clone(),
                known,
            });
        }
        Ok(CsvSource {
            name: self.name.to_owned(),
            bytes,
            offsets: self.offsets,
            columns,
            separator: self.separator,
            floats: self.floats,
        })
    }

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

    /// Scans a stream block by block, which is read ahead meanwhile, and gives its length. The
    /// blocks are kept where somebody wants them.
    fn stream(
        &mut self,
        stream: Box<dyn Read + Send>,
        kept: &mut Option<Blocks>,
    ) -> Result<u64, FrameError> {
        let io = |source| FrameError::Io { action: "read", path: self.name.into(), source };
        let (mut offset, mut rest) = (0u64, Vec::new());
        for block in ahead::blocks(stream, BLOCK) {
            let mut text = block.map_err(io)?;
            if !rest.is_empty() {
                rest.append(&mut text);
                text = std::mem::take(&mut rest);
            }
            if offset == 0 && text.starts_with(BOM) {
                text.drain(..BOM.len());
                offset = BOM.len() as u64;
            }
            let used = self.block(&text, offset, false)?;
            rest = text.split_off(used);
            if let Some(blocks) = kept {
                blocks.push(offset, text);
            }
            offset += used as u64;
            if rest.len() > LONGEST_ROW {
                let what = format!(
                    "expected a row of at most {LONGEST_ROW} bytes; a quote is probably never closed"
                );
                return Err(self.error(self.offsets.steps.len() + 1, what));
            }
        }
        self.block(&rest, offset, true)?;
        let end = offset + rest.len() as u64;
        if let Some(blocks) = kept {
            blocks.push(offset, rest);
        }
        Ok(end)
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
        match memchr::memchr3(b'"', b'\n', b'\r', &text[at..]) {
            Some(found) if text[at + found] == b'"' => {
                at += found;
                // Inside a cell a quote is a letter like any other.
                if at > 0 && text[at - 1] != separator {
                    at += 1;
                    continue;
                }
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
    /// Whether the row has neither quotes nor zero bytes, so that each cell is what stands between
    /// two separators.
    is_plain: bool,
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

    fn split_plain(&mut self, text: &[u8], separator: u8) -> usize {
        let end = memchr::memchr2(b'\n', b'\r', text).unwrap_or(text.len());
        let mut begin = 0;
        for place in memchr::memchr_iter(separator, &text[..end]) {
            self.cells.push(Span { begin, end: place, unescaped: false });
            begin = place + 1;
        }
        self.cells.push(Span { begin, end, unescaped: false });
        end
    }

    /// Splits the row at the head of `text` and gives the place of its end.
    fn split(&mut self, text: &[u8], separator: u8) -> usize {
        self.cells.clear();
        self.unescaped.clear();
        self.is_plain = memchr::memchr2(b'"', 0, text).is_none();
        if self.is_plain {
            return self.split_plain(text, separator);
        }
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
    /// The rest of a member, behind the window.
    stream: Option<Box<dyn Read + Send>>,
    spans: Spans,
}

impl RowReader<'_> {
    /// Loads a row, after which [`cell`](Self::cell) gives its cells.
    pub(super) fn load(&mut self, row: usize) -> Result<LoadedRow<'_>, FrameError> {
        const AHEAD: u64 = 128 << 10;
        let (begin, end) = (self.source.offsets.at(row), self.source.offsets.at(row + 1));
        let text = match &self.source.bytes {
            Bytes::Memory(blocks) => blocks.get(begin..end),
            Bytes::Member(member) => {
                let forward = Forward {
                    member: &**member,
                    name: &self.source.name,
                    window: &mut self.window,
                    at: &mut self.at,
                    stream: &mut self.stream,
                };
                forward.to(begin..end)?
            }
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

/// A window that moves over a member from its front to its end.
struct Forward<'a> {
    member: &'a dyn Reopen,
    name: &'a str,
    window: &'a mut Vec<u8>,
    at: &'a mut u64,
    stream: &'a mut Option<Box<dyn Read + Send>>,
}

impl<'a> Forward<'a> {
    /// Moves the window over a range; back to the front first, if it is past it.
    fn to(self, range: Range<u64>) -> Result<&'a [u8], FrameError> {
        const STEP: usize = 1 << 20;
        let Self { member, name, window, at, stream } = self;
        let io = |source| FrameError::Io { action: "read", path: name.into(), source };
        if stream.is_none() || range.start < *at {
            (*at, *stream) = (0, Some(member.reopen().map_err(io)?));
            window.clear();
        }
        let Some(stream) = stream else { return Ok(b"") };
        while *at + (window.len() as u64) < range.end {
            let passed = window.len().min(range.start.saturating_sub(*at) as usize);
            window.drain(..passed);
            *at += passed as u64;
            let kept = window.len();
            let read = stream.by_ref().take(STEP as u64).read_to_end(window).map_err(io)?;
            if read == 0 && window.len() == kept {
                return Err(io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(&window[(range.start - *at) as usize..(range.end - *at) as usize])
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

    /// Whether no cell holds a quote, a line end or this separator.
    pub(super) fn is_plain_for(&self, separator: u8) -> bool {
        self.spans.is_plain && separator == self.source.separator
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
