//! Which type pandas gives a column.

use super::float::{FloatParser, is_canonical_integer, is_plain_decimal};
use super::value::Kind;

/// Whether a cell's text stands for a missing value, quoted or not.
pub(super) fn is_missing(cell: &[u8]) -> bool {
    // Most cells begin otherwise.
    matches!(cell.first(), None | Some(b'#' | b'-' | b'1' | b'<' | b'N' | b'n'))
        && stands_for_missing(cell)
}

fn stands_for_missing(cell: &[u8]) -> bool {
    match cell.len() {
        0 => true,
        2 => cell == b"NA",
        3 => matches!(cell, b"#NA" | b"N/A" | b"NaN" | b"n/a" | b"nan"),
        4 => matches!(cell, b"#N/A" | b"-NaN" | b"-nan" | b"<NA>" | b"NULL" | b"None" | b"null"),
        7 => matches!(cell, b"-1.#IND" | b"1.#QNAN"),
        6 => cell == b"1.#IND",
        8 => matches!(cell, b"#N/A N/A" | b"-1.#QNAN"),
        _ => false,
    }
}

/// A cell without the blanks that C's `isspace` knows.
pub(super) fn trim_blanks(cell: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let begin = cell.iter().position(|byte| !blank(byte)).unwrap_or(cell.len());
    let end = cell.iter().rposition(|byte| !blank(byte)).map_or(begin, |last| last + 1);
    &cell[begin..end]
}

/// Why a cell is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoInt {
    TooLarge,
    OtherText,
}

/// An integer with blanks around it and a sign allowed. As in C, a number too large is noticed
/// before what follows it.
fn parse_integer(cell: &[u8], low: i128, high: i128) -> Result<i128, NoInt> {
    let text = trim_blanks(cell);
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(NoInt::OtherText);
    }
    let mut number: i128 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(NoInt::OtherText);
        }
        number = number * 10 + sign * i128::from(byte - b'0');
        if number < low || number > high {
            return Err(NoInt::TooLarge);
        }
    }
    Ok(number)
}

pub(super) fn parse_i64(cell: &[u8]) -> Option<i64> {
    parse_integer(cell, i64::MIN.into(), i64::MAX.into()).ok().map(|number| number as i64)
}

pub(super) fn parse_u64(cell: &[u8]) -> Option<u64> {
    parse_integer(cell, 0, u64::MAX.into()).ok().map(|number| number as u64)
}

pub(super) fn parse_bool(cell: &[u8]) -> Option<bool> {
    if cell.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if cell.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

/// What is known about a column after some of its cells. Guesses over consecutive cells join into
/// one.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    present: bool,
    missing: bool,
    negative: bool,
    no_i64: Option<NoInt>,
    no_u64: Option<NoInt>,
    float: bool,
    bool: bool,
}

impl Guess {
    pub(super) fn new() -> Self {
        Self {
            present: false,
            missing: false,
            negative: false,
            no_i64: None,
            no_u64: None,
            float: true,
            bool: true,
        }
    }

    /// Stops guessing: the column is text, or its type is given.
    pub(super) fn settle(&mut self) {
        (self.present, self.float, self.bool) = (true, false, false);
        self.no_i64 = Some(NoInt::OtherText);
    }

    /// Whether more cells cannot change anything.
    pub(super) fn is_settled(&self) -> bool {
        self.present && !self.float && !self.bool
    }

    pub(super) fn see(&mut self, cell: &[u8], floats: FloatParser) {
        if self.is_settled() {
            return;
        }
        if is_missing(cell) {
            self.missing = true;
            return;
        }
        self.present = true;
        self.bool = self.bool && parse_bool(cell).is_some();
        let mut integer = false;
        if self.no_i64.is_none() || self.no_u64.is_none() {
            integer = is_canonical_integer(cell);
        }
        if integer {
            self.negative |= cell.starts_with(b"-");
        } else if self.no_i64.is_none() || self.no_u64.is_none() {
            match parse_integer(cell, i64::MIN.into(), i64::MAX.into()) {
                Ok(number) => {
                    integer = true;
                    self.negative |= number < 0;
                }
                Err(reason) => {
                    self.no_i64 = self.no_i64.or(Some(reason));
                    // The unsigned pass looks no further than the sign of a negative number.
                    if trim_blanks(cell).starts_with(b"-") {
                        self.negative = true;
                    } else if let Err(reason) = parse_integer(cell, 0, u64::MAX.into()) {
                        self.no_u64 = self.no_u64.or(Some(reason));
                    }
                }
            }
        }
        self.float =
            self.float && (integer || is_plain_decimal(cell) || floats.parse(cell).is_some());
    }

    /// Joins the guess over the cells that follow.
    pub(super) fn join(&mut self, later: &Self) {
        self.present |= later.present;
        self.missing |= later.missing;
        self.negative |= later.negative;
        self.no_i64 = self.no_i64.or(later.no_i64);
        self.no_u64 = self.no_u64.or(later.no_u64);
        self.float &= later.float;
        self.bool &= later.bool;
    }

    pub(super) fn kind(&self) -> Kind {
        if !self.present {
            return Kind::Float;
        }
        match (self.no_i64, self.no_u64) {
            (None, _) => return if self.missing { Kind::Float } else { Kind::Int },
            (Some(NoInt::TooLarge), None) if self.negative || self.missing => return Kind::Text,
            (Some(NoInt::TooLarge), None) => return Kind::UInt,
            (Some(NoInt::TooLarge), Some(NoInt::TooLarge)) => return Kind::Text,
            (Some(_), _) => {}
        }
        match (self.float, self.bool) {
            (true, _) => Kind::Float,
            (false, true) => Kind::Bool,
            (false, false) => Kind::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str]) -> Kind {
        let mut whole = Guess::new();
        let mut joined = Guess::new();
        for cell in cells {
            whole.see(cell.as_bytes(), FloatParser::RoundTrip);
            let mut one = Guess::new();
            one.see(cell.as_bytes(), FloatParser::RoundTrip);
            joined.join(&one);
        }
        assert_eq!(whole.kind(), joined.kind(), "{cells:?}");
        whole.kind()
    }

    #[test]
    fn kinds_equal_pandas() {
        let cases: [(&[&str], Kind); 25] = [
            (&["1", "007", "+5", " 12", "-0"], Kind::Int),
            (&["1", ""], Kind::Float),
            (&["", "NA"], Kind::Float),
            (&["1", "1.5"], Kind::Float),
            (&["1", "inf"], Kind::Float),
            (&["True", "FALSE", "tRUE"], Kind::Bool),
            (&["True", "", "false"], Kind::Bool),
            (&["True", "1"], Kind::Text),
            (&[" True", "False"], Kind::Text),
            (&["1", "a"], Kind::Text),
            (&["1", "  "], Kind::Text),
            (&["1", "na"], Kind::Text),
            (&["1", " NA"], Kind::Text),
            (&["1", "NAN"], Kind::Text),
            (&["0012", "1e45"], Kind::Float),
            (&["0012", "00ab"], Kind::Text),
            (&["9223372036854775807"], Kind::Int),
            (&["9223372036854775808"], Kind::UInt),
            (&["9223372036854775808", ""], Kind::Text),
            (&["18446744073709551615", "-1"], Kind::Text),
            (&["18446744073709551616", "1"], Kind::Text),
            (&["99999999999999999999", "1.5"], Kind::Text),
            (&["1.5", "99999999999999999999"], Kind::Float),
            (&["12345678901234567890.5", "1"], Kind::Float),
            (&["1e999", "1"], Kind::Text),
        ];
        for (cells, expected) in cases {
            assert_eq!(kind(cells), expected, "{cells:?}");
        }
    }
}
