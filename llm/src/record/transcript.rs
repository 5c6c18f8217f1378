//! `transcript.jsonl.gz`: what was said, for people.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::assemble::assemble;
use super::objects::hash;
use super::recorder::Job;

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
            "dialect": job.dialect, "continues": continues, "request": request,
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
            chain = hash(format!("{chain}{}", without_marks(item)).as_bytes());
            if let Some(earlier) = self.beginnings.insert(chain.clone(), id) {
                known = Some((index + 1, earlier));
            }
        }
        let (count, earlier) = known?;
        items.drain(..count);
        Some(json!({"call": earlier, "items": count, "of": list}))
    }
}

/// The item without the marks for the provider's cache, which move on with every request.
fn without_marks(item: &Value) -> Cow<'_, Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("cache_control");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let has_mark = |block: &Value| block.get("cache_control").is_some();
    let blocks = item.get("content").and_then(Value::as_array);
    if !has_mark(item) && !blocks.is_some_and(|blocks| blocks.iter().any(has_mark)) {
        return Cow::Borrowed(item);
    }
    let mut item = item.clone();
    strip(&mut item);
    Cow::Owned(item)
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
        let block = |mark: bool| match mark {
            true => json!({"content": [{"text": "x", "cache_control": {"type": "ephemeral"}}]}),
            false => json!({"content": [{"text": "x"}]}),
        };
        let mut marked = json!({"messages": [block(true)]});
        assert_eq!(transcript.take_known(&mut marked, 4), None);
        let mut moved = json!({"messages": [block(false), block(true)]});
        let continues = transcript.take_known(&mut moved, 5);
        assert_eq!(continues, Some(json!({"call": 4, "items": 1, "of": "messages"})));
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
}
