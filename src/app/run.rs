//! Runs plans: makes one, opens what it needs, runs a group or one attempt of it, and takes up a
//! group that was cut short.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::Utc;
use medalist_competitions::{CompetitionSpec, Suite};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::CompetitionFacts;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::context::{Context, tell};
use super::error::{CliError, Exit};
use super::gpu::{self, GpuOptions};
use super::llm::{self, LlmRequest};
use super::preflight::{self, Ready};
use super::report::facts;
use crate::attempt::agents::{AgentError, AgentSpec, Build};
use crate::attempt::launch::{DataMode, ExecutorError};
use crate::attempt::limits::{Limits, Network};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::{ExecutorKind, PLAN_FORMAT, Plan, SnapshotEvery, attempts, group_name};
use crate::attempt::text::{chain, duration};
use crate::host::files::{StoreError, read_json, write_json};
use crate::host::machine;
use crate::host::store::{GroupDir, find};
use crate::run::events::EventSink;
use crate::run::sinks::{JsonLines, Lines, Progress};
use crate::run::{
    Capacity, Run, RunError, RunSummary, StopRequest, run as run_group, stop, write_group,
};
use crate::sandbox::docker::DockerExecutor;
use crate::sandbox::embedded;
use crate::sandbox::engine::{ContainerConfig, Engine};
use crate::sandbox::process::ProcessExecutor;
use crate::sandbox::{Executor, ExecutorInfo};

/// What a new group is made of.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// A built-in agent, a folder with agent.toml, or an id of an MLE-bench config.yaml.
    pub agent: &'a str,
    /// Where agents are looked for.
    pub agents_dir: &'a Path,
    /// What it is run on.
    pub competitions: Vec<&'a CompetitionSpec>,
    /// The suite that was asked for, if one was.
    pub suite: Option<Suite>,
    /// Seeds of each competition.
    pub seeds: Range<u32>,
    /// What runs attempts.
    pub executor: ExecutorKind,
    /// What each attempt may use.
    pub limits: LimitsRequest,
    /// GPUs and mounts.
    pub gpus: GpuOptions,
    /// How the public data get to agents.
    pub data: DataMode,
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
    fn apply(self, plan: Plan) -> Plan {
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
    fn resolve(&self, config: &ContainerConfig) -> Limits {
        let machine_memory = machine::memory_bytes().unwrap_or(u64::MAX);
        let mut limits = Limits {
            timeout: self.timeout,
            grace: self.grace,
            cpus: f64::from(machine::cpu_count()).min(4.0),
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
    let agent = find_agent(request.agent, request.agents_dir)?;
    let facts: Vec<CompetitionFacts> =
        request.competitions.iter().map(|spec| facts(spec)).collect();
    request.gpus.check(&facts, context)?;
    let created_at = Utc::now();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (limits, gpus) = (&request.limits, &request.gpus);
    let config = limits.container_config()?;
    let plan = Plan {
        format: PLAN_FORMAT,
        group: group_name(created_at, &agent.id),
        created_at,
        suite: request.suite.map(|suite| suite.as_str().to_owned()),
        executor: request.executor,
        limits: limits.resolve(&config),
        network: limits.network.clone().or(config.network).unwrap_or_default(),
        data: request.data,
        gpus: gpus.gpus.clone().unwrap_or(config.gpus),
        gpu_share: gpus.gpu_share,
        gpu_pool: gpus.gpu_pool.clone(),
        gpu_access: gpus.gpu_access,
        mounts: gpus.mounts.clone(),
        parallel: None,
        retries: Pace::RETRIES,
        fail_fast: false,
        snapshot_every: request.snapshot_every.map(SnapshotEvery),
        runtime: limits.runtime.clone().or(config.runtime),
        cpuset: config.cpuset,
        pass_secrets: request.pass_secrets,
        llm: llm::plan(&request.llm, context)?,
        data_dir: absolute(&context.data_dir),
        catalog_dirs: context.catalog_dirs.iter().map(|dir| absolute(dir)).collect(),
        command: std::env::args().collect(),
        notes: request.notes.clone(),
        attempts: attempts(
            &agent.id,
            &facts,
            request.seeds.clone(),
            |facts| gpus.of(facts),
            Uuid::new_v4,
        ),
        agent,
    };
    Ok(request.pace.apply(plan))
}

fn find_agent(name: &str, agents_dir: &Path) -> Result<AgentSpec, CliError> {
    let agent = AgentSpec::find(name, agents_dir).map_err(|error| {
        let hint = match error {
            AgentError::Unknown { .. } => "an agent is a folder with agent.toml (docs/agents.md), or an id in an MLE-bench config.yaml below --agents-dir",
            _ => "docs/agents.md has every key of agent.toml and config.yaml",
        };
        CliError::new(Exit::BadInput, error).hint(hint)
    })?;
    Ok(match &agent.build {
        Build::Embedded { program } => {
            AgentSpec { image: embedded::image_reference(&agent.image, program), ..agent }
        }
        _ => agent,
    })
}

/// Makes a group and writes its plan, and what reports read of it; nothing is run.
///
/// # Errors
/// The folder cannot be made, or the user has not agreed to what the agent asks for.
pub fn plan_group(plan: Plan, context: &Context) -> Result<GroupDir, CliError> {
    preflight::check_plan(&plan)?;
    let (dir, plan) = create_group(plan, context)?;
    write_group(&dir, &plan, &machine::hardware(), None, None)?;
    Ok(dir)
}

/// Makes a group and runs it to its end.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn run_new_group(
    plan: Plan,
    events: Option<&Path>,
    context: &Context,
) -> Result<(GroupDir, RunSummary), CliError> {
    let ready = preflight::check(&plan, context).await?;
    let (dir, plan) = create_group(plan, context)?;
    let summary = run_plan(plan, &dir, None, ready, events, context).await?;
    Ok((dir, summary))
}

/// What is said of a group that is resumed.
#[derive(Debug, Clone, Copy)]
pub struct ResumeRequest<'a> {
    /// The group: its folder, or its name below the runs folder.
    pub group: &'a Path,
    /// How the rest of it is worked through.
    pub pace: Pace,
    /// The data directory, where it was named: it must be the group's.
    pub data_dir: Option<&'a Path>,
    /// Folders of competitions, where they were named: they must be the group's.
    pub catalog_dirs: Option<&'a [PathBuf]>,
}

impl ResumeRequest<'_> {
    /// Refuses places that are not the plan's.
    fn check(&self, plan: &Plan) -> Result<(), CliError> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let other = |flag: &str, planned: &dyn std::fmt::Debug| {
            Err(CliError::message(
                Exit::Usage,
                format!("`{flag}` is fixed by the group's plan, which has {planned:?}"),
            )
            .hint(format!("leave `{flag}` out, or start a new group")))
        };
        if self.data_dir.is_some_and(|stated| absolute(stated) != plan.data_dir) {
            return other("--data-dir", &plan.data_dir);
        }
        let same = |stated: &[PathBuf]| {
            stated.iter().map(|dir| absolute(dir)).eq(plan.catalog_dirs.iter().cloned())
        };
        if !self.catalog_dirs.is_none_or(same) {
            return other("--catalog", &plan.catalog_dirs);
        }
        Ok(())
    }
}

/// Goes on with a group that was cut short.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn resume_group(
    request: &ResumeRequest<'_>,
    events: Option<&Path>,
    context: &Context,
) -> Result<(GroupDir, RunSummary), CliError> {
    let dir = find::group(&context.runs_dir, request.group).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint("`--resume` takes a run group's folder, or its name below the runs folder")
    })?;
    let plan = read_plan(&dir)?;
    request.check(&plan)?;
    let plan = request.pace.apply(plan);
    let ready = preflight::check(&plan, context).await?;
    let summary = run_plan(plan, &dir, None, ready, events, context).await?;
    Ok((dir, summary))
}

/// Runs the group in this folder, or goes on with it if it was begun. `plan` makes its plan if it has
/// none; the plan's group is the folder's name.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn run_group_in(
    dir: &GroupDir,
    plan: impl FnOnce() -> Result<Plan, CliError>,
    pace: Pace,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let is_begun = dir.plan().exists();
    let plan = if is_begun { pace.apply(read_plan(dir)?) } else { plan()? };
    // Who runs several groups has heard the warnings when all of them were checked.
    let ready = preflight::check(&plan, &Context { quiet: 2, ..context.clone() }).await?;
    if !is_begun {
        std::fs::create_dir_all(dir.root()).map_err(StoreError::io("create", dir.root()))?;
        write_json(&dir.plan(), &plan)?;
    }
    run_plan(plan, dir, None, ready, None, context).await
}

/// Runs one attempt of a planned group in this process.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn run_one_attempt(
    group: &Path,
    attempt: &str,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let found = find_attempt(attempt, Some(group), context)?;
    let plan = read_plan(&found.group)?;
    if stop::is_stopped(&found.group) {
        let root = found.group.root().display();
        return Err(CliError::message(Exit::Interrupted, format!("`{root}` was stopped"))
            .hint(format!("resume with: medalist run --resume {root}")));
    }
    let dir = found.attempt.dir.clone();
    let plan = Plan { attempts: vec![found.attempt], ..plan };
    let ready = preflight::check(&plan, context).await?;
    run_plan(plan, &found.group, Some(dir), ready, None, context).await
}

/// The attempt that `text` names, in the group that is named or the newest that has it. Groups whose
/// plan cannot be read are named and passed over.
///
/// # Errors
/// There is none, or several fit.
pub fn find_attempt(
    text: &str,
    group: Option<&Path>,
    context: &Context,
) -> Result<find::Found, CliError> {
    let mut on_damage = passed_over(context);
    find::attempt(&context.runs_dir, text, group, &mut on_damage).map_err(find_error)
}

/// Names a group whose plan cannot be read.
pub(super) fn passed_over(context: &Context) -> impl FnMut(StoreError) {
    |error| context.warn(format_args!("{}; this group is passed over", chain(&error)))
}

/// A [`find::FindError`] with the way on.
pub fn find_error(error: find::FindError) -> CliError {
    CliError::new(Exit::BadInput, error)
        .hint("name an attempt by its folder or by competition/agent/seed, and its group with --group; --runs-dir says where groups are")
}

/// What `--dry-run` shows of a plan; [`preflight::check`] says what is in its way.
pub async fn describe_plan(plan: &Plan) -> String {
    let limits = &plan.limits;
    let found = gpu::find(plan).await.ok().flatten();
    let gpus = found.map(|(_, inventory)| inventory.gpus).unwrap_or_default();
    let forecast = crate::run::forecast(plan, capacity(plan), &gpus);
    let mounts: Vec<String> = plan.mounts.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "agent      {} ({})\ncommand    {}\nexecutor   {}\nlimits     {} + {} grace, {} cpus, {} memory, {} disk, {} pids\nnetwork    {}\ngpus       {}\nmounts     {}\nattempts   {} ({} at once)\nlongest    {}\n\n",
        plan.agent.id,
        plan.agent.image,
        plan.agent.command.join(" "),
        plan.executor,
        duration(limits.timeout),
        duration(limits.grace),
        limits.cpus,
        ByteSize::b(limits.memory_bytes),
        ByteSize::b(limits.disk_bytes),
        limits.pids,
        plan.network,
        gpu::describe(plan, &gpus),
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

/// Makes the group's folder with the plan in it.
fn create_group(plan: Plan, context: &Context) -> Result<(GroupDir, Plan), CliError> {
    let (dir, name) = GroupDir::create(&context.runs_dir, &plan.group)?;
    let plan = Plan { group: name, ..plan };
    write_json(&dir.plan(), &plan)?;
    Ok((dir, plan))
}

/// Reads the plan of a group.
///
/// # Errors
/// It is missing or damaged, or a newer medalist made it.
pub fn read_plan(dir: &GroupDir) -> Result<Plan, CliError> {
    let plan: Plan =
        read_json(&dir.plan()).map_err(|error| CliError::new(Exit::BadInput, error))?;
    if !PLAN_FORMAT.reads(plan.format) {
        return Err(CliError::message(
            Exit::BadInput,
            format!(
                "`{}` has format {}, this program reads up to {PLAN_FORMAT}",
                dir.plan().display(),
                plan.format
            ),
        )
        .hint("a newer medalist made this group; use that one"));
    }
    Ok(plan)
}

/// The runtime of every command that waits.
///
/// # Errors
/// The system has no threads left.
pub fn start_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// What the machine has for this plan.
pub fn capacity(plan: &Plan) -> Capacity {
    Capacity {
        cpus: f64::from(machine::cpu_count()),
        memory_bytes: machine::memory_bytes().unwrap_or(u64::MAX),
        attempts: plan.parallel.unwrap_or(usize::MAX),
    }
}

/// An executor that answers.
pub struct Opened {
    executor: Arc<dyn Executor>,
    /// What it is and has.
    pub(super) info: ExecutorInfo,
    /// The engine behind it, to build images with.
    engine: Option<Engine>,
}

/// The executor of a plan, checked.
pub async fn open_executor(kind: ExecutorKind) -> Result<Opened, CliError> {
    let (executor, engine): (Arc<dyn Executor>, _) = match kind {
        ExecutorKind::Docker => {
            let docker = DockerExecutor::connect().await.map_err(executor_error)?;
            let engine = docker.engine().clone();
            (Arc::new(docker), Some(engine))
        }
        ExecutorKind::Process => (Arc::new(ProcessExecutor::new()), None),
    };
    let info = executor.check().await.map_err(executor_error)?;
    Ok(Opened { executor, info, engine })
}

/// An executor's error with its own hint.
pub fn executor_error(error: ExecutorError) -> CliError {
    let hint = error.hint();
    let exit = match &error {
        ExecutorError::HostFull { .. } => Exit::DiskFull,
        ExecutorError::BuildFailed { .. } => Exit::BadInput,
        _ => Exit::Environment,
    };
    let error = CliError::new(exit, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Runs the attempts of a plan that are not over yet: all of the group, or the one in the folder
/// `only`.
pub async fn run_plan(
    plan: Plan,
    dir: &GroupDir,
    only: Option<String>,
    ready: Ready,
    events: Option<&Path>,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let locked = only.as_ref().map_or_else(|| dir.lock(), |attempt| dir.lock_attempt(attempt));
    let lock = locked.map_err(|error| {
        CliError::new(Exit::BadInput, error).hint("wait for it, or stop it with `medalist stop`")
    })?;
    let Ready { opened: Opened { executor, info, engine }, judge, gpus, llm } = ready;
    // The program outlives the run: it is deleted when this function returns.
    let mut local_program = None;
    let mut plan = plan;
    let image = plan.agent.image.clone();
    match (&plan.agent.build, &engine) {
        (Build::Embedded { program }, None) => {
            local_program = Some(embedded::write_program(program)?)
        }
        (Build::Embedded { program }, Some(engine)) => {
            embedded::ensure_program_image(engine, &image, program)
                .await
                .map_err(executor_error)?;
        }
        (Build::Dockerfile { dir, dockerfile }, Some(engine)) => {
            let mut on_line = |line: &str| context.say(format_args!("  {}", Shown::new(line)));
            let files = &plan.agent.files_sha256;
            let built =
                embedded::ensure_built_image(engine, &image, dir, dockerfile, files, &mut on_line);
            plan.agent.image = built.await.map_err(executor_error)?;
        }
        (Build::Dockerfile { .. }, None) | (Build::Image, _) => {}
    }
    let mut hardware = machine::hardware();
    let gpus = gpu::open(gpus, &plan, dir, &*executor, &info, &mut hardware, context).await?;
    let run = Run {
        capacity: capacity(&plan),
        hardware,
        gpus,
        llm,
        local_program: local_program.as_ref().map(|program| program.to_path_buf()),
        plan,
        group: dir.clone(),
        only: only.clone(),
        executor,
        info,
        judge: Arc::new(judge),
    };
    let mut sinks: Vec<Box<dyn EventSink>> = vec![Box::new(JsonLines::open(&run.events())?)];
    if let Some(path) = events {
        sinks.push(Box::new(JsonLines::open(path)?));
    }
    if context.progress {
        sinks.push(Box::new(Progress::new()));
    } else if context.quiet == 0 {
        sinks.push(Box::new(Lines::new(std::io::stderr())));
    }
    let (sender, mut cancels) = mpsc::channel(4);
    let signals = tokio::spawn(watch_signals(dir.root().to_owned(), sender.clone()));
    let requests = tokio::spawn(stop::watch(dir.clone(), only, sender));
    let result = run_group(Arc::new(run), &lock, &mut sinks, &mut cancels).await;
    signals.abort();
    requests.abort();
    result.map_err(|error| {
        let full = matches!(&error, RunError::Store(store) if store.is_disk_full());
        let exit = match &error {
            RunError::Store(_) if full => Exit::DiskFull,
            RunError::Store(_) => Exit::Failure,
            RunError::Executor(_) | RunError::EngineAway { .. } | RunError::LlmRefused { .. } => {
                Exit::Environment
            }
            RunError::Llm(_) => Exit::BadInput,
        };
        CliError::new(exit, error).hint(format!(
            "finished work is safe; resume with: medalist run --resume {}",
            dir.root().display()
        ))
    })
}

/// The exit code that says what a run came to.
pub fn exit_of(summary: &RunSummary) -> Exit {
    let stats = &summary.stats;
    if summary.stopped == Some(CancelReason::FailFast) {
        Exit::Partial
    } else if stats.finished + summary.damaged < stats.planned || stats.cancelled > 0 {
        Exit::Interrupted
    } else if stats.infrastructure > 0 || summary.damaged > 0 {
        Exit::Partial
    } else {
        Exit::Success
    }
}

/// First signal: agents get their grace. Second: they are killed. Third: this process ends at once;
/// containers stay for `--resume` or `clean`.
async fn watch_signals(group: PathBuf, cancels: mpsc::Sender<StopRequest>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be watched; Ctrl-C ends the harness at once");
        return;
    };
    for reason in [CancelReason::Interrupt, CancelReason::Kill] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancels.send(StopRequest::Group(reason)).await.is_err() {
            return;
        }
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tell(format_args!(
        "error: stopped at once; containers may still run: resume with `medalist run --resume {}`, or remove them with `medalist clean --running`",
        group.display()
    ));
    std::process::exit(i32::from(Exit::Interrupted as u8));
}
