//! Bytes pass unchanged, and every token is counted once.

use medalist_llm::usage::{Buckets, UsageSource};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn usage_is_asked_for_and_its_chunk_taken_out_unless_the_client_asked() {
    let provider = Provider::start(|_, _| stream(&chat_events())).await;
    let bench = Bench::new(&provider, "");
    let without: String =
        chat_events().into_iter().filter(|e| !e.contains("prompt_tokens")).collect();
    let answer = bench.post(CHAT_PATH, "", ASK_STREAM).await;
    assert!(answer.whole);
    assert_eq!(answer.text(), without);
    let asked =
        ASK_STREAM.replace("\"stream\"", "\"stream_options\":{\"include_usage\":true},\"stream\"");
    assert_eq!(bench.post(CHAT_PATH, "", &asked).await.text(), chat_events().concat());
    let declined = ASK_STREAM
        .replace("\"stream\"", "\"stream_options\":{\"include_usage\":false,\"x\":1},\"stream\"");
    assert_eq!(bench.post(CHAT_PATH, "", &declined).await.text(), without);
    let seen = provider.seen();
    assert_eq!(
        seen[0].body,
        ASK_STREAM.replacen('{', "{\"stream_options\":{\"include_usage\":true},", 1).into_bytes()
    );
    assert_eq!(seen[1].body, asked.into_bytes());
    assert_eq!(seen[2].json()["stream_options"], json!({"include_usage": true, "x": 1}));
    for call in bench.calls() {
        assert_eq!(
            (call.tokens, call.usage),
            (Buckets { input: 10, output: 5, ..Buckets::default() }, UsageSource::Reported)
        );
        assert_eq!(call.picodollars, Some(20_000_000));
        assert!(call.ttft_ms.is_some() && call.finish_reasons == ["stop"]);
    }
}

#[tokio::test]
async fn requests_that_break_no_rule_reach_the_provider_byte_for_byte() {
    let provider = Provider::start(|_, _| {
        reply(200, "x-request-id: r1\r\nset-cookie: a=b\r\nalt-svc: h3\r\n", CHAT)
    })
    .await;
    let bench = Bench::new(&provider, "");
    let odd = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"h\\u00e9\"} ],\n\"model\":\"m\", \"seed\":12345678901234567890, \"t\":1.0 }";
    let answer = bench.post(CHAT_PATH, "", odd).await;
    assert_eq!(provider.seen()[0].body, odd.as_bytes());
    assert_eq!((answer.text(), answer.header("x-request-id")), (CHAT, Some("r1")));
    assert!(answer.header("set-cookie").is_none() && answer.header("alt-svc").is_none());
}

#[tokio::test]
async fn every_dialect_is_counted_and_priced() {
    let messages = r#"{"id":"msg","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":4,"cache_read_input_tokens":6,"output_tokens":5}}"#;
    let generate = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":15}}"#;
    let embeddings = r#"{"data":[],"model":"m","usage":{"prompt_tokens":10,"total_tokens":10}}"#;
    let responses = r#"{"id":"resp_1","model":"m","status":"completed","output":[],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#;
    for (path, body, answer, tokens, picodollars) in [
        ("/anthropic/v1/messages", ASK, messages, 15, 20_000_000),
        ("/gemini/v1beta/models/m:generateContent", "{\"contents\":[]}", generate, 15, 20_000_000),
        ("/openai/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}", embeddings, 10, 10_000_000),
        ("/openai/v1/responses", "{\"model\":\"m\",\"input\":\"x\"}", responses, 15, 20_000_000),
        ("/anthropic/v1/messages/count_tokens", ASK, "{\"input_tokens\":12}", 0, 0),
    ] {
        let provider = Provider::start(move |_, _| reply(200, "", answer)).await;
        let bench = Bench::new(&provider, "");
        assert_eq!(bench.post(path, "", body).await.text(), answer, "{path}");
        let call = &bench.calls()[0];
        assert_eq!(
            (call.tokens.total(), call.picodollars),
            (tokens, Some(picodollars)),
            "{path}: {call:?}"
        );
    }
}

#[tokio::test]
async fn usage_that_is_late_zero_or_missing_is_told_apart() {
    let zero = CHAT.replace("10", "0").replace(":5", ":0").replace("15", "0");
    let late = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n",
    ];
    let missing = CHAT.split(",\"usage\"").next().expect("there").to_owned() + "}";
    for (steps, body, tokens, source) in [
        (reply(200, "", &zero), ASK, Some(0), UsageSource::Reported),
        (stream(&late), ASK_STREAM, Some(15), UsageSource::Reported),
        (reply(200, "", &missing), ASK, None, UsageSource::Estimated),
        (
            stream(&[
                "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n",
                "data: [DONE]\n\n",
            ]),
            ASK_STREAM,
            None,
            UsageSource::Estimated,
        ),
    ] {
        let provider = Provider::start(move |_, _| steps.clone()).await;
        let bench = Bench::new(&provider, "");
        assert!(bench.post(CHAT_PATH, "", body).await.whole);
        let call = &bench.calls()[0];
        assert_eq!(call.usage, source);
        assert!(
            tokens.is_none_or(|t| call.tokens.total() == t)
                && (tokens.is_some() || call.tokens.total() > 0),
            "{call:?}"
        );
        assert_eq!(bench.attempt.balances().0.spent.tokens, call.tokens.total());
    }
}

#[tokio::test]
async fn an_unknown_price_is_null_and_not_zero() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let bench = Bench::new(&provider, "");
    bench.post(CHAT_PATH, "", ASK.replace("\"m\"", "\"nobody-knows\"")).await;
    let call = &bench.calls()[0];
    assert_eq!((call.tokens.total(), call.picodollars, call.usd), (15, None, None));
    assert_eq!(bench.attempt.summary().expect("reads").totals.unpriced_calls, 1);
}

#[tokio::test]
async fn roles_come_from_the_path_the_header_or_the_model() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let bench = Bench::new(&provider, "");
    bench.post("/r/code/openai/v1/chat/completions", "", ASK).await;
    bench.post(CHAT_PATH, "x-medalist-role: feedback\r\n", ASK).await;
    bench.post(CHAT_PATH, "x-medalist-role: no good\r\n", ASK).await;
    let roles: Vec<_> = bench.attempt.summary().expect("reads").roles.into_keys().collect();
    assert_eq!(roles, ["code", "feedback", "m"]);
}

#[tokio::test]
async fn the_line_is_written_before_the_client_sees_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let provider = Provider::start(|_, _| {
        let mut steps = stream(&chat_events());
        steps.pop();
        steps.push(Step::AwaitClose);
        steps
    })
    .await;
    let bench = Bench::new(&provider, "");
    let mut client = bench.connect();
    client
        .write_all(&request("POST", CHAT_PATH, "", ASK_STREAM.as_bytes()))
        .await
        .expect("the gateway reads");
    let mut raw = Vec::new();
    while !raw.windows(6).any(|w| w == b"[DONE]") {
        raw.push(client.read_u8().await.expect("more"));
    }
    assert_eq!(bench.calls().len(), 1);
    drop(client);
    until(|| (provider.left() == 1).then_some(())).await;
    assert_eq!(bench.calls()[0].outcome, medalist_llm::record::Outcome::Ok);
}
