//! Whether competitions are fair tasks: which are meant, and what is measured on each.

use std::path::Path;

use medalist_competitions::{Catalogue, CatalogueError, CompetitionSpec, KnownIssue};
use medalist_fairness::{Report, Settings, Subject};
use serde::Serialize;

use super::boards::Board;
use super::context::Context;
use super::error::{CliError, Exit};
use super::grading::Grading;
use super::names::unknown_competition;

/// What was measured on a competition, and what is known of it beforehand.
#[derive(Debug, Serialize)]
pub struct Checked<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
    /// How the data were prepared: `v1`, `fixed`, or what was changed.
    pub edition: String,
    /// What the catalogue's register says is wrong.
    pub known_issues: &'a [KnownIssue],
}

/// The catalogue with the folders among `names`, and the ids of all of them.
///
/// # Errors
/// A folder is no competition.
pub fn with_folders(
    mut catalogue: Catalogue,
    names: &[String],
) -> Result<(Catalogue, Vec<String>), CliError> {
    let mut ids = Vec::new();
    for name in names {
        let folder = Path::new(name);
        if !folder.join("competition.toml").is_file() {
            ids.push(name.clone());
            continue;
        }
        let folder = folder.canonicalize().map_err(|error| {
            CliError::message(Exit::BadInput, format_args!("cannot read `{name}`: {error}"))
        })?;
        if let Some(known) = catalogue.iter().find(|spec| spec.folder() == Some(&folder)) {
            ids.push(known.id.to_string());
            continue;
        }
        let before: Vec<String> = catalogue.iter().map(|spec| spec.id.to_string()).collect();
        catalogue = catalogue.with_dir(&folder).map_err(bad_folder)?;
        let new = catalogue.iter().map(|spec| spec.id.to_string());
        ids.extend(new.filter(|id| !before.contains(id)));
    }
    Ok((catalogue, ids))
}

fn bad_folder(error: CatalogueError) -> CliError {
    CliError::new(Exit::BadInput, anyhow::Error::new(error))
}

/// The competitions of the ids.
///
/// # Errors
/// One is unknown.
pub fn specs<'a>(
    catalogue: &'a Catalogue,
    ids: &[String],
) -> Result<Vec<&'a CompetitionSpec>, CliError> {
    ids.iter().map(|id| catalogue.get(id)).collect::<Result<_, _>>().map_err(unknown_competition)
}

/// Measures a prepared competition.
///
/// # Errors
/// The board in force is broken, or the record of the preparation.
pub fn check<'a>(
    spec: &'a CompetitionSpec,
    settings: Settings,
    grading: &Grading,
    context: &Context,
) -> Result<Checked<'a>, CliError> {
    let bad = |error: anyhow::Error| CliError::new(Exit::BadInput, error);
    let board = Board::in_force(spec, &context.data_dir).map_err(|error| bad(error.into()))?;
    let edition =
        medalist_competitions::prepare::PreparedRecord::edition_of(&context.data_dir, &spec.id)
            .map_err(|error| bad(error.into()))?;
    let data = context.data();
    let prepared = data.prepared(&spec.id);
    let answers = spec.answers_path(&prepared);
    let subject = Subject {
        id: spec.id.as_str(),
        grading: &spec.grading,
        public: data.public(&spec.id),
        sample: spec.sample_submission_path(&prepared),
        answers: answers.clone(),
        thresholds: board.thresholds,
        board: board.leaderboard.as_ref(),
    };
    let score = |submission: &Path| grading.score(spec, submission, &answers);
    let report = medalist_fairness::check(&subject, settings, &score);
    Ok(Checked { report, edition, known_issues: &spec.known_issues })
}
