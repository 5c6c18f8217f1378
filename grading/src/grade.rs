//! Grading: from a submission and its answers to a verdict.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::{check, check_answers};
use crate::explain::explain;
use crate::form::{Form, PublicFacts};
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::metrics::{METRICS, Metric, OptionKind, command};
use crate::spec::{Check, GradingSpec};
use crate::strict;
use crate::table::{Limits, ReadError, Table};
use crate::task::{Answers, Task};

/// What grading says about a submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has a score.
    Scored(Score),
    /// It has none.
    Invalid(InvalidSubmission),
}

impl Verdict {
    /// The score, if there is one.
    pub fn score(&self) -> Option<Score> {
        match self {
            Self::Scored(score) => Some(*score),
            Self::Invalid(_) => None,
        }
    }
}

/// A score; both numbers may be NaN or infinite where the reference's are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The metric's value.
    pub raw: f64,
    /// The value rounded to five decimals, which is what medals are decided by.
    pub rounded: f64,
}

/// A verdict by the reference's rules, and what a strict reading says beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// As MLE-bench decides.
    pub verdict: Verdict,
    /// The score without the reference's known faults; none if the submission is invalid in either
    /// reading.
    pub strict_score: Option<f64>,
    /// Why the strict reading differs, one entry a fault.
    pub strict_issues: Vec<InvalidSubmission>,
}

/// A `[grading]` table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// No metric of that name.
    #[error("unknown metric `{name}`; `medalist metrics` lists them")]
    UnknownMetric { name: String },
    /// The metric does not know the option.
    #[error("metric `{metric}` has no option `{option}`; it understands {known}")]
    UnknownOption {
        metric: &'static str,
        option: String,
        /// Those it knows.
        known: String,
    },
    /// An option has the wrong type.
    #[error("option `{option}` of metric `{metric}` must be {expected}")]
    OptionType {
        metric: &'static str,
        option: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A required option is not set.
    #[error("metric `{metric}` needs option `{option}`")]
    MissingOption { metric: &'static str, option: &'static str },
    /// A check needs a setting.
    #[error("check `{check}` needs `{key}`")]
    MissingKey { check: &'static str, key: &'static str },
    /// Names for submission and answers do not match up.
    #[error("`{key}` has {found} names, expected {expected}")]
    NameCount {
        key: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        expected: usize,
    },
}

/// Why grading cannot be done, for reasons other than the submission.
#[derive(Debug, thiserror::Error)]
pub enum GradeError {
    /// The answers cannot be read.
    #[error("cannot read the answers")]
    ReadAnswers(#[from] ReadError),
    /// The answers are not what the competition's entry says.
    #[error("the answers do not fit the competition")]
    Answers(#[from] AnswersError),
}

/// Grades submissions to one competition.
#[derive(Clone, Debug)]
pub struct Grader {
    spec: GradingSpec,
    strict: Option<GradingSpec>,
    metric: &'static Metric,
}

impl Grader {
    /// A grader for a competition's `[grading]` table.
    ///
    /// # Errors
    /// [`SpecError`] names what is wrong with the table.
    pub fn new(spec: GradingSpec) -> Result<Self, SpecError> {
        let metric = Metric::find(&spec.metric)
            .ok_or_else(|| SpecError::UnknownMetric { name: spec.metric.clone() })?;
        Self::with_metric(spec, metric)
    }

    /// A grader for a competition's `[grading]` table and a metric that need not be in [`METRICS`].
    ///
    /// # Errors
    /// [`SpecError`] names what is wrong with the table.
    pub fn with_metric(spec: GradingSpec, metric: &'static Metric) -> Result<Self, SpecError> {
        for (key, names, expected) in [
            ("answer_id_columns", spec.answer_ids().len(), spec.id_columns.len()),
            ("answer_columns", spec.answer_targets().len(), spec.target_columns.len()),
        ] {
            if names != expected {
                return Err(SpecError::NameCount { key, found: names, expected });
            }
        }
        let strict = spec.strict.as_ref().map(|strict| {
            let mut checks = spec.checks.clone();
            checks.retain(|check| !strict.checks.contains(check));
            let mut options = spec.options.clone();
            options.extend(strict.options.clone());
            GradingSpec {
                checks,
                options,
                pairing: strict.pairing.unwrap_or(spec.pairing),
                ..spec.clone()
            }
        });
        for spec in std::iter::once(&spec).chain(&strict) {
            check_spec(spec, metric)?;
        }
        Ok(Self { spec, strict, metric })
    }

    /// The competition's `[grading]` table.
    pub fn spec(&self) -> &GradingSpec {
        &self.spec
    }

    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// How long the programs of the competition's author may take on one submission, where one
    /// grades: it is started once for each reading.
    pub fn program_time(&self) -> Option<Duration> {
        if self.metric.name != command::COMMAND.name {
            return None;
        }
        let readings = [Some(&self.spec), self.strict.as_ref()];
        Some(readings.into_iter().flatten().filter_map(|spec| command::timeout(spec).ok()).sum())
    }

    /// Grades a submission by the reference's rules.
    ///
    /// # Errors
    /// [`GradeError::Answers`] if the answers lack a column or are of the wrong kind.
    pub fn grade(&self, submission: &Table, answers: &Answers) -> Result<Verdict, GradeError> {
        self.verdict(&Task::new(&self.spec, submission, answers))
    }

    /// Grades a submission by the reference's rules and by the strict ones.
    ///
    /// # Errors
    /// As [`Grader::grade`].
    pub fn grade_strictly(
        &self,
        submission: &Table,
        answers: &Answers,
    ) -> Result<Graded, GradeError> {
        if let Answers::Table(table) = answers
            && table.rows() == 0
        {
            return Err(AnswersError::Empty.into());
        }
        let task = Task::new(&self.spec, submission, answers);
        let verdict = self.verdict(&task)?;
        let Verdict::Scored(score) = verdict else {
            return Ok(Graded { verdict, strict_score: None, strict_issues: Vec::new() });
        };
        let mut issues: Vec<InvalidSubmission> = Vec::new();
        for extra in self.spec.strict.iter().flat_map(|strict| &strict.checks) {
            if let Err(invalid) = ours(check_any(&task, *extra))? {
                issues.push(invalid);
            }
        }
        for issue in ours(strict::issues(&task, self.metric))?.unwrap_or_default() {
            if !issues.iter().any(|known| (known.row, &known.column) == (issue.row, &issue.column))
            {
                issues.push(issue);
            }
        }
        if !score.raw.is_finite() && issues.is_empty() {
            issues.push(InvalidSubmission::new(
                InvalidKind::Undefined,
                format!(
                    "the score is {}, which the reference accepts but nothing can be compared with",
                    score.raw
                ),
            ));
        }
        let mut strict_score = issues.is_empty().then_some(score.rounded);
        if let (Some(spec), true) = (&self.strict, issues.is_empty()) {
            match self.verdict(&Task::new(spec, submission, answers))? {
                Verdict::Scored(score) => {
                    strict_score = Some(score.rounded).filter(|s| s.is_finite())
                }
                Verdict::Invalid(invalid) => {
                    strict_score = None;
                    issues.push(invalid);
                }
            }
        }
        Ok(Graded { verdict, strict_score, strict_issues: issues })
    }

    /// Reads and grades a submission file against answers that were read before.
    ///
    /// # Errors
    /// As [`Grader::grade`]; a submission that cannot be read is invalid, not an error.
    pub fn grade_file(
        &self,
        submission: &Path,
        answers: &Answers,
        limits: &Limits,
    ) -> Result<Graded, GradeError> {
        self.grade_read(self.read_submission(submission, limits), answers)
    }

    /// Grades a submission as [`Grader::read_submission`] gave it.
    ///
    /// # Errors
    /// As [`Grader::grade`]; a submission that could not be read is invalid, not an error.
    pub fn grade_read(
        &self,
        submission: Result<Table, ReadError>,
        answers: &Answers,
    ) -> Result<Graded, GradeError> {
        match submission {
            Ok(table) => self.grade_strictly(&table, answers),
            Err(error) => Ok(unreadable(&error)),
        }
    }

    /// Reads a submission; the columns that are graded are typed at once.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read or is no table.
    pub fn read_submission(&self, path: &Path, limits: &Limits) -> Result<Table, ReadError> {
        Table::read_for(path, limits, &names(&self.spec.id_columns, &self.spec.target_columns))
    }

    /// Reads the answers, as [`Answers::read`] does; the columns that are graded against are typed
    /// at once.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read.
    pub fn read_answers(&self, path: &Path) -> Result<Answers, ReadError> {
        Answers::read_for(path, &names(self.spec.answer_ids(), self.spec.answer_targets()))
    }

    /// Reads both files, at the same time, and grades.
    ///
    /// # Errors
    /// [`GradeError`] if the answers cannot be read or do not fit the competition.
    pub fn grade_files(
        &self,
        submission: &Path,
        answers: &Path,
        limits: &Limits,
    ) -> Result<Graded, GradeError> {
        let (table, answers) =
            rayon::join(|| self.read_submission(submission, limits), || self.read_answers(answers));
        self.grade_read(table, &answers?)
    }

    /// Says whether a submission is well formed, by what is public: the competition's checks and
    /// its metric's, both against the sample submission.
    ///
    /// No answers are in reach, so that neither the verdict nor the time it takes tells anything of
    /// them. It is at times stricter than [`Grader::grade`], since which rows are graded is not
    /// public; and it does not foresee a metric that is undefined for the true values.
    ///
    /// # Errors
    /// [`GradeError::Answers`] if the sample lacks the id columns.
    pub fn validate(
        &self,
        submission: &Table,
        facts: &PublicFacts,
    ) -> Result<Result<(), InvalidSubmission>, GradeError> {
        let form = Form::new(&self.spec, submission, facts);
        let checked = || {
            self.spec.checks.iter().try_for_each(|&c| check(&form, c))?;
            (self.metric.validate)(&form)
        };
        Ok(ours(checked())?.map_err(|invalid| explain(invalid, submission)))
    }

    /// Reads and validates a submission file.
    ///
    /// # Errors
    /// As [`Grader::validate`]; a submission that cannot be read is invalid, not an error.
    pub fn validate_file(
        &self,
        submission: &Path,
        facts: &PublicFacts,
        limits: &Limits,
    ) -> Result<Result<(), InvalidSubmission>, GradeError> {
        match self.read_submission(submission, limits) {
            Ok(table) => self.validate(&table, facts),
            Err(error) => Ok(Err(InvalidSubmission::from(&error))),
        }
    }

    fn verdict(&self, task: &Task<'_>) -> Result<Verdict, GradeError> {
        let scored = || {
            task.type_columns();
            task.spec.checks.iter().try_for_each(|&c| check_any(task, c))?;
            (self.metric.score)(task)
        };
        Ok(match ours(scored())? {
            Ok(raw) => Verdict::Scored(Score { raw, rounded: task.spec.rounding.round(raw) }),
            Err(invalid) => Verdict::Invalid(explain(invalid, task.submission)),
        })
    }
}

/// Makes one check, be it of the answers or of the submission.
fn check_any(task: &Task<'_>, which: Check) -> Result<(), Refusal> {
    check_answers(task, which)?;
    check(task.form(), which)
}

/// Tells the submission's faults from those of the answers.
fn ours<T>(result: Result<T, Refusal>) -> Result<Result<T, InvalidSubmission>, GradeError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Refusal::Invalid(invalid)) => Ok(Err(*invalid)),
        // The reference stops with an error there, which makes every submission invalid.
        Err(Refusal::Answers(error @ AnswersError::BadValue { .. })) => Ok(Err(
            InvalidSubmission::new(InvalidKind::Answers, format!("nothing can be graded: {error}")),
        )),
        Err(Refusal::Answers(error)) => Err(GradeError::Answers(error)),
    }
}

fn names<'s>(ids: &'s [String], targets: &'s [String]) -> Vec<&'s str> {
    ids.iter().chain(targets).map(String::as_str).collect()
}

fn unreadable(error: &ReadError) -> Graded {
    Graded {
        verdict: Verdict::Invalid(error.into()),
        strict_score: None,
        strict_issues: Vec::new(),
    }
}

fn check_spec(spec: &GradingSpec, metric: &'static Metric) -> Result<(), SpecError> {
    for (name, value) in &spec.options {
        let Some(option) = metric.options.iter().find(|option| option.name == name) else {
            let known: Vec<String> =
                metric.options.iter().map(|option| format!("`{}`", option.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(SpecError::UnknownOption {
                metric: metric.name,
                option: name.clone(),
                known,
            });
        };
        if !option.kind.accepts(value) {
            return Err(SpecError::OptionType {
                metric: metric.name,
                option: name.clone(),
                expected: option.kind.description(),
            });
        }
    }
    if let Some(option) = metric
        .options
        .iter()
        .find(|option| option.required && !spec.options.contains_key(option.name))
    {
        return Err(SpecError::MissingOption { metric: metric.name, option: option.name });
    }
    for (check, key, is_set, name) in [
        (Check::Range, "range", spec.range.is_some(), "range"),
        (
            Check::RowSum,
            "row_sum_tolerance",
            spec.row_sum_tolerance.is_some() || spec.row_sum_decimals.is_some(),
            "row_sum",
        ),
    ] {
        if spec.checks.contains(&check) && !is_set {
            return Err(SpecError::MissingKey { check: name, key });
        }
    }
    Ok(())
}

impl Metric {
    /// The metric of that name or alias.
    pub fn find(name: &str) -> Option<&'static Self> {
        METRICS.iter().copied().find(|metric| metric.name == name || metric.aliases.contains(&name))
    }
}

impl OptionKind {
    fn accepts(self, value: &toml::Value) -> bool {
        match self {
            Self::Integer => value.is_integer(),
            Self::Number => value.is_integer() || value.is_float(),
            Self::Flag => value.is_bool(),
            Self::Text => value.is_str(),
            Self::Numbers => {
                value.as_array().is_some_and(|a| a.iter().all(|v| v.is_integer() || v.is_float()))
            }
            Self::Texts => value.as_array().is_some_and(|a| a.iter().all(toml::Value::is_str)),
        }
    }

    /// The kind in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Flag => "`true` or `false`",
            Self::Text => "a text",
            Self::Numbers => "a list of numbers",
            Self::Texts => "a list of texts",
        }
    }
}
