//! Suites: built-in ones and files that name competitions in their versions.

use std::path::{Path, PathBuf};

use medalist_competitions::{
    Catalogue, CompetitionSpec, Suite, SuiteDifference, SuiteEntry, SuiteFile, is_suite_file,
};
use medalist_reports::record::SuiteRecord;

use super::context::Context;
use super::error::{CliError, Exit};
use super::names;

/// A suite as it was asked for.
#[derive(Debug, Clone)]
pub enum ChosenSuite {
    /// One of the program's own.
    BuiltIn(Suite),
    /// A file.
    File(Box<SuiteFile>),
}

impl ChosenSuite {
    /// The suite of a name, or in the file of a path.
    ///
    /// # Errors
    /// An unknown name with the nearest one, or a file that cannot be used.
    pub fn named(name: &str) -> Result<Self, CliError> {
        if is_suite_file(name) {
            return Ok(Self::File(Box::new(read(Path::new(name))?)));
        }
        Ok(Self::BuiltIn(names::suite(name)?))
    }

    /// Its name in records and reports.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(suite) => suite.as_str(),
            Self::File(file) => &file.name,
        }
    }

    /// Whether a competition belongs to it.
    pub fn contains(&self, spec: &CompetitionSpec) -> bool {
        match self {
            Self::BuiltIn(suite) => suite.contains(spec),
            Self::File(file) => file.competitions.iter().any(|entry| entry.id == spec.id),
        }
    }

    /// Its competitions: in the order of the ids, or of the file.
    ///
    /// # Errors
    /// A competition here is not the one that the file means.
    pub fn competitions<'a>(
        &self,
        catalogue: &'a Catalogue,
    ) -> Result<Vec<&'a CompetitionSpec>, CliError> {
        match self {
            Self::BuiltIn(suite) => Ok(catalogue.suite(*suite).collect()),
            Self::File(file) => {
                refuse(file, &differences(file, catalogue, None)?)?;
                let ids = file.competitions.iter().map(|entry| entry.id.as_str());
                ids.map(|id| catalogue.get(id))
                    .collect::<Result<_, _>>()
                    .map_err(names::unknown_competition)
            }
        }
    }

    /// What records say of a suite in a file whose limits were not kept where `departures` says so.
    pub fn record(&self, departures: Vec<String>) -> Option<SuiteRecord> {
        match self {
            Self::BuiltIn(_) => None,
            Self::File(file) => Some(SuiteRecord {
                version: file.version.clone(),
                sha256: file.sha256().to_owned(),
                after: file.after,
                departures,
            }),
        }
    }
}

/// Reads a suite.
///
/// # Errors
/// The file cannot be read, or says what it must not.
pub fn read(path: &Path) -> Result<SuiteFile, CliError> {
    SuiteFile::read(path).map_err(|error| {
        CliError::new(Exit::BadInput, anyhow::Error::new(error))
            .hint("`medalist suites new` writes such a file; docs/suites.md describes it")
    })
}

/// In what the competitions here are not those that a suite means; data are compared where they are
/// prepared, if their folder is given.
///
/// # Errors
/// The record of a preparation is damaged.
pub fn differences(
    file: &SuiteFile,
    catalogue: &Catalogue,
    data_dir: Option<&Path>,
) -> Result<Vec<SuiteDifference>, CliError> {
    file.differences(catalogue, data_dir)
        .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))
}

/// Refuses a suite whose competitions are other ones here.
///
/// # Errors
/// There is a difference.
pub fn refuse(file: &SuiteFile, found: &[SuiteDifference]) -> Result<(), CliError> {
    /// Differences that the message names.
    const NAMED: usize = 5;
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let what = format!(
        "the competitions here are not those of the suite `{}` (`{}`): {}{more}",
        file.name,
        file.path().display(),
        named.join("; ")
    );
    Err(CliError::message(Exit::BadInput, what).hint(
        "`medalist suites check FILE` lists all differences; get the version of medalist and the data that the suite was made with, or make a suite of your own with `medalist suites new`",
    ))
}

/// A new suite of competitions as they are here.
///
/// # Errors
/// The record of a preparation is damaged.
pub fn pinned(specs: &[&CompetitionSpec], context: &Context) -> Result<Vec<SuiteEntry>, CliError> {
    let entry = |spec: &&CompetitionSpec| SuiteEntry::of(spec, &context.data_dir);
    specs
        .iter()
        .map(entry)
        .collect::<Result<_, _>>()
        .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))
}

/// Pins the competitions of a suite that are not pinned and are in the catalogue; gives their number.
///
/// # Errors
/// The record of a preparation is damaged.
pub fn pin_open(
    file: &mut SuiteFile,
    catalogue: &Catalogue,
    context: &Context,
) -> Result<usize, CliError> {
    let mut count = 0;
    for entry in file.competitions.iter_mut().filter(|entry| entry.sha256.is_empty()) {
        let Ok(spec) = catalogue.get(entry.id.as_str()) else { continue };
        let pinned = pinned(&[spec], context)?.remove(0);
        *entry = SuiteEntry {
            ended: entry.ended.or(pinned.ended),
            licence: entry.licence.take(),
            ..pinned
        };
        count += 1;
    }
    Ok(count)
}

/// Writes a suite aside and moves it into place.
///
/// # Errors
/// The file cannot be written, or says what a suite must not.
pub fn write(file: &SuiteFile, path: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot write `{}`", path.display());
        CliError::new(Exit::Failure, anyhow::Error::new(error).context(what))
    };
    let text = file.to_toml().map_err(|error| {
        CliError::new(Exit::Failure, anyhow::Error::new(error).context("cannot write the suite"))
    })?;
    let aside: PathBuf = path.with_extension("toml.part");
    std::fs::write(&aside, text).map_err(failed)?;
    // What it says is checked as it will be read, before anybody finds it.
    if let Err(error) = SuiteFile::read(&aside) {
        let _ = std::fs::remove_file(&aside);
        return Err(CliError::new(Exit::BadInput, anyhow::Error::new(error)));
    }
    std::fs::rename(&aside, path).map_err(failed)
}
