//! Who may still spend how much.
//!
//! One lock guards the accounts of a run group and all its attempts. A call reserves what it may
//! cost before it is sent, and settles once its price is known, or when it is dropped: there is no
//! way to forget it. A call that does not fit beside the others waits for them, so that nobody is
//! refused while money may come free.
//!
//! Where other processes spend the same group's budget, this one spends what it has leased
//! ([`Leases`]).

mod leases;
mod sharing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::{Limits, Overshoot};
use crate::events::{Event, EventSink};
use crate::money::Picodollars;
use crate::prices::Price;
use crate::record::CallRecord;

/// The answer's length that is expected of a model which nothing is known of, in tokens.
const EXPECTED_OUTPUT: u64 = 4096;
/// Under [`Overshoot::Never`], an answer that would have to be shorter is not asked for.
const SHORTEST_OUTPUT: u64 = 16;

pub use leases::{Holders, Leases, read_leases};
use sharing::Lease;

/// What is spent, reserved or left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Money.
    #[serde(rename = "picodollars")]
    pub money: Picodollars,
    /// Tokens of all kinds.
    pub tokens: u64,
    /// Calls.
    pub calls: u64,
}

impl Amount {
    /// What calls have taken off a budget.
    pub(crate) fn of(calls: &[CallRecord]) -> Self {
        let mut sum = Self::default();
        calls.iter().for_each(|call| sum.add(&call.amount()));
        sum
    }

    fn add(&mut self, other: &Self) {
        self.money = self.money + other.money;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.calls = self.calls.saturating_add(other.calls);
    }

    fn take(&mut self, other: &Self) {
        self.money = self.money.saturating_sub(other.money);
        self.tokens = self.tokens.saturating_sub(other.tokens);
        self.calls = self.calls.saturating_sub(other.calls);
    }

    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            money: Picodollars(of(self.money.0, other.money.0)),
            tokens: of(self.tokens, other.tokens),
            calls: of(self.calls, other.calls),
        }
    }

    fn min(self, other: Self) -> Self {
        self.each(other, u64::min)
    }
}

/// An account as others see it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Balance {
    /// The limits; those not given do not bind.
    #[serde(skip)]
    pub limits: Limits,
    /// What settled calls have cost.
    pub spent: Amount,
    /// What calls under way may cost.
    pub reserved: Amount,
    /// Whether 80 % of a limit is used.
    pub warning: bool,
    /// When a limit was first reached.
    pub reached_at: Option<DateTime<Utc>>,
}

impl Balance {
    /// What is left beside the calls under way; the largest number where there is no limit.
    pub fn remaining(&self) -> Amount {
        left(&self.limits, &self.spent, &self.reserved)
    }
}

fn left(limits: &Limits, spent: &Amount, reserved: &Amount) -> Amount {
    let mut left = Amount {
        money: limits.dollars.unwrap_or(Picodollars(u64::MAX)),
        tokens: limits.tokens.unwrap_or(u64::MAX),
        calls: limits.calls.unwrap_or(u64::MAX),
    };
    left.take(spent);
    left.take(reserved);
    // Without a limit, what is used takes nothing away.
    if limits.dollars.is_none() {
        left.money = Picodollars(u64::MAX);
    }
    left.tokens = if limits.tokens.is_none() { u64::MAX } else { left.tokens };
    left.calls = if limits.calls.is_none() { u64::MAX } else { left.calls };
    left
}

#[derive(Debug, Default)]
struct Account {
    limits: Limits,
    spent: Amount,
    reserved: Amount,
    in_flight: usize,
    largest_output: u64,
    warned: [bool; 3],
    reached: [bool; 3],
    reached_at: Option<DateTime<Utc>>,
    /// What of the limits this process has, where others spend from the same.
    lease: Option<Lease>,
}

impl Account {
    /// What calls of this process may reserve.
    fn left(&self) -> Amount {
        match &self.lease {
            Some(lease) => left(&lease.limits(&self.limits), &self.spent, &self.reserved),
            None => left(&self.limits, &self.spent, &self.reserved),
        }
    }

    /// What settled calls have cost, those of other processes among them.
    fn spent_by_all(&self) -> Amount {
        let mut spent = self.spent;
        spent.add(&self.lease.as_ref().map(|lease| lease.elsewhere).unwrap_or_default());
        spent
    }

    /// The limits with what is used of each, as `(name, used, limit)`.
    fn uses(&self) -> [(&'static str, u64, Option<u64>); 3] {
        let spent = self.spent_by_all();
        [
            ("dollars", spent.money.0, self.limits.dollars.map(|d| d.0)),
            ("tokens", spent.tokens, self.limits.tokens),
            ("calls", spent.calls, self.limits.calls),
        ]
    }

    /// The first limit that is used up.
    fn used_up(&self) -> Option<&'static str> {
        self.uses()
            .into_iter()
            .find(|(_, used, limit)| limit.is_some_and(|l| *used >= l))
            .map(|u| u.0)
    }

    /// The answer to a call that what is left cannot pay for.
    fn too_little(&mut self, own: bool, now: DateTime<Utc>) -> Admission {
        if self.in_flight > 0 {
            return Admission::Wait;
        }
        self.reached_at.get_or_insert(now);
        let who = if own { "this attempt" } else { "the run group" };
        Admission::Refused(format!(
            "what is left of the LLM budget of {who} ({}) does not pay for this request",
            self.left().describe(&self.limits)
        ))
    }

    fn balance(&self) -> Balance {
        Balance {
            limits: self.limits,
            spent: self.spent_by_all(),
            reserved: self.reserved,
            warning: self.warned.contains(&true),
            reached_at: self.reached_at,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    group: Account,
    attempts: HashMap<String, Account>,
}

impl State {
    fn pair(&mut self, attempt: &str) -> [(&mut Account, bool); 2] {
        let account = self.attempts.entry(attempt.to_owned()).or_default();
        [(account, true), (&mut self.group, false)]
    }
}

/// The accounts of a run group.
#[derive(Debug)]
pub struct Ledger {
    state: Mutex<State>,
    changed: Notify,
    overshoot: Overshoot,
    events: EventSink,
    /// Where the group's budget is leased from, if other processes spend it too.
    leases: OnceLock<Arc<Leases>>,
    /// Leases are asked for one after another.
    lending: Arc<tokio::sync::Mutex<()>>,
}

/// What a call may need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Tokens that go in, probably.
    pub(crate) input: u64,
    /// Tokens that go in, at most.
    pub(crate) input_bound: u64,
    /// The longest answer that the client asked for, per choice.
    pub(crate) max_output: Option<u64>,
    /// How many answers.
    pub(crate) choices: u64,
    /// Whether the call writes text at all.
    pub(crate) writes: bool,
    pub(crate) price: Option<&'a Price>,
}

/// What becomes of a request to spend.
#[derive(Debug)]
pub(crate) enum Admission {
    Granted(Reservation),
    /// It may fit once a call under way has settled.
    Wait,
    Refused(String),
}

impl Ledger {
    /// Accounts with a limit for the group.
    pub fn new(group: Limits, overshoot: Overshoot, events: EventSink) -> Arc<Self> {
        let state =
            State { group: Account { limits: group, ..Account::default() }, ..State::default() };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            overshoot,
            events,
            leases: OnceLock::new(),
            lending: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the ledger")
    }

    /// Opens an attempt's account, with what its earlier calls have cost.
    pub fn open(&self, attempt: &str, limits: Limits, spent: Amount) {
        let mut state = self.lock();
        let known = state.attempts.contains_key(attempt);
        let [(account, _), (group, _)] = state.pair(attempt);
        account.limits = limits;
        if !known {
            account.spent = spent;
            group.spent.add(&spent);
        }
        if let Some(lease) = &mut group.lease {
            lease.open(attempt, spent);
        }
        self.note_limits(&mut state, attempt);
    }

    /// The balances of an attempt and of the group.
    pub fn balances(&self, attempt: &str) -> (Balance, Balance) {
        let state = self.lock();
        let own = state
            .attempts
            .get(attempt)
            .map_or_else(|| Account::default().balance(), Account::balance);
        (own, state.group.balance())
    }

    /// The group's balance.
    pub fn group_balance(&self) -> Balance {
        self.lock().group.balance()
    }

    /// Waits until the call fits, and reserves what it may cost.
    ///
    /// # Errors
    /// The reason why it never will.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        attempt: &str,
        ask: &Ask<'_>,
    ) -> Result<Reservation, String> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let admission = match self.borrow(attempt, ask).await {
                true => self.try_admit(attempt, ask),
                false => Admission::Wait,
            };
            match admission {
                Admission::Granted(reservation) => return Ok(reservation),
                Admission::Refused(why) => return Err(why),
                // What others give back tells nobody here.
                Admission::Wait if self.is_shared() => {
                    let _ = tokio::time::timeout(sharing::LOOK_AGAIN, changed).await;
                }
                Admission::Wait => changed.await,
            }
        }
    }

    pub(crate) fn try_admit(self: &Arc<Self>, attempt: &str, ask: &Ask<'_>) -> Admission {
        let mut state = self.lock();
        let now = Utc::now();
        for (account, own) in state.pair(attempt) {
            if let Some(limit) = account.used_up() {
                account.reached_at.get_or_insert(now);
                return Admission::Refused(used_up(account, limit, own));
            }
        }
        let expected =
            EXPECTED_OUTPUT.max(state.pair(attempt)[0].0.largest_output.saturating_mul(2));
        let accounts = state.pair(attempt);
        let room = accounts[0].0.left().min(accounts[1].0.left());
        let (amount, output_cap) = match self.overshoot {
            Overshoot::Bounded => (ask.expected(expected), None),
            Overshoot::Never => {
                for (account, own) in accounts {
                    if ask.affordable(account.left()).is_none() {
                        return account.too_little(own, now);
                    }
                }
                let Some(fitting) = ask.affordable(room) else { return Admission::Wait };
                fitting
            }
        };
        let mut reserved = [amount; 2];
        for ((account, _), reserved) in state.pair(attempt).into_iter().zip(&mut reserved) {
            // The last call before a limit takes what is left, and may go over; but only when no
            // other is under way that may need less than it reserved.
            *reserved = amount.min(account.left());
            if *reserved != amount && account.in_flight > 0 {
                return Admission::Wait;
            }
        }
        for ((account, _), reserved) in state.pair(attempt).into_iter().zip(&reserved) {
            account.reserved.add(reserved);
            account.in_flight += 1;
        }
        let ledger = Arc::clone(self);
        let attempt = attempt.to_owned();
        Admission::Granted(Reservation {
            ledger,
            attempt,
            amount,
            held: reserved,
            output_cap,
            sent: false,
            booked: None,
        })
    }

    /// Notes and tells which limits are nearly or wholly used.
    fn note_limits(&self, state: &mut State, attempt: &str) {
        for (account, own) in state.pair(attempt) {
            for (index, (limit, used, most)) in account.uses().into_iter().enumerate() {
                let Some(most) = most else { continue };
                let attempt = own.then(|| attempt.to_owned());
                if used >= most && !account.reached[index] {
                    account.reached[index] = true;
                    account.reached_at.get_or_insert_with(Utc::now);
                    self.events.send(Event::BudgetReached { attempt, limit });
                } else if u128::from(used) * 5 >= u128::from(most) * 4 && !account.warned[index] {
                    account.warned[index] = true;
                    self.events.send(Event::BudgetWarning { attempt, limit });
                }
            }
        }
    }
}

fn used_up(account: &Account, limit: &str, own: bool) -> String {
    let who = if own { "this attempt" } else { "the run group" };
    let (spent, limits) = (account.spent_by_all(), account.limits);
    let figures = match limit {
        "dollars" => format!("{} of {}", spent.money, limits.dollars.unwrap_or_default()),
        "tokens" => format!("{} of {} tokens", spent.tokens, limits.tokens.unwrap_or_default()),
        _ => format!("{} of {} calls", spent.calls, limits.calls.unwrap_or_default()),
    };
    format!("the LLM budget of {who} is used up ({figures})")
}

impl Amount {
    fn describe(&self, limits: &Limits) -> String {
        let mut parts = Vec::new();
        if limits.dollars.is_some() {
            parts.push(self.money.to_string());
        }
        if limits.tokens.is_some() {
            parts.push(format!("{} tokens", self.tokens));
        }
        parts.join(", ")
    }
}

impl Ask<'_> {
    /// What the call probably needs, if it writes `expected` tokens unless it asks for less.
    fn expected(&self, expected: u64) -> Amount {
        let each = self.max_output.map_or(expected, |max| max.min(expected));
        let output = if self.writes { each.saturating_mul(self.choices) } else { 0 };
        self.amount(self.input, output)
    }

    fn amount(&self, input: u64, output: u64) -> Amount {
        let money = self.price.map_or_else(Picodollars::default, |p| p.upper_bound(input, output));
        Amount { money, tokens: input.saturating_add(output), calls: 1 }
    }

    /// The most that the call can need within `room`, and the length its answers must be cut to.
    fn affordable(&self, room: Amount) -> Option<(Amount, Option<u64>)> {
        if room.calls == 0 {
            return None;
        }
        let by_money = match self.price {
            Some(price) if room.money.0 < u64::MAX => {
                price.affordable_output(room.money, self.input_bound)?
            }
            _ => u64::MAX,
        };
        let by_tokens = if room.tokens == u64::MAX {
            u64::MAX
        } else {
            room.tokens.checked_sub(self.input_bound)?
        };
        if !self.writes {
            return Some((self.amount(self.input_bound, 0), None));
        }
        let most = by_money.min(by_tokens);
        let each = most / self.choices.max(1);
        let asked = self.max_output.unwrap_or(u64::MAX);
        if each < SHORTEST_OUTPUT.min(asked) {
            return None;
        }
        if most == u64::MAX {
            let output = self.max_output.unwrap_or(EXPECTED_OUTPUT).saturating_mul(self.choices);
            return Some((self.amount(self.input_bound, output), None));
        }
        let cap = each.min(asked);
        Some((
            self.amount(self.input_bound, cap.saturating_mul(self.choices)),
            (cap < asked).then_some(cap),
        ))
    }
}

/// Money and tokens set aside for one call, until it settles or is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    attempt: String,
    /// What the call may cost.
    amount: Amount,
    /// What of it is still set aside in the attempt's account and in the group's.
    held: [Amount; 2],
    output_cap: Option<u64>,
    sent: bool,
    booked: Option<Amount>,
}

impl Reservation {
    /// The length that the answer must be cut to, under [`Overshoot::Never`].
    pub(crate) fn output_cap(&self) -> Option<u64> {
        self.output_cap
    }

    /// What the call may cost.
    pub(crate) fn amount(&self) -> Amount {
        self.amount
    }

    /// The call is on its way: if nobody says what it cost, it cost what was expected.
    pub(crate) fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Books what the call cost, in place of what was booked for it before.
    ///
    /// What it cost less than expected stays set aside until the call is over, since a later word
    /// of the provider may still raise its price.
    pub(crate) fn settle(&mut self, actual: Amount, output: u64) {
        let ledger = Arc::clone(&self.ledger);
        let mut state = ledger.lock();
        for ((account, _), held) in state.pair(&self.attempt).into_iter().zip(&mut self.held) {
            if let Some(earlier) = &self.booked {
                account.spent.take(earlier);
            }
            account.spent.add(&actual);
            account.reserved.take(held);
            held.take(&actual);
            account.reserved.add(held);
            account.largest_output = account.largest_output.max(output);
        }
        self.booked = Some(actual);
        ledger.note_limits(&mut state, &self.attempt);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.booked.is_none() && self.sent {
            self.settle(self.amount, 0);
        }
        let mut state = self.ledger.lock();
        for ((account, _), held) in state.pair(&self.attempt).into_iter().zip(&self.held) {
            account.reserved.take(held);
            account.in_flight -= 1;
        }
        drop(state);
        self.ledger.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
