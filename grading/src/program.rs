//! Programs of a competition's author, such as its `prepare` command and the `command` metric: run
//! in an environment of their own, within limits, and never longer than whoever started them.
//!
//! A program leads a process group of its own. A watchdog in that group holds the reading end of a
//! pipe whose writing end only we have: when we end the program, stop waiting for it, or are killed
//! ourselves, the pipe closes and the watchdog kills the group. A program that leaves its group on
//! purpose escapes this; it is the author's, not an agent's.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Variables that a program inherits; all others are cleared.
pub const INHERITED: &[&str] =
    &["PATH", "HOME", "USER", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"];

/// The watchdog, the limit of memory, then the program in place of the shell.
#[cfg(unix)]
const LAUNCHER: &str = "exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
ulimit -d \"$1\" || exit 125
shift
exec \"$@\"";

/// A program with its arguments and limits.
#[derive(Debug)]
pub struct Program<'a> {
    /// The program and its arguments.
    command: Vec<&'a str>,
    arguments: Vec<&'a OsStr>,
    variables: Vec<(&'a str, &'a Path)>,
    folder: Option<&'a Path>,
    timeout: Duration,
    memory_bytes: u64,
}

/// Why a program did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no program to start.
    #[error("the command is empty")]
    Empty,
    /// It could not be started.
    #[error("`{program}` cannot be started ({reason})")]
    Start {
        program: String,
        /// The system's reason.
        reason: String,
    },
    /// It took too long, and was killed with all it had started.
    #[error("`{program}` was stopped: it took longer than {seconds} s")]
    Timeout {
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// It ended otherwise than with 0.
    #[error("`{program}` ended with {status}{}", last_words(.reason))]
    Failed {
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line it printed on stderr, if that was read.
        reason: Option<String>,
    },
    /// It printed more than anybody reads.
    #[error("`{program}` printed more than {limit} bytes")]
    TooMuch { program: String, limit: usize },
}

fn last_words(reason: &Option<String>) -> String {
    reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
}

impl<'a> Program<'a> {
    /// A program that may take `timeout`, and each of its processes `memory_bytes`.
    pub fn new<S: AsRef<str>>(command: &'a [S], timeout: Duration, memory_bytes: u64) -> Self {
        Self {
            command: command.iter().map(AsRef::as_ref).collect(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            timeout,
            memory_bytes,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &'a Path) -> Self {
        self.arguments.push(argument.as_os_str());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &'a str, value: &'a Path) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Runs it in a folder.
    #[must_use]
    pub fn folder(mut self, folder: &'a Path) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Runs it to its end; what it prints goes where `output` says.
    ///
    /// # Errors
    /// [`ProgramError`], also where it ends otherwise than with 0.
    pub fn run(&self, output: Stdio) -> Result<(), ProgramError> {
        let mut running = self.start(output, Stdio::inherit())?;
        let status = running.wait(self)?;
        self.succeeded(status, None)
    }

    /// Runs it to its end and gives what it printed on stdout.
    ///
    /// # Errors
    /// [`ProgramError`], also where it ends otherwise than with 0; with the last line of its stderr.
    pub fn output(&self) -> Result<Vec<u8>, ProgramError> {
        /// More than a score needs.
        const LIMIT: usize = 1 << 20;
        let mut running = self.start(Stdio::piped(), Stdio::piped())?;
        let stdout =
            running.child.stdout.take().map(|pipe| thread::spawn(move || head(pipe, LIMIT)));
        // Both at once: a program that waits for one of its pipes to be read would never end.
        let stderr = running.child.stderr.take().map(|pipe| thread::spawn(move || tail(pipe)));
        let status = running.wait(self)?;
        // What the program left running may hold the pipes open.
        drop(running);
        let printed = stdout.and_then(|reader| reader.join().ok()).unwrap_or_default();
        let errors = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&errors);
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        self.succeeded(status, Some(last.unwrap_or("it printed no reason").to_owned()))?;
        match printed.len() > LIMIT {
            true => Err(ProgramError::TooMuch { program: self.name(), limit: LIMIT }),
            false => Ok(printed),
        }
    }

    fn name(&self) -> String {
        self.command.first().copied().unwrap_or_default().to_owned()
    }

    /// Groups of processes and their limits are Unix's.
    #[cfg(not(unix))]
    fn start(&self, _: Stdio, _: Stdio) -> Result<Running, ProgramError> {
        Err(self.not_started("an author's programs run on Linux and macOS alone".into()))
    }

    #[cfg(unix)]
    fn start(&self, stdout: Stdio, stderr: Stdio) -> Result<Running, ProgramError> {
        use std::os::unix::process::CommandExt as _;

        if self.command.is_empty() {
            return Err(ProgramError::Empty);
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", LAUNCHER, "sh"]).arg((self.memory_bytes / 1024).to_string());
        shell.args(&self.command).args(&self.arguments);
        shell.env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                shell.env(name, value);
            }
        }
        shell.envs(self.variables.iter().copied());
        if let Some(folder) = self.folder {
            shell.current_dir(folder);
        }
        shell.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        let child = shell.spawn().map_err(|error| self.not_started(error.to_string()))?;
        Ok(Running { child })
    }

    fn not_started(&self, reason: String) -> ProgramError {
        ProgramError::Start { program: self.name(), reason }
    }

    fn succeeded(&self, status: ExitStatus, reason: Option<String>) -> Result<(), ProgramError> {
        match status.code() {
            Some(0) => Ok(()),
            // A shell's words for what it could not start.
            Some(126) => Err(self.not_started("it is not executable".into())),
            Some(127) => Err(self.not_started("there is no such program".into())),
            _ => Err(ProgramError::Failed { program: self.name(), status, reason }),
        }
    }
}

/// A program that is killed, with its group, when this is dropped: its child's stdin is the pipe
/// that the watchdog listens to.
struct Running {
    child: Child,
}

impl Running {
    fn wait(&mut self, program: &Program<'_>) -> Result<ExitStatus, ProgramError> {
        const LONGEST_NAP: Duration = Duration::from_millis(50);
        let began = Instant::now();
        let mut nap = Duration::from_millis(1);
        loop {
            let ended = self.child.try_wait();
            if let Some(status) = ended.map_err(|error| program.not_started(error.to_string()))? {
                return Ok(status);
            }
            if began.elapsed() >= program.timeout {
                let seconds = program.timeout.as_secs();
                return Err(ProgramError::Timeout { program: program.name(), seconds });
            }
            thread::sleep(nap);
            // Most programs end at once; those that take minutes need no look every millisecond.
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `Child::wait` would close the pipe as well, but only this says why.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// At most a byte more than `limit` of a pipe, which is read to its end.
fn head(mut pipe: impl Read, limit: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(limit as u64 + 1).read_to_end(&mut kept);
    // Read to the end all the same, so that the program does not wait for a reader.
    let _ = io::copy(&mut pipe, &mut io::sink());
    kept
}

/// The end of what comes out of a pipe.
fn tail(mut pipe: impl Read) -> Vec<u8> {
    const KEPT: usize = 16 << 10;
    let (mut kept, mut block) = (Vec::new(), vec![0; KEPT]);
    while let Ok(read @ 1..) = pipe.read(&mut block) {
        kept.extend_from_slice(&block[..read]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
    kept
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const AMPLE: u64 = 4 << 30;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    fn output(script: &str) -> Result<String, ProgramError> {
        let command = shell(script);
        let printed = Program::new(&command, Duration::from_secs(60), AMPLE).output()?;
        Ok(String::from_utf8(printed).unwrap())
    }

    #[test]
    fn the_environment_is_clean() {
        let text = output("env; cat").unwrap();
        let names: Vec<&str> =
            text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        // A shell sets the others itself.
        let known = |name: &&str| INHERITED.contains(name) || ["PWD", "SHLVL", "_"].contains(name);
        assert!(names.contains(&"PATH") && names.iter().all(known), "{text}");
    }

    #[test]
    fn failures_say_how_and_why() {
        let message = |script| output(script).unwrap_err().to_string();
        assert_eq!(
            message("echo first >&2; echo last >&2; exit 3"),
            "`sh` ended with exit status: 3: last"
        );
        assert_eq!(message("exit 4"), "`sh` ended with exit status: 4: it printed no reason");
        assert!(message("head -c 2000000 /dev/zero").contains("printed more than 1048576 bytes"));
        let absent = ["no-such-program-here".to_owned()];
        let error = Program::new(&absent, Duration::from_secs(60), AMPLE).output().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`no-such-program-here` cannot be started (there is no such program)"
        );
    }

    #[test]
    fn memory_is_limited() {
        let command = shell("x=$(head -c 200000000 /dev/zero | tr '\\0' 'x'); echo ${#x}");
        let run = |bytes| Program::new(&command, Duration::from_secs(60), bytes).output();
        assert!(run(32 << 20).is_err());
        assert_eq!(run(AMPLE).unwrap(), b"200000000\n");
    }

    #[test]
    fn who_takes_too_long_is_killed_with_all_it_started() {
        use std::os::unix::fs::OpenOptionsExt as _;
        const O_NONBLOCK: i32 = 0o4000;
        let folder = tempfile::tempdir().unwrap();
        // The child, which nobody waits for, holds the pipe open for writing while it lives.
        let command =
            shell("mkfifo pipe; { exec 3<> pipe; echo x > up; sleep 1000; } & sleep 1000");
        let program = Program::new(&command, Duration::from_secs(5), AMPLE).folder(folder.path());
        let error = program.output().unwrap_err();
        assert!(matches!(error, ProgramError::Timeout { .. }), "{error}");
        assert!(folder.path().join("up").exists());
        let mut options = std::fs::OpenOptions::new();
        let pipe = options.read(true).custom_flags(O_NONBLOCK).open(folder.path().join("pipe"));
        let began = Instant::now();
        // Without a writer a pipe is at its end; with one it has nothing yet.
        while !pipe.as_ref().is_ok_and(|mut pipe| pipe.read(&mut [0]).is_ok_and(|read| read == 0)) {
            assert!(began.elapsed().as_secs() < 60, "the child outlived its parent");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
