//! What a group's event logs say, read line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, OutcomeRecord};
use serde::Deserialize;

use crate::host::chain::Chain;
use crate::run::events::{EventKind, GradeLine, RunEvent, RunStats};
use crate::run::sinks::jsonl;

/// A clock that is set right goes back by less.
const CLOCK_STEP: TimeDelta = TimeDelta::seconds(1);
/// How many findings of one kind are kept.
const KEPT: usize = 50;

/// What all logs of a group say.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) logs: Vec<Log>,
    pub(super) attempts: BTreeMap<AttemptKey, AttemptTold>,
}

/// One log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Its path in the bundle.
    pub(super) name: String,
    /// Whether it is the whole group's.
    pub(super) of_group: bool,
    /// Lines with a link.
    pub(super) chained: usize,
    /// Events without one.
    pub(super) unchained: usize,
    /// Lines that are no events.
    pub(super) torn: usize,
    /// Lines, from 1, that are not the next ones of the chain.
    pub(super) breaks: Vec<usize>,
    /// What does not fit in the numbers of the events.
    pub(super) numbers: Vec<String>,
    /// Where the clock runs back.
    pub(super) backwards: Vec<String>,
    /// What does not fit in the counts that events carry.
    pub(super) counts: Vec<String>,
    /// Harnesses, one after the other.
    pub(super) sessions: Vec<Session>,
    pub(super) first: Option<DateTime<Utc>>,
    pub(super) last: Option<DateTime<Utc>>,
    /// The longest time in seconds without an event while an attempt ran.
    pub(super) silence_s: f64,
    /// The counts at its end, if it came to its end.
    pub(super) finished: Option<RunStats>,
    /// Links that were asked for and are in it, with their lines; line 0 is the plan.
    pub(super) witnessed: BTreeMap<String, usize>,
}

/// One harness.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) executor: String,
    pub(super) sealed: bool,
    pub(super) program: Option<String>,
    /// The plan's number of attempts, as it counted.
    pub(super) planned: usize,
    pub(super) agent: String,
    pub(super) group: String,
}

/// What the logs say of one attempt.
#[derive(Debug, Default)]
pub(super) struct AttemptTold {
    /// When each try was first started, and whether a harness took it up later.
    pub(super) tries: BTreeMap<u32, Start>,
    /// Tries that failed.
    pub(super) failed: BTreeMap<u32, OutcomeRecord>,
    /// How it ended, each time that a harness said so.
    pub(super) ends: Vec<End>,
    /// Seconds and bytes of the copies of its submission, by try.
    pub(super) snapshots: BTreeMap<u32, Vec<(f64, u64)>>,
    /// The most calls of language models that it was seen with, by try.
    pub(super) calls: BTreeMap<u32, u64>,
    /// The last try that was started.
    current: u32,
}

/// The start of a try.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) at: DateTime<Utc>,
    pub(super) dir: String,
    pub(super) timeout_s: f64,
}

/// The end of an attempt.
#[derive(Debug)]
pub(super) struct End {
    pub(super) at: DateTime<Utc>,
    pub(super) outcome: OutcomeRecord,
    pub(super) grade: GradeLine,
    pub(super) took_s: f64,
}

/// What stands in any event, also in one of a kind that is not known here.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    at: DateTime<Utc>,
}

impl Told {
    /// Reads one more log. `witnesses` are links to look for, hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(
        &mut self,
        path: &Path,
        name: String,
        of_group: bool,
        head: &Chain,
        witnesses: &BTreeSet<String>,
    ) -> io::Result<()> {
        let mut reading = Reading {
            log: Log { name, of_group, ..Log::default() },
            chain: head.clone(),
            attempts: &mut self.attempts,
            witnesses,
            line: 0,
            next: None,
            running: BTreeSet::new(),
        };
        let plan = hex::encode(head.link());
        if witnesses.contains(&plan) {
            reading.log.witnessed.insert(plan, 0);
        }
        jsonl::lines(path, |line| reading.line(line))?;
        self.logs.push(reading.log);
        Ok(())
    }
}

struct Reading<'a> {
    log: Log,
    chain: Chain,
    attempts: &'a mut BTreeMap<AttemptKey, AttemptTold>,
    witnesses: &'a BTreeSet<String>,
    line: usize,
    /// The number of the next event, once one was read.
    next: Option<u64>,
    running: BTreeSet<AttemptKey>,
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < KEPT {
        list.push(item);
    }
}

impl Reading<'_> {
    fn line(&mut self, text: &[u8]) {
        self.line += 1;
        if text.is_empty() {
            return;
        }
        let linked = self.chain.follow(text);
        let Ok(head) = serde_json::from_slice::<Head>(text) else {
            self.log.torn += 1;
            if linked.is_some() {
                keep(&mut self.log.numbers, format!("line {} has a link and no event", self.line));
            }
            // A damaged line had a number as well.
            self.next = self.next.map(|next| next + 1);
            return;
        };
        match linked {
            Some(true) => self.log.chained += 1,
            Some(false) => keep(&mut self.log.breaks, self.line),
            None => self.log.unchained += 1,
        }
        let link = hex::encode(self.chain.link());
        if linked == Some(true) && self.witnesses.contains(&link) {
            self.log.witnessed.insert(link, self.line);
        }
        let event: Option<RunEvent> = serde_json::from_slice(text).ok();
        let new_harness = event.as_ref().is_some_and(is_start);
        self.number(&head, new_harness);
        self.time(&head, new_harness);
        if let Some(event) = event {
            self.event(event);
        }
    }

    fn number(&mut self, head: &Head, new_harness: bool) {
        // A group's log is numbered by its lines. That of a try goes on from an earlier try's, and by its
        // lines once another harness takes it up.
        let first = if self.log.of_group { self.line as u64 - 1 } else { head.seq };
        let next = self.next.filter(|_| self.log.of_group || !new_harness);
        let expected = next.unwrap_or(first);
        if head.seq != expected {
            let (line, seq) = (self.line, head.seq);
            let what = format!("line {line} is event {seq}, expected {expected}");
            keep(&mut self.log.numbers, what);
        }
        self.next = Some(head.seq.saturating_add(1));
    }

    fn time(&mut self, head: &Head, new_harness: bool) {
        if let Some(last) = self.log.last {
            let step = head.at - last;
            // Another machine's clock may differ.
            if step < -CLOCK_STEP && !new_harness {
                let (line, back) = (self.line, -step.as_seconds_f64());
                let what = format!("line {line} is {back:.1} s earlier than the line before it");
                keep(&mut self.log.backwards, what);
            }
            if !self.running.is_empty() && !new_harness {
                self.log.silence_s = self.log.silence_s.max(step.as_seconds_f64());
            }
        }
        self.log.first.get_or_insert(head.at);
        self.log.last = Some(head.at);
    }

    fn event(&mut self, event: RunEvent) {
        let at = event.at;
        let ended = self.log.finished.take();
        match event.kind {
            EventKind::GroupStarted {
                group,
                agent,
                executor,
                sealed,
                program_sha256,
                stats,
                ..
            } => {
                self.running.clear();
                self.log.sessions.push(Session {
                    executor,
                    sealed,
                    program: program_sha256,
                    planned: stats.planned,
                    agent,
                    group,
                });
            }
            EventKind::Started { key, dir, try_number, timeout_s, .. } => {
                self.running.insert(key.clone());
                let told = self.attempts.entry(key).or_default();
                told.current = try_number;
                told.tries.entry(try_number).or_insert(Start { at, dir, timeout_s });
            }
            EventKind::Usage { key, llm: Some(llm), .. } => {
                let told = self.attempts.entry(key).or_default();
                let most = told.calls.entry(told.current).or_default();
                *most = (*most).max(llm.calls);
            }
            EventKind::Snapshot { key, after_s, bytes } => {
                let told = self.attempts.entry(key).or_default();
                told.snapshots.entry(told.current).or_default().push((after_s, bytes));
            }
            EventKind::TryFailed { key, try_number, outcome, .. } => {
                self.running.remove(&key);
                self.attempts.entry(key).or_default().failed.insert(try_number, outcome);
            }
            EventKind::Finished { key, outcome, grade, took_s, stats } => {
                self.running.remove(&key);
                let told = self.attempts.entry(key).or_default();
                told.ends.push(End { at, outcome, grade, took_s });
                self.count(&stats);
            }
            EventKind::GroupFinished { stats } => {
                self.count(&stats);
                self.log.finished = Some(stats);
            }
            // What comes behind the end without a new harness is no part of the run.
            _ if ended.is_some() => {
                let line = self.line;
                keep(&mut self.log.counts, format!("line {line} comes after the group's end"));
            }
            _ => {}
        }
    }

    /// Counts that an event carries against those of the harness's start.
    fn count(&mut self, stats: &RunStats) {
        let planned = self.log.sessions.last().map(|session| session.planned);
        if planned.is_some_and(|planned| planned != stats.planned) || stats.finished > stats.planned
        {
            let line = self.line;
            let what = Shown::message(&format!("line {line} counts {stats}"));
            keep(&mut self.log.counts, what.into_string());
        }
    }
}

/// Whether an event is the first one of a harness.
fn is_start(event: &RunEvent) -> bool {
    matches!(event.kind, EventKind::GroupStarted { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of four events, as a harness writes it.
    fn lines(head: &Chain) -> Vec<String> {
        let mut chain = head.clone();
        let key = r#"{"competition":"c","agent":"a","seed":0}"#;
        let stats = r#"{"planned":1,"running":0,"finished":0,"valid":0,"gold":0,"silver":0,"bronze":0,"infrastructure":0,"cancelled":0}"#;
        [
            format!(r#"{{"kind":"group_started","group":"g","agent":"a","executor":"process","sealed":false,"resumed":false,"stats":{stats}}}"#),
            format!(r#"{{"kind":"started","key":{key},"dir":"c_1","try_number":1,"timeout_s":5.0,"attached":false,"stats":{stats}}}"#),
            r#"{"kind":"of_a_later_version","x":1}"#.to_owned(),
            format!(r#"{{"kind":"group_finished","stats":{stats}}}"#),
        ]
        .iter()
        .enumerate()
        .map(|(seq, kind)| {
            let line = format!(r#"{{"seq":{seq},"at":"2026-01-01T00:00:{seq}0Z","event":{kind}}}"#);
            let mut line = line.into_bytes();
            chain.seal(&mut line);
            String::from_utf8(line).unwrap()
        })
        .collect()
    }

    fn read(text: &[String]) -> Told {
        let temp = tempfile::tempdir().unwrap();
        let (plan, path) = (temp.path().join("plan.json"), temp.path().join("events.jsonl"));
        std::fs::write(&plan, "{}").unwrap();
        std::fs::write(&path, text.join("\n")).unwrap();
        let head = Chain::of_plan(&plan).unwrap();
        let mut told = Told::default();
        told.read(&path, "log".to_owned(), true, &head, &BTreeSet::new()).unwrap();
        told
    }

    fn head() -> Chain {
        let temp = tempfile::tempdir().unwrap();
        let plan = temp.path().join("plan.json");
        std::fs::write(&plan, "{}").unwrap();
        Chain::of_plan(&plan).unwrap()
    }

    #[test]
    fn a_whole_log_has_no_findings_and_kinds_of_later_versions_are_passed_over() {
        let told = read(&lines(&head()));
        let log = &told.logs[0];
        assert_eq!((log.chained, log.unchained, log.torn), (4, 0, 0));
        assert!(log.breaks.is_empty() && log.numbers.is_empty() && log.backwards.is_empty());
        assert!(log.counts.is_empty() && log.finished.is_some() && log.sessions.len() == 1);
        let attempt = told.attempts.values().next().unwrap();
        assert_eq!(attempt.tries[&1].dir, "c_1");
    }

    #[test]
    fn lines_that_are_gone_moved_or_torn_are_told_apart() {
        let whole = lines(&head());
        let mut gone = whole.clone();
        gone.remove(1);
        let told = read(&gone);
        assert_eq!(told.logs[0].breaks, [2]);
        assert_eq!(told.logs[0].numbers.len(), 1, "{:?}", told.logs[0].numbers);
        let mut moved = whole.clone();
        moved.swap(1, 2);
        let told = read(&moved);
        assert!(!told.logs[0].breaks.is_empty() && !told.logs[0].backwards.is_empty());
        let mut torn = whole.clone();
        torn[3].truncate(30);
        let told = read(&torn);
        assert_eq!((told.logs[0].torn, told.logs[0].chained), (1, 3));
        assert!(told.logs[0].breaks.is_empty() && told.logs[0].finished.is_none());
    }
}
