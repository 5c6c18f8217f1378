//! What a scheduler is asked for with a plan.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::app::cluster::order::{self, Order};
use crate::app::error::{CliError, Exit};
use crate::attempt::limits::GpuRequest;
use crate::attempt::plan::{Plan, PlannedAttempt, Remote};
use crate::host::scheduler::{Request, Resources};
use crate::host::store::GroupDir;

/// What a job needs beside its agent's time: to get the image, and to take over what the agent left.
const SETUP: Duration = Duration::from_secs(10 * 60);
const COLLECT: Duration = Duration::from_secs(5 * 60);
/// How long before its end a job is warned; Slurm may warn as much earlier again.
const WARNING: Duration = Duration::from_secs(60);
/// What a job has beside its agent's memory: for the harness.
const HARNESS_BYTES: u64 = 512 << 20;
/// GPUs of an attempt, which must be a number: which ones they are is the scheduler's affair.
pub(in crate::app::cluster) fn gpus_of(
    plan: &Plan,
    attempt: &PlannedAttempt,
) -> Result<u32, CliError> {
    match attempt.gpus.as_ref().unwrap_or(&plan.gpus) {
        GpuRequest::None => Ok(0),
        GpuRequest::Count(count) => Ok(*count),
        other => Err(CliError::message(
            Exit::Usage,
            format!("`--gpus {other}` names GPUs, and a scheduler chooses them itself"),
        )
        .hint("give a number: `--gpus 1`")),
    }
}

/// What a job of a plan has.
pub(in crate::app::cluster) fn resources(plan: &Plan, gpus: u32) -> Resources {
    let limits = &plan.limits;
    let time = SETUP + limits.timeout + limits.grace + COLLECT + WARNING * 2;
    let memory_bytes = match limits.memory_bytes {
        0 => 0,
        bytes => bytes.saturating_add(HARNESS_BYTES),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few processors")]
    let cpus = limits.cpus.ceil().max(1.0) as u32;
    Resources { cpus, memory_bytes, gpus, time_s: time.as_secs(), warning_s: WARNING.as_secs() }
}

/// The longest time limit of an agent whose job may run so long.
pub(in crate::app) fn longest_timeout(plan: &Plan, job: Duration) -> Duration {
    let beside = SETUP + plan.limits.grace + COLLECT + WARNING * 2;
    Duration::from_secs(job.saturating_sub(beside).as_secs() / 60 * 60)
}

/// What a scheduler is asked for with an order.
pub(in crate::app::cluster) fn request(
    group: &GroupDir,
    plan: &Plan,
    remote: &Remote,
    order: &Order,
    number: u32,
    program: &Path,
) -> Request {
    let words = [
        program.display().to_string(),
        "attempt".to_owned(),
        "--job".to_owned(),
        Order::file(group, number).display().to_string(),
    ];
    Request {
        name: order.name.clone(),
        elements: u32::try_from(order.elements.len()).unwrap_or(u32::MAX),
        at_once: plan.parallel,
        command: words.to_vec(),
        folder: order::folder(group),
        resources: order.resources,
        kill_wait: order.kill_wait.unwrap_or_default(),
        excluded: BTreeSet::new(),
        wishes: remote.wishes.clone(),
    }
}
