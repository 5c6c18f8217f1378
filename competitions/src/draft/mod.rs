//! A competition's entry made from its data: what can be told is decided with its evidence, what
//! cannot is left open and marked.
//!
//! ```text
//!  survey    one pass over the files              ../survey
//!  roles     which table is which
//!  columns   ids and targets
//!  metric    how it is scored
//!  split     how it is divided, what is copied
//!  entry     competition.toml, brief, report
//! ```

mod columns;
mod decision;
mod entry;
mod metric;
mod roles;
mod split;
mod text;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use medalist_grading::leaderboard::LeaderboardError;
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Direction, Leaderboard};
use serde::{Deserialize, Serialize};

pub use decision::{Certainty, Decision};

use crate::spec::split::{SplitMethod, SplitSpec};
use crate::spec::{CompetitionId, IssueKind, KnownIssue, Modality, OpenChoice};
use crate::survey::{CellKind, Survey, TableFacts};
use columns::{Columns, Shape};
use metric::Scoring;
use roles::Roles;

/// What somebody said about a competition; it is never asked again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// The columns that name a row.
    pub id: Vec<String>,
    /// The columns that are predicted.
    pub target: Vec<String>,
    /// The metric, by our name or Kaggle's.
    pub metric: Option<String>,
    /// Options of the metric.
    pub options: BTreeMap<String, toml::Value>,
    /// Which scores are better.
    pub direction: Option<Direction>,
    /// The train table, as its path below the raw data.
    pub train: Option<String>,
    /// How rows are divided, and by which column.
    pub method: Option<(SplitMethod, Option<String>)>,
    /// The share of the test part.
    pub test_size: Option<f64>,
}

impl Answers {
    /// These, and where they say nothing what was said before.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        let or = |new: Vec<String>, old: Vec<String>| if new.is_empty() { old } else { new };
        // Options belong to a metric.
        let mut options = if self.metric.is_none() { before.options } else { BTreeMap::new() };
        options.extend(self.options);
        Self {
            id: or(self.id, before.id),
            target: or(self.target, before.target),
            metric: self.metric.or(before.metric),
            options,
            direction: self.direction.or(before.direction),
            train: self.train.or(before.train),
            method: self.method.or(before.method),
            test_size: self.test_size.or(before.test_size),
        }
    }
}

/// What is known of a competition besides its data.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id here.
    pub id: CompetitionId,
    /// Its name for people.
    pub title: String,
    /// What Kaggle knows, if it is one of Kaggle's.
    pub kaggle: Option<KaggleFacts>,
    /// The leaderboard as Kaggle hands it out.
    pub board: Option<Vec<u8>>,
}

/// What Kaggle tells of a competition.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KaggleFacts {
    /// Its name in addresses.
    pub slug: String,
    /// One sentence by the host. It is used to find words in, and only written on the user's wish.
    #[serde(skip)]
    pub description: String,
    /// What the evaluation is called.
    pub metric: Option<String>,
    /// `Featured`, `Playground` and so on.
    pub category: Option<String>,
    /// Its subjects.
    pub tags: Vec<String>,
    /// When it ended or ends, as text.
    pub deadline: Option<String>,
    /// Teams that took part.
    pub teams: Option<u64>,
    /// The licence of the data.
    pub license: Option<String>,
    /// Whether submissions are notebooks that run on data nobody sees.
    pub is_code: bool,
    /// The text of the pages, if the user wants it in the brief.
    #[serde(skip)]
    pub page_text: Option<String>,
    /// Files that Kaggle lists and the download lacks.
    pub missing: Vec<String>,
    /// Size of the download.
    pub bytes: Option<u64>,
}

/// Why no entry can be made.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// There is nothing to learn from.
    #[error("there are no examples with answers: {0}")]
    NoExamples(String),
    /// A submission has several files.
    #[error("a submission of this competition has several files ({}), expected one", quoted(.0))]
    SeveralFiles(Vec<String>),
    /// A name that somebody gave is none of the data.
    #[error("there is no {what} `{name}`; there are {}", quoted(.known))]
    NoSuch { what: &'static str, name: String, known: Vec<String> },
    /// The leaderboard is none.
    #[error("the leaderboard cannot be used")]
    Board(#[source] LeaderboardError),
    /// What was written cannot be read back.
    #[error("the entry that was made is not well-formed, which is a fault of medalist")]
    Entry(#[source] crate::spec::SpecError),
    /// A file cannot be written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn quoted(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(12);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// A competition's entry before it is written.
#[derive(Debug)]
pub struct Draft<'s> {
    known: Known,
    answers: Answers,
    survey: &'s Survey,
    roles: Roles<'s>,
    columns: Columns,
    scoring: Scoring,
    split: Option<SplitSpec>,
    board: Option<Leaderboard>,
    modality: Modality,
    /// Everything that was decided, in the order of the entry.
    pub decisions: Vec<Decision>,
    /// What is wrong with the task.
    pub issues: Vec<KnownIssue>,
}

impl<'s> Draft<'s> {
    /// Decides everything.
    ///
    /// # Errors
    /// [`DraftError`] for data from which no competition can be made.
    pub fn of(survey: &'s Survey, known: Known, answers: Answers) -> Result<Self, DraftError> {
        check_names(survey, &answers)?;
        let roles = Roles::of(survey, answers.train.as_deref());
        refuse(survey, &roles)?;
        let mut columns = Columns::of(survey, &roles, &answers);
        if roles.sample.is_none() && !roles.rivals.is_empty() {
            columns.doubt("which table holds the examples is open");
        }
        let on_kaggle = known.kaggle.as_ref().and_then(|facts| facts.metric.as_deref());
        let mut scoring = Scoring::of(survey, &roles, &columns, &answers, on_kaggle);
        if roles.sample.is_none() && answers.target.is_empty() {
            let is_open = scoring.decisions[0].certainty == Certainty::Open;
            columns.settle(&roles, (!is_open).then_some(scoring.metric.name));
        }
        let (split, split_decisions) = split::split_of(survey, &roles, &columns, &answers);
        let mut decisions = columns.decisions.clone();
        decisions.extend(table_decision(&roles, &answers));
        let board = board_of(&known, &mut scoring)?;
        decisions.append(&mut scoring.decisions);
        decisions.extend(split_decisions);
        let modality = modality(survey, &roles);
        let issues = issues(survey, &roles, &columns, &known);
        let mut draft = Self {
            known,
            answers,
            survey,
            roles,
            columns,
            scoring,
            split,
            board,
            modality,
            decisions,
            issues,
        };
        draft.give_up_split_that_does_not_fit();
        Ok(draft)
    }

    /// A split of values that are not decided may not fit them; then it is open as a whole.
    fn give_up_split_that_does_not_fit(&mut self) {
        let Err(error) = self.check() else { return };
        if self.split.take().is_none() {
            return;
        }
        self.decisions.retain(|decision| {
            !decision.key.starts_with("split.") || decision.key == "split.table"
        });
        let problem = match &error {
            crate::spec::SpecError::Invalid { problem, .. } => problem.clone(),
            crate::spec::SpecError::Read { .. } => error.to_string(),
        };
        self.decisions.push(split::unsaid(&problem));
    }

    /// What must still be decided.
    pub fn open(&self) -> Vec<OpenChoice> {
        let open = self.decisions.iter().filter(|decision| decision.certainty == Certainty::Open);
        open.map(text::open_choice).collect()
    }
}

/// Names that somebody gave must be there.
fn check_names(survey: &Survey, answers: &Answers) -> Result<(), DraftError> {
    if let Some(path) = &answers.train
        && survey.table(path).is_none()
    {
        let known = survey.tables.iter().map(|table| table.path.clone()).collect();
        return Err(DraftError::NoSuch { what: "table", name: path.clone(), known });
    }
    let by = answers.method.iter().filter_map(|(_, by)| by.as_ref());
    for name in answers.id.iter().chain(&answers.target).chain(by) {
        let mut known: Vec<String> =
            survey.tables.iter().flat_map(TableFacts::names).map(str::to_owned).collect();
        if !known.contains(name) {
            known.sort();
            known.dedup();
            return Err(DraftError::NoSuch { what: "column", name: name.clone(), known });
        }
    }
    Ok(())
}

/// Data from which no competition can be made.
fn refuse(survey: &Survey, roles: &Roles<'_>) -> Result<(), DraftError> {
    if !roles.other_samples.is_empty() {
        let all = roles.sample.iter().copied().chain(roles.other_samples.iter().copied());
        return Err(DraftError::SeveralFiles(all.map(|table| table.path.clone()).collect()));
    }
    let has_classes = survey.families.iter().any(|family| family.classes().is_some());
    if roles.train.is_none() && !has_classes && roles.sample.is_none() {
        let what = match (survey.files, survey.tables.len()) {
            (0, _) => "there are no files".to_owned(),
            (files, 0) => {
                format!("none of the {files} files is a table, and no folders name classes")
            }
            (_, tables) => {
                let names: Vec<String> =
                    survey.tables.iter().map(|table| table.path.clone()).collect();
                format!(
                    "none of the {tables} tables looks like one ({}); `--train PATH` names it",
                    quoted(&names)
                )
            }
        };
        return Err(DraftError::NoExamples(what));
    }
    Ok(())
}

/// Which table is the train table, where that is not clear.
fn table_decision(roles: &Roles<'_>, answers: &Answers) -> Option<Decision> {
    let train = roles.train?;
    if answers.train.is_some() {
        return Some(Decision::sure("split.table", train.path.clone(), "you said so"));
    }
    if roles.rivals.is_empty() {
        return Some(Decision::likely(
            "split.table",
            train.path.clone(),
            "its name, and its columns beside the others",
        ));
    }
    let candidates = [train]
        .into_iter()
        .chain(roles.rivals.iter().copied())
        .map(|table| {
            decision::candidate(
                table.path.clone(),
                format!("{} rows, {} columns", table.rows, table.columns.len()),
            )
        })
        .collect();
    Some(Decision::open("split.table", candidates, "several tables may hold the examples"))
}

/// The leaderboard with its scores alone, if there is a usable one.
fn board_of(known: &Known, scoring: &mut Scoring) -> Result<Option<Leaderboard>, DraftError> {
    let Some(bytes) = &known.board else { return Ok(None) };
    let table = Table::parse(bytes.clone(), &Limits::trusted())
        .map_err(|error| DraftError::Board(error.into()))?;
    if table.rows() == 0 {
        return Ok(None);
    }
    let listed = Leaderboard::of_table(&table).map_err(DraftError::Board)?;
    let scores = listed.scores();
    let is_flat = scores.first() == scores.last();
    if listed.direction() != scoring.direction && !is_flat {
        let (metric, board) = (scoring.direction, listed.direction());
        let words =
            |direction: Direction| if direction.is_lower_better() { "lower" } else { "higher" };
        let direction =
            scoring.decisions.iter_mut().find(|decision| decision.key == "grading.direction");
        if let Some(direction) = direction.filter(|decision| decision.evidence != "you said so") {
            let candidates = vec![
                decision::candidate(
                    words(board),
                    "the leaderboard's first score is on that side of its last",
                ),
                decision::candidate(words(metric), direction.evidence.clone()),
            ];
            scoring.direction = board;
            *direction = Decision::open(
                "grading.direction",
                candidates,
                "metric and leaderboard contradict each other",
            );
        }
    }
    let board = Leaderboard::of_teams(&table, scoring.direction).map_err(DraftError::Board)?;
    Ok(Some(board).filter(|board| board.scores().iter().all(|score| score.is_finite())))
}

/// The kind of data that dominates.
fn modality(survey: &Survey, roles: &Roles<'_>) -> Modality {
    let rows = roles.train.map_or(0, |train| train.rows);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for family in &survey.families {
        if let Some(media) = family.media() {
            *counts.entry(media).or_default() += family.count;
        }
    }
    if let Some((media, count)) = counts.into_iter().max_by_key(|(_, count)| *count)
        && count * 10 >= rows
    {
        return match media {
            "audio" => Modality::Audio,
            "video" => Modality::Video,
            _ => Modality::Image,
        };
    }
    let Some(train) = roles.train else { return Modality::Tabular };
    let prose = train.columns.iter().filter(|column| column.is_prose()).count();
    let numbers = train
        .columns
        .iter()
        .filter(|column| matches!(column.kind(), CellKind::Int | CellKind::Float))
        .count();
    let files_of_rows =
        survey.families.iter().any(|family| family.count >= 10 && family.link(train).is_some());
    match (prose, numbers) {
        (1.., _) if prose * 4 >= numbers => Modality::Text,
        _ if files_of_rows => Modality::TimeSeries,
        _ => Modality::Tabular,
    }
}

/// What is wrong with the task, as far as the files show it.
fn issues(survey: &Survey, roles: &Roles<'_>, columns: &Columns, known: &Known) -> Vec<KnownIssue> {
    let mut issues = Vec::new();
    let mut say = |kind: IssueKind, summary: String| {
        issues.push(KnownIssue {
            kind,
            summary,
            source: "found by `medalist competitions new`".to_owned(),
            strict: None,
            fixed: None,
            leave_out: Vec::new(),
            changes: Vec::new(),
        });
    };
    for problem in &survey.problems {
        say(IssueKind::Data, format!("A file was not looked at: {problem}."));
    }
    for table in &survey.tables {
        for oddity in &table.oddities {
            say(IssueKind::Data, format!("`{}`: {oddity}.", table.path));
        }
    }
    for missing in known.kaggle.iter().flat_map(|facts| &facts.missing) {
        say(IssueKind::Data, format!("Kaggle lists `{missing}`, but the download lacks it."));
    }
    if known.kaggle.as_ref().is_some_and(|facts| facts.is_code) {
        say(IssueKind::BrokenSplit, "It is a code competition: its test data were never published; the parts here are both made of the published train data.".to_owned());
    }
    let (Some(train), test) = (roles.train, roles.test) else { return issues };
    if let Some(test) = test {
        if train.rows >= 1000 && test.rows < 20 {
            say(
                IssueKind::BrokenSplit,
                format!(
                    "The published test table has {} rows: the real one is hidden. The parts here are both made of the published train data.",
                    test.rows
                ),
            );
        }
        let absent: Vec<&str> =
            test.names().into_iter().filter(|name| train.column(name).is_none()).collect();
        let renamed = renamed_columns(train, test);
        if !renamed.is_empty() {
            let pairs: Vec<String> =
                renamed.iter().map(|(a, b)| format!("`{a}` is `{b}` there")).collect();
            say(
                IssueKind::Data,
                format!(
                    "Columns of train and test table have different names: {}. The parts here both have the train table's.",
                    pairs.join(", ")
                ),
            );
        } else if !absent.is_empty() && roles.solution.is_none() {
            say(
                IssueKind::Data,
                format!(
                    "The test table has columns that the train table lacks: `{}`.",
                    absent.join("`, `")
                ),
            );
        }
        if let Some(target) = columns
            .in_train()
            .iter()
            .find(|target| test.column(target).is_some_and(|column| column.present() > 0))
        {
            say(IssueKind::Leak, format!("The published test table has the answers (`{target}`)."));
        }
    }
    if let Some(solution) = roles.solution {
        say(
            IssueKind::Leak,
            format!(
                "`{}` has the answers to the published test rows; it is not given to agents.",
                solution.path
            ),
        );
    }
    for name in columns.in_train() {
        if let Some(target) = train.column(name)
            && target.missing > 0
            && columns.shape != Shape::Unknown
        {
            let (missing, rows) = (target.missing, train.rows);
            say(IssueKind::Data, format!("`{name}` is missing in {missing} of {rows} train rows."));
        }
    }
    issues
}

/// Columns of both tables that are the same but for case, blanks and signs in their names.
fn renamed_columns(train: &TableFacts, test: &TableFacts) -> Vec<(String, String)> {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let mut pairs = Vec::new();
    for name in test.names() {
        if train.column(name).is_some() {
            continue;
        }
        let twin = train
            .names()
            .into_iter()
            .find(|other| plain(other) == plain(name) && test.column(other).is_none());
        pairs.extend(twin.map(|twin| (twin.to_owned(), name.to_owned())));
    }
    pairs
}

/// What an earlier draft in a folder was told, and whether somebody has changed its entry since.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// What was said.
    pub answers: Answers,
    /// Whether the entry is as it was made.
    pub is_untouched: bool,
}

impl Earlier {
    /// Reads it from a competition's folder; none if no draft made that.
    pub fn read(folder: &Path) -> Option<Self> {
        entry::earlier(folder)
    }
}
