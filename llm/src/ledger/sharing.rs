//! The ledger of a process that spends a group's budget beside others.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::leases::{Lent, Room, Wish};
use super::{Amount, Ask, EXPECTED_OUTPUT, Leases, Ledger, Overshoot, State};
use crate::config::Limits;
use crate::events::Event;
use crate::money::Picodollars;

/// Between two looks whether others have given something back.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks whether what lies idle here is missing elsewhere.
const IDLE: Duration = Duration::from_secs(10);
/// The answer's length that a lease is to have room for, in tokens, where the longest answer is cut to
/// what there is room for and the client names none.
const UNCUT_OUTPUT: u64 = 32 * 1024;

/// Leases are asked for one after another.
type Turn = tokio::sync::OwnedMutexGuard<()>;

/// What a process has of a group's budget.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// What each holder may use in all.
    held: HashMap<String, Amount>,
    closed: HashSet<String>,
    /// What other processes have spent, as far as is known.
    pub(super) elsewhere: Amount,
    /// Until when calls may begin.
    until: Option<Instant>,
}

impl Lease {
    /// A holder has this from the start, and no more.
    pub(super) fn open(&mut self, holder: &str, spent: Amount) {
        self.closed.remove(holder);
        self.held.entry(holder.to_owned()).or_insert(spent);
    }

    /// The limits that what is held stands for.
    pub(super) fn limits(&self, of: &Limits) -> Limits {
        let mut held = Amount::default();
        self.held.values().for_each(|amount| held.add(amount));
        Limits {
            dollars: of.dollars.map(|_| held.money),
            tokens: of.tokens.map(|_| held.tokens),
            calls: of.calls.map(|_| held.calls),
        }
    }
}

impl Amount {
    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    pub(super) fn minus(mut self, other: &Self) -> Self {
        self.take(other);
        self
    }

    pub(super) fn max(self, other: Self) -> Self {
        self.each(other, u64::max)
    }

    /// One of so many equal parts.
    pub(super) fn part(self, of: u64) -> Self {
        self.each(Self { money: Picodollars(of), tokens: of, calls: of }, |all, of| all / of.max(1))
    }

    pub(super) fn fits_in(&self, room: &Self) -> bool {
        self.minus(room) == Self::default()
    }

    /// Whether there is something of both in money, tokens or calls.
    pub(super) fn touches(&self, other: &Self) -> bool {
        self.min(*other) != Self::default()
    }
}

impl Ledger {
    /// From now on the group's budget is leased.
    pub(crate) fn share(self: &Arc<Self>, leases: Leases) {
        if self.leases.set(Arc::new(leases)).is_err() {
            return;
        }
        self.lock().group.lease = Some(Lease::default());
        let ledger = Arc::downgrade(self);
        tokio::spawn(give_back(ledger));
    }

    /// Whether other processes spend the group's budget too.
    pub(crate) fn is_shared(&self) -> bool {
        self.leases.get().is_some()
    }

    /// Makes room for a call in what is leased; whether it may be tried for.
    pub(super) async fn borrow(&self, attempt: &str, ask: &Ask<'_>) -> bool {
        let Some(leases) = self.leases.get() else { return true };
        let turn = Arc::clone(&self.lending).lock_owned().await;
        let Some(wish) = self.wish(attempt, ask) else { return true };
        match self.lend(leases, wish, turn).await {
            Some(lent) => lent.room != Room::HeldByOthers && !lent.valid_for.is_zero(),
            None => false,
        }
    }

    /// What must be leased before a call fits; none if it fits already or never will.
    fn wish(&self, attempt: &str, ask: &Ask<'_>) -> Option<Wish> {
        let mut state = self.lock();
        let [(own, _), (group, _)] = state.pair(attempt);
        if own.used_up().is_some() || group.used_up().is_some() {
            return None;
        }
        let expected = match self.overshoot {
            Overshoot::Bounded => EXPECTED_OUTPUT.max(own.largest_output.saturating_mul(2)),
            Overshoot::Never => ask.max_output.unwrap_or(UNCUT_OUTPUT),
        };
        let input = match self.overshoot {
            Overshoot::Bounded => ask.input,
            Overshoot::Never => ask.input_bound,
        };
        let more = Ask { input, ..*ask }.expected(expected).min(own.left());
        let is_valid = group.lease.as_ref()?.until.is_some_and(|until| Instant::now() < until);
        if is_valid && more.fits_in(&group.left()) {
            return None;
        }
        state.wish(attempt, more, false)
    }

    async fn lend(&self, leases: &Arc<Leases>, wish: Wish, turn: Turn) -> Option<Lent> {
        let (leases, holder) = (Arc::clone(leases), wish.holder.clone());
        // A network file system may hold a call up for as long as it likes. Who waits for it may leave, and
        // the next one's turn comes all the same only after this.
        let lent = tokio::task::spawn_blocking(move || (leases.lend(&wish), turn)).await;
        match lent {
            Ok((lent, _turn)) => self.take_lease(&holder, lent).ok(),
            Err(_) => None,
        }
    }

    fn take_lease(&self, holder: &str, lent: io::Result<Lent>) -> io::Result<Lent> {
        let lent = lent.inspect_err(|error| {
            let message = format!("cannot lease of the group's budget, and calls wait: {error}");
            self.events.send(Event::RecordFailed { attempt: holder.to_owned(), message });
        })?;
        let mut state = self.lock();
        if let Some(lease) = &mut state.group.lease {
            // To one that is closed nothing is added: what it has is on its way back.
            if !lease.closed.contains(holder) {
                lease.held.insert(holder.to_owned(), lent.held);
            }
            lease.elsewhere = lent.elsewhere;
            lease.until = Instant::now().checked_add(lent.valid_for);
        }
        self.note_limits(&mut state, holder);
        Ok(lent)
    }

    /// Gives back what a holder does not need any more.
    pub(crate) fn close(&self, attempt: &str) -> io::Result<()> {
        let Some(leases) = self.leases.get() else { return Ok(()) };
        let wish = self.lock().wish(attempt, Amount::default(), true);
        match wish {
            Some(wish) => self.take_lease(attempt, leases.lend(&wish)).map(drop),
            None => Ok(()),
        }
    }
}

impl State {
    /// A wish of a holder, which has until it is answered no more than it has used: what it holds
    /// beyond may be given back.
    fn wish(&mut self, attempt: &str, more: Amount, closes: bool) -> Option<Wish> {
        let [(own, _), (group, _)] = self.pair(attempt);
        let (spent, used) = (own.spent, own.spent.plus(&own.reserved));
        let lease = group.lease.as_mut()?;
        lease.held.insert(attempt.to_owned(), used);
        if closes {
            lease.closed.insert(attempt.to_owned());
        }
        Some(Wish { holder: attempt.to_owned(), spent, used, more, closes })
    }

    /// Holders without a call under way that hold more than they have used.
    fn idle(&self) -> Vec<String> {
        let held = self.group.lease.iter().flat_map(|lease| &lease.held);
        let is_idle = |(holder, held): &(&String, &Amount)| {
            let account = self.attempts.get(*holder);
            account.is_some_and(|account| account.in_flight == 0 && account.spent != **held)
        };
        held.filter(is_idle).map(|(holder, _)| holder.clone()).collect()
    }
}

/// Gives back what lies idle once others may miss it.
async fn give_back(ledger: Weak<Ledger>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(ledger) = ledger.upgrade() else { return };
        let Some(leases) = ledger.leases.get() else { return };
        let idle = ledger.lock().idle();
        for holder in idle {
            let turn = Arc::clone(&ledger.lending).lock_owned().await;
            let wish = ledger.lock().wish(&holder, Amount::default(), false);
            if let Some(wish) = wish {
                ledger.lend(leases, wish, turn).await;
            }
        }
    }
}
