//! The tries of a group as holders of leases of its budget for language models.

use std::path::PathBuf;
use std::time::Duration;

use medalist_llm::ledger::Holders;

use super::llm::{attempt_of, number_of};
use crate::attempt::dir::AttemptDir;
use crate::host::machine;
use crate::host::store::GroupDir;
use crate::host::store::tries::{self, Claim};

/// What the group's folder tells of tries, whose names in the ledger are `<attempt's folder>/<number>`.
pub(super) struct TryHolders {
    group: GroupDir,
    us: Claim,
}

impl TryHolders {
    pub(super) fn new(group: GroupDir, us: Claim) -> Self {
        Self { group, us }
    }

    fn dir(&self, holder: &str) -> AttemptDir {
        self.group.attempt(attempt_of(holder))
    }
}

impl Holders for TryHolders {
    fn silent_for(&self, holder: &str) -> Option<Duration> {
        tries::beat_age(&self.dir(holder), number_of(holder))
    }

    /// Only of a process of this machine: what a scheduler or another boot says of others leaves room
    /// for a process that goes on.
    fn is_gone(&self, holder: &str) -> bool {
        let found = tries::state(&self.dir(holder), number_of(holder)).ok();
        let Some(claim) = found.and_then(|found| found.claim) else { return false };
        (&claim.host, &claim.boot) == (&self.us.host, &self.us.boot)
            && machine::process_started(claim.pid) != Some(claim.pid_started)
    }

    fn records(&self, holder: &str) -> PathBuf {
        self.dir(holder).earlier_try(number_of(holder)).llm()
    }
}
