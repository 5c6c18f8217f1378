//! Measures what the gateway adds: latency of streams, throughput of large answers, memory.
//!
//! ```text
//! cargo run --release -p medalist-llm --example gateway_bench
//! ```
//!
//! Provider, gateway and clients are in one process on loopback; each figure stands beside the bare
//! provider's. The memory is that of all three, so that the gateway's own is less.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use http_body_util::BodyExt;
use medalist_llm::events::EventSink;
use medalist_llm::{AttemptSpec, Config, Gateway};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const STREAMS: usize = 100;
const EVENTS: usize = 50;
const EVERY: Duration = Duration::from_millis(20);
const LARGE: usize = 100 << 20;
const CALLS: usize = 1000;

/// A provider: streams of small events, or one large answer if asked for `large`, or a short one.
async fn provider(listener: TcpListener, started: Instant) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut reader = BufReader::new(reader);
            while serve(&mut reader, &mut writer, started).await.is_ok() {}
        });
    }
}

async fn serve(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    started: Instant,
) -> io::Result<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if body.contains("large") {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {LARGE}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await?;
        let block = vec![b' '; 1 << 20];
        for _ in 0..LARGE >> 20 {
            writer.write_all(&block).await?;
        }
        return Ok(());
    }
    if body.contains("short") {
        let text = r#"{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        return writer.write_all(head.as_bytes()).await;
    }
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    writer.write_all(head).await?;
    for _ in 0..EVENTS {
        tokio::time::sleep(EVERY).await;
        let at = started.elapsed().as_nanos();
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"@{at}@\"}}}}]}}\n\n");
        writer.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
    let done = "data: [DONE]\n\n";
    writer.write_all(format!("{:x}\r\n{done}\r\n0\r\n\r\n", done.len()).as_bytes()).await
}

async fn post(client: &reqwest::Client, url: &str, kind: &str, stream: bool) -> reqwest::Body {
    let body = format!("{{\"model\":\"{kind}\",\"stream\":{stream},\"messages\":[]}}");
    client.post(url).body(body).send().await.expect("an answer").into()
}

/// The delays of all events of 100 streams at the same time, in milliseconds, in order.
async fn latencies(url: String, started: Instant) -> Vec<f64> {
    let client = reqwest::Client::builder().tcp_nodelay(true).build().expect("a client");
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                let mut body = post(&client, &url, "stream", true).await;
                let mut delays = Vec::new();
                while let Some(frame) = body.frame().await {
                    let Ok(data) = frame.expect("a whole stream").into_data() else { continue };
                    let now = started.elapsed().as_nanos();
                    let text = String::from_utf8_lossy(&data).into_owned();
                    let sent =
                        text.split('@').skip(1).step_by(2).filter_map(|t| t.parse::<u128>().ok());
                    delays.extend(sent.map(|sent| now.saturating_sub(sent) as f64 / 1e6));
                }
                delays
            })
        })
        .collect();
    let mut all = Vec::new();
    for stream in streams {
        all.extend(stream.await.expect("no stream panics"));
    }
    all.sort_by(f64::total_cmp);
    all
}

async fn megabytes_per_second(url: &str) -> f64 {
    let client = reqwest::Client::new();
    let started = Instant::now();
    let mut body = post(&client, url, "large", false).await;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.expect("a whole answer").into_data().unwrap_or_else(|_| Bytes::new()).len();
    }
    assert_eq!(bytes, LARGE);
    bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// Calls one after another, in milliseconds each at the median, and the processor time of all.
async fn short_calls(url: &str) -> (f64, f64) {
    let client = reqwest::Client::builder().tcp_nodelay(true).build().expect("a client");
    let mut times = Vec::new();
    let before = cpu_seconds();
    for _ in 0..CALLS {
        let started = Instant::now();
        post(&client, url, "short", false).await.collect().await.expect("an answer");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[CALLS / 2], cpu_seconds() - before)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let started = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let bare = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(provider(listener, started));
    let records = tempfile::tempdir().expect("a folder");
    let text = format!("[upstreams.openai]\nbase_url = \"{bare}/v1\"\nprice = \"free\"");
    let config = Config::parse(&text, Path::new("llm.toml")).expect("good settings");
    let gateway = Gateway::new(config, EventSink::ignore()).expect("a gateway");
    let dir = records.path().join("llm");
    let spec =
        AttemptSpec { id: "bench".to_owned(), dir, limits: None, until: Utc::now(), replay: None };
    let attempt = gateway.open(spec).expect("an attempt");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let through = format!("http://{}/openai", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (gateway, attempt) = (Arc::clone(&gateway), Arc::clone(&attempt));
            tokio::spawn(async move { gateway.serve(stream, attempt).await });
        }
    });
    let path = "/v1/chat/completions";
    let (bare, through) = (format!("{bare}{path}"), format!("{through}{path}"));
    for (name, url) in [("bare", &bare), ("gateway", &through)] {
        let delays = latencies(url.clone(), started).await;
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
        println!(
            "{name}: {} events of {STREAMS} streams: p50 {:.3} ms, p99 {:.3} ms",
            delays.len(),
            at(0.5),
            at(0.99)
        );
    }
    println!("peak memory of provider, gateway and clients: {:.0} MiB", peak_mebibytes());
    for (name, url) in [("bare", &bare), ("gateway", &through)] {
        println!("{name}: {:.0} MB/s of one large answer", megabytes_per_second(url).await);
    }
    for (name, url) in [("bare", &bare), ("gateway", &through)] {
        let (median, cpu) = short_calls(url).await;
        println!(
            "{name}: short calls {median:.3} ms at the median, {:.3} ms of processor time each",
            cpu * 1e3 / CALLS as f64
        );
    }
    println!("peak memory at the end: {:.0} MiB", peak_mebibytes());
}
