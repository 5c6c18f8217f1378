//! A run group as a bundle holds it, with each file that cannot be read named.

use std::collections::BTreeSet;
use std::path::Path;

use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, GroupRecord, RECORD_FORMAT};
use serde::de::DeserializeOwned;

use super::log::Told;
use super::open::{Opened, is_plain_name};
use crate::app::bundle::manifest::GroupClaim;
use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::{PLAN_FORMAT, Plan, PlannedAttempt};
use crate::attempt::text::chain;
use crate::host::chain::Chain;
use crate::host::files::{read_json, read_json_if_there};
use crate::host::store::GroupDir;

/// A group of a bundle.
pub(super) struct Group<'a> {
    pub(super) claim: &'a GroupClaim,
    pub(super) dir: GroupDir,
    pub(super) plan: Plan,
    pub(super) record: Option<GroupRecord>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) told: Told,
    /// Files that are missing or damaged.
    pub(super) unreadable: Vec<String>,
    /// Attempts' folders in the bundle that the plan does not name.
    pub(super) unplanned: BTreeSet<String>,
}

/// A planned attempt and what the bundle has of it.
pub(super) struct Attempt {
    pub(super) planned: PlannedAttempt,
    /// Its folder.
    pub(super) dir: AttemptDir,
    /// The folder with the files of the try that counts.
    pub(super) work: AttemptDir,
    pub(super) record: Option<AttemptRecord>,
    pub(super) grade: Option<GradeReport>,
}

impl Attempt {
    /// A path in the bundle.
    pub(super) fn listed(
        &self,
        group: &Group<'_>,
        opened: &Opened,
        name: &str,
    ) -> Option<(String, u64)> {
        let path = self.work.root().join(name);
        let below = path.strip_prefix(group.dir.root()).ok()?.to_str()?;
        let file = opened.listed(&format!("{}/{below}", group.claim.id))?;
        Some((file.sha256.clone(), file.bytes))
    }
}

impl<'a> Group<'a> {
    /// Reads a group of a bundle; `witnesses` are links of its logs that somebody has seen.
    ///
    /// # Errors
    /// In words, why nothing can be said of the group: its plan is missing, damaged, or of a newer
    /// version, or names places outside the group.
    pub(super) fn read(
        opened: &Opened,
        claim: &'a GroupClaim,
        witnesses: &BTreeSet<String>,
    ) -> Result<Self, String> {
        let dir = GroupDir::new(opened.root.path().join(&claim.id));
        let plan: Plan = read_json(&dir.plan()).map_err(|error| in_words(&error, opened))?;
        if !PLAN_FORMAT.reads(plan.format) {
            return Err(format!("its plan has format {}, which is newer", plan.format));
        }
        let mut dirs = BTreeSet::new();
        for attempt in &plan.attempts {
            if !is_plain_name(&attempt.dir) || !dirs.insert(attempt.dir.as_str()) {
                return Err("its plan names a folder twice, or one that is none".to_owned());
            }
        }
        let prefix = format!("{}/", claim.id);
        let below = opened.manifest.files.iter().filter_map(|file| file.path.strip_prefix(&prefix));
        let folders = below.filter_map(|path| Some(path.split_once('/')?.0));
        let unplanned = folders.filter(|folder| *folder != "jobs" && !dirs.contains(folder));
        let unplanned = unplanned.map(str::to_owned).collect();
        let mut group = Self {
            claim,
            record: None,
            attempts: Vec::new(),
            told: Told::default(),
            unreadable: Vec::new(),
            unplanned,
            dir,
            plan,
        };
        group.record = group.json(&group.dir.group(), opened);
        for planned in group.plan.attempts.clone() {
            let attempt = group.attempt(planned, opened);
            group.attempts.push(attempt);
        }
        group.read_logs(opened, witnesses);
        Ok(group)
    }

    fn attempt(&mut self, planned: PlannedAttempt, opened: &Opened) -> Attempt {
        let dir = self.dir.attempt(&planned.dir);
        let record: Option<AttemptRecord> = self.json(&dir.record(), opened);
        let record = record.filter(|record| {
            let reads = RECORD_FORMAT.reads(record.format);
            if !reads {
                let (dir, format) = (&planned.dir, record.format);
                self.unreadable.push(format!("`{dir}/attempt.json` has format {format}"));
            }
            reads
        });
        let last = record.as_ref().and_then(|record| record.tries.last()).map(|last| last.number);
        let apart = last.map(|number| dir.earlier_try(number));
        // Where processes of their own make tries, each has a folder, the last one too.
        let work = apart.filter(|folder| folder.root().is_dir()).unwrap_or_else(|| dir.clone());
        let grade = self.json(&dir.grade(), opened);
        Attempt { planned, dir, work, record, grade }
    }

    /// A file of the group, if it is there and can be read.
    fn json<T: DeserializeOwned>(&mut self, path: &Path, opened: &Opened) -> Option<T> {
        read_json_if_there(path).unwrap_or_else(|error| {
            self.unreadable.push(in_words(&error, opened));
            None
        })
    }

    fn read_logs(&mut self, opened: &Opened, witnesses: &BTreeSet<String>) {
        let Ok(head) = Chain::of_plan(&self.dir.plan()) else { return };
        let mut logs = vec![(self.dir.events(), true)];
        for attempt in &self.attempts {
            logs.push((attempt.dir.events(), false));
            let tries = crate::host::store::tries::numbers(&attempt.dir).unwrap_or_default();
            logs.extend(tries.into_iter().map(|n| (attempt.dir.earlier_try(n).events(), false)));
        }
        for (path, of_group) in logs.into_iter().filter(|(path, _)| path.is_file()) {
            let name = path.strip_prefix(opened.root.path()).unwrap_or(&path);
            let name = name.display().to_string();
            if let Err(error) = self.told.read(&path, name.clone(), of_group, &head, witnesses) {
                self.unreadable.push(format!("`{name}` cannot be read: {error}"));
            }
        }
    }
}

/// An error without the folder that the bundle was unpacked to.
fn in_words(error: &crate::host::files::StoreError, opened: &Opened) -> String {
    let root = format!("{}/", opened.root.path().display());
    chain(error).replace(&root, "")
}
