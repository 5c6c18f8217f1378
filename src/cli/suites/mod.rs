//! `medalist suites list|show|new|check|pin`: named lists of competitions, the program's and yours.

#[cfg(target_os = "linux")]
pub(super) mod limits;

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::{NaiveDate, Utc};
use clap::{Args, Subcommand};
use medalist_competitions::{Catalogue, Suite, SuiteEntry, SuiteFile};
use medalist_reports::table::{Column, Look, render};
use serde_json::json;

use super::selection::SelectionArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
#[cfg(target_os = "linux")]
use crate::app::fresh;
use crate::app::suites::{self, ChosenSuite};
use crate::app::terminal::output_width;

/// Look at suites and make your own, as files that pin competitions in their versions
/// (docs/suites.md).
#[derive(Args, Debug)]
pub(crate) struct SuitesArgs {
    #[command(subcommand)]
    command: SuitesCommand,
}

#[derive(Subcommand, Debug)]
enum SuitesCommand {
    /// List the built-in suites.
    List(ListArgs),
    /// Show the competitions of a suite.
    Show(ShowArgs),
    New(NewArgs),
    Check(CheckArgs),
    Pin(PinArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// A built-in suite's name, or a file.
    #[arg(value_name = "NAME|FILE")]
    suite: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Write a suite of the chosen competitions as they are here: each is pinned by the hashes of its
/// folder's files, and of its data where they are prepared.
#[derive(Args, Debug)]
struct NewArgs {
    /// The suite's name.
    name: String,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Take the competitions from Kaggle's list that ended after this day and by today, have a licence,
    /// a metric and a leaderboard, and can be downloaded; the others are listed with the reason.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day, conflicts_with_all = ["competitions", "suite", "lite", "all", "list"])]
    after: Option<NaiveDate>,
    /// An option of `medalist run` that holds for this suite unless a flag says otherwise, such as
    /// `timeout=24h` or `seeds=3`; may be repeated.
    #[arg(long = "limit", value_name = "OPTION=VALUE", value_parser = limit)]
    limits: Vec<(String, String)>,
    /// The version that you give it.
    #[arg(long, value_name = "TEXT")]
    suite_version: Option<String>,
    /// Free words that are kept in the file.
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// The file; NAME.toml by default.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
}

/// Compare the competitions and data here with what a suite pins.
///
/// The exit code is 0 if all are the same, and 5 if one differs.
#[derive(Args, Debug)]
struct CheckArgs {
    /// The suite's file.
    file: PathBuf,
    /// Print the differences as a JSON array.
    #[arg(long)]
    json: bool,
}

/// Pin the competitions of a suite that are not pinned yet, once they are in the catalogue
/// (`--catalog`) and perhaps prepared.
#[derive(Args, Debug)]
struct PinArgs {
    /// The suite's file.
    file: PathBuf,
}

fn limit(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected OPTION=VALUE")?;
    Ok((key.trim_start_matches("--").to_owned(), value.to_owned()))
}

fn day(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| format!("`{text}` is no day such as 2026-06-01"))
}

/// Runs the subcommand.
///
/// # Errors
/// A suite or a competition is unknown, or a file cannot be read or written.
pub(crate) fn run(args: &SuitesArgs, context: &Context) -> Result<Exit, CliError> {
    match &args.command {
        SuitesCommand::List(args) => list(args, context),
        SuitesCommand::Show(args) => show(args, context),
        SuitesCommand::New(args) => new(args, context),
        SuitesCommand::Check(args) => check(args, context),
        SuitesCommand::Pin(args) => pin(args, context),
    }
}

fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let sizes: Vec<(&str, usize)> =
        Suite::ALL.iter().map(|suite| (suite.as_str(), catalogue.suite(*suite).count())).collect();
    if args.json {
        let objects: Vec<_> = sizes
            .iter()
            .map(|(name, count)| json!({ "name": name, "competitions": count }))
            .collect();
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&objects)?))?;
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> =
        sizes.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect();
    let columns = [Column::new("SUITE"), Column::new("COMPETITIONS").right()];
    context.print(render(&columns, &rows, Look::plain(output_width())))?;
    Ok(Exit::Success)
}

fn show(args: &ShowArgs, context: &Context) -> Result<Exit, CliError> {
    let suite = ChosenSuite::named(&args.suite)?;
    let catalogue = context.catalogue()?;
    if let ChosenSuite::File(file) = &suite {
        return show_file(file, args.json, context);
    }
    let specs = suite.competitions(&catalogue)?;
    let ids: Vec<&str> = specs.iter().map(|spec| spec.id.as_str()).collect();
    match args.json {
        true => {
            let object = json!({ "name": suite.name(), "competitions": ids });
            context.print(format_args!("{}\n", serde_json::to_string_pretty(&object)?))?;
        }
        false => context.print(ids.iter().map(|id| format!("{id}\n")).collect::<String>())?,
    }
    Ok(Exit::Success)
}

fn show_file(file: &SuiteFile, json: bool, context: &Context) -> Result<Exit, CliError> {
    if json {
        let mut object = serde_json::to_value(file)?;
        object["sha256"] = file.sha256().into();
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&object)?))?;
        return Ok(Exit::Success);
    }
    let mut text = format!("{}  (sha256 {})\n", file.name, file.sha256());
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<10}{value}");
        }
    };
    field("version", file.version.clone());
    field("created", Some(file.created.to_string()));
    field("after", file.after.map(|day| day.to_string()));
    field("notes", file.notes.clone());
    for (key, value) in file.limits() {
        field("limit", Some(format!("{key} {value}")));
    }
    let rows: Vec<Vec<String>> = file
        .competitions
        .iter()
        .map(|entry| {
            let pinned = match (entry.sha256.is_empty(), entry.sha256.contains_key("data")) {
                (true, _) => "no",
                (false, false) => "without data",
                (false, true) => "with data",
            };
            vec![
                entry.id.to_string(),
                entry.ended.map(|day| day.to_string()).unwrap_or_default(),
                pinned.to_owned(),
                entry.edition.clone().unwrap_or_default(),
                entry.licence.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let columns = [
        Column::new("COMPETITION"),
        Column::new("ENDED").optional(3),
        Column::new("PINNED").optional(4),
        Column::new("DATA").optional(2),
        Column::new("LICENCE").optional(1),
    ];
    text.push_str(&render(&columns, &rows, Look::plain(output_width())));
    context.print(text)?;
    Ok(Exit::Success)
}

fn new(args: &NewArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    if let Some(after) = args.after {
        return new_by_date(args, after, &catalogue, context);
    }
    let specs = args.selection.selection().resolve(&catalogue)?;
    let entries = suites::pinned(&specs, context)?;
    let bare: Vec<&str> = entries
        .iter()
        .filter(|entry| !entry.sha256.contains_key("data"))
        .map(|entry| entry.id.as_str())
        .collect();
    if !bare.is_empty() {
        context.say(format_args!(
            "the data of {} of {} competitions are not prepared here, so that only their folders are pinned, such as `{}`",
            bare.len(),
            entries.len(),
            bare[0]
        ));
    }
    write_new(args, entries, context)
}

#[cfg(not(target_os = "linux"))]
fn new_by_date(_: &NewArgs, _: NaiveDate, _: &Catalogue, _: &Context) -> Result<Exit, CliError> {
    Err(CliError::message(Exit::Environment, super::ELSEWHERE))
}

/// A suite of the competitions that ended after a day; those that may not be used are printed.
#[cfg(target_os = "linux")]
fn new_by_date(
    args: &NewArgs,
    after: NaiveDate,
    catalogue: &Catalogue,
    context: &Context,
) -> Result<Exit, CliError> {
    let today = Utc::now().date_naive();
    let found = fresh::fresh(after, today, catalogue, context);
    let found = crate::app::run::start_runtime()?.block_on(found)?;
    let rows: Vec<Vec<String>> = found
        .refused
        .iter()
        .map(|refused| vec![refused.id.clone(), refused.ended.to_string(), refused.why.clone()])
        .collect();
    if !rows.is_empty() {
        let columns = [Column::new("REFUSED"), Column::new("ENDED"), Column::new("WHY")];
        context.print(render(&columns, &rows, Look::plain(output_width().max(160))))?;
    }
    if found.taken.is_empty() {
        let what = format!(
            "of {} competitions that ended after {after} none may be used",
            found.refused.len()
        );
        return Err(CliError::message(Exit::BadInput, what));
    }
    let open: Vec<&str> = found
        .taken
        .iter()
        .filter(|entry| entry.sha256.is_empty())
        .map(|entry| entry.id.as_str())
        .collect();
    if !open.is_empty() {
        context.say(format_args!(
            "{} of {} competitions are not in the catalogue yet: make each with `medalist competitions new`, such as {}, then pin them with `medalist suites pin`",
            open.len(),
            found.taken.len(),
            open[0]
        ));
    }
    write_new(args, found.taken, context)
}

fn write_new(
    args: &NewArgs,
    entries: Vec<SuiteEntry>,
    context: &Context,
) -> Result<Exit, CliError> {
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", args.name)));
    if path.exists() && !args.force {
        let what = format_args!("`{}` is there already", path.display());
        return Err(CliError::message(Exit::BadInput, what)
            .hint("`--force` writes over it; `-o FILE` names another place"));
    }
    let mut file = SuiteFile::new(&args.name, Utc::now().date_naive(), entries);
    file.after = args.after;
    file.version.clone_from(&args.suite_version);
    file.notes.clone_from(&args.notes);
    for (key, value) in &args.limits {
        file.limits.insert(key.clone(), toml::Value::String(value.clone()));
    }
    #[cfg(target_os = "linux")]
    limits::parsed(&file)?;
    suites::write(&file, &path)?;
    let written = suites::read(&path)?;
    context.say(format_args!(
        "{} competitions in `{}`, sha256 {}",
        written.competitions.len(),
        path.display(),
        written.sha256()
    ));
    Ok(Exit::Success)
}

fn check(args: &CheckArgs, context: &Context) -> Result<Exit, CliError> {
    let file = suites::read(&args.file)?;
    let catalogue = context.catalogue()?;
    let found = suites::differences(&file, &catalogue, Some(&context.data_dir))?;
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&found)?))?;
    } else {
        context.print(found.iter().map(|found| format!("{found}\n")).collect::<String>())?;
    }
    let not_compared = file
        .competitions
        .iter()
        .filter(|entry| {
            !entry.sha256.contains_key("data") || !context.data().is_prepared(&entry.id)
        })
        .count();
    context.say(format_args!(
        "{} competitions, {} differences; the data of {not_compared} were not compared (not pinned, or not prepared here)",
        file.competitions.len(),
        found.len()
    ));
    Ok(if found.is_empty() { Exit::Success } else { Exit::Partial })
}

fn pin(args: &PinArgs, context: &Context) -> Result<Exit, CliError> {
    let mut file = suites::read(&args.file)?;
    let count = suites::pin_open(&mut file, &context.catalogue()?, context)?;
    if count > 0 {
        suites::write(&file, &args.file)?;
    }
    let open = file.competitions.iter().filter(|entry| entry.sha256.is_empty()).count();
    let written = suites::read(&args.file)?;
    context.say(format_args!(
        "{count} competitions were pinned, {open} are open; sha256 {}",
        written.sha256()
    ));
    Ok(Exit::Success)
}
