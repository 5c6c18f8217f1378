//! `medalist llm`: the language models that agents may call.

use std::path::PathBuf;

use clap::ArgMatches;
use medalist_llm::check::{Answered, Checked};
use medalist_reports::table::{Column, render};

use super::settings::llm_file;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;
use crate::app::settings::PROJECT_FILE;
use crate::app::terminal::look;

/// Look after the language models that agents may call (docs/llm.md).
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: LlmCommand,
}

#[derive(clap::Subcommand, Debug)]
enum LlmCommand {
    /// Call each upstream once with a few tokens, and show what came back.
    Check(CheckArgs),
}

#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// The settings, such as `llm.toml`; by default those that `run` takes without `--llm`: an `[llm]`
    /// table of a settings file, or the file that its `llm` names.
    file: Option<PathBuf>,
    /// A profile of the settings files, as `medalist run` takes it.
    #[arg(long, env = "MEDALIST_PROFILE", value_name = "NAME")]
    profile: Option<String>,
}

/// Runs `llm`; `typed` is the command line.
///
/// # Errors
/// There are no settings, they cannot be used, or a key cannot be had.
pub fn run(args: &Args, typed: &ArgMatches, context: &Context) -> Result<Exit, CliError> {
    let LlmCommand::Check(args) = &args.command;
    let file = match &args.file {
        Some(file) => file.clone(),
        None => found(args, typed, context)?,
    };
    let (checked, prices) = start_runtime()?.block_on(crate::app::llm::check(&file, context))?;
    let columns = [
        Column::new("upstream"),
        Column::new("model"),
        Column::new("result"),
        Column::new("seconds").right(),
        Column::new("tokens in").right().optional(1),
        Column::new("tokens out").right().optional(1),
        Column::new("dollars").right(),
    ];
    let rows: Vec<Vec<String>> = checked.iter().map(row).collect();
    context.print(render(&columns, &rows, look()))?;
    context.say(format_args!("prices: {prices}"));
    let failed = checked.iter().filter(|one| one.result.is_err()).count();
    Ok(match failed {
        0 => Exit::Success,
        all if all == checked.len() => Exit::Environment,
        _ => Exit::Partial,
    })
}

/// The settings that `run` takes without `--llm`.
fn found(args: &CheckArgs, typed: &ArgMatches, context: &Context) -> Result<PathBuf, CliError> {
    let Some(file) = llm_file(typed, args.profile.as_deref())? else {
        return Err(CliError::message(Exit::Usage, "no settings of language models are named")
            .hint(format!(
                "give a file such as `llm.toml`, or write an `[llm]` table in `{PROJECT_FILE}`"
            )));
    };
    context.say(format_args!("settings: {}", file.display()));
    Ok(file)
}

fn row(checked: &Checked) -> Vec<String> {
    let model = checked.model.clone().unwrap_or_default();
    let (result, figures) = match &checked.result {
        Ok(Answered { took, tokens, dollars }) => {
            let dollars = dollars.map_or_else(|| "unknown".to_owned(), |d| format!("{d:.6}"));
            let seconds = format!("{:.2}", took.as_secs_f64());
            let (sent, received) = (tokens.all_input(), tokens.all_output());
            ("ok".to_owned(), [seconds, sent.to_string(), received.to_string(), dollars])
        }
        // A provider's words may hold anything.
        Err(why) => (why.replace(char::is_control, " "), <[String; 4]>::default()),
    };
    [checked.upstream.clone(), model, result].into_iter().chain(figures).collect()
}
