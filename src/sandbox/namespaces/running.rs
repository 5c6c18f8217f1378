//! An agent in namespaces that runs: how it ends, is stopped, measured, salvaged and removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medalist_grading::untrusted::Shown;

use super::Shared;
use super::node::Maps;
use super::worker::{Done, Fault, Work};
use crate::attempt::launch::{BoxFuture, ExecutorError};
use crate::attempt::outcome::Usage;
use crate::sandbox::control;
use crate::sandbox::supervisor::Supervised;
use crate::sandbox::{
    ExitCause, ExitReport, Postponed, RunToken, Running, Salvage, Stop, StopReason,
};

pub(super) struct NamespacesRunning {
    pub(super) attempt: Supervised,
    pub(super) shared: Arc<Shared>,
    pub(super) maps: Maps,
}

impl NamespacesRunning {
    fn home(&self) -> PathBuf {
        self.shared.storage(&self.attempt.spec.name).home()
    }

    async fn ask(&self, work: Work) -> Result<Done, Fault> {
        self.shared.program.ask(&self.maps, &work).await
    }
}

impl Running for NamespacesRunning {
    fn token(&self) -> RunToken {
        self.attempt.token()
    }

    fn elapsed_before(&self) -> Duration {
        self.attempt.elapsed_before
    }

    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>> {
        Box::pin(async {
            self.attempt.ended().await;
            let usage = self.attempt.usage().await;
            if let Some(end) = self.attempt.control.end().await {
                return Ok(end.report_of_container(usage));
            }
            // The kernel has ended the container with it.
            let why = "the container's supervisor was ended from outside".to_string();
            Ok(ExitReport { cause: ExitCause::Lost(why), usage, ran: None })
        })
    }

    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            self.attempt.stop(how, why).await;
            Ok(())
        })
    }

    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>> {
        Box::pin(control::stopped(&self.attempt.control))
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(self.attempt.usage())
    }

    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async {
            let dir = self.shared.storage(&self.attempt.spec.name).upper();
            let Ok(Done::Bytes(bytes)) = self.ask(Work::Measure { dir }).await else {
                return None;
            };
            // What the init copied up from the image is no doing of the agent.
            let before =
                self.attempt.control.usage().await.and_then(|record| record.baseline_bytes);
            Some(bytes.saturating_sub(before.unwrap_or(0)))
        })
    }

    fn storage(&self) -> Vec<PathBuf> {
        vec![self.shared.dir.clone()]
    }

    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>> {
        Box::pin(async move {
            let largest = self.attempt.spec.limits.submission_bytes;
            let work = Work::Snapshot { home: self.home(), to: to.to_path_buf(), largest };
            match self.ask(work).await {
                Ok(done) => Ok(matches!(done, Done::Taken(true))),
                Err(fault) => Err(fault.into_error("copy the submission")),
            }
        })
    }

    fn snapshot_code<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<u64, ExecutorError>> {
        Box::pin(async move {
            let work = Work::SnapshotCode { home: self.home(), to: to.to_path_buf() };
            match self.ask(work).await {
                Ok(Done::Copied { left_out }) => Ok(left_out),
                Ok(_) => Ok(0),
                Err(fault) => Err(fault.into_error("copy the code")),
            }
        })
    }

    fn collect(&self) -> BoxFuture<'_, Salvage> {
        Box::pin(async {
            let work = Work::Collect {
                home: self.home(),
                attempt: self.attempt.spec.attempt_dir.root().to_path_buf(),
                largest: self.attempt.spec.limits.submission_bytes,
            };
            let fault = match self.ask(work).await {
                Ok(Done::Collected(salvage)) => return *salvage,
                Ok(_) => Fault::Other("the worker answered something else".to_string()),
                Err(fault) => fault,
            };
            let mut salvage = Salvage::default();
            let message = match fault {
                Fault::HostFull(message) => {
                    salvage.postponed = Some(Postponed::HostFull);
                    message
                }
                Fault::Image(message) | Fault::Other(message) => message,
            };
            salvage.errors.push(Shown::message(&message));
            salvage
        })
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        Box::pin(async {
            self.attempt.end().await;
            self.shared.remove(&self.maps, &self.attempt.spec.name).await?;
            self.attempt.control.remove()?;
            Ok(self.shared.marks().remove(&self.attempt.spec.name)?)
        })
    }
}
