//! Columns of text turned into numbers: plain numbers, dates, parts of structured codes,
//! categories.

use std::collections::HashMap;

use super::learn::Shared;
use super::rng::{self, Rng};
use super::table::Column;
use super::task::number;

/// A named column of numbers for the training and the test rows; NaN is missing.
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) train: Vec<f32>,
    pub(super) test: Vec<f32>,
}

/// What a column of text holds.
pub(super) enum Kind {
    Constant,
    Number,
    /// Days since 1970 with the time of day as a fraction.
    Moment,
    Category,
    Text,
}

pub(super) fn kind(train: &Column, test: &Column) -> Kind {
    let (mut filled, mut numbers, mut moments, mut words) = (0usize, 0usize, 0usize, 0usize);
    let mut first: Option<&str> = None;
    let mut constant = true;
    for cell in train.iter().chain(test.iter()).filter(|cell| !cell.is_empty()) {
        filled += 1;
        constant &= *first.get_or_insert(cell) == cell;
        numbers += usize::from(number(cell).is_some());
        moments += usize::from(moment(cell).is_some());
        words += cell.split_whitespace().count();
    }
    match filled {
        _ if constant => Kind::Constant,
        _ if numbers == filled => Kind::Number,
        _ if moments == filled => Kind::Moment,
        _ if words >= 4 * filled => Kind::Text,
        _ => Kind::Category,
    }
}

/// Reads `2011-11-01`, optionally followed by a blank or `T` and a time of day.
pub(super) fn moment(cell: &str) -> Option<f64> {
    let date = cell.get(..10)?;
    let bytes = date.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let part =
        |range: std::ops::Range<usize>| date.get(range).and_then(|text| text.parse::<i64>().ok());
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the civil calendar, counted in years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100)
        + shifted.div_euclid(400)
        + of_year
        - 719_468;
    let mut clock = 0.0;
    if let Some(time) = cell.get(11..) {
        for (value, unit) in time.trim_end_matches('Z').split(':').zip([24.0, 1440.0, 86_400.0]) {
            clock += value.parse::<f64>().ok()? / unit;
        }
    }
    Some(days as f64 + clock)
}

/// Month (0..12) and day of the month (1..=31) of a count of days since 1970.
pub(super) fn month_and_day(days: i64) -> (i64, i64) {
    let shifted = days + 719_468;
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    ((month + 2) % 12, of_year - (153 * month + 2) / 5 + 1)
}

pub(super) fn numbers(column: &Column) -> Vec<f32> {
    column.iter().map(|cell| number(cell).map_or(f32::NAN, |v| v as f32)).collect()
}

/// Builds the features of a mixed table. `guide` is one number per training row that categories are
/// averaged over.
pub(super) fn build(columns: &[Shared], guide: &[Vec<f32>], seed: u64) -> Vec<Feature> {
    let mut out = Vec::new();
    for Shared { name, train, test } in columns {
        match kind(train, test) {
            Kind::Constant => {}
            Kind::Number => {
                out.push(Feature { name: name.clone(), train: numbers(train), test: numbers(test) })
            }
            Kind::Moment => moments(name, train, test, &mut out),
            Kind::Category | Kind::Text => {
                categories(name, train, test, guide, seed, &mut out);
                for (part, a, b) in parts(name, train, test) {
                    match kind(&a, &b) {
                        Kind::Number => {
                            counts(&part, &a, &b, &mut out);
                            out.push(Feature { name: part, train: numbers(&a), test: numbers(&b) });
                        }
                        Kind::Category => categories(&part, &a, &b, guide, seed, &mut out),
                        _ => {}
                    }
                }
            }
        }
    }
    totals(&mut out);
    out
}

/// A number taken from a moment.
type Field = fn(f64) -> f32;

fn moments(name: &str, train: &Column, test: &Column, out: &mut Vec<Feature>) {
    let fields: [(&str, Field); 5] = [
        ("day", |t| t.floor() as f32),
        ("weekday", |t| (t.floor() as i64 + 3).rem_euclid(7) as f32),
        ("hour", |t| (t.fract() * 24.0 + 1e-6) as f32),
        ("month", |t| month_and_day(t.floor() as i64).0 as f32),
        ("day of month", |t| month_and_day(t.floor() as i64).1 as f32),
    ];
    for (field, of) in fields {
        let read =
            |column: &Column| column.iter().map(|cell| moment(cell).map_or(f32::NAN, of)).collect();
        out.push(Feature { name: format!("{name} {field}"), train: read(train), test: read(test) });
    }
}

/// Splits codes such as `B/0/P` or `0001_02` into their parts, when nearly all cells have equally
/// many.
fn parts(name: &str, train: &Column, test: &Column) -> Vec<(String, Column, Column)> {
    for separator in ['/', '_', ':', '-', ' '] {
        let sizes = |column: &Column, size: usize| {
            let filled = column.iter().filter(|cell| !cell.is_empty()).count();
            let fit = column
                .iter()
                .filter(|cell| !cell.is_empty() && cell.split(separator).count() == size)
                .count();
            filled > 0 && fit * 100 >= filled * 97
        };
        for size in 2..=4 {
            if sizes(train, size) && sizes(test, size) {
                let pick = |column: &Column, index: usize| {
                    let mut part = Column::default();
                    for cell in column.iter() {
                        let pieces: Vec<&str> = cell.split(separator).collect();
                        part.push(if pieces.len() == size { pieces[index] } else { "" });
                    }
                    part
                };
                return (0..size)
                    .map(|index| {
                        (format!("{name}[{index}]"), pick(train, index), pick(test, index))
                    })
                    .collect();
            }
        }
    }
    Vec::new()
}

/// How often the value of the cell occurs in both tables.
fn counts(name: &str, train: &Column, test: &Column, out: &mut Vec<Feature>) {
    let mut seen: HashMap<&str, f32> = HashMap::new();
    for cell in train.iter().chain(test.iter()) {
        *seen.entry(cell).or_default() += 1.0;
    }
    let read = |column: &Column| {
        column.iter().map(|cell| if cell.is_empty() { f32::NAN } else { seen[cell] }).collect()
    };
    out.push(Feature { name: format!("count of {name}"), train: read(train), test: read(test) });
}

/// A category becomes its frequency and, per output, the mean of the guide over the other folds,
/// drawn towards the overall mean.
fn categories(
    name: &str,
    train: &Column,
    test: &Column,
    guide: &[Vec<f32>],
    seed: u64,
    out: &mut Vec<Feature>,
) {
    const FOLDS: usize = 5;
    const PULL: f64 = 10.0;
    counts(name, train, test, out);
    let mut levels: HashMap<&str, usize> = HashMap::new();
    for cell in train.iter() {
        let next = levels.len();
        levels.entry(cell).or_insert(next);
    }
    if levels.len() * 2 > train.len() {
        return;
    }
    let fold = rng::folds(train.len(), FOLDS, &mut Rng::new(seed ^ 0xF01D));
    let outputs = guide[0].len();
    for k in 0..if outputs <= 2 { 1 } else { outputs.min(6) } {
        // Two classes need the second's chance only.
        let k = if outputs == 2 { 1 } else { k };
        let mut sums = vec![[(0f64, 0f64); FOLDS]; levels.len()];
        let mut whole = (0f64, 0f64);
        for (row, cell) in train.iter().enumerate() {
            let value = f64::from(guide[row][k]);
            let slot = &mut sums[levels[cell]][fold[row]];
            *slot = (slot.0 + value, slot.1 + 1.0);
            whole = (whole.0 + value, whole.1 + 1.0);
        }
        let mean = whole.0 / whole.1;
        let value = |level: usize, without: Option<usize>| {
            let (sum, count) = (0..FOLDS)
                .filter(|f| Some(*f) != without)
                .fold((0.0, 0.0), |acc, f| (acc.0 + sums[level][f].0, acc.1 + sums[level][f].1));
            ((sum + PULL * mean) / (count + PULL)) as f32
        };
        let on_train = train
            .iter()
            .enumerate()
            .map(|(row, cell)| value(levels[cell], Some(fold[row])))
            .collect();
        let on_test = test
            .iter()
            .map(|cell| levels.get(cell).map_or(mean as f32, |&level| value(level, None)))
            .collect();
        out.push(Feature { name: format!("target by {name}"), train: on_train, test: on_test });
    }
}

/// Skewed amounts that are zero for many rows (money, counts) get a sum and a number of zeros, if
/// there are three or more.
fn totals(features: &mut Vec<Feature>) {
    let is_amount = |feature: &&Feature| {
        let zeros = feature.train.iter().filter(|v| **v == 0.0).count();
        let large = feature.train.iter().filter(|v| **v > 20.0).count();
        zeros * 10 > feature.train.len() * 3
            && large * 20 > feature.train.len()
            && feature.train.iter().all(|v| v.is_nan() || *v >= 0.0)
    };
    let amounts: Vec<&Feature> = features.iter().filter(is_amount).collect();
    if amounts.len() < 3 {
        return;
    }
    let fold =
        |rows: usize, of: &dyn Fn(&Feature) -> &Vec<f32>, term: fn(f32) -> f32| -> Vec<f32> {
            (0..rows)
                .map(|row| {
                    amounts
                        .iter()
                        .map(|feature| of(feature)[row])
                        .filter(|v| !v.is_nan())
                        .map(term)
                        .sum()
                })
                .collect()
        };
    let (n, m) = (amounts[0].train.len(), amounts[0].test.len());
    let mut made = Vec::new();
    for (name, term) in [
        ("sum of amounts", (|v| v) as fn(f32) -> f32),
        ("amounts of zero", |v| f32::from(u8::from(v == 0.0))),
    ] {
        made.push(Feature {
            name: name.to_owned(),
            train: fold(n, &|f| &f.train, term),
            test: fold(m, &|f| &f.test, term),
        });
    }
    features.extend(made);
}
