//! `medalist doctor`: what this machine has, what is missing, and how to get it.

use std::path::PathBuf;

use super::run::{On, SchedulerArgs};
use crate::app::apart::keep_output;
use crate::app::context::Context;
use crate::app::doctor::{Finding, Level, examine};
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;
use crate::app::{commands, kubernetes, probe, slurm};
use crate::attempt::plan::{ExecutorKind, SchedulerKind};

/// Check this machine: container engine, disk, memory, GPUs and credentials.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Check a cluster instead, from its login node.
    #[arg(long, value_enum, value_name = "WHERE")]
    on: Option<On>,
    /// Run a job that looks at one of the cluster's nodes from within, which takes a minute.
    #[arg(long, requires = "on")]
    probe: bool,
    /// Executor that the probe tries.
    #[arg(long, value_enum, default_value_t = ExecutorKind::Docker, env = "MEDALIST_EXECUTOR")]
    executor: ExecutorKind,
    /// GPUs that the probe's job asks for.
    #[arg(long, default_value_t = 0, value_name = "N")]
    gpus: u32,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    /// Look at this node for a probe that waits in a folder.
    #[arg(long, hide = true, value_name = "DIR")]
    look: Option<PathBuf>,
}

/// Runs the subcommand. The exit code says whether sealed runs are possible here.
///
/// # Errors
/// Only if stdout cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if let Some(folder) = &args.look {
        keep_output()?;
        start_runtime()?.block_on(probe::look(folder, args.executor))?;
        return Ok(Exit::Success);
    }
    let findings = match args.scheduler.remote(args.on)? {
        None => start_runtime()?.block_on(examine(context))?,
        Some(remote) => {
            let mut found = match remote.scheduler {
                SchedulerKind::Slurm => slurm::examine(),
                SchedulerKind::Kubernetes => kubernetes::examine(&remote, context)?,
                SchedulerKind::Command => commands::examine(&remote)?,
            };
            let is_there = found.iter().all(|one| one.level != Level::Missing);
            if args.probe && is_there {
                found.extend(probe::probe(args.executor, args.gpus, &remote, context)?);
            }
            found
        }
    };
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&findings)?))?;
    } else {
        context.print(findings_text(&findings))?;
    }
    let is_missing = findings.iter().any(|finding| finding.level == Level::Missing);
    Ok(if is_missing { Exit::Environment } else { Exit::Success })
}

/// Findings as a person reads them.
pub(super) fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok     ",
            Level::Note => "note   ",
            Level::Missing => "missing",
        };
        text.push_str(&format!("{mark}  {:<16} {}\n", finding.what, finding.found));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:26} hint: {hint}\n", ""));
        }
    }
    text
}
