//! The one place that puts a run in order: starts, attempts' notes, signals; and the only one that
//! makes events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{HardwareRecord, OutcomeKind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Judge;
use super::apart::{Apart, First};
use super::gpu::Gpus;
use super::group_files::{Metadata, MetadataRun, write_group};
use super::llm::{self, LlmError, LlmRun};
use super::messages::{AttemptMessage, AttemptUpdate, FinishedAttempt, TaskEnd};
use super::queue::Queue;
use super::resume::{GroupState, group_state};
use super::scheduler::Capacity;
use super::stop::StopRequest;
use super::sweep::sweep;
use super::tries::run_tries;
use crate::attempt::agents::Build;
use crate::attempt::launch::{ExecutorError, Program};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::{ExecutorKind, Plan, PlannedAttempt};
use crate::host::files::{StoreError, write_json};
use crate::host::machine;
use crate::host::store::{GroupDir, GroupLock};
use crate::run::events::{EventKind, EventSink, RunEvent, RunStats};
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
    /// How it stands beside processes that make tries of the same attempts.
    pub apart: Option<Apart>,
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
    /// The language models that attempts may call, if they may.
    pub llm: Option<LlmRun>,
    /// Programs of embedded agents on this machine's disk, for executors without images.
    pub local_program: Option<std::path::PathBuf>,
}

impl Run {
    /// Where its events are kept.
    pub fn events(&self) -> std::path::PathBuf {
        let first = self.apart.as_ref().and_then(|apart| apart.first);
        match (&self.only, first) {
            (Some(dir), Some(first)) => {
                self.group.attempt(dir).earlier_try(first.number()).events()
            }
            (Some(dir), None) => self.group.attempt(dir).events(),
            (None, _) => self.group.events(),
        }
    }

    /// What an attempt starts: an image, or a command of this machine.
    pub(super) fn program(&self, argv: Vec<String>) -> Program {
        match self.plan.executor {
            ExecutorKind::Docker | ExecutorKind::Podman | ExecutorKind::Namespaces => {
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
    /// A provider of language models refuses the key or wants money, and nothing runs any more that
    /// would ask it again.
    #[error("the run stopped because `{upstream}` refuses the key or wants money")]
    LlmRefused {
        /// Its name in the settings.
        upstream: String,
    },
    /// Another process makes the attempt, or has made it: what this one did is left where it is and
    /// counts for nothing.
    #[error("{attempt} is made elsewhere: {who}")]
    Elsewhere {
        /// Which attempt.
        attempt: String,
        /// By whom, in words.
        who: String,
    },
    /// What was spent on language models cannot be counted.
    #[error("cannot read what the group's calls of language models have cost")]
    Llm(#[from] LlmError),
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

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSummary {
    /// Counts of the whole group.
    pub stats: RunStats,
    /// Why it was stopped, if it was.
    pub stopped: Option<CancelReason>,
    /// Attempts that were passed over, since their record cannot be read.
    pub damaged: usize,
}

/// Runs the attempts of the plan that are not over yet, and returns the counts of the whole group.
///
/// `cancels` brings wishes to stop: anything below [`CancelReason::Kill`] gives agents their grace.
/// The caller holds the group's lock, where there are locks.
///
/// # Errors
/// [`RunError`] if the group's own files cannot be written or the engine stays away. Running agents
/// then go on, and a resumed run takes them up.
pub async fn run(
    run: Arc<Run>,
    _lock: Option<&GroupLock>,
    sinks: &mut Vec<Box<dyn EventSink>>,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Result<RunSummary, RunError> {
    let labels = [(super::GROUP_LABEL.to_owned(), run.plan.group.clone())].into();
    let orphans = run.executor.list_orphans(&labels).await?;
    let state = group_state(&run, &orphans);
    let resumed = state.events_so_far > 0;
    let mut dispatcher = Dispatcher {
        sinks,
        seq: state.events_so_far,
        stats: RunStats { planned: run.plan.attempts.len(), ..RunStats::default() },
        metadata: Metadata::of(&run.plan),
        metadata_due: Instant::now(),
        active: BTreeMap::new(),
        cancel: None,
        passed_over: BTreeMap::new(),
        run: Arc::clone(&run),
    };
    // Before anything starts: another try of such an attempt takes its name, which an engine gives out
    // once.
    for token in &state.stale_containers {
        run.executor.remove_orphan(token).await?;
    }
    if run.only.is_none() {
        let runs = |dir: &str| {
            let is_stale = state.stale_containers.iter().any(|token| token.name == dir);
            !is_stale && orphans.iter().any(|orphan| orphan.token.name == dir)
        };
        sweep(&run.group, &run.plan, runs);
    }
    if let Some(llm) = &run.llm {
        // Before the first call, which the group's budget may have no room for.
        match (&run.only, &run.apart) {
            (Some(_), Some(apart)) => llm.share_budget(&run.group, &apart.us)?,
            _ => {
                let own = run.apart.as_ref().and_then(|apart| apart.first).map(First::number);
                llm.count_earlier(&run.plan, &run.group, own)?;
            }
        }
    }
    dispatcher.run_to_the_end(state, cancels, resumed).await
}

impl Dispatcher<'_> {
    async fn run_to_the_end(
        &mut self,
        state: GroupState,
        cancels: &mut mpsc::Receiver<StopRequest>,
        resumed: bool,
    ) -> Result<RunSummary, RunError> {
        for finished in &state.finished {
            self.count(finished);
        }
        self.write_group(None)?;
        self.emit(EventKind::GroupStarted {
            group: self.run.plan.group.clone(),
            agent: self.run.plan.agent.id.clone(),
            executor: self.run.info.name.clone(),
            sealed: self.run.plan.is_sealed(self.run.info.sealed),
            resumed,
            program_sha256: machine::program_sha256().map(str::to_owned),
            stats: self.stats,
        });
        for warning in self.run.info.warnings.clone() {
            self.emit(EventKind::Warning { key: None, message: Shown::message(&warning) });
        }
        for (key, what) in &state.damaged {
            let message = format!(
                "{what}; the attempt is passed over. Move the file away, and `--resume` makes the attempt again"
            );
            self.emit(EventKind::Warning {
                key: Some(key.clone()),
                message: Shown::message(&message),
            });
        }
        for (key, what) in &state.regraded {
            let message = Shown::message(&format!("{what}; the submission is graded again"));
            self.emit(EventKind::Warning { key: Some(key.clone()), message });
        }
        let damaged = state.damaged.len();
        let mut queue = Queue::new(&self.run, state.open);
        let mut tasks: JoinSet<(String, Result<TaskEnd, RunError>)> = JoinSet::new();
        // Without a bound: tasks tell from callbacks, which cannot wait for room.
        let (messages, mut inbox) = mpsc::unbounded_channel::<AttemptMessage>();
        let mut listening = true;
        let mut llm_events = self.run.llm.as_ref().and_then(LlmRun::events);
        // Room comes only when something ends: notes and samples, of which there are many more,
        // change nothing.
        let mut has_room = true;
        // What was asked before anything began keeps it from beginning.
        while let Ok(request) = cancels.try_recv() {
            self.on_request(request);
        }
        loop {
            if self.llm_refused().is_none()
                && self.cancel.is_none()
                && std::mem::take(&mut has_room)
            {
                self.start(&mut queue, &mut tasks, &messages);
            }
            if tasks.is_empty() {
                break;
            }
            tokio::select! {
                // In this order, so that a request that comes with the end of an attempt keeps the next one from
                // starting.
                biased;
                cancel = cancels.recv(), if listening => match cancel {
                    Some(request) => self.on_request(request),
                    None => listening = false,
                },
                Some(message) = inbox.recv() => self.on_message(message),
                event = next_event(&mut llm_events) => self.on_llm_event(&event),
                Some(joined) = tasks.join_next() => {
                    has_room = true;
                    let (dir, result) = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                    // Whatever the task said before its end comes first.
                    while let Ok(message) = inbox.try_recv() {
                        self.on_message(message);
                    }
                    let written = match result {
                        Ok(end) => self.on_ended(&dir, end, &mut queue).map_err(RunError::from),
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
                        let message = Shown::message(&message);
                        self.emit(EventKind::Warning { key: None, message });
                        return Err(error);
                    }
                }
            }
        }
        self.write_metadata()?;
        self.write_group((self.stats.finished == self.stats.planned).then(Utc::now))?;
        if let Some(upstream) = self.llm_refused()
            && self.cancel.is_none()
            && self.stats.finished < self.stats.planned
        {
            return Err(RunError::LlmRefused { upstream });
        }
        self.emit(EventKind::GroupFinished { stats: self.stats });
        Ok(RunSummary { stats: self.stats, stopped: self.cancel, damaged })
    }

    /// A provider that takes no calls until a person has done something.
    fn llm_refused(&self) -> Option<String> {
        self.run.llm.as_ref().and_then(LlmRun::refused)
    }

    fn on_llm_event(&mut self, event: &medalist_llm::events::Event) {
        let (dir, message) = llm::describe(event);
        let attempts = &self.run.plan.attempts;
        let about = dir.and_then(|dir| attempts.iter().find(|attempt| attempt.dir == dir));
        let key = about.map(|attempt| attempt.key.clone());
        self.emit(EventKind::Warning { key, message: Shown::message(&message) });
    }

    /// Takes up what runs already, and starts what the scheduler says.
    fn start(
        &mut self,
        queue: &mut Queue,
        tasks: &mut JoinSet<(String, Result<TaskEnd, RunError>)>,
        messages: &mpsc::UnboundedSender<AttemptMessage>,
    ) {
        while let Some((number, begin, lease)) = queue.next() {
            let attempt = Arc::clone(&queue.open[number].0);
            // Room for each reason once; each is told once.
            let (requests, receiver) = mpsc::channel(4);
            let task = run_tries(
                Arc::clone(&self.run),
                Arc::clone(&attempt),
                begin,
                lease,
                receiver,
                messages.clone(),
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

    fn on_request(&mut self, request: StopRequest) {
        match request {
            StopRequest::Group(reason) => self.cancel(reason),
            StopRequest::Attempt { dir, reason } => self.stop(dir, reason),
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
        self.emit(EventKind::Warning { key, message: format!("{reason} by request").into() });
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

    fn on_message(&mut self, message: AttemptMessage) {
        let Some(active) = self.active.get_mut(&message.dir) else { return };
        let key = active.attempt.key.clone();
        let event = match message.update {
            AttemptUpdate::TryStarted { number, attached } => EventKind::Started {
                key,
                dir: message.dir,
                try_number: number,
                timeout_s: self.run.plan.limits.timeout.as_secs_f64(),
                attached,
                stats: self.stats,
            },
            AttemptUpdate::AgentRuns { since } => {
                active.started = Some(since);
                return;
            }
            AttemptUpdate::Phase(phase) => EventKind::Phase { key, phase },
            AttemptUpdate::Usage { usage, last_line } => {
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
                    llm: usage.llm,
                    last_line,
                }
            }
            AttemptUpdate::Snapshot { elapsed, bytes } => {
                EventKind::Snapshot { key, after_s: elapsed.as_secs_f64(), bytes }
            }
            AttemptUpdate::TryFailed { outcome, number, retry_in } => EventKind::TryFailed {
                key,
                try_number: number,
                outcome,
                retry_in_s: retry_in.as_secs_f64(),
            },
            AttemptUpdate::Warning(message) => EventKind::Warning { key: Some(key), message },
        };
        self.emit(event);
    }

    /// Takes an attempt's GPUs and place back, leaves bad GPUs out, and counts the attempt or
    /// queues it again.
    fn on_ended(&mut self, dir: &str, end: TaskEnd, queue: &mut Queue) -> Result<(), StoreError> {
        let Some(active) = self.active.remove(dir) else { return Ok(()) };
        self.stats.running = self.active.len();
        queue.scheduler.end(active.number);
        for bad in &end.bad_gpus {
            if queue.leave_out(bad) {
                let message = format!("GPU {bad}; it is left out of this run from now on");
                let (key, message) = (Some(active.attempt.key.clone()), Shown::message(&message));
                self.emit(EventKind::Warning { key, message });
            }
        }
        match end.finished {
            Some(finished) => self.on_finished(&active, finished),
            None => {
                queue.again(active.number);
                Ok(())
            }
        }
    }

    fn count(&mut self, finished: &FinishedAttempt) {
        self.stats.count(&finished.outcome, &finished.grade);
        self.metadata.runs.insert(
            finished.dir.clone(),
            MetadataRun { success: !finished.outcome.infrastructure },
        );
    }

    fn on_finished(
        &mut self,
        active: &Active,
        finished: FinishedAttempt,
    ) -> Result<(), StoreError> {
        self.count(&finished);
        let failed = finished.outcome.kind != OutcomeKind::Cancelled
            && (finished.outcome.infrastructure || !finished.grade.valid);
        let mut written = Ok(());
        if Instant::now() >= self.metadata_due {
            written = self.write_metadata();
            self.metadata_due = Instant::now() + METADATA_EVERY;
        }
        // Told also where that file could not be written: the attempt's own are on disk.
        self.emit(EventKind::Finished {
            key: active.attempt.key.clone(),
            outcome: finished.outcome,
            grade: finished.grade,
            took_s: finished.took.as_secs_f64(),
            stats: self.stats,
        });
        if failed && self.run.plan.fail_fast {
            self.cancel(CancelReason::FailFast);
        }
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
            None => {
                let run = &self.run;
                let llm = llm::group_record(&run.plan, &run.group, run.llm.as_ref());
                write_group(&run.group, &run.plan, &run.hardware, ended_at, llm)
            }
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

/// The next thing that the gateway tells; never, where there is none.
async fn next_event(
    events: &mut Option<mpsc::UnboundedReceiver<medalist_llm::events::Event>>,
) -> medalist_llm::events::Event {
    match events {
        Some(receiver) => match receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
