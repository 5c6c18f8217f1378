//! How a competition is graded, as its `[grading]` table says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::medal::Direction;
use crate::round::Rounding;

/// The `[grading]` table of a `competition.toml`.
///
/// ```
/// use medalist_grading::GradingSpec;
///
/// let spec: GradingSpec = toml::from_str(r#"
///     metric = "roc_auc"
///     direction = "higher"
///     id_columns = ["id"]
///     target_columns = ["has_cactus"]
///     checks = ["id_columns", "target_columns", "row_count", "numeric", "range", "ids"]
///     range = [0.0, 1.0]
/// "#)?;
/// assert_eq!(spec.metric, "roc_auc");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradingSpec {
    /// The metric's name or one of its aliases, as `medalist metrics` lists them.
    pub metric: String,
    /// Whether higher or lower scores are better.
    pub direction: Direction,
    /// The columns that name a row, in the submission.
    pub id_columns: Vec<String>,
    /// The columns that are graded, in the submission.
    pub target_columns: Vec<String>,
    /// Columns that the submission must have though they are not graded; the `target_columns` check
    /// asks for them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unscored_columns: Vec<String>,
    /// The id columns' names in the answers, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_id_columns: Option<Vec<String>>,
    /// The target columns' names in the answers, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_columns: Option<Vec<String>>,
    /// What is checked before the metric, in order; the first failure is the verdict.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Smallest and largest value that the `range` check accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Largest distance of a row's sum from 1 that the `row_sum` check accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_sum_tolerance: Option<f64>,
    /// The decimals to which the `row_sum` check rounds a row's sum before it compares with 1;
    /// takes the place of the tolerance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_sum_decimals: Option<i32>,
    /// Which rows of the two tables belong together.
    #[serde(default)]
    pub pairing: Pairing,
    /// How the score is rounded to five decimals.
    #[serde(default)]
    pub rounding: Rounding,
    /// What the metric itself understands; `medalist metrics NAME` lists it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, toml::Value>,
    /// What the strict verdict asks for beyond the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<StrictSpec>,
}

impl GradingSpec {
    /// A metric on these columns, with nothing checked and everything else as where it is left out.
    pub fn new(
        metric: impl Into<String>,
        direction: Direction,
        id_columns: Vec<String>,
        target_columns: Vec<String>,
    ) -> Self {
        Self {
            metric: metric.into(),
            direction,
            id_columns,
            target_columns,
            unscored_columns: Vec::new(),
            answer_id_columns: None,
            answer_columns: None,
            checks: Vec::new(),
            range: None,
            row_sum_tolerance: None,
            row_sum_decimals: None,
            pairing: Pairing::default(),
            rounding: Rounding::default(),
            options: BTreeMap::new(),
            strict: None,
        }
    }

    /// The id columns' names in the answers.
    pub fn answer_ids(&self) -> &[String] {
        self.answer_id_columns.as_deref().unwrap_or(&self.id_columns)
    }

    /// The target columns' names in the answers.
    pub fn answer_targets(&self) -> &[String] {
        self.answer_columns.as_deref().unwrap_or(&self.target_columns)
    }

    /// An integer of `[grading.options]`, if set.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.options.get(name)?.as_integer()
    }

    /// A number of `[grading.options]`, if set.
    pub fn number(&self, name: &str) -> Option<f64> {
        let value = self.options.get(name)?;
        value.as_float().or_else(|| value.as_integer().map(|v| v as f64))
    }

    /// A flag of `[grading.options]`; false if not set.
    pub fn flag(&self, name: &str) -> bool {
        self.options.get(name).and_then(toml::Value::as_bool).unwrap_or(false)
    }

    /// A text of `[grading.options]`, if set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str()
    }

    /// A list of numbers of `[grading.options]`, empty if not set.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let list = self.options.get(name).and_then(toml::Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|v| v.as_float().or_else(|| v.as_integer().map(|v| v as f64)))
            .collect()
    }

    /// A list of texts of `[grading.options]`, empty if not set.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.options.get(name).and_then(toml::Value::as_array);
        list.into_iter().flatten().filter_map(toml::Value::as_str).collect()
    }
}

/// The strict verdict: where the reference accepts what it should not, these checks are made as
/// well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrictSpec {
    /// Checks beyond the reference's; each that fails is an issue, and the strict score is then
    /// none.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Options that replace the metric's for the strict score.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, toml::Value>,
    /// The pairing that replaces the reference's for the strict score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing: Option<Pairing>,
}

/// One thing a submission must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The id columns are there.
    IdColumns,
    /// The target columns and the unscored columns are there.
    TargetColumns,
    /// The columns are exactly the id and target columns, in any order.
    ExactColumns,
    /// The columns are exactly the id and target columns, in that order.
    OrderedColumns,
    /// There are as many columns as id and target columns together.
    ColumnCount,
    /// The first column is the first id column.
    FirstColumn,
    /// There are as many rows as in the answers.
    RowCount,
    /// There is at least one row.
    NotEmpty,
    /// The target columns are integers, floats or booleans without gaps; text is not.
    Numeric,
    /// The target columns are text, perhaps with gaps (or nothing but gaps).
    Text,
    /// The target columns are text, perhaps with gaps; one that holds nothing at all is not.
    SomeText,
    /// No number of the target columns is outside `range`; missing cells are skipped.
    Range,
    /// No cell of the target columns is missing.
    NotMissing,
    /// Every cell of the target columns is a finite number (text is read as a number).
    Finite,
    /// Every row of the target columns adds up to 1 (see `row_sum_tolerance`, `row_sum_decimals`);
    /// missing cells are skipped.
    RowSum,
    /// The ids are those of the answers, each as often.
    Ids,
    /// The distinct ids are those of the answers.
    IdSet,
    /// Every id of the answers is there.
    IdSuperset,
    /// No id occurs twice.
    UniqueIds,
    /// No cell of the answers is missing; otherwise nothing can be graded.
    AnswersComplete,
    /// No number of the answers' target columns is outside `range`; otherwise nothing can be
    /// graded.
    AnswersRange,
}

/// Which rows of the submission and the answers belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Both are sorted by the id columns and paired by position.
    #[default]
    Sorted,
    /// Both are paired by position in the file.
    FileOrder,
    /// Submission rows whose id the answers have not are left out; the rest is sorted and paired by
    /// position, surplus rows at the end being dropped.
    SortedKnown,
    /// Each submission row meets every row of the answers with its id; the number of rows may
    /// differ.
    Join,
}
