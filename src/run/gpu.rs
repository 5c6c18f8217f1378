//! The GPUs of a run: whether they are sound and empty before an attempt, what they do under it,
//! and whether they were lost.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use medalist_reports::record::GpuRecord;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::Instant;

use super::pool::Lease;
use crate::attempt::limits::{GpuAccess, GpuHandle};
use crate::attempt::outcome::GpuUsage;
use crate::host::files::StoreError;
use crate::host::gpu::{Gpu, GpuDriver, Inventory, Sample};
use crate::sandbox::gpu::handle;

/// Between two looks at the GPUs while attempts run on them.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// How long a GPU may take to be empty after the end of what was on it.
const EMPTY_PATIENCE: Duration = Duration::from_secs(60);
/// Memory beyond what a GPU held when the run began that does not count as in use.
const IDLE_BYTES: u64 = 256 << 20;
/// So many looks in a row must find a fault before a running agent is ended for it.
const FAULTS_IN_A_ROW: u32 = 2;

/// A GPU that is not handed out any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadGpu {
    /// UUID of the GPU.
    pub device: String,
    /// What is wrong, in words.
    pub cause: String,
}

impl fmt::Display for BadGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device, self.cause)
    }
}

/// The GPUs that a run may use, and the way into its containers.
pub struct Gpus {
    inventory: Inventory,
    access: GpuAccess,
    driver: Arc<dyn GpuDriver>,
    /// Where this user's harnesses claim GPUs, so that no two of them hand out one.
    claims: Option<PathBuf>,
    /// The GPUs as they were when the run began.
    before: BTreeMap<String, Sample>,
    now: Mutex<Look>,
}

/// The last look at all GPUs.
#[derive(Default)]
struct Look {
    number: u64,
    samples: Vec<Sample>,
    faults: BTreeMap<String, u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpus {
    /// Looks at the GPUs for the first time and leaves out those that cannot be used: they are the
    /// second value. Must be called in a runtime; the GPUs are looked at again and again as long
    /// as the value lives.
    ///
    /// `held` are GPUs on which attempts of this run are already; `claims` is the directory in
    /// which all harnesses that share the machine claim what they hand out.
    pub async fn open(
        mut inventory: Inventory,
        access: GpuAccess,
        driver: Arc<dyn GpuDriver>,
        held: &[String],
        claims: Option<PathBuf>,
    ) -> (Arc<Self>, Vec<BadGpu>) {
        let devices = devices_of(&inventory.gpus);
        let samples = driver.samples(&devices).await;
        let samples = samples.unwrap_or_else(|error| {
            devices.iter().map(|device| faulty(device, &error.to_string())).collect()
        });
        let holds = |device: &str| {
            inventory.gpus.iter().any(|gpu| gpu.device == device && held.contains(&gpu.uuid))
        };
        let mut bad = Vec::new();
        let mut before = BTreeMap::new();
        for mut sample in samples {
            let busy = sample.memory_bytes.filter(|bytes| *bytes > 4 * IDLE_BYTES);
            let slices =
                inventory.gpus.iter().any(|gpu| gpu.device == sample.device && gpu.is_slice());
            if let Some(fault) = &sample.fault {
                bad.push(BadGpu { device: sample.device.clone(), cause: fault.clone() });
            } else if holds(&sample.device) {
                // What is in use is our own attempt's, and must be gone before the next one starts.
                sample.memory_bytes = Some(0);
            } else if let (Some(bytes), false) = (busy, slices) {
                let cause = format!(
                    "{} of its memory are in use by somebody else",
                    bytesize::ByteSize::b(bytes)
                );
                bad.push(BadGpu { device: sample.device.clone(), cause });
            }
            before.insert(sample.device.clone(), sample);
        }
        inventory.gpus.retain(|gpu| {
            !bad.iter().any(|bad| bad.device == gpu.device) || held.contains(&gpu.uuid)
        });
        let gpus =
            Arc::new(Self { inventory, access, driver, claims, before, now: Mutex::default() });
        let watched = Arc::downgrade(&gpus);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SAMPLE_EVERY).await;
                let Some(gpus) = watched.upgrade() else { break };
                // Nobody is on a GPU as long as no watch holds this value too.
                if Arc::strong_count(&gpus) > 2 {
                    gpus.look().await;
                }
            }
        });
        (gpus, bad)
    }

    /// GPUs and slices to hand out.
    pub fn units(&self) -> &[Gpu] {
        &self.inventory.gpus
    }

    /// How they get into a container.
    pub fn access(&self) -> &GpuAccess {
        &self.access
    }

    async fn look(&self) {
        let devices = devices_of(&self.inventory.gpus);
        // A driver that does not answer once has not lost a GPU; an attempt's own looks tell if it has.
        let Ok(samples) = self.driver.samples(&devices).await else { return };
        let mut now = lock(&self.now);
        now.number += 1;
        for sample in &samples {
            let faults = now.faults.entry(sample.device.clone()).or_default();
            *faults = if self.fault_of(sample).is_some() { *faults + 1 } else { 0 };
        }
        now.samples = samples;
    }

    /// What makes a GPU unusable.
    fn fault_of(&self, sample: &Sample) -> Option<String> {
        if sample.fault.is_some() {
            return sample.fault.clone();
        }
        let before = self.before.get(&sample.device).and_then(|before| before.memory_errors)?;
        let new = sample.memory_errors?.saturating_sub(before);
        (new > 0).then(|| format!("{new} uncorrectable memory errors since the run began"))
    }

    /// Starts to watch the GPUs of a lease.
    pub(super) fn watch(self: &Arc<Self>, lease: &Lease, share: u32) -> Arc<GpuWatch> {
        let units: Vec<Gpu> = self
            .inventory
            .gpus
            .iter()
            .filter(|gpu| lease.uuids.contains(&gpu.uuid))
            .cloned()
            .collect();
        let alone = units.iter().filter(|gpu| {
            let position = lease.uuids.iter().position(|uuid| *uuid == gpu.uuid);
            position.and_then(|position| lease.alone.get(position)).copied().unwrap_or(false)
                && !gpu.is_slice()
        });
        Arc::new(GpuWatch {
            alone: devices_of(&alone.cloned().collect::<Vec<_>>()),
            shared: share > 1,
            claimed: Mutex::default(),
            exclusive: share == 1 && !units.iter().any(Gpu::is_slice),
            devices: devices_of(&units),
            units,
            gpus: Arc::clone(self),
            seen: Mutex::default(),
        })
    }
}

/// The GPUs behind units, each once.
fn devices_of(units: &[Gpu]) -> Vec<String> {
    let mut devices: Vec<String> = Vec::new();
    for unit in units {
        if !devices.contains(&unit.device) {
            devices.push(unit.device.clone());
        }
    }
    devices
}

fn faulty(device: &str, fault: &str) -> Sample {
    Sample { device: device.to_owned(), fault: Some(fault.to_owned()), ..Sample::default() }
}

/// The GPUs of one try.
pub struct GpuWatch {
    gpus: Arc<Gpus>,
    units: Vec<Gpu>,
    devices: Vec<String>,
    /// GPUs that nobody else was on when they were taken.
    alone: Vec<String>,
    exclusive: bool,
    shared: bool,
    claimed: Mutex<Vec<Flock<File>>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    number: u64,
    looks: u64,
    sum: f64,
    usage: GpuUsage,
    bad: Option<BadGpu>,
}

impl fmt::Debug for GpuWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuWatch").field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl GpuWatch {
    /// What the executor is given.
    pub(super) fn handles(&self) -> Vec<GpuHandle> {
        self.units.iter().map(handle).collect()
    }

    /// What is written down.
    pub(super) fn records(&self) -> Vec<GpuRecord> {
        let record = |gpu: &Gpu| GpuRecord {
            uuid: gpu.uuid.clone(),
            model: gpu.model.clone(),
            memory_bytes: (gpu.memory_bytes > 0).then_some(gpu.memory_bytes),
        };
        self.units.iter().map(record).collect()
    }

    /// How the GPUs get in.
    pub(super) fn access(&self) -> GpuAccess {
        self.gpus.access.clone()
    }

    /// Claims the GPUs against other harnesses of this user, for as long as this value lives.
    ///
    /// # Errors
    /// The GPU that another one has.
    pub(super) fn claim(&self) -> Result<(), BadGpu> {
        let Some(dir) = &self.gpus.claims else { return Ok(()) };
        let mut claimed = lock(&self.claimed);
        if !claimed.is_empty() {
            return Ok(());
        }
        let how = if self.shared {
            FlockArg::LockSharedNonblock
        } else {
            FlockArg::LockExclusiveNonblock
        };
        for unit in &self.units {
            let path = dir.join(format!("{}.lock", unit.uuid));
            let made = fs_err::create_dir_all(dir).map_err(StoreError::io("create", dir));
            match made.and_then(|()| crate::host::lock::lock(&path, how)) {
                Ok(lock) => claimed.push(lock),
                Err(StoreError::Locked { .. }) => {
                    // All or none: a part of what an attempt needs would only be kept from others.
                    claimed.clear();
                    let cause = "another medalist has an attempt on it".to_owned();
                    return Err(BadGpu { device: unit.device.clone(), cause });
                }
                // A directory that cannot be used must not stop a run that may well be the only
                // one.
                Err(error) => tracing::warn!(%error, gpu = unit.uuid, "the GPU cannot be claimed"),
            }
        }
        Ok(())
    }

    /// Before a start: waits until the GPUs are sound and, where nobody else is on them, empty.
    ///
    /// # Errors
    /// The GPU that is not, or that another harness has.
    pub(super) async fn ready(&self) -> Result<(), BadGpu> {
        self.claim()?;
        self.empty(&self.alone).await
    }

    /// After an end: waits until the GPUs are empty again, where nobody else may be on them.
    ///
    /// # Errors
    /// The GPU that is not.
    pub(super) async fn emptied(&self) -> Result<(), BadGpu> {
        let devices: &[String] = if self.exclusive { &self.devices } else { &[] };
        self.empty(devices).await
    }

    async fn empty(&self, devices: &[String]) -> Result<(), BadGpu> {
        let began = Instant::now();
        loop {
            let samples = self.fresh().await?;
            let used = samples.iter().filter(|sample| devices.contains(&sample.device)).find_map(
                |sample| {
                    let before = self
                        .gpus
                        .before
                        .get(&sample.device)
                        .and_then(|before| before.memory_bytes)
                        .unwrap_or(0);
                    sample
                        .memory_bytes
                        .filter(|bytes| *bytes > before + IDLE_BYTES)
                        .map(|bytes| (&sample.device, bytes))
                },
            );
            let Some((device, bytes)) = used else { return Ok(()) };
            if began.elapsed() > EMPTY_PATIENCE {
                let cause = format!(
                    "{} of its memory are in use {} s after it was given back",
                    bytesize::ByteSize::b(bytes),
                    EMPTY_PATIENCE.as_secs()
                );
                return Err(BadGpu { device: device.clone(), cause });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Asks the driver now.
    async fn fresh(&self) -> Result<Vec<Sample>, BadGpu> {
        let samples = self.gpus.driver.samples(&self.devices).await;
        let samples =
            samples.unwrap_or_else(|error| vec![faulty(&self.devices[0], &error.to_string())]);
        let bad = samples.iter().find_map(|sample| {
            Some(BadGpu { device: sample.device.clone(), cause: self.gpus.fault_of(sample)? })
        });
        match bad {
            Some(bad) => {
                lock(&self.seen).bad = Some(bad.clone());
                Err(bad)
            }
            None => Ok(samples),
        }
    }

    /// After an end: whether a GPU failed under the attempt.
    pub(super) async fn verdict(&self) -> Option<BadGpu> {
        match self.bad() {
            Some(bad) => Some(bad),
            None => self.fresh().await.err(),
        }
    }

    /// The GPU that failed, if one did.
    pub(super) fn bad(&self) -> Option<BadGpu> {
        lock(&self.seen).bad.clone()
    }

    /// What the GPUs did when last looked at, or the one that failed. Asks nobody.
    pub(super) fn usage(&self) -> Result<Option<GpuUsage>, BadGpu> {
        // Always in this order; nothing else takes both.
        let now = lock(&self.gpus.now);
        let mut seen = lock(&self.seen);
        if now.number == 0 {
            return Ok(None);
        }
        if now.number != seen.number {
            seen.number = now.number;
            let own: Vec<&Sample> =
                now.samples.iter().filter(|sample| self.devices.contains(&sample.device)).collect();
            let failed = own.iter().find(|sample| {
                now.faults.get(&sample.device).is_some_and(|n| *n >= FAULTS_IN_A_ROW)
            });
            if let Some(failed) = failed {
                let cause = self.gpus.fault_of(failed).unwrap_or_default();
                let bad = BadGpu { device: failed.device.clone(), cause };
                seen.bad = Some(bad.clone());
                return Err(bad);
            }
            let share: f64 = own.iter().filter_map(|sample| sample.utilisation).sum();
            seen.looks += 1;
            seen.usage.utilisation = share / own.len().max(1) as f64;
            seen.sum += seen.usage.utilisation;
            seen.usage.mean_utilisation = seen.sum / seen.looks as f64;
            seen.usage.memory_bytes = own.iter().filter_map(|sample| sample.memory_bytes).sum();
            seen.usage.peak_memory_bytes =
                seen.usage.peak_memory_bytes.max(seen.usage.memory_bytes);
        }
        Ok((seen.looks > 0).then_some(seen.usage))
    }
}
