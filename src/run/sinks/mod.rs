//! Consumers of events: bars for a terminal, lines for a log, JSON lines for programs and for the
//! group's own record.

pub mod jsonl;
mod lines;
mod progress;

pub use jsonl::{JsonLines, TryEvents};
pub use lines::Lines;
pub use progress::Progress;

use medalist_grading::untrusted::Shown;
use medalist_reports::record::{OutcomeKind, OutcomeRecord};

use crate::attempt::text::seconds;
use crate::run::events::{EventKind, RunEvent};

/// The one line that tells a person about an event; `None` for events that are only drawn. Whatever
/// the event quotes, and whoever wrote the log that it comes from, it is one line.
fn line(event: &RunEvent) -> Option<Shown> {
    let text = match &event.kind {
        EventKind::GroupStarted { group, agent, executor, sealed, resumed, stats, .. } => {
            let verb = if *resumed { "resuming" } else { "running" };
            let seal = if *sealed { "sealed" } else { "NOT SEALED" };
            format!(
                "{verb} {} attempts of `{agent}` ({executor}, {seal}) in {group}",
                stats.planned
            )
        }
        EventKind::Started { key, try_number, attached, .. } => match (attached, try_number) {
            (true, _) => format!("{key}: attached to the running attempt"),
            (false, 1) => format!("{key}: started"),
            (false, number) => format!("{key}: started, try {number}"),
        },
        EventKind::TryFailed { key, outcome, retry_in_s, .. } => {
            format!("{key}: {}, trying again in {retry_in_s:.0} s", describe(outcome))
        }
        EventKind::Finished { key, outcome, grade, took_s, stats } => {
            format!("{key}: {} after {}, {grade} [{stats}]", describe(outcome), seconds(*took_s))
        }
        EventKind::Warning { key, message } => match key {
            Some(key) => format!("warning: {key}: {message}"),
            None => format!("warning: {message}"),
        },
        EventKind::CancelBegan { reason } => format!("stopping: {reason}"),
        EventKind::GroupFinished { stats } => format!("finished: {stats}"),
        EventKind::Phase { .. } | EventKind::Usage { .. } | EventKind::Snapshot { .. } => {
            return None;
        }
    };
    Some(Shown::message(&text))
}

/// How an attempt ended, in words.
pub(crate) fn describe(outcome: &OutcomeRecord) -> String {
    let mut text = match (&outcome.kind, outcome.exit_code) {
        (OutcomeKind::Finished, Some(0) | None) => "finished".to_owned(),
        (OutcomeKind::Finished, Some(code)) => format!("exited with code {code}"),
        (kind, _) => kind.as_str().replace('_', " "),
    };
    if let Some(detail) = &outcome.detail {
        // Some details are whole sentences of their own.
        if detail.starts_with(&text) {
            return detail.to_string();
        }
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}
