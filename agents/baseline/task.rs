//! What is to be done, worked out from the files alone: tables, ids, targets, and how the answer
//! must look.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::image;
use super::table::{self, Column, Keep, Table};

/// How many paths are looked at below the data directory, and how deep.
const MOST_FILES: usize = 400_000;
const DEPTH: usize = 4;

pub(super) struct Task {
    pub(super) description: String,
    /// The sample submission: its header rules ours, its rows name what is asked.
    pub(super) sample: Table,
    /// The columns that name a row.
    pub(super) ids: Vec<String>,
    /// The columns of the sample submission that are to be filled.
    pub(super) wanted: Vec<String>,
    pub(super) train: Table,
    /// Test rows in the order of the sample submission; it may have the id columns alone.
    pub(super) test: Table,
    pub(super) answer: Answer,
    /// Picture files of the training and the test rows, where there are any.
    pub(super) pictures: Option<(Vec<PathBuf>, Vec<PathBuf>)>,
    pub(super) notes: Vec<String>,
}

/// What is known of a task beside its files; an agent knows nothing.
#[derive(Default)]
pub(super) struct Known {
    /// The sample submission, wherever it is.
    pub(super) sample: Option<PathBuf>,
    /// The columns that name a row, if it is known whether there are any.
    pub(super) ids: Option<Vec<String>>,
    /// The columns to fill.
    pub(super) targets: Vec<String>,
    /// More tables than lie among the data.
    pub(super) tables: Vec<PathBuf>,
    /// Words on the metric.
    pub(super) metric: String,
}

pub(super) enum Answer {
    /// A number per row.
    Number { column: String },
    /// A class per row, written as in the training table.
    Label { column: String, classes: Vec<String> },
    /// The chance of the second of two classes.
    Chance { column: String, classes: Vec<String> },
    /// A chance per class; `places[class]` is the wanted column.
    Chances { column: String, classes: Vec<String>, places: Vec<usize> },
    /// Several columns of the training table; `binary` if all hold 0 and 1 only.
    Several { columns: Vec<String>, binary: bool },
}

impl Answer {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Number { column } => format!("a number, `{column}`"),
            Self::Label { column, classes } => {
                format!("one of {} classes, `{column}`", classes.len())
            }
            Self::Chance { column, classes } => {
                format!("the chance of `{}`, `{column}`", classes[1])
            }
            Self::Chances { column, classes, .. } => {
                format!("a chance for each of {} classes, `{column}`", classes.len())
            }
            Self::Several { columns, binary } => {
                format!("{} {}", columns.len(), if *binary { "chances" } else { "numbers" })
            }
        }
    }
}

impl Task {
    /// Finds the tables, or says in a sentence what is missing; beside the task where each test row
    /// stands in the file of test rows, if there is one. `on_sample` sees the sample submission as
    /// soon as it is read.
    pub(super) fn find(
        data: &Path,
        seed: u64,
        known: &Known,
        on_sample: impl FnOnce(&Table) -> Result<(), String>,
    ) -> Result<(Self, Option<Vec<usize>>), String> {
        let files = walk(data);
        let description = files
            .iter()
            .find(|path| stem(path) == "description")
            .and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default();
        let tables: Vec<&PathBuf> =
            files.iter().chain(&known.tables).filter(|path| is_table(path)).collect();
        let is_sample = |path: &Path| {
            Some(path) == known.sample.as_deref()
                || stem(path).replace(['_', '-'], "").contains("samplesub")
        };
        let sample_path = known
            .sample
            .as_ref()
            .or_else(|| tables.iter().copied().find(|path| is_sample(path)))
            .ok_or("there is no sample submission among the data")?;
        let sample = load(sample_path, Keep::All)?;
        on_sample(&sample)?;
        if sample.names.len() < 2 {
            return Err("the sample submission has a single column".to_owned());
        }
        let mut notes = vec![format!(
            "sample submission: {} with {} rows",
            shown(data, sample_path),
            sample.rows()
        )];
        let ids = known.ids.clone().unwrap_or_else(|| vec![sample.names[0].clone()]);
        let wanted = match known.targets.is_empty() {
            true => sample.names[1..].to_vec(),
            false => known.targets.clone(),
        };
        let others = || tables.iter().filter(|path| !is_sample(path));
        let train_path = others()
            .filter(|path| !stem(path).contains("test"))
            .max_by_key(|path| {
                let name = stem(path);
                let header = header(path);
                let targets = wanted.iter().filter(|column| header.contains(column)).count();
                (
                    targets > 0,
                    name == "train",
                    name.contains("train"),
                    name.contains("label"),
                    targets,
                )
            })
            .ok_or("there is no training table (CSV) among the data")?;
        let train = load(train_path, Keep::Sample(seed))?;
        notes.push(format!(
            "training table: {} with {} rows",
            shown(data, train_path),
            train.rows()
        ));
        let test_path = others().filter(|path| stem(path).contains("test")).max_by_key(|path| {
            let header = header(path);
            (stem(path) == "test", ids.iter().all(|id| header.contains(id)))
        });
        let test = test_path
            .map(|path| load(path, Keep::All))
            .transpose()?
            .and_then(|table| aligned(&sample, table, &ids));
        let (test, places) = match test {
            Some((test, places)) => (test, Some(places)),
            None => {
                let named = ids.iter().filter(|id| sample.has(id));
                let columns = named.clone().filter_map(|id| sample.column(id).cloned()).collect();
                (Table { names: named.cloned().collect(), columns }, None)
            }
        };
        let text = format!("{description} {}", known.metric).to_lowercase();
        let answer = answer(&sample, &wanted, &ids, &train, &test, &text)?;
        let mut task = Self {
            description: text,
            sample,
            ids,
            wanted,
            train,
            test,
            answer,
            pictures: None,
            notes,
        };
        task.pictures = task.find_pictures(&files);
        Ok((task, places))
    }

    /// The one column that names a row in the training and in the test part, if there is one.
    pub(super) fn id(&self) -> Option<(&str, &Column, &Column)> {
        let [id] = self.ids.as_slice() else { return None };
        Some((id, self.train.column(id)?, self.sample.column(id)?))
    }

    /// The picture of every row, if nearly all rows have one.
    fn find_pictures(&self, files: &[PathBuf]) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
        let id = self.ids.first()?;
        let key = if self.train.has(id) { id } else { self.train.names.first()? };
        pictures(files, self.train.column(key), self.sample.column(id)?)
    }

    /// Columns that both tables have, without the targets.
    pub(super) fn shared_columns(&self) -> Vec<&str> {
        let targets: HashSet<&str> = self.targets().into_iter().collect();
        let shared = |name: &&String| self.test.has(name) && !targets.contains(name.as_str());
        self.train.names.iter().filter(shared).map(String::as_str).collect()
    }

    /// The columns of the training table that hold the answers.
    pub(super) fn targets(&self) -> Vec<&str> {
        match &self.answer {
            Answer::Number { column }
            | Answer::Label { column, .. }
            | Answer::Chance { column, .. }
            | Answer::Chances { column, .. } => vec![column],
            Answer::Several { columns, .. } => columns.iter().map(String::as_str).collect(),
        }
    }
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn is_table(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    [".csv", ".tsv", ".csv.zip", ".tsv.zip"].iter().any(|ending| name.ends_with(ending))
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![(root.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if depth < DEPTH {
                    folders.push((path, depth + 1));
                }
            } else {
                out.push(path);
            }
            if out.len() >= MOST_FILES {
                break;
            }
        }
    }
    // Shallow files first, then by name: equal data gives equal choices.
    out.sort_by_key(|path| (path.components().count(), path.clone()));
    out
}

fn load(path: &Path, keep: Keep) -> Result<Table, String> {
    let fail = |problem: String| format!("cannot read {}: {problem}", path.display());
    let name = path.to_string_lossy().to_lowercase();
    let separator = if name.contains(".tsv") { b'\t' } else { b',' };
    let table = if name.ends_with(".zip") {
        let bytes = fs::read(path).map_err(|e| fail(e.to_string()))?;
        let members =
            image::unzip(&bytes, |name| is_table(Path::new(name)) && !name.starts_with("__MACOSX"))
                .map_err(|e| fail(e.to_owned()))?;
        drop(bytes);
        let text = members.into_iter().next().ok_or_else(|| fail("no table inside".to_owned()))?.1;
        table::parse(text.as_slice(), text.len() as u64, separator, keep)
    } else {
        let size = fs::metadata(path).map_or(0, |data| data.len());
        let file = fs::File::open(path).map_err(|e| fail(e.to_string()))?;
        table::parse(file, size, separator, keep)
    };
    table.map_err(|e| fail(e.to_string()))
}

fn header(path: &Path) -> Vec<String> {
    use std::io::{BufRead, BufReader};
    let mut line = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    match read {
        Ok(_) => table::parse(line.as_slice(), line.len() as u64, b',', Keep::All)
            .map(|table| table.names)
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// The test rows in the sample's order and where they stood, or nothing if they do not belong
/// together.
fn aligned(sample: &Table, test: Table, ids: &[String]) -> Option<(Table, Vec<usize>)> {
    let as_they_are = |test: Table| {
        let places = (0..test.rows()).collect();
        (test, places)
    };
    let keys = |table: &Table| -> Option<Vec<String>> {
        let columns: Vec<&Column> = ids.iter().map(|id| table.column(id)).collect::<Option<_>>()?;
        let key =
            |row| columns.iter().map(|column| column.get(row)).collect::<Vec<_>>().join("\u{1f}");
        (!columns.is_empty()).then(|| (0..table.rows()).map(key).collect())
    };
    let (Some(asked), Some(there)) = (keys(sample), keys(&test)) else {
        return (test.rows() == sample.rows()).then(|| as_they_are(test));
    };
    if asked == there {
        return Some(as_they_are(test));
    }
    let places: HashMap<&str, usize> =
        there.iter().enumerate().map(|(row, key)| (key.as_str(), row)).collect();
    let rows: Option<Vec<usize>> =
        asked.iter().map(|id| places.get(id.as_str()).copied()).collect();
    rows.map(|rows| (test.take(&rows), rows))
}

pub(super) fn number(cell: &str) -> Option<f64> {
    cell.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

fn distinct(column: &Column) -> Vec<String> {
    let set: BTreeSet<&str> = column.iter().collect();
    let mut out: Vec<String> = set.into_iter().map(str::to_owned).collect();
    if out.iter().all(|cell| number(cell).is_some()) {
        out.sort_by(|a, b| number(a).partial_cmp(&number(b)).expect("finite numbers"));
    }
    out
}

/// Works out what is asked; `text` is what is said of the task, in lower case.
fn answer(
    sample: &Table,
    wanted: &[String],
    ids: &[String],
    train: &Table,
    test: &Table,
    text: &str,
) -> Result<Answer, String> {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if wanted.len() > 1 {
        if wanted.iter().all(|name| train.has(name)) {
            let binary = wanted.iter().all(|name| {
                train.column(name).is_some_and(|c| {
                    c.iter().all(|cell| matches!(number(cell), Some(v) if v == 0.0 || v == 1.0))
                })
            });
            return Ok(Answer::Several { columns: wanted.to_vec(), binary });
        }
        // One column of the training table holds the classes that the submission has a column for.
        for (name, column) in train.names.iter().zip(&train.columns).rev() {
            let classes = distinct(column);
            if classes.len() != wanted.len() || test.has(name) {
                continue;
            }
            let exact = |class: &String| wanted.iter().position(|column| column == class);
            let ending = |class: &String| {
                wanted.iter().position(|column| {
                    column.ends_with(&format!("_{class}")) || column.ends_with(&format!(" {class}"))
                })
            };
            let places: Option<Vec<usize>> = classes
                .iter()
                .map(exact)
                .collect::<Option<_>>()
                .or_else(|| classes.iter().map(ending).collect());
            if let Some(places) = places {
                return Ok(Answer::Chances { column: name.clone(), classes, places });
            }
        }
        return Err("the submission has several columns that the training table does not explain"
            .to_owned());
    }
    let column = if train.has(&wanted[0]) {
        wanted[0].clone()
    } else {
        let mut extra = train.names.iter().filter(|name| !test.has(name) && !ids.contains(name));
        match (extra.next(), extra.next()) {
            (Some(name), None) => name.clone(),
            _ => return Err(format!("the training table has no column `{}`", wanted[0])),
        }
    };
    let classes = distinct(train.column(&column).expect("found above"));
    let numeric = classes.iter().all(|cell| number(cell).is_some());
    let whole =
        numeric && classes.iter().all(|cell| number(cell).is_some_and(|v| v.fract() == 0.0));
    let distance = says(&[
        "rmse",
        "mean squared",
        "squared error",
        "absolute error",
        "logarithmic error",
        "kappa",
        "rmsle",
    ]);
    if numeric && (!whole || classes.len() > 60 || (classes.len() > 2 && distance)) {
        return Ok(Answer::Number { column });
    }
    if classes.len() == 2 {
        let fractions = sample.column(&wanted[0]).is_some_and(|asked| {
            asked.iter().any(|cell| number(cell).is_some_and(|v| v.fract() != 0.0))
        });
        let ranked = says(&[
            "auc",
            "area under",
            "log loss",
            "logloss",
            "log_loss",
            "average precision",
            "probabilit",
        ]);
        if fractions || (ranked && !says(&["classification accuracy"])) {
            return Ok(Answer::Chance { column, classes });
        }
    }
    Ok(Answer::Label { column, classes })
}

/// The picture of every row, if nearly all rows have one.
fn pictures(
    files: &[PathBuf],
    train: Option<&Column>,
    test: &Column,
) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut by_name: [HashMap<String, &PathBuf>; 2] = [HashMap::new(), HashMap::new()];
    for path in files {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let known = [".png", ".jpg", ".jpeg"]
            .iter()
            .find_map(|ending| name.to_lowercase().strip_suffix(ending).map(str::len));
        if let Some(length) = known {
            let folder =
                path.parent().map(|p| p.to_string_lossy().to_lowercase()).unwrap_or_default();
            let part =
                usize::from(folder.rsplit('/').next().is_some_and(|last| last.contains("test")));
            by_name[part].insert(name[..length].to_owned(), path);
            by_name[part].insert(name, path);
        }
    }
    let look_up = |column: &Column, part: usize| -> Vec<PathBuf> {
        column
            .iter()
            .map(|id| {
                by_name[part]
                    .get(id)
                    .or_else(|| by_name[1 - part].get(id))
                    .map(|path| (*path).clone())
                    .unwrap_or_default()
            })
            .collect()
    };
    let (train, test) = (look_up(train?, 0), look_up(test, 1));
    let missing =
        |paths: &[PathBuf]| paths.iter().filter(|path| path.as_os_str().is_empty()).count();
    let few = |paths: &[PathBuf]| !paths.is_empty() && missing(paths) * 20 <= paths.len();
    (few(&train) && few(&test)).then_some((train, test))
}
