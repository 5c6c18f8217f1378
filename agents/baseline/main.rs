//! A modest learner for picture, text, tabular and forecasting competitions: it works out the task
//! from the files, trains a small model of its own and writes a submission. Standard library only,
//! one thread.

mod features;
mod forecast;
mod image;
mod learn;
mod linear;
mod net;
mod rng;
mod submit;
mod table;
mod task;
mod trees;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use features::Kind;
use learn::{Lesson, Loss, Rows, Shared};
use rng::Rng;
use table::{Column, Table};
use task::{Answer, Task};

/// More training than this is not worth its time for models of this size.
const LONGEST: Duration = Duration::from_secs(600);

/// Prints progress and keeps it, for the log and for the notes.
struct Journal {
    started: Instant,
    log: Option<File>,
    lines: Vec<String>,
}

impl Journal {
    fn say(&mut self, line: impl AsRef<str>) {
        let line = format!("[{:6.2} s] {}", self.started.elapsed().as_secs_f64(), line.as_ref());
        println!("{line}");
        if let Some(log) = &mut self.log {
            // A log that cannot be written is no reason to stop.
            let _ = writeln!(log, "{line}");
        }
        self.lines.push(line);
    }
}

fn folder(variable: &str, fallback: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| PathBuf::from(fallback), PathBuf::from)
}

fn whole_number(variables: &[&str]) -> Option<u64> {
    variables.iter().find_map(|name| env::var(name).ok()?.trim().parse().ok())
}

fn main() -> ExitCode {
    let started = Instant::now();
    let (data, submission, logs, code) = (
        folder("DATA_DIR", "/home/data"),
        folder("SUBMISSION_DIR", "/home/submission"),
        folder("LOGS_DIR", "/home/logs"),
        folder("CODE_DIR", "/home/code"),
    );
    for path in [&submission, &logs, &code] {
        if let Err(error) = fs::create_dir_all(path) {
            eprintln!("cannot make {}: {error}", path.display());
        }
    }
    let mut journal =
        Journal { started, log: File::create(logs.join("agent.log")).ok(), lines: Vec::new() };
    let seed = whole_number(&["SEED", "MLE_SEED"]).unwrap_or(0);
    let limit = whole_number(&["TIME_LIMIT_SECS"]).map_or(LONGEST, Duration::from_secs);
    // Reading, writing and validating need their share of the limit as well.
    let deadline = started + limit.mul_f64(0.6).min(LONGEST);
    journal
        .say(format!("seed {seed}, {} s for training", deadline.duration_since(started).as_secs()));
    let target = submission.join("submission.csv");
    let outcome = work(&data, &target, seed, deadline, &mut journal);
    if let Err(problem) = &outcome {
        journal.say(format!("no answer: {problem}"));
    } else if let Some(answer) = submit::validate(&target) {
        journal.say(format!("validation service: {answer}"));
    }
    let notes = format!("# What the baseline did\n\n```\n{}\n```\n", journal.lines.join("\n"));
    if let Err(error) = fs::write(code.join("notes.md"), notes) {
        journal.say(format!("cannot write the notes: {error}"));
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(
    data: &Path,
    target: &Path,
    seed: u64,
    deadline: Instant,
    journal: &mut Journal,
) -> Result<(), String> {
    // From its first moment on a run that is cut short, or fails, leaves a valid file.
    let submit_sample = |sample: &Table| {
        let cells = |row| sample.columns.iter().map(|column| column.get(row).to_owned()).collect();
        table::write(target, &sample.names, (0..sample.rows()).map(cells))
            .map_err(|e| format!("cannot write {}: {e}", target.display()))
    };
    let task = task::find(data, seed, submit_sample)?;
    for note in &task.notes {
        journal.say(note);
    }
    journal.say(format!("id `{}`, answer: {}", task.id, describe(&task.answer)));
    let goal = Goal::new(&task)?;
    let guesses = solve(&task, &goal, seed, deadline, journal);
    let cells = goal.cells(&task, &guesses);
    let ids = &task.sample.columns[0];
    let rows = cells.into_iter().enumerate().map(|(row, mut cells)| {
        cells.insert(0, ids.get(row).to_owned());
        cells
    });
    table::write(target, &task.sample.names, rows)
        .map_err(|e| format!("cannot write {}: {e}", target.display()))?;
    journal.say(format!("wrote {} rows to {}", ids.len(), target.display()));
    Ok(())
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Number { column } => format!("a number, `{column}`"),
        Answer::Label { column, classes } => {
            format!("one of {} classes, `{column}`", classes.len())
        }
        Answer::Chance { column, classes } => format!("the chance of `{}`, `{column}`", classes[1]),
        Answer::Chances { column, classes, .. } => {
            format!("a chance for each of {} classes, `{column}`", classes.len())
        }
        Answer::Several { columns, binary } => {
            format!("{} {}", columns.len(), if *binary { "chances" } else { "numbers" })
        }
    }
}

/// The targets as numbers, and the way back from guesses to cells.
struct Goal {
    /// `[training row][output]`.
    target: Vec<Vec<f32>>,
    loss: Loss,
    /// Numbers are learnt as `ln(1 + y)` because the metric compares logarithms.
    logarithms: bool,
}

impl Goal {
    fn new(task: &Task) -> Result<Self, String> {
        let text = task.description.to_lowercase();
        let column = |name: &str| {
            task.train
                .column(name)
                .ok_or_else(|| format!("the training table has no column `{name}`"))
        };
        let mut logarithms = false;
        let (target, loss) = match &task.answer {
            Answer::Number { column: name } => {
                let values = features::numbers(column(name)?);
                let wanted = text.contains("rmsle")
                    || text.contains("logarithmic")
                    || text.contains("log error");
                logarithms = wanted && values.iter().all(|v| v.is_nan() || *v >= 0.0);
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
                let rows = (0..task.train.rows())
                    .map(|row| columns.iter().map(|column| column[row]).collect())
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
    fn fallback(&self, rows: usize) -> Rows {
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
        let rounded = matches!(&task.answer, Answer::Number { .. })
            && task.description.to_lowercase().contains("kappa");
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
                    let mut cells = vec![String::new(); places.len()];
                    for (chance, &place) in guess.iter().zip(places) {
                        cells[place] = chance.max(1e-6).to_string();
                    }
                    cells
                }
                Answer::Several { .. } => guess.iter().map(f32::to_string).collect(),
            })
            .collect()
    }
}

/// What a learner needs beside the data.
struct Run<'a> {
    target: &'a [Vec<f32>],
    loss: Loss,
    seed: u64,
    deadline: Instant,
}

impl Run<'_> {
    /// One of `of` lessons that share the time that is left, numbered from 0; `fold[row] == number`
    /// is held out.
    fn lesson<'b>(&'b self, held_out: &'b [bool], number: usize, of: usize) -> Lesson<'b> {
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

/// Picks a kind of model from what the data holds and gives `[test row][output]`.
fn solve(task: &Task, goal: &Goal, seed: u64, deadline: Instant, journal: &mut Journal) -> Rows {
    let known: Vec<usize> =
        goal.known().iter().enumerate().filter(|(_, known)| **known).map(|(row, _)| row).collect();
    let target: Rows = known.iter().map(|&row| goal.target[row].clone()).collect();
    let run = Run { target: &target, loss: goal.loss, seed, deadline };
    let names = task::shared_columns(task);
    let taken: Vec<(&String, Column)> = names
        .iter()
        .filter_map(|name| Some((name, task.train.column(name)?.take(&known))))
        .collect();
    let mut columns: Vec<Shared> = taken
        .iter()
        .filter_map(|(name, train)| {
            Some(Shared { name: (*name).clone(), train, test: task.test.column(name)? })
        })
        .collect();
    let rows = task.sample.rows();
    if target.len() < 20 || rows == 0 {
        journal.say("too few rows to learn from: means and shares are submitted");
        return goal.fallback(rows);
    }
    if let Some((train, test)) = &task.pictures {
        let train: Vec<&PathBuf> = known.iter().map(|&row| &train[row]).collect();
        match pictures(&train, &test.iter().collect::<Vec<_>>(), &run, journal) {
            Ok(guesses) => return guesses,
            Err(problem) => journal.say(format!("pictures: {problem}")),
        }
    }
    if columns.iter().any(|column| matches!(features::kind(column.train, column.test), Kind::Text))
    {
        return words(&columns, &run, journal);
    }
    if let (Answer::Number { .. }, Some(span)) = (&task.answer, forecast::span(&columns)) {
        journal.say(format!(
            "a forecast: the test rows come after the training rows in `{}`",
            span.column
        ));
        let flat: Vec<f64> = target.iter().map(|row| f64::from(row[0])).collect();
        let guess = forecast::forecast(&span, &columns, &flat, seed, deadline, &mut |line| {
            journal.say(line)
        });
        return guess.into_iter().map(|v| vec![v as f32]).collect();
    }
    // The id may be a structured code (passenger group, date), which is worth its parts.
    let id = task.train.column(&task.id).map(|column| column.take(&known));
    if let Some(id) = &id {
        columns.retain(|column| column.name != task.id);
        columns.push(Shared { name: task.id.clone(), train: id, test: &task.sample.columns[0] });
    }
    if columns.is_empty() {
        journal.say("no features in common: means and shares are submitted");
        return goal.fallback(rows);
    }
    boosted(&columns, &run, journal)
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

fn boosted(columns: &[Shared], run: &Run, journal: &mut Journal) -> Rows {
    const FOLDS: usize = 5;
    let features = features::build(columns, run.target, run.seed);
    let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
    journal.say(format!("{} features: {}", names.len(), names.join(", ")));
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
    for (number, held_out) in run.folds(FOLDS).iter().enumerate() {
        let lesson = run.lesson(held_out, number, FOLDS);
        let made = trees::boost(&train, &test, &lesson, &settings);
        let error = lesson.held_out_loss(&made.train);
        journal.say(format!(
            "fold {}: {} rounds, held-out loss {error:.5}",
            number + 1,
            made.rounds
        ));
        add(&mut total, made.test, 1.0 / FOLDS as f32);
    }
    total
}

fn words(columns: &[Shared], run: &Run, journal: &mut Journal) -> Rows {
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
    journal.say(format!("words, pairs and letter groups of {} columns", columns.len()));
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
    journal.say(format!("held-out loss {:.5}", lesson.held_out_loss(&own)));
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

fn pictures(
    train: &[&PathBuf],
    test: &[&PathBuf],
    run: &Run,
    journal: &mut Journal,
) -> Result<Rows, String> {
    const NETS: usize = 3;
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
                Some(picture) if Instant::now() < run.deadline => picture.resized(side, channels),
                _ => {
                    unread += 1;
                    vec![0.0; side * side * channels]
                }
            })
            .collect()
    };
    let (train, test) = (load(train), load(test));
    let count = train.len() + test.len();
    journal.say(format!("{count} pictures as {side} x {side} x {channels}, {unread} unread"));
    if unread * 2 > count {
        return Err("more than half cannot be read".to_owned());
    }
    let settings =
        net::Settings { side, hidden: 96, epochs: (240_000 / train.len()).clamp(8, 160) };
    let mut total = Vec::new();
    for (number, held_out) in run.folds(8).iter().take(NETS).enumerate() {
        let lesson = run.lesson(held_out, number, NETS);
        let (own, guesses) = net::fit(&train, &test, &lesson, &settings);
        journal.say(format!("net {}: held-out loss {:.5}", number + 1, lesson.held_out_loss(&own)));
        add(&mut total, guesses, 1.0 / NETS as f32);
    }
    Ok(total)
}
