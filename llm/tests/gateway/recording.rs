//! What is recorded can be replayed without any provider, byte for byte.

use std::io::Read;
use std::path::Path;

use medalist_llm::record::{Outcome, Replay, ReplayOptions};
use tempfile::TempDir;

use crate::support::*;

/// Requests and the provider's answers to them.
async fn record() -> (TempDir, Vec<(&'static str, String, Answer)>) {
    let provider = Provider::start(|nth, seen| {
        let body = seen.json();
        match (body["stream"] == true, seen.head.contains("/v1/messages")) {
            (true, true) => stream(&message_events()),
            (true, false) => stream(&chat_events()),
            // Equal questions get different answers.
            (false, _) => {
                reply(200, "request-id: r\r\n", &CHAT.replace("Hi", &format!("Hi {nth}")))
            }
        }
    })
    .await;
    let bench = Bench::new(&provider, "");
    let mut all = Vec::new();
    for (path, body) in [
        (CHAT_PATH, ASK.to_owned()),
        (CHAT_PATH, ASK_STREAM.to_owned()),
        ("/anthropic/v1/messages", ASK_STREAM.to_owned()),
        (CHAT_PATH, ASK.replacen('{', "{\"user\":\"u1\",", 1)),
        (CHAT_PATH, ASK.replace("hi", &"long ".repeat(100))),
    ] {
        all.push((path, body.clone(), bench.post(path, "", &body).await));
    }
    assert!(all.iter().all(|(_, _, answer)| answer.status == 200 && answer.whole));
    (bench.end(), all)
}

/// Settings whose provider is nowhere and whose key does not exist.
fn offline() -> &'static str {
    "[upstreams.openai]\nbase_url = \"http://127.0.0.1:1\"\n[upstreams.anthropic]\nbase_url = \"http://127.0.0.1:1\"\n[timeouts]\nhold_s = 0.2\n[prices.m]\ninput = \"1\"\noutput = \"2\""
}

fn replay(dir: &Path, options: ReplayOptions) -> Bench {
    let replay = Replay::open(&dir.join("llm/recording"), options).expect("a recording");
    Bench::with(offline(), tempfile::tempdir().expect("a folder"), Some(replay))
}

#[tokio::test]
async fn a_run_is_replayed_byte_for_byte_without_a_provider() {
    let (dir, recorded) = record().await;
    let bench = replay(dir.path(), ReplayOptions::default());
    for (path, body, before) in &recorded {
        // Another user, another order of keys: the same question.
        let again = body.replace("\"u1\"", "\"u2\"");
        let answer = bench.post(path, "", &again).await;
        assert_eq!(
            (answer.status, &answer.body, answer.whole),
            (before.status, &before.body, true)
        );
        assert_eq!(answer.header("content-type"), before.header("content-type"));
    }
    let calls = bench.calls();
    assert!(
        calls
            .iter()
            .all(|c| c.outcome == Outcome::ReplayHit && c.picodollars == Some(0) && c.tries == 0)
    );
    let totals = bench.attempt.summary().expect("reads").totals;
    assert_eq!((totals.calls, totals.replayed_calls), (0, 5));
    assert!(totals.replayed_tokens >= 60);
    assert_eq!(bench.attempt.balances().0.spent.tokens, 0);
}

#[tokio::test]
async fn a_replay_goes_on_where_a_killed_harness_left_it() {
    let (dir, recorded) = record().await;
    let bench = replay(dir.path(), ReplayOptions::default());
    let first = bench.post(CHAT_PATH, "", &recorded[0].1).await;
    assert_eq!(first.body, recorded[0].2.body);
    let records = bench.end();
    let again = Replay::open(&dir.path().join("llm/recording"), ReplayOptions::default());
    let bench = Bench::with(offline(), records, Some(again.expect("a recording")));
    // The second of two equal questions; and its answer again, since it may not have arrived.
    for _ in 0..2 {
        assert_eq!(bench.post(CHAT_PATH, "", ASK).await.body, recorded[3].2.body);
    }
}

#[tokio::test]
async fn a_miss_says_what_differs_and_may_go_through() {
    let (dir, _) = record().await;
    let other = ASK.replace("hi", "bye");
    let bench = replay(dir.path(), ReplayOptions::default());
    let answer = bench.post(CHAT_PATH, "", &other).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (404, Some("replay_miss"))
    );
    assert!(answer.text().contains("`messages[0].content`"), "{}", answer.text());
    assert_eq!(bench.calls()[0].outcome, Outcome::ReplayMiss);
    let bench = replay(dir.path(), ReplayOptions { through: true, ..ReplayOptions::default() });
    let answer = bench.post(CHAT_PATH, "", &other).await;
    assert!(
        answer.status == 503 && answer.text().contains("cannot be reached"),
        "it went to the provider"
    );
}

#[tokio::test]
async fn no_file_holds_the_key() {
    let (dir, _) = record().await;
    let mut files = vec![dir.path().join("llm")];
    let mut checked = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path).expect("reads").map(|e| e.expect("an entry").path()),
            );
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("reads");
        if path.extension().is_some_and(|e| e == "gz") {
            let packed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(&packed[..])
                .read_to_end(&mut bytes)
                .expect("whole blocks");
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 5);
        }
        assert!(!bytes.windows(12).any(|w| w == &KEY.as_bytes()[..12]), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 4);
}
