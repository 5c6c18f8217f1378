//! Templates over the rows of a table.

use std::sync::Arc;

use crate::frame::Frame;
use crate::prepare::PrepareError;
use crate::spec::split::{Field, Piece, Template};

/// The values of a column as they are printed, for each row.
pub(super) type Texts = Arc<Vec<String>>;

/// A template with the columns that it names.
pub(super) struct Printer {
    pieces: Vec<Part>,
}

enum Part {
    Literal(String),
    Value(Field, Texts),
}

impl Printer {
    /// The template with its columns, each of which `texts` gives.
    pub(super) fn new(
        template: &Template,
        mut texts: impl FnMut(&str) -> Result<Texts, PrepareError>,
    ) -> Result<Self, PrepareError> {
        let pieces = template.pieces().iter().map(|piece| {
            Ok(match piece {
                Piece::Literal(text) => Part::Literal(text.clone()),
                Piece::Field(field) => Part::Value(field.clone(), texts(&field.name)?),
            })
        });
        Ok(Self { pieces: pieces.collect::<Result<_, PrepareError>>()? })
    }

    /// Appends the text of a row.
    pub(super) fn print(&self, row: usize, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Part::Literal(text) => out.push_str(text),
                Part::Value(field, texts) => field.render(&texts[row], out),
            }
        }
    }

    /// The text of a row.
    pub(super) fn text(&self, row: usize) -> String {
        let mut text = String::new();
        self.print(row, &mut text);
        text
    }
}

/// Appends a template in which every placeholder stands for the same value.
pub(super) fn print_with(template: &Template, value: &str, out: &mut String) {
    for piece in template.pieces() {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Field(field) => field.render(value, out),
        }
    }
}

/// The table with a column that a template gives.
pub(super) fn with_filled(
    table: &Frame,
    name: &str,
    template: &Template,
) -> Result<Frame, PrepareError> {
    if let Some(text) = template.as_literal() {
        return Ok(table.with(name, text)?);
    }
    if let Some(column) = template.whole_column() {
        return Ok(table.with_same(name, column)?);
    }
    let printer = Printer::new(template, |column| Ok(Arc::new(table.texts(column)?)))?;
    Ok(table.with_texts(name, |row, out| printer.print(row, out))?)
}

/// The texts that a template gives for the rows of a table.
pub(super) fn filled(table: &Frame, template: &Template) -> Result<Vec<String>, PrepareError> {
    if let Some(column) = template.whole_column() {
        return Ok(table.texts(column)?);
    }
    let printer = Printer::new(template, |column| Ok(Arc::new(table.texts(column)?)))?;
    Ok((0..table.rows()).map(|row| printer.text(row)).collect())
}
