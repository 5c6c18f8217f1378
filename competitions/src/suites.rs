//! Named lists of competitions.

use std::fmt;
use std::str::FromStr;

use crate::spec::{CompetitionSpec, Complexity};

/// A named list of competitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// The 22 of low complexity; also called `lite`.
    Low,
    /// The 38 of medium complexity.
    Medium,
    /// The 15 of high complexity.
    High,
    /// The 75 of MLE-bench; also called `split75`.
    All,
    /// The 7 that MLE-bench sets aside for development.
    Dev,
    /// The 30 of MLE-bench's `systemcard` split.
    SystemCard,
    /// The small ones that are embedded with their data.
    Demo,
    /// Those of `demo` and eight whose data come in packages: no Kaggle is needed.
    Open,
}

/// A suite that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no suite `{0}`; expected `low` (or `lite`), `medium`, `high`, `all` (or `split75`), `dev`, `systemcard`, `demo` or `open`"
)]
pub struct UnknownSuite(pub String);

impl Suite {
    /// Every suite, in the order in which they are listed.
    pub const ALL: &[Self] = &[
        Self::Low,
        Self::Medium,
        Self::High,
        Self::All,
        Self::Dev,
        Self::SystemCard,
        Self::Demo,
        Self::Open,
    ];

    /// The suite's name in files and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::All => "all",
            Self::Dev => "dev",
            Self::SystemCard => "systemcard",
            Self::Demo => "demo",
            Self::Open => "open",
        }
    }

    /// Whether the competition belongs to the suite. A user's own never does, whatever complexity
    /// it states.
    pub fn contains(self, spec: &CompetitionSpec) -> bool {
        let rated = |complexity| spec.complexity == complexity;
        spec.folder().is_none()
            && match self {
                Self::Low => rated(Complexity::Low),
                Self::Medium => rated(Complexity::Medium),
                Self::High => rated(Complexity::High),
                Self::All => {
                    rated(Complexity::Low) || rated(Complexity::Medium) || rated(Complexity::High)
                }
                Self::Dev => rated(Complexity::Dev),
                Self::SystemCard => SYSTEM_CARD.contains(&spec.id.as_str()),
                Self::Demo => rated(Complexity::Demo),
                Self::Open => rated(Complexity::Demo) || rated(Complexity::Open),
            }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lite" => Ok(Self::Low),
            "split75" => Ok(Self::All),
            _ => Self::ALL
                .iter()
                .copied()
                .find(|suite| suite.as_str() == text)
                .ok_or_else(|| UnknownSuite(text.to_owned())),
        }
    }
}

/// MLE-bench's `experiments/splits/systemcard.txt`.
const SYSTEM_CARD: [&str; 30] = [
    "aptos2019-blindness-detection",
    "billion-word-imputation",
    "bms-molecular-translation",
    "cassava-leaf-disease-classification",
    "champs-scalar-coupling",
    "freesound-audio-tagging-2019",
    "h-and-m-personalized-fashion-recommendations",
    "hms-harmful-brain-activity-classification",
    "hotel-id-2021-fgvc8",
    "hubmap-kidney-segmentation",
    "imet-2020-fgvc7",
    "jigsaw-unintended-bias-in-toxicity-classification",
    "kuzushiji-recognition",
    "mlsp-2013-birds",
    "multi-modal-gesture-recognition",
    "new-york-city-taxi-fare-prediction",
    "nfl-player-contact-detection",
    "nomad2018-predict-transparent-conductors",
    "osic-pulmonary-fibrosis-progression",
    "petfinder-pawpularity-score",
    "plant-pathology-2021-fgvc8",
    "smartphone-decimeter-2022",
    "spooky-author-identification",
    "stanford-covid-vaccine",
    "tensorflow2-question-answering",
    "tweet-sentiment-extraction",
    "us-patent-phrase-to-phrase-matching",
    "uw-madison-gi-tract-image-segmentation",
    "ventilator-pressure-prediction",
    "whale-categorization-playground",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_parse() {
        for suite in Suite::ALL {
            assert_eq!(suite.as_str().parse(), Ok(*suite));
        }
        assert_eq!("lite".parse(), Ok(Suite::Low));
        assert_eq!("split75".parse(), Ok(Suite::All));
        assert_eq!("light".parse::<Suite>(), Err(UnknownSuite("light".to_owned())));
    }
}
