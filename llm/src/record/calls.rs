//! `calls.jsonl`: the bill.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ledger::Amount;
use crate::money::Picodollars;
use crate::usage::{Buckets, UsageSource};

/// How a call ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider's answer was relayed to its end.
    Ok,
    /// The gateway refused the request for a rule or a mistake in it.
    RefusedPolicy,
    /// The budget did not allow it.
    RefusedBudget,
    /// The provider answered with an error, or not at all.
    UpstreamError,
    /// The client left before the end.
    #[default]
    ClientGone,
    /// The provider's answer broke off.
    Cut,
    /// Answered from a recording.
    ReplayHit,
    /// The recording had no answer.
    ReplayMiss,
    /// The harness was killed while the call was under way.
    HarnessLost,
}

/// One call, as a line of `calls.jsonl`; names with dots are OpenTelemetry's for generative models.
///
/// A later line with the same `id` replaces an earlier one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallRecord {
    /// The call's number within the attempt.
    pub id: u64,
    /// When the request had arrived.
    pub at: DateTime<Utc>,
    /// `chat`, `embeddings`, …
    #[serde(rename = "gen_ai.operation.name")]
    pub operation: String,
    /// The upstream's name.
    #[serde(rename = "gen_ai.provider.name")]
    pub provider: String,
    /// The model asked for.
    #[serde(rename = "gen_ai.request.model")]
    pub request_model: String,
    /// The model that answered.
    #[serde(rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    /// The provider's name of the answer.
    #[serde(rename = "gen_ai.response.id", skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why the answer ended, for each choice.
    #[serde(rename = "gen_ai.response.finish_reasons", skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// The longest answer that the client asked for, in tokens.
    #[serde(rename = "gen_ai.request.max_tokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Whether the answer comes in pieces.
    #[serde(rename = "gen_ai.request.stream")]
    pub stream: bool,
    /// All tokens read, cached ones too.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub input_tokens: u64,
    /// All tokens written.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub output_tokens: u64,
    /// What kind of error: the HTTP status, or a word.
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The agent's name for the part of it that called; the model if it gave none.
    pub role: String,
    /// The route: `POST /chat/completions`.
    pub route: String,
    /// The HTTP status that the client got.
    pub status: u16,
    /// How often the call was sent to the provider.
    pub tries: u32,
    /// The recorded call whose answer this one got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_call: Option<u64>,
    /// The client's own count of its retries, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_retry: Option<u32>,
    /// From the request's last byte to the answer's first event, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event_ms: Option<f64>,
    /// From the request's last byte to the first piece of content, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// From the request's last byte to the end, in milliseconds.
    pub duration_ms: f64,
    /// How much of it the provider took.
    pub upstream_ms: f64,
    /// How much of it the call waited for an overloaded provider.
    pub held_ms: f64,
    /// How much of it the call waited for the budget.
    pub budget_wait_ms: f64,
    /// Tokens by kind.
    pub tokens: Buckets,
    /// How they are known.
    pub usage: UsageSource,
    /// The price in 10⁻¹² dollars; none if the model's price is unknown.
    pub picodollars: Option<u64>,
    /// The price in dollars.
    pub usd: Option<f64>,
    /// Which row of which table the price is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// The service tier that the answer names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// What the provider says the call cost, in its own units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_cost: Option<f64>,
    /// How the call ended.
    pub outcome: Outcome,
    /// What the rules took out of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stripped: Vec<String>,
    /// Why the gateway refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Of refused calls beyond the first 10,000, one line stands for so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<u64>,
    /// The length that the budget cut the answer to, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_to: Option<u64>,
    /// The request's plain size.
    pub request_bytes: u64,
    /// The answer's size.
    pub response_bytes: u64,
    /// The client's `user-agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl CallRecord {
    /// Whether the gateway itself refused the call, which therefore cost nothing.
    pub(crate) fn is_refused(&self) -> bool {
        self.tries == 0 && self.replayed_call.is_none()
    }

    /// How many calls the line is about.
    pub(crate) fn times(&self) -> u64 {
        self.stands_for.unwrap_or(1)
    }

    /// What the call takes off a budget.
    pub fn amount(&self) -> Amount {
        Amount {
            money: Picodollars(self.picodollars.unwrap_or(0)),
            tokens: if self.outcome == Outcome::ReplayHit { 0 } else { self.tokens.total() },
            calls: u64::from(self.tries > 0),
        }
    }
}

/// A call that was sent, as a line of `in_flight.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lost {
    pub(crate) id: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) operation: String,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) role: String,
    pub(crate) route: String,
    /// What it was expected to need.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) picodollars: Option<u64>,
}

impl Lost {
    fn record(self) -> CallRecord {
        CallRecord {
            id: self.id,
            at: self.at,
            operation: self.operation,
            provider: self.provider,
            request_model: self.model,
            role: self.role,
            route: self.route,
            tries: 1,
            input_tokens: self.input,
            output_tokens: self.output,
            tokens: Buckets { input: self.input, output: self.output, ..Buckets::default() },
            usage: UsageSource::Estimated,
            picodollars: self.picodollars,
            usd: self.picodollars.map(|p| Picodollars(p).dollars()),
            outcome: Outcome::HarnessLost,
            error: Some("harness_lost".to_owned()),
            ..CallRecord::default()
        }
    }
}

/// The open files of an attempt's bill.
#[derive(Debug)]
pub(crate) struct CallLog {
    files: Mutex<(File, File)>,
}

impl CallLog {
    /// Opens the bill in `dir` and gives the calls it holds already, the latest line of each.
    ///
    /// Calls that were under way when the harness was killed are booked as lost.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Vec<CallRecord>)> {
        std::fs::create_dir_all(dir)?;
        let mut calls = append(&dir.join("calls.jsonl"))?;
        let mut records = read_calls(dir)?;
        for record in read_lost(dir, &records)? {
            write_line(&mut calls, &record)?;
            records.push(record);
        }
        calls.sync_data()?;
        // Everything in it is booked now.
        let path = dir.join("in_flight.jsonl");
        let in_flight = File::options().create(true).write(true).truncate(true).open(&path)?;
        drop(in_flight);
        let log = Self { files: Mutex::new((calls, append(&path)?)) };
        Ok((log, records))
    }

    /// Writes a call's line; it is in the system's hands when this returns, so that a killed
    /// harness cannot lose it, and on disk if `sync` says so.
    pub(crate) fn book(&self, record: &CallRecord, sync: bool) -> io::Result<()> {
        let mut files = self.files.lock().expect("no code panics while it writes a line");
        write_line(&mut files.0, record)?;
        if sync { files.0.sync_data() } else { Ok(()) }
    }

    pub(crate) fn note_sent(&self, lost: &Lost, sync: bool) -> io::Result<()> {
        let mut files = self.files.lock().expect("no code panics while it writes a line");
        write_line(&mut files.1, lost)?;
        if sync { files.1.sync_data() } else { Ok(()) }
    }

    /// Makes the bill safe against a loss of power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.files.lock().expect("no code panics while it writes a line").0.sync_data()
    }
}

fn write_line(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)
}

/// Opens a file of lines for appending; a line that a kill cut short is ended first.
pub(super) fn append(path: &Path) -> io::Result<File> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The lines that can be read; one that a kill cut short cannot.
fn read_lines<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        if let Ok(value) = serde_json::from_slice(&line?) {
            values.push(value);
        }
    }
    Ok(values)
}

/// Reads an attempt's calls from its `llm` folder, the latest line of each, in the order of `id`.
///
/// # Errors
/// The file cannot be read; that it is missing means no calls.
pub fn read_calls(dir: &Path) -> io::Result<Vec<CallRecord>> {
    let path = dir.join("calls.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let lines: Vec<CallRecord> = read_lines(&path)?;
    let latest: BTreeMap<u64, CallRecord> =
        lines.into_iter().map(|record| (record.id, record)).collect();
    Ok(latest.into_values().collect())
}

/// Calls that were under way when their harness was killed, as they will be booked.
fn read_lost(dir: &Path, booked: &[CallRecord]) -> io::Result<Vec<CallRecord>> {
    let path = dir.join("in_flight.jsonl");
    let sent: Vec<Lost> = if path.exists() { read_lines(&path)? } else { Vec::new() };
    let booked: HashSet<_> = booked.iter().map(|record| record.id).collect();
    let lost = sent.into_iter().filter(|lost| !booked.contains(&lost.id));
    Ok(lost.map(Lost::record).collect())
}

/// What the calls in an `llm` folder take off a budget, those that were lost among them.
pub(crate) fn read_bill(dir: &Path) -> io::Result<Amount> {
    let mut calls = read_calls(dir)?;
    calls.extend(read_lost(dir, &calls)?);
    Ok(Amount::of(&calls))
}

/// Sums of calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Calls that reached a provider.
    pub calls: u64,
    /// Times that calls were sent again by the gateway.
    pub retries: u64,
    /// Tokens by kind.
    pub tokens: Buckets,
    /// The price in 10⁻¹² dollars of the calls whose price is known.
    pub picodollars: u64,
    /// Calls whose price is not known; the dollars are too low if there are any.
    pub unpriced_calls: u64,
    /// Calls whose tokens the provider did not report to the end.
    pub estimated_calls: u64,
    /// Calls answered from a recording, and their tokens.
    pub replayed_calls: u64,
    /// Tokens of calls answered from a recording.
    pub replayed_tokens: u64,
}

impl Totals {
    fn add(&mut self, call: &CallRecord) {
        if call.outcome == Outcome::ReplayHit {
            self.replayed_calls += 1;
            self.replayed_tokens = self.replayed_tokens.saturating_add(call.tokens.total());
            return;
        }
        if call.tries == 0 {
            return;
        }
        self.calls += 1;
        self.retries += u64::from(call.tries - 1);
        self.tokens.add(&call.tokens);
        match call.picodollars {
            Some(price) => self.picodollars = self.picodollars.saturating_add(price),
            None => self.unpriced_calls += 1,
        }
        self.estimated_calls +=
            u64::from(matches!(call.usage, UsageSource::Estimated | UsageSource::Partial));
    }
}

/// What an attempt's record and the report say of its calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// All calls.
    pub totals: Totals,
    /// By the model asked for.
    pub models: BTreeMap<String, Totals>,
    /// By the agent's own names for its parts.
    pub roles: BTreeMap<String, Totals>,
    /// Calls that did not end well, by kind of error.
    pub errors: BTreeMap<String, u64>,
    /// Requests that the rules refused, and tools that they took out, by kind.
    pub policy: BTreeMap<String, u64>,
    /// How calls ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of the calls with content, half had their first piece after so many milliseconds.
    pub ttft_p50_ms: Option<f64>,
    /// 95 of 100 had it after so many.
    pub ttft_p95_ms: Option<f64>,
    /// The sum of all calls' durations in seconds, time held aside.
    pub llm_time_s: f64,
}

impl Summary {
    /// Sums up calls.
    pub fn of(calls: &[CallRecord]) -> Self {
        let mut summary = Self::default();
        let mut ttft: Vec<f64> = calls.iter().filter_map(|c| c.ttft_ms).collect();
        ttft.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let index = (share * ttft.len() as f64).ceil() as usize;
            ttft.get(index.max(1) - 1).copied()
        };
        (summary.ttft_p50_ms, summary.ttft_p95_ms) = (quantile(0.5), quantile(0.95));
        for call in calls {
            summary.totals.add(call);
            summary.models.entry(call.request_model.clone()).or_default().add(call);
            summary.roles.entry(call.role.clone()).or_default().add(call);
            let count = |sum: &mut u64| *sum = sum.saturating_add(call.times());
            count(summary.outcomes.entry(call.outcome).or_default());
            if let Some(error) = &call.error {
                count(summary.errors.entry(error.clone()).or_default());
            }
            for kind in call.stripped.iter().chain(&call.refused) {
                count(summary.policy.entry(kind.clone()).or_default());
            }
            summary.llm_time_s +=
                (call.duration_ms - call.held_ms - call.budget_wait_ms).max(0.0) / 1e3;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, input: u64) -> CallRecord {
        let tokens = Buckets { input, ..Buckets::default() };
        CallRecord {
            id,
            tokens,
            tries: 1,
            picodollars: Some(input),
            outcome: Outcome::Ok,
            ..CallRecord::default()
        }
    }

    #[test]
    fn later_lines_win_torn_lines_are_skipped_and_lost_calls_are_booked() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, none) = CallLog::open(dir.path()).expect("opens");
        assert!(none.is_empty());
        for (id, input) in [(1, 5), (2, 7), (1, 6)] {
            log.book(&record(id, input), false).expect("writes");
        }
        for id in [2, 3] {
            let lost = Lost {
                id,
                at: Utc::now(),
                operation: "chat".into(),
                provider: "p".into(),
                model: "m".into(),
                role: "m".into(),
                route: "r".into(),
                input: 100,
                output: 11,
                picodollars: Some(9),
            };
            log.note_sent(&lost, true).expect("writes");
        }
        drop(log);
        let path = dir.path().join("calls.jsonl");
        let mut text = std::fs::read(&path).expect("reads");
        text.extend(b"{\"id\":4,\"tok");
        std::fs::write(&path, text).expect("writes");
        for _ in 0..2 {
            let (log, calls) = CallLog::open(dir.path()).expect("opens");
            let seen: Vec<_> =
                calls.iter().map(|c| (c.id, c.tokens.total(), c.picodollars)).collect();
            assert_eq!(seen, [(1, 6, Some(6)), (2, 7, Some(7)), (3, 111, Some(9))]);
            drop(log);
        }
    }

    #[test]
    fn a_summary_keeps_models_roles_and_replays_apart() {
        let mut calls = vec![record(1, 10), record(2, 20), record(3, 40), record(4, 80)];
        calls[1].request_model = "big".into();
        calls[1].picodollars = None;
        calls[2].outcome = Outcome::ReplayHit;
        calls[3].tries = 0;
        calls[3].refused = Some("budget".into());
        let summary = Summary::of(&calls);
        assert_eq!((summary.totals.calls, summary.totals.tokens.input), (2, 30));
        assert_eq!((summary.totals.picodollars, summary.totals.unpriced_calls), (10, 1));
        assert_eq!((summary.totals.replayed_calls, summary.totals.replayed_tokens), (1, 40));
        assert_eq!(summary.models["big"].tokens.input, 20);
        assert_eq!(summary.policy["budget"], 1);
    }
}
