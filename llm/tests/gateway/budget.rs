//! Limits under many calls at once, and after a kill.

use std::sync::Arc;

use medalist_llm::events::Event;
use medalist_llm::record::Outcome;

use crate::support::*;

/// 32 clients at once ask until they are refused; each answer costs $0.0011.
async fn spend(overshoot: &str, max_tokens: u64) -> (Bench, u64) {
    let answer = CHAT.replace(
        "\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15",
        "\"prompt_tokens\":100,\"completion_tokens\":500,\"total_tokens\":600",
    );
    let provider = Provider::start(move |_, _| reply(200, "", &answer)).await;
    let bench = Bench::new(
        &provider,
        &format!("[budget]\novershoot = \"{overshoot}\"\n[budget.attempt]\ndollars = \"0.01\""),
    );
    let bench = Arc::new(bench);
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let bench = Arc::clone(&bench);
            let body = ASK.replacen('{', &format!("{{\"max_tokens\":{max_tokens},"), 1);
            tokio::spawn(async move {
                let mut good = 0;
                loop {
                    let answer = bench.post(CHAT_PATH, "", &body).await;
                    if answer.status != 200 {
                        assert_eq!(answer.status, 402);
                        assert_eq!(answer.header("x-should-retry"), Some("false"));
                        assert_eq!(answer.json()["error"]["code"], "insufficient_quota");
                        return good;
                    }
                    good += 1;
                }
            })
        })
        .collect();
    let mut good = 0;
    for client in clients {
        good += client.await.expect("no client panics");
    }
    (Arc::into_inner(bench).expect("all clients are done"), good)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cent_ends_with_the_call_that_reaches_it() {
    let (bench, good) = spend("bounded", 500).await;
    let spent = bench.attempt.balances().0.spent;
    assert_eq!(spent.money.0, good * 1_100_000_000);
    // Ten calls of $0.0011 are over the cent; the tenth began below it.
    assert_eq!(good, 10);
    let told: Vec<_> = bench
        .events()
        .into_iter()
        .filter(|e| matches!(e, Event::BudgetReached { .. } | Event::BudgetWarning { .. }))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let budget = bench.get("/medalist/budget").await.json();
    assert_eq!(budget["attempt"]["remaining"]["dollars"], 0.0);
    assert!(budget["attempt"]["reached_at"].is_string());
    let refused = bench.calls().iter().filter(|c| c.outcome == Outcome::RefusedBudget).count();
    assert_eq!(refused, 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cent_is_never_passed_where_the_settings_say_never() {
    let (bench, good) = spend("never", 500).await;
    let spent = bench.attempt.balances().0.spent;
    assert!(spent.money.0 <= 10_000_000_000, "{good} calls: {spent:?}");
    assert!(good >= 7);
}

#[tokio::test]
async fn answers_are_cut_to_what_is_left_where_the_settings_say_never() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let bench = Bench::new(
        &provider,
        "[budget]\novershoot = \"never\"\n[budget.attempt]\ndollars = \"0.01\"",
    );
    bench.post(CHAT_PATH, "", ASK.replacen('{', "{\"max_completion_tokens\":128000,", 1)).await;
    let sent = provider.seen()[0].json()["max_completion_tokens"].as_u64().expect("a number");
    assert!(sent < 5000, "{sent}");
    assert_eq!(bench.calls()[0].cut_to, Some(sent));
}

#[tokio::test]
async fn tokens_and_calls_are_limits_too_and_the_group_binds() {
    for (limit, calls) in
        [("attempt]\ncalls = 3", 3), ("attempt]\ntokens = 40", 3), ("group]\ncalls = 2", 2)]
    {
        let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
        let bench = Bench::new(&provider, &format!("[budget.{limit}"));
        let mut good = 0;
        while bench.post(CHAT_PATH, "", ASK).await.status == 200 {
            good += 1;
        }
        assert_eq!(good, calls, "{limit}");
        let answer = bench.post("/anthropic/v1/messages", "", ASK).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["type"].as_str()),
            (402, Some("billing_error"))
        );
        assert!(answer.header("x-medalist-budget-remaining").is_some_and(|h| h.ends_with("=0")));
        let group = if limit.starts_with("group") { "the run group" } else { "this attempt" };
        assert!(answer.text().contains(group), "{}", answer.text());
    }
}

#[tokio::test]
async fn models_without_a_price_are_refused_under_a_limit_in_dollars() {
    for (setting, status) in [("refuse", 403), ("allow", 200)] {
        let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
        let bench = Bench::new(
            &provider,
            &format!("[budget]\nunknown_price = \"{setting}\"\n[budget.attempt]\ndollars = \"1\""),
        );
        assert_eq!(
            bench.post(CHAT_PATH, "", ASK.replace("\"m\"", "\"nobody-knows\"")).await.status,
            status
        );
    }
}

#[tokio::test]
async fn a_harness_that_comes_back_knows_what_was_spent_and_what_was_lost() {
    let provider =
        Provider::start(
            |nth, _| if nth == 0 { reply(200, "", CHAT) } else { vec![Step::AwaitClose] },
        )
        .await;
    let limit = "[budget.attempt]\ncalls = 2";
    let bench = Bench::new(&provider, limit);
    bench.post(CHAT_PATH, "", ASK).await;
    // A kill leaves the line of the call that was sent, and none of its end.
    let dir = bench.dir.path().to_owned();
    let pending = bench.post(CHAT_PATH, "", ASK);
    tokio::pin!(pending);
    let kept = tokio::select! {
        _ = &mut pending => panic!("the provider does not answer"),
        kept = until(|| {
            (provider.seen().len() == 2).then(|| std::fs::read(dir.join("llm/in_flight.jsonl")).expect("reads"))
        }) => kept,
    };
    let calls = std::fs::read(dir.join("llm/calls.jsonl")).expect("reads");
    let after = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(after.path().join("llm")).expect("a folder");
    std::fs::write(after.path().join("llm/in_flight.jsonl"), kept).expect("writes");
    std::fs::write(
        after.path().join("llm/calls.jsonl"),
        [&calls[..], b"{\"id\":7,\"torn"].concat(),
    )
    .expect("writes");
    let resumed = Bench::with(&settings(&provider, limit), after, None);
    let outcomes: Vec<_> = resumed.calls().iter().map(|c| (c.id, c.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::Ok), (2, Outcome::HarnessLost)]);
    assert_eq!(resumed.post(CHAT_PATH, "", ASK).await.status, 402);
    assert!(resumed.attempt.balances().0.spent.money.0 > 20_000_000);
}
