//! Doubles as pandas reads and Python prints them.

use std::fmt::{self, Write as _};

use super::infer::trim_blanks;

/// Which of pandas' two float parsers reads a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatParser {
    /// `float_precision="round_trip"`: correctly rounded.
    #[default]
    RoundTrip,
    /// pandas' default: fast, and often off by one unit at 16 or 17 digits.
    Fast,
}

impl FloatParser {
    /// The double that a cell holds; blanks around it are ignored.
    pub(super) fn parse(self, cell: &[u8]) -> Option<f64> {
        let text = trim_blanks(cell);
        let value = match self {
            Self::RoundTrip => parse_round_trip(text),
            Self::Fast => parse_fast(text),
        };
        value.or_else(|| infinity(text))
    }
}

fn infinity(text: &[u8]) -> Option<f64> {
    let (sign, word) = match text {
        [b'-', word @ ..] => (-1.0, word),
        [b'+', word @ ..] | word => (1.0, word),
    };
    let is_infinite = word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity");
    is_infinite.then_some(sign * f64::INFINITY)
}

/// # Source
/// pandas 2.2.3 `tokenizer.c`, `round_trip`: CPython's correctly rounded conversion of a plain
/// decimal. A value too large is an error there, but only if it is positive.
fn parse_round_trip(text: &[u8]) -> Option<f64> {
    if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value != f64::INFINITY).then_some(value)
}

/// # Source
/// pandas 2.2.3 `tokenizer.c`, `precise_xstrtod`: at most 17 digits are taken, then one
/// multiplication or division.
fn parse_fast(text: &[u8]) -> Option<f64> {
    const MAX_DIGITS: u32 = 17;
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let (mut number, mut exponent, mut taken, mut seen) = (0f64, 0i64, 0, false);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if taken < MAX_DIGITS {
            number = number * 10.0 + f64::from(digit - b'0');
            taken += 1;
        } else {
            exponent += 1;
        }
        seen = true;
        rest = after;
    }
    if let [b'.', after @ ..] = rest {
        rest = after;
        while let [digit @ b'0'..=b'9', after @ ..] = rest {
            if taken < MAX_DIGITS {
                number = number * 10.0 + f64::from(digit - b'0');
                taken += 1;
                exponent -= 1;
            }
            seen = true;
            rest = after;
        }
    }
    if !seen {
        return None;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let (minus, digits) = match after {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        if digits.is_empty()
            || digits.len() > MAX_DIGITS as usize
            || !digits.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let written = digits.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        exponent += if minus { -written } else { written };
        rest = &[];
    }
    if !rest.is_empty() || exponent > 308 {
        return None;
    }
    let scaled = if exponent > 0 {
        number * power_of_ten(exponent)
    } else if exponent >= -308 {
        number / power_of_ten(-exponent)
    } else if exponent >= -616 {
        number / power_of_ten(-308 - exponent) / 1e308
    } else {
        0.0
    };
    scaled.is_finite().then_some(if negative { -scaled } else { scaled })
}

/// The double nearest to 10 to the power of `exponent`, which lies in `0..=308`.
fn power_of_ten(exponent: i64) -> f64 {
    use std::sync::LazyLock;
    static POWERS: LazyLock<Vec<f64>> = LazyLock::new(|| {
        (0..=308).map(|k| format!("1e{k}").parse().expect("a power of ten is a number")).collect()
    });
    POWERS[exponent as usize]
}

/// Where the only point among digits is.
fn point_of(text: &[u8]) -> Option<usize> {
    let mut point = None;
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {}
            b'.' if point.is_none() => point = Some(place),
            _ => return None,
        }
    }
    point
}

/// Whether a text is sure to be a number to both parsers: digits with a point among them, too few
/// for a number that is too large.
pub(super) fn is_plain_decimal(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    (2..=300).contains(&unsigned.len()) && point_of(unsigned).is_some()
}

/// Whether a decimal is already printed as Python would print the double it stands for.
///
/// True only for plain decimals of at most 15 digits, where both parsers are exact and printing
/// gives the same digits back.
pub(super) fn is_canonical(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    if unsigned.len() > 16 {
        return false;
    }
    let Some(point) = point_of(unsigned) else { return false };
    let (whole, fraction) = (&unsigned[..point], &unsigned[point + 1..]);
    if whole.is_empty() || fraction.is_empty() {
        return false;
    }
    if whole.len() > 1 && whole[0] == b'0'
        || fraction.len() > 1 && fraction[fraction.len() - 1] == b'0'
    {
        return false;
    }
    // Below 1e-4 Python switches to the exponent form.
    whole != b"0" || fraction == b"0" || fraction.iter().take(4).any(|&digit| digit != b'0')
}

/// Whether an integer is already printed as Python would print it: no plus, no leading zero, at
/// most 18 digits, so that it is sure to have 64 bits.
pub(super) fn is_canonical_integer(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    match unsigned {
        [b'0'] => unsigned.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A double printed as Python's `repr` does: shortest digits, always with a point or an exponent.
pub(crate) struct PythonFloat(pub(crate) f64);

impl fmt::Display for PythonFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.text().as_bytes()).map_err(|_| fmt::Error)?)
    }
}

impl PythonFloat {
    pub(super) fn text(&self) -> FloatText {
        let value = self.0;
        let mut text = FloatText::default();
        if value.is_nan() {
            text.push(b"nan");
            return text;
        }
        if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
            return text;
        }
        let mut shortest = FloatText::default();
        write!(shortest, "{value:e}").expect("no double has more digits");
        let (digits, places) = shortest.parts();
        if digits.len() > DIGITS_OF_TIES
            && let Some(even) = even_digits(digits, places, value)
        {
            shortest = even;
        }
        let (digits, places) = shortest.parts();
        if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
            plain(&mut text, digits, places);
            return text;
        }
        text.push(digits);
        let sign = if places < 0 { '-' } else { '+' };
        write!(text, "e{sign}{:02}", places.abs()).expect("an exponent has three digits at most");
        text
    }
}

/// The text of a double: at most 17 digits with sign, point, zeros and exponent.
#[derive(Clone, Copy, Default)]
pub(super) struct FloatText {
    bytes: [u8; 32],
    length: usize,
}

impl fmt::Write for FloatText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.length + text.len() > self.bytes.len() {
            return Err(fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

impl FloatText {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    /// The digits, with sign and point, and the exponent of an exponent form.
    fn parts(&self) -> (&[u8], i32) {
        let text = self.as_bytes();
        let at = memchr::memrchr(b'e', text).expect("exponent form has an `e`");
        let (sign, exponent) = match &text[at + 1..] {
            [b'-', exponent @ ..] => (-1, exponent),
            exponent => (1, exponent),
        };
        let exponent = exponent.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
        (&text[..at], sign * exponent)
    }
}

/// Digits in exponent form become a number with a point.
fn plain(text: &mut FloatText, digits: &[u8], places: i32) {
    const ZEROS: &[u8] = b"0000000000000000";
    let digits = match digits.strip_prefix(b"-") {
        Some(digits) => {
            text.push(b"-");
            digits
        }
        None => digits,
    };
    let (first, rest) = (&digits[..1], digits.get(2..).unwrap_or_default());
    let Ok(places) = usize::try_from(places) else {
        text.push(b"0.");
        text.push(&ZEROS[..places.unsigned_abs() as usize - 1]);
        text.push(first);
        return text.push(rest);
    };
    text.push(first);
    let (whole, fraction) = rest.split_at(places.min(rest.len()));
    text.push(whole);
    text.push(&ZEROS[..places - whole.len()]);
    text.push(b".");
    text.push(if fraction.is_empty() { b"0" } else { fraction });
}

/// Up to 15 digits only one text of a length reads back; with their point they are so long.
const DIGITS_OF_TIES: usize = 16;

/// Whether the exact decimal digits of a double may end right behind the first `count`: a double
/// with so many bits behind the point has as many decimals, and its digits end with the last.
fn may_end_behind(value: f64, count: usize, exponent: i32) -> bool {
    let bits = value.to_bits();
    let (biased, fraction) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
    let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
    let lowest = biased.max(1) as i64 - 1075 + i64::from(mantissa.trailing_zeros());
    lowest >= 0 || -lowest == count as i64 - i64::from(exponent)
}

/// A double may lie exactly between two shortest texts, such as `….2` and `….3` for `….25`. C's
/// `dtoa`, and so Python, takes the one with the even last digit there, Rust the upper one.
fn even_digits(digits: &[u8], exponent: i32, value: f64) -> Option<FloatText> {
    let count = digits.iter().filter(|digit| digit.is_ascii_digit()).count();
    let is_odd = digits.last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    if count < 16 || !is_odd || !may_end_behind(value, count, exponent) {
        return None;
    }
    if !format!("{value:.count$e}").contains("5e") {
        return None;
    }
    // Far more digits than an exact middle has.
    let long = format!("{value:.*e}", count + 40);
    let (lower, rest) = long.split_at(digits.len());
    let is_tie = rest
        .trim_start_matches('5')
        .bytes()
        .take_while(|&byte| byte != b'e')
        .all(|digit| digit == b'0');
    let even = format!("{lower}e{exponent}");
    if !is_tie || lower.as_bytes() == digits || even.parse() != Ok(value) {
        return None;
    }
    let mut text = FloatText::default();
    text.push(even.as_bytes());
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_as_python() {
        // Each line: a decimal and what Python prints for the double nearest to it.
        let cases = [
            ("0", "0.0"),
            ("-0", "-0.0"),
            ("1", "1.0"),
            ("16.50", "16.5"),
            ("1230", "1230.0"),
            ("0.00123", "0.00123"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("3.2e-7", "3.2e-07"),
            ("9999999999999998", "9999999999999998.0"),
            ("1e16", "1e+16"),
            ("123456789012345678", "1.2345678901234568e+17"),
            ("-73.973320007324219", "-73.97332000732422"),
            ("1e300", "1e+300"),
            ("5e-324", "5e-324"),
            ("inf", "inf"),
            ("1555966177421935.25", "1555966177421935.2"),
            ("1555966177421935.75", "1555966177421935.8"),
            ("-1555966177421934.25", "-1555966177421934.2"),
            ("562949953421312.125", "562949953421312.1"),
            ("9.0000152587890625", "9.000015258789062"),
            ("-6.1511993408203125e-5", "-6.151199340820312e-05"),
            ("0.00012302398681640625", "0.00012302398681640625"),
            ("123456789012345", "123456789012345.0"),
        ];
        for (decimal, text) in cases {
            assert_eq!(PythonFloat(decimal.parse().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn the_two_parsers_differ_as_in_pandas() {
        let both = |text: &str| {
            (
                FloatParser::RoundTrip.parse(text.as_bytes()),
                FloatParser::Fast.parse(text.as_bytes()),
            )
        };
        assert_eq!(both("99999999999999999999"), (Some(1e20), Some(1.0000000000000002e20)));
        assert_eq!(both(" 12.5\t"), (Some(12.5), Some(12.5)));
        assert_eq!(both("1e999"), (None, None));
        assert_eq!(both("-1e999"), (Some(f64::NEG_INFINITY), None));
        assert_eq!(both("-Inf"), (Some(f64::NEG_INFINITY), Some(f64::NEG_INFINITY)));
        for text in ["", ".", "-", "1e", "1_0", "0x10", "NAN", "1 2", "- 5", "1d5"] {
            assert_eq!(both(text), (None, None), "{text}");
        }
        assert_eq!(both("5."), (Some(5.0), Some(5.0)));
        assert_eq!(both(".5"), (Some(0.5), Some(0.5)));
        assert_eq!(both("1e-400"), (Some(0.0), Some(0.0)));
    }

    proptest! {
        #[test]
        fn no_tie_is_overlooked(mantissa in 1u64..1 << 53, shift in 0i32..120) {
            let value = mantissa as f64 / 2f64.powi(shift);
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap();
            let exponent = exponent.parse().unwrap();
            let count = digits.bytes().filter(u8::is_ascii_digit).count();
            // Far more digits than any such double has.
            let long = format!("{value:.200e}");
            let (long, _) = long.split_once('e').unwrap();
            let rest = &long[(if count == 1 { 2 } else { count + 1 })..];
            let ends_behind = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
            prop_assert!(!ends_behind || may_end_behind(value, count, exponent), "{}", text);
        }

        #[test]
        fn printing_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = PythonFloat(value).to_string();
            prop_assert_eq!(FloatParser::RoundTrip.parse(text.as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn canonical_text_prints_itself(text in "-?[0-9]{1,9}\\.[0-9]{1,9}") {
            for parser in [FloatParser::RoundTrip, FloatParser::Fast] {
                let printed = PythonFloat(parser.parse(text.as_bytes()).unwrap()).to_string();
                if is_canonical(text.as_bytes()) {
                    prop_assert_eq!(&printed, &text);
                }
            }
        }

        #[test]
        fn plain_decimals_are_numbers(text in "[+-]{0,2}([0-9]{0,4}|[0-9]{290,310})[.,e ]{0,2}[0-9]{0,4}") {
            for parser in [FloatParser::RoundTrip, FloatParser::Fast] {
                prop_assert!(!is_plain_decimal(text.as_bytes()) || parser.parse(text.as_bytes()).is_some());
            }
        }
    }
}
