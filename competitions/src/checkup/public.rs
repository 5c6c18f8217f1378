//! Whether what agents see tells the answers: tables with rows of the test part and true values in
//! the answers' columns.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use medalist_grading::Answers;
use medalist_grading::table::Table;

use super::answers::JOINT;
use super::{Check, FileProblem, Layer, Subject, counted, failed, not_applicable, passed, skipped};
use crate::archive::ZipSource;
use crate::prepare::PrepareError;

const NAME: &str = "no-answers";

/// Goes through every public table that has the answers' id columns and at least one of their
/// target columns.
pub(super) fn check(subject: &Subject<'_>) -> Result<Check, PrepareError> {
    let path = subject.spec.answers_path(&subject.prepared);
    let table = match Answers::read(&path) {
        Ok(Answers::Table(table)) => table,
        Ok(Answers::Lines(_)) => {
            return Ok(not_applicable(NAME, Layer::Prepared, "the answers are no table"));
        }
        Err(_) => return Ok(skipped(NAME, Layer::Prepared, "the answers cannot be read")),
    };
    let Some(answers) = Truth::of(subject, &table) else {
        return Ok(not_applicable(NAME, Layer::Prepared, "the answers do not name their rows"));
    };
    let public = subject.home.public();
    let (mut files, mut looked_at) = (Vec::new(), 0);
    for entry in
        walkdir::WalkDir::new(&public).sort_by_file_name().into_iter().filter_map(Result::ok)
    {
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry
            .path()
            .strip_prefix(&subject.prepared)
            .unwrap_or(entry.path())
            .to_string_lossy()
            .into_owned();
        let mut look = |name: &str, stream: &mut dyn Read| {
            let found = answers.found_in(name, stream);
            looked_at += usize::from(found.is_some());
            if let Some(problem) = found.flatten() {
                files.push(FileProblem { file: name.to_owned(), problem });
            }
        };
        if is_table(&name) {
            let mut file = std::fs::File::open(entry.path()).map_err(|source| {
                PrepareError::Io { action: "read", path: entry.path().to_owned(), source }
            })?;
            look(&name, &mut file);
        } else if name.to_ascii_lowercase().ends_with(".zip") {
            look_into(entry.path(), &name, &mut look);
        }
    }
    Ok(match files.is_empty() {
        _ if looked_at == 0 => {
            not_applicable(NAME, Layer::Prepared, "no table in `public/` has the answers' columns")
        }
        true => passed(
            NAME,
            Layer::Prepared,
            format!("no answers in the {} of `public/`", counted(looked_at, "table")),
        ),
        false => failed(NAME, Layer::Prepared, "public files tell answers", files),
    })
}

fn is_table(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".csv", ".tsv"].iter().any(|ending| name.ends_with(ending))
}

/// The tables in a zip; one that cannot be read is another check's matter.
fn look_into(path: &Path, name: &str, look: &mut dyn FnMut(&str, &mut dyn Read)) {
    let Ok(zip) = ZipSource::open(path, name, false) else { return };
    for member in zip.below("").filter(|member| is_table(member)) {
        if let Ok(mut stream) = zip.stream(member) {
            look(&format!("{name}/{member}"), &mut stream);
        }
    }
}

/// The true values of the test rows.
struct Truth<'a> {
    id_columns: [&'a [String]; 2],
    target_columns: [&'a [String]; 2],
    table: &'a Table,
    rows: HashMap<String, usize>,
}

impl<'a> Truth<'a> {
    fn of(subject: &'a Subject<'_>, table: &'a Table) -> Option<Self> {
        let spec = &subject.spec.grading;
        let columns: Vec<_> =
            spec.answer_ids().iter().map(|name| table.column(name)).collect::<Option<_>>()?;
        if columns.is_empty() {
            return None;
        }
        let id = |row: usize| join(columns.iter().map(|column| column.raw(row)));
        let rows = (0..table.rows()).map(|row| (id(row), row)).collect();
        let id_columns = [spec.id_columns.as_slice(), spec.answer_ids()];
        Some(Self {
            id_columns,
            target_columns: [&spec.target_columns, spec.answer_targets()],
            table,
            rows,
        })
    }

    /// What a public table tells of the answers. `None` if it lacks their columns, `Some(None)` if
    /// it tells nothing.
    ///
    /// Values prove a leak where they are those of the answers in every test row that has any, are
    /// not all the same one, and are there for a tenth of the answers: guesses fail that, and so do
    /// training rows that happen to be numbered alike.
    fn found_in(&self, name: &str, stream: &mut dyn Read) -> Option<Option<String>> {
        let delimiter = if name.to_ascii_lowercase().ends_with(".tsv") { b'\t' } else { b',' };
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(stream);
        let header = reader.byte_headers().ok()?.clone();
        let place = |name: &String| header.iter().position(|cell| cell == name.as_bytes());
        let all = |names: &[String]| names.iter().map(place).collect::<Option<Vec<usize>>>();
        let ids = self.id_columns.iter().find_map(|names| all(names))?;
        let targets: Vec<(usize, &String, _)> = self.target_columns[0]
            .iter()
            .zip(self.target_columns[1])
            .filter_map(|(asked, known)| {
                Some((place(asked).or_else(|| place(known))?, asked, self.table.column(known)?))
            })
            .collect();
        // A single column of ids that is also the target says nothing.
        let targets: Vec<_> =
            targets.into_iter().filter(|(column, ..)| !ids.contains(column)).collect();
        if targets.is_empty() {
            return None;
        }
        let mut tallies = vec![Tally::default(); targets.len()];
        let mut record = csv::ByteRecord::new();
        while let Ok(true) = reader.read_byte_record(&mut record) {
            let cell = |column: usize| {
                std::str::from_utf8(record.get(column).unwrap_or_default()).unwrap_or_default()
            };
            let Some(&row) = self.rows.get(&join(ids.iter().map(|&column| cell(column)))) else {
                continue;
            };
            for ((column, _, truth), tally) in targets.iter().zip(&mut tallies) {
                tally.add(cell(*column), truth.raw(row));
            }
            if tallies.iter().all(|tally| tally.differs) {
                return Some(None);
            }
        }
        let tells =
            |tally: &Tally| !tally.differs && tally.varies && tally.equal * 10 >= self.rows.len();
        let told: Vec<String> = targets
            .iter()
            .zip(&tallies)
            .filter(|(_, tally)| tells(tally))
            .map(|((_, name, _), tally)| {
                format!("`{name}` of {} of {} test rows", tally.equal, self.rows.len())
            })
            .collect();
        Some((!told.is_empty()).then(|| format!("tells {}", told.join(", "))))
    }
}

/// How the cells of one column compare with the answers.
#[derive(Clone, Default)]
struct Tally {
    equal: usize,
    differs: bool,
    varies: bool,
    first: Option<String>,
}

impl Tally {
    fn add(&mut self, found: &str, truth: &str) {
        if self.differs || found.trim().is_empty() {
            return;
        }
        if !is_same(found, truth) {
            self.differs = true;
            return;
        }
        self.equal += 1;
        match &self.first {
            None => self.first = Some(truth.to_owned()),
            Some(first) => self.varies |= first != truth,
        }
    }
}

/// `1`, `1.0` and ` 1` are one value.
fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn join<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let mut id = String::new();
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            id.push(JOINT);
        }
        id.push_str(cell);
    }
    id
}
