//! `medalist llm`: the language models that agents may call.

use std::path::PathBuf;

use medalist_llm::check::{Answered, Checked};
use medalist_reports::table::{Column, Look, render};

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;
use crate::app::terminal::output_width;

/// Look after the language models that agents may call (docs/llm.md).
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: LlmCommand,
}

#[derive(clap::Subcommand, Debug)]
enum LlmCommand {
    /// Call each upstream of a settings file once with a few tokens, and show what came back.
    Check(CheckArgs),
}

#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// The settings, such as `llm.toml`.
    file: PathBuf,
}

/// Runs `llm`.
///
/// # Errors
/// The settings cannot be used, or a key cannot be had.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let LlmCommand::Check(args) = &args.command;
    let (checked, prices) = start_runtime()?.block_on(crate::app::llm::check(&args.file))?;
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
    context.print(render(&columns, &rows, Look::plain(output_width())))?;
    context.say(format_args!("prices: {prices}"));
    let failed = checked.iter().filter(|one| one.result.is_err()).count();
    Ok(match failed {
        0 => Exit::Success,
        all if all == checked.len() => Exit::Environment,
        _ => Exit::Partial,
    })
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
