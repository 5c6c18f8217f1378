//! `medalist leaderboard import`: a board of the user's own in place of the catalogue's, and back.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::Utc;
use medalist_competitions::CompetitionSpec;
use medalist_grading::leaderboard::{Doubt, LeaderboardError};
use medalist_grading::table::{Limits, Table, read_bytes};
use medalist_grading::{Direction, Leaderboard, Thresholds};
use sha2::{Digest as _, Sha256};

use crate::app::boards::{BoardOrigin, OwnBoard};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::cli::briefs::{checkout_folder, refuse_pointer};
use crate::cli::selection::SelectionArgs;

/// Boards have at most some ten thousand teams; no list of submissions is larger than this.
const MAX_BYTES: u64 = 256 << 20;

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
    match &args.source {
        None => remove(args, context),
        Some(source) if source.is_dir() => import_checkout(source, args, context),
        Some(source) => import_file(source, args, context),
    }
}

fn chosen<'c>(
    args: &ImportArgs,
    catalogue: &'c medalist_competitions::Catalogue,
) -> Result<Vec<&'c CompetitionSpec>, CliError> {
    if args.selection.selection().is_given() {
        args.selection.selection().resolve(catalogue)
    } else {
        Ok(catalogue.iter().collect())
    }
}

fn import_file(source: &Path, args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let specs = if args.selection.selection().is_given() {
        args.selection.selection().resolve(&catalogue)?
    } else {
        Vec::new()
    };
    let [spec] = specs[..] else {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!(
                "`{}` is one leaderboard, but {} competitions are chosen",
                source.display(),
                specs.len()
            ),
        )
        .hint("name its competition with `-c ID`"));
    };
    let board = read_and_warn(source, spec, context)?;
    keep(&board, context)?;
    context.say(format_args!("{}", summary(&board, spec)));
    Ok(Exit::Success)
}

fn import_checkout(source: &Path, args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let folder = checkout_folder(source)?;
    let catalogue = context.catalogue()?;
    let mut boards = Vec::new();
    let mut missing = Vec::new();
    for spec in chosen(args, &catalogue)? {
        let file = folder.join(spec.id.as_str()).join("leaderboard.csv");
        if file.is_file() {
            boards.push((read_and_warn(&file, spec, context)?, spec));
        } else if args.selection.selection().is_given() {
            missing.push(spec.id.as_str());
        }
    }
    // Nothing is kept before everything was read: half an import would mix two sets of boards.
    for (board, spec) in &boards {
        keep(board, context)?;
        context.say(format_args!("{}", summary(board, spec)));
    }
    for id in &missing {
        context.warn(format_args!("`{}` has no leaderboard of `{id}`", folder.display()));
    }
    if boards.is_empty() {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!("`{}` holds no leaderboard", folder.display()),
        ));
    }
    context.say(format_args!(
        "imported {} leaderboards into `{}`",
        boards.len(),
        context.data_dir.display()
    ));
    Ok(if missing.is_empty() { Exit::Success } else { Exit::Partial })
}

fn keep(board: &OwnBoard, context: &Context) -> Result<(), CliError> {
    board.keep(&context.data_dir).map_err(|error| CliError::new(Exit::Environment, error))
}

fn remove(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let mut removed = 0;
    for spec in chosen(args, &catalogue)? {
        let path = OwnBoard::path(&context.data_dir, spec.id.as_str());
        match std::fs::remove_file(&path) {
            Ok(()) => {
                removed += 1;
                context.say(format_args!(
                    "{}: the catalogue's leaderboard is in force again",
                    spec.id
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = anyhow::Error::new(error)
                    .context(format!("cannot remove `{}`", path.display()));
                return Err(CliError::new(Exit::Environment, error));
            }
        }
    }
    context.say(format_args!("removed {removed} imported leaderboards"));
    Ok(Exit::Success)
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

/// [`read_board`], with a warning for each doubt.
fn read_and_warn(
    file: &Path,
    spec: &CompetitionSpec,
    context: &Context,
) -> Result<OwnBoard, CliError> {
    let (board, doubts) = read_board(file, spec)?;
    for doubt in doubts {
        context.warn(format_args!("`{}` for `{}`: {doubt}", file.display(), spec.id));
    }
    Ok(board)
}

/// Reads a board for a competition.
///
/// Kaggle's boards are put in the competition's order, one score a team. The others' order is kept,
/// since MLE-bench reads its thresholds off it, and must run the competition's way. What is doubtful
/// and no reason to refuse it comes beside it.
pub(crate) fn read_board(
    file: &Path,
    spec: &CompetitionSpec,
) -> Result<(OwnBoard, Vec<Doubt>), CliError> {
    let cannot = |error: anyhow::Error| {
        let what = format!("cannot use `{}` as the leaderboard of `{}`", file.display(), spec.id);
        CliError::new(Exit::BadInput, error.context(what))
    };
    // A link in a checkout is the user's own affair, unlike one in a submission.
    let real = file.canonicalize().map_err(|error| cannot(error.into()))?;
    let bytes = read_bytes(&real, MAX_BYTES).map_err(|error| cannot(error.into()))?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let bytes =
        if bytes.starts_with(b"PK\x03\x04") { unzip(bytes).map_err(cannot)? } else { bytes };
    refuse_pointer(file, &String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))?;
    let table = Table::parse(bytes, &Limits::default()).map_err(|error| cannot(error.into()))?;
    let direction = spec.grading.direction;
    let (origin, board) = if table.has_column("Score") && !table.has_column("score") {
        check_ranks(&table, direction).map_err(cannot)?;
        (BoardOrigin::Kaggle, Leaderboard::of_teams(&table, direction))
    } else if table.has_column("teamId") {
        check_teams(&table).map_err(cannot)?;
        (BoardOrigin::MleBench, Leaderboard::of_table(&table))
    } else {
        (BoardOrigin::Scores, Leaderboard::of_table(&table))
    };
    let board = board.map_err(|error| cannot(error.into()))?;
    let doubts = check_board(&board, spec, origin == BoardOrigin::Scores).map_err(cannot)?;
    let board = OwnBoard {
        competition: spec.id.to_string(),
        origin,
        file: real,
        sha256,
        imported_at: Utc::now(),
        scores: board.scores().to_vec(),
    };
    Ok((board, doubts))
}

/// Refuses a board that cannot be the competition's final one, and gives what is doubtful in one
/// that may be.
fn check_board(
    board: &Leaderboard,
    spec: &CompetitionSpec,
    is_list: bool,
) -> anyhow::Result<Vec<Doubt>> {
    let scores = board.scores();
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        anyhow::bail!(
            "score {} of the leaderboard is {}, expected a finite number",
            row + 1,
            scores[row]
        );
    }
    let published = spec.thresholds.as_ref().and_then(|thresholds| thresholds.n_teams);
    let known = || spec.leaderboard_csv().and_then(|text| Leaderboard::parse(text).ok());
    let teams = published.map(u64::from).or_else(|| Some(known()?.scores().len() as u64));
    let doubts = board.doubts(spec.grading.direction, teams);
    // MLE-bench reads its thresholds off the order as it is; a plain list has no such witness.
    let is_refused =
        |doubt: &&Doubt| doubt.is_fatal() || (is_list && matches!(doubt, Doubt::Unsorted { .. }));
    match doubts.iter().find(is_refused) {
        Some(doubt) => anyhow::bail!("{doubt}"),
        None => Ok(doubts),
    }
}

/// Refuses a board of Kaggle's whose ranks run against the competition's direction: sorted, it would
/// look right.
fn check_ranks(table: &Table, direction: Direction) -> anyhow::Result<()> {
    let (Some(ranks), Some(scores)) = (table.column("Rank"), table.column("Score")) else {
        return Ok(());
    };
    let mut places: Vec<(f64, f64)> = (0..table.rows())
        .filter_map(|row| Some((ranks.number(row)?, scores.number(row)?)))
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let [(_, first), .., (_, last)] = places[..]
        && direction.is_better(last, first)
    {
        anyhow::bail!("by its ranks, {}", Doubt::Backwards { first, last, direction });
    }
    Ok(())
}

/// Refuses a board of MLE-bench's with a row that names no team.
fn check_teams(table: &Table) -> anyhow::Result<()> {
    match table.column("teamId").and_then(|teams| teams.first_missing()) {
        Some(row) => Err(LeaderboardError::NoTeam { row: row + 1 }.into()),
        None => Ok(()),
    }
}

/// Whether a name in an archive is a CSV file's; macOS puts files of its own beside each.
fn is_csv(name: &str) -> bool {
    let name = Path::new(name);
    let is_of_macos = name.components().any(|part| part.as_os_str() == "__MACOSX")
        || name.file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(b"._"));
    !is_of_macos && name.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("csv"))
}

/// The one CSV file of an archive.
fn unzip(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).context("the archive is damaged")?;
    let names =
        archive.file_names().map(|name| name.map(Cow::into_owned)).collect::<Result<Vec<_>, _>>();
    let mut names = names.context("the archive is damaged")?;
    names.retain(|name| is_csv(name));
    let [name] = &names[..] else {
        anyhow::bail!("the archive holds {} CSV files, expected one", names.len());
    };
    let mut text = Vec::new();
    let member =
        archive.by_name(name).with_context(|| format!("`{name}` in the archive is damaged"))?;
    member
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("`{name}` in the archive is damaged"))?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_BYTES,
        "`{name}` in the archive has more than {MAX_BYTES} bytes"
    );
    Ok(text)
}
