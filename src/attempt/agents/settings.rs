//! `agent.toml`: the settings of an agent of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medalist_agents::{AGENTS, FOLDERS};
use medalist_llm::Dialect;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::template::{self, BudgetShare};
use super::{
    AgentError, AgentSpec, Build, START, built_image, check_id, files_hash, folder, repository,
};

/// `agent.toml` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentToml {
    pub(super) id: String,
    #[serde(default)]
    description: String,
    version: Option<String>,
    licence: Option<String>,
    #[serde(default)]
    backbone: String,
    image: Option<String>,
    /// `scratch`, `dockerfile` or `image`; not with a `kind`.
    build: Option<BuildKind>,
    kind: Option<Kind>,
    /// The embedded program of `build = "scratch"`; the agent's id if absent.
    program: Option<String>,
    dockerfile: Option<PathBuf>,
    /// The image that a command-line tool, or the program of `build = "scratch"`, is put on top of.
    base: Option<String>,
    packages: Option<PathBuf>,
    /// Lines that are run as root while the image of a command-line tool is built.
    install: Option<String>,
    prompt: Option<String>,
    #[serde(default)]
    tty: bool,
    /// Whether the package `mlebench`, with which the agent would grade itself, is replaced by one that
    /// validates.
    #[serde(default)]
    validate_only: bool,
    command: Option<Vec<String>>,
    #[serde(default)]
    kwargs: toml::Table,
    #[serde(default)]
    kwargs_type: KwargsType,
    #[serde(default)]
    env: BTreeMap<String, toml::Value>,
    #[serde(default)]
    privileged: bool,
    #[serde(default)]
    needs: Needs,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default)]
    budget: BudgetShare,
    pub(super) output: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BuildKind {
    Scratch,
    Dockerfile,
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A command-line tool that takes a prompt; its image needs no Dockerfile.
    Cli,
    /// The same, but the tool speaks the Agent Client Protocol.
    Acp,
}

/// How settings become arguments of the start command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KwargsType {
    /// `--key value`.
    #[default]
    Argparse,
    /// `key=value`.
    Omegaconf,
}

impl KwargsType {
    pub(super) fn arguments<'a>(
        self,
        kwargs: impl Iterator<Item = (&'a str, String)>,
    ) -> Vec<String> {
        kwargs
            .flat_map(|(key, value)| match self {
                Self::Argparse => vec![format!("--{key}"), value],
                Self::Omegaconf => vec![format!("{key}={value}")],
            })
            .collect()
    }
}

/// What an agent needs besides its image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// The Python that its packages are pinned for, such as `3.11`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// The dialects of language models that it can speak; one of them must be served. None if it
    /// calls no model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub llm: Vec<Dialect>,
    /// Whether it is of no use without a GPU.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gpu: bool,
    /// Whether its Dockerfile downloads more than the pinned packages.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
}

/// Files of the agent's own that are taken over: patterns of a shell, below its working folder. Of
/// several that fit, the newest is the submission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Output {
    pub(super) submission: Vec<String>,
    pub(super) logs: Vec<String>,
    pub(super) code: Vec<String>,
}

/// What is known of an agent beside what starts it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The licence of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The file with its pinned packages, in its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PathBuf>,
    /// What it needs.
    pub needs: Needs,
    /// Its roles that may have a model of their own, each with what it does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, String>,
    /// How it is told its share of time and money.
    pub budget: BudgetShare,
    /// Whether its settings may hold placeholders.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub placeholders: bool,
    /// Its own prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The model that the user chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The models that the user chose for roles.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub role_models: BTreeMap<String, String>,
}

impl Details {
    /// Whether nothing is known: plans of older agents say nothing of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where an agent's settings stand.
pub(super) enum Source<'a> {
    /// A folder of this machine.
    Folder(&'a Path),
    /// A folder that the harness carries.
    Embedded(&'a [(&'static str, &'static str)]),
}

/// Reads an agent of ours. `cache` is a folder of the user's own for what is made of it.
pub(super) fn read(
    text: &str,
    path: &Path,
    source: &Source<'_>,
    cache: &Path,
) -> Result<AgentSpec, AgentError> {
    let malformed = |message: String| AgentError::Malformed { path: path.to_owned(), message };
    let toml: AgentToml = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
    check_id(&toml.id).map_err(malformed)?;
    check_shape(&toml).map_err(malformed)?;
    let build = match (toml.build, source) {
        (Some(BuildKind::Scratch), _) => {
            let program = toml.program.clone().unwrap_or_else(|| toml.id.clone());
            if !AGENTS.iter().any(|agent| agent.program == program) {
                return Err(malformed(format!(
                    "`build = \"scratch\"` has no embedded program `{program}`"
                )));
            }
            Build::Embedded { program, base: toml.base.clone() }
        }
        (Some(BuildKind::Image), _) => Build::Image,
        (Some(BuildKind::Dockerfile) | None, _) => Build::Dockerfile {
            dir: match source {
                // A group may be resumed from another folder.
                Source::Folder(dir) if !toml.is_launched() => {
                    std::path::absolute(dir).unwrap_or_else(|_| (*dir).to_owned())
                }
                _ => folder::make(&toml, source, cache).map_err(|source| AgentError::Read {
                    path: path.parent().unwrap_or(path).to_owned(),
                    source,
                })?,
            },
            dockerfile: toml.dockerfile.clone().unwrap_or_else(|| PathBuf::from("Dockerfile")),
        },
    };
    let files_sha256 = match (&build, source) {
        (Build::Dockerfile { dir, dockerfile }, _) => files_hash(dir, dockerfile)?,
        (_, Source::Folder(dir)) => files_hash(dir, Path::new("Dockerfile"))?,
        (_, Source::Embedded(_)) => hex::encode(Sha256::digest(text.as_bytes())),
    };
    let command = toml.command();
    let env: BTreeMap<String, String> =
        toml.env.iter().map(|(key, value)| (key.clone(), toml_text(value))).collect();
    for text in command.iter().chain(env.values()).chain(&toml.prompt) {
        template::check(text, &toml.roles).map_err(malformed)?;
    }
    if toml.prompt.iter().any(|prompt| template::names(prompt).iter().any(|name| name == "prompt"))
    {
        return Err(malformed("`prompt` cannot hold `{prompt}`".to_owned()));
    }
    let placeholders = command.iter().chain(env.values()).any(|text| text.contains('{'));
    let image = toml.image.unwrap_or_else(|| format!("medalist/{}", repository(&toml.id)));
    Ok(AgentSpec {
        image: match &build {
            Build::Dockerfile { dockerfile, .. } => built_image(&image, &files_sha256, dockerfile),
            Build::Embedded { .. } | Build::Image => image,
        },
        id: toml.id,
        description: toml.description,
        version: toml.version,
        backbone: toml.backbone,
        build,
        command,
        kwargs_type: toml.kwargs_type,
        env,
        privileged: toml.privileged,
        files_sha256,
        details: Details {
            licence: toml.licence,
            packages: toml.packages,
            needs: toml.needs,
            roles: toml.roles,
            budget: toml.budget,
            placeholders,
            prompt: toml.prompt,
            model: None,
            role_models: BTreeMap::new(),
        },
    })
}

/// Keys that do not go together.
fn check_shape(toml: &AgentToml) -> Result<(), String> {
    const TOOLS: &str = "`kind = \"cli\"` and `kind = \"acp\"`";
    if toml.install.is_some() && !toml.is_tool() {
        return Err(format!("`install` is for {TOOLS}"));
    }
    if toml.tty && !(toml.kind == Some(Kind::Cli) || toml.output.is_some() && !toml.is_tool()) {
        return Err("`tty` is for `kind = \"cli\"`".into());
    }
    if toml.validate_only && !toml.is_launched() {
        return Err(format!("`validate_only` is for {TOOLS}, and for agents with `[output]`"));
    }
    if toml.base.is_some() && !toml.is_tool() && toml.build != Some(BuildKind::Scratch) {
        return Err(format!("`base` is for {TOOLS}, and for `build = \"scratch\"`"));
    }
    match (toml.is_tool(), toml.build) {
        (true, Some(_)) => return Err("`build` is not for a `kind`, which says how".into()),
        (true, None) if toml.command.is_none() => return Err(format!("{TOOLS} need a `command`")),
        (false, None) => return Err(format!("missing field `build`, or one of {TOOLS}")),
        _ => {}
    }
    if toml.output.is_some() && !matches!(toml.build, Some(BuildKind::Dockerfile) | None) {
        return Err("`[output]` is for agents whose image is built".into());
    }
    if toml.packages.is_some() && toml.needs.python.is_none() {
        return Err("`packages` needs `python` below `[needs]`, which they are pinned for".into());
    }
    let plain = |version: &String| {
        version.strip_prefix("3.").is_some_and(|minor| minor.parse::<u8>().is_ok())
    };
    match toml.needs.python.as_ref().filter(|version| !plain(version)) {
        Some(version) => Err(format!("`needs.python` is `{version}`, expected such as `3.11`")),
        None => Ok(()),
    }
}

impl AgentToml {
    /// Whether it is a tool, whose image needs no Dockerfile.
    pub(super) fn is_tool(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether it speaks the Agent Client Protocol.
    pub(super) fn is_acp(&self) -> bool {
        self.kind == Some(Kind::Acp)
    }

    pub(super) fn is_validate_only(&self) -> bool {
        self.validate_only
    }

    /// Whether the launcher runs its command.
    pub(super) fn is_launched(&self) -> bool {
        self.is_tool() || self.output.is_some()
    }

    pub(super) fn base(&self) -> &str {
        self.base.as_deref().unwrap_or("medalist-env")
    }

    pub(super) fn packages(&self) -> Option<&Path> {
        self.packages.as_deref()
    }

    pub(super) fn install(&self) -> Option<&str> {
        self.install.as_deref()
    }

    /// The start command with its arguments, below the launcher where there is one.
    fn command(&self) -> Vec<String> {
        let arguments = self
            .kwargs_type
            .arguments(self.kwargs.iter().map(|(key, value)| (key.as_str(), toml_text(value))));
        let own = self.command.clone().unwrap_or_else(|| START.map(str::to_owned).to_vec());
        if !self.is_launched() {
            return own.into_iter().chain(arguments).collect();
        }
        let output = self.output.clone().unwrap_or_default();
        let mut command = vec!["bash".to_owned(), format!("/home/agent/{}", folder::LAUNCHER)];
        command.extend(["--seconds".to_owned(), "{time_limit_s}".to_owned()]);
        for (option, given) in [("--tty", self.tty), ("--validate-only", self.validate_only)] {
            command.extend(given.then(|| option.to_owned()));
        }
        let kept =
            [("--submission", output.submission), ("--logs", output.logs), ("--code", output.code)];
        for (option, patterns) in kept {
            command.extend(patterns.into_iter().flat_map(|pattern| [option.to_owned(), pattern]));
        }
        command.push("--".to_owned());
        if self.is_acp() {
            let client = format!("{{agent_dir}}/{}", folder::ACP);
            command.extend(["python3", &client, "--prompt", "{prompt}", "--"].map(str::to_owned));
        }
        command.extend(own);
        command.extend(arguments);
        command
    }
}

/// The text of the `agent.toml` of a folder that the harness carries.
pub(super) fn embedded(
    id: &str,
) -> Option<(&'static str, &'static [(&'static str, &'static str)])> {
    let folder = FOLDERS.iter().find(|folder| folder.id == id)?;
    let (_, text) = folder.files.iter().find(|(name, _)| *name == "agent.toml")?;
    Some((text, folder.files))
}

pub(super) fn toml_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
