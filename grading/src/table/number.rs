//! Numbers as pandas reads them, from whole cells and from where a cell starts.

/// Why a cell is no integer.
pub(super) enum IntError {
    /// It is not written as one.
    Syntax,
    /// It has more than 64 bits.
    Overflow,
}

/// The digit zero in each byte of a word.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// Powers of ten that a double holds exactly.
const TENS: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// 1 / 5^k, rounded up to 128 bits that begin with a one: the high and the low half.
const FIFTHS: [(u64, u64); TENS.len()] = fifths();

const fn fifths() -> [(u64, u64); TENS.len()] {
    let mut table = [(0, 0); TENS.len()];
    let (mut k, mut power) = (1, 1_u128);
    while k < table.len() {
        power *= 5;
        // The quotient 2^(bits + 127) / power by long division; it has 128 bits.
        let bits = 128 - (power - 1).leading_zeros();
        let (mut quotient, mut rest, mut step) = (0_u128, 1_u128, 0);
        while step < bits + 127 {
            rest <<= 1;
            quotient <<= 1;
            if rest >= power {
                rest -= power;
                quotient |= 1;
            }
            step += 1;
        }
        quotient += 1;
        table[k] = ((quotient >> 64) as u64, quotient as u64);
        k += 1;
    }
    table
}

/// Eight bytes from an offset on, the first one lowest; zeros behind the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        return u64::from_le_bytes(*eight);
    }
    let mut eight = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(eight)
}

/// The digits that a word of text starts with, as a number, and how many they are.
///
/// # Source
/// Eight digits by three multiplications, as in Rust's `core::num::dec2flt`.
fn leading_digits(word: u64) -> (u64, usize) {
    let digits = word ^ ZEROS;
    // The top bit of each byte that is no digit; carries only reach bytes behind the first of
    // those.
    let others = (digits.wrapping_add(u64::from_le_bytes([0x76; 8])) | digits)
        & u64::from_le_bytes([0x80; 8]);
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    let digits = digits << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (even, odd) = (pairs & 0xFF_0000_00FF, (pairs >> 16) & 0xFF_0000_00FF);
    let value = even
        .wrapping_mul(100 + (1_000_000 << 32))
        .wrapping_add(odd.wrapping_mul(1 + (10_000 << 32)));
    (value >> 32, count)
}

/// All digits from an offset on, appended to those read before; `None` if they are more than `most`
/// in all.
fn digits_at(
    bytes: &[u8],
    mut at: usize,
    before: (u64, usize),
    most: usize,
) -> Option<(u64, usize)> {
    const POWERS: [u64; 9] =
        [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let (mut value, mut count) = before;
    loop {
        let (next, digits) = leading_digits(word(bytes, at));
        count += digits;
        if count > most {
            return None;
        }
        value = value * POWERS[digits] + next;
        if digits < 8 {
            return Some((value, count));
        }
        at += 8;
    }
}

/// The integer at an offset, and the offset of its end: up to 18 digits, perhaps after a minus.
/// `None` for any other.
pub(super) fn integer_at(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let from = at + usize::from(negative);
    let (value, count) = digits_at(bytes, from, (0, 0), 18)?;
    let value = value as i64;
    (count > 0).then_some((if negative { -value } else { value }, from + count))
}

/// The number at an offset, and the offset of its end: digits, perhaps with more behind a point, up
/// to 19 that count. `None` for any other.
///
/// The result is the double nearest to the number, the even one of two.
pub(super) fn decimal_at(bytes: &[u8], at: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let from = at + usize::from(negative);
    let (whole, count) = digits_at(bytes, from, (0, 0), 18)?;
    if count == 0 {
        return None;
    }
    let mut end = from + count;
    let value = if bytes.get(end) == Some(&b'.') {
        let known = if whole == 0 { 0 } else { count };
        let (digits, all) = digits_at(bytes, end + 1, (whole, known), TENS.len() - 1)?;
        let behind = all - known;
        end += 1 + behind;
        if behind == 0 {
            return None;
        }
        scaled_down(digits, behind)
    } else {
        whole as f64
    };
    Some((if negative { -value } else { value }, end))
}

/// `digits` / 10^`places`, rounded to the nearest double, to the even one of two. From 1 to 19
/// places.
///
/// # Source
/// D. Lemire, "Number parsing at a gigabyte per second" (2021), as in Rust's
/// `core::num::dec2flt::lemire`, for the few powers that are needed.
fn scaled_down(digits: u64, places: usize) -> f64 {
    const MANTISSA: u32 = 52;
    if digits <= 1 << (MANTISSA + 1) {
        // Both are exact, so that one division rounds once.
        return digits as f64 / TENS[places];
    }
    let power = -(places as i64);
    let shift = digits.leading_zeros();
    let wide = u128::from(digits << shift);
    let (high, low) = FIFTHS[places];
    let mut product = wide * u128::from(high);
    // Nine bits are more than the mantissa needs: only if they are all ones can the lower half of
    // the power matter.
    if (product >> 64) as u64 & 0x1FF == 0x1FF {
        product += (wide * u128::from(low)) >> 64;
    }
    let (product, rest) = ((product >> 64) as u64, product as u64);
    let upper = (product >> 63) as u32;
    let drop = upper + 64 - MANTISSA - 3;
    let mut mantissa = product >> drop;
    let mut exponent =
        ((power * (152_170 + 65_536)) >> 16) + 63 + i64::from(upper) - i64::from(shift) + 1_023;
    if rest <= 1 && power >= -4 && mantissa & 3 == 1 && mantissa << drop == product {
        // Exactly between two doubles, of which the lower one is even.
        mantissa &= !1;
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if mantissa >= 2 << MANTISSA {
        mantissa = 1 << MANTISSA;
        exponent += 1;
    }
    f64::from_bits((mantissa & !(1 << MANTISSA)) | ((exponent as u64) << MANTISSA))
}

/// C's `isspace` over ASCII.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Up to 18 digits and nothing else, which is what most integers look like.
pub(super) fn small_integer(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    bytes.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| value * 10 + i64::from(digit))
    })
}

/// `[+-]?digits` with blanks around it.
pub(super) fn integer(cell: &str) -> Result<i128, IntError> {
    let mut bytes = cell.as_bytes();
    if let (Some(first), Some(last)) = (bytes.first(), bytes.last())
        && (is_blank(*first as char) || is_blank(*last as char))
    {
        bytes = cell.trim_matches(is_blank).as_bytes();
    }
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() {
        return Err(IntError::Syntax);
    }
    if digits.len() <= 18 {
        let mut value = 0_i64;
        for &digit in digits {
            if !digit.is_ascii_digit() {
                return Err(IntError::Syntax);
            }
            value = value * 10 + i64::from(digit - b'0');
        }
        return Ok(i128::from(if negative { -value } else { value }));
    }
    let mut value = 0_i128;
    for &digit in digits {
        // The digits up to the overflow are looked at before what follows them, as a reader from
        // left to right does.
        if value > i128::from(u64::MAX) {
            return Err(IntError::Overflow);
        }
        if !digit.is_ascii_digit() {
            return Err(IntError::Syntax);
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    Ok(if negative { -value } else { value })
}

/// A decimal number, or `inf`/`infinity` in any case. Blanks are allowed around a decimal number
/// only.
pub(super) fn float(cell: &str) -> Option<f64> {
    let mut number = cell;
    if let (Some(first), Some(last)) = (cell.as_bytes().first(), cell.as_bytes().last())
        && (is_blank(*first as char) || is_blank(*last as char))
    {
        number = cell.trim_matches(is_blank);
    }
    let value: f64 = number.parse().ok()?;
    if value.is_finite() {
        return Some(value);
    }
    let digits = number.trim_start_matches(['+', '-']);
    if digits.starts_with(['i', 'I']) {
        return (number.len() == cell.len()).then_some(value);
    }
    // An overflowing literal is no number for pandas, unless it is negative: it compares with
    // +infinity only.
    (value == f64::NEG_INFINITY).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `decimal_at` reads must be what Rust's parser makes of the same characters.
    fn agrees(text: &str) -> Result<(), TestCaseError> {
        for behind in ["", ",", "\n1", ",12345678"] {
            let bytes = format!("{text}{behind}");
            if let Some((value, end)) = decimal_at(bytes.as_bytes(), 0) {
                let expected: f64 = text[..end.min(text.len())].parse().unwrap();
                prop_assert_eq!(value.to_bits(), expected.to_bits(), "{}", bytes);
                prop_assert!(end <= text.len());
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn doubles_read_back(value in -1e6..1e6_f64, share in 0.0..1.0_f64, digits in 0_usize..20) {
            for text in [value.to_string(), share.to_string(), format!("{share:.digits$}"), format!("{value:.digits$}")] {
                agrees(&text)?;
            }
            let (read, end) = decimal_at(format!("{share},").as_bytes(), 0).unwrap_or((share, share.to_string().len()));
            prop_assert_eq!((read, end), (share, share.to_string().len()));
        }

        #[test]
        fn digits_read_as_rust_reads_them(whole in any::<u64>(), fraction in any::<u64>(), cut in 0_u32..64, drop in 0_u32..64) {
            agrees(&format!("{}.{}", whole >> cut, fraction >> drop))?;
            agrees(&format!("-{}.{:019}", whole >> cut, fraction >> drop))?;
            agrees(&(whole >> cut).to_string())?;
        }

        /// Numbers halfway between two doubles, and their neighbours, are where rounding goes
        /// wrong.
        #[test]
        fn halves_round_to_even(mantissa in (1_u64 << 52)..(1 << 53), shift in 1_u32..5, off in -1_i64..2) {
            let twice = 2 * mantissa + 1;
            let scaled = u128::from(twice) * 10_u128.pow(shift) / (1 << shift);
            let text = (scaled as i128 + i128::from(off)).to_string();
            let point = text.len() - shift as usize;
            agrees(&format!("{}.{}", &text[..point], &text[point..]))?;
        }

        #[test]
        fn integers_read_as_rust_reads_them(value in any::<i64>(), cut in 0_u32..64) {
            let value = value >> cut;
            let text = format!("{value}\n");
            let digits = value.unsigned_abs().to_string().len();
            let expected = (digits <= 18).then_some((value, text.len() - 1));
            prop_assert_eq!(integer_at(text.as_bytes(), 0), expected);
        }
    }

    #[test]
    fn other_spellings_are_left_alone() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "+1",
            " 1",
            "e5",
            "nan",
            "-.5",
            "0.12345678901234567890",
            "1234567890123456789",
        ] {
            assert_eq!(decimal_at(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(
            decimal_at(b"-0,", 0).map(|(v, end)| (v.to_bits(), end)),
            Some((0x8000_0000_0000_0000, 2))
        );
        assert_eq!(decimal_at(b"1.5e3", 0), Some((1.5, 3)));
        assert_eq!(integer_at(b"12a", 0), Some((12, 2)));
        assert_eq!(integer_at(b"7\xff\xff\xff", 0), Some((7, 1)));
    }
}
