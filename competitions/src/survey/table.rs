//! One pass over a table: CSV with whatever separator, JSON or Parquet.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use csv::ByteRecord;
use rayon::prelude::*;

use super::column::ColumnFacts;
use crate::formats::{Json, JsonList, JsonStyle, NumberRules};
use crate::frame::each_parquet_part;
use crate::prepare::{PrepareError, Raw};

/// Columns that a table may have.
const MOST_COLUMNS: usize = 20_000;
/// Bytes that one row may have: a quote that is never closed must not take all memory.
const ROW_BYTES: u64 = 64 << 20;
/// Rows that are looked at together.
const BATCH: usize = 2048;

/// What one pass over a table tells.
#[derive(Clone, Debug)]
pub struct TableFacts {
    /// Its path below the raw data, where archives count as folders.
    pub path: String,
    /// Its size, unpacked.
    pub bytes: u64,
    /// How it is written.
    pub form: TableForm,
    /// Rows without the header.
    pub rows: u64,
    /// Its columns in order.
    pub columns: Vec<ColumnFacts>,
    /// What is odd about it, as sentences.
    pub oddities: Vec<String>,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableForm {
    /// Lines of cells with this separator; the flag says whether the text is UTF-8.
    Csv { separator: u8, utf8: bool },
    /// A JSON list of objects.
    JsonList,
    /// An object a line.
    JsonLines,
    /// Parquet.
    Parquet,
}

impl TableFacts {
    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of the columns in order.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The name of the file without folders and endings.
    pub fn stem(&self) -> &str {
        stem(&self.path)
    }
}

/// The last part of a path without its endings.
pub fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// The form that a file's ending promises, if it promises a table.
pub(super) fn form_of_name(path: &str) -> Option<TableForm> {
    let ending = path.rsplit('.').next()?.to_ascii_lowercase();
    match ending.as_str() {
        "csv" | "tsv" | "tab" => Some(TableForm::Csv { separator: b',', utf8: true }),
        "json" => Some(TableForm::JsonList),
        "jsonl" | "ndjson" => Some(TableForm::JsonLines),
        "parquet" => Some(TableForm::Parquet),
        _ => None,
    }
}

/// Reads a table; none if the file turns out to hold none.
pub(super) fn read_table(
    raw: &Raw,
    path: &str,
    form: TableForm,
) -> Result<Option<TableFacts>, PrepareError> {
    let bytes = raw.size(path)?;
    let facts = TableFacts {
        path: path.to_owned(),
        bytes,
        form,
        rows: 0,
        columns: Vec::new(),
        oddities: Vec::new(),
    };
    if bytes == 0 {
        return Ok(None);
    }
    match form {
        TableForm::Csv { .. } => read_csv(raw, facts),
        TableForm::JsonList => read_json_list(raw, facts),
        TableForm::JsonLines => read_json_lines(raw, facts),
        TableForm::Parquet => read_parquet(raw, facts),
    }
}

/// Fails when one row has too many bytes.
struct Bounded<R> {
    inner: R,
    since_row: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.since_row.set(self.since_row.get() + read as u64);
        if self.since_row.get() > ROW_BYTES {
            return Err(io::Error::other("a row has more than 64 MiB; a quote may be open"));
        }
        Ok(read)
    }
}

fn read_csv(raw: &Raw, mut facts: TableFacts) -> Result<Option<TableFacts>, PrepareError> {
    const HEAD: usize = 1 << 16;
    let path = facts.path.clone();
    let wrong = |what: String| PrepareError::Unexpected { file: path.clone(), what };
    let found = raw.stream(&path, |stream| {
        let mut head = vec![0; HEAD];
        let length = read_full(stream, &mut head)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        head.truncate(length);
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(wrong("it is UTF-16; expected UTF-8 or Latin-1".to_owned()));
        }
        if memchr::memchr(0, &head).is_some() {
            return Ok(false);
        }
        let separator = separator_of(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head));
        let since_row = Rc::new(Cell::new(0));
        let whole = io::Cursor::new(head).chain(stream);
        let bounded = Bounded { inner: whole, since_row: Rc::clone(&since_row) };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(bounded);
        let mut header = ByteRecord::new();
        let is_there = reader.read_byte_record(&mut header);
        if !is_there.map_err(|error| wrong(format!("cannot be read: {error}")))? {
            return Ok(false);
        }
        if header.len() > MOST_COLUMNS {
            return Err(wrong(format!(
                "it has {} columns, expected {MOST_COLUMNS} at most",
                header.len()
            )));
        }
        facts.columns = header.iter().map(|name| ColumnFacts::new(&header_name(name))).collect();
        let mut ragged = Ragged::default();
        let mut utf8 = std::str::from_utf8(header.as_slice()).is_ok();
        let mut batch = vec![ByteRecord::new(); BATCH];
        loop {
            let mut count = 0;
            while count < BATCH {
                let more = reader.read_byte_record(&mut batch[count]);
                if !more.map_err(|error| wrong(format!("cannot be read: {error}")))? {
                    break;
                }
                since_row.set(0);
                let row = &batch[count];
                ragged.see(row.len(), header.len(), facts.rows + count as u64);
                utf8 = utf8 && std::str::from_utf8(row.as_slice()).is_ok();
                count += 1;
            }
            let rows = &batch[..count];
            facts.columns.par_iter_mut().enumerate().with_min_len(4).for_each(|(index, column)| {
                rows.iter().for_each(|row| column.add(row.get(index).unwrap_or_default()));
            });
            facts.rows += count as u64;
            if count < BATCH {
                break;
            }
        }
        facts.form = TableForm::Csv { separator, utf8 };
        facts.oddities.extend(ragged.oddity(header.len()));
        if !utf8 {
            facts.oddities.push("the text is not UTF-8; it was read as Latin-1".to_owned());
        }
        Ok(true)
    })?;
    Ok(found.then_some(facts))
}

/// Rows that have other numbers of cells than the header.
#[derive(Default)]
struct Ragged {
    first: Option<(u64, usize)>,
    count: u64,
}

impl Ragged {
    fn see(&mut self, cells: usize, expected: usize, row: u64) {
        if cells != expected {
            self.count += 1;
            self.first.get_or_insert((row, cells));
        }
    }

    fn oddity(&self, expected: usize) -> Option<String> {
        let (row, cells) = self.first?;
        Some(format!(
            "{} rows do not have the {expected} cells of the header, the first is row {} with {cells}",
            self.count,
            row + 1
        ))
    }
}

fn header_name(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.trim_start_matches('\u{feff}').to_owned()
}

/// Reads until the buffer is full or the stream ends.
fn read_full(stream: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match stream.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The separator that divides the most lines into the same number of cells, at least two.
fn separator_of(head: &[u8]) -> u8 {
    let lines: Vec<&[u8]> =
        head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(30).collect();
    let Some(first) = lines.first() else { return b',' };
    let outside_quotes = |line: &[u8], sign: u8| {
        let mut open = false;
        line.iter()
            .filter(|byte| {
                open ^= **byte == b'"';
                !open && **byte == sign
            })
            .count()
    };
    let fits = |sign: u8| {
        let cells = outside_quotes(first, sign);
        let same = lines.iter().filter(|line| outside_quotes(line, sign) == cells).count();
        if cells == 0 { (0, 0) } else { (same, cells) }
    };
    // A comma wins ties.
    let signs = [b',', b'\t', b';', b'|'];
    signs.into_iter().rev().max_by_key(|sign| fits(*sign)).unwrap_or(b',')
}

/// Columns by the keys of objects.
struct Keyed {
    facts: TableFacts,
    places: std::collections::HashMap<String, usize>,
}

impl Keyed {
    fn new(facts: TableFacts) -> Self {
        Self { facts, places: std::collections::HashMap::new() }
    }

    /// Takes the next object; false if the value is none.
    fn add(&mut self, value: &Json) -> bool {
        let Some(fields) = value.as_object() else { return false };
        for (key, value) in fields {
            let place = match self.places.get(key) {
                Some(place) => *place,
                None if self.facts.columns.len() >= MOST_COLUMNS => continue,
                None => {
                    let mut column = ColumnFacts::new(key);
                    (0..self.facts.rows).for_each(|_| column.add(b""));
                    self.facts.columns.push(column);
                    self.places.insert(key.clone(), self.facts.columns.len() - 1);
                    self.facts.columns.len() - 1
                }
            };
            let column = &mut self.facts.columns[place];
            if column.rows == self.facts.rows {
                column.add(json_cell(value).as_bytes());
            }
        }
        self.facts.rows += 1;
        for column in &mut self.facts.columns {
            if column.rows < self.facts.rows {
                column.add(b"");
            }
        }
        true
    }
}

fn json_cell(value: &Json) -> std::borrow::Cow<'_, str> {
    match value {
        Json::Null => "".into(),
        other => match other.as_str() {
            Some(text) => text.into(),
            None => other.dump(JsonStyle::Compact).into(),
        },
    }
}

fn read_json_list(raw: &Raw, facts: TableFacts) -> Result<Option<TableFacts>, PrepareError> {
    let path = facts.path.clone();
    let first = raw.stream(&path, |stream| {
        let mut head = vec![0; 4096];
        let length = read_full(stream, &mut head).unwrap_or(0);
        Ok(head[..length].iter().copied().find(|byte| !byte.is_ascii_whitespace()))
    })?;
    match first {
        Some(b'[') => {}
        // Lines of objects are often called `.json` too.
        Some(b'{') => {
            return read_json_lines(raw, TableFacts { form: TableForm::JsonLines, ..facts });
        }
        _ => return Ok(None),
    }
    let Ok(list) = JsonList::open(&raw.on_disk(&path)?, &path) else { return Ok(None) };
    let mut keyed = Keyed::new(facts);
    for value in list.iter() {
        if !keyed.add(&value.map_err(PrepareError::from)?) {
            return Ok(None);
        }
    }
    Ok((keyed.facts.rows > 0).then_some(keyed.facts))
}

fn read_json_lines(raw: &Raw, facts: TableFacts) -> Result<Option<TableFacts>, PrepareError> {
    let path = facts.path.clone();
    let mut keyed = Keyed::new(facts);
    let is_table = raw.stream(&path, |stream| {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = stream.take(ROW_BYTES).read_until(b'\n', &mut line);
            let read = read.map_err(|error| PrepareError::Unexpected {
                file: path.clone(),
                what: format!("cannot be read: {error}"),
            })?;
            if read == 0 {
                return Ok(true);
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            // A document over several lines is no table.
            let Ok(value) = Json::parse(&line, &path, NumberRules::Python) else {
                return Ok(false);
            };
            if !keyed.add(&value) {
                return Ok(false);
            }
        }
    })?;
    // One object alone is a document with facts, not a table of one row.
    Ok((is_table && keyed.facts.rows > 1).then_some(keyed.facts))
}

fn read_parquet(raw: &Raw, mut facts: TableFacts) -> Result<Option<TableFacts>, PrepareError> {
    let path = facts.path.clone();
    let file = raw.on_disk(&path)?;
    each_parquet_part(&file, &path, |part| -> Result<(), PrepareError> {
        let names: Vec<String> =
            part.column_names().iter().map(|name| (*name).to_owned()).collect();
        if facts.columns.is_empty() {
            facts.columns = names.iter().map(|name| ColumnFacts::new(name)).collect();
        }
        let mut rows = 0;
        for (column, name) in facts.columns.iter_mut().zip(&names) {
            // Lists and structures have no text; such a column stays without cells.
            let Ok(texts) = part.frame(&[name]).and_then(|frame| frame.texts(name)) else {
                continue;
            };
            rows = rows.max(texts.len() as u64);
            texts.iter().for_each(|text| column.add(text.as_bytes()));
        }
        facts.rows += rows;
        Ok(())
    })?;
    Ok(Some(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, text: &[u8]) -> Result<Option<TableFacts>, PrepareError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let raw = Raw::open(folder.path(), folder.path().join("scratch"), false).unwrap();
        read_table(&raw, name, form_of_name(name).unwrap())
    }

    #[test]
    fn separators_and_encodings_are_found() {
        for (text, separator) in [
            (&b"a,b\n1,2\n3,4\n"[..], b','),
            (b"a\tb\n1\t2,5\n3\t4\n", b'\t'),
            (b"a;b\n\"1,5\";2\n\"2,5\";4\n", b';'),
            (b"a|b\n1|2\n", b'|'),
            (b"a\n1\n", b','),
        ] {
            let facts = table("x.csv", text).unwrap().unwrap();
            let expected = TableForm::Csv { separator, utf8: true };
            assert_eq!(facts.form, expected, "{}", String::from_utf8_lossy(text));
        }
        let latin = table("x.csv", b"a,b\nk\xf6ln,1\n").unwrap().unwrap();
        assert_eq!(latin.form, TableForm::Csv { separator: b',', utf8: false });
        let marked = table("x.csv", b"\xef\xbb\xbfid,b\n1,2\n").unwrap().unwrap();
        assert_eq!(marked.names(), ["id", "b"]);
        let wide = table("x.csv", b"\xff\xfea\0,\0").unwrap_err().to_string();
        assert!(wide.contains("`x.csv`") && wide.contains("UTF-16"), "{wide}");
    }

    #[test]
    fn rows_that_are_too_short_or_long_are_named() {
        let facts = table("x.csv", b"a,b\n1,2\n3\n4,5,6\n").unwrap().unwrap();
        assert_eq!(facts.rows, 3);
        assert_eq!(
            facts.oddities,
            ["2 rows do not have the 2 cells of the header, the first is row 2 with 1"]
        );
    }

    #[test]
    fn json_comes_as_a_list_or_in_lines() {
        for (name, text) in [
            ("x.json", &br#"[{"id": "a", "y": true}, {"id": "b", "z": [1, 2]}]"#[..]),
            ("x.json", b"{\"id\": \"a\", \"y\": true}\n{\"id\": \"b\", \"z\": 1}\n"),
            ("x.jsonl", b"{\"id\": \"a\", \"y\": true}\n{\"id\": \"b\", \"z\": 1}\n"),
        ] {
            let facts = table(name, text).unwrap().unwrap();
            assert_eq!((facts.rows, facts.names()), (2, vec!["id", "y", "z"]), "{name}");
            assert_eq!((facts.columns[1].missing, facts.columns[2].missing), (1, 1));
        }
        assert!(table("x.json", br#"{"images": [], "info": {}}"#).unwrap().is_none());
        assert!(table("x.json", b"{\n \"a\": 1\n}").unwrap().is_none());
        assert!(table("x.csv", b"").unwrap().is_none());
    }
}
