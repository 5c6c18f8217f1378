//! Passes TCP connections on `localhost` to Unix sockets of the harness, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::dir::Dir;
use crate::protocol::{Failure, Launch};
use crate::sys::{self, POLLIN, POLLOUT, PollFd};

const BUFFER: usize = 64 << 10;
/// A side that always has more to read lets the others have their turn after so many buffers.
const AT_ONCE: usize = 4;
/// A connection on which nothing moves for so long is closed.
const IDLE: Duration = Duration::from_secs(1800);
/// Between two looks for a harness that is not there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The first byte of a TLS connection, on which no answer in clear text makes sense.
const TLS_HANDSHAKE: u8 = 0x16;
const UNAVAILABLE: &str = r#"{"error":"the harness is not there; try again in a while"}"#;

pub(crate) struct Forwarder {
    services: Vec<Service>,
    connections: Vec<Connection>,
    waiting: Vec<Waiting>,
    next_look: Instant,
    /// What all connections read into; they keep only what could not be passed on at once.
    scratch: Vec<u8>,
}

/// A client whose service waits for the harness.
struct Waiting {
    service: usize,
    client: TcpStream,
    until: Instant,
}

struct Service {
    listeners: Vec<TcpListener>,
    socket: PathBuf,
    limit: usize,
    patience: Duration,
}

struct Connection {
    service: usize,
    client: TcpStream,
    harness: UnixStream,
    up: Pipe,
    down: Pipe,
    moved: Instant,
}

/// One direction, with the bytes that were read and could not be written yet.
struct Pipe {
    buffer: Vec<u8>,
    start: usize,
    end_seen: bool,
    end_passed: bool,
}

impl Pipe {
    fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, end_seen: false, end_passed: false }
    }

    fn pending(&self) -> bool {
        self.start < self.buffer.len()
    }

    fn wants_input(&self) -> bool {
        !self.end_seen && !self.pending()
    }

    /// Moves what can be moved; false when the connection is broken.
    fn pump(
        &mut self,
        from: &mut impl Read,
        to: &mut impl Write,
        scratch: &mut [u8],
        moved: &mut bool,
    ) -> bool {
        if self.pending() {
            let Some(count) = write_what_goes(to, &self.buffer[self.start..]) else { return false };
            self.start += count;
            *moved |= count > 0;
            if self.pending() {
                return true;
            }
            self.buffer = Vec::new();
            self.start = 0;
        }
        for _ in 0..AT_ONCE {
            if !self.wants_input() {
                return true;
            }
            let read = match from.read(scratch) {
                Ok(count) => count,
                Err(error) => return passing(error.kind()),
            };
            self.end_seen = read == 0;
            *moved |= read > 0;
            let Some(written) = write_what_goes(to, &scratch[..read]) else { return false };
            if written < read {
                self.buffer = scratch[written..read].to_vec();
            }
            if read < scratch.len() {
                return true;
            }
        }
        true
    }

    fn end_due(&mut self) -> bool {
        let due = self.end_seen && !self.pending() && !self.end_passed;
        self.end_passed |= due;
        due
    }
}

/// Writes until nothing more goes; `None` when the connection is broken.
fn write_what_goes(to: &mut impl Write, bytes: &[u8]) -> Option<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return None,
            Ok(count) => written += count,
            Err(error) if passing(error.kind()) => break,
            Err(_) => return None,
        }
    }
    Some(written)
}

fn passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Connection {
    /// Moves bytes both ways, where a side is ready; false when it is over.
    fn pump(&mut self, ready: &[PollFd], scratch: &mut [u8], now: Instant) -> bool {
        let [client, harness] =
            [0, 1].map(|side| ready.get(side).is_some_and(|fd| fd.revents != 0));
        let mut moved = false;
        let (up, down) = (&mut self.up, &mut self.down);
        let passes = |pipe: &Pipe, from, to| if pipe.pending() { to } else { from };
        if (passes(up, client, harness)
            && !up.pump(&mut self.client, &mut self.harness, scratch, &mut moved))
            || (passes(down, harness, client)
                && !down.pump(&mut self.harness, &mut self.client, scratch, &mut moved))
        {
            return false;
        }
        if moved {
            self.moved = now;
        }
        if self.up.end_due() && self.harness.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        if self.down.end_due() && self.client.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        !(self.up.end_passed && self.down.end_passed) && now.duration_since(self.moved) < IDLE
    }
}

impl Forwarder {
    pub(crate) fn open(control: &Dir, launch: &Launch) -> Result<Self, Failure> {
        let mut services = Vec::new();
        let mut inherited = 0..2;
        for forward in &launch.forwards {
            let mut listeners = Vec::new();
            if forward.port == 0 {
                let number = inherited.next().ok_or_else(|| {
                    Failure::machine("more listening sockets than can be handed over")
                })?;
                listeners.push(TcpListener::from(sys::inherited(number)));
            } else {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.port));
                listeners.push(listener.map_err(|error| {
                    Failure::machine(format!("cannot listen on port {}: {error}", forward.port))
                })?);
                // Some images resolve `localhost` to the IPv6 address first; not every container
                // has it.
                listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, forward.port)));
            }
            for listener in &listeners {
                let set = listener.set_nonblocking(true);
                set.map_err(|error| {
                    Failure::machine(format!("cannot set up port {}: {error}", forward.port))
                })?;
            }
            services.push(Service {
                listeners,
                socket: control.at(&forward.socket),
                limit: forward.connections,
                patience: forward.patience,
            });
        }
        let next_look = Instant::now();
        Ok(Self {
            services,
            connections: Vec::new(),
            waiting: Vec::new(),
            next_look,
            scratch: vec![0; BUFFER],
        })
    }

    fn open_connections(&self, service: usize) -> usize {
        let connected = self.connections.iter().map(|connection| connection.service);
        let waiting = self.waiting.iter().map(|waiting| waiting.service);
        connected.chain(waiting).filter(|of| *of == service).count()
    }

    /// Adds what to wait for; [`Self::serve`] reads the answers in the same order.
    pub(crate) fn wants(&self, fds: &mut Vec<PollFd>) {
        for (number, service) in self.services.iter().enumerate() {
            // A full service leaves further callers in the kernel's queue.
            let full = self.open_connections(number) >= service.limit;
            for listener in &service.listeners {
                fds.push(PollFd::readable(if full { -1 } else { listener.as_raw_fd() }));
            }
        }
        for connection in &self.connections {
            let side = |fd: RawFd, input: &Pipe, output: &Pipe| {
                let mut events = 0;
                if input.wants_input() {
                    events |= POLLIN;
                }
                if output.pending() {
                    events |= POLLOUT;
                }
                // With nothing wanted, a hung-up peer would wake the loop for ever.
                PollFd { fd: if events == 0 { -1 } else { fd }, events, revents: 0 }
            };
            fds.push(side(connection.client.as_raw_fd(), &connection.up, &connection.down));
            fds.push(side(connection.harness.as_raw_fd(), &connection.down, &connection.up));
        }
    }

    pub(crate) fn serve(&mut self, fds: &[PollFd]) {
        let listeners: usize = self.services.iter().map(|service| service.listeners.len()).sum();
        let (heads, tails) = fds.split_at(listeners);
        let (mut ready, now) = (tails.chunks(2), Instant::now());
        self.connections.retain_mut(|connection| {
            connection.pump(ready.next().unwrap_or_default(), &mut self.scratch, now)
        });
        self.look_for_the_harness();
        let mut heads = heads.iter();
        for (number, service) in self.services.iter().enumerate() {
            for listener in &service.listeners {
                if heads.next().is_none_or(|fd| fd.revents == 0) {
                    continue;
                }
                while self.open_connections(number) < service.limit
                    && let Ok((client, _)) = listener.accept()
                {
                    let until = Instant::now() + service.patience;
                    match UnixStream::connect(&service.socket) {
                        Ok(harness) => {
                            self.connections.extend(Connection::open(number, client, harness));
                        }
                        Err(_) if service.patience > Duration::ZERO => {
                            self.waiting.push(Waiting { service: number, client, until });
                        }
                        Err(_) => say_that_nobody_is_there(client),
                    }
                }
            }
        }
    }

    /// Connects the clients that wait, or tells them that they have waited long enough.
    fn look_for_the_harness(&mut self) {
        let now = Instant::now();
        if self.waiting.is_empty() || now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        for Waiting { service, client, until } in std::mem::take(&mut self.waiting) {
            match UnixStream::connect(&self.services[service].socket) {
                Ok(harness) => self.connections.extend(Connection::open(service, client, harness)),
                Err(_) if now < until => self.waiting.push(Waiting { service, client, until }),
                Err(_) => say_that_nobody_is_there(client),
            }
        }
    }
}

impl Connection {
    fn open(service: usize, client: TcpStream, harness: UnixStream) -> Option<Self> {
        client.set_nonblocking(true).ok()?;
        harness.set_nonblocking(true).ok()?;
        let _ = client.set_nodelay(true);
        let (up, down) = (Pipe::new(), Pipe::new());
        Some(Self { service, client, harness, up, down, moved: Instant::now() })
    }
}

/// The reply fits any socket's buffer; a client that sends a large body sees a reset instead, and
/// retries.
fn say_that_nobody_is_there(mut client: TcpStream) {
    let mut first = [0];
    let speaks_tls = client.set_nonblocking(true).is_ok()
        && client.peek(&mut first).is_ok_and(|count| count > 0)
        && first[0] == TLS_HANDSHAKE;
    if !speaks_tls {
        let _ = write!(
            client,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{UNAVAILABLE}",
            UNAVAILABLE.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Forward;

    /// A forwarder of one service whose harness would listen at `control/a.sock`, and its port.
    fn forwarder(name: &str, patience: Duration) -> (PathBuf, Forwarder, u16) {
        let path =
            std::env::temp_dir().join(format!("medalist-forward-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let forward = Forward { port, connections: 2, patience, socket: "a.sock".to_string() };
        let launch = Launch { forwards: vec![forward], ..Launch::default() };
        // The forwarder reaches the socket through the directory that is held open.
        let control = Box::leak(Box::new(Dir::open(&path).unwrap()));
        let forwarder = Forwarder::open(control, &launch).unwrap();
        (path, forwarder, port)
    }

    fn turn(forwarder: &mut Forwarder) {
        let mut fds = Vec::new();
        forwarder.wants(&mut fds);
        sys::poll(&mut fds, Duration::from_millis(20));
        forwarder.serve(&fds);
    }

    #[test]
    fn a_patient_connection_waits_for_the_harness_and_loses_no_byte() {
        let (path, mut forwarder, port) = forwarder("patient", Duration::from_secs(60));
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        client.write_all(b"hello").unwrap();
        while forwarder.waiting.is_empty() {
            turn(&mut forwarder);
        }
        let listener = std::os::unix::net::UnixListener::bind(path.join("a.sock")).unwrap();
        while forwarder.connections.is_empty() {
            turn(&mut forwarder);
        }
        let (mut harness, _) = listener.accept().unwrap();
        harness.set_nonblocking(true).unwrap();
        let mut seen: Vec<u8> = Vec::new();
        while seen != b"hello" {
            turn(&mut forwarder);
            let mut bytes = [0; 16];
            let count = harness.read(&mut bytes).unwrap_or(0);
            seen.extend(&bytes[..count]);
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_end_of_patience_is_told_in_clear_text_and_to_no_tls_client() {
        let (path, mut forwarder, port) = forwarder("impatient", Duration::ZERO);
        for (sent, expected) in [("GET", "HTTP/1.1 503"), ("\u{16}\u{3}", "")] {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            client.write_all(sent.as_bytes()).unwrap();
            client.set_nonblocking(true).unwrap();
            let mut seen = Vec::new();
            loop {
                turn(&mut forwarder);
                match client.read_to_end(&mut seen) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
            let seen = String::from_utf8_lossy(&seen).into_owned();
            assert!(seen.starts_with(expected) && seen.is_empty() == expected.is_empty(), "{seen}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
