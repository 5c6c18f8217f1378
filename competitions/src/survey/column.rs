//! What one pass over a column's cells tells: types, missing cells, distinct values, order.
//!
//! Memory is bounded whatever the column holds: the counts of up to [`CLASSES`] values, and the
//! [`SKETCH`] smallest hashes of all distinct ones, from which their number and the overlap of two
//! columns are estimated.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Distinct values that are counted exactly.
pub const CLASSES: usize = 2000;
/// Hashes that are kept of a column.
const SKETCH: usize = 1024;
/// Bytes of a value that are kept.
const VALUE_BYTES: usize = 200;

/// What is known of a column.
#[derive(Clone, Debug)]
pub struct ColumnFacts {
    /// Its name in the header.
    pub name: String,
    /// Rows seen.
    pub rows: u64,
    /// Cells that are empty or a word for a missing value.
    pub missing: u64,
    /// Cells that are whole numbers.
    pub ints: u64,
    /// Cells that are numbers with a point or an exponent.
    pub floats: u64,
    /// Cells that are `true` or `false`, in any case.
    pub bools: u64,
    /// Smallest and largest number.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Numbers with a point whose value is whole all the same.
    pub whole_floats: u64,
    /// Bytes of all texts together.
    pub text_bytes: u64,
    /// Texts with a blank in them.
    pub spaced: u64,
    /// Texts that begin like a date.
    pub dates: u64,
    /// Texts that are whole numbers separated by blanks: run lengths, or lists of labels.
    pub number_lists: u64,
    /// Texts most of whose words are numbers: boxes, coordinates.
    pub measures: u64,
    /// Whether each cell is above the one before, as a number or else as text.
    pub ascending: bool,
    /// Each distinct value with its number of rows, by the value's hash, if there are at most
    /// [`CLASSES`].
    classes: Option<HashMap<u64, (Box<str>, u64), BuildHasherDefault<Hashed>>>,
    /// The first cells as they are written.
    pub first: Vec<String>,
    /// Smallest and largest text, for times.
    pub text_range: Option<(String, String)>,
    /// The smallest hashes of distinct values.
    sketch: BTreeSet<u64>,
    /// Hashes from here on are not among the smallest.
    bound: u64,
    last_number: Option<f64>,
    last_text: Option<Box<str>>,
}

/// What a column's cells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Nothing but missing cells.
    Empty,
    /// `true` and `false`.
    Bool,
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Dates or times.
    Date,
    /// Anything else.
    Text,
}

impl ColumnFacts {
    /// A column of which nothing was seen yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rows: 0,
            missing: 0,
            ints: 0,
            floats: 0,
            bools: 0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            whole_floats: 0,
            text_bytes: 0,
            spaced: 0,
            dates: 0,
            number_lists: 0,
            measures: 0,
            ascending: true,
            classes: Some(HashMap::default()),
            first: Vec::new(),
            text_range: None,
            sketch: BTreeSet::new(),
            bound: u64::MAX,
            last_number: None,
            last_text: None,
        }
    }

    /// Takes the next cell.
    pub fn add(&mut self, cell: &[u8]) {
        const FIRST: usize = 200;
        self.rows += 1;
        if self.first.len() < FIRST {
            self.first.push(shortened(cell));
        }
        if is_missing(cell) {
            self.missing += 1;
            return;
        }
        match parse_number(cell) {
            Some((value, is_int)) => self.add_number(value, is_int),
            None => self.add_text(cell),
        }
        let hash = hash_of(cell);
        self.remember(hash);
        if let Some(classes) = &mut self.classes {
            let has_room = classes.len() < CLASSES && cell.len() <= VALUE_BYTES;
            match classes.get_mut(&hash) {
                Some((_, count)) => *count += 1,
                None if has_room => {
                    classes.insert(hash, (String::from_utf8_lossy(cell).into(), 1));
                }
                None => self.classes = None,
            }
        }
    }

    fn add_number(&mut self, value: f64, is_int: bool) {
        if is_int {
            self.ints += 1;
        } else {
            self.floats += 1;
            self.whole_floats += u64::from(value.fract() == 0.0);
        }
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        if self.ascending {
            self.ascending = self.last_number.is_none_or(|last| last < value);
            self.last_number = Some(value);
        }
    }

    fn add_text(&mut self, cell: &[u8]) {
        self.text_bytes += cell.len() as u64;
        if cell.eq_ignore_ascii_case(b"true") || cell.eq_ignore_ascii_case(b"false") {
            self.bools += 1;
        } else {
            let is_spaced = memchr::memchr(b' ', cell).is_some();
            self.spaced += u64::from(is_spaced);
            self.measures += u64::from(is_spaced && is_mostly_numbers(cell));
            self.number_lists += u64::from(is_number_list(cell));
            if is_date(cell) {
                self.dates += 1;
                self.widen_range(cell);
            }
        }
        if self.ascending {
            let text = String::from_utf8_lossy(&cell[..cell.len().min(VALUE_BYTES)]);
            self.ascending = self.last_text.as_deref().is_none_or(|last| last < text.as_ref());
            self.last_text = Some(text.into_owned().into_boxed_str());
        }
    }

    fn widen_range(&mut self, cell: &[u8]) {
        let text = String::from_utf8_lossy(&cell[..cell.len().min(VALUE_BYTES)]);
        match &mut self.text_range {
            None => self.text_range = Some((text.clone().into_owned(), text.into_owned())),
            Some((low, high)) => {
                if *text < **low {
                    *low = text.into_owned();
                } else if *text > **high {
                    *high = text.into_owned();
                }
            }
        }
    }

    fn remember(&mut self, hash: u64) {
        if hash >= self.bound || !self.sketch.insert(hash) {
            return;
        }
        if self.sketch.len() > SKETCH {
            self.sketch.pop_last();
        }
        if self.sketch.len() == SKETCH {
            self.bound = self.sketch.last().copied().unwrap_or(u64::MAX);
        }
    }

    /// Takes a name of a file as if it were a cell: for the names that a folder holds.
    pub fn add_name(&mut self, name: &str) {
        self.add(name.as_bytes());
    }

    /// Cells that are not missing.
    pub fn present(&self) -> u64 {
        self.rows - self.missing
    }

    /// About how many distinct values there are; exact where `is_counted`.
    pub fn distinct(&self) -> u64 {
        if let Some(classes) = &self.classes {
            return classes.len() as u64;
        }
        match self.sketch.last() {
            Some(last) if self.sketch.len() == SKETCH => {
                ((SKETCH - 1) as f64 / (*last as f64 / u64::MAX as f64)) as u64
            }
            _ => self.sketch.len() as u64,
        }
    }

    /// Whether every cell is there and differs from all others, as far as can be told.
    pub fn is_unique(&self) -> bool {
        if self.rows == 0 || self.missing > 0 {
            return false;
        }
        let exact = self.classes.is_some() || self.sketch.len() < SKETCH;
        let is_ordered =
            self.ascending && (self.ints + self.floats == self.rows || self.last_number.is_none());
        match exact {
            true => self.distinct() == self.rows,
            // An estimate from k hashes is off by 1 / sqrt(k), a thirtieth.
            false => is_ordered || self.distinct() as f64 > 0.87 * self.rows as f64,
        }
    }

    /// What most cells are: a few of another kind do not count against numbers only if all are
    /// numbers.
    pub fn kind(&self) -> CellKind {
        let present = self.present();
        if present == 0 {
            CellKind::Empty
        } else if self.bools == present {
            CellKind::Bool
        } else if self.ints == present {
            CellKind::Int
        } else if self.ints + self.floats == present {
            // Whole numbers beside missing cells are written with a point by some programs.
            if self.missing > 0 && self.whole_floats == self.floats {
                CellKind::Int
            } else {
                CellKind::Float
            }
        } else if self.dates == present {
            CellKind::Date
        } else {
            CellKind::Text
        }
    }

    /// Mean bytes of a text.
    pub fn mean_length(&self) -> f64 {
        let texts = self.present() - self.ints - self.floats;
        if texts == 0 { 0.0 } else { self.text_bytes as f64 / texts as f64 }
    }

    /// Whether the cells are sentences and no labels.
    pub fn is_prose(&self) -> bool {
        let present = self.present();
        self.kind() == CellKind::Text
            && self.distinct() * 3 > present
            && self.spaced * 2 > present
            && self.measures * 2 < present
            && self.mean_length() > 20.0
    }

    /// Whether all numbers are 0 or 1, or all cells are true or false.
    pub fn is_binary(&self) -> bool {
        match self.kind() {
            CellKind::Bool => true,
            CellKind::Int => self.low == 0.0 && self.high == 1.0,
            CellKind::Float => {
                self.low == 0.0 && self.high == 1.0 && self.whole_floats == self.floats
            }
            _ => false,
        }
    }

    /// Whether the column repeats a few values.
    pub fn is_categorical(&self) -> bool {
        let (distinct, present) = (self.distinct(), self.present());
        distinct >= 2
            && present > 0
            && distinct <= 1000
            && (distinct <= 30 || distinct * 4 <= present)
    }

    /// Whether one value fills the column.
    pub fn is_constant(&self) -> bool {
        self.distinct() <= 1
    }

    /// About the share of this column's distinct values that the other has.
    pub fn share_in(&self, other: &Self) -> f64 {
        // Only hashes below the bound of both sketches are known of both.
        let bound = |sketch: &BTreeSet<u64>| match sketch.last() {
            Some(last) if sketch.len() == SKETCH => *last,
            _ => u64::MAX,
        };
        let limit = bound(&self.sketch).min(bound(&other.sketch));
        let known = self.sketch.range(..=limit);
        let (mut count, mut shared) = (0_u64, 0_u64);
        for hash in known {
            count += 1;
            shared += u64::from(other.sketch.contains(hash));
        }
        if count == 0 { 0.0 } else { shared as f64 / count as f64 }
    }

    /// The exact values in the order of their text, if they are few.
    pub fn values(&self) -> Option<Vec<(&str, u64)>> {
        let classes = self.classes.as_ref()?;
        let mut values: Vec<(&str, u64)> =
            classes.values().map(|(value, count)| (&**value, *count)).collect();
        values.sort_unstable();
        Some(values)
    }
}

fn shortened(cell: &[u8]) -> String {
    String::from_utf8_lossy(&cell[..cell.len().min(VALUE_BYTES)]).into_owned()
}

/// The words for a missing value that pandas knows, of which these are met.
fn is_missing(cell: &[u8]) -> bool {
    match cell.len() {
        0 => true,
        2..=5 => matches!(
            cell,
            b"NA"
                | b"NaN"
                | b"nan"
                | b"N/A"
                | b"n/a"
                | b"NULL"
                | b"null"
                | b"None"
                | b"#N/A"
                | b"<NA>"
        ),
        _ => cell.iter().all(u8::is_ascii_whitespace),
    }
}

/// A number, and whether it is written without point and exponent. Words such as `inf` are texts.
fn parse_number(cell: &[u8]) -> Option<(f64, bool)> {
    let (sign, digits) = match cell {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        rest => (1.0, rest),
    };
    let first = *digits.first()?;
    if !first.is_ascii_digit() && first != b'.' || digits.len() > 40 {
        return None;
    }
    let (mut value, mut scale, mut point, mut seen) = (0_u64, 0_i32, false, 0_u32);
    for (index, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if seen < 18 => {
                value = value * 10 + u64::from(byte - b'0');
                seen += u32::from(value > 0);
                scale -= i32::from(point);
            }
            b'.' if !point => point = true,
            b'0'..=b'9' | b'e' | b'E' => {
                // Long or with an exponent: rare enough for the library's reader.
                let text = std::str::from_utf8(cell).ok()?;
                let parsed: f64 = text.parse().ok()?;
                let is_int = !point && digits[index..].iter().all(u8::is_ascii_digit);
                return parsed.is_finite().then_some((parsed, is_int));
            }
            _ => return None,
        }
    }
    if digits == b"." {
        return None;
    }
    // Powers of ten up to here are exact.
    const POWERS: [f64; 19] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18,
    ];
    let power = POWERS.get(scale.unsigned_abs() as usize).copied().unwrap_or(f64::INFINITY);
    Some((sign * (value as f64 / power), !point))
}

/// Whether most of the first words are numbers.
fn is_mostly_numbers(cell: &[u8]) -> bool {
    const WORDS: usize = 24;
    let words = cell.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(WORDS);
    let (mut numbers, mut all) = (0, 0);
    for word in words {
        all += 1;
        numbers += usize::from(parse_number(word).is_some());
    }
    numbers * 2 > all
}

fn is_number_list(cell: &[u8]) -> bool {
    memchr::memchr(b' ', cell).is_some()
        && cell.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ')
}

/// `2012-06-18`, `20120618192155Z`, `1/31/2014`, with a time behind or not.
fn is_date(cell: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        cell.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let at = |index: usize, signs: &[u8]| cell.get(index).is_some_and(|byte| signs.contains(byte));
    let iso = digits(0..4) && at(4, b"-/") && digits(5..7) && at(7, b"-/") && digits(8..10);
    let packed = cell.len() == 15 && digits(0..14) && at(14, b"Z");
    let slashed = cell.len() <= 20 && {
        let mut parts = cell.split(|byte| *byte == b'/');
        let mut short = || {
            parts.next().is_some_and(|part| {
                matches!(part.len(), 1 | 2) && part.iter().all(u8::is_ascii_digit)
            })
        };
        let two = short() && short();
        two && parts
            .next()
            .is_some_and(|part| part.len() >= 4 && part[..4].iter().all(u8::is_ascii_digit))
    };
    iso || packed || slashed
}

/// Hashes nothing: the keys are hashes.
#[derive(Clone, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash_of(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash whose values are spread evenly.
fn hash_of(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = bytes.len() as u64 ^ 0x51_7c_c1_b7_27_22_0a_95;
    let mut mix = |word: u64| {
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(cells: &[&str]) -> ColumnFacts {
        let mut facts = ColumnFacts::new("x");
        cells.iter().for_each(|cell| facts.add(cell.as_bytes()));
        facts
    }

    #[test]
    fn kinds_are_told_from_all_cells() {
        for (cells, kind) in [
            (&["1", "-2", "0012"][..], CellKind::Int),
            (&["1", "", "2.0"], CellKind::Int),
            (&["1", "2.5", "1e-3"], CellKind::Float),
            (&["True", "false"], CellKind::Bool),
            (&["2012-06-18", "2012-06-19 10:00"], CellKind::Date),
            (&["1/31/2014", "12/1/2014 10:00"], CellKind::Date),
            (&["1", "two"], CellKind::Text),
            (&["", "NA"], CellKind::Empty),
            (&["."], CellKind::Text),
        ] {
            assert_eq!(column(cells).kind(), kind, "{cells:?}");
        }
    }

    #[test]
    fn uniqueness_and_order_are_seen() {
        let ids: Vec<String> = (0..5000).map(|k| format!("{k:05x}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert!(column(&ids).is_unique());
        let ordered: Vec<String> = (0..5000).map(|k| format!("id_{k:05}")).collect();
        let ordered: Vec<&str> = ordered.iter().map(String::as_str).collect();
        assert!(column(&ordered).is_unique() && column(&ordered).ascending);
        let twice: Vec<&str> = ids.iter().chain(&ids).copied().collect();
        assert!(!column(&twice).is_unique());
        let distinct = column(&twice).distinct() as f64;
        assert!((distinct - 5000.0).abs() < 800.0, "{distinct}");
        assert!(column(&["b", "a"]).is_unique() && !column(&["b", "a"]).ascending);
        assert!(!column(&["a", ""]).is_unique());
    }

    #[test]
    fn overlap_is_estimated() {
        let names = |range: std::ops::Range<u32>| -> ColumnFacts {
            let mut facts = ColumnFacts::new("x");
            range.for_each(|k| facts.add(format!("id_{k}").as_bytes()));
            facts
        };
        let (a, b, c) = (names(0..10_000), names(5_000..15_000), names(20_000..20_100));
        assert!((a.share_in(&b) - 0.5).abs() < 0.1, "{}", a.share_in(&b));
        assert_eq!(c.share_in(&a), 0.0);
        assert_eq!(names(20_000..20_050).share_in(&c), 1.0);
    }

    #[test]
    fn prose_differs_from_labels() {
        let prose: Vec<String> =
            (0..40).map(|k| format!("this is sentence number {k} of a long text")).collect();
        assert!(column(&prose.iter().map(String::as_str).collect::<Vec<_>>()).is_prose());
        let labels: Vec<&str> = (0..40).map(|k| ["a cat", "a dog"][k % 2]).collect();
        assert!(!column(&labels).is_prose() && column(&labels).is_categorical());
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_the_library_reads_them(value in -1e12_f64..1e12) {
            let text = format!("{value:.6}");
            let (read, is_int) = parse_number(text.as_bytes()).unwrap();
            let expected: f64 = text.parse().unwrap();
            prop_assert!((read - expected).abs() <= expected.abs() * 1e-15);
            prop_assert!(!is_int);
        }

        #[test]
        fn whole_numbers_too(value in any::<i64>()) {
            let (read, is_int) = parse_number(value.to_string().as_bytes()).unwrap();
            prop_assert!(is_int && read == value as f64);
        }
    }
}
