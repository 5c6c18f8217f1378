//! A scripted provider, and a client that sees every byte.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use medalist_llm::events::{Event, EventSink};
use medalist_llm::record::{CallRecord, Replay, read_calls};
use medalist_llm::{AttemptContext, AttemptSpec, Config, Gateway};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) const KEY: &str = "sk-real-0123456789abcdef0123456789";

/// What a scripted provider does in turn.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Waits until the client has left, and notes that it did.
    AwaitClose,
}

/// A request as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON went to the provider")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    left: usize,
}

/// A provider that answers the n-th request by a script.
pub(crate) struct Provider {
    pub(crate) port: u16,
    log: Arc<Mutex<Log>>,
}

impl Provider {
    pub(crate) async fn start(
        script: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let log: Arc<Mutex<Log>> = Arc::default();
        let (script, shared) = (Arc::new(script), Arc::clone(&log));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&shared));
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.into_split();
                    // One request a connection keeps scripts simple.
                    let Some(seen) = read_request(&mut reader).await else { return };
                    let nth = {
                        let mut log = log.lock().expect("unpoisoned");
                        log.seen.push(seen.clone());
                        log.seen.len() - 1
                    };
                    for step in script(nth, &seen) {
                        match step {
                            Step::Send(bytes) => {
                                if writer.write_all(&bytes).await.is_err() {
                                    log.lock().expect("unpoisoned").left += 1;
                                    return;
                                }
                            }
                            Step::AwaitClose => {
                                let mut byte = [0];
                                let _ = reader.read(&mut byte).await;
                                log.lock().expect("unpoisoned").left += 1;
                            }
                        }
                    }
                });
            }
        });
        Self { port, log }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().expect("unpoisoned").seen.clone()
    }

    pub(crate) fn left(&self) -> usize {
        self.log.lock().expect("unpoisoned").left
    }
}

async fn read_request(reader: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("a head of text");
    let mut seen = Seen { head, body: Vec::new() };
    let length: usize = seen.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// A whole answer with a length.
pub(crate) fn reply(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body.as_bytes()].concat())]
}

/// The head of a stream of events.
pub(crate) fn events_head() -> Step {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    Step::Send(head.into())
}

pub(crate) fn chunk(data: &str) -> Step {
    Step::Send(format!("{:x}\r\n{data}\r\n", data.len()).into_bytes())
}

pub(crate) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// A stream of events with a proper end.
pub(crate) fn stream(events: &[&str]) -> Vec<Step> {
    let chunks = events.iter().map(|event| chunk(event));
    std::iter::once(events_head()).chain(chunks).chain([last_chunk()]).collect()
}

pub(crate) const CHAT: &str = r#"{"id":"c","model":"m-1","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

pub(crate) fn chat_events() -> Vec<&'static str> {
    vec![
        "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"!\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n",
        "data: [DONE]\n\n",
    ]
}

pub(crate) fn message_events() -> Vec<&'static str> {
    vec![
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"model\":\"m\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":12}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ]
}

pub(crate) const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
pub(crate) const ASK_STREAM: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
pub(crate) const CHAT_PATH: &str = "/openai/v1/chat/completions";

/// An answer as the client saw it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Takes an answer apart; none if there is no head.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(raw[..end].to_vec()).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Self { status, head, body: Vec::new(), whole: false };
        let rest = &raw[end..];
        if answer.header("transfer-encoding").is_some() {
            (answer.body, answer.whole) = unchunk(rest);
        } else {
            let length: usize =
                answer.header("content-length").map_or(0, |l| l.parse().expect("a length"));
            answer.whole = rest.len() >= length;
            answer.body = rest[..length.min(rest.len())].to_vec();
        }
        Some(answer)
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|s| usize::from_str_radix(s, 16).ok())
            .expect("a size");
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    (body, false)
}

/// A gateway with one attempt, in front of a scripted provider.
pub(crate) struct Bench {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) attempt: Arc<AttemptContext>,
    pub(crate) dir: TempDir,
    events: Arc<Mutex<Vec<Event>>>,
}

/// Settings with all three dialects at one provider, and more at the end.
pub(crate) fn settings(provider: &Provider, more: &str) -> String {
    let base = format!("http://127.0.0.1:{}", provider.port);
    let key = format!("key = {{ command = [\"echo\", \"{KEY}\"] }}");
    format!(
        "[upstreams.openai]\nbase_url = \"{base}/v1\"\n{key}\n[upstreams.anthropic]\nbase_url = \"{base}\"\n{key}\n\
         [upstreams.gemini]\nbase_url = \"{base}\"\n{key}\n[prices.m]\ninput = \"1\"\noutput = \"2\"\n{more}"
    )
}

impl Bench {
    pub(crate) fn new(provider: &Provider, more: &str) -> Self {
        Self::with(&settings(provider, more), tempfile::tempdir().expect("a folder"), None)
    }

    pub(crate) fn with(settings: &str, dir: TempDir, replay: Option<Replay>) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&events);
        let config = Config::parse(settings, Path::new("llm.toml")).expect("good settings");
        let listener = EventSink::new(move |event| sink.lock().expect("unpoisoned").push(event));
        let gateway = Gateway::new(config, listener).expect("a gateway");
        let spec = AttemptSpec {
            id: "a".into(),
            dir: dir.path().join("llm"),
            limits: None,
            until: Utc::now(),
            replay,
        };
        let attempt = gateway.open(spec).expect("an attempt");
        Self { gateway, attempt, dir, events }
    }

    /// Opens a connection to the gateway.
    pub(crate) fn connect(&self) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
        let (client, server) = tokio::io::duplex(1 << 20);
        let (gateway, attempt) = (Arc::clone(&self.gateway), Arc::clone(&self.attempt));
        tokio::spawn(async move { gateway.serve(server, attempt).await });
        client
    }

    /// Sends bytes and reads until the gateway closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Option<Answer> {
        let mut client = self.connect();
        client.write_all(request).await.expect("the gateway reads");
        let mut raw = Vec::new();
        // A broken connection is an end like any other here.
        let _ = client.read_to_end(&mut raw).await;
        Answer::parse(&raw)
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let request = request("POST", path, headers, body.as_ref());
        self.raw(&request).await.expect("an answer")
    }

    /// As [`Bench::post`]; a connection that breaks before the head is an answer of nothing.
    pub(crate) async fn post_broken(&self, path: &str, body: &str) -> Answer {
        let nothing = Answer { status: 0, head: String::new(), body: Vec::new(), whole: false };
        self.raw(&request("POST", path, "", body.as_bytes())).await.unwrap_or(nothing)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(&request("GET", path, "", b"")).await.expect("an answer")
    }

    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        read_calls(&self.dir.path().join("llm")).expect("a record")
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("unpoisoned").clone()
    }

    /// Waits until the calls fit, and gives them.
    pub(crate) async fn calls_when(&self, fit: impl Fn(&[CallRecord]) -> bool) -> Vec<CallRecord> {
        until(|| {
            let calls = self.calls();
            fit(&calls).then_some(calls)
        })
        .await
    }

    /// Closes everything and gives the folder.
    pub(crate) fn end(self) -> TempDir {
        self.dir
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = ask() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it comes within half a minute")
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost:4000\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
