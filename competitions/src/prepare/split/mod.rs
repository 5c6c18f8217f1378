//! Preparations that `[split]` of a `competition.toml` says, and no code.
//!
//! ```text
//! source ─► divide ─► train, test ─► answers ─► sample      outputs: loose files and archives
//!   rows      parts      │            shape      fill          ▲
//!                        └─► copies: files of the rows ────────┘
//! ```

mod answers;
mod copies;
mod divide;
mod outputs;
mod sample;
mod source;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use medalist_grading::GradingSpec;

use super::{Prepare, PrepareError};
use crate::frame::{Frame, Kind};
use crate::spec::split::{NumberEach, Part, Renumber, SplitMethod, SplitSpec, Template};
use crate::{CompetitionSpec, DataPaths};
use copies::Rows;
use outputs::Outputs;

/// The column with the number of each row in the raw table, where a placeholder wants it.
const ROW: &str = "row";

/// A preparation under way.
struct Run<'a> {
    split: &'a SplitSpec,
    grading: &'a GradingSpec,
    data: &'a DataPaths,
    ctx: &'a Prepare<'a>,
}

/// The rows of the two parts.
struct Parts {
    train: Frame,
    test: Frame,
}

/// Prepares a competition as its `[split]` says.
pub(super) fn prepare(
    split: &SplitSpec,
    competition: &CompetitionSpec,
    ctx: &Prepare<'_>,
) -> Result<(), PrepareError> {
    let run = Run { split, grading: &competition.grading, data: &competition.data, ctx };
    let (table, shown) = run.source()?;
    let raw = run.sorted(run.divided(table)?)?;
    let new = run.renumbered(&raw)?;
    let mut outputs = Outputs::new(&run);
    run.write_train(&shown, &new.train, &mut outputs)?;
    run.write_test(&shown, &new.test, &mut outputs)?;
    let answers = run.answers(&shown, &new.test)?;
    run.write_answers(&answers, &mut outputs)?;
    run.write_sample(&answers, &new.train, &mut outputs)?;
    run.write_gold(&answers, &mut outputs)?;
    run.write_tables(&raw, &mut outputs)?;
    for (part, raw, new) in [(Part::Train, raw.train, new.train), (Part::Test, raw.test, new.test)]
    {
        let new = run.with_added(new)?;
        run.copy(&mut Rows::new(&run, part, raw, new), &mut outputs)?;
    }
    outputs.finish()
}

impl<'a> Run<'a> {
    /// How messages call the main table.
    fn table_name(&self) -> String {
        self.split.table.to_string()
    }

    /// Whether a placeholder asks for the number of the row.
    fn wants_row(&self) -> bool {
        let Self { split, .. } = self;
        let copied = split.copy.iter().flat_map(|copy| copy.from.iter().chain(&copy.to));
        let one_hot = split.answers.one_hot.iter();
        let unpivoted = split.answers.unpivot.iter().map(|unpivot| &unpivot.id);
        let mut templates = split.add.values().chain(copied).chain(one_hot).chain(unpivoted);
        templates.any(|template| template.names(ROW)) || split.sample.names(ROW)
    }

    fn sorted(&self, parts: Parts) -> Result<Parts, PrepareError> {
        let Some(column) = &self.split.sort else { return Ok(parts) };
        let Parts { train, test } = parts;
        Ok(Parts { train: train.sort_by_text(column)?, test: test.sort_by_text(column)? })
    }

    /// The parts with new values in the column that is numbered anew.
    fn renumbered(&self, raw: &Parts) -> Result<Parts, PrepareError> {
        let Some(renumber) = &self.split.renumber else {
            return Ok(Parts { train: raw.train.clone(), test: raw.test.clone() });
        };
        let number = |rows: &Frame, from: i64, template: Option<&Template>| {
            let (numbers, next) = numbers_of(rows, renumber, from)?;
            let Some(template) = template else { return Ok((rows.clone(), next)) };
            if template.whole_column().is_some() {
                return Ok((rows.with(&renumber.column, numbers)?, next));
            }
            let print = |row: usize, out: &mut String| {
                texts::print_with(template, &numbers[row].to_string(), out);
            };
            Ok::<_, PrepareError>((rows.with_texts(&renumber.column, print)?, next))
        };
        let (train, next) = number(&raw.train, renumber.from, renumber.train.as_ref())?;
        let from = if renumber.continues { next } else { renumber.from };
        Ok(Parts { train, test: number(&raw.test, from, renumber.test.as_ref())?.0 })
    }

    /// The rows with the added columns.
    fn with_added(&self, rows: Frame) -> Result<Frame, PrepareError> {
        self.split
            .add
            .iter()
            .try_fold(rows, |rows, (name, template)| texts::with_filled(&rows, name, template))
    }

    fn write_train(
        &self,
        shown: &[String],
        train: &Frame,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PrepareError> {
        let Some(file) = self.split.train_file() else { return Ok(()) };
        if self.split.as_is {
            return self.ctx.copy(self.split.table.as_literal().unwrap_or_default(), file);
        }
        let spec = self.split.train.clone().unwrap_or_default();
        let names = spec.columns.as_deref().unwrap_or(shown);
        let names_added =
            names.iter().chain(&spec.hide).any(|name| self.split.add.contains_key(name));
        let train = if names_added { self.with_added(train.clone())? } else { train.clone() };
        outputs.table(file, train.select(names)?.drop(&spec.hide)?)
    }

    /// Writes what agents see of the test part.
    fn write_test(
        &self,
        shown: &[String],
        test: &Frame,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PrepareError> {
        let (Some(spec), Some(file)) = (&self.split.test, self.split.test_file()) else {
            return Ok(());
        };
        let table = self.with_added(test.clone())?;
        let table = match (&spec.columns, &spec.from) {
            (Some(names), _) => table.select(names)?,
            // A part that is a file of its own has columns of its own.
            (None, Some(_)) => table.drop(&spec.hide)?,
            (None, None) => {
                let names =
                    shown.iter().chain(self.split.add.keys().filter(|name| !shown.contains(name)));
                table.select(names)?.drop(&spec.hide)?
            }
        };
        self.show(file, &table)?;
        outputs.table(file, table)
    }

    /// Makes sure that a table for agents has no column that tells the answers.
    fn show(&self, file: &str, table: &Frame) -> Result<(), PrepareError> {
        let secrets: BTreeSet<String> = self.split.secrets(self.grading);
        let told = table.column_names().into_iter().find(|name| secrets.contains(*name));
        match told.filter(|_| file.starts_with("public/")) {
            None => Ok(()),
            Some(name) => Err(self.ctx.unexpected(
                file,
                format!("it would show the column `{name}`, which tells the answers; hide it"),
            )),
        }
    }

    /// Writes the tables whose rows follow those of the main table.
    fn write_tables(&self, parts: &Parts, outputs: &mut Outputs<'_>) -> Result<(), PrepareError> {
        let mut known: BTreeMap<(Part, &str), HashSet<String>> = BTreeMap::new();
        for following in &self.split.tables {
            let table = self.read(&following.table, true)?;
            for (part, rows) in [(Part::Train, &parts.train), (Part::Test, &parts.test)] {
                if following.part.is_some_and(|one| one != part) {
                    continue;
                }
                let keys = match known.entry((part, &following.key)) {
                    Entry::Occupied(keys) => keys.into_mut(),
                    Entry::Vacant(place) => place.insert(distinct(rows, &following.key)?),
                };
                let mut kept = table.filter_in(&following.key, keys)?;
                if self.split.sort.as_ref() == Some(&following.key) {
                    kept = kept.sort_by_text(&following.key)?;
                }
                let file = following.to.with("part", part.as_str()).to_string();
                if part == Part::Test {
                    kept = kept.drop(&following.hide)?;
                    self.show(&file, &kept)?;
                }
                outputs.table(&file, kept)?;
            }
        }
        Ok(())
    }
}

/// The distinct values of a column as they are printed.
fn distinct(rows: &Frame, column: &str) -> Result<HashSet<String>, PrepareError> {
    let mut values = HashSet::new();
    rows.each(column, |value| {
        values.insert(value.to_string());
    })?;
    Ok(values)
}

/// A number for each row, and the number after the last.
fn numbers_of(
    rows: &Frame,
    renumber: &Renumber,
    from: i64,
) -> Result<(Vec<i64>, i64), PrepareError> {
    let column = &renumber.column;
    if renumber.each == NumberEach::Row {
        rows.kind(column)?;
        let next = from + rows.rows() as i64;
        return Ok(((from..next).collect(), next));
    }
    let mut next = from;
    let mut numbers = Vec::with_capacity(rows.rows());
    let mut new = || {
        next += 1;
        next - 1
    };
    if rows.kind(column)? == Kind::Int {
        // Numbers take less room than texts.
        let mut known: HashMap<i64, i64> = HashMap::new();
        for value in rows.ints(column)? {
            numbers.push(*known.entry(value).or_insert_with(&mut new));
        }
    } else {
        let mut known: HashMap<String, i64> = HashMap::new();
        rows.each(column, |value| {
            numbers.push(*known.entry(value.to_string()).or_insert_with(&mut new));
        })?;
    }
    Ok((numbers, next))
}

impl SplitMethod {
    /// Whether the parts are files of their own.
    fn is_given(self) -> bool {
        self == Self::Given
    }
}
