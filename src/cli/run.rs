//! `medalist run`: plans a group, shows the plan or runs it, or goes on with one that was cut
//! short.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::Utc;
use medalist_reports::record::CompetitionFacts;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::gpu::GpuArgs;
use super::selection::Selection;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::judge::CatalogueJudge;
use crate::attempt::agents::{AgentError, AgentSpec, Build};
use crate::attempt::launch::ExecutorError;
use crate::attempt::limits::{Limits, Network};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::{ExecutorKind, PLAN_FORMAT, Plan, SnapshotEvery, attempts, group_name};
use crate::host::machine;
use crate::host::store::{GroupDir, find, read_json, write_json};
use crate::run::events::{EventSink, RunStats};
use crate::run::sinks::{JsonLines, Lines, Progress};
use crate::run::{
    Capacity, Judge as _, Run, RunError, StopRequest, run as run_group, stop, write_group,
};
use crate::sandbox::docker::DockerExecutor;
use crate::sandbox::embedded;
use crate::sandbox::engine::{ContainerConfig, Engine};
use crate::sandbox::process::ProcessExecutor;
use crate::sandbox::{Executor, ExecutorInfo};

/// Run an agent on competitions, each attempt in its own sealed container, and grade what it
/// submits.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// A built-in agent (sample, baseline), a folder with agent.toml, or an id of an MLE-bench
    /// config.yaml.
    #[arg(long, required_unless_present = "resume", value_name = "NAME|DIR")]
    pub agent: Option<String>,
    /// Where agents are looked for.
    #[arg(long, default_value = "agents", env = "MEDALIST_AGENTS_DIR", value_name = "DIR")]
    pub agents_dir: PathBuf,
    #[command(flatten)]
    pub selection: Selection,
    /// Seeds 0 to N-1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// What runs attempts; docker is sealed, process is not.
    #[arg(long, value_enum, default_value_t = ExecutorKind::Docker, env = "MEDALIST_EXECUTOR")]
    pub executor: ExecutorKind,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub gpus: GpuArgs,
    /// Attempts at once; as many as processors, memory and GPUs allow if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub parallel: Option<u64>,
    /// Tries again after a failure of this machine (never after one of the agent).
    #[arg(long, default_value_t = 2)]
    pub retries: u32,
    /// Keep and grade a copy of the submission every so often, e.g. 30min.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub snapshot_every: Option<Duration>,
    /// Put the secrets that the agent names into its container, where it can read them.
    #[arg(long)]
    pub pass_secrets: bool,
    /// Write events to a file as JSON lines, or to stdout for `-`.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Words to keep with the group and show on its report.
    #[arg(long)]
    pub notes: Option<String>,
    /// Write the group's plan and stop; `medalist attempt` then runs its attempts one by one, on
    /// any machine.
    #[arg(long, conflicts_with = "resume")]
    pub plan_only: bool,
    /// Show what would run, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print the plan as JSON.
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// Go on with a group that was cut short: its folder, or its name below the runs folder.
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["agent", "competitions", "suite", "lite", "all", "list", "dry_run"])]
    pub resume: Option<PathBuf>,
}

/// What each attempt may use.
#[derive(clap::Args, Debug, Clone)]
pub struct LimitArgs {
    /// Wall clock of the agent, e.g. 24h or 90min; then it gets SIGTERM.
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
    /// Time between SIGTERM and the kill.
    #[arg(long, default_value = "2min", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub grace: Duration,
    /// Processors; 4, or all there are if fewer.
    #[arg(long, value_name = "N")]
    pub cpus: Option<f64>,
    /// Memory, swap included; 32GiB, or nine tenths of the machine's if less.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Shared memory; 4GiB.
    #[arg(long, value_name = "SIZE")]
    pub shm: Option<ByteSize>,
    /// Processes and threads; 4096.
    #[arg(long, value_name = "N")]
    pub pids: Option<u64>,
    /// Bytes the agent may write; 200GiB.
    #[arg(long, default_value = "200GiB", value_name = "SIZE")]
    pub disk: ByteSize,
    /// Bytes of output that are kept.
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub log_size: ByteSize,
    /// What the agent can reach: `sealed` (nothing, the default), `open`, or hosts such as
    /// `pypi.org,*.example.org:443`.
    #[arg(long, value_name = "MODE|HOSTS")]
    pub network: Option<String>,
    /// OCI runtime other than the daemon's default, e.g. sysbox-runc or runsc.
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// MLE-bench's container_config JSON; flags given beside it win.
    #[arg(long, value_name = "FILE")]
    pub container_config: Option<PathBuf>,
}

impl LimitArgs {
    /// The container_config, empty if none is given.
    fn container_config(&self) -> Result<ContainerConfig, CliError> {
        let Some(path) = &self.container_config else { return Ok(ContainerConfig::default()) };
        ContainerConfig::read(path).map_err(|error| {
            let what = format!("cannot take `{}`", path.display());
            CliError::new(Exit::BadInput, error).context(what)
        })
    }

    /// Flags, then the container_config, then what the machine has.
    fn resolve(&self, config: &ContainerConfig) -> Limits {
        let machine_memory = machine::memory_bytes().unwrap_or(u64::MAX);
        let mut limits = Limits {
            timeout: self.timeout,
            grace: self.grace,
            cpus: f64::from(machine::cpu_count()).min(4.0),
            memory_bytes: (32u64 << 30).min(machine_memory / 10 * 9),
            disk_bytes: self.disk.0,
            log_bytes: self.log_size.0,
            ..Limits::default()
        };
        config.apply(&mut limits);
        limits.cpus = self.cpus.unwrap_or(limits.cpus);
        limits.memory_bytes = self.memory.map_or(limits.memory_bytes, |size| size.0);
        limits.shm_bytes = self.shm.map_or(limits.shm_bytes, |size| size.0);
        limits.pids = self.pids.unwrap_or(limits.pids);
        limits
    }

    fn network(&self, config: &ContainerConfig) -> Network {
        match self.network.as_deref() {
            None => config.network.clone().unwrap_or_default(),
            Some("sealed") => Network::Sealed,
            Some("open") => Network::Open,
            Some(hosts) => {
                Network::Allowlist(hosts.split(',').map(|host| host.trim().to_owned()).collect())
            }
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if let Some(group) = &args.resume {
        return resume(group, args, context);
    }
    let plan = make_plan(args, context)?;
    if args.dry_run {
        return show_plan(&plan, args, context);
    }
    check_consent(&plan)?;
    if args.plan_only {
        let (dir, plan) = create_group(plan, context)?;
        write_group(&dir, &plan, &machine::hardware(), None)?;
        context.print(format_args!("{}\n", dir.root().display()))?;
        return Ok(Exit::Success);
    }
    let runtime = start_runtime()?;
    runtime.block_on(async {
        let opened = open_executor(plan.executor).await?;
        let (dir, plan) = create_group(plan, context)?;
        launch(plan, dir, opened, args.events.as_deref(), context).await
    })
}

/// Makes the group's folder with the plan in it.
fn create_group(plan: Plan, context: &Context) -> Result<(GroupDir, Plan), CliError> {
    let (dir, name) = GroupDir::create(&context.runs_dir, &plan.group)?;
    let plan = Plan { group: name, ..plan };
    write_json(&dir.plan(), &plan)?;
    Ok((dir, plan))
}

fn resume(group: &Path, args: &Args, context: &Context) -> Result<Exit, CliError> {
    let dir = find::group(&context.runs_dir, group).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint("`--resume` takes a run group's folder, or its name below the runs folder")
    })?;
    let plan = read_plan(&dir)?;
    check_consent(&plan)?;
    start_runtime()?.block_on(async {
        let opened = open_executor(plan.executor).await?;
        launch(plan, dir, opened, args.events.as_deref(), context).await
    })
}

/// Run one attempt of a planned group in this process: for schedulers, and for several machines
/// that share the group's folder.
#[derive(clap::Args, Debug)]
pub struct AttemptArgs {
    /// The group: its folder, or its name below the runs folder.
    group: PathBuf,
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    attempt: String,
}

/// Runs `attempt`.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub fn attempt(args: &AttemptArgs, context: &Context) -> Result<Exit, CliError> {
    let found = find::attempt(&context.runs_dir, &args.attempt, Some(&args.group))
        .map_err(super::logs::find_error)?;
    let plan = read_plan(&found.group)?;
    if stop::is_stopped(&found.group) {
        let root = found.group.root().display();
        return Err(CliError::message(Exit::Interrupted, format!("`{root}` was stopped"))
            .hint(format!("`medalist run --resume {root}` goes on with it")));
    }
    check_consent(&plan)?;
    let dir = found.attempt.dir.clone();
    let plan = Plan { attempts: vec![found.attempt], ..plan };
    start_runtime()?.block_on(async {
        let opened = open_executor(plan.executor).await?;
        let stats = run_plan(plan, &found.group, Some(dir), opened, None, context).await?;
        Ok(exit_of(&stats))
    })
}

fn read_plan(dir: &GroupDir) -> Result<Plan, CliError> {
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
pub(super) fn start_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Everything fixed before anything starts.
pub(super) fn make_plan(args: &Args, context: &Context) -> Result<Plan, CliError> {
    let catalogue = context.catalogue()?;
    let chosen = args.selection.resolve(&catalogue)?;
    let name = args.agent.as_deref().unwrap_or_default();
    let agent = AgentSpec::find(name, &args.agents_dir).map_err(|error| {
        let exit = Exit::BadInput;
        match error {
            AgentError::Unknown { .. } => CliError::new(exit, error)
                .hint("an agent is a folder with agent.toml (docs/agents.md), or an id in an MLE-bench config.yaml below --agents-dir"),
            error => CliError::new(exit, error),
        }
    })?;
    let agent = match &agent.build {
        Build::Embedded { program } => {
            AgentSpec { image: embedded::image_reference(&agent.image, program), ..agent }
        }
        _ => agent,
    };
    let suite = args.selection.suite()?.map(|suite| suite.as_str().to_owned());
    let facts: Vec<CompetitionFacts> =
        chosen.iter().map(|spec| super::report::facts(spec)).collect();
    args.gpus.check(&facts, context)?;
    let created_at = Utc::now();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let config = args.limits.container_config()?;
    Ok(Plan {
        format: PLAN_FORMAT,
        group: group_name(created_at, &agent.id),
        created_at,
        suite,
        executor: args.executor,
        limits: args.limits.resolve(&config),
        network: args.limits.network(&config),
        gpus: args.gpus.gpus.clone().unwrap_or(config.gpus),
        gpu_share: args.gpus.gpu_share,
        gpu_pool: args.gpus.gpu_pool.clone(),
        gpu_access: args.gpus.gpu_access,
        mounts: args.gpus.mounts.clone(),
        parallel: args.parallel.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        retries: args.retries,
        snapshot_every: args.snapshot_every.map(SnapshotEvery),
        runtime: args.limits.runtime.clone().or(config.runtime),
        cpuset: config.cpuset,
        pass_secrets: args.pass_secrets,
        data_dir: absolute(&context.data_dir),
        catalog_dirs: context.catalog_dirs.iter().map(|dir| absolute(dir)).collect(),
        command: std::env::args().collect(),
        notes: args.notes.clone(),
        attempts: attempts(
            &agent.id,
            &facts,
            args.seeds,
            |facts| args.gpus.of(facts),
            Uuid::new_v4,
        ),
        agent,
    })
}

/// A user must agree to what weakens the seal before anything runs.
fn check_consent(plan: &Plan) -> Result<(), CliError> {
    let agent = plan.agent.id.clone();
    if plan.agent.privileged
        && !std::env::var("I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS")
            .is_ok_and(|value| ["true", "1", "t"].contains(&value.to_lowercase().as_str()))
    {
        return Err(CliError::new(Exit::Environment, AgentError::PrivilegedRefused { agent })
            .hint("set I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS=true to run it all the same, as in MLE-bench"));
    }
    let secrets = plan.agent.secrets();
    if !secrets.is_empty() && !plan.pass_secrets {
        let names: Vec<String> = secrets.into_iter().map(|(_, name)| name).collect();
        return Err(CliError::new(
            Exit::Environment,
            AgentError::SecretsRefused { agent, names: names.join(", ") },
        )
        .hint("`--pass-secrets` hands them over; results say so"));
    }
    plan.agent
        .resolve(|name| std::env::var(name).ok())
        .map(|_| ())
        .map_err(|error| CliError::new(Exit::Environment, error))
}

fn show_plan(plan: &Plan, args: &Args, context: &Context) -> Result<Exit, CliError> {
    if args.json {
        let text = serde_json::to_string_pretty(plan)?;
        context.print(format_args!("{text}\n"))?;
        return Ok(Exit::Success);
    }
    let limits = &plan.limits;
    let found = start_runtime()?.block_on(super::gpu::find(plan))?;
    let gpus = found.map(|(_, inventory)| inventory.gpus).unwrap_or_default();
    let forecast = crate::run::forecast(plan, capacity(plan), &gpus);
    let mut text = format!(
        "agent      {} ({})\ncommand    {}\nexecutor   {}\nlimits     {} + {} grace, {} cpus, {} memory, {} disk, {} pids\nnetwork    {}\ngpus       {}\nmounts     {}\nattempts   {} ({} at once)\nlongest    {}\n\n",
        plan.agent.id,
        plan.agent.image,
        plan.agent.command.join(" "),
        plan.executor,
        crate::attempt::text::seconds(limits.timeout.as_secs_f64()),
        crate::attempt::text::seconds(limits.grace.as_secs_f64()),
        limits.cpus,
        ByteSize::b(limits.memory_bytes),
        ByteSize::b(limits.disk_bytes),
        limits.pids,
        plan.network,
        super::gpu::describe(plan, &gpus),
        if plan.mounts.is_empty() {
            "none".to_owned()
        } else {
            plan.mounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        },
        plan.attempts.len(),
        forecast.at_once,
        crate::attempt::text::seconds(forecast.longest.as_secs_f64()),
    );
    for attempt in &plan.attempts {
        let gpus = attempt.gpus.as_ref().map_or(String::new(), |gpus| format!("  gpus {gpus}"));
        text.push_str(&format!("{}{gpus}\n", attempt.key));
    }
    context.print(text)?;
    Ok(Exit::Success)
}

/// What the machine has for this plan.
pub(super) fn capacity(plan: &Plan) -> Capacity {
    Capacity {
        cpus: f64::from(machine::cpu_count()),
        memory_bytes: machine::memory_bytes().unwrap_or(u64::MAX),
        attempts: plan.parallel.unwrap_or(usize::MAX),
    }
}

/// An executor that answers.
pub(super) struct Opened {
    executor: Arc<dyn Executor>,
    info: ExecutorInfo,
    /// The engine behind it, to build images with.
    engine: Option<Engine>,
}

/// The executor of a plan, checked.
pub(super) async fn open_executor(kind: ExecutorKind) -> Result<Opened, CliError> {
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
pub(super) fn executor_error(error: ExecutorError) -> CliError {
    let hint = error.hint();
    let exit = match &error {
        ExecutorError::HostFull { .. } => Exit::DiskFull,
        _ => Exit::Environment,
    };
    let error = CliError::new(exit, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Runs a plan whose folder exists, to its end.
async fn launch(
    plan: Plan,
    dir: GroupDir,
    opened: Opened,
    events: Option<&Path>,
    context: &Context,
) -> Result<Exit, CliError> {
    let stats = run_plan(plan, &dir, None, opened, events, context).await?;
    context.say(format_args!("report: medalist report {}", dir.root().display()));
    Ok(exit_of(&stats))
}

/// Runs the attempts of a plan that are not over yet: all of the group, or the one in the folder
/// `only`.
pub(super) async fn run_plan(
    plan: Plan,
    dir: &GroupDir,
    only: Option<String>,
    opened: Opened,
    events: Option<&Path>,
    context: &Context,
) -> Result<RunStats, CliError> {
    let locked = only.as_ref().map_or_else(|| dir.lock(), |attempt| dir.lock_attempt(attempt));
    let lock = locked.map_err(|error| {
        CliError::new(Exit::BadInput, error).hint("wait for it, or stop it with `medalist stop`")
    })?;
    let judge = CatalogueJudge::new(plan.data_dir.clone(), &plan.catalog_dirs)?;
    for attempt in &plan.attempts {
        judge.material(&attempt.key.competition).map_err(|error| {
            CliError::new(Exit::BadInput, error)
                .hint(format!("prepare it first: medalist prepare -c {}", attempt.key.competition))
        })?;
    }
    let Opened { executor, info, engine } = opened;
    // The program outlives the run: it is deleted when this function returns.
    let mut local_program = None;
    let image = &plan.agent.image;
    match (&plan.agent.build, &engine) {
        (Build::Embedded { program }, None) => {
            local_program = Some(embedded::write_program(program)?)
        }
        (Build::Embedded { program }, Some(engine)) => {
            embedded::ensure_program_image(engine, image, program).await.map_err(executor_error)?;
        }
        (Build::Dockerfile { dir, dockerfile }, Some(engine)) => {
            let mut on_line = |line: &str| context.say(format_args!("  {line}"));
            embedded::ensure_built_image(engine, image, dir, dockerfile, &mut on_line)
                .await
                .map_err(executor_error)?;
        }
        (Build::Dockerfile { .. }, None) | (Build::Image, _) => {}
    }
    let mut hardware = machine::hardware();
    let gpus = super::gpu::open(&plan, dir, &*executor, &info, &mut hardware, context).await?;
    let run = Run {
        capacity: capacity(&plan),
        hardware,
        gpus,
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
    let signals = tokio::spawn(watch_signals(sender.clone()));
    let requests = tokio::spawn(stop::watch(dir.clone(), only, sender));
    let result = run_group(Arc::new(run), &lock, &mut sinks, &mut cancels).await;
    signals.abort();
    requests.abort();
    result.map_err(|error| {
        let full = matches!(&error, RunError::Store(store) if store.is_disk_full());
        let exit = match &error {
            RunError::Store(_) if full => Exit::DiskFull,
            RunError::Store(_) => Exit::Failure,
            RunError::Executor(_) | RunError::EngineAway { .. } => Exit::Environment,
        };
        CliError::new(exit, error).hint(format!(
            "what was finished is safe; go on with: medalist run --resume {}",
            dir.root().display()
        ))
    })
}

pub(super) fn exit_of(stats: &RunStats) -> Exit {
    if stats.finished < stats.planned || stats.cancelled > 0 {
        Exit::Interrupted
    } else if stats.infrastructure > 0 {
        Exit::Partial
    } else {
        Exit::Success
    }
}

/// First signal: agents get their grace. Second: they are killed. Third: this process ends at once;
/// containers stay for `--resume` or `clean`.
async fn watch_signals(cancels: mpsc::Sender<StopRequest>) {
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
    eprintln!(
        "error: stopped at once; containers may still run: go on with `medalist run --resume`, or remove them with `medalist clean`"
    );
    std::process::exit(i32::from(Exit::Interrupted as u8));
}
