//! What an agent is: its image, its start command and its settings.
//!
//! Two formats are read. Ours is a folder with `agent.toml` (see `docs/agents.md`); MLE-bench's is
//! a `config.yaml` whose top-level keys are agent ids. Both become an [`AgentSpec`]. Values of
//! secrets are resolved when an attempt starts and never stored.

mod folder;
mod settings;
pub(crate) mod template;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use medalist_agents::{AGENTS, FOLDERS};
use medalist_competitions::suggestion;
use medalist_grading::untrusted::Shown;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::build_context::{BuildContext, repository};
pub(crate) use folder::WHEELS;
pub use settings::{Details, KwargsType, Needs};
use settings::{Source, toml_text};
pub use template::Told;

/// The default start command, MLE-bench's own.
const START: [&str; 2] = ["bash", "/home/agent/start.sh"];

/// An agent as it will be launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// The agent's id: for MLE-bench's format a top-level key such as `aide/dev`.
    pub id: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// The version that its package states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The language model behind the agent, for reports; empty if none.
    #[serde(default)]
    pub backbone: String,
    /// The image the agent runs in.
    pub image: String,
    /// How that image comes to be.
    pub build: Build,
    /// The start command inside the container, arguments included.
    pub command: Vec<String>,
    /// How its settings became the arguments at the command's end.
    #[serde(default)]
    pub kwargs_type: KwargsType,
    /// Further environment; values may name a secret as `${{ secrets.NAME }}`.
    pub env: BTreeMap<String, String>,
    /// Whether the agent asks for a privileged container.
    #[serde(default)]
    pub privileged: bool,
    /// SHA-256 over the agent's files, for provenance.
    pub files_sha256: String,
    /// What is known of it besides.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

/// How an agent's image is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Build {
    /// A program embedded in this binary, put alone into an image made from scratch.
    Embedded {
        /// `sample`, `baseline` or `reference`.
        program: String,
        /// The image that it is put on top of, in place of nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// `docker build` on the agent's folder.
    Dockerfile {
        /// The build context.
        dir: PathBuf,
        /// The Dockerfile's path below it.
        dockerfile: PathBuf,
    },
    /// The image exists already; nothing is built.
    Image,
}

/// Why an agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No folder and no built-in agent has this name.
    #[error("there is no agent `{name}`{}; known: {}", suggestion(.name, .known.iter().map(String::as_str)), .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The built-in ones and those found in the agents folder.
        known: Vec<String>,
    },
    /// A settings file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A settings file is malformed.
    #[error("`{path}` is not a valid agent file: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place where known.
        message: String,
    },
    /// A placeholder of its settings stands for something that nobody said.
    #[error("agent `{agent}` is told `{{{placeholder}}}`, and nothing says what that is: {how}")]
    NotTold {
        /// The agent's id.
        agent: String,
        /// The placeholder's name.
        placeholder: String,
        /// Who may say it.
        how: String,
    },
    /// A secret that the agent names is not set.
    #[error(
        "agent `{agent}` needs the secret `{name}` for `{key}`, but the environment variable `{name}` is not set"
    )]
    SecretMissing {
        /// The agent's id.
        agent: String,
        /// The secret and environment variable.
        name: String,
        /// The setting that names it.
        key: String,
    },
    /// Secrets are named, but the user did not agree to hand them to the container.
    #[error(
        "agent `{agent}` asks for secrets ({names}), which would be readable inside its container"
    )]
    SecretsRefused {
        /// The agent's id.
        agent: String,
        /// The secrets' names.
        names: String,
    },
    /// A privileged container is asked for without the user's consent.
    #[error("agent `{agent}` asks for a privileged container, which can take over this machine")]
    PrivilegedRefused {
        /// The agent's id.
        agent: String,
    },
}

impl AgentSpec {
    /// Finds an agent: a folder with `agent.toml`, `<agents_dir>/<name>`, a built-in program, an id in
    /// one of the `config.yaml` files below `agents_dir`, or a folder that the harness carries.
    ///
    /// `cache` is a folder of the user's own, where those are written that images are built from.
    ///
    /// # Errors
    /// [`AgentError`] names the file that is missing or malformed.
    pub fn find(name: &str, agents_dir: &Path, cache: &Path) -> Result<Self, AgentError> {
        for dir in [PathBuf::from(name), agents_dir.join(name)] {
            if dir.join("agent.toml").is_file() {
                return Self::from_folder(&dir, cache);
            }
        }
        let path = PathBuf::from(format!("agents/{name}/agent.toml"));
        if let Some(agent) = AGENTS.iter().find(|agent| agent.id == name) {
            return settings::read(agent.settings, &path, &Source::Embedded(&[]), cache);
        }
        let mut known: Vec<String> = names(agents_dir);
        for config in mlebench_configs(agents_dir) {
            let agents = Self::from_mlebench(&config)?;
            if let Some(found) = agents.iter().find(|agent| agent.id == name) {
                return Ok(found.clone());
            }
            known.extend(agents.into_iter().map(|agent| agent.id));
        }
        // After the user's own: MLE-bench has agents of the same names.
        match settings::embedded(name) {
            Some((text, files)) => settings::read(text, &path, &Source::Embedded(files), cache),
            None => Err(AgentError::Unknown { name: name.to_owned(), known }),
        }
    }

    /// Reads the agent in a folder of ours; `cache` as in [`AgentSpec::find`].
    ///
    /// # Errors
    /// As [`AgentSpec::find`].
    pub fn from_folder(dir: &Path, cache: &Path) -> Result<Self, AgentError> {
        let path = dir.join("agent.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| AgentError::Read { path: path.clone(), source })?;
        settings::read(&text, &path, &Source::Folder(dir), cache)
    }

    /// Whether its settings have a place for a model.
    pub fn takes_model(&self) -> bool {
        let texts = self.command.iter().chain(self.env.values()).chain(&self.details.prompt);
        let mut names = texts.flat_map(|text| template::names(text));
        names.any(|name| name == "model" || name.starts_with("role."))
    }

    /// Reads every agent of an MLE-bench `config.yaml`.
    ///
    /// Keys without `start` are helpers for YAML anchors and give no agent. The image is named
    /// after the file's folder, as MLE-bench does.
    ///
    /// # Errors
    /// As [`AgentSpec::find`].
    pub fn from_mlebench(path: &Path) -> Result<Vec<Self>, AgentError> {
        let malformed = |message: String| AgentError::Malformed { path: path.to_owned(), message };
        let text = std::fs::read_to_string(path)
            .map_err(|source| AgentError::Read { path: path.to_owned(), source })?;
        let root = super::yaml::parse(&text).map_err(malformed)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let image = absolute
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut agents = Vec::new();
        for (id, value) in &root {
            let Some(entry) = value.as_object().filter(|entry| entry.contains_key("start")) else {
                continue;
            };
            check_id(id).map_err(malformed)?;
            if entry.contains_key("mount_docker_socket") {
                return Err(malformed(format!(
                    "`{id}.mount_docker_socket`: the Docker socket never enters a container"
                )));
            }
            let empty = serde_json::Map::new();
            let map = |key: &str| match entry.get(key) {
                None | Some(serde_json::Value::Null) => Ok(&empty),
                Some(serde_json::Value::Object(map)) => Ok(map),
                Some(_) => Err(malformed(format!("`{id}.{key}` is not a map"))),
            };
            let kwargs = map("kwargs")?;
            let style = match entry.get("kwargs_type").and_then(|kind| kind.as_str()) {
                Some("argparse") => KwargsType::Argparse,
                Some("omegaconf") => KwargsType::Omegaconf,
                Some(other) => {
                    return Err(malformed(format!(
                        "`{id}.kwargs_type` is `{other}`, expected `argparse` or `omegaconf`"
                    )));
                }
                None if kwargs.is_empty() => KwargsType::Argparse,
                None => {
                    return Err(malformed(format!(
                        "`{id}.kwargs_type` is missing although `kwargs` has entries"
                    )));
                }
            };
            let mut command: Vec<String> = START.map(str::to_owned).to_vec();
            command.extend(
                style.arguments(
                    kwargs.iter().map(|(key, value)| (key.as_str(), python_text(value))),
                ),
            );
            // Written relative to the agents folder; the build context is the agent's own.
            let dockerfile = entry.get("dockerfile").and_then(|file| file.as_str()).map_or_else(
                || PathBuf::from("Dockerfile"),
                |file| {
                    let file = Path::new(file);
                    let below = file.strip_prefix(&image).unwrap_or(file);
                    below.components().filter(|part| matches!(part, Component::Normal(_))).collect()
                },
            );
            let files_sha256 = files_hash(dir, &dockerfile)?;
            agents.push(Self {
                id: id.clone(),
                description: String::new(),
                version: None,
                backbone: String::new(),
                image: built_image(&repository(&image), &files_sha256, &dockerfile),
                build: Build::Dockerfile { dir: absolute.clone(), dockerfile },
                command,
                kwargs_type: style,
                env: map("env_vars")?
                    .iter()
                    .map(|(key, value)| (key.clone(), python_text(value)))
                    .collect(),
                privileged: entry
                    .get("privileged")
                    .and_then(serde_json::Value::as_bool)
                    .unwrap_or(false),
                files_sha256,
                details: Details::default(),
            });
        }
        Ok(agents)
    }

    /// The agent with other values for some of its settings (`kwargs`), which are arguments at the end
    /// of its command. One that it does not have yet is added.
    #[must_use]
    pub fn with_kwargs(mut self, kwargs: &toml::Table) -> Self {
        for (key, value) in kwargs {
            let new = self.kwargs_type.arguments([(key.as_str(), toml_text(value))].into_iter());
            let old = self.command.iter().rposition(|argument| match self.kwargs_type {
                KwargsType::Argparse => *argument == format!("--{key}"),
                KwargsType::Omegaconf => argument.starts_with(&format!("{key}=")),
            });
            match old {
                Some(at) if at + new.len() <= self.command.len() => {
                    self.command.splice(at..at + new.len(), new);
                }
                _ => self.command.extend(new),
            }
        }
        self
    }

    /// The secrets that settings name, each with the setting.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let env = self.env.iter().map(|(key, value)| (key.clone(), value));
        let command = self.command.iter().map(|value| ("command".to_owned(), value));
        env.chain(command)
            .filter_map(|(key, value)| Some((key, secret(value)?.1.to_owned())))
            .collect()
    }

    /// The environment and command with placeholders and secrets filled in, the latter from `lookup`.
    ///
    /// # Errors
    /// [`AgentError::SecretMissing`] for an unset one, [`AgentError::NotTold`] for a placeholder.
    pub fn resolve(
        &self,
        told: &Told<'_>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(BTreeMap<String, String>, Vec<String>), AgentError> {
        let fill = |key: &str, value: &String| {
            let Some((before, name)) = secret(value) else {
                // What MLE-bench's settings have in braces is theirs.
                return match self.details.placeholders {
                    true => told.fill(self, value),
                    false => Ok(value.clone()),
                };
            };
            let missing = || AgentError::SecretMissing {
                agent: self.id.clone(),
                name: name.to_owned(),
                key: key.to_owned(),
            };
            lookup(name).map(|secret| format!("{before}{secret}")).ok_or_else(missing)
        };
        let env = self
            .env
            .iter()
            .map(|(key, value)| Ok((key.clone(), fill(key, value)?)))
            .collect::<Result<_, _>>()?;
        let command =
            self.command.iter().map(|value| fill("command", value)).collect::<Result<_, _>>()?;
        Ok((env, command))
    }
}

/// An id stands in paths, lines and tables, and is to be what it looks like.
fn check_id(id: &str) -> Result<(), String> {
    let shown = Shown::new(id);
    match !id.is_empty() && shown == id {
        true => Ok(()),
        false => Err(format!(
            "the id `{shown}` is empty, longer than {} characters, or has characters that cannot be seen",
            Shown::MOST
        )),
    }
}

/// The name in a value that begins with `${{ secrets.NAME }}`, and what stands before it: the key of
/// an omegaconf argument. What follows is dropped, as MLE-bench does.
fn secret(value: &str) -> Option<(&str, &str)> {
    let (before, rest) = match value.find("=${{") {
        Some(sign) => value.split_at(sign + 1),
        None => ("", value),
    };
    let (inner, _) = rest.strip_prefix("${{")?.split_once("}}")?;
    let name = inner.trim().strip_prefix("secrets.")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then_some((before, name))
}

/// A YAML value as Python's `str` prints it.
fn python_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(true) => "True".into(),
        serde_json::Value::Bool(false) => "False".into(),
        serde_json::Value::Null => "None".into(),
        other => other.to_string(),
    }
}

/// The names of all agents but those of MLE-bench's configurations: built-in ones, and folders with an
/// `agent.toml` below `agents_dir`.
pub fn names(agents_dir: &Path) -> Vec<String> {
    let programs = AGENTS.iter().map(|agent| agent.id);
    let mut names: Vec<String> =
        programs.chain(FOLDERS.iter().map(|folder| folder.id)).map(str::to_owned).collect();
    let own = own_folders(agents_dir);
    names.extend(own.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    names
}

/// Names of the folders with an `agent.toml` below `agents_dir`.
fn own_folders(agents_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(agents_dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().join("agent.toml").is_file());
    let mut names: Vec<String> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn mlebench_configs(agents_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(agents_dir.to_owned(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            // A depth limit keeps a mistaken `--agents-dir /` from walking the machine.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < 4 {
                pending.push((path, depth + 1));
            } else if entry.file_name() == "config.yaml" {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The hash of what an agent's image is built from.
fn files_hash(dir: &Path, dockerfile: &Path) -> Result<String, AgentError> {
    BuildContext::read(dir, dockerfile)
        .and_then(|context| context.sha256())
        .map_err(|source| AgentError::Read { path: dir.to_owned(), source })
}

/// The name of an image that is built here: its tag holds the hash of what it is built from, so
/// that a changed agent never meets its old image, whatever name its author chose.
fn built_image(name: &str, files_sha256: &str, dockerfile: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(files_sha256);
    hash.update(dockerfile.as_os_str().as_encoded_bytes());
    let hash = &hex::encode(hash.finalize())[..12];
    // A colon before the last slash is a registry's port.
    match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => {
            let tag: String = tag.chars().take(64).collect();
            format!("{name}:{tag}-{hash}")
        }
        None => format!("{name}:{hash}"),
    }
}

#[cfg(test)]
mod tests;
