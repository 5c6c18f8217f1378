//! `medalist briefs`: MLE-bench's own task descriptions in place of our briefs, where leaderboard
//! conditions are wanted.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use medalist_competitions::{BriefSource, Identity, obfuscate};
use medalist_reports::table::{Column, Look, render};

use super::selection::SelectionArgs;
use crate::app::briefs::{self, checkout_folder};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::names::unknown_competition;
use crate::app::terminal::output_width;

/// Choose which text describes the competitions to agents.
#[derive(Args, Debug)]
pub(crate) struct BriefsArgs {
    #[command(subcommand)]
    command: BriefsCommand,
}

#[derive(Subcommand, Debug)]
enum BriefsCommand {
    /// Take MLE-bench's descriptions from your own checkout of it; agents then get these.
    Import(ImportArgs),
    /// Forget imported descriptions; agents then get our briefs again.
    Remove(RemoveArgs),
    /// Show which text agents get for each competition.
    List,
    /// Print the text that agents get for one competition.
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The competition's id.
    id: String,
    /// As `run --brief obfuscated` gives it; what was replaced is counted on stderr.
    #[arg(long)]
    obfuscated: bool,
}

#[derive(Args, Debug)]
struct ImportArgs {
    /// The checkout of MLE-bench, or its `mlebench/competitions` folder.
    dir: PathBuf,
    /// Import the obfuscated descriptions, which hide where a competition comes from.
    #[arg(long)]
    obfuscated: bool,
    #[command(flatten)]
    selection: SelectionArgs,
}

#[derive(Args, Debug)]
struct RemoveArgs {
    #[command(flatten)]
    selection: SelectionArgs,
}

/// Runs the subcommand.
pub(crate) fn run(args: &BriefsArgs, context: &Context) -> Result<Exit, CliError> {
    match &args.command {
        BriefsCommand::Import(args) => import(args, context),
        BriefsCommand::Remove(args) => remove(args, context),
        BriefsCommand::List => list(context),
        BriefsCommand::Show(args) => show(args, context),
    }
}

fn import(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let folder = checkout_folder(&args.dir)?;
    let source =
        if args.obfuscated { BriefSource::MleBenchObfuscated } else { BriefSource::MleBench };
    let catalogue = context.catalogue()?;
    let selection = args.selection.selection();
    let specs = if selection.is_given() {
        selection.resolve(&catalogue)?
    } else {
        catalogue.iter().filter(|spec| spec.kaggle_slug.is_some()).collect()
    };
    let imported = briefs::import(&folder, source, &specs, &context.data_dir)?;
    for id in &imported.missing {
        context.warn(format_args!("`{}` has no description of `{id}`", folder.display()));
    }
    context.say(format_args!(
        "imported {} descriptions into `{}`; agents get them instead of our briefs",
        imported.count,
        context.data_dir.display()
    ));
    Ok(if imported.missing.is_empty() { Exit::Success } else { Exit::Partial })
}

fn remove(args: &RemoveArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let selection = args.selection.selection();
    let specs = if selection.is_given() {
        selection.resolve(&catalogue)?
    } else {
        catalogue.iter().collect()
    };
    let removed = briefs::remove(&specs, &context.data_dir)?;
    context.say(format_args!("removed {removed} imported descriptions"));
    Ok(Exit::Success)
}

fn show(args: &ShowArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let spec = catalogue.get(&args.id).map_err(unknown_competition)?;
    let Some(brief) = spec.brief_in(&context.data_dir)? else {
        let problem = format!("`{}` has neither a description.md nor a brief.md", spec.id);
        return Err(CliError::message(Exit::BadInput, problem));
    };
    if !args.obfuscated {
        context.print(brief.text)?;
        return Ok(Exit::Success);
    }
    let done = obfuscate(&brief.text, &Identity::of(spec, &context.data_dir));
    context.print(&done.text)?;
    let counts: Vec<String> =
        done.replaced.iter().map(|(kind, times)| format!("{times} {kind}")).collect();
    context.say(format_args!("replaced or left out: {}", counts.join(", ")));
    if !context.data().public(&spec.id).is_dir() {
        context.warn(format_args!(
            "`{}` is not prepared: names of its files and columns are not known, and may be replaced",
            spec.id
        ));
    }
    Ok(Exit::Success)
}

fn list(context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let mut rows = Vec::new();
    for spec in catalogue.iter() {
        let brief = spec.brief_in(&context.data_dir)?;
        let source = brief.map_or("none", |brief| brief.source.as_str());
        rows.push(vec![spec.id.to_string(), source.to_owned()]);
    }
    let columns = [Column::new("ID"), Column::new("TEXT")];
    context.print(render(&columns, &rows, Look::plain(output_width())))?;
    Ok(Exit::Success)
}
