//! A container that runs: how it ends, is stopped, measured, salvaged and removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use medalist_grading::untrusted::Shown;
use medalist_init::protocol::Record;

use super::{Began, DockerExecutor};
use crate::attempt::launch::{BoxFuture, ExecutorError, LaunchSpec};
use crate::attempt::outcome::Usage;
use crate::attempt::text::chain;
use crate::sandbox::control::{self, Control, End};
use crate::sandbox::engine::{ContainerFacts, ContainerState, Engine, EngineError, Entry};
use crate::sandbox::salvage::{self, CODE, LABELS, Rules, SUBMISSION};
use crate::sandbox::services::Services;
use crate::sandbox::{
    ExitCause, ExitReport, Postponed, RunToken, Running, Salvage, Stop, StopReason,
};

/// How long a killed agent's init may take for its last words, before the container is killed under
/// it.
const LAST_WORDS: Duration = Duration::from_secs(5);

struct DockerRunning {
    engine: Engine,
    id: String,
    spec: Arc<LaunchSpec>,
    control: Control,
    services: Services,
    began: Began,
    elapsed_before: Duration,
    killed: AtomicBool,
    podman: bool,
    /// The engine's own directory, if it is on this machine.
    storage: Option<PathBuf>,
}

impl DockerExecutor {
    pub(super) fn running(
        &self,
        id: String,
        spec: Arc<LaunchSpec>,
        control: Control,
        services: Services,
        began: Began,
        elapsed_before: Duration,
    ) -> Box<dyn Running> {
        let engine = self.engine.clone();
        let root = self.info.get().map(|info| info.root_dir.clone());
        let podman = self.info.get().is_some_and(|info| info.podman);
        Box::new(DockerRunning {
            engine,
            id,
            spec,
            control,
            services,
            began,
            elapsed_before,
            killed: AtomicBool::new(false),
            podman,
            storage: root.filter(|root| root.is_absolute() && root.exists()),
        })
    }
}

impl DockerRunning {
    /// Waits until the container has ended. `None` means that the init has left its account, which
    /// says all there is to say.
    async fn ended(&self) -> Result<Option<ContainerFacts>, EngineError> {
        loop {
            let ended = match self.engine.wait(&self.id).await {
                Ok(()) if self.control.end().await.is_some() => return Ok(None),
                Ok(()) => self.engine.inspect(&self.id, false).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(facts) if facts.state == ContainerState::Ended => return Ok(Some(facts)),
                Ok(_) => {}
                // The init's account stands, whatever became of the daemon.
                Err(_) if self.control.end().await.is_some() => return Ok(None),
                Err(error) => return Err(error),
            }
            // The wait came back and yet it has not ended: asked again, and not at once.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn last_usage(&self) -> Usage {
        control::last_usage(&self.control, self.services.validations()).await
    }

    /// What ended a container whose init left no account.
    fn cause_without_account(&self, facts: &ContainerFacts) -> ExitCause {
        let status = facts.exit.unwrap_or(-1);
        if self.killed.load(Ordering::Relaxed) {
            ExitCause::Exited(137)
        } else if facts.out_of_memory {
            ExitCause::OutOfMemory
        } else if facts.error.is_empty() {
            ExitCause::Lost(format!("the container was ended from outside with status {status}"))
        } else {
            ExitCause::Lost(facts.error.clone())
        }
    }

    /// What `submission.csv` is, where that must be known before it is asked for: Podman follows a
    /// link that is asked for by its name, Docker gives the link.
    async fn submission_entry(&self) -> Result<Option<Entry>, EngineError> {
        if !self.podman {
            return Ok(Some(Entry::File));
        }
        self.engine.entry(&self.id, &format!("/home/{SUBMISSION}")).await
    }

    /// Takes over `submission.csv` by its own name, before and apart from all else.
    async fn take_submission(&self, to: PathBuf, salvage: Salvage) -> Salvage {
        let largest = self.spec.limits.submission_bytes;
        let archive = match self.submission_entry().await {
            Ok(Some(Entry::File)) => {
                self.engine.archive(&self.id, &format!("/home/{SUBMISSION}")).await
            }
            Ok(None) => Ok(None),
            Ok(Some(other)) => {
                let mut salvage = salvage;
                salvage.refuse(SUBMISSION, other.name());
                return salvage;
            }
            Err(error) => Err(error),
        };
        salvage::in_background(salvage, move |salvage| match archive {
            Ok(Some(tar)) => {
                salvage.submission = salvage::file_from_tar(tar, SUBMISSION, &to, largest, salvage);
            }
            Ok(None) => {}
            Err(error) => not_read(error, salvage),
        })
        .await
    }

    async fn take(&self, label: &'static str, salvage: Salvage) -> Salvage {
        let rules = Rules::of(label, self.spec.limits.submission_bytes);
        let to = self.spec.attempt_dir.salvaged(label);
        let archive = self.engine.archive(&self.id, &format!("/home/{label}")).await;
        salvage::in_background(salvage, move |salvage| match archive {
            Ok(Some(tar)) => salvage::from_tar(tar, label, &to, rules, salvage),
            Ok(None) => {}
            Err(error) => not_read(error, salvage),
        })
        .await
    }
}

/// Records that the engine did not hand over what the agent left.
fn not_read(error: EngineError, salvage: &mut Salvage) {
    let error = ExecutorError::from(error);
    if error.is_engine_away() {
        salvage.postponed.get_or_insert(Postponed::EngineAway);
    }
    salvage.errors.push(Shown::message(&chain(&error)));
}

impl Running for DockerRunning {
    fn token(&self) -> RunToken {
        RunToken {
            executor: "docker".to_string(),
            name: self.spec.name.clone(),
            id: self.id.clone(),
            started: self.began.at,
        }
    }

    fn elapsed_before(&self) -> Duration {
        self.elapsed_before
    }

    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>> {
        Box::pin(async {
            let ended = self.ended().await;
            let usage = self.last_usage().await;
            if let Some(end) = self.control.end().await {
                return Ok(end.report_of_container(usage));
            }
            let cause = match ended {
                Ok(Some(facts)) => self.cause_without_account(&facts),
                Ok(None) => ExitCause::Lost("the init's account is gone".to_string()),
                Err(EngineError::NotFound { .. }) => {
                    ExitCause::Lost("the container was removed by somebody else".to_string())
                }
                Err(error) => match ExecutorError::from(error) {
                    away if away.is_engine_away() => return Err(away),
                    other => ExitCause::Lost(chain(&other)),
                },
            };
            Ok(ExitReport { cause, usage, ran: None })
        })
    }

    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            self.control.announce_stop(why).await;
            if how == Stop::Term {
                return Ok(self.engine.kill(&self.id, "SIGTERM").await?);
            }
            // Before the signal: an end that nobody has noted is somebody else's.
            self.killed.store(true, Ordering::Relaxed);
            // The init ends all others, writes what was used and ends; if it does not, the
            // container is killed.
            let asked = self.engine.kill(&self.id, "SIGUSR2").await;
            let ended = tokio::time::timeout(LAST_WORDS, self.engine.wait(&self.id)).await;
            if asked.is_err() || !matches!(ended, Ok(Ok(()))) {
                self.engine.kill(&self.id, "SIGKILL").await?;
            }
            Ok(())
        })
    }

    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>> {
        Box::pin(control::stopped(&self.control))
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(self.last_usage())
    }

    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async {
            let layer = self.engine.inspect(&self.id, true).await.ok()?.layer_bytes?;
            // What the init copied up from the image is no doing of the agent.
            Some(layer.saturating_sub(self.began.baseline))
        })
    }

    fn storage(&self) -> Vec<PathBuf> {
        self.storage.iter().cloned().collect()
    }

    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>> {
        Box::pin(async move {
            let path = format!("/home/{SUBMISSION}");
            if self.submission_entry().await? != Some(Entry::File) {
                return Ok(false);
            }
            let Some(tar) = self.engine.archive(&self.id, &path).await? else { return Ok(false) };
            let (to, largest) = (to.to_path_buf(), self.spec.limits.submission_bytes);
            let taken = tokio::task::spawn_blocking(move || {
                let mut unrecorded = Salvage::default();
                salvage::file_from_tar(tar, SUBMISSION, &to, largest, &mut unrecorded)
            });
            Ok(taken.await.unwrap_or(false))
        })
    }

    fn snapshot_code<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<u64, ExecutorError>> {
        Box::pin(async move {
            let path = format!("/home/{CODE}");
            let Some(tar) = self.engine.archive(&self.id, &path).await? else { return Ok(0) };
            let to = to.to_path_buf();
            let copied = tokio::task::spawn_blocking(move || salvage::code_from_tar(tar, &to));
            Ok(copied.await.map_err(std::io::Error::other)?)
        })
    }

    fn collect(&self) -> BoxFuture<'_, Salvage> {
        Box::pin(async {
            let mut salvage = Salvage::default();
            let dir = &self.spec.attempt_dir;
            if !salvage::make_room(dir, &mut salvage) {
                return salvage;
            }
            let account = match self.control.end().await {
                Some(End::Account(record)) => *record,
                _ => Record::default(),
            };
            let is_empty = |label: &str| account.empty.iter().any(|empty| empty == label);
            if !is_empty("submission") {
                salvage = self.take_submission(dir.submission(), salvage).await;
            }
            for label in LABELS {
                let done = label == "submission" && account.lone_submission == Some(1);
                if !done && !is_empty(label) {
                    salvage = self.take(label, salvage).await;
                }
            }
            salvage::say_what_was_meant(dir, &mut salvage);
            salvage
        })
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        Box::pin(async {
            self.engine.remove(&self.id).await?;
            Ok(self.control.remove()?)
        })
    }
}
