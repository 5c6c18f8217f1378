//! `medalist key`: keys that sign bundles.

use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::host::sign::{NAMESPACE, Signer, public_path};

/// Make a key that signs bundles.
#[derive(clap::Args, Debug)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    New(NewArgs),
}

/// Make an Ed25519 key of OpenSSH, without a passphrase.
///
/// The public half goes to `FILE.pub`. Any Ed25519 key that `ssh-keygen` has made serves as well, and
/// `ssh-keygen -Y verify` checks what either signs.
#[derive(clap::Args, Debug)]
pub struct NewArgs {
    /// The file to write, which must not exist.
    #[arg(value_name = "FILE", default_value = "medalist.key")]
    file: PathBuf,
    /// Words at the end of the public key, such as an address.
    #[arg(long, default_value = "medalist", value_name = "TEXT")]
    comment: String,
}

/// Runs the subcommand.
///
/// # Errors
/// A file is there already or cannot be written.
pub fn run(args: &KeyArgs, context: &Context) -> Result<Exit, CliError> {
    let Command::New(args) = &args.command;
    let line = Signer::generate(&args.file, &args.comment)
        .map_err(|error| CliError::new(Exit::BadInput, error))?;
    context.say(format_args!(
        "wrote `{}`, which is secret, and `{}`, which others need to check signatures (namespace `{NAMESPACE}`)",
        args.file.display(),
        public_path(&args.file).display()
    ));
    context.print(format_args!("{line}\n"))?;
    Ok(Exit::Success)
}
