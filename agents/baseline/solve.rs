//! The models, and the way from a task to guesses and from these to a submission.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::features::{self, Feature, Kind};
use super::learn::{Lesson, Loss, Rows, Shared};
use super::rng::{self, Rng};
use super::table::Column;
use super::task::{Answer, Task};
use super::{forecast, image, linear, net, trees};

/// Fewest training rows that a model is made of.
pub(super) const FEWEST: usize = 20;
/// Parts of the training rows, each of which judges one set of trees.
const FOLDS: usize = 5;

/// The targets as numbers, and the way back from guesses to cells.
pub(super) struct Goal {
    /// `[training row][output]`.
    pub(super) target: Vec<Vec<f32>>,
    pub(super) loss: Loss,
    /// Numbers are learnt as `ln(1 + y)` because the metric compares logarithms.
    logarithms: bool,
}

impl Goal {
    pub(super) fn new(task: &Task) -> Result<Self, String> {
        let text = &task.description;
        let column = |name: &str| {
            task.train
                .column(name)
                .ok_or_else(|| format!("the training table has no column `{name}`"))
        };
        let by_logarithms =
            ["rmsle", "logarithmic", "log error"].iter().any(|word| text.contains(word));
        let mut logarithms = false;
        let (target, loss) = match &task.answer {
            Answer::Number { column: name } => {
                let values = features::numbers(column(name)?);
                logarithms = by_logarithms && values.iter().all(|v| v.is_nan() || *v >= 0.0);
                let scale = |v: &f32| if logarithms { v.ln_1p() } else { *v };
                (values.iter().map(|v| vec![scale(v)]).collect(), Loss::Squared)
            }
            Answer::Label { column: name, classes }
            | Answer::Chance { column: name, classes }
            | Answer::Chances { column: name, classes, .. } => {
                let one_hot = |cell: &str| {
                    classes.iter().map(|class| f32::from(u8::from(class == cell))).collect()
                };
                (column(name)?.iter().map(one_hot).collect(), Loss::Softmax)
            }
            Answer::Several { columns, binary } => {
                let columns: Vec<Vec<f32>> = columns
                    .iter()
                    .map(|name| column(name).map(features::numbers))
                    .collect::<Result<_, _>>()?;
                let all = || columns.iter().flatten();
                logarithms = by_logarithms && !binary && all().all(|v| v.is_nan() || *v >= 0.0);
                let scale = |v: f32| if logarithms { v.ln_1p() } else { v };
                let rows = (0..task.train.rows())
                    .map(|row| columns.iter().map(|column| scale(column[row])).collect())
                    .collect();
                (rows, if *binary { Loss::Logistic } else { Loss::Squared })
            }
        };
        let target: Vec<Vec<f32>> = target;
        if target.is_empty() {
            return Err("the training table has no rows".to_owned());
        }
        Ok(Self { target, loss, logarithms })
    }

    fn known(&self) -> Vec<bool> {
        self.target.iter().map(|row| row.iter().all(|v| !v.is_nan())).collect()
    }

    /// Guesses that need no features: means and shares.
    pub(super) fn fallback(&self, rows: usize) -> Rows {
        let known = self.known();
        let count = known.iter().filter(|k| **k).count().max(1) as f32;
        let mean = |k: usize| {
            self.target
                .iter()
                .zip(&known)
                .filter(|(_, known)| **known)
                .map(|(row, _)| row[k])
                .sum::<f32>()
                / count
        };
        vec![(0..self.target[0].len()).map(mean).collect(); rows]
    }

    fn cells(&self, task: &Task, guesses: &[Vec<f32>]) -> Vec<Vec<String>> {
        let back = |v: f32| if self.logarithms { v.exp_m1().max(0.0) } else { v };
        let rounded =
            matches!(&task.answer, Answer::Number { .. }) && task.description.contains("kappa");
        guesses
            .iter()
            .map(|guess| match &task.answer {
                Answer::Number { .. } if rounded => {
                    vec![format!("{}", back(guess[0]).round() as i64)]
                }
                Answer::Number { .. } => vec![back(guess[0]).to_string()],
                Answer::Label { classes, .. } => {
                    let best = (0..guess.len())
                        .max_by(|&a, &b| guess[a].total_cmp(&guess[b]))
                        .unwrap_or(0);
                    vec![classes[best].clone()]
                }
                Answer::Chance { .. } => vec![guess[1].to_string()],
                Answer::Chances { places, .. } => {
                    // No chance is 0, and all add up to 1.
                    let chance = |v: &f32| f64::from(v.max(1e-6));
                    let sum: f64 = guess.iter().map(chance).sum();
                    let mut cells = vec![String::new(); places.len()];
                    for (guess, &place) in guess.iter().zip(places) {
                        cells[place] = (chance(guess) / sum).to_string();
                    }
                    cells
                }
                Answer::Several { .. } => guess.iter().map(|v| back(*v).to_string()).collect(),
            })
            .collect()
    }

    /// Writes the sample submission with the guesses in the wanted columns, and gives the number of
    /// its rows.
    pub(super) fn write(
        &self,
        task: &Task,
        guesses: &[Vec<f32>],
        to: &Path,
    ) -> Result<usize, String> {
        let mut table = task.sample.clone();
        let cells = self.cells(task, guesses);
        for (index, name) in task.wanted.iter().enumerate() {
            let place = table
                .names
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| format!("the sample submission has no column `{name}`"))?;
            let mut column = Column::default();
            cells.iter().for_each(|row| column.push(&row[index]));
            table.columns[place] = column;
        }
        table.write(to).map_err(|e| format!("cannot write {}: {e}", to.display()))?;
        Ok(table.rows())
    }
}

/// What a learner needs beside the data.
pub(super) struct Run<'a> {
    pub(super) target: &'a [Vec<f32>],
    pub(super) loss: Loss,
    pub(super) seed: u64,
    pub(super) deadline: Instant,
}

impl Run<'_> {
    /// One of `of` lessons that share the time that is left, numbered from 0; `fold[row] == number`
    /// is held out.
    pub(super) fn lesson<'b>(
        &'b self,
        held_out: &'b [bool],
        number: usize,
        of: usize,
    ) -> Lesson<'b> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Lesson {
            target: self.target,
            held_out,
            loss: self.loss,
            seed: self.seed.wrapping_mul(31).wrapping_add(number as u64),
            deadline: Instant::now() + left.div_f64((of - number) as f64),
        }
    }

    /// The rows of each fold, as a mask.
    fn folds(&self, folds: usize) -> Vec<Vec<bool>> {
        let fold = rng::folds(self.target.len(), folds, &mut Rng::new(self.seed ^ 0xB00));
        (0..folds).map(|number| fold.iter().map(|&f| f == number).collect()).collect()
    }
}

/// Where a learner's remarks go.
pub(super) type Say<'a> = &'a mut dyn FnMut(String);

/// What is learnt from: the training rows whose answers are known, and the columns that both parts
/// have.
pub(super) struct Lessons<'a> {
    pub(super) task: &'a Task,
    pub(super) goal: &'a Goal,
    /// Rows of the training table.
    pub(super) rows: Vec<usize>,
    pub(super) target: Rows,
    columns: Vec<(&'a str, Column)>,
}

impl<'a> Lessons<'a> {
    /// From all rows.
    pub(super) fn new(task: &'a Task, goal: &'a Goal) -> Self {
        let known = goal.known();
        Self::of(task, goal, (0..known.len()).filter(|row| known[*row]).collect())
    }

    pub(super) fn of(task: &'a Task, goal: &'a Goal, rows: Vec<usize>) -> Self {
        let target = rows.iter().map(|&row| goal.target[row].clone()).collect();
        let columns = task
            .shared_columns()
            .into_iter()
            .filter_map(|name| Some((name, task.train.column(name)?.take(&rows))))
            .collect();
        Self { task, goal, rows, target, columns }
    }

    /// The columns that both parts have.
    pub(super) fn shared(&self) -> Vec<Shared<'_>> {
        self.columns
            .iter()
            .filter_map(|(name, train)| {
                let test = self.task.test.column(name)?;
                Some(Shared { name: (*name).to_owned(), train, test })
            })
            .collect()
    }

    /// Guesses `[test row][output]` by the kind of model that suits the data.
    pub(super) fn solve(&self, seed: u64, deadline: Instant, say: Say) -> Rows {
        let (task, goal) = (self.task, self.goal);
        let run = Run { target: &self.target, loss: goal.loss, seed, deadline };
        let rows = task.sample.rows();
        if self.target.len() < FEWEST || rows == 0 {
            say("too few rows to learn from: means and shares are submitted".to_owned());
            return goal.fallback(rows);
        }
        if task.pictures.is_some() {
            match self.net(&run, say) {
                Ok(guesses) => return guesses,
                Err(problem) => say(format!("pictures: {problem}")),
            }
        }
        let columns = self.shared();
        if columns.iter().any(is_text) {
            return words(&columns, &run, say);
        }
        if let (Answer::Number { .. }, Some(span)) = (&task.answer, forecast::span(&columns)) {
            say(format!(
                "a forecast: the test rows come after the training rows in `{}`",
                span.column
            ));
            let flat: Vec<f64> = self.target.iter().map(|row| f64::from(row[0])).collect();
            let guess = forecast::forecast(&span, &columns, &flat, seed, deadline, say);
            return guess.into_iter().map(|v| vec![v as f32]).collect();
        }
        self.trees(&run, FOLDS, say).unwrap_or_else(|| {
            say("no features in common: means and shares are submitted".to_owned());
            goal.fallback(rows)
        })
    }

    /// Boosted trees on all columns; nothing where there is none.
    pub(super) fn trees(&self, run: &Run, folds: usize, say: Say) -> Option<Rows> {
        let features = self.features(run.seed)?;
        Some(boosted(features, run, folds, say))
    }

    /// All columns as numbers; nothing where there is none.
    pub(super) fn features(&self, seed: u64) -> Option<Vec<Feature>> {
        // The id may be a structured code (passenger group, date), which is worth its parts.
        let id = self.task.id().map(|(name, train, test)| (name, train.take(&self.rows), test));
        let mut columns = self.shared();
        if let Some((name, train, test)) = &id {
            columns.retain(|column| column.name != *name);
            columns.push(Shared { name: (*name).to_owned(), train, test });
        }
        (!columns.is_empty()).then(|| features::build(&columns, &self.target, seed))
    }

    /// Small networks on the pixels.
    pub(super) fn net(&self, run: &Run, say: Say) -> Result<Rows, String> {
        const NETS: usize = 3;
        let (train, test, side) = self.pixels(run.deadline, say)?;
        let settings =
            net::Settings { side, hidden: 96, epochs: (240_000 / train.len()).clamp(8, 160) };
        let mut total = Vec::new();
        for (number, held_out) in run.folds(8).iter().take(NETS).enumerate() {
            let lesson = run.lesson(held_out, number, NETS);
            let (own, guesses) = net::fit(&train, &test, &lesson, &settings);
            let loss = lesson.held_out_loss(&own);
            say(format!("net {}: held-out loss {loss:.5}", number + 1));
            add(&mut total, guesses, 1.0 / NETS as f32);
        }
        Ok(total)
    }

    /// The pictures of the training and the test rows as resized pixels, and the length of a side.
    pub(super) fn pixels(
        &self,
        deadline: Instant,
        say: Say,
    ) -> Result<(Rows, Rows, usize), String> {
        let (train, test) = self.task.pictures.as_ref().ok_or("there are no pictures")?;
        let train: Vec<&PathBuf> = self.rows.iter().map(|&row| &train[row]).collect();
        let test: Vec<&PathBuf> = test.iter().collect();
        let decode = |path: &PathBuf| fs::read(path).ok().and_then(|bytes| image::png(&bytes).ok());
        let first =
            train.iter().find_map(|path| decode(path)).ok_or("none can be decoded (PNG only)")?;
        let channels = first.channels;
        let side = match first.width.min(first.height) {
            small @ 1..=16 => small,
            _ if channels == 3 => 20,
            _ => 24,
        };
        let mut unread = 0;
        let mut load = |paths: &[&PathBuf]| -> Rows {
            paths
                .iter()
                .map(|path| match decode(path) {
                    Some(picture) if Instant::now() < deadline => picture.resized(side, channels),
                    _ => {
                        unread += 1;
                        vec![0.0; side * side * channels]
                    }
                })
                .collect()
        };
        let (train, test) = (load(&train), load(&test));
        let count = train.len() + test.len();
        say(format!("{count} pictures as {side} x {side} x {channels}, {unread} unread"));
        if unread * 2 > count {
            return Err("more than half cannot be read".to_owned());
        }
        Ok((train, test, side))
    }
}

pub(super) fn is_text(column: &Shared) -> bool {
    matches!(features::kind(column.train, column.test), Kind::Text)
}

/// Adds a share of `part` to `total`.
fn add(total: &mut Rows, part: Rows, share: f32) {
    if total.is_empty() {
        *total = vec![vec![0.0; part.first().map_or(0, Vec::len)]; part.len()];
    }
    for (sum, row) in total.iter_mut().zip(part) {
        for (a, b) in sum.iter_mut().zip(row) {
            *a += share * b;
        }
    }
}

fn boosted(features: Vec<Feature>, run: &Run, folds: usize, say: Say) -> Rows {
    let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
    say(format!("{} features: {}", names.len(), names.join(", ")));
    let (train, test): (Rows, Rows) =
        features.into_iter().map(|feature| (feature.train, feature.test)).unzip();
    let (train, test) = trees::bin(&train, &test);
    let min_rows = (run.target.len() / 300).clamp(5, 40);
    let settings = trees::Settings {
        rounds: 400,
        rate: 0.05,
        leaves: 12,
        min_rows,
        column_share: 0.5,
        row_share: 0.8,
    };
    let mut total = Vec::new();
    for (number, held_out) in run.folds(folds).iter().enumerate() {
        let lesson = run.lesson(held_out, number, folds);
        let made = trees::boost(&train, &test, &lesson, &settings);
        let error = lesson.held_out_loss(&made.train);
        say(format!("fold {}: {} rounds, held-out loss {error:.5}", number + 1, made.rounds));
        add(&mut total, made.test, 1.0 / folds as f32);
    }
    total
}

pub(super) fn words(columns: &[Shared], run: &Run, say: Say) -> Rows {
    const EPOCHS: usize = 12;
    let join =
        |row: usize, of: fn(&Shared) -> usize, cell: fn(&Shared, usize) -> String| -> String {
            columns
                .iter()
                .filter(|column| row < of(column))
                .map(|column| cell(column, row))
                .collect::<Vec<_>>()
                .join(" \n ")
        };
    let rows = (run.target.len(), columns[0].test.len());
    let train: Vec<String> = (0..rows.0)
        .map(|row| join(row, |c| c.train.len(), |c, row| c.train.get(row).to_owned()))
        .collect();
    let test: Vec<String> = (0..rows.1)
        .map(|row| join(row, |c| c.test.len(), |c, row| c.test.get(row).to_owned()))
        .collect();
    let (train, test) =
        linear::words(train.iter().map(String::as_str), test.iter().map(String::as_str));
    say(format!("words, pairs and letter groups of {} columns", columns.len()));
    // Squared errors are learnt around the mean and on the scale of the spread, or the steps would
    // not fit.
    let outputs = run.target[0].len();
    let (mut target, mut shift, mut scale) =
        (run.target.to_vec(), vec![0f32; outputs], vec![1f32; outputs]);
    if matches!(run.loss, Loss::Squared) {
        for k in 0..outputs {
            let n = target.len() as f32;
            shift[k] = target.iter().map(|row| row[k]).sum::<f32>() / n;
            scale[k] = (target.iter().map(|row| (row[k] - shift[k]).powi(2)).sum::<f32>() / n)
                .sqrt()
                .max(1e-6);
            target.iter_mut().for_each(|row| row[k] = (row[k] - shift[k]) / scale[k]);
        }
    }
    let scaled = Run { target: &target, loss: run.loss, seed: run.seed, deadline: run.deadline };
    let mut total = Vec::new();
    let held_out = scaled.folds(6).swap_remove(0);
    let lesson = scaled.lesson(&held_out, 0, 2);
    let (own, guesses) = linear::fit(&train, &test, &lesson, EPOCHS);
    say(format!("held-out loss {:.5}", lesson.held_out_loss(&own)));
    add(&mut total, guesses, 0.4);
    let nothing = vec![false; target.len()];
    let (_, guesses) = linear::fit(&train, &test, &scaled.lesson(&nothing, 1, 2), EPOCHS);
    add(&mut total, guesses, 0.6);
    for row in &mut total {
        for ((value, scale), shift) in row.iter_mut().zip(&scale).zip(&shift) {
            *value = *value * scale + shift;
        }
    }
    total
}
