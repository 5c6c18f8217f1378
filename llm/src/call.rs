//! One call: its record, its reservation and its bill, which it cannot leave without paying.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::Sleep;

use crate::attempt::AttemptContext;
use crate::clean::{BodyError, Clean, Cut};
use crate::dialect::{Dialect, Refusal};
use crate::events::Event;
use crate::ledger::{Amount, Reservation};
use crate::meter::Meter;
use crate::money::Picodollars;
use crate::prices::Price;
use crate::record::{Answer, CallRecord, Capture, Job, Lost, Outcome};
use crate::usage::{Buckets, UsageSource};

/// The most characters of a reason that a call's line keeps.
const REASON: usize = 500;
/// How long the rest of an answer is read that its client has left.
const DRAIN: Duration = Duration::from_secs(10);

/// What a call costs by the tier it was served with.
pub(crate) type Pricing = Box<dyn Fn(Option<&str>) -> Option<Price> + Send + Sync>;

/// A call under way. However it ends, its line is written and its reservation settled.
pub(crate) struct Call {
    pub(crate) attempt: Arc<AttemptContext>,
    pub(crate) record: CallRecord,
    /// When the request's last byte had come.
    pub(crate) arrived: Instant,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) meter: Option<Meter>,
    pub(crate) pricing: Option<Pricing>,
    /// The estimate of the tokens that go in.
    pub(crate) input: u64,
    /// Whether the provider charges nothing for such calls.
    pub(crate) free: bool,
    pub(crate) sent_at: Option<Instant>,
    /// Whether the provider may have worked for nothing that came back.
    pub(crate) may_cost: bool,
    pub(crate) recording: Option<Box<Job>>,
    booked: Option<(Buckets, Outcome)>,
}

impl Call {
    pub(crate) fn new(attempt: Arc<AttemptContext>) -> Self {
        let record = CallRecord { id: attempt.next_id(), at: Utc::now(), ..CallRecord::default() };
        Self {
            attempt,
            record,
            arrived: Instant::now(),
            reservation: None,
            meter: None,
            pricing: None,
            input: 0,
            free: false,
            sent_at: None,
            may_cost: false,
            recording: None,
            booked: None,
        }
    }

    /// The call is about to leave: from now on it counts.
    pub(crate) fn mark_sent(&mut self) {
        self.sent_at.get_or_insert_with(Instant::now);
        self.may_cost = true;
        let Some(reservation) = &mut self.reservation else { return };
        reservation.mark_sent();
        let amount = reservation.amount();
        let record = &self.record;
        let priced = self.free || self.pricing.as_ref().is_some_and(|p| p(None).is_some());
        self.attempt.note_sent(&Lost {
            id: record.id,
            at: record.at,
            operation: record.operation.clone(),
            provider: record.provider.clone(),
            model: record.request_model.clone(),
            role: record.role.clone(),
            route: record.route.clone(),
            input: self.input.min(amount.tokens),
            output: amount.tokens.saturating_sub(self.input),
            picodollars: priced.then_some(amount.money.0),
        });
    }

    /// Ends the call with an answer of the gateway's own.
    pub(crate) fn refuse(&mut self, refusal: Refusal, message: &str) {
        self.record.status = refusal.status();
        self.record.error = Some(refusal.status().to_string());
        let outcome = match refusal {
            Refusal::Budget => Outcome::RefusedBudget,
            Refusal::ReplayMiss => Outcome::ReplayMiss,
            Refusal::BadGateway | Refusal::Unavailable => Outcome::UpstreamError,
            _ => {
                self.record.refused = Some(message.chars().take(REASON).collect());
                Outcome::RefusedPolicy
            }
        };
        self.book(outcome);
    }

    /// The tokens and how they are known.
    fn usage(&self, outcome: Outcome) -> (Buckets, UsageSource) {
        let (tokens, source) = match &self.meter {
            Some(meter) => meter.usage(self.input),
            None => (Buckets::default(), UsageSource::None),
        };
        let unknown = source == UsageSource::None && !self.free && self.may_cost;
        let broken = matches!(outcome, Outcome::ClientGone | Outcome::Cut | Outcome::UpstreamError);
        if let (true, true, Some(reservation)) = (unknown, broken, &self.reservation) {
            // Nobody will ever say what this cost: what was expected of it stands.
            let total = reservation.amount().tokens;
            let input = self.input.min(total);
            return (
                Buckets { input, output: total - input, ..Buckets::default() },
                UsageSource::Estimated,
            );
        }
        if unknown && outcome == Outcome::Ok {
            return (Buckets { input: self.input, ..Buckets::default() }, UsageSource::Estimated);
        }
        (tokens, source)
    }

    /// Settles the call and writes its line; a second time only if something has changed.
    pub(crate) fn book(&mut self, outcome: Outcome) {
        let outcome = match &self.meter {
            Some(meter) if meter.error.is_some() && outcome == Outcome::Ok => {
                Outcome::UpstreamError
            }
            _ => outcome,
        };
        let (tokens, usage) = self.usage(outcome);
        if self.booked == Some((tokens, outcome)) {
            return;
        }
        self.booked = Some((tokens, outcome));
        let tier = self.meter.as_ref().and_then(|m| m.tier().map(str::to_owned));
        let price = self.pricing.as_ref().and_then(|pricing| pricing(tier.as_deref()));
        let sent = self.record.tries > 0;
        let costs = usage != UsageSource::None && !self.free;
        let cost = match (&price, costs) {
            (_, false) => Some(Picodollars::default()),
            (Some(price), true) => Some(price.cost(&tokens)),
            (None, true) => None,
        };
        if let Some(reservation) = &mut self.reservation {
            let counted = if self.free { 0 } else { tokens.total() };
            let amount =
                Amount { money: cost.unwrap_or_default(), tokens: counted, calls: u64::from(sent) };
            reservation.settle(amount, tokens.all_output());
        }
        let record = &mut self.record;
        let elapsed = milliseconds(self.arrived.elapsed());
        record.outcome = outcome;
        record.tokens = tokens;
        record.input_tokens = tokens.all_input();
        record.output_tokens = tokens.all_output();
        record.usage = usage;
        record.picodollars = cost.map(|c| c.0);
        record.usd = cost.map(Picodollars::dollars);
        record.price = price.filter(|_| costs).map(|p| p.row);
        record.tier = tier;
        record.duration_ms = elapsed;
        record.upstream_ms =
            self.sent_at.map_or(0.0, |at| milliseconds(at.elapsed())) - record.held_ms.min(elapsed);
        record.upstream_ms = record.upstream_ms.max(0.0);
        if let Some(meter) = &self.meter {
            record.response_model.clone_from(&meter.response_model);
            record.response_id.clone_from(&meter.response_id);
            record.finish_reasons.clone_from(&meter.finish_reasons);
            record.stated_cost = meter.stated_cost();
            if let Some(error) = &meter.error {
                record.error = Some(error.clone());
            }
        }
        match outcome {
            Outcome::Cut => record.error = Some("cut".to_owned()),
            Outcome::ClientGone => record.error = Some("client_gone".to_owned()),
            _ => {}
        }
        self.attempt.book(record);
    }

    pub(crate) fn is_booked(&self) -> bool {
        self.booked.is_some()
    }

    /// Notes bytes that go to the client.
    fn passed(&mut self, piece: &Bytes) {
        self.record.response_bytes += piece.len() as u64;
        if let Some(job) = &mut self.recording
            && let Err(error) = job.answer.body.push(piece)
        {
            self.attempt.record_failed(&format!(
                "cannot keep the answer to call {}: {error}",
                self.record.id
            ));
            self.recording = None;
        }
        let elapsed = milliseconds(self.arrived.elapsed());
        self.record.first_event_ms.get_or_insert(elapsed);
        if self.meter.as_ref().is_some_and(|m| m.content_seen) {
            self.record.ttft_ms.get_or_insert(elapsed);
        }
    }

    /// Keeps an answer that is not relayed piece by piece.
    pub(crate) fn keep_whole(&mut self, body: &Bytes) {
        self.passed(body);
        self.hand_over(true);
    }

    fn hand_over(&mut self, whole: bool) {
        if let Some(mut job) = self.recording.take() {
            job.answer.whole = whole;
            self.attempt.recorder().send(*job);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.booked.is_none() {
            self.book(Outcome::ClientGone);
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What is needed to write a call down for a replay.
pub(crate) fn new_job(
    call: &Call,
    dialect: Dialect,
    headers: Vec<(String, String)>,
    (key, canonical): (String, Value),
    request: Value,
) -> Job {
    Job {
        id: call.record.id,
        at: call.record.at,
        dialect,
        role: call.record.role.clone(),
        model: call.record.request_model.clone(),
        route: call.record.route.clone(),
        headers,
        key,
        canonical,
        request,
        answer: Answer { status: 0, headers: Vec::new(), body: Capture::new(), whole: false },
    }
}

/// A provider's answer on its way to the client.
pub(crate) struct Relay {
    pub(crate) source: Clean,
    pub(crate) call: Call,
    pub(crate) upstream: String,
    /// Whether the answer is a stream of events.
    pub(crate) events: bool,
    pub(crate) done: bool,
    /// The client has left, and the rest is read for its usage alone.
    pub(crate) gone: bool,
}

impl Relay {
    /// Reads the rest of an answer that its client has left, for what it says of its cost.
    ///
    /// An answer that is no stream has been paid for when its first byte comes.
    async fn drain(mut self: Box<Self>) {
        self.gone = true;
        let rest = async { while let Some(Ok(_)) = self.frame().await {} };
        // What has not come by then is estimated.
        let _ = tokio::time::timeout(DRAIN, rest).await;
    }

    fn meter(&mut self) -> &mut Meter {
        self.call.meter.as_mut().expect("a relayed call has a meter")
    }

    fn fail(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if matches!(cut, Cut::Secret) {
            let (upstream, attempt) = (self.upstream.clone(), self.call.attempt.id().to_owned());
            self.call.attempt.events().send(Event::KeyInAnswer { upstream, attempt });
        }
        self.done = true;
        self.call.book(Outcome::Cut);
        self.call.hand_over(false);
        Poll::Ready(Some(Err(cut.into())))
    }

    /// The provider's side is at its end: what was held back, the bill, and only then our end.
    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let held = self.source.rest();
        let mut last = self.meter().next(held).to_vec();
        last.extend_from_slice(&self.meter().rest());
        if !self.meter().close() {
            return self.fail(Cut::Short);
        }
        self.done = true;
        let last = Bytes::from(last);
        if !last.is_empty() {
            self.call.passed(&last);
        }
        self.call.book(if self.gone { Outcome::ClientGone } else { Outcome::Ok });
        self.call.hand_over(true);
        Poll::Ready((!last.is_empty()).then(|| Ok(Frame::data(last))))
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            let piece = match ready!(this.source.poll_piece(cx)) {
                Some(Ok(piece)) => piece,
                // After the answer's own end the connection may end as it likes.
                Some(Err(Cut::Broken(_))) if this.meter().ended => return this.finish(),
                Some(Err(cut)) => return this.fail(cut),
                None => return this.finish(),
            };
            let out = this.meter().next(piece);
            if !out.is_empty() {
                this.call.passed(&out);
            }
            // The bill is written before the client can see the answer's end.
            if this.meter().ended && !this.call.is_booked() {
                this.call.book(Outcome::Ok);
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out))));
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.done {
            let ended = self.meter().ended;
            // A client that has read the last event may leave before the body's end.
            self.call.book(if ended { Outcome::Ok } else { Outcome::ClientGone });
            self.call.hand_over(ended);
        }
    }
}

/// A recorded answer on its way to the client.
pub(crate) struct Replayed {
    body: Bytes,
    chunks: std::vec::IntoIter<(Duration, usize)>,
    wait: Option<Pin<Box<Sleep>>>,
    next: Option<usize>,
    pace: bool,
    whole: bool,
    _call: Call,
}

impl Replayed {
    pub(crate) fn new(
        body: Bytes,
        chunks: Vec<(Duration, usize)>,
        pace: bool,
        whole: bool,
        call: Call,
    ) -> Self {
        Self { body, chunks: chunks.into_iter(), wait: None, next: None, pace, whole, _call: call }
    }
}

impl Body for Replayed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(wait) = &mut this.wait {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.wait = None;
            }
            if let Some(length) = this.next.take() {
                let piece = this.body.split_to(length.min(this.body.len()));
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match this.chunks.next() {
                Some((wait, length)) => {
                    this.next = Some(length);
                    this.wait = this.pace.then(|| Box::pin(tokio::time::sleep(wait)));
                }
                None if this.whole => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err("the recorded answer broke off here".into()))),
            }
        }
    }
}

/// The body of any answer.
pub(crate) enum AnswerBody {
    Full(Option<Bytes>),
    /// Always there; an option so that what a client leaves can be taken out.
    Relay(Option<Box<Relay>>),
    Replayed(Box<Replayed>),
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let Self::Relay(relay) = self else { return };
        let unread = relay.take_if(|relay| !relay.done && !relay.events);
        if let (Some(relay), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(relay.drain());
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(body) => {
                Poll::Ready(body.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Relay(Some(relay)) => Pin::new(relay).poll_frame(cx),
            Self::Relay(None) => Poll::Ready(None),
            Self::Replayed(replayed) => Pin::new(replayed).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(body) if body.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}
