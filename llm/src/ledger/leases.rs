//! A group's budget that many processes spend, on machines that share nothing but a folder.
//!
//! Each holder (a try of an attempt) takes a lease: so much it may use in all. Leases are entries
//! `1.json`, `2.json`, … of one log; each says anew what one holder holds and has spent. An entry is
//! made whole and under a name that nobody has taken, so that of two processes that add the next one
//! only one succeeds, and the other reads it first. So what is held never adds up to more than the
//! limit, whoever is killed when.
//!
//! A holder that has given no sign of life for a while begins no calls. Later than that, others put
//! what its bill on disk says in place of its lease; until then the whole lease counts as spent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Amount;
use crate::config::Limits;
use crate::numbered::Numbered;
use crate::record::read_bill;

/// A holder that has been silent for longer begins no calls.
const BEGINS_CALLS: Duration = Duration::from_secs(5 * 60);
/// A holder that has been silent for longer than this and the longest wait of a call is lost.
const LOST: Duration = Duration::from_secs(10 * 60);
/// Between two looks for lost holders.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often an entry is tried for that others are quicker with.
const ROUNDS: u32 = 1000;
/// Between two rounds in which nothing new was to be seen.
const ROUND: Duration = Duration::from_millis(20);

/// What is known of holders.
pub trait Holders: Send + Sync {
    /// How long ago a holder has last said that it lives, by the clock of the folder's file system.
    fn silent_for(&self, holder: &str) -> Option<Duration>;
    /// Whether a holder's process is known to be gone, so that it writes nothing any more.
    fn is_gone(&self, holder: &str) -> bool;
    /// The folder of a holder's bill.
    fn records(&self, holder: &str) -> PathBuf;
}

/// What one holder holds and has spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    holder: String,
    held: Amount,
    spent: Amount,
    at: DateTime<Utc>,
    /// Another process takes the holder for lost, and it has not said since that it lives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suspected: bool,
}

/// What a holder asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) holder: String,
    pub(super) spent: Amount,
    /// What is spent and what calls under way may cost.
    pub(super) used: Amount,
    /// What the next call needs; nothing if there is none, and the rest is not needed now.
    pub(super) more: Amount,
    /// Nothing more will be asked for.
    pub(super) closes: bool,
}

/// What a holder gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    /// What it may use in all.
    pub(super) held: Amount,
    /// What the rest of the group has spent, as far as its entries say.
    pub(super) elsewhere: Amount,
    pub(super) room: Room,
    /// For how long calls may begin.
    pub(super) valid_for: Duration,
}

/// Whether a wish is fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// It is not, and nothing will come free: what the holder has is the last of the budget.
    Last,
    /// It is not, and others hold something that they may give back.
    HeldByOthers,
}

/// The leases of a group, as one process sees them.
pub struct Leases {
    folder: PathBuf,
    limits: Limits,
    parts: u64,
    lost_after: Duration,
    look_every: Duration,
    holders: Box<dyn Holders>,
    book: Mutex<Book>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Book {
    /// Number of the last entry that was read.
    last: u32,
    entries: BTreeMap<String, Entry>,
    /// What bills on disk said when this process began.
    bills: BTreeMap<String, Amount>,
    own: BTreeSet<String>,
    looked: Option<Instant>,
}

impl Leases {
    /// The leases in `folder` of a budget that `attempts` attempts share. `before` are tries with the
    /// folder of their bill, which counts where they have no lease; `hold` is the longest wait of a call.
    ///
    /// # Errors
    /// A lease or a bill cannot be read.
    pub fn open(
        folder: PathBuf,
        limits: Limits,
        attempts: usize,
        hold: Duration,
        before: impl IntoIterator<Item = (String, PathBuf)>,
        holders: Box<dyn Holders>,
    ) -> io::Result<Self> {
        let mut book = Book::default();
        book.read(&folder)?;
        for (holder, records) in before {
            if !book.entries.contains_key(&holder) {
                book.bills.insert(holder, read_bill(&records)?);
            }
        }
        // A lease is a small part of what is left, so that little lies idle while others wait.
        let parts = (attempts as u64).saturating_mul(2).saturating_add(2);
        let book = Mutex::new(book);
        let (lost_after, look_every) = (LOST + hold, LOOK_EVERY);
        Ok(Self { folder, limits, parts, lost_after, look_every, holders, book })
    }

    /// Gives a holder what it wishes, as far as there is something.
    pub(super) fn lend(&self, wish: &Wish) -> io::Result<Lent> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.own.insert(wish.holder.clone());
        // Before the look, so that no later sign of life is taken for one that was before it.
        let silent = self.holders.silent_for(&wish.holder).unwrap_or_default();
        let asked = Instant::now();
        for _ in 0..ROUNDS {
            let news = book.read(&self.folder)?;
            let (held, room) = self.decide(&mut book, wish)?;
            let (holder, spent, at) = (wish.holder.clone(), wish.spent, Utc::now());
            let entry = Entry { holder, held, spent, at, suspected: false };
            if book.says(&entry) || self.append(&mut book, entry)? {
                let elsewhere = book.elsewhere();
                let valid_for = BEGINS_CALLS.saturating_sub(silent + asked.elapsed());
                return Ok(Lent { held, elsewhere, room, valid_for });
            }
            if !news {
                std::thread::sleep(ROUND);
            }
        }
        Err(io::Error::other(format!("`{}`: others are always quicker", self.folder.display())))
    }

    /// What a holder may use in all from now on.
    fn decide(&self, book: &mut Book, wish: &Wish) -> io::Result<(Amount, Room)> {
        let known = book.entries.get(&wish.holder).map_or(wish.used, |entry| entry.held);
        let held = known.max(wish.used);
        let mut left = self.left(book, wish);
        if wish.more == Amount::default() {
            // What lies idle is given back once there is less for all others than that.
            let (rest, free) = (held.minus(&wish.used), left.minus(&held.minus(&wish.used)));
            let is_scarce = !self.limited(rest).fits_in(&free);
            let keeps = !wish.closes && !is_scarce;
            return Ok((if keeps { held } else { wish.used }, Room::Enough));
        }
        if !self.limited(wish.more).fits_in(&left) && self.settle_lost(book, wish)? {
            left = self.left(book, wish);
        }
        let part = left.part(self.parts);
        if self.limited(wish.more).fits_in(&left) {
            let grant = self.limited(wish.more.max(part).min(left));
            // What it has is not taken from it while it works.
            return Ok((wish.used.plus(&grant).max(held.min(wish.used.plus(&left))), Room::Enough));
        }
        let others = book.entries.values().filter(|entry| entry.holder != wish.holder);
        let missing = self.limited(wish.more).minus(&left);
        let mut waits = others.map(|entry| entry.held.minus(&entry.spent));
        if waits.any(|rest| rest.touches(&missing)) {
            return Ok((wish.used, Room::HeldByOthers));
        }
        Ok((wish.used.plus(&self.limited(left)), Room::Last))
    }

    /// What is left of the budget beside what others hold and what the holder has used; the largest
    /// number where there is no limit.
    fn left(&self, book: &Book, wish: &Wish) -> Amount {
        super::left(&self.limits, &book.held_beside(&wish.holder), &wish.used)
    }

    /// An amount without what no limit binds.
    fn limited(&self, amount: Amount) -> Amount {
        let Limits { dollars, tokens, calls } = self.limits;
        Amount {
            money: dollars.map(|_| amount.money).unwrap_or_default(),
            tokens: tokens.map_or(0, |_| amount.tokens),
            calls: calls.map_or(0, |_| amount.calls),
        }
    }

    /// Puts the bills of lost holders in place of their leases; whether there were any.
    ///
    /// One that was silent may come back in this moment, and begin a call on the lease that it has. So it is
    /// first said that it is suspected, and then looked at again: whoever came back before that was said
    /// is seen to live, and whoever does so later finds it said and has to add an entry, which of the two
    /// that want the next number only one gets.
    fn settle_lost(&self, book: &mut Book, wish: &Wish) -> io::Result<bool> {
        if book.looked.is_some_and(|at| at.elapsed() < self.look_every) {
            return Ok(false);
        }
        book.looked = Some(Instant::now());
        let open = |entry: &&Entry| entry.held != entry.spent && entry.holder != wish.holder;
        let open: Vec<Entry> = book.entries.values().filter(open).cloned().collect();
        let mut settled = false;
        for entry in open {
            if !self.holders.is_gone(&entry.holder) {
                if !self.is_silent(&entry.holder) {
                    continue;
                }
                let suspicion = Entry { suspected: true, at: Utc::now(), ..entry.clone() };
                let is_said = entry.suspected || self.append(book, suspicion)?;
                if !is_said || !self.is_silent(&entry.holder) {
                    continue;
                }
            }
            let spent = read_bill(&self.holders.records(&entry.holder))?;
            let (held, at, suspected) = (spent, Utc::now(), false);
            // Another process that is quicker says the same.
            settled |= self.append(book, Entry { held, spent, at, suspected, ..entry })?;
        }
        Ok(settled)
    }

    fn is_silent(&self, holder: &str) -> bool {
        self.holders.silent_for(holder).is_some_and(|silent| silent > self.lost_after)
    }

    /// Adds an entry; false if another process has added one that this one has not read.
    fn append(&self, book: &mut Book, entry: Entry) -> io::Result<bool> {
        std::fs::create_dir_all(&self.folder)?;
        let number = book.last.saturating_add(1);
        if !files(&self.folder).add(number, &serde_json::to_vec(&entry)?)? {
            return Ok(false);
        }
        book.last = number;
        book.entries.insert(entry.holder.clone(), entry);
        Ok(true)
    }
}

/// What the leases in a folder say: what is spent, and what is held beside it; none if there are no
/// leases.
///
/// # Errors
/// The folder or an entry cannot be read.
pub fn read_leases(folder: &Path) -> io::Result<Option<(Amount, Amount)>> {
    let mut book = Book::default();
    book.read(folder)?;
    let mut sums = (Amount::default(), Amount::default());
    for entry in book.entries.values() {
        sums.0.add(&entry.spent);
        sums.1.add(&entry.held.minus(&entry.spent));
    }
    Ok((book.last > 0).then_some(sums))
}

fn files(folder: &Path) -> Numbered<'_> {
    Numbered { folder, prefix: "" }
}

impl Book {
    /// Reads the entries that came since the last look; whether there were any.
    fn read(&mut self, folder: &Path) -> io::Result<bool> {
        let files = files(folder);
        let newest = files.numbers()?.last().copied().unwrap_or(0);
        let before = self.last;
        while self.last < newest {
            let path = files.path(self.last + 1);
            let read =
                || -> io::Result<Entry> { Ok(serde_json::from_slice(&std::fs::read(&path)?)?) };
            let entry = read().map_err(|error| {
                io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
            })?;
            self.last += 1;
            self.entries.insert(entry.holder.clone(), entry);
        }
        Ok(self.last > before)
    }

    fn says(&self, entry: &Entry) -> bool {
        let known = self.entries.get(&entry.holder);
        known.is_some_and(|known| {
            !known.suspected
                && known.held == entry.held
                && (known.spent == entry.spent || entry.held != entry.spent)
        })
    }

    /// What all but one hold, or have on their bills.
    fn held_beside(&self, holder: &str) -> Amount {
        self.sum(|name| name != holder, |entry| entry.held)
    }

    /// What others than this process have spent.
    fn elsewhere(&self) -> Amount {
        self.sum(|name| !self.own.contains(name), |entry| entry.spent)
    }

    fn sum(&self, counts: impl Fn(&str) -> bool, of: impl Fn(&Entry) -> Amount) -> Amount {
        let names: BTreeSet<&String> = self.entries.keys().chain(self.bills.keys()).collect();
        let mut sum = Amount::default();
        for name in names.into_iter().filter(|name| counts(name)) {
            let lease = self.entries.get(name).map(&of).unwrap_or_default();
            sum.add(&lease.max(self.bills.get(name).copied().unwrap_or_default()));
        }
        sum
    }
}

#[cfg(test)]
mod tests;
