//! What the catalogue knows of competitions, and which of them are of a kind.

use std::path::Path;

use medalist_competitions::{Checksums, CompetitionSpec, Complexity, KnownIssue, Modality, Suite};
use medalist_grading::{Direction, Thresholds};
use serde::Serialize;

use super::boards::Board;
use super::error::{CliError, Exit};
use super::suites::ChosenSuite;

/// A kind of competition: what is `None` may be anything.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    /// In this suite.
    pub suite: Option<ChosenSuite>,
    /// Of this modality.
    pub modality: Option<Modality>,
    /// Of this complexity.
    pub complexity: Option<Complexity>,
}

impl Kind {
    /// Whether a competition is of the kind.
    pub fn contains(&self, spec: &CompetitionSpec) -> bool {
        self.suite.as_ref().is_none_or(|suite| suite.contains(spec))
            && self.modality.is_none_or(|modality| spec.modality == modality)
            && self.complexity.is_none_or(|complexity| spec.complexity == complexity)
    }
}

/// The board that results of a competition are measured against.
///
/// # Errors
/// As [`Board::in_force`].
pub fn board_in_force(spec: &CompetitionSpec, data_dir: &Path) -> Result<Board, CliError> {
    Board::in_force(spec, data_dir).map_err(|error| CliError::new(Exit::BadInput, error))
}

/// Everything known of a competition, as `--json` prints it.
#[derive(Serialize)]
pub struct Facts<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name for people.
    pub title: &'a str,
    /// The kind of data that dominates.
    pub modality: Modality,
    /// MLE-bench's finer label.
    pub category: Option<&'a str>,
    /// The split it belongs to.
    pub complexity: Complexity,
    /// Suites that contain it.
    pub suites: Vec<&'static str>,
    /// Where Kaggle has it.
    pub kaggle_url: Option<String>,
    /// Size of the download in units of 10^9 bytes.
    pub size_gb: Option<f64>,
    /// The day on which it ended on Kaggle, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<chrono::NaiveDate>,
    /// How submissions are scored.
    pub metric: &'a str,
    /// Which scores are better.
    pub direction: Direction,
    /// Columns that name a row.
    pub id_columns: &'a [String],
    /// Columns that are scored.
    pub target_columns: &'a [String],
    /// Where the answers are, below `prepared/`.
    pub answers: &'a str,
    /// Where the sample submission is, below `prepared/`.
    pub sample_submission: &'a str,
    /// What medals and the median ask for.
    pub thresholds: Option<Thresholds>,
    /// Where the thresholds come from.
    pub thresholds_source: Option<&'static str>,
    /// Number of teams.
    pub n_teams: Option<u64>,
    /// Number of scores on the board in force.
    pub leaderboard_scores: Option<usize>,
    /// Where the board in force comes from, if it is the user's own.
    pub own_leaderboard: Option<&'a str>,
    /// Published checksums.
    pub checksums: Option<&'a Checksums>,
    /// Whether there is a brief.
    pub has_brief: bool,
    /// Its folder, if it is the user's own.
    pub folder: Option<&'a Path>,
    /// What is wrong with the task.
    pub known_issues: &'a [KnownIssue],
}

impl<'a> Facts<'a> {
    /// The facts of a competition whose board in force is `board`.
    pub fn new(spec: &'a CompetitionSpec, board: &'a Board) -> Self {
        let published = spec.thresholds.as_ref().map(|thresholds| thresholds.source.as_str());
        Self {
            id: spec.id.as_str(),
            title: &spec.title,
            modality: spec.modality,
            category: spec.category.as_deref(),
            complexity: spec.complexity,
            suites: Suite::ALL
                .iter()
                .filter(|suite| suite.contains(spec))
                .map(|suite| suite.as_str())
                .collect(),
            kaggle_url: spec.kaggle_url(),
            size_gb: spec.size_gb,
            ended: spec.ended,
            metric: &spec.grading.metric,
            direction: spec.grading.direction,
            id_columns: &spec.grading.id_columns,
            target_columns: &spec.grading.target_columns,
            answers: &spec.data.answers,
            sample_submission: &spec.data.sample_submission,
            thresholds: board.thresholds,
            thresholds_source: if board.own.is_some() {
                Some("own leaderboard")
            } else {
                published
            },
            n_teams: board.n_teams,
            leaderboard_scores: board.leaderboard.as_ref().map(|board| board.scores().len()),
            own_leaderboard: board.own.as_deref(),
            checksums: spec.checksums(),
            has_brief: spec.brief().is_some(),
            folder: spec.folder(),
            known_issues: &spec.known_issues,
        }
    }
}

#[cfg(test)]
mod tests {
    use medalist_competitions::Catalogue;

    use super::*;

    #[test]
    fn json_has_thresholds_and_teams() {
        let catalogue = Catalogue::embedded().expect("the catalogue is well-formed");
        let spec = catalogue.get("aerial-cactus-identification").expect("it is in the catalogue");
        let board = board_in_force(spec, Path::new("no-data-dir")).unwrap();
        let json = serde_json::to_value(Facts::new(spec, &board)).expect("facts serialise");
        assert_eq!(json["thresholds"]["gold"], 1.0);
        assert_eq!(json["n_teams"], 1221);
        assert_eq!(json["suites"], serde_json::json!(["low", "all"]));
        assert_eq!(json["direction"], "higher");
    }

    #[test]
    fn a_kind_is_all_that_is_asked_for() {
        let catalogue = Catalogue::embedded().expect("the catalogue is well-formed");
        let count = |kind: &Kind| catalogue.iter().filter(|spec| kind.contains(spec)).count();
        let all = Kind { suite: Some(ChosenSuite::BuiltIn(Suite::All)), ..Kind::default() };
        let images = Kind { modality: Some(Modality::Image), ..all.clone() };
        let low = Kind { complexity: Some(Complexity::Low), ..images.clone() };
        assert_eq!(count(&Kind::default()), catalogue.iter().count());
        assert_eq!(count(&all), catalogue.suite(Suite::All).count());
        assert!(count(&low) > 0 && count(&low) < count(&images) && count(&images) < count(&all));
    }
}
