//! What the models of `baseline` reach on a competition, one rung after the other: how far a task is
//! from what costs no thought. The harness climbs it to judge a task, with facts that an agent does
//! not have.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::features::{self, Feature};
use super::forecast;
use super::learn::{Loss, Rows, Shared};
use super::linear::{self, Sparse};
use super::rng::Rng;
use super::solve::{self, FEWEST, Goal, Lessons, Run, is_text};
use super::table::{Column, Table};
use super::task::{Answer, Known, Task, number};

/// Most training rows that a rung learns from; a seeded sample of them where there are more.
pub const MOST_ROWS: usize = 100_000;
/// Most columns of numbers that the linear model takes.
const MOST_COLUMNS: usize = 400;
/// Most products that the normal equations may take; fewer rows are learnt from otherwise.
const MOST_PRODUCTS: usize = 2_000_000_000;
/// Parts of the training rows that trees are judged by.
const FOLDS: usize = 3;

/// What is known of a competition beside its public files.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The sample submission.
    pub sample: PathBuf,
    /// The columns that name a row; none where rows have no names.
    pub ids: Vec<String>,
    /// The columns that are graded.
    pub targets: Vec<String>,
    /// Tables that do not lie among the public data, such as copies in another format.
    pub tables: Vec<PathBuf>,
    /// The metric's name.
    pub metric: String,
}

/// A way to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The mean of a number, the shares of classes, or the most frequent class.
    Mean,
    /// The median of a number.
    Median,
    /// Ridge or logistic regression: on encoded columns, hashed words or pixels.
    Linear,
    /// Boosted trees on encoded columns.
    Trees,
    /// The forecasters of `baseline`, where all test rows come after the training rows.
    Forecast,
    /// Small networks on the pixels of small pictures.
    Net,
}

impl Rung {
    /// All of them, the simplest first.
    pub const ALL: [Self; 6] =
        [Self::Mean, Self::Median, Self::Linear, Self::Trees, Self::Forecast, Self::Net];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Linear => "linear",
            Self::Trees => "trees",
            Self::Forecast => "forecast",
            Self::Net => "net",
        }
    }
}

/// What a climb came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Climbed {
    /// Rows of the training table that were learnt from.
    pub learnt: usize,
    /// Test rows that were guessed.
    pub guessed: usize,
    /// Whether training was cut short by its time.
    pub cut_short: bool,
    /// What the model said on its way.
    pub remarks: Vec<String>,
}

/// A competition's tables and what is asked of them.
pub struct Ladder {
    task: Task,
    goal: Goal,
    places: Option<Vec<usize>>,
}

impl Ladder {
    /// Finds the tables below `data`, or says in a sentence what is missing. Of a training table
    /// above 96 MiB a share is read that `seed` chooses.
    ///
    /// # Errors
    /// A sentence.
    pub fn find(data: &Path, facts: &Facts, seed: u64) -> Result<Self, String> {
        let known = Known {
            sample: Some(facts.sample.clone()),
            ids: Some(facts.ids.clone()),
            targets: facts.targets.clone(),
            tables: facts.tables.clone(),
            metric: facts.metric.clone(),
        };
        let (task, places) = Task::find(data, seed, &known, |_| Ok(()))?;
        let goal = Goal::new(&task)?;
        Ok(Self { task, goal, places })
    }

    /// What is asked and from which tables, in words.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = self.task.notes.clone();
        lines.push(format!("the answer is {}", self.task.answer.describe()));
        lines
    }

    /// The training rows that were read.
    pub fn train(&self) -> Part<'_> {
        Part(&self.task.train)
    }

    /// The test rows in the order of the sample submission; perhaps with their ids alone.
    pub fn test(&self) -> Part<'_> {
        Part(&self.task.test)
    }

    /// Where each test row stands in the public file of test rows, if there is one.
    pub fn places(&self) -> Option<&[usize]> {
        self.places.as_deref()
    }

    /// The columns that both parts have, without targets and without ids, unless these are texts.
    pub fn shared(&self) -> Vec<&str> {
        columns(&self.task)
    }

    /// Whether a cell is a day or a moment.
    pub fn is_moment(cell: &str) -> bool {
        features::moment(cell).is_some()
    }

    /// The columns of the training table that hold the answers.
    pub fn targets(&self) -> Vec<&str> {
        self.task.targets()
    }

    /// The training rows' answers in the form of a column of the submission: as they are, or 1 and 0
    /// where the column is about one class.
    pub fn train_target(&self, name: &str) -> Option<Vec<&str>> {
        let place = self.task.wanted.iter().position(|wanted| wanted == name)?;
        let column = match &self.task.answer {
            Answer::Chances { column, classes, places } => {
                let class = &classes[places.iter().position(|at| *at == place)?];
                let cells = self.task.train.column(column)?.iter();
                return Some(cells.map(|cell| if cell == class { "1" } else { "0" }).collect());
            }
            Answer::Several { columns, .. } => columns.get(place)?,
            Answer::Number { column }
            | Answer::Label { column, .. }
            | Answer::Chance { column, .. } => column,
        };
        Some(self.task.train.column(column)?.iter().collect())
    }

    /// The picture files of the training and of the test rows, where rows have one each.
    pub fn pictures(&self) -> Option<(&[PathBuf], &[PathBuf])> {
        self.task.pictures.as_ref().map(|(train, test)| (train.as_slice(), test.as_slice()))
    }

    /// Makes a submission at `to` by one way to guess, in about `time`.
    ///
    /// # Errors
    /// A sentence: why this way does not suit the competition, or that the file cannot be written.
    pub fn climb(
        &self,
        rung: Rung,
        seed: u64,
        time: Duration,
        to: &Path,
    ) -> Result<Climbed, String> {
        let lessons = self.lessons(seed);
        if lessons.rows.is_empty() {
            return Err("no training row has an answer".to_owned());
        }
        let mut remarks = Vec::new();
        let mut say = |line| remarks.push(line);
        let deadline = Instant::now() + time;
        let run = Run { target: &lessons.target, loss: self.goal.loss, seed, deadline };
        let rows = self.task.sample.rows();
        if rung > Rung::Median && lessons.rows.len() < FEWEST {
            return Err(format!("{} training rows are too few to learn from", lessons.rows.len()));
        }
        let guesses = match rung {
            Rung::Mean => self.goal.fallback(rows),
            Rung::Median => self.medians(rows)?,
            Rung::Linear => linear_guesses(&lessons, &run, &mut say)?,
            Rung::Trees => tree_guesses(&lessons, &run, &mut say)?,
            Rung::Forecast => {
                if !matches!(self.task.answer, Answer::Number { .. })
                    || lessons.shared().iter().any(is_text)
                    || forecast::span(&lessons.shared()).is_none()
                {
                    return Err("the test rows do not come after the training rows".to_owned());
                }
                lessons.solve(seed, deadline, &mut say)
            }
            Rung::Net => lessons.net(&run, &mut say)?,
        };
        let guessed = self.goal.write(&self.task, &guesses, to)?;
        let cut_short = Instant::now() > deadline;
        Ok(Climbed { learnt: lessons.rows.len(), guessed, cut_short, remarks })
    }

    fn lessons(&self, seed: u64) -> Lessons<'_> {
        let lessons = Lessons::new(&self.task, &self.goal);
        at_most(lessons, MOST_ROWS, seed)
    }

    fn medians(&self, rows: usize) -> Result<Rows, String> {
        if !matches!(self.goal.loss, Loss::Squared) {
            return Err("the answer is no number".to_owned());
        }
        let median = |output: usize| {
            let mut values: Vec<f32> =
                self.goal.target.iter().map(|row| row[output]).filter(|v| !v.is_nan()).collect();
            values.sort_by(f32::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let outputs = self.goal.target.first().map_or(0, Vec::len);
        Ok(vec![(0..outputs).map(median).collect(); rows])
    }
}

fn at_most(lessons: Lessons<'_>, most: usize, seed: u64) -> Lessons<'_> {
    if lessons.rows.len() <= most {
        return lessons;
    }
    let mut rows = lessons.rows;
    Rng::new(seed ^ 0x7E57).shuffle(&mut rows);
    rows.truncate(most);
    rows.sort_unstable();
    Lessons::of(lessons.task, lessons.goal, rows)
}

/// The columns that both parts have, without targets and without ids, unless these are texts.
fn columns(task: &Task) -> Vec<&str> {
    let is_text_column = |name: &str| match (task.train.column(name), task.test.column(name)) {
        (Some(train), Some(test)) => is_text(&Shared { name: String::new(), train, test }),
        _ => false,
    };
    let mut columns = task.shared_columns();
    columns.retain(|name| !task.ids.iter().any(|id| id == name) || is_text_column(name));
    columns
}

fn tree_guesses(lessons: &Lessons, run: &Run, say: solve::Say) -> Result<Rows, String> {
    let names = columns(lessons.task);
    if names.is_empty() {
        return Err(NO_COLUMNS.to_owned());
    }
    let shared = lessons.shared();
    if shared.iter().filter(|column| names.contains(&column.name.as_str())).all(is_text) {
        return Err("all columns are texts".to_owned());
    }
    lessons.trees(run, FOLDS, say).ok_or_else(|| NO_COLUMNS.to_owned())
}

const NO_COLUMNS: &str = "the training and the test rows have no columns in common";

fn linear_guesses(lessons: &Lessons, run: &Run, say: solve::Say) -> Result<Rows, String> {
    const EPOCHS: usize = 20;
    let nothing = vec![false; run.target.len()];
    let has_columns = !columns(lessons.task).is_empty();
    if lessons.task.pictures.is_some() && !has_columns {
        let (train, test, _) = lessons.pixels(run.deadline, say)?;
        let (train, test) = (sparse(&train), sparse(&test));
        let (_, guesses) = linear::fit(&train, &test, &run.lesson(&nothing, 0, 1), EPOCHS);
        return Ok(guesses);
    }
    if !has_columns {
        return Err(NO_COLUMNS.to_owned());
    }
    let columns = lessons.shared();
    if columns.iter().any(is_text) {
        return Ok(solve::words(&columns, run, say));
    }
    let features = lessons.features(run.seed).ok_or_else(|| NO_COLUMNS.to_owned())?;
    let (train, test) = standardised(&features);
    if train.first().is_none_or(Vec::is_empty) {
        return Err(NO_COLUMNS.to_owned());
    }
    if !matches!(run.loss, Loss::Squared) {
        let lesson = run.lesson(&nothing, 0, 1);
        return Ok(linear::fit(&sparse(&train), &sparse(&test), &lesson, EPOCHS).1);
    }
    let columns = train[0].len();
    let step = train.len().div_ceil((MOST_PRODUCTS / (columns * columns)).max(1000));
    let train: Rows = train.into_iter().step_by(step).collect();
    let outputs = run.target[0].len();
    let mut guesses: Rows = vec![Vec::with_capacity(outputs); test.len()];
    for output in 0..outputs {
        let target: Vec<f64> =
            run.target.iter().step_by(step).map(|row| f64::from(row[output])).collect();
        let weight = vec![1.0; target.len()];
        let found = linear::ridge(&train, &target, &weight, &test, 1.0);
        guesses.iter_mut().zip(found).for_each(|(row, value)| row.push(value as f32));
    }
    Ok(guesses)
}

fn sparse(rows: &[Vec<f32>]) -> Vec<Sparse> {
    let cells = |row: &Vec<f32>| {
        let filled = row.iter().enumerate().filter(|(_, value)| **value != 0.0);
        filled.map(|(slot, value)| (slot as u32, *value)).collect()
    };
    rows.iter().map(cells).collect()
}

/// Rows of columns with mean 0 and spread 1 over the training rows, and a column more for each that
/// has gaps. Values far out are drawn in.
fn standardised(features: &[Feature]) -> (Rows, Rows) {
    const FAR: f32 = 8.0;
    let rows = |of: fn(&Feature) -> &Vec<f32>| features.first().map_or(0, |f| of(f).len());
    let (mut train, mut test) =
        (vec![Vec::new(); rows(|f| &f.train)], vec![Vec::new(); rows(|f| &f.test)]);
    for feature in features.iter().take(MOST_COLUMNS) {
        let known = || feature.train.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v));
        let count = known().count().max(1) as f64;
        let mean = known().sum::<f64>() / count;
        let spread = (known().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
        let has_gaps = feature.train.iter().any(|v| !v.is_finite());
        if spread < 1e-12 {
            continue;
        }
        let add = |rows: &mut Rows, values: &[f32]| {
            for (row, value) in rows.iter_mut().zip(values) {
                let scaled = ((f64::from(*value) - mean) / spread) as f32;
                row.push(if value.is_finite() { scaled.clamp(-FAR, FAR) } else { 0.0 });
                if has_gaps {
                    row.push(f32::from(u8::from(!value.is_finite())));
                }
            }
        };
        add(&mut train, &feature.train);
        add(&mut test, &feature.test);
    }
    (train, test)
}

/// A table of text.
#[derive(Clone, Copy)]
pub struct Part<'a>(&'a Table);

impl<'a> Part<'a> {
    /// Number of rows.
    pub fn rows(self) -> usize {
        self.0.rows()
    }

    /// The names of its columns.
    pub fn names(self) -> &'a [String] {
        &self.0.names
    }

    /// The cells of a column.
    pub fn cells(self, name: &str) -> Option<Cells<'a>> {
        self.0.column(name).map(Cells)
    }
}

/// The cells of a column, as they are written in the file.
#[derive(Clone, Copy)]
pub struct Cells<'a>(&'a Column);

impl<'a> Cells<'a> {
    /// Number of rows.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.len() == 0
    }

    /// The cell of a row.
    ///
    /// # Panics
    /// There is no such row.
    pub fn get(self, row: usize) -> &'a str {
        self.0.get(row)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.iter()
    }

    /// The cell as a finite number.
    pub fn number(self, row: usize) -> Option<f64> {
        number(self.0.get(row))
    }
}
