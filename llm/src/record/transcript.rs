//! `transcript.jsonl.gz`: what was said, for people.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::objects::hash;
use super::recorder::Job;
use crate::dialect::Dialect;

/// Answers above this size are not copied into the transcript.
const LARGEST: usize = 4 << 20;
/// Texts of opaque fields above this size are replaced by their length.
const OPAQUE: usize = 256;
/// The names under which a conversation stands in a request.
const CONVERSATIONS: [&str; 3] = ["messages", "input", "contents"];

#[derive(Debug)]
pub(super) struct Transcript {
    file: File,
    /// The call that each beginning of a conversation was last seen in.
    beginnings: HashMap<String, u64>,
}

impl Transcript {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, beginnings: HashMap::new() })
    }

    /// Writes one call as a compressed block of its own, so that a kill loses no other.
    pub(super) fn write(&mut self, job: &mut Job) -> io::Result<()> {
        let mut request = std::mem::take(&mut job.request);
        let continues = self.take_known(&mut request, job.id);
        redact(&mut request);
        let answer = match job.answer.body.text(LARGEST)? {
            Some(text) => {
                let mut answer = assemble(job.dialect, &text);
                redact(&mut answer);
                answer
            }
            None => json!("too large for the transcript"),
        };
        let line = json!({
            "id": job.id, "at": job.at, "role": job.role, "model": job.model, "route": job.route,
            "continues": continues, "request": request,
            "answer": {"status": job.answer.status, "whole": job.answer.whole, "body": answer},
        });
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        writeln!(encoder, "{line}")?;
        self.file.write_all(&encoder.finish()?)
    }

    /// Takes off the request what an earlier one said already, and tells which and how much.
    fn take_known(&mut self, request: &mut Value, id: u64) -> Option<Value> {
        let list = CONVERSATIONS.iter().find(|k| request.get(k).is_some_and(Value::is_array))?;
        let Some(Value::Array(items)) = request.get_mut(list) else { return None };
        let mut chain = String::new();
        let mut known = None;
        for (index, item) in items.iter().enumerate() {
            chain = hash(format!("{chain}{item}").as_bytes());
            if let Some(earlier) = self.beginnings.insert(chain.clone(), id) {
                known = Some((index + 1, earlier));
            }
        }
        let (count, earlier) = known?;
        items.drain(..count);
        Some(json!({"call": earlier, "items": count, "of": list}))
    }
}

/// Replaces what nobody can read, and what nobody should.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text)
                        if matches!(
                            key.as_str(),
                            "signature" | "encrypted_content" | "thoughtSignature" | "data"
                        ) && text.len() > OPAQUE =>
                    {
                        *text = format!("({} bytes)", text.len());
                    }
                    value => redact(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if text.starts_with("data:") && text.len() > OPAQUE {
                *text = format!("data:({} bytes)", text.len());
            } else if let Some(clean) = without_keys(text) {
                *text = clean;
            }
        }
        _ => {}
    }
}

/// The text with everything that looks like a key replaced; none if there is nothing.
fn without_keys(text: &str) -> Option<String> {
    const MARKS: [(&str, usize); 4] = [("sk-", 20), ("AIza", 30), ("Bearer ", 20), ("hf_", 20)];
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, mark, least)) =
        MARKS.iter().filter_map(|(mark, least)| rest.find(mark).map(|at| (at, *mark, *least))).min()
    {
        let tail = &rest[at + mark.len()..];
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let length = tail.find(|c| !is_key(c)).unwrap_or(tail.len());
        out.push_str(&rest[..at + mark.len()]);
        out.push_str(if length >= least { "***" } else { &tail[..length] });
        rest = &tail[length..];
    }
    if out.is_empty() {
        return None;
    }
    out.push_str(rest);
    Some(out)
}

/// An answer as one value: plain answers as they are, streams put together.
fn assemble(dialect: Dialect, body: &[u8]) -> Value {
    if let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    let text = String::from_utf8_lossy(body);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    let mut parts = Parts::default();
    for event in events {
        match dialect {
            Dialect::OpenAi => parts.openai(&event),
            Dialect::Anthropic => parts.anthropic(&event),
            Dialect::Gemini => parts.gemini(&event),
        }
    }
    parts.finish(&text)
}

#[derive(Default)]
struct Parts {
    texts: Map<String, Value>,
    whole: Option<Value>,
}

impl Parts {
    fn add(&mut self, name: &str, text: Option<&Value>) {
        if let Some(more) = text.and_then(Value::as_str).filter(|t| !t.is_empty()) {
            match self.texts.get_mut(name) {
                Some(Value::String(text)) => text.push_str(more),
                _ => {
                    self.texts.insert(name.to_owned(), more.into());
                }
            }
        }
    }

    fn openai(&mut self, event: &Value) {
        if let Some(output) = event
            .pointer("/response/output")
            .filter(|o| o.as_array().is_some_and(|a| !a.is_empty()))
        {
            self.whole = Some(output.clone());
        }
        for choice in event.get("choices").and_then(Value::as_array).into_iter().flatten() {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let name =
                |what: &str| if index == 0 { what.to_owned() } else { format!("{what} {index}") };
            self.add(&name("text"), choice.get("text"));
            let Some(delta) = choice.get("delta") else { continue };
            self.add(&name("text"), delta.get("content"));
            self.add(
                &name("reasoning"),
                delta.get("reasoning_content").or_else(|| delta.get("reasoning")),
            );
            for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                let tool =
                    format!("tool {}", call.get("index").and_then(Value::as_u64).unwrap_or(0));
                self.add(&format!("{tool} name"), call.pointer("/function/name"));
                self.add(&tool, call.pointer("/function/arguments"));
            }
        }
    }

    fn anthropic(&mut self, event: &Value) {
        let index = event.get("index").and_then(Value::as_u64).unwrap_or(0);
        if let Some(name) = event.pointer("/content_block/name") {
            self.add(&format!("block {index} tool"), Some(name));
        }
        for key in ["text", "thinking", "partial_json"] {
            self.add(&format!("block {index} {key}"), event.get("delta").and_then(|d| d.get(key)));
        }
    }

    fn gemini(&mut self, event: &Value) {
        let parts = event.pointer("/candidates/0/content/parts").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            let thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            self.add(if thought { "thoughts" } else { "text" }, part.get("text"));
            if let Some(call) = part.get("functionCall") {
                self.add("calls", Some(&Value::String(format!("{call}\n"))));
            }
        }
    }

    fn finish(self, raw: &str) -> Value {
        match self.whole {
            Some(whole) => whole,
            None if self.texts.is_empty() => Value::String(raw.chars().take(2000).collect()),
            None => Value::Object(self.texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_grows_is_written_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut transcript = Transcript::open(&dir.path().join("t.gz")).expect("opens");
        let mut first = json!({"messages": ["a", "b"]});
        assert_eq!(transcript.take_known(&mut first, 1), None);
        let mut second = json!({"messages": ["a", "b", "c"]});
        let continues = transcript.take_known(&mut second, 2);
        assert_eq!(continues, Some(json!({"call": 1, "items": 2, "of": "messages"})));
        assert_eq!(second, json!({"messages": ["c"]}));
        let mut other = json!({"messages": ["b", "a"]});
        assert_eq!(transcript.take_known(&mut other, 3), None);
    }

    #[test]
    fn keys_and_opaque_texts_are_not_shown() {
        let long = "x".repeat(300);
        let mut value = json!({"text": "my key sk-0123456789abcdef0123 and sk-short, é", "data": long,
            "list": ["Bearer 0123456789abcdef0123456789"], "signature": "short"});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"text": "my key sk-*** and sk-short, é", "data": "(300 bytes)",
            "list": ["Bearer ***"], "signature": "short"})
        );
    }

    #[test]
    fn streams_are_put_together() {
        let chat = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(assemble(Dialect::OpenAi, chat), json!({"text": "ab"}));
        let messages = b"event: x\ndata: {\"index\":1,\"content_block\":{\"name\":\"ls\"}}\n\ndata: {\"index\":1,\"delta\":{\"partial_json\":\"{}\"}}\n\n";
        assert_eq!(
            assemble(Dialect::Anthropic, messages),
            json!({"block 1 tool": "ls", "block 1 partial_json": "{}"})
        );
        assert_eq!(assemble(Dialect::OpenAi, b"no json"), json!("no json"));
    }
}
