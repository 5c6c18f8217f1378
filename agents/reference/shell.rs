//! Commands of a model: with a time limit, and with as much output as a model can read.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// What is kept of a command's output: so much of its beginning, and so much of its end, in bytes.
const HEAD: usize = 6 << 10;
const TAIL: usize = 12 << 10;

/// The beginning and the end of a stream.
#[derive(Debug, Default)]
struct Output {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: usize,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend_from_slice(&bytes[room..]);
        if self.tail.len() > 2 * TAIL {
            let over = self.tail.len() - TAIL;
            self.tail.drain(..over);
            self.left_out += over;
        }
    }

    fn text(&self) -> String {
        let over = self.tail.len().saturating_sub(TAIL);
        let (head, tail) =
            (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail[over..]));
        match self.left_out + over {
            0 => format!("{head}{tail}"),
            count => format!("{head}\n[... {count} bytes left out ...]\n{tail}"),
        }
    }
}

/// Runs a command in `folder` and gives how it ended, with what it printed.
pub(crate) fn run(command: &str, folder: &Path, limit: Duration) -> String {
    let started = Instant::now();
    let mut child = Command::new("bash");
    child.arg("-c").arg(command).current_dir(folder).process_group(0);
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return format!("error: the command cannot be started: {error}"),
    };
    let output = Arc::new(Mutex::new(Output::default()));
    let mut readers = Vec::new();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let output = Arc::clone(&output);
        readers.push(thread::spawn(move || collect(stream, &output)));
    }
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(format!("error: {error}")),
            Ok(None) if started.elapsed() >= limit => {
                break Err(format!("killed after its time limit of {} s", limit.as_secs()));
            }
            Ok(None) if sys::stopped() => break Err("killed: the attempt ends".to_owned()),
            Ok(None) => thread::sleep(Duration::from_millis(20)),
        }
    };
    // What it left running would hold the output open, and outlive it.
    sys::kill_group(child.id());
    let _ = child.wait();
    for reader in readers {
        let _ = reader.join();
    }
    let took = started.elapsed().as_secs_f64();
    let how = match ended {
        Ok(status) => match status.code() {
            Some(code) => format!("exit {code} after {took:.1} s"),
            None => format!("ended by a signal after {took:.1} s: {status}"),
        },
        Err(why) => why,
    };
    let text = output.lock().unwrap_or_else(PoisonError::into_inner).text();
    format!("{how}\n{}", text.trim_end())
}

fn collect(mut stream: Box<dyn Read + Send>, output: &Mutex<Output>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        output.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_here(command: &str, limit: Duration) -> String {
        run(command, Path::new("/"), limit)
    }

    #[test]
    fn the_end_and_the_output_are_told() {
        let told = run_here("echo out; echo err >&2; exit 3", Duration::from_secs(60));
        assert!(
            told.starts_with("exit 3 after") && told.contains("out") && told.contains("err"),
            "{told}"
        );
    }

    #[test]
    fn a_command_that_lasts_too_long_is_killed_with_all_that_it_started() {
        let told = run_here("echo begun; sleep 600 & sleep 600", Duration::from_millis(300));
        assert!(
            told.starts_with("killed after its time limit") && told.contains("begun"),
            "{told}"
        );
    }

    #[test]
    fn what_is_left_running_does_not_hold_the_answer() {
        let told = run_here("sleep 600 & echo done", Duration::from_secs(60));
        assert!(told.starts_with("exit 0") && told.contains("done"), "{told}");
    }

    #[test]
    fn long_output_keeps_its_ends() {
        let told = run_here("echo first; seq 100000; echo last", Duration::from_secs(60));
        assert!(told.contains("first\n1\n") && told.ends_with("last"), "{told}");
        assert!(
            told.contains("bytes left out") && told.len() < HEAD + TAIL + 200,
            "{}",
            told.len()
        );
    }
}
