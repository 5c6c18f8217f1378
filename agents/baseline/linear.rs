//! Linear models: softmax regression on hashed words, and ridge regression.

use std::collections::HashMap;

use super::learn::{Lesson, Rows};
use super::rng::Rng;

const HASHED: usize = 1 << 17;

/// A sparse row: slot and weight.
pub(super) type Sparse = Vec<(u32, f32)>;

fn hash(kind: u8, text: &[u8]) -> u32 {
    let mut h = 0xCBF2_9CE4_8422_2325u64 ^ u64::from(kind);
    for &byte in text {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    ((h ^ (h >> 32)) % HASHED as u64) as u32
}

fn tokens(text: &str) -> Vec<u32> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .collect();
    let mut out = Vec::new();
    for (place, word) in words.iter().enumerate() {
        out.push(hash(1, word.as_bytes()));
        if place < 3 {
            out.push(hash(2 + place as u8, word.as_bytes()));
        }
        let padded = format!("<{word}>");
        let bytes = padded.as_bytes();
        for size in 3..=5 {
            out.extend(bytes.windows(size).map(|piece| hash(10, piece)));
        }
    }
    out.extend(words.windows(2).map(|pair| hash(11, pair.join(" ").as_bytes())));
    out
}

/// Turns texts into rows of weighted, hashed words, word pairs and letter groups (sublinear tf-idf,
/// unit length).
pub(super) fn words<'a>(
    train: impl Iterator<Item = &'a str>,
    test: impl Iterator<Item = &'a str>,
) -> (Vec<Sparse>, Vec<Sparse>) {
    let count = |text: &str| {
        let mut slots: HashMap<u32, f32> = HashMap::new();
        for token in tokens(text) {
            *slots.entry(token).or_default() += 1.0;
        }
        let mut row: Sparse = slots.into_iter().collect();
        row.sort_unstable_by_key(|cell| cell.0);
        row
    };
    let mut a: Vec<Sparse> = train.map(count).collect();
    let mut b: Vec<Sparse> = test.map(count).collect();
    let mut seen = vec![0f32; HASHED];
    for row in &a {
        for cell in row {
            seen[cell.0 as usize] += 1.0;
        }
    }
    let n = a.len() as f32;
    for row in a.iter_mut().chain(&mut b) {
        let mut square = 0.0;
        for cell in row.iter_mut() {
            cell.1 = (1.0 + cell.1.ln()) * ((1.0 + n) / (1.0 + seen[cell.0 as usize])).ln();
            square += cell.1 * cell.1;
        }
        for cell in row.iter_mut() {
            cell.1 /= square.sqrt().max(1e-9);
        }
    }
    (a, b)
}

/// Linear scores by AdaGrad: guesses for the training and the test rows.
pub(super) fn fit(
    train: &[Sparse],
    test: &[Sparse],
    lesson: &Lesson,
    epochs: usize,
) -> (Rows, Rows) {
    const RATE: f32 = 0.3;
    const SHRINK: f32 = 2e-5;
    let outputs = lesson.outputs();
    let mut rng = Rng::new(lesson.seed);
    let mut weights = vec![0f32; HASHED * outputs];
    let mut sums = vec![1e-2f32; HASHED];
    let mut bias = vec![0f32; outputs];
    let mut order = lesson.rows();
    let score = |row: &Sparse, weights: &[f32], bias: &[f32]| {
        let mut out = bias.to_vec();
        for &(slot, value) in row {
            let at = slot as usize * outputs;
            for (sum, weight) in out.iter_mut().zip(&weights[at..at + outputs]) {
                *sum += weight * value;
            }
        }
        out
    };
    'training: for _ in 0..epochs {
        rng.shuffle(&mut order);
        for (count, &row) in order.iter().enumerate() {
            let guess = lesson.loss.activate(&score(&train[row], &weights, &bias));
            let errors: Vec<f32> =
                guess.iter().zip(&lesson.target[row]).map(|(p, y)| p - y).collect();
            let size: f32 = errors.iter().map(|e| e * e).sum();
            for &(slot, value) in &train[row] {
                let slot = slot as usize;
                sums[slot] += size * value * value;
                let step = RATE / sums[slot].sqrt();
                for (weight, error) in
                    weights[slot * outputs..(slot + 1) * outputs].iter_mut().zip(&errors)
                {
                    *weight -= step * (error * value + SHRINK * *weight);
                }
            }
            for (b, error) in bias.iter_mut().zip(&errors) {
                *b -= 0.01 * error;
            }
            if count % 256 == 0 && lesson.is_over() {
                break 'training;
            }
        }
    }
    let finish = |rows: &[Sparse]| {
        rows.iter().map(|row| lesson.loss.activate(&score(row, &weights, &bias))).collect()
    };
    (finish(train), finish(test))
}

/// Ridge regression on dense rows `[row][column]` by the normal equations; gives the guesses for
/// `test`.
pub(super) fn ridge(
    train: &[Vec<f32>],
    target: &[f64],
    weight: &[f64],
    test: &[Vec<f32>],
    alpha: f64,
) -> Vec<f64> {
    let columns = train.first().map_or(0, Vec::len);
    let total: f64 = weight.iter().sum();
    let mean = target.iter().zip(weight).map(|(y, w)| y * w).sum::<f64>() / total;
    let mut square = vec![0f64; columns * columns];
    let mut right = vec![0f64; columns];
    let mut filled: Vec<usize> = Vec::new();
    for ((row, y), w) in train.iter().zip(target).zip(weight) {
        filled.clear();
        filled.extend((0..columns).filter(|&c| row[c] != 0.0));
        for &i in &filled {
            let value = f64::from(row[i]) * w;
            right[i] += value * (y - mean);
            for &j in filled.iter().take_while(|&&j| j <= i) {
                square[i * columns + j] += value * f64::from(row[j]);
            }
        }
    }
    for i in 0..columns {
        square[i * columns + i] += alpha;
    }
    // Cholesky in place (lower triangle), then two triangular solves.
    for i in 0..columns {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| square[i * columns + k] * square[j * columns + k]).sum();
            let rest = square[i * columns + j] - dot;
            square[i * columns + j] =
                if i == j { rest.max(1e-12).sqrt() } else { rest / square[j * columns + j] };
        }
    }
    for i in 0..columns {
        let dot: f64 = (0..i).map(|k| square[i * columns + k] * right[k]).sum();
        right[i] = (right[i] - dot) / square[i * columns + i];
    }
    for i in (0..columns).rev() {
        let dot: f64 = (i + 1..columns).map(|k| square[k * columns + i] * right[k]).sum();
        right[i] = (right[i] - dot) / square[i * columns + i];
    }
    test.iter()
        .map(|row| mean + row.iter().zip(&right).map(|(x, w)| f64::from(*x) * w).sum::<f64>())
        .collect()
}
