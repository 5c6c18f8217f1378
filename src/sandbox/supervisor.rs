//! The process that stands for an attempt where there is no container engine: its supervisor, by
//! number and start time, and the mark on disk by which a later harness finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use chrono::{DateTime, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::control::{self, Control};
use super::services::Services;
use super::{Orphan, RunToken, Stop, StopReason};
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{ExecutorError, LABEL, LABEL_NAME, LaunchSpec};
use crate::attempt::outcome::Usage;
use crate::host::files::if_there;
use crate::host::machine;

/// Between two looks at whether the supervisor has ended.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a killed agent's supervisor may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Waits for a child that this process may outlive, so that it does not stay as a zombie.
pub(crate) fn reap(mut child: tokio::process::Child) {
    tokio::spawn(async move {
        if let Err(error) = child.wait().await {
            tracing::debug!(%error, "cannot reap a supervisor");
        }
    });
}

/// A process that is told from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: i32,
    start_time: u64,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> Self {
        Self { pid, start_time: start_time(pid).unwrap_or(0) }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let (pid, start_time) = id.split_once('@')?;
        Some(Self {
            pid: pid.parse().ok().filter(|pid| *pid > 1)?,
            start_time: start_time.parse().ok()?,
        })
    }

    /// Whether it is still there; a zombie is not.
    pub(crate) fn alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Sends it a signal, if it is still there.
    pub(crate) fn signal(self, signal: Signal) {
        if self.alive() {
            // It may end in between; then there is nobody to signal.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start_time)
    }
}

/// When a living process started, in clock ticks since boot; `None` for zombies and those that are
/// gone.
fn start_time(pid: i32) -> Option<u64> {
    machine::process_started(u32::try_from(pid).ok()?)
}

/// Kills whatever still has the attempt's mark in its environment.
pub(crate) fn kill_marked(name: &str) {
    let mark = format!("MEDALIST_ATTEMPT={name}");
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse::<i32>().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Ends a supervisor and all below it, leaving it time to write its account.
async fn end(process: Process, name: &str) {
    process.signal(Signal::SIGUSR2);
    let patience = tokio::time::Instant::now() + LAST_WORDS;
    while process.alive() && tokio::time::Instant::now() < patience {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // What has left the supervisor's descent still has the attempt's name in its environment.
    process.signal(Signal::SIGKILL);
    kill_marked(name);
}

/// An attempt under a supervisor: what executors without an engine share.
pub(crate) struct Supervised {
    executor: &'static str,
    pub(crate) process: Process,
    pub(crate) spec: Arc<LaunchSpec>,
    pub(crate) control: Control,
    services: Services,
    pub(crate) started: DateTime<Utc>,
    pub(crate) elapsed_before: Duration,
}

impl Supervised {
    /// One that was started just now.
    pub(crate) fn new(
        executor: &'static str,
        process: Process,
        spec: &Arc<LaunchSpec>,
        control: &Control,
        services: Services,
    ) -> Self {
        Self {
            executor,
            process,
            spec: Arc::clone(spec),
            control: control.clone(),
            services,
            started: Utc::now(),
            elapsed_before: Duration::ZERO,
        }
    }

    /// One that an earlier harness started; `is_left` says whether anything of it is there beside the
    /// process and what it wrote at its end.
    pub(crate) async fn find(
        executor: &'static str,
        token: &RunToken,
        spec: Arc<LaunchSpec>,
        is_left: bool,
    ) -> Result<Self, ExecutorError> {
        let gone = || ExecutorError::Gone { name: token.name.clone() };
        let process = Process::parse(&token.id).ok_or_else(gone)?;
        let control = Control::of(&spec.attempt_dir);
        if !process.alive() && control.end().await.is_none() && !is_left {
            return Err(gone());
        }
        let services = Services::open(&spec, control.dir())?;
        let elapsed_before = (Utc::now() - token.started).to_std().unwrap_or(Duration::ZERO);
        let started = token.started;
        Ok(Self { executor, process, spec, control, services, started, elapsed_before })
    }

    pub(crate) fn token(&self) -> RunToken {
        RunToken {
            executor: self.executor.to_string(),
            name: self.spec.name.clone(),
            id: self.process.to_string(),
            started: self.started,
        }
    }

    /// Waits until the supervisor has ended.
    pub(crate) async fn ended(&self) {
        while self.process.alive() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the supervisor to end its agent, or ends both, after the reason is written down.
    pub(crate) async fn stop(&self, how: Stop, why: &StopReason) {
        self.control.announce_stop(why).await;
        match how {
            Stop::Term => self.process.signal(Signal::SIGTERM),
            Stop::Kill => end(self.process, &self.spec.name).await,
        }
    }

    /// What the attempt has used so far.
    pub(crate) async fn usage(&self) -> Usage {
        control::last_usage(&self.control, self.services.validations()).await
    }

    /// Ends both if they still run.
    pub(crate) async fn end(&self) {
        if self.process.alive() {
            end(self.process, &self.spec.name).await;
        }
    }
}

/// What is left on disk to find a supervisor again.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    token: RunToken,
    labels: BTreeMap<String, String>,
    attempt_dir: PathBuf,
    /// The machine it runs on: several may share this user's folders, and each has its own processes.
    #[serde(default)]
    host: Option<String>,
}

/// The marks of running attempts, in a directory of this machine that is this user's alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks(PathBuf);

impl Marks {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    pub(crate) fn write(&self, token: RunToken, spec: &LaunchSpec) -> io::Result<()> {
        let mut labels = spec.labels.clone();
        labels.insert(LABEL.to_string(), crate::attempt::VERSION.to_string());
        labels.insert(LABEL_NAME.to_string(), spec.name.clone());
        let attempt_dir = spec.attempt_dir.root().to_owned();
        let mark = Mark { token, labels, attempt_dir, host: Some(machine::host_name()) };
        fs_err::create_dir_all(&self.0)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        serde_json::to_writer(&mut file, &mark)?;
        file.persist(self.path(&spec.name)).map(|_| ()).map_err(|error| error.error)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        if_there(fs_err::remove_file(self.path(name))).map(drop)
    }

    fn all(&self) -> io::Result<Vec<Mark>> {
        let entries = match fs_err::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut marks = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Ok(text) = fs_err::read_to_string(&path)
                && let Ok(mark) = serde_json::from_str::<Mark>(&text)
                && mark.host.as_ref().is_none_or(|host| *host == machine::host_name())
            {
                marks.push(mark);
            }
        }
        Ok(marks)
    }

    /// Ends the process of an orphan and removes its control directory; the folder of its attempt, if its
    /// mark is there.
    pub(crate) async fn end_orphan(&self, token: &RunToken) -> io::Result<Option<AttemptDir>> {
        let mark = self.all()?.into_iter().find(|mark| mark.token == *token);
        if let Some(process) = Process::parse(&token.id) {
            end(process, &token.name).await;
        }
        let Some(mark) = mark else { return Ok(None) };
        let dir = AttemptDir::new(mark.attempt_dir);
        Control::of(&dir).remove()?;
        Ok(Some(dir))
    }

    /// The attempts whose labels include `labels`.
    pub(crate) fn orphans(&self, labels: &BTreeMap<String, String>) -> io::Result<Vec<Orphan>> {
        let wanted =
            |mark: &Mark| labels.iter().all(|(name, value)| mark.labels.get(name) == Some(value));
        let orphan = |mark: Mark| {
            let running = Process::parse(&mark.token.id).is_some_and(Process::alive);
            Orphan { token: mark.token, labels: mark.labels, running }
        };
        Ok(self.all()?.into_iter().filter(wanted).map(orphan).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_number() {
        let us = Process::of(i32::try_from(std::process::id()).unwrap());
        assert!(us.alive());
        assert_eq!(Process::parse(&us.to_string()), Some(us));
        let earlier = Process { start_time: us.start_time - 1, ..us };
        assert!(!earlier.alive());
        for bad in ["", "7", "1@5", "0@5", "-3@5", "7@x", "x@7"] {
            assert_eq!(Process::parse(bad), None, "{bad}");
        }
    }
}
