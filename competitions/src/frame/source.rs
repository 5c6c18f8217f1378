//! A CSV file whose cells are read when they are wanted: only the place of every row is known, in 4
//! bytes a row.
//!
//! Its text is held in memory where that is little. Larger ones stay where they are, so that a table
//! of any size can be split and written in any order: in passes from the front of the text to its
//! end, or, where few rows of a file are wanted, each at its place.

mod ahead;
mod fetch;
mod pass;
mod reader;
mod row;
mod scan;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::FrameError;
use super::column::Rows;
use super::float::FloatParser;
use super::infer::{is_missing, parse_bool, parse_i64, parse_u64};
use super::value::{Kind, Value};
pub(super) use fetch::{FetchedRows, KEPT, Kept};
pub(super) use pass::Block;
pub(super) use reader::{LoadedRow, RowReader};
use scan::Scan;

/// Files up to this size are read into memory whatever is free.
const IN_MEMORY: u64 = 24 << 20;
/// Files beyond this size are not read into memory whatever is free: passes over them take little
/// longer, and several competitions may be prepared at once.
const TOO_LARGE: u64 = 192 << 20;
/// What a file in UTF-8 may begin with.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Rows that share one 64-bit offset.
const GROUP: usize = 64;

/// Whether a text of so many bytes is held in memory.
fn fits_in_memory(bytes: u64) -> bool {
    bytes <= IN_MEMORY || bytes <= memory_to_use()
}

/// How much memory the text of a table, or of some of its rows, may take: a third of what is free,
/// within bounds.
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
    (available.into_iter().chain(limit).min().unwrap_or(0) / 3).min(TOO_LARGE)
}

/// How to read a CSV file.
#[derive(Clone, Debug, Default)]
pub struct CsvOptions {
    floats: FloatParser,
    separator: Option<u8>,
    kinds: Vec<(String, Kind)>,
    /// Whether the columns of `kinds` may be absent.
    lenient: bool,
    all_text: bool,
    scratch: Option<PathBuf>,
}

impl CsvOptions {
    /// Where rows are put aside while a table that has no room in memory is written; nothing stays.
    pub(crate) fn scratch(mut self, folder: &Path) -> Self {
        self.scratch = Some(folder.to_owned());
        self
    }

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

    /// Lets columns whose type was fixed be absent.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
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
    /// Where rows may be put aside.
    pub(super) scratch: Option<PathBuf>,
    /// Rows that were fetched, or passed over, and may be wanted next.
    kept: Mutex<Option<Arc<Kept>>>,
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

    /// Whether so many rows are wanted that they had better be printed while one
    /// [pass](Self::each_block) goes over the text than be fetched before.
    pub(super) fn must_pass(&self, rows: &Rows) -> bool {
        let by_place = match self.bytes {
            Bytes::Memory(_) => true,
            // Rows in order are read at their places, by several readers.
            Bytes::File { .. } => rows.are_ascending(),
            Bytes::Member(_) => false,
        };
        let wanted = (0..rows.len()).map(|row| rows.at(row));
        !by_place && self.about_bytes(wanted) > self.fetched_at_a_time()
    }

    /// How many bytes of rows are fetched at a time: as few as do no harm where each is read at its
    /// place, as many as there is room for where each time costs a pass over everything.
    pub(super) fn fetched_at_a_time(&self) -> u64 {
        match self.bytes {
            Bytes::Member(_) => memory_to_use().clamp(96 << 20, KEPT),
            _ => 96 << 20,
        }
    }

    pub(super) fn reader(&self) -> RowReader<'_> {
        RowReader::new(self)
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

#[cfg(test)]
mod tests;
