//! Groups and attempts on disk, as people name them.

use std::path::Path;

use medalist_reports::record::AttemptRecord;

use super::context::Context;
use super::error::{CliError, Exit};
use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::{PLAN_FORMAT, Plan};
use crate::attempt::text::chain;
use crate::host::files::{StoreError, is_listed, read_json, read_json_if_there};
use crate::host::store::tries::{self, Standing};
use crate::host::store::{GroupDir, find};

/// The attempt that `text` names, in the group that is named or the newest that has it. Groups whose
/// plan cannot be read are named and passed over.
///
/// # Errors
/// There is none, or several fit.
pub fn find_attempt(
    text: &str,
    group: Option<&Path>,
    context: &Context,
) -> Result<find::Found, CliError> {
    let mut on_damage = passed_over(context);
    find::attempt(&context.runs_dir, text, group, &mut on_damage).map_err(find_error)
}

/// Names a group whose plan cannot be read.
pub(super) fn passed_over(context: &Context) -> impl FnMut(StoreError) {
    |error| context.warn(format_args!("{}; this group is passed over", chain(&error)))
}

/// A [`find::FindError`] with the way on.
pub fn find_error(error: find::FindError) -> CliError {
    CliError::new(Exit::BadInput, error)
        .hint("name an attempt by its folder or by competition/agent/seed, and its group with --group; --runs-dir says where groups are")
}

/// Reads the plan of a group.
///
/// # Errors
/// It is missing or damaged, or a newer medalist made it.
pub fn read_plan(dir: &GroupDir) -> Result<Plan, CliError> {
    let plan: Plan =
        read_json(&dir.plan()).map_err(|error| CliError::new(Exit::BadInput, error))?;
    if !PLAN_FORMAT.reads(plan.format) {
        return Err(CliError::message(
            Exit::BadInput,
            format!(
                "`{}` has format {}, this program reads up to {PLAN_FORMAT}",
                dir.plan().display(),
                plan.format
            ),
        )
        .hint("a newer medalist made this group; use that one"));
    }
    Ok(plan)
}

/// Whether an attempt's last try has ended and is graded, or was lost.
pub fn is_over(dir: &AttemptDir) -> bool {
    match tries::standing(dir) {
        Ok(Standing::Ended(_) | Standing::Final(_)) => {
            return is_listed(&dir.record()).unwrap_or(false);
        }
        Ok(Standing::Claimed(_)) => return false,
        Ok(Standing::Apart) | Err(_) => {}
    }
    let record: Option<AttemptRecord> = read_json_if_there(&dir.record()).ok().flatten();
    // The grade is written last.
    record.is_some_and(|record| record.outcome.is_some()) && dir.grade().is_file()
}

#[cfg(test)]
mod tests {
    use medalist_reports::record::OutcomeRecord;

    use super::*;
    use crate::host::files::write_json;

    #[test]
    fn an_attempt_is_over_once_its_grade_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(temp.path());
        assert!(!is_over(&dir));
        let ended =
            AttemptRecord { outcome: Some(OutcomeRecord::default()), ..AttemptRecord::default() };
        for (record, has_ended) in [(AttemptRecord::default(), false), (ended, true)] {
            write_json(&dir.record(), &record).unwrap();
            let _ = std::fs::remove_file(dir.grade());
            assert!(!is_over(&dir), "it is not graded");
            std::fs::write(dir.grade(), "{}").unwrap();
            assert_eq!(is_over(&dir), has_ended);
        }
    }
}
