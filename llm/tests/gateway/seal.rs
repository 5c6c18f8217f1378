//! Nothing reaches the web through the provider.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn hosted_tools_are_stripped_refused_or_let_through_by_the_settings() {
    let body = json!({"model": "m", "input": "x", "tool_choice": "auto",
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}]})
    .to_string();
    for (mode, status, tools) in [("strip", 200, 1), ("refuse", 403, 0), ("allow", 200, 2)] {
        let provider = Provider::start(|_, _| {
            reply(200, "", "{\"id\":\"r\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}")
        })
        .await;
        let bench = Bench::new(&provider, &format!("[policy]\nhosted_tools = \"{mode}\""));
        assert_eq!(bench.post("/openai/v1/responses", "", &body).await.status, status, "{mode}");
        let seen = provider.seen();
        assert_eq!(
            seen.first().map_or(0, |s| s.json()["tools"].as_array().map_or(0, Vec::len)),
            tools,
            "{mode}"
        );
        let call = &bench.calls()[0];
        assert_eq!(
            (call.stripped.len(), call.refused.is_some()),
            (usize::from(mode == "strip"), mode == "refuse")
        );
    }
}

#[tokio::test]
async fn what_is_stored_elsewhere_cannot_be_reached() {
    let provider = Provider::start(|_, _| {
        reply(200, "", "{\"id\":\"resp_own\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}")
    })
    .await;
    let bench = Bench::new(&provider, "");
    let ask =
        |id: &str| json!({"model": "m", "input": "x", "previous_response_id": id}).to_string();
    let path = "/openai/v1/responses";
    assert_eq!(bench.post(path, "", ask("resp_own")).await.status, 403);
    assert_eq!(bench.post(path, "", "{\"model\":\"m\",\"input\":\"x\"}").await.status, 200);
    assert_eq!(bench.post(path, "", ask("resp_own")).await.status, 200);
    assert_eq!(bench.post(path, "", ask("resp_other")).await.status, 403);
}

#[tokio::test]
async fn a_second_model_must_be_allowed_too() {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let settings =
        settings(&provider, "").replacen("key =", "models = [\"m*\", \"!m-old\"]\nkey =", 1);
    let bench = Bench::with(&settings, tempfile::tempdir().expect("a folder"), None);
    for (models, status) in [
        (json!(["m-2"]), 200),
        (json!(["m-2", "other"]), 403),
        (json!(["m-old"]), 403),
        (json!([1]), 403),
    ] {
        let body = json!({"model": "m", "models": models, "messages": []}).to_string();
        assert_eq!(bench.post(CHAT_PATH, "", body).await.status, status);
    }
}
