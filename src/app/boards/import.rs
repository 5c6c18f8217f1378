//! Takes a leaderboard of the user's own: from a checkout of MLE-bench, Kaggle's download, or a list
//! of scores.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::Utc;
use medalist_competitions::{Catalogue, CompetitionSpec};
use medalist_grading::leaderboard::{Doubt, LeaderboardError};
use medalist_grading::table::{Limits, Table, read_bytes};
use medalist_grading::{Direction, Leaderboard};
use sha2::{Digest as _, Sha256};

use super::{BoardOrigin, OwnBoard};
use crate::app::briefs::{checkout_folder, refuse_pointer, remove_file};
use crate::app::error::{CliError, Exit};

/// Boards have at most some ten thousand teams; no list of submissions is larger than this.
const MAX_BYTES: u64 = 256 << 20;

/// A board that was taken, and is in force now.
#[derive(Debug)]
pub struct Import<'c> {
    /// The board.
    pub board: OwnBoard,
    /// Whose it is.
    pub spec: &'c CompetitionSpec,
    /// Where it came from.
    pub file: PathBuf,
    /// What is doubtful in it, and no reason to refuse it.
    pub doubts: Vec<Doubt>,
}

impl<'c> Import<'c> {
    fn read(file: &Path, spec: &'c CompetitionSpec) -> Result<Self, CliError> {
        let (board, doubts) = read_board(file, spec)?;
        Ok(Self { board, spec, file: file.to_owned(), doubts })
    }

    fn keep(&self, data_dir: &Path) -> Result<(), CliError> {
        self.board.keep(data_dir).map_err(|error| CliError::new(Exit::Environment, error))
    }
}

/// Takes one board, which is of the one competition chosen.
///
/// # Errors
/// None or several are chosen, the board does not fit, or it cannot be kept.
pub fn import_file<'c>(
    source: &Path,
    chosen: &[&'c CompetitionSpec],
    data_dir: &Path,
) -> Result<Import<'c>, CliError> {
    let [spec] = *chosen else {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!(
                "`{}` is one leaderboard, but {} competitions are chosen",
                source.display(),
                chosen.len()
            ),
        )
        .hint("name its competition with `-c ID`"));
    };
    let import = Import::read(source, spec)?;
    import.keep(data_dir)?;
    Ok(import)
}

/// What a checkout of MLE-bench gave.
#[derive(Debug)]
pub struct Checkout<'c> {
    /// Its folder of competitions.
    pub folder: PathBuf,
    /// The boards that were taken.
    pub imports: Vec<Import<'c>>,
    /// Ids of chosen competitions that it has no board of.
    pub missing: Vec<&'c str>,
}

/// Takes the boards of the chosen competitions, or of all, from a checkout of MLE-bench.
///
/// # Errors
/// It is no checkout, a board does not fit, or one cannot be kept.
pub fn import_checkout<'c>(
    source: &Path,
    chosen: Option<&[&'c CompetitionSpec]>,
    catalogue: &'c Catalogue,
    data_dir: &Path,
) -> Result<Checkout<'c>, CliError> {
    let folder = checkout_folder(source)?;
    let mut imports = Vec::new();
    let mut missing = Vec::new();
    for spec in of(chosen, catalogue) {
        let file = folder.join(spec.id.as_str()).join("leaderboard.csv");
        if file.is_file() {
            imports.push(Import::read(&file, spec)?);
        } else if chosen.is_some() {
            missing.push(spec.id.as_str());
        }
    }
    // Nothing is kept before everything was read: half an import would mix two sets of boards.
    imports.iter().try_for_each(|import| import.keep(data_dir))?;
    Ok(Checkout { folder, imports, missing })
}

/// Puts the catalogue's boards back in force for the chosen competitions, or for all; the ids of
/// those that had another.
///
/// # Errors
/// A board cannot be removed.
pub fn remove<'c>(
    chosen: Option<&[&'c CompetitionSpec]>,
    catalogue: &'c Catalogue,
    data_dir: &Path,
) -> Result<Vec<&'c str>, CliError> {
    let mut removed = Vec::new();
    for spec in of(chosen, catalogue) {
        if remove_file(&OwnBoard::path(data_dir, &spec.id))? {
            removed.push(spec.id.as_str());
        }
    }
    Ok(removed)
}

fn of<'c>(
    chosen: Option<&[&'c CompetitionSpec]>,
    catalogue: &'c Catalogue,
) -> Vec<&'c CompetitionSpec> {
    chosen.map_or_else(|| catalogue.iter().collect(), <[_]>::to_vec)
}

/// Reads a board for a competition.
///
/// Kaggle's boards are put in the competition's order, one score a team. The others' order is kept,
/// since MLE-bench reads its thresholds off it, and must run the competition's way. What is doubtful
/// and no reason to refuse it comes beside it.
///
/// # Errors
/// It cannot be read, or cannot be the competition's final board.
pub fn read_board(file: &Path, spec: &CompetitionSpec) -> Result<(OwnBoard, Vec<Doubt>), CliError> {
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
        competition: spec.id.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "spaceship-titanic";

    fn board_of(data_dir: &Path) -> PathBuf {
        OwnBoard::path(data_dir, &ID.parse().unwrap())
    }

    /// A checkout with one board.
    fn checkout(board: &str) -> tempfile::TempDir {
        let checkout = tempfile::tempdir().unwrap();
        let folder = checkout.path().join("mlebench/competitions").join(ID);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("leaderboard.csv"), board).unwrap();
        checkout
    }

    #[test]
    fn a_checkout_gives_what_it_has_and_names_what_it_lacks() {
        let catalogue = Catalogue::embedded().unwrap();
        let (checkout, data) =
            (checkout("score,teamId\n0.9,1\n0.5,2\n"), tempfile::tempdir().unwrap());
        let all = import_checkout(checkout.path(), None, &catalogue, data.path()).unwrap();
        assert_eq!((all.imports.len(), all.missing.len()), (1, 0));
        assert_eq!(all.imports[0].board.scores, [0.9, 0.5]);
        let chosen = [ID, "AI4Code"].map(|id| catalogue.get(id).unwrap());
        let some = import_checkout(checkout.path(), Some(&chosen[..]), &catalogue, data.path());
        assert_eq!(some.unwrap().missing, ["AI4Code"]);
        assert!(board_of(data.path()).is_file());
        let removed = remove(None, &catalogue, data.path()).unwrap();
        assert_eq!(removed, [ID]);
        assert!(remove(None, &catalogue, data.path()).unwrap().is_empty());
    }

    #[test]
    fn nothing_is_kept_of_an_import_with_a_bad_board() {
        let catalogue = Catalogue::embedded().unwrap();
        let (checkout, data) =
            (checkout("score,teamId\n0.9,1\n0.5,2\n"), tempfile::tempdir().unwrap());
        // The next one in the order of the catalogue that is read.
        let other =
            checkout.path().join("mlebench/competitions/tensorflow-speech-recognition-challenge");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("leaderboard.csv"), "score,teamId\n0.9,1\nbest,2\n").unwrap();
        let error = import_checkout(checkout.path(), None, &catalogue, data.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::BadInput);
        assert!(!board_of(data.path()).exists());
    }

    #[test]
    fn one_board_is_of_one_competition() {
        let catalogue = Catalogue::embedded().unwrap();
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("board.csv");
        std::fs::write(&file, "score\n0.9\n0.5\n").unwrap();
        let spec = catalogue.get(ID).unwrap();
        assert!(import_file(&file, &[], data.path()).is_err());
        assert!(import_file(&file, &[spec, spec], data.path()).is_err());
        let import = import_file(&file, &[spec], data.path()).unwrap();
        assert_eq!((import.board.origin, import.board.scores.len()), (BoardOrigin::Scores, 2));
        assert!(!import.doubts.is_empty(), "two teams are not thousands");
    }
}
