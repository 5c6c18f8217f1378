//! `medalist replay` and `medalist status`: a group's stored events, shown again or summed up.

use std::path::{Path, PathBuf};

use super::Context;
use crate::error::{CliError, Exit};
use crate::events::{EventKind, EventSink as _, RunEvent};
use crate::sinks::{Lines, jsonl};
use crate::store::GroupDir;

/// Show again what happened in a run group.
#[derive(clap::Args, Debug)]
pub struct ReplayArgs {
    /// The group's folder, or its name below the runs folder.
    group: PathBuf,
    /// Print the events as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Say where a run group stands, also while it runs.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// The group's folder, or its name below the runs folder.
    group: PathBuf,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads a group's events.
fn events(group: &Path, context: &Context) -> Result<Vec<RunEvent>, CliError> {
    let root = if group.join("events.jsonl").is_file() { group.to_owned() } else { context.runs_dir.join(group) };
    let path = GroupDir::new(root).events();
    let (events, damaged) = jsonl::read(&path).map_err(|error| {
        CliError::new(Exit::BadInput, anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())))
            .hint("give a run group's folder, or its name below the runs folder (--runs-dir)")
    })?;
    if damaged > 0 {
        context.warn(format_args!("`{}`: {damaged} damaged lines skipped", path.display()));
    }
    Ok(events)
}

/// Runs `replay`.
///
/// # Errors
/// The group cannot be read.
pub fn replay(args: &ReplayArgs, context: &Context) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    for event in events(&args.group, context)? {
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
    let events = events(&args.group, context)?;
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
    let mut running = std::collections::BTreeMap::new();
    for event in &events {
        match &event.kind {
            // A harness that begins again knows nothing of what the last one had running.
            EventKind::GroupStarted { .. } => running.clear(),
            EventKind::Started { key, .. } => {
                running.insert(key.clone(), (event.at, String::from("starting")));
            }
            EventKind::Phase { key, phase } => {
                if let Some((_, known)) = running.get_mut(key) {
                    known.clone_from(phase);
                }
            }
            EventKind::Finished { key, .. } => {
                running.remove(key);
            }
            _ => {}
        }
    }
    let mut text = format!("{stats}\n");
    for (key, (since, phase)) in &running {
        let elapsed = (chrono::Utc::now() - *since).as_seconds_f64();
        text.push_str(&format!("  {key}  {phase}, {}\n", crate::sinks::seconds(elapsed)));
    }
    context.print(text)?;
    Ok(Exit::Success)
}
