//! The control directory of an attempt: how the harness and the init talk through files.
//!
//! The harness writes `launch` and `files/` before the start and listens on sockets in it; the init
//! answers with `usage`, then `exit` or `failed`. In a container only its root user, which is the
//! init, can see the directory.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{ExitCause, ExitReport};
use crate::attempt::launch::LaunchSpec;
use crate::attempt::outcome::Usage;
use crate::attempt::text::hex;

/// The container init, compiled by build.rs.
static INIT: &[u8] = include_bytes!(env!("MEDALIST_INIT"));

/// Port of the validation service, as agents know it.
pub(crate) const VALIDATE_PORT: u16 = 5000;
/// Port of the allowlist's proxy.
pub(crate) const PROXY_PORT: u16 = 3128;
/// Connections that one service serves at a time.
const CONNECTIONS: usize = 32;
/// How long after its hard limit an agent without a harness ends itself.
const BACKSTOP: Duration = Duration::from_secs(60);

/// An attempt's control directory.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    dir: PathBuf,
}

/// What differs between executors in what the init is told.
pub(crate) struct Launch<'a> {
    /// In a container, as its first process.
    pub(crate) container: bool,
    /// The agent's /home, as the init sees it.
    pub(crate) home: &'a str,
    /// run.log, as the init sees it.
    pub(crate) log: &'a str,
    pub(crate) argv: &'a [String],
    /// More environment for the agent.
    pub(crate) env: &'a [(String, String)],
    /// Ports and their sockets.
    pub(crate) forwards: &'a [(u16, &'a str)],
    /// The public data, as the init sees them, when it must copy them.
    pub(crate) copy_data: Option<&'a str>,
}

/// What the init wrote about the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    status: Option<i32>,
    reason: Option<String>,
    out_of_memory: u64,
    pids_refused: u64,
    elapsed: Option<Duration>,
    empty: Vec<String>,
    pub(crate) usage: Usage,
}

impl Control {
    /// The control directory of an attempt, whether it exists or not.
    pub(crate) fn of(attempt_dir: &Path) -> Self {
        Self { dir: attempt_dir.join("control") }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it afresh, and an empty run.log beside it.
    pub(crate) fn create(
        &self,
        spec: &LaunchSpec,
        instructions: &str,
        launch: &Launch<'_>,
    ) -> io::Result<()> {
        self.remove()?;
        fs_err::create_dir_all(self.dir.join("files"))?;
        fs_err::write(self.dir.join("files/instructions.txt"), instructions)?;
        fs_err::write(self.dir.join("launch"), launch_text(spec, launch)?)?;
        fs_err::write(spec.attempt_dir.join("run.log"), b"")
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs_err::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What the agent uses, by the init's last look.
    pub(crate) fn usage(&self) -> Option<Record> {
        std::fs::read_to_string(self.dir.join("usage")).ok().map(|text| Record::parse(&text))
    }

    /// True if the agent left nothing in this one of its directories, which then need not be
    /// fetched.
    pub(crate) fn left_nothing_in(&self, label: &str) -> bool {
        let account = std::fs::read_to_string(self.dir.join("exit"));
        account.is_ok_and(|text| Record::parse(&text).empty.iter().any(|name| name == label))
    }

    /// The init's account of the agent's end, once there is one.
    pub(crate) fn end(&self) -> Option<ExitReport> {
        if let Ok(text) = std::fs::read_to_string(self.dir.join("exit")) {
            return Some(Record::parse(&text).report());
        }
        let message = std::fs::read_to_string(self.dir.join("failed")).ok()?;
        let usage = self.usage().unwrap_or_default().usage;
        Some(ExitReport {
            cause: ExitCause::SetupFailed(message.trim().to_string()),
            usage,
            ran: None,
        })
    }
}

fn launch_text(spec: &LaunchSpec, launch: &Launch<'_>) -> io::Result<String> {
    let mut text = String::new();
    let mut record = |key: &str, value: &str| {
        if value.contains('\0') {
            let message =
                format!("`{key}` of the agent holds a zero byte, which no program can be given");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let _ = write!(text, "{key}={value}\0");
        Ok(())
    };
    let limits = &spec.limits;
    record("container", if launch.container { "1" } else { "0" })?;
    record("home", launch.home)?;
    record("log", launch.log)?;
    record("log_limit", &limits.log_bytes.to_string())?;
    for argument in launch.argv {
        record("arg", argument)?;
    }
    for (name, value) in launch.env {
        record("env", &format!("{name}={value}"))?;
    }
    for (port, socket) in launch.forwards {
        record("forward", &format!("{port}:{CONNECTIONS}:{socket}"))?;
    }
    if let Some(from) = launch.copy_data {
        record("copy_data", from)?;
    }
    if !launch.container {
        record("watch_memory_bytes", &limits.memory_bytes.to_string())?;
        record("watch_pids", &limits.pids.to_string())?;
        record("nofile", &limits.nofile.to_string())?;
        record("sample_ms", "100")?;
    }
    if spec.privileged {
        record("privileged", "1")?;
    }
    record("backstop_s", &(limits.timeout + limits.grace + BACKSTOP).as_secs().to_string())?;
    Ok(text)
}

impl Record {
    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        let usage = &mut record.usage;
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let number = value.parse::<u64>().ok();
            match key {
                "status" => record.status = value.parse().ok(),
                "empty" => record.empty.push(value.to_string()),
                "reason" => record.reason = Some(value.to_string()),
                "out_of_memory" => record.out_of_memory = number.unwrap_or(0),
                "pids_refused" => record.pids_refused = number.unwrap_or(0),
                "elapsed_ms" => record.elapsed = number.map(Duration::from_millis),
                "memory_bytes" => usage.memory_bytes = number,
                "peak_memory_bytes" => usage.peak_memory_bytes = number,
                "cpu_us" => usage.cpu_time_s = number.map(|microseconds| microseconds as f64 / 1e6),
                "pids" => usage.pids = number,
                "log_bytes" => usage.log_bytes = number.unwrap_or(0),
                "log_dropped" => usage.log_bytes_dropped = number.unwrap_or(0),
                _ => {}
            }
        }
        record
    }

    fn report(self) -> ExitReport {
        let status = self.status.unwrap_or(255);
        let cause = match self.reason.as_deref() {
            Some("memory") => ExitCause::OutOfMemory,
            Some("pids") => ExitCause::TooManyProcesses,
            Some("backstop") => ExitCause::Overtime,
            Some("killed") => ExitCause::Exited(status),
            // An agent that lost a process to a limit and went on to succeed has not failed by it.
            _ if status != 0 && self.out_of_memory > 0 => ExitCause::OutOfMemory,
            _ if status != 0 && self.pids_refused > 0 => ExitCause::TooManyProcesses,
            _ => ExitCause::Exited(status),
        };
        ExitReport { cause, usage: self.usage, ran: self.elapsed }
    }
}

/// The init as a file that can be mounted and started; written once for each build of the harness.
pub(crate) fn init_program() -> io::Result<PathBuf> {
    static WRITTEN: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*written {
        Some(path) if path.exists() => Ok(path.clone()),
        _ => Ok(written.insert(write_init()?).clone()),
    }
}

fn write_init() -> io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let digest = Sha256::digest(INIT);
    let name = format!("medalist-init-{}", hex(&digest[..8]));
    let dir = cache_dir();
    let path = dir.join(name);
    if fs_err::read(&path).is_ok_and(|bytes| bytes == INIT) {
        return Ok(path);
    }
    fs_err::create_dir_all(&dir)?;
    let file = tempfile::NamedTempFile::new_in(&dir)?;
    fs_err::write(file.path(), INIT)?;
    fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o755))?;
    let (file, aside) = file.keep().map_err(|error| error.error)?;
    // A program that is open for writing cannot be started.
    drop(file);
    fs_err::rename(aside, &path)?;
    Ok(path)
}

/// Where things live that outlast this process and that other users cannot change.
pub(crate) fn cache_dir() -> PathBuf {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let fallback = || std::env::temp_dir().join(format!("medalist-{}", nix::unistd::getuid()));
    cache.map_or_else(fallback, |cache| cache.join("medalist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_agent_that_lost_processes_to_a_limit_failed_by_it() {
        let cause = |text: &str| Record::parse(text).report().cause;
        let cases = [
            ("status 0\nreason exited\n", ExitCause::Exited(0)),
            ("status 3\nreason exited\n", ExitCause::Exited(3)),
            ("status 0\nreason exited\nout_of_memory 2\n", ExitCause::Exited(0)),
            ("status 1\nreason exited\nout_of_memory 2\npids_refused 9\n", ExitCause::OutOfMemory),
            (
                "status 1\nreason exited\nout_of_memory 0\npids_refused 9\n",
                ExitCause::TooManyProcesses,
            ),
            ("status 137\nreason memory\n", ExitCause::OutOfMemory),
            ("status 137\nreason pids\n", ExitCause::TooManyProcesses),
            ("status 137\nreason killed\nout_of_memory 1\n", ExitCause::Exited(137)),
            ("status 137\nreason backstop\n", ExitCause::Overtime),
            ("", ExitCause::Exited(255)),
        ];
        for (text, expected) in cases {
            assert_eq!(cause(text), expected, "{text:?}");
        }
    }

    #[test]
    fn figures_are_read_from_lines() {
        let record = Record::parse(
            "memory_bytes 5\npeak_memory_bytes 9\ncpu_us 1500000\npids 3\nlog_bytes 7\nlog_dropped 2\n",
        );
        assert_eq!(record.usage.cpu_time_s, Some(1.5));
        assert_eq!(record.usage.peak_memory_bytes, Some(9));
        assert_eq!((record.usage.log_bytes, record.usage.log_bytes_dropped), (7, 2));
    }

    #[test]
    fn the_init_is_a_static_program() {
        let path = init_program().unwrap();
        assert_eq!(&fs_err::read(&path).unwrap()[..4], b"\x7fELF");
        assert!(std::process::Command::new(path).output().unwrap().status.code() == Some(2));
    }
}
