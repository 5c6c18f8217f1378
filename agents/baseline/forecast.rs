//! Forecasts: several simple forecasters are tried on the end of the training span, the best
//! mixture is kept.

use std::collections::BTreeMap;
use std::time::Instant;

use super::features::{self, Feature, Kind};
use super::learn::{Lesson, Loss, Shared};
use super::linear;
use super::rng::{self, Rng};
use super::table::Column;
use super::trees;

/// The moments of a table whose test rows all come after its training rows.
pub(super) struct Span {
    pub(super) column: String,
    pub(super) train: Vec<f64>,
    pub(super) test: Vec<f64>,
}

/// Looks for a column of moments in which the test begins where the training ends.
pub(super) fn span(columns: &[Shared]) -> Option<Span> {
    for Shared { name, train, test } in columns {
        if !matches!(features::kind(train, test), Kind::Moment) {
            continue;
        }
        let read =
            |column: &Column| column.iter().map(features::moment).collect::<Option<Vec<f64>>>();
        let (Some(a), Some(b)) = (read(train), read(test)) else { continue };
        let last = a.iter().copied().fold(f64::MIN, f64::max);
        if b.iter().all(|&t| t > last) {
            return Some(Span { column: name.clone(), train: a, test: b });
        }
    }
    None
}

/// The tables as the forecasters see them: rows are numbered, training first.
struct Rows<'a> {
    moments: Vec<f64>,
    numbers: Vec<&'a Feature>,
    categories: Vec<Vec<usize>>,
    levels: Vec<usize>,
    split: usize,
}

impl Rows<'_> {
    fn number(&self, feature: usize, row: usize) -> f32 {
        let feature = self.numbers[feature];
        if row < self.split { feature.train[row] } else { feature.test[row - self.split] }
    }
}

/// Guesses for the test rows, on the scale of `target`, with what was found on the way.
pub(super) fn forecast(
    span: &Span,
    columns: &[Shared],
    target: &[f64],
    seed: u64,
    deadline: Instant,
    log: &mut dyn FnMut(String),
) -> Vec<f64> {
    let plain: Vec<Feature> = columns
        .iter()
        .filter(|column| matches!(features::kind(column.train, column.test), Kind::Number))
        .map(|column| Feature {
            name: column.name.clone(),
            train: features::numbers(column.train),
            test: features::numbers(column.test),
        })
        .collect();
    let mut categories = Vec::new();
    let mut levels = Vec::new();
    for column in columns
        .iter()
        .filter(|column| matches!(features::kind(column.train, column.test), Kind::Category))
    {
        let (a, b) = (column.train, column.test);
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        let coded: Vec<usize> = a
            .iter()
            .chain(b.iter())
            .map(|cell| {
                let next = codes.len();
                *codes.entry(cell).or_insert(next)
            })
            .collect();
        if codes.len() <= 100 {
            levels.push(codes.len());
            categories.push(coded);
        }
    }
    let rows = Rows {
        moments: span.train.iter().chain(&span.test).copied().collect(),
        numbers: plain.iter().collect(),
        categories,
        levels,
        split: span.train.len(),
    };
    let last = span.train.iter().copied().fold(f64::MIN, f64::max);
    let first = span.train.iter().copied().fold(f64::MAX, f64::min);
    let ahead = span.test.iter().copied().fold(f64::MIN, f64::max) - last;
    // The rehearsal forecasts the last stretch of the training span, as long as the real one but a
    // quarter of it at most.
    let border = last - ahead.min((last - first) / 4.0);
    let past: Vec<usize> = (0..rows.split).filter(|&row| span.train[row] <= border).collect();
    let held: Vec<usize> = (0..rows.split).filter(|&row| span.train[row] > border).collect();
    let test: Vec<usize> = (rows.split..rows.moments.len()).collect();
    let all: Vec<usize> = (0..rows.split).collect();
    let truth: Vec<f64> = held.iter().map(|&row| target[row]).collect();

    let ridge = |alpha: f64, half_life: f64| {
        move |rows: &Rows, known: &[usize], asked: &[usize], target: &[f64]| {
            ridge(rows, known, asked, target, alpha, half_life)
        }
    };
    let forest = |half_life: f64| {
        move |rows: &Rows, known: &[usize], asked: &[usize], target: &[f64]| {
            boosted(rows, known, asked, target, half_life, seed, deadline)
        }
    };
    type Forecaster<'a> = Box<dyn Fn(&Rows, &[usize], &[usize], &[f64]) -> Vec<f64> + 'a>;
    let candidates: Vec<(&str, Forecaster)> = vec![
        ("profile of the last weeks", Box::new(profile)),
        ("ridge over the calendar", Box::new(ridge(3.0, 1e9))),
        ("ridge over the calendar, recent weeks first", Box::new(ridge(3.0, 45.0))),
        ("boosted trees", Box::new(forest(1e9))),
        ("boosted trees, recent weeks first", Box::new(forest(60.0))),
    ];
    let mut scored: Vec<(f64, usize, Vec<f64>)> = Vec::new();
    for (index, (name, forecaster)) in candidates.iter().enumerate() {
        let guess = forecaster(&rows, &past, &held, target);
        let error = rmse(&guess, &truth);
        log(format!("rehearsal on {} rows: {name}: error {error:.4}", held.len()));
        scored.push((error, index, guess));
    }
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (best, second) = (&scored[0], &scored[1]);
    let mixed: Vec<f64> = best.2.iter().zip(&second.2).map(|(a, b)| (a + b) / 2.0).collect();
    let chosen = if rmse(&mixed, &truth) < best.0 { vec![best.1, second.1] } else { vec![best.1] };
    log(format!(
        "kept: {}",
        chosen.iter().map(|&index| candidates[index].0).collect::<Vec<_>>().join(" and ")
    ));
    let guesses: Vec<Vec<f64>> =
        chosen.iter().map(|&index| candidates[index].1(&rows, &all, &test, target)).collect();
    (0..test.len())
        .map(|row| guesses.iter().map(|guess| guess[row]).sum::<f64>() / guesses.len() as f64)
        .collect()
}

fn rmse(guess: &[f64], truth: &[f64]) -> f64 {
    (guess.iter().zip(truth).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / truth.len().max(1) as f64)
        .sqrt()
}

fn hour(moment: f64) -> usize {
    ((moment.fract() * 24.0 + 1e-6) as usize).min(23)
}

fn weekday(moment: f64) -> usize {
    (moment.floor() as i64 + 3).rem_euclid(7) as usize
}

/// The mean of the last four weeks for the hour and the kind of day.
fn profile(rows: &Rows, known: &[usize], asked: &[usize], target: &[f64]) -> Vec<f64> {
    let last = known.iter().map(|&row| rows.moments[row]).fold(f64::MIN, f64::max);
    let mut cells = vec![(0f64, 0f64); 48];
    let mut whole = (0f64, 0f64);
    let cell =
        |row: usize| hour(rows.moments[row]) * 2 + usize::from(weekday(rows.moments[row]) >= 5);
    for &row in known.iter().filter(|&&row| rows.moments[row] > last - 28.0) {
        let slot = &mut cells[cell(row)];
        *slot = (slot.0 + target[row], slot.1 + 1.0);
        whole = (whole.0 + target[row], whole.1 + 1.0);
    }
    let mean = whole.0 / whole.1.max(1.0);
    asked.iter().map(|&row| (cells[cell(row)].0 + mean) / (cells[cell(row)].1 + 1.0)).collect()
}

fn ages(rows: &Rows, known: &[usize], half_life: f64) -> Vec<f64> {
    let last = known.iter().map(|&row| rows.moments[row]).fold(f64::MIN, f64::max);
    known.iter().map(|&row| 0.5f64.powf((last - rows.moments[row]) / half_life)).collect()
}

/// Hour crossed with the kind of day, weekday, categories, and the numbers with their squares;
/// newer rows may weigh more.
fn ridge(
    rows: &Rows,
    known: &[usize],
    asked: &[usize],
    target: &[f64],
    alpha: f64,
    half_life: f64,
) -> Vec<f64> {
    let spread: Vec<(f32, f32)> = (0..rows.numbers.len())
        .map(|feature| {
            let values: Vec<f32> = known
                .iter()
                .map(|&row| rows.number(feature, row))
                .filter(|v| !v.is_nan())
                .collect();
            let n = values.len().max(1) as f32;
            let mean = values.iter().sum::<f32>() / n;
            (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-6))
        })
        .collect();
    let width = 48 + 7 + rows.levels.iter().sum::<usize>() + 2 * rows.numbers.len();
    let line = |row: usize| {
        let mut out = vec![0f32; width];
        let moment = rows.moments[row];
        out[hour(moment) * 2 + usize::from(weekday(moment) >= 5)] = 1.0;
        out[48 + weekday(moment)] = 1.0;
        let mut at = 55;
        for (codes, levels) in rows.categories.iter().zip(&rows.levels) {
            out[at + codes[row]] = 1.0;
            at += levels;
        }
        for (feature, (mean, deviation)) in spread.iter().enumerate() {
            let value = (rows.number(feature, row) - mean) / deviation;
            if !value.is_nan() {
                out[at] = value.clamp(-4.0, 4.0);
                out[at + 1] = out[at] * out[at] - 1.0;
            }
            at += 2;
        }
        out
    };
    let train: Vec<Vec<f32>> = known.iter().map(|&row| line(row)).collect();
    let test: Vec<Vec<f32>> = asked.iter().map(|&row| line(row)).collect();
    let truth: Vec<f64> = known.iter().map(|&row| target[row]).collect();
    linear::ridge(&train, &truth, &ages(rows, known, half_life), &test, alpha)
}

/// Boosted trees over calendar and numbers; of the calendar only what comes round again within the
/// span.
fn boosted(
    rows: &Rows,
    known: &[usize],
    asked: &[usize],
    target: &[f64],
    half_life: f64,
    seed: u64,
    deadline: Instant,
) -> Vec<f64> {
    let ages = ages(rows, known, half_life);
    let mut rng = Rng::new(seed ^ 0xF0);
    // Older rows are left out at random rather than weighed: the trees take plain rows.
    let known: Vec<usize> = known
        .iter()
        .zip(ages)
        .filter(|(_, weight)| rng.unit() < *weight)
        .map(|(row, _)| *row)
        .collect();
    let column = |of: &dyn Fn(usize) -> f32| -> (Vec<f32>, Vec<f32>) {
        (known.iter().map(|&row| of(row)).collect(), asked.iter().map(|&row| of(row)).collect())
    };
    let mut columns = vec![
        column(&|row| hour(rows.moments[row]) as f32),
        column(&|row| weekday(rows.moments[row]) as f32),
    ];
    columns.extend(rows.categories.iter().map(|codes| column(&|row| codes[row] as f32)));
    columns.extend((0..rows.numbers.len()).map(|feature| column(&|row| rows.number(feature, row))));
    let (train, test): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let (train, test) = trees::bin(&train, &test);
    let truth: Vec<Vec<f32>> = known.iter().map(|&row| vec![target[row] as f32]).collect();
    let fold = rng::folds(known.len(), 6, &mut rng);
    let held: Vec<bool> = fold.iter().map(|&f| f == 0).collect();
    let settings = trees::Settings {
        rounds: 250,
        rate: 0.08,
        leaves: 16,
        min_rows: 10,
        column_share: 0.7,
        row_share: 0.8,
    };
    let lesson =
        Lesson { target: &truth, held_out: &held, loss: Loss::Squared, seed: rng.next(), deadline };
    let guess = trees::boost(&train, &test, &lesson, &settings).test;
    guess.into_iter().map(|row| f64::from(row[0])).collect()
}
