//! `medalist clean`: removes containers that killed harnesses left behind.

use std::collections::BTreeMap;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::{executor_error, start_runtime};
use crate::attempt::launch::{LABEL, LABEL_NAME};
use crate::attempt::text::chain;
use crate::sandbox::Executor as _;
use crate::sandbox::docker::DockerExecutor;

/// Remove orphans: containers of medalist whose harness is gone.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only those of this run group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Also remove running ones: their agents are killed and their work is lost.
    #[arg(long)]
    running: bool,
    /// Show what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// The engine does not answer or refuses.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    start_runtime()?.block_on(async {
        let docker = DockerExecutor::connect().await.map_err(executor_error)?;
        let labels: BTreeMap<String, String> =
            args.group.iter().map(|group| (crate::run::GROUP_LABEL.to_owned(), group.clone())).collect();
        let orphans = docker.list_orphans(&labels).await.map_err(executor_error)?;
        let (mut kept, mut failed, mut removed) = (0, 0, String::new());
        for orphan in &orphans {
            let name = orphan.labels.get(LABEL_NAME).map_or(orphan.token.name.as_str(), String::as_str);
            let version = orphan.labels.get(LABEL).map_or("?", String::as_str);
            if orphan.running && !args.running {
                kept += 1;
                context.say(format_args!("kept     {name} (still running, medalist {version})"));
                continue;
            }
            if !args.dry_run && let Err(error) = docker.remove_orphan(&orphan.token).await {
                // One that cannot be removed does not keep the others.
                failed += 1;
                context.warn(format_args!("`{name}` stays: {}", chain(&error)));
                continue;
            }
            let verb = if args.dry_run { "would remove" } else { "removed" };
            removed.push_str(&format!("{verb} {name}\n"));
        }
        context.print(removed)?;
        if orphans.is_empty() {
            context.say("nothing to clean");
        }
        if kept > 0 {
            context.say("`medalist run --resume GROUP` takes up what still runs; `clean --running` kills it");
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Partial })
    })
}
