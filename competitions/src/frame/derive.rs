//! Columns that are made from others.

use super::column::Column;
use super::{Frame, FrameError, NewColumn};

impl Frame {
    /// The table with one integer column a class: 1 in the rows with that label, else 0.
    ///
    /// # Errors
    /// When there is no label for each row.
    pub fn with_indicators<L: AsRef<str>, S: AsRef<str>>(
        &self,
        labels: &[L],
        classes: impl IntoIterator<Item = S>,
    ) -> Result<Self, FrameError> {
        classes.into_iter().try_fold(self.clone(), |table, class| {
            let class = class.as_ref();
            let is_class = labels.iter().map(|label| i64::from(label.as_ref() == class));
            table.with(class, is_class.collect::<Vec<_>>())
        })
    }

    /// The table with the values of one column in another as well, which stands where it stood or
    /// else at the end.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn with_same(&self, name: &str, from: &str) -> Result<Self, FrameError> {
        let column = Column { name: name.into(), ..self.column(from)?.clone() };
        let mut changed = self.clone();
        match changed.columns.iter().position(|column| &*column.name == name) {
            Some(place) => changed.columns[place] = column,
            None => changed.columns.push(column),
        }
        Ok(changed)
    }

    /// The table with a column of text, which stands where one of that name stood or else at the
    /// end; `print` appends the text of a row.
    ///
    /// # Errors
    /// None are expected.
    pub fn with_texts(
        &self,
        name: &str,
        mut print: impl FnMut(usize, &mut String),
    ) -> Result<Self, FrameError> {
        let mut text = String::new();
        let texts = (0..self.rows).map(|row| {
            text.clear();
            print(row, &mut text);
            text.clone()
        });
        let texts: Vec<String> = texts.collect();
        self.with(name, NewColumn::from(texts))
    }

    /// The columns of this table, and those of another with the same rows behind them.
    ///
    /// # Errors
    /// When the other has more or fewer rows.
    pub fn beside(&self, other: &Self) -> Result<Self, FrameError> {
        if other.rows != self.rows {
            return Err(FrameError::Mismatch {
                left: self.name.to_string(),
                right: other.name.to_string(),
                what: format!("{} and {} rows", self.rows, other.rows),
            });
        }
        let mut joined = self.clone();
        joined.columns.extend(other.columns.iter().cloned());
        Ok(joined)
    }

    /// Where a row of a column is in the file or list that the column was read from, from 0.
    pub(crate) fn place_of(&self, column: &str, row: usize) -> Result<usize, FrameError> {
        Ok(self.column(column)?.rows.at(row))
    }
}
