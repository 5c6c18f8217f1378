//! A perceptron with one hidden layer for small pictures, trained with Adam on shifted copies.

use super::learn::{Lesson, Rows};
use super::rng::Rng;

pub(super) struct Settings {
    pub(super) side: usize,
    pub(super) hidden: usize,
    pub(super) epochs: usize,
}

struct Layer {
    inputs: usize,
    outputs: usize,
    /// `[output][input]`, then the biases.
    weights: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Layer {
    fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let size = inputs * outputs + outputs;
        let scale = (2.0 / inputs as f64).sqrt();
        let mut weights: Vec<f32> =
            (0..inputs * outputs).map(|_| (rng.normal() * scale) as f32).collect();
        weights.resize(size, 0.0);
        Self {
            inputs,
            outputs,
            weights,
            gradient: vec![0.0; size],
            first: vec![0.0; size],
            second: vec![0.0; size],
        }
    }

    fn forward(&self, input: &[f32]) -> Vec<f32> {
        let bias = &self.weights[self.inputs * self.outputs..];
        let row = |k: usize| dot(&self.weights[k * self.inputs..][..self.inputs], input) + bias[k];
        (0..self.outputs).map(row).collect()
    }

    /// Adds to the gradient and gives the error of the input.
    fn backward(&mut self, input: &[f32], error: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.inputs];
        for (k, &e) in error.iter().enumerate() {
            if e == 0.0 {
                continue;
            }
            let span = k * self.inputs..(k + 1) * self.inputs;
            for ((g, x), (o, w)) in self.gradient[span.clone()]
                .iter_mut()
                .zip(input)
                .zip(out.iter_mut().zip(&self.weights[span]))
            {
                *g += e * x;
                *o += e * w;
            }
            self.gradient[self.inputs * self.outputs + k] += e;
        }
        out
    }

    fn step(&mut self, rate: f32, time: i32) {
        let (fix1, fix2) = (1.0 - 0.9f32.powi(time), 1.0 - 0.999f32.powi(time));
        for i in 0..self.weights.len() {
            let g = self.gradient[i];
            self.gradient[i] = 0.0;
            self.first[i] = 0.9 * self.first[i] + 0.1 * g;
            self.second[i] = 0.999 * self.second[i] + 0.001 * g * g;
            self.weights[i] -= rate
                * (self.first[i] / fix1 / ((self.second[i] / fix2).sqrt() + 1e-7)
                    + 1e-3 * self.weights[i]);
        }
    }
}

/// The scalar product in eight lanes, which the compiler can turn into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Moves a picture by whole pixels; what comes in is black.
fn shifted(picture: &[f32], side: usize, dx: isize, dy: isize) -> Vec<f32> {
    let mut out = vec![0.0; picture.len()];
    for (to, from) in out.chunks_mut(side * side).zip(picture.chunks(side * side)) {
        for y in 0..side {
            for x in 0..side {
                let (sx, sy) = (x as isize - dx, y as isize - dy);
                if (0..side as isize).contains(&sx) && (0..side as isize).contains(&sy) {
                    to[y * side + x] = from[sy as usize * side + sx as usize];
                }
            }
        }
    }
    out
}

/// Guesses for the training and the test pictures.
pub(super) fn fit(
    train: &[Vec<f32>],
    test: &[Vec<f32>],
    lesson: &Lesson,
    settings: &Settings,
) -> (Rows, Rows) {
    const BATCH: usize = 32;
    let mut rng = Rng::new(lesson.seed);
    let mut lower = Layer::new(train[0].len(), settings.hidden, &mut rng);
    let mut upper = Layer::new(settings.hidden, lesson.outputs(), &mut rng);
    let mut order = lesson.rows();
    let reach = (settings.side / 8).max(1);
    let (mut time, steps) = (0, settings.epochs * order.len().div_ceil(BATCH));
    'training: for _ in 0..settings.epochs {
        rng.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            for &row in batch {
                let mut shift = || rng.below(2 * reach + 1) as isize - reach as isize;
                let (dx, dy) = (shift(), shift());
                let input = if dx == 0 && dy == 0 {
                    train[row].clone()
                } else {
                    shifted(&train[row], settings.side, dx, dy)
                };
                let hidden: Vec<f32> =
                    lower.forward(&input).into_iter().map(|v| v.max(0.0)).collect();
                let guess = lesson.loss.activate(&upper.forward(&hidden));
                let error: Vec<f32> = guess
                    .iter()
                    .zip(&lesson.target[row])
                    .map(|(p, y)| (p - y) / batch.len() as f32)
                    .collect();
                let mut below = upper.backward(&hidden, &error);
                for (e, h) in below.iter_mut().zip(&hidden) {
                    if *h <= 0.0 {
                        *e = 0.0;
                    }
                }
                lower.backward(&input, &below);
            }
            time += 1;
            // The step shrinks along half a cosine wave.
            let rate = 0.002
                * (0.02 + 0.49 * (1.0 + (std::f32::consts::PI * time as f32 / steps as f32).cos()));
            lower.step(rate, time);
            upper.step(rate, time);
            if lesson.is_over() {
                break 'training;
            }
        }
    }
    let guess = |rows: &[Vec<f32>]| {
        rows.iter()
            .map(|row| {
                let hidden: Vec<f32> = lower.forward(row).into_iter().map(|v| v.max(0.0)).collect();
                lesson.loss.activate(&upper.forward(&hidden))
            })
            .collect()
    };
    (guess(train), guess(test))
}
