//! `transcript.jsonl.gz` read back: what was said, in one form for all dialects.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dialect::Dialect;

/// Most bytes of a transcript that are worth reading, unpacked. A transcript may be a stranger's.
pub const LARGEST_TRANSCRIPT: u64 = 512 << 20;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// Instructions of the agent's program to the model.
    System {
        /// The text.
        text: String,
    },
    /// What the agent's program told the model.
    User {
        /// The text; parts that are no text are named in brackets.
        text: String,
    },
    /// What the model said.
    Assistant {
        /// The text.
        text: String,
    },
    /// What the model thought, where the provider shows it.
    Reasoning {
        /// The text, perhaps a summary.
        text: String,
    },
    /// A tool that the model wants to be used.
    Call {
        /// The call's id; empty where the dialect has none.
        id: String,
        /// The tool.
        name: String,
        /// An object, or a text where the arguments are no JSON.
        arguments: Value,
    },
    /// What a tool gave.
    Result {
        /// The id of the tool's call; its name where the dialect has no ids.
        id: String,
        /// The text.
        text: String,
        /// Whether the agent's program calls it an error.
        is_error: bool,
    },
}

/// One call: what was new in the request, and the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The call's number in `calls.jsonl`.
    pub call: u64,
    /// When the request had arrived.
    pub at: DateTime<Utc>,
    /// The agent's name for the part of it that called; the model if it gave none.
    pub role: String,
    /// The model asked for.
    pub model: String,
    /// The route: `POST /chat/completions`.
    pub route: String,
    /// The latest call whose request began as this one does; none for a new conversation.
    pub continues: Option<u64>,
    /// What the request said beyond that.
    pub said: Vec<Entry>,
    /// What the model answered; what is wrong, if it did not.
    pub answer: Vec<Entry>,
    /// The HTTP status that the client got.
    pub status: u16,
    /// Whether the answer came to its end.
    pub whole: bool,
}

/// A transcript.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Turns {
    /// In the order in which the calls ended.
    pub turns: Vec<Turn>,
    /// Why the rest could not be read, if there is one.
    pub cut_short: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    id: u64,
    at: DateTime<Utc>,
    #[serde(default)]
    role: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    route: String,
    dialect: Option<Dialect>,
    continues: Option<Continues>,
    #[serde(default)]
    request: Value,
    answer: Answer,
}

#[derive(Deserialize)]
struct Continues {
    call: u64,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    body: Value,
}

/// Reads a transcript, `largest` bytes of it at most, unpacked. What a killed harness left unfinished, or somebody damaged, ends it early and
/// is told.
///
/// # Errors
/// The file cannot be opened.
pub fn read_transcript(path: &Path, largest: u64) -> io::Result<Turns> {
    let file = BufReader::new(File::open(path)?);
    let mut text = BufReader::new(MultiGzDecoder::new(file).take(largest));
    let mut turns = Turns::default();
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        match text.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(turns),
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(_) if text.get_ref().limit() == 0 => {
                turns.cut_short = Some(format!("it has more than {} MiB of text", largest >> 20));
                return Ok(turns);
            }
            Ok(_) => {
                turns.cut_short = Some(format!("line {number} has no end"));
                return Ok(turns);
            }
            Err(error) => {
                turns.cut_short = Some(format!("line {number}: {error}"));
                return Ok(turns);
            }
        }
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) => turns.turns.push(line.turn()),
            Err(error) => {
                turns.cut_short = Some(format!("line {number}: {error}"));
                return Ok(turns);
            }
        }
    }
}

impl Line {
    fn turn(self) -> Turn {
        // Files of before 1.1 do not tell the dialect.
        let dialect = self.dialect.unwrap_or_else(|| {
            if self.request.get("contents").is_some() {
                Dialect::Gemini
            } else if self.route.contains("/messages") {
                Dialect::Anthropic
            } else {
                Dialect::OpenAi
            }
        });
        let continues = self.continues.map(|earlier| earlier.call);
        let mut said = said(dialect, &self.request, continues.is_some());
        if continues.is_some() {
            // The model's own words come back as part of the request.
            said.retain(|entry| {
                !matches!(
                    entry,
                    Entry::Assistant { .. } | Entry::Reasoning { .. } | Entry::Call { .. }
                )
            });
        }
        Turn {
            call: self.id,
            at: self.at,
            role: self.role,
            model: self.model,
            route: self.route,
            continues,
            said,
            answer: answered(dialect, &self.answer.body),
            status: self.answer.status,
            whole: self.answer.whole,
        }
    }
}

/// What a request says. Instructions are sent with each request: they count for the first alone.
fn said(dialect: Dialect, request: &Value, continues: bool) -> Vec<Entry> {
    let mut to = Vec::new();
    if !continues {
        let keys = ["system", "instructions", "systemInstruction", "system_instruction"];
        for instructions in keys.iter().filter_map(|key| request.get(key)) {
            let parts = instructions.get("parts").unwrap_or(instructions);
            add_text(&mut to, parts, |text| Entry::System { text });
        }
    }
    match dialect {
        Dialect::OpenAi => {
            for message in items(request, "messages") {
                chat_message(&mut to, message);
            }
            match request.get("input") {
                Some(Value::Array(list)) => {
                    list.iter().for_each(|item| response_item(&mut to, item));
                }
                Some(text) => add_text(&mut to, text, |text| Entry::User { text }),
                None => {}
            }
            if let Some(prompt) = request.get("prompt") {
                add_text(&mut to, prompt, |text| Entry::User { text });
            }
        }
        Dialect::Anthropic => {
            for message in items(request, "messages") {
                let is_model = message.get("role").and_then(Value::as_str) == Some("assistant");
                blocks(&mut to, message.get("content"), is_model);
            }
        }
        Dialect::Gemini => {
            for content in items(request, "contents") {
                let is_model = content.get("role").and_then(Value::as_str) == Some("model");
                parts(&mut to, items(content, "parts"), is_model);
            }
        }
    }
    to
}

/// What an answer says.
fn answered(dialect: Dialect, body: &Value) -> Vec<Entry> {
    let mut to = Vec::new();
    match dialect {
        Dialect::OpenAi => {
            for choice in items(body, "choices") {
                if let Some(message) = choice.get("message") {
                    chat_message(&mut to, message);
                } else if let Some(text) = choice.get("text") {
                    add_text(&mut to, text, |text| Entry::Assistant { text });
                }
            }
            items(body, "output").iter().for_each(|item| response_item(&mut to, item));
        }
        Dialect::Anthropic => blocks(&mut to, body.get("content"), true),
        Dialect::Gemini => {
            for candidate in items(body, "candidates") {
                let content = candidate.get("content").unwrap_or(&Value::Null);
                parts(&mut to, items(content, "parts"), true);
            }
        }
    }
    if to.is_empty() {
        // An error, an embedding, or what no dialect knows: as it is.
        let what = body.get("error").unwrap_or(body);
        let text = what.get("message").and_then(Value::as_str).map(str::to_owned);
        let text = text.or_else(|| what.as_str().map(str::to_owned));
        to.extend(text.map(|text| Entry::Assistant { text }));
    }
    to
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A text, or the texts of a list of parts; parts that are no text are named.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<String> = parts.iter().map(plain).filter(|t| !t.is_empty()).collect();
            texts.join("\n")
        }
        Value::Object(part) => match part.get("text").or_else(|| part.get("content")) {
            Some(text) => plain(text),
            None => {
                let kind = part.get("type").and_then(Value::as_str).map(str::to_owned);
                let kind = kind.or_else(|| part.keys().next().cloned());
                kind.map_or_else(String::new, |kind| format!("({kind})"))
            }
        },
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn add_text(to: &mut Vec<Entry>, value: &Value, entry: impl Fn(String) -> Entry) {
    let text = plain(value);
    if !text.is_empty() {
        to.push(entry(text));
    }
}

/// Arguments that are a text hold JSON in OpenAI's dialect.
fn arguments(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Some(other) => other.clone(),
        None => Value::Null,
    }
}

fn chat_message(to: &mut Vec<Entry>, message: &Value) {
    let content = message.get("content").unwrap_or(&Value::Null);
    match text_of(message, "role") {
        "system" | "developer" => add_text(to, content, |text| Entry::System { text }),
        "tool" | "function" => {
            let id = message.get("tool_call_id").or_else(|| message.get("name"));
            to.push(Entry::Result {
                id: id.and_then(Value::as_str).unwrap_or_default().to_owned(),
                text: plain(content),
                is_error: false,
            });
        }
        "assistant" => {
            for key in ["reasoning_content", "reasoning"] {
                let reasoning = message.get(key).unwrap_or(&Value::Null);
                add_text(to, reasoning, |text| Entry::Reasoning { text });
            }
            add_text(to, content, |text| Entry::Assistant { text });
            let refusal = message.get("refusal").unwrap_or(&Value::Null);
            add_text(to, refusal, |text| Entry::Assistant { text });
            for call in items(message, "tool_calls") {
                // A custom tool has a text where a function has arguments.
                let what = call.get("function").or_else(|| call.get("custom"));
                let what = what.unwrap_or(&Value::Null);
                to.push(Entry::Call {
                    id: text_of(call, "id").to_owned(),
                    name: text_of(what, "name").to_owned(),
                    arguments: arguments(what.get("arguments").or_else(|| what.get("input"))),
                });
            }
        }
        _ => add_text(to, content, |text| Entry::User { text }),
    }
}

/// An item of the responses API, of the input or the output.
fn response_item(to: &mut Vec<Entry>, item: &Value) {
    let kind = text_of(item, "type");
    let id = || text_of(item, "call_id").to_owned();
    match kind {
        "" | "message" => chat_message(to, item),
        "reasoning" => {
            for key in ["summary", "content"] {
                let text = item.get(key).unwrap_or(&Value::Null);
                add_text(to, text, |text| Entry::Reasoning { text });
            }
        }
        _ if kind.ends_with("_call_output") => to.push(Entry::Result {
            id: id(),
            text: plain(item.get("output").unwrap_or(&Value::Null)),
            is_error: false,
        }),
        _ if kind.ends_with("_call") => {
            let name = item.get("name").and_then(Value::as_str).unwrap_or(kind);
            let what = ["arguments", "input", "action", "operation"];
            let what = what.iter().find_map(|key| item.get(key));
            to.push(Entry::Call { id: id(), name: name.to_owned(), arguments: arguments(what) });
        }
        _ => add_text(to, item, |text| Entry::User { text }),
    }
}

/// The content of a message in Anthropic's dialect.
fn blocks(to: &mut Vec<Entry>, content: Option<&Value>, is_model: bool) {
    let speak = |text| if is_model { Entry::Assistant { text } } else { Entry::User { text } };
    let Some(Value::Array(blocks)) = content else {
        return add_text(to, content.unwrap_or(&Value::Null), speak);
    };
    for block in blocks {
        match text_of(block, "type") {
            "thinking" => add_text(to, block.get("thinking").unwrap_or(&Value::Null), |text| {
                Entry::Reasoning { text }
            }),
            "tool_use" | "server_tool_use" => to.push(Entry::Call {
                id: text_of(block, "id").to_owned(),
                name: text_of(block, "name").to_owned(),
                arguments: block.get("input").cloned().unwrap_or(Value::Null),
            }),
            kind if kind.ends_with("tool_result") => to.push(Entry::Result {
                id: text_of(block, "tool_use_id").to_owned(),
                text: plain(block.get("content").unwrap_or(&Value::Null)),
                is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
            }),
            _ => add_text(to, block, speak),
        }
    }
}

/// The parts of a content in Gemini's dialect, which has no ids of calls.
fn parts(to: &mut Vec<Entry>, parts: &[Value], is_model: bool) {
    for part in parts {
        if let Some(call) = part.get("functionCall") {
            to.push(Entry::Call {
                id: text_of(call, "id").to_owned(),
                name: text_of(call, "name").to_owned(),
                arguments: call.get("args").cloned().unwrap_or(Value::Null),
            });
        } else if let Some(response) = part.get("functionResponse") {
            let given = response.get("response").unwrap_or(&Value::Null);
            let id = response.get("id").or_else(|| response.get("name"));
            to.push(Entry::Result {
                id: id.and_then(Value::as_str).unwrap_or_default().to_owned(),
                text: given.as_str().map_or_else(|| given.to_string(), str::to_owned),
                is_error: false,
            });
        } else {
            let thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            add_text(to, part, |text| match (is_model, thought) {
                (true, true) => Entry::Reasoning { text },
                (true, false) => Entry::Assistant { text },
                (false, _) => Entry::User { text },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Entry {
        Entry::User { text: text.to_owned() }
    }

    fn call(id: &str, name: &str, arguments: Value) -> Entry {
        Entry::Call { id: id.to_owned(), name: name.to_owned(), arguments }
    }

    fn result(id: &str, text: &str) -> Entry {
        Entry::Result { id: id.to_owned(), text: text.to_owned(), is_error: false }
    }

    #[test]
    fn chats_and_responses_say_the_same() {
        let chat = json!({"messages": [
            {"role": "system", "content": "be good"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "function": {"name": "ls", "arguments": "{\"a\": 1}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "out"}]});
        let responses = json!({"instructions": "be good", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "image_url"}]},
            {"type": "function_call", "call_id": "c", "name": "ls", "arguments": "{\"a\": 1}"},
            {"type": "function_call_output", "call_id": "c", "output": "out"}]});
        let expected = [
            Entry::System { text: "be good".into() },
            user("hi\n(image_url)"),
            call("c", "ls", json!({"a": 1})),
            result("c", "out"),
        ];
        assert_eq!(said(Dialect::OpenAi, &chat, false), expected);
        assert_eq!(said(Dialect::OpenAi, &responses, false), expected);
        assert_eq!(said(Dialect::OpenAi, &responses, true), expected[1..]);
    }

    #[test]
    fn blocks_and_parts_are_told_apart() {
        let messages = json!({"system": [{"type": "text", "text": "s"}], "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "t", "name": "ls", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                "content": [{"type": "text", "text": "out"}]}]}]});
        let mut expected = vec![
            Entry::System { text: "s".into() },
            user("hi"),
            Entry::Reasoning { text: "hm".into() },
            call("t", "ls", json!({})),
            result("t", "out"),
        ];
        assert_eq!(said(Dialect::Anthropic, &messages, false), expected);
        let contents = json!({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true},
                {"functionCall": {"name": "ls", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "ls", "response": "out"}}]}]});
        expected[3] = call("", "ls", json!({}));
        expected[4] = result("ls", "out");
        assert_eq!(said(Dialect::Gemini, &contents, false), expected);
    }

    #[test]
    fn answers_of_all_dialects_and_errors_are_read() {
        let said = |text: &str| Entry::Assistant { text: text.to_owned() };
        let chat = json!({"choices": [{"message": {"role": "assistant", "content": "a"}}]});
        assert_eq!(answered(Dialect::OpenAi, &chat), [said("a")]);
        let response = json!({"output": [{"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}]}]});
        assert_eq!(answered(Dialect::OpenAi, &response), [said("a")]);
        let error = json!({"error": {"message": "no such model"}});
        assert_eq!(answered(Dialect::Anthropic, &error), [said("no such model")]);
        assert_eq!(answered(Dialect::OpenAi, &json!({"data": []})), []);
    }

    fn packed(lines: &[String]) -> Vec<u8> {
        let pack = |line: &String| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            writeln!(encoder, "{line}").unwrap();
            encoder.finish().unwrap()
        };
        lines.iter().flat_map(pack).collect()
    }

    #[test]
    fn a_transcript_is_read_as_far_as_it_is_whole() {
        let line = |id: u64, continues: Value, request: Value| {
            json!({"id": id, "at": "2026-01-01T00:00:00Z", "role": "r", "model": "m",
                "route": "POST /chat/completions", "continues": continues, "request": request,
                "answer": {"status": 200, "whole": true, "body":
                    {"choices": [{"message": {"role": "assistant", "content": "ok"}}]}}})
            .to_string()
        };
        let first = line(1, Value::Null, json!({"messages": [{"role": "user", "content": "hi"}]}));
        let more = json!({"messages": [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "on"}]});
        let second = line(2, json!({"call": 1, "items": 1, "of": "messages"}), more);
        let bytes = packed(&[first, second]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.gz");
        std::fs::write(&path, &bytes).unwrap();
        let whole = read_transcript(&path, LARGEST_TRANSCRIPT).unwrap();
        assert_eq!(whole.cut_short, None);
        let seen: Vec<_> =
            whole.turns.iter().map(|turn| (turn.call, turn.continues, turn.said.clone())).collect();
        assert_eq!(seen, [(1, None, vec![user("hi")]), (2, Some(1), vec![user("on")])]);
        std::fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
        let torn = read_transcript(&path, LARGEST_TRANSCRIPT).unwrap();
        assert_eq!(torn.turns.len(), 1);
        assert!(torn.cut_short.is_some());
        std::fs::write(&path, packed(&["{\"id\": \"x\"}".to_owned()])).unwrap();
        assert!(
            read_transcript(&path, LARGEST_TRANSCRIPT)
                .unwrap()
                .cut_short
                .unwrap()
                .starts_with("line 1")
        );
    }
}
