//! `medalist gateway`: calls providers for harnesses on machines without internet.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::gateway::{GatewayRequest, serve};
use crate::app::run::start_runtime;

/// Call language models for attempts on machines without internet, from one that has it.
///
/// It holds the providers' keys, and writes into the folder that all machines share where it is:
/// attempts whose settings say `via = "service"` find it there, also after it was started again
/// elsewhere (docs/cluster.md). It ends with Ctrl-C or SIGTERM.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The settings, such as `llm.toml`, with the places of keys; by default those of the group.
    #[arg(long, value_name = "FILE")]
    llm: Option<PathBuf>,
    /// The group to serve; without it all groups of `--runs-dir`.
    #[arg(long, value_name = "GROUP")]
    group: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:0")]
    listen: SocketAddr,
    /// The name by which nodes reach this machine; by default the address of `--listen`, or the
    /// machine's name if that is none.
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
}

/// Runs `gateway`.
///
/// # Errors
/// As [`serve`].
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let request = GatewayRequest {
        listen: args.listen,
        name: args.name.as_deref(),
        llm: args.llm.as_deref(),
        group: args.group.as_deref(),
    };
    start_runtime()?.block_on(serve(&request, context))?;
    Ok(Exit::Success)
}
