//! Run-length encoded masks.
//!
//! A mask is text: pairs of a 1-based start and a length, separated by white space. [`decode`]
//! keeps the runs instead of painting pixels, so a mask of 50 million pixels costs what its text
//! costs; areas, overlaps and unions are sweeps over two run lists. Whether pixels are numbered
//! down the columns or along the rows only matters where geometry does: see [`PixelOrder`].

use crate::pytext::{parse_int, split_words};

/// A half-open range of 0-based pixel numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First pixel.
    pub start: u64,
    /// One past the last pixel; always above `start`.
    pub end: u64,
}

/// How pixel numbers run over an image of `height` x `width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelOrder {
    /// Along the rows: pixel `k` is row `k / width`, column `k % width`.
    RowMajor,
    /// Down the columns: pixel `k` is row `k % height`, column `k / height`.
    ColumnMajor,
}

impl PixelOrder {
    /// The 0-based row and column of `pixel` in an image of `height` x `width`, both above 0.
    #[must_use]
    pub fn position(self, pixel: u64, height: u64, width: u64) -> (u64, u64) {
        match self {
            Self::RowMajor => (pixel / width, pixel % width),
            Self::ColumnMajor => (pixel % height, pixel / height),
        }
    }

    /// The 0-based pixel number of a row and a column in an image of `height` x `width`.
    #[must_use]
    pub fn pixel(self, row: u64, column: u64, height: u64, width: u64) -> u64 {
        match self {
            Self::RowMajor => row * width + column,
            Self::ColumnMajor => column * height + row,
        }
    }
}

/// Why a text is not a mask. Token numbers are 1-based.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// A token is no integer.
    #[error("token {token} is `{text}`, expected an integer")]
    NotAnInteger {
        /// Which token.
        token: usize,
        /// Its text, shortened.
        text: String,
    },
    /// An odd number of tokens that does not pair up.
    #[error("{count} tokens, expected pairs of a start and a length")]
    Unpaired {
        /// How many tokens there are.
        count: usize,
    },
    /// A start or a length is below 1.
    #[error("token {token} is {value}, expected a number above 0")]
    NotPositive {
        /// Which token.
        token: usize,
        /// Its value.
        value: i128,
    },
    /// A start is below the one before it.
    #[error(
        "start {start} (token {token}) is below the start before it, expected ascending starts"
    )]
    Unsorted {
        /// Which token.
        token: usize,
        /// The start found there.
        start: i128,
    },
    /// A run covers a pixel of an earlier run.
    #[error("the run that starts at {start} (token {token}) overlaps the run before it")]
    Overlap {
        /// Which token.
        token: usize,
        /// The start found there.
        start: i128,
    },
    /// A number in [2^63, 2^64), which the reference turns into a float and then cannot index with.
    #[error("token {token} is {value}, too large")]
    TooLarge {
        /// Which token.
        token: usize,
        /// Its value.
        value: i128,
    },
}

/// Decodes the runs of a mask with `pixels` pixels: ascending, disjoint, within the image.
///
/// Text of only white space is the empty mask. Runs may touch. Pixels past the end are cut off
/// without an error and a run that starts past the end is dropped.
///
/// Two oddities are kept: a single number is the empty mask, and three numbers `a n b` give both
/// runs the length `n`.
///
/// # Errors
/// [`RleError`] names the first offending token. Starts below the one before, numbers below 1,
/// pixels set twice, other odd token counts and tokens that are no integers are refused.
///
/// # Source
/// MLE-bench `competitions/utils.py`, `rle_decode`, with numpy 1.26.4 integers.
pub fn decode(text: &str, pixels: u64) -> Result<Vec<Run>, RleError> {
    let mut starts: Vec<i128> = Vec::new();
    let mut lengths: Vec<i128> = Vec::new();
    for (index, word) in split_words(text).enumerate() {
        let value = match parse_small(word) {
            Some(value) => value,
            None => parse_int(word).ok_or_else(|| RleError::NotAnInteger {
                token: index + 1,
                text: word.chars().take(32).collect(),
            })?,
        };
        if index % 2 == 0 { starts.push(value) } else { lengths.push(value) }
    }
    for (index, pair) in starts.windows(2).enumerate() {
        if pair[1] < pair[0] {
            return Err(RleError::Unsorted { token: 2 * index + 3, start: pair[1] });
        }
    }
    check_positive(&starts, 1)?;
    check_positive(&lengths, 2)?;
    // A lone length is applied to every start, as numpy broadcasts it; a lone start without a
    // length gives no run.
    if lengths.len() < starts.len() && lengths.len() != 1 {
        return match starts.len() {
            1 => Ok(Vec::new()),
            _ => Err(RleError::Unpaired { count: starts.len() + lengths.len() }),
        };
    }
    check_indexable(&starts, 1)?;
    check_indexable(&lengths, 2)?;
    let mut runs: Vec<Run> = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate() {
        let length = if lengths.len() == 1 { lengths[0] } else { lengths[index] };
        let wide = start > i128::from(u64::MAX) || length > i128::from(u64::MAX);
        let first = start - 1;
        let end = first.saturating_add(length);
        // The sum of two 64-bit numbers wraps to below zero, which leaves the slice empty.
        if first >= i128::from(pixels) || (!wide && end > i128::from(i64::MAX)) {
            continue;
        }
        let run = Run { start: first as u64, end: end.min(i128::from(pixels)) as u64 };
        match runs.last_mut() {
            Some(last) if run.start < last.end => {
                return Err(RleError::Overlap { token: 2 * index + 1, start });
            }
            Some(last) if run.start == last.end => last.end = run.end,
            _ => runs.push(run),
        }
    }
    Ok(runs)
}

/// The fast path of [`parse_int`]: up to 18 ASCII digits.
fn parse_small(word: &str) -> Option<i128> {
    if word.len() > 18 {
        return None;
    }
    let mut value: u64 = 0;
    for byte in word.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(i128::from(value))
}

/// Refuses numbers below 1. `first_token` is the token number of `values[0]`; the others follow at
/// a distance of two.
fn check_positive(values: &[i128], first_token: usize) -> Result<(), RleError> {
    match values.iter().position(|&value| value < 1) {
        Some(index) => {
            Err(RleError::NotPositive { token: 2 * index + first_token, value: values[index] })
        }
        None => Ok(()),
    }
}

/// Refuses numbers that only fit an unsigned 64-bit integer.
fn check_indexable(values: &[i128], first_token: usize) -> Result<(), RleError> {
    let unsigned_only = |value: i128| i64::try_from(value).is_err() && u64::try_from(value).is_ok();
    match values.iter().position(|&value| unsigned_only(value)) {
        Some(index) => {
            Err(RleError::TooLarge { token: 2 * index + first_token, value: values[index] })
        }
        None => Ok(()),
    }
}

/// Writes runs as text that [`decode`] reads back; the empty mask is the empty text.
#[must_use]
pub fn encode(runs: &[Run]) -> String {
    let pairs: Vec<String> =
        runs.iter().map(|run| format!("{} {}", run.start + 1, run.end - run.start)).collect();
    pairs.join(" ")
}

/// Number of pixels set.
#[must_use]
pub fn area(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}

/// Number of pixels set in both masks. Both run lists ascend and are disjoint, as [`decode`] gives
/// them.
#[must_use]
pub fn intersection_area(a: &[Run], b: &[Run]) -> u64 {
    let (mut i, mut j, mut total) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let start = a[i].start.max(b[j].start);
        let end = a[i].end.min(b[j].end);
        total += end.saturating_sub(start);
        if a[i].end <= b[j].end { i += 1 } else { j += 1 }
    }
    total
}

/// The pixels set in either mask, as ascending runs that do not touch.
#[must_use]
pub fn union(a: &[Run], b: &[Run]) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let take_a = j >= b.len() || (i < a.len() && a[i].start <= b[j].start);
        let run = if take_a { a[i] } else { b[j] };
        if take_a {
            i += 1
        } else {
            j += 1
        }
        match out.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => out.push(run),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runs(pairs: &[(u64, u64)]) -> Vec<Run> {
        pairs.iter().map(|&(start, end)| Run { start, end }).collect()
    }

    #[test]
    fn decoding_follows_the_reference() {
        for (text, expected) in [
            ("", runs(&[])),
            (" \t\n", runs(&[])),
            ("1 3 10 2", runs(&[(0, 3), (9, 11)])),
            ("1 3 4 2", runs(&[(0, 5)])),
            ("007 +2 1_0 1", runs(&[(6, 8), (9, 10)])),
            ("99 5", runs(&[(98, 100)])),
            ("101 5", runs(&[])),
            ("100 1 500 1 500 1", runs(&[(99, 100)])),
            ("7", runs(&[])),
            ("1 3 10", runs(&[(0, 3), (9, 12)])),
            ("1 9223372036854775807", runs(&[(0, 100)])),
            ("9223372036854775808", runs(&[])),
            ("2 9223372036854775807 5 1", runs(&[(4, 5)])),
            ("2 18446744073709551616", runs(&[(1, 100)])),
            ("18446744073709551616 5", runs(&[])),
        ] {
            assert_eq!(decode(text, 100), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refusals_name_the_token() {
        for (text, error) in [
            ("10 1 5 1", RleError::Unsorted { token: 3, start: 5 }),
            ("10 5 12 1", RleError::Overlap { token: 3, start: 12 }),
            ("1 9223372036854775807 5 1", RleError::Overlap { token: 3, start: 5 }),
            ("5 1 5 1", RleError::Overlap { token: 3, start: 5 }),
            ("0 1", RleError::NotPositive { token: 1, value: 0 }),
            ("1 0", RleError::NotPositive { token: 2, value: 0 }),
            ("-4 1", RleError::NotPositive { token: 1, value: -4 }),
            ("1 1 3 1 5", RleError::Unpaired { count: 5 }),
            ("1 10.0", RleError::NotAnInteger { token: 2, text: "10.0".into() }),
            ("9223372036854775808 1", RleError::TooLarge { token: 1, value: 1 << 63 }),
        ] {
            assert_eq!(decode(text, 100), Err(error), "{text}");
        }
    }

    #[test]
    fn positions_and_pixel_numbers_are_inverse() {
        for order in [PixelOrder::RowMajor, PixelOrder::ColumnMajor] {
            for pixel in 0..12 {
                let (row, column) = order.position(pixel, 3, 4);
                assert!(row < 3 && column < 4);
                assert_eq!(order.pixel(row, column, 3, 4), pixel);
            }
        }
        assert_eq!(PixelOrder::ColumnMajor.position(4, 3, 4), (1, 1));
        assert_eq!(PixelOrder::RowMajor.position(4, 3, 4), (1, 0));
    }

    /// A mask as one flag a pixel, and its runs.
    fn mask() -> impl Strategy<Value = Vec<bool>> {
        proptest::collection::vec(any::<bool>(), 0..80)
    }

    fn runs_of(mask: &[bool]) -> Vec<Run> {
        let mut out: Vec<Run> = Vec::new();
        for (k, _) in mask.iter().enumerate().filter(|&(_, &set)| set) {
            let k = k as u64;
            match out.last_mut() {
                Some(last) if last.end == k => last.end = k + 1,
                _ => out.push(Run { start: k, end: k + 1 }),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn encoding_round_trips(mask in mask()) {
            let runs = runs_of(&mask);
            prop_assert_eq!(decode(&encode(&runs), mask.len() as u64), Ok(runs));
        }

        #[test]
        fn set_operations_equal_those_on_pixels(a in mask(), b in mask()) {
            let (ra, rb) = (runs_of(&a), runs_of(&b));
            let at = |mask: &[bool], k: usize| mask.get(k).copied().unwrap_or(false);
            let both = (0..80).filter(|&k| at(&a, k) && at(&b, k)).count() as u64;
            let either: Vec<bool> = (0..80).map(|k| at(&a, k) || at(&b, k)).collect();
            prop_assert_eq!(area(&ra), a.iter().filter(|&&set| set).count() as u64);
            prop_assert_eq!(intersection_area(&ra, &rb), both);
            prop_assert_eq!(union(&ra, &rb), runs_of(&either));
        }

        #[test]
        fn any_text_decodes_or_is_refused(text in "[ 0-9+_a-]{0,40}", pixels in 0_u64..200) {
            if let Ok(runs) = decode(&text, pixels) {
                prop_assert!(runs.iter().all(|run| run.start < run.end && run.end <= pixels));
                prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
