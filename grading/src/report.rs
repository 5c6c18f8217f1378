//! The grading report of one submission: MLE-bench's fields, then ours.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::grade::{GradeError, Graded, Grader, Verdict};
use crate::invalid::InvalidSubmission;
use crate::leaderboard::Leaderboard;
use crate::medal::{Medal, Thresholds};
use crate::table::Limits;

/// What a grading report needs to know about a competition beside its grader.
#[derive(Clone, Copy, Debug)]
pub struct CompetitionFacts<'a> {
    /// The competition's id.
    pub id: &'a str,
    /// Its medal thresholds; without any, no medal is given.
    pub thresholds: Option<Thresholds>,
    /// Its board, for rank and percentile.
    pub leaderboard: Option<&'a Leaderboard>,
    /// Number of teams on the original board, which may be longer than the one at hand.
    pub n_teams: Option<u64>,
    /// Where the board comes from, if it is the user's own in place of the catalogue's.
    pub own_leaderboard: Option<&'a str>,
}

/// The report of one submission, as `grade` writes it and `grade-sample` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradeReport {
    /// The competition's id.
    pub competition_id: String,
    /// The score rounded to five decimals; none if the submission is missing or invalid or its
    /// score is not finite.
    pub score: Option<f64>,
    /// The worst score with a gold medal.
    pub gold_threshold: Option<f64>,
    /// The worst score with a silver medal.
    pub silver_threshold: Option<f64>,
    /// The worst score with a bronze medal.
    pub bronze_threshold: Option<f64>,
    /// The median of the board.
    pub median_threshold: Option<f64>,
    /// Whether the score earns a medal.
    pub any_medal: bool,
    /// Whether it earns gold.
    pub gold_medal: bool,
    /// Whether it earns silver and not gold.
    pub silver_medal: bool,
    /// Whether it earns bronze and nothing better.
    pub bronze_medal: bool,
    /// Whether the score is strictly better than the median.
    pub above_median: bool,
    /// Whether there is a submission file whose name ends in `.csv`.
    pub submission_exists: bool,
    /// Whether it has a score by the reference's rules, be it NaN or infinite.
    pub valid_submission: bool,
    /// Whether lower scores are better.
    pub is_lower_better: bool,
    /// When the report was made: local time, ISO 8601 with microseconds.
    pub created_at: String,
    /// The submission's path as it was given; `None` as text where there was none.
    pub submission_path: String,
    /// The score before rounding; none where `score` is none.
    #[serde(default)]
    pub raw_score: Option<f64>,
    /// `NaN`, `inf` or `-inf` where a valid score is no finite number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_finite_score: Option<String>,
    #[serde(default)]
    pub medal: Option<Medal>,
    /// The place on the board, 1 for the best.
    #[serde(default)]
    pub rank: Option<usize>,
    /// Share of teams, in percent, whose score is not better.
    #[serde(default)]
    pub percentile: Option<f64>,
    /// Number of teams.
    #[serde(default)]
    pub n_teams: Option<u64>,
    /// Where thresholds, rank and percentile come from, if from a board of the user's own in place
    /// of the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_leaderboard: Option<String>,
    /// What makes the submission invalid.
    #[serde(default)]
    pub invalid: Option<InvalidSubmission>,
    /// The score without the reference's known faults.
    #[serde(default)]
    pub strict_score: Option<f64>,
    /// Why a strict reading differs from the reference's.
    #[serde(default)]
    pub strict_issues: Vec<InvalidSubmission>,
    /// The version of this grader.
    #[serde(default)]
    pub grader_version: String,
}

/// Grades a submission file and reports on it.
///
/// `submission`: none, or a path that need not exist. A file whose name does not end in `.csv`
/// counts as missing, as in MLE-bench. The answers are only read where there is a submission.
///
/// # Errors
/// [`GradeError`] if the answers cannot be read or do not fit the competition; a bad submission is
/// never an error.
pub fn grade_report(
    facts: &CompetitionFacts<'_>,
    grader: &Grader,
    submission: Option<&Path>,
    answers: &Path,
    limits: &Limits,
) -> Result<GradeReport, GradeError> {
    let graded = submission_file(submission)
        .map(|path| grader.grade_files(path, answers, limits))
        .transpose()?;
    Ok(GradeReport::new(facts, grader, submission, graded))
}

/// The path, if it is a submission in MLE-bench's sense: something is there that is no directory,
/// and its name ends in `.csv`, in capitals or not.
///
/// Links and pipes pass; reading them is refused with a verdict that says so.
pub fn submission_file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
            && path.symlink_metadata().is_ok_and(|file| !file.is_dir())
    })
}

impl GradeReport {
    /// The report of a submission graded before; `graded` is none where there is no submission.
    pub fn new(
        facts: &CompetitionFacts<'_>,
        grader: &Grader,
        submission: Option<&Path>,
        graded: Option<Graded>,
    ) -> Self {
        let direction = grader.spec().direction;
        let submission_exists = graded.is_some();
        let (verdict, strict_score, strict_issues) = match graded {
            Some(Graded { verdict, strict_score, strict_issues }) => {
                (Some(verdict), strict_score, strict_issues)
            }
            None => (None, None, Vec::new()),
        };
        let score = verdict.as_ref().and_then(Verdict::score);
        let finite = score.filter(|score| score.rounded.is_finite());
        // An infinite score still compares, as it does in the reference; NaN compares with nothing.
        let medal =
            score.zip(facts.thresholds).and_then(|(score, t)| t.medal(score.rounded, direction));
        let standing = score
            .zip(facts.leaderboard)
            .and_then(|(score, board)| board.standing(score.rounded, direction));
        Self {
            competition_id: facts.id.to_owned(),
            score: finite.map(|score| score.rounded),
            gold_threshold: facts.thresholds.map(|t| t.gold),
            silver_threshold: facts.thresholds.map(|t| t.silver),
            bronze_threshold: facts.thresholds.map(|t| t.bronze),
            median_threshold: facts.thresholds.map(|t| t.median),
            any_medal: medal.is_some(),
            gold_medal: medal == Some(Medal::Gold),
            silver_medal: medal == Some(Medal::Silver),
            bronze_medal: medal == Some(Medal::Bronze),
            above_median: score
                .zip(facts.thresholds)
                .is_some_and(|(score, t)| t.above_median(score.rounded, direction)),
            submission_exists,
            valid_submission: score.is_some(),
            is_lower_better: direction.is_lower_better(),
            created_at: chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            submission_path: submission
                .map_or_else(|| "None".to_owned(), |path| path.display().to_string()),
            raw_score: finite.map(|score| score.raw),
            non_finite_score: score
                .filter(|score| !score.rounded.is_finite())
                .map(|score| score.rounded.to_string()),
            medal,
            rank: standing.map(|standing| standing.rank),
            percentile: standing.map(|standing| standing.percentile),
            n_teams: facts.n_teams.or(facts.leaderboard.map(|board| board.scores().len() as u64)),
            own_leaderboard: facts.own_leaderboard.map(str::to_owned),
            invalid: match verdict {
                Some(Verdict::Invalid(invalid)) => Some(invalid),
                _ => None,
            },
            strict_score,
            strict_issues,
            grader_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
