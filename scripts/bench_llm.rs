//! Provider and client of `scripts/bench-llm.py`. No crates: one static program that runs in an empty image.
//!
//! usage: bench_llm provider | bench_llm client URL
//!
//! The provider prints its port. The client prints a line of JSON for each thing it has measured, with the times of its begin and end.
//! Every event of a stream says when it was sent, by the clock that all containers of a machine share.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const STREAMS: usize = 100;
const EVENTS: usize = 100;
const EVERY: Duration = Duration::from_millis(20);
const LARGE: usize = 100 << 20;
const ONE_AFTER_ANOTHER: usize = 1000;
const PACED: u32 = 1000;
const PACE: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["provider"] => provider(),
        ["client", url] => client(url),
        _ => Err(Error::other("usage: bench_llm provider | bench_llm client URL")),
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// The head of a request or an answer in lower case, and the length of its body; none if it is chunked.
fn head(reader: &mut impl BufRead) -> io::Result<(String, Option<usize>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    head.make_ascii_lowercase();
    let chunked = head.contains("\r\ntransfer-encoding: chunked\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Ok((head, if chunked { None } else { Some(length.unwrap_or(0)) }))
}

fn provider() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let large: &[u8] = Box::leak(whole(&"x".repeat(LARGE)).into_boxed_slice());
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        // A client that leaves ends its own connection and no other.
        thread::spawn(move || while answer(&stream, large).is_ok() {});
    }
    Ok(())
}

/// A whole answer with so much text.
fn whole(text: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}}}"#
    );
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body.as_bytes()].concat()
}

fn answer(mut stream: &TcpStream, large: &[u8]) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (_, length) = head(&mut reader)?;
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    if body.contains("a large answer") {
        return stream.write_all(large);
    }
    if !body.contains("a stream") {
        return stream.write_all(&whole("Hi"));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let chunk = |choices: &str| {
        let event = format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":{choices}}}\n\n"
        );
        format!("{:x}\r\n{event}\r\n", event.len())
    };
    for _ in 0..EVENTS {
        thread::sleep(EVERY);
        let text = format!("[{{\"index\":0,\"delta\":{{\"content\":\"@{}@\"}}}}]", now());
        stream.write_all(chunk(&text).as_bytes())?;
    }
    let stop = chunk("[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]");
    stream.write_all(format!("{stop}e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").as_bytes())
}

/// A connection that is kept for call after call.
struct Client {
    host: String,
    path: String,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(url: &str) -> io::Result<Self> {
        let rest = url.strip_prefix("http://").ok_or_else(|| Error::other("the address begins with http://"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.to_string(), path: path.to_string(), reader: BufReader::with_capacity(256 << 10, stream) })
    }

    /// Asks for something and gives each piece of the answer's body to `take`.
    fn ask(&mut self, what: &str, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let stream = what == "a stream";
        let body = format!(r#"{{"model":"bench","stream":{stream},"messages":[{{"role":"user","content":"{what}"}}]}}"#);
        let head_text = format!(
            "POST {}/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer dummy\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.path, self.host, body.len()
        );
        self.reader.get_mut().write_all(format!("{head_text}{body}").as_bytes())?;
        let (head, length) = head(&mut self.reader)?;
        if !head.starts_with("http/1.1 200") {
            return Err(Error::other(format!("the answer is {head}")));
        }
        if let Some(length) = length {
            return self.pass(length, &mut take);
        }
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(|_| Error::other("no chunk"))?;
            self.pass(length, &mut take)?;
            self.reader.read_line(&mut line)?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn pass(&mut self, mut length: usize, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(length);
            take(&bytes[..count]);
            self.reader.consume(count);
            length -= count;
        }
        Ok(())
    }
}

/// The times that a piece of a stream says it was sent at.
fn sent(piece: &[u8]) -> Vec<u128> {
    let text = String::from_utf8_lossy(piece);
    // One that is cut by the end of a piece is left out.
    text.split('@').filter(|word| word.len() == 19).filter_map(|word| word.parse().ok()).collect()
}

fn told(what: &str, began: u128, figures: &str) {
    let seconds = |nanos: u128| nanos as f64 / 1e9;
    println!("{{\"what\":\"{what}\",\"began\":{:.3},\"ended\":{:.3},{figures}}}", seconds(began), seconds(now()));
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn client(url: &str) -> io::Result<()> {
    let began = now();
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let url = url.to_string();
            thread::spawn(move || -> io::Result<Vec<f64>> {
                let mut delays = Vec::new();
                Client::new(&url)?.ask("a stream", |piece| {
                    let now = now();
                    delays.extend(sent(piece).iter().map(|sent| now.saturating_sub(*sent) as f64 / 1e6));
                })?;
                Ok(delays)
            })
        })
        .collect();
    let mut delays = Vec::new();
    for stream in streams {
        delays.extend(stream.join().map_err(|_| Error::other("a stream failed"))??);
    }
    if delays.len() < STREAMS * EVENTS * 9 / 10 {
        return Err(Error::other(format!("only {} events came", delays.len())));
    }
    delays.sort_by(f64::total_cmp);
    let figures = format!("\"events\":{},\"p50_ms\":{:.3},\"p99_ms\":{:.3}", delays.len(), quantile(&delays, 0.5), quantile(&delays, 0.99));
    told("streams", began, &figures);

    let (began, started, mut bytes) = (now(), Instant::now(), 0);
    Client::new(url)?.ask("a large answer", |piece| bytes += piece.len())?;
    if bytes < LARGE {
        return Err(Error::other(format!("only {bytes} bytes came")));
    }
    told("large", began, &format!("\"megabytes_a_second\":{:.0}", bytes as f64 / 1e6 / started.elapsed().as_secs_f64()));

    let mut client = Client::new(url)?;
    let mut times = Vec::new();
    let began = now();
    for _ in 0..ONE_AFTER_ANOTHER {
        let started = Instant::now();
        client.ask("a word", |_| ())?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    told("calls", began, &format!("\"p50_ms\":{:.3},\"p99_ms\":{:.3}", quantile(&times, 0.5), quantile(&times, 0.99)));

    let (began, started) = (now(), Instant::now());
    for call in 0..PACED {
        thread::sleep((PACE * call).saturating_sub(started.elapsed()));
        client.ask("a word", |_| ())?;
    }
    told("paced", began, &format!("\"calls\":{PACED}"));
    Ok(())
}
