//! Files as they are, against the manifest of the preparation and the checksums that MLE-bench
//! publishes.

use medalist_grading::chain;

use super::{
    Check, FileProblem, Layer, Subject, counted, failed, not_applicable, passed, skipped,
    stored_manifest,
};
use crate::prepare::{Difference, ManifestDifference, ManifestEntry, PrepareError, Verification};

pub(super) fn checks(subject: &Subject<'_>) -> Result<Vec<Check>, PrepareError> {
    let mut checks = vec![download(subject)?];
    checks.extend(recorded(subject)?);
    checks.extend(published(subject)?);
    Ok(checks)
}

/// The archive that Kaggle gave, while it is still at hand.
fn download(subject: &Subject<'_>) -> Result<Check, PrepareError> {
    const NAME: &str = "download";
    let archive = format!("{}.zip", subject.spec.id);
    if subject.spec.checksums().is_none_or(|checksums| checksums.zip.is_none()) {
        return Ok(not_applicable(NAME, Layer::Raw, "no checksum of the download is published"));
    }
    let path = subject.home.archive(&subject.spec.id);
    if !path.is_file() {
        return Ok(skipped(NAME, Layer::Raw, format!("`{archive}` is not at hand")));
    }
    let mut verification = Verification::default();
    verification.add_raw(subject.spec, &path)?;
    Ok(match verification.raw.first() {
        None => passed(NAME, Layer::Raw, format!("`{archive}` is the published one")),
        Some(difference) => {
            let files = vec![FileProblem { file: archive, problem: md5s(difference) }];
            failed(NAME, Layer::Raw, "the download is not the published one", files)
        }
    })
}

/// All prepared files against the manifest.
fn recorded(subject: &Subject<'_>) -> Result<Vec<Check>, PrepareError> {
    let layers = [("files", Layer::Prepared), ("graded-files", Layer::Grading)];
    let manifest = match (stored_manifest(subject), &subject.record) {
        (Ok(Some(manifest)), _) => manifest,
        (Ok(None), None) => {
            let why = "no manifest: these data were not prepared by medalist";
            return Ok(layers.map(|(name, layer)| not_applicable(name, layer, why)).into());
        }
        (found, _) => {
            let problem = match found {
                Err(error) => chain(&error),
                Ok(_) => "is missing".to_owned(),
            };
            let check = |(name, layer)| {
                let file = FileProblem { file: "manifest.json".into(), problem: problem.clone() };
                failed(name, layer, "the manifest of the preparation is lost", vec![file])
            };
            return Ok(layers.map(check).into());
        }
    };
    let graded = subject.graded();
    let differences = manifest.differences(&subject.prepared)?;
    let check = |(name, layer): (&'static str, Layer)| {
        let is_here =
            |file: &str| graded.iter().any(|graded| graded == file) == (layer == Layer::Grading);
        let here = manifest.iter().filter(|(file, _)| is_here(file));
        let (count, bytes) =
            here.fold((0, 0), |(count, bytes), (_, entry)| (count + 1, bytes + entry.bytes));
        let files: Vec<FileProblem> = differences
            .iter()
            .filter(|(file, _)| is_here(file))
            .map(|(file, difference)| FileProblem {
                file: file.clone(),
                problem: words(*difference, manifest.get(file)),
            })
            .collect();
        let recorded = format!("{} of {bytes} bytes", counted(count, "file"));
        match files.len() {
            0 => passed(name, layer, format!("{recorded}, as they were prepared")),
            wrong => {
                let what = format!("{} not as prepared ({recorded} are recorded)", is_are(wrong));
                failed(name, layer, what, files)
            }
        }
    };
    Ok(layers.map(check).into())
}

fn is_are(count: usize) -> String {
    format!("{} {}", counted(count, "file"), if count == 1 { "is" } else { "are" })
}

fn words(difference: ManifestDifference, before: Option<&ManifestEntry>) -> String {
    let before = before.map_or(0, |entry| entry.bytes);
    match difference {
        ManifestDifference::Missing => format!("is missing ({before} bytes were there)"),
        ManifestDifference::Unexpected { bytes } => {
            format!("was not made by the preparation ({bytes} bytes)")
        }
        ManifestDifference::Changed { bytes } if bytes == before => {
            format!("has other content in the same {bytes} bytes")
        }
        ManifestDifference::Changed { bytes } => {
            format!("has other content: {bytes} bytes, {before} were there")
        }
    }
}

/// The files whose md5 MLE-bench publishes.
fn published(subject: &Subject<'_>) -> Result<Vec<Check>, PrepareError> {
    let layers = [("published", Layer::Prepared), ("published-graded", Layer::Grading)];
    let changed = subject.record.as_ref().is_some_and(|record| !record.overrides.is_empty());
    let none = subject
        .spec
        .checksums()
        .is_none_or(|sums| sums.public.is_empty() && sums.private.is_empty());
    if changed || none {
        let why = match changed {
            true => "constants of the recipe were changed, so the data are not the published ones",
            false => "no checksums of prepared files are published",
        };
        return Ok(layers.map(|(name, layer)| not_applicable(name, layer, why)).into());
    }
    let fixed = subject.record.as_ref().is_some_and(|record| record.fixed);
    let found = Verification::of_prepared(subject.spec, &subject.prepared, fixed)?;
    let check = |(name, layer): (&'static str, Layer)| {
        let (compared, differences) = match layer {
            Layer::Grading => (found.compared_grading, &found.grading),
            _ => (found.compared - found.compared_grading, &found.prepared),
        };
        let files: Vec<FileProblem> = differences
            .iter()
            .map(|difference| FileProblem {
                file: difference.file.clone(),
                problem: md5s(difference),
            })
            .collect();
        match (compared, files.len()) {
            (0, _) => not_applicable(name, layer, "no checksums of such files are published"),
            (_, 0) => passed(name, layer, format!("{} as published", is_are(compared))),
            (_, wrong) => failed(name, layer, format!("{} not as published", is_are(wrong)), files),
        }
    };
    Ok(layers.map(check).into())
}

fn md5s(difference: &Difference) -> String {
    match &difference.found {
        Some(found) => format!("has md5 {found}, expected {}", difference.expected),
        None => "is missing".to_owned(),
    }
}
