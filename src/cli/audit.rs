//! `medalist audit`: what may be a violation in what attempts left.

mod ask;

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use medalist_audit::Confidence;

use crate::app::audit::{AuditRequest, Forbidden, audit};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::terminal::look;

/// Look for what may be a violation in what attempts left, by rules.
///
/// Each finding has its file, its line and the line's text, and says how sure it is. A finding is a
/// question to a person: nothing is excluded for it. What could not be looked for is listed. Answers,
/// ids and leaderboards are taken from the data directory.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups: folders, names below the runs folder, or bundles.
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<PathBuf>,
    /// A folder of public kernels (`.py`, `.ipynb`) that code is compared with.
    #[arg(long, value_name = "DIR")]
    kernels: Option<PathBuf>,
    /// What the competitions' rules forbid; such findings are then surer.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    forbid: Vec<Forbidden>,
    /// Exit with code 10 if a finding on an attempt is at least so sure.
    #[arg(
        long,
        value_name = "CONFIDENCE",
        value_parser = PossibleValuesParser::new(Confidence::ALL.map(Confidence::id))
            .try_map(|text| text.parse::<Confidence>())
    )]
    fail_on: Option<Confidence>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Refuse bundles that unpack to more.
    #[arg(long, value_name = "SIZE", default_value = "256GiB")]
    max_size: ByteSize,
    #[command(flatten)]
    ask: ask::AskArgs,
}

/// The forms of an audit.
#[derive(clap::ValueEnum, Debug, Clone, Copy)]
enum Format {
    /// A table for a terminal.
    Text,
    /// For other programs.
    Json,
    /// For a pull request.
    Markdown,
}

/// Runs the subcommand.
///
/// # Errors
/// A group is missing or damaged, or the kernels cannot be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if args.ask.is_given() {
        return args.ask.run(&args.groups, args.format, args.fail_on, context);
    }
    let request = AuditRequest {
        groups: &args.groups,
        kernels: args.kernels.as_deref(),
        forbidden: &args.forbid,
        most: args.max_size.as_u64(),
    };
    let audit = audit(&request, context)?;
    context.print(match args.format {
        Format::Text => audit.text(look()),
        Format::Json => serde_json::to_string_pretty(&audit)? + "\n",
        Format::Markdown => audit.markdown(),
    })?;
    let failed = args.fail_on.is_some_and(|confidence| audit.has(confidence));
    Ok(if failed { Exit::Findings } else { Exit::Success })
}
