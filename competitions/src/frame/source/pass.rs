//! One pass over a text, from its front to its end, many whole rows at a time.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use super::scan::BLOCK;
use super::{Bytes, CsvSource, ahead};
use crate::frame::FrameError;

/// Consecutive rows with their text.
pub(in crate::frame) struct Block<'a> {
    source: &'a CsvSource,
    pub(in crate::frame) rows: Range<usize>,
    text: &'a [u8],
    /// Where the text begins in the whole.
    at: u64,
}

impl<'a> Block<'a> {
    /// The text of one of the rows, with its line end.
    pub(in crate::frame) fn text(&self, row: usize) -> &'a [u8] {
        let offsets = &self.source.offsets;
        &self.text[(offsets.at(row) - self.at) as usize..(offsets.at(row + 1) - self.at) as usize]
    }

    /// The text from one of the rows on, with those behind it.
    pub(in crate::frame) fn text_from(&self, row: usize) -> &'a [u8] {
        &self.text[(self.source.offsets.at(row) - self.at) as usize..]
    }
}

impl CsvSource {
    /// Visits all rows, in their order. The text is read ahead meanwhile.
    pub(in crate::frame) fn each_block<E: From<FrameError>>(
        &self,
        mut visit: impl FnMut(&Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |source| FrameError::Io { action: "read", path: self.name().into(), source };
        let (mut at, mut rest, mut next) = (0, Vec::new(), 0);
        for block in ahead::blocks(self.front().map_err(io)?, BLOCK) {
            let mut text = block.map_err(io)?;
            if !rest.is_empty() {
                rest.append(&mut text);
                text = std::mem::take(&mut rest);
            }
            let first = next;
            next = self.rows_before(first, at + text.len() as u64);
            if next == first {
                rest = text;
                continue;
            }
            visit(&Block { source: self, rows: first..next, text: &text, at })?;
            let used = self.offsets.at(next) - at;
            rest = text.split_off(used as usize);
            at += used;
        }
        match next == self.rows() {
            true => Ok(()),
            false => Err(io(io::ErrorKind::UnexpectedEof.into()).into()),
        }
    }

    /// The text from its front.
    fn front(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.bytes {
            Bytes::Memory(_) => Ok(Box::new(io::empty())),
            Bytes::File { path, .. } => Ok(Box::new(File::open(path)?)),
            Bytes::Member(member) => member.reopen(),
        }
    }

    /// The row behind the last one, from `first` on, that ends at a place of the text or before.
    fn rows_before(&self, first: usize, place: u64) -> usize {
        let (mut low, mut high) = (first, self.rows());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.offsets.at(middle + 1) <= place {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
