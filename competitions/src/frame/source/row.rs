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
}

/// The text of a cell, without the quotes around it.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: usize,
    end: usize,
    form: Form,
}

/// How a cell is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Without any quote or zero byte.
    Bare,
    /// In quotes that it needs, and that hold no others.
    Quoted,
    /// Otherwise, but as it stands in the row.
    Other,
    /// Not as it stands in the row.
    Unescaped,
}

impl Spans {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The text of a cell; empty for one that the row does not have.
    pub(super) fn get<'a>(&'a self, row: &'a [u8], i: usize) -> &'a [u8] {
        match self.cells.get(i) {
            None => b"",
            Some(span) if span.form == Form::Unescaped => &self.unescaped[span.begin..span.end],
            Some(span) => &row[span.begin..span.end],
        }
    }

    /// Where a cell stands in the row, with its quotes, if it has no others than those it needs.
    pub(super) fn standing(&self, i: usize) -> Option<Range<usize>> {
        let Span { begin, end, form } = *self.cells.get(i)?;
        match form {
            Form::Bare => Some(begin..end),
            Form::Quoted => Some(begin - 1..end + 1),
            Form::Other | Form::Unescaped => None,
        }
    }

    /// Splits the row at the head of `text` and gives the place of its end.
    pub(super) fn split(&mut self, text: &[u8], separator: u8) -> usize {
        self.cells.clear();
        self.unescaped.clear();
        let mut marks = Marks::new(text, separator);
        let mut begin = 0;
        loop {
            let mut at = marks.next().unwrap_or(text.len());
            let mut span = Span { begin, end: at, form: Form::Bare };
            let mut is_usual = true;
            if at == begin && text.get(at) == Some(&b'"') {
                let (closing, needs_quotes) = marks.closing_quote();
                let form = if needs_quotes { Form::Quoted } else { Form::Other };
                span = Span { begin: begin + 1, end: closing, form };
                at = marks.next().unwrap_or(text.len());
                is_usual = text.get(closing) == Some(&b'"') && closing + 1 == at;
            }
            if !is_usual || matches!(text.get(at), Some(b'"' | 0)) {
                (span, at) = self.unusual_cell(text, begin, separator);
                marks.skip_to(at);
            }
            self.cells.push(span);
            if text.get(at) != Some(&separator) {
                return at;
            }
            begin = at + 1;
        }
    }

    /// A cell with quotes or zero bytes wherever they may be, and the place behind it.
    fn unusual_cell(&mut self, text: &[u8], begin: usize, separator: u8) -> (Span, usize) {
        let mut at = begin;
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
            None => Span { begin, end: at + length, form: Form::Other },
            Some(start) => {
                self.unescaped.extend_from_slice(&rest[..length]);
                Span { begin: start, end: self.unescaped.len(), form: Form::Unescaped }
            }
        };
        // To pandas' C code a cell ends at a zero byte.
        let cell = match quoted {
            Some(_) => &self.unescaped[span.begin..span.end],
            None => &text[span.begin..span.end],
        };
        if let Some(zero) = memchr::memchr(0, cell) {
            span.end = span.begin + zero;
        }
        (span, at + length)
    }
}

/// The places in a text of separators, quotes, line ends and zero bytes. 64 bytes are looked at
/// together: such places are too dense for a search from one to the next.
struct Marks<'a> {
    text: &'a [u8],
    separator: u8,
    /// Those among the bytes from `base` on that are still to come, the nearest lowest.
    bits: u64,
    base: usize,
}

impl<'a> Marks<'a> {
    fn new(text: &'a [u8], separator: u8) -> Self {
        Self { text, separator, bits: marks_at(text, 0, separator), base: 0 }
    }

    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.base += 64;
            if self.base >= self.text.len() {
                return None;
            }
            self.bits = marks_at(self.text, self.base, self.separator);
        }
        let place = self.base + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(place)
    }

    /// The next quote or zero byte, or else the end, and whether a separator or a line feed comes
    /// before.
    fn closing_quote(&mut self) -> (usize, bool) {
        let mut needs_quotes = false;
        while let Some(place) = self.next() {
            match self.text[place] {
                b'"' | 0 => return (place, needs_quotes),
                byte => needs_quotes |= byte != b'\r',
            }
        }
        (self.text.len(), needs_quotes)
    }

    /// Goes on behind a place, which may lie before some that were given already.
    fn skip_to(&mut self, place: usize) {
        self.base = place / 64 * 64;
        let behind = u64::MAX.checked_shl(place as u32 % 64 + 1).unwrap_or(0);
        self.bits = marks_at(self.text, self.base, self.separator) & behind;
    }
}

/// The marks among the 64 bytes from `base` on, a bit each.
fn marks_at(text: &[u8], base: usize, separator: u8) -> u64 {
    let rest = text.get(base..).unwrap_or_default();
    match rest.first_chunk::<64>() {
        Some(block) => marks_of(block, separator),
        None => {
            let mut block = [0; 64];
            block[..rest.len()].copy_from_slice(rest);
            marks_of(&block, separator) & ((1 << rest.len()) - 1)
        }
    }
}

fn marks_of(block: &[u8; 64], separator: u8) -> u64 {
    let mut is_mark = [0; 64];
    for (mark, &byte) in is_mark.iter_mut().zip(block) {
        *mark = u8::from(byte == separator)
            | u8::from(byte == b'"')
            | u8::from(byte == b'\n')
            | u8::from(byte == b'\r')
            | u8::from(byte == 0);
    }
    // The product has the lowest bits of eight bytes, one beside the other, on top.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (words, _) = is_mark.as_chunks::<8>();
    words.iter().enumerate().fold(0, |bits, (k, word)| {
        let eight = u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56;
        bits | eight << (8 * k)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The cells of a row, looked at as if each were unusual, and its end.
    fn slow_split(text: &[u8], separator: u8) -> (Vec<Vec<u8>>, usize) {
        let (mut spans, mut cells, mut begin) = (Spans::default(), Vec::new(), 0);
        loop {
            let (span, at) = spans.unusual_cell(text, begin, separator);
            spans.cells.push(span);
            cells.push(spans.get(text, spans.len() - 1).to_vec());
            if text.get(at) != Some(&separator) {
                return (cells, at);
            }
            begin = at + 1;
        }
    }

    proptest! {
        #[test]
        fn cells_are_found_many_bytes_at_a_time(
            parts in prop::collection::vec(
                prop_oneof![
                    6 => "[a-c0-9. ]{0,90}",
                    4 => Just(",".to_owned()),
                    2 => Just(";".to_owned()),
                    3 => Just("\"".to_owned()),
                    2 => "\"[a,;\r\n]{0,70}\"",
                    1 => Just("\0".to_owned()),
                    1 => Just("\n".to_owned()),
                    1 => Just("\r".to_owned()),
                    1 => Just("\u{e9}".to_owned()),
                ],
                0..30,
            ),
            separator in prop::sample::select(vec![b',', b';', b'\t']),
        ) {
            let text = parts.concat().into_bytes();
            let mut spans = Spans::default();
            // What was split before must not matter.
            spans.split(b"\"x\"\"y\",z", b',');
            let end = spans.split(&text, separator);
            let cells: Vec<&[u8]> = (0..spans.len()).map(|i| spans.get(&text, i)).collect();
            let (expected, expected_end) = slow_split(&text, separator);
            prop_assert_eq!(&cells, &expected);
            prop_assert_eq!(end, expected_end);
            if let Some(Ok(row)) = next_row(&text, separator, true) {
                prop_assert_eq!(end, row.text.end);
            }
            for (i, cell) in cells.iter().enumerate() {
                let special =
                    |byte: &u8| *byte == separator || matches!(byte, b'"' | b'\n' | b'\r' | 0);
                match spans.standing(i).map(|range| &text[range]) {
                    Some([b'"', inner @ .., b'"']) if inner == *cell => {
                        prop_assert!(cell.contains(&separator) || cell.contains(&b'\n'));
                        prop_assert!(!cell.contains(&b'"'));
                    }
                    Some(bare) => prop_assert!(bare == *cell && !cell.iter().any(special)),
                    None => {}
                }
            }
        }
    }
}
