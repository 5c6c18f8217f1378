use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::record::{CallLog, CallRecord, Lost};
use crate::usage::Buckets;

/// What is known of holders, as a test says.
#[derive(Clone, Default)]
struct Known {
    root: PathBuf,
    states: Arc<Mutex<HashMap<String, State>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Silent,
    Gone,
}

impl Known {
    fn say(&self, holder: &str, state: Option<State>) {
        let mut states = self.states.lock().expect("unpoisoned");
        match state {
            Some(state) => drop(states.insert(holder.to_owned(), state)),
            None => drop(states.remove(holder)),
        }
    }

    fn of(&self, holder: &str) -> Option<State> {
        self.states.lock().expect("unpoisoned").get(holder).copied()
    }
}

impl Holders for Known {
    fn silent_for(&self, holder: &str) -> Option<Duration> {
        let silent = self.of(holder) == Some(State::Silent);
        Some(if silent { Duration::from_secs(3600) } else { Duration::ZERO })
    }

    fn is_gone(&self, holder: &str) -> bool {
        self.of(holder) == Some(State::Gone)
    }

    fn records(&self, holder: &str) -> PathBuf {
        self.root.join(holder)
    }
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, ..Amount::default() }
}

/// A process with one try of an attempt.
struct Holder {
    name: String,
    leases: Leases,
    log: CallLog,
    spent: u64,
    calls: u64,
}

impl Holder {
    fn new(name: &str, known: &Known, limit: u64, attempts: usize) -> Self {
        let limits = Limits { tokens: Some(limit), ..Limits::default() };
        let (folder, hold) = (known.root.join("leases"), Duration::from_secs(60));
        let mut leases = Leases::open(folder, limits, attempts, hold, [], Box::new(known.clone()))
            .expect("opened");
        leases.look_every = Duration::ZERO;
        let (log, _) = CallLog::open(&known.records(name)).expect("a bill");
        Self { name: name.to_owned(), leases, log, spent: 0, calls: 0 }
    }

    fn lend(&self, more: u64, closes: bool) -> Lent {
        let (spent, holder) = (tokens(self.spent), self.name.clone());
        let wish = Wish { holder, spent, used: spent, more: tokens(more), closes };
        self.leases.lend(&wish).expect("a folder")
    }

    /// What a call may cost that is on its way now; none if it may not begin.
    fn begin(&mut self, need: u64) -> Option<u64> {
        let lent = self.lend(need, false);
        if lent.room == Room::HeldByOthers || lent.valid_for.is_zero() {
            return None;
        }
        let reserved = need.min(lent.held.tokens - self.spent);
        if reserved == 0 {
            return None;
        }
        self.calls += 1;
        let lost = Lost {
            id: self.calls,
            at: Utc::now(),
            operation: String::new(),
            provider: String::new(),
            model: String::new(),
            role: String::new(),
            route: String::new(),
            input: reserved,
            output: 0,
            picodollars: None,
        };
        self.log.note_sent(&lost, true).expect("noted");
        Some(reserved)
    }

    fn end(&mut self, actual: u64) {
        let tokens = Buckets { input: actual, ..Buckets::default() };
        let record = CallRecord { id: self.calls, tries: 1, tokens, ..CallRecord::default() };
        self.log.book(&record, true).expect("booked");
        self.spent += actual;
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Of what was reserved, so much of 100 is spent.
    Call {
        need: u64,
        share: u64,
    },
    /// The process dies with a call under way, which the provider bills whole or not at all.
    Killed {
        need: u64,
        billed: bool,
        seen: bool,
    },
    Idle,
    /// It ends well, and another one begins.
    Closes,
    /// Nobody hears of it for an hour, though it lives.
    Frozen {
        need: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..400u64, 0..=100u64).prop_map(|(need, share)| Step::Call { need, share }),
        2 => (1..400u64, any::<bool>(), any::<bool>())
            .prop_map(|(need, billed, seen)| Step::Killed { need, billed, seen }),
        2 => Just(Step::Idle),
        1 => Just(Step::Closes),
        1 => (1..400u64).prop_map(|need| Step::Frozen { need }),
    ]
}

/// Lives through a script; what the provider bills goes into `billed`.
fn live(number: usize, steps: &[Step], known: &Known, limit: u64, billed: &AtomicU64) {
    let (mut lives, attempts) = (0, 4);
    let mut next = || {
        lives += 1;
        Holder::new(&format!("a{number}-{lives}"), known, limit, attempts)
    };
    let mut holder = next();
    for step in steps {
        match *step {
            Step::Call { need, share } => {
                if let Some(reserved) = holder.begin(need) {
                    let actual = reserved * share / 100;
                    billed.fetch_add(actual, Ordering::SeqCst);
                    holder.end(actual);
                }
            }
            Step::Killed { need, billed: is_billed, seen } => {
                let reserved = holder.begin(need).unwrap_or(0);
                billed.fetch_add(if is_billed { reserved } else { 0 }, Ordering::SeqCst);
                let state = if seen { State::Gone } else { State::Silent };
                known.say(&holder.name, Some(state));
                holder = next();
            }
            Step::Idle => drop(holder.lend(0, false)),
            Step::Closes => {
                holder.lend(0, true);
                holder = next();
            }
            Step::Frozen { need } => {
                known.say(&holder.name, Some(State::Silent));
                assert!(holder.begin(need).is_none(), "it may be taken for lost");
                std::thread::yield_now();
                known.say(&holder.name, None);
            }
        }
        assert!(billed.load(Ordering::SeqCst) <= limit, "{step:?}");
    }
    holder.lend(0, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whoever dies when: what is billed never passes the limit, and what was not spent comes back.
    #[test]
    fn many_processes_never_spend_more_than_the_limit(
        scripts in prop::collection::vec(prop::collection::vec(step(), 1..40), 1..6),
        limit in 500..6000u64,
    ) {
        let temp = tempfile::tempdir().expect("a folder");
        let known = Known { root: temp.path().to_owned(), ..Known::default() };
        let billed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for (number, steps) in scripts.iter().enumerate() {
                let (known, billed) = (&known, &billed);
                scope.spawn(move || live(number, steps, known, limit, billed));
            }
        });
        // Bills count a call that was under way as spent whole.
        let bills: u64 = std::fs::read_dir(temp.path()).expect("listed").flatten()
            .map(|entry| read_bill(&entry.path()).expect("a bill").tokens).sum();
        prop_assert!(billed.into_inner() <= bills && bills <= limit);
        let mut last = Holder::new("last", &known, limit, 1);
        let mut rest = 0;
        while let Some(reserved) = last.begin(100) {
            last.end(reserved);
            rest += reserved;
        }
        prop_assert_eq!(bills + rest, limit, "nothing is held for ever");
    }
}

#[test]
fn a_waiting_holder_gets_what_another_one_gives_back() {
    let temp = tempfile::tempdir().expect("a folder");
    let known = Known { root: temp.path().to_owned(), ..Known::default() };
    let [mut a, mut b] = ["a", "b"].map(|name| Holder::new(name, &known, 100, 2));
    assert_eq!(a.lend(60, false).room, Room::Enough);
    // Neither fits beside the other, and both give back what they do not use.
    assert_eq!(b.lend(60, false).room, Room::HeldByOthers);
    let lent = a.lend(120, false);
    assert_eq!(
        (lent.room, lent.held.tokens),
        (Room::Last, 100),
        "what a holds itself is no obstacle"
    );
    assert_eq!(b.lend(1, false).room, Room::HeldByOthers);
    a.end(90);
    a.lend(0, false);
    assert_eq!(b.begin(30), Some(10), "the last call takes what is left");
    b.end(10);
    let lent = a.lend(1, false);
    assert_eq!((lent.room, lent.held.tokens, lent.elsewhere.tokens), (Room::HeldByOthers, 90, 0));
    b.lend(0, true);
    let lent = a.lend(1, false);
    assert_eq!((lent.room, lent.held.tokens, lent.elsewhere.tokens), (Room::Last, 90, 10));
    let read = read_leases(&temp.path().join("leases")).expect("read").expect("there");
    assert_eq!((read.0.tokens, read.1.tokens), (100, 0));
}

#[test]
fn bills_without_a_lease_count_and_a_damaged_entry_is_named() {
    let temp = tempfile::tempdir().expect("a folder");
    let known = Known { root: temp.path().to_owned(), ..Known::default() };
    let mut earlier = Holder::new("earlier", &known, 100, 1);
    earlier.calls = 1;
    earlier.end(70);
    let limits = Limits { tokens: Some(100), ..Limits::default() };
    let folder = temp.path().join("leases");
    let before = [("earlier".to_owned(), known.records("earlier"))];
    let leases =
        Leases::open(folder.clone(), limits, 1, LOST, before, Box::new(known)).expect("opened");
    let used = Amount::default();
    let wish = Wish { holder: "a".to_owned(), spent: used, used, more: tokens(50), closes: false };
    let lent = leases.lend(&wish).expect("lent");
    assert_eq!((lent.room, lent.held.tokens, lent.elsewhere.tokens), (Room::Last, 30, 70));
    std::fs::write(folder.join("2.json"), "{").expect("written");
    let error = leases.lend(&wish).expect_err("damaged").to_string();
    assert!(error.contains("2.json"), "{error}");
}
