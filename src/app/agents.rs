//! Agents: found, given their models, and made into images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medalist_competitions::suggestion;
use medalist_grading::untrusted::Shown;
use medalist_llm::config::Upstream;
use medalist_reports::export::end_of;
use medalist_reports::record::AttemptRecord;

use super::context::Context;
use super::doctor::{Finding, Level};
use super::error::{CliError, Exit};
use super::run::executor_error;
use crate::attempt::agents::{AgentError, AgentSpec, Build, names};
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::ExecutorError;
use crate::attempt::limits::Network;
use crate::attempt::llm::LlmPlan;
use crate::attempt::plan::{ExecutorKind, Plan};
use crate::host::files::read_json;
use crate::host::packages::{self, PackagesError};
use crate::host::store::GroupDir;
use crate::sandbox::cache;
use crate::sandbox::docker::DockerExecutor;
use crate::sandbox::embedded::{self, FolderImage};
use crate::sandbox::engine::Engine;

/// Makes Debian with Python as an image, where none can be pulled.
const BASE_IMAGE: &str = include_str!("../../scripts/base-image");
/// The image that it makes; with `-<suite>` of another release of Debian.
const BASE: &str = "medalist-env";

/// An agent that ends sooner has hardly begun.
const EARLY_S: f64 = 60.0;
/// How many of its last lines are shown, and of how much of its output.
const LAST_LINES: usize = 6;
const END_BYTES: u64 = 16 << 10;
/// What programs say that want a terminal, in lower case.
const WANTS_TERMINAL: [&str; 5] = [
    "not a tty",
    "not a terminal",
    "is not a typewriter",
    "inappropriate ioctl for device",
    "raw mode is not supported",
];

/// The models that a run names.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// The model of the agent.
    pub model: Option<String>,
    /// Models of its roles.
    pub roles: BTreeMap<String, String>,
}

/// An agent by its name, see [`AgentSpec::find`].
///
/// # Errors
/// There is none, or its settings are malformed.
pub fn find(name: &str, agents_dir: &Path) -> Result<AgentSpec, CliError> {
    let cache = cache::own_dir()?;
    let agent = AgentSpec::find(name, agents_dir, &cache).map_err(|error| {
        let hint = match error {
            AgentError::Unknown { .. } => "an agent is a name of `medalist agents list`, a folder with agent.toml (docs/agents.md), or an id in an MLE-bench config.yaml below --agents-dir",
            _ => "docs/agents.md has every key of agent.toml and config.yaml",
        };
        CliError::new(Exit::BadInput, error).hint(hint)
    })?;
    Ok(match &agent.build {
        Build::Embedded { program, .. } => {
            AgentSpec { image: embedded::image_reference(&agent.image, program), ..agent }
        }
        _ => agent,
    })
}

/// All agents but those of MLE-bench's configurations, by name. One whose settings are malformed is an
/// error of its own.
pub fn all(agents_dir: &Path) -> Vec<(String, Result<AgentSpec, CliError>)> {
    let mut names = names(agents_dir);
    names.sort();
    names.into_iter().map(|name| (name.clone(), find(&name, agents_dir))).collect()
}

/// The agent with the models that were named.
///
/// # Errors
/// A model for an agent that takes none, or none for one that needs it; a role that it does not have; a
/// model that the settings of language models do not allow.
pub fn with_models(
    agent: AgentSpec,
    models: &Models,
    llm: Option<&LlmPlan>,
) -> Result<AgentSpec, CliError> {
    let refuse = |what: String, hint: &str| {
        Err(CliError::message(Exit::BadInput, what).hint(hint.to_owned()))
    };
    let id = &agent.id;
    let takes = agent.takes_model();
    if let Some(model) = models.model.as_ref().filter(|_| !takes) {
        return refuse(
            format!("`--model {model}`: agent `{id}` takes no model"),
            "an agent takes one whose agent.toml has `{model}` in its command, `kwargs` or `env`",
        );
    }
    let roles = &agent.details.roles;
    if let Some(role) = models.roles.keys().find(|role| !roles.contains_key(*role)) {
        let known: Vec<&str> = roles.keys().map(String::as_str).collect();
        let nearest = suggestion(role, known.iter().copied());
        let hint = match known.is_empty() {
            true => "it has no roles; `--model` names its model".to_owned(),
            false => format!("expected one of `{}`", known.join("`, `")),
        };
        return refuse(format!("agent `{id}` has no role `{role}`{nearest}"), &hint);
    }
    let all_named = !roles.is_empty() && roles.keys().all(|role| models.roles.contains_key(role));
    if takes && models.model.is_none() && !all_named {
        return refuse(
            format!("agent `{id}` needs a model"),
            "name one with `--model NAME`, or below `[run]` of medalist.toml",
        );
    }
    for model in models.model.iter().chain(models.roles.values()) {
        check_name(model)?;
    }
    if let Some(llm) = llm {
        check_allowed(&agent, models, llm)?;
    }
    let backbone = match (&models.model, models.roles.is_empty()) {
        (None, true) => agent.backbone.clone(),
        (model, _) => {
            let roles = models.roles.iter().map(|(role, model)| format!("{role}: {model}"));
            model.iter().cloned().chain(roles).collect::<Vec<_>>().join(", ")
        }
    };
    let mut agent = AgentSpec { backbone, ..agent };
    agent.details.model.clone_from(&models.model);
    agent.details.role_models.clone_from(&models.roles);
    Ok(agent)
}

/// A model's name stands in commands, records and tables.
fn check_name(model: &str) -> Result<(), CliError> {
    let fits = |c: char| c.is_ascii_graphic() && !"'\"`\\{}$".contains(c);
    if !model.is_empty() && model.len() <= 200 && model.chars().all(fits) {
        return Ok(());
    }
    Err(CliError::message(
        Exit::BadInput,
        format_args!("`{}` is no name of a model", Shown::new(model)),
    )
    .hint("expected letters, digits and signs such as `-`, `.`, `/` and `:`"))
}

/// Refuses models that no upstream which the agent can speak to allows.
fn check_allowed(agent: &AgentSpec, models: &Models, llm: &LlmPlan) -> Result<(), CliError> {
    let config = llm.config().map_err(|error| CliError::new(Exit::BadInput, error))?;
    let needs = &agent.details.needs.llm;
    let spoken: Vec<&Upstream> = config
        .upstreams
        .values()
        .filter(|upstream| needs.is_empty() || needs.contains(&upstream.dialect()))
        .collect();
    let mut named = models.model.iter().chain(models.roles.values());
    let Some(model) = named.find(|model| !spoken.iter().any(|upstream| upstream.allows(model)))
    else {
        return Ok(());
    };
    let there: Vec<String> = config
        .upstreams
        .iter()
        .map(|(name, up)| format!("`{name}` ({}: {})", up.dialect(), up.models.join(", ")))
        .collect();
    let what = format!(
        "no upstream of `{}` gives agent `{}` the model `{model}`",
        llm.file.display(),
        agent.id
    );
    let error = CliError::message(Exit::BadInput, what).hint(match there.is_empty() {
        true => "it has no upstreams".to_owned(),
        false => format!("there are {}", there.join(", ")),
    });
    let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
    Err(match needs.is_empty() {
        true => error,
        false => error.hint(format!("the agent speaks {}", needs.join(", "))),
    })
}

/// Refuses an agent that calls models and can reach none.
///
/// # Errors
/// There are no settings of language models, and no network.
pub fn check_reach(
    agent: &AgentSpec,
    llm: Option<&LlmPlan>,
    network: &Network,
    executor: ExecutorKind,
) -> Result<(), CliError> {
    let calls = !agent.details.needs.llm.is_empty();
    let sealed = *network == Network::Sealed && executor.has_containers();
    if !calls || llm.is_some() || !sealed {
        return Ok(());
    }
    Err(CliError::message(
        Exit::BadInput,
        format_args!("agent `{}` calls a language model, and the run has none for it", agent.id),
    )
    .hint("give `--llm FILE`, or an `[llm]` table in medalist.toml (docs/llm.md)"))
}

/// The image of an agent, made unless it is here.
///
/// # Errors
/// Packages that cannot be had, a base that cannot be made, and a build that fails.
pub async fn ensure_image(
    agent: &AgentSpec,
    engine: &Engine,
    context: &Context,
) -> Result<String, CliError> {
    let (dir, dockerfile) = match &agent.build {
        Build::Image => return Ok(agent.image.clone()),
        Build::Embedded { program, base } => {
            if let Some(base) = base {
                ensure_base(base, engine, context).await?;
            }
            return embedded::ensure_program_image(engine, &agent.image, program, base.as_deref())
                .await
                .map_err(executor_error);
        }
        Build::Dockerfile { dir, dockerfile } => (dir, dockerfile),
    };
    let image =
        FolderImage { image: &agent.image, dir, dockerfile, files_sha256: &agent.files_sha256 };
    for base in image.bases().map_err(executor_error)? {
        ensure_base(&base, engine, context).await?;
    }
    let reference = image.reference(engine).await.map_err(executor_error)?;
    let here =
        engine.image(&reference).await.map_err(ExecutorError::from).map_err(executor_error)?;
    if here.is_some() {
        return Ok(reference);
    }
    let cache = cache::own_dir()?;
    let wheels = wheels(agent, dir, &cache, context).await?;
    let mut on_line = |line: &str| context.say(format_args!("  {}", Shown::new(line)));
    let logs = cache.join("logs");
    fs_err::create_dir_all(&logs)?;
    let log = logs.join(format!("{}.log", reference.replace(['/', ':'], "_")));
    image
        .build(engine, &reference, wheels.as_deref(), &log, &mut on_line)
        .await
        .map_err(executor_error)?;
    Ok(reference)
}

/// The agent's pinned packages on this machine's disk, if it has some.
async fn wheels(
    agent: &AgentSpec,
    dir: &Path,
    cache: &Path,
    context: &Context,
) -> Result<Option<PathBuf>, CliError> {
    let Some((requirements, python)) = pins(agent, dir) else { return Ok(None) };
    if !packages::place(&requirements, &python, cache).is_ok_and(|place| place.is_dir()) {
        context.say(format_args!("  downloading the packages of `{}` with pip", agent.id));
    }
    packages::ensure(&requirements, &python, cache).await.map(Some).map_err(packages_error)
}

/// The list of an agent's packages, and the Python that they are for.
fn pins(agent: &AgentSpec, dir: &Path) -> Option<(PathBuf, String)> {
    let requirements = agent.details.packages.as_ref()?;
    Some((dir.join(requirements), agent.details.needs.python.clone()?))
}

pub(super) fn packages_error(error: PackagesError) -> CliError {
    let (exit, hint) = match &error {
        PackagesError::NoPip { .. } => {
            (Exit::Environment, "install Python's pip, such as Debian's `python3-pip`")
        }
        PackagesError::Unreachable { .. } => (
            Exit::Environment,
            "pip's own settings name the index and the way there (`pip config list`, `PIP_INDEX_URL`, `HTTPS_PROXY`)",
        ),
        PackagesError::HashDiffers { .. } => (
            Exit::BadInput,
            "the index served another file than the one that was pinned: do not use it before you know why",
        ),
        PackagesError::Refused { .. } => (
            Exit::BadInput,
            "the index may not have that version; a list needs a version and hashes in every line",
        ),
        PackagesError::Io(_) => (Exit::Failure, "the packages are kept in medalist's cache folder"),
    };
    let log = error.log().map(|log| format!("`{}` has all that pip said", log.display()));
    let error = CliError::new(exit, error).hint(hint);
    match log {
        Some(log) => error.hint(log),
        None => error,
    }
}

/// Makes the base image that our agents build upon, where it is neither here nor in a registry.
async fn ensure_base(base: &str, engine: &Engine, context: &Context) -> Result<(), CliError> {
    let Some(suite) = base_suite(base) else { return Ok(()) };
    let here = engine.image(base).await.map_err(ExecutorError::from).map_err(executor_error)?;
    if here.is_some() {
        return Ok(());
    }
    context.say(format_args!("  making the base image `{base}`, which takes some minutes"));
    let mut script = tempfile::Builder::new().prefix("base-image-").tempfile()?;
    std::io::Write::write_all(&mut script, BASE_IMAGE.as_bytes())?;
    let mut command = tokio::process::Command::new("bash");
    command.arg(script.path()).args(["--tag", base]);
    command.args(suite.iter().flat_map(|suite| ["--suite", suite])).kill_on_drop(true);
    let output = command.output().await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().rev().take(8).collect();
    let last: String =
        lines.iter().rev().map(|line| format!("\n    {}", Shown::new(line))).collect();
    Err(CliError::message(
        Exit::Environment,
        format_args!("the base image `{base}` can neither be pulled nor made{last}"),
    )
    .hint("install `mmdebstrap` (Debian's and Ubuntu's package of that name) and the `docker` client")
    .hint(format!("or make it on another machine with `scripts/base-image --tag {base}`, and carry it here with `docker save` and `docker load`")))
}

/// Whether the name is that of a base of ours, and which release of Debian it names.
fn base_suite(image: &str) -> Option<Option<&str>> {
    match image.strip_suffix(":latest").unwrap_or(image).strip_prefix(BASE)? {
        "" => Some(None),
        rest => rest.strip_prefix('-').map(Some),
    }
}

/// Whether an agent can run here, and what it lacks.
///
/// # Errors
/// Its folder cannot be read.
pub async fn examine(agent: &AgentSpec) -> Result<Vec<Finding>, CliError> {
    let mut found = Vec::new();
    let engine = match DockerExecutor::connect().await {
        Ok(executor) => Some(executor.engine().clone()),
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            found.push(Finding::other("container engine", Level::Missing, error.to_string(), hint));
            None
        }
    };
    let Build::Dockerfile { dir, dockerfile } = &agent.build else {
        let needed = match &agent.build {
            Build::Image => Some((&agent.image, "build or pull it")),
            Build::Embedded { base: Some(base), .. } => Some((base, base_hint(base))),
            _ => None,
        };
        if let (Some((image, hint)), Some(engine)) = (needed, &engine) {
            found.push(image_finding(image, engine, hint).await?);
        }
        return Ok(found);
    };
    let image =
        FolderImage { image: &agent.image, dir, dockerfile, files_sha256: &agent.files_sha256 };
    if let Some(engine) = &engine {
        for base in image.bases().map_err(executor_error)? {
            found.push(image_finding(&base, engine, base_hint(&base)).await?);
        }
        // The reference is only known with the base at hand.
        if found.iter().all(|finding| finding.level == Level::Ok) {
            let reference = image.reference(engine).await.map_err(executor_error)?;
            let hint = "`medalist agents build` makes it, as does the first run";
            found.push(image_finding(&reference, engine, hint).await?);
        }
    }
    if let Some((requirements, python)) = pins(agent, dir) {
        let cache = cache::own_dir()?;
        let place = packages::place(&requirements, &python, &cache)?;
        found.push(match place.is_dir() {
            true => {
                Finding::ok("packages", format!("for Python {python}, in `{}`", place.display()))
            }
            false => Finding::other(
                "packages",
                Level::Note,
                format!("pinned for Python {python}, not downloaded yet"),
                "`medalist agents build` downloads them with pip",
            ),
        });
    }
    Ok(found)
}

/// How a base image that is not here can be had.
fn base_hint(base: &str) -> &'static str {
    match base_suite(base) {
        Some(_) => {
            "`medalist agents build` makes it, as does the first run: from a registry, or with `mmdebstrap` \
             (Debian's and Ubuntu's package of that name) and the `docker` client"
        }
        None => "build, load or pull it",
    }
}

async fn image_finding(image: &str, engine: &Engine, hint: &str) -> Result<Finding, CliError> {
    let here = engine.image(image).await.map_err(ExecutorError::from).map_err(executor_error)?;
    Ok(match here {
        Some(_) => Finding::ok("image", format!("`{image}` is here")),
        None => Finding::other("image", Level::Note, format!("`{image}` is not here"), hint),
    })
}

/// An attempt whose agent ended soon and in vain.
#[derive(Debug)]
pub struct EarlyEnd {
    /// The attempt.
    pub key: String,
    /// How its agent ended.
    pub how: String,
    /// After how many seconds.
    pub took_s: f64,
    /// What it printed last.
    pub last_lines: Vec<Shown>,
    /// Whether it asked for a terminal.
    pub wants_terminal: bool,
}

/// The attempts of a group whose agents ended within a minute by themselves, with an exit code, and
/// left no submission: what they printed last says why.
pub fn early_ends(dir: &GroupDir, plan: &Plan) -> Vec<EarlyEnd> {
    plan.attempts.iter().filter_map(|attempt| early_end(&dir.attempt(&attempt.dir))).collect()
}

fn early_end(dir: &AttemptDir) -> Option<EarlyEnd> {
    let record: AttemptRecord = read_json(&dir.record()).ok()?;
    let outcome = record.outcome.as_ref()?;
    let took_s = record.took_s.filter(|took| *took < EARLY_S)?;
    let exit = outcome.exit_code.filter(|exit| *exit != 0)?;
    if record.submission.is_some() {
        return None;
    }
    let (said, _) = end_of(&dir.log(), END_BYTES).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let mut last_lines: Vec<Shown> = said
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES)
        .map(Shown::new)
        .collect();
    last_lines.reverse();
    let lower = said.to_lowercase();
    Some(EarlyEnd {
        key: record.key.to_string(),
        how: format!("exit code {exit}"),
        took_s,
        last_lines,
        wants_terminal: WANTS_TERMINAL.iter().any(|words| lower.contains(words)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_of_ours_names_its_release() {
        assert_eq!(base_suite("medalist-env"), Some(None));
        assert_eq!(base_suite("medalist-env:latest"), Some(None));
        assert_eq!(base_suite("medalist-env-trixie"), Some(Some("trixie")));
        assert_eq!(base_suite("medalist-envy"), None);
        assert_eq!(base_suite("debian:12"), None);
    }
}
