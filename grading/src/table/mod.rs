//! Tables read from CSV, typed column by column the way pandas 2.2 `read_csv` types them.
//!
//! A [`Table`] keeps the file's text once and four bytes per cell. A column is typed (and its
//! numbers parsed) when it is first asked for, so columns nobody grades cost nothing beyond their
//! text.
//!
//! ```
//! use medalist_grading::table::{Limits, Table, Values};
//!
//! let table = Table::parse(b"id,score\n1,0.5\n2,\n".to_vec(), &Limits::default())?;
//! assert_eq!(table.rows(), 2);
//! assert!(matches!(table.column("id").unwrap().values(), Values::Int(v) if v == &[1, 2]));
//! assert!(matches!(table.column("score").unwrap().values(), Values::Float(v) if v[1].is_nan()));
//! # Ok::<(), medalist_grading::table::ReadError>(())
//! ```

mod infer;
mod number;
mod open;
mod plain;
mod scan;

use std::path::Path;
use std::sync::OnceLock;

pub use infer::{Piece, Rejected, Values, Why, is_missing};
pub use open::{ForeignFormat, read_bytes};
pub use scan::ReadError;

use infer::Typed;
use plain::Plain;

/// How much of a file is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes. Never more than 2^31 - 2, the most a table can address.
    pub bytes: u64,
    /// Most data rows.
    pub rows: usize,
    /// Most columns.
    pub columns: usize,
    /// Most cells, missing ones at the ends of short rows counted: four bytes of memory each.
    pub cells: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: Self::MAX_BYTES, rows: 100_000_000, columns: 100_000, cells: 250_000_000 }
    }
}

impl Limits {
    /// The largest file a table can address.
    pub const MAX_BYTES: u64 = (1 << 31) - 2;

    /// The limits for a file of the competition's own, whose shape nobody has to fear.
    pub fn trusted() -> Self {
        Self { rows: usize::MAX, columns: usize::MAX, cells: usize::MAX, ..Self::default() }
    }
}

/// A CSV file in memory: a header and rows of cells.
#[derive(Debug)]
pub struct Table {
    text: String,
    names: Vec<String>,
    cells: Cells,
    /// Cells a row.
    stride: usize,
    /// Cells in front of each row that the header does not name; pandas makes them an index.
    index_cells: usize,
    rows: usize,
    /// The first row that ends in a lone carriage return, where others end in line feeds.
    stray_return: Option<usize>,
    typed: Vec<OnceLock<Typed>>,
}

/// Where each cell starts, row by row, and one entry for the end. A cell ends one byte before the
/// next starts.
#[derive(Debug)]
enum Cells {
    /// Of a plain text, found when a cell is first asked for.
    Plain { plain: Plain, starts: OnceLock<Vec<u32>> },
    /// Of a text whose cells were moved together.
    Moved(Vec<u32>),
}

impl Table {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read, is not a regular file, is over the limits, or is
    /// not CSV.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, ReadError> {
        Self::parse(read_bytes(path, limits.bytes)?, limits)
    }

    /// Reads the file at `path` for the sake of the named columns, which are typed while it is
    /// split if they hold numbers.
    ///
    /// The table is the one that [`Table::read`] gives, sooner.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_for(path: &Path, limits: &Limits, columns: &[&str]) -> Result<Self, ReadError> {
        Self::parse_for(read_bytes(path, limits.bytes)?, limits, columns)
    }

    /// Reads CSV bytes. No bytes at all give a table without columns and rows.
    ///
    /// # Errors
    /// [`ReadError`] if the bytes are not UTF-8, a quote stays open, a row is too long, or a limit
    /// is passed.
    pub fn parse(bytes: Vec<u8>, limits: &Limits) -> Result<Self, ReadError> {
        Self::parse_for(bytes, limits, &[])
    }

    /// Reads CSV bytes for the sake of the named columns; see [`Table::read_for`].
    ///
    /// # Errors
    /// As [`Table::parse`].
    pub fn parse_for(bytes: Vec<u8>, limits: &Limits, columns: &[&str]) -> Result<Self, ReadError> {
        scan::scan(bytes, limits, columns)
    }

    /// Number of data rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column names in file order, made unique as pandas does (`a`, `a.1`, `Unnamed: 0`).
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Cells in front of each row that the header has no name for. pandas takes them for an index, so
    /// that every column stands under its left neighbour's name.
    pub fn index_cells(&self) -> usize {
        self.index_cells
    }

    /// The first data row, from 0, that ends in a lone carriage return where others end in line
    /// feeds: most likely a text with a line break that was not quoted.
    pub fn stray_return(&self) -> Option<usize> {
        self.stray_return
    }

    /// Whether a column of that name exists.
    pub fn has_column(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// The column of that name, typed.
    pub fn column(&self, name: &str) -> Option<Column<'_>> {
        self.names.iter().position(|n| n == name).map(|index| self.column_at(index))
    }

    /// The column at a position in [`Table::names`], typed.
    ///
    /// # Panics
    /// If `index` is not below the number of columns.
    pub fn column_at(&self, index: usize) -> Column<'_> {
        let typed = init_once(&self.typed[index], || infer::infer(self, index));
        Column { table: self, index, typed }
    }

    /// The raw text of a cell (unquoted), empty where the row is short.
    fn cell(&self, row: usize, column: usize) -> &str {
        let starts = match &self.cells {
            Cells::Moved(starts) => starts,
            // Typed columns were found to be plain, so there are as many cells as there must be.
            Cells::Plain { plain, starts } => {
                init_once(starts, || plain.starts(&self.text).unwrap_or_default())
            }
        };
        let at = row * self.stride + self.index_cells + column;
        let start = starts[at] as usize;
        let end = (starts[at + 1] as usize).saturating_sub(1).max(start);
        &self.text[start..end]
    }
}

/// The cell's value, made now if it is not there yet.
///
/// `make` may use all cores, and then its thread may pick up work that wants the same value: were
/// the cell locked meanwhile, it would wait for itself. So the value is made outside, at the price
/// of being made twice now and then.
pub(crate) fn init_once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    if let Some(value) = cell.get() {
        return value;
    }
    let value = make();
    cell.get_or_init(|| value)
}

/// A typed column of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Column<'t> {
    table: &'t Table,
    index: usize,
    typed: &'t Typed,
}

/// A cell as the Python object that pandas makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'t> {
    /// An integer of 64 bits, with or without sign.
    Int(i128),
    /// A double; a missing cell is NaN.
    Float(f64),
    /// A boolean.
    Bool(bool),
    Text(&'t str),
}

impl<'t> Column<'t> {
    /// The column's name.
    pub fn name(&self) -> &'t str {
        &self.table.names[self.index]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.table.rows
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.table.rows == 0
    }

    /// The typed values.
    pub fn values(&self) -> &'t Values {
        &self.typed.values
    }

    /// The cell as it is written in the file (unquoted); the missing-value words appear as
    /// themselves.
    pub fn raw(&self, row: usize) -> &'t str {
        self.table.cell(row, self.index)
    }

    /// The cell's text, or `None` where it is missing.
    pub fn text(&self, row: usize) -> Option<&'t str> {
        Some(self.raw(row)).filter(|cell| self.piece(row).0.verbatim || !is_missing(cell))
    }

    /// The piece of the column that holds a row, and the row's place in it.
    fn piece(&self, row: usize) -> (&'t Typed, usize) {
        match &self.typed.values {
            Values::Mixed(pieces) => {
                let at = pieces.partition_point(|piece| piece.end <= row);
                let start = at.checked_sub(1).map_or(0, |before| pieces[before].end);
                (&pieces[at].typed, row - start)
            }
            _ => (self.typed, row),
        }
    }

    /// The cell as the object that pandas makes of it.
    pub fn cell(&self, row: usize) -> Cell<'t> {
        let (typed, place) = self.piece(row);
        match &typed.values {
            Values::Int(values) => Cell::Int(values[place].into()),
            Values::UInt(values) => Cell::Int(values[place].into()),
            Values::Float(values) => Cell::Float(values[place]),
            Values::Bool(values) => Cell::Bool(values[place]),
            Values::BoolOrMissing(values) => {
                values[place].map_or(Cell::Float(f64::NAN), Cell::Bool)
            }
            Values::Text | Values::Mixed(_) => {
                self.text(row).map_or(Cell::Float(f64::NAN), Cell::Text)
            }
        }
    }

    /// Whether the cell is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.typed.values {
            Values::Int(_) | Values::UInt(_) | Values::Bool(_) => false,
            Values::Float(values) => values[row].is_nan(),
            Values::BoolOrMissing(values) => values[row].is_none(),
            Values::Text => !self.typed.verbatim && is_missing(self.raw(row)),
            Values::Mixed(_) => matches!(self.cell(row), Cell::Float(value) if value.is_nan()),
        }
    }

    /// The first missing cell's row.
    pub fn first_missing(&self) -> Option<usize> {
        match self.typed.values {
            Values::Int(_) | Values::UInt(_) | Values::Bool(_) => None,
            _ => (0..self.len()).find(|&row| self.is_missing(row)),
        }
    }

    /// Whether the column holds text (also when some cells are missing), or text in some of its
    /// pieces.
    pub fn is_text(&self) -> bool {
        matches!(self.typed.values, Values::Text | Values::Mixed(_))
    }

    /// Whether pandas calls the column numeric: integers, floats or booleans without a missing
    /// cell.
    pub fn is_numeric(&self) -> bool {
        matches!(
            self.typed.values,
            Values::Int(_) | Values::UInt(_) | Values::Float(_) | Values::Bool(_)
        )
    }

    /// The cell that keeps the column from being numeric, as the reader of numbers found it; none
    /// if the column is numeric or has no rows.
    pub fn not_numeric(&self) -> Option<Rejected> {
        if self.is_empty() {
            return None;
        }
        infer::not_numeric(self.table, self.index, self.values())
    }

    /// The cell that keeps the column from being integers, as the reader of integers found it; none
    /// if they are, or the column has no rows.
    pub fn not_integer(&self) -> Option<Rejected> {
        if self.is_empty() || matches!(self.values(), Values::Int(_) | Values::UInt(_)) {
            return None;
        }
        infer::not_integer(self.table, self.index)
    }

    /// The cell as pandas' `astype(str)` prints it: text as it is, numbers printed again, a missing
    /// cell as `nan`.
    pub fn printed(&self, row: usize) -> std::borrow::Cow<'t, str> {
        match self.cell(row) {
            Cell::Int(value) => value.to_string().into(),
            Cell::Float(value) => crate::pytext::float_repr(value).into(),
            Cell::Bool(true) => "True".into(),
            Cell::Bool(false) => "False".into(),
            Cell::Text(text) => text.into(),
        }
    }

    /// The cell as [`Column::printed`] gives it, or `filling` where it is missing.
    pub fn filled<'f>(&self, row: usize, filling: &'f str) -> std::borrow::Cow<'f, str>
    where
        't: 'f,
    {
        if self.is_missing(row) { filling.into() } else { self.printed(row) }
    }

    /// The cell as a number: booleans are 0 and 1, a missing cell is NaN, text is read with
    /// Python's float syntax.
    ///
    /// `None` where a text does not follow that syntax.
    pub fn number(&self, row: usize) -> Option<f64> {
        Some(match &self.typed.values {
            Values::Int(values) => values[row] as f64,
            Values::UInt(values) => values[row] as f64,
            Values::Float(values) => values[row],
            Values::Bool(values) => f64::from(u8::from(values[row])),
            Values::BoolOrMissing(_) | Values::Text | Values::Mixed(_) => match self.cell(row) {
                Cell::Int(value) => value as f64,
                Cell::Float(value) => value,
                Cell::Bool(value) => f64::from(u8::from(value)),
                Cell::Text(text) => crate::pytext::parse_float(text)?,
            },
        })
    }
}

#[cfg(test)]
mod tests;
