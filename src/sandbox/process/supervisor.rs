//! The process that stands for an attempt: its supervisor, by number and start time.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two looks at whether the supervisor has ended.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a killed agent's supervisor may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Waits for a child that this process may outlive, so that it does not stay as a zombie.
pub(super) fn reap(mut child: tokio::process::Child) {
    tokio::spawn(async move {
        if let Err(error) = child.wait().await {
            tracing::debug!(%error, "cannot reap a supervisor");
        }
    });
}

/// A process that is told from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    start_time: u64,
}

impl Process {
    /// The process that has this number now.
    pub(super) fn of(pid: i32) -> Self {
        Self { pid, start_time: start_time(pid).unwrap_or(0) }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (pid, start_time) = id.split_once('@')?;
        Some(Self {
            pid: pid.parse().ok().filter(|pid| *pid > 1)?,
            start_time: start_time.parse().ok()?,
        })
    }

    /// Whether it is still there; a zombie is not.
    pub(super) fn alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Sends it a signal, if it is still there.
    pub(super) fn signal(self, signal: Signal) {
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
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(18)?.parse().ok() }
}

/// Kills whatever still has the attempt's mark in its environment.
pub(super) fn kill_marked(name: &str) {
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
pub(super) async fn end(process: Process, name: &str) {
    process.signal(Signal::SIGUSR2);
    let patience = tokio::time::Instant::now() + LAST_WORDS;
    while process.alive() && tokio::time::Instant::now() < patience {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // What has left the supervisor's descent still has the attempt's name in its environment.
    process.signal(Signal::SIGKILL);
    kill_marked(name);
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
