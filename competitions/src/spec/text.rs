//! The text of a TOML file of the catalogue: what is wrong with it is told with file and line.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::SpecError;
use crate::nearest::suggestion;

/// A TOML file of a competition's folder.
pub(crate) struct TomlText<'a> {
    pub(crate) text: &'a str,
    /// Names the file in messages.
    pub(crate) path: &'a Path,
}

impl TomlText<'_> {
    /// The file as a `T`.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, SpecError> {
        toml::from_str(self.text).map_err(|error: toml::de::Error| SpecError::Invalid {
            path: self.path.to_owned(),
            line: error.span().map(|span| self.line_at(span.start)),
            problem: in_our_words(error.message()),
        })
    }

    /// The error for a value that was parsed but must not be: `keys` leads to it, or to where it
    /// is missing.
    pub(crate) fn error(&self, keys: &[&str], problem: impl Into<String>) -> SpecError {
        SpecError::Invalid {
            path: self.path.to_owned(),
            line: self.line_of(keys),
            problem: problem.into(),
        }
    }

    /// The line of the last of `keys` that the file has; in a list a key is a place, from 0.
    fn line_of(&self, keys: &[&str]) -> Option<usize> {
        let root = DeTable::parse(self.text).ok()?;
        let (mut at, mut found): (Option<&DeValue<'_>>, _) = (None, None);
        for key in keys {
            let below = match at {
                None => root.get_ref().get_key_value(*key),
                Some(DeValue::Table(table)) => table.get_key_value(*key),
                Some(DeValue::Array(list)) => {
                    let Some(value) = key.parse().ok().and_then(|place: usize| list.get(place))
                    else {
                        break;
                    };
                    (found, at) = (Some(value.span().start), Some(value.get_ref()));
                    continue;
                }
                Some(_) => None,
            };
            let Some((name, value)) = below else { break };
            (found, at) = (Some(name.span().start), Some(value.get_ref()));
        }
        found.map(|place| self.line_at(place))
    }

    fn line_at(&self, place: usize) -> usize {
        1 + self.text.bytes().take(place).filter(|byte| *byte == b'\n').count()
    }
}

/// The parser's message, with the nearest word where one is not known.
fn in_our_words(message: &str) -> String {
    let message = message.trim_end().replace('\n', "; ");
    for (theirs, ours) in
        [("unknown field `", "unknown key"), ("unknown variant `", "unknown word")]
    {
        let Some((typed, rest)) =
            message.strip_prefix(theirs).and_then(|rest| rest.split_once('`'))
        else {
            continue;
        };
        // The rest lists what is known, each between backticks.
        let nearest = suggestion(typed, rest.split('`').skip(1).step_by(2));
        let known = rest.trim_start_matches([',', ' ']);
        return match nearest.is_empty() {
            true => format!("{ours} `{typed}`: {known}"),
            false => format!("{ours} `{typed}`{nearest}"),
        };
    }
    match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(key) => format!("the key `{key}` is missing"),
        None => message,
    }
}
