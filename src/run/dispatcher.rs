//! The one place that puts a run in order: starts, attempts' notes, signals; and the only one that
//! makes events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_reports::record::{
    AgentRecord, GroupRecord, HardwareRecord, OutcomeRecord, Phase, PlannedRecord, RECORD_FORMAT,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Judge;
use super::gpu::{BadCard, Gpus};
use super::pool::{GpuNeed, GpuPool, Lease};
use super::resume::{Standing, standing};
use super::scheduler::{self, Capacity, Forecast, Need, Next, Scheduler};
use super::stop::StopRequest;
use super::tries::{Begin, Done, Ended, work};
use crate::attempt::agents::Build;
use crate::attempt::launch::{ExecutorError, Program};
use crate::attempt::outcome::{CancelReason, Usage};
use crate::attempt::plan::{ExecutorKind, Plan, PlannedAttempt};
use crate::host::gpu::Gpu;
use crate::host::store::{GroupDir, GroupLock, StoreError, write_json};
use crate::run::events::{EventKind, EventSink, GradeLine, RunEvent, RunStats};
use crate::sandbox::{Executor, ExecutorInfo};

/// Everything a run needs.
pub struct Run {
    /// What to do.
    pub plan: Plan,
    /// Where to write.
    pub group: GroupDir,
    /// The folder of the only attempt that this process runs, beside others that run other attempts
    /// of the group: then the group's own files are left alone.
    pub only: Option<String>,
    /// What runs attempts.
    pub executor: Arc<dyn Executor>,
    /// What that executor is here.
    pub info: ExecutorInfo,
    /// Knows the competitions.
    pub judge: Arc<dyn Judge>,
    /// What the machine has.
    pub capacity: Capacity,
    /// Its GPUs, if attempts get any.
    pub gpus: Option<Arc<Gpus>>,
    /// What the machine is, for the record.
    pub hardware: HardwareRecord,
    /// Programs of embedded agents on this machine's disk, for executors without images.
    pub local_program: Option<std::path::PathBuf>,
}

impl Run {
    /// Where its events are kept.
    pub fn events(&self) -> std::path::PathBuf {
        match &self.only {
            Some(dir) => self.group.attempt(dir).events(),
            None => self.group.events(),
        }
    }

    /// What an attempt starts: an image, or a command of this machine.
    pub(super) fn program(&self, argv: Vec<String>) -> Program {
        match self.plan.executor {
            ExecutorKind::Docker => {
                Program::Image { reference: self.plan.agent.image.clone(), argv }
            }
            ExecutorKind::Process => match (&self.plan.agent.build, &self.local_program) {
                (Build::Embedded { .. }, Some(program)) => {
                    let rest = argv.into_iter().skip(1);
                    let argv = std::iter::once(program.to_string_lossy().into_owned())
                        .chain(rest)
                        .collect();
                    Program::Local { agent_dir: None, argv }
                }
                (Build::Dockerfile { dir, .. }, _) => Program::Local {
                    agent_dir: Some(dir.clone()),
                    // The working directory stands for /home, and the agent's folder is copied to
                    // `agent` in it.
                    argv: argv
                        .into_iter()
                        .map(|word| word.strip_prefix("/home/").map_or(word.clone(), str::to_owned))
                        .collect(),
                },
                _ => Program::Local { agent_dir: None, argv },
            },
        }
    }
}

/// Why a run could not go on. What was finished is on disk.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run directory.
    #[error("the run stopped because its own files cannot be kept")]
    Store(#[from] StoreError),
    /// The executor.
    #[error("cannot ask the executor for running attempts")]
    Executor(#[from] ExecutorError),
    /// The engine went away and stayed away. What its containers hold is not lost.
    #[error("the run stopped because the container engine stays away: {attempt}: {cause}")]
    EngineAway {
        /// The attempt that waited for it.
        attempt: String,
        /// What was tried and what was seen.
        cause: String,
    },
}

/// What an attempt's task tells the dispatcher.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) attempt: String,
    pub(super) note: Note,
}

#[derive(Debug)]
pub(super) enum Note {
    Started { try_number: u32, attached: bool },
    Running(DateTime<Utc>),
    Phase(Phase),
    Usage { usage: Usage, last_line: String },
    Snapshot { elapsed: Duration, bytes: u64 },
    TryFailed { outcome: OutcomeRecord, try_number: u32, retry_in: Duration },
    Warning(String),
}

/// MLE-bench's `metadata.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    run_group: String,
    created_at: String,
    runs: BTreeMap<String, MetadataRun>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MetadataRun {
    success: bool,
}

/// Between two writings of `metadata.json` while attempts end; the last one always comes.
const METADATA_EVERY: Duration = Duration::from_secs(5);

struct Active {
    /// Its position among the attempts that were open when this harness began.
    number: usize,
    attempt: Arc<PlannedAttempt>,
    requests: mpsc::Sender<CancelReason>,
    started: Option<DateTime<Utc>>,
    last_cpu: Option<(DateTime<Utc>, f64)>,
}

struct Dispatcher<'a> {
    run: Arc<Run>,
    sinks: &'a mut Vec<Box<dyn EventSink>>,
    seq: u64,
    stats: RunStats,
    metadata: Metadata,
    /// When `metadata.json` may be written again: it names every attempt, and grows with them.
    metadata_due: Instant,
    active: BTreeMap<String, Active>,
    cancel: Option<CancelReason>,
    /// Attempts that were asked to stop before they began.
    passed_over: BTreeMap<String, CancelReason>,
}

/// Runs the attempts of the plan that are not over yet, and returns the counts of the whole group.
///
/// `cancels` brings wishes to stop: anything below [`CancelReason::Kill`] gives agents their grace.
/// The caller holds the group's lock.
///
/// # Errors
/// [`RunError`] if the group's own files cannot be written or the engine stays away. Running agents
/// then go on, and a resumed run takes them up.
pub async fn run(
    run: Arc<Run>,
    _lock: &GroupLock,
    sinks: &mut Vec<Box<dyn EventSink>>,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Result<RunStats, RunError> {
    let labels = [(super::GROUP_LABEL.to_owned(), run.plan.group.clone())].into();
    let orphans = run.executor.list_orphans(&labels).await?;
    let standing = standing(&run, &orphans)?;
    let resumed = standing.events_so_far > 0;
    let mut dispatcher = Dispatcher {
        sinks,
        seq: standing.events_so_far,
        stats: RunStats { planned: run.plan.attempts.len(), ..RunStats::default() },
        metadata: Metadata {
            run_group: run.plan.group.clone(),
            created_at: run.plan.created_at.format("%Y-%m-%dT%H-%M-%S-UTC").to_string(),
            runs: BTreeMap::new(),
        },
        metadata_due: Instant::now(),
        active: BTreeMap::new(),
        cancel: None,
        passed_over: BTreeMap::new(),
        run: Arc::clone(&run),
    };
    for token in &standing.leftovers {
        run.executor.remove_orphan(token).await?;
    }
    dispatcher.go(standing, cancels, resumed).await
}

impl Dispatcher<'_> {
    async fn go(
        &mut self,
        standing: Standing,
        cancels: &mut mpsc::Receiver<StopRequest>,
        resumed: bool,
    ) -> Result<RunStats, RunError> {
        for (dir, outcome, grade) in &standing.over {
            self.stats.count(outcome, grade);
            self.metadata
                .runs
                .insert(dir.clone(), MetadataRun { success: !outcome.infrastructure });
        }
        self.write_group(None)?;
        self.emit(EventKind::GroupStarted {
            group: self.run.plan.group.clone(),
            agent: self.run.plan.agent.id.clone(),
            executor: self.run.info.name.clone(),
            sealed: self.run.info.sealed,
            resumed,
            stats: self.stats,
        });
        for warning in self.run.info.warnings.clone() {
            self.emit(EventKind::Warning { key: None, message: warning });
        }
        let mut queue = Queue::new(&self.run, standing.open);
        let mut tasks: JoinSet<(String, Result<Ended, RunError>)> = JoinSet::new();
        let (notes, mut inbox) = mpsc::unbounded_channel::<Message>();
        let mut listening = true;
        // Room comes only when something ends: notes and samples, of which there are many more,
        // change nothing.
        let mut has_room = true;
        loop {
            if std::mem::take(&mut has_room) && self.cancel.is_none() {
                self.start(&mut queue, &mut tasks, &notes);
            }
            if tasks.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                cancel = cancels.recv(), if listening => match cancel {
                    Some(StopRequest::Group(reason)) => self.cancel(reason),
                    Some(StopRequest::Attempt { dir, reason }) => self.stop(dir, reason),
                    None => listening = false,
                },
                Some(message) = inbox.recv() => self.on_message(message),
                Some(joined) = tasks.join_next() => {
                    has_room = true;
                    let (dir, result) = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                    // Whatever the task said before its end comes first.
                    while let Ok(message) = inbox.try_recv() {
                        self.on_message(message);
                    }
                    let written = match result {
                        Ok(ended) => self.on_ended(&dir, ended, &mut queue).map_err(RunError::from),
                        Err(error) => {
                            self.active.remove(&dir);
                            self.stats.running = self.active.len();
                            Err(error)
                        }
                    };
                    if let Err(error) = written {
                        // Nothing more can be kept safe. What runs goes on without this harness,
                        // which ends as if it had been killed: the next one takes it up, clocks and
                        // all.
                        let running = self.active.len();
                        let message = format!("{error}; {running} agents run on, `--resume` takes them up again");
                        self.emit(EventKind::Warning { key: None, message });
                        return Err(error);
                    }
                }
            }
        }
        self.write_metadata()?;
        self.write_group((self.stats.finished == self.stats.planned).then(Utc::now))?;
        self.emit(EventKind::GroupFinished { stats: self.stats });
        Ok(self.stats)
    }

    /// Takes up what runs already, and starts what the scheduler says.
    fn start(
        &mut self,
        queue: &mut Queue,
        tasks: &mut JoinSet<(String, Result<Ended, RunError>)>,
        notes: &mpsc::UnboundedSender<Message>,
    ) {
        while let Some((number, begin, lease)) = queue.next() {
            let attempt = Arc::clone(&queue.open[number].0);
            let (requests, receiver) = mpsc::channel(4);
            let task = work(
                Arc::clone(&self.run),
                Arc::clone(&attempt),
                begin,
                lease,
                receiver,
                notes.clone(),
            );
            let dir = attempt.dir.clone();
            if let Some(reason) = self.passed_over.remove(&dir) {
                // A fresh channel has room.
                let _ = requests.try_send(reason);
            }
            self.active.insert(
                dir.clone(),
                Active { number, attempt, requests, started: None, last_cpu: None },
            );
            self.stats.running = self.active.len();
            tasks.spawn(async move { (dir, task.await) });
        }
    }

    /// Ends one attempt; the others go on.
    fn stop(&mut self, dir: String, reason: CancelReason) {
        let Some(active) = self.active.get(&dir) else {
            self.passed_over.insert(dir, reason);
            return;
        };
        // A full channel means that the attempt has been told already.
        let _ = active.requests.try_send(reason);
        let key = Some(active.attempt.key.clone());
        self.emit(EventKind::Warning { key, message: format!("{reason} by request") });
    }

    fn cancel(&mut self, reason: CancelReason) {
        if self.cancel.is_some_and(|known| known >= reason) {
            return;
        }
        self.cancel = Some(reason);
        let grace = self.run.plan.limits.grace.as_secs();
        let reason_text = match reason {
            CancelReason::Kill => {
                "killing the running agents; their submissions are still collected".to_owned()
            }
            _ => format!(
                "{reason}; agents get SIGTERM and {grace} s, nothing new starts; again to kill them"
            ),
        };
        self.emit(EventKind::CancelBegan { reason: reason_text });
        for active in self.active.values() {
            // A full channel means that the attempt has been told already.
            let _ = active.requests.try_send(reason);
        }
    }

    fn on_message(&mut self, message: Message) {
        let Some(active) = self.active.get_mut(&message.attempt) else { return };
        let key = active.attempt.key.clone();
        let event = match message.note {
            Note::Started { try_number, attached } => EventKind::Started {
                key,
                dir: message.attempt,
                try_number,
                timeout_s: self.run.plan.limits.timeout.as_secs_f64(),
                attached,
                stats: self.stats,
            },
            Note::Running(at) => {
                active.started = Some(at);
                return;
            }
            Note::Phase(phase) => EventKind::Phase { key, phase },
            Note::Usage { usage, last_line } => {
                let now = Utc::now();
                let seconds = |from: DateTime<Utc>| (now - from).as_seconds_f64().max(0.0);
                let cpu_s = usage.cpu_time_s.unwrap_or(0.0);
                let cpus = active.last_cpu.map_or(0.0, |(at, before)| {
                    let span = seconds(at);
                    if span > 0.0 { ((cpu_s - before) / span).max(0.0) } else { 0.0 }
                });
                active.last_cpu = Some((now, cpu_s));
                EventKind::Usage {
                    key,
                    elapsed_s: active.started.map_or(0.0, seconds),
                    memory_bytes: usage.memory_bytes.unwrap_or(0),
                    cpus,
                    gpu: usage.gpu,
                    last_line,
                }
            }
            Note::Snapshot { elapsed, bytes } => {
                EventKind::Snapshot { key, after_s: elapsed.as_secs_f64(), bytes }
            }
            Note::TryFailed { outcome, try_number, retry_in } => EventKind::TryFailed {
                key,
                try_number,
                outcome,
                retry_in_s: retry_in.as_secs_f64(),
            },
            Note::Warning(message) => EventKind::Warning { key: Some(key), message },
        };
        self.emit(event);
    }

    /// Takes an attempt's cards and place back, leaves bad cards out, and counts the attempt or
    /// queues it again.
    fn on_ended(&mut self, dir: &str, ended: Ended, queue: &mut Queue) -> Result<(), StoreError> {
        let Some(active) = self.active.remove(dir) else { return Ok(()) };
        self.stats.running = self.active.len();
        queue.scheduler.end(active.number);
        for bad in &ended.bad {
            if queue.leave_out(bad) {
                let message = format!("GPU {bad}; it is left out of this run from now on");
                self.emit(EventKind::Warning { key: Some(active.attempt.key.clone()), message });
            }
        }
        match ended.done {
            Some(done) => self.on_done(dir, &active, done),
            None => {
                queue.again(active.number);
                Ok(())
            }
        }
    }

    fn on_done(&mut self, dir: &str, active: &Active, done: Done) -> Result<(), StoreError> {
        self.stats.count(&done.outcome, &done.grade);
        self.metadata
            .runs
            .insert(dir.to_owned(), MetadataRun { success: !done.outcome.infrastructure });
        let mut written = Ok(());
        if Instant::now() >= self.metadata_due {
            written = self.write_metadata();
            self.metadata_due = Instant::now() + METADATA_EVERY;
        }
        self.emit(EventKind::Finished {
            key: active.attempt.key.clone(),
            outcome: done.outcome,
            grade: done.grade,
            took_s: done.took.as_secs_f64(),
            stats: self.stats,
        });
        written
    }

    fn write_metadata(&self) -> Result<(), StoreError> {
        match self.run.only {
            Some(_) => Ok(()),
            None => write_json(&self.run.group.metadata(), &self.metadata),
        }
    }

    fn write_group(&self, ended_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        match self.run.only {
            Some(_) => Ok(()),
            None => write_group(&self.run.group, &self.run.plan, &self.run.hardware, ended_at),
        }
    }

    /// Numbers an event and hands it to every sink. A sink that fails is dropped: the run is worth
    /// more than its display.
    fn emit(&mut self, kind: EventKind) {
        let event = RunEvent { seq: self.seq, at: Utc::now(), kind };
        self.seq += 1;
        self.sinks.retain_mut(|sink| match sink.on_event(&event) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "a display stopped");
                false
            }
        });
    }
}

/// Writes what reports read of a group.
///
/// # Errors
/// [`StoreError`] if the file cannot be written.
pub fn write_group(
    group: &GroupDir,
    plan: &Plan,
    hardware: &HardwareRecord,
    ended_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let record = GroupRecord {
        format: RECORD_FORMAT,
        id: plan.group.clone(),
        agent: AgentRecord {
            id: plan.agent.id.clone(),
            version: None,
            backbone: Some(plan.agent.backbone.clone()).filter(|text| !text.is_empty()),
            image: Some(plan.agent.image.clone()),
            files_sha256: Some(plan.agent.files_sha256.clone()),
        },
        suite: plan.suite.clone(),
        attempts: plan
            .attempts
            .iter()
            .map(|attempt| PlannedRecord { key: attempt.key.clone(), dir: attempt.dir.clone() })
            .collect(),
        started_at: Some(plan.created_at),
        ended_at,
        harness_version: crate::attempt::VERSION.to_owned(),
        command: plan.command.clone(),
        hardware: hardware.clone(),
        notes: plan.notes.clone(),
    };
    write_json(&group.group(), &record)
}

/// What is still to be done, and in what order.
struct Queue {
    open: Vec<(Arc<PlannedAttempt>, Begin)>,
    needs: Vec<Need>,
    scheduler: Scheduler,
    /// Attempts that run already and have not been taken up yet.
    running: Vec<usize>,
    /// Cards that are left out.
    bad: Vec<String>,
    began: Instant,
}

impl Queue {
    fn new(run: &Run, open: Vec<(Arc<PlannedAttempt>, Begin)>) -> Self {
        let units = run.gpus.as_ref().map(|gpus| gpus.units()).unwrap_or_default();
        let mut scheduler = Scheduler::new(run.capacity, GpuPool::new(units));
        let needs: Vec<Need> = open.iter().map(|(attempt, _)| need(&run.plan, attempt)).collect();
        let mut running = Vec::new();
        for (number, (_, begin)) in open.iter().enumerate() {
            let need = needs[number].clone();
            match begin {
                // What runs already has its place and its cards, whatever this machine thinks of
                // it.
                Begin::Attach(_, cards) => {
                    scheduler.adopt(number, need, cards, Duration::ZERO);
                    running.push(number);
                }
                Begin::Grade => scheduler.queue(number, need.without_gpus()),
                Begin::Fresh | Begin::Hopeless(_) => scheduler.queue(number, need),
            }
        }
        Self { open, needs, scheduler, running, bad: Vec::new(), began: Instant::now() }
    }

    /// What begins now: its number, how, and on which cards.
    fn next(&mut self) -> Option<(usize, Begin, Lease)> {
        if !self.running.is_empty() {
            let number = self.running.remove(0);
            let begin = self.open[number].1.clone();
            let uuids =
                if let Begin::Attach(_, cards) = &begin { cards.clone() } else { Vec::new() };
            let alone = vec![false; uuids.len()];
            return Some((number, begin, Lease { uuids, alone }));
        }
        let now = self.began.elapsed();
        match self.scheduler.next(now) {
            Next::Wait => None,
            Next::Start(number, lease) => Some((number, self.open[number].1.clone(), lease)),
            Next::Hopeless(number, why) => {
                self.scheduler.adopt(number, self.needs[number].without_gpus(), &[], now);
                Some((number, Begin::Hopeless(why), Lease::default()))
            }
        }
    }

    /// Queues an attempt again that was promised cards it could not use.
    fn again(&mut self, number: usize) {
        self.open[number].1 = Begin::Fresh;
        self.scheduler.queue_first(number, self.needs[number].clone());
    }

    /// Hands a card to nobody from now on; false if that was so before.
    fn leave_out(&mut self, bad: &BadCard) -> bool {
        self.scheduler.leave_out(&bad.card);
        let is_new = !self.bad.contains(&bad.card);
        if is_new {
            self.bad.push(bad.card.clone());
        }
        is_new
    }
}

/// What an attempt of a plan needs.
fn need(plan: &Plan, attempt: &PlannedAttempt) -> Need {
    let limits = &plan.limits;
    let request = attempt.gpus.as_ref().unwrap_or(&plan.gpus).clone();
    Need {
        cpus: limits.cpus,
        memory_bytes: limits.memory_bytes,
        gpus: GpuNeed { request, share: plan.gpu_share.max(1) },
        longest: limits.timeout + limits.grace,
    }
}

/// What a plan comes to on a machine if every attempt takes all of its time.
pub fn forecast(plan: &Plan, capacity: Capacity, units: &[Gpu]) -> Forecast {
    let mut scheduler = Scheduler::new(capacity, GpuPool::new(units));
    for (number, attempt) in plan.attempts.iter().enumerate() {
        scheduler.queue(number, need(plan, attempt));
    }
    scheduler::forecast(scheduler)
}

/// The grade and outcome of an attempt that was over before this harness began.
pub(super) type Over = (String, OutcomeRecord, GradeLine);
