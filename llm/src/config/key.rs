//! Where providers' keys come from.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Upstream};

/// Where a key is read from when the gateway starts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// A variable of the harness's environment.
    Env(String),
    /// A file that holds the key alone; relative to the settings file.
    File(PathBuf),
    /// A program that prints the key, and its arguments.
    Command(Vec<String>),
}

/// Reads a key's source. What stands there may be a key by mistake, so that no message quotes it.
pub(super) fn key_source<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<KeySource>, D::Error> {
    let value = toml::Value::deserialize(from)
        .map_err(|_| serde::de::Error::custom("`key` cannot be read"))?;
    value.try_into().map(Some).map_err(|_| {
        serde::de::Error::custom(
            "a key itself does not belong here; expected where it is: `{ env = \"VARIABLE\" }`, \
             `{ file = \"PATH\" }` or `{ command = [\"PROGRAM\", \"ARGUMENT\"] }`",
        )
    })
}

impl Upstream {
    /// Reads the key from where it is kept.
    ///
    /// # Errors
    /// The variable, file or program is missing, fails, or gives nothing that fits in a header.
    pub fn read_key(&self, upstream: &str) -> Result<Option<String>, ConfigError> {
        let error = |message| ConfigError::Key { upstream: upstream.to_owned(), message };
        let (key, from) = match &self.key {
            None => return Ok(None),
            Some(KeySource::Env(name)) => (
                std::env::var(name)
                    .map_err(|_| error(format!("the variable `{name}` is not set")))?,
                format!("the variable `{name}`"),
            ),
            Some(KeySource::File(path)) => (
                std::fs::read_to_string(path)
                    .map_err(|e| error(format!("cannot read `{}`: {e}", path.display())))?,
                format!("`{}`", path.display()),
            ),
            Some(KeySource::Command(words)) => {
                let (program, arguments) =
                    words.split_first().ok_or_else(|| error("`command` is empty".to_owned()))?;
                let output = std::process::Command::new(program)
                    .args(arguments)
                    .stdin(std::process::Stdio::null())
                    .stderr(std::process::Stdio::inherit())
                    .output()
                    .map_err(|e| error(format!("cannot start `{program}`: {e}")))?;
                if !output.status.success() {
                    return Err(error(format!("`{program}` ended with {}", output.status)));
                }
                (
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                    format!("what `{program}` printed"),
                )
            }
        };
        let key = key.trim().to_owned();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(error(format!("{from} is empty or has characters that no key has")));
        }
        Ok(Some(key))
    }
}
