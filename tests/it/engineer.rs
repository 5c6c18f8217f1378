//! `scripts/engineer` itself: three dialects, plain and streamed, many conversations at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::engineer::Engineer;

/// Status and body of a POST.
fn post(port: u16, path: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The objects of the events of a stream, chunk sizes left out.
fn events(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn joined<'a>(pieces: impl Iterator<Item = &'a Value>) -> String {
    pieces.filter_map(Value::as_str).collect()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]})
}

/// A request of each dialect by an agent with a shell: route and body.
fn requests(model: &str) -> [(&'static str, Value); 3] {
    let message = json!([{"role": "user", "content": "Solve the competition."}]);
    let function = json!({"name": "bash", "description": "runs", "parameters": schema()});
    let own = json!({"type": "function", "name": "shell_command", "parameters": schema()});
    [
        (
            "/v1/chat/completions",
            json!({"model": model, "messages": message, "tools": [{"type": "function", "function": function}]}),
        ),
        ("/v1/responses", json!({"model": model, "input": message, "tools": [own]})),
        (
            "/v1/messages",
            json!({"model": model, "max_tokens": 1000, "messages": message,
                "tools": [{"name": "Bash", "input_schema": schema()}]}),
        ),
    ]
}

/// The command that an answer has a shell run.
fn command(path: &str, answer: &Value) -> Value {
    let arguments = match path {
        "/v1/chat/completions" => {
            answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].clone()
        }
        "/v1/responses" => answer["output"][1]["arguments"].clone(),
        _ => return answer["content"][1]["input"]["command"].clone(),
    };
    let arguments: Value = serde_json::from_str(arguments.as_str().unwrap()).unwrap();
    arguments["command"].clone()
}

#[test]
fn every_dialect_says_the_same_plain_and_streamed() {
    let Some(engineer) = Engineer::start(&[]) else { return };
    let mut commands = Vec::new();
    for (path, request) in requests("engineer-large") {
        let (status, plain) = post(engineer.port, path, &request);
        assert_eq!(status, 200, "{plain}");
        assert_eq!(post(engineer.port, path, &request).1, plain, "equal requests, equal answers");
        let plain: Value = serde_json::from_str(&plain).unwrap();
        commands.push(command(path, &plain));
        let mut streamed = request.clone();
        streamed["stream"] = true.into();
        let (_, body) = post(engineer.port, path, &streamed);
        let events = events(&body);
        let arguments = match path {
            "/v1/chat/completions" => joined(
                events
                    .iter()
                    .map(|e| &e["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]),
            ),
            "/v1/responses" => joined(
                events
                    .iter()
                    .filter(|e| e["type"] == "response.function_call_arguments.delta")
                    .map(|e| &e["delta"]),
            ),
            _ => joined(events.iter().map(|e| &e["delta"]["partial_json"])),
        };
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        assert_eq!(arguments["command"], command(path, &plain), "{path}");
        let usage = plain["usage"].as_object().unwrap();
        assert!(usage.values().filter_map(Value::as_u64).sum::<u64>() > 100, "{usage:?}");
    }
    assert!(commands[0].as_str().unwrap().contains("description.md"), "{commands:?}");
    assert!(commands.iter().all(|command| command == &commands[0]), "one engineer: {commands:?}");
}

#[test]
fn what_it_cannot_answer_is_refused() {
    let Some(engineer) = Engineer::start(&["--models", "a,b"]) else { return };
    let [(chat, request), ..] = requests("c");
    for (path, body, expected) in [
        (chat, request, 404),
        (chat, json!([1]), 400),
        (chat, json!({"model": "a", "messages": "none"}), 400),
        ("/v1/files", json!({}), 404),
    ] {
        let (status, said) = post(engineer.port, path, &body);
        assert_eq!(status, expected, "{path} {body}: {said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(said["error"]["message"].is_string(), "{said}");
    }
}

#[test]
fn many_conversations_are_held_at_once_and_kept_apart() {
    let Some(engineer) = Engineer::start(&[]) else { return };
    let port = engineer.port;
    let facts = |kind: usize| {
        let columns = match kind % 2 {
            0 => {
                json!({"id": [false, false, 9, 1.0], "text": [false, false, 9, 8.0], "kind": [false, false, 3, 1.0]})
            }
            _ => {
                json!({"id": [false, false, 9, 1.0], "size": [true, false, 9, 1.0], "kind": [true, true, 2, 1.0]})
            }
        };
        let mut test = columns.clone();
        test.as_object_mut().unwrap().remove("kind");
        let sample = json!({"id": [false, false, 9, 1.0], "kind": [true, false, 1, 1.0]});
        let table = |columns: &Value| json!({"rows": 9, "columns": columns});
        json!({"tables": {"train.csv": table(&columns), "test.csv": table(&test),
            "sample_submission.csv": table(&sample)}, "pictures": {}})
    };
    std::thread::scope(|scope| {
        for number in 0..32 {
            let facts = facts(number);
            scope.spawn(move || {
                let [(path, mut request), ..] = requests("engineer-large");
                let (_, first) = post(port, path, &request);
                let first: Value = serde_json::from_str(&first).unwrap();
                let messages = request["messages"].as_array_mut().unwrap();
                messages.push(first["choices"][0]["message"].clone());
                let seen = format!("the metric is accuracy\nFACTS {facts}");
                messages.push(json!({"role": "tool", "tool_call_id": "c", "content": seen}));
                let (status, second) = post(port, path, &request);
                assert_eq!(status, 200, "{second}");
                let second: Value = serde_json::from_str(&second).unwrap();
                let program = command(path, &second);
                let program = program.as_str().unwrap();
                let expected =
                    if number % 2 == 0 { "TEXT = [\"text\"]" } else { "make_column_selector" };
                assert!(
                    program.contains(expected) && program.contains("METRIC = \"accuracy\""),
                    "{program}"
                );
            });
        }
    });
}
