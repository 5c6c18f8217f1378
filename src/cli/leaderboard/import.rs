//! `medalist leaderboard import`: a board of the user's own in place of the catalogue's, and back.

use std::path::PathBuf;

use medalist_competitions::{Catalogue, CompetitionSpec};
use medalist_grading::{Leaderboard, Thresholds};

use crate::app::boards::OwnBoard;
use crate::app::boards::import::{Checkout, Import, import_checkout, import_file, remove};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::cli::selection::SelectionArgs;

/// Use your own leaderboard instead of the catalogue's.
///
/// Medal thresholds are computed from it by MLE-bench's rule; grade, run, report and serve use it,
/// and every result says so. Only the scores are kept, in the data directory.
#[derive(clap::Args, Debug)]
pub(super) struct ImportArgs {
    /// A checkout of MLE-bench (its boards of the chosen competitions, by default of all), or one
    /// board as CSV or zip: MLE-bench's `leaderboard.csv`, Kaggle's download, or a column `score`
    /// with the best score first.
    #[arg(value_name = "SOURCE", required_unless_present = "remove", conflicts_with = "remove")]
    source: Option<PathBuf>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Restore the catalogue's leaderboards, for the chosen competitions or for all.
    #[arg(long)]
    remove: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// No board where one is named, a board that does not fit its competition, or files that cannot be
/// written.
pub(super) fn run(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let specs = chosen(args, &catalogue)?;
    let Some(source) = &args.source else {
        let removed = remove(specs.as_deref(), &catalogue, &context.data_dir)?;
        for id in &removed {
            context.say(format_args!("{id}: the catalogue's leaderboard is in force again"));
        }
        context.say(format_args!("removed {} imported leaderboards", removed.len()));
        return Ok(Exit::Success);
    };
    if !source.is_dir() {
        say(&import_file(source, &specs.unwrap_or_default(), &context.data_dir)?, context);
        return Ok(Exit::Success);
    }
    let Checkout { folder, imports, missing } =
        import_checkout(source, specs.as_deref(), &catalogue, &context.data_dir)?;
    imports.iter().for_each(|import| say(import, context));
    for id in &missing {
        context.warn(format_args!("`{}` has no leaderboard of `{id}`", folder.display()));
    }
    if imports.is_empty() {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!("`{}` holds no leaderboard", folder.display()),
        ));
    }
    context.say(format_args!(
        "imported {} leaderboards into `{}`",
        imports.len(),
        context.data_dir.display()
    ));
    Ok(if missing.is_empty() { Exit::Success } else { Exit::Partial })
}

/// The competitions that were chosen, if any were.
fn chosen<'c>(
    args: &ImportArgs,
    catalogue: &'c Catalogue,
) -> Result<Option<Vec<&'c CompetitionSpec>>, CliError> {
    let selection = args.selection.selection();
    selection.is_given().then(|| selection.resolve(catalogue)).transpose()
}

fn say(import: &Import<'_>, context: &Context) {
    let Import { board, spec, file, doubts } = import;
    for doubt in doubts {
        context.warn(format_args!("`{}` for `{}`: {doubt}", file.display(), spec.id));
    }
    context.say(summary(board, spec));
}

fn summary(board: &OwnBoard, spec: &CompetitionSpec) -> String {
    let thresholds = Leaderboard::new(board.scores.clone()).map(|board| board.thresholds());
    let medals = thresholds.map_or_else(
        |error| error.to_string(),
        |Thresholds { gold, silver, bronze, median }| {
            format!("gold {gold}, silver {silver}, bronze {bronze}, median {median}")
        },
    );
    format!("{}: {} scores ({}); {medals}", spec.id, board.scores.len(), board.origin.as_str())
}
