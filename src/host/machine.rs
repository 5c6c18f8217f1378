//! The machine's processors, memory, kernel and free disk.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use medalist_reports::record::HardwareRecord;

use super::files::file_sha256;
use crate::attempt::job::Allocation;

/// The machine as records name it. What cannot be read stays empty.
pub fn hardware() -> HardwareRecord {
    HardwareRecord {
        cpu: cpu_model().unwrap_or_default(),
        cpu_count: cpu_count(),
        memory_bytes: memory_bytes().unwrap_or(0),
        gpus: Vec::new(),
        gpu_driver: None,
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// The kind of its processors, in the kernel's word: `x86_64`, `aarch64`.
pub fn architecture() -> String {
    let word = nix::sys::utsname::uname().map(|name| name.machine().to_string_lossy().into_owned());
    word.unwrap_or_else(|_| std::env::consts::ARCH.to_owned())
}

/// Processors that this process may use.
pub fn cpu_count() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Memory of the machine, in bytes.
pub fn memory_bytes() -> Option<u64> {
    memory_line("MemTotal:")
}

/// Processors and memory of the machine that this process may use: its job's share, where it is part
/// of one.
pub fn share(job: Option<&Allocation>) -> (u32, Option<u64>) {
    let (cpus, memory) = (job.and_then(|job| job.cpus), job.and_then(|job| job.memory_bytes));
    let least = |all: u64, share: Option<u64>| share.map_or(all, |share| share.min(all));
    (cpus.unwrap_or_else(cpu_count), memory_bytes().map(|all| least(all, memory)))
}

/// Memory that new work can have without swapping, in bytes: of the machine, or of the control group
/// that this process is in if that is less.
pub fn available_memory_bytes() -> Option<u64> {
    let machine = memory_line("MemAvailable:")?;
    Some(group_memory_left().map_or(machine, |left| left.min(machine)))
}

fn memory_line(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// What the limit of a container leaves, by either version of control groups. Inside of a container
/// its own group is the root of what can be seen.
fn group_memory_left() -> Option<u64> {
    const FILES: [(&str, &str); 2] = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ];
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    FILES.iter().find_map(|(limit, used)| Some(number(limit)?.saturating_sub(number(used)?)))
}

/// The least memory limit of the control groups that this process is in, of either version; `None` where
/// no group holds it.
pub fn group_memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next()?, Path::new(parts.next()?.trim_start_matches('/')));
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let limit = |group: &Path| {
            let text = std::fs::read_to_string(Path::new(root).join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        path.ancestors().filter_map(limit).min()
    });
    // Version 1 writes a number of its own for no limit.
    limits.min().filter(|limit| *limit < i64::MAX as u64 / 2)
}

/// Bytes that may still be written to the file system of `path`, which need not exist yet.
///
/// # Errors
/// The system's, if no ancestor of the path can be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let mut path = std::path::absolute(path)?;
    while !path.exists() {
        if !path.pop() {
            return Err(io::ErrorKind::NotFound.into());
        }
    }
    free_bytes_at(&path)
}

/// Bytes that may still be written to the file system of `path`, which exists.
///
/// # Errors
/// The system's, also where there is no such path: an engine's storage may be in another mount
/// namespace or on another machine, and its ancestors here would answer for a disk that is not its.
pub fn free_bytes_at(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Whether a program is on `PATH`.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// The machine's name.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Tells this boot of the machine from all others.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// SHA-256 of this program's own file, hexadecimal; `None` if it cannot be read. Read once.
pub fn program_sha256() -> Option<&'static str> {
    static HASH: OnceLock<Option<String>> = OnceLock::new();
    HASH.get_or_init(|| Some(file_sha256(Path::new("/proc/self/exe")).ok()?.0)).as_deref()
}

/// When the kernel started a process, in its ticks since boot; `None` if there is no such process.
pub fn process_started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, brackets and blanks too.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    // A process that has ended and was not waited for yet does nothing any more.
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let hardware = hardware();
        assert!(
            hardware.cpu_count > 0
                && hardware.memory_bytes > 1 << 20
                && !hardware.kernel.is_empty()
        );
        let free = available_memory_bytes().unwrap();
        assert!(free > 1 << 20 && free <= hardware.memory_bytes);
        assert!(free_bytes(Path::new("/no/such/place/at/all")).unwrap() > 0);
        assert!(!host_name().is_empty() && !boot_id().is_empty());
        let ours = process_started(std::process::id());
        assert!(ours.is_some_and(|ticks| ticks > 0) && process_started(u32::MAX).is_none());
    }
}
