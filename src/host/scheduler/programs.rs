//! Schedulers' own programs, through which they are spoken to.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Away;
use crate::host::machine;

/// How long a program may take: some wait for ever for a server that is gone.
const PATIENCE: Duration = Duration::from_secs(45);

/// Where a scheduler's programs are, and how long they are waited for.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// Where they are, in place of `PATH`.
    pub(super) bin: Option<PathBuf>,
    pub(super) patience: Duration,
}

impl Default for Programs {
    fn default() -> Self {
        Self { bin: None, patience: PATIENCE }
    }
}

/// What a program gave.
#[derive(Debug)]
pub(super) struct Output {
    /// Whether it ended well.
    pub(super) ok: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Programs {
    /// Whether a program is there.
    pub(super) fn has(&self, program: &str) -> bool {
        match &self.bin {
            Some(bin) => bin.join(program).is_file(),
            None if program.contains('/') => PathBuf::from(program).is_file(),
            None => machine::has_program(program),
        }
    }

    /// Runs a program to its end, with `input` on its standard input; `prepare` sets its environment.
    ///
    /// # Errors
    /// [`Away`] if it cannot be started or does not end in time.
    pub(super) fn run<I: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = I>,
        input: &[u8],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Output, Away> {
        let path =
            self.bin.as_ref().map_or_else(|| PathBuf::from(program), |bin| bin.join(program));
        let mut command = Command::new(path);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Words as they are parsed here.
        command.env("LC_ALL", "C");
        prepare(&mut command);
        let mut child =
            command.spawn().map_err(|error| Away(format!("cannot start `{program}`: {error}")))?;
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let (stdin, input) = (child.stdin.take(), input.to_vec());
        // One that reads nothing of it has its reasons, which it says on its other end.
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let give_up = Instant::now() + self.patience;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let patience = self.patience.as_secs();
                    return Err(Away(format!("`{program}` has not answered within {patience} s")));
                }
                Err(error) => return Err(Away(format!("cannot wait for `{program}`: {error}"))),
            }
        };
        let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Ok(Output { ok: status.success(), stdout: text(stdout), stderr: text(stderr) })
    }
}

/// Reads all of a stream beside others.
fn reader(stream: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// What a program complained of, in one line.
pub(super) fn in_one_line(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => "it failed and said nothing".to_owned(),
        false => lines.join("; "),
    }
}
