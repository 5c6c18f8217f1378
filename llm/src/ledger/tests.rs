use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::prices::OwnPrice;
use crate::prices::PriceTable;

/// A dollar per million tokens: a token is a million picodollars.
fn price() -> Price {
    static PRICE: LazyLock<Price> = LazyLock::new(make_price);
    PRICE.clone()
}

fn make_price() -> Price {
    let own: OwnPrice = toml::from_str("input = \"1\"\noutput = \"1\"").expect("a row");
    let table = PriceTable::new([("m".to_owned(), own)]);
    table.find("", "", "m", None, Utc::now()).expect("own row")
}

fn limits(picodollars: u64) -> Limits {
    Limits { dollars: Some(Picodollars(picodollars)), ..Limits::default() }
}

fn ask(price: &Price, input: u64, max_output: u64) -> Ask<'_> {
    Ask {
        input,
        input_bound: input,
        max_output: Some(max_output),
        choices: 1,
        writes: true,
        price: Some(price),
    }
}

fn cost(tokens: u64) -> Amount {
    Amount { money: Picodollars(tokens * 1_000_000), tokens, calls: 1 }
}

fn ledger(group: Limits, overshoot: Overshoot) -> Arc<Ledger> {
    Ledger::new(group, overshoot, EventSink::ignore())
}

#[test]
fn a_call_that_does_not_fit_beside_others_waits_and_is_not_refused() {
    let (ledger, price) = (ledger(Limits::default(), Overshoot::Bounded), price());
    ledger.open("a", limits(1000 * 1_000_000), Amount::default());
    let Admission::Granted(mut first) = ledger.try_admit("a", &ask(&price, 100, 500)) else {
        panic!("fits")
    };
    assert_eq!(first.amount(), cost(600));
    assert!(matches!(ledger.try_admit("a", &ask(&price, 100, 500)), Admission::Wait));
    first.settle(cost(110), 10);
    drop(first);
    let Admission::Granted(second) = ledger.try_admit("a", &ask(&price, 100, 500)) else {
        panic!("fits now")
    };
    drop(second);
    let (balance, group) = ledger.balances("a");
    assert_eq!((balance.spent, balance.reserved), (cost(110), Amount::default()));
    assert_eq!(group.spent, cost(110));
}

#[test]
fn the_last_call_alone_may_go_over_and_then_it_is_over() {
    let (ledger, price) = (ledger(Limits::default(), Overshoot::Bounded), price());
    ledger.open("a", limits(1000 * 1_000_000), Amount::default());
    let Admission::Granted(mut only) = ledger.try_admit("a", &ask(&price, 900, 5000)) else {
        panic!("alone")
    };
    assert_eq!(ledger.balances("a").0.reserved.money, Picodollars(1000 * 1_000_000));
    only.mark_sent();
    only.settle(cost(1200), 300);
    drop(only);
    let Admission::Refused(why) = ledger.try_admit("a", &ask(&price, 1, 1)) else {
        panic!("used up")
    };
    assert!(why.contains("$0.0012 of $0.001"), "{why}");
    assert!(ledger.balances("a").0.reached_at.is_some());
}

#[test]
fn never_cuts_the_answer_to_what_is_left() {
    let (ledger, price) = (ledger(Limits::default(), Overshoot::Never), price());
    ledger.open("a", limits(1000 * 1_000_000), Amount::default());
    let Admission::Granted(mut call) = ledger.try_admit("a", &ask(&price, 100, 128_000)) else {
        panic!("fits")
    };
    assert_eq!((call.output_cap(), call.amount()), (Some(900), cost(1000)));
    assert!(matches!(ledger.try_admit("a", &ask(&price, 100, 10)), Admission::Wait));
    call.settle(cost(500), 400);
    assert!(
        matches!(ledger.try_admit("a", &ask(&price, 100, 10)), Admission::Wait),
        "its price may still rise"
    );
    drop(call);
    assert!(matches!(ledger.try_admit("a", &ask(&price, 600, 10)), Admission::Refused(_)));
    assert!(matches!(ledger.try_admit("a", &ask(&price, 100, 10)), Admission::Granted(_)));
}

#[test]
fn unsent_calls_cost_nothing_and_lost_ones_what_was_reserved() {
    let (ledger, price) = (ledger(Limits::default(), Overshoot::Bounded), price());
    ledger.open("a", Limits { calls: Some(2), ..Limits::default() }, Amount::default());
    for sent in [false, true, true] {
        let Admission::Granted(mut call) = ledger.try_admit("a", &ask(&price, 10, 5)) else {
            panic!("fits")
        };
        if sent {
            call.mark_sent();
        }
    }
    assert_eq!(ledger.balances("a").0.spent, Amount { calls: 2, ..cost(30) });
    assert!(matches!(ledger.try_admit("a", &ask(&price, 10, 5)), Admission::Refused(_)));
}

#[test]
fn the_group_binds_all_attempts_and_reopening_counts_once() {
    let (ledger, price) = (ledger(limits(1000 * 1_000_000), Overshoot::Bounded), price());
    ledger.open("a", Limits::default(), cost(600));
    ledger.open("a", Limits::default(), cost(600));
    ledger.open("b", Limits::default(), cost(399));
    let Admission::Granted(mut call) = ledger.try_admit("b", &ask(&price, 1, 0)) else {
        panic!("fits")
    };
    call.settle(cost(1), 0);
    assert!(matches!(ledger.try_admit("a", &ask(&price, 1, 1)), Admission::Refused(_)));
}

#[test]
fn warnings_and_ends_are_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = EventSink::new(move |event| sink.lock().expect("unpoisoned").push(event));
    let ledger = Ledger::new(Limits::default(), Overshoot::Bounded, events);
    ledger.open("a", Limits { tokens: Some(100), ..Limits::default() }, Amount::default());
    let price = price();
    for tokens in [79, 2, 1, 50] {
        let Admission::Granted(mut call) = ledger.try_admit("a", &ask(&price, 1, 1)) else {
            panic!("fits")
        };
        call.settle(cost(tokens), 0);
    }
    let attempt = Some("a".to_owned());
    let expected = [
        Event::BudgetWarning { attempt: attempt.clone(), limit: "tokens" },
        Event::BudgetReached { attempt, limit: "tokens" },
    ];
    assert_eq!(*told.lock().expect("unpoisoned"), expected);
}

#[derive(Clone, Copy, Debug)]
struct Call {
    attempt: u8,
    input: u64,
    max_output: u64,
    /// Of 100, how much of the longest answer is written.
    share: u64,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Settled,
    Amended,
    NeverSent,
    Lost,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let end =
        prop_oneof![Just(End::Settled), Just(End::Amended), Just(End::NeverSent), Just(End::Lost)];
    let call = (0..4u8, 1..500u64, 1..3000u64, 0..=100u64, end).prop_map(
        |(attempt, input, max_output, share, end)| Call { attempt, input, max_output, share, end },
    );
    prop::collection::vec(call, 2000..3000)
}

/// Runs thousands of calls on many threads and returns what they really cost, by attempt.
fn run_all(ledger: &Arc<Ledger>, calls: Vec<Call>) -> [u64; 4] {
    let spent: Arc<[AtomicU64; 4]> = Arc::default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
    runtime.block_on(async {
        let tasks: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let (ledger, spent) = (Arc::clone(ledger), Arc::clone(&spent));
                tokio::spawn(async move {
                    let (price, name) = (price(), call.attempt.to_string());
                    let Ok(mut held) =
                        ledger.admit(&name, &ask(&price, call.input, call.max_output)).await
                    else {
                        return;
                    };
                    tokio::task::yield_now().await;
                    let longest = held.output_cap().unwrap_or(call.max_output).min(call.max_output);
                    let actual = call.input + longest * call.share / 100;
                    held.mark_sent();
                    let actual = match call.end {
                        End::Settled => actual,
                        End::Amended => {
                            held.settle(cost(call.input), 0);
                            tokio::task::yield_now().await;
                            actual
                        }
                        End::NeverSent => {
                            held.sent = false;
                            return;
                        }
                        End::Lost => {
                            let reserved = held.amount().tokens;
                            drop(held);
                            spent[usize::from(call.attempt)].fetch_add(reserved, Ordering::SeqCst);
                            return;
                        }
                    };
                    held.settle(cost(actual), actual - call.input);
                    spent[usize::from(call.attempt)].fetch_add(actual, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no call panics");
        }
    });
    std::array::from_fn(|i| spent[i].load(Ordering::SeqCst))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Books are exact, nothing stays reserved, and with `never` no limit is ever passed.
    #[test]
    fn thousands_of_concurrent_calls_never_pass_a_limit(
        calls in calls(), own in 10_000..2_000_000u64, group in 10_000..3_000_000u64,
    ) {
        let ledger = ledger(limits(group * 1_000_000), Overshoot::Never);
        for attempt in 0..4 {
            ledger.open(&attempt.to_string(), limits(own * 1_000_000), Amount::default());
        }
        let spent = run_all(&ledger, calls);
        for (attempt, spent) in spent.iter().enumerate() {
            let balance = ledger.balances(&attempt.to_string()).0;
            prop_assert_eq!(balance.spent.money, Picodollars(spent * 1_000_000));
            prop_assert_eq!(balance.reserved, Amount::default());
            prop_assert!(*spent <= own);
        }
        prop_assert!(spent.iter().sum::<u64>() <= group);
    }

    /// With `bounded`, a limit is passed by less than one call's answer.
    #[test]
    fn bounded_passes_a_limit_by_at_most_the_last_call(
        calls in calls(), own in 10_000..2_000_000u64, group in 10_000..3_000_000u64,
    ) {
        let ledger = ledger(limits(group * 1_000_000), Overshoot::Bounded);
        for attempt in 0..4 {
            ledger.open(&attempt.to_string(), limits(own * 1_000_000), Amount::default());
        }
        let spent = run_all(&ledger, calls);
        let most = 3500;
        for (attempt, spent) in spent.iter().enumerate() {
            let balance = ledger.balances(&attempt.to_string()).0;
            prop_assert_eq!(balance.spent.money, Picodollars(spent * 1_000_000));
            prop_assert_eq!(balance.reserved, Amount::default());
            prop_assert!(*spent < own + most);
        }
        prop_assert!(spent.iter().sum::<u64>() < group + most);
    }
}
