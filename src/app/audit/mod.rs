//! What may be a violation in what attempts left, found by rules. A finding is a question to a person;
//! nothing is excluded for it.
//!
//! ```text
//!  files       bounded reading of what agents left
//!  task        what is known of a competition here: ids, answers, scores, public data
//!  attempt     one attempt's files, by the rules for each
//!  submission  submissions beside the answers and beside each other
//!  text        for people
//!  judge       what a language model says of attempts, kept apart from the rules
//!  familiarity what a language model knows of the competitions
//!  ask         a language model that is asked, with a budget and a recording
//! ```
//! The rules themselves are `medalist-audit`'s, which reads no file.

pub mod ask;
mod attempt;
pub mod familiarity;
mod files;
pub mod judge;
mod submission;
mod task;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use medalist_audit::kernels::Kernels;
use medalist_audit::same::{Submitted, identical};
use medalist_audit::{Confidence, Finding, Leave, Rule, Setting, Source};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, FormatVersion};
use medalist_reports::table::Look;
use rayon::prelude::*;
use serde::Serialize;

use self::attempt::Reading;
use self::task::Task;
use super::bundle::manifest::Listed;
use super::bundle::pick::{Picked, files_of};
use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::read_plan;
use super::verify::{open, refused};
use crate::attempt::limits::Network;
use crate::attempt::plan::Plan;
use crate::host::files::StoreError;
use crate::host::store::{GroupDir, find};

/// Files of one folder of kernels.
const KERNELS: usize = 50_000;

/// The version of the JSON that `audit --format json` prints.
pub const AUDIT_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// What is audited.
#[derive(Debug)]
pub struct AuditRequest<'a> {
    /// Folders of run groups, their names below the runs folder, or bundles.
    pub groups: &'a [PathBuf],
    /// A folder of public kernels.
    pub kernels: Option<&'a Path>,
    /// What the competitions' rules forbid, beside what the network already kept out.
    pub forbidden: &'a [Forbidden],
    /// Bytes that a bundle may unpack to.
    pub most: u64,
}

/// What rules of competitions may forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Forbidden {
    /// Anything fetched from elsewhere.
    Downloads,
    /// Weights that others trained.
    Weights,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Audit {
    pub format: FormatVersion,
    /// What is known of the competitions' data, which says nothing against any attempt.
    pub competitions: Vec<CompetitionAudit>,
    pub groups: Vec<GroupAudit>,
}

/// What came of a competition's public data.
#[derive(Debug, Serialize)]
pub struct CompetitionAudit {
    pub id: String,
    /// Files are named from the prepared folder.
    pub findings: Vec<Finding>,
    pub not_checked: Vec<NotChecked>,
}

/// What came of one run group.
#[derive(Debug, Serialize)]
pub struct GroupAudit {
    /// Its name.
    pub id: String,
    pub agent: String,
    /// Files that could not be looked at, one line each.
    pub refused: Vec<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotChecked {
    pub rule: Rule,
    /// Why, in words.
    pub why: String,
}

impl Audit {
    /// All findings on attempts.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.groups.iter().flat_map(|group| &group.attempts).flat_map(|one| &one.findings)
    }

    /// Whether a finding on an attempt is at least so sure.
    pub fn has(&self, confidence: Confidence) -> bool {
        self.findings().any(|finding| finding.confidence >= confidence)
    }

    /// For people, on a terminal.
    pub fn text(&self, look: Look) -> String {
        text::plain(self, look)
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        text::markdown(self)
    }
}

/// A group that is audited.
struct Group {
    plan: Plan,
    /// By the folder of the attempt; those of the group itself have an empty name.
    files: BTreeMap<String, Vec<Picked>>,
    refused: Vec<String>,
}

/// Audits run groups.
///
/// # Errors
/// A group is missing or its plan cannot be read; a bundle cannot be opened; the folder of kernels cannot be
/// read. What is wrong with an attempt's files is no error.
pub fn audit(request: &AuditRequest<'_>, context: &Context) -> Result<Audit, CliError> {
    let kernels = request.kernels.map(|folder| read_kernels(folder, context)).transpose()?;
    let (mut groups, mut unpacked) = (Vec::new(), Vec::new());
    for text in request.groups {
        groups.extend(read_groups(text, request.most, context, &mut unpacked)?);
    }
    let ids: BTreeSet<&str> = groups
        .iter()
        .flat_map(|group| &group.plan.attempts)
        .map(|attempt| attempt.key.competition.as_str())
        .collect();
    let grading = context.grading()?;
    let (mut competitions, mut attempts) = (Vec::new(), BTreeMap::new());
    // One after the other, so that the answers of one competition are in memory at once.
    for id in ids {
        let task = Task::read(id, &grading, context);
        competitions.push(audit_data(id, &task));
        let task = task.ok();
        let read = audit_attempts(id, &groups, task.as_ref(), kernels.as_ref(), request);
        attempts.extend(compare(read, task.as_ref()));
    }
    let mut audits: Vec<GroupAudit> = groups.iter().map(GroupAudit::new).collect();
    // In the order of groups, and in each in that of the plan.
    for ((group, _), mut attempt) in attempts {
        attempt.findings.sort_by(|a, b| b.confidence.cmp(&a.confidence).then(a.rule.cmp(&b.rule)));
        attempt.not_checked.sort();
        audits[group].attempts.push(attempt);
    }
    Ok(Audit { format: AUDIT_FORMAT, competitions, groups: audits })
}

/// What is known of a competition's public data, or why they are not known.
fn audit_data(id: &str, task: &Result<Task, String>) -> CompetitionAudit {
    let (findings, not_checked) = match task {
        Ok(task) => task.data(),
        Err(why) => {
            let why = Shown::message(why).into_string();
            let rules = [Rule::TestRowsInTrain, Rule::PromptInjection];
            (Vec::new(), rules.map(|rule| NotChecked { rule, why: why.clone() }).to_vec())
        }
    };
    CompetitionAudit { id: Shown::new(id).into_string(), findings, not_checked }
}

/// Reads the kernels of a folder.
fn read_kernels(folder: &Path, context: &Context) -> Result<Kernels, CliError> {
    let what = || format!("cannot read the kernels in `{}`", folder.display());
    let below = files::below(folder, KERNELS);
    if below.is_cut {
        let message = format!("it has more than {KERNELS} files or folders");
        return Err(CliError::message(Exit::BadInput, message).context(what()));
    }
    if let Some((path, error)) = below.unlisted.into_iter().next() {
        let error = CliError::new(Exit::BadInput, StoreError::io("read", &path)(error));
        return Err(error.context(what()));
    }
    let mut kernels = Kernels::default();
    let mut short = 0;
    for path in below.files {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy();
        if !(name.ends_with(".py") || name.ends_with(".ipynb")) {
            continue;
        }
        match files::bytes(&path) {
            Ok(bytes) => short += usize::from(kernels.add(&Source::new(&name, &bytes)) == 0),
            Err(why) => context.warn(format_args!("`{}` was not read: {why}", path.display())),
        }
    }
    if kernels.is_empty() {
        let message = format!("`{}` has no kernel", folder.display());
        return Err(CliError::message(Exit::BadInput, message)
            .hint("expected files that end in `.py` or `.ipynb`"));
    }
    if short > 0 {
        context.say(format_args!(
            "{short} of {} kernels are too short to compare with",
            kernels.len()
        ));
    }
    Ok(kernels)
}

/// Finds what a person names: one run group, or those of a bundle, whose files lie in `unpacked`.
fn read_groups(
    text: &Path,
    most: u64,
    context: &Context,
    unpacked: &mut Vec<tempfile::TempDir>,
) -> Result<Vec<Group>, CliError> {
    if !text.is_file() {
        let dir = find::group(&context.runs_dir, text).map_err(|error| {
            CliError::new(Exit::BadInput, error)
                .hint("name a group's folder or a bundle; --runs-dir says where groups are")
        })?;
        return Ok(vec![read_group(dir)?]);
    }
    let opened = open::open(text, most, is_kept).map_err(refused)?;
    for line in opened.hashes.iter().take(5) {
        context.warn(format_args!("{line}; `medalist verify` says more"));
    }
    let root = opened.root.path().to_owned();
    unpacked.push(opened.root);
    let mut groups = Vec::new();
    for claim in &opened.manifest.groups {
        let mut group = read_group(GroupDir::new(root.join(&claim.id)))?;
        let start = format!("{}/", claim.id);
        let own = opened.manifest.files.iter().filter(|file| file.path.starts_with(&start));
        let large = own.filter(|file| is_read(file) && file.bytes > files::CODE);
        group.refused.extend(large.map(|file| {
            format!("`{}` has {} bytes, and was not unpacked", Shown::new(&file.path), file.bytes)
        }));
        groups.push(group);
    }
    Ok(groups)
}

/// Whether a file of a bundle is one of code or a log in a folder.
fn is_read(file: &Listed) -> bool {
    matches!(part(file), Some("code" | "logs"))
}

/// The part of an attempt's or a try's folder that a file of a bundle is in, or its name.
fn part(file: &Listed) -> Option<&str> {
    let mut parts = file.path.split('/').skip(2);
    let mut first = parts.next();
    if first == Some("tries") {
        first = parts.nth(1);
    }
    // Copies of the code from while the agent ran.
    if first == Some("snapshots") && parts.next() == Some("code") { Some("code") } else { first }
}

/// Which files of a bundle are looked at.
fn is_kept(file: &Listed) -> bool {
    match part(file) {
        Some("code" | "logs") => file.bytes <= files::CODE,
        Some("run.log" | "validations.jsonl") => true,
        _ => open::is_kept(file),
    }
}

fn read_group(dir: GroupDir) -> Result<Group, CliError> {
    let plan = read_plan(&dir)?;
    if let Some(attempt) = plan.attempts.iter().find(|attempt| !open::is_plain_name(&attempt.dir)) {
        let message = format!("the plan names the folder `{}`", Shown::new(&attempt.dir));
        return Err(CliError::message(Exit::BadInput, message));
    }
    let pick = files_of(&dir, &plan)?;
    let refused = pick.refused.iter().map(|line| Shown::new(line).into_string()).collect();
    let mut files: BTreeMap<String, Vec<Picked>> = BTreeMap::new();
    for file in pick.files {
        files.entry(file.attempt.clone().unwrap_or_default()).or_default().push(file);
    }
    Ok(Group { plan, files, refused })
}

impl GroupAudit {
    /// Without its attempts.
    fn new(group: &Group) -> Self {
        let shown = |text: &str| Shown::new(text).into_string();
        let plan = &group.plan;
        Self {
            id: shown(&plan.group),
            agent: shown(&plan.agent.id),
            refused: group.refused.clone(),
            attempts: Vec::new(),
        }
    }
}

/// The place of an attempt: its group's, and its own in the plan.
type Place = (usize, usize);

/// Audits the attempts of all groups at one competition, each for itself.
fn audit_attempts(
    id: &str,
    groups: &[Group],
    task: Option<&Task>,
    kernels: Option<&Kernels>,
    request: &AuditRequest<'_>,
) -> Vec<(Place, AttemptAudit, Option<Submitted>)> {
    let mut all = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let setting = setting(id, group, task, request);
        let planned = group.plan.attempts.iter().enumerate();
        let planned: Vec<_> =
            planned.filter(|(_, attempt)| attempt.key.competition == id).collect();
        all.par_extend(planned.into_par_iter().map(|(number, attempt)| {
            let mut reading = Reading::new(&setting, task, kernels);
            let own: Vec<&Picked> = group.files.get(&attempt.dir).into_iter().flatten().collect();
            reading.all(&own, &attempt.dir);
            let submitted = reading.submitted.map(|submitted| Submitted {
                attempt: attempt.key.to_string(),
                agent: attempt.key.agent.clone(),
                ..submitted
            });
            let audit = AttemptAudit {
                key: attempt.key.clone(),
                dir: attempt.dir.clone(),
                findings: reading.found,
                not_checked: reading.not_checked,
            };
            ((at, number), audit, submitted)
        }));
    }
    all
}

/// What the rules are told of the attempts of a group at one competition.
fn setting(id: &str, group: &Group, task: Option<&Task>, request: &AuditRequest<'_>) -> Setting {
    let plan = &group.plan;
    let denied = |what: Forbidden, otherwise: Leave| match request.forbidden.contains(&what) {
        true => Leave::Denied,
        false => otherwise,
    };
    let planned_sealed = plan.network == Network::Sealed;
    let in_force = plan.network_in_force() == Network::Sealed.mode();
    let mut roots: Vec<String> =
        plan.mounts.iter().map(|mount| mount.target.display().to_string()).collect();
    // A plain process is told the paths of its machine, which end like this; no other path has the name.
    let own = plan.attempts.iter().filter(|attempt| attempt.key.competition == id);
    roots.extend(own.map(|attempt| format!("/{}/home/", attempt.dir)));
    Setting {
        ids: task.and_then(Task::ids),
        id_columns: task.map(|task| task.id_columns.clone()).unwrap_or_default(),
        downloads: denied(
            Forbidden::Downloads,
            if planned_sealed { Leave::Denied } else { Leave::Unknown },
        ),
        sealed: in_force,
        weights: denied(Forbidden::Weights, Leave::Unknown),
        roots,
    }
}

/// Compares the submissions of all groups at one competition with each other.
fn compare(
    read: Vec<(Place, AttemptAudit, Option<Submitted>)>,
    task: Option<&Task>,
) -> Vec<(Place, AttemptAudit)> {
    let sample = task.and_then(|task| submission::submitted(task.sample.as_ref()?, task));
    let sample = sample.map(|sample| sample.all);
    let (mut audits, mut submitted, mut whose) = (Vec::new(), Vec::new(), Vec::new());
    for (place, audit, own) in read {
        if let Some(own) = own {
            whose.push(audits.len());
            submitted.push(Submitted { is_sample: sample == Some(own.all), ..own });
        }
        audits.push((place, audit));
    }
    for (at, finding) in identical("submission/submission.csv", &submitted) {
        audits[whose[at]].1.findings.push(finding);
    }
    audits
}
