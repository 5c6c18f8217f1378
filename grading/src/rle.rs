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
    NotPositive { token: usize, value: i128 },
    /// A start is below the one before it.
    #[error(
        "start {start} (token {token}) is below the start before it, expected ascending starts"
    )]
    Unsorted {
        token: usize,
        /// The start found there.
        start: i128,
    },
    /// A run covers a pixel of an earlier run.
    #[error("the run that starts at {start} (token {token}) overlaps the run before it")]
    Overlap {
        token: usize,
        /// The start found there.
        start: i128,
    },
    /// A number in [2^63, 2^64), which the reference turns into a float and then cannot index with.
    #[error("token {token} is {value}, too large")]
    TooLarge { token: usize, value: i128 },
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
    let mut count = 0;
    walk(text, pixels, |_| count += 1)?;
    // Counted first: runs are larger than their text, and a list that grows may be twice as large.
    let mut runs = Vec::with_capacity(count);
    walk(text, pixels, |run| runs.push(run))?;
    Ok(runs)
}

/// Hands out the runs of a mask as [`decode`] gives them. Where an error comes back, those handed
/// out before it are void.
fn walk(text: &str, pixels: u64, mut visit: impl FnMut(Run)) -> Result<(), RleError> {
    let mut faults = Faults::default();
    let mut pending: Option<Run> = None;
    let mut words = split_words(text).enumerate();
    let mut lone_length = None;
    while let Some((index, word)) = words.next() {
        let start = number(index, word)?;
        let length = match words.next() {
            Some((index, word)) => number(index, word)?,
            // A lone start without a length gives no run; after one run it takes that one's length,
            // as numpy broadcasts it.
            None if index == 0 => {
                check_above_zero(index, start)?;
                break;
            }
            None => match lone_length.filter(|_| index == 2) {
                Some(length) => length,
                None => {
                    faults.start(index, start);
                    faults.unpaired.get_or_insert(RleError::Unpaired { count: index + 1 });
                    break;
                }
            },
        };
        lone_length = Some(length);
        faults.start(index, start);
        faults.length(index + 1, length);
        let Some(run) = clipped(start, length, pixels) else { continue };
        match &mut pending {
            Some(last) if run.start < last.end => {
                faults.overlap.get_or_insert(RleError::Overlap { token: index + 1, start });
            }
            Some(last) if run.start == last.end => last.end = run.end,
            last => {
                if let Some(run) = last.replace(run) {
                    visit(run);
                }
            }
        }
    }
    faults.first()?;
    pending.into_iter().for_each(visit);
    Ok(())
}

/// The number of a word.
fn number(index: usize, word: &str) -> Result<i128, RleError> {
    parse_small(word).or_else(|| parse_int(word)).ok_or_else(|| RleError::NotAnInteger {
        token: index + 1,
        text: word.chars().take(32).collect(),
    })
}

/// The run within the image; none if it starts past the end.
fn clipped(start: i128, length: i128, pixels: u64) -> Option<Run> {
    let wide = start > i128::from(u64::MAX) || length > i128::from(u64::MAX);
    let first = start - 1;
    let end = first.saturating_add(length);
    // The sum of two 64-bit numbers wraps to below zero, which leaves the slice empty.
    if first < 0
        || length < 1
        || first >= i128::from(pixels)
        || (!wide && end > i128::from(i64::MAX))
    {
        return None;
    }
    Some(Run { start: first as u64, end: end.min(i128::from(pixels)) as u64 })
}

/// The first fault of each kind. The reference looks for one kind after the other, each over the
/// whole mask.
#[derive(Default)]
struct Faults {
    before: Option<i128>,
    unsorted: Option<RleError>,
    start: Option<RleError>,
    length: Option<RleError>,
    unpaired: Option<RleError>,
    large_start: Option<RleError>,
    large_length: Option<RleError>,
    overlap: Option<RleError>,
}

impl Faults {
    fn start(&mut self, index: usize, start: i128) {
        let token = index + 1;
        if self.before.replace(start).is_some_and(|before| start < before) {
            self.unsorted.get_or_insert(RleError::Unsorted { token, start });
        }
        if let Err(fault) = check_above_zero(index, start) {
            self.start.get_or_insert(fault);
        }
        if is_unsigned_only(start) {
            self.large_start.get_or_insert(RleError::TooLarge { token, value: start });
        }
    }

    fn length(&mut self, index: usize, length: i128) {
        if let Err(fault) = check_above_zero(index, length) {
            self.length.get_or_insert(fault);
        }
        if is_unsigned_only(length) {
            self.large_length.get_or_insert(RleError::TooLarge { token: index + 1, value: length });
        }
    }

    fn first(self) -> Result<(), RleError> {
        let mask = [self.unsorted, self.start, self.length, self.unpaired];
        let runs = [self.large_start, self.large_length, self.overlap];
        mask.into_iter().chain(runs).flatten().next().map_or(Ok(()), Err)
    }
}

fn check_above_zero(index: usize, value: i128) -> Result<(), RleError> {
    if value >= 1 { Ok(()) } else { Err(RleError::NotPositive { token: index + 1, value }) }
}

/// Whether a number only fits an unsigned 64-bit integer.
fn is_unsigned_only(value: i128) -> bool {
    i64::try_from(value).is_err() && u64::try_from(value).is_ok()
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
