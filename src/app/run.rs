//! Runs plans: opens what one needs, runs a group or one attempt of it, and takes up a group that
//! was cut short.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::agents;
use super::apart::elsewhere;
use super::cluster;
use super::context::{Context, tell};
use super::error::{CliError, Exit};
use super::gpu;
use super::groups::read_plan;
use super::plan::{Pace, capacity};
use super::preflight::{self, Ready};
use crate::attempt::agents::Build;
use crate::attempt::job::Allocation;
use crate::attempt::launch::ExecutorError;
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::{ExecutorKind, Plan};
use crate::host::files::{StoreError, write_json};
use crate::host::machine;
use crate::host::store::tries::Claim;
use crate::host::store::{GroupDir, GroupLock, find};
use crate::run::events::EventSink;
use crate::run::sinks::{JsonLines, Lines, Progress, TryEvents};
use crate::run::{
    Apart, Run, RunError, RunSummary, StopRequest, run as run_group, stop, write_group,
};
use crate::sandbox::docker::DockerExecutor;
use crate::sandbox::embedded;
use crate::sandbox::engine::Engine;
use crate::sandbox::namespaces::{EMBEDDED, NamespacesExecutor};
use crate::sandbox::podman::PodmanService;
use crate::sandbox::process::ProcessExecutor;
use crate::sandbox::{Executor, ExecutorInfo, Orphan};

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
    let how = How::whole_group(&dir, events)?;
    let summary = run_plan(plan, &dir, how, ready, context).await?;
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

/// The group that is to be resumed and its plan at the new pace.
///
/// # Errors
/// There is no such group, or something is named that its plan has fixed.
pub fn to_resume(
    request: &ResumeRequest<'_>,
    context: &Context,
) -> Result<(GroupDir, Plan), CliError> {
    let dir = find::group(&context.runs_dir, request.group).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint("`--resume` takes a run group's folder, or its name below the runs folder")
    })?;
    let plan = read_plan(&dir)?;
    request.check(&plan)?;
    let plan = request.pace.apply(plan);
    Ok((dir, plan))
}

/// Goes on, on this machine, with a group that was cut short.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub async fn resume_group(
    request: &ResumeRequest<'_>,
    events: Option<&Path>,
    context: &Context,
) -> Result<(GroupDir, RunSummary), CliError> {
    let (dir, plan) = to_resume(request, context)?;
    if let Some(remote) = &plan.on {
        cluster::must_be_over(&dir, remote)?;
    }
    let plan = Plan { on: None, ..plan };
    let ready = preflight::check(&plan, context).await?;
    let how = How::whole_group(&dir, events)?;
    let summary = run_plan(plan, &dir, how, ready, context).await?;
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
    if plan.on.is_some() {
        let what = "groups of an experiment run on this machine, and `on` names a scheduler";
        return Err(CliError::message(Exit::Usage, what)
            .hint("`on = \"local\"` below `[run]`, or `MEDALIST_ON=local`, says so"));
    }
    // Who runs several groups has heard the warnings when all of them were checked.
    let ready = preflight::check(&plan, &Context { quiet: 2, ..context.clone() }).await?;
    if !is_begun {
        std::fs::create_dir_all(dir.root()).map_err(StoreError::io("create", dir.root()))?;
        write_json(&dir.plan(), &plan)?;
    }
    let how = How::whole_group(dir, None)?;
    run_plan(plan, dir, how, ready, context).await
}

/// Makes the group's folder with the plan in it.
pub(super) fn create_group(plan: Plan, context: &Context) -> Result<(GroupDir, Plan), CliError> {
    let (dir, name) = GroupDir::create(&context.runs_dir, &plan.group)?;
    let plan = Plan { group: name, ..plan };
    write_json(&dir.plan(), &plan)?;
    Ok((dir, plan))
}

/// The runtime of every command that waits.
///
/// # Errors
/// The system has no threads left.
pub fn start_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// An executor that answers.
pub struct Opened {
    executor: Arc<dyn Executor>,
    /// What it is and has.
    pub(super) info: ExecutorInfo,
    /// The engine behind it, to build images with.
    engine: Option<Engine>,
    /// The engine's own service, where the run starts it.
    service: Option<PodmanService>,
}

impl Opened {
    /// What of ours is there with these labels.
    pub(super) async fn list_orphans(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<Orphan>, CliError> {
        self.executor.list_orphans(labels).await.map_err(executor_error)
    }
}

/// The executor of a plan, checked. An engine that the run starts for itself keeps what it holds in
/// a place named by `group`, where a resumed run finds it again.
pub async fn open_executor(kind: ExecutorKind, group: &str) -> Result<Opened, CliError> {
    let mut service = None;
    let (executor, engine): (Arc<dyn Executor>, _) = match kind {
        ExecutorKind::Docker => {
            let docker = DockerExecutor::connect().await.map_err(executor_error)?;
            let engine = docker.engine().clone();
            (Arc::new(docker), Some(engine))
        }
        ExecutorKind::Podman => {
            let started = PodmanService::start(group).await.map_err(executor_error)?;
            let engine = started.engine().clone();
            service = Some(started);
            (Arc::new(DockerExecutor::new(engine.clone())), Some(engine))
        }
        ExecutorKind::Namespaces => {
            (Arc::new(NamespacesExecutor::new().map_err(executor_error)?), None)
        }
        ExecutorKind::Process => (Arc::new(ProcessExecutor::new()), None),
    };
    let info = executor.check().await.map_err(executor_error)?;
    let info = ExecutorInfo { name: kind.to_string(), ..info };
    Ok(Opened { executor, info, engine, service })
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

/// How a plan is run: all of it, or one attempt of it beside other processes.
pub(super) struct How<'a> {
    /// The folder of the only attempt.
    pub(super) only: Option<String>,
    /// This process among those that make tries.
    pub(super) apart: Apart,
    /// What it holds against others; `None` where there are no locks.
    pub(super) lock: Option<GroupLock>,
    /// Where else events go.
    pub(super) events: Option<&'a Path>,
}

impl<'a> How<'a> {
    /// All of a group, which this process takes for itself.
    pub(super) fn whole_group(dir: &GroupDir, events: Option<&'a Path>) -> Result<Self, CliError> {
        let lock = dir.lock().map_err(|error| {
            CliError::new(Exit::BadInput, error)
                .hint("wait for it, or stop it with `medalist stop`")
        })?;
        let us = Claim::of_this_process(Allocation::current().map(|allocation| allocation.job));
        let apart = Apart { us, first: None, others_are_gone: true, job: None };
        Ok(Self { only: None, apart, lock: Some(lock), events })
    }
}

/// Runs the attempts of a plan that are not over yet.
pub(super) async fn run_plan(
    plan: Plan,
    dir: &GroupDir,
    how: How<'_>,
    ready: Ready,
    context: &Context,
) -> Result<RunSummary, CliError> {
    let How { only, apart, lock, events } = how;
    let Ready { opened: Opened { executor, info, engine, service }, judge, gpus, llm } = ready;
    // The program outlives the run: it is deleted when this function returns.
    let mut local_program = None;
    let mut plan = plan;
    match (&plan.agent.build, &engine) {
        (Build::Embedded { program, .. }, None) if plan.executor.has_containers() => {
            plan.agent.image = format!("{EMBEDDED}{program}");
        }
        (Build::Embedded { program, .. }, None) => {
            local_program = Some(embedded::write_program(program)?)
        }
        (_, Some(engine)) => {
            plan.agent.image = agents::ensure_image(&plan.agent, engine, context).await?;
        }
        (Build::Dockerfile { .. } | Build::Image, None) => {}
    }
    if let Some(engine) = &engine {
        let own: Vec<String> = plan.attempts.iter().map(|attempt| attempt.dir.clone()).collect();
        let docker = DockerExecutor::new(engine.clone());
        for name in docker.remove_of_dead_jobs(&own).await.map_err(executor_error)? {
            context
                .warn(format_args!("removed `{name}`, which a job that is over has left running"));
        }
    }
    if let Some(llm) = &llm {
        super::llm::find_service(llm, dir, context).await;
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
        apart: Some(apart.clone()),
        executor,
        info,
        judge: Arc::new(judge),
    };
    let own: Box<dyn EventSink> = match (&only, apart.first) {
        (Some(attempt), Some(first)) => {
            Box::new(TryEvents::open(dir.attempt(attempt), first.number(), dir.plan())?)
        }
        _ => Box::new(JsonLines::chained(&run.events(), &dir.plan())?),
    };
    let mut sinks = vec![own];
    if let Some(path) = events {
        sinks.push(Box::new(JsonLines::open(path)?));
    }
    if context.progress {
        sinks.push(Box::new(Progress::new()));
    } else if context.quiet == 0 {
        sinks.push(Box::new(Lines::new(std::io::stderr())));
    }
    let (sender, mut cancels) = mpsc::channel(4);
    if let Some(attempt) = &only {
        // What was asked before it began.
        for request in stop::take_one(dir, attempt) {
            // A fresh channel has room.
            let _ = sender.try_send(request);
        }
    }
    let signals = match (&only, apart.job) {
        (Some(attempt), Some(_)) => {
            tokio::spawn(watch_job(dir.clone(), attempt.clone(), sender.clone()))
        }
        _ => tokio::spawn(watch_signals(dir.root().to_owned(), sender.clone())),
    };
    let requests = tokio::spawn(stop::watch(dir.clone(), only, sender));
    let result = run_group(Arc::new(run), lock.as_ref(), &mut sinks, &mut cancels).await;
    signals.abort();
    requests.abort();
    // Ended last, and its containers with it if none is left.
    drop(service);
    result.map_err(|error| {
        if let RunError::Elsewhere { attempt, who } = &error {
            return elsewhere(attempt, who);
        }
        let full = matches!(&error, RunError::Store(store) if store.is_disk_full());
        let exit = match &error {
            RunError::Store(_) if full => Exit::DiskFull,
            RunError::Store(_) => Exit::Failure,
            RunError::Executor(_) | RunError::EngineAway { .. } | RunError::LlmRefused { .. } => {
                Exit::Environment
            }
            RunError::Elsewhere { .. } => Exit::Elsewhere,
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

/// The scheduler says by SIGTERM that the job ends, as often as it likes; somebody at a keyboard may
/// say so too.
async fn watch_job(group: GroupDir, attempt: String, cancels: mpsc::Sender<StopRequest>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be watched; the end of the job ends the harness at once");
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // A person's wish, which the scheduler only helps to come true.
        for request in stop::take_one(&group, &attempt) {
            if cancels.send(request).await.is_err() {
                return;
            }
        }
        if cancels.send(StopRequest::Group(CancelReason::JobEnds)).await.is_err() {
            return;
        }
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
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
