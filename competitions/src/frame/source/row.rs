//! Where rows end and cells lie, as pandas reads them.

use std::ops::Range;

pub(super) struct Row {
    pub(super) text: Range<usize>,
    pub(super) next: usize,
    pub(super) blank: bool,
}

/// Finds the next row; `None` if the text ends before it does and more may follow, an error for an
/// open quote at the very end.
pub(super) fn next_row(text: &[u8], separator: u8, last: bool) -> Option<Result<Row, ()>> {
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
pub(super) struct Spans {
    cells: Vec<Span>,
    unescaped: Vec<u8>,
    /// Whether the row has neither quotes nor zero bytes, so that each cell is what stands between
    /// two separators.
    pub(super) is_plain: bool,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    begin: usize,
    end: usize,
    unescaped: bool,
}

impl Spans {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The text of a cell; empty for one that the row does not have.
    pub(super) fn get<'a>(&'a self, row: &'a [u8], i: usize) -> &'a [u8] {
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
    pub(super) fn split(&mut self, text: &[u8], separator: u8) -> usize {
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
