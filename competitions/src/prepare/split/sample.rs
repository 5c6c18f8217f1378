//! The sample submission: the rows of the answers, filled without knowledge of them.

use std::collections::BTreeMap;

use crate::frame::{Frame, NewColumn, Value};
use crate::prepare::PrepareError;
use crate::rng::{Generator, RandomState};
use crate::spec::split::{Fill, Guess, GuessRule, Number};

use super::Run;
use super::answers::Answers;
use super::outputs::Outputs;
use super::texts::{filled, with_filled};

impl Run<'_> {
    pub(super) fn write_sample(
        &self,
        answers: &Answers,
        train: &Frame,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PrepareError> {
        let spec = &self.split.sample;
        let files = || std::iter::once(&self.data.sample_submission).chain(&spec.also);
        let (rows, columns) = match &spec.from {
            Some(from) if spec.fill.is_empty() && spec.columns.is_none() => {
                return files().try_for_each(|file| self.ctx.copy(from, file));
            }
            Some(from) => {
                let rows = self.read(from, true)?;
                let all = rows.column_names().into_iter().map(str::to_owned).collect();
                (rows, spec.columns.clone().unwrap_or(all))
            }
            None => (answers.table.clone(), self.split.sample_columns(self.grading)),
        };
        let mut sample = rows.select::<&str>([])?;
        for column in &columns {
            sample = match spec.fill_of(column, &self.grading.target_columns) {
                None => {
                    let one = rows.select([column])?;
                    sample.beside(&one)?
                }
                Some(Fill::Text(text)) if text.has_fields() => {
                    let one = with_filled(&rows, column, text)?.select([column])?;
                    sample.beside(&one)?
                }
                Some(fill) => sample.with(column, self.fill(fill, column, rows.rows(), train)?)?,
            };
        }
        files().try_for_each(|file| outputs.table(file, sample.clone()))
    }

    fn fill(
        &self,
        fill: &Fill,
        column: &str,
        rows: usize,
        train: &Frame,
    ) -> Result<NewColumn, PrepareError> {
        Ok(match fill {
            Fill::Bool(value) => (*value).into(),
            Fill::Int(value) => (*value).into(),
            Fill::Float(value) => (*value).into(),
            Fill::Text(text) => text.as_literal().unwrap_or_default().into(),
            Fill::Guess(guess) => match guess.guess {
                GuessRule::Uniform => (1.0 / self.grading.target_columns.len() as f64).into(),
                GuessRule::Mean => self.mean(column, train)?.into(),
                GuessRule::Prior => self.prior(column, train)?.into(),
                GuessRule::MostFrequent => self.most_frequent(column, train)?.into(),
                GuessRule::Random => random(guess, rows),
            },
        })
    }

    /// The train rows, and the column among them that became a column of the answers.
    fn train_column(&self, column: &str, train: &Frame) -> Result<(Frame, String), PrepareError> {
        let renamed = self.split.answers.rename.iter().find(|(_, new)| *new == column);
        let name = renamed.map_or(column, |(old, _)| old);
        let train = match self.split.add.contains_key(name) {
            true => self.with_added(train.clone())?,
            false => train.clone(),
        };
        Ok((train, name.to_owned()))
    }

    fn mean(&self, column: &str, train: &Frame) -> Result<f64, PrepareError> {
        let (train, name) = self.train_column(column, train)?;
        let values = train.floats(&name)?;
        let (mut sum, mut count) = (0.0, 0usize);
        for value in values.iter().filter(|value| !value.is_nan()) {
            sum += value;
            count += 1;
        }
        match count {
            0 => Err(self.ctx.unexpected(
                &self.table_name(),
                format!("expected numbers in column `{name}` of the train part, found none"),
            )),
            _ => Ok(sum / count as f64),
        }
    }

    fn prior(&self, column: &str, train: &Frame) -> Result<f64, PrepareError> {
        let mut train = self.with_added(train.clone())?;
        for (old, new) in &self.split.answers.rename {
            train = train.rename(old, new)?;
        }
        let one_hot = self.split.answers.one_hot.clone().unwrap_or_default();
        let labels = filled(&train, &one_hot)?;
        let of_class = labels.iter().filter(|label| *label == column).count();
        Ok(of_class as f64 / labels.len() as f64)
    }

    fn most_frequent(&self, column: &str, train: &Frame) -> Result<Value<'static>, PrepareError> {
        let (train, name) = self.train_column(column, train)?;
        let mut counts: BTreeMap<String, (usize, Value<'static>)> = BTreeMap::new();
        train.each(&name, |value| {
            if !value.is_missing() {
                let text = value.to_string();
                counts.entry(text).or_insert_with(|| (0, value.into_owned())).0 += 1;
            }
        })?;
        let most = counts.values().map(|(count, _)| *count).max();
        let first = counts.into_values().find(|(count, _)| Some(*count) == most);
        first.map(|(_, value)| value).ok_or_else(|| {
            self.ctx.unexpected(
                &self.table_name(),
                format!("expected values in column `{name}` of the train part, found none"),
            )
        })
    }
}

/// Random values between the bounds of a guess.
fn random(guess: &Guess, rows: usize) -> NewColumn {
    let seed = guess.seed.unwrap_or_default();
    match (guess.low, guess.high) {
        (Some(Number::Int(low)), Some(Number::Int(high))) => {
            let mut random = RandomState::new(seed);
            (0..rows).map(|_| random.randint(low, high + 1)).collect::<Vec<i64>>().into()
        }
        (low, high) => {
            let bound = |bound: Option<Number>| bound.map_or(0.0, Number::as_f64);
            let (low, high) = (bound(low), bound(high));
            let mut random = Generator::new(u64::from(seed));
            let rounded = |value: f64| match guess.decimals {
                None => value,
                // As numpy rounds.
                Some(decimals) => {
                    let scale = 10f64.powi(decimals as i32);
                    (value * scale).round_ties_even() / scale
                }
            };
            (0..rows).map(|_| rounded(random.uniform(low, high))).collect::<Vec<f64>>().into()
        }
    }
}
