//! Jobs that ended before their attempt began, by the node that they were on: one that does so again and
//! again is left out, by whoever hands over next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::order;
use crate::host::files::{StoreError, read_json_if_there, write_json};
use crate::host::store::GroupDir;

/// On how many such jobs a node is left out.
pub(super) const LIMIT: usize = 2;

/// The jobs of each node, as `<order's name>_<index>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeadStarts(BTreeMap<String, BTreeSet<String>>);

/// Where they are kept; without the file no node is left out.
pub(super) fn path(group: &GroupDir) -> PathBuf {
    order::folder(group).join("dead-starts.json")
}

impl DeadStarts {
    /// What is known of a group's nodes.
    ///
    /// # Errors
    /// [`StoreError`] if the file is there and cannot be read.
    pub(super) fn read(group: &GroupDir) -> Result<Self, StoreError> {
        Ok(Self(read_json_if_there(&path(group))?.unwrap_or_default()))
    }

    /// Notes a job; whether its node is left out from now on.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be kept.
    pub(super) fn note(
        &mut self,
        group: &GroupDir,
        node: &str,
        job: String,
    ) -> Result<bool, StoreError> {
        let jobs = self.0.entry(node.to_owned()).or_default();
        let is_new = jobs.insert(job);
        let is_first = is_new && jobs.len() == LIMIT;
        if is_new {
            write_json(&path(group), &self.0)?;
        }
        Ok(is_first)
    }

    /// Nodes that are left out.
    pub(super) fn excluded(&self) -> BTreeSet<String> {
        let dead = self.0.iter().filter(|(_, jobs)| jobs.len() >= LIMIT);
        dead.map(|(node, _)| node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_left_out_after_two_jobs_by_whoever_comes_next() {
        let temp = tempfile::tempdir().unwrap();
        let group = GroupDir::new(temp.path());
        std::fs::create_dir(order::folder(&group)).unwrap();
        let mut dead = DeadStarts::read(&group).unwrap();
        for (job, first) in [("m-1_0", false), ("m-1_0", false), ("m-1_7", true), ("m-2_0", false)]
        {
            assert_eq!(dead.note(&group, "n1", job.to_owned()).unwrap(), first, "{job}");
        }
        dead.note(&group, "n2", "m-1_3".to_owned()).unwrap();
        let later = DeadStarts::read(&group).unwrap();
        assert_eq!(later, dead);
        assert_eq!(later.excluded(), BTreeSet::from(["n1".to_owned()]));
    }
}
