//! `medalist briefs`: MLE-bench's own task descriptions in place of our briefs, where leaderboard
//! conditions are wanted.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use medalist_competitions::{BriefSource, CompetitionSpec, imported_brief_path};
use medalist_reports::table::{Column, Look, render};

use super::selection::SelectionArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
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
    }
}

fn import(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let folder = checkout_folder(&args.dir)?;
    let source =
        if args.obfuscated { BriefSource::MleBenchObfuscated } else { BriefSource::MleBench };
    let file_name = if args.obfuscated { "description_obfuscated.md" } else { "description.md" };
    let catalogue = context.catalogue()?;
    let named = args.selection.selection().is_given();
    let specs = if named {
        args.selection.selection().resolve(&catalogue)?
    } else {
        catalogue.iter().filter(|spec| spec.kaggle_slug.is_some()).collect()
    };
    let (mut imported, mut missing) = (0, Vec::new());
    for spec in specs {
        let from = folder.join(spec.id.as_str()).join(file_name);
        let text = match std::fs::read_to_string(&from) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push(spec.id.as_str());
                continue;
            }
            Err(error) => return Err(unreadable(&from, error)),
        };
        refuse_pointer(&from, &text)?;
        let to = imported_brief_path(&context.data_dir, spec.id.as_str(), source)
            .context("descriptions of MLE-bench are kept in files")?;
        if let Some(parent) = to.parent() {
            fs_err::create_dir_all(parent)
                .map_err(|error| CliError::new(Exit::Environment, error))?;
        }
        crate::host::files::write_atomic(&to, text.as_bytes())?;
        imported += 1;
    }
    for id in &missing {
        context.warn(format_args!("`{}` has no description of `{id}`", folder.display()));
    }
    context.say(format_args!(
        "imported {imported} descriptions into `{}`; agents get them instead of our briefs",
        context.data_dir.display()
    ));
    Ok(if missing.is_empty() { Exit::Success } else { Exit::Partial })
}

fn remove(args: &RemoveArgs, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let specs: Vec<&CompetitionSpec> = if args.selection.selection().is_given() {
        args.selection.selection().resolve(&catalogue)?
    } else {
        catalogue.iter().collect()
    };
    let mut removed = 0;
    for spec in specs {
        for source in [BriefSource::MleBench, BriefSource::MleBenchObfuscated] {
            let Some(path) = imported_brief_path(&context.data_dir, spec.id.as_str(), source)
            else {
                continue;
            };
            match std::fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = anyhow::Error::new(error)
                        .context(format!("cannot remove `{}`", path.display()));
                    return Err(CliError::new(Exit::Environment, error));
                }
            }
        }
    }
    context.say(format_args!("removed {removed} imported descriptions"));
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

/// The folder of a checkout of MLE-bench that holds a folder for each competition.
pub(super) fn checkout_folder(dir: &Path) -> Result<PathBuf, CliError> {
    let inside = dir.join("mlebench").join("competitions");
    if inside.is_dir() {
        return Ok(inside);
    }
    if dir.join("spaceship-titanic").is_dir() {
        return Ok(dir.to_owned());
    }
    Err(CliError::message(Exit::BadInput, format_args!("`{}` is no checkout of MLE-bench", dir.display())).hint(
        "expected the folder `mlebench/competitions` in it; `git clone https://github.com/openai/mle-bench` makes one",
    ))
}

/// A checkout made without Git LFS holds short pointers in place of some files.
pub(super) fn refuse_pointer(path: &Path, text: &str) -> Result<(), CliError> {
    if !text.starts_with("version https://git-lfs.github.com/") {
        return Ok(());
    }
    let problem = format!("`{}` is a Git LFS pointer, not the text itself", path.display());
    Err(CliError::message(Exit::BadInput, problem)
        .hint("run `git lfs pull` in the checkout and import again"))
}

fn unreadable(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(
        Exit::BadInput,
        anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())),
    )
}
