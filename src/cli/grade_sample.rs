//! `medalist grade-sample`: one submission to one report.

use std::path::{Path, PathBuf};

use medalist_grading::untrusted::Shown;

use crate::app::context::{Context, tell};
use crate::app::error::{CliError, Exit};
use crate::app::grading::GradingError;

/// Grade one submission.
///
/// The report goes to stderr in MLE-bench's form, or to stdout as one JSON object with `--json`.
/// The exit code is 0 for an invalid submission too, because that is the answer to the question.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The submission, a CSV file; `None` prints the thresholds alone.
    #[arg(value_name = "CSV")]
    submission: PathBuf,
    /// The competition.
    #[arg(value_name = "ID")]
    competition: String,
    /// The answers, instead of the prepared ones in the data directory.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Print the report to stdout as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The competition is unknown, or its answers cannot be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let grading = context.grading()?;
    let target = grading.target(&args.competition).map_err(GradingError::for_user)?;
    let answers = args.answers.clone().unwrap_or_else(|| target.answers_path());
    let submission = Some(args.submission.as_path()).filter(|path| *path != Path::new("None"));
    let report = target.report(submission, &answers).map_err(GradingError::for_user)?;
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string(&report)?))?;
        return Ok(Exit::Success);
    }
    if let Some(invalid) = &report.invalid {
        context.warn(format_args!("invalid submission: {invalid}"));
    } else if submission.is_some() && !report.submission_exists {
        context.warn(format_args!(
            "`{}` is not a file whose name ends in `.csv`",
            Shown::new(&args.submission.to_string_lossy())
        ));
    }
    if let Some(origin) = &report.own_leaderboard {
        context.warn(format_args!("measured against a leaderboard of your own: {origin}"));
    }
    for issue in &report.strict_issues {
        context.warn(format_args!("a strict reading differs: {issue}"));
    }
    // MLE-bench's users search stderr for this line and the JSON behind it.
    tell(format_args!("Competition report:\n{}", indented(&report)?));
    Ok(Exit::Success)
}

/// JSON indented by four blanks, as Python's `json.dumps(…, indent=4)` prints it.
fn indented(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
