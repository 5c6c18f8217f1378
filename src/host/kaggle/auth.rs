//! Where the Kaggle credentials come from.

use crate::host::secret::Secret;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// What is sent with each request to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The classic pair, as kept in `kaggle.json`.
    Key {
        /// The account's name.
        username: String,
        /// Its API key.
        key: Secret,
    },
    /// The newer access token, sent as a bearer token.
    Token(Secret),
}

/// Where credentials were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsOrigin {
    /// Environment variables, named here.
    Environment(&'static str),
    File(PathBuf),
}

impl fmt::Display for CredentialsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(names) => write!(f, "{names}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Credentials and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub credentials: Credentials,
    /// Their origin, for messages.
    pub origin: CredentialsOrigin,
    /// True if they came from a file that other users of the machine can read.
    pub exposed: bool,
}

/// Why no credentials could be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Nothing was found anywhere.
    #[error("no Kaggle credentials found (looked at `KAGGLE_API_TOKEN`, `KAGGLE_USERNAME` with `KAGGLE_KEY`, and {})", looked_at(.files))]
    Missing {
        /// The files that were looked for.
        files: Vec<PathBuf>,
    },
    /// A credentials file cannot be read.
    #[error("cannot read the Kaggle credentials in `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A credentials file is not what it should be.
    #[error("`{path}` is not a Kaggle key file; expected JSON with `username` and `key`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: serde_json::Error,
    },
    /// One of the two variables is missing.
    #[error("`{set}` is set but `{unset}` is not")]
    Half {
        /// The variable that is there.
        set: &'static str,
        /// The variable that is not.
        unset: &'static str,
    },
}

fn looked_at(files: &[PathBuf]) -> String {
    let quoted: Vec<_> = files.iter().map(|f| format!("`{}`", f.display())).collect();
    quoted.join(", ")
}

#[derive(Deserialize)]
struct KeyFile {
    username: String,
    key: String,
}

impl Credentials {
    /// Finds the credentials of this process: see [`Credentials::find`].
    ///
    /// # Errors
    /// Those of [`Credentials::find`].
    pub fn of_process() -> Result<Found, AuthError> {
        Self::find(|name| std::env::var(name).ok())
    }

    /// Finds credentials in the official client's order: the access token (`KAGGLE_API_TOKEN`, a
    /// token or a file with one; then `access_token` in Kaggle's folder), then `KAGGLE_USERNAME`
    /// with `KAGGLE_KEY`, then `kaggle.json`.
    ///
    /// Kaggle's folder is `KAGGLE_CONFIG_DIR`, else `~/.kaggle`, else `$XDG_CONFIG_HOME/kaggle`
    /// (`~/.config/kaggle`). `variable` looks up an environment variable; empty values count as
    /// unset.
    ///
    /// # Errors
    /// [`AuthError`] if there are none, or the first ones found are broken: falling through to
    /// others would hide the mistake.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Found, AuthError> {
        let variable = |name: &str| variable(name).filter(|v| !v.trim().is_empty());
        let folders = folders(&variable);
        if let Some(value) = variable("KAGGLE_API_TOKEN") {
            return match Path::new(&value).is_file() {
                true => token_file(Path::new(&value))?
                    .ok_or(AuthError::Missing { files: vec![value.into()] }),
                false => Ok(Found {
                    credentials: Self::Token(Secret::new(value.trim())),
                    origin: CredentialsOrigin::Environment("KAGGLE_API_TOKEN"),
                    exposed: false,
                }),
            };
        }
        for path in
            folders.iter().flat_map(|f| [f.join("access_token"), f.join("access_token.txt")])
        {
            if let Some(found) = token_file(&path)? {
                return Ok(found);
            }
        }
        match (variable("KAGGLE_USERNAME"), variable("KAGGLE_KEY")) {
            (Some(username), Some(key)) => {
                return Ok(Found {
                    credentials: Self::Key { username, key: Secret::new(key) },
                    origin: CredentialsOrigin::Environment("KAGGLE_USERNAME and KAGGLE_KEY"),
                    exposed: false,
                });
            }
            (Some(_), None) => {
                return Err(AuthError::Half { set: "KAGGLE_USERNAME", unset: "KAGGLE_KEY" });
            }
            (None, Some(_)) => {
                return Err(AuthError::Half { set: "KAGGLE_KEY", unset: "KAGGLE_USERNAME" });
            }
            (None, None) => {}
        }
        let files: Vec<_> = folders.iter().map(|f| f.join("kaggle.json")).collect();
        for path in &files {
            let Some(text) = read(path)? else { continue };
            let KeyFile { username, key } = serde_json::from_str(&text)
                .map_err(|source| AuthError::Malformed { path: path.clone(), source })?;
            return Ok(Found {
                credentials: Self::Key { username, key: Secret::new(key) },
                exposed: readable_by_others(path),
                origin: CredentialsOrigin::File(path.clone()),
            });
        }
        Err(AuthError::Missing { files })
    }
}

fn folders(variable: &impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    if let Some(dir) = variable("KAGGLE_CONFIG_DIR") {
        return vec![dir.into()];
    }
    let home = variable("HOME").map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|h| h.join(".config")));
    home.map(|h| h.join(".kaggle")).into_iter().chain(config.map(|c| c.join("kaggle"))).collect()
}

fn read(path: &Path) -> Result<Option<String>, AuthError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(AuthError::Unreadable { path: path.to_owned(), source }),
    }
}

fn token_file(path: &Path) -> Result<Option<Found>, AuthError> {
    let Some(text) = read(path)?.filter(|t| !t.trim().is_empty()) else { return Ok(None) };
    Ok(Some(Found {
        credentials: Credentials::Token(Secret::new(text.trim())),
        exposed: readable_by_others(path),
        origin: CredentialsOrigin::File(path.to_owned()),
    }))
}

fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn find(home: &Path, variables: &[(&str, &str)]) -> Result<Found, AuthError> {
        let mut map: HashMap<String, String> =
            variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        map.insert("HOME".to_owned(), home.display().to_string());
        Credentials::find(|name| map.get(name).cloned())
    }

    fn key(username: &str, key: &str) -> Credentials {
        Credentials::Key { username: username.to_owned(), key: Secret::new(key) }
    }

    #[test]
    fn sources_are_tried_in_the_official_order() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".kaggle");
        fs::create_dir(&dir).unwrap();
        assert!(
            matches!(find(home.path(), &[]), Err(AuthError::Missing { files }) if files.len() == 2)
        );

        fs::write(dir.join("kaggle.json"), r#"{"username":"ada","key":"k1"}"#).unwrap();
        assert_eq!(find(home.path(), &[]).unwrap().credentials, key("ada", "k1"));

        let pair = [("KAGGLE_USERNAME", "bob"), ("KAGGLE_KEY", "k2")];
        assert_eq!(find(home.path(), &pair).unwrap().credentials, key("bob", "k2"));

        fs::write(dir.join("access_token"), "KGAT_file\n").unwrap();
        assert_eq!(
            find(home.path(), &pair).unwrap().credentials,
            Credentials::Token(Secret::new("KGAT_file"))
        );

        let token = [("KAGGLE_API_TOKEN", "KGAT_env")];
        assert_eq!(
            find(home.path(), &token).unwrap().credentials,
            Credentials::Token(Secret::new("KGAT_env"))
        );

        let file = home.path().join("elsewhere");
        fs::write(&file, "KGAT_path").unwrap();
        let token = [("KAGGLE_API_TOKEN", file.to_str().unwrap())];
        assert_eq!(
            find(home.path(), &token).unwrap().credentials,
            Credentials::Token(Secret::new("KGAT_path"))
        );
    }

    #[test]
    fn config_dir_replaces_the_home_folder() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("cfg");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("kaggle.json"), r#"{"username":"eve","key":"k"}"#).unwrap();
        let found = find(home.path(), &[("KAGGLE_CONFIG_DIR", dir.to_str().unwrap())]).unwrap();
        assert_eq!(found.origin, CredentialsOrigin::File(dir.join("kaggle.json")));
    }

    #[test]
    fn mistakes_are_named_and_not_skipped() {
        let home = tempfile::tempdir().unwrap();
        let error = find(home.path(), &[("KAGGLE_USERNAME", "bob")]).unwrap_err();
        assert_eq!(error.to_string(), "`KAGGLE_USERNAME` is set but `KAGGLE_KEY` is not");
        let dir = home.path().join(".kaggle");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("kaggle.json"), r#"{"username":"ada"}"#).unwrap();
        assert!(matches!(find(home.path(), &[]), Err(AuthError::Malformed { .. })));
    }

    #[test]
    fn open_files_are_noticed_and_secrets_stay_hidden() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".kaggle");
        fs::create_dir(&dir).unwrap();
        let path = dir.join("kaggle.json");
        fs::write(&path, r#"{"username":"ada","key":"hunter2"}"#).unwrap();
        for (mode, exposed) in [(0o600, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(find(home.path(), &[]).unwrap().exposed, exposed, "{mode:o}");
        }
        assert!(!format!("{:?}", find(home.path(), &[]).unwrap()).contains("hunter2"));
    }
}
