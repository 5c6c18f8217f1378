//! The calls of an attempt, one a line of its `llm/calls.jsonl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// Most bytes that are read of an attempt's calls.
const MOST_BYTES: u64 = 256 << 20;

/// A call, as far as a report needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Seconds after the agent's start.
    pub(super) after_s: f64,
    /// Tokens that it read, cached ones too; 0 where nothing was counted.
    pub(super) input_tokens: u64,
    /// Dollars; `None` if its price is not known.
    pub(super) usd: Option<f64>,
    /// Whether it was a conversation, and not an embedding or a count of tokens.
    pub(super) is_chat: bool,
}

#[derive(Deserialize)]
struct Line {
    id: u64,
    at: DateTime<Utc>,
    #[serde(rename = "gen_ai.operation.name", default)]
    operation: String,
    #[serde(rename = "gen_ai.usage.input_tokens", default)]
    input_tokens: u64,
    #[serde(default)]
    usd: Option<f64>,
}

/// The calls in the order in which they came; `started` is when the agent did. `None` if the file is
/// missing. A later line of a call replaces an earlier one; lines that cannot be read are passed
/// over, as a harness that was killed may leave one.
pub(super) fn read(path: &Path, started: DateTime<Utc>) -> Option<Vec<Call>> {
    let file = File::open(path).ok()?;
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    for line in BufReader::new(file.take(MOST_BYTES)).lines() {
        let Ok(line) = line else { break };
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        let after_s = (line.at - started).as_seconds_f64().max(0.0);
        let call = Call {
            after_s,
            input_tokens: line.input_tokens,
            usd: line.usd.filter(|usd| usd.is_finite()),
            is_chat: !matches!(line.operation.as_str(), "embeddings" | "count_tokens" | "models"),
        };
        calls.insert(line.id, call);
    }
    let mut calls: Vec<Call> = calls.into_values().collect();
    calls.sort_by(|a, b| a.after_s.total_cmp(&b.after_s));
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_are_passed_over_and_later_ones_win() {
        let dir = std::env::temp_dir().join(format!("medalist-calls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("calls.jsonl");
        let started: DateTime<Utc> = "2026-11-29T08:00:00Z".parse().unwrap();
        let text = concat!(
            r#"{"id":1,"at":"2026-11-29T08:00:30Z","gen_ai.operation.name":"chat","gen_ai.usage.input_tokens":10,"usd":0.5}"#,
            "\nnot json\n{\"id\":2}\n",
            r#"{"id":3,"at":"2026-11-29T07:59:59Z","gen_ai.operation.name":"embeddings","usd":null}"#,
            "\n",
            r#"{"id":1,"at":"2026-11-29T08:00:30Z","gen_ai.operation.name":"chat","gen_ai.usage.input_tokens":12,"usd":0.75}"#,
            "\n{\"id\":4,\"at\":"
        );
        std::fs::write(&path, text).unwrap();
        let calls = read(&path, started).unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].after_s, calls[0].is_chat, calls[0].usd), (0.0, false, None));
        assert_eq!((calls[1].after_s, calls[1].input_tokens, calls[1].usd), (30.0, 12, Some(0.75)));
        assert_eq!(read(&dir.join("none.jsonl"), started), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
