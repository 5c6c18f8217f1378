//! `medalist replay` and `medalist status`: a group's stored events, shown again or summed up.

use std::path::PathBuf;

use bytesize::ByteSize;
use chrono::Utc;
use medalist_grading::untrusted::Shown;

use crate::app::cluster::{self, Jobs};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::status::{GroupEvent, RunningAttempt, Status, read_events, read_status};
use crate::attempt::outcome::LlmUsage;
use crate::attempt::text::seconds;
use crate::run::events::EventSink as _;
use crate::run::sinks::Lines;

/// Replay the events of a run group.
#[derive(clap::Args, Debug)]
pub struct ReplayArgs {
    /// The group's folder, or its name below the runs folder; the newest group otherwise.
    group: Option<PathBuf>,
    /// Print the events as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Show the state of a run group, running or not.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// The group's folder, or its name below the runs folder; the newest group otherwise.
    group: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `replay`.
///
/// # Errors
/// The group cannot be read.
pub fn replay(args: &ReplayArgs, context: &Context) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    for GroupEvent { event, .. } in read_events(args.group.as_deref(), context)?.events {
        if args.json {
            serde_json::to_writer(&mut text, &event)?;
            text.push(b'\n');
        } else {
            Lines::new(&mut text).on_event(&event)?;
        }
    }
    context.print(String::from_utf8_lossy(&text))?;
    Ok(Exit::Success)
}

/// Runs `status`.
///
/// # Errors
/// The group cannot be read.
pub fn status(args: &StatusArgs, context: &Context) -> Result<Exit, CliError> {
    let (group, plan, status) = read_status(args.group.as_deref(), context)?;
    let Status { damaged, stats, running, llm, leased } = status;
    for what in &damaged {
        context.warn(what);
    }
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&stats)?))?;
        return Ok(Exit::Success);
    }
    let mut text = format!("{}\n{stats}\n", group.root().display());
    if let Some(llm) = llm {
        let money = LlmUsage::money(llm.group_dollars, llm.group_dollars_limit);
        let leased = match leased >= 0.005 {
            true => format!(", {} more leased to attempts", LlmUsage::money(leased, None)),
            false => String::new(),
        };
        text.push_str(&format!("language models: {money}{leased}\n"));
    }
    for (key, attempt) in &running {
        let key = Shown::new(&key.to_string());
        text.push_str(&format!("  {key}  {}\n", describe(attempt)));
    }
    let root = group.root().display();
    let jobs = cluster::jobs(&group, &plan)?;
    let in_queue = jobs.as_ref().is_some_and(Jobs::are_left);
    if let Some(jobs) = &jobs {
        text.push_str(&jobs_text(jobs));
    }
    if !in_queue && !group.is_running() && stats.finished < stats.planned {
        text.push_str(&format!(
            "no harness runs it now; resume with: medalist run --resume {root}\n"
        ));
    }
    context.print(text)?;
    Ok(Exit::Success)
}

/// What a scheduler has of the group.
fn jobs_text(jobs: &Jobs) -> String {
    let mut text = String::new();
    if let Some(away) = &jobs.away {
        let away = Shown::message(away);
        text.push_str(&format!("{away}; what follows is from an earlier answer\n"));
    }
    for (reason, count) in &jobs.waiting {
        let reason = Shown::new(if reason.is_empty() { "starting" } else { reason });
        text.push_str(&format!("  {count} jobs wait: {reason}\n"));
    }
    for (node, count) in &jobs.running {
        text.push_str(&format!("  {count} jobs run on {}\n", Shown::new(node)));
    }
    text
}

/// An attempt that runs, in one line.
fn describe(attempt: &RunningAttempt) -> String {
    let elapsed = seconds((Utc::now() - attempt.since).as_seconds_f64());
    let mut text = format!("{} {elapsed} of {}", attempt.phase, seconds(attempt.timeout_s));
    if let Some((memory_bytes, cpus)) = attempt.usage {
        text.push_str(&format!(", {}, {cpus:.1} cpus", ByteSize::b(memory_bytes)));
    }
    if let Some(llm) = attempt.llm {
        let money = LlmUsage::money(llm.dollars, llm.dollars_limit);
        text.push_str(&format!(", {} calls {money}", llm.calls));
    }
    if !attempt.last_line.is_empty() {
        text.push_str(&format!(", {}", attempt.last_line));
    }
    text
}
