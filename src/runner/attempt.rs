//! One attempt from its image to its removal: the only place that owns an attempt's clock.
//!
//! ```text
//!  image ──► start ──► running ──soft deadline or stop──► grace ──its end──► killed
//!              │          │ ended by itself, limit hit      │ ended            │
//!              ▼          ▼                                 ▼                  ▼
//!           failed     collect ◄────────────────────────────┴──────────────────┘ ──► remove ──► end
//! ```
//! The executor knows how to start, stop and collect; when to do so is decided here, for all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::executor::{
    Executor, ExecutorError, ExitCause, ExitReport, LaunchSpec, PreparedImage, RunToken, Running, Salvage, Stop, chain,
};
use crate::limits::Limits;
use crate::outcome::{CancelReason, Outcome, Usage};

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its image is looked up or pulled; the clock stands still.
    Image,
    /// It is being created.
    Starting,
    /// The agent works.
    Running,
    /// It got SIGTERM and may save its work.
    Grace,
    /// Its submission, logs and code are taken over.
    Collecting,
    /// Its container is removed.
    Removing,
}

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
    /// It ended and what it left was taken over; the end must be on disk when the callback returns, for its container is
    /// removed next and with it the only other witness.
    Collected(Box<AttemptEnd>),
    /// A copy of its submission was taken.
    Snapshot {
        /// Where it is.
        path: PathBuf,
        /// How long the agent had run.
        elapsed: Duration,
    },
}

/// An agent that ends by itself so shortly after its soft deadline was not late: the signal was on its way.
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
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            sample_every: Duration::from_secs(2),
            disk_every: Duration::from_secs(5),
            snapshot_every: None,
            host_reserve_bytes: 1 << 30,
            kill_patience: Duration::from_secs(60),
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
    /// Its image.
    pub image: Option<PreparedImage>,
    /// When the agent started.
    pub started: Option<DateTime<Utc>>,
    /// How long the agent ran, time before an attach included.
    pub took: Duration,
    /// Why something of it is still there, if it could not be removed.
    pub left_behind: Option<String>,
}

impl AttemptEnd {
    fn before_start(outcome: Outcome, image: Option<PreparedImage>) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            salvage: None,
            image,
            started: None,
            took: Duration::ZERO,
            left_behind: None,
        }
    }
}

/// Runs one attempt to its end, or goes on with one that runs already (`resume`).
///
/// `requests` brings wishes to end it: [`CancelReason::Kill`] kills, all others give the grace. Whatever happens, the agent
/// is ended, what it left is collected and its container is removed before this returns. If the future is dropped, the
/// agent runs on and can be resumed from its token.
pub async fn run_attempt(
    executor: &dyn Executor,
    spec: Arc<LaunchSpec>,
    resume: Option<RunToken>,
    options: &WatchOptions,
    requests: &mut mpsc::Receiver<CancelReason>,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> AttemptEnd {
    let mut image = None;
    if resume.is_none() {
        report(AttemptEvent::Phase(Phase::Image));
        let prepared = tokio::select! {
            biased;
            reason = next_request(requests) => {
                return AttemptEnd::before_start(Outcome::Cancelled { reason }, None);
            }
            prepared = executor.prepare_image(&spec.program) => prepared,
        };
        match prepared {
            Ok(prepared) => image = prepared,
            Err(error) => return AttemptEnd::before_start(outcome_of(&error), None),
        }
        if let Some(image) = &image {
            report(AttemptEvent::Image(image.clone()));
        }
    }
    report(AttemptEvent::Phase(Phase::Starting));
    let started = match &resume {
        Some(token) => executor.attach(token, Arc::clone(&spec)).await,
        None => executor.start(Arc::clone(&spec)).await,
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => return AttemptEnd::before_start(outcome_of(&error), image),
    };
    let base = Instant::now();
    let token = running.token();
    let started = token.started;
    report(AttemptEvent::Started(token));
    report(AttemptEvent::Phase(Phase::Running));

    let mut drive = Drive { running: &*running, spec: &spec, options, report, base, usage: Usage::default() };
    let (cause, ending, ran) = drive.until_the_end(requests).await;
    // What the init measured is exact, and all there is if it ended unwatched; where we ended it, our clock counts.
    let watched = running.elapsed_before() + base.elapsed();
    let took = if ending.is_some() { watched } else { ran.unwrap_or(watched) };
    let outcome = outcome_at_end(cause, ending, took, &spec.limits);

    report(AttemptEvent::Phase(Phase::Collecting));
    let mut usage = drive.usage;
    let salvage = running.collect().await;
    usage.memory_bytes = None;
    usage.pids = None;
    let mut end =
        AttemptEnd { outcome, usage, salvage: Some(salvage), image, started: Some(started), took, left_behind: None };
    report(AttemptEvent::Collected(Box::new(end.clone())));
    report(AttemptEvent::Phase(Phase::Removing));
    end.left_behind = running.remove().await.err().map(|error| chain(&error));
    end
}

/// What made the driver end the agent.
#[derive(Debug, Clone, PartialEq)]
enum Ending {
    TimedOut { killed: bool },
    Cancelled(CancelReason),
    DiskFull,
    HostFull(String),
}

struct Drive<'a> {
    running: &'a dyn Running,
    spec: &'a LaunchSpec,
    options: &'a WatchOptions,
    report: &'a (dyn Fn(AttemptEvent) + Sync),
    base: Instant,
    usage: Usage,
}

impl Drive<'_> {
    /// Waits for the agent's end, and brings it about when a limit or a request says so.
    async fn until_the_end(
        &mut self,
        requests: &mut mpsc::Receiver<CancelReason>,
    ) -> (ExitCause, Option<Ending>, Option<Duration>) {
        let (running, limits, options) = (self.running, &self.spec.limits, self.options);
        let before = running.elapsed_before();
        let soft = self.base + limits.timeout.saturating_sub(before);
        let hard = self.base + (limits.timeout + limits.grace).saturating_sub(before);
        let mut ending: Option<Ending> = None;
        let mut kill_at: Option<Instant> = None;
        let mut give_up_at: Option<Instant> = None;
        let mut watching = true;
        let mut wait = running.wait();
        let usage = std::mem::take(&mut self.usage);
        let usage = std::sync::Mutex::new(usage);
        let mut watch = Box::pin(watch(running, self.spec, options, self.base, &usage, self.report));
        let far = self.base + Duration::from_secs(3600 * 24 * 365);
        let mut ran = None;
        let cause = loop {
            tokio::select! {
                biased;
                end = &mut wait => match end {
                    Ok(ExitReport { cause, usage: last, ran: measured }) => {
                        lock(&usage).update(&last);
                        ran = measured;
                        break cause;
                    }
                    Err(error) => break ExitCause::Lost(chain(&error)),
                },
                reason = next_request(requests) => {
                    let grace = reason != CancelReason::Kill;
                    match &mut ending {
                        Some(Ending::Cancelled(known)) => *known = reason.max(*known),
                        Some(_) => {}
                        none => *none = Some(Ending::Cancelled(reason)),
                    }
                    if !grace {
                        kill_at = Some(Instant::now());
                    } else if kill_at.is_none() && give_up_at.is_none() {
                        (self.report)(AttemptEvent::Phase(Phase::Grace));
                        stop(running, Stop::Term).await;
                        kill_at = Some(Instant::now() + limits.grace);
                    }
                }
                () = sleep_until(soft), if ending.is_none() => {
                    ending = Some(Ending::TimedOut { killed: false });
                    (self.report)(AttemptEvent::Phase(Phase::Grace));
                    stop(running, Stop::Term).await;
                    kill_at = Some(hard);
                }
                () = sleep_until(kill_at.unwrap_or(far)), if kill_at.is_some() => {
                    if let Some(Ending::TimedOut { killed }) = &mut ending {
                        *killed = true;
                    }
                    stop(running, Stop::Kill).await;
                    kill_at = None;
                    give_up_at = Some(Instant::now() + options.kill_patience);
                }
                verdict = &mut watch, if watching => {
                    watching = false;
                    if ending.is_none() {
                        ending = Some(verdict);
                    }
                    kill_at = Some(Instant::now());
                }
                () = sleep_until(give_up_at.unwrap_or(far)), if give_up_at.is_some() => {
                    let patience = options.kill_patience.as_secs();
                    break ExitCause::Lost(format!("the agent did not end within {patience} s of its kill"));
                }
            }
        };
        drop(watch);
        self.usage = usage.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (cause, ending, ran)
    }
}

/// Looks at a running attempt again and again; ends only when it must be ended.
async fn watch(
    running: &dyn Running,
    spec: &LaunchSpec,
    options: &WatchOptions,
    base: Instant,
    usage: &std::sync::Mutex<Usage>,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> Ending {
    let mut next_disk = base + options.disk_every;
    let mut next_snapshot = options.snapshot_every.map(|every| base + every);
    loop {
        tokio::time::sleep(options.sample_every).await;
        let mut now = running.usage().await;
        let mut verdict = None;
        if Instant::now() >= next_disk {
            let began = Instant::now();
            now.disk_bytes = running.disk_bytes().await;
            // A walk over millions of files must not keep the machine busy.
            next_disk = Instant::now() + options.disk_every.max(began.elapsed() * 10);
            let limit = spec.limits.disk_bytes;
            if limit > 0 && now.disk_bytes.is_some_and(|bytes| bytes > limit) {
                verdict = Some(Ending::DiskFull);
            } else if let Some(free) = free_bytes(spec)
                && free < options.host_reserve_bytes
            {
                let reserve = options.host_reserve_bytes;
                verdict = Some(Ending::HostFull(format!("{free} bytes free, {reserve} are kept in reserve")));
            }
        }
        let merged = {
            let mut usage = lock(usage);
            usage.update(&now);
            *usage
        };
        report(AttemptEvent::Usage(merged));
        if let Some(verdict) = verdict {
            return verdict;
        }
        if let (Some(every), Some(at)) = (options.snapshot_every, next_snapshot)
            && Instant::now() >= at
        {
            let elapsed = running.elapsed_before() + base.elapsed();
            let path = spec.attempt_dir.join("snapshots").join(format!("{:07}.csv", elapsed.as_secs()));
            if running.snapshot(&path).await.unwrap_or(false) {
                report(AttemptEvent::Snapshot { path, elapsed });
            }
            next_snapshot = Some(Instant::now() + every);
        }
    }
}

fn free_bytes(spec: &LaunchSpec) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(&spec.attempt_dir).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

fn lock(usage: &std::sync::Mutex<Usage>) -> std::sync::MutexGuard<'_, Usage> {
    usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The next request; never, once nobody can send one.
async fn next_request(requests: &mut mpsc::Receiver<CancelReason>) -> CancelReason {
    match requests.recv().await {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

/// A signal that cannot be delivered is not the end: the wait tells whether the agent is still there.
async fn stop(running: &dyn Running, how: Stop) {
    if let Err(error) = running.stop(how).await {
        tracing::warn!(attempt = running.token().name, ?how, error = chain(&error), "cannot stop the agent");
    }
}

fn outcome_at_end(cause: ExitCause, ending: Option<Ending>, took: Duration, limits: &Limits) -> Outcome {
    // While no harness watched, nobody sent SIGTERM at the soft deadline: to have run past it is to have timed out.
    let overtime = took > limits.timeout + SLACK && matches!(cause, ExitCause::Exited(_));
    let ending = ending.or_else(|| overtime.then_some(Ending::TimedOut { killed: false }));
    match (cause, ending) {
        (ExitCause::Lost(cause), _) => Outcome::EngineLost { cause },
        (ExitCause::SetupFailed(cause), _) => Outcome::SetupFailed { cause },
        (ExitCause::Overtime, None) => Outcome::TimedOut { after: took, killed: true },
        (_, Some(Ending::TimedOut { killed })) => Outcome::TimedOut { after: took, killed },
        (_, Some(Ending::Cancelled(reason))) => Outcome::Cancelled { reason },
        (_, Some(Ending::DiskFull)) | (ExitCause::DiskFull, None) => Outcome::DiskFull,
        (_, Some(Ending::HostFull(cause))) => Outcome::HostFull { cause },
        (ExitCause::Exited(exit), None) => Outcome::Finished { exit },
        (ExitCause::OutOfMemory, None) => Outcome::OutOfMemory,
        (ExitCause::TooManyProcesses, None) => Outcome::TooManyProcesses,
    }
}

/// The outcome of an attempt that could not be started or found again.
fn outcome_of(error: &ExecutorError) -> Outcome {
    match error {
        ExecutorError::ImageMissing { image, .. } => Outcome::ImageMissing { image: image.clone() },
        ExecutorError::HostFull { cause } => Outcome::HostFull { cause: cause.clone() },
        ExecutorError::Unavailable { .. } | ExecutorError::Gone { .. } => Outcome::EngineLost { cause: chain(error) },
        ExecutorError::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
            Outcome::HostFull { cause: io.to_string() }
        }
        ExecutorError::Unsupported { .. } | ExecutorError::Engine { .. } | ExecutorError::Io(_) => {
            Outcome::SetupFailed { cause: chain(error) }
        }
    }
}
