//! A competition's final board: its scores, the thresholds they give, and where a new score would
//! stand.

use std::collections::HashMap;
use std::path::Path;

use crate::medal::{Direction, Thresholds};
use crate::table::{Limits, ReadError, Table};

/// The scores of a board, best first as the board lists them.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaderboard {
    scores: Vec<f64>,
    direction: Direction,
}

/// Why a file is no leaderboard.
#[derive(Debug, thiserror::Error)]
pub enum LeaderboardError {
    /// The file is no table.
    #[error("cannot read the leaderboard")]
    Read(#[from] ReadError),
    /// No column holds scores.
    #[error("the leaderboard has no column `score` or `Score`; its columns are {0}")]
    NoScoreColumn(String),
    /// A score is missing or no number.
    #[error("row {row} of the leaderboard has score `{value}`, expected a number")]
    BadScore {
        /// The row, from 1.
        row: usize,
        /// The cell.
        value: String,
    },
    /// There are no scores.
    #[error("the leaderboard has no rows")]
    Empty,
}

impl Leaderboard {
    /// A board of the given scores in board order, the winner's first.
    ///
    /// Lower scores are better exactly if the first is below the last.
    ///
    /// # Errors
    /// [`LeaderboardError::Empty`], or [`LeaderboardError::BadScore`] for NaN.
    ///
    /// # Source
    /// MLE-bench 783b15a `mlebench/grade_helpers.py` `Grader.is_lower_better`.
    pub fn new(scores: Vec<f64>) -> Result<Self, LeaderboardError> {
        let (Some(first), Some(last)) = (scores.first(), scores.last()) else {
            return Err(LeaderboardError::Empty);
        };
        if let Some(row) = scores.iter().position(|score| score.is_nan()) {
            return Err(LeaderboardError::BadScore { row: row + 1, value: "NaN".to_owned() });
        }
        let direction = if first < last { Direction::Lower } else { Direction::Higher };
        Ok(Self { scores, direction })
    }

    /// Reads a board: MLE-bench's `leaderboard.csv` or Kaggle's download (column `score` or
    /// `Score`), or one column of scores.
    ///
    /// # Errors
    /// [`LeaderboardError`] says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, LeaderboardError> {
        let real = path.canonicalize().map_err(|source| ReadError::Io { source })?;
        Self::of_table(&Table::read(&real, &Limits::default())?)
    }

    /// Parses the text of a board; see [`Leaderboard::read`].
    ///
    /// # Errors
    /// [`LeaderboardError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, LeaderboardError> {
        Self::of_table(&Table::parse(text.as_bytes().to_vec(), &Limits::default())?)
    }

    /// The board of Kaggle's download: the best score of each team (`TeamId`, else `TeamName`; a
    /// list of submissions names teams more than once), best first in the competition's direction.
    ///
    /// # Errors
    /// [`LeaderboardError`] says what is wrong with the table.
    pub fn of_teams(table: &Table, direction: Direction) -> Result<Self, LeaderboardError> {
        let scores = score_column(table)?;
        let mut scores = match table.column("TeamId").or_else(|| table.column("TeamName")) {
            None => scores,
            Some(team) => {
                let mut best: HashMap<&str, f64> = HashMap::new();
                for (row, score) in scores.into_iter().enumerate() {
                    let known = best.entry(team.raw(row)).or_insert(score);
                    if direction.is_better(score, *known) {
                        *known = score;
                    }
                }
                best.into_values().collect()
            }
        };
        scores.sort_unstable_by(|a, b| direction.compare(*a, *b));
        Ok(Self { direction, ..Self::new(scores)? })
    }

    /// The board of a table's column of scores, in its order; see [`Leaderboard::read`].
    ///
    /// # Errors
    /// [`LeaderboardError`] says what is wrong with the table.
    pub fn of_table(table: &Table) -> Result<Self, LeaderboardError> {
        Self::new(score_column(table)?)
    }

    /// The scores in board order.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// Which scores are better, told from the first and the last.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The medal thresholds and the median.
    ///
    /// With n teams, the last place that earns gold, silver and bronze is below 100: 10 %, 20 %, 40
    /// % of n (at least one team); below 250: 10, 20 %, 40 %; below 1000: 10 + 0.2 %, 50, 100; else
    /// 10 + 0.2 %, 5 %, 10 %. Shares are rounded down; the score at that place of the board is the
    /// threshold.
    ///
    /// # Source
    /// MLE-bench 783b15a `mlebench/grade_helpers.py` `Grader.rank_score`, after Kaggle's
    /// progression page.
    pub fn thresholds(&self) -> Thresholds {
        let n = self.scores.len();
        // The products are taken in doubles and cut, as the reference does.
        let share = |fraction: f64| (n as f64 * fraction) as usize;
        let [gold, silver, bronze] = match n {
            0..100 => [share(0.1).max(1), share(0.2).max(1), share(0.4).max(1)],
            100..250 => [10, share(0.2), share(0.4)],
            250..1000 => [10 + share(0.002), 50, 100],
            _ => [10 + share(0.002), share(0.05), share(0.1)],
        };
        let at = |place: usize| self.scores[place - 1];
        Thresholds { gold: at(gold), silver: at(silver), bronze: at(bronze), median: self.median() }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.scores.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    /// Where a score would stand, or `None` for NaN. `direction` is the competition's, which a
    /// board of equal scores cannot tell.
    pub fn standing(&self, score: f64, direction: Direction) -> Option<Standing> {
        if score.is_nan() {
            return None;
        }
        let better = self.scores.iter().filter(|&&other| direction.is_better(other, score)).count();
        let teams = self.scores.len();
        Some(Standing {
            rank: better + 1,
            teams,
            percentile: 100.0 * (teams - better) as f64 / teams as f64,
        })
    }
}

/// The column of scores, whole.
fn score_column(table: &Table) -> Result<Vec<f64>, LeaderboardError> {
    let column = table.column("score").or_else(|| table.column("Score")).ok_or_else(|| {
        LeaderboardError::NoScoreColumn(
            table.names().iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
        )
    })?;
    let score = |row: usize| {
        let number = column.number(row).filter(|score| !score.is_nan());
        number.ok_or_else(|| LeaderboardError::BadScore {
            row: row + 1,
            value: column.raw(row).to_owned(),
        })
    };
    (0..table.rows()).map(score).collect()
}

/// Where a score stands on a board.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// One more than the number of teams with a strictly better score; `teams + 1` if all are
    /// better.
    pub rank: usize,
    /// Number of teams.
    pub teams: usize,
    /// Share of teams, in percent, whose score is not better: 100 for the winner's score, 0 below
    /// everyone.
    pub percentile: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_size_of_the_board() {
        let places = |n: usize| {
            let t = Leaderboard::new((1..=n).map(|k| k as f64).collect()).unwrap().thresholds();
            [t.gold as usize, t.silver as usize, t.bronze as usize]
        };
        for (n, expected) in [
            (1, [1, 1, 1]),
            (2, [1, 1, 1]),
            (29, [2, 5, 11]),
            (99, [9, 19, 39]),
            (100, [10, 20, 40]),
            (249, [10, 49, 99]),
            (250, [10, 50, 100]),
            (500, [11, 50, 100]),
            (999, [11, 50, 100]),
            (1000, [12, 50, 100]),
            (3308, [16, 165, 330]),
        ] {
            assert_eq!(places(n), expected, "{n} teams");
        }
    }

    #[test]
    fn standings_count_better_teams() {
        let board = Leaderboard::new(vec![0.9, 0.8, 0.8, 0.5]).unwrap();
        let standing =
            |score| board.standing(score, Direction::Higher).map(|s| (s.rank, s.percentile));
        assert_eq!(standing(0.95), Some((1, 100.0)));
        assert_eq!(standing(0.8), Some((2, 75.0)));
        assert_eq!(standing(0.1), Some((5, 0.0)));
        assert_eq!(standing(f64::NAN), None);
    }

    #[test]
    fn boards_are_read_in_three_formats() {
        let mlebench = "scoreNullable,teamId,hasTeamName,submissionDate,score,hasScore\n0.1,17,True,,0.1,True\n0.3,4,True,,0.3,True\n";
        let kaggle = "\u{feff}Rank,TeamId,TeamName,Score\n1,17,\"a, b\",0.1\n2,4,c,0.3\n";
        for text in [mlebench, kaggle, "score\n0.1\n0.3\n"] {
            let board = Leaderboard::parse(text).unwrap();
            assert_eq!((board.scores(), board.direction()), (&[0.1, 0.3][..], Direction::Lower));
        }
        let of_teams = |text: &str, direction| {
            let table = Table::parse(text.into(), &Limits::default()).unwrap();
            Leaderboard::of_teams(&table, direction).unwrap().scores().to_vec()
        };
        let submissions =
            "TeamId,TeamName,SubmissionDate,Score\n7,x,1,0.2\n9,y,1,0.5\n7,x,2,0.6\n8,x,3,0.1\n";
        assert_eq!(of_teams(submissions, Direction::Higher), [0.6, 0.5, 0.1]);
        assert_eq!(of_teams(submissions, Direction::Lower), [0.1, 0.2, 0.5]);
        assert_eq!(of_teams(kaggle, Direction::Lower), [0.1, 0.3]);
        assert!(matches!(Leaderboard::parse("a\n1\n"), Err(LeaderboardError::NoScoreColumn(_))));
        assert!(matches!(
            Leaderboard::parse("score\n1\nx\n"),
            Err(LeaderboardError::BadScore { row: 2, .. })
        ));
        assert!(matches!(Leaderboard::parse("score\n"), Err(LeaderboardError::Empty)));
    }
}
