//! Rows of a source, loaded one by one, wherever its text is.

use std::io::Read;
use std::ops::Range;

use medalist_grading::platform;

use super::row::Spans;
use super::{Bytes, CsvSource, Reopen};
use crate::frame::FrameError;
use crate::frame::value::Value;

/// Reads rows of a source in any order.
pub(in crate::frame) struct RowReader<'a> {
    pub(super) source: &'a CsvSource,
    window: Vec<u8>,
    /// Where the window lies in the file.
    at: u64,
    /// The rest of a member, behind the window.
    stream: Option<Box<dyn Read + Send>>,
    pub(super) spans: Spans,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(source: &'a CsvSource) -> Self {
        let spans = Spans::default();
        Self { source, window: Vec::new(), at: 0, stream: None, spans }
    }

    /// Loads a row, after which [`cell`](Self::cell) gives its cells.
    pub(in crate::frame) fn load(&mut self, row: usize) -> Result<LoadedRow<'_>, FrameError> {
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
                    platform::read_exact_at(file, &mut self.window, begin).map_err(|source| {
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

impl RowReader<'_> {
    /// As [`load`](Self::load), for a row whose text is there; others may follow.
    pub(in crate::frame) fn load_text<'b>(
        &'b mut self,
        row: usize,
        text: &'b [u8],
    ) -> LoadedRow<'b> {
        self.spans.split(text, self.source.separator);
        LoadedRow { source: self.source, row, text, spans: &self.spans }
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
pub(in crate::frame) struct LoadedRow<'a> {
    pub(super) source: &'a CsvSource,
    pub(super) row: usize,
    pub(super) text: &'a [u8],
    pub(super) spans: &'a Spans,
}

impl<'a> LoadedRow<'a> {
    pub(in crate::frame) fn cell(&self, field: usize) -> &'a [u8] {
        self.spans.get(self.text, field)
    }

    /// The text of the whole row; others may follow.
    pub(in crate::frame) fn text(&self) -> &'a [u8] {
        self.text
    }

    pub(in crate::frame) fn separator(&self) -> u8 {
        self.source.separator
    }

    /// Where a cell stands in the text, with its quotes, if it has no others than those that it
    /// needs between these separators.
    pub(in crate::frame) fn standing(&self, field: usize) -> Option<Range<usize>> {
        self.spans.standing(field)
    }

    pub(in crate::frame) fn value(&self, field: usize) -> Result<Value<'a>, FrameError> {
        self.source.value(self.row, field, self.cell(field))
    }
}
