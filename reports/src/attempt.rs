//! One attempt as reports see it, whatever file it was read from, and what is measured on it.

use std::path::PathBuf;

pub use medalist_grading::{Medal, Thresholds};
use serde::{Deserialize, Serialize};

use crate::record::{AttemptKey, AttemptRecord, CompetitionFacts, OutcomeRecord};

/// The grade of an attempt's submission, from our `grade.json` or an entry of MLE-bench's grading
/// report.
///
/// An attempt without a submission has the default grade: every flag false.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// Score; `None` if there is no valid submission, or the file had no finite number.
    pub score: Option<f64>,
    /// Best medal of the three flags.
    pub medal: Option<Medal>,
    /// Whether the gold flag is set. The reference counts flags, so they are kept beside
    /// [`Grade::medal`].
    pub gold: bool,
    /// Whether the silver flag is set.
    pub silver: bool,
    /// Whether the bronze flag is set.
    pub bronze: bool,
    /// Whether the score is better than the median of the leaderboard.
    pub above_median: bool,
    /// Whether there was a submission file.
    pub exists: bool,
    /// Whether it could be graded.
    pub valid: bool,
    /// Whether a lower score is better.
    pub lower_is_better: bool,
    /// Medal and median thresholds, where known.
    pub thresholds: Option<Thresholds>,
    /// Place on the leaderboard, from 1.
    pub rank: Option<u64>,
    /// Teams on the leaderboard.
    pub teams: Option<u64>,
    /// Percent of the teams whose score is not better, 0 to 100.
    pub percentile: Option<f64>,
    /// Whether a leaderboard of its competition is known, so that no valid submission is a place of
    /// 0 and not an unknown one.
    #[serde(default)]
    pub has_leaderboard: bool,
    /// Whether thresholds of its competition are known, for the same reason.
    #[serde(default)]
    pub has_thresholds: bool,
    /// Where the leaderboard comes from, if it is the user's own in place of the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_leaderboard: Option<String>,
    /// Score under the corrected rules, where it differs in meaning from MLE-bench's.
    pub strict_score: Option<f64>,
    /// Why the submission is not valid.
    pub problem: Option<String>,
    /// Whether the medal is what somebody claims, and all else is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_claimed: bool,
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Planned, and not begun or not ended yet.
    Unfinished,
    /// Ended as the harness recorded it.
    Ended(OutcomeRecord),
    /// Known from a grading report alone, which does not say how the attempt ended.
    Unrecorded,
    /// Somebody claims it, and nobody has seen it here.
    Claimed,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Which attempt.
    pub key: AttemptKey,
    /// Run group, or the name of the file that it was read from.
    pub group: String,
    /// Folder of the attempt, where there is one.
    pub dir: Option<PathBuf>,
    /// Facts of its competition.
    pub facts: CompetitionFacts,
    /// How it ended.
    pub ending: Ending,
    /// How its submission graded.
    pub grade: Grade,
    /// The stored record, where the attempt is ours.
    pub record: Option<Box<AttemptRecord>>,
}

impl Attempt {
    /// Whether the machine and not the agent is to blame for how it ended.
    pub fn is_infrastructure(&self) -> bool {
        matches!(&self.ending, Ending::Ended(outcome) if outcome.infrastructure)
    }

    /// Whether it has an end.
    pub fn has_ended(&self) -> bool {
        !matches!(self.ending, Ending::Unfinished)
    }

    /// Whether nothing can be said of the agent from it: the machine ended it, or it has no end. Such
    /// attempts count as failed in a report and are left out of a comparison's test.
    pub fn is_lost(&self) -> bool {
        self.is_infrastructure() || !self.has_ended()
    }

    /// Stable tag of its end: the record's, or `unfinished`, `graded`, `claimed`.
    pub fn outcome(&self) -> &str {
        match &self.ending {
            Ending::Ended(outcome) => outcome.kind.as_str(),
            Ending::Unfinished => "unfinished",
            Ending::Unrecorded => "graded",
            Ending::Claimed => "claimed",
        }
    }
}

/// What is measured on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Gold, silver or bronze.
    AnyMedal,
    /// Gold flag.
    Gold,
    /// Silver flag.
    Silver,
    /// Bronze flag.
    Bronze,
    /// Better than the median team.
    AboveMedian,
    /// A submission that could be graded.
    Valid,
    /// A submission at all.
    Submitted,
    /// Share of the leaderboard's teams whose score is not better; 0 without a valid submission;
    /// unknown on a competition without a leaderboard.
    Percentile,
    /// Share of the way from the median to the gold threshold, cut to 0..1; 0 without a valid
    /// submission.
    NormalisedScore,
}

impl Measure {
    /// All measures, in the order of the tables.
    pub const ALL: [Self; 9] = [
        Self::AnyMedal,
        Self::Gold,
        Self::Silver,
        Self::Bronze,
        Self::AboveMedian,
        Self::Valid,
        Self::Submitted,
        Self::Percentile,
        Self::NormalisedScore,
    ];

    /// Stable name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::AnyMedal => "any_medal",
            Self::Gold => "gold",
            Self::Silver => "silver",
            Self::Bronze => "bronze",
            Self::AboveMedian => "above_median",
            Self::Valid => "valid",
            Self::Submitted => "submitted",
            Self::Percentile => "percentile",
            Self::NormalisedScore => "normalised_score",
        }
    }

    /// Words for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::AnyMedal => "Any medal",
            Self::Gold => "Gold",
            Self::Silver => "Silver",
            Self::Bronze => "Bronze",
            Self::AboveMedian => "Above median",
            Self::Valid => "Valid submission",
            Self::Submitted => "Submission made",
            Self::Percentile => "Percentile rank",
            Self::NormalisedScore => "Normalised score",
        }
    }

    /// Whether an attempt either has it or not, so that counting and Wilson's interval make sense.
    pub fn is_binary(self) -> bool {
        !matches!(self, Self::Percentile | Self::NormalisedScore)
    }

    /// The value on one attempt, 0 to 1; `None` where it cannot be known, such as a percentile
    /// without a leaderboard.
    pub fn value(self, grade: &Grade) -> Option<f64> {
        let flag = |yes: bool| Some(if yes { 1.0 } else { 0.0 });
        match self {
            Self::AnyMedal => flag(grade.gold || grade.silver || grade.bronze),
            Self::Gold => flag(grade.gold),
            Self::Silver => flag(grade.silver),
            Self::Bronze => flag(grade.bronze),
            Self::AboveMedian | Self::Valid | Self::Submitted if grade.is_claimed => None,
            Self::AboveMedian => flag(grade.above_median),
            Self::Valid => flag(grade.valid),
            Self::Submitted => flag(grade.exists),
            Self::Percentile | Self::NormalisedScore if grade.is_claimed => None,
            Self::Percentile if !grade.valid => grade.has_leaderboard.then_some(0.0),
            Self::Percentile => grade.percentile.map(|p| p / 100.0),
            Self::NormalisedScore if !grade.valid => grade.has_thresholds.then_some(0.0),
            Self::NormalisedScore => normalised(grade),
        }
    }
}

fn normalised(grade: &Grade) -> Option<f64> {
    let (score, t) = (grade.score?, grade.thresholds?);
    let sign = if grade.lower_is_better { -1.0 } else { 1.0 };
    let (done, whole) = (sign * (score - t.median), sign * (t.gold - t.median));
    if whole <= 0.0 {
        return Some(if done >= 0.0 { 1.0 } else { 0.0 });
    }
    Some((done / whole).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(score: f64, lower_is_better: bool, gold: f64, median: f64) -> Grade {
        Grade {
            score: Some(score),
            valid: true,
            lower_is_better,
            thresholds: Some(Thresholds { gold, silver: gold, bronze: gold, median }),
            ..Grade::default()
        }
    }

    #[test]
    fn normalised_score_respects_direction_and_ends() {
        let value = |g: &Grade| Measure::NormalisedScore.value(g);
        assert_eq!(value(&grade(0.75, false, 1.0, 0.5)), Some(0.5));
        assert_eq!(value(&grade(0.25, true, 0.0, 0.5)), Some(0.5));
        assert_eq!(value(&grade(2.0, false, 1.0, 0.5)), Some(1.0));
        assert_eq!(value(&grade(0.1, false, 1.0, 0.5)), Some(0.0));
        assert_eq!(value(&grade(1.0, false, 1.0, 1.0)), Some(1.0));
        assert_eq!(value(&Grade { has_thresholds: true, ..Grade::default() }), Some(0.0));
    }

    #[test]
    fn a_percentile_is_unknown_without_a_leaderboard_and_zero_without_a_submission() {
        assert_eq!(Measure::Percentile.value(&grade(0.5, false, 1.0, 0.5)), None);
        assert_eq!(Measure::Percentile.value(&Grade::default()), None);
        let ranked = Grade { has_leaderboard: true, ..Grade::default() };
        assert_eq!(Measure::Percentile.value(&ranked), Some(0.0));
    }
}
