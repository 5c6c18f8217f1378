//! `medalist audit`: what may be a violation in what attempts left.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use medalist_audit::Confidence;

use crate::app::audit::{AuditRequest, audit};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Look for what may be a violation in what attempts left, by rules.
///
/// Each finding has its file, its line and the line's text, and says how sure it is. A finding is a
/// question to a person: nothing is excluded for it. What could not be looked for is listed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups: folders, or names below the runs folder.
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<PathBuf>,
    /// Exit with code 10 if a finding is at least so sure.
    #[arg(
        long,
        value_name = "CONFIDENCE",
        value_parser = PossibleValuesParser::new(Confidence::ALL.map(Confidence::id))
            .try_map(|text| text.parse::<Confidence>())
    )]
    fail_on: Option<Confidence>,
}

/// Runs the subcommand.
///
/// # Errors
/// A group is missing or damaged.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let audit = audit(&AuditRequest { groups: &args.groups }, context)?;
    context.print(serde_json::to_string_pretty(&audit)? + "\n")?;
    let failed = args.fail_on.is_some_and(|confidence| audit.has(confidence));
    Ok(if failed { Exit::Findings } else { Exit::Success })
}
