//! What killed harnesses left in a group's folder and nobody needs any more.

use std::path::Path;

use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::Plan;
use crate::host::files::{if_there, is_left_aside};
use crate::host::store::GroupDir;
use crate::sandbox::control::Control;

/// Removes files that were never finished, and of the attempts that have nothing running what would
/// only help to find it again. `runs` says of an attempt's folder whether something of it runs.
///
/// The caller holds the group: nobody else writes there. What cannot be removed stays and does no
/// harm.
pub(super) fn sweep(group: &GroupDir, plan: &Plan, runs: impl Fn(&str) -> bool) {
    unfinished_files(group.root());
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        unfinished_files(dir.root());
        if !runs(&attempt.dir) {
            settle(&dir);
        }
    }
}

fn settle(dir: &AttemptDir) {
    let token = if_there(std::fs::remove_file(dir.token())).map(drop);
    let control = Control::of(dir).remove();
    for error in [token, control].into_iter().filter_map(Result::err) {
        tracing::debug!(%error, dir = %dir.root().display(), "a leftover stays");
    }
}

fn unfinished_files(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file
            && is_left_aside(&entry.file_name())
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "a leftover stays");
        }
    }
}
