//! `medalist verify`: what a bundle claims, and what of it is proved.

use std::path::PathBuf;

use bytesize::ByteSize;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::verify::{Verdict, VerifyRequest, verify};

/// Check a bundle without trust in who made it.
///
/// Every claim is verified, consistent, not checkable or contradicted, with the reason. Submissions are
/// graded again on competitions that are prepared in the data directory. Exit code 0 says that nothing is
/// contradicted, 9 that something is, and 3 that the file is no bundle that can be read.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The bundle.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Keys whose signatures count: public keys, one a line, or OpenSSH's `allowed_signers`.
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// A link (`chain`) of an event log that you saw before or while the run went on; may be repeated.
    #[arg(long, value_name = "LINK")]
    witness: Vec<String>,
    /// Refuse bundles that unpack to more.
    #[arg(long, value_name = "SIZE", default_value = "256GiB")]
    max_size: ByteSize,
    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown, for a pull request.
    #[arg(long)]
    markdown: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The file is no bundle, newer, too large or cut short.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let request = VerifyRequest {
        file: &args.file,
        signers: args.signers.as_deref(),
        witnesses: &args.witness,
        most: args.max_size.as_u64(),
    };
    let verification = verify(&request, context)?;
    let text = match (args.json, args.markdown) {
        (true, _) => format!("{}\n", serde_json::to_string_pretty(&verification)?),
        (_, true) => verification.markdown(),
        _ => verification.text(),
    };
    context.print(text)?;
    Ok(match verification.verdict {
        Verdict::Contradicted => Exit::Contradicted,
        _ => Exit::Success,
    })
}
