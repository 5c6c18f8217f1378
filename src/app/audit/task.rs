//! What is known of a competition's task on this machine: ids, answers, scores, and its data.

use std::path::{Path, PathBuf};

use medalist_audit::leak::{Counter, Overlap, shared_columns};
use medalist_audit::near::Scores;
use medalist_audit::{Finding, Ids, Kind, Rule, Text};
use medalist_competitions::CompetitionSpec;
use medalist_grading::medal::Direction;
use medalist_grading::table::{Column, Limits, Table};

use super::{NotChecked, files};
use crate::app::boards::Board;
use crate::app::context::Context;
use crate::app::grading::Grading;

/// The largest table of public data that is read.
const TABLE: u64 = 512 << 20;
/// Bytes of public texts that are searched for instructions.
const PROSE: u64 = 256 << 20;

/// A competition's task.
pub(super) struct Task {
    /// Columns that name a row, in a submission.
    pub(super) id_columns: Vec<String>,
    /// Columns that are graded, in a submission and in the answers.
    pub(super) targets: Vec<(String, String)>,
    /// The answers, where they are a table.
    pub(super) answers: Option<Table>,
    /// Columns that name a row, in the answers.
    pub(super) answer_ids: Vec<String>,
    /// The sample submission.
    pub(super) sample: Option<Table>,
    ideal: Option<f64>,
    best: Option<f64>,
    public: PathBuf,
    /// Why ids or answers are not known, in words.
    pub(super) missing: Vec<String>,
}

impl Task {
    /// Reads what there is; what cannot be read is named in [`Task::missing`].
    pub(super) fn read(id: &str, grading: &Grading, context: &Context) -> Result<Self, String> {
        let spec = grading.spec(id).map_err(|error| error.to_string())?;
        let prepared = context.data().prepared(&spec.id);
        let rules = &spec.grading;
        let pairs = rules.target_columns.iter().zip(rules.answer_targets());
        let mut task = Self {
            id_columns: rules.id_columns.clone(),
            targets: pairs.map(|(own, answer)| (own.clone(), answer.clone())).collect(),
            answers: None,
            answer_ids: rules.answer_ids().to_vec(),
            sample: None,
            ideal: None,
            best: None,
            public: context.data().public(&spec.id),
            missing: Vec::new(),
        };
        let answers = spec.answers_path(&prepared);
        task.answers = task.table(&answers, "the answers");
        let sample = spec.sample_submission_path(&prepared);
        task.sample = task.table(&sample, "the sample submission");
        if task.answers.is_some() {
            task.ideal = ideal(spec, grading, &prepared);
        }
        let board =
            Board::in_force(spec, context.data().root()).ok().and_then(|board| board.leaderboard);
        let lower = rules.direction == Direction::Lower;
        let scores = board.iter().flat_map(|board| board.scores()).copied();
        task.best = scores.reduce(|a, b| if lower { a.min(b) } else { a.max(b) });
        Ok(task)
    }

    fn table(&mut self, path: &Path, what: &str) -> Option<Table> {
        if path.extension().is_none_or(|end| end != "csv") {
            self.missing.push(format!("{what} are no table"));
            return None;
        }
        // Data that the user prepared may be reached by a link.
        let real = path.canonicalize();
        let read = real.map_err(|error| error.to_string()).and_then(|path| {
            Table::read(&path, &Limits::trusted()).map_err(|error| error.to_string())
        });
        read.map_err(|why| self.missing.push(format!("{what} cannot be read here: {why}"))).ok()
    }

    /// The ids of the test rows, with the answers where one column has them.
    pub(super) fn ids(&self) -> Option<Ids> {
        let (table, names) = match (&self.answers, &self.sample) {
            (Some(answers), _) => (answers, &self.answer_ids),
            (None, Some(sample)) => (sample, &self.id_columns),
            (None, None) => return None,
        };
        let [name] = names.as_slice() else { return None };
        let ids = table.column(name)?;
        let answers = match (&self.answers, self.targets.as_slice()) {
            (Some(table), [(_, target)]) => table.column(target),
            _ => None,
        };
        let cells =
            |column: Column<'_>| (0..column.len()).map(|row| column.raw(row).to_owned()).collect();
        let answers: Vec<String> = answers.map(cells).unwrap_or_default();
        Some(Ids::new((0..ids.len()).map(|row| ids.raw(row)), answers))
    }

    /// What scores say of how near others came.
    pub(super) fn scores(&self, own: Option<f64>) -> Scores {
        Scores { ideal: self.ideal, own, best: self.best }
    }

    /// Findings in the public data, which say nothing against any attempt.
    pub(super) fn data(&self) -> (Vec<Finding>, Vec<NotChecked>) {
        let (mut found, mut not_checked) = (Vec::new(), Vec::new());
        match self.overlap() {
            Ok(overlap) => found.extend(overlap.finding("public/test.csv", "public/train.csv")),
            Err(why) => not_checked.push(NotChecked { rule: Rule::TestRowsInTrain, why }),
        }
        match self.instructions() {
            Ok(instructions) => found.extend(instructions),
            Err(why) => not_checked.push(NotChecked { rule: Rule::PromptInjection, why }),
        }
        (found, not_checked)
    }

    /// How many rows of the test data stand in the training data.
    fn overlap(&self) -> Result<Overlap, String> {
        let read = |name: &str| {
            let path = self.public.join(name);
            if !path.is_file() {
                return Err(format!("the public data have no `{name}`"));
            }
            let limits = Limits { bytes: TABLE, ..Limits::trusted() };
            Table::read(&path, &limits).map_err(|error| format!("`{name}`: {error}"))
        };
        let (train, test) = (read("train.csv")?, read("test.csv")?);
        let targets = self.targets.iter().map(|(own, _)| own.clone());
        let not: Vec<String> = self.id_columns.iter().cloned().chain(targets).collect();
        let names = shared_columns(train.names(), test.names(), &not);
        if names.is_empty() {
            return Err("`train.csv` and `test.csv` share no column beside ids".to_owned());
        }
        let columns = |table: &Table| -> Vec<usize> {
            let place = |name: &&str| table.names().iter().position(|own| own == name);
            names.iter().filter_map(place).collect()
        };
        let mut counter = Counter::default();
        let of_train = columns(&train);
        for row in 0..train.rows() {
            counter.train(of_train.iter().map(|at| train.column_at(*at).raw(row)));
        }
        let of_test = columns(&test);
        for row in 0..test.rows() {
            counter.test(of_test.iter().map(|at| test.column_at(*at).raw(row)));
        }
        Ok(counter.overlap())
    }

    /// Texts in the public data that tell their reader what to do.
    fn instructions(&self) -> Result<Vec<Finding>, String> {
        if !self.public.is_dir() {
            return Err("the competition is not prepared here".to_owned());
        }
        let mut found = Vec::new();
        let mut left = PROSE;
        let entries = std::fs::read_dir(&self.public).map_err(|error| error.to_string())?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        let is_text = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
            ["csv", "tsv", "txt", "md", "json", "jsonl"].contains(&end)
        };
        for path in paths.iter().filter(|path| is_text(path)) {
            let length = path.symlink_metadata().map_or(0, |meta| meta.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(rest) = left.checked_sub(length) else {
                return Err(format!("the public data have more than {} MiB of text", PROSE >> 20));
            };
            left = rest;
            let shown = format!("public/{name}");
            let mut text = Text::new(&shown, Kind::Data);
            files::lines(path, |line| text.line(line, &medalist_audit::Setting::default()))
                .map_err(|error| format!("`{name}`: {error}"))?;
            found.extend(text.finish());
        }
        Ok(found)
    }
}

/// What the answers themselves score.
fn ideal(spec: &CompetitionSpec, grading: &Grading, prepared: &Path) -> Option<f64> {
    let gold = spec.gold_submission_path(prepared);
    let fits = gold.extension().is_some_and(|end| end == "csv");
    let score = fits.then(|| grading.score(spec, &gold, &spec.answers_path(prepared)));
    score.and_then(Result::ok).filter(|score| score.is_finite())
}
