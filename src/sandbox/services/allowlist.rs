//! The HTTP proxy of `network = allowlist`: CONNECT to chosen hosts, each one logged and counted.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Longest request head that is read.
const HEAD: usize = 8192;
const PATIENCE: Duration = Duration::from_secs(30);

/// One entry of the list: a host, `*.domain` or an address, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    host: String,
    port: Option<u16>,
}

/// The proxy of one attempt.
#[derive(Debug)]
pub struct Allowlist {
    entries: Vec<Entry>,
    /// JSON lines, one for each connection that was asked for.
    log: PathBuf,
}

impl Entry {
    fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                match port.parse() {
                    Ok(port) => {
                        Self { host: host.trim_matches(['[', ']']).to_string(), port: Some(port) }
                    }
                    Err(_) => Self { host: text, port: None },
                }
            }
            _ => Self { host: text.trim_matches(['[', ']']).to_string(), port: None },
        }
    }

    fn allows(&self, host: &str, port: u16) -> bool {
        let port_fits = self.port.map_or(port == 443 || port == 80, |only| only == port);
        let host_fits = match self.host.strip_prefix("*.") {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|front| front.ends_with('.') && front.len() > 1),
            None => self.host == host,
        };
        port_fits && host_fits
    }
}

impl Allowlist {
    /// A proxy that lets `entries` through and records in `log`, as JSON lines, what was asked for.
    pub fn new(entries: &[String], log: PathBuf) -> Self {
        Self { entries: entries.iter().map(|entry| Entry::parse(entry)).collect(), log }
    }

    fn record(&self, target: &str, verdict: &str, up: u64, down: u64) {
        let at = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let line = json!({"at": at, "target": target, "verdict": verdict, "sent_bytes": up, "received_bytes": down});
        let written = File::options().append(true).create(true).open(&self.log);
        if let Err(error) = written.and_then(|mut file| writeln!(file, "{line}")) {
            tracing::warn!(path = %self.log.display(), %error, "cannot record a connection");
        }
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let proxy = Arc::clone(&self);
                    tokio::spawn(async move {
                        if let Err(error) = proxy.tunnel(stream).await {
                            tracing::debug!(%error, "a tunnel broke");
                        }
                    });
                }
                // Out of descriptors, most likely: others will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn tunnel(&self, mut client: UnixStream) -> std::io::Result<()> {
        let head = tokio::time::timeout(PATIENCE, read_head(&mut client)).await??;
        let target = head.lines().next().and_then(connect_target);
        let verdict = match &target {
            None => Err(("405 Method Not Allowed", "only CONNECT host:port is served".to_string())),
            Some((host, port)) => self.open(host, *port).await,
        };
        let named = target.map_or_else(|| "?".to_string(), |(host, port)| format!("{host}:{port}"));
        match verdict {
            Ok(mut server) => {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                let moved = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                let (up, down) = moved.as_ref().map_or((0, 0), |moved| *moved);
                self.record(&named, "connected", up, down);
                moved?;
            }
            Err((status, why)) => {
                self.record(&named, &why, 0, 0);
                let length = why.len() + 1;
                let reply = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{why}\n"
                );
                client.write_all(reply.as_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn open(&self, host: &str, port: u16) -> Result<TcpStream, (&'static str, String)> {
        let Some(entry) = self.entries.iter().find(|entry| entry.allows(host, port)) else {
            return Err(("403 Forbidden", format!("{host}:{port} is not on the allowlist")));
        };
        let unreachable =
            |why: String| ("502 Bad Gateway", format!("cannot reach {host}:{port}: {why}"));
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
        let found = found.map_err(|error| unreachable(error.to_string()))?;
        let addresses: Vec<SocketAddr> =
            found.map_err(|error| unreachable(error.to_string()))?.collect();
        // A name must not be a way to the services of this machine or its network; an address on
        // the list is meant.
        let literal = entry.host.parse::<IpAddr>().is_ok();
        let usable: Vec<SocketAddr> =
            addresses.into_iter().filter(|at| literal || is_public(at.ip())).collect();
        if usable.is_empty() {
            return Err(("403 Forbidden", format!("{host} has no public address")));
        }
        match tokio::time::timeout(PATIENCE, TcpStream::connect(usable.as_slice())).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string())),
            Err(_) => Err(unreachable("no answer".to_string())),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                let local =
                    v6.segments()[0] & 0xfe00 == 0xfc00 || v6.segments()[0] & 0xffc0 == 0xfe80;
                !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || local)
            }
        },
    }
}

/// The request line and headers; nothing after them is read.
async fn read_head(client: &mut UnixStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD {
            return Err(std::io::Error::other("the request's head is too long"));
        }
        head.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn connect_target(line: &str) -> Option<(String, u16)> {
    let rest = line.strip_prefix("CONNECT ")?;
    let (host, port) = rest.split_ascii_whitespace().next()?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_ascii_lowercase(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_allow_what_they_name_and_nothing_near_it() {
        let cases = [
            ("pypi.org", "pypi.org", 443, true),
            ("pypi.org", "pypi.org", 22, false),
            ("pypi.org", "evil-pypi.org", 443, false),
            ("PyPI.org", "pypi.org", 80, true),
            ("*.pythonhosted.org", "files.pythonhosted.org", 443, true),
            ("*.pythonhosted.org", "pythonhosted.org", 443, false),
            ("*.pythonhosted.org", "evilpythonhosted.org", 443, false),
            ("localhost:8080", "localhost", 8080, true),
            ("localhost:8080", "localhost", 443, false),
            ("[::1]:9", "::1", 9, true),
        ];
        for (entry, host, port, expected) in cases {
            assert_eq!(
                Entry::parse(entry).allows(host, port),
                expected,
                "{entry} for {host}:{port}"
            );
        }
    }

    #[test]
    fn names_must_not_lead_to_this_machine_or_its_network() {
        for local in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_public(local.parse().unwrap()), "{local}");
        }
        assert!(is_public("93.184.216.34".parse().unwrap()));
    }

    #[test]
    fn only_connect_requests_have_a_target() {
        assert_eq!(
            connect_target("CONNECT pypi.org:443 HTTP/1.1"),
            Some(("pypi.org".to_string(), 443))
        );
        assert_eq!(connect_target("CONNECT [::1]:9 HTTP/1.1"), Some(("::1".to_string(), 9)));
        for line in [
            "GET http://pypi.org/ HTTP/1.1",
            "CONNECT pypi.org HTTP/1.1",
            "CONNECT a:99999 HTTP/1.1",
            "",
        ] {
            assert_eq!(connect_target(line), None, "{line}");
        }
    }
}
