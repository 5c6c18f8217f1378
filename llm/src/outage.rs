//! Overload and refusals of providers: who waits, for how long, and who is told.
//!
//! All attempts share one gate for each model of a provider, so that they do not all run into the
//! same refusal, and one for each provider's key, which closes when the provider wants money.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::events::{Event, EventSink};

/// No success for so long, with at least one refusal, is an outage.
const OUTAGE: Duration = Duration::from_secs(60);
/// How often one call asks whether a provider that wanted money takes calls again.
const MONEY_PROBE: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The gates of all providers and models.
#[derive(Debug)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<(String, Option<String>), Arc<Gate>>>,
    events: EventSink,
}

impl Gates {
    pub(crate) fn new(events: EventSink) -> Self {
        Self { gates: Mutex::default(), events }
    }

    /// The gate of a model, or of a provider's key.
    pub(crate) fn gate(&self, upstream: &str, model: Option<&str>) -> Arc<Gate> {
        let key = (upstream.to_owned(), model.map(str::to_owned));
        let mut gates = self.gates.lock().expect("no code panics while it holds the gates");
        let new = || Arc::new(Gate::new(key.clone(), self.events.clone()));
        Arc::clone(gates.entry(key.clone()).or_insert_with(new))
    }
}

/// A gate that calls pass one after another while their provider is in trouble.
#[derive(Debug)]
pub(crate) struct Gate {
    upstream: String,
    model: Option<String>,
    state: Mutex<State>,
    changed: Notify,
    events: EventSink,
}

#[derive(Debug)]
struct State {
    closed_until: Option<Instant>,
    failures: u32,
    /// How many calls may wait for the head of their answer at the same time.
    window: usize,
    inside: usize,
    first_failure: Option<(Instant, DateTime<Utc>)>,
    told: bool,
    /// What the provider said when it last refused the key.
    refusal: Option<(u16, String)>,
}

impl Gate {
    fn new((upstream, model): (String, Option<String>), events: EventSink) -> Self {
        let state = State {
            closed_until: None,
            failures: 0,
            window: usize::MAX,
            inside: 0,
            first_failure: None,
            told: false,
            refusal: None,
        };
        Self { upstream, model, state: Mutex::new(state), changed: Notify::new(), events }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds a gate")
    }

    /// Whether a call could pass now.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.lock();
        state.inside < state.window
            && state.closed_until.is_none_or(|until| until <= Instant::now())
    }

    /// Lets a call pass that does not wait here; how long it would have to, if it may not.
    pub(crate) fn try_pass(self: &Arc<Self>) -> Result<Pass, Duration> {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(until) = state.closed_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        if state.inside >= state.window {
            return Err(FIRST_WAIT);
        }
        state.inside += 1;
        Ok(Pass { gate: Arc::clone(self) })
    }

    /// The status and the code with which the provider refuses the key.
    pub(crate) fn refusal(&self) -> Option<(u16, String)> {
        self.lock().refusal.clone()
    }

    /// Waits until a call may pass.
    pub(crate) async fn pass(self: &Arc<Self>) -> Pass {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let until = {
                let mut state = self.lock();
                let until = state.closed_until.filter(|until| *until > Instant::now());
                if until.is_none() && state.inside < state.window {
                    state.inside += 1;
                    return Pass { gate: Arc::clone(self) };
                }
                until
            };
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => changed.await,
            }
        }
    }
}

/// A call that is between its sending and the head of its answer.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
}

impl Pass {
    /// The provider took the call.
    pub(crate) fn succeeded(self) {
        let gate = &self.gate;
        let mut state = gate.lock();
        state.failures = 0;
        state.closed_until = None;
        state.refusal = None;
        // A key that is taken again opens its gate at once; an overloaded model step by step.
        state.window = match gate.model {
            None => usize::MAX,
            Some(_) if state.window > 256 => usize::MAX,
            Some(_) => state.window * 2,
        };
        let ended = state.first_failure.take().filter(|_| std::mem::take(&mut state.told));
        drop(state);
        if let Some((_, from)) = ended {
            let upstream = gate.upstream.clone();
            gate.events.send(match gate.model.clone() {
                None => Event::MoneyAccepted { upstream },
                Some(model) => Event::OutageEnded { upstream, model, from, to: Utc::now() },
            });
        }
    }

    /// The provider is overloaded (`status` 0: cannot be reached); nobody passes for a while.
    pub(crate) fn refused(self, status: u16, wait: Option<Duration>) {
        let gate = &self.gate;
        let mut state = gate.lock();
        let now = Instant::now();
        let growing = FIRST_WAIT.saturating_mul(1 << state.failures.min(10)).min(LONGEST_WAIT);
        let until = now + wait.unwrap_or_else(|| growing.mul_f64(0.5 + 0.5 * random_share()));
        state.failures += 1;
        state.closed_until = Some(state.closed_until.map_or(until, |earlier| earlier.max(until)));
        state.window = (state.inside / 2).max(1);
        let (since, from) = *state.first_failure.get_or_insert((now, Utc::now()));
        let tell =
            now - since >= OUTAGE && !std::mem::replace(&mut state.told, now - since >= OUTAGE);
        drop(state);
        if let (true, Some(model)) = (tell, gate.model.clone()) {
            let upstream = gate.upstream.clone();
            gate.events.send(Event::OutageBegan { upstream, model, from, status });
        }
    }

    /// The provider refuses the key or wants money; one call a minute asks again.
    pub(crate) fn money_refused(self, status: u16, code: &str) {
        let gate = &self.gate;
        let mut state = gate.lock();
        let now = Instant::now();
        state.closed_until = Some(now + MONEY_PROBE);
        state.window = 1;
        state.refusal = Some((status, code.to_owned()));
        state.first_failure.get_or_insert((now, Utc::now()));
        let tell = !std::mem::replace(&mut state.told, true);
        drop(state);
        if tell {
            let (upstream, code) = (gate.upstream.clone(), code.to_owned());
            gate.events.send(Event::MoneyRefused { upstream, status, code });
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().inside -= 1;
        self.gate.changed.notify_waiters();
    }
}

/// A number from 0 to 1, different each time.
fn random_share() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64
}

/// How long an attempt has waited for providers: the union of its calls' waits, not their sum.
#[derive(Debug, Default)]
pub(crate) struct HoldClock(Mutex<HoldState>);

#[derive(Debug, Default)]
struct HoldState {
    waiting: usize,
    since: Option<Instant>,
    total: Duration,
}

impl HoldClock {
    /// The time until now.
    pub(crate) fn total(&self) -> Duration {
        let state = self.lock();
        state.total + state.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn restore(&self, earlier: Duration) {
        self.lock().total += earlier;
    }

    /// Since when somebody has waited without a pause.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.lock().since
    }

    /// Counts time until the guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        let mut state = self.lock();
        state.waiting += 1;
        state.since.get_or_insert_with(Instant::now);
        drop(state);
        Hold(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, HoldState> {
        self.0.lock().expect("no code panics while it holds the clock")
    }
}

/// A call that waits for its provider.
#[derive(Debug)]
pub(crate) struct Hold(Arc<HoldClock>);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiting -= 1;
        if state.waiting == 0
            && let Some(since) = state.since.take()
        {
            state.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(model: Option<&str>) -> (Arc<Gate>, Arc<Mutex<Vec<Event>>>) {
        let told: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&told);
        let events = EventSink::new(move |event| sink.lock().expect("unpoisoned").push(event));
        (Gates::new(events).gate("up", model), told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_everybody_for_as_long_as_the_provider_says() {
        let (gate, _) = gate(Some("m"));
        let start = Instant::now();
        gate.pass().await.refused(429, Some(Duration::from_secs(7)));
        assert!(!gate.is_open());
        let other = gate.pass().await;
        assert!(start.elapsed() >= Duration::from_secs(7));
        assert!(!gate.is_open(), "one at a time after a refusal");
        other.succeeded();
        assert!(gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_after_a_minute_and_ends_with_a_success() {
        let (gate, told) = gate(Some("m"));
        for _ in 0..4 {
            gate.pass().await.refused(529, Some(Duration::from_secs(25)));
        }
        gate.pass().await.succeeded();
        let told = told.lock().expect("unpoisoned");
        assert!(
            matches!(told[..], [Event::OutageBegan { status: 529, .. }, Event::OutageEnded { .. }]),
            "{told:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn money_is_told_at_once_and_asked_for_once_a_minute() {
        let (gate, told) = gate(None);
        let start = Instant::now();
        for _ in 0..3 {
            gate.pass().await.money_refused(402, "insufficient_quota");
        }
        gate.pass().await.succeeded();
        assert!(start.elapsed() >= Duration::from_secs(180));
        let told = told.lock().expect("unpoisoned");
        assert!(
            matches!(
                told[..],
                [Event::MoneyRefused { status: 402, .. }, Event::MoneyAccepted { .. }]
            ),
            "{told:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_that_overlap_count_once() {
        let clock = Arc::new(HoldClock::default());
        let first = clock.hold();
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = clock.hold();
        tokio::time::advance(Duration::from_secs(3)).await;
        drop(first);
        tokio::time::advance(Duration::from_secs(4)).await;
        drop(second);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(clock.total(), Duration::from_secs(9));
    }
}
