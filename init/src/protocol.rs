//! What the harness and the init tell each other, through files in the control directory.
//!
//! | file | written by | what |
//! |---|---|---|
//! | `launch` | harness, before the start | [`Launch`] |
//! | `files/` | harness, before the start | files for the agent's /home |
//! | `ca.pem` | harness, before the start | the authority that the container's clients are to trust |
//! | `stop` | harness, before each signal | why; its presence tells our signals from others' |
//! | `exit.reserve` | harness, before the start | room for the account on a disk that runs full |
//! | `usage` | init, renewed all the time | [`Record`] |
//! | `exit` | init, once | [`Record`] with a status |
//! | `failed` | init, once, in place of `exit` | [`Failure`] |
//!
//! Both sides compile this one file.

use std::fmt::Write;
use std::time::Duration;

/// The harness's orders.
pub const LAUNCH: &str = "launch";
/// Directory of files that are copied to the agent's /home.
pub const FILES: &str = "files";
/// The certificate of the authority that clients are to trust, where [`Launch::trust`] says so.
pub const CA: &str = "ca.pem";
/// The directory below `/` with that authority, and with it beside those that the image trusts.
pub const TRUST_DIR: &str = "medalist";
/// The image's authorities and ours, in [`TRUST_DIR`].
pub const BUNDLE: &str = "bundle.pem";
/// Why the harness ends the agent.
pub const STOP: &str = "stop";
/// A file of [`RECORD_LIMIT`] bytes that becomes `exit` where there is no room for a new one.
pub const RESERVE: &str = "exit.reserve";
/// What the agent uses.
pub const USAGE: &str = "usage";
/// How the agent ended.
pub const EXIT: &str = "exit";
/// Why the agent was not started.
pub const FAILED: &str = "failed";

/// The control directory, below the directory that only the container's root can enter.
pub const INNER_CONTROL: &str = "control";
/// The agent's output, beside the control directory.
pub const INNER_LOG: &str = "run.log";
/// The public data to be copied, beside the control directory.
pub const INNER_DATA: &str = "data";

/// The longest record that either side reads.
pub const RECORD_LIMIT: usize = 64 << 10;
/// The longest `launch` that the init reads.
pub const LAUNCH_LIMIT: usize = 32 << 20;
/// The longest message of a failure.
const MESSAGE: usize = 2000;

/// What the init is asked to do: records `key=value`, each ended by a zero byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// PID 1 of a container, not a supervisor on the host.
    pub container: bool,
    /// Parent of the agent's directories.
    pub home: String,
    /// Where the agent starts, if it can be entered; `home` otherwise.
    pub workdir: Option<String>,
    /// Command and arguments of the agent.
    pub argv: Vec<String>,
    /// More environment for the agent.
    pub env: Vec<(String, String)>,
    /// Supervisor only: where the output goes.
    pub log: String,
    /// Bytes of output that are kept.
    pub log_limit: u64,
    /// Ports passed on to sockets in the control directory.
    pub forwards: Vec<Forward>,
    /// The most memory of all processes together, 0 for any, where no control group holds it.
    pub watch_memory_bytes: u64,
    /// The most processes and threads, 0 for any, where no control group holds it.
    pub watch_pids: u64,
    /// The most open files of a process, 0 to leave it.
    pub nofile: u64,
    /// Everything is ended after this time even if no harness is left to say so; 0 for never.
    pub backstop: Duration,
    /// Between two looks at what is used; 0 for once a second.
    pub sample_every: Duration,
    /// The public data are copied to `home/data`.
    pub copy_data: bool,
    /// Leaves `no_new_privs` off, for agents that were allowed to be privileged.
    pub privileged: bool,
    /// The container's clients are to trust [`CA`].
    pub trust: bool,
    /// The largest file in bytes, 0 for any; only where no engine sets it.
    pub fsize: u64,
    /// The control group is not the container's own: what it uses is measured from its processes.
    pub shared_group: bool,
    /// The init makes the container itself.
    pub namespaces: Option<Namespaces>,
}

/// A container that the init makes without an engine, from namespaces and an unpacked image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// The image's files.
    pub image: String,
    /// The attempt's own directory, with `upper`, `work`, `root` and `data` in it.
    pub storage: String,
    /// `image` is the lower layer of `upper`; otherwise `upper` is a whole copy of it.
    pub overlay: bool,
    /// Users and groups, as [`IdMap`] reads them.
    pub uid_map: String,
    pub gid_map: String,
    /// What is mounted read-only, in this order: where from, and where below `/`.
    pub binds: Vec<(String, String)>,
    /// Device nodes of this machine that the agent may use.
    pub devices: Vec<String>,
    /// Text of `/etc/hosts`.
    pub hosts: String,
    /// Bytes of `/dev/shm`, 0 for no limit.
    pub shm_bytes: u64,
    /// Where the init itself is in the container.
    pub program: String,
}

/// Which users, or groups, of a container are which of the machine: `inside:outside:count`,
/// separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap(pub Vec<(u32, u32, u32)>);

impl IdMap {
    /// Reads the text.
    ///
    /// # Errors
    /// If it is no map, or does not begin with root.
    pub fn parse(text: &str) -> Result<Self, String> {
        let row = |row: &str| {
            let mut numbers = row.split(':').map(str::parse::<u32>);
            match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) if count > 0 => {
                    Some((inside, outside, count))
                }
                _ => None,
            }
        };
        let rows: Option<Vec<_>> = text.split(',').map(row).collect();
        match rows {
            Some(rows) if rows.first().is_some_and(|(inside, ..)| *inside == 0) => Ok(Self(rows)),
            _ => Err(format!("`{text}` is no map of users, expected `0:outside:count,...`")),
        }
    }

    /// True if only root is somebody.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.0.len() == 1 && self.0[0].2 == 1
    }

    /// Whether a number of the container is somebody on the machine.
    #[must_use]
    pub fn has(&self, id: u32) -> bool {
        self.0
            .iter()
            .any(|(inside, _, count)| id.checked_sub(*inside).is_some_and(|at| at < *count))
    }

    /// What the kernel and `newuidmap` take: lines of three numbers.
    #[must_use]
    pub fn lines(&self) -> String {
        self.0
            .iter()
            .map(|(inside, outside, count)| format!("{inside} {outside} {count}\n"))
            .collect()
    }
}

/// A port on `localhost` and the harness's socket behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// 0 means a listening socket that the harness hands over: the first of them came as standard input, the second as
    /// standard output.
    pub port: u16,
    /// Connections at a time.
    pub connections: usize,
    /// How long a connection waits for a harness that is not there, before it is told so.
    pub patience: Duration,
    /// Name of the socket in the control directory.
    pub socket: String,
}

impl Launch {
    /// The text of `launch`.
    ///
    /// # Errors
    /// If a value holds a zero byte, which no program can be given.
    pub fn to_text(&self) -> Result<String, String> {
        let mut text = String::new();
        let mut record = |key: &str, value: &str| {
            if value.contains('\0') {
                return Err(format!(
                    "`{key}` of the agent holds a zero byte, which no program can be given"
                ));
            }
            let _ = write!(text, "{key}={value}\0");
            Ok(())
        };
        record("container", flag(self.container))?;
        record("home", &self.home)?;
        if let Some(workdir) = &self.workdir {
            record("workdir", workdir)?;
        }
        for argument in &self.argv {
            record("arg", argument)?;
        }
        for (name, value) in &self.env {
            record("env", &format!("{name}={value}"))?;
        }
        record("log", &self.log)?;
        record("log_limit", &self.log_limit.to_string())?;
        for Forward { port, connections, patience, socket } in &self.forwards {
            let patience = patience.as_secs();
            record("forward", &format!("{port}:{connections}:{patience}:{socket}"))?;
        }
        record("watch_memory_bytes", &self.watch_memory_bytes.to_string())?;
        record("watch_pids", &self.watch_pids.to_string())?;
        record("nofile", &self.nofile.to_string())?;
        record("backstop_ms", &self.backstop.as_millis().to_string())?;
        record("sample_ms", &self.sample_every.as_millis().to_string())?;
        record("copy_data", flag(self.copy_data))?;
        record("privileged", flag(self.privileged))?;
        record("trust", flag(self.trust))?;
        record("fsize", &self.fsize.to_string())?;
        record("shared_group", flag(self.shared_group))?;
        if let Some(namespaces) = &self.namespaces {
            record("image", &namespaces.image)?;
            record("storage", &namespaces.storage)?;
            record("overlay", flag(namespaces.overlay))?;
            record("uid_map", &namespaces.uid_map)?;
            record("gid_map", &namespaces.gid_map)?;
            for (source, target) in &namespaces.binds {
                record("bind_from", source)?;
                record("bind_to", target)?;
            }
            for device in &namespaces.devices {
                record("device", device)?;
            }
            record("hosts", &namespaces.hosts)?;
            record("shm_bytes", &namespaces.shm_bytes.to_string())?;
            record("program", &namespaces.program)?;
        }
        Ok(text)
    }

    /// Reads the text of `launch`.
    ///
    /// # Errors
    /// Names the record that is malformed or unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut launch = Self::default();
        for record in text.split('\0').filter(|record| !record.is_empty()) {
            let (key, value) = record
                .split_once('=')
                .ok_or_else(|| format!("`{record}` in `launch` has no `=`"))?;
            launch.set(key, value)?;
        }
        if launch.argv.is_empty() {
            return Err("`launch` names no command".to_string());
        }
        Ok(launch)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let bad = |expected: &str| format!("`{key}` in `launch` is `{value}`, expected {expected}");
        let number = || value.parse::<u64>().map_err(|_| bad("a number"));
        match key {
            "container" => self.container = number()? != 0,
            "home" => self.home = value.to_string(),
            "workdir" => self.workdir = Some(value.to_string()),
            "arg" => self.argv.push(value.to_string()),
            "env" => {
                let (name, value) = value.split_once('=').ok_or_else(|| bad("name=value"))?;
                self.env.push((name.to_string(), value.to_string()));
            }
            "log" => self.log = value.to_string(),
            "log_limit" => self.log_limit = number()?,
            "forward" => {
                let forward = Forward::parse(value);
                self.forwards.push(forward.ok_or_else(|| bad("port:connections:seconds:socket"))?);
            }
            "watch_memory_bytes" => self.watch_memory_bytes = number()?,
            "watch_pids" => self.watch_pids = number()?,
            "nofile" => self.nofile = number()?,
            "backstop_ms" => self.backstop = Duration::from_millis(number()?),
            "sample_ms" => self.sample_every = Duration::from_millis(number()?),
            "copy_data" => self.copy_data = number()? != 0,
            "privileged" => self.privileged = number()? != 0,
            "trust" => self.trust = number()? != 0,
            "fsize" => self.fsize = number()?,
            "shared_group" => self.shared_group = number()? != 0,
            "image" | "storage" | "overlay" | "uid_map" | "gid_map" | "bind_from" | "bind_to"
            | "device" | "hosts" | "shm_bytes" | "program" => {
                let namespaces = self.namespaces.get_or_insert_default();
                return namespaces.set(key, value).ok_or_else(|| bad("what belongs there"));
            }
            _ => return Err(format!("`launch` has an unknown record `{key}`")),
        }
        Ok(())
    }
}

impl Namespaces {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "image" => self.image = value.to_string(),
            "storage" => self.storage = value.to_string(),
            "overlay" => self.overlay = value == "1",
            "uid_map" => self.uid_map = value.to_string(),
            "gid_map" => self.gid_map = value.to_string(),
            "bind_from" => self.binds.push((value.to_string(), String::new())),
            "bind_to" => self.binds.last_mut()?.1 = value.to_string(),
            "device" => self.devices.push(value.to_string()),
            "hosts" => self.hosts = value.to_string(),
            "shm_bytes" => self.shm_bytes = value.parse().ok()?,
            _ => self.program = value.to_string(),
        }
        Some(())
    }
}

impl Forward {
    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(4, ':');
        Some(Self {
            port: parts.next()?.parse().ok()?,
            connections: parts.next()?.parse().ok()?,
            patience: Duration::from_secs(parts.next()?.parse().ok()?),
            socket: parts.next()?.to_string(),
        })
    }
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

/// Why the agent's processes were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its main process ended.
    Exited,
    /// It held more memory than it may.
    Memory,
    /// It had more processes than it may.
    Processes,
    /// The harness asked for it.
    Killed,
    /// No harness was left to hold its time limit.
    Backstop,
}

impl Reason {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Exited, "exited"),
        (Self::Memory, "memory"),
        (Self::Processes, "pids"),
        (Self::Killed, "killed"),
        (Self::Backstop, "backstop"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(reason, _)| *reason)
    }
}

/// What the init knows of its agent: lines `key value`. Figures that could not be read are missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Exit status, 128 + n for signal n; only in `exit`.
    pub status: Option<i32>,
    /// Why it ended; only in `exit`.
    pub reason: Option<Reason>,
    /// Which of the agent's directories hold nothing; only in `exit`.
    pub empty: Vec<String>,
    /// 1 if `submission/` holds a plain `submission.csv` and nothing else; only in `exit`.
    pub lone_submission: Option<u64>,
    /// A signal that asked for the end and did not come from the harness.
    pub outside_signal: Option<u64>,
    /// When the agent's program began, in milliseconds since 1970.
    pub began_ms: Option<u64>,
    /// How long it has run.
    pub elapsed_ms: Option<u64>,
    /// Bytes of the container's layer that the init wrote before the agent began.
    pub baseline_bytes: Option<u64>,
    /// Memory now.
    pub memory_bytes: Option<u64>,
    /// The most memory so far.
    pub peak_memory_bytes: Option<u64>,
    /// CPU time of all processes, in microseconds.
    pub cpu_us: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// Times the kernel ended a process for memory.
    pub out_of_memory: Option<u64>,
    /// Times a new process was refused.
    pub pids_refused: Option<u64>,
    /// Bytes of output.
    pub log_bytes: Option<u64>,
    /// Bytes of output that were not kept.
    pub log_dropped: Option<u64>,
    /// 1 if the control group holds and counts the container alone, 0 if its processes are measured.
    pub own_group: Option<u64>,
}

impl Record {
    fn numbers(&mut self) -> [(&'static str, &mut Option<u64>); 14] {
        [
            ("lone_submission", &mut self.lone_submission),
            ("outside_signal", &mut self.outside_signal),
            ("began_ms", &mut self.began_ms),
            ("elapsed_ms", &mut self.elapsed_ms),
            ("baseline_bytes", &mut self.baseline_bytes),
            ("memory_bytes", &mut self.memory_bytes),
            ("peak_memory_bytes", &mut self.peak_memory_bytes),
            ("cpu_us", &mut self.cpu_us),
            ("pids", &mut self.pids),
            ("out_of_memory", &mut self.out_of_memory),
            ("pids_refused", &mut self.pids_refused),
            ("log_bytes", &mut self.log_bytes),
            ("log_dropped", &mut self.log_dropped),
            ("own_group", &mut self.own_group),
        ]
    }

    /// The text of `usage` or `exit`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(status) = self.status {
            let _ = writeln!(text, "status {status}");
        }
        if let Some(reason) = self.reason {
            let _ = writeln!(text, "reason {}", reason.name());
        }
        for name in &self.empty {
            let _ = writeln!(text, "empty {name}");
        }
        for (name, value) in self.clone().numbers() {
            if let Some(value) = value {
                let _ = writeln!(text, "{name} {value}");
            }
        }
        text
    }

    /// Reads `usage` or `exit`. What is malformed or unknown is left out: the other side may be
    /// newer, and must not be able to stop this one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "status" => {
                    record.status = value.parse().ok().filter(|status| (0..=255).contains(status))
                }
                "reason" => record.reason = Reason::parse(value),
                "empty" if record.empty.len() < 16 => record.empty.push(value.to_string()),
                _ => {
                    if let Some((_, slot)) =
                        record.numbers().into_iter().find(|(name, _)| *name == key)
                    {
                        *slot = value.parse().ok();
                    }
                }
            }
        }
        record
    }
}

/// Who is to blame for an agent that was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Its image, or the agent itself.
    Image,
    /// This machine, its container engine or the harness.
    Machine,
}

/// Why the agent was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it is.
    pub blame: Blame,
    /// One sentence, safe to print.
    pub message: String,
}

impl Failure {
    /// A fault of the image.
    pub fn image(message: impl AsRef<str>) -> Self {
        Self { blame: Blame::Image, message: printable(message.as_ref()) }
    }

    /// A fault of the machine.
    pub fn machine(message: impl AsRef<str>) -> Self {
        Self { blame: Blame::Machine, message: printable(message.as_ref()) }
    }

    /// The same, where the machine is to blame whatever was seen: the image has no part in it.
    #[must_use]
    pub fn of_machine(self) -> Self {
        Self { blame: Blame::Machine, ..self }
    }

    /// The text of `failed`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let blame = match self.blame {
            Blame::Image => "image",
            Blame::Machine => "machine",
        };
        format!("{blame} {}\n", self.message)
    }

    /// Reads `failed`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim_end().split_once(' ') {
            Some(("image", message)) => Self::image(message),
            Some(("machine", message)) => Self::machine(message),
            _ => Self::machine(text.trim_end()),
        }
    }
}

/// The first line's worth of a text that an image chose, without what could move a terminal's
/// cursor or turn its writing round.
fn printable(text: &str) -> String {
    let mut short: String =
        text.chars().take(MESSAGE).map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MESSAGE).is_some() {
        short.push('…');
    }
    short
}

fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch {
            container: true,
            home: "/home".to_string(),
            workdir: Some("/work dir".to_string()),
            argv: vec!["bash".to_string(), "a=b\nc".to_string(), String::new()],
            env: vec![("KEY".to_string(), "a=b".to_string())],
            log: "/run.log".to_string(),
            log_limit: 5,
            forwards: vec![Forward {
                port: 5000,
                connections: 3,
                patience: Duration::from_secs(4),
                socket: "a:b.sock".to_string(),
            }],
            watch_memory_bytes: 6,
            watch_pids: 7,
            nofile: 8,
            backstop: Duration::from_secs(9),
            sample_every: Duration::from_millis(10),
            copy_data: true,
            privileged: true,
            trust: true,
            fsize: 10,
            shared_group: true,
            namespaces: Some(Namespaces {
                image: "/images/a".to_string(),
                storage: "/attempts/b".to_string(),
                overlay: true,
                uid_map: "0:1000:1,1:100000:65536".to_string(),
                gid_map: "0:1000:1".to_string(),
                binds: vec![
                    ("/data".to_string(), "home/data".to_string()),
                    ("/x".to_string(), String::new()),
                ],
                devices: vec!["/dev/nvidia0".to_string()],
                hosts: "127.0.0.1 localhost\n".to_string(),
                shm_bytes: 11,
                program: "/.init".to_string(),
            }),
        }
    }

    #[test]
    fn maps_of_users_are_read_and_what_is_none_is_refused() {
        let map = IdMap::parse("0:1000:1,1:100000:65536").unwrap();
        assert!(!map.is_single() && map.has(0) && map.has(65_536) && !map.has(65_537));
        assert_eq!(map.lines(), "0 1000 1\n1 100000 65536\n");
        assert!(IdMap::parse("0:7:1").unwrap().is_single());
        for bad in
            ["", "0", "0:1", "1:1:1", "0:1:0", "0:1:1:1", "0:-1:1", "0:1:1,", "0:1:4294967296"]
        {
            assert!(IdMap::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_launch_survives_its_text() {
        assert_eq!(Launch::parse(&launch().to_text().unwrap()).unwrap(), launch());
        let plain = Launch { argv: vec!["x".to_string()], ..Launch::default() };
        assert_eq!(Launch::parse(&plain.to_text().unwrap()).unwrap(), plain);
    }

    #[test]
    fn a_launch_that_is_not_ours_is_refused_by_name() {
        let zero = Launch { argv: vec!["a\0b".to_string()], ..Launch::default() };
        assert!(zero.to_text().unwrap_err().contains("`arg`"));
        for (text, named) in [
            ("", "no command"),
            ("arg", "`arg`"),
            ("arg=x\0nofile=many\0", "`nofile`"),
            ("arg=x\0forward=1:2:x:s\0", "`forward`"),
            ("arg=x\0env=NAME\0", "`env`"),
            ("arg=x\0bind_to=/a\0", "`bind_to`"),
            ("arg=x\0later=1\0", "`later`"),
        ] {
            let message = Launch::parse(text).unwrap_err();
            assert!(message.contains(named), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_record_survives_its_text() {
        let mut record = Record {
            status: Some(137),
            reason: Some(Reason::Processes),
            empty: vec!["logs".to_string(), "code".to_string()],
            ..Record::default()
        };
        for (number, (_, slot)) in (1..).zip(record.numbers()) {
            *slot = Some(number);
        }
        assert_eq!(Record::parse(&record.to_text()), record);
        for (reason, _) in Reason::ALL {
            assert_eq!(Reason::parse(reason.name()), Some(reason));
        }
    }

    #[test]
    fn a_hostile_record_loses_what_is_malformed_and_nothing_else() {
        let record = Record::parse(
            "status 999\nreason because\nlater 1\npids -1\nmemory_bytes 5\n\u{1b}[2J\nlog_bytes 18446744073709551616\n",
        );
        assert_eq!(record, Record { memory_bytes: Some(5), ..Record::default() });
        let many = "empty x\n".repeat(1000);
        assert_eq!(Record::parse(&many).empty.len(), 16);
    }

    #[test]
    fn a_failure_survives_its_text_and_is_safe_to_print() {
        for failure in [Failure::image("`/home` is a link"), Failure::machine("no room")] {
            assert_eq!(Failure::parse(&failure.to_text()), failure);
        }
        let forged = Failure::parse("image a\u{1b}[31m\nfinished\u{202e}");
        assert_eq!(forged.message, "a\u{fffd}[31m\u{fffd}finished\u{fffd}");
        assert_eq!(Failure::parse("old words").blame, Blame::Machine);
        assert_eq!(Failure::image("x".repeat(5000)).message.chars().count(), MESSAGE + 1);
    }
}
