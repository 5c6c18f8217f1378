//! Looks at a running attempt until it must be ended: memory, GPUs, disk, language models, and the
//! room of this machine.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::code::{self, CodeCopies, bytes_below};
use super::{AttemptEvent, WatchOptions, lock};
use crate::attempt::launch::LaunchSpec;
use crate::attempt::outcome::Usage;
use crate::host::machine::free_bytes_at;
use crate::sandbox::{Running, StopReason};

/// The longest pause between two looks at the machine's disks, which cost next to nothing.
const HOST_EVERY: Duration = Duration::from_secs(1);

/// Looks at a running attempt again and again; ends only when it must be ended. Each look has a
/// timer of its own: one that takes long, as the size of millions of files does, holds up no other.
pub(super) async fn watch(
    running: &dyn Running,
    spec: &LaunchSpec,
    options: &WatchOptions,
    base: Instant,
    usage: &std::sync::Mutex<Usage>,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> StopReason {
    let look_now = tokio::sync::Notify::new();
    tokio::select! {
        verdict = watch_usage(running, options, usage, report) => verdict,
        verdict = watch_disk(running, spec, options, usage, &look_now) => verdict,
        verdict = watch_host(running, spec, options, usage, &look_now) => verdict,
        verdict = take_snapshots(running, spec, options, base, report) => verdict,
        verdict = watch_llm(options) => verdict,
    }
}

/// Memory, processes and GPUs.
async fn watch_usage(
    running: &dyn Running,
    options: &WatchOptions,
    usage: &std::sync::Mutex<Usage>,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> StopReason {
    loop {
        tokio::time::sleep(options.sample_every).await;
        let mut now = running.usage().await;
        let mut verdict = None;
        match options.gpus.as_ref().map(|gpus| gpus.usage()) {
            Some(Ok(gpu)) => now.gpu = gpu,
            Some(Err(bad)) => verdict = Some(StopReason::GpuLost { cause: bad.to_string() }),
            None => {}
        }
        now.llm = options.llm.as_ref().map(crate::run::llm::usage);
        let merged = {
            let mut usage = lock(usage);
            usage.update(&now);
            *usage
        };
        report(AttemptEvent::Usage(merged));
        if let Some(verdict) = verdict {
            return verdict;
        }
    }
}

/// Whether the attempt's calls of language models have only failed for too long.
async fn watch_llm(options: &WatchOptions) -> StopReason {
    let Some(llm) = &options.llm else { return std::future::pending().await };
    let longest = llm.gateway.config().timeouts.outage();
    loop {
        tokio::time::sleep(options.sample_every).await;
        let stuck = llm.attempt.stuck_for();
        if stuck >= longest {
            let cause = format!("no call has succeeded for {} s", stuck.as_secs());
            return StopReason::LlmOutage { cause };
        }
    }
}

/// What the agent has on disk. A look that takes long is followed by a pause as long, unless the
/// machine's disk fills faster than the agent may fill it.
async fn watch_disk(
    running: &dyn Running,
    spec: &LaunchSpec,
    options: &WatchOptions,
    usage: &std::sync::Mutex<Usage>,
    look_now: &tokio::sync::Notify,
) -> StopReason {
    let limit = spec.limits.disk_bytes;
    let mut pause = options.disk_every;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = look_now.notified() => {}
        }
        let began = Instant::now();
        let bytes = running.disk_bytes().await;
        pause = options.disk_every.max(began.elapsed());
        lock(usage).update(&Usage { disk_bytes: bytes, ..Usage::default() });
        if limit > 0 && bytes.is_some_and(|bytes| bytes > limit) {
            return StopReason::DiskFull;
        }
    }
}

/// How much room this machine's disks have.
async fn watch_host(
    running: &dyn Running,
    spec: &LaunchSpec,
    options: &WatchOptions,
    usage: &std::sync::Mutex<Usage>,
    look_now: &tokio::sync::Notify,
) -> StopReason {
    let limit = spec.limits.disk_bytes;
    let mut seen: Option<u64> = None;
    // An agent that is done by the first look has not needed the room.
    let mut pause = options.disk_every;
    loop {
        tokio::time::sleep(pause).await;
        pause = options.disk_every.min(HOST_EVERY);
        let own_places = own_places(running, spec);
        if let Some(free) = own_places.first().and_then(|place| free_bytes_at(place).ok()) {
            let left = limit.saturating_sub(lock(usage).disk_bytes.unwrap_or(0));
            let falls = seen.is_some_and(|seen| free.saturating_add(left) < seen);
            if limit > 0 && falls {
                look_now.notify_one();
            }
            seen = if falls { Some(free) } else { seen.max(Some(free)) };
        }
        let reserve = options.host_reserve_bytes;
        if let Some((place, free)) = full_place(running, spec, reserve) {
            let own = if own_places.contains(&place) {
                running.disk_bytes().await.or(lock(usage).disk_bytes).unwrap_or(0)
            } else {
                0
            };
            if is_own_doing(own, free, reserve) {
                lock(usage).update(&Usage { disk_bytes: Some(own), ..Usage::default() });
                return StopReason::DiskFull;
            }
            let place = place.display();
            return StopReason::HostFull {
                cause: format!("{free} bytes are free at `{place}`, {reserve} are kept in reserve"),
            };
        }
    }
}

/// Whether a disk would have its reserve without what the agent wrote: then that is the agent's doing.
pub(super) fn is_own_doing(own: u64, free: u64, reserve: u64) -> bool {
    own > 0 && free.saturating_add(own) >= reserve
}

/// Copies of the submission, if they are wanted; they end no agent.
async fn take_snapshots(
    running: &dyn Running,
    spec: &LaunchSpec,
    options: &WatchOptions,
    base: Instant,
    report: &(dyn Fn(AttemptEvent) + Sync),
) -> StopReason {
    let Some(every) = options.snapshot_every else { return std::future::pending().await };
    // An agent decides how large they are, so that they may take as much room as all else it writes.
    let limit = match spec.limits.disk_bytes {
        0 => u64::MAX,
        limit => limit,
    };
    // A harness before this one may have taken some.
    let mut kept = bytes_below(&spec.attempt_dir.snapshots());
    let mut codes = CodeCopies::default();
    loop {
        tokio::time::sleep(every).await;
        let elapsed = running.elapsed_before() + base.elapsed();
        let path = spec.attempt_dir.snapshot(elapsed.as_secs());
        if running.snapshot(&path).await.unwrap_or(false) {
            kept = kept.saturating_add(path.metadata().map_or(0, |file| file.len()));
            if kept > limit {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a snapshot");
                }
                report(AttemptEvent::SnapshotsFull { limit });
                return std::future::pending().await;
            }
            let copied = codes.take(running, &spec.attempt_dir, elapsed.as_secs()).await;
            let code = copied.and_then(|(code, bytes)| {
                // The submission goes before the code.
                if kept.saturating_add(bytes) > limit {
                    code::remove(&code.path);
                    return None;
                }
                kept += bytes;
                Some(code)
            });
            report(AttemptEvent::Snapshot { path, code, elapsed });
        }
    }
}

/// The disks that the agent's own writes go to.
fn own_places(running: &dyn Running, spec: &LaunchSpec) -> Vec<PathBuf> {
    let storage = running.storage();
    if storage.is_empty() { vec![spec.attempt_dir.root().to_owned()] } else { storage }
}

/// A disk of this machine that has less free space than is kept in reserve, and how much it has.
fn full_place(running: &dyn Running, spec: &LaunchSpec, reserve: u64) -> Option<(PathBuf, u64)> {
    let mut places = running.storage();
    places.push(spec.attempt_dir.root().to_owned());
    let free = |place: PathBuf| free_bytes_at(&place).ok().map(|free| (place, free));
    places.into_iter().filter_map(free).find(|(_, free)| *free < reserve)
}
