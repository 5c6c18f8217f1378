//! A competition's final board: its scores, the thresholds they give, and where a new score would
//! stand.

use std::collections::HashMap;
use std::path::Path;

use crate::medal::{Direction, Thresholds};
use crate::table::{Limits, ReadError, Table};
use crate::untrusted::{Shown, name_list};

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
    /// A row of Kaggle's board names no team.
    #[error("row {row} of the leaderboard names no team")]
    NoTeam {
        /// The row, from 1.
        row: usize,
    },
    /// There are no scores.
    #[error("the leaderboard has no rows")]
    Empty,
}

/// What makes it doubtful that a board is the competition's final one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Doubt {
    /// All teams have one score, as in boards that Kaggle serves before a competition has ended.
    #[error("all {teams} scores are {score}")]
    AllEqual {
        /// How many there are.
        teams: usize,
        score: f64,
    },
    /// The board runs from the worst to the best score.
    #[error("its first score is {first} and its last {last}, but {} is better here; expected the best first", words(*.direction))]
    Backwards {
        /// The first score.
        first: f64,
        last: f64,
        /// The competition's direction.
        direction: Direction,
    },
    /// A score is better than the one before it.
    #[error(
        "score {place} is {score}, better than the {before} before it; expected the best first"
    )]
    Unsorted {
        /// The better score's place, from 1.
        place: usize,
        score: f64,
        /// The score before it.
        before: f64,
    },
    /// The number of scores is far from the competition's number of teams.
    #[error("it has {found} scores, but the competition had {published} teams")]
    Teams {
        /// How many scores there are.
        found: usize,
        /// How many teams there were.
        published: u64,
    },
}

impl Doubt {
    /// Whether ranks and thresholds read off the board mean nothing.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::AllEqual { .. } | Self::Backwards { .. } => true,
            Self::Unsorted { .. } | Self::Teams { .. } => false,
        }
    }
}

fn words(direction: Direction) -> &'static str {
    match direction {
        Direction::Higher => "higher",
        Direction::Lower => "lower",
    }
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
        // A link is fine here: a board is the user's own, unlike a submission.
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
                if let Some(row) = team.first_missing() {
                    return Err(LeaderboardError::NoTeam { row: row + 1 });
                }
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

    /// What speaks against the board, the worst first.
    ///
    /// `direction`: the competition's. `published`: its number of teams, where it is known; boards
    /// leave out a few (hosts, benchmarks), so that only a larger gap counts.
    pub fn doubts(&self, direction: Direction, published: Option<u64>) -> Vec<Doubt> {
        let (scores, mut doubts) = (&self.scores, Vec::new());
        let (first, last) = (scores[0], scores[scores.len() - 1]);
        if scores.len() > 1 && scores.iter().all(|&score| score == first) {
            doubts.push(Doubt::AllEqual { teams: scores.len(), score: first });
        } else if direction.is_better(last, first) {
            doubts.push(Doubt::Backwards { first, last, direction });
        } else if let Some(place) =
            (1..scores.len()).find(|&place| direction.is_better(scores[place], scores[place - 1]))
        {
            let (score, before) = (scores[place], scores[place - 1]);
            doubts.push(Doubt::Unsorted { place: place + 1, score, before });
        }
        if let Some(published) = published
            && published.abs_diff(scores.len() as u64) > (published / 100).max(10)
        {
            doubts.push(Doubt::Teams { found: scores.len(), published });
        }
        doubts
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
    let column = table
        .column("score")
        .or_else(|| table.column("Score"))
        .ok_or_else(|| LeaderboardError::NoScoreColumn(name_list(table.names())))?;
    let score = |row: usize| {
        let number = column.number(row).filter(|score| !score.is_nan());
        number.ok_or_else(|| LeaderboardError::BadScore {
            row: row + 1,
            value: Shown::cut(column.raw(row), 80).into_string(),
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
        let table = Table::parse("TeamId,Score\n7,0.5\n,0.9\n".into(), &Limits::default()).unwrap();
        let nobody = Leaderboard::of_teams(&table, Direction::Higher);
        assert!(matches!(nobody, Err(LeaderboardError::NoTeam { row: 2 })));
    }

    #[test]
    fn doubtful_boards_are_told() {
        let doubts = |scores: &[f64], published| {
            let board = Leaderboard::new(scores.to_vec()).unwrap();
            board.doubts(Direction::Higher, published)
        };
        assert_eq!(doubts(&[0.9, 0.8, 0.8, 0.1], None), []);
        assert_eq!(doubts(&[0.9], Some(8)), []);
        assert_eq!(doubts(&[0.5; 3], None), [Doubt::AllEqual { teams: 3, score: 0.5 }]);
        let backwards = Doubt::Backwards { first: 0.1, last: 0.9, direction: Direction::Higher };
        assert_eq!(doubts(&[0.1, 0.9], None), [backwards]);
        let unsorted = Doubt::Unsorted { place: 3, score: 0.8, before: 0.5 };
        assert_eq!(doubts(&[0.9, 0.5, 0.8, 0.1], None), [unsorted]);
        let many: Vec<f64> = (0..1_000).map(|k| -f64::from(k)).collect();
        assert_eq!(doubts(&many, Some(1_010)), []);
        let teams = Doubt::Teams { found: 1_000, published: 2_000 };
        assert_eq!(doubts(&many, Some(2_000)), [teams]);
    }
}
