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

const BUFFER: usize = 32 << 10;
/// A connection on which nothing moves for so long is closed.
const IDLE: Duration = Duration::from_secs(1800);
const UNAVAILABLE: &str = r#"{"error":"the harness is not there; try again in a while"}"#;

pub(crate) struct Forwarder {
    services: Vec<Service>,
    connections: Vec<Connection>,
}

struct Service {
    listeners: Vec<TcpListener>,
    socket: PathBuf,
    limit: usize,
}

struct Connection {
    service: usize,
    client: TcpStream,
    harness: UnixStream,
    up: Pipe,
    down: Pipe,
    moved: Instant,
}

/// One direction: bytes read and not yet written.
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
    fn pump(&mut self, from: &mut impl Read, to: &mut impl Write, moved: &mut bool) -> bool {
        if self.wants_input() {
            self.buffer.resize(BUFFER, 0);
            self.start = 0;
            match from.read(&mut self.buffer) {
                Ok(count) => {
                    self.buffer.truncate(count);
                    self.end_seen = count == 0;
                    *moved |= count > 0;
                }
                Err(error) => {
                    self.buffer.clear();
                    if !passing(error.kind()) {
                        return false;
                    }
                }
            }
        }
        while self.pending() {
            match to.write(&self.buffer[self.start..]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.start += count;
                    *moved = true;
                }
                Err(error) if passing(error.kind()) => break,
                Err(_) => return false,
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

fn passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Connection {
    /// Moves bytes both ways; false when it is over.
    fn pump(&mut self) -> bool {
        let mut moved = false;
        let up = self.up.pump(&mut self.client, &mut self.harness, &mut moved);
        let down = self.down.pump(&mut self.harness, &mut self.client, &mut moved);
        if moved {
            self.moved = Instant::now();
        }
        if !up || !down {
            return false;
        }
        if self.up.end_due() && self.harness.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        if self.down.end_due() && self.client.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        !(self.up.end_passed && self.down.end_passed) && self.moved.elapsed() < IDLE
    }
}

impl Forwarder {
    pub(crate) fn open(control: &Dir, launch: &Launch) -> Result<Self, Failure> {
        let mut services = Vec::new();
        for forward in &launch.forwards {
            let mut listeners = Vec::new();
            if forward.port == 0 {
                listeners.push(TcpListener::from(sys::standard_input()));
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
            });
        }
        Ok(Self { services, connections: Vec::new() })
    }

    fn open_connections(&self, service: usize) -> usize {
        self.connections.iter().filter(|connection| connection.service == service).count()
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
        let mut ready = tails.chunks(2).map(|pair| pair.iter().any(|fd| fd.revents != 0));
        self.connections.retain_mut(|connection| {
            let idle = !ready.next().unwrap_or(false);
            if idle { connection.moved.elapsed() < IDLE } else { connection.pump() }
        });
        let mut accepted = Vec::new();
        let mut heads = heads.iter();
        for (number, service) in self.services.iter().enumerate() {
            for listener in &service.listeners {
                if heads.next().is_some_and(|fd| fd.revents != 0)
                    && let Ok((client, _)) = listener.accept()
                {
                    accepted.extend(service.connect(number, client));
                }
            }
        }
        self.connections.append(&mut accepted);
    }
}

impl Service {
    fn connect(&self, number: usize, mut client: TcpStream) -> Option<Connection> {
        let Ok(harness) = UnixStream::connect(&self.socket) else {
            // The reply fits any socket's buffer; a client that sends a large body sees a reset
            // instead, and retries.
            let _ = write!(
                client,
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{UNAVAILABLE}",
                UNAVAILABLE.len()
            );
            return None;
        };
        client.set_nonblocking(true).ok()?;
        harness.set_nonblocking(true).ok()?;
        let _ = client.set_nodelay(true);
        Some(Connection {
            service: number,
            client,
            harness,
            up: Pipe::new(),
            down: Pipe::new(),
            moved: Instant::now(),
        })
    }
}
