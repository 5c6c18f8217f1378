//! Calls that reach their provider through a gateway service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medalist_llm::Config;
use medalist_llm::events::{Event, EventSink};
use medalist_llm::record::Outcome;
use medalist_llm::service::{Server, ServiceFile};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::*;

const FAST: &str = "[timeouts]\nhold_s = 1\nretry_after_s = 30\n";

/// A service on loopback; its connections end with it.
struct Service {
    file: PathBuf,
    port: u16,
    accepts: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn serve(provider: &Provider, folder: &Path) -> Service {
    let config = Config::parse(&settings(provider, FAST), Path::new("llm.toml")).expect("good");
    let server = Server::new(config, EventSink::ignore()).expect("a service");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let file = server.file(address.to_string()).publish(folder).expect("a file");
    let accepts = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(Arc::clone(&server).serve(stream));
        }
    });
    Service { file, port: address.port(), accepts }
}

/// A harness whose calls go through the service that a folder names.
fn harness(provider: &Provider, folder: &Path) -> Bench {
    let text = format!("via = \"service\"\n{}", settings(provider, FAST));
    let bench = Bench::with(&text, tempfile::tempdir().expect("a folder"), None);
    bench.gateway.find_service_in(vec![folder.to_owned()]);
    bench
}

/// Changes a word in a service's file.
fn change(file: &Path, key: &str, value: &str) {
    let mut known: Value =
        serde_json::from_slice(&std::fs::read(file).expect("there")).expect("JSON");
    known[key] = value.into();
    std::fs::write(file, known.to_string()).expect("written");
}

fn word(file: &Path, key: &str) -> String {
    let known: Value = serde_json::from_slice(&std::fs::read(file).expect("there")).expect("JSON");
    known[key].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn bytes_pass_as_they_are_and_the_key_is_added_by_the_service() {
    let provider = Provider::start(|_, seen| match seen.head.contains("/messages") {
        true => stream(&message_events()),
        false => stream(&chat_events()),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let service = serve(&provider, folder.path()).await;
    let (through, direct) = (harness(&provider, folder.path()), Bench::new(&provider, ""));
    for (path, headers) in [
        (CHAT_PATH, "authorization: Bearer dummy\r\n"),
        ("/anthropic/v1/messages", "x-api-key: dummy\r\nanthropic-version: 1\r\n"),
        ("/anthropic/v1/messages", "authorization: Bearer dummy\r\nanthropic-version: 1\r\n"),
        ("/gemini/v1beta/models/m:streamGenerateContent?alt=sse", "x-goog-api-key: dummy\r\n"),
    ] {
        let answers = [
            through.post(path, headers, ASK_STREAM).await,
            direct.post(path, headers, ASK_STREAM).await,
        ];
        assert_eq!(answers[0].status, 200, "{path}: {}", answers[0].text());
        assert_eq!(answers[0].body, answers[1].body, "{path}");
        let seen = provider.seen();
        let [.., a, b] = &seen[..] else { panic!("both reach the provider") };
        for name in ["authorization", "x-api-key", "x-goog-api-key", "anthropic-version"] {
            assert_eq!(a.header(name), b.header(name), "{path}: {name}");
        }
        assert_eq!((&a.head.lines().next(), &a.body), (&b.head.lines().next(), &b.body));
        assert!(a.head.contains(KEY) && !a.head.contains("x-medalist"), "{}", a.head);
        assert!(!a.head.contains(&word(&service.file, "token")));
    }
    let (ours, theirs) = (through.calls(), direct.calls());
    let bill = |calls: &[medalist_llm::record::CallRecord]| -> Vec<_> {
        calls.iter().map(|c| (c.outcome, c.tokens, c.picodollars)).collect()
    };
    assert_eq!(bill(&ours), bill(&theirs));
}

#[tokio::test]
async fn a_service_that_is_away_or_another_one_is_an_outage_and_is_said_plainly() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let temp = tempfile::tempdir().expect("a folder");
    let folder = ServiceFile::folder(temp.path());
    let bench = harness(&provider, &folder);
    // A call is tried again less and less often, and held for a second.
    let held = async |bench: &Bench, says: &str| {
        loop {
            let answer = bench.post(CHAT_PATH, "", ASK).await;
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("20")), "{says}");
            assert!(!answer.text().contains("127.0.0.1"), "the agent is told nothing of it");
            let told = bench.events().into_iter().rev().find_map(|event| match event {
                Event::ServiceAway { message } => Some(message),
                _ => None,
            });
            if told.is_some_and(|told| told.contains(says)) {
                return;
            }
        }
    };
    let answered =
        async |bench: &Bench| while bench.post(CHAT_PATH, "", ASK).await.status != 200 {};
    held(&bench, "there is none").await;
    let service = serve(&provider, &folder).await;
    let (token, certificate) =
        (word(&service.file, "token"), word(&service.file, "certificate_sha256"));
    change(&service.file, "token", "wrong");
    held(&bench, "does not take the token").await;
    change(&service.file, "token", &token);
    change(&service.file, "certificate_sha256", &"0".repeat(64));
    held(&bench, "shows another certificate").await;
    change(&service.file, "certificate_sha256", &certificate);
    let events = bench.events().len();
    answered(&bench).await;
    let is_back = |event: &Event| matches!(event, Event::ServiceBack { .. });
    assert_eq!(bench.events()[events..].iter().filter(|event| is_back(event)).count(), 1);
    let last_port = service.port;
    drop(service);
    // A call on a connection that ends in this moment may have been passed on, for all that is known.
    while bench.post(CHAT_PATH, "", ASK).await.status == 502 {}
    held(&bench, "nobody answers at").await;

    // Started again elsewhere, it is found while a call waits for it.
    let ((), service) = tokio::join!(answered(&bench), serve(&provider, &folder));
    assert!(service.port != last_port && service.file.ends_with("service-2.json"));
    assert_eq!(std::fs::read_dir(&folder).expect("listed").count(), 1, "its file is the only one");
    assert!(bench.attempt.held() > std::time::Duration::from_secs(1));
    assert_eq!(provider.seen().len(), 2);
    assert!(bench.gateway.missing_service().await.is_none());
    let bill = bench.calls();
    assert!(bill.iter().all(|c| matches!(c.outcome, Outcome::Ok | Outcome::UpstreamError)));
    let answers = bill.iter().filter(|c| c.outcome == Outcome::Ok && c.tokens.total() > 0);
    assert_eq!(answers.count(), 2, "only answers are billed as such");
}

#[tokio::test]
async fn all_harnesses_wait_for_what_one_of_them_has_heard() {
    let provider = Provider::start(|nth, _| match nth {
        0 => reply(429, "retry-after: 30\r\n", "{\"error\":{\"message\":\"busy\"}}"),
        1 => reply(402, "", "{\"error\":{\"code\":\"insufficient_quota\"}}"),
        _ => reply(200, "", CHAT),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let _service = serve(&provider, folder.path()).await;
    let benches = [harness(&provider, folder.path()), harness(&provider, folder.path())];
    for bench in &benches {
        assert_eq!(bench.post(CHAT_PATH, "", ASK).await.status, 503);
    }
    assert_eq!(provider.seen().len(), 1, "the second one has not asked the provider");
    // Another model of the key is asked for, until the provider wants money.
    let other = ASK.replace("\"m\"", "\"m-2\"");
    for bench in &benches {
        assert_eq!(bench.post(CHAT_PATH, "", &other).await.status, 503);
        let refused = |event: &Event| matches!(event, Event::MoneyRefused { status: 402, code, .. } if code == "insufficient_quota");
        assert!(bench.events().iter().any(refused), "{:?}", bench.events());
    }
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test]
async fn strangers_and_unlisted_routes_reach_no_provider() {
    let provider = Provider::start(|_, _| reply(200, "", &CHAT.replace("Hi", KEY))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let service = serve(&provider, folder.path()).await;
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .build()
        .expect("a client");
    let token = word(&service.file, "token");
    let ask = async |path: &str, token: &str, model: &str| {
        let url = format!("https://127.0.0.1:{}{path}", service.port);
        let post = client.post(url).header("x-medalist-model", model).body(ASK);
        let post = if token.is_empty() { post } else { post.bearer_auth(token) };
        post.send().await.expect("an answer").status().as_u16()
    };
    for wrong in ["", "x", &token[1..], &format!("{token}0")] {
        assert_eq!(ask(CHAT_PATH, wrong, "m").await, 401);
    }
    for path in [
        "/openai/files",
        "/openai/v1/models",
        "/medalist/budget",
        "/elsewhere/v1/chat/completions",
        "/",
    ] {
        assert_eq!(ask(path, &token, "m").await, 404, "{path}");
    }
    assert_eq!(provider.seen().len(), 0);
    // A key in an answer stays in the service, whoever asks.
    let bench = harness(&provider, folder.path());
    let answer = bench.post_broken(CHAT_PATH, ASK).await;
    assert!(answer.status != 200 && !answer.text().contains(KEY), "{answer:?}");
    let bill = bench.calls_when(|calls| calls.len() == 1).await;
    assert!(bill[0].outcome != Outcome::Ok && bill[0].picodollars > Some(0), "{bill:?}");
    assert_eq!(provider.seen().len(), 1);
}
