//! `medalist serve`: the report's page, kept fresh while a group runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::report::AgentArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::report::Source;
use crate::app::run::start_runtime;
use crate::app::serve::{self, Shown};

/// Serve the report to a browser and keep it up to date while groups run.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run groups or folders of them; all of `--runs-dir` by default.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
    /// Address to listen on. Any address but loopback exposes the report to your network, to
    /// everyone who has the token.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Port; 0 picks a free one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Token that every request must carry; random by default.
    #[arg(long, value_name = "TEXT", env = "MEDALIST_SERVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A name by which browsers reach this machine, besides `localhost` and its addresses; may be
    /// repeated. Requests for any other name are refused, since a foreign page may be behind them.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
}

/// Runs the subcommand until it is interrupted.
///
/// # Errors
/// Nothing to read, or the address is taken.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let paths =
        if args.paths.is_empty() { vec![context.runs_dir.clone()] } else { args.paths.clone() };
    let shown = Shown {
        paths,
        agent: args.agent.agent.clone(),
        source: Source::new(context.catalogue()?, &context.data_dir),
        token: args.token.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()),
        names: args.names.clone(),
    };
    let address = SocketAddr::new(args.bind, args.port);
    start_runtime()?.block_on(serve::run(shown, address, context))?;
    Ok(Exit::Success)
}
