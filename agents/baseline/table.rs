//! Comma-separated tables: a tolerant reader into text columns, and a writer.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::rng::Rng;

/// Above this many bytes a training table is thinned while it is read, so that memory stays
/// bounded.
const THIN_ABOVE: u64 = 96 << 20;

/// The cells of a column, one after the other in a single buffer.
#[derive(Clone, Default)]
pub(super) struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    pub(super) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    pub(super) fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..self.ends[row]]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    pub(super) fn take(&self, rows: &[usize]) -> Column {
        let mut out = Column::default();
        for &row in rows {
            out.push(self.get(row));
        }
        out
    }
}

#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<Column>,
}

impl Table {
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.names.iter().position(|n| n == name).map(|at| &self.columns[at])
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// Writes it aside and moves it into place, so that a half-written file is never seen.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("csv.part");
        let mut out = BufWriter::new(std::fs::File::create(&aside)?);
        write_record(&mut out, self.names.iter().map(String::as_str))?;
        for row in 0..self.rows() {
            write_record(&mut out, self.columns.iter().map(|column| column.get(row)))?;
        }
        out.flush()?;
        std::fs::rename(&aside, path)
    }

    pub(super) fn take(&self, rows: &[usize]) -> Table {
        Table {
            names: self.names.clone(),
            columns: self.columns.iter().map(|c| c.take(rows)).collect(),
        }
    }
}

/// What may be dropped while reading.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keep {
    All,
    /// A seeded share of the rows of a very large file.
    Sample(u64),
}

/// Reads a table of `size` bytes whose first record is its header, a piece at a time. Short records
/// are filled up, surplus cells dropped.
pub(super) fn parse(from: impl Read, size: u64, separator: u8, keep: Keep) -> io::Result<Table> {
    let mut text = Text::new(from)?;
    let share = match keep {
        Keep::Sample(_) if size > THIN_ABOVE => THIN_ABOVE as f64 / size as f64,
        _ => 1.0,
    };
    let mut rng = Rng::new(if let Keep::Sample(seed) = keep { seed } else { 0 });
    let mut table = Table::default();
    let mut record: Vec<String> = Vec::new();
    while text.record(separator, &mut record)? {
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

/// The bytes of a file, with a look at the next one.
struct Text<R> {
    from: R,
    piece: Vec<u8>,
    at: usize,
    end: usize,
}

impl<R: Read> Text<R> {
    /// Without a byte-order mark.
    fn new(from: R) -> io::Result<Self> {
        let mut text = Self { from, piece: vec![0; 1 << 18], at: 0, end: 0 };
        text.fill()?;
        if text.piece[..text.end].starts_with(b"\xEF\xBB\xBF") {
            text.at = 3;
        }
        Ok(text)
    }

    fn fill(&mut self) -> io::Result<()> {
        (self.at, self.end) = (0, 0);
        // A byte-order mark is looked for in the first piece, so it must not be cut.
        while self.end < 3 {
            match self.from.read(&mut self.piece[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.end {
            self.fill()?;
        }
        Ok((self.at < self.end).then(|| self.piece[self.at]))
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Reads the next record; false at the end.
    fn record(&mut self, separator: u8, record: &mut Vec<String>) -> io::Result<bool> {
        record.clear();
        if self.peek()?.is_none() {
            return Ok(false);
        }
        let mut cell: Vec<u8> = Vec::new();
        let mut quoted = false;
        loop {
            match self.next()? {
                Some(b'"') if quoted && self.peek()? == Some(b'"') => {
                    cell.push(b'"');
                    self.at += 1;
                }
                Some(b'"') if quoted => quoted = false,
                Some(b'"') if cell.is_empty() => quoted = true,
                Some(b'\r') if !quoted && self.peek()? == Some(b'\n') => {}
                Some(byte) if quoted || (byte != separator && byte != b'\n') => cell.push(byte),
                end => {
                    record.push(String::from_utf8_lossy(&cell).into_owned());
                    cell.clear();
                    if end != Some(separator) {
                        return Ok(true);
                    }
                }
            }
        }
    }
}

fn write_record<'a>(out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    for (index, cell) in cells.enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn a_table_is_the_same_in_whatever_pieces_it_comes() {
        let text = "\u{feff}id,text\r\n1,\"a \"\"b\"\", c\nd\"\n2,\n\n3,plain,surplus\r\n4";
        for pieces in [1, 2, 3, 7, 1000] {
            let from = Drip(text.as_bytes(), pieces);
            let table = parse(from, text.len() as u64, b',', Keep::All).unwrap();
            assert_eq!(table.names, ["id", "text"]);
            let cells = |name: &str| table.column(name).unwrap().iter().collect::<Vec<_>>();
            assert_eq!(cells("id"), ["1", "2", "3", "4"], "{pieces}");
            assert_eq!(cells("text"), ["a \"b\", c\nd", "", "plain", ""], "{pieces}");
        }
    }

    #[test]
    fn a_written_table_is_read_again() {
        let text = "id,text\n1,\"a, \"\"b\"\"\nc\"\n2,plain\n";
        let parsed = |bytes: &[u8]| parse(bytes, bytes.len() as u64, b',', Keep::All).unwrap();
        let path = std::env::temp_dir().join(format!("medalist-table-{}.csv", std::process::id()));
        parsed(text.as_bytes()).write(&path).unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }

    #[test]
    fn a_large_table_is_thinned_by_its_seed() {
        let text = format!("id\n{}", "1\n".repeat(10_000));
        let read = |seed| {
            // As if it were ten times the size at which thinning begins.
            let table = parse(text.as_bytes(), 10 * THIN_ABOVE, b',', Keep::Sample(seed)).unwrap();
            table.rows()
        };
        assert!((800..1200).contains(&read(1)), "{}", read(1));
        assert_eq!(read(1), read(1));
    }
}
