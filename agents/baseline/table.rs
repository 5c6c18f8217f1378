//! Comma-separated tables: a tolerant reader into text columns, and a writer.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::rng::Rng;

/// Above this many bytes a training table is thinned while it is read, so that memory stays
/// bounded.
const THIN_ABOVE: usize = 96 << 20;

/// The cells of a column, one after the other in a single buffer.
#[derive(Clone, Default)]
pub(crate) struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    pub(crate) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    pub(crate) fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..self.ends[row]]
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    pub(crate) fn take(&self, rows: &[usize]) -> Column {
        let mut out = Column::default();
        for &row in rows {
            out.push(self.get(row));
        }
        out
    }
}

#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) columns: Vec<Column>,
}

impl Table {
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.names.iter().position(|n| n == name).map(|at| &self.columns[at])
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    pub(crate) fn take(&self, rows: &[usize]) -> Table {
        Table {
            names: self.names.clone(),
            columns: self.columns.iter().map(|c| c.take(rows)).collect(),
        }
    }
}

/// What may be dropped while reading.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Keep {
    All,
    /// A seeded share of the rows of a very large file.
    Sample(u64),
}

/// Reads a table whose first record is its header. Short records are filled up, surplus cells
/// dropped.
pub(crate) fn parse(bytes: &[u8], separator: u8, keep: Keep) -> io::Result<Table> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let share = match keep {
        Keep::Sample(_) if bytes.len() > THIN_ABOVE => THIN_ABOVE as f64 / bytes.len() as f64,
        _ => 1.0,
    };
    let mut rng = Rng::new(if let Keep::Sample(seed) = keep { seed } else { 0 });
    let mut table = Table::default();
    let mut record: Vec<String> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = read_record(bytes, at, separator, &mut record);
        if table.names.is_empty() {
            table.names = record.iter().map(|name| name.trim().to_owned()).collect();
            table.columns = vec![Column::default(); table.names.len()];
            continue;
        }
        if record.len() == 1 && record[0].is_empty() && table.names.len() > 1 {
            continue;
        }
        if share < 1.0 && rng.unit() >= share {
            continue;
        }
        for (index, column) in table.columns.iter_mut().enumerate() {
            column.push(record.get(index).map_or("", String::as_str));
        }
    }
    if table.names.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the table has no header"));
    }
    Ok(table)
}

/// Reads the record that starts at `at` and gives the place after its line end.
fn read_record(bytes: &[u8], mut at: usize, separator: u8, record: &mut Vec<String>) -> usize {
    record.clear();
    let mut cell: Vec<u8> = Vec::new();
    let mut quoted = false;
    loop {
        let byte = bytes.get(at).copied();
        at += 1;
        match byte {
            Some(b'"') if quoted && bytes.get(at) == Some(&b'"') => {
                cell.push(b'"');
                at += 1;
            }
            Some(b'"') if quoted => quoted = false,
            Some(b'"') if cell.is_empty() => quoted = true,
            Some(b'\r') if !quoted && bytes.get(at) == Some(&b'\n') => {}
            Some(byte) if quoted || (byte != separator && byte != b'\n') => cell.push(byte),
            end => {
                record.push(String::from_utf8_lossy(&cell).into_owned());
                cell.clear();
                if end != Some(separator) {
                    return at.min(bytes.len());
                }
            }
        }
    }
}

/// Writes `header` and `rows` aside and moves them into place, so that a half-written file is never
/// seen.
pub(crate) fn write(
    path: &Path,
    header: &[String],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let aside = path.with_extension("csv.part");
    let mut out = BufWriter::new(std::fs::File::create(&aside)?);
    write_record(&mut out, header)?;
    for row in rows {
        write_record(&mut out, &row)?;
    }
    out.flush()?;
    std::fs::rename(&aside, path)
}

fn write_record(out: &mut impl Write, cells: &[String]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if cell.contains([',', '"', '\n', '\r']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}
