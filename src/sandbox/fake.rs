//! An executor without processes: scripted endings on tokio's clock, for tests and simulations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{
    Enforcement, Executor, ExecutorInfo, ExitCause, ExitReport, Orphan, Postponed, RunToken,
    Running, Salvage, Stop, StopReason,
};
use crate::attempt::launch::{
    BoxFuture, ExecutorError, LABEL_NAME, LaunchSpec, PreparedImage, Program,
};
use crate::attempt::outcome::Usage;

/// What a scripted attempt does.
#[derive(Debug, Clone)]
pub struct Script {
    /// How long its agent runs when left alone; `None` means for ever.
    pub takes: Option<Duration>,
    /// How it then ends.
    pub cause: ExitCause,
    /// How long it goes on after SIGTERM; `None` means that it ignores the signal.
    pub after_term: Option<Duration>,
    /// How long its image takes.
    pub image_takes: Duration,
    /// Why it cannot be started.
    pub start_error: Option<String>,
    /// Bytes it has on disk at every look.
    pub disk_bytes: Option<u64>,
    /// What it leaves as submission.
    pub submission: Option<Vec<u8>>,
    /// Versions of its code, in order, with the times after its start.
    pub code: Vec<(Duration, &'static str)>,
    /// What it uses.
    pub usage: Usage,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            takes: Some(Duration::from_secs(60)),
            cause: ExitCause::Exited(0),
            after_term: Some(Duration::ZERO),
            image_takes: Duration::ZERO,
            start_error: None,
            disk_bytes: None,
            submission: None,
            code: Vec::new(),
            usage: Usage::default(),
        }
    }
}

type Scripts = dyn Fn(&LaunchSpec) -> Script + Send + Sync;

/// Runs scripts in place of agents.
pub struct FakeExecutor {
    scripts: Box<Scripts>,
    runs: Arc<Mutex<BTreeMap<String, Arc<FakeRun>>>>,
    away_until: Arc<Mutex<Option<Instant>>>,
}

struct FakeRun {
    token: RunToken,
    labels: BTreeMap<String, String>,
    script: Script,
    started: Instant,
    signals: watch::Sender<Signals>,
}

#[derive(Debug, Clone, Default)]
struct Signals {
    why: Option<(StopReason, Instant)>,
    term: Option<Instant>,
    kill: Option<Instant>,
}

impl FakeRun {
    /// When and how it ends, as far as can be told now.
    fn end(&self) -> (Option<Instant>, ExitCause) {
        let signals = self.signals.borrow().clone();
        let mut ends: Vec<(Instant, ExitCause)> = Vec::new();
        ends.extend(
            self.script.takes.map(|takes| (self.started + takes, self.script.cause.clone())),
        );
        if let (Some(at), Some(after)) = (signals.term, self.script.after_term) {
            ends.push((at + after, ExitCause::Exited(143)));
        }
        ends.extend(signals.kill.map(|at| (at, ExitCause::Exited(137))));
        match ends.into_iter().min_by_key(|(at, _)| *at) {
            Some((at, cause)) => (Some(at), cause),
            None => (None, ExitCause::Exited(0)),
        }
    }
}

impl FakeExecutor {
    /// An executor that asks `scripts` what each attempt does.
    pub fn new(scripts: impl Fn(&LaunchSpec) -> Script + Send + Sync + 'static) -> Self {
        Self { scripts: Box::new(scripts), runs: Arc::default(), away_until: Arc::default() }
    }

    /// Names of the attempts that are started and not removed.
    #[must_use]
    pub fn present(&self) -> Vec<String> {
        lock(&self.runs).keys().cloned().collect()
    }

    /// Answers nothing until `until`, as a daemon that is restarted; agents run on.
    pub fn go_away(&self, until: Instant) {
        *lock(&self.away_until) = Some(until);
    }

    fn running(
        &self,
        run: Arc<FakeRun>,
        spec: Arc<LaunchSpec>,
        elapsed_before: Duration,
    ) -> Box<dyn Running> {
        let (runs, away_until) = (Arc::clone(&self.runs), Arc::clone(&self.away_until));
        Box::new(FakeRunning { run, spec, elapsed_before, runs, away_until })
    }
}

struct FakeRunning {
    run: Arc<FakeRun>,
    spec: Arc<LaunchSpec>,
    elapsed_before: Duration,
    runs: Arc<Mutex<BTreeMap<String, Arc<FakeRun>>>>,
    away_until: Arc<Mutex<Option<Instant>>>,
}

/// The error of a daemon that is away.
fn answers(away_until: &Mutex<Option<Instant>>) -> Result<(), ExecutorError> {
    match *lock(away_until) {
        Some(until) if Instant::now() < until => Err(ExecutorError::EngineAway {
            action: "ask the engine".to_string(),
            source: "connection refused".into(),
        }),
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor for FakeExecutor {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async {
            Ok(ExecutorInfo {
                name: "fake".to_string(),
                sealed: true,
                details: BTreeMap::new(),
                limits: BTreeMap::from([("timeout".to_string(), Enforcement::Watched)]),
                warnings: Vec::new(),
            })
        })
    }

    fn prepare_image<'a>(
        &'a self,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Option<PreparedImage>, ExecutorError>> {
        Box::pin(async move {
            match program {
                Program::Image { reference, .. } => Ok(Some(PreparedImage {
                    reference: reference.clone(),
                    id: format!("sha256:{:064x}", reference.len()),
                    digest: None,
                    bytes: 0,
                })),
                Program::Local { .. } => Ok(None),
            }
        })
    }

    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            answers(&self.away_until)?;
            let script = (self.scripts)(&spec);
            tokio::time::sleep(script.image_takes).await;
            if let Some(what) = script.start_error {
                return Err(ExecutorError::Unsupported { what });
            }
            let token = RunToken {
                executor: "fake".to_string(),
                name: spec.name.clone(),
                id: spec.name.clone(),
                started: Utc::now(),
            };
            let mut labels = spec.labels.clone();
            labels.insert(LABEL_NAME.to_string(), spec.name.clone());
            let signals = watch::channel(Signals::default()).0;
            let run = Arc::new(FakeRun { token, labels, script, started: Instant::now(), signals });
            lock(&self.runs).insert(spec.name.clone(), Arc::clone(&run));
            Ok(self.running(run, spec, Duration::ZERO))
        })
    }

    fn attach<'a>(
        &'a self,
        token: &'a RunToken,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            answers(&self.away_until)?;
            let run = lock(&self.runs).get(&token.name).cloned();
            let run = run.ok_or_else(|| ExecutorError::Gone { name: token.name.clone() })?;
            let elapsed = run.started.elapsed();
            Ok(self.running(run, spec, elapsed))
        })
    }

    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>> {
        Box::pin(async move {
            answers(&self.away_until)?;
            let runs = lock(&self.runs);
            let wanted = |run: &&Arc<FakeRun>| {
                labels.iter().all(|(key, value)| run.labels.get(key) == Some(value))
            };
            let orphan = |run: &Arc<FakeRun>| Orphan {
                token: run.token.clone(),
                labels: run.labels.clone(),
                running: run.end().0.is_none_or(|at| at > Instant::now()),
            };
            Ok(runs.values().filter(wanted).map(orphan).collect())
        })
    }

    fn remove_orphan<'a>(
        &'a self,
        token: &'a RunToken,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            lock(&self.runs).remove(&token.name);
            Ok(())
        })
    }
}

impl Running for FakeRunning {
    fn token(&self) -> RunToken {
        self.run.token.clone()
    }

    fn elapsed_before(&self) -> Duration {
        self.elapsed_before
    }

    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>> {
        Box::pin(async {
            let mut signals = self.run.signals.subscribe();
            loop {
                answers(&self.away_until)?;
                let (at, cause) = self.run.end();
                let sleep = async {
                    match at {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = sleep => return Ok(ExitReport { cause, usage: self.run.script.usage, ran: None }),
                    _ = signals.changed() => {}
                }
            }
        })
    }

    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            let now = Instant::now();
            self.run.signals.send_modify(|signals| {
                signals.why = Some((why.clone(), now));
                match how {
                    Stop::Term => signals.term = signals.term.or(Some(now)),
                    Stop::Kill => signals.kill = signals.kill.or(Some(now)),
                }
            });
            Ok(())
        })
    }

    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>> {
        Box::pin(async {
            let (why, at) = self.run.signals.borrow().why.clone()?;
            Some((why, at.elapsed()))
        })
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(async { self.run.script.usage })
    }

    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async { self.run.script.disk_bytes })
    }

    fn storage(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>> {
        Box::pin(async move {
            let Some(submission) = &self.run.script.submission else { return Ok(false) };
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(to, submission)?;
            Ok(true)
        })
    }

    fn snapshot_code<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<u64, ExecutorError>> {
        Box::pin(async move {
            let ran = self.run.started.elapsed();
            let version = self.run.script.code.iter().rev().find(|(from, _)| *from <= ran);
            let Some((_, text)) = version else { return Ok(0) };
            std::fs::create_dir_all(to)?;
            std::fs::write(to.join("main.py"), text)?;
            Ok(0)
        })
    }

    fn collect(&self) -> BoxFuture<'_, Salvage> {
        Box::pin(async {
            let mut salvage = Salvage::default();
            if let Err(error) = answers(&self.away_until) {
                salvage.errors.push(error.to_string().into());
                salvage.postponed = Some(Postponed::EngineAway);
                return salvage;
            }
            for dir in ["submission", "logs", "code"] {
                if let Err(error) = std::fs::create_dir_all(self.spec.attempt_dir.salvaged(dir)) {
                    salvage.errors.push(error.to_string().into());
                }
            }
            match self.snapshot(&self.spec.attempt_dir.submission()).await {
                Ok(written) => {
                    salvage.submission = written;
                    salvage.files = u64::from(written);
                    salvage.bytes =
                        self.run.script.submission.as_ref().map_or(0, |csv| csv.len() as u64);
                }
                Err(error) => salvage.errors.push(error.to_string().into()),
            }
            salvage
        })
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        Box::pin(async {
            lock(&self.runs).remove(&self.run.token.name);
            Ok(())
        })
    }
}
