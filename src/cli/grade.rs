//! `medalist grade`: many submissions, listed in a JSON-lines file, to one grading report.

use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::grade::grade_list;

/// Grade the submissions listed in a JSON-lines file and write one grading report.
///
/// Each line is an object with `competition_id` and `submission_path` (null where there is none);
/// empty lines and lines that begin with `#` or `//` are skipped. A line that cannot be graded, or
/// whose path leads to no submission, is named on stderr and in the report, and does not stop the
/// others: the exit code is then 5.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The list of submissions, as `make_submission.py` writes it.
    #[arg(long, value_name = "FILE")]
    submission: PathBuf,
    /// Directory for `<timestamp>_grading_report.json`.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Print the report to stdout as well.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The list cannot be read, or the report cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let graded = grade_list(&args.submission, &args.output_dir, context)?;
    context.say(graded.report.summary());
    for (id, origin) in graded.report.own_leaderboards() {
        context
            .warn(format_args!("`{id}` is measured against a leaderboard of your own: {origin}"));
    }
    context.say(format_args!("report: {}", graded.path.display()));
    if args.json {
        context.print(format_args!("{}\n", graded.json))?;
    }
    Ok(if graded.report.is_complete() { Exit::Success } else { Exit::Partial })
}
