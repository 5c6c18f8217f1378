//! What may be a violation in what attempts left, found by rules. A finding is a question to a person;
//! nothing is excluded for it.

use std::path::PathBuf;

use medalist_audit::{Confidence, Finding, Rule};
use medalist_reports::record::{AttemptKey, FormatVersion};
use serde::Serialize;

use super::context::Context;
use super::error::CliError;
use super::groups::read_plan;
use crate::host::store::find;

/// The version of the JSON that `audit --format json` prints.
pub const AUDIT_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// What is audited.
#[derive(Debug)]
pub struct AuditRequest<'a> {
    /// Folders of run groups, or their names below the runs folder.
    pub groups: &'a [PathBuf],
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Audit {
    pub format: FormatVersion,
    pub groups: Vec<GroupAudit>,
}

/// What came of one run group.
#[derive(Debug, Serialize)]
pub struct GroupAudit {
    /// Its name.
    pub id: String,
    pub agent: String,
    pub attempts: Vec<AttemptAudit>,
}

/// What came of one attempt.
#[derive(Debug, Serialize)]
pub struct AttemptAudit {
    pub key: AttemptKey,
    /// Its folder in the group's; files of findings are named from here.
    pub dir: String,
    /// The surest first.
    pub findings: Vec<Finding>,
    /// What could not be looked for, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A rule that could not be applied, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    pub rule: Rule,
    /// Why, in words.
    pub why: String,
}

impl Audit {
    /// All findings.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.groups.iter().flat_map(|group| &group.attempts).flat_map(|one| &one.findings)
    }

    /// Whether a finding is at least so sure.
    pub fn has(&self, confidence: Confidence) -> bool {
        self.findings().any(|finding| finding.confidence >= confidence)
    }
}

/// Audits run groups.
///
/// # Errors
/// A group is missing or its plan cannot be read. What is wrong with an attempt's files is no error.
pub fn audit(request: &AuditRequest<'_>, context: &Context) -> Result<Audit, CliError> {
    let mut groups = Vec::new();
    for text in request.groups {
        let dir = find::group(&context.runs_dir, text).map_err(super::groups::find_error)?;
        let plan = read_plan(&dir)?;
        groups.push(GroupAudit { id: plan.group, agent: plan.agent.id, attempts: Vec::new() });
    }
    Ok(Audit { format: AUDIT_FORMAT, groups })
}
