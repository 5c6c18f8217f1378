//! The files of a group that are not an attempt's: `group.json` for reports, and MLE-bench's
//! `metadata.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use medalist_reports::record::{
    AgentRecord, GroupRecord, HardwareRecord, LlmGroupRecord, PlannedRecord, RECORD_FORMAT,
};
use serde::{Deserialize, Serialize};

use crate::attempt::plan::Plan;
use crate::host::files::{StoreError, read_json_if_there, write_json};
use crate::host::store::GroupDir;

/// MLE-bench's `metadata.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Metadata {
    run_group: String,
    created_at: String,
    pub(super) runs: BTreeMap<String, MetadataRun>,
}

impl Metadata {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            run_group: plan.group.clone(),
            created_at: plan.created_at.format("%Y-%m-%dT%H-%M-%S-UTC").to_string(),
            runs: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetadataRun {
    pub(super) success: bool,
}

/// Writes that a group is over whose attempts other processes have run: `finished` are the attempts'
/// folders, with whether their machines did not fail.
///
/// # Errors
/// [`StoreError`] if a file cannot be read or written.
pub fn close_group(
    group: &GroupDir,
    plan: &Plan,
    finished: &BTreeMap<String, bool>,
) -> Result<(), StoreError> {
    let mut metadata = Metadata::of(plan);
    let runs =
        finished.iter().map(|(dir, success)| (dir.clone(), MetadataRun { success: *success }));
    metadata.runs.extend(runs);
    write_json(&group.metadata(), &metadata)?;
    let begun: Option<GroupRecord> = read_json_if_there(&group.group())?;
    let hardware = begun.map(|record| record.hardware).unwrap_or_default();
    let llm = super::llm::group_record(plan, group, None);
    write_group(group, plan, &hardware, Some(Utc::now()), llm)
}

/// Writes what reports read of a group; `llm` is what its calls of language models came to.
///
/// # Errors
/// [`StoreError`] if the file cannot be written.
pub fn write_group(
    group: &GroupDir,
    plan: &Plan,
    hardware: &HardwareRecord,
    ended_at: Option<DateTime<Utc>>,
    llm: Option<LlmGroupRecord>,
) -> Result<(), StoreError> {
    let record = GroupRecord {
        format: RECORD_FORMAT,
        id: plan.group.clone(),
        agent: AgentRecord {
            id: plan.agent.id.clone(),
            version: plan.agent.version.clone(),
            backbone: Some(plan.agent.backbone.clone()).filter(|text| !text.is_empty()),
            image: Some(plan.agent.image.clone()),
            files_sha256: Some(plan.agent.files_sha256.clone()),
        },
        suite: plan.suite.clone(),
        suite_file: plan.suite_file.clone(),
        attempts: plan
            .attempts
            .iter()
            .map(|attempt| PlannedRecord { key: attempt.key.clone(), dir: attempt.dir.clone() })
            .collect(),
        started_at: Some(plan.created_at),
        ended_at,
        harness_version: crate::attempt::VERSION.to_owned(),
        command: plan.command.clone(),
        hardware: hardware.clone(),
        notes: plan.notes.clone(),
        llm,
    };
    write_json(&group.group(), &record)
}
