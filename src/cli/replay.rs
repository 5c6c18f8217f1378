//! `medalist replay` and `medalist status`: a group's stored events, shown again or summed up.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use chrono::{DateTime, Utc};

use super::logs::find_error;
use medalist_reports::record::Phase;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::attempt::text::seconds;
use crate::host::store::{GroupDir, find};
use crate::run::events::{EventKind, EventSink as _, RunEvent};
use crate::run::sinks::{Lines, jsonl};

/// Show again what happened in a run group.
#[derive(clap::Args, Debug)]
pub struct ReplayArgs {
    /// The group's folder, or its name below the runs folder; the newest group otherwise.
    group: Option<PathBuf>,
    /// Print the events as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Say where a run group stands, also while it runs.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// The group's folder, or its name below the runs folder; the newest group otherwise.
    group: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads a group's events.
fn events(group: Option<&Path>, context: &Context) -> Result<(GroupDir, Vec<RunEvent>), CliError> {
    let found = match group {
        Some(group) => find::group(&context.runs_dir, group),
        None => find::newest_group(&context.runs_dir),
    };
    let group = found.map_err(find_error)?;
    let path = group.events();
    let (events, damaged) = jsonl::read(&path).map_err(|error| {
        CliError::new(
            Exit::BadInput,
            anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())),
        )
        .hint("the group was planned, but nothing has happened in it yet")
    })?;
    if damaged > 0 {
        context.warn(format_args!("`{}`: {damaged} damaged lines skipped", path.display()));
    }
    Ok((group, events))
}

/// Runs `replay`.
///
/// # Errors
/// The group cannot be read.
pub fn replay(args: &ReplayArgs, context: &Context) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    for event in events(args.group.as_deref(), context)?.1 {
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
    let (group, events) = events(args.group.as_deref(), context)?;
    let stats = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::GroupStarted { stats, .. }
        | EventKind::Started { stats, .. }
        | EventKind::Finished { stats, .. }
        | EventKind::GroupFinished { stats } => Some(*stats),
        _ => None,
    });
    let stats = stats.unwrap_or_default();
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&stats)?))?;
        return Ok(Exit::Success);
    }
    let mut running = BTreeMap::<_, Running>::new();
    for event in &events {
        match &event.kind {
            // A harness that begins again knows nothing of what the last one had running.
            EventKind::GroupStarted { .. } => running.clear(),
            EventKind::Started { key, timeout_s, .. } => {
                running.insert(
                    key.clone(),
                    Running { since: event.at, timeout_s: *timeout_s, ..Running::default() },
                );
            }
            EventKind::Phase { key, phase } => {
                if let Some(known) = running.get_mut(key) {
                    known.phase.clone_from(phase);
                }
            }
            EventKind::Usage { key, memory_bytes, cpus, last_line, .. } => {
                if let Some(known) = running.get_mut(key) {
                    known.usage = format!("{}, {cpus:.1} cpus", ByteSize::b(*memory_bytes));
                    known.last_line.clone_from(last_line);
                }
            }
            EventKind::Finished { key, .. } => {
                running.remove(key);
            }
            _ => {}
        }
    }
    let mut text = format!("{}\n{stats}\n", group.root().display());
    for (key, attempt) in &running {
        text.push_str(&format!("  {key}  {attempt}\n"));
    }
    if !group.is_running() && stats.finished < stats.planned {
        let root = group.root().display();
        text.push_str(&format!(
            "no harness runs it now; go on with: medalist run --resume {root}\n"
        ));
    }
    context.print(text)?;
    Ok(Exit::Success)
}

/// What the last events say of an attempt that runs.
#[derive(Default)]
struct Running {
    since: DateTime<Utc>,
    timeout_s: f64,
    phase: Phase,
    usage: String,
    last_line: String,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = seconds((Utc::now() - self.since).as_seconds_f64());
        write!(f, "{} {elapsed} of {}", self.phase, seconds(self.timeout_s))?;
        for part in [&self.usage, &self.last_line] {
            if !part.is_empty() {
                write!(f, ", {part}")?;
            }
        }
        Ok(())
    }
}
