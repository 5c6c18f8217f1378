//! A decision with what speaks for it, or what to ask.

use serde::Serialize;

use crate::spec::Candidate;

/// How sure a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Nothing in the data allows anything else, or somebody said so.
    Sure,
    /// Everything in the data speaks for it; a look is advised.
    Likely,
    /// It must be asked; the value is the likeliest.
    Open,
}

/// A decision about one key of the entry.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// The key of `competition.toml`.
    pub key: String,
    /// What was decided, or the likeliest value; names are separated by `, `.
    pub value: String,
    /// How sure it is.
    pub certainty: Certainty,
    /// What speaks for it.
    pub evidence: String,
    /// Where it is open: what it may be, the likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

impl Decision {
    pub(super) fn sure(key: &str, value: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(key, value, Certainty::Sure, evidence)
    }

    pub(super) fn likely(key: &str, value: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(key, value, Certainty::Likely, evidence)
    }

    pub(super) fn new(
        key: &str,
        value: impl Into<String>,
        certainty: Certainty,
        evidence: impl Into<String>,
    ) -> Self {
        let (value, evidence) = (value.into(), evidence.into());
        Self { key: key.to_owned(), value, certainty, evidence, candidates: Vec::new() }
    }

    /// The first candidate, open.
    pub(super) fn open(key: &str, candidates: Vec<Candidate>, evidence: impl Into<String>) -> Self {
        let value = candidates.first().map(|first| first.value.clone()).unwrap_or_default();
        Self { candidates, ..Self::new(key, value, Certainty::Open, evidence) }
    }
}

pub(super) fn candidate(value: impl Into<String>, evidence: impl Into<String>) -> Candidate {
    Candidate { value: value.into(), evidence: evidence.into() }
}
