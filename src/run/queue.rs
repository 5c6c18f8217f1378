//! The attempts of a group that are not over yet, and which of them starts next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::dispatcher::Run;
use super::gpu::BadGpu;
use super::messages::StartPoint;
use super::pool::{GpuNeed, GpuPool, Lease};
use super::scheduler::{self, Capacity, Forecast, Need, Next, Scheduler};
use crate::attempt::plan::{Plan, PlannedAttempt};
use crate::host::gpu::Gpu;

/// What is still to be done, and in what order.
pub(super) struct Queue {
    pub(super) open: Vec<(Arc<PlannedAttempt>, StartPoint)>,
    needs: Vec<Need>,
    pub(super) scheduler: Scheduler,
    /// Attempts that run already and have not been taken up yet.
    running: Vec<usize>,
    /// GPUs that are left out.
    bad: Vec<String>,
    began: Instant,
}

impl Queue {
    pub(super) fn new(run: &Run, open: Vec<(Arc<PlannedAttempt>, StartPoint)>) -> Self {
        let units = run.gpus.as_ref().map(|gpus| gpus.units()).unwrap_or_default();
        let mut scheduler = Scheduler::new(run.capacity, GpuPool::new(units));
        let needs: Vec<Need> = open.iter().map(|(attempt, _)| need(&run.plan, attempt)).collect();
        let mut running = Vec::new();
        for (number, (_, begin)) in open.iter().enumerate() {
            let need = needs[number].clone();
            match begin {
                // What runs already has its place and its GPUs, whatever this machine thinks of
                // it.
                StartPoint::Reattach { gpus, .. } => {
                    scheduler.adopt(number, need, gpus, Duration::ZERO);
                    running.push(number);
                }
                StartPoint::GradeOnly => scheduler.queue(number, need.without_gpus()),
                StartPoint::Fresh | StartPoint::Unschedulable { .. } => {
                    scheduler.queue(number, need)
                }
            }
        }
        Self { open, needs, scheduler, running, bad: Vec::new(), began: Instant::now() }
    }

    /// What begins now: its number, how, and on which GPUs.
    pub(super) fn next(&mut self) -> Option<(usize, StartPoint, Lease)> {
        if !self.running.is_empty() {
            let number = self.running.remove(0);
            let begin = self.open[number].1.clone();
            let uuids = if let StartPoint::Reattach { gpus, .. } = &begin {
                gpus.clone()
            } else {
                Vec::new()
            };
            let alone = vec![false; uuids.len()];
            return Some((number, begin, Lease { uuids, alone }));
        }
        let now = self.began.elapsed();
        match self.scheduler.next(now) {
            Next::Wait => None,
            Next::Start(number, lease) => Some((number, self.open[number].1.clone(), lease)),
            Next::Unschedulable(number, why) => {
                // It has a place like all others while its end is written down: `end` gives it back.
                self.scheduler.adopt(number, self.needs[number].without_gpus(), &[], now);
                Some((number, StartPoint::Unschedulable { why }, Lease::default()))
            }
        }
    }

    /// Queues an attempt again that was promised GPUs it could not use.
    pub(super) fn again(&mut self, number: usize) {
        self.open[number].1 = StartPoint::Fresh;
        self.scheduler.queue_first(number, self.needs[number].clone());
    }

    /// Hands a GPU to nobody from now on; false if that was so before.
    pub(super) fn leave_out(&mut self, bad: &BadGpu) -> bool {
        self.scheduler.leave_out(&bad.device);
        let is_new = !self.bad.contains(&bad.device);
        if is_new {
            self.bad.push(bad.device.clone());
        }
        is_new
    }
}

/// What an attempt of a plan needs.
fn need(plan: &Plan, attempt: &PlannedAttempt) -> Need {
    let limits = &plan.limits;
    let request = attempt.gpus.as_ref().unwrap_or(&plan.gpus).clone();
    Need {
        cpus: limits.cpus,
        memory_bytes: limits.memory_bytes,
        gpus: GpuNeed { request, share: plan.gpu_share.max(1) },
        longest: limits.timeout + limits.grace,
    }
}

/// What a plan comes to on a machine if every attempt takes all of its time.
pub fn forecast(plan: &Plan, capacity: Capacity, units: &[Gpu]) -> Forecast {
    let mut scheduler = Scheduler::new(capacity, GpuPool::new(units));
    for (number, attempt) in plan.attempts.iter().enumerate() {
        scheduler.queue(number, need(plan, attempt));
    }
    scheduler::forecast(scheduler)
}
