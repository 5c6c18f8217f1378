//! HTTP/1.1 over plain TCP: one request a connection, to services on this machine.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::sys;

/// An answer that is longer is refused.
const LARGEST: usize = 64 << 20;
/// How often a wait looks whether the program is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The parts of `http://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    host: String,
    port: u16,
    path: String,
}

impl Url {
    /// # Errors
    /// If it is no `http://` address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address such as http://localhost:4000/openai/v1");
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, 80),
        };
        if host.is_empty() {
            return Err(wrong());
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), port, path })
    }

    /// The same host, with `before` and `after` around the path.
    pub(crate) fn around(&self, before: &str, after: &str) -> Self {
        Self { path: format!("{before}{}{after}", self.path), ..self.clone() }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        // By number: a bare image may have no table of host names.
        if self.host == "localhost" {
            return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), self.port).into());
        }
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| io::Error::other(format!("`{}` has no address", self.host)))
    }
}

/// Sends a request and reads the whole answer, until `deadline`.
///
/// # Errors
/// The system's; [`io::ErrorKind::TimedOut`] after the deadline, [`io::ErrorKind::Interrupted`] if the
/// program is asked to stop.
pub(crate) fn send(
    url: &Url,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    deadline: Instant,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&url.address()?, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
        if url.path.is_empty() { "/" } else { &url.path },
        url.host,
        url.port,
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
        if received.len() > LARGEST {
            return Err(io::Error::other("the answer is longer than 64 MiB"));
        }
        if complete(&received) {
            break;
        }
        if sys::stopped() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "asked to stop"));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within the time left"));
        }
    }
    parse(&received)
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// The head as text, and where the body begins.
fn split(received: &[u8]) -> Option<(String, usize)> {
    let end = received.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&received[..end]).into_owned(), end + 4))
}

fn headers(head: &str) -> Vec<(String, String)> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned())).collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Whether nothing more can come, for a server that keeps the connection open.
fn complete(received: &[u8]) -> bool {
    let Some((head, body)) = split(received) else { return false };
    let headers = headers(&head);
    if value(&headers, "transfer-encoding").is_some_and(|how| how.contains("chunked")) {
        return received[body..].ends_with(b"0\r\n\r\n") && unchunk(&received[body..]).is_some();
    }
    let length = value(&headers, "content-length").and_then(|text| text.parse::<usize>().ok());
    length.is_some_and(|length| received.len() - body >= length)
}

fn parse(received: &[u8]) -> io::Result<Answer> {
    let broken = || io::Error::other("the answer broke off or is no HTTP");
    let (head, start) = split(received).ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let headers = headers(&head);
    let body = &received[start..];
    let chunked = value(&headers, "transfer-encoding").is_some_and(|how| how.contains("chunked"));
    let length = value(&headers, "content-length").and_then(|text| text.parse::<usize>().ok());
    let body = match (chunked, length) {
        (true, _) => unchunk(body).ok_or_else(broken)?,
        (false, Some(length)) => body.get(..length).ok_or_else(broken)?.to_vec(),
        (false, None) => body.to_vec(),
    };
    Ok(Answer { status, headers, body })
}

/// The bytes in chunks; `None` if the last one is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|part| part == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("http://localhost:4000/openai/v1/").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("localhost", 4000, "/openai/v1")
        );
        assert_eq!(Url::parse("http://example.org").unwrap().port, 80);
        for text in ["https://localhost", "localhost:4000", "http://", "http://a:b/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_are_read_in_both_forms() {
        let plain = b"HTTP/1.1 402 Payment Required\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi";
        let answer = parse(plain).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-a"), answer.text()),
            (402, Some("b"), "hi".into())
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().text(), "abcde");
        assert!(complete(chunked) && complete(plain));
    }

    #[test]
    fn what_breaks_off_is_no_answer() {
        for cut in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200",
            b"",
        ] {
            assert!(!complete(cut) && parse(cut).is_err(), "{}", String::from_utf8_lossy(cut));
        }
    }
}
