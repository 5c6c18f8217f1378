//! One attempt as the gateway sees it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;

use crate::config::{Limits, Record};
use crate::events::{Event, EventSink};
use crate::ledger::{Amount, Balance, Ledger};
use crate::outage::HoldClock;
use crate::record::{CallLog, CallRecord, Lost, Outcome, Recorder, Replay, Summary, read_calls};
use crate::tls::AttemptTls;

/// Connections that one attempt may have open at the same time.
const CONNECTIONS: usize = 1024;
/// Names of answers that are remembered, for requests that go on from them.
const REMEMBERED: usize = 100_000;

/// Refused calls that have a line each; beyond them one line stands for so many. They cost nothing,
/// and an agent can make any number.
const REFUSALS: u64 = 10_000;

/// What an attempt is opened with.
#[derive(Debug)]
pub struct AttemptSpec {
    /// The attempt's name: unique within the run group, and the same when a run is resumed.
    pub id: String,
    /// Its folder for records; an earlier harness's records in it are gone on with.
    pub dir: PathBuf,
    /// Its limits; those of the settings if none.
    pub limits: Option<Limits>,
    /// When it must have ended, for the certificate.
    pub until: DateTime<Utc>,
    /// The recording to answer from, in place of providers.
    pub replay: Option<Replay>,
}

/// One attempt: its bill, its budget, its recording, its certificate.
pub struct AttemptContext {
    id: String,
    dir: PathBuf,
    ledger: Arc<Ledger>,
    log: CallLog,
    recorder: Recorder,
    pub(crate) replay: Option<Replay>,
    pub(crate) holds: Arc<HoldClock>,
    next_id: AtomicU64,
    refusals: AtomicU64,
    responses: Mutex<HashSet<String>>,
    /// When the calls began to fail for an overloaded provider, and when the latest did.
    trouble: Mutex<Option<(Instant, Instant)>>,
    connections: AtomicUsize,
    tls: Option<AttemptTls>,
    handshakes: Mutex<BTreeMap<String, u64>>,
    events: EventSink,
}

impl std::fmt::Debug for AttemptContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttemptContext").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AttemptContext {
    pub(crate) fn open(
        mut spec: AttemptSpec,
        ledger: Arc<Ledger>,
        limits: Limits,
        record: Record,
        tls: Option<AttemptTls>,
        events: EventSink,
    ) -> std::io::Result<Arc<Self>> {
        let (log, calls) = CallLog::open(&spec.dir)?;
        let spent = Amount::of(&calls);
        if let Some(replay) = &mut spec.replay {
            replay.go_on_after(calls.iter().filter_map(|call| call.replayed_call));
        }
        ledger.open(&spec.id, spec.limits.unwrap_or(limits), spent);
        let holds = Arc::new(HoldClock::default());
        holds.restore(read_hold(&spec.dir));
        Ok(Arc::new(Self {
            recorder: Recorder::open(&spec.dir, record, &spec.id, events.clone())?,
            next_id: AtomicU64::new(calls.iter().map(|c| c.id + 1).max().unwrap_or(1)),
            refusals: AtomicU64::new(
                calls.iter().filter(|c| c.is_refused()).map(CallRecord::times).sum(),
            ),
            responses: Mutex::new(calls.iter().filter_map(|c| c.response_id.clone()).collect()),
            id: spec.id,
            dir: spec.dir,
            ledger,
            log,
            replay: spec.replay,
            holds,
            trouble: Mutex::default(),
            connections: AtomicUsize::new(0),
            tls,
            handshakes: Mutex::default(),
            events,
        }))
    }

    /// The attempt's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The certificate for providers' own names; none if no upstream has any.
    pub fn tls(&self) -> Option<&AttemptTls> {
        self.tls.as_ref()
    }

    /// How long the attempt has waited for overloaded providers: what a clock that pauses on
    /// outages adds to its deadline. Waits at the same time count once.
    pub fn held(&self) -> Duration {
        self.holds.total()
    }

    /// For how long the attempt's calls have only waited and failed, as far as it has tried.
    pub fn stuck_for(&self) -> Duration {
        let waiting = self.holds.waiting_since();
        let trouble = *self.trouble.lock().expect("no code panics while it notes trouble");
        match (trouble, waiting) {
            (Some((from, _)), Some(_)) => from.elapsed(),
            (Some((from, last)), None) => last - from,
            (None, Some(since)) => since.elapsed(),
            (None, None) => Duration::ZERO,
        }
    }

    /// Waits until no call is under way, at most for `patience`: a call whose client has gone is
    /// followed for a while, for the sake of its price.
    pub async fn settled(&self, patience: Duration) {
        let give_up = Instant::now() + patience;
        while self.ledger.balances(&self.id).0.reserved.calls > 0 && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The attempt's balance, and the group's.
    pub fn balances(&self) -> (Balance, Balance) {
        self.ledger.balances(&self.id)
    }

    /// The sums of all calls so far.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn summary(&self) -> std::io::Result<Summary> {
        Ok(Summary::of(&read_calls(&self.dir)?))
    }

    /// Makes the record safe against a loss of power. The recording is whole once the last
    /// reference to this value is gone.
    ///
    /// # Errors
    /// The disk says so.
    pub fn close(&self) -> std::io::Result<()> {
        self.note_hold();
        AttemptTls::forget(&self.dir)?;
        self.log.sync()?;
        self.ledger.close(&self.id)
    }

    pub(crate) fn events(&self) -> &EventSink {
        &self.events
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn book(&self, record: &mut CallRecord) {
        if record.is_refused() {
            let count = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
            if count > REFUSALS {
                if !count.is_multiple_of(REFUSALS) {
                    return;
                }
                record.stands_for = Some(REFUSALS);
            }
        }
        if let Some(id) = &record.response_id {
            let mut responses =
                self.responses.lock().expect("no code panics while it holds the names");
            if responses.len() < REMEMBERED {
                responses.insert(id.clone());
            }
        }
        if let Err(error) = self.log.book(record, self.ledger.is_shared()) {
            self.record_failed(&format!("cannot write call {}: {error}", record.id));
        }
        if record.held_ms > 0.0 {
            self.note_hold();
        }
        self.note_trouble(record);
    }

    fn note_trouble(&self, record: &CallRecord) {
        let mut trouble = self.trouble.lock().expect("no code panics while it notes trouble");
        match record.outcome {
            Outcome::Ok => *trouble = None,
            Outcome::UpstreamError if record.status == 503 => {
                let now = Instant::now();
                let took = Duration::from_secs_f64(record.duration_ms.max(0.0) / 1e3);
                let began = now.checked_sub(took).unwrap_or(now);
                *trouble = Some((trouble.map_or(began, |(from, _)| from), now));
            }
            _ => {}
        }
    }

    pub(crate) fn note_sent(&self, lost: &Lost) {
        if let Err(error) = self.log.note_sent(lost, self.ledger.is_shared()) {
            self.record_failed(&format!("cannot write call {}: {error}", lost.id));
        }
    }

    pub(crate) fn record_failed(&self, message: &str) {
        self.events
            .send(Event::RecordFailed { attempt: self.id.clone(), message: message.to_owned() });
    }

    /// Whether an answer of this name came from this attempt's own calls.
    pub(crate) fn knows_response(&self, id: &str) -> bool {
        self.responses.lock().expect("no code panics while it holds the names").contains(id)
    }

    /// Counts a connection; none if there are too many.
    pub(crate) fn connect(self: &Arc<Self>) -> Option<Connected> {
        let open = self.connections.fetch_add(1, Ordering::Relaxed);
        let connected = Connected(Arc::clone(self));
        (open < CONNECTIONS).then_some(connected)
    }

    /// Writes down a handshake: each failure, and the first success of each name.
    pub(crate) fn note_handshake(&self, host: &str, failure: Option<&str>) {
        let count = {
            let mut handshakes = self.handshakes.lock().expect("no code panics while it counts");
            let key = format!("{host} {}", failure.unwrap_or("ok"));
            // Names come from the agent: more of them than any attempt needs are not kept.
            if handshakes.len() >= 1000 && !handshakes.contains_key(&key) {
                return;
            }
            let count = handshakes.entry(key).or_default();
            *count += 1;
            *count
        };
        // The first of each kind and then fewer and fewer: a client that retries for a day is no
        // news.
        if !count.is_power_of_two() || (failure.is_none() && count > 1) {
            return;
        }
        let line = json!({"at": Utc::now(), "host": host, "outcome": failure.unwrap_or("ok"), "count": count});
        self.append("handshakes.jsonl", &line.to_string());
        if let (Some(reason), 1) = (failure, count) {
            let (attempt, host, reason) = (self.id.clone(), host.to_owned(), reason.to_owned());
            self.events.send(Event::HandshakeRefused { attempt, host, reason });
        }
    }

    fn note_hold(&self) {
        let line = json!({"at": Utc::now(), "held_s": self.held().as_secs_f64()});
        self.append("held.jsonl", &line.to_string());
    }

    fn append(&self, name: &str, line: &str) {
        let path = self.dir.join(name);
        let file = File::options().create(true).append(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        {
            self.record_failed(&format!("cannot write `{}`: {error}", path.display()));
        }
    }
}

/// The time that earlier harnesses held the attempt.
fn read_hold(dir: &Path) -> Duration {
    let text = std::fs::read_to_string(dir.join("held.jsonl")).unwrap_or_default();
    let values =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let last = values.filter_map(|v| v.get("held_s")?.as_f64()).next_back();
    Duration::try_from_secs_f64(last.unwrap_or(0.0)).unwrap_or_default()
}

/// A connection that counts until it is dropped.
pub(crate) struct Connected(Arc<AttemptContext>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
