//! The job of a batch scheduler that this process is part of, as its environment tells.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A job of a batch scheduler, and which start of it this is.
///
/// Schedulers give ids out again after a crash, so that no id alone names a job: its own name, which
/// medalist makes unique, goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `slurm`, `kubernetes`, `command`.
    pub scheduler: String,
    /// The cluster, where the scheduler names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its id; of an array, the array's.
    pub id: String,
    /// Its index in its array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// How often the scheduler has started it again.
    #[serde(default)]
    pub restarts: u32,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Job {
    /// Whether both are the same job, started once or again.
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |job: &Self| {
            (
                job.scheduler.clone(),
                job.cluster.clone(),
                job.name.clone(),
                job.id.clone(),
                job.index,
            )
        };
        name(self) == name(other)
    }
}

/// What the environment says of a job beside its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    pub job: Job,
    /// When the scheduler ends it at the latest, where it tells.
    pub ends_at: Option<DateTime<Utc>>,
    /// Processors that the job has on this node.
    pub cpus: Option<u32>,
    /// Memory that it has on this node.
    pub memory_bytes: Option<u64>,
    /// Its GPUs on this node, by index or UUID; `None` if none were asked for.
    pub gpus: Option<Vec<String>>,
    /// A folder of the job's own on the node's disk.
    pub scratch: Option<PathBuf>,
}

/// A GPU of a job that nobody names.
pub const ANY_GPU: &str = "any";

/// The entries of a list with commas.
fn listed(list: &str) -> Vec<String> {
    let entries = list.split(',').map(str::trim).filter(|one| !one.is_empty());
    entries.map(str::to_owned).collect()
}

impl Allocation {
    /// The job that `lookup` of environment variables tells of; `None` outside of one.
    pub fn of(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        if let Some(id) = get("MEDALIST_JOB_ID") {
            return Some(Self::as_told(id, get));
        }
        let number = |name: &str| get(name)?.parse::<u64>().ok();
        let small = |name: &str| u32::try_from(number(name)?).ok();
        let own = get("SLURM_JOB_ID")?;
        let job = Job {
            scheduler: "slurm".to_owned(),
            cluster: get("SLURM_CLUSTER_NAME"),
            name: get("SLURM_JOB_NAME"),
            id: get("SLURM_ARRAY_JOB_ID").unwrap_or(own),
            index: small("SLURM_ARRAY_TASK_ID"),
            restarts: small("SLURM_RESTART_COUNT").unwrap_or(0),
            node: get("SLURMD_NODENAME"),
        };
        let ends_at = number("SLURM_JOB_END_TIME").and_then(|at| i64::try_from(at).ok());
        let gpus = ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES"];
        Some(Self {
            job,
            ends_at: ends_at.and_then(|at| DateTime::from_timestamp(at, 0)),
            cpus: small("SLURM_CPUS_PER_TASK").or_else(|| small("SLURM_CPUS_ON_NODE")),
            memory_bytes: number("SLURM_MEM_PER_NODE")
                .filter(|mib| *mib > 0)
                .map(|mib| mib.saturating_mul(1 << 20)),
            gpus: gpus.iter().find_map(|name| get(name)).map(|list| listed(&list)),
            scratch: get("SLURM_TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()),
        })
    }

    /// What the job's own manifest or script says, by the names that medalist gave it.
    fn as_told(id: String, get: impl Fn(&str) -> Option<String>) -> Self {
        let told = |name: &str| get(&format!("MEDALIST_JOB_{name}"));
        let number = |name: &str| told(name)?.parse::<u64>().ok();
        let small = |name: &str| u32::try_from(number(name)?).ok();
        let job = Job {
            scheduler: told("SCHEDULER").unwrap_or_default(),
            cluster: None,
            name: told("NAME"),
            id,
            index: small("INDEX"),
            restarts: small("RESTARTS").unwrap_or(0),
            node: told("NODE"),
        };
        // In a pod, a runtime or a device plugin names the GPUs; where neither does, all that are shown are
        // the pod's.
        let named = get("NVIDIA_VISIBLE_DEVICES")
            .filter(|list| list.starts_with("GPU-") || list.starts_with("MIG-"));
        let gpus = match (job.scheduler.as_str(), small("GPUS")) {
            ("kubernetes", Some(count)) if count > 0 => Some(match named {
                Some(list) => listed(&list),
                None => vec![ANY_GPU.to_owned(); count as usize],
            }),
            ("kubernetes", _) => None,
            _ => told("GPUS").or_else(|| get("CUDA_VISIBLE_DEVICES")).map(|list| listed(&list)),
        };
        let ends_at = number("ENDS_AT").and_then(|at| i64::try_from(at).ok());
        Self {
            ends_at: ends_at.and_then(|at| DateTime::from_timestamp(at, 0)),
            cpus: small("CPUS"),
            memory_bytes: number("MEMORY_BYTES").filter(|bytes| *bytes > 0),
            gpus,
            scratch: told("SCRATCH").map(PathBuf::from).filter(|path| path.is_absolute()),
            job,
        }
    }

    /// The job that this process is part of; `None` outside of one.
    pub fn current() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_element_of_an_array_is_told_by_the_arrays_id_its_index_and_its_name() {
        assert_eq!(Allocation::of(|_| None), None);
        let mut vars: BTreeMap<&str, &str> = [
            ("SLURM_JOB_ID", "17"),
            ("SLURM_ARRAY_JOB_ID", "12"),
            ("SLURM_ARRAY_TASK_ID", "4"),
            ("SLURM_JOB_NAME", "medalist-1"),
            ("SLURM_JOB_END_TIME", "1700000000"),
            ("SLURM_MEM_PER_NODE", "2048"),
            ("SLURM_JOB_GPUS", "1, 3"),
            ("SLURM_TMPDIR", "relative"),
        ]
        .into();
        let of = |vars: &BTreeMap<&str, &str>| {
            Allocation::of(|name| vars.get(name).map(|value| (*value).to_owned())).unwrap()
        };
        let first = of(&vars);
        assert_eq!(
            (first.job.id.as_str(), first.job.index, first.job.restarts),
            ("12", Some(4), 0)
        );
        assert_eq!(first.memory_bytes, Some(2 << 30));
        assert_eq!(first.gpus, Some(vec!["1".to_owned(), "3".to_owned()]));
        assert_eq!(first.ends_at.unwrap().timestamp(), 1_700_000_000);
        assert_eq!(first.scratch, None);
        vars.insert("SLURM_RESTART_COUNT", "1");
        vars.insert("SLURM_JOB_ID", "18");
        let again = of(&vars);
        assert!(again.job.is_same(&first.job) && again.job.restarts == 1);
        vars.insert("SLURM_JOB_NAME", "medalist-2");
        assert!(!of(&vars).job.is_same(&first.job), "ids come back");
    }

    #[test]
    fn a_job_whose_manifest_or_script_is_ours_is_told_what_it_is() {
        let pod: BTreeMap<&str, &str> = [
            ("SCHEDULER", "kubernetes"),
            ("ID", "medalist-1-7"),
            ("NAME", "medalist-1-7"),
            ("INDEX", "0"),
            ("NODE", "n1"),
            ("MEMORY_BYTES", "0"),
            ("GPUS", "2"),
        ]
        .into();
        let with = |visible: Option<&str>| {
            let of_job = |name: &str| {
                let found = pod.iter().find(|(key, _)| name == format!("MEDALIST_JOB_{key}"));
                found.map(|(_, value)| *value)
            };
            let of_plugin = |name: &str| visible.filter(|_| name == "NVIDIA_VISIBLE_DEVICES");
            Allocation::of(|name| of_job(name).or(of_plugin(name)).map(str::to_owned)).unwrap()
        };
        let found = with(None);
        assert_eq!((found.job.index, found.job.node.as_deref()), (Some(0), Some("n1")));
        assert_eq!(found.memory_bytes, None);
        assert_eq!(found.gpus, Some(vec![ANY_GPU.to_owned(); 2]));
        let named = |list| with(Some(list)).gpus;
        assert_eq!(named("GPU-1,GPU-2"), Some(vec!["GPU-1".to_owned(), "GPU-2".to_owned()]));
        assert_eq!(named("all"), Some(vec![ANY_GPU.to_owned(); 2]));
    }
}
