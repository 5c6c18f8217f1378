//! Worker processes that grade, kept and reused; one that goes beyond its limits is killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytesize::ByteSize;
use medalist_grading::program::INHERITED;
use medalist_grading::untrusted::Shown;
use nix::libc::{SIGABRT, SIGKILL, SIGXCPU};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Failure;
use super::worker::{ARGUMENT, Done, Reply, Request, Work};
use crate::attempt::text;
use crate::host::machine;

/// What grading or checking one submission may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradingLimits {
    /// Memory beside that for the answers; none means 8 GiB, or three quarters of what the machine
    /// has left if that is less.
    pub memory_bytes: Option<u64>,
    /// Time to grade it, on the clock and of processors.
    pub time: Duration,
}

impl GradingLimits {
    /// How long a grading may take, unless somebody says otherwise.
    pub const TIME: Duration = Duration::from_secs(300);
    /// An agent's question may take that part of the time of a grading.
    const QUESTION: u32 = 5;
    const MEMORY: u64 = 8 << 30;

    /// The memory that a submission may take now.
    fn memory_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or_else(|| {
            let left = machine::available_memory_bytes().unwrap_or(u64::MAX);
            (left / 4 * 3).min(Self::MEMORY)
        })
    }

    /// The time for an agent's question.
    pub(super) fn question(&self) -> Duration {
        self.time / Self::QUESTION
    }
}

impl Default for GradingLimits {
    fn default() -> Self {
        Self { memory_bytes: None, time: Self::TIME }
    }
}

/// Workers of one program.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    limits: GradingLimits,
    idle: Mutex<Vec<Worker>>,
}

impl Workers {
    /// Workers that are `program`, which runs [`super::worker::main`] if its first argument is
    /// [`ARGUMENT`]; none is started yet.
    pub fn new(program: PathBuf, limits: GradingLimits) -> Self {
        Self { program, limits, idle: Mutex::default() }
    }

    /// Workers that are the program that runs now, even if its file is replaced meanwhile.
    pub fn of_this_program(limits: GradingLimits) -> Self {
        Self::new("/proc/self/exe".into(), limits)
    }

    /// What a submission may use.
    pub fn limits(&self) -> &GradingLimits {
        &self.limits
    }

    /// Has work done within `time`; `cpu` says whether processor time is limited as well.
    pub(super) fn ask(
        &self,
        grading: &str,
        work: Work,
        time: Duration,
        cpu: bool,
    ) -> Result<Done, Failure> {
        let memory_bytes = self.limits.memory_bytes();
        let cpu_s = cpu.then(|| time.as_secs().max(1));
        let request = Request { grading: grading.to_owned(), work, memory_bytes, cpu_s };
        let mut line = serde_json::to_vec(&request).map_err(|error| lost(&error))?;
        line.push(b'\n');
        let own_file = request.work.own_file();
        let mut idle = self.idle_one(own_file);
        loop {
            let fresh = idle.is_none();
            let mut worker = match idle.take() {
                Some(worker) => worker,
                None => self.start().map_err(|error| lost(&error))?,
            };
            let kills = oom_kills();
            match worker.exchange(&line, time) {
                Ok(reply) => {
                    if !worker.own_files.iter().any(|known| known == own_file) {
                        worker.own_files.push(own_file.to_owned());
                    }
                    if !reply.worn {
                        self.give_back(worker);
                    }
                    return reply.result.map_err(Failure::Fault);
                }
                Err(ended) => match ended.explain(memory_bytes, time, kills) {
                    // It may have been killed while nobody needed it.
                    Failure::Lost(_) if !fresh => {}
                    failure => return Err(failure),
                },
            }
        }
    }

    /// An idle worker, one that has read the file if there is such.
    fn idle_one(&self, own_file: &Path) -> Option<Worker> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |worker: &Worker| worker.own_files.iter().any(|known| known == own_file);
        match idle.iter().position(read) {
            Some(at) => Some(idle.swap_remove(at)),
            None => idle.pop(),
        }
    }

    fn give_back(&self, worker: Worker) {
        // Each keeps its answers, so no more are kept than can work at the same time.
        let most = machine::cpu_count().min(8) as usize;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < most {
            idle.push(worker);
        }
    }

    fn start(&self) -> io::Result<Worker> {
        let (ours, theirs) = UnixStream::pair()?;
        // Not a file on a disk, which may be full.
        let complaints = File::from(memfd_create("complaints", MFdFlags::MFD_CLOEXEC)?);
        let mut command = Command::new(&self.program);
        command.arg0("medalist").arg(ARGUMENT).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::from(complaints.try_clone()?))
            // Ctrl-C is for the harness, which ends its workers itself.
            .process_group(0)
            .spawn()?;
        Ok(Worker { child, pipe: BufReader::new(ours), complaints, own_files: Vec::new() })
    }
}

/// A worker process, which ends when this is dropped.
#[derive(Debug)]
struct Worker {
    child: Child,
    pipe: BufReader<UnixStream>,
    /// What it wrote to stderr.
    complaints: File,
    /// Answers and samples that it has read.
    own_files: Vec<PathBuf>,
}

impl Worker {
    /// Sends a request and waits for its reply.
    fn exchange(&mut self, line: &[u8], time: Duration) -> Result<Reply, Ended> {
        let until = Instant::now() + time;
        let reply = self.pipe.get_mut().write_all(line).and_then(|()| self.reply(until));
        let late = Instant::now() >= until;
        reply.map_err(|error| self.end(late, &error))
    }

    fn reply(&mut self, until: Instant) -> io::Result<Reply> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let left = until.saturating_duration_since(Instant::now());
            self.pipe.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.pipe.read_until(b'\n', &mut line) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // One that came too late does not count because this process was slow to look.
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// Ends it, and says how it ended.
    fn end(&mut self, late: bool, error: &io::Error) -> Ended {
        // Its end of the pipe is closed, or it is late, or it talks nonsense.
        let closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        );
        if !closed {
            let _ = self.child.kill();
        }
        let status = self.child.wait().ok();
        let mut words = Vec::new();
        let _ = self
            .complaints
            .seek(SeekFrom::End(-4096))
            .or_else(|_| self.complaints.rewind().map(|()| 0));
        let _ = (&self.complaints).take(4096).read_to_end(&mut words);
        let words = String::from_utf8_lossy(&words).into_owned();
        Ended { late, status: status.filter(|_| closed), words, error: error.to_string() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a worker ended that gave no answer.
#[derive(Debug)]
struct Ended {
    /// The time was over.
    late: bool,
    /// How it ended, if by itself.
    status: Option<ExitStatus>,
    /// What it said on stderr.
    words: String,
    error: String,
}

impl Ended {
    fn explain(self, memory_bytes: u64, time: Duration, kills_before: Option<u64>) -> Failure {
        let too_long = || {
            let time = text::duration(time);
            format!(
                "it takes longer than {time} to check or grade; `--grading-time` raises the limit"
            )
        };
        let Some(status) = self.status else {
            return match self.late {
                true => Failure::Over(too_long()),
                false => lost(&self.error),
            };
        };
        match status.signal() {
            Some(SIGXCPU) => return Failure::Over(too_long()),
            // What Rust says before it gives up on memory.
            Some(SIGABRT) if self.words.contains("memory allocation of") => {
                let memory = ByteSize(memory_bytes).display().iec();
                return Failure::Over(format!(
                    "it takes more than {memory} of memory to check or grade; `--grading-memory` raises the limit"
                ));
            }
            Some(SIGKILL) if oom_kills() > kills_before => {
                return Failure::Lost(
                    "the machine ran out of memory and the kernel killed the process that graded; free memory, or lower \
                     `--grading-memory` so that a submission that takes too much is invalid"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let last = self.words.lines().rfind(|line| !line.trim().is_empty()).map(Shown::new);
        let words = last.map(|last| format!(": {last}")).unwrap_or_default();
        lost(&format!("{status}{words}"))
    }
}

fn lost(why: &dyn fmt::Display) -> Failure {
    Failure::Lost(format!("the process that grades failed ({why})"))
}

/// Processes that the kernel has killed for want of memory since the machine was started.
fn oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::grading::worker::FilePath;

    /// Workers that are a shell script.
    struct Scripted {
        dir: tempfile::TempDir,
        workers: Workers,
    }

    const GOOD: &str = r#"{"result":{"Ok":"Read"},"worn":false}"#;

    impl Scripted {
        fn new(script: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("worker");
            // Written by another process: a file that this one had open for writing may still be
            // open in a child that another test starts, and then it cannot be run.
            let text =
                format!("#!/bin/sh\ncd '{}'\necho >> starts\n{script}\n", dir.path().display());
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text])
                .arg(&path);
            assert!(shell.status().unwrap().success());
            let limits = GradingLimits { memory_bytes: Some(1 << 30), ..GradingLimits::default() };
            Self { dir, workers: Workers::new(path, limits) }
        }

        fn ask(&self, time: Duration) -> Result<Done, Failure> {
            let sample = FilePath("sample.csv".into());
            self.workers.ask("", Work::Sample { sample }, time, true)
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.dir.path().join(name)).unwrap()
        }
    }

    const AMPLE: Duration = Duration::from_secs(600);

    #[test]
    fn an_end_is_told_by_its_cause() {
        let over = |script: &str, time| match Scripted::new(script).ask(time) {
            Err(Failure::Over(why)) => why,
            other => panic!("{script}: {other:?}"),
        };
        let memory = "read -r line; echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$";
        let why = over(memory, AMPLE);
        assert!(why.contains("more than 1.0 GiB") && why.contains("`--grading-memory`"), "{why}");
        let why = over("read -r line; kill -XCPU $$", AMPLE);
        assert!(why.contains("`--grading-time`"), "{why}");
        // Only what waits longer than a test may is late.
        let why = over("exec sleep 1000", Duration::from_millis(200));
        assert!(why.contains("takes longer than"), "{why}");

        let lost = |script: &str| match Scripted::new(script).ask(AMPLE) {
            Err(Failure::Lost(why)) => why,
            other => panic!("{script}: {other:?}"),
        };
        let why = lost("read -r line; printf 'panicked\\n\\033[2J at x\\n' >&2; exit 101");
        assert!(why.contains("exit status: 101: \\u{1b}[2J at x"), "{why}");
        assert!(lost("read -r line; kill -KILL $$").contains("signal: 9"));
        assert!(lost("read -r line; echo nonsense; exec sleep 1000").contains("expected"));
        let absent = Workers::new("/no/such/program".into(), GradingLimits::default());
        let sample = FilePath("sample.csv".into());
        let failure = absent.ask("", Work::Sample { sample }, AMPLE, true);
        assert!(matches!(failure, Err(Failure::Lost(_))), "{failure:?}");
    }

    #[test]
    fn workers_are_kept_unless_they_are_worn_or_dead() {
        let starts = |script: &str| {
            let scripted = Scripted::new(script);
            for _ in 0..3 {
                assert!(matches!(scripted.ask(AMPLE), Ok(Done::Read)), "{script}");
            }
            scripted.read("starts").len()
        };
        assert_eq!(starts(&format!("while read -r line; do echo '{GOOD}'; done")), 1);
        assert_eq!(starts(&format!("read -r line; echo '{GOOD}'")), 3, "gone when needed again");
        let worn = GOOD.replace("false", "true");
        assert_eq!(starts(&format!("while read -r line; do echo '{worn}'; done")), 3);
    }

    #[test]
    fn a_worker_has_a_clean_environment_and_is_gone_with_its_owner() {
        let scripted = Scripted::new(&format!(
            "env > names; echo $$ > id; while read -r l; do echo '{GOOD}'; done"
        ));
        scripted.ask(AMPLE).unwrap();
        let known = |name: &str| {
            INHERITED.contains(&name) || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
        };
        for line in scripted.read("names").lines() {
            assert!(line.split_once('=').is_some_and(|(name, _)| known(name)), "{line}");
        }
        let process = Path::new("/proc").join(scripted.read("id").trim());
        assert!(process.exists());
        drop(scripted);
        assert!(!process.exists());
    }
}
