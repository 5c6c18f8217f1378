//! Prepared data against the checksums that MLE-bench publishes.

use std::path::Path;

use serde::Serialize;

use super::PrepareError;
use super::leaks;
use super::manifest::md5_of;
use crate::CompetitionSpec;

/// A file whose md5 is not the published one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The file: the archive of the raw data, or its path below `prepared/`.
    pub file: String,
    /// The published md5.
    pub expected: String,
    /// The md5 found; none if the file is missing.
    pub found: Option<String>,
}

/// Three verdicts, kept apart: a different download may still give the same data, and different
/// data may grade alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many published checksums were compared.
    pub compared: usize,
    /// How many of them belong to files that grading needs.
    pub compared_grading: usize,
    /// The download differs.
    pub raw: Vec<Difference>,
    /// Prepared files differ that grading does not need.
    pub prepared: Vec<Difference>,
    /// Files differ that grading needs: answers, sample and gold submission.
    pub grading: Vec<Difference>,
}

impl Verification {
    /// Whether everything compared is as published.
    pub fn is_clean(&self) -> bool {
        self.raw.is_empty() && self.prepared.is_empty() && self.grading.is_empty()
    }

    /// The differences in words, by verdict.
    pub fn summary(&self) -> String {
        let verdicts = [
            (self.raw_verdict(), &self.raw),
            ("prepared data differ", &self.prepared),
            ("what grading needs differs", &self.grading),
        ];
        let mut parts = Vec::new();
        for (verdict, differences) in verdicts {
            if !differences.is_empty() {
                let files: Vec<String> = differences
                    .iter()
                    .map(|difference| match &difference.found {
                        Some(found) => {
                            format!(
                                "`{}` has md5 {found}, expected {}",
                                difference.file, difference.expected
                            )
                        }
                        None => format!("`{}` is missing", difference.file),
                    })
                    .collect();
                parts.push(format!("{verdict}: {}", files.join("; ")));
            }
        }
        parts.join(" / ")
    }

    /// What a download means that is not the published one. Whoever packs its files again changes
    /// its md5 and nothing else.
    fn raw_verdict(&self) -> &'static str {
        let is_same = self.prepared.is_empty() && self.grading.is_empty();
        match is_same && self.compared > self.raw.len() {
            true => {
                "the archive is not the published one, but what was made of it is: its files are the same as far as checksums are published, packed again"
            }
            false => "the raw data differ",
        }
    }

    /// Adds the comparison of the raw data.
    pub(super) fn add(&mut self, raw: Self) {
        self.compared += raw.compared;
        self.raw = raw.raw;
    }

    /// Compares the prepared files that have published checksums; in `fixed` data, those that are
    /// to be the same.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_prepared(
        spec: &CompetitionSpec,
        prepared: &Path,
        fixed: bool,
    ) -> Result<Self, PrepareError> {
        let mut verification = Self::default();
        let Some(checksums) = spec.checksums() else {
            return Ok(verification);
        };
        let sides = [("public", &checksums.public), ("private", &checksums.private)];
        let graded = [
            spec.answers_path(prepared),
            spec.sample_submission_path(prepared),
            spec.gold_submission_path(prepared),
        ];
        for (side, files) in sides {
            for (name, expected) in files {
                let path = prepared.join(side).join(name);
                if fixed && leaks::is_fixed(spec, &format!("{side}/{name}")) {
                    continue;
                }
                let is_graded = graded.contains(&path);
                verification.compared += 1;
                verification.compared_grading += usize::from(is_graded);
                let found = if path.is_file() { Some(md5_of(&path)?) } else { None };
                if found.as_deref() == Some(expected) {
                    continue;
                }
                let difference = Difference {
                    file: format!("{side}/{name}"),
                    expected: expected.clone(),
                    found,
                };
                let verdict = match is_graded {
                    true => &mut verification.grading,
                    false => &mut verification.prepared,
                };
                verdict.push(difference);
            }
        }
        Ok(verification)
    }

    /// Adds the comparison of a downloaded archive.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn add_raw(
        &mut self,
        spec: &CompetitionSpec,
        archive: &Path,
    ) -> Result<(), PrepareError> {
        let Some(expected) = spec.checksums().and_then(|checksums| checksums.zip.as_ref()) else {
            return Ok(());
        };
        self.compared += 1;
        let found = md5_of(archive)?;
        if found != *expected {
            self.raw.push(Difference {
                file: archive.display().to_string(),
                expected: expected.clone(),
                found: Some(found),
            });
        }
        Ok(())
    }
}
