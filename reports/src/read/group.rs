//! Our own run groups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::foreign::Entry;
use super::{CompetitionSource, Group, Warning, json};
use crate::attempt::{Attempt, Ending, Grade};
use crate::record::{
    AttemptRecord, CompetitionFacts, FormatVersion, GroupRecord, PlannedRecord, RECORD_FORMAT,
};

pub(super) fn read(
    dir: &Path,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Group> {
    let path = dir.join("group.json");
    check_version(&path, warnings)?;
    let mut record: GroupRecord = json::read(&path, warnings)?;
    let planned: BTreeSet<PathBuf> =
        record.attempts.iter().map(|planned| dir.join(&planned.dir)).collect();
    let mut dirs: Vec<(PathBuf, Option<PlannedRecord>)> =
        record.attempts.drain(..).map(|planned| (dir.join(&planned.dir), Some(planned))).collect();
    dirs.extend(unplanned(dir, &planned).into_iter().map(|dir| (dir, None)));
    let read: Vec<(Option<Attempt>, Vec<Warning>)> = dirs
        .par_iter()
        .map(|(dir, planned)| {
            let mut warnings = Vec::new();
            (read_attempt(dir, planned.as_ref(), &record.id, source, &mut warnings), warnings)
        })
        .collect();
    record.attempts = dirs.into_iter().filter_map(|(_, planned)| planned).collect();
    let mut attempts = Vec::with_capacity(read.len());
    for (attempt, more) in read {
        attempts.extend(attempt);
        warnings.extend(more);
    }
    attempts.sort_by(|a: &Attempt, b| {
        (&a.key.competition, a.key.seed).cmp(&(&b.key.competition, b.key.seed))
    });
    if attempts.is_empty() {
        warnings.push(Warning::new(dir, "is a run group without any attempt; left out"));
        return None;
    }
    Some(Group {
        id: record.id.clone(),
        path: dir.to_owned(),
        agent: record.agent.id.clone(),
        agent_is_recorded: true,
        record: Some(record),
        attempts,
    })
}

/// Refuses files of a newer major version before their fields are looked at, for these may have
/// changed.
fn check_version(path: &Path, warnings: &mut Vec<Warning>) -> Option<()> {
    #[derive(Deserialize)]
    struct Head {
        format: FormatVersion,
    }
    let head: Head = json::read(path, warnings)?;
    if RECORD_FORMAT.reads(head.format) {
        return Some(());
    }
    let message = format!(
        "has format {}, this version reads up to {}.x; left out",
        head.format, RECORD_FORMAT.major
    );
    warnings.push(Warning::new(path, message));
    None
}

/// Folders with an `attempt.json` that the plan does not name, such as those of a merged group.
fn unplanned(dir: &Path, planned: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut dirs: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !planned.contains(path) && path.join("attempt.json").is_file())
        .collect();
    dirs.sort();
    dirs
}

fn read_attempt(
    dir: &Path,
    planned: Option<&PlannedRecord>,
    group: &str,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Option<Attempt> {
    let path = dir.join("attempt.json");
    let record: Option<AttemptRecord> = if path.is_file() {
        check_version(&path, warnings).and_then(|()| json::read(&path, warnings))
    } else {
        record_of_running_try(dir, warnings)
    };
    let Some(record) = record else {
        // The plan still counts it: an attempt never drops out of a denominator because its file is
        // damaged.
        let key = planned?.key.clone();
        let facts = facts_of(&key.competition, None, source);
        let grade = Grade::default();
        return Some(Attempt {
            key,
            group: group.to_owned(),
            dir: None,
            facts,
            ending: Ending::Unfinished,
            grade,
            record: None,
        });
    };
    let facts = facts_of(&record.key.competition, Some(&record.competition), source);
    let ending = record.outcome.clone().map_or(Ending::Unfinished, Ending::Ended);
    let grade_path = dir.join("grade.json");
    let entry: Option<Entry> =
        if grade_path.is_file() { Entry::read(&grade_path, warnings) } else { None };
    let grade = entry.map_or_else(Grade::default, |entry| entry.grade(source));
    if grade == Grade::default()
        && record.submission.is_some()
        && matches!(ending, Ending::Ended(_))
    {
        warnings.push(Warning::new(
            dir,
            "left a submission that has no grade; it counts as failed until it is graded",
        ));
    }
    Some(Attempt {
        key: record.key.clone(),
        group: group.to_owned(),
        dir: Some(dir.to_owned()),
        facts,
        ending,
        grade,
        record: Some(Box::new(record)),
    })
}

/// The record of an attempt whose first try runs in a process of its own, which publishes it at its end:
/// whatever it says of one, that is not decided yet.
fn record_of_running_try(dir: &Path, warnings: &mut Vec<Warning>) -> Option<AttemptRecord> {
    let tries = std::fs::read_dir(dir.join("tries")).ok()?.flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let newest = tries.filter_map(number).max()?;
    let path = dir.join("tries").join(newest.to_string()).join("attempt.json");
    if !path.is_file() {
        return None;
    }
    check_version(&path, warnings)?;
    let record: AttemptRecord = json::read(&path, warnings)?;
    Some(AttemptRecord { outcome: None, submission: None, ..record })
}

pub(super) fn facts_of(
    id: &str,
    stored: Option<&CompetitionFacts>,
    source: &dyn CompetitionSource,
) -> CompetitionFacts {
    match stored {
        Some(stored) if !stored.id.is_empty() => {
            // Records of before have no end; it is a fact of the competition and not of the attempt.
            let ended = stored.ended.or_else(|| source.facts(id)?.ended);
            CompetitionFacts { ended, ..stored.clone() }
        }
        _ => source.facts(id).unwrap_or_else(|| CompetitionFacts {
            id: id.to_owned(),
            title: id.to_owned(),
            modality: "unknown".to_owned(),
            category: "unknown".to_owned(),
            complexity: "unknown".to_owned(),
            ..CompetitionFacts::default()
        }),
    }
}
