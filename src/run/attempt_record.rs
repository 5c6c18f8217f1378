//! What an attempt's record says of its plan, and of how a try ended.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use medalist_reports::record::{
    AttemptRecord, ConditionsRecord, HardwareRecord, LimitsRecord, RECORD_FORMAT, RefusedRecord,
    SalvageRecord, TryRecord, UsageRecord,
};

use super::clock::AttemptEnd;
use super::dispatcher::Run;
use super::tries::apart::earlier_records;
use crate::attempt::dir::AttemptDir;
use crate::attempt::limits::GpuRequest;
use crate::attempt::plan::{ExecutorKind, Plan, PlannedAttempt};
use crate::sandbox::{Enforcement, Salvage};

/// The record of an attempt that has not been tried yet.
pub(super) fn fresh_record(run: &Run, attempt: &PlannedAttempt) -> AttemptRecord {
    let plan = &run.plan;
    AttemptRecord {
        format: RECORD_FORMAT,
        key: attempt.key.clone(),
        group: plan.group.clone(),
        competition: attempt.competition.clone(),
        conditions: conditions_of(plan, attempt, run.info.sealed, &run.info.limits, &run.hardware),
        ..AttemptRecord::default()
    }
}

/// The conditions of an attempt as far as its plan fixes them, on an executor that can seal.
pub fn planned_conditions(plan: &Plan, attempt: &PlannedAttempt) -> ConditionsRecord {
    let by_executor = plan.executor.has_containers();
    conditions_of(plan, attempt, by_executor, &BTreeMap::new(), &HardwareRecord::default())
}

fn conditions_of(
    plan: &Plan,
    attempt: &PlannedAttempt,
    sealed: bool,
    enforcement: &BTreeMap<String, Enforcement>,
    hardware: &HardwareRecord,
) -> ConditionsRecord {
    ConditionsRecord {
        executor: plan.executor.to_string(),
        network: plan.network_in_force().to_owned(),
        network_hosts: plan.network.hosts().to_vec(),
        sealed: plan.is_sealed(sealed),
        limits: limits_record(plan, attempt),
        enforcement: enforcement
            .iter()
            .map(|(limit, by)| (limit.clone(), by.name().to_owned()))
            .collect(),
        gpu_access: None,
        mounts: plan.mounts.iter().map(ToString::to_string).collect(),
        secrets: Some(secrets_passed(plan)),
        image_digest: None,
        brief_source: None,
        brief_sha256: None,
        brief_replaced: BTreeMap::new(),
        data_sha256: None,
        data_edition: None,
        agent_sha256: Some(plan.agent.files_sha256.clone()),
        harness_version: crate::attempt::VERSION.to_owned(),
        hardware: hardware.clone(),
    }
}

/// The record of an attempt whose try `number` was lost before its process had written one. `node` is
/// where it was to be made.
pub fn record_of_lost(
    plan: &Plan,
    attempt: &PlannedAttempt,
    dir: &AttemptDir,
    number: u32,
    node: Option<String>,
) -> AttemptRecord {
    // Nothing has run, and nothing was unsealed.
    let conditions =
        conditions_of(plan, attempt, true, &BTreeMap::new(), &HardwareRecord::default());
    let mut tries = earlier_records(dir, number).unwrap_or_default();
    let started_at = Some(Utc::now());
    tries.push(TryRecord { number, started_at, node, ..TryRecord::default() });
    AttemptRecord {
        tries,
        ended_at: Some(Utc::now()),
        format: RECORD_FORMAT,
        key: attempt.key.clone(),
        group: plan.group.clone(),
        competition: attempt.competition.clone(),
        conditions,
        ..AttemptRecord::default()
    }
}

/// Names of the secrets that the agent is given. Without consent an agent that names some is refused.
fn secrets_passed(plan: &Plan) -> Vec<String> {
    let names: BTreeSet<String> =
        plan.secrets().into_iter().map(|(_, name)| name).filter(|_| plan.pass_secrets).collect();
    names.into_iter().collect()
}

fn limits_record(plan: &Plan, attempt: &PlannedAttempt) -> LimitsRecord {
    let limits = &plan.limits;
    let some = |value: u64| (value > 0).then_some(value);
    LimitsRecord {
        time_s: Some(limits.timeout.as_secs_f64()),
        grace_s: Some(limits.grace.as_secs_f64()),
        cpus: (limits.cpus > 0.0).then_some(limits.cpus),
        memory_bytes: some(limits.memory_bytes),
        shm_bytes: some(limits.shm_bytes),
        disk_bytes: some(limits.disk_bytes),
        log_bytes: some(limits.log_bytes),
        pids: some(limits.pids),
        gpus: match attempt.gpus.as_ref().unwrap_or(&plan.gpus) {
            GpuRequest::None => 0,
            GpuRequest::Count(count) => *count,
            GpuRequest::Uuids(uuids) => u32::try_from(uuids.len()).unwrap_or(u32::MAX),
            // Filled in when they are handed out.
            GpuRequest::All => 0,
        },
        gpu_share: (plan.gpu_share > 1).then_some(plan.gpu_share),
    }
}

/// What of an agent's files was not taken over; `None` if all were.
fn salvage_record(salvage: &Salvage) -> Option<SalvageRecord> {
    let refused = salvage.refused.iter();
    let record = SalvageRecord {
        refused: refused
            .map(|entry| RefusedRecord { path: entry.path.clone(), why: entry.why.clone() })
            .collect(),
        refused_count: salvage.refused_count,
        errors: salvage.errors.clone(),
        hint: salvage.hint.clone(),
    };
    (record != SalvageRecord::default()).then_some(record)
}

/// Notes how the last try ended; calling it twice for one end changes nothing.
pub(super) fn finish_try(record: &mut AttemptRecord, end: &AttemptEnd) {
    let outcome = end.outcome.record();
    let took_s = end.took.as_secs_f64();
    if let Some(last) = record.tries.last_mut() {
        last.took_s = Some(took_s);
        last.outcome = Some(outcome.clone());
    }
    record.outcome = Some(outcome);
    record.took_s = Some(took_s);
    record.ended_at = Some(Utc::now());
    if let Some(image) = &end.image {
        record.conditions.image_digest =
            Some(image.digest.clone().unwrap_or_else(|| image.id.clone()));
    }
    if end.usage.own_group == Some(false) {
        // What the engine was asked for is not what the init found.
        // Without an engine the kernel holds processes by another limit.
        let by_engine = record.conditions.executor != ExecutorKind::Namespaces.to_string();
        for (limit, by) in &mut record.conditions.enforcement {
            let held = by == Enforcement::Kernel.name();
            match limit.as_str() {
                "pids" if held && by_engine => *by = Enforcement::Watched.name().to_owned(),
                "memory" if held => *by = Enforcement::Watched.name().to_owned(),
                "cpus" | "swap" if held => *by = Enforcement::None.name().to_owned(),
                _ => {}
            }
        }
    }
    record.validations = Some(end.usage.validations);
    record.salvage = end.salvage.as_ref().and_then(salvage_record);
    record.usage = UsageRecord {
        memory_peak_bytes: end.usage.peak_memory_bytes,
        cpu_s: end.usage.cpu_time_s,
        gpu_utilisation: end.usage.gpu.map(|gpu| gpu.mean_utilisation),
        gpu_memory_peak_bytes: end.usage.gpu.map(|gpu| gpu.peak_memory_bytes),
        log_bytes: Some(end.usage.log_bytes),
        disk_bytes: end.usage.disk_bytes,
    };
}
