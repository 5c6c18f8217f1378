//! What the agent uses: from the container's control group where it has one, else summed over the
//! supervisor's descendants.

use std::collections::BTreeMap;
use std::fs;

use crate::protocol::{Launch, Record};
use crate::sys;

#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_us: u64,
    pub(crate) pids: u64,
    /// The most that the container's group ever held, if the kernel ended a process of it for
    /// memory; 0 otherwise. It counts cached files, which the kernel drops before it kills.
    pub(crate) kernel_peak_bytes: u64,
    /// Times the kernel ended a process for memory.
    pub(crate) out_of_memory: u64,
    /// Times a new process was refused.
    pub(crate) pids_refused: u64,
}

pub(crate) struct Meter {
    /// The control group that is to be seen is the container's and no other's.
    own_group: bool,
    /// Where an upper bound of the memory becomes worth an exact look.
    memory_limit: u64,
    last: Sample,
    peak_memory_bytes: u64,
    /// CPU time of processes that have ended, by the last look at each.
    ended_cpu_us: u64,
    known: BTreeMap<i32, u64>,
}

impl Meter {
    pub(crate) fn new(launch: &Launch) -> Self {
        Self {
            own_group: launch.container && !launch.shared_group && is_held(launch),
            memory_limit: launch.watch_memory_bytes,
            last: Sample::default(),
            peak_memory_bytes: 0,
            ended_cpu_us: 0,
            known: BTreeMap::new(),
        }
    }

    pub(crate) fn sample(&mut self) -> Sample {
        let mut now = if self.own_group { control_group() } else { self.descendants() };
        // Between two looks the kernel saw what each process held, and the group when it ran full.
        let (largest, cpu_us) = sys::used_by_ended();
        let seen = now.memory_bytes.max(now.kernel_peak_bytes).max(largest);
        if !self.own_group {
            now.cpu_us = now.cpu_us.max(cpu_us);
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(seen);
        self.last = Sample { cpu_us: now.cpu_us.max(self.last.cpu_us), ..now };
        self.last
    }

    /// Whether the kernel holds the limits, so that nobody need watch them.
    pub(crate) fn is_held_by_kernel(&self) -> bool {
        self.own_group
    }

    /// The figures of the last look.
    pub(crate) fn record(&self) -> Record {
        Record {
            memory_bytes: Some(self.last.memory_bytes),
            peak_memory_bytes: Some(self.peak_memory_bytes),
            cpu_us: Some(self.last.cpu_us),
            pids: Some(self.last.pids),
            out_of_memory: Some(self.last.out_of_memory),
            pids_refused: Some(self.last.pids_refused),
            own_group: Some(u64::from(self.own_group)),
            ..Record::default()
        }
    }

    fn descendants(&mut self) -> Sample {
        let (ticks, page) = sys::proc_units();
        let mut sum = Sample::default();
        let mut alive = BTreeMap::new();
        for process in descendants() {
            sum.memory_bytes += process.resident_pages * page;
            sum.pids += process.threads;
            alive.insert(process.pid, process.ticks * 1_000_000 / ticks);
        }
        // Resident pages count what workers share once for each of them: an upper bound. Exact
        // sizes cost the kernel a walk through every page table.
        if sum.memory_bytes > self.memory_limit {
            sum.memory_bytes = alive.keys().filter_map(|pid| proportional_bytes(*pid)).sum();
        }
        for (pid, cpu) in &self.known {
            if !alive.contains_key(pid) {
                self.ended_cpu_us += cpu;
            }
        }
        sum.cpu_us = self.ended_cpu_us + alive.values().sum::<u64>();
        self.known = alive;
        sum
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The value after `key` in a file of `key value` lines.
fn entry(path: &str, key: &str) -> Option<u64> {
    let text = text(path)?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The figures of the container's own control group, version 2 or 1, whichever is mounted.
fn control_group() -> Sample {
    let root = "/sys/fs/cgroup";
    let at = |path: &str| format!("{root}/{path}");
    let memory =
        number(&at("memory.current")).or_else(|| number(&at("memory/memory.usage_in_bytes")));
    // Cached files that the kernel can drop at will are not what an agent needs.
    let cache = entry(&at("memory.stat"), "inactive_file")
        .or_else(|| entry(&at("memory/memory.stat"), "total_inactive_file"))
        .unwrap_or(0);
    let cpu = entry(&at("cpu.stat"), "usage_usec")
        .or_else(|| number(&at("cpuacct/cpuacct.usage")).map(|nanoseconds| nanoseconds / 1000));
    let out_of_memory = entry(&at("memory.events"), "oom_kill")
        .or_else(|| entry(&at("memory/memory.oom_control"), "oom_kill"))
        .unwrap_or(0);
    let peak = || {
        let peak = number(&at("memory.peak"));
        peak.or_else(|| number(&at("memory/memory.max_usage_in_bytes")))
    };
    Sample {
        memory_bytes: memory.unwrap_or(0).saturating_sub(cache),
        cpu_us: cpu.unwrap_or(0),
        pids: number(&at("pids.current")).or_else(|| number(&at("pids/pids.current"))).unwrap_or(0),
        kernel_peak_bytes: if out_of_memory > 0 { peak().unwrap_or(0) } else { 0 },
        out_of_memory,
        pids_refused: entry(&at("pids.events"), "max")
            .or_else(|| entry(&at("pids/pids.events"), "max"))
            .unwrap_or(0),
    }
}

/// Whether the control group has the limits that were asked for. An engine without the right to make
/// one starts a container in a group that is somebody else's, or the machine's.
fn is_held(launch: &Launch) -> bool {
    let root = "/sys/fs/cgroup";
    let limit = |new: &str, old: &str| {
        number(&format!("{root}/{new}")).or_else(|| number(&format!("{root}/{old}")))
    };
    let at_most =
        |limit: Option<u64>, asked: u64| asked == 0 || limit.is_some_and(|it| it <= asked);
    at_most(limit("memory.max", "memory/memory.limit_in_bytes"), launch.watch_memory_bytes)
        && at_most(limit("pids.max", "pids/pids.max"), launch.watch_pids)
}

/// The memory of a process, with pages that it shares split among those that share them.
fn proportional_bytes(pid: i32) -> Option<u64> {
    let text = text(&format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

struct Process {
    pid: i32,
    parent: i32,
    threads: u64,
    resident_pages: u64,
    ticks: u64,
}

/// One line of /proc/PID/stat. The name in brackets may hold anything, so fields count from the
/// last bracket.
fn process(pid: i32) -> Option<Process> {
    let stat = text(&format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        threads: field(17)?,
        resident_pages: field(21)?,
        ticks: field(11)? + field(12)? + field(13)? + field(14)?,
    })
}

/// All living processes below this one; as a subreaper it is the ancestor of everything its agent
/// started.
fn descendants() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<Process> = pids.filter_map(process).collect();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut wanted = std::collections::BTreeSet::from([own]);
    loop {
        let before = wanted.len();
        wanted.extend(
            all.iter()
                .filter(|process| wanted.contains(&process.parent))
                .map(|process| process.pid)
                .collect::<Vec<_>>(),
        );
        if wanted.len() == before {
            break;
        }
    }
    wanted.remove(&own);
    all.into_iter().filter(|process| wanted.contains(&process.pid)).collect()
}

/// Stops all descendants so that they start no more, then kills them.
pub(crate) fn kill_descendants() {
    let mut stopped = 0;
    for _ in 0..50 {
        let found = descendants();
        for process in &found {
            sys::kill(process.pid, sys::SIGSTOP);
        }
        if found.len() <= stopped {
            break;
        }
        stopped = found.len();
    }
    for process in descendants() {
        sys::kill(process.pid, sys::SIGKILL);
    }
}
