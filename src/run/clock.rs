//! One attempt from its image to its removal: the only place that owns an attempt's clock.
//!
//! ```text
//!  image ──► start ──► running ──soft deadline or stop──► grace ──its end──► killed
//!              │          │ ended by itself, limit hit      │ ended            │
//!              ▼          ▼                                 ▼                  ▼
//!           failed     collect ◄────────────────────────────┴──────────────────┘ ──► remove ──► end
//! ```
//! The executor knows how to start, stop and collect; when to do so is decided here, for all of
//! them.

mod code;
mod drive;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_reports::record::Phase;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::apart::JobEnd;
use super::gpu::GpuWatch;
use crate::attempt::launch::{ExecutorError, LABEL_NAME, LaunchSpec, PreparedImage};
use crate::attempt::llm::LlmAccess;
use crate::attempt::outcome::{CancelReason, Outcome, Usage};
use crate::attempt::text::chain;
use crate::sandbox::{
    Executor, ExitCause, LONGEST_PAUSE, Postponed, RunToken, Running, Salvage, StopReason,
};
pub use code::CodeCopy;
use drive::Drive;

/// What an attempt tells while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptEvent {
    /// It entered a phase.
    Phase(Phase),
    /// Its image is here.
    Image(PreparedImage),
    /// The agent started, or was found again; the token must be on disk when the callback returns.
    Started(RunToken),
    /// What it uses.
    Usage(Usage),
    /// It ended and what it left was taken over; the end must be on disk when the callback returns,
    /// for its container is removed next and with it the only other witness.
    Collected(Box<AttemptEnd>),
    /// The engine does not answer and is waited for.
    EngineAway {
        /// What was tried and what was seen.
        cause: String,
    },
    /// A copy of its submission was taken.
    Snapshot {
        /// Where it is.
        path: PathBuf,
        /// The agent's code at that time, if it has left any.
        code: Option<CodeCopy>,
        /// How long the agent had run.
        elapsed: Duration,
    },
    /// Copies of its submission have taken all the room that they may, and are taken no more.
    SnapshotsFull {
        /// The room, in bytes.
        limit: u64,
    },
}

/// An agent that ends by itself so shortly after its soft deadline was not late: the signal was on
/// its way.
const SLACK: Duration = Duration::from_secs(2);

/// How an attempt is watched.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Between two looks at what it uses.
    pub sample_every: Duration,
    /// Between two looks at its disk; a look that takes long is repeated less often.
    pub disk_every: Duration,
    /// Between two copies of its submission, if wanted; they go to `snapshots/<seconds>.csv`.
    pub snapshot_every: Option<Duration>,
    /// The attempt is ended as the machine's failure when its disk has less free space than this.
    pub host_reserve_bytes: u64,
    /// How long the end of a killed agent is waited for.
    pub kill_patience: Duration,
    /// How long an engine that does not answer is waited for. Containers outlast their daemon.
    pub engine_patience: Duration,
    /// Its GPUs, if it has any.
    pub gpus: Option<Arc<GpuWatch>>,
    /// Its language models, if it may call any.
    pub llm: Option<LlmAccess>,
    /// How the batch job ends that the harness is part of.
    pub job: Option<JobEnd>,
}

impl WatchOptions {
    /// What the attempt's time limit does not count: how long it has waited for overloaded
    /// providers, where its clock stands still meanwhile.
    fn paused(&self) -> Duration {
        let llm = self.llm.as_ref().filter(|llm| llm.pauses_the_clock());
        llm.map_or(Duration::ZERO, |llm| llm.attempt.held().min(LONGEST_PAUSE))
    }

    /// The time between SIGTERM and the kill, for this reason.
    fn grace(&self, reason: CancelReason, grace: Duration) -> Duration {
        match (reason, &self.job) {
            (CancelReason::JobEnds, Some(job)) => job.grace(grace, Utc::now()),
            _ => grace,
        }
    }
}

/// Between two tries to reach an engine that is away.
const ENGINE_EVERY: Duration = Duration::from_secs(1);
/// How often a transfer that broke off is begun again while the engine answers.
const TRANSFERS: u32 = 4;

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            sample_every: Duration::from_secs(2),
            disk_every: Duration::from_secs(5),
            snapshot_every: None,
            host_reserve_bytes: 1 << 30,
            kill_patience: Duration::from_secs(60),
            engine_patience: Duration::from_secs(30 * 60),
            gpus: None,
            llm: None,
            job: None,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptEnd {
    /// How.
    pub outcome: Outcome,
    /// What it used in all.
    pub usage: Usage,
    /// What was taken over; `None` if it never started.
    pub salvage: Option<Salvage>,
    pub image: Option<PreparedImage>,
    /// When the agent started.
    pub started: Option<DateTime<Utc>>,
    /// How long the agent ran, time before an attach included.
    pub took: Duration,
    /// Why something of it is still there, if it could not be removed.
    pub left_behind: Option<String>,
    /// Why it was neither collected nor removed: an attach goes on where this left off.
    pub kept: Option<Postponed>,
}

impl AttemptEnd {
    /// The end of an attempt whose agent never ran.
    pub(super) fn before_start(outcome: Outcome, image: Option<PreparedImage>) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            salvage: None,
            image,
            started: None,
            took: Duration::ZERO,
            left_behind: None,
            kept: None,
        }
    }

    /// The end of the watch and not of the attempt: its container stays as it is.
    fn kept(why: Postponed, outcome: Outcome) -> Self {
        Self { kept: Some(why), ..Self::before_start(outcome, None) }
    }
}

/// Runs one attempt to its end, or goes on with one that runs already (`resume`).
///
/// `requests` brings wishes to end it: [`CancelReason::Kill`] kills, all others give the grace.
/// Whatever happens, the agent is ended, what it left is collected and its container is removed
/// before this returns. If the future is dropped, the agent runs on and can be resumed from its
/// token.
pub async fn run_attempt(
    executor: &dyn Executor,
    spec: Arc<LaunchSpec>,
    resume: Option<RunToken>,
    options: &WatchOptions,
    requests: &mut mpsc::Receiver<CancelReason>,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> AttemptEnd {
    let host = Host { executor, name: &spec.name, patience: options.engine_patience, report };
    let mut image = None;
    let running = match get_running(&host, &spec, resume, requests, &mut image).await {
        Ok(running) => running,
        Err(end) => return *end,
    };
    let base = Instant::now();
    let token = running.token();
    let started = token.started;
    report(AttemptEvent::Started(token));
    report(AttemptEvent::Phase(Phase::Agent));

    let mut drive = Drive {
        running: &*running,
        spec: &spec,
        options,
        report,
        base,
        usage: Usage::default(),
        inherited: false,
    };
    let (cause, ending, ran) = match drive.until_the_end(requests).await {
        Ok(end) => end,
        Err(error) => return AttemptEnd::kept(Postponed::EngineAway, outcome_of(&error)),
    };
    // What the init measured is exact, and all there is if it ended unwatched; where we ended it,
    // our clock counts.
    let watched = running.elapsed_before() + base.elapsed();
    let took = match ran {
        Some(ran) if ending.is_none() || drive.inherited => ran,
        _ => watched,
    };
    let mut outcome = outcome_at_end(cause, ending, took, spec.limits.timeout + options.paused());
    if let (Outcome::NodeLost { cause }, Some(job)) = (&mut outcome, &options.job) {
        *cause = job.why(Utc::now()).to_owned();
    }
    // A GPU that failed spoils what was computed on it, however the agent took it. It is looked at
    // before the end is written down, so that no harness that dies in between leaves a good outcome
    // behind.
    if let Some(gpus) = &options.gpus
        && !outcome.is_infrastructure()
        && !matches!(outcome, Outcome::Cancelled { .. })
        && let Some(bad) = gpus.verdict().await
    {
        outcome = Outcome::GpuLost { cause: bad.to_string() };
    }

    report(AttemptEvent::Phase(Phase::Collect));
    let mut usage = drive.usage;
    let salvage = collect(&*running, &host, requests).await;
    usage.memory_bytes = None;
    usage.pids = None;
    if let Some(gpus) = &options.gpus {
        usage.gpu = gpus.usage().ok().flatten().or(usage.gpu);
    }
    let mut end = AttemptEnd {
        outcome,
        usage,
        salvage: None,
        image,
        started: Some(started),
        took,
        left_behind: None,
        kept: salvage.postponed,
    };
    match salvage.postponed {
        // Its container keeps what cannot be had now; an attach collects it later.
        Some(why) => {
            let cause = salvage.errors_text();
            end.outcome = match why {
                Postponed::HostFull => Outcome::HostFull { cause },
                Postponed::EngineAway => Outcome::EngineLost { cause },
            };
        }
        None => {
            end.salvage = Some(salvage);
            report(AttemptEvent::Collected(Box::new(end.clone())));
            report(AttemptEvent::Phase(Phase::Remove));
            end.left_behind = running.remove().await.err().map(|error| chain(&error));
        }
    }
    end
}

/// Why an attempt did not begin.
enum NotBegun {
    Cancelled(CancelReason),
    Failed(ExecutorError),
}

/// Starts the agent, or finds the one that runs, through an engine that goes away and comes back; else
/// how the attempt ended.
async fn get_running(
    host: &Host<'_>,
    spec: &Arc<LaunchSpec>,
    resume: Option<RunToken>,
    requests: &mut mpsc::Receiver<CancelReason>,
    image: &mut Option<PreparedImage>,
) -> Result<Box<dyn Running>, Box<AttemptEnd>> {
    let mut token = resume;
    loop {
        let begun = match &token {
            None => begin(host, spec, requests, image).await,
            Some(token) => {
                (host.report)(AttemptEvent::Phase(Phase::Create));
                host.executor.attach(token, Arc::clone(spec)).await.map_err(NotBegun::Failed)
            }
        };
        let end = match begun {
            Ok(running) => return Ok(running),
            Err(NotBegun::Cancelled(reason)) => {
                AttemptEnd::before_start(Outcome::of_request(reason), image.take())
            }
            Err(NotBegun::Failed(error)) if !error.is_engine_away() => {
                AttemptEnd::before_start(outcome_of(&error), image.take())
            }
            Err(NotBegun::Failed(error)) => match host.is_back(&error, requests).await {
                // It may have been made before the engine went.
                Some(orphan) => {
                    token = orphan.or(token);
                    continue;
                }
                None => AttemptEnd::kept(Postponed::EngineAway, outcome_of(&error)),
            },
        };
        return Err(Box::new(end));
    }
}

/// Gets the image and starts the agent.
async fn begin(
    host: &Host<'_>,
    spec: &Arc<LaunchSpec>,
    requests: &mut mpsc::Receiver<CancelReason>,
    image: &mut Option<PreparedImage>,
) -> Result<Box<dyn Running>, NotBegun> {
    (host.report)(AttemptEvent::Phase(Phase::Image));
    let prepared = tokio::select! {
        biased;
        reason = next_request(requests) => return Err(NotBegun::Cancelled(reason)),
        prepared = host.executor.prepare_image(&spec.program) => prepared,
    };
    *image = prepared.map_err(NotBegun::Failed)?;
    if let Some(image) = &image {
        (host.report)(AttemptEvent::Image(image.clone()));
    }
    (host.report)(AttemptEvent::Phase(Phase::Create));
    host.executor.start(Arc::clone(spec)).await.map_err(NotBegun::Failed)
}

/// Takes over what the agent left, through an engine that goes away and comes back.
async fn collect(
    running: &dyn Running,
    host: &Host<'_>,
    requests: &mut mpsc::Receiver<CancelReason>,
) -> Salvage {
    for _ in 0..TRANSFERS {
        let salvage = running.collect().await;
        if salvage.postponed != Some(Postponed::EngineAway) {
            return salvage;
        }
        let source = salvage.errors_text().into();
        let error =
            ExecutorError::EngineAway { action: "collect what the agent left".to_string(), source };
        if host.is_back(&error, requests).await.is_none() {
            return salvage;
        }
    }
    // The engine answers, and yet the transfer breaks off each time: what has come is all there
    // will be.
    Salvage { postponed: None, ..running.collect().await }
}

/// The executor, and how long it is waited for.
struct Host<'a> {
    executor: &'a dyn Executor,
    name: &'a str,
    patience: Duration,
    report: &'a (dyn Fn(AttemptEvent) + Sync),
}

impl Host<'_> {
    /// Waits until the engine answers again, and says whether it has a container of this attempt.
    /// `None` if it stays away for too long, or somebody asks for the end at once.
    async fn is_back(
        &self,
        error: &ExecutorError,
        requests: &mut mpsc::Receiver<CancelReason>,
    ) -> Option<Option<RunToken>> {
        (self.report)(AttemptEvent::EngineAway { cause: chain(error) });
        let labels = [(LABEL_NAME.to_string(), self.name.to_string())].into();
        let give_up = Instant::now() + self.patience;
        while Instant::now() < give_up {
            tokio::select! {
                biased;
                reason = next_request(requests) => if reason == CancelReason::Kill {
                    return None;
                },
                () = tokio::time::sleep(ENGINE_EVERY) => {}
            }
            if let Ok(orphans) = self.executor.list_orphans(&labels).await {
                return Some(orphans.into_iter().next().map(|orphan| orphan.token));
            }
        }
        None
    }
}

/// The next request; never, once nobody can send one.
pub(super) async fn next_request(requests: &mut mpsc::Receiver<CancelReason>) -> CancelReason {
    match requests.recv().await {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

fn lock(usage: &std::sync::Mutex<Usage>) -> std::sync::MutexGuard<'_, Usage> {
    usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn outcome_at_end(
    cause: ExitCause,
    ending: Option<StopReason>,
    took: Duration,
    time: Duration,
) -> Outcome {
    // While no harness watched, nobody sent SIGTERM at the soft deadline: to have run past it is to
    // have timed out.
    let overtime = took > time + SLACK && matches!(cause, ExitCause::Exited(_));
    let ending = ending.or_else(|| overtime.then_some(StopReason::TimedOut { killed: false }));
    match (cause, ending) {
        // The scheduler signals every process of its job, the agent's too.
        (ExitCause::Lost(_), Some(StopReason::Cancelled { reason: CancelReason::JobEnds })) => {
            Outcome::of_request(CancelReason::JobEnds)
        }
        (ExitCause::Lost(cause), _) => Outcome::EngineLost { cause },
        (ExitCause::SetupFailed(cause), _) => Outcome::SetupFailed { cause },
        (ExitCause::ImageRefused(cause), _) => Outcome::ImageRefused { cause },
        (ExitCause::Overtime, None) => Outcome::TimedOut { after: took, killed: true },
        (_, Some(StopReason::TimedOut { killed })) => Outcome::TimedOut { after: took, killed },
        (_, Some(StopReason::Cancelled { reason })) => Outcome::of_request(reason),
        (_, Some(StopReason::Abandoned)) => Outcome::Cancelled { reason: CancelReason::Kill },
        (_, Some(StopReason::DiskFull)) | (ExitCause::DiskFull, None) => Outcome::DiskFull,
        (_, Some(StopReason::HostFull { cause })) => Outcome::HostFull { cause },
        (_, Some(StopReason::GpuLost { cause })) => Outcome::GpuLost { cause },
        (_, Some(StopReason::LlmOutage { cause })) => Outcome::LlmOutage { cause },
        (ExitCause::Exited(exit), None) => Outcome::Finished { exit },
        (ExitCause::OutOfMemory, None) => Outcome::OutOfMemory,
        (ExitCause::TooManyProcesses, None) => Outcome::TooManyProcesses,
    }
}

/// The outcome of an attempt that could not be started or found again.
fn outcome_of(error: &ExecutorError) -> Outcome {
    match error {
        ExecutorError::ImageMissing { image, .. } => Outcome::ImageMissing { image: image.clone() },
        ExecutorError::ImageRefused { image, why } => {
            Outcome::ImageRefused { cause: format!("`{image}`: {why}") }
        }
        ExecutorError::HostFull { cause } => Outcome::HostFull { cause: cause.clone() },
        ExecutorError::Unavailable { .. }
        | ExecutorError::EngineAway { .. }
        | ExecutorError::Gone { .. } => Outcome::EngineLost { cause: chain(error) },
        ExecutorError::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
            Outcome::HostFull { cause: io.to_string() }
        }
        ExecutorError::BuildFailed { .. }
        | ExecutorError::Unsupported { .. }
        | ExecutorError::Engine { .. }
        | ExecutorError::Io(_) => Outcome::SetupFailed { cause: chain(error) },
    }
}

#[cfg(test)]
mod tests;
