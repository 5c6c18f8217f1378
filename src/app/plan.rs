//! Makes a plan of what is asked for, and says what it comes to on this machine.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use chrono::Utc;
use medalist_competitions::CompetitionSpec;
use medalist_reports::record::CompetitionFacts;
use uuid::Uuid;

use super::agents::{self, Models};
use super::context::Context;
use super::error::{CliError, Exit};
use super::gpu::{self, GpuOptions};
use super::llm::{self, LlmRequest};
use super::names;
use super::report::facts;
use super::suites::ChosenSuite;
use crate::attempt::job::Allocation;
use crate::attempt::launch::DataMode;
use crate::attempt::limits::{Limits, Network};
use crate::attempt::plan::{
    BriefKind, ExecutorKind, PLAN_FORMAT, Plan, Remote, SnapshotEvery, attempts, group_name,
};
use crate::attempt::text::duration;
use crate::host::gpu::Gpu;
use crate::host::machine;
use crate::run::Capacity;
use crate::sandbox::engine::ContainerConfig;

/// Between two copies of a submission where a scheduler's nodes run attempts and nothing else is said.
const SNAPSHOTS_ON_NODES: Duration = Duration::from_secs(10 * 60);

/// What a new group is made of.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// A built-in agent, a folder with agent.toml, or an id of an MLE-bench config.yaml.
    pub agent: &'a str,
    /// The language models that the agent is to use.
    pub models: Models,
    /// Where agents are looked for.
    pub agents_dir: &'a Path,
    /// What it is run on.
    pub competitions: Vec<&'a CompetitionSpec>,
    /// The suite that was asked for, if one was.
    pub suite: Option<ChosenSuite>,
    /// Its limits that are not kept, in words.
    pub departures: Vec<String>,
    /// Seeds of each competition.
    pub seeds: Range<u32>,
    /// What runs attempts.
    pub executor: ExecutorKind,
    /// The scheduler that hands them to its nodes; none for this machine.
    pub on: Option<Remote>,
    /// What each attempt may use.
    pub limits: LimitsRequest,
    /// GPUs and mounts.
    pub gpus: GpuOptions,
    /// How the public data get to agents.
    pub data: DataMode,
    /// Whether agents are told where a competition comes from.
    pub brief: BriefKind,
    /// Copies of the submission while the agent runs.
    pub snapshot_every: Option<Duration>,
    /// Whether secrets that the agent names go into its container.
    pub pass_secrets: bool,
    /// Free words of the user.
    pub notes: Option<String>,
    /// The language models that agents may call.
    pub llm: LlmRequest<'a>,
    /// How the group is worked through.
    pub pace: Pace,
}

/// How a group is worked through: what may change when it is resumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Attempts at once.
    pub parallel: Option<usize>,
    /// Tries again after a failure of the machine.
    pub retries: Option<u32>,
    /// Whether the first attempt that fails ends the run.
    pub fail_fast: bool,
}

impl Pace {
    /// Tries again where nothing else is said.
    pub const RETRIES: u32 = 2;

    /// The plan at this pace; what is not said stays as it was.
    pub(super) fn apply(self, plan: Plan) -> Plan {
        Plan {
            parallel: self.parallel.or(plan.parallel),
            retries: self.retries.unwrap_or(plan.retries),
            fail_fast: self.fail_fast || plan.fail_fast,
            ..plan
        }
    }
}

/// What each attempt may use, where it is not the default.
#[derive(Debug, Clone)]
pub struct LimitsRequest {
    /// Wall clock of the agent.
    pub timeout: Duration,
    /// Time between SIGTERM and the kill.
    pub grace: Duration,
    /// Processors.
    pub cpus: Option<f64>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Shared memory in bytes.
    pub shm_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes the agent may write.
    pub disk_bytes: u64,
    /// Bytes of output that are kept.
    pub log_bytes: u64,
    /// What the agent can reach.
    pub network: Option<Network>,
    /// OCI runtime other than the daemon's default.
    pub runtime: Option<String>,
    /// MLE-bench's container_config JSON; what is said beside it wins.
    pub container_config: Option<PathBuf>,
}

impl LimitsRequest {
    /// The container_config, empty if none is given.
    fn container_config(&self) -> Result<ContainerConfig, CliError> {
        let Some(path) = &self.container_config else { return Ok(ContainerConfig::default()) };
        ContainerConfig::read(path).map_err(|error| {
            let what = format!("cannot take `{}`", path.display());
            CliError::new(Exit::BadInput, error).context(what)
        })
    }

    /// What is said here, then the container_config, then what the machine has.
    fn resolve(&self, config: &ContainerConfig, here: bool) -> Limits {
        // What a scheduler's nodes have is not this machine's affair.
        let (cpus, machine_memory) = match here {
            true => (f64::from(machine::cpu_count()), machine::memory_bytes()),
            false => (f64::INFINITY, None),
        };
        let machine_memory = machine_memory.unwrap_or(u64::MAX);
        let mut limits = Limits {
            timeout: self.timeout,
            grace: self.grace,
            cpus: cpus.min(4.0),
            memory_bytes: (32u64 << 30).min(machine_memory / 10 * 9),
            disk_bytes: self.disk_bytes,
            log_bytes: self.log_bytes,
            ..Limits::default()
        };
        config.apply(&mut limits);
        limits.cpus = self.cpus.unwrap_or(limits.cpus);
        limits.memory_bytes = self.memory_bytes.unwrap_or(limits.memory_bytes);
        limits.shm_bytes = self.shm_bytes.unwrap_or(limits.shm_bytes);
        limits.pids = self.pids.unwrap_or(limits.pids);
        limits
    }
}

/// Everything fixed before anything starts.
///
/// # Errors
/// An unknown agent, GPUs for nobody, a mount that breaks the seal, or a container_config that
/// cannot be read.
pub fn make_plan(request: &RunRequest<'_>, context: &Context) -> Result<Plan, CliError> {
    for spec in &request.competitions {
        names::settled(spec)?;
    }
    let llm = llm::plan(&request.llm, context)?;
    let agent = agents::find(request.agent, request.agents_dir)?;
    let agent = agents::with_models(agent, &request.models, llm.as_ref())?;
    let facts: Vec<CompetitionFacts> =
        request.competitions.iter().map(|spec| facts(spec)).collect();
    request.gpus.check(&facts, context)?;
    let created_at = Utc::now();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (limits, gpus) = (&request.limits, &request.gpus);
    let config = limits.container_config()?;
    let network = limits.network.clone().or(config.network.clone()).unwrap_or_default();
    agents::check_reach(&agent, llm.as_ref(), &network, request.executor)?;
    let plan = Plan {
        format: PLAN_FORMAT,
        group: group_name(created_at, &agent.id),
        created_at,
        suite: request.suite.as_ref().map(|suite| suite.name().to_owned()),
        suite_file: request
            .suite
            .as_ref()
            .and_then(|suite| suite.record(request.departures.clone())),
        executor: request.executor,
        on: request.on.clone(),
        limits: limits.resolve(&config, request.on.is_none()),
        network,
        data: request.data,
        brief: request.brief,
        gpus: gpus.gpus.clone().unwrap_or(config.gpus),
        gpu_share: gpus.gpu_share,
        gpu_pool: gpus.gpu_pool.clone(),
        gpu_access: gpus.gpu_access,
        mounts: gpus.mounts.clone(),
        parallel: None,
        retries: Pace::RETRIES,
        fail_fast: false,
        // A node that is lost takes everything with it that is not in the group's folder.
        snapshot_every: request
            .snapshot_every
            .or_else(|| request.on.as_ref().map(|_| SNAPSHOTS_ON_NODES))
            .map(SnapshotEvery),
        runtime: limits.runtime.clone().or(config.runtime),
        cpuset: config.cpuset,
        pass_secrets: request.pass_secrets,
        llm,
        data_dir: absolute(&context.data_dir),
        catalog_dirs: context.catalog_dirs.iter().map(|dir| absolute(dir)).collect(),
        command: std::env::args().collect(),
        notes: request.notes.clone(),
        attempts: attempts(
            &agent.id,
            &facts,
            request.seeds.clone(),
            request.brief,
            |facts| gpus.of(facts),
            Uuid::new_v4,
        ),
        agent,
    };
    Ok(request.pace.apply(plan))
}

/// What the machine has for this plan.
pub fn capacity(plan: &Plan) -> Capacity {
    let (cpus, memory_bytes) = machine::share(Allocation::current().as_ref());
    Capacity {
        cpus: f64::from(cpus),
        memory_bytes: memory_bytes.unwrap_or(u64::MAX),
        attempts: plan.parallel.unwrap_or(usize::MAX),
    }
}

/// What `--dry-run` shows of a plan that may use `gpus`; [`super::preflight::check`] says what is in
/// its way.
pub fn describe_plan(plan: &Plan, gpus: &[Gpu]) -> String {
    let limits = &plan.limits;
    let forecast = crate::run::forecast(plan, capacity(plan), gpus);
    let mounts: Vec<String> = plan.mounts.iter().map(ToString::to_string).collect();
    let suite = plan.suite_file.as_ref().map_or_else(String::new, |file| file.describe());
    let mut text = format!(
        "{suite}agent      {} ({})\ncommand    {}\nexecutor   {}\n{}limits     {} + {} grace, {} cpus, {} memory, {} disk, {} pids\nnetwork    {}\ngpus       {}\nmounts     {}\nattempts   {} ({} at once)\nlongest    {}\n\n",
        plan.agent.id,
        plan.agent.image,
        plan.agent.command.join(" "),
        plan.executor,
        if plan.brief.is_plain() { "" } else { "brief      obfuscated\n" },
        duration(limits.timeout),
        duration(limits.grace),
        limits.cpus,
        ByteSize::b(limits.memory_bytes),
        ByteSize::b(limits.disk_bytes),
        limits.pids,
        plan.network,
        gpu::describe(plan, gpus),
        if mounts.is_empty() { "none".to_owned() } else { mounts.join(", ") },
        plan.attempts.len(),
        forecast.at_once,
        duration(forecast.longest),
    );
    for attempt in &plan.attempts {
        let gpus = attempt.gpus.as_ref().map_or(String::new(), |gpus| format!("  gpus {gpus}"));
        text.push_str(&format!("{}{gpus}\n", attempt.key));
    }
    text
}
