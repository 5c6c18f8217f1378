//! Language models for agents: settings into a plan, recordings to answer from, and whether
//! providers are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medalist_llm::check::{Checked, Unreachable};
use medalist_llm::config::ConfigError;
use medalist_llm::events::EventSink;
use medalist_llm::service::ServiceFile;
use medalist_llm::{Config, Gateway, GatewayError};

use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::read_plan;
use crate::attempt::llm::LlmPlan;
use crate::attempt::plan::Plan;
use crate::host::store::{GroupDir, find};
use crate::run::{LlmError, LlmRun};

/// How often a provider that cannot be reached is looked for.
const LOOKS: u32 = 3;
/// Between two looks.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What is asked for of language models.
#[derive(Debug, Clone, Copy, Default)]
pub struct LlmRequest<'a> {
    /// The settings.
    pub file: Option<&'a Path>,
    /// A group whose recordings answer: its folder, or its name below the runs folder.
    pub replay: Option<&'a Path>,
}

/// What a plan says of language models; `None` if nothing is asked for.
///
/// # Errors
/// Settings that cannot be used, or a group that has no recordings.
pub fn plan(request: &LlmRequest<'_>, context: &Context) -> Result<Option<LlmPlan>, CliError> {
    let stated = request.file.map(LlmPlan::read).transpose().map_err(config_error)?;
    let Some(group) = request.replay else { return Ok(stated) };
    let group = recorded_group(group, context)?;
    let recorded = read_plan(&group)?.llm;
    let settings = stated.or(recorded).ok_or_else(|| {
        let root = group.root().display();
        CliError::message(Exit::BadInput, format_args!("`{root}` was run without language models"))
            .hint("`--llm-replay` takes a run group that was run with `--llm`")
    })?;
    let root = std::path::absolute(group.root())?;
    Ok(Some(LlmPlan { replay: Some(root), ..settings }))
}

fn recorded_group(group: &Path, context: &Context) -> Result<GroupDir, CliError> {
    find::group(&context.runs_dir, group).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint("`--llm-replay` takes a run group's folder, or its name below the runs folder")
    })
}

/// Opens the gateway of a plan, and makes sure that its providers are there: nothing of the plan
/// has been started.
///
/// # Errors
/// A key is missing or refused, a provider cannot be reached, or a recording cannot be read.
pub async fn open(plan: &Plan, context: &Context) -> Result<Option<LlmRun>, CliError> {
    let recordings = match plan.llm.as_ref().and_then(|llm| llm.replay.as_ref()) {
        Some(group) => recordings(plan, &recorded_group(group, context)?)?,
        None => BTreeMap::new(),
    };
    let llm = LlmRun::open(plan, recordings).map_err(llm_error)?;
    if let Some(llm) = llm.as_ref().filter(|llm| llm.asks_providers()) {
        reach(llm.gateway()).await?;
    }
    Ok(llm)
}

/// Says where the gateway service of a run is looked for, and whether it is missing: calls wait for it.
pub(super) async fn find_service(llm: &LlmRun, group: &GroupDir, context: &Context) {
    let gateway = llm.gateway();
    gateway.find_service_in(service_folders(Some(group.root()), context));
    if llm.asks_providers()
        && let Some(why) = gateway.missing_service().await
    {
        let root = group.root().display();
        context.warn(format_args!(
            "no gateway service takes calls of language models ({why}); they wait for one: medalist gateway --group {root}"
        ));
    }
}

/// Where gateway services leave their files: one that serves a group goes before one for all groups
/// below a folder.
pub(super) fn service_folders(group: Option<&Path>, context: &Context) -> Vec<PathBuf> {
    let mut shared: Vec<&Path> =
        group.into_iter().flat_map(|g| [Some(g), g.parent()]).flatten().collect();
    shared.push(&context.runs_dir);
    shared.into_iter().map(ServiceFile::folder).collect()
}

/// The recordings that answer a plan's attempts, by the folder of the attempt: those of the same
/// competition and seed, whatever the agent is called now.
fn recordings(plan: &Plan, group: &GroupDir) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let recorded = read_plan(group)?.attempts;
    let mut found = BTreeMap::new();
    for attempt in &plan.attempts {
        let key = &attempt.key;
        let same = recorded.iter().find(|recorded| {
            (&recorded.key.competition, recorded.key.seed) == (&key.competition, key.seed)
        });
        let Some(same) = same else {
            let known: Vec<String> =
                recorded.iter().take(8).map(|recorded| recorded.key.to_string()).collect();
            let root = group.root().display();
            return Err(CliError::message(
                Exit::BadInput,
                format_args!("`{root}` has no recording for `{key}`; it has {}", known.join(", ")),
            )
            .hint("replay the competitions and seeds that were recorded"));
        };
        found.insert(attempt.dir.clone(), group.attempt(&same.dir).llm().join("recording"));
    }
    Ok(found)
}

/// Says which providers nobody could work with.
pub(super) async fn reach(gateway: &Gateway) -> Result<(), CliError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let missing = gateway.unreachable().await;
        let Some((name, why)) = missing.into_iter().next() else { return Ok(()) };
        if matches!(why, Unreachable::Away(_)) && looks < LOOKS {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let address = gateway.config().upstreams.get(&name).map_or("", |known| known.base_url());
        let hint = match &why {
            Unreachable::Away(_) => format!("is `{address}` right, and is the server up?"),
            Unreachable::Refused(_) => {
                format!(
                    "`upstreams.{name}.key` says where the key is read from; is it the right one?"
                )
            }
        };
        return Err(CliError::message(Exit::Environment, format_args!("upstream `{name}`: {why}"))
            .hint(hint)
            .hint("`medalist llm check` calls each upstream once"));
    }
}

/// Calls every upstream of a settings file once.
///
/// # Errors
/// The settings cannot be used, or a key cannot be had.
pub async fn check(file: &Path, context: &Context) -> Result<(Vec<Checked>, String), CliError> {
    let config = Config::read(file).map_err(config_error)?;
    let gateway =
        Gateway::new(config, EventSink::ignore()).map_err(|error| llm_error(error.into()))?;
    gateway.find_service_in(service_folders(None, context));
    Ok((gateway.check().await, gateway.price_table()))
}

pub(super) fn config_error(error: ConfigError) -> CliError {
    llm_error(error.into())
}

/// What is wrong with settings is the user's; a key that is not there is this machine's lack.
pub(super) fn llm_error(error: LlmError) -> CliError {
    let is_key = matches!(
        &error,
        LlmError::Config(ConfigError::Key { .. })
            | LlmError::Gateway(GatewayError::Config(ConfigError::Key { .. }))
    );
    let hint = match &error {
        _ if is_key => Some("docs/llm.md says where keys may come from"),
        LlmError::Recording { .. } => {
            Some("a run that records nothing (`record.recording = false`) cannot be replayed")
        }
        LlmError::Config(ConfigError::Read { .. }) => Some("docs/llm.md shows an `llm.toml`"),
        _ => None,
    };
    let error = CliError::new(if is_key { Exit::Environment } else { Exit::BadInput }, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
