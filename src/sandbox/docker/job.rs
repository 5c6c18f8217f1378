//! Containers of a batch job that is over. An engine's daemon is no process of the job, so that its
//! containers outlive a job that is cancelled: with its memory and its GPUs, which the scheduler has
//! given to somebody else by then.

use std::collections::BTreeMap;

use super::DockerExecutor;
use crate::attempt::launch::{ExecutorError, LABEL_NAME};
use crate::host::machine::boot_id;
use crate::sandbox::supervisor::Process;
use crate::sandbox::{Executor as _, Orphan};

/// Label with the batch job that a container is of.
const JOB: &str = "io.medalist.job";
/// Label with the harness that made it: boot, process and the time that it started.
const HARNESS: &str = "io.medalist.harness";
/// Where schedulers say which job a process is of.
const JOB_VARIABLES: [&str; 4] = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"];

/// What tells later harnesses on this machine that a container's job is over; nothing outside of jobs,
/// where a container that outlives its harness is to be taken up again.
pub(super) fn labels() -> BTreeMap<String, String> {
    let job = JOB_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
    let Some(job) = job.filter(|job| !job.is_empty()) else { return BTreeMap::new() };
    let own = Process::of(i32::try_from(std::process::id()).unwrap_or(0));
    [(JOB, job), (HARNESS, format!("{} {own}", boot_id()))]
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

/// Whether an orphan was started in a batch job whose harness is gone from this machine.
pub fn is_of_dead_job(orphan: &Orphan) -> bool {
    let harness = orphan.labels.get(HARNESS).and_then(|harness| harness.split_once(' '));
    match (orphan.labels.contains_key(JOB), harness) {
        (true, Some((known, process))) => {
            known != boot_id() || Process::parse(process).is_none_or(|process| !process.alive())
        }
        _ => false,
    }
}

impl DockerExecutor {
    /// Removes what jobs that are over have left on this machine, but for the attempts named in
    /// `keep`, which are this harness's to judge. Gives the names.
    ///
    /// # Errors
    /// The engine's.
    pub async fn remove_of_dead_jobs(&self, keep: &[String]) -> Result<Vec<String>, ExecutorError> {
        let mut removed = Vec::new();
        for orphan in self.list_orphans(&BTreeMap::new()).await? {
            let name = orphan.labels.get(LABEL_NAME).cloned().unwrap_or_default();
            if is_of_dead_job(&orphan) && !keep.contains(&name) {
                self.remove_orphan(&orphan.token).await?;
                removed.push(name);
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::RunToken;

    #[test]
    fn only_a_job_whose_harness_is_gone_is_over() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap());
        let orphan = |labels: &[(&str, String)]| Orphan {
            token: RunToken {
                executor: String::new(),
                name: String::new(),
                id: String::new(),
                started: chrono::Utc::now(),
            },
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_string(), value.clone()))
                .collect(),
            running: true,
        };
        let job = (JOB, "7".to_string());
        for (labels, over) in [
            (vec![], false),
            (vec![(HARNESS, format!("{} 999999999@1", boot_id()))], false),
            (vec![job.clone()], false),
            (vec![job.clone(), (HARNESS, format!("{} {own}", boot_id()))], false),
            (vec![job.clone(), (HARNESS, format!("{} 999999999@1", boot_id()))], true),
            (vec![job.clone(), (HARNESS, format!("{} nonsense", boot_id()))], true),
            (vec![job, (HARNESS, format!("another-boot {own}"))], true),
        ] {
            assert_eq!(is_of_dead_job(&orphan(&labels)), over, "{labels:?}");
        }
    }
}
