//! Versions of stored formats.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Version of a stored format, printed `major.minor`.
///
/// A reader accepts every minor version of the major versions it knows and refuses a newer major
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion {
    /// Grows when old readers would misread the file.
    pub major: u32,
    /// Grows when fields are added.
    pub minor: u32,
}

/// The version of `group.json` and `attempt.json` that this crate writes.
pub const RECORD_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

impl FormatVersion {
    /// Whether a reader made for `self` understands a file of version `other`.
    pub fn reads(self, other: Self) -> bool {
        other.major <= self.major
    }
}

impl Default for FormatVersion {
    fn default() -> Self {
        RECORD_FORMAT
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is not `major.minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a format version, expected `major.minor`")]
pub struct FormatVersionError(String);

impl FromStr for FormatVersion {
    type Err = FormatVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || FormatVersionError(text.to_owned());
        let (major, minor) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self {
            major: major.parse().map_err(|_| bad())?,
            minor: minor.parse().map_err(|_| bad())?,
        })
    }
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
