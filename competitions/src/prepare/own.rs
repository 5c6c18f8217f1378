//! How a competition is prepared: as its `[split]` says, by a recipe in code, or by a command that
//! its folder brings along.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use medalist_grading::program::Program;

use super::context::Prepare;
use super::{PrepareError, error_at, split};
use crate::recipes::Recipe;
use crate::spec::split::SplitSpec;
use crate::{CompetitionDir, CompetitionSpec, PrepareSpec};

/// How long a command may take, unless its competition says otherwise.
const TIMEOUT_S: u64 = 6 * 3600;
/// How much memory each of its processes may take, in units of 10^9 bytes.
const MEMORY_GB: f64 = 64.0;

/// What makes the prepared data.
pub(super) enum Preparation<'a> {
    Split(&'a SplitSpec),
    Recipe(Recipe),
    Command(&'a PrepareSpec),
}

/// How a competition is prepared, if that is known.
pub(super) fn recipe_of(spec: &CompetitionSpec) -> Option<Preparation<'_>> {
    if let Some(split) = &spec.split {
        return Some(Preparation::Split(split));
    }
    match spec.folder() {
        None => crate::recipes::recipe(spec.id.as_str()).map(Preparation::Recipe),
        Some(_) => spec.prepare.as_ref().map(Preparation::Command),
    }
}

impl Preparation<'_> {
    pub(super) fn run(
        &self,
        context: &mut Prepare<'_>,
        spec: &CompetitionSpec,
    ) -> Result<(), PrepareError> {
        match self {
            Self::Split(split) => split::prepare(split, spec, context),
            Self::Recipe(recipe) => recipe(context),
            Self::Command(command) => run_command(command, context, spec),
        }
    }
}

/// Runs a command in the competition's folder. It finds the raw data under `RAW_DIR` and fills
/// `PUBLIC_DIR` and `PRIVATE_DIR`; what it prints goes to stderr, since stdout is for programs.
fn run_command(
    own: &PrepareSpec,
    context: &Prepare<'_>,
    spec: &CompetitionSpec,
) -> Result<(), PrepareError> {
    let failed = |what: String| PrepareError::Command { id: spec.id.to_string(), what };
    // The command runs in another directory than we do.
    let absolute = |path: &Path| std::path::absolute(path).map_err(error_at("find", path));
    let prepared = absolute(&context.prepared)?;
    let (public, private) =
        (prepared.join(CompetitionDir::PUBLIC), prepared.join(CompetitionDir::PRIVATE));
    let raw = absolute(&context.raw.as_folder()?)?;
    let timeout = Duration::from_secs(own.timeout_s.unwrap_or(TIMEOUT_S));
    let memory = (own.memory_gb.unwrap_or(MEMORY_GB) * 1e9) as u64;
    let mut program = Program::new(&own.command, timeout, memory)
        .variable("RAW_DIR", &raw)
        .variable("PUBLIC_DIR", &public)
        .variable("PRIVATE_DIR", &private);
    if let Some(folder) = spec.folder() {
        program = program.folder(folder);
    }
    program.run(Stdio::from(std::io::stderr())).map_err(|error| failed(error.to_string()))
}
