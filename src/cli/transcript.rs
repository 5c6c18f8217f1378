//! `medalist transcript`: what an agent and its models said to each other.

use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::groups::{find_attempt, read_plan};
use crate::app::transcript::{Form, Length, Timeline};
use crate::host::files::write_atomic;

/// Show what an attempt's agent and its models said to each other, with tools, files, verdicts and
/// cost, in the order of time.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    #[arg(value_name = "ATTEMPT")]
    attempt: String,
    /// The attempt's run group, by folder or name; by default the newest that has the attempt.
    #[arg(long, value_name = "GROUP")]
    group: Option<PathBuf>,
    /// The form: text, one page, our JSON, ATIF for Harbor, or a log for `inspect view`.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Show every text whole.
    #[arg(long)]
    full: bool,
    /// An earlier try that failed because of the machine.
    #[arg(long = "try", value_name = "N")]
    try_number: Option<u32>,
    /// Write to a file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// The attempt cannot be found or read, or has no recorded call and the form needs one.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let found = find_attempt(&args.attempt, args.group.as_deref(), context)?;
    let plan = read_plan(&found.group)?;
    let dir = found.group.attempt(&found.attempt.dir);
    let from = match args.try_number {
        Some(number) if dir.earlier_try(number).root().is_dir() => dir.earlier_try(number),
        _ => dir.clone(),
    };
    let timeline = Timeline::read(plan.agent.version, &dir, &from)?;
    let length = if args.full { Length::Full } else { Length::Short };
    let text = timeline.write(args.format, length)?;
    match &args.out {
        None => context.print(text)?,
        Some(path) => {
            write_atomic(path, text.as_bytes())?;
            context.say(format_args!("wrote {}", path.display()));
        }
    }
    if args.format != Form::Text {
        for note in &timeline.notes {
            context.warn(note);
        }
    }
    Ok(Exit::Success)
}
