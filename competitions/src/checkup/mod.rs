//! What must hold after a preparation, and still holds: `medalist competitions doctor`.
//!
//! Three verdicts are kept apart, because they mean different things: the download may differ and
//! yet give the same data, public data may differ and yet be graded alike, and only if what grading
//! needs differs are scores not comparable.

mod answers;
mod files;
mod public;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::prepare::{Manifest, PrepareError, PreparedRecord};
use crate::{CompetitionDir, CompetitionId, CompetitionSpec, DataDir};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The download.
    Raw,
    /// Prepared files that grading does not need.
    Prepared,
    /// What grading needs: answers, sample and gold submission.
    Grading,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What must hold holds.
    Passed,
    /// It does not.
    Failed,
    /// It could not be told; the detail says why. Its layer cannot be told either then.
    Skipped,
    /// There is nothing to check, such as no published checksums; the detail says what is lacking.
    NotApplicable,
}

/// One check of a competition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name.
    pub name: &'static str,
    /// What it is about.
    pub layer: Layer,
    /// How it came out.
    pub state: State,
    /// What was found, in words.
    pub detail: String,
    /// The files that are not as they must be, each with what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileProblem>,
}

/// A file that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// Its path below `prepared/`, or the download's name.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The verdict on a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that applies was made and holds.
    Same,
    /// At least one does not hold.
    Differs,
    /// None does not hold, but one could not be made, or none applies.
    Unknown,
}

/// The verdicts on all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// The download.
    pub raw: Verdict,
    /// Prepared files that grading does not need.
    pub prepared: Verdict,
    /// What grading needs.
    pub grading: Verdict,
}

/// The state of a prepared competition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkup {
    /// The competition.
    pub id: CompetitionId,
    /// How the data were prepared: `v1`, `fixed`, or what was changed.
    pub edition: String,
    /// `<data-dir>/<id>/prepared`.
    pub path: PathBuf,
    /// The three verdicts.
    pub verdicts: Verdicts,
    /// What they rest on.
    pub checks: Vec<Check>,
}

/// Grades a prepared file, the first path, against answers, the second: the rounded score, or why
/// there is none.
pub type Score<'a> = dyn Fn(&Path, &Path) -> Result<f64, String> + 'a;

/// What a check-up works with.
struct Subject<'a> {
    spec: &'a CompetitionSpec,
    score: &'a Score<'a>,
    home: CompetitionDir,
    prepared: PathBuf,
    record: Option<PreparedRecord>,
}

impl Subject<'_> {
    /// The paths below `prepared/` that grading needs.
    fn graded(&self) -> Vec<String> {
        let data = &self.spec.data;
        let paths =
            [Some(&data.answers), Some(&data.sample_submission), data.gold_submission.as_ref()];
        paths.into_iter().flatten().cloned().collect()
    }
}

impl Checkup {
    /// Looks at the prepared data of a competition; every file is read. Files are graded by `score`,
    /// which may do so in another process.
    ///
    /// # Errors
    /// A file cannot be read. What is missing or wrong is a finding, not an error.
    pub fn of(
        spec: &CompetitionSpec,
        data_dir: &Path,
        score: &Score<'_>,
    ) -> Result<Self, PrepareError> {
        let id = &spec.id;
        let home = DataDir::new(data_dir).competition(id);
        let prepared = home.prepared();
        let record = PreparedRecord::read(data_dir, id)?;
        let edition = record.as_ref().map_or_else(|| "v1".to_owned(), PreparedRecord::edition);
        let subject = Subject { spec, score, prepared, home, record };
        let mut checks = files::checks(&subject)?;
        checks.extend(answers::checks(&subject));
        checks.push(public::check(&subject)?);
        let verdict = |layer: Layer| {
            let states =
                || checks.iter().filter(|check| check.layer == layer).map(|check| check.state);
            let any = |wanted: State| states().any(|state| state == wanted);
            match (any(State::Failed), any(State::Skipped), any(State::Passed)) {
                (true, ..) => Verdict::Differs,
                (false, false, true) => Verdict::Same,
                _ => Verdict::Unknown,
            }
        };
        let verdicts = Verdicts {
            raw: verdict(Layer::Raw),
            prepared: verdict(Layer::Prepared),
            grading: verdict(Layer::Grading),
        };
        Ok(Self { id: id.clone(), edition, path: subject.prepared, verdicts, checks })
    }

    /// Whether no check failed.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.state != State::Failed)
    }
}

/// A check that could not be made.
fn skipped(name: &'static str, layer: Layer, why: impl Into<String>) -> Check {
    Check { name, layer, state: State::Skipped, detail: why.into(), files: Vec::new() }
}

/// A check that has nothing to look at.
fn not_applicable(name: &'static str, layer: Layer, why: impl Into<String>) -> Check {
    Check { state: State::NotApplicable, ..skipped(name, layer, why) }
}

fn passed(name: &'static str, layer: Layer, what: impl Into<String>) -> Check {
    Check { name, layer, state: State::Passed, detail: what.into(), files: Vec::new() }
}

fn failed(
    name: &'static str,
    layer: Layer,
    what: impl Into<String>,
    files: Vec<FileProblem>,
) -> Check {
    Check { name, layer, state: State::Failed, detail: what.into(), files }
}

/// `1 file`, `2 files`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The manifest that a preparation of ours left.
///
/// # Errors
/// It cannot be read, or is not whole.
fn stored_manifest(subject: &Subject<'_>) -> Result<Option<Manifest>, PrepareError> {
    match subject.record {
        None => Ok(None),
        Some(_) => Manifest::read(&subject.home.manifest()),
    }
}
