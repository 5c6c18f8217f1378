//! Finds run groups and attempts by what a person types: a folder, a name, a key, a competition.

use std::path::{Path, PathBuf};

use super::GroupDir;
use crate::attempt::plan::{Plan, PlannedAttempt};
use crate::host::files::{StoreError, read_json};

/// How many candidates an ambiguity names.
const NAMED: usize = 8;

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No such group.
    #[error("`{text}` is no run group: there is no `{}`", .looked_at.display())]
    NoGroup {
        /// What was typed.
        text: String,
        /// The plan that was looked for.
        looked_at: PathBuf,
    },
    /// There are no groups at all.
    #[error("no run groups in `{}`", .runs_dir.display())]
    NoGroups {
        /// Where they would be.
        runs_dir: PathBuf,
    },
    /// No group has such an attempt.
    #[error("no attempt `{text}` in {place}")]
    NoAttempt {
        /// What was typed.
        text: String,
        /// Where it was looked for.
        place: String,
    },
    /// Several attempts of a group fit.
    #[error("`{text}` means {count} attempts of `{group}`: {named}")]
    Ambiguous {
        /// What was typed.
        text: String,
        /// The group's name.
        group: String,
        /// How many fit.
        count: usize,
        /// The first of them.
        named: String,
    },
    /// A plan cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An attempt and the group it is part of.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub group: GroupDir,
    /// What was planned.
    pub attempt: PlannedAttempt,
}

/// The group that `text` names: its folder, or its name below `runs_dir`.
///
/// # Errors
/// [`FindError::NoGroup`] if neither holds a plan.
pub fn group(runs_dir: &Path, text: &Path) -> Result<GroupDir, FindError> {
    for root in [text.to_owned(), runs_dir.join(text)] {
        let dir = GroupDir::new(root);
        if dir.plan().is_file() {
            return Ok(dir);
        }
    }
    let looked_at = GroupDir::new(runs_dir.join(text)).plan();
    Err(FindError::NoGroup { text: text.display().to_string(), looked_at })
}

/// The newest group below `runs_dir`, by its name, which begins with its time. Groups whose plan
/// cannot be read are passed over, and told to `on_damage`.
///
/// # Errors
/// [`FindError::NoGroups`] if there is none.
pub fn newest_group(
    runs_dir: &Path,
    on_damage: &mut dyn FnMut(StoreError),
) -> Result<GroupDir, FindError> {
    let is_sound =
        |group: &GroupDir| read_json::<Plan>(&group.plan()).map_err(&mut *on_damage).is_ok();
    let newest = groups(runs_dir).into_iter().find(is_sound);
    newest.ok_or_else(|| FindError::NoGroups { runs_dir: runs_dir.to_owned() })
}

/// The attempt that `text` names: its folder, the folder's name or the beginning of it, its key
/// (`competition/agent/seed`), or its competition where the group has one attempt on it. Without a
/// group, the newest group that has such an attempt counts; groups whose plan cannot be read are
/// passed over then, and told to `on_damage`.
///
/// # Errors
/// [`FindError`]; several attempts of one group that fit are an error that names them.
pub fn attempt(
    runs_dir: &Path,
    text: &str,
    within: Option<&Path>,
    on_damage: &mut dyn FnMut(StoreError),
) -> Result<Found, FindError> {
    let path = Path::new(text);
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        && GroupDir::new(parent).plan().is_file()
        && let Some(found) = in_group(&GroupDir::new(parent), &name.to_string_lossy())?
    {
        return Ok(found);
    }
    if let Some(within) = within {
        let place = format!("group `{}`", within.display());
        let found = in_group(&group(runs_dir, within)?, text)?;
        return found.ok_or_else(|| FindError::NoAttempt { text: text.to_owned(), place });
    }
    for candidate in groups(runs_dir) {
        match in_group(&candidate, text) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(FindError::Store(error)) => on_damage(error),
            Err(error) => return Err(error),
        }
    }
    let place = format!("the groups of `{}`", runs_dir.display());
    Err(FindError::NoAttempt { text: text.to_owned(), place })
}

/// All groups below `runs_dir` that have a plan, the newest first.
fn groups(runs_dir: &Path) -> Vec<GroupDir> {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    let mut roots: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    roots.sort_unstable_by(|a, b| b.cmp(a));
    roots.into_iter().map(GroupDir::new).filter(|group| group.plan().is_file()).collect()
}

fn in_group(group: &GroupDir, text: &str) -> Result<Option<Found>, FindError> {
    let plan: Plan = read_json(&group.plan())?;
    let fitting = |fits: &dyn Fn(&PlannedAttempt) -> bool| -> Vec<PlannedAttempt> {
        plan.attempts.iter().filter(|attempt| fits(attempt)).cloned().collect()
    };
    let mut found = fitting(&|attempt| attempt.dir == text || attempt.key.to_string() == text);
    if found.is_empty() {
        found = fitting(&|attempt| attempt.key.competition == text);
    }
    if found.is_empty() && !text.is_empty() {
        found = fitting(&|attempt| attempt.dir.starts_with(text));
    }
    if found.len() > 1 {
        let names: Vec<String> =
            found.iter().take(NAMED).map(|attempt| attempt.key.to_string()).collect();
        let more = if found.len() > NAMED { ", ..." } else { "" };
        return Err(FindError::Ambiguous {
            text: text.to_owned(),
            group: plan.group,
            count: found.len(),
            named: format!("{}{more}", names.join(", ")),
        });
    }
    Ok(found.pop().map(|attempt| Found { group: group.clone(), attempt }))
}
