//! The raw tables, and tables of the files that fit a path.

use std::collections::BTreeSet;

use crate::frame::{CsvOptions, Frame, Kind};
use crate::prepare::PrepareError;
use crate::spec::split::{ColumnType, Field, Piece, SplitFloats, Template};

use super::{ROW, Run};

impl Run<'_> {
    /// The rows that are divided, and the columns of the raw table; the number of a row is none of
    /// them.
    pub(super) fn source(&self) -> Result<(Frame, Vec<String>), PrepareError> {
        let Self { split, .. } = self;
        let mut table = match split.table.as_literal() {
            Some(path) => self.read(path, false)?,
            None => self.listing(&split.table)?,
        };
        let shown: Vec<String> = table.column_names().into_iter().map(str::to_owned).collect();
        if self.wants_row() && !shown.iter().any(|name| name == ROW) {
            table = table.with(ROW, (0..table.rows() as i64).collect::<Vec<_>>())?;
        }
        for (column, values) in &split.leave_out {
            let mut left_out = BTreeSet::new();
            table = table.filter(column, |value| {
                let bad = values.iter().find(|bad| *bad == value);
                left_out.extend(bad);
                bad.is_none()
            })?;
            if let Some(value) = values.iter().find(|value| !left_out.contains(value)) {
                let name = self.table_name();
                self.ctx.warn(&format!(
                    "`{name}` has no row with `{value}` in column `{column}`, which `leave_out` names"
                ));
            }
        }
        Ok((table, shown))
    }

    /// Reads a raw table; types of columns that it does not have are an error unless it is a
    /// `further` one.
    pub(super) fn read(&self, path: &str, further: bool) -> Result<Frame, PrepareError> {
        let mut options = CsvOptions::default();
        let separator = if path.ends_with(".tsv") { Some('\t') } else { self.split.separator };
        if let Some(separator) = separator.and_then(|separator| u8::try_from(separator).ok()) {
            options = options.separator(separator);
        }
        if self.split.floats == SplitFloats::Pandas {
            options = options.fast_floats();
        }
        if further {
            options = options.lenient();
        }
        for (column, kind) in &self.split.types {
            options = options.kind(column, kind_of(*kind));
        }
        self.ctx.read_csv_with(path, &options)
    }

    /// A table of the raw files that fit a path with placeholders, which are its columns.
    fn listing(&self, path: &Template) -> Result<Frame, PrepareError> {
        let mut names: Vec<&str> = Vec::new();
        for field in path.fields() {
            if !names.contains(&field.name.as_str()) {
                names.push(&field.name);
            }
        }
        let mut columns: Vec<Vec<String>> = vec![Vec::new(); names.len()];
        let count = self.each_fitting(path, |values| {
            for (column, value) in columns.iter_mut().zip(values) {
                column.push((*value).to_owned());
            }
        })?;
        let table = Frame::new(&path.to_string(), count);
        Ok(names
            .iter()
            .zip(columns)
            .try_fold(table, |table, (name, texts)| table.with(name, texts))?)
    }

    /// Goes through the raw files that fit a path, sorted folder by folder, with a value for each
    /// of its placeholders, and counts them; one that stands there twice has one value.
    fn each_fitting(
        &self,
        path: &Template,
        mut visit: impl FnMut(&[&str]),
    ) -> Result<usize, PrepareError> {
        let (folder, pieces) = below_folder(path);
        let mut count = 0;
        for file in self.ctx.walk(&folder)? {
            let mut found = Vec::new();
            if fits(&pieces, &file, &mut found) {
                let values: Vec<&str> = found.iter().map(|(_, value)| *value).collect();
                visit(&values);
                count += 1;
            }
        }
        match count {
            0 => Err(self.ctx.unexpected(
                &path.to_string(),
                format!("expected files that fit it, found none in `{folder}/`"),
            )),
            _ => Ok(count),
        }
    }

    /// The rows of a raw table, or the number of files that fit a path with placeholders.
    pub(super) fn count(&self, like: &Template) -> Result<usize, PrepareError> {
        match like.as_literal() {
            Some(path) => Ok(self.read(path, true)?.rows()),
            None => self.each_fitting(like, |_| {}),
        }
    }
}

fn kind_of(kind: ColumnType) -> Kind {
    match kind {
        ColumnType::Int => Kind::Int,
        ColumnType::Float => Kind::Float,
        ColumnType::Bool => Kind::Bool,
        ColumnType::Text => Kind::Text,
    }
}

/// The folder in which all files that fit a path lie, and what must fit below it.
fn below_folder(path: &Template) -> (String, Vec<Piece>) {
    let mut pieces = path.pieces().to_vec();
    let Some(Piece::Literal(text)) = pieces.first().cloned() else {
        return (String::new(), pieces);
    };
    let (folder, rest) = text.rsplit_once('/').unwrap_or(("", &text));
    pieces[0] = Piece::Literal(rest.to_owned());
    (folder.to_owned(), pieces)
}

/// Whether a path fits: a placeholder stands for one character at least and never for a `/`. The
/// values of the placeholders are found on the way.
fn fits<'p, 't>(pieces: &'p [Piece], text: &'t str, found: &mut Vec<(&'p str, &'t str)>) -> bool {
    let Some((piece, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let Field { name, .. } = match piece {
        Piece::Literal(literal) => {
            return text.strip_prefix(literal.as_str()).is_some_and(|text| fits(rest, text, found));
        }
        Piece::Field(field) => field,
    };
    let known = found.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let inside = text.find('/').unwrap_or(text.len());
    let ends = text[..inside].char_indices().map(|(at, c)| at + c.len_utf8());
    for end in ends {
        let value = &text[..end];
        if known.is_some_and(|known| known != value) {
            continue;
        }
        let before = found.len();
        if known.is_none() {
            found.push((name, value));
        }
        if fits(rest, &text[end..], found) {
            return true;
        }
        found.truncate(before);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_with_the_shortest_values() {
        let values = |pattern: &str, path: &str| {
            let pattern: Template = pattern.parse().unwrap();
            let (folder, pieces) = below_folder(&pattern);
            let mut found = Vec::new();
            let below = path.strip_prefix(&folder)?.trim_start_matches('/');
            fits(&pieces, below, &mut found)
                .then(|| found.iter().map(|(_, value)| (*value).to_owned()).collect::<Vec<_>>())
        };
        for (pattern, path, expected) in [
            ("train/{label}/{id}.png", "train/cat/1.png", Some(vec!["cat", "1"])),
            ("train/{label}/{id}.png", "train/cat/1.jpg", None),
            ("train/{label}/{id}.png", "train/cat/.png", None),
            ("train/{label}/{id}.png", "train/1.png", None),
            ("train/{label}/{id}.png", "train/a/b/1.png", None),
            ("{kind}.{n}.jpg", "cat.1.2.jpg", Some(vec!["cat", "1.2"])),
            ("a.zip/x/{id}/{id}.nii", "a.zip/x/7/7.nii", Some(vec!["7"])),
            ("a.zip/x/{id}/{id}.nii", "a.zip/x/7/8.nii", None),
            ("{id}", "é", Some(vec!["é"])),
        ] {
            let expected =
                expected.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(values(pattern, path), expected, "{pattern} {path}");
        }
    }
}
