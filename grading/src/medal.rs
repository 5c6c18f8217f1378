//! Directions, thresholds and medals.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Higher is better.
    Higher,
    /// Lower is better.
    Lower,
}

impl Direction {
    /// Whether `a` is strictly better than `b`. Nothing is better than NaN, nor NaN than anything.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Higher => a > b,
            Self::Lower => a < b,
        }
    }

    /// Whether `a` is as good as `b` or better; false with NaN.
    pub fn is_as_good(self, a: f64, b: f64) -> bool {
        match self {
            Self::Higher => a >= b,
            Self::Lower => a <= b,
        }
    }

    /// Orders scores from best to worst; NaN comes last.
    pub fn compare(self, a: f64, b: f64) -> Ordering {
        let by_value = match self {
            Self::Higher => b.partial_cmp(&a),
            Self::Lower => a.partial_cmp(&b),
        };
        by_value.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    }

    /// Whether lower is better, as MLE-bench's reports say it.
    pub fn is_lower_better(self) -> bool {
        self == Self::Lower
    }
}

/// A medal, ordered from bronze to gold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medal {
    /// Third best.
    Bronze,
    /// Second best.
    Silver,
    /// Best.
    Gold,
}

impl fmt::Display for Medal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        })
    }
}

impl FromStr for Medal {
    type Err = UnknownMedal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bronze" => Ok(Self::Bronze),
            "silver" => Ok(Self::Silver),
            "gold" => Ok(Self::Gold),
            _ => Err(UnknownMedal(text.to_owned())),
        }
    }
}

/// A word that names no medal.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no medal; expected `gold`, `silver` or `bronze`")]
pub struct UnknownMedal(String);

/// The scores that earn medals, and the median of the board.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// The worst score with a gold medal.
    pub gold: f64,
    /// The worst score with a silver medal.
    pub silver: f64,
    /// The worst score with a bronze medal.
    pub bronze: f64,
    /// The median score.
    pub median: f64,
}

impl Thresholds {
    /// The medal of a score: thresholds are inclusive, and only the best medal counts. NaN earns
    /// none.
    pub fn medal(&self, score: f64, direction: Direction) -> Option<Medal> {
        [(self.gold, Medal::Gold), (self.silver, Medal::Silver), (self.bronze, Medal::Bronze)]
            .into_iter()
            .find_map(|(threshold, medal)| direction.is_as_good(score, threshold).then_some(medal))
    }

    /// Whether a score is strictly better than the median.
    pub fn above_median(&self, score: f64, direction: Direction) -> bool {
        direction.is_better(score, self.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { gold: 0.9, silver: 0.8, bronze: 0.7, median: 0.5 };

    #[test]
    fn thresholds_are_inclusive_and_the_median_is_not() {
        let medal = |score| THRESHOLDS.medal(score, Direction::Higher);
        assert_eq!(medal(0.9), Some(Medal::Gold));
        assert_eq!(medal(0.89999), Some(Medal::Silver));
        assert_eq!(medal(0.7), Some(Medal::Bronze));
        assert_eq!(medal(0.69999), None);
        assert_eq!(medal(f64::NAN), None);
        assert!(!THRESHOLDS.above_median(0.5, Direction::Higher));
        assert!(THRESHOLDS.above_median(0.50001, Direction::Higher));
    }

    #[test]
    fn lower_can_be_better() {
        let thresholds = Thresholds { gold: 0.1, silver: 0.2, bronze: 0.3, median: 0.4 };
        assert_eq!(thresholds.medal(0.2, Direction::Lower), Some(Medal::Silver));
        assert_eq!(thresholds.medal(f64::INFINITY, Direction::Lower), None);
        assert_eq!(Direction::Lower.compare(1.0, f64::NAN), Ordering::Less);
        assert_eq!(Direction::Higher.compare(1.0, 2.0), Ordering::Greater);
    }
}
