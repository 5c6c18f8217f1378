//! The answers: the rows of the test part in the shape that grading reads.

use std::collections::BTreeMap;

use crate::frame::Frame;
use crate::nearest::suggestion;
use crate::prepare::PrepareError;
use crate::spec::split::check::submission_columns;
use crate::spec::split::{Template, Unpivot};

use super::outputs::Outputs;
use super::texts::filled;
use super::{Run, texts};

/// The rows of the answers with more columns than are written.
pub(super) struct Answers {
    /// All columns that there are.
    pub(super) table: Frame,
    /// Those of the answers.
    columns: Vec<String>,
}

impl Run<'_> {
    /// The answers of the rows of the test part.
    pub(super) fn answers(&self, shown: &[String], test: &Frame) -> Result<Answers, PrepareError> {
        let spec = &self.split.answers;
        let rows = match &spec.from {
            Some(from) => self.read(from, true)?,
            None => test.clone(),
        };
        let is_given = self.split.method.is_given();
        let kept: Vec<String> = match is_given {
            true => rows.column_names().into_iter().map(str::to_owned).collect(),
            false => shown.to_vec(),
        };
        let mut table = self.with_added(rows)?;
        for (old, new) in &spec.rename {
            table = table.rename(old, new)?;
        }
        if let Some(one_hot) = &spec.one_hot {
            let labels = self.classes(&table, one_hot)?;
            table = table.with_indicators(&labels, &self.grading.target_columns)?;
        }
        if let Some(unpivot) = &spec.unpivot {
            table = self.unpivoted(&table, unpivot)?;
        }
        let is_shaped =
            spec.one_hot.is_some() || spec.unpivot.is_some() || spec.one_row_per.is_some();
        let columns = match &spec.columns {
            Some(columns) => columns.clone(),
            None if is_shaped => submission_columns(self.grading),
            None => {
                let new = |name: String| spec.rename.get(&name).cloned().unwrap_or(name);
                let added = self.split.add.keys().filter(|name| !kept.contains(name)).cloned();
                kept.iter().cloned().chain(added).map(new).collect()
            }
        };
        if let Some(key) = &spec.one_row_per {
            table = self.one_row_per(&table, key, &columns)?;
        }
        Ok(Answers { table, columns })
    }

    /// The class of each row, which is the name of a target column.
    fn classes(&self, table: &Frame, one_hot: &Template) -> Result<Vec<String>, PrepareError> {
        let labels = filled(table, one_hot)?;
        let targets = &self.grading.target_columns;
        let is_known = |label: &String| targets.contains(label);
        let mut known: BTreeMap<&str, bool> = BTreeMap::new();
        for (row, label) in labels.iter().enumerate() {
            if *known.entry(label).or_insert_with(|| is_known(label)) {
                continue;
            }
            let column = one_hot.fields().next().map_or("", |field| field.name.as_str());
            let place = table.place_of(column, row)?;
            let near = suggestion(label, targets.iter().map(String::as_str));
            return Err(self.ctx.unexpected(
                &self.table_name(),
                format!(
                    "row {}, column `{column}`: expected a class that is a target column, found `{label}`{near}",
                    place + 1
                ),
            ));
        }
        Ok(labels)
    }

    fn unpivoted(&self, table: &Frame, unpivot: &Unpivot) -> Result<Frame, PrepareError> {
        let name_of = |given: &Option<String>, list: &[String]| {
            given.clone().or_else(|| list.first().cloned()).unwrap_or_default()
        };
        let id_column = name_of(&unpivot.id_column, &self.grading.id_columns);
        let value_column = name_of(&unpivot.value_column, &self.grading.target_columns);
        let others = table.drop(&unpivot.columns)?;
        let parts = unpivot.columns.iter().map(|column| {
            let with_value = table.with_same(&value_column, column)?;
            let mut names = others.column_names();
            names.retain(|name| *name != value_column && *name != id_column);
            names.push(&value_column);
            let rows = with_value.select(names)?;
            let id = unpivot.id.with("column", column);
            let ids = texts::with_filled(table, &id_column, &id)?;
            Ok(rows.with(&id_column, ids.texts(&id_column)?)?)
        });
        let parts: Vec<Frame> = parts.collect::<Result<_, PrepareError>>()?;
        Ok(Frame::concat(&parts.iter().collect::<Vec<_>>())?)
    }

    /// One row for each value of a column.
    fn one_row_per(
        &self,
        table: &Frame,
        key: &str,
        columns: &[String],
    ) -> Result<Frame, PrepareError> {
        let mut groups = table.groups(key)?;
        groups.sort();
        let firsts: Vec<u32> = groups.iter().map(|(_, rows)| rows[0]).collect();
        let first = table.take(&firsts);
        let Some(join) = &self.split.answers.join else { return Ok(first) };
        let joined = columns.iter().filter(|column| *column != key);
        joined.into_iter().try_fold(first, |first, column| {
            let texts = table.texts(column)?;
            let values = groups.iter().map(|(_, rows)| {
                let values: Vec<&str> =
                    rows.iter().map(|&row| texts[row as usize].as_str()).collect();
                values.join(join)
            });
            Ok(first.with(column, values.collect::<Vec<_>>())?)
        })
    }

    pub(super) fn write_answers(
        &self,
        answers: &Answers,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PrepareError> {
        if self.split.as_is {
            let test = self.split.test.as_ref().and_then(|test| test.from.as_ref());
            let from = self.split.answers.from.as_ref().or(test);
            return self.ctx.copy(from.map_or("", String::as_str), &self.data.answers);
        }
        outputs.table(&self.data.answers, answers.table.select(&answers.columns)?)
    }

    pub(super) fn write_gold(
        &self,
        answers: &Answers,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PrepareError> {
        let (Some(gold), Some(file)) = (&self.split.gold, &self.data.gold_submission) else {
            return Ok(());
        };
        let columns = gold.columns.clone().unwrap_or_else(|| submission_columns(self.grading));
        outputs.table(file, answers.table.select(&columns)?)
    }
}
