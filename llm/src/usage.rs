//! Tokens by kind, read from what providers report.
//!
//! Providers count differently: OpenAI's and Google's prompt tokens include cached ones, while
//! Anthropic's do not; Google's candidates leave thoughts out. Here all become buckets that do not
//! overlap, once, so that prices and budgets need not know whose they are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dialect::Dialect;

/// Tokens by kind. No token is in two buckets, except that `reasoning` is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buckets {
    /// Read at the full price.
    pub input: u64,
    /// Read from the provider's cache.
    pub cache_read: u64,
    /// Written to the provider's cache for a short time (Anthropic 5 minutes, OpenAI 30).
    pub cache_write_5m: u64,
    /// Written to the provider's cache for a long time (Anthropic 1 hour, OpenAI 12).
    pub cache_write_1h: u64,
    /// Text written, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
    /// Audio heard.
    pub audio_input: u64,
    /// Audio spoken.
    pub audio_output: u64,
}

impl Buckets {
    /// All tokens that went in.
    pub fn all_input(&self) -> u64 {
        [self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_input]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// All tokens that came out.
    pub fn all_output(&self) -> u64 {
        self.output.saturating_add(self.audio_output)
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.all_input().saturating_add(self.all_output())
    }

    /// Adds another call's tokens.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.input, other.input),
            (&mut self.cache_read, other.cache_read),
            (&mut self.cache_write_5m, other.cache_write_5m),
            (&mut self.cache_write_1h, other.cache_write_1h),
            (&mut self.output, other.output),
            (&mut self.reasoning, other.reasoning),
            (&mut self.audio_input, other.audio_input),
            (&mut self.audio_output, other.audio_output),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Where a call's tokens are known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider said so at the end of its answer.
    Reported,
    /// The provider said so while answering, and the answer was cut.
    Partial,
    /// Nobody said; estimated from the request's size and the pieces that came.
    Estimated,
    /// There was nothing to count.
    #[default]
    None,
}

/// What a provider has said so far about one call; a later value replaces an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    fields: Map<String, Value>,
    /// The service tier or speed that the call was served with.
    pub tier: Option<String>,
}

impl Reported {
    /// Whether anything has been said.
    pub fn any(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Takes in a usage object, field by field; `null` says nothing.
    pub fn update(&mut self, usage: &Value) {
        if let Value::Object(newer) = usage {
            overlay(&mut self.fields, newer);
            for key in ["service_tier", "speed"] {
                if let Some(Value::String(tier)) = newer.get(key)
                    && tier != "standard"
                {
                    self.tier = Some(tier.clone());
                }
            }
        }
    }

    /// The tokens by kind.
    pub fn buckets(&self, dialect: Dialect) -> Buckets {
        match dialect {
            Dialect::OpenAi => openai(&self.fields),
            Dialect::Anthropic => anthropic(&self.fields),
            Dialect::Gemini => gemini(&self.fields),
        }
    }

    /// What the provider itself says the call cost, in its own units (OpenRouter's credits).
    pub fn stated_cost(&self) -> Option<f64> {
        self.fields.get("cost").and_then(Value::as_f64)
    }
}

fn overlay(old: &mut Map<String, Value>, new: &Map<String, Value>) {
    for (key, value) in new {
        match (old.get_mut(key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(inner)), Value::Object(newer)) => overlay(inner, newer),
            _ => {
                old.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A count at `path`; what is no count is no tokens.
fn count(fields: &Map<String, Value>, path: &[&str]) -> u64 {
    let mut value = fields.get(path[0]);
    for key in &path[1..] {
        value = value.and_then(|v| v.get(key));
    }
    match value {
        // Some servers write counts as 12.0; a cast of a negative number gives zero.
        Some(Value::Number(n)) => n.as_u64().unwrap_or_else(|| n.as_f64().unwrap_or(0.0) as u64),
        _ => 0,
    }
}

/// Chat and completions (`prompt_tokens`), responses (`input_tokens`), embeddings.
fn openai(fields: &Map<String, Value>) -> Buckets {
    let named = |old: &str, new: &str| {
        if fields.contains_key(old) { count(fields, &[old]) } else { count(fields, &[new]) }
    };
    let detail = |old: &str, new: &str, key: &str| {
        count(fields, &[old, key]).max(count(fields, &[new, key]))
    };
    let prompt = named("prompt_tokens", "input_tokens");
    let mut output = named("completion_tokens", "output_tokens");
    let into = |key| detail("prompt_tokens_details", "input_tokens_details", key);
    let out = |key| detail("completion_tokens_details", "output_tokens_details", key);
    // DeepSeek names cached tokens beside the details.
    let cache_read = into("cached_tokens").max(count(fields, &["prompt_cache_hit_tokens"]));
    let written = into("cache_write_tokens");
    let long = count(fields, &["input_tokens_details", "cache_write_tokens_details", "ttl_12h"])
        .max(count(fields, &["prompt_tokens_details", "cache_write_tokens_details", "ttl_12h"]))
        .min(written);
    let (audio_input, audio_output, reasoning) =
        (into("audio_tokens"), out("audio_tokens"), out("reasoning_tokens"));
    let total = count(fields, &["total_tokens"]);
    // Most servers count reasoning within the completion; where the total says otherwise, it is
    // right.
    if reasoning > 0 && total == prompt.saturating_add(output).saturating_add(reasoning) {
        output = output.saturating_add(reasoning);
    }
    Buckets {
        input: prompt
            .saturating_sub(cache_read)
            .saturating_sub(written)
            .saturating_sub(audio_input),
        cache_read,
        cache_write_5m: written - long,
        cache_write_1h: long,
        output: output.saturating_sub(audio_output),
        reasoning: reasoning.min(output),
        audio_input,
        audio_output,
    }
}

fn anthropic(fields: &Map<String, Value>) -> Buckets {
    let mut buckets = anthropic_part(fields);
    // A compaction's own tokens are not in the sums above it.
    if let Some(Value::Array(iterations)) = fields.get("iterations") {
        for part in iterations.iter().filter_map(Value::as_object) {
            if part.get("type").and_then(Value::as_str) == Some("compaction") {
                buckets.add(&anthropic_part(part));
            }
        }
    }
    buckets
}

fn anthropic_part(fields: &Map<String, Value>) -> Buckets {
    let long = count(fields, &["cache_creation", "ephemeral_1h_input_tokens"]);
    let short = count(fields, &["cache_creation", "ephemeral_5m_input_tokens"]);
    let written = count(fields, &["cache_creation_input_tokens"]).max(long.saturating_add(short));
    let output = count(fields, &["output_tokens"]);
    Buckets {
        input: count(fields, &["input_tokens"]),
        cache_read: count(fields, &["cache_read_input_tokens"]),
        cache_write_5m: written - long,
        cache_write_1h: long,
        output,
        reasoning: count(fields, &["output_tokens_details", "thinking_tokens"]).min(output),
        ..Buckets::default()
    }
}

fn gemini(fields: &Map<String, Value>) -> Buckets {
    let audio = |key: &str| {
        let parts = fields.get(key).and_then(Value::as_array).into_iter().flatten();
        parts
            .filter_map(Value::as_object)
            .filter(|part| part.get("modality").and_then(Value::as_str) == Some("AUDIO"))
            .fold(0, |sum: u64, part| sum.saturating_add(count(part, &["tokenCount"])))
    };
    let prompt = count(fields, &["promptTokenCount"])
        .saturating_add(count(fields, &["toolUsePromptTokenCount"]));
    let cache_read = count(fields, &["cachedContentTokenCount"]).min(prompt);
    let reasoning = count(fields, &["thoughtsTokenCount"]);
    let total = count(fields, &["totalTokenCount"]);
    // Prompt and output make the total; what a server leaves out of its parts is output.
    let output = count(fields, &["candidatesTokenCount"])
        .saturating_add(reasoning)
        .max(total.saturating_sub(prompt));
    let audio_input = audio("promptTokensDetails").min(prompt - cache_read);
    let audio_output = audio("candidatesTokensDetails").min(output);
    Buckets {
        input: prompt - cache_read - audio_input,
        cache_read,
        output: output - audio_output,
        reasoning: reasoning.min(output),
        audio_input,
        audio_output,
        ..Buckets::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(dialect: Dialect, parts: &[Value]) -> Buckets {
        let mut reported = Reported::default();
        parts.iter().for_each(|part| reported.update(part));
        reported.buckets(dialect)
    }

    #[test]
    fn one_call_counts_the_same_in_every_dialect() {
        let expected =
            Buckets { input: 5, cache_read: 26, output: 12, reasoning: 4, ..Buckets::default() };
        let chat = json!({"prompt_tokens": 31, "completion_tokens": 12, "total_tokens": 43,
            "prompt_tokens_details": {"cached_tokens": 26}, "completion_tokens_details": {"reasoning_tokens": 4}});
        let responses = json!({"input_tokens": 31, "output_tokens": 12, "total_tokens": 43,
            "input_tokens_details": {"cached_tokens": 26}, "output_tokens_details": {"reasoning_tokens": 4}});
        let messages = json!({"input_tokens": 5, "cache_read_input_tokens": 26, "output_tokens": 12,
            "output_tokens_details": {"thinking_tokens": 4}});
        let generate = json!({"promptTokenCount": 31, "cachedContentTokenCount": 26,
            "candidatesTokenCount": 8, "thoughtsTokenCount": 4, "totalTokenCount": 43});
        assert_eq!(read(Dialect::OpenAi, &[chat]), expected);
        assert_eq!(read(Dialect::OpenAi, &[responses]), expected);
        assert_eq!(read(Dialect::Anthropic, &[messages]), expected);
        assert_eq!(read(Dialect::Gemini, &[generate]), expected);
    }

    #[test]
    fn the_latest_value_wins_and_null_says_nothing() {
        let start = json!({"input_tokens": 10, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 7}});
        let delta = json!({"output_tokens": 40, "input_tokens": null});
        let buckets = read(Dialect::Anthropic, &[start, delta]);
        assert_eq!((buckets.input, buckets.output, buckets.cache_write_1h), (10, 40, 7));
    }

    #[test]
    fn reasoning_outside_the_completion_is_output_too() {
        let xai = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100}});
        assert_eq!(read(Dialect::OpenAi, &[xai]).output, 105);
    }

    #[test]
    fn cache_writes_audio_and_compaction_have_their_own_buckets() {
        let openai = json!({"input_tokens": 100, "output_tokens": 30, "total_tokens": 130,
            "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 50, "audio_tokens": 10,
                "cache_write_tokens_details": {"ttl_12h": 15}},
            "output_tokens_details": {"audio_tokens": 8}});
        assert_eq!(
            read(Dialect::OpenAi, &[openai]),
            Buckets {
                input: 20,
                cache_read: 20,
                cache_write_5m: 35,
                cache_write_1h: 15,
                output: 22,
                reasoning: 0,
                audio_input: 10,
                audio_output: 8
            }
        );
        let compacted = json!({"input_tokens": 10, "output_tokens": 2, "iterations": [
            {"type": "compaction", "input_tokens": 1000, "output_tokens": 100},
            {"type": "message", "input_tokens": 10, "output_tokens": 2}]});
        assert_eq!(read(Dialect::Anthropic, &[compacted]).total(), 1112);
    }

    #[test]
    fn nonsense_is_no_tokens_and_no_panic() {
        let odd = json!({"prompt_tokens": "many", "completion_tokens": -3, "prompt_tokens_details": [],
            "total_tokens": 1e300, "completion_tokens_details": {"reasoning_tokens": u64::MAX}});
        assert_eq!(read(Dialect::OpenAi, &[odd]).all_input(), 0);
        let huge = json!({"promptTokenCount": u64::MAX, "toolUsePromptTokenCount": u64::MAX,
            "thoughtsTokenCount": u64::MAX, "candidatesTokenCount": u64::MAX});
        assert_eq!(read(Dialect::Gemini, &[huge]).total(), u64::MAX);
    }
}
