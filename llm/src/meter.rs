//! Reads usage out of answers while their bytes pass.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::route::Operation;
use crate::usage::{Buckets, Reported, UsageSource};

/// Events and plain answers up to this size are read whole; of larger ones, their ends.
const READ_WHOLE: usize = 1 << 20;
/// How much of the end of a larger answer is searched for usage.
const TAIL: usize = 64 << 10;
/// The longest name, reason or tier that an answer may state, in characters; some servers' names of
/// answers have hundreds.
const WORD: usize = 1000;

/// Watches one answer.
#[derive(Debug)]
pub(crate) struct Meter {
    dialect: Dialect,
    operation: Operation,
    events: bool,
    /// The client did not ask for the usage chunk, which is therefore taken out.
    strip_usage: bool,
    reported: Reported,
    pending: BytesMut,
    overflow: bool,
    seen_events: u64,
    /// The size of an answer that is no stream.
    bytes: u64,
    /// Pieces of text, about one token each.
    pub(crate) pieces: u64,
    /// Whether the answer has said that it is whole.
    pub(crate) ended: bool,
    /// A reason to stop has been given, which some servers' streams end with.
    finished: bool,
    /// Whether the latest bytes held the first piece of content.
    pub(crate) content_seen: bool,
    pub(crate) response_model: Option<String>,
    pub(crate) response_id: Option<String>,
    pub(crate) finish_reasons: Vec<String>,
    /// The error that the provider sent in place of an answer's end.
    pub(crate) error: Option<String>,
}

impl Meter {
    /// `events`: the answer is a stream of server-sent events.
    pub(crate) fn new(
        dialect: Dialect,
        operation: Operation,
        events: bool,
        strip_usage: bool,
    ) -> Self {
        Self {
            dialect,
            operation,
            events,
            strip_usage: strip_usage && events,
            reported: Reported::default(),
            pending: BytesMut::new(),
            overflow: false,
            seen_events: 0,
            bytes: 0,
            pieces: 0,
            ended: false,
            finished: false,
            content_seen: false,
            response_model: None,
            response_id: None,
            finish_reasons: Vec::new(),
            error: None,
        }
    }

    /// Takes note of a piece and gives what the client gets of it.
    pub(crate) fn next(&mut self, piece: Bytes) -> Bytes {
        if !self.events {
            self.bytes += piece.len() as u64;
            self.buffer(&piece);
            return piece;
        }
        if self.strip_usage { self.next_filtered(&piece) } else { self.next_watched(piece) }
    }

    fn buffer(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
        if self.pending.len() > READ_WHOLE {
            self.overflow = true;
            let from = self.pending.len() - TAIL;
            self.pending = BytesMut::from(&self.pending[from..]);
        }
    }

    fn next_watched(&mut self, piece: Bytes) -> Bytes {
        let mut rest = &piece[..];
        while let Some(end) = self.event_end(rest) {
            if self.pending.is_empty() {
                self.read_event(&rest[..end]);
            } else {
                let mut event = std::mem::take(&mut self.pending);
                event.extend_from_slice(&rest[..end]);
                self.read_event(&event);
            }
            rest = &rest[end..];
        }
        self.buffer(rest);
        piece
    }

    /// As [`Self::next_watched`], but only whole events pass, and the usage chunk does not.
    fn next_filtered(&mut self, piece: &Bytes) -> Bytes {
        let mut out = BytesMut::new();
        let mut start = 0;
        while let Some(end) = self.event_end(&piece[start..]) {
            let mut event = std::mem::take(&mut self.pending);
            event.extend_from_slice(&piece[start..start + end]);
            start += end;
            if !self.read_event(&event) {
                out.extend_from_slice(&event);
            }
        }
        self.pending.extend_from_slice(&piece[start..]);
        if self.pending.len() > READ_WHOLE {
            // No usage chunk is so large.
            self.strip_usage = false;
            out.extend_from_slice(&self.pending);
        }
        out.freeze()
    }

    /// What was kept back of an event that nothing followed.
    pub(crate) fn rest(&mut self) -> Bytes {
        if self.strip_usage { std::mem::take(&mut self.pending).freeze() } else { Bytes::new() }
    }

    /// Where the first event ends in `rest`, which follows what is pending.
    fn event_end(&self, rest: &[u8]) -> Option<usize> {
        let before = |index: usize, back: usize| -> Option<u8> {
            match index.checked_sub(back) {
                Some(at) => Some(rest[at]),
                None => {
                    let missing = back - index;
                    self.pending.len().checked_sub(missing).map(|at| self.pending[at])
                }
            }
        };
        memchr::memchr_iter(b'\n', rest).find_map(|index| {
            let blank = match before(index, 1) {
                Some(b'\n') => true,
                Some(b'\r') => before(index, 2) == Some(b'\n'),
                _ => false,
            };
            blank.then_some(index + 1)
        })
    }

    /// Reads one event; true if it is the usage chunk that nobody asked for.
    fn read_event(&mut self, event: &[u8]) -> bool {
        let Some(data) = data_of(event) else { return false };
        self.seen_events += 1;
        if &data[..] == b"[DONE]" {
            self.ended = true;
            return false;
        }
        if !self.must_read(&data) {
            self.pieces += 1;
            self.content_seen = true;
            return false;
        }
        let Ok(value) = serde_json::from_slice::<Value>(&data) else { return false };
        self.read(&value)
    }

    /// Whether an event may say more than a piece of text does; most are only text.
    fn must_read(&self, data: &[u8]) -> bool {
        if self.dialect == Dialect::Gemini || self.seen_events <= 2 {
            return true;
        }
        let says = |key: &str| memmem::find(data, key.as_bytes()).is_some();
        let value_after = |key: &str, nothing: &[u8]| {
            memmem::find_iter(data, key.as_bytes()).any(|at| {
                let rest = data[at + key.len()..].trim_ascii_start();
                rest.strip_prefix(b":").is_some_and(|r| !r.trim_ascii_start().starts_with(nothing))
            })
        };
        value_after("\"usage\"", b"null")
            || value_after("\"finish_reason\"", b"null")
            || says("\"error\"")
            || says("\"ping\"")
            || says("\"message_")
            || says("\"content_block_st")
            || (self.operation == Operation::Responses && !says(".delta\""))
    }

    /// Takes note of a value; true if it is a chunk of usage alone.
    fn read(&mut self, value: &Value) -> bool {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "message_stop" => self.ended = true,
            "ping" => return false,
            "response.completed" | "response.incomplete" | "response.failed" => self.ended = true,
            _ => {}
        }
        if let Some(error) = value.get("error").filter(|e| !e.is_null()) {
            let name = ["code", "type", "status"]
                .iter()
                .find_map(|k| error.get(k).and_then(Value::as_str));
            self.error = Some(word(name.unwrap_or("error")));
            self.ended = true;
        }
        let inner = ["response", "message"].iter().find_map(|k| value.get(k)).unwrap_or(value);
        self.identify(inner);
        for holder in [value, inner] {
            for key in ["usage", "usageMetadata"] {
                if let Some(usage) = holder.get(key) {
                    self.reported.update(usage);
                }
            }
            if let Some(tier) = holder.get("service_tier").and_then(Value::as_str) {
                self.reported.tier = Some(word(tier));
            }
        }
        self.note_finish(value);
        let says_text = match kind {
            "" => has_text(value),
            kind => kind.ends_with("delta") && kind != "message_delta",
        };
        if says_text {
            self.pieces += 1;
            self.content_seen = true;
        }
        value.get("usage").is_some_and(Value::is_object)
            && value.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty)
    }

    fn identify(&mut self, value: &Value) {
        let text = |keys: [&str; 2]| {
            keys.iter().find_map(|k| value.get(k).and_then(Value::as_str)).map(word)
        };
        self.response_model =
            self.response_model.take().or_else(|| text(["model", "modelVersion"]));
        self.response_id = self.response_id.take().or_else(|| text(["id", "responseId"]));
    }

    fn note_finish(&mut self, value: &Value) {
        let lists =
            ["choices", "candidates"].iter().filter_map(|k| value.get(k).and_then(Value::as_array));
        let one = [value.get("delta"), Some(value), value.get("response")];
        for holder in lists.flatten().chain(one.into_iter().flatten()) {
            for key in ["finish_reason", "finishReason", "stop_reason"] {
                if let Some(reason) = holder.get(key).and_then(Value::as_str) {
                    self.finished = true;
                    if self.finish_reasons.len() < 16 {
                        self.finish_reasons.push(word(reason));
                    }
                }
            }
        }
    }

    /// The provider's side ended without an error; false if the answer was cut all the same.
    pub(crate) fn close(&mut self) -> bool {
        if self.events {
            let last = std::mem::take(&mut self.pending);
            if !last.is_empty() && !self.overflow {
                self.read_event(&last);
            }
            self.ended = self.ended
                || self.finished
                || (self.dialect == Dialect::Gemini && self.seen_events > 0);
            return self.ended;
        }
        let body = std::mem::take(&mut self.pending);
        if self.overflow {
            self.read_tail(&body);
        } else if let Ok(value) = serde_json::from_slice::<Value>(&body) {
            // Gemini's streams without `alt=sse` are a list of answers.
            match &value {
                Value::Array(list) => list.iter().for_each(|value| {
                    self.read(value);
                }),
                value => {
                    self.read(value);
                }
            }
        }
        self.ended = true;
        true
    }

    /// Reads the last usage in the end of a large answer.
    fn read_tail(&mut self, tail: &[u8]) {
        for key in ["\"usage\"", "\"usageMetadata\""] {
            // Within strings the quotes are escaped.
            let found =
                memmem::rfind(tail, key.as_bytes()).filter(|at| *at == 0 || tail[at - 1] != b'\\');
            let Some(at) = found else { continue };
            let rest = tail[at + key.len()..].trim_ascii_start();
            let Some(rest) = rest.strip_prefix(b":") else { continue };
            if let Some(Ok(usage)) =
                serde_json::Deserializer::from_slice(rest).into_iter::<Value>().next()
            {
                self.reported.update(&usage);
            }
        }
    }

    /// The tokens, and how they are known. `input` is the estimate of what went in.
    pub(crate) fn usage(&self, input: u64) -> (Buckets, UsageSource) {
        let mut buckets = self.reported.buckets(self.dialect);
        if !self.reported.any() {
            if self.pieces == 0 && !self.overflow {
                return (Buckets::default(), UsageSource::None);
            }
            let writes = !matches!(self.operation, Operation::Embed | Operation::Embeddings);
            // About five bytes of JSON make a token.
            let output = if self.events { self.pieces } else { self.bytes / 5 };
            buckets =
                Buckets { input, output: if writes { output } else { 0 }, ..Buckets::default() };
            return (buckets, UsageSource::Estimated);
        }
        if self.ended {
            return (buckets, UsageSource::Reported);
        }
        // What was said before the cut may be older than the text that came.
        let output = buckets.all_output();
        buckets.output += self.pieces.saturating_sub(output);
        (buckets, UsageSource::Partial)
    }

    /// The tier that the call was served with.
    pub(crate) fn tier(&self) -> Option<&str> {
        self.reported.tier.as_deref()
    }

    pub(crate) fn stated_cost(&self) -> Option<f64> {
        self.reported.stated_cost()
    }
}

/// What an answer says in a word, as far as it is one.
fn word(text: &str) -> String {
    text.chars().take(WORD).collect()
}

/// Whether a chunk of chat, completions or Gemini holds a piece of the answer.
fn has_text(value: &Value) -> bool {
    let filled = |v: Option<&Value>| match v {
        Some(Value::String(s)) => !s.is_empty(),
        Some(Value::Array(a)) => !a.is_empty(),
        Some(Value::Object(o)) => !o.is_empty(),
        _ => false,
    };
    let choices = value.get("choices").and_then(Value::as_array).into_iter().flatten();
    let in_choice = |choice: &Value| {
        let delta = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(choice);
        ["content", "text", "reasoning", "reasoning_content", "tool_calls", "refusal"]
            .iter()
            .any(|k| filled(delta.get(k)))
    };
    let candidates = value.get("candidates").and_then(Value::as_array).into_iter().flatten();
    let mut parts = candidates.filter_map(|c| c.pointer("/content/parts"));
    choices.into_iter().any(in_choice) || parts.any(|p| filled(Some(p)))
}

/// The data of an event: its `data:` lines, joined; none if it has none.
fn data_of(event: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut lines = event.split(|b| *b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_prefix(b"data:").map(|data| data.strip_prefix(b" ").unwrap_or(data))
    });
    let first = lines.next()?;
    match lines.next() {
        None => Some(first.into()),
        Some(second) => {
            let mut joined = first.to_vec();
            for line in std::iter::once(second).chain(lines) {
                joined.push(b'\n');
                joined.extend_from_slice(line);
            }
            Some(joined.into())
        }
    }
}

#[cfg(test)]
mod tests;
