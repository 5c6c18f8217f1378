//! Choices that a competition's entry leaves open: what `competitions new` could not tell from the
//! data, and a person must settle before the competition is of use.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CompetitionSpec;
use super::SpecError;
use super::text::TomlText;

/// A choice that is still to be made.
///
/// The key holds the most likely value meanwhile. Whoever settles the choice corrects that value and
/// removes the `[[open]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenChoice {
    /// The key of `competition.toml` that is open, such as `grading.metric`.
    pub key: String,
    /// What must be decided, as a question.
    pub question: String,
    /// What to give to `competitions new` instead, such as `--metric NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What it may be, the likeliest first. Empty where nothing in the data says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// What an open choice may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The value; names of columns are separated by `, `.
    pub value: String,
    /// What speaks for it, and against it.
    pub evidence: String,
}

impl fmt::Display for OpenChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.question)?;
        let values: Vec<String> =
            self.candidates.iter().map(|candidate| format!("`{}`", candidate.value)).collect();
        match values.len() {
            0 => Ok(()),
            _ => write!(f, " (one of {}?)", values.join(", ")),
        }
    }
}

/// A competition that cannot be used before its open choices are made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{id}` has open choices: {}", listed(.choices))]
pub struct OpenChoices {
    /// The competition.
    pub id: String,
    /// What is open.
    pub choices: Vec<OpenChoice>,
}

fn listed(choices: &[OpenChoice]) -> String {
    let texts: Vec<String> = choices.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl OpenChoices {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        let id = &self.id;
        format!(
            "`medalist competitions check {id}` shows them with their evidence; settle each in its `competition.toml` and remove its `[[open]]` table, or give `competitions new` the flag that it names"
        )
    }
}

impl CompetitionSpec {
    /// Fails if choices are open: what would be prepared or graded is not certain.
    ///
    /// # Errors
    /// [`OpenChoices`] lists them.
    pub fn settled(&self) -> Result<(), OpenChoices> {
        match self.open.as_slice() {
            [] => Ok(()),
            open => Err(OpenChoices { id: self.id.to_string(), choices: open.to_vec() }),
        }
    }
}

/// Checks that every open choice names a key once.
pub(super) fn check(open: &[OpenChoice], file: &TomlText<'_>) -> Result<(), SpecError> {
    for (index, choice) in open.iter().enumerate() {
        let problem = if choice.key.trim().is_empty() || choice.question.trim().is_empty() {
            "an `[[open]]` table has no `key` or `question`".to_owned()
        } else if open[..index].iter().any(|other| other.key == choice.key) {
            format!("`[[open]]` names `{}` twice", choice.key)
        } else {
            continue;
        };
        return Err(file.error(&["open"], problem));
    }
    Ok(())
}
