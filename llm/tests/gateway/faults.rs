//! Providers that cut, stall, refuse, and lie.

use std::time::Duration;

use medalist_llm::events::Event;
use medalist_llm::record::Outcome;
use medalist_llm::usage::UsageSource;
use tokio::io::AsyncWriteExt;

use crate::support::*;

const FAST: &str =
    "[timeouts]\nidle_s = 0.3\nfirst_byte_s = 0.5\nhold_s = 3\nretry_after_s = 0.2\n";

fn busy(nth: usize, times: usize, status: u16, headers: &str) -> Vec<Step> {
    if nth < times {
        reply(status, headers, "{\"error\":{\"message\":\"busy\"}}")
    } else {
        reply(200, "", CHAT)
    }
}

#[tokio::test]
async fn a_stream_cut_at_any_event_is_never_a_tidy_end() {
    for (path, body, events) in [
        (CHAT_PATH, ASK_STREAM, chat_events()),
        ("/anthropic/v1/messages", ASK_STREAM, message_events()),
    ] {
        for count in 0..=events.len() {
            for tidy in [true, false] {
                let some: Vec<&'static str> = events[..count].to_vec();
                let provider = Provider::start(move |_, _| {
                    let mut steps = stream(&some);
                    if !tidy {
                        steps.pop();
                    }
                    steps
                })
                .await;
                let bench = Bench::new(&provider, "");
                let answer = bench.post_broken(path, body).await;
                let finished =
                    events[..count].iter().any(|e| e.contains("stop\"") || e.contains("end_turn"));
                let ended = events[..count]
                    .iter()
                    .any(|e| e.contains("[DONE]") || e.contains("message_stop"));
                assert_eq!(answer.whole, ended || (finished && tidy), "{path} {count} {tidy}");
                let calls = bench.calls_when(|c| c.len() == 1).await;
                let expected = if answer.whole { Outcome::Ok } else { Outcome::Cut };
                assert_eq!(calls[0].outcome, expected, "{path} {count} {tidy}");
                assert!(
                    calls[0].picodollars.is_some_and(|p| p > 0),
                    "{path} {count}: a cut call is paid for"
                );
            }
        }
    }
}

#[tokio::test]
async fn refusals_that_began_nothing_are_tried_again_and_others_never() {
    for (status, headers, times, tries, seen) in [
        (429, "retry-after: 0\r\n", 3, 4, 200),
        (529, "retry-after-ms: 10\r\n", 3, 4, 200),
        (503, "", 1, 2, 200),
        (500, "retry-after: 0\r\n", 9, 3, 500),
        (400, "", 9, 1, 400),
        (404, "", 9, 1, 404),
        (302, "location: http://127.0.0.1:1/\r\n", 9, 1, 502),
    ] {
        let provider = Provider::start(move |nth, _| busy(nth, times, status, headers)).await;
        let bench = Bench::new(&provider, FAST);
        let answer = bench.post(CHAT_PATH, "", ASK).await;
        assert_eq!((answer.status, provider.seen().len()), (seen, tries), "{status}");
        let calls = bench.calls();
        assert_eq!(calls[0].tries as usize, tries, "{status}");
        assert_eq!(calls[0].picodollars == Some(0), seen != 200, "{status}");
        assert!(!answer.head.contains("location:"));
    }
}

#[tokio::test]
async fn a_storm_is_absorbed_until_the_client_would_leave() {
    let provider = Provider::start(|_, _| reply(529, "retry-after: 3600\r\n", "{}")).await;
    let bench = Bench::new(&provider, FAST);
    let answer = bench.post("/anthropic/v1/messages", "x-stainless-timeout: 1\r\n", ASK).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("20")));
    assert_eq!(answer.json()["error"]["type"], "overloaded_error");
    assert!(provider.seen().len() >= 2, "a wait of an hour is capped");
    assert!(bench.attempt.held() > Duration::from_millis(200));
    let call = &bench.calls()[0];
    assert!(call.held_ms > 200.0 && call.picodollars == Some(0), "{call:?}");
}

#[tokio::test]
async fn a_refused_key_or_an_empty_account_stops_the_provider_and_tells_the_operator() {
    for (status, body) in [
        (
            401,
            r#"{"error":{"code":"invalid_api_key","message":"Incorrect key sk-real-0123456789abcdef0123456789"}}"#,
        ),
        (402, r#"{"error":{"code":"insufficient_balance"}}"#),
        (429, r#"{"error":{"code":"insufficient_quota"}}"#),
    ] {
        let provider = Provider::start(move |_, _| reply(status, "", body)).await;
        let bench = Bench::new(&provider, FAST);
        let answers = tokio::join!(bench.post(CHAT_PATH, "", ASK), bench.post(CHAT_PATH, "", ASK));
        for answer in [answers.0, answers.1] {
            assert_eq!(answer.status, 503);
            assert!(!answer.text().contains("sk-real"), "the provider's text stays here");
        }
        assert!(provider.seen().len() <= 2, "others wait at the gate");
        let told =
            bench.events().into_iter().filter(|e| matches!(e, Event::MoneyRefused { .. })).count();
        assert_eq!(told, 1);
    }
}

#[tokio::test]
async fn stalls_end_and_cost_what_came() {
    let provider = Provider::start(|_, _| {
        let events = chat_events();
        vec![events_head(), chunk(events[0]), chunk(events[1]), Step::AwaitClose]
    })
    .await;
    let bench = Bench::new(&provider, FAST);
    let answer = bench.post(CHAT_PATH, "", ASK_STREAM).await;
    assert!(!answer.whole && answer.text().contains("Hi"));
    let call = &bench.calls()[0];
    assert_eq!(
        (call.outcome, call.usage, call.output_tokens),
        (Outcome::Cut, UsageSource::Estimated, 1)
    );
}

#[tokio::test]
async fn slow_heads_are_given_up_and_may_have_cost_something() {
    let provider =
        Provider::start(|_, _| vec![Step::Send(b"HTTP/1.1 200".to_vec()), Step::AwaitClose]).await;
    let bench = Bench::new(&provider, FAST);
    let answer = bench.post(CHAT_PATH, "", ASK).await;
    assert_eq!((answer.status, provider.seen().len()), (502, 1));
    let call = &bench.calls()[0];
    assert_eq!(call.usage, UsageSource::Estimated);
    assert!(call.picodollars.is_some_and(|p| p > 0));
}

#[tokio::test]
async fn a_connection_cut_before_the_answer_is_not_sent_again() {
    let provider = Provider::start(|_, _| vec![]).await;
    let bench = Bench::new(&provider, FAST);
    assert_eq!(bench.post(CHAT_PATH, "", ASK).await.status, 502);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_is_waited_for() {
    let provider = Provider::start(|_, _| vec![]).await;
    let settings = settings(&provider, FAST).replace(&provider.port.to_string(), "1");
    let bench = Bench::with(&settings, tempfile::tempdir().expect("a folder"), None);
    let answer = bench.post(CHAT_PATH, "x-stainless-timeout: 2\r\n", ASK).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
}

#[tokio::test]
async fn answers_that_are_no_json_pass_and_are_estimated() {
    let provider = Provider::start(|_, _| reply(200, "", "<html>not what you asked</html>")).await;
    let bench = Bench::new(&provider, "");
    let answer = bench.post(CHAT_PATH, "", ASK).await;
    assert_eq!((answer.status, answer.text()), (200, "<html>not what you asked</html>"));
    assert_eq!(bench.calls()[0].usage, UsageSource::Estimated);
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_provider_and_pays_for_what_came() {
    let provider = Provider::start(|_, seen| {
        let events = chat_events();
        if seen.json()["stream"] == true {
            vec![events_head(), chunk(events[0]), chunk(events[1]), Step::AwaitClose]
        } else {
            vec![Step::AwaitClose]
        }
    })
    .await;
    let bench = Bench::new(&provider, "");
    for (number, body) in [ASK, ASK_STREAM].iter().enumerate() {
        let mut client = bench.connect();
        client
            .write_all(&request("POST", CHAT_PATH, "", body.as_bytes()))
            .await
            .expect("the gateway reads");
        until(|| (provider.seen().len() > number).then_some(())).await;
        drop(client);
        until(|| (provider.left() > number).then_some(())).await;
        let calls = bench.calls_when(|c| c.len() > number).await;
        assert_eq!(
            (calls[number].outcome, calls[number].usage),
            (Outcome::ClientGone, UsageSource::Estimated)
        );
        assert!(calls[number].picodollars.is_some_and(|p| p > 0));
    }
    assert_eq!(bench.attempt.balances().0.reserved.calls, 0);
}

#[tokio::test]
async fn an_answer_that_its_client_leaves_is_read_to_its_end_for_the_bill() {
    use tokio::io::AsyncReadExt;
    let body = CHAT.replace("Hi", &"x".repeat(8 << 20));
    let provider = Provider::start(move |_, _| reply(200, "", &body)).await;
    let bench = Bench::new(&provider, "");
    let mut client = bench.connect();
    client
        .write_all(&request("POST", CHAT_PATH, "", ASK.as_bytes()))
        .await
        .expect("the gateway reads");
    client.read_u8().await.expect("the answer begins");
    drop(client);
    let calls = bench.calls_when(|c| c.len() == 1).await;
    assert_eq!((calls[0].outcome, calls[0].usage), (Outcome::ClientGone, UsageSource::Reported));
    assert_eq!(calls[0].tokens.total(), 15);
}

#[tokio::test]
async fn large_answers_pass_unchanged_and_their_usage_is_found() {
    let provider = Provider::start(|_, _| {
        let body = CHAT.replace("Hi", &"x".repeat(24 << 20));
        reply(200, "", &body)
    })
    .await;
    let bench = Bench::new(&provider, "");
    let answer = bench.post(CHAT_PATH, "", ASK).await;
    assert!(answer.whole);
    assert_eq!(answer.body.len(), CHAT.len() - 2 + (24 << 20));
    assert_eq!(bench.calls()[0].tokens.total(), 15);
}

#[tokio::test]
async fn a_key_in_an_answer_never_reaches_the_agent() {
    for (status, whole) in [(200, false), (400, true)] {
        let provider =
            Provider::start(move |_, _| reply(status, "", &format!("{{\"echo\":\"{KEY}\"}}")))
                .await;
        let bench = Bench::new(&provider, "");
        let answer = bench.post_broken(CHAT_PATH, ASK).await;
        assert!(!answer.text().contains("0123456789abcdef") && answer.whole == whole);
        assert!(bench.events().iter().any(|e| matches!(e, Event::KeyInAnswer { .. })));
    }
}

#[tokio::test]
async fn answers_compressed_unasked_become_plain() {
    let packed = zstd::encode_all(CHAT.as_bytes(), 3).expect("memory");
    let provider = Provider::start(move |_, _| {
        let head = format!(
            "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            packed.len()
        );
        vec![Step::Send([head.as_bytes(), &packed].concat())]
    })
    .await;
    let bench = Bench::new(&provider, "");
    assert_eq!(bench.post(CHAT_PATH, "", ASK).await.text(), CHAT);
}

#[tokio::test]
async fn a_server_that_does_not_know_stream_options_is_asked_without_them() {
    let provider = Provider::start(|_, seen| {
        if seen.json().get("stream_options").is_some() {
            reply(400, "", "{\"error\":{\"message\":\"unknown field stream_options\"}}")
        } else {
            stream(&chat_events())
        }
    })
    .await;
    let bench = Bench::new(&provider, "");
    for expected in [2, 3] {
        assert_eq!(bench.post(CHAT_PATH, "", ASK_STREAM).await.status, 200);
        assert_eq!(provider.seen().len(), expected);
    }
}
