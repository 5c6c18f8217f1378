//! Text conversions of the Python reference: `int()`, `float()`, `str.split()` and `repr` of
//! floats.
//!
//! Several graders turn cells into numbers or words themselves, after the CSV is read. They follow
//! Python's rules, which differ from Rust's in white space, underscores and non-Latin digits.

/// First code points (the zeros) of the 66 runs of decimal digits in Unicode 14, which Python 3.11
/// uses.
const DIGIT_ZEROS: [u32; 66] = [
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6,
    0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80,
    0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0,
    0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0,
    0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0,
    0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];

/// Longest run of digits that Python's `int()` takes from text.
const MAX_INT_DIGITS: usize = 4300;

/// Whether Python's `str.split()` and `str.strip()` treat `c` as white space.
///
/// This is Unicode's `White_Space` and the four separators U+001C to U+001F.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The non-empty pieces between runs of white space, as `str.split()` gives them.
pub fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// `text` without white space at both ends, as `str.strip()` gives it.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The value of one Unicode decimal digit.
fn digit_value(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    let code = c as u32;
    let run = DIGIT_ZEROS.partition_point(|&zero| zero <= code).checked_sub(1)?;
    let value = code - DIGIT_ZEROS[run];
    (value < 10).then_some(value as u8)
}

/// Parses `text` as Python's `int()` does in base ten.
///
/// White space around the number, a sign, leading zeros, single underscores between digits and any
/// Unicode decimal digits are fine; `5.0`, `1e3` and the empty text are not. Values beyond `i128`
/// saturate, so a caller with a bound of its own still sees them beyond it.
#[must_use]
pub fn parse_int(text: &str) -> Option<i128> {
    let text = strip(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mut value: i128 = 0;
    let mut count = 0_usize;
    let mut after_digit = false;
    for c in digits.chars() {
        if c == '_' {
            if !after_digit {
                return None;
            }
            after_digit = false;
        } else {
            value = value.saturating_mul(10).saturating_add(i128::from(digit_value(c)?));
            count += 1;
            after_digit = true;
        }
    }
    (after_digit && count <= MAX_INT_DIGITS).then_some(if negative { -value } else { value })
}

/// Parses `text` as Python's `float()` does: correctly rounded, `inf`, `infinity` and `nan` in any
/// case included.
///
/// White space around the number, single underscores between digits and any Unicode decimal digits
/// are fine.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let text = strip(text);
    if text.is_ascii() && !text.contains('_') {
        return text.parse().ok();
    }
    let mut plain = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let digit = digit_value(c);
        match (digit, c) {
            (Some(value), _) => plain.push(char::from(b'0' + value)),
            (None, '_') => {
                let between = before.is_some_and(|b| digit_value(b).is_some())
                    && chars.peek().is_some_and(|&next| digit_value(next).is_some());
                if !between {
                    return None;
                }
            }
            (None, other) => plain.push(other),
        }
        before = Some(c);
    }
    plain.parse().ok()
}

/// Prints `value` as Python's `repr` does: the shortest digits that read back exactly, with `.0` or
/// an exponent.
///
/// The exponent form begins at 1e16 and below 1e-4 and has at least two exponent digits; NaN prints
/// `nan`.
#[must_use]
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) =
        scientific.split_once('e').expect("Rust's exponent format always has an `e`");
    let exponent: i32 = exponent.parse().expect("Rust's exponent is a decimal integer");
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_follow_python() {
        for (text, value) in [
            ("7", Some(7)),
            (" \u{2003}-007\n", Some(-7)),
            ("+5", Some(5)),
            ("1_4", Some(14)),
            ("\u{0663}\u{FF11}", Some(31)),
            ("", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("5.0", None),
            ("1e3", None),
            ("+-5", None),
            ("+ 5", None),
            ("\u{00B2}", None),
        ] {
            assert_eq!(parse_int(text), value, "{text:?}");
        }
        assert_eq!(parse_int(&"9".repeat(100)), Some(i128::MAX));
        assert_eq!(parse_int(&"9".repeat(4300)), Some(i128::MAX));
        assert_eq!(parse_int(&"9".repeat(4301)), None);
    }

    #[test]
    fn floats_follow_python() {
        for (text, value) in [
            ("1_0.5_0e1_0", Some(10.5e10)),
            (" .5 ", Some(0.5)),
            ("5.", Some(5.0)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e400", Some(f64::INFINITY)),
            ("\u{0661}.\u{0665}", Some(1.5)),
            ("1._5", None),
            ("0x10", None),
            ("1,5", None),
            ("", None),
            ("in_f", None),
        ] {
            assert_eq!(parse_float(text), value, "{text:?}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn floats_print_as_python_prints_them() {
        for (value, text) in [
            (5.0, "5.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (100_000.0, "100000.0"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_678_901.0, "1.2345678901234568e+20"),
            (1e-200, "1e-200"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float_repr(value), text);
        }
    }

    #[test]
    fn words_are_split_at_unicode_space() {
        let words: Vec<_> = split_words("\u{1c}a\u{a0}b\u{3000}\u{200b}c \t\n").collect();
        assert_eq!(words, ["a", "b", "\u{200b}c"]);
        assert_eq!(strip("\u{1f} x \u{85}"), "x");
    }
}
