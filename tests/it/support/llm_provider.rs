//! A provider of language models on loopback that answers by a rule and counts for itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What the provider does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    /// 503, and again in a second.
    Overloaded,
    /// It does not know the key.
    RefusesKey,
    /// It wants money.
    WantsMoney,
}

#[derive(Debug, Default)]
struct Seen {
    /// Calls that were answered, with the tokens that they were told to have used.
    answered: Vec<(u64, u64)>,
    keys: Vec<String>,
    bodies: Vec<Value>,
    refused: usize,
}

/// What a model answers to the body of a call.
type Script = Arc<dyn Fn(&Value) -> String + Send + Sync>;

/// A provider.
pub(crate) struct Provider {
    pub(crate) port: u16,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Seen>>,
}

/// What one answer uses.
pub(crate) const TOKENS: (u64, u64) = (100, 400);

impl Provider {
    /// Answers each call after `takes`.
    pub(crate) fn start(takes: Duration) -> Self {
        Self::listen(takes, None)
    }

    /// Answers each call after `takes` with what a script says.
    pub(crate) fn scripted(
        takes: Duration,
        script: impl Fn(&Value) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::listen(takes, Some(Arc::new(script)))
    }

    fn listen(takes: Duration, script: Option<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = Arc::new(Mutex::new(Mood::Answers));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (its_mood, its_seen) = (Arc::clone(&mood), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mood, seen) = (Arc::clone(&its_mood), Arc::clone(&its_seen));
                let script = script.clone();
                std::thread::spawn(move || serve(stream, &mood, &seen, takes, script.as_ref()));
            }
        });
        Self { port, mood, seen }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many calls were answered.
    pub(crate) fn answered(&self) -> usize {
        self.seen.lock().unwrap().answered.len()
    }

    /// How many calls were refused.
    pub(crate) fn refused(&self) -> usize {
        self.seen.lock().unwrap().refused
    }

    /// The keys that came, each once.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.seen.lock().unwrap().keys.clone();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The bodies of calls.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().bodies.clone()
    }

    /// Settings with this provider as `openai`, and more of them.
    pub(crate) fn settings(&self, file: &Path, more: &str) {
        let text = format!(
            "[upstreams.openai]\nbase_url = \"http://127.0.0.1:{}/v1\"\nkey = {{ env = \"TEST_LLM_KEY\" }}\n\
             models = [\"gpt-test\"]\n\n[prices.\"gpt-test\"]\ninput = \"0\"\noutput = \"2.50\"\n\n{more}",
            self.port
        );
        std::fs::write(file, text).unwrap();
    }
}

/// One connection, which may bring many requests.
fn serve(
    stream: TcpStream,
    mood: &Mutex<Mood>,
    seen: &Mutex<Seen>,
    takes: Duration,
    script: Option<&Script>,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.clone().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let key = field("authorization").or_else(|| field("x-api-key")).unwrap_or_default();
        seen.lock().unwrap().keys.push(key.trim_start_matches("Bearer ").to_owned());
        let (status, more, answer) = if head.starts_with("GET") {
            match *mood.lock().unwrap() {
                Mood::RefusesKey => (401, "", json!({"error": {"code": "invalid_api_key"}})),
                _ => (200, "", json!({"data": []})),
            }
        } else {
            answer(*mood.lock().unwrap(), &body, &head, seen, script)
        };
        if status == 200 && head.starts_with("POST") {
            std::thread::sleep(takes);
        }
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all(head.as_bytes()).ok()?;
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

fn answer(
    mood: Mood,
    body: &[u8],
    head: &str,
    seen: &Mutex<Seen>,
    script: Option<&Script>,
) -> (u16, &'static str, Value) {
    let mut seen = seen.lock().unwrap();
    match mood {
        Mood::Answers => {}
        refuses => {
            seen.refused += 1;
            return match refuses {
                Mood::Overloaded => (503, "retry-after: 1\r\n", json!({"error": {"code": "busy"}})),
                Mood::RefusesKey => (401, "", json!({"error": {"code": "invalid_api_key"}})),
                _ => (429, "", json!({"error": {"code": "insufficient_quota"}})),
            };
        }
    }
    seen.answered.push(TOKENS);
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match script {
        Some(script) => script(&asked),
        None => format!("answer {}", seen.answered.len()),
    };
    seen.bodies.push(asked);
    let (sent, received) = TOKENS;
    let body = if head.starts_with("POST /v1/completions") {
        // It echoes, and gives every token but the first one chance in two.
        let tokens = asked_tokens(&seen);
        let mut logs = vec![Value::Null];
        logs.extend((1..=tokens).map(|_| json!(0.5_f64.ln())));
        json!({"id": "c", "object": "text_completion", "model": "gpt-test",
            "choices": [{"index": 0, "text": "", "finish_reason": "length", "logprobs": {"token_logprobs": logs}}],
            "usage": {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}})
    } else if head.contains("/messages") {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": sent, "output_tokens": received}})
    } else {
        json!({"id": "c", "object": "chat.completion", "model": "gpt-test",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}})
    };
    (200, "", body)
}

/// The words of the prompt that came last.
fn asked_tokens(seen: &Seen) -> usize {
    let prompt = seen.bodies.last().and_then(|body| body["prompt"].as_str());
    prompt.map_or(1, |prompt| prompt.split_whitespace().count())
}
