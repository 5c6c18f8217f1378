//! Timelines for the pages of a report.

use std::path::Path;

use medalist_reports::viewer::{Said, Step, Stories, Story, Validation};

use super::{Exchange, Moment, Timeline, What, text};
use crate::attempt::dir::AttemptDir;

/// Bytes of an unpacked transcript that a page's timeline is made of; a page shows less of it.
const LARGEST: u64 = 64 << 20;

/// What the harness recorded in the folders of attempts.
#[derive(Debug, Clone, Copy)]
pub struct Recorded;

impl Stories for Recorded {
    fn of(&self, dir: &Path) -> Option<Story> {
        let dir = AttemptDir::new(dir);
        let llm = dir.llm();
        let records = [
            dir.record(),
            dir.validation_log(),
            llm.join("transcript.jsonl.gz"),
            llm.join("calls.jsonl"),
        ];
        // The folder may be a stranger's, and opening a pipe may wait for ever.
        let is_odd = |path: &Path| path.metadata().is_ok_and(|file| !file.is_file());
        if let Some(odd) = records.iter().find(|path| is_odd(path)) {
            let name = odd.file_name().unwrap_or_default().to_string_lossy();
            let notes = vec![format!("no timeline: `{name}` is no plain file")];
            return Some(Story { notes, ..Story::default() });
        }
        Timeline::read_up_to(LARGEST, None, &dir, &dir).ok().map(story)
    }
}

pub(super) fn story(timeline: Timeline) -> Story {
    let began = timeline.record.tries.last().and_then(|last| last.started_at);
    let began = began.or(timeline.record.started_at);
    let mut story = Story { notes: timeline.notes, ..Story::default() };
    // Phases and snapshots alone stand elsewhere on the page.
    let is_told = timeline
        .moments
        .iter()
        .any(|moment| matches!(moment.what, What::Call(_) | What::Validation { .. }));
    for moment in timeline.moments {
        if let What::Validation { valid, message } = &moment.what {
            let after_s = began.map_or(moment.elapsed_s, |at| (moment.at - at).as_seconds_f64());
            let (valid, message) = (*valid, message.clone());
            story.validations.push(Validation { after_s, valid, message });
        }
        if is_told {
            story.steps.push(step(&moment));
        }
    }
    story
}

fn step(moment: &Moment) -> Step {
    let (head, said) = match &moment.what {
        What::Call(exchange) => (call(exchange), said(exchange)),
        What::Validation { valid, message } => {
            let verdict = if *valid { "valid" } else { "invalid" };
            (format!("validation: {verdict}: {message}"), Vec::new())
        }
        What::Snapshot { score, valid, medal } => {
            let worth = text::worth(*score, *valid, medal.as_deref());
            (format!("snapshot of the submission: {worth}"), Vec::new())
        }
        What::Phase { name } => (format!("phase: {}", name.replace('_', " ")), Vec::new()),
    };
    let is_call = matches!(moment.what, What::Call(_));
    Step { elapsed_s: moment.elapsed_s, head, is_call, said }
}

fn call(exchange: &Exchange) -> String {
    let head = text::call_head(exchange);
    let status = exchange.turn.status;
    if status >= 400 {
        format!("{head}; error {status}")
    } else if exchange.turn.whole {
        head
    } else {
        format!("{head}; the answer broke off")
    }
}

fn said(exchange: &Exchange) -> Vec<Said> {
    let entries = exchange.turn.said.iter().chain(&exchange.turn.answer);
    let mut said: Vec<Said> = entries
        .map(|entry| {
            let (who, text) = text::who_and_what(entry);
            Said { who: who.to_owned(), text }
        })
        .collect();
    if !exchange.writes.is_empty() {
        said.push(Said { who: "writes".to_owned(), text: exchange.writes.join("\n") });
    }
    said
}
