//! The key of an attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which attempt: one agent on one competition with one seed. Prints and parses as
/// `spaceship-titanic/dummy/0`; in files it is an object, or that text where [`key_text`] is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// Competition id. Text, and no id of the catalogue's: reports also read groups of competitions
    /// that nobody here knows. Whoever makes paths of one looks it up first.
    pub competition: String,
    /// Agent id, which may hold a slash (`aide/dev`).
    pub agent: String,
    /// Seed number, from 0.
    pub seed: u32,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.competition, self.agent, self.seed)
    }
}

/// A text that is not `competition/agent/seed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attempt, expected `competition/agent/seed`")]
pub struct AttemptKeyError(String);

impl FromStr for AttemptKey {
    type Err = AttemptKeyError;

    fn from_str(text: &str) -> Result<Self, AttemptKeyError> {
        let bad = || AttemptKeyError(text.to_owned());
        let (competition, rest) = text.split_once('/').ok_or_else(bad)?;
        let (agent, seed) = rest.rsplit_once('/').ok_or_else(bad)?;
        let seed = seed.parse().map_err(|_| bad())?;
        if competition.is_empty() || agent.is_empty() {
            return Err(bad());
        }
        Ok(Self { competition: competition.to_owned(), agent: agent.to_owned(), seed })
    }
}

/// An [`AttemptKey`] as text, for `#[serde(with = "key_text")]`: `plan.json` keeps it so.
pub mod key_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::AttemptKey;

    /// Writes `competition/agent/seed`.
    ///
    /// # Errors
    /// What the serializer reports.
    pub fn serialize<S: Serializer>(key: &AttemptKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    /// Reads `competition/agent/seed`.
    ///
    /// # Errors
    /// The text is no key.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AttemptKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
