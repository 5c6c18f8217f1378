//! Plain lines on stderr, for CI and pipes.

use std::io::{self, Write};

use crate::run::events::{EventSink, RunEvent, SinkError};

/// Prints one line per change.
pub struct Lines<W> {
    out: W,
}

impl<W: Write + Send> Lines<W> {
    /// Prints to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> EventSink for Lines<W> {
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        let Some(line) = super::line(event) else { return Ok(()) };
        match writeln!(self.out, "{} {line}", event.at.format("%H:%M:%S")) {
            // Nobody listens any more; the run is worth more than its log.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|source| SinkError { to: "stderr".into(), source }),
        }
    }
}
