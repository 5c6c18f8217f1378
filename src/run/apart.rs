//! Tries that are made by processes of their own, on whatever machines share the group's folder: who
//! makes which, and that the world sees that it lives.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::attempt::dir::AttemptDir;
use crate::host::files::{StoreError, write_atomic};
use crate::host::store::tries::{Claim, Claimed, TryState, claim, gone};

/// Between two beats.
const BEAT_EVERY: Duration = Duration::from_secs(60);
/// How often what the agent printed is brought to disk, where others can read it.
const SYNC_EVERY: Duration = Duration::from_secs(10);
/// How long an agent has at least that is ended with its job.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// What is kept of a job's last seconds for taking over what the agent left.
const COLLECT: Duration = Duration::from_secs(10);
/// A job that ends sooner than this is told so because of its time limit.
const NEAR_THE_END: Duration = Duration::from_secs(150);

/// How this process stands beside others that make tries of the same attempts.
#[derive(Debug, Clone)]
pub struct Apart {
    /// This process.
    pub us: Claim,
    /// Of a process that runs one attempt: the try that is its own already.
    pub first: Option<First>,
    /// Whether whoever made a try whose end is open is known to be gone: a scheduler was asked.
    pub others_are_gone: bool,
    /// The job that this process is part of.
    pub job: Option<JobEnd>,
}

/// The try that a process begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// A new one.
    New(u32),
    /// One whose agent this machine still has, from a process that died here.
    Again(u32),
    /// One that has ended and has no grade.
    Ungraded(u32),
}

impl First {
    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::New(number) | Self::Again(number) | Self::Ungraded(number) => number,
        }
    }
}

/// When a job ends, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEnd {
    /// Its time limit.
    pub at: Option<DateTime<Utc>>,
    /// Between the scheduler's SIGTERM and its SIGKILL.
    pub kill_wait: Duration,
}

impl JobEnd {
    /// What an agent gets to save its work when the scheduler says that the job ends.
    pub fn grace(&self, grace: Duration, now: DateTime<Utc>) -> Duration {
        let after_term = self.kill_wait.saturating_sub(COLLECT);
        let left = self.left(now).filter(|left| *left < NEAR_THE_END);
        // A warning comes before the time limit; then there is what is left of it as well.
        let longest =
            after_term.max(left.map_or(Duration::ZERO, |left| left.saturating_sub(COLLECT)));
        grace.min(longest.max(LEAST_GRACE))
    }

    /// Why the scheduler ends the job now, as far as the clock tells.
    pub fn why(&self, now: DateTime<Utc>) -> &'static str {
        match self.left(now).is_some_and(|left| left < NEAR_THE_END) {
            true => "its job's time limit came before the agent's",
            false => "the scheduler ended its job",
        }
    }

    fn left(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.at.map(|at| (at - now).to_std().unwrap_or(Duration::ZERO))
    }
}

impl Apart {
    /// Claims the next try of an attempt.
    pub(super) fn claim(&self, dir: &AttemptDir) -> Result<Claimed, StoreError> {
        let is_gone = |last: &TryState| match (self.others_are_gone, gone(dir, last, &self.us)) {
            (_, Ok(why)) => Ok(why),
            (true, Err(who)) => Ok(format!("{who} is over")),
            (false, Err(who)) => Err(who),
        };
        claim(dir, &self.us, &is_gone)
    }
}

/// Says again and again that a try's harness lives, until it is dropped.
#[derive(Debug)]
pub(super) struct Beat(tokio::task::JoinHandle<()>);

impl Beat {
    pub(super) fn start(folder: AttemptDir) -> Self {
        Self(tokio::spawn(async move {
            let mut since = BEAT_EVERY;
            loop {
                let (folder, due) = (folder.clone(), since >= BEAT_EVERY);
                // A network file system may hold a call up for as long as it likes.
                let beaten = tokio::task::spawn_blocking(move || beat(&folder, due)).await;
                if let Ok(Err(error)) = beaten {
                    tracing::warn!(%error, "cannot say that the try lives");
                }
                since = if due { Duration::ZERO } else { since };
                tokio::time::sleep(SYNC_EVERY).await;
                since += SYNC_EVERY;
            }
        }))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn beat(folder: &AttemptDir, due: bool) -> Result<(), StoreError> {
    sync(&folder.log());
    if due {
        write_atomic(&folder.beat(), format!("{}\n", Utc::now().to_rfc3339()).as_bytes())?;
    }
    Ok(())
}

/// Brings a file to disk, if it is there.
fn sync(path: &Path) {
    if let Ok(file) = std::fs::File::open(path)
        && let Err(error) = file.sync_data()
    {
        tracing::debug!(%error, path = %path.display(), "cannot be flushed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_gets_what_its_job_has_left() {
        let now = Utc::now();
        let second = Duration::from_secs(1);
        let end = |left: Option<i64>, kill_wait: u32| JobEnd {
            at: left.map(|left| now + chrono::Duration::seconds(left)),
            kill_wait: second * kill_wait,
        };
        for (job, grace, expected) in [
            (end(None, 30), 120, 20),
            (end(None, 30), 5, 5),
            (end(None, 5), 120, 2),
            (end(Some(3600), 30), 120, 20),
            (end(Some(70), 30), 120, 60),
            (end(Some(-5), 120), 120, 110),
        ] {
            let got = job.grace(second * grace, now);
            assert_eq!(got.as_secs_f64().round() as u64, expected, "{job:?}");
        }
        assert!(end(Some(60), 30).why(now).contains("time limit"));
        assert!(!end(Some(3600), 30).why(now).contains("time limit"));
    }
}
