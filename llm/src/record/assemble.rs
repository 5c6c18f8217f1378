//! Streams put together: the answer as the provider gives it without streaming, in its own dialect.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// Characters of an answer that is neither JSON nor a stream of it.
const SHOWN: usize = 2000;

/// An answer as one value: plain answers as they are, streams put together.
pub(super) fn assemble(dialect: Dialect, body: &[u8]) -> Value {
    if let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    let text = String::from_utf8_lossy(body);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    let whole = match dialect {
        Dialect::OpenAi => {
            let mut stream = OpenAi::default();
            events.for_each(|event| stream.take(event));
            stream.finish()
        }
        Dialect::Anthropic => {
            let mut stream = Anthropic::default();
            events.for_each(|event| stream.take(&event));
            stream.finish()
        }
        Dialect::Gemini => {
            let mut stream = Gemini::default();
            events.for_each(|event| stream.take(&event));
            stream.finish()
        }
    };
    whole.unwrap_or_else(|| Value::String(text.chars().take(SHOWN).collect()))
}

/// Appends a piece of text, if it is one.
fn push(text: &mut String, piece: Option<&Value>) {
    text.push_str(piece.and_then(Value::as_str).unwrap_or_default());
}

fn index(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Chat completions, completions and responses.
#[derive(Default)]
struct OpenAi {
    choices: BTreeMap<u64, Choice>,
    /// Of the responses API: items that came to their end, the text of the one that did not, and
    /// the whole response.
    items: Vec<Value>,
    open_text: String,
    response: Option<Value>,
}

#[derive(Default)]
struct Choice {
    /// Of a completion, which has no message.
    plain: String,
    content: String,
    reasoning: String,
    calls: BTreeMap<u64, Call>,
    finish_reason: Value,
}

#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl OpenAi {
    fn take(&mut self, mut event: Value) {
        match event.get("type").and_then(Value::as_str) {
            Some("response.output_text.delta") => push(&mut self.open_text, event.get("delta")),
            Some("response.output_item.done") => {
                self.open_text.clear();
                self.items.extend(event.get_mut("item").map(Value::take));
            }
            Some("response.completed" | "response.incomplete" | "response.failed") => {
                self.response = event.get_mut("response").map(Value::take);
            }
            _ => {}
        }
        for choice in list(&event, "/choices") {
            self.choices.entry(index(choice, "index")).or_default().take(choice);
        }
    }

    fn finish(mut self) -> Option<Value> {
        if !self.open_text.is_empty() {
            let part = json!({"type": "output_text", "text": self.open_text});
            self.items.push(json!({"type": "message", "role": "assistant", "content": [part]}));
        }
        match self.response {
            // Some servers leave the output out of the last event.
            Some(mut response) => {
                if list(&response, "/output").is_empty()
                    && let Some(fields) = response.as_object_mut()
                {
                    fields.insert("output".to_owned(), Value::Array(self.items));
                }
                Some(response)
            }
            None if !self.items.is_empty() => Some(json!({ "output": self.items })),
            None if self.choices.is_empty() => None,
            None => {
                let choices: Vec<Value> =
                    self.choices.into_iter().map(|(index, choice)| choice.finish(index)).collect();
                Some(json!({ "choices": choices }))
            }
        }
    }
}

impl Choice {
    fn take(&mut self, choice: &Value) {
        push(&mut self.plain, choice.get("text"));
        if let Some(reason) = choice.get("finish_reason").filter(|reason| !reason.is_null()) {
            self.finish_reason = reason.clone();
        }
        let Some(delta) = choice.get("delta") else { return };
        push(&mut self.content, delta.get("content"));
        push(
            &mut self.reasoning,
            delta.get("reasoning_content").or_else(|| delta.get("reasoning")),
        );
        for piece in list(delta, "/tool_calls") {
            let call = self.calls.entry(index(piece, "index")).or_default();
            push(&mut call.id, piece.get("id"));
            push(&mut call.name, piece.pointer("/function/name"));
            push(&mut call.arguments, piece.pointer("/function/arguments"));
        }
    }

    fn finish(self, index: u64) -> Value {
        if !self.plain.is_empty() {
            return json!({"index": index, "text": self.plain, "finish_reason": self.finish_reason});
        }
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), self.content.into());
        if !self.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), self.reasoning.into());
        }
        if !self.calls.is_empty() {
            let calls = self.calls.into_values().map(|call| {
                json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            });
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        json!({"index": index, "message": message, "finish_reason": self.finish_reason})
    }
}

/// Messages.
#[derive(Default)]
struct Anthropic {
    blocks: BTreeMap<u64, (Value, String)>,
    stop_reason: Value,
}

impl Anthropic {
    fn take(&mut self, event: &Value) {
        if let Some(block) = event.get("content_block") {
            self.blocks.insert(index(event, "index"), (block.clone(), String::new()));
        }
        let Some(delta) = event.get("delta") else { return };
        if let Some(reason) = delta.get("stop_reason") {
            self.stop_reason = reason.clone();
            return;
        }
        let (_, text) = self.blocks.entry(index(event, "index")).or_default();
        for key in ["text", "thinking", "partial_json"] {
            push(text, delta.get(key));
        }
    }

    fn finish(self) -> Option<Value> {
        if self.blocks.is_empty() {
            return None;
        }
        let blocks: Vec<Value> = self.blocks.into_values().map(whole_block).collect();
        Some(json!({"role": "assistant", "content": blocks, "stop_reason": self.stop_reason}))
    }
}

/// A block with the text of its pieces where it belongs.
fn whole_block((block, text): (Value, String)) -> Value {
    let Value::Object(mut block) = block else { return json!({"type": "text", "text": text}) };
    let kind = block.get("type").and_then(Value::as_str).unwrap_or("text").to_owned();
    let (key, value) = match kind.as_str() {
        "thinking" => ("thinking", Value::String(text)),
        // A tool without arguments has no pieces; one that broke off has half of them.
        "tool_use" | "server_tool_use" if text.is_empty() => return Value::Object(block),
        "tool_use" | "server_tool_use" => {
            ("input", serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
        _ => ("text", Value::String(text)),
    };
    block.insert(key.to_owned(), value);
    Value::Object(block)
}

/// `streamGenerateContent`.
#[derive(Default)]
struct Gemini {
    parts: Vec<Value>,
    finish_reason: Value,
}

impl Gemini {
    fn take(&mut self, event: &Value) {
        if let Some(reason) = event.pointer("/candidates/0/finishReason") {
            self.finish_reason = reason.clone();
        }
        for part in list(event, "/candidates/0/content/parts") {
            let text = part.get("text").and_then(Value::as_str);
            let last = self.parts.last_mut();
            match (text, last) {
                (Some(text), Some(last)) if continues(last, part) => {
                    if let Some(Value::String(so_far)) = last.get_mut("text") {
                        so_far.push_str(text);
                    }
                }
                _ => self.parts.push(part.clone()),
            }
        }
    }

    fn finish(self) -> Option<Value> {
        if self.parts.is_empty() {
            return None;
        }
        let content = json!({"role": "model", "parts": self.parts});
        Some(json!({"candidates": [{"content": content, "finishReason": self.finish_reason}]}))
    }
}

/// Whether both are texts of one kind: thoughts, or what is said.
fn continues(last: &Value, part: &Value) -> bool {
    last.get("text").is_some_and(Value::is_string) && last.get("thought") == part.get("thought")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(events: &[Value]) -> Vec<u8> {
        events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
    }

    #[test]
    fn chats_become_messages_with_their_tool_calls() {
        let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
        let call = |fields: Value| delta(json!({ "tool_calls": [fields] }));
        let body = stream(&[
            delta(json!({"content": "a"})),
            delta(json!({"content": "b", "reasoning": "why"})),
            call(json!({"index": 0, "id": "c1", "function": {"name": "shell", "arguments": ""}})),
            call(json!({"index": 0, "function": {"arguments": "{\"cmd\":"}})),
            call(json!({"index": 0, "function": {"arguments": "\"ls\"}"}})),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        ]);
        assert_eq!(
            assemble(Dialect::OpenAi, &body),
            json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "ab", "reasoning_content": "why",
                "tool_calls": [{"id": "c1", "type": "function",
                    "function": {"name": "shell", "arguments": "{\"cmd\":\"ls\"}"}}]}}]})
        );
        let completion =
            stream(&[json!({"choices": [{"text": "x"}]}), json!({"choices": [{"text": "y"}]})]);
        assert_eq!(
            assemble(Dialect::OpenAi, &completion),
            json!({"choices": [{"index": 0, "text": "xy", "finish_reason": null}]})
        );
    }

    #[test]
    fn responses_are_whole_also_where_the_last_event_or_the_end_is_missing() {
        let item = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        let done = json!({"type": "response.output_item.done", "item": item});
        let completed =
            json!({"type": "response.completed", "response": {"id": "r", "output": []}});
        assert_eq!(
            assemble(Dialect::OpenAi, &stream(&[done.clone(), completed])),
            json!({"id": "r", "output": [item]})
        );
        let open = json!({"type": "response.output_text.delta", "delta": "half"});
        let message = json!({"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "half"}]});
        assert_eq!(
            assemble(Dialect::OpenAi, &stream(&[done, open])),
            json!({"output": [item, message]})
        );
    }

    #[test]
    fn messages_have_their_blocks() {
        let body = stream(&[
            json!({"index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"index": 0, "delta": {"thinking": "hm"}}),
            json!({"index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "ls", "input": {}}}),
            json!({"index": 1, "delta": {"partial_json": "{\"a\""}}),
            json!({"index": 1, "delta": {"partial_json": ":1}"}}),
            json!({"delta": {"stop_reason": "tool_use"}}),
        ]);
        assert_eq!(
            assemble(Dialect::Anthropic, &body),
            json!({"role": "assistant", "stop_reason": "tool_use", "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "t", "name": "ls", "input": {"a": 1}}]})
        );
    }

    #[test]
    fn parts_of_one_kind_become_one() {
        let part = |part: Value| json!({"candidates": [{"content": {"parts": [part]}}]});
        let body = stream(&[
            part(json!({"text": "t", "thought": true})),
            part(json!({"text": "a"})),
            part(json!({"text": "b"})),
            part(json!({"functionCall": {"name": "f", "args": {}}})),
        ]);
        assert_eq!(
            assemble(Dialect::Gemini, &body),
            json!({"candidates": [{"finishReason": null, "content": {"role": "model", "parts": [
                {"text": "t", "thought": true}, {"text": "ab"},
                {"functionCall": {"name": "f", "args": {}}}]}}]})
        );
    }

    #[test]
    fn what_is_no_stream_is_shown_as_it_is() {
        assert_eq!(assemble(Dialect::OpenAi, b"no json"), json!("no json"));
        assert_eq!(assemble(Dialect::OpenAi, b"{\"a\": 1}"), json!({"a": 1}));
    }
}
