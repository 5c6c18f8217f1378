//! The agent's output, byte for byte, up to a limit.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How much is taken at a time, so that a flood leaves time for everything else.
const CHUNK: usize = 256 << 10;

pub(crate) struct LogFile {
    pipe: Option<File>,
    file: File,
    limit: u64,
    buffer: Vec<u8>,
    /// What the agent wrote.
    pub(crate) bytes: u64,
    /// What of it was not kept.
    pub(crate) dropped: u64,
}

impl LogFile {
    pub(crate) fn new(file: File, limit: u64, pipe: OwnedFd) -> Self {
        let pipe = Some(File::from(pipe));
        Self { pipe, file, limit, buffer: vec![0; CHUNK], bytes: 0, dropped: 0 }
    }

    /// The descriptor to wait for; -1, which `poll` ignores, once the agent has closed its output.
    pub(crate) fn fd(&self) -> RawFd {
        self.pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Takes what is there, one chunk at most. True if there may be more.
    pub(crate) fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(&mut self.buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(count) => {
                self.keep(count);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::Interrupted,
        }
    }

    /// Takes what is left in the pipe. A process that outlives its kill cannot hold this up beyond
    /// `until`.
    pub(crate) fn drain(&mut self, until: Instant) {
        while self.pipe.is_some() && Instant::now() < until {
            if !self.read() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn keep(&mut self, count: usize) {
        let kept = self.bytes - self.dropped;
        let room = usize::try_from(self.limit.saturating_sub(kept)).unwrap_or(usize::MAX);
        let keep = count.min(room);
        self.bytes += count as u64;
        let mut lost = count - keep;
        // A full disk of the host must not end the agent: what cannot be written is counted as
        // dropped.
        if keep > 0 && self.file.write_all(&self.buffer[..keep]).is_err() {
            lost = count;
        }
        if lost > 0 && self.dropped == 0 {
            let note = format!("\n[medalist] output beyond {} bytes is dropped\n", self.limit);
            let _ = self.file.write_all(note.as_bytes());
        }
        self.dropped += lost as u64;
    }
}
