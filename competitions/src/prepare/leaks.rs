//! What `--fixed` leaves out: public files that are known to tell test labels.

use std::fs;

use super::context::Prepare;
use super::{PrepareError, error_at};
use crate::CompetitionSpec;

/// Whether a prepared file is one of those to leave out.
fn is_left_out(spec: &CompetitionSpec, file: &str) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    let patterns = spec.known_issues.iter().flat_map(|issue| &issue.leave_out);
    patterns
        .map(|pattern| pattern.split('/').collect::<Vec<_>>())
        .any(|pattern| path_fits(&pattern, &parts))
}

/// Whether a prepared file is other than MLE-bench's under `--fixed`: left out, or made otherwise.
pub(super) fn is_fixed(spec: &CompetitionSpec, file: &str) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    let mut patterns =
        spec.known_issues.iter().flat_map(|issue| issue.leave_out.iter().chain(&issue.changes));
    patterns.any(|pattern| path_fits(&pattern.split('/').collect::<Vec<_>>(), &parts))
}

/// Removes the files to leave out from what was just prepared.
pub(super) fn leave_out(spec: &CompetitionSpec, context: &Prepare<'_>) -> Result<(), PrepareError> {
    if spec.known_issues.iter().all(|issue| issue.leave_out.is_empty()) {
        return Ok(());
    }
    let mut removed = 0;
    for entry in walkdir::WalkDir::new(&context.prepared) {
        let entry = entry.map_err(|error| {
            let place = error.path().unwrap_or(&context.prepared).to_owned();
            error_at("read", &place)(error.into())
        })?;
        let below =
            entry.path().strip_prefix(&context.prepared).expect("it was found below this folder");
        if entry.file_type().is_file() && is_left_out(spec, &below.to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(error_at("remove", entry.path()))?;
            removed += 1;
        }
    }
    context.warn(&format!("{removed} files that are known to tell labels were left out"));
    Ok(())
}

/// `**` stands for any number of folders.
fn path_fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            path_fits(rest, path) || matches!(path, [_, below @ ..] if path_fits(pattern, below))
        }
        ([part, rest @ ..], [name, below @ ..]) => {
            name_fits(part.as_bytes(), name.as_bytes()) && path_fits(rest, below)
        }
        _ => false,
    }
}

/// `*` stands for any text, `?` for one character.
fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            name_fits(rest, name) || matches!(name, [_, behind @ ..] if name_fits(pattern, behind))
        }
        ([b'?', rest @ ..], [_, behind @ ..]) => name_fits(rest, behind),
        ([one, rest @ ..], [other, behind @ ..]) => one == other && name_fits(rest, behind),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_paths() {
        let fits = |pattern: &str, path: &str| {
            let (pattern, path): (Vec<&str>, Vec<&str>) =
                (pattern.split('/').collect(), path.split('/').collect());
            path_fits(&pattern, &path)
        };
        assert!(fits("public/test_tfrecords/*", "public/test_tfrecords/ld_test00-10.tfrec"));
        assert!(!fits("public/test_tfrecords/*", "public/test_tfrecords/a/b"));
        assert!(fits("public/test/???.json", "public/test/abc.json"));
        assert!(!fits("public/test/???.json", "public/test/abc-anatomical-structure.json"));
        assert!(fits("public/test/**/span_log.nmea", "public/test/drive/phone/span_log.nmea"));
        assert!(fits("public/test/**/span_log.nmea", "public/test/span_log.nmea"));
        assert!(!fits("public/test/**/span_log.nmea", "public/train/drive/span_log.nmea"));
    }
}
