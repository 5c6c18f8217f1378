//! The one pass over a text that finds its rows, checks their shape and guesses the types of columns.

use std::io::Read;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::row::{Spans, next_row};
use super::{BOM, Blocks, Bytes, CsvOptions, CsvSource, Offsets, ahead};
use crate::frame::FrameError;
use crate::frame::float::FloatParser;
use crate::frame::infer::Guess;
use crate::frame::value::Kind;

/// How much of a file is scanned at a time.
pub(super) const BLOCK: usize = 4 << 20;
/// A row beyond this is an error, so that a stray quote does not pull a whole file into memory.
const LONGEST_ROW: usize = 256 << 20;

/// One pass over a file: finds the rows, checks their shape and guesses the types.
pub(super) struct Scan<'a> {
    name: &'a str,
    separator: u8,
    floats: FloatParser,
    header: Option<Vec<String>>,
    guesses: Vec<Guess>,
    offsets: Offsets,
    fixed: &'a CsvOptions,
}

impl<'a> Scan<'a> {
    pub(super) fn new(name: &'a str, options: &'a CsvOptions) -> Self {
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
    pub(super) fn finish(mut self, bytes: Bytes, end: u64) -> Result<CsvSource, FrameError> {
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
        let is_absent =
            |(name, _): &&(String, Kind)| columns.iter().all(|(column, _)| column != name);
        if let Some((missing, _)) = options.kinds.iter().find(is_absent)
            && !options.lenient
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
            scratch: options.scratch.clone(),
            kept: Mutex::default(),
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
    pub(super) fn stream(
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
    pub(super) fn block(
        &mut self,
        text: &[u8],
        offset: u64,
        last: bool,
    ) -> Result<usize, FrameError> {
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
        /// So that the threads end at about the same time.
        const SHARES: usize = 4;
        let share = rows.len().div_ceil(rayon::current_num_threads() * SHARES).max(1024);
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
        let whole = rows.first().map_or(0, |row| row.start)..rows.last().map_or(0, |row| row.end);
        let is_ascii = text[whole].is_ascii();
        for (i, range) in rows.iter().enumerate() {
            if !is_ascii && std::str::from_utf8(&text[range.clone()]).is_err() {
                return Err((i, "expected UTF-8 text".into()));
            }
            // What follows the row is no harm, and lets many bytes be looked at together.
            let row = &text[range.start..];
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
