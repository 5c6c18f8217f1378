//! The leaderboard in force for a competition: the catalogue's, or one that the user imported in
//! its place.
//!
//! An imported board is kept beside the competition's prepared data, where preparing again does not
//! touch it. Only scores are kept: names of teams are nobody's business here.

pub mod import;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use medalist_competitions::{CompetitionId, CompetitionSpec, DataDir};
use medalist_grading::leaderboard::{Doubt, LeaderboardError};
use medalist_grading::report::CompetitionFacts;
use medalist_grading::{Leaderboard, Thresholds};
use serde::{Deserialize, Serialize};

use crate::host::files::{StoreError, read_json_if_there, write_json};

/// Where an imported board was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoardOrigin {
    /// A `leaderboard.csv` of an MLE-bench checkout.
    MleBench,
    /// A leaderboard downloaded from Kaggle.
    Kaggle,
    /// A plain list of scores.
    Scores,
}

impl BoardOrigin {
    /// The words that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MleBench => "MLE-bench checkout",
            Self::Kaggle => "Kaggle download",
            Self::Scores => "list of scores",
        }
    }
}

/// An imported board as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnBoard {
    /// The competition's id.
    pub competition: CompetitionId,
    /// What the file was.
    pub origin: BoardOrigin,
    /// The file that was imported.
    pub file: PathBuf,
    /// SHA-256 of that file, in hexadecimal digits.
    pub sha256: String,
    /// When it was imported.
    pub imported_at: DateTime<Utc>,
    /// The scores in board order, the winner's first.
    pub scores: Vec<f64>,
}

impl OwnBoard {
    /// Where the board of a competition is kept, whether there is one or not.
    pub fn path(data_dir: &Path, id: &CompetitionId) -> PathBuf {
        DataDir::new(data_dir).competition(id).leaderboard()
    }

    /// Keeps the board in the data directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, data_dir: &Path) -> Result<(), StoreError> {
        let path = Self::path(data_dir, &self.competition);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|source| StoreError::Io {
                verb: "create",
                path: parent.to_owned(),
                source,
            })?;
        }
        write_json(&path, self)
    }

    /// Where it comes from, in words that every result repeats.
    pub fn provenance(&self) -> String {
        format!(
            "{}, {} scores from `{}`, sha256 {}, imported {}",
            self.origin.as_str(),
            self.scores.len(),
            self.file.display(),
            self.sha256.get(..12).unwrap_or(&self.sha256),
            self.imported_at.format("%Y-%m-%d"),
        )
    }
}

/// The board that a competition's results are measured against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// The scores, for rank and percentile.
    pub leaderboard: Option<Leaderboard>,
    /// What medals and the median ask for.
    pub thresholds: Option<Thresholds>,
    /// Number of teams.
    pub n_teams: Option<u64>,
    /// Where it comes from, if it is the user's own.
    pub own: Option<String>,
}

/// A board that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The imported board cannot be read.
    #[error(
        "the imported leaderboard cannot be read; `medalist leaderboard import --remove -c {id}` goes back to the catalogue's"
    )]
    Own {
        /// The competition's id.
        id: String,
        /// What is wrong with the file.
        #[source]
        source: StoreError,
    },
    /// The board holds no usable scores.
    #[error("the leaderboard of `{id}` is broken")]
    Scores {
        /// The competition's id.
        id: String,
        /// What is wrong with them.
        #[source]
        source: LeaderboardError,
    },
}

impl Board {
    /// The board in force: the imported one in the data directory, else the catalogue's. Published
    /// thresholds stand where a board cannot be the competition's final one.
    ///
    /// # Errors
    /// [`BoardError`] if the imported board is damaged, or a leaderboard is none.
    pub fn in_force(spec: &CompetitionSpec, data_dir: &Path) -> Result<Self, BoardError> {
        let id = spec.id.as_str();
        let broken = |source| BoardError::Scores { id: id.to_owned(), source };
        let own: Option<OwnBoard> = read_json_if_there(&OwnBoard::path(data_dir, &spec.id))
            .map_err(|source| BoardError::Own { id: id.to_owned(), source })?;
        if let Some(own) = own {
            let provenance = own.provenance();
            let board = Leaderboard::new(own.scores).map_err(broken)?;
            match fatal_doubt(&board, spec) {
                None => {
                    return Ok(Self {
                        thresholds: Some(board.thresholds()),
                        n_teams: Some(board.scores().len() as u64),
                        leaderboard: Some(board),
                        own: Some(provenance),
                    });
                }
                // `leaderboard import` refuses it today; an earlier one did not.
                Some(doubt) => tracing::warn!(
                    "the imported leaderboard of `{id}` is passed over: {doubt}; `medalist leaderboard import --remove -c {id}` removes it"
                ),
            }
        }
        let published = spec.thresholds.as_ref();
        let board = spec.leaderboard_csv().map(Leaderboard::parse).transpose().map_err(broken)?;
        Ok(Self {
            // It gives no rank, and takes nothing from the thresholds.
            leaderboard: board.filter(|board| fatal_doubt(board, spec).is_none()),
            thresholds: published.map(|thresholds| thresholds.medals()),
            n_teams: published.and_then(|thresholds| thresholds.n_teams).map(u64::from),
            own: None,
        })
    }

    /// What a grading report says about the competition and this board.
    pub fn facts<'a>(&'a self, spec: &'a CompetitionSpec) -> CompetitionFacts<'a> {
        CompetitionFacts {
            id: spec.id.as_str(),
            thresholds: self.thresholds,
            leaderboard: self.leaderboard.as_ref(),
            n_teams: self.n_teams,
            own_leaderboard: self.own.as_deref(),
        }
    }
}

/// Why a board cannot be its competition's final one.
fn fatal_doubt(board: &Leaderboard, spec: &CompetitionSpec) -> Option<Doubt> {
    board.doubts(spec.grading.direction, None).into_iter().find(Doubt::is_fatal)
}

#[cfg(test)]
mod tests {
    use medalist_competitions::Catalogue;

    use super::*;

    #[test]
    fn published_thresholds_stand_where_an_imported_board_is_doubtful() {
        let temp = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::embedded().unwrap();
        let spec = catalogue.get("spaceship-titanic").unwrap();
        let published = Board::in_force(spec, temp.path()).unwrap();
        assert!(published.leaderboard.is_some() && published.thresholds.is_some());
        let keep = |scores: &[f64]| {
            let board = OwnBoard {
                competition: spec.id.clone(),
                origin: BoardOrigin::Kaggle,
                file: "board.csv".into(),
                sha256: String::new(),
                imported_at: Utc::now(),
                scores: scores.to_vec(),
            };
            board.keep(temp.path()).unwrap();
            Board::in_force(spec, temp.path()).unwrap()
        };
        assert_ne!(keep(&[0.9, 0.8, 0.1]), published, "a sound board is in force");
        for doubtful in [[0.5, 0.5, 0.5], [0.1, 0.8, 0.9]] {
            assert_eq!(keep(&doubtful), published, "{doubtful:?}");
        }
    }
}
