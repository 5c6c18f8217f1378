//! What is known of a competition's tables without asking anybody: statistics of columns, and rows.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use medalist_reports::stats::Rng;

/// Bytes of a table that are read.
const MOST: u64 = 256 << 20;
/// The longest row that is asked for, in bytes.
const LONGEST_ROW: usize = 600;
/// The shortest rest of a row that tells rows apart, in characters.
const SHORTEST_REST: usize = 6;

/// A column of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) mean: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// How many different values.
    pub(super) distinct: f64,
}

/// A row that is cut in two: what is shown, and what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) shown: String,
    pub(super) rest: String,
}

/// Sums over a column while it is read.
#[derive(Default)]
struct Sums {
    count: u64,
    missing: u64,
    text: bool,
    sum: f64,
    min: f64,
    max: f64,
    distinct: HashSet<u64>,
}

impl Sums {
    fn take(&mut self, cell: &str) {
        let cell = cell.trim();
        if cell.is_empty() || cell.eq_ignore_ascii_case("nan") || self.text {
            self.missing += 1;
            return;
        }
        let Some(value) = cell.parse::<f64>().ok().filter(|value| value.is_finite()) else {
            self.text = true;
            return;
        };
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let mut hasher = DefaultHasher::new();
        value.to_bits().hash(&mut hasher);
        self.distinct.insert(hasher.finish());
    }
}

/// A table of the public data by its name, with or without labels.
pub(super) fn find(public: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| public.join(name)).find(|path| path.is_file())
}

/// Up to `most` columns of numbers, spread over the table, that say more than a flag does.
///
/// # Errors
/// In words, why there are none.
pub(super) fn columns(table: &Path, most: usize) -> Result<Vec<Column>, String> {
    let file = File::open(table).map_err(|error| error.to_string())?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.take(MOST));
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let mut sums: Vec<Sums> = header.iter().map(|_| Sums::default()).collect();
    let mut record = csv::StringRecord::new();
    // A row that is cut off by the limit, or not UTF-8, ends the reading.
    while reader.read_record(&mut record).unwrap_or(false) {
        for (sums, cell) in sums.iter_mut().zip(&record) {
            sums.take(cell);
        }
    }
    let all: Vec<Column> = header
        .iter()
        .zip(&sums)
        .filter(|(_, sums)| !sums.text && sums.count >= 20 && sums.distinct.len() > 2)
        .map(|(name, sums)| Column {
            name: name.to_owned(),
            mean: sums.sum / sums.count as f64,
            min: sums.min,
            max: sums.max,
            distinct: sums.distinct.len() as f64,
        })
        .collect();
    if all.len() < 2 {
        return Err("fewer than two columns of numbers".to_owned());
    }
    let count = most.min(all.len());
    Ok((0..count).map(|at| all[at * all.len() / count].clone()).collect())
}

/// The header and up to `most` rows, drawn at random but always the same, each cut after half of its
/// fields.
///
/// # Errors
/// In words, why there are none.
pub(super) fn rows(table: &Path, most: usize, rng: &mut Rng) -> Result<(String, Vec<Row>), String> {
    let file = File::open(table).map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok);
    let text =
        |line: Vec<u8>| String::from_utf8(line).ok().map(|l| l.trim_end_matches('\r').to_owned());
    let header = lines.next().and_then(text).ok_or("it has no header")?;
    let fields = header.split(',').count();
    if fields < 4 {
        return Err("fewer than four columns".to_owned());
    }
    // Reservoir sampling: every row is as likely as any other, whatever their number.
    let (mut drawn, mut seen): (Vec<Row>, usize) = (Vec::new(), 0);
    for line in lines.filter_map(text) {
        // A field in quotes may hold a comma or a line end, which a plain cut does not see.
        if line.len() > LONGEST_ROW || line.contains('"') || line.split(',').count() != fields {
            continue;
        }
        let Some(row) = cut(&line, fields / 2) else { continue };
        seen += 1;
        if drawn.len() < most {
            drawn.push(row);
        } else {
            let at = rng.below(seen);
            if at < most {
                drawn[at] = row;
            }
        }
    }
    if drawn.len() < 4 {
        return Err(format!(
            "fewer than four plain rows of at most {LONGEST_ROW} bytes whose second half says anything"
        ));
    }
    Ok((header, drawn))
}

/// A line in two, after so many fields.
fn cut(line: &str, fields: usize) -> Option<Row> {
    let (at, _) = line.match_indices(',').nth(fields - 1)?;
    let (shown, rest) = (&line[..=at], &line[at + 1..]);
    let says = rest.chars().filter(|c| c.is_alphanumeric()).count();
    (says >= SHORTEST_REST).then(|| Row { shown: shown.to_owned(), rest: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.csv"), text).unwrap();
        dir
    }

    #[test]
    fn only_columns_of_numbers_have_statistics() {
        let rows: String =
            (0..30).map(|i| format!("r{i},{i},{},{}\n", i % 2, i as f64 / 4.0)).collect();
        let dir = table(&format!("id,n,flag,x\n{rows}"));
        let path = find(dir.path(), &["nope.csv", "train.csv"]).unwrap();
        let found = columns(&path, 8).unwrap();
        let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["n", "x"]);
        assert_eq!(
            (found[0].mean, found[0].min, found[0].max, found[0].distinct),
            (14.5, 0.0, 29.0, 30.0)
        );
        let dir = table("id,n\na,b\n");
        assert!(columns(&dir.path().join("train.csv"), 8).is_err());
    }

    #[test]
    fn rows_are_cut_in_two_and_always_the_same() {
        let rows: String = (0..500).map(|i| format!("r{i},{i},abc{i},def{i}\r\n")).collect();
        let dir = table(&format!("id,n,a,b\n\"x,y\",1,abc,def\nshort\n{rows}"));
        let draw = || self::rows(&dir.path().join("train.csv"), 10, &mut Rng::new(7)).unwrap();
        let (header, drawn) = draw();
        assert_eq!((header.as_str(), drawn.len()), ("id,n,a,b", 10));
        assert_eq!(draw().1, drawn);
        assert!(drawn.iter().all(|row| row.shown.ends_with(',') && row.rest.starts_with("abc")));
        assert!(drawn.iter().any(|row| !row.shown.starts_with("r0,")));
        let dir = table("a,b\n1,2\n");
        assert!(self::rows(&dir.path().join("train.csv"), 10, &mut Rng::new(7)).is_err());
    }
}
