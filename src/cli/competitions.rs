//! `medalist competitions list|show|doctor|check|new`: what the catalogue knows, whether prepared
//! data are sound and a fair task, and how a new competition comes to be.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use medalist_competitions::{Catalogue, Checksums, CompetitionSpec};
use medalist_grading::{Direction, Thresholds};
use medalist_reports::table::{Column, Look, render, wrap};

#[cfg(target_os = "linux")]
use super::new_competition;
use super::{checkup, fairness};
use crate::app::competitions::{Facts, Kind, board_in_force};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::names::{self, unknown_competition};
use crate::app::suites::ChosenSuite;
use crate::app::terminal::output_width;

/// Look at the competitions in the catalogue.
#[derive(Args, Debug)]
pub(crate) struct CompetitionsArgs {
    #[command(subcommand)]
    command: CompetitionsCommand,
}

#[derive(Subcommand, Debug)]
enum CompetitionsCommand {
    /// List competitions, all or those of a kind.
    List(ListArgs),
    /// Show everything known of one competition.
    Show(ShowArgs),
    Doctor(checkup::Args),
    Check(fairness::Args),
    #[cfg(target_os = "linux")]
    New(Box<new_competition::Args>),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only competitions of a suite: low (or lite), medium, high, all (or split75), dev,
    /// systemcard, demo, open; or of its file.
    #[arg(long, value_name = "NAME|FILE")]
    suite: Option<String>,
    /// Only competitions of a modality: image, text, tabular, time-series, audio, video, sequence,
    /// multimodal.
    #[arg(long, value_name = "KIND")]
    modality: Option<String>,
    /// Only competitions of a complexity: low, medium, high, dev, demo, open, unrated.
    #[arg(long, value_name = "LEVEL")]
    complexity: Option<String>,
    /// Print a JSON array; its objects are those of `show --json`.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The competition's id.
    id: String,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "brief")]
    json: bool,
    /// Print the brief that agents get.
    #[arg(long)]
    brief: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &CompetitionsArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    match &args.command {
        CompetitionsCommand::List(args) => list(args, &catalogue, context),
        CompetitionsCommand::Show(args) => show(args, &catalogue, context),
        CompetitionsCommand::Doctor(args) => checkup::run(args, context),
        CompetitionsCommand::Check(args) => fairness::run(args, context),
        #[cfg(target_os = "linux")]
        CompetitionsCommand::New(args) => new_competition::run(args, context),
    }
}

fn list(args: &ListArgs, catalogue: &Catalogue, context: &Context) -> Result<Exit, CliError> {
    let kind = Kind {
        suite: args.suite.as_deref().map(ChosenSuite::named).transpose()?,
        modality: args.modality.as_deref().map(names::modality).transpose()?,
        complexity: args.complexity.as_deref().map(names::complexity).transpose()?,
    };
    let specs: Vec<&CompetitionSpec> =
        catalogue.iter().filter(|spec| kind.contains(spec)).collect();
    if args.json {
        let in_force = |spec: &&CompetitionSpec| board_in_force(spec, &context.data_dir);
        let boards = specs.iter().map(in_force).collect::<Result<Vec<_>, _>>()?;
        let facts: Vec<Facts<'_>> =
            specs.iter().zip(&boards).map(|(spec, board)| Facts::new(spec, board)).collect();
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&facts)?))?;
        return Ok(Exit::Success);
    }
    if specs.is_empty() {
        context.say("no competition fits");
        return Ok(Exit::Success);
    }
    context.print(list_table(&specs, output_width()))?;
    context.say(format_args!("{} competitions", specs.len()));
    Ok(Exit::Success)
}

fn list_table(specs: &[&CompetitionSpec], width: usize) -> String {
    const COLUMNS: [Column; 8] = [
        Column::new("ID"),
        Column::new("MODALITY").optional(7),
        Column::new("LEVEL").optional(6),
        Column::new("CATEGORY").optional(3),
        Column::new("SIZE").right().optional(5),
        Column::new("ISSUES").right().optional(4),
        Column::new("METRIC").optional(2),
        Column::new("GOLD").right().optional(1),
    ];
    let rows: Vec<Vec<String>> = specs
        .iter()
        .map(|spec| {
            let issues = spec.known_issues.len();
            vec![
                spec.id.to_string(),
                spec.modality.to_string(),
                spec.complexity.to_string(),
                spec.category.clone().unwrap_or_default(),
                spec.size_gb.map(size_text).unwrap_or_default(),
                if issues == 0 { String::new() } else { issues.to_string() },
                spec.grading.metric.clone(),
                spec.thresholds
                    .as_ref()
                    .map(|thresholds| thresholds.gold.to_string())
                    .unwrap_or_default(),
            ]
        })
        .collect();
    render(&COLUMNS, &rows, Look::plain(width))
}

fn show(args: &ShowArgs, catalogue: &Catalogue, context: &Context) -> Result<Exit, CliError> {
    let spec = catalogue.get(&args.id).map_err(unknown_competition)?;
    if args.brief {
        let brief = spec.brief().ok_or_else(|| {
            CliError::message(
                Exit::BadInput,
                format_args!("the competition `{}` has no `brief.md`", spec.id),
            )
        })?;
        context.print(brief)?;
    } else if args.json {
        let board = board_in_force(spec, &context.data_dir)?;
        context.print(format_args!(
            "{}\n",
            serde_json::to_string_pretty(&Facts::new(spec, &board))?
        ))?;
    } else {
        let board = board_in_force(spec, &context.data_dir)?;
        context.print(page(&Facts::new(spec, &board), output_width().min(100)))?;
    }
    Ok(Exit::Success)
}

/// The sheet that `show` prints, at most `width` characters wide.
fn page(facts: &Facts<'_>, width: usize) -> String {
    const INDENT: usize = 15;
    let mut text = format!("{}\n\n", facts.title);
    let mut field = |name: &str, value: &str| {
        let lines = wrap(value, width.saturating_sub(INDENT), 0);
        for (index, line) in lines.split('\n').enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(text, "{name:<INDENT$}{line}");
        }
    };
    field("id", facts.id);
    field("modality", facts.modality.as_str());
    field("category", facts.category.unwrap_or("none"));
    field("complexity", facts.complexity.as_str());
    let suites = facts.suites.join(", ");
    field("suites", if suites.is_empty() { "none" } else { &suites });
    if let Some(url) = &facts.kaggle_url {
        field("on Kaggle", url);
    }
    if let Some(folder) = facts.folder {
        field("folder", &folder.display().to_string());
    }
    if facts.kaggle_url.is_some() {
        field("download", &facts.size_gb.map_or_else(|| "size unknown".to_owned(), size_text));
    }
    if let Some(ended) = facts.ended {
        field("ended", &ended.to_string());
    }
    field("metric", &format!("{}, {}", facts.metric, direction_text(facts.direction)));
    field("id columns", &names(facts.id_columns));
    field("targets", &names(facts.target_columns));
    field("answers", facts.answers);
    field("sample", facts.sample_submission);
    match &facts.thresholds {
        Some(Thresholds { gold, silver, bronze, median }) => {
            field(
                "medals",
                &format!("gold {gold}, silver {silver}, bronze {bronze}; median {median}"),
            );
        }
        None => field("medals", "none: no thresholds are known"),
    }
    field("teams", &facts.n_teams.map_or_else(|| "unknown".to_owned(), |teams| teams.to_string()));
    field("leaderboard", &leaderboard_text(facts));
    field("checksums", &checksums_text(facts.checksums));
    if !facts.has_brief {
        field("brief", "none: the folder has no `brief.md`");
    }
    if facts.known_issues.is_empty() {
        field("known issues", "none");
        return text;
    }
    text.push_str("\nknown issues\n");
    for issue in facts.known_issues {
        let mut entry = |lead: &str, value: &str| {
            let lines = wrap(value, width.saturating_sub(4), 0);
            for (index, line) in lines.split('\n').enumerate() {
                let _ = writeln!(text, "{}{line}", if index == 0 { lead } else { "    " });
            }
        };
        entry("  - ", &format!("{}: {}", issue.kind, issue.summary));
        if let Some(strict) = &issue.strict {
            entry("    ", &format!("strict verdict: {strict}"));
        }
        if let Some(fixed) = &issue.fixed {
            entry("    ", &format!("prepare --fixed: {fixed}"));
        }
        entry("    ", &issue.source);
    }
    text
}

fn leaderboard_text(facts: &Facts<'_>) -> String {
    if let Some(origin) = facts.own_leaderboard {
        return format!("your own: {origin}");
    }
    match (facts.leaderboard_scores, facts.n_teams) {
        (None, _) => "none here, so no rank or percentile is given".to_owned(),
        (Some(scores), Some(teams)) if (scores as u64) < teams => {
            format!("{scores} of {teams} scores")
        }
        (Some(scores), _) => format!("{scores} scores"),
    }
}

fn checksums_text(checksums: Option<&Checksums>) -> String {
    let Some(checksums) = checksums.filter(|checksums| !checksums.is_empty()) else {
        return "none published".to_owned();
    };
    let parts = [
        ("download", usize::from(checksums.zip.is_some())),
        ("public", checksums.public.len()),
        ("private", checksums.private.len()),
    ];
    let known: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    known.join(", ")
}

fn direction_text(direction: Direction) -> &'static str {
    if direction.is_lower_better() { "lower is better" } else { "higher is better" }
}

/// The names of columns, the first few where there are many.
fn names(columns: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = columns.len().saturating_sub(SHOWN);
    let shown = columns[..columns.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// A size in units of 10^9 bytes as a person would write it.
fn size_text(gigabytes: f64) -> String {
    if gigabytes >= 1.0 {
        format!("{gigabytes:.1} GB")
    } else {
        format!("{:.1} MB", gigabytes * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::boards::Board;

    fn catalogue() -> Catalogue {
        Catalogue::embedded().expect("the catalogue is well-formed")
    }

    fn shipped(spec: &CompetitionSpec) -> Board {
        Board::in_force(spec, std::path::Path::new("no-data-dir"))
            .expect("the catalogue's boards are well-formed")
    }

    #[test]
    fn the_list_fits_terminals() {
        let catalogue = catalogue();
        let specs: Vec<_> = catalogue.iter().collect();
        for (width, header) in
            [(80, "ID MODALITY LEVEL"), (120, "ID MODALITY LEVEL CATEGORY SIZE ISSUES")]
        {
            let table = list_table(&specs, width);
            assert!(table.lines().all(|line| line.chars().count() <= width), "{table}");
            let columns: Vec<&str> =
                table.lines().next().unwrap_or_default().split_whitespace().collect();
            assert_eq!(columns.join(" "), header);
        }
    }

    #[test]
    fn every_page_fits_and_says_what_is_missing() {
        for spec in catalogue().iter() {
            let board = shipped(spec);
            let facts = Facts::new(spec, &board);
            let page = page(&facts, 80);
            let too_long =
                page.lines().find(|line| line.chars().count() > 80 && !line.contains("https://"));
            assert_eq!(too_long, None, "{}", spec.id);
            assert_eq!(
                page.contains("leaderboard    none here"),
                spec.leaderboard_csv().is_none(),
                "{}",
                spec.id
            );
        }
    }
}
