//! Plain texts: every row ends in a line feed and has as many cells as the header, and nothing is
//! quoted.
//!
//! Nearly all files are. They are split where they lie, block by block on all cores, and columns of
//! numbers are read in the same pass.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memchr3, memrchr};
use rayon::prelude::*;

use super::number::{IntError, decimal_at, float, integer, integer_at};
use super::scan::short_name;
use super::{Limits, Values, is_missing};

/// Bytes of text that a core takes at a time; few where small texts should try all there is to try.
const BLOCK: usize = if cfg!(any(test, fuzzing)) { 64 } else { 1 << 19 };

/// The outline of a text that looks plain; whether its rows are as long as the header shows when
/// they are read.
#[derive(Debug)]
pub(super) struct Plain {
    header: Range<usize>,
    /// Cells a row.
    stride: usize,
    /// Whole lines of about [`BLOCK`] bytes.
    blocks: Vec<Block>,
}

/// Some of the data rows.
#[derive(Clone, Debug)]
struct Block {
    text: Range<usize>,
    rows: usize,
}

impl Plain {
    /// The outline of a text that ends in a line feed; `None` if some byte needs the general
    /// scanner, or there would be too many cells for the limits.
    pub(super) fn find(text: &str, limits: &Limits) -> Option<Self> {
        let bytes = text.as_bytes();
        let from = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let header = from..from + memchr(b'\n', &bytes[from..])?;
        let stride = memchr_iter(b',', &bytes[header.clone()]).count() + 1;
        let blank = bytes[header.clone()].iter().all(|b| matches!(b, b' ' | b'\t'));
        if blank || stride > limits.columns || is_special(&bytes[header.clone()]) {
            return None;
        }
        let outline = |text: Range<usize>| {
            let lines = &bytes[text.clone()];
            (!is_special(lines)).then(|| Block { text, rows: memchr_iter(b'\n', lines).count() })
        };
        let blocks: Option<Vec<Block>> =
            each(line_blocks(bytes, header.end + 1), outline).into_iter().collect();
        let plain = Self { header, stride, blocks: blocks? };
        (plain.rows().checked_mul(stride)? < limits.cells).then_some(plain)
    }

    /// Cells a row.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Number of data rows.
    pub(super) fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.rows).sum()
    }

    /// The names as they are written.
    pub(super) fn names(&self, text: &str) -> Vec<String> {
        text[self.header.clone()].split(',').map(short_name).collect()
    }

    /// Where each cell starts, and the end of the text; `None` if some row is blank or has another
    /// number of cells than the header.
    pub(super) fn starts(&self, text: &str) -> Option<Vec<u32>> {
        let cells = self.rows() * self.stride;
        let mut starts = vec![0; cells + 1];
        starts[cells] = text.len() as u32;
        let mut rest = &mut starts[..cells];
        let mut parts = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(block.rows * self.stride);
            parts.push((block.text.clone(), part));
            rest = behind;
        }
        let split = |(range, part): (Range<usize>, &mut [u32])| {
            block_starts(text.as_bytes(), range, self.stride, part)
        };
        each(parts, split).into_iter().all(|plain| plain).then_some(starts)
    }

    /// The values of some columns that hold numbers alone; `None` if one holds anything else, if a
    /// row has another number of cells than the header, or if the text is so short that splitting
    /// it first costs nothing.
    ///
    /// The values are those of [`infer`](super::infer::infer).
    pub(super) fn numbers(&self, text: &str, columns: &[usize]) -> Option<Vec<Values>> {
        // A row of one cell may be a blank line.
        if columns.is_empty() || self.stride == 1 || self.blocks.len() < 2 {
            return None;
        }
        let mut values = columns
            .iter()
            .map(|&column| self.empty(text, column))
            .collect::<Option<Vec<Values>>>()?;
        let mut parts: Vec<(Range<usize>, Vec<Slot<'_>>)> = self
            .blocks
            .iter()
            .map(|block| (block.text.clone(), (0..self.stride).map(|_| Slot::Unread).collect()))
            .collect();
        for (&column, values) in columns.iter().zip(&mut values) {
            let counts = self.blocks.iter().map(|block| block.rows);
            match values {
                Values::Int(values) => {
                    deal(values, counts, &mut parts, |part, slot| part[column] = Slot::Int(slot))
                }
                Values::Float(values) => {
                    deal(values, counts, &mut parts, |part, slot| part[column] = Slot::Float(slot));
                }
                _ => return None,
            }
        }
        let read = |(range, slots): (Range<usize>, Vec<Slot<'_>>)| {
            block_numbers(text, range, slots).is_some()
        };
        each(parts, read).into_iter().all(|plain| plain).then_some(values)
    }

    /// Room for a column's values, of the type that its first rows have; `None` for text.
    fn empty(&self, text: &str, column: usize) -> Option<Values> {
        // A guess from the first rows; where a later one is otherwise the whole column is read the slow way.
        const ROWS: usize = 64;
        let first = text[self.blocks.first()?.text.clone()].lines().take(ROWS);
        let mut integers = true;
        for line in first {
            let cell = line.split(',').nth(column)?;
            integers &= integer_at(cell.as_bytes(), 0).is_some_and(|(_, end)| end == cell.len());
            float_cell(&format!("{cell}\n"), 0)?;
        }
        Some(if integers {
            Values::Int(vec![0; self.rows()])
        } else {
            Values::Float(vec![0.0; self.rows()])
        })
    }
}

/// Where a block's values of a column go.
enum Slot<'v> {
    Unread,
    Int(&'v mut [i64]),
    Float(&'v mut [f64]),
}

/// Cuts a column's values into the blocks' parts.
fn deal<'v, T, P>(
    mut values: &'v mut [T],
    counts: impl Iterator<Item = usize>,
    parts: &mut [(Range<usize>, P)],
    mut give: impl FnMut(&mut P, &'v mut [T]),
) {
    for (count, (_, part)) in counts.zip(parts) {
        let (own, behind) = std::mem::take(&mut values).split_at_mut(count);
        give(part, own);
        values = behind;
    }
}

/// Does a thing to every part, on all cores if there are several.
fn each<T: Send, R: Send>(parts: Vec<T>, act: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if parts.len() < 2 {
        parts.into_iter().map(act).collect()
    } else {
        parts.into_par_iter().map(act).collect()
    }
}

/// The lines from an offset on, in ranges of about [`BLOCK`] bytes.
fn line_blocks(bytes: &[u8], from: usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start) = (Vec::new(), from);
    while start < bytes.len() {
        let target = start.saturating_add(BLOCK).min(bytes.len());
        let end = memrchr(b'\n', &bytes[start..target]).map_or_else(
            || memchr(b'\n', &bytes[target..]).map_or(bytes.len(), |found| target + found + 1),
            |found| start + found + 1,
        );
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// Whether some byte needs the general scanner.
fn is_special(bytes: &[u8]) -> bool {
    memchr3(b'"', b'\r', 0, bytes).is_some()
}

/// Puts down the starts of the cells of whole rows; false if a row is blank or has another number
/// of cells than `stride`.
fn block_starts(bytes: &[u8], range: Range<usize>, stride: usize, starts: &mut [u32]) -> bool {
    let (mut start, mut column) = (range.start, 0);
    let mut starts = starts.iter_mut();
    let split = separators(bytes, range).try_for_each(|at| {
        // There are as many starts as the line feeds promise cells.
        *starts.next()? = start as u32;
        column += 1;
        if bytes[at] == b'\n' {
            let blank = column == 1 && bytes[start..at].iter().all(|b| matches!(b, b' ' | b'\t'));
            if column != stride || blank {
                return None;
            }
            column = 0;
        }
        start = at + 1;
        Some(())
    });
    split.is_some() && starts.next().is_none()
}

/// The commas and line feeds of a range, eight bytes looked at together: they are too dense for a
/// search from one to the next.
fn separators(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    const COMMAS: u64 = u64::from_le_bytes([b','; 8]);
    const LINES: u64 = u64::from_le_bytes([b'\n'; 8]);
    const LOW: u64 = u64::from_le_bytes([0x7F; 8]);
    // The top bit of each byte that is zero.
    let zeros = |word: u64| !(((word & LOW) + LOW) | word | LOW);
    let (words, rest) = bytes[range.clone()].as_chunks::<8>();
    let behind = range.end - rest.len();
    let of_word = move |(number, word): (usize, &[u8; 8])| {
        let word = u64::from_le_bytes(*word);
        Hits { base: range.start + number * 8, bits: zeros(word ^ COMMAS) | zeros(word ^ LINES) }
    };
    let ends = rest
        .iter()
        .enumerate()
        .filter(|(_, b)| matches!(b, b',' | b'\n'))
        .map(move |(k, _)| behind + k);
    words.iter().enumerate().flat_map(of_word).chain(ends)
}

/// The offsets of the bytes whose top bits are set.
struct Hits {
    base: usize,
    bits: u64,
}

impl Iterator for Hits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.bits == 0 {
            return None;
        }
        let at = self.base + self.bits.trailing_zeros() as usize / 8;
        self.bits &= self.bits - 1;
        Some(at)
    }
}

/// Reads whole rows into the slots of their cells; `None` if a row has another number of cells, or
/// a cell is not of its slot's type.
fn block_numbers(text: &str, range: Range<usize>, mut slots: Vec<Slot<'_>>) -> Option<()> {
    let bytes = text.as_bytes();
    let (mut at, mut row) = (range.start, 0);
    while at < range.end {
        let last = slots.len() - 1;
        for (column, slot) in slots.iter_mut().enumerate() {
            let end = match slot {
                Slot::Unread => at + memchr2(b',', b'\n', &bytes[at..])?,
                Slot::Int(values) => {
                    let (value, end) = integer_at(bytes, at)?;
                    *values.get_mut(row)? = value;
                    end
                }
                Slot::Float(values) => {
                    let (value, end) = float_cell(text, at)?;
                    *values.get_mut(row)? = value;
                    end
                }
            };
            if bytes.get(end) != Some(if column == last { &b'\n' } else { &b',' }) {
                return None;
            }
            at = end + 1;
        }
        row += 1;
    }
    Some(())
}

/// The cell at an offset as a double (NaN if it is missing), and the offset of its end; `None` if a
/// column with such a cell may be no floats.
fn float_cell(text: &str, at: usize) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    if let Some((value, end)) = decimal_at(bytes, at)
        && matches!(bytes.get(end), Some(b',' | b'\n'))
    {
        return Some((value, end));
    }
    let end = at + memchr2(b',', b'\n', &bytes[at..])?;
    let cell = &text[at..end];
    // Integers of more digits than those above may make a column of integers, or of text.
    if !matches!(integer(cell), Err(IntError::Syntax)) {
        return None;
    }
    match float(cell) {
        Some(value) => Some((value, end)),
        None => is_missing(cell).then_some((f64::NAN, end)),
    }
}
