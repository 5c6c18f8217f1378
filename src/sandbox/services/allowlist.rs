//! The HTTP proxy of `network = allowlist`: CONNECT to chosen hosts, each one logged and counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use super::log::Log;

/// Longest request head that is read.
const HEAD: usize = 8192;
const PATIENCE: Duration = Duration::from_secs(30);
/// The record of connections grows no further; an agent that asks on is told to nobody.
const LOG_LIMIT: u64 = 4 << 20;

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
    log: Log,
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

/// The verdict of a connection that was made, in the proxy's log.
const CONNECTED: &str = "connected";

/// A line of the proxy's log, as far as others read it.
#[derive(Debug)]
pub struct Asked {
    /// The `host:port` that was asked for; empty if the line does not say.
    pub target: String,
    /// Whether the connection was made; else the proxy refused it, or nobody answered.
    pub connected: bool,
    /// What came from there.
    pub received_bytes: u64,
}

impl Asked {
    /// Reads a line; none if it is no JSON. A field that is not as the proxy writes it counts as empty, so that no
    /// line is passed over for it.
    pub fn read(line: &[u8]) -> Option<Self> {
        let line: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            target: text("target").to_owned(),
            connected: text("verdict") == CONNECTED,
            received_bytes: line.get("received_bytes").and_then(Value::as_u64).unwrap_or_default(),
        })
    }
}

/// Whether a list has a `host:port`, as the proxy's log names what was connected to.
pub fn lists(entries: &[String], target: &str) -> bool {
    let Some((host, port)) = target.rsplit_once(':') else { return false };
    let Ok(port) = port.parse() else { return false };
    entries.iter().any(|entry| Entry::parse(entry).allows(host, port))
}

impl Allowlist {
    /// A proxy that lets `entries` through and records in `log`, as JSON lines, what was asked for.
    pub fn new(entries: &[String], log: PathBuf) -> Self {
        let entries = entries.iter().map(|entry| Entry::parse(entry)).collect();
        Self { entries, log: Log::open(log, LOG_LIMIT) }
    }

    fn record(&self, target: &str, verdict: &str, up: u64, down: u64) {
        self.log.add(
            json!({"target": target, "verdict": verdict, "sent_bytes": up, "received_bytes": down}),
        );
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        let tunnel = |stream| {
            let proxy = Arc::clone(&self);
            async move {
                if let Err(error) = proxy.tunnel(stream).await {
                    tracing::debug!(%error, "a tunnel broke");
                }
            }
        };
        super::serve_each(listener, usize::MAX, tunnel).await;
    }

    async fn tunnel(&self, mut client: UnixStream) -> std::io::Result<()> {
        let target = tokio::time::timeout(PATIENCE, read_target(&mut client)).await??;
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
                self.record(&named, CONNECTED, up, down);
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

    /// Whether the list has the host and port.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn allows(&self, host: &str, port: u16) -> bool {
        self.entries.iter().any(|entry| entry.allows(host, port))
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

/// Addresses of the public internet, by IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    /// Networks that are not, as first address and prefix length.
    const SPECIAL: [(Ipv4Addr, u32); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    let bits = address.to_bits();
    !SPECIAL.iter().any(|(net, length)| (bits ^ net.to_bits()) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    match address.segments() {
        // NAT64: what is reached is the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Protocol assignments (Teredo among them), documentation, 6to4, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast; all else is local, multicast or reserved.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The host and port that a client asks for, if it asks for that; nothing after the head of its
/// request is read.
pub(crate) async fn read_target(client: &mut UnixStream) -> std::io::Result<Option<(String, u16)>> {
    Ok(read_head(client).await?.lines().next().and_then(connect_target))
}

async fn read_head(client: &mut UnixStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD {
            return Err(std::io::Error::other("the request's head is too long"));
        }
        // Byte by byte: what follows the head is the tunnel's.
        head.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn connect_target(line: &str) -> Option<(String, u16)> {
    let rest = line.strip_prefix("CONNECT ")?;
    let (host, port) = rest.split_ascii_whitespace().next()?.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    // No longer than a name can be, and nothing that a terminal or a log takes for more.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let sound = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    sound.then_some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_allow_what_they_name_and_nothing_near_it() {
        let cases = [
            ("example.org", "example.org", 443, true),
            ("example.org", "example.org", 22, false),
            ("example.org", "evil-example.org", 443, false),
            ("Example.ORG", "example.org", 80, true),
            ("*.example.net", "files.example.net", 443, true),
            ("*.example.net", "example.net", 443, false),
            ("*.example.net", "evilexample.net", 443, false),
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
            "0.1.2.3",
            "127.0.0.1",
            "10.1.2.3",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::5db8:d822",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(local.parse().unwrap()), "{local}");
        }
        for public in [
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "2001:4860:4860::8888",
            "::ffff:93.184.216.34",
            "64:ff9b::5db8:d822",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn only_connect_requests_have_a_target() {
        assert_eq!(
            connect_target("CONNECT example.org:443 HTTP/1.1"),
            Some(("example.org".to_string(), 443))
        );
        assert_eq!(connect_target("CONNECT [::1]:9 HTTP/1.1"), Some(("::1".to_string(), 9)));
        for line in [
            "GET http://example.org/ HTTP/1.1",
            "CONNECT example.org HTTP/1.1",
            "CONNECT a:99999 HTTP/1.1",
            "CONNECT :443 HTTP/1.1",
            "CONNECT a\x1b]0;b:443 HTTP/1.1",
            &format!("CONNECT {}:443 HTTP/1.1", "a".repeat(254)),
            "",
        ] {
            assert_eq!(connect_target(line), None, "{line}");
        }
    }
}
