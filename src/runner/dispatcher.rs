//! The one place that puts a run in order: starts, attempts' notes, signals; and the only one that makes events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_reports::record::{AgentRecord, GroupRecord, HardwareRecord, OutcomeRecord, PlannedRecord, RECORD_FORMAT};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Judge;
use super::resume::{Standing, standing};
use super::scheduler::Capacity;
use super::stop::StopRequest;
use super::work::{Begin, Done, work};
use crate::agents::Build;
use crate::events::{EventKind, EventSink, GradeLine, RunEvent, RunStats};
use crate::executor::{Executor, ExecutorError, ExecutorInfo, Program};
use crate::outcome::{CancelReason, Usage};
use crate::plan::{ExecutorKind, Plan, PlannedAttempt};
use crate::store::{GroupDir, GroupLock, StoreError, write_json};

/// Everything a run needs.
pub struct Run {
    /// What to do.
    pub plan: Plan,
    /// Where to write.
    pub group: GroupDir,
    /// What runs attempts.
    pub executor: Arc<dyn Executor>,
    /// What that executor is here.
    pub info: ExecutorInfo,
    /// Knows the competitions.
    pub judge: Arc<dyn Judge>,
    /// What the machine has.
    pub capacity: Capacity,
    /// What the machine is, for the record.
    pub hardware: HardwareRecord,
    /// Programs of embedded agents on this machine's disk, for executors without images.
    pub local_program: Option<std::path::PathBuf>,
}

impl Run {
    /// What an attempt starts: an image, or a command of this machine.
    pub(super) fn program(&self, argv: Vec<String>) -> Program {
        match self.plan.executor {
            ExecutorKind::Docker => Program::Image { reference: self.plan.agent.image.clone(), argv },
            ExecutorKind::Process => match (&self.plan.agent.build, &self.local_program) {
                (Build::Embedded { .. }, Some(program)) => {
                    let rest = argv.into_iter().skip(1);
                    let argv = std::iter::once(program.to_string_lossy().into_owned()).chain(rest).collect();
                    Program::Local { agent_dir: None, argv }
                }
                (Build::Dockerfile { dir, .. }, _) => Program::Local {
                    agent_dir: Some(dir.clone()),
                    // The working directory stands for /home, and the agent's folder is copied to `agent` in it.
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
    Phase(&'static str),
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

struct Active {
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
/// [`RunError`] if the group's own files cannot be written or the engine stays away. Running agents then go on, and a resumed
/// run takes them up.
pub async fn run(
    run: Arc<Run>,
    _lock: &GroupLock,
    sinks: &mut Vec<Box<dyn EventSink>>,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Result<RunStats, RunError> {
    let labels = [(super::GROUP_LABEL.to_owned(), run.plan.group.clone())].into();
    let orphans = run.executor.list_orphans(&labels).await?;
    let standing = standing(&run.group, &run.plan, &orphans)?;
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
            self.metadata.runs.insert(dir.clone(), MetadataRun { success: !outcome.infrastructure });
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
        let mut queue: VecDeque<(Arc<PlannedAttempt>, Begin)> = standing.open.into();
        let mut tasks: JoinSet<(String, Result<Done, RunError>)> = JoinSet::new();
        let (notes, mut inbox) = mpsc::unbounded_channel::<Message>();
        let mut listening = true;
        loop {
            if self.cancel.is_none() {
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
                    let (dir, result) = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                    // Whatever the task said before its end comes first.
                    while let Ok(message) = inbox.try_recv() {
                        self.on_message(message);
                    }
                    let written = match result {
                        Ok(done) => self.on_done(&dir, done).map_err(RunError::from),
                        Err(error) => {
                            self.active.remove(&dir);
                            self.stats.running = self.active.len();
                            Err(error)
                        }
                    };
                    if let Err(error) = written {
                        // Nothing more can be kept safe. What runs goes on without this harness, which ends as if it had
                        // been killed: the next one takes it up, clocks and all.
                        let running = self.active.len();
                        let message = format!("{error}; {running} agents run on, `--resume` takes them up again");
                        self.emit(EventKind::Warning { key: None, message });
                        return Err(error);
                    }
                }
            }
        }
        self.write_group((self.stats.finished == self.stats.planned).then(Utc::now))?;
        self.emit(EventKind::GroupFinished { stats: self.stats });
        Ok(self.stats)
    }

    /// Starts attempts in the plan's order while there is room.
    fn start(
        &mut self,
        queue: &mut VecDeque<(Arc<PlannedAttempt>, Begin)>,
        tasks: &mut JoinSet<(String, Result<Done, RunError>)>,
        notes: &mpsc::UnboundedSender<Message>,
    ) {
        while let Some((attempt, begin)) = queue.front().cloned() {
            let limits = &self.run.plan.limits;
            let left = self.run.capacity.after(self.active.len(), limits);
            // What runs already has its place, whatever this machine thinks of it.
            let is_running = matches!(begin, Begin::Attach(_));
            if !is_running && left.take(limits, self.active.is_empty()).is_none() {
                break;
            }
            queue.pop_front();
            let (requests, receiver) = mpsc::channel(4);
            let task = work(Arc::clone(&self.run), Arc::clone(&attempt), begin, receiver, notes.clone());
            let dir = attempt.dir.clone();
            if let Some(reason) = self.passed_over.remove(&dir) {
                // A fresh channel has room.
                let _ = requests.try_send(reason);
            }
            self.active.insert(dir.clone(), Active { attempt, requests, started: None, last_cpu: None });
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
        let key = Some((&active.attempt.key).into());
        self.emit(EventKind::Warning { key, message: format!("{reason} by request") });
    }

    fn cancel(&mut self, reason: CancelReason) {
        if self.cancel.is_some_and(|known| known >= reason) {
            return;
        }
        self.cancel = Some(reason);
        let grace = self.run.plan.limits.grace.as_secs();
        let reason_text = match reason {
            CancelReason::Kill => "killing the running agents; their submissions are still collected".to_owned(),
            _ => format!("{reason}; agents get SIGTERM and {grace} s, nothing new starts; again to kill them"),
        };
        self.emit(EventKind::CancelBegan { reason: reason_text });
        for active in self.active.values() {
            // A full channel means that the attempt has been told already.
            let _ = active.requests.try_send(reason);
        }
    }

    fn on_message(&mut self, message: Message) {
        let Some(active) = self.active.get_mut(&message.attempt) else { return };
        let key = (&active.attempt.key).into();
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
            Note::Phase(phase) => EventKind::Phase { key, phase: phase.to_owned() },
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
                    last_line,
                }
            }
            Note::Snapshot { elapsed, bytes } => EventKind::Snapshot { key, after_s: elapsed.as_secs_f64(), bytes },
            Note::TryFailed { outcome, try_number, retry_in } => {
                EventKind::TryFailed { key, try_number, outcome, retry_in_s: retry_in.as_secs_f64() }
            }
            Note::Warning(message) => EventKind::Warning { key: Some(key), message },
        };
        self.emit(event);
    }

    fn on_done(&mut self, dir: &str, done: Done) -> Result<(), StoreError> {
        let Some(active) = self.active.remove(dir) else { return Ok(()) };
        self.stats.running = self.active.len();
        self.stats.count(&done.outcome, &done.grade);
        self.metadata.runs.insert(dir.to_owned(), MetadataRun { success: !done.outcome.infrastructure });
        let written = write_json(&self.run.group.metadata(), &self.metadata);
        self.emit(EventKind::Finished {
            key: (&active.attempt.key).into(),
            outcome: done.outcome,
            grade: done.grade,
            took_s: done.took.as_secs_f64(),
            stats: self.stats,
        });
        written
    }

    fn write_group(&self, ended_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let plan = &self.run.plan;
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
                .map(|attempt| PlannedRecord { key: (&attempt.key).into(), dir: attempt.dir.clone() })
                .collect(),
            started_at: Some(plan.created_at),
            ended_at,
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: plan.command.clone(),
            hardware: self.run.hardware.clone(),
            notes: plan.notes.clone(),
        };
        write_json(&self.run.group.group(), &record)
    }

    /// Numbers an event and hands it to every sink. A sink that fails is dropped: the run is worth more than its display.
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

/// The grade and outcome of an attempt that was over before this harness began.
pub(super) type Over = (String, OutcomeRecord, GradeLine);
