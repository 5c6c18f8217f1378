//! `medalist run` and `medalist attempt`: run a new group, one that was cut short, or one attempt.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use tokio::runtime::Runtime;

use super::selection::SelectionArgs;
use super::suites::limits;
use crate::app::agents::{EarlyEnd, Models, early_ends};
use crate::app::apart::{keep_output, run_one_attempt, run_ordered};
use crate::app::cluster::{self, Followed, Following};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::gpu::{self, GpuOptions, GpusFor};
use crate::app::groups::read_plan;
use crate::app::llm::LlmRequest;
use crate::app::plan::{LimitsRequest, Pace, RunRequest, describe_plan, make_plan};
use crate::app::preflight;
use crate::app::run::{
    ResumeRequest, exit_of, plan_group, resume_group, run_new_group, start_runtime, to_resume,
};
use crate::app::suites::{self, ChosenSuite};
use crate::attempt::launch::DataMode;
use crate::attempt::limits::{GpuRequest, Network, uuid};
use crate::attempt::plan::{
    AccessKind, BriefKind, ExecutorKind, MountSpec, Plan, Remote, SchedulerKind, SchedulerWishes,
    Template,
};
use crate::attempt::text::{seconds, shell_word};
use crate::host::store::GroupDir;
use crate::run::RunSummary;

/// Run an agent on competitions, each attempt in its own sealed container, and grade what it
/// submits.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// A built-in agent (`medalist agents list`), a folder with agent.toml, or an id of an MLE-bench
    /// config.yaml.
    #[arg(long, value_name = "NAME|DIR")]
    pub agent: Option<String>,
    /// The language model that the agent is to use, by the provider's name for it; recorded as the
    /// agent's backbone.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Another model for one of the agent's roles: `--role coder=NAME`; `medalist agents show` lists
    /// them.
    #[arg(long = "role", value_name = "ROLE=NAME", value_parser = role)]
    pub roles: Vec<(String, String)>,
    /// A profile of the settings files: `[profile.nightly]` in medalist.toml.
    #[arg(long, env = "MEDALIST_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// Directory of agents.
    #[arg(long, default_value = "agents", env = "MEDALIST_AGENTS_DIR", value_name = "DIR")]
    pub agents_dir: PathBuf,
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Number of seeds per competition: 0 to N-1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// Executor: docker is sealed, process is not.
    #[arg(long, value_enum, default_value_t = ExecutorKind::Docker, env = "MEDALIST_EXECUTOR")]
    pub executor: ExecutorKind,
    /// Where attempts run: on this machine, or as jobs of a batch scheduler, one each (docs/cluster.md).
    #[arg(long, value_enum, env = "MEDALIST_ON", value_name = "WHERE")]
    pub on: Option<On>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub gpus: GpuArgs,
    /// Attempts at the same time; by default as many as processors, memory and GPUs allow.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub parallel: Option<u64>,
    /// Tries again after a failure of this machine (never after one of the agent); 2 if not given.
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Stop the run when an attempt fails: its machine failed for good, or it left no valid
    /// submission. `--resume` goes on.
    #[arg(long)]
    pub fail_fast: bool,
    /// How the data get into containers; MLE-bench's agents with OBFUSCATE need `copy`.
    #[arg(long, value_enum, default_value_t = DataMode::ReadOnly)]
    pub data: DataMode,
    /// Whether the brief says where a competition comes from (docs/briefs.md).
    #[arg(long, value_enum, default_value_t = BriefKind::Plain)]
    pub brief: BriefKind,
    /// Interval at which a copy of the submission is kept and graded, and one of the code beside it,
    /// e.g. 30min.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub snapshot_every: Option<Duration>,
    /// Pass the secrets that the agent's `env` names into its container, where it can read them.
    #[arg(long)]
    pub pass_secrets: bool,
    /// Language models that agents may call without a network, and what they may cost: an `llm.toml`
    /// (docs/llm.md). Keys stay with the harness.
    #[arg(long, value_name = "FILE")]
    pub llm: Option<PathBuf>,
    /// Answer calls of language models from the recordings of an earlier run group, without any
    /// provider; its settings are taken unless `--llm` gives others.
    #[arg(long, value_name = "GROUP")]
    pub llm_replay: Option<PathBuf>,
    /// Write events as JSON lines to a file, or to stdout with `-`.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// A note that is kept with the run group and shown in its report.
    #[arg(long)]
    pub notes: Option<String>,
    /// Write the run group's plan and exit; `medalist attempt` then runs its attempts one by one,
    /// on any machine.
    #[arg(long, conflicts_with = "resume")]
    pub plan_only: bool,
    /// Show what would run, and whether it can run here, and exit.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run, print the plan as JSON.
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// Resume a run group that was cut short, named by its folder or by its name in the runs
    /// directory.
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["agent", "competitions", "suite", "lite", "all", "list", "dry_run"])]
    pub resume: Option<PathBuf>,
}

/// Where attempts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    /// On this machine.
    Local,
    /// As jobs of a Slurm cluster.
    Slurm,
    /// As pods of a Kubernetes cluster.
    Kubernetes,
    /// As jobs of another scheduler, by the commands that `--commands` names.
    Command,
}

impl On {
    /// The scheduler; `None` for this machine.
    pub(super) fn kind(self) -> Option<SchedulerKind> {
        match self {
            Self::Local => None,
            Self::Slurm => Some(SchedulerKind::Slurm),
            Self::Kubernetes => Some(SchedulerKind::Kubernetes),
            Self::Command => Some(SchedulerKind::Command),
        }
    }
}

/// How attempts are handed to a batch scheduler.
#[derive(clap::Args, Debug, Clone)]
pub struct ClusterArgs {
    /// Return once all attempts are handed over; without it they are followed, and Ctrl-C ends only
    /// that.
    #[arg(long)]
    pub detach: bool,
    /// Time between two questions to the scheduler.
    #[arg(long, default_value = "1min", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub poll: Duration,
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
}

impl ClusterArgs {
    fn following(&self) -> Following {
        Following { detach: self.detach, every: self.poll.max(Duration::from_secs(1)) }
    }
}

/// What a scheduler is told of every job.
#[derive(clap::Args, Debug, Clone)]
pub struct SchedulerArgs {
    /// Partition or queue of the cluster; its default otherwise.
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Account that pays for the jobs.
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Quality of service of the jobs.
    #[arg(long, value_name = "NAME")]
    pub qos: Option<String>,
    /// An argument of sbatch, such as `--slurm-arg=--constraint=a100`; it goes before one of ours that
    /// says the same.
    #[arg(long = "slurm-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub slurm_args: Vec<String>,
    /// An argument of sbatch that is left out, such as `mem` where the cluster gives whole nodes.
    #[arg(long = "slurm-without", value_name = "NAME")]
    pub slurm_without: Vec<String>,
    /// The manifest, in YAML, of a pod that those of Kubernetes are made like: image, volumes, tolerations.
    #[arg(long, value_name = "FILE")]
    pub pod: Option<PathBuf>,
    /// Context of the kubeconfig; its current one otherwise.
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// The commands of another scheduler, in TOML (`--on command`); examples/schedulers has some.
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
}

impl SchedulerArgs {
    /// What a plan says of its scheduler; `None` for this machine.
    ///
    /// # Errors
    /// A file that it names cannot be read or is wrong.
    pub(super) fn remote(&self, on: Option<On>) -> Result<Option<Remote>, CliError> {
        let Some(kind) = on.and_then(On::kind) else { return Ok(None) };
        let file = match kind {
            SchedulerKind::Slurm => None,
            SchedulerKind::Kubernetes => self.pod.as_ref(),
            SchedulerKind::Command => self.commands.as_ref(),
        };
        if kind == SchedulerKind::Command && file.is_none() {
            return Err(CliError::message(
                Exit::Usage,
                "`--on command` needs to know the commands",
            )
            .hint("`--commands FILE` names them; examples/schedulers has some"));
        }
        let template = file.map(|file| -> Result<Template, CliError> {
            let text = fs_err::read_to_string(file)
                .map_err(|error| CliError::message(Exit::BadInput, error))?;
            Ok(Template { file: file.clone(), text })
        });
        let wishes = SchedulerWishes {
            partition: self.partition.clone(),
            account: self.account.clone(),
            qos: self.qos.clone(),
            arguments: self.slurm_args.clone(),
            without: self.slurm_without.clone(),
            cluster: self.kube_context.clone(),
            template: template.transpose()?,
        };
        cluster::new_remote(kind, wishes).map(Some)
    }
}

/// Limits of each attempt.
#[derive(clap::Args, Debug, Clone)]
pub struct LimitArgs {
    /// Time limit of the agent, e.g. 24h or 90min; then it gets SIGTERM.
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
    /// Grace period between SIGTERM and the kill.
    #[arg(long, default_value = "2min", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub grace: Duration,
    /// Processors; default 4, or all if there are fewer.
    #[arg(long, value_name = "N")]
    pub cpus: Option<f64>,
    /// Memory including swap; default 32GiB, or nine tenths of the machine's if that is less.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Shared memory; default 4GiB.
    #[arg(long, value_name = "SIZE")]
    pub shm: Option<ByteSize>,
    /// Processes and threads; default 4096.
    #[arg(long, value_name = "N")]
    pub pids: Option<u64>,
    /// Disk space the agent may use.
    #[arg(long, default_value = "200GiB", value_name = "SIZE")]
    pub disk: ByteSize,
    /// Size of the output that is kept.
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub log_size: ByteSize,
    /// What the agent can reach: `sealed` (nothing, the default), `open`, or hosts such as
    /// `example.org,*.example.org:443`.
    #[arg(long, value_name = "MODE|HOSTS")]
    pub network: Option<String>,
    /// OCI runtime instead of the engine's default, e.g. sysbox-runc or runsc.
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// MLE-bench's container_config JSON; flags override it.
    #[arg(long, value_name = "FILE")]
    pub container_config: Option<PathBuf>,
}

/// GPUs and files of the machine that attempts get.
#[derive(clap::Args, Debug, Clone)]
pub struct GpuArgs {
    /// GPUs of each attempt: a number of whole GPUs (or one MIG slice), `all`, a list of UUIDs, or
    /// `none` (the default).
    #[arg(long, value_name = "N|all|UUID,...|none")]
    pub gpus: Option<GpuRequest>,
    /// A different number for one competition, or for one complexity: `--gpus-for high=2`.
    #[arg(long, value_name = "ID|COMPLEXITY=N")]
    pub gpus_for: Vec<GpusFor>,
    /// Number of attempts that share one GPU.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gpu_share: u32,
    /// GPUs that this run may use, by UUID; all by default.
    #[arg(long, value_name = "UUID,...", value_delimiter = ',', value_parser = uuid)]
    pub gpu_pool: Vec<String>,
    /// How GPUs get into containers; the first way that works by default.
    #[arg(long, value_enum, value_name = "WAY")]
    pub gpu_access: Option<AccessKind>,
    /// A directory or file of this machine that is mounted read-only, e.g. model weights; recorded
    /// in the results.
    #[arg(long = "mount", value_name = "SOURCE[:TARGET]")]
    pub mounts: Vec<MountSpec>,
}

impl Args {
    /// The plan that these flags ask for.
    ///
    /// # Errors
    /// As [`make_plan`], and for a selection that names nothing or nonsense.
    pub(super) fn plan(&self, context: &Context) -> Result<Plan, CliError> {
        self.plan_of(0..self.seeds, context)
    }

    /// [`Args::plan`] with other seeds than those of the flags.
    pub(super) fn plan_of(&self, seeds: Range<u32>, context: &Context) -> Result<Plan, CliError> {
        let catalogue = context.catalogue()?;
        let selection = self.selection.selection();
        let suite = selection.suite()?;
        if let Some(ChosenSuite::File(file)) = &suite {
            let found = suites::differences(file, &catalogue, Some(&context.data_dir))?;
            suites::refuse(file, &found)?;
        }
        let departures = match &suite {
            Some(suite) => limits::departures(self, suite)?,
            None => Vec::new(),
        };
        for departure in &departures {
            context.warn(format_args!("the suite's limits are not kept: {departure}"));
        }
        let Some(agent) = &self.agent else {
            return Err(CliError::message(Exit::Usage, "no agent is named").hint(
                "give `--agent`, or set `agent` below `[run]` in medalist.toml; `--resume` needs none",
            ));
        };
        let request = RunRequest {
            agent,
            models: Models {
                model: self.model.clone(),
                roles: self.roles.iter().cloned().collect(),
            },
            agents_dir: &self.agents_dir,
            competitions: selection.resolve(&catalogue)?,
            suite,
            departures,
            seeds,
            executor: self.executor,
            on: self.cluster.scheduler.remote(self.on)?,
            limits: self.limits.request()?,
            gpus: self.gpus.options(),
            data: self.data,
            brief: self.brief,
            snapshot_every: self.snapshot_every,
            pass_secrets: self.pass_secrets,
            notes: self.notes.clone(),
            llm: LlmRequest { file: self.llm.as_deref(), replay: self.llm_replay.as_deref() },
            pace: self.pace(),
        };
        make_plan(&request, context)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            parallel: self.parallel.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
            retries: self.retries,
            fail_fast: self.fail_fast,
        }
    }
}

impl LimitArgs {
    fn request(&self) -> Result<LimitsRequest, CliError> {
        let network = self.network.as_deref().map(str::parse::<Network>).transpose();
        Ok(LimitsRequest {
            timeout: self.timeout,
            grace: self.grace,
            cpus: self.cpus,
            memory_bytes: self.memory.map(|size| size.0),
            shm_bytes: self.shm.map(|size| size.0),
            pids: self.pids,
            disk_bytes: self.disk.0,
            log_bytes: self.log_size.0,
            network: network.map_err(|error| CliError::new(Exit::BadInput, error))?,
            runtime: self.runtime.clone(),
            container_config: self.container_config.clone(),
        })
    }
}

impl GpuArgs {
    fn options(&self) -> GpuOptions {
        GpuOptions {
            gpus: self.gpus.clone(),
            gpus_for: self.gpus_for.clone(),
            gpu_share: self.gpu_share,
            gpu_pool: self.gpu_pool.clone(),
            gpu_access: self.gpu_access,
            mounts: self.mounts.clone(),
        }
    }
}

/// A role and its model.
fn role(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').filter(|(role, model)| !role.is_empty() && !model.is_empty());
    let named = named.map(|(role, model)| (role.to_owned(), model.to_owned()));
    named.ok_or_else(|| "expected ROLE=NAME, such as `coder=gpt-5`".to_owned())
}

/// How many agents that ended at once are told of.
const EARLY_ENDS: usize = 4;

/// Flags of `run` that a resumed group takes; all others are the plan's.
const BESIDE_RESUME: [&str; 18] = [
    "--resume",
    "--on",
    "--detach",
    "--poll",
    "--parallel",
    "--retries",
    "--fail-fast",
    "--events",
    "--grading-memory",
    "--grading-time",
    "--runs-dir",
    "--data-dir",
    "--catalog",
    "--config",
    "--no-config",
    "--quiet",
    "--verbose",
    "--no-progress",
];

/// Runs the subcommand; `given` are the flags on the command line.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub fn run(args: &Args, given: &[String], context: &Context) -> Result<Exit, CliError> {
    let runtime = start_runtime()?;
    if let Some(group) = &args.resume {
        return resume(group, args, given, &runtime, context);
    }
    let plan = args.plan(context)?;
    if args.dry_run {
        return show(&plan, args.json, &runtime, context);
    }
    if args.plan_only {
        let dir = plan_group(plan, context)?;
        context.print(format_args!("{}\n", dir.root().display()))?;
        return Ok(Exit::Success);
    }
    if plan.on.is_some() {
        no_events(args)?;
        let following = args.cluster.following();
        let followed = cluster::run_new_group(plan, following, context);
        let (dir, followed) = runtime.block_on(followed)?;
        return Ok(how_it_was_followed(&dir, &followed, context));
    }
    let (dir, summary) = runtime.block_on(run_new_group(plan, args.events.as_deref(), context))?;
    Ok(how_it_ended(&dir, &summary, context))
}

/// Makes the attempts of a group that are not made yet.
fn resume(
    group: &Path,
    args: &Args,
    given: &[String],
    runtime: &Runtime,
    context: &Context,
) -> Result<Exit, CliError> {
    if let Some(flag) = given.iter().find(|flag| !BESIDE_RESUME.contains(&flag.as_str())) {
        return Err(CliError::message(
            Exit::Usage,
            format!("`{flag}` cannot be given beside `--resume`: it is fixed by the group's plan"),
        )
        .hint("`--parallel`, `--retries`, `--fail-fast`, `--events` and the limits of grading can; start a new group to change anything else"));
    }
    let is_given = |flag: &str| given.iter().any(|given| given == flag);
    let request = ResumeRequest {
        group,
        pace: args.pace(),
        data_dir: is_given("--data-dir").then_some(context.data_dir.as_path()),
        catalog_dirs: is_given("--catalog").then_some(context.catalog_dirs.as_slice()),
    };
    let (dir, plan) = to_resume(&request, context)?;
    if is_for_nodes(args.on.filter(|_| is_given("--on")), plan.on.as_ref())? {
        no_events(args)?;
        let following = args.cluster.following();
        let followed = cluster::resume_group(&dir, plan, following, context);
        let followed = runtime.block_on(followed)?;
        return Ok(how_it_was_followed(&dir, &followed, context));
    }
    let (dir, summary) =
        runtime.block_on(resume_group(&request, args.events.as_deref(), context))?;
    Ok(how_it_ended(&dir, &summary, context))
}

/// Whether what is left of a group goes to a scheduler's nodes, by what is asked for and what was planned.
fn is_for_nodes(asked: Option<On>, planned: Option<&Remote>) -> Result<bool, CliError> {
    match (asked, planned) {
        (Some(On::Local), _) | (None, None) => Ok(false),
        (None, Some(_)) => Ok(true),
        (Some(on), Some(remote)) if on.kind() == Some(remote.scheduler) => Ok(true),
        (Some(_), Some(_)) => {
            Err(CliError::message(Exit::Usage, "this group was planned for another scheduler")
                .hint("leave `--on` out; `--on local` makes the rest on this machine"))
        }
        (Some(_), None) => Err(CliError::message(
            Exit::Usage,
            "this group was planned for one machine: its plan names no scheduler",
        )
        .hint("leave `--on` out, or start a new group with it")),
    }
}

/// Shows a plan, and what is in its way here.
fn show(plan: &Plan, json: bool, runtime: &Runtime, context: &Context) -> Result<Exit, CliError> {
    // What GPUs this machine has is no matter of a plan for nodes.
    let found = plan.on.is_none().then(|| runtime.block_on(gpu::find(plan)));
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(plan)?)
    } else {
        let gpus = found.as_ref().and_then(|found| found.as_ref().ok()?.as_ref());
        describe_plan(plan, gpus.map_or(&[][..], |(_, inventory)| &inventory.gpus))
    };
    // Shown also where it cannot run: what is asked for explains what is in the way.
    context.print(text)?;
    match found {
        Some(found) => runtime.block_on(preflight::check_with(plan, found, context)).map(drop)?,
        None => cluster::check(plan, context)?,
    }
    Ok(Exit::Success)
}

/// Events of attempts on nodes are in their folders, and nobody here makes any.
fn no_events(args: &Args) -> Result<(), CliError> {
    match args.events {
        None => Ok(()),
        Some(_) => Err(CliError::message(Exit::Usage, "`--events` cannot be given beside `--on`")
            .hint("`medalist replay --json GROUP` prints the events of all nodes, merged")),
    }
}

/// The exit code of a group that a scheduler has, after the lines with which a person goes on.
fn how_it_was_followed(dir: &GroupDir, followed: &Followed, context: &Context) -> Exit {
    match followed {
        Followed::Over(summary) => how_it_ended(dir, summary, context),
        Followed::Detached => {
            let group = shell_word(&dir.root().to_string_lossy());
            context.say(format_args!("follow: medalist run --resume {group}"));
            context.say(format_args!("status: medalist status {group}"));
            context.say(format_args!("stop:   medalist stop --all --group {group}"));
            Exit::Success
        }
    }
}

/// The exit code, after the lines with which a person goes on.
fn how_it_ended(dir: &GroupDir, summary: &RunSummary, context: &Context) -> Exit {
    let (exit, group) = (exit_of(summary), shell_word(&dir.root().to_string_lossy()));
    let ended = read_plan(dir).map(|plan| early_ends(dir, &plan)).unwrap_or_default();
    for end in ended.iter().take(EARLY_ENDS) {
        context.warn(early_end(end));
    }
    if let Some(more) = ended.len().checked_sub(EARLY_ENDS).filter(|more| *more > 0) {
        context.warn(format_args!("{more} more agents ended as soon"));
    }
    if exit != Exit::Success {
        context.say(format_args!("resume: medalist run --resume {group}"));
    }
    context.say(format_args!("report: medalist report {group}"));
    exit
}

/// What is said of an agent that ended at once.
fn early_end(end: &EarlyEnd) -> String {
    let mut text = format!(
        "the agent of `{}` ended after {} with {} and left no submission; it said last:",
        end.key,
        seconds(end.took_s),
        end.how
    );
    for line in &end.last_lines {
        text.push_str(&format!("\n    {line}"));
    }
    if end.last_lines.is_empty() {
        text.push_str("\n    (nothing)");
    }
    if end.wants_terminal {
        text.push_str("\nhint: it wants a terminal: `tty = true` in its agent.toml gives it one");
    }
    text
}

/// Run one attempt of a planned run group in this process, for batch schedulers and for several
/// machines that share the group's folder.
#[derive(clap::Args, Debug)]
pub struct AttemptArgs {
    /// The group: its folder, or its name below the runs folder.
    #[arg(required_unless_present = "job")]
    group: Option<PathBuf>,
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    #[arg(required_unless_present = "job")]
    attempt: Option<String>,
    /// The order of `medalist run --on` that the job is part of which this process is in; the job's index
    /// says which attempt.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["group", "attempt"])]
    job: Option<PathBuf>,
}

/// Runs `attempt`.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub fn attempt(args: &AttemptArgs, context: &Context) -> Result<Exit, CliError> {
    keep_output()?;
    let runtime = start_runtime()?;
    let summary = match (&args.job, &args.group, &args.attempt) {
        (Some(job), ..) => runtime.block_on(run_ordered(job, context))?,
        (None, Some(group), Some(attempt)) => {
            runtime.block_on(run_one_attempt(group, attempt, context))?
        }
        _ => return Err(CliError::message(Exit::Usage, "no attempt is named")),
    };
    Ok(exit_of(&summary))
}
