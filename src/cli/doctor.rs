//! `medalist doctor`: what this machine has, what is missing, and how to get it.

use crate::app::context::Context;
use crate::app::doctor::{Finding, Level, examine};
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;

/// Check this machine: container engine, disk, memory, GPUs and credentials.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand. The exit code says whether sealed runs are possible here.
///
/// # Errors
/// Only if stdout cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let findings = start_runtime()?.block_on(examine(context))?;
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&findings)?))?;
    } else {
        context.print(findings_text(&findings))?;
    }
    let is_missing = findings.iter().any(|finding| finding.level == Level::Missing);
    Ok(if is_missing { Exit::Environment } else { Exit::Success })
}

/// Findings as a person reads them.
pub(super) fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok     ",
            Level::Note => "note   ",
            Level::Missing => "missing",
        };
        text.push_str(&format!("{mark}  {:<16} {}\n", finding.what, finding.found));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:26} hint: {hint}\n", ""));
        }
    }
    text
}
