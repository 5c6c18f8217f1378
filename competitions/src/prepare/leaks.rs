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
pub(super) fn path_fits(pattern: &[&str], path: &[&str]) -> bool {
    fits(
        pattern,
        path,
        |part| *part == "**",
        |part, name| name_fits(part.as_bytes(), name.as_bytes()),
    )
}

/// `*` stands for any text, `?` for one character.
fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    fits(pattern, name, |part| *part == b'*', |part, byte| *part == b'?' || part == byte)
}

/// Whether a text fits a pattern in which parts that are `many` stand for any number of items, and
/// others for `one` item. Only the last such part is ever given more, so that the time is bounded by
/// the product of the lengths.
fn fits<P, T>(
    pattern: &[P],
    text: &[T],
    many: impl Fn(&P) -> bool,
    one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut read, mut last) = (0, 0, None);
    loop {
        match (pattern.get(at), text.get(read)) {
            (Some(part), _) if many(part) => {
                at += 1;
                last = Some((at, read));
            }
            (Some(part), Some(item)) if one(part, item) => (at, read) = (at + 1, read + 1),
            (None, None) => return true,
            _ => match last {
                Some((behind, taken)) if taken < text.len() => {
                    last = Some((behind, taken + 1));
                    (at, read) = (behind, taken + 1);
                }
                _ => return false,
            },
        }
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
        assert!(fits("**/a*b*/**", "x/y/aabab/z") && fits("**", "") && fits("*", ""));
        // Trying every way to share the text among the stars would take for ever.
        let (stars, long) = ("a*".repeat(40) + "b", "a".repeat(4000));
        assert!(!fits(&stars, &long));
    }
}
