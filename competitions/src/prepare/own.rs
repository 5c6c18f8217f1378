//! How a competition is prepared: by a recipe of ours, or by a command that its folder brings
//! along.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::context::Prepare;
use super::{PrepareError, error_at};
use crate::CompetitionSpec;
use crate::recipes::Recipe;

/// What makes the prepared data.
pub(super) enum Preparation {
    Recipe(Recipe),
    Command(Vec<String>),
}

/// The `[prepare]` table of a competition outside the repository.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPrepare {
    command: Vec<String>,
}

/// How a competition is prepared, if that is known.
pub(super) fn recipe_of(spec: &CompetitionSpec) -> Option<Preparation> {
    if spec.folder().is_none() {
        return crate::recipes::recipe(spec.id.as_str()).map(Preparation::Recipe);
    }
    let own: OwnPrepare = spec.prepare.clone().try_into().ok()?;
    (!own.command.is_empty()).then_some(Preparation::Command(own.command))
}

impl Preparation {
    pub(super) fn run(
        &self,
        context: &mut Prepare<'_>,
        spec: &CompetitionSpec,
    ) -> Result<(), PrepareError> {
        match self {
            Self::Recipe(recipe) => recipe(context),
            Self::Command(command) => run_command(command, context, spec),
        }
    }
}

/// Runs a command in the competition's folder. It finds the raw data under `RAW_DIR` and fills
/// `PUBLIC_DIR` and `PRIVATE_DIR`.
fn run_command(
    command: &[String],
    context: &Prepare<'_>,
    spec: &CompetitionSpec,
) -> Result<(), PrepareError> {
    let failed = |what: String| PrepareError::Command { id: spec.id.to_string(), what };
    let [program, arguments @ ..] = command else {
        return Err(failed("it is empty".into()));
    };
    let mut child = Command::new(program);
    // The command runs in another directory than we do.
    let absolute = |path: &Path| std::path::absolute(path).map_err(error_at("find", path));
    let prepared = absolute(&context.prepared)?;
    child.args(arguments).env("RAW_DIR", absolute(&context.raw.as_folder()?)?);
    child.env("PUBLIC_DIR", prepared.join("public")).env("PRIVATE_DIR", prepared.join("private"));
    if let Some(folder) = spec.folder() {
        child.current_dir(folder);
    }
    let status = child
        .status()
        .map_err(|error| failed(format!("`{program}` cannot be started ({error})")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("`{program}` ended with {status}"))) }
}
