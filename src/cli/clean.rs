//! `medalist clean`: removes containers that killed harnesses left behind.

use std::collections::BTreeMap;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::{executor_error, start_runtime};
use crate::attempt::launch::{LABEL, LABEL_NAME};
use crate::attempt::text::chain;
use crate::sandbox::docker::{DockerExecutor, is_of_dead_job};
use crate::sandbox::namespaces::NamespacesExecutor;
use crate::sandbox::{Executor, podman};

/// Remove orphans: containers of medalist whose harness is gone, through the engine that answers and
/// without one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only those of this run group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Also remove running ones: their agents are killed and their work is lost. Those of a batch job
    /// that is over on this machine are removed in any case.
    #[arg(long)]
    running: bool,
    /// Also remove the images that were unpacked for `--executor namespaces`.
    #[arg(long)]
    images: bool,
    /// Show what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What came of the orphans of one executor.
#[derive(Default)]
struct Cleaned {
    found: usize,
    kept: usize,
    failed: usize,
    removed: String,
}

/// Runs the subcommand.
///
/// # Errors
/// The engine does not answer, and nothing was left without one.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    start_runtime()?.block_on(async {
        let labels: BTreeMap<String, String> =
            args.group.iter().map(|group| (crate::run::GROUP_LABEL.to_owned(), group.clone())).collect();
        let mut cleaned = Cleaned::default();
        let namespaces = NamespacesExecutor::new().map_err(executor_error)?;
        remove_orphans(&namespaces, &labels, args, context, &mut cleaned).await?;
        if args.images {
            for image in namespaces.remove_images(args.dry_run).await.map_err(executor_error)? {
                cleaned.note(args, &format!("image {image}"));
            }
        }
        for place in podman::left_behind() {
            if !args.dry_run {
                place.remove();
            }
            cleaned.note(args, &format!("storage of Podman {}", place.shown()));
        }
        match DockerExecutor::connect().await {
            Ok(docker) => remove_orphans(&docker, &labels, args, context, &mut cleaned).await?,
            // Where nobody uses an engine there is nothing to say of it.
            Err(error) if cleaned.found == 0 => return Err(executor_error(error)),
            Err(error) => context.warn(format_args!("containers of an engine are left: {}", chain(&error))),
        }
        context.print(cleaned.removed)?;
        if cleaned.found == 0 {
            context.say("nothing to clean");
        }
        if cleaned.kept > 0 {
            context.say("`medalist run --resume GROUP` takes up what still runs; `clean --running` kills it");
        }
        Ok(if cleaned.failed == 0 { Exit::Success } else { Exit::Partial })
    })
}

impl Cleaned {
    fn note(&mut self, args: &Args, what: &str) {
        self.found += 1;
        let verb = if args.dry_run { "would remove" } else { "removed" };
        self.removed.push_str(&format!("{verb} {what}\n"));
    }
}

async fn remove_orphans(
    executor: &dyn Executor,
    labels: &BTreeMap<String, String>,
    args: &Args,
    context: &Context,
    cleaned: &mut Cleaned,
) -> Result<(), CliError> {
    for orphan in executor.list_orphans(labels).await.map_err(executor_error)? {
        let name = orphan.labels.get(LABEL_NAME).map_or(orphan.token.name.as_str(), String::as_str);
        let version = orphan.labels.get(LABEL).map_or("?", String::as_str);
        if orphan.running && !args.running && !is_of_dead_job(&orphan) {
            cleaned.found += 1;
            cleaned.kept += 1;
            context.say(format_args!("kept     {name} (still running, medalist {version})"));
            continue;
        }
        if !args.dry_run
            && let Err(error) = executor.remove_orphan(&orphan.token).await
        {
            // One that cannot be removed does not keep the others.
            cleaned.found += 1;
            cleaned.failed += 1;
            context.warn(format_args!("`{name}` stays: {}", chain(&error)));
            continue;
        }
        cleaned.note(args, name);
    }
    Ok(())
}
