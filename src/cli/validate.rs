//! `medalist validate`: is this file a valid submission? Never says how good it is.

use std::path::PathBuf;

use medalist_grading::InvalidSubmission;
use medalist_grading::untrusted::Shown;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::grading::{GradingError, Target};

/// Check a submission's format, without a score.
///
/// Columns, ids and values are checked against the sample submission, as they are for an agent that
/// asks. The answers are not read, so that the verdict tells nothing of them. Exit code 0 for a
/// valid submission, 8 for an invalid one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The submission, a CSV file.
    #[arg(value_name = "CSV")]
    submission: PathBuf,
    /// The competition.
    #[arg(value_name = "ID")]
    competition: String,
    /// Accepted for compatibility: only the public sample submission is ever looked at.
    #[arg(long = "public-only", hide = true)]
    _public_only: bool,
    /// Print the result to stdout as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The competition is unknown, or neither its answers nor its sample submission can be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let grading = context.grading()?;
    let target = grading.target(&args.competition).map_err(GradingError::for_user)?;
    let refusal = refusal(args, &target)?;
    let message = match &refusal {
        None => "Submission is valid.".to_owned(),
        Some(Refusal::File(message)) => format!("Submission invalid! {message}"),
        Some(Refusal::Content(invalid)) => format!(
            "Submission invalid! The attempt to grade the submission has resulted in the following error message:\n{invalid}"
        ),
    };
    if args.json {
        let invalid = match &refusal {
            Some(Refusal::Content(invalid)) => Some(invalid),
            _ => None,
        };
        let result = serde_json::json!({ "is_valid": refusal.is_none(), "result": message, "invalid": invalid });
        context.print(format_args!("{result}\n"))?;
    } else {
        context.print(format_args!("{message}\n"))?;
    }
    Ok(if refusal.is_none() { Exit::Success } else { Exit::InvalidSubmission })
}

/// Why a submission is not valid.
enum Refusal {
    /// There is no such CSV file.
    File(String),
    /// What is in it is refused.
    Content(Box<InvalidSubmission>),
}

fn refusal(args: &Args, target: &Target<'_>) -> Result<Option<Refusal>, CliError> {
    let path = args.submission.as_path();
    if path.symlink_metadata().is_err() {
        return Ok(Some(Refusal::File(format!(
            "Submission file {} does not exist.",
            Shown::new(&path.to_string_lossy())
        ))));
    }
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("csv")) {
        return Ok(Some(Refusal::File("Submission file must be a CSV file.".to_owned())));
    }
    let valid = target.validate(path).map_err(GradingError::for_user)?;
    Ok(valid.err().map(|invalid| Refusal::Content(Box::new(invalid))))
}
