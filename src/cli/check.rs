//! `medalist competitions check`: what is open in a competition.

use std::path::Path;

use clap::Args as ClapArgs;
use medalist_competitions::{Catalogue, CompetitionSpec};
use serde_json::json;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::names::unknown_competition;

/// Say what is still to be decided of a competition.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The competition's id, or its folder.
    #[arg(value_name = "ID|DIR")]
    competition: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut catalogue = context.catalogue()?;
    let spec = find(&args.competition, &mut catalogue)?;
    if args.json {
        let value = json!({ "id": spec.id, "open": spec.open });
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&value)?))?;
    } else {
        context.print(text(spec))?;
    }
    Ok(if spec.open.is_empty() { Exit::Success } else { Exit::Open })
}

/// A competition of the catalogue, or one in a folder that need not be in it.
fn find<'c>(name: &str, catalogue: &'c mut Catalogue) -> Result<&'c CompetitionSpec, CliError> {
    let folder = Path::new(name);
    if !folder.join("competition.toml").is_file() {
        return catalogue.get(name).map_err(unknown_competition);
    }
    let bad = |error| CliError::new(Exit::BadInput, anyhow::Error::new(error));
    let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let id = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_known = catalogue.get(&id).is_ok_and(|spec| {
        spec.folder()
            .is_some_and(|known| std::path::absolute(known).is_ok_and(|known| known == place))
    });
    if !is_known {
        *catalogue = std::mem::replace(catalogue, Catalogue::embedded().map_err(bad)?)
            .with_dir(&place)
            .map_err(bad)?;
    }
    catalogue.get(&id).map_err(unknown_competition)
}

fn text(spec: &CompetitionSpec) -> String {
    if spec.open.is_empty() {
        return format!("{}: nothing is open\n", spec.id);
    }
    let mut text = format!("{}: {} to be decided\n", spec.id, spec.open.len());
    for choice in &spec.open {
        text.push_str(&format!("\n{}\n  {}\n", choice.key, choice.question));
        for candidate in &choice.candidates {
            text.push_str(&format!("  - {}: {}\n", candidate.value, candidate.evidence));
        }
        if let Some(flag) = &choice.flag {
            text.push_str(&format!("  `competitions new ... {flag}` answers it\n"));
        }
    }
    text
}
