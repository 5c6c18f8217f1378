//! What all learners share: the loss, the lesson, and rows of outputs.

use std::time::Instant;

use super::table::Column;

/// `[row][output]`: values, or chances.
pub(super) type Rows = Vec<Vec<f32>>;

/// A column that the training and the test table share.
pub(super) struct Shared<'a> {
    pub(super) name: String,
    pub(super) train: &'a Column,
    pub(super) test: &'a Column,
}

#[derive(Clone, Copy)]
pub(super) enum Loss {
    /// Half the squared error.
    Squared,
    /// Log loss of one chance per output; the target is 0 or 1.
    Logistic,
    /// Log loss over classes; the target is one-hot.
    Softmax,
}

/// What is to be learnt, from which rows, and until when.
pub(super) struct Lesson<'a> {
    /// `[training row][output]`.
    pub(super) target: &'a [Vec<f32>],
    /// Rows that are not learnt from but used to judge.
    pub(super) held_out: &'a [bool],
    pub(super) loss: Loss,
    pub(super) seed: u64,
    pub(super) deadline: Instant,
}

impl Lesson<'_> {
    pub(super) fn outputs(&self) -> usize {
        self.target[0].len()
    }

    /// The rows to learn from.
    pub(super) fn rows(&self) -> Vec<usize> {
        (0..self.target.len()).filter(|&row| !self.held_out[row]).collect()
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// Mean loss of `guesses` for the rows that are held out; 0 if none is.
    pub(super) fn held_out_loss(&self, guesses: &[Vec<f32>]) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for ((guess, truth), _) in
            guesses.iter().zip(self.target).zip(self.held_out).filter(|(_, held)| **held)
        {
            sum += self.loss.of(guess, truth);
            count += 1.0;
        }
        sum / f64::max(count, 1.0)
    }
}

impl Loss {
    /// Turns raw scores into guesses.
    pub(super) fn activate(self, scores: &[f32]) -> Vec<f32> {
        match self {
            Self::Squared => scores.to_vec(),
            Self::Logistic => scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect(),
            Self::Softmax => {
                let top = scores.iter().copied().fold(f32::MIN, f32::max);
                let powers: Vec<f32> = scores.iter().map(|s| (s - top).exp()).collect();
                let sum: f32 = powers.iter().sum();
                powers.iter().map(|p| p / sum).collect()
            }
        }
    }

    /// The raw score that fits a column of targets best on its own.
    pub(super) fn start(self, target: impl Iterator<Item = f32>) -> f32 {
        let (mut sum, mut count) = (0f64, 0f64);
        for value in target {
            sum += f64::from(value);
            count += 1.0;
        }
        let mean = sum / count.max(1.0);
        let share = mean.clamp(1e-4, 1.0 - 1e-4);
        match self {
            Self::Squared => mean as f32,
            Self::Logistic => (share / (1.0 - share)).ln() as f32,
            Self::Softmax => share.ln() as f32,
        }
    }

    fn of(self, guess: &[f32], truth: &[f32]) -> f64 {
        let term = |(p, y): (&f32, &f32)| {
            let (p, y) = (f64::from(*p), f64::from(*y));
            match self {
                Self::Squared => (p - y).powi(2),
                Self::Logistic => -(y * p.max(1e-7).ln() + (1.0 - y) * (1.0 - p).max(1e-7).ln()),
                Self::Softmax => -y * p.max(1e-7).ln(),
            }
        };
        guess.iter().zip(truth).map(term).sum()
    }
}
