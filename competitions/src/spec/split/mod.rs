//! `[split]` of a `competition.toml`: how the public and private data come out of the raw ones,
//! said and not programmed.

pub(crate) mod check;
pub(crate) mod clock;
mod fill;
mod size;
mod template;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use fill::{Fill, Guess, GuessRule, Number};
pub use size::{Lasting, TestSize, TimeUnit};
pub use template::{Field, Piece, Template};

/// How a competition is prepared: which rows become the test part, and what is written.
///
/// Raw paths lie below the raw data, where archives count as folders
/// (`train.zip/train/1.jpg`); written paths begin with `public/` or `private/`, and where one leads
/// through an archive (`public/train.zip/1.jpg`) the archive is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// The raw table whose rows are divided; or a path with placeholders, `train/{label}/{id}.png`,
    /// which stands for a table of the files that fit it, with the placeholders as columns, sorted
    /// by path.
    pub table: Template,
    /// How the rows are divided.
    #[serde(default)]
    pub method: SplitMethod,
    /// The column of `stratified` (the class), `grouped` (the group), `time` (the time) and, if
    /// given, `given` (what both parts must not share).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How large the test part is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_size: Option<TestSize>,
    /// `time`: the first time of the test part, in the place of `test_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Seeds the split.
    #[serde(default)]
    pub seed: u32,
    /// A column by whose text the rows of both parts are sorted, and those of tables that follow
    /// by it. Left out, they stay in the order of the split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// `given`: files that hold a whole part are copied byte for byte, and not printed anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub as_is: bool,
    /// What stands between the cells of raw tables, if it is no comma; those that end with `.tsv`
    /// have tabs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// How text is quoted in written tables.
    #[serde(default, skip_serializing_if = "is_default")]
    pub quoting: SplitQuoting,
    /// How floats of raw tables are read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub floats: SplitFloats,
    /// Types of columns, where those found by looking at the values will not do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, ColumnType>,
    /// Rows that are left out before the split: columns, and the values that such rows have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leave_out: BTreeMap<String, Vec<String>>,
    /// New text columns, from the values of others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, Template>,
    /// A column whose values are numbered anew in each part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renumber: Option<Renumber>,
    /// The table of the train part. Left out, it is `public/train.csv` with all columns, or no
    /// table where the rows are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainTable>,
    /// The table of the test part that agents see. Left out, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestTable>,
    /// The answers, written where `[data] answers` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub answers: AnswersTable,
    /// The sample submission, written where `[data] sample_submission` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sample: SampleTable,
    /// A submission of the best score, written where `[data] gold_submission` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold: Option<GoldTable>,
    /// Tables whose rows go where the rows of the main table with the same key went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<FollowingTable>,
    /// Files and folders that are copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<CopyFiles>,
}

impl SplitSpec {
    /// A split of one table with nothing set but its path.
    pub fn of_table(table: Template) -> Self {
        Self {
            table,
            method: SplitMethod::default(),
            by: None,
            test_size: None,
            cut: None,
            seed: 0,
            sort: None,
            as_is: false,
            separator: None,
            quoting: SplitQuoting::default(),
            floats: SplitFloats::default(),
            types: BTreeMap::new(),
            leave_out: BTreeMap::new(),
            add: BTreeMap::new(),
            renumber: None,
            train: None,
            test: None,
            answers: AnswersTable::default(),
            sample: SampleTable::default(),
            gold: None,
            tables: Vec::new(),
            copy: Vec::new(),
        }
    }

    /// Where the train table is written, if it is.
    pub fn train_file(&self) -> Option<&str> {
        match &self.train {
            Some(TrainTable { file: Some(file), .. }) => Some(file),
            None if self.table.has_fields() => None,
            _ => Some("public/train.csv"),
        }
    }

    /// Where the public test table is written, if it is.
    pub fn test_file(&self) -> Option<&str> {
        self.test.as_ref().map(|test| test.file.as_deref().unwrap_or("public/test.csv"))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How rows are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitMethod {
    /// scikit-learn's `train_test_split`.
    #[default]
    Random,
    /// scikit-learn's `train_test_split(stratify=...)`: each class of `by` in the same shares.
    Stratified,
    /// The distinct values of `by`, in the order in which they appear, are divided by
    /// `train_test_split`; all rows of a value go where it went and stay in the table's order.
    Grouped,
    /// The latest rows by `by` are the test part; rows of one time are never divided.
    Time,
    /// The parts are files of their own.
    Given,
}

impl SplitMethod {
    /// The word used in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Stratified => "stratified",
            Self::Grouped => "grouped",
            Self::Time => "time",
            Self::Given => "given",
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// Integers.
    Int,
    /// Doubles.
    Float,
    /// `True` and `False`.
    Bool,
    /// Text, so that `0012` stays as it is.
    Text,
}

/// How text is quoted in written tables; Python's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitQuoting {
    /// Where a text needs it.
    #[default]
    Minimal,
    /// All text, the names of the columns included.
    Nonnumeric,
}

/// How floats of raw tables are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitFloats {
    /// To the nearest double.
    #[default]
    Exact,
    /// As pandas' default parser does, which may miss the last digit.
    Pandas,
}

/// One of the two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What agents learn from.
    Train,
    /// What they are graded on.
    Test,
}

impl Part {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// What stands for `{part}`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What gets a number of its own where a column is numbered anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberEach {
    /// Every row.
    #[default]
    Row,
    /// Every value that there was, in the order in which they appear: equal values stay equal.
    Value,
}

/// New values of a column, numbered in the order of the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renumber {
    /// The column.
    pub column: String,
    /// What gets a number of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub each: NumberEach,
    /// The first number.
    #[serde(default)]
    pub from: i64,
    /// Whether the test part goes on where the train part ended, and does not begin anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// The new values of the train part, with `{n}` for the number; left out, they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Template>,
    /// The same of the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Template>,
}

/// The table of the train part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainTable {
    /// Where it is written; `public/train.csv` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its columns in order; all of the raw table if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Columns that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
}

/// The table of the test part that agents see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestTable {
    /// `given`: the raw table of the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it is written; `public/test.csv` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its columns in order; all of the raw table if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Columns that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
}

/// The answers: the rows of the test part, in the shape that grading reads.
///
/// The steps follow one another as the keys do: columns are renamed, spread, turned into rows and
/// put together, and those named are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswersTable {
    /// `given`: the raw table with the answers, if it is not that of the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its columns in order. Left out: the id and target columns of `[grading]` where the shape is
    /// changed, else all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Old and new names of columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// A column a class, 1 in that of the row's class and 0 in the others: the text that names the
    /// row's column among the target columns, `{breed}` or `digit_{label}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_hot: Option<Template>,
    /// A row for each of several columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpivot: Option<Unpivot>,
    /// One row for each value of this column, sorted by its text: the first, or all of them
    /// joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_row_per: Option<String>,
    /// What is put between the values of the rows that `one_row_per` joins; without it the first
    /// row counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
}

/// Columns that become rows, as with pandas' `melt`: all rows of the first column, then those of
/// the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpivot {
    /// The columns.
    pub columns: Vec<String>,
    /// The id of a new row, with `{column}` for the name of the column that it comes from.
    pub id: Template,
    /// The name of the column with the ids; the first id column of `[grading]` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// The name of the column with the values; the first target column of `[grading]` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_column: Option<String>,
}

/// The sample submission: the rows of the answers, without knowledge of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleTable {
    /// A raw table that has its rows. Without `fill` and `columns` it is copied as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its columns in order; the id and target columns of `[grading]` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What columns are filled with; `"*"` stands for all target columns that are not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fill: BTreeMap<String, Fill>,
    /// Where it is written besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

impl SampleTable {
    /// What a column is filled with, if it is.
    pub fn fill_of(&self, column: &str, target_columns: &[String]) -> Option<&Fill> {
        let of_all = || {
            let is_target = target_columns.iter().any(|target| target == column);
            self.fill.get("*").filter(|_| is_target)
        };
        self.fill.get(column).or_else(of_all)
    }

    /// Whether a text that fills a column names another.
    pub fn names(&self, column: &str) -> bool {
        let mut fills = self.fill.values();
        fills.any(|fill| matches!(fill, Fill::Text(template) if template.names(column)))
    }
}

/// A submission of the best score.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldTable {
    /// Its columns in order; the id and target columns of `[grading]` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

/// A table whose rows go where the rows of the main table with the same key went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowingTable {
    /// The raw table.
    pub table: String,
    /// The column that both tables have.
    pub key: String,
    /// Where it is written, with `{part}` for `train` and `test`.
    pub to: Template,
    /// The part that is written alone; both if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Columns that the rows of the test part lack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
}

/// Files or folders that are copied: linked where the file system allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyFiles {
    /// The raw paths, or one. One that ends with `/` is a folder; one that names columns is copied
    /// for each row of the parts, once if several rows name it.
    #[serde(deserialize_with = "one_or_more", serialize_with = "as_one_or_more")]
    pub from: Vec<Template>,
    /// Where to, with `{part}` for `train` and `test`; with `/` at its end, a folder. Left out,
    /// `public/` and the raw path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Template>,
    /// The part whose rows are copied alone; both if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

impl CopyFiles {
    /// Where each of the paths goes; what names a folder still does.
    pub fn targets(&self) -> Vec<Template> {
        let target = |from: &Template| match &self.to {
            None => Template::literal("public/").then(from),
            Some(to) if to.is_folder() && !from.is_folder() => to.then(&from.file_name()),
            Some(to) => to.clone(),
        };
        self.from.iter().map(target).collect()
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Template>, D::Error> {
    struct Paths;
    impl<'de> Visitor<'de> for Paths {
        type Value = Vec<Template>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path or a list of paths")
        }

        fn visit_str<E: de::Error>(self, path: &str) -> Result<Vec<Template>, E> {
            path.parse().map(|path| vec![path]).map_err(E::custom)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Template>, A::Error> {
            let mut paths = Vec::new();
            while let Some(path) = list.next_element()? {
                paths.push(path);
            }
            Ok(paths)
        }
    }
    deserializer.deserialize_any(Paths)
}

fn as_one_or_more<S: Serializer>(paths: &[Template], serializer: S) -> Result<S::Ok, S::Error> {
    match paths {
        [path] => path.serialize(serializer),
        _ => paths.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key.
    const ALL: &str = r#"
table = "train.csv"
method = "time"
by = "day"
test_size = "7 days"
seed = 3
sort = "id"
as_is = true
separator = ";"
quoting = "nonnumeric"
floats = "pandas"
types = { id = "text" }
leave_out = { id = ["7", "8"] }
add = { key = "{id}_{side}" }
renumber = { column = "id", each = "value", from = 1, continues = true, train = "{n}", test = "t{n:04}" }
train = { file = "public/labels.csv", columns = ["id", "label"], hide = ["note"] }
test = { from = "test.csv", hide = ["label"] }
sample = { fill = { "*" = 0.5, a = 1, b = false, c = "{id}", d = { guess = "random", low = 1, high = 6.5 } }, also = ["public/x.zip/x.csv"] }
gold = { columns = ["id"] }

[answers]
rename = { text = "label" }
one_hot = "{label}"
unpivot = { columns = ["a"], id = "{id}_{column}" }
one_row_per = "id"
join = " "

[[tables]]
table = "more.csv"
key = "id"
to = "public/{part}_more.csv"
part = "train"

[[copy]]
from = "a.csv"

[[copy]]
from = ["b/{id}.png", "c/"]
to = "public/{part}/"
"#;

    #[test]
    fn what_is_written_reads_the_same() {
        let spec: SplitSpec = toml::from_str(ALL).unwrap();
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<SplitSpec>(&text).unwrap(), spec, "{text}");
        let small = SplitSpec::of_table("train.csv".parse().unwrap());
        assert_eq!(
            toml::to_string(&small).unwrap(),
            "table = \"train.csv\"\nmethod = \"random\"\nseed = 0\n"
        );
    }
}
