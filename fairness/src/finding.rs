//! What stands out.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; scores mean what they say.
    Note,
    /// Whoever reads scores of this competition must know it.
    Warning,
    /// Scores of this competition do not measure skill until it is mended.
    Fault,
}

impl Severity {
    /// Its word in tables and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that stands out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// A stable name of its kind.
    pub kind: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// What was found, in words with numbers.
    pub summary: String,
    /// What to do about it.
    pub advice: String,
    /// The numbers it rests on.
    pub numbers: BTreeMap<&'static str, f64>,
}

impl Finding {
    pub(crate) fn new<const N: usize>(
        kind: &'static str,
        severity: Severity,
        summary: impl Into<String>,
        advice: impl Into<String>,
        numbers: [(&'static str, f64); N],
    ) -> Self {
        let (summary, advice) = (summary.into(), advice.into());
        Self { kind, severity, summary, advice, numbers: numbers.into() }
    }
}
