//! What may have been meant as a submission, where none was left.

use std::fs;
use std::path::Path;

use medalist_grading::untrusted::Shown;

use super::{LABELS, SUBMISSION};
use crate::attempt::dir::AttemptDir;
use crate::sandbox::Salvage;

/// Where no submission was left, looks for what may have been meant as one.
pub(crate) fn say_what_was_meant(attempt: &AttemptDir, salvage: &mut Salvage) {
    if salvage.submission {
        return;
    }
    let refused = salvage.refused.iter().find(|entry| entry.path == SUBMISSION);
    let hint = match refused {
        Some(entry) => Some(format!("`{SUBMISSION}` was not taken: {}", entry.why)),
        None => LABELS.iter().find_map(|label| meant_in(&attempt.salvaged(label), label, 0)),
    };
    salvage.hint = hint.map(|hint| Shown::message(&hint));
}

/// The first file below `dir` that looks like a submission under another name or in another place.
fn meant_in(dir: &Path, named: &str, depth: usize) -> Option<String> {
    let mut entries: Vec<_> = fs::read_dir(dir).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let lower = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase();
    let place = |entry: &fs::DirEntry| format!("{named}/{}", entry.file_name().to_string_lossy());
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let found = entries.iter().find(|entry| lower(entry).starts_with("submission.csv"));
    if let Some(entry) = found {
        let why = match lower(entry).as_str() {
            "submission.csv" if is_dir(entry) => "is a directory",
            "submission.csv" if named == "submission" => "is spelt in another way",
            "submission.csv" => "is in another place",
            _ => "is packed, or under another name",
        };
        return Some(format!("there is no `{SUBMISSION}`, but `{}` {why}", place(entry)));
    }
    if depth < 2 {
        let below = |entry: &fs::DirEntry| {
            is_dir(entry).then(|| meant_in(&entry.path(), &place(entry), depth + 1))?
        };
        if let Some(hint) = entries.iter().find_map(below) {
            return Some(hint);
        }
    }
    let only = (named == "submission" && depth == 0)
        .then(|| entries.iter().find(|entry| lower(entry).ends_with(".csv")));
    let entry = only.flatten()?;
    Some(format!("there is no `{SUBMISSION}`, but `{}`", place(entry)))
}
