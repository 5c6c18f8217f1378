//! MLE-bench's own task descriptions, imported from the user's checkout in place of our briefs.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use medalist_competitions::{BriefSource, CompetitionSpec, imported_brief_path};

use super::error::{CliError, Exit};
use crate::host::files::{if_there, write_atomic};

/// What an import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// Descriptions that are in force now.
    pub count: usize,
    /// The ids of competitions that the checkout has none of.
    pub missing: Vec<String>,
}

/// Takes the descriptions of competitions from a checkout's folder of competitions.
///
/// # Errors
/// One cannot be read or is a Git LFS pointer, or cannot be written.
pub fn import(
    folder: &Path,
    source: BriefSource,
    specs: &[&CompetitionSpec],
    data_dir: &Path,
) -> Result<Imported, CliError> {
    let file_name = match source {
        BriefSource::MleBenchObfuscated => "description_obfuscated.md",
        _ => "description.md",
    };
    let mut imported = Imported::default();
    for spec in specs {
        let from = folder.join(spec.id.as_str()).join(file_name);
        let text = match std::fs::read_to_string(&from) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                imported.missing.push(spec.id.to_string());
                continue;
            }
            Err(error) => return Err(unreadable(&from, error)),
        };
        refuse_pointer(&from, &text)?;
        let to = imported_brief_path(data_dir, &spec.id, source)
            .context("descriptions of MLE-bench are kept in files")?;
        if let Some(parent) = to.parent() {
            fs_err::create_dir_all(parent)
                .map_err(|error| CliError::new(Exit::Environment, error))?;
        }
        write_atomic(&to, text.as_bytes())?;
        imported.count += 1;
    }
    Ok(imported)
}

/// Forgets imported descriptions of competitions; how many there were.
///
/// # Errors
/// One cannot be removed.
pub fn remove(specs: &[&CompetitionSpec], data_dir: &Path) -> Result<usize, CliError> {
    let mut removed = 0;
    for spec in specs {
        for source in [BriefSource::MleBench, BriefSource::MleBenchObfuscated] {
            let Some(path) = imported_brief_path(data_dir, &spec.id, source) else {
                continue;
            };
            removed += usize::from(remove_file(&path)?);
        }
    }
    Ok(removed)
}

/// Removes a file; whether there was one.
///
/// # Errors
/// It cannot be removed.
pub(super) fn remove_file(path: &Path) -> Result<bool, CliError> {
    if_there(std::fs::remove_file(path)).map_err(|error| {
        let what = format!("cannot remove `{}`", path.display());
        CliError::new(Exit::Environment, anyhow::Error::new(error).context(what))
    })
}

/// The folder of a checkout of MLE-bench that holds a folder for each competition.
///
/// # Errors
/// It is none.
pub fn checkout_folder(dir: &Path) -> Result<PathBuf, CliError> {
    let inside = dir.join("mlebench").join("competitions");
    if inside.is_dir() {
        return Ok(inside);
    }
    if dir.join("spaceship-titanic").is_dir() {
        return Ok(dir.to_owned());
    }
    Err(CliError::message(Exit::BadInput, format_args!("`{}` is no checkout of MLE-bench", dir.display())).hint(
        "expected the folder `mlebench/competitions` in it; `git clone https://github.com/openai/mle-bench` makes one",
    ))
}

/// A checkout made without Git LFS holds short pointers in place of some files.
///
/// # Errors
/// This is such a pointer.
pub fn refuse_pointer(path: &Path, text: &str) -> Result<(), CliError> {
    if !text.starts_with("version https://git-lfs.github.com/") {
        return Ok(());
    }
    let problem = format!("`{}` is a Git LFS pointer, not the text itself", path.display());
    Err(CliError::message(Exit::BadInput, problem)
        .hint("run `git lfs pull` in the checkout and import again"))
}

fn unreadable(path: &Path, error: io::Error) -> CliError {
    CliError::new(
        Exit::BadInput,
        anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())),
    )
}
