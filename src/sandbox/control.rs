//! The control directory of an attempt: how the harness and the init talk through files
//! ([`medalist_init::protocol`]).
//!
//! The harness writes `launch`, `files/` and room for the last words before the start, listens on
//! sockets in it and says in `stop` why it ends the agent; the init answers with `usage`, then
//! `exit` or `failed`. In a container only its root user, which is the init, can see the directory.
//! What comes back is read as if the agent had written it all the same: plain files only, no
//! links, [`protocol::RECORD_LIMIT`] bytes, away from the async threads and with a deadline.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::platform::open_plain;
use medalist_init::protocol::{self, Blame, Failure, Forward, Launch, Reason, Record};
use serde::{Deserialize, Serialize};

use super::{ExitCause, ExitReport, StopReason, cache};
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::LaunchSpec;
use crate::attempt::llm::LlmAccess;
use crate::attempt::outcome::Usage;
use crate::host::files::if_there;

/// Port of the validation service, as agents know it.
pub(crate) const VALIDATE_PORT: u16 = 5000;
/// Port of the allowlist's proxy.
pub(crate) const PROXY_PORT: u16 = 3128;
/// Connections that one service serves at a time.
const CONNECTIONS: usize = 32;
/// The same for language models: agents call many at once, and a call may take minutes.
const LLM_CONNECTIONS: usize = 512;
/// How long a call of a language model waits for a harness that is gone. Clients wait ten minutes
/// for an answer, and give up within seconds on errors.
const LLM_PATIENCE: Duration = Duration::from_secs(570);
/// How much longer an agent without a harness may live whose clock stands still in outages.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after its hard limit an agent without a harness ends itself.
const BACKSTOP: Duration = Duration::from_secs(60);
/// How long a record may take to be read: the runs folder may lie on another machine.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// The status of a program that was ended by SIGXFSZ: it made a file larger than it may.
const FILE_TOO_LARGE: i32 = 153;
/// Room that is set aside for what must be written on a disk that has run full.
const RESERVE_BYTES: usize = 4096;
/// Room for [`protocol::STOP`].
const STOP_RESERVE: &str = "stop.reserve";

/// An attempt's control directory.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    dir: PathBuf,
}

/// What the control directory says about the agent's end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The init's account.
    Account(Box<Record>),
    /// The agent was not started.
    Failed(Failure),
    /// Something else stands where the account should.
    Forged(String),
}

/// Why the harness ended the agent, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StopNote {
    pub(crate) why: StopReason,
    pub(crate) at: DateTime<Utc>,
}

impl Control {
    /// The control directory of an attempt, whether it exists or not: in the attempt's folder, or on this
    /// machine's own disk where that folder is shared between machines. There sockets serve one machine
    /// alone, and a folder cannot be removed while somebody has a file of it open.
    pub(crate) fn of(attempt: &AttemptDir) -> Self {
        let own = attempt.control();
        let dir = match cache::is_shared(attempt.root()) {
            true => cache::place_on_this_machine(&own).unwrap_or(own),
            false => own,
        };
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it afresh, for this user alone unless the engine's root is `another_user`, and an
    /// empty run.log beside it.
    pub(crate) fn create(
        &self,
        spec: &LaunchSpec,
        instructions: &str,
        another_user: bool,
    ) -> io::Result<()> {
        self.remove()?;
        let mode = if another_user { 0o777 } else { 0o700 };
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(&self.dir)?;
        fs_err::set_permissions(&self.dir, PermissionsExt::from_mode(mode))?;
        fs_err::create_dir(self.dir.join(protocol::FILES))?;
        fs_err::write(self.dir.join(protocol::FILES).join("instructions.txt"), instructions)?;
        if let Some(tls) = spec.llm.as_ref().and_then(|llm| llm.attempt.tls()) {
            fs_err::write(self.dir.join(protocol::CA), tls.ca_pem())?;
        }
        // Filled and not only made long: a file with holes has no room on a full disk.
        for name in [protocol::RESERVE, STOP_RESERVE] {
            fs_err::write(self.dir.join(name), [b'\n'; RESERVE_BYTES])?;
        }
        if another_user {
            let everybody = PermissionsExt::from_mode(0o666);
            fs_err::set_permissions(self.dir.join(protocol::RESERVE), everybody)?;
        }
        fs_err::write(spec.attempt_dir.log(), b"")
    }

    /// Writes the init's orders.
    pub(crate) fn order(&self, launch: &Launch, another_user: bool) -> io::Result<()> {
        let text = launch.to_text();
        let text = text.map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        // They hold the agent's environment, secrets included.
        let mode = if another_user { 0o644 } else { 0o600 };
        File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(self.dir.join(protocol::LAUNCH))?
            .write_all(text.as_bytes())
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        if_there(fs_err::remove_dir_all(&self.dir)).map(drop)
    }

    /// Says why the agent is ended, before it is signalled: a signal without a reason is somebody
    /// else's. There is room for it on a full disk.
    /// Where even that fails the agent is ended all the same.
    pub(crate) async fn announce_stop(&self, why: &StopReason) {
        let note = StopNote { why: why.clone(), at: Utc::now() };
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || write_stop(&dir, &note)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            tracing::warn!(control = %self.dir.display(), %error, "cannot note why the agent is ended");
        }
    }

    /// Why this harness, or one before it, has ended the agent.
    pub(crate) async fn stop_note(&self) -> Option<StopNote> {
        serde_json::from_str(&self.read(protocol::STOP).await.ok()??).ok()
    }

    /// The init's last look at what the agent uses; `None` before the agent began.
    pub(crate) async fn usage(&self) -> Option<Record> {
        Some(Record::parse(&self.read(protocol::USAGE).await.ok()??))
    }

    /// How the agent ended, once it has.
    pub(crate) async fn end(&self) -> Option<End> {
        match self.read(protocol::EXIT).await {
            Ok(Some(text)) => return Some(End::Account(Box::new(Record::parse(&text)))),
            Err(why) => return Some(End::Forged(why)),
            Ok(None) => {}
        }
        match self.read(protocol::FAILED).await {
            Ok(text) => Some(End::Failed(Failure::parse(&text?))),
            Err(why) => Some(End::Forged(why)),
        }
    }

    /// The text of a record, if it is there; an error says what stands there instead.
    async fn read(&self, name: &'static str) -> Result<Option<String>, String> {
        let path = self.dir.join(name);
        let reading = tokio::task::spawn_blocking(move || read_record(&path));
        match tokio::time::timeout(READ_PATIENCE, reading).await {
            Ok(Ok(read)) => read.map_err(|what| format!("`control/{name}` {what}")),
            Ok(Err(_)) => Ok(None),
            // A disk that does not answer has forged nothing.
            Err(_) => Ok(None),
        }
    }
}

/// Reads what the init wrote; nothing that could wait, lead elsewhere or have no end is opened or
/// read to its end.
pub(crate) fn read_record(path: &Path) -> Result<Option<String>, String> {
    let file = match open_plain(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let facts = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !facts.is_file() || facts.nlink() > 1 {
        return Err("is no plain file".to_string());
    }
    let limit = protocol::RECORD_LIMIT;
    let mut bytes = Vec::new();
    let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("is longer than {limit} bytes"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_stop(dir: &Path, note: &StopNote) -> io::Result<()> {
    let mut text = serde_json::to_vec(note)?;
    // Over the whole room, so that it stays allocated for a later reason.
    text.resize(RESERVE_BYTES.max(text.len()), b'\n');
    let (place, reserve) = (dir.join(protocol::STOP), dir.join(STOP_RESERVE));
    let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
    let open = |path: &Path| File::options().write(true).custom_flags(flags).open(path);
    if let Ok(file) = open(&place) {
        return file.write_all_at(&text, 0);
    }
    if let Ok(file) = open(&reserve) {
        file.write_all_at(&text, 0)?;
        return fs_err::rename(reserve, place);
    }
    let aside = dir.join("stop.new");
    let mut file =
        File::options().write(true).create(true).truncate(true).custom_flags(flags).open(&aside)?;
    file.write_all(&text)?;
    fs_err::rename(aside, place)
}

/// A port of a service that answers at once.
pub(crate) fn forward(port: u16, socket: &str) -> Forward {
    let patience = Duration::ZERO;
    Forward { port, connections: CONNECTIONS, patience, socket: socket.to_string() }
}

/// A port of the gateway to language models.
pub(crate) fn llm_forward(port: u16, socket: &str) -> Forward {
    let socket = socket.to_string();
    Forward { port, connections: LLM_CONNECTIONS, patience: LLM_PATIENCE, socket }
}

/// What both kinds of executors tell the init: limits, output and services.
pub(crate) fn launch(spec: &LaunchSpec, argv: &[String], forwards: Vec<Forward>) -> Launch {
    let limits = &spec.limits;
    let pauses = spec.llm.as_ref().is_some_and(LlmAccess::pauses_the_clock);
    let pause = if pauses { LONGEST_PAUSE } else { Duration::ZERO };
    Launch {
        argv: argv.to_vec(),
        log_limit: limits.log_bytes,
        forwards,
        nofile: limits.nofile,
        backstop: limits.timeout + limits.grace + pause + BACKSTOP,
        privileged: spec.privileged,
        ..Launch::default()
    }
}

/// What an attempt was last seen to use, with the questions that the harness has answered.
pub(crate) async fn last_usage(control: &Control, validations: u64) -> Usage {
    let usage = control.usage().await.as_ref().map(usage_of).unwrap_or_default();
    Usage { validations, ..usage }
}

/// The figures of a record, as attempts keep them.
fn usage_of(record: &Record) -> Usage {
    Usage {
        memory_bytes: record.memory_bytes,
        peak_memory_bytes: record.peak_memory_bytes,
        cpu_time_s: record.cpu_us.map(|microseconds| microseconds as f64 / 1e6),
        pids: record.pids,
        own_group: record.own_group.map(|own| own == 1),
        log_bytes: record.log_bytes.unwrap_or(0),
        log_bytes_dropped: record.log_dropped.unwrap_or(0),
        ..Usage::default()
    }
}

/// Why the agent was asked to end, and how long ago.
pub(crate) async fn stopped(control: &Control) -> Option<(StopReason, Duration)> {
    let note = control.stop_note().await?;
    Some((note.why, (Utc::now() - note.at).to_std().unwrap_or(Duration::ZERO)))
}

/// When the agent's program began, if the record says so and it is no moment to come.
pub(crate) fn began(record: &Record) -> Option<DateTime<Utc>> {
    let began = DateTime::from_timestamp_millis(i64::try_from(record.began_ms?).ok()?)?;
    (began <= Utc::now()).then_some(began)
}

impl End {
    /// As [`End::report`], of a container, where no single file may be larger than the disk limit: who
    /// makes such a file is ended by a signal.
    pub(crate) fn report_of_container(self, last: Usage) -> ExitReport {
        let mut report = self.report(last);
        if matches!(report.cause, ExitCause::Exited(FILE_TOO_LARGE)) {
            report.cause = ExitCause::DiskFull;
        }
        report
    }

    /// What the end was; `last` is what the agent was seen to use, by [`last_usage`].
    pub(crate) fn report(self, last: Usage) -> ExitReport {
        match self {
            Self::Account(record) => ExitReport {
                cause: cause_of(&record),
                // The init does not see what the harness answered.
                usage: Usage { validations: last.validations, ..usage_of(&record) },
                ran: record.elapsed_ms.map(Duration::from_millis),
            },
            Self::Failed(Failure { blame, message }) => {
                let cause = match blame {
                    Blame::Image => ExitCause::ImageRefused(message),
                    Blame::Machine => ExitCause::SetupFailed(message),
                };
                ExitReport { cause, usage: last, ran: None }
            }
            Self::Forged(why) => {
                let message =
                    format!("{why}: something in the container wrote to the harness's own files");
                ExitReport { cause: ExitCause::ImageRefused(message), usage: last, ran: None }
            }
        }
    }
}

fn cause_of(record: &Record) -> ExitCause {
    let status = record.status.unwrap_or(255);
    let happened = |count: Option<u64>| count.unwrap_or(0) > 0;
    match record.reason {
        Some(Reason::Memory) => ExitCause::OutOfMemory,
        Some(Reason::Processes) => ExitCause::TooManyProcesses,
        Some(Reason::Backstop) => ExitCause::Overtime,
        _ if let Some(signal) = record.outside_signal => ExitCause::Lost(format!(
            "the agent was ended from outside by signal {signal}, as `docker stop` or a restarted daemon does"
        )),
        Some(Reason::Killed) => ExitCause::Exited(status),
        // An agent that lost a process to a limit and went on to succeed has not failed by it.
        _ if status != 0 && happened(record.out_of_memory) => ExitCause::OutOfMemory,
        _ if status != 0 && happened(record.pids_refused) => ExitCause::TooManyProcesses,
        _ => ExitCause::Exited(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> (tempfile::TempDir, Control) {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(&AttemptDir::new(dir.path()));
        fs_err::create_dir(control.dir()).unwrap();
        (dir, control)
    }

    fn cause(text: &str) -> ExitCause {
        End::Account(Box::new(Record::parse(text))).report(Usage::default()).cause
    }

    #[test]
    fn a_failed_agent_that_lost_processes_to_a_limit_failed_by_it() {
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
    fn a_signal_that_is_not_ours_is_not_the_agents_doing() {
        for text in [
            "status 143\nreason exited\noutside_signal 15\n",
            "status 0\nreason exited\noutside_signal 15\n",
            "status 137\nreason killed\noutside_signal 12\nout_of_memory 1\n",
        ] {
            assert!(matches!(cause(text), ExitCause::Lost(_)), "{text:?}");
        }
    }

    #[test]
    fn figures_are_read_from_lines() {
        let usage = usage_of(&Record::parse(
            "memory_bytes 5\npeak_memory_bytes 9\ncpu_us 1500000\npids 3\nlog_bytes 7\nlog_dropped 2\n",
        ));
        assert_eq!(usage.cpu_time_s, Some(1.5));
        assert_eq!(usage.peak_memory_bytes, Some(9));
        assert_eq!((usage.log_bytes, usage.log_bytes_dropped), (7, 2));
        let far = Record { began_ms: Some(u64::MAX), ..Record::default() };
        assert_eq!(began(&far), None);
        let later = Record { began_ms: Some(95_617_584_000_000), ..Record::default() };
        assert_eq!(began(&later), None);
    }

    /// Puts something hostile where a record belongs.
    type Forgery = fn(&Path);

    const FORGERIES: [(&str, Forgery); 9] = [
        ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a link to a device", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a link to a file", |path| {
            let secret = path.with_file_name("secret");
            fs_err::write(&secret, "status 0\n").unwrap();
            std::os::unix::fs::symlink(secret, path).unwrap();
        }),
        ("a dangling link", |path| std::os::unix::fs::symlink("nowhere", path).unwrap()),
        ("a link to itself", |path| std::os::unix::fs::symlink(path, path).unwrap()),
        ("a directory", |path| fs_err::create_dir(path).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("a second name of a file", |path| {
            let secret = path.with_file_name("secret");
            fs_err::write(&secret, "status 0\n").unwrap();
            fs_err::hard_link(secret, path).unwrap();
        }),
        ("a huge file", |path| File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];

    #[tokio::test]
    async fn whatever_stands_in_a_records_place_is_refused_at_once() {
        for (what, forge) in FORGERIES {
            for name in [protocol::EXIT, protocol::FAILED] {
                let (_dir, control) = control();
                forge(&control.dir().join(name));
                let end = control.end().await;
                assert!(matches!(end, Some(End::Forged(_))), "{what} as {name}: {end:?}");
                let report = end.unwrap().report(Usage::default());
                assert!(matches!(report.cause, ExitCause::ImageRefused(_)), "{what}: {report:?}");
            }
            let (_dir, control) = control();
            forge(&control.dir().join(protocol::USAGE));
            assert_eq!(control.usage().await, None, "{what}");
            forge_stop(&control, forge);
            assert_eq!(control.stop_note().await, None, "{what}");
        }
    }

    fn forge_stop(control: &Control, forge: Forgery) {
        let _ = fs_err::remove_file(control.dir().join("secret"));
        forge(&control.dir().join(protocol::STOP));
    }

    #[tokio::test]
    async fn garbage_in_a_record_is_no_end_of_the_harness() {
        let (_dir, control) = control();
        assert_eq!(control.end().await, None);
        let texts: [&[u8]; 5] =
            [b"", b"\xff\xfe\0\0", b"status", b"status 1e9\nstatus -5\n", &[b'x'; 65_536]];
        for text in texts {
            fs_err::write(control.dir().join(protocol::EXIT), text).unwrap();
            let report = control.end().await.unwrap().report(Usage::default());
            assert_eq!(report.cause, ExitCause::Exited(255), "{text:?}");
        }
        fs_err::remove_file(control.dir().join(protocol::EXIT)).unwrap();
        fs_err::write(control.dir().join(protocol::FAILED), "image \u{1b}]0;title\u{7} is odd")
            .unwrap();
        let report = control.end().await.unwrap().report(Usage::default());
        let ExitCause::ImageRefused(message) = report.cause else { panic!("{report:?}") };
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }

    #[tokio::test]
    async fn the_reason_of_a_stop_is_kept_and_the_last_one_counts() {
        let (_dir, control) = control();
        fs_err::write(control.dir().join(STOP_RESERVE), [b'\n'; RESERVE_BYTES]).unwrap();
        assert_eq!(control.stop_note().await, None);
        for why in [
            StopReason::HostFull { cause: "9 bytes are free".to_string() },
            StopReason::TimedOut { killed: true },
        ] {
            control.announce_stop(&why).await;
            assert_eq!(control.stop_note().await.unwrap().why, why);
        }
        assert!(!control.dir().join(STOP_RESERVE).exists());
        // One that an older harness started has no room set aside.
        let (_other, control) = self::control();
        control.announce_stop(&StopReason::DiskFull).await;
        assert_eq!(control.stop_note().await.unwrap().why, StopReason::DiskFull);
    }
}
