//! Clients that are broken or hostile.

use std::io::Write;

use medalist_llm::record::{Outcome, Summary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

async fn bench() -> (Provider, Bench) {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let bench =
        Bench::new(&provider, "[policy]\nrequest_bytes = 100000\n[timeouts]\nrequest_s = 0.3\n");
    (provider, bench)
}

#[tokio::test]
async fn nothing_that_is_read_in_two_ways_reaches_the_provider() {
    let (provider, bench) = bench().await;
    let smuggled = format!(
        "POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    );
    let twice = format!(
        "POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n{{}}"
    );
    let folded = format!(
        "POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let elsewhere =
        "GET http://example.org/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            .to_owned();
    let proxy =
        "CONNECT api.openai.com:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned();
    let nonsense = "\u{0}\u{1}\u{2} / HTTP/9\r\n\r\n".to_owned();
    for text in [smuggled, twice, folded, elsewhere, proxy, nonsense] {
        let answer = bench.raw(text.as_bytes()).await;
        assert!(answer.is_none_or(|a| a.status >= 400), "{text}");
    }
    let model = r#"{"model":"m","model":"other","messages":[]}"#;
    assert_eq!(bench.post(CHAT_PATH, "", model).await.status, 400);
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn ten_thousand_headers_are_refused() {
    let (provider, bench) = bench().await;
    let headers: String = (0..10_000).map(|i| format!("x-{i}: y\r\n")).collect();
    let answer = bench.raw(&request("POST", CHAT_PATH, &headers, ASK.as_bytes())).await;
    assert!(answer.is_none_or(|a| a.status == 431));
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut_off() {
    let (_provider, bench) = bench().await;
    for part in [
        "POST /openai/v1/chat",
        &format!("POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{"),
    ] {
        let mut client = bench.connect();
        client.write_all(part.as_bytes()).await.expect("the gateway reads");
        let mut raw = Vec::new();
        client.read_to_end(&mut raw).await.expect("the gateway closes by itself");
        assert!(Answer::parse(&raw).is_none_or(|a| a.status == 408), "{part}");
    }
}

#[tokio::test]
async fn bodies_are_decoded_and_large_ones_refused() {
    let (provider, bench) = bench().await;
    let gzip = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    };
    let bomb = vec![b' '; 50 << 20];
    for (encoding, body, status) in [
        ("gzip", gzip(ASK.as_bytes()), 200),
        ("zstd", zstd::encode_all(ASK.as_bytes(), 3).expect("memory"), 200),
        ("gzip", gzip(&bomb), 413),
        ("zstd", zstd::encode_all(&bomb[..], 3).expect("memory"), 413),
        ("gzip", b"nonsense".to_vec(), 400),
        ("br", b"x".to_vec(), 415),
        ("identity", bomb.clone(), 413),
    ] {
        let head = format!(
            "POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A refused body is not read to its end, so only its beginning is sent.
        let sent = &body[..body.len().min(200_000)];
        let answer = bench.raw(&[head.as_bytes(), sent].concat()).await.expect("an answer");
        assert_eq!(answer.status, status, "{encoding}");
    }
    let seen = provider.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|s| s.body == ASK.as_bytes() && s.header("content-encoding").is_none())
    );
}

#[tokio::test]
async fn only_listed_headers_and_the_real_key_go_up() {
    let (provider, bench) = bench().await;
    let headers = "authorization: Bearer dummy\r\nx-api-key: dummy\r\ncookie: c\r\nopenai-organization: o\r\n\
        x-forwarded-for: 1\r\nproxy-authorization: p\r\nuser-agent: test/1\r\n";
    bench.post(CHAT_PATH, headers, ASK).await;
    bench.post("/anthropic/v1/messages?beta=true&key=x", "x-api-key: dummy\r\n", ASK).await;
    bench
        .post("/gemini/v1beta/models/m:generateContent?key=abc&fields=x", "", "{\"contents\":[]}")
        .await;
    let seen = provider.seen();
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen[1].header("x-api-key"), Some(KEY));
    assert_eq!(seen[2].header("x-goog-api-key"), Some(KEY));
    assert!(seen[1].head.starts_with("POST /v1/messages?beta=true HTTP"));
    assert!(seen[2].head.starts_with("POST /v1beta/models/m:generateContent HTTP"));
    for seen in &seen {
        assert!(!seen.head.contains("dummy"), "{}", seen.head);
        for name in ["cookie", "openai-organization", "x-forwarded-for", "proxy-authorization"] {
            assert_eq!(seen.header(name), None);
        }
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
    }
    assert_eq!(seen[0].header("user-agent"), Some("test/1"));
}

#[tokio::test]
async fn errors_come_in_the_dialect_that_was_spoken() {
    let (_provider, bench) = bench().await;
    let openai = bench.post("/openai/v1/batches", "", "{}").await;
    assert_eq!(
        (openai.status, openai.json()["error"]["code"].as_str()),
        (403, Some("forbidden_by_harness"))
    );
    let anthropic = bench.post("/anthropic/v1/files", "", "{}").await;
    assert_eq!(
        (anthropic.status, anthropic.json()["error"]["type"].as_str()),
        (403, Some("permission_error"))
    );
    let gemini = bench.post("/gemini/v1beta/files", "", "{}").await;
    assert_eq!(
        (gemini.status, gemini.json()["error"]["status"].as_str()),
        (403, Some("PERMISSION_DENIED"))
    );
    for answer in [&openai, &anthropic, &gemini] {
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    let socket =
        bench.raw(&request("GET", "/openai/v1/responses", "upgrade: websocket\r\n", b"")).await;
    assert_eq!(socket.map(|a| a.status), Some(426));
    assert_eq!(bench.get("/nothing").await.status, 404);
    assert_eq!(bench.calls().len(), 3, "what is forbidden is written down");
}

#[tokio::test]
async fn the_list_of_models_is_what_is_allowed() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let settings = settings(&provider, "").replace(
        "[upstreams.gemini]",
        "models = [\"claude-haiku-4-5\", \"own\"]\n[upstreams.gemini]",
    );
    let bench = Bench::with(&settings, tempfile::tempdir().expect("a folder"), None);
    let list = bench.get("/anthropic/v1/models").await.json();
    assert!(list["data"].as_array().is_some_and(|d| d.iter().any(|m| m["id"] == "own")), "{list}");
    assert_eq!(bench.get("/anthropic/v1/models/own").await.status, 200);
    assert_eq!(bench.get("/anthropic/v1/models/other").await.status, 404);
    assert!(bench.get("/openai/v1/models").await.text().contains("gpt-5"));
    let answer = bench.post("/anthropic/v1/messages", "", ASK).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("allowed are: claude-haiku-4-5, own"));
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn refused_calls_without_end_do_not_fill_the_disk() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let limited = "[upstreams.openai]\nmodels = [\"m\"]\n";
    let settings = settings(&provider, "").replace("[upstreams.openai]\n", limited);
    let bench = Bench::with(&settings, tempfile::tempdir().expect("a folder"), None);
    let body = r#"{"model":"not-allowed","messages":[]}"#;
    let last = request("POST", CHAT_PATH, "", body.as_bytes());
    let one = String::from_utf8_lossy(&last).replace("connection: close\r\n", "");
    let (mut reader, mut writer) = tokio::io::split(bench.connect());
    let sending = tokio::spawn(async move {
        for _ in 1..30_005 {
            writer.write_all(one.as_bytes()).await.expect("the gateway reads on");
        }
        writer.write_all(&last).await.expect("the gateway reads on");
    });
    let mut raw = Vec::new();
    reader.read_to_end(&mut raw).await.expect("answers");
    sending.await.expect("all are sent");
    let answers = memchr::memmem::find_iter(&raw, b"HTTP/1.1 403 ").count();
    assert_eq!(answers, 30_005);
    let calls = bench.calls();
    assert_eq!(calls.len(), 10_002, "lines");
    let summary = Summary::of(&calls);
    assert_eq!(summary.outcomes[&Outcome::RefusedPolicy], 30_000);
    assert_eq!(summary.totals.calls, 0);
    // Another harness goes on counting, and calls that cost something have their lines as ever.
    let bench = Bench::with(&settings, bench.end(), None);
    assert_eq!(bench.post(CHAT_PATH, "", body).await.status, 403);
    assert_eq!(bench.post(CHAT_PATH, "", ASK).await.status, 200);
    assert_eq!(bench.calls().len(), 10_003);
}
