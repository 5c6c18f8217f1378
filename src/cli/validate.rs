//! `medalist validate`: is this file a valid submission? Never says how good it is.

use std::path::{Path, PathBuf};

use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, InvalidSubmission, Verdict};

use super::grade::Target;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Check a submission's format, without a score.
///
/// With prepared answers the grader itself decides, and only its refusal is shown; without them
/// columns, ids and values are checked against the sample submission. Exit code 0 for a valid
/// submission, 8 for an invalid one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The submission, a CSV file.
    #[arg(value_name = "CSV")]
    submission: PathBuf,
    /// The competition.
    #[arg(value_name = "ID")]
    competition: String,
    /// Check against the public sample submission even where there are answers.
    #[arg(long)]
    public_only: bool,
    /// Print the result to stdout as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The competition is unknown, or neither its answers nor its sample submission can be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let target = Target::new(&catalogue, &args.competition, &context.data_dir)
        .map_err(|error| CliError::message(Exit::BadInput, error))?;
    let refusal = refusal(args, context, &target)?;
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
    /// The grader refuses what is in it.
    Content(Box<InvalidSubmission>),
}

fn refusal(
    args: &Args,
    context: &Context,
    target: &Target<'_>,
) -> Result<Option<Refusal>, CliError> {
    let path = args.submission.as_path();
    if path.symlink_metadata().is_err() {
        return Ok(Some(Refusal::File(format!(
            "Submission file {} does not exist.",
            path.display()
        ))));
    }
    if path.extension().is_none_or(|extension| extension != "csv") {
        return Ok(Some(Refusal::File("Submission file must be a CSV file.".to_owned())));
    }
    let answers = target.answers_path(&context.data_dir);
    let invalid = if !args.public_only && answers.exists() {
        graded(path, &answers, target)?
    } else {
        compared(path, &target.sample_path(&context.data_dir), target, &args.competition)?
    };
    Ok(invalid.map(|invalid| Refusal::Content(Box::new(invalid))))
}

fn graded(
    submission: &Path,
    answers: &Path,
    target: &Target<'_>,
) -> Result<Option<InvalidSubmission>, CliError> {
    let what = || format!("cannot read the answers `{}`", answers.display());
    let read = Answers::read(answers)
        .map_err(|error| CliError::new(Exit::BadInput, error).context(what()))?;
    let graded = target.grader.grade_file(submission, &read, &Limits::default());
    match graded.map_err(|error| CliError::new(Exit::BadInput, error))?.verdict {
        Verdict::Scored(_) => Ok(None),
        Verdict::Invalid(invalid) => Ok(Some(invalid)),
    }
}

fn compared(
    submission: &Path,
    sample: &Path,
    target: &Target<'_>,
    id: &str,
) -> Result<Option<InvalidSubmission>, CliError> {
    let what = format!("cannot read the sample submission `{}`", sample.display());
    let bad = |error: anyhow::Error| {
        CliError::new(Exit::BadInput, error)
            .hint(format!("prepare the competition with `medalist prepare -c {id}`"))
    };
    let real = fs_err::canonicalize(sample).map_err(|error| bad(error.into()))?;
    let sample = Table::read(&real, &Limits::default())
        .map_err(|error| bad(anyhow::Error::new(error).context(what)))?;
    match Table::read(submission, &Limits::default()) {
        Ok(table) => {
            Ok(target.grader.check_format(&table, sample).map_err(|error| bad(error.into()))?.err())
        }
        Err(error) => Ok(Some(InvalidSubmission::from(&error))),
    }
}
