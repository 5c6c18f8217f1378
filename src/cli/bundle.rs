//! `medalist bundle`: run groups as one file that strangers can check.

use std::path::PathBuf;

use crate::app::bundle::manifest::Part;
use crate::app::bundle::{BundleRequest, bundle};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Write run groups into one file that strangers can check with `medalist verify`.
///
/// It holds plans, records, event logs, submissions, code, logs and the calls of language models, with a
/// manifest of every file's SHA-256. Secrets that this machine knows and the answers in the data
/// directory are searched for, and refuse the bundle. The same groups make the same bytes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups: folders, or names below the runs folder.
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<PathBuf>,
    /// The file to write.
    #[arg(short, long = "output", value_name = "FILE")]
    output: PathBuf,
    /// Leave a part out; its files' hashes stay in the manifest.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    without: Vec<Part>,
    /// Sign with this Ed25519 key of OpenSSH (`medalist key new` makes one).
    #[arg(long, value_name = "FILE", env = "MEDALIST_KEY")]
    key: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// A group is missing, damaged or being run, a file must not get out, or the file cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let request = BundleRequest {
        groups: &args.groups,
        out: &args.output,
        without: args.without.iter().copied().collect(),
        key: args.key.as_deref(),
    };
    let bundled = bundle(&request, context)?;
    for part in &request.without {
        context.say(format_args!("{} are left out: {}", part.word(), part.loss()));
    }
    if request.key.is_none() {
        context.say("it is not signed; `--key FILE` signs it");
    }
    let (files, out) = (bundled.manifest.files.len(), args.output.display());
    context.say(format_args!("{files} files in `{out}`, {} bytes", bundled.bytes));
    context.print(format_args!("{}  {out}\n", bundled.sha256))?;
    Ok(Exit::Success)
}
