//! What the harness asks for: records `key=value`, each ended by a zero byte, in the file `launch`.

use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Default)]
pub struct Config {
    /// PID 1 of a container, not a supervisor on the host.
    pub container: bool,
    /// Working directory of the agent and parent of its directories.
    pub home: PathBuf,
    /// Command and arguments of the agent.
    pub argv: Vec<String>,
    /// More environment for the agent.
    pub env: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
    pub log_limit: u64,
    /// Ports passed on to sockets in the control directory.
    pub forwards: Vec<Forward>,
    /// Supervisor only: the most memory of all its processes together, 0 for any.
    pub watch_memory_bytes: u64,
    /// Supervisor only: the most processes and threads, 0 for any.
    pub watch_pids: u64,
    /// Supervisor only: the most open files of a process, 0 to leave it.
    pub nofile: u64,
    /// Everything is ended after this time even if no harness is left to say so.
    pub backstop: Duration,
    pub sample_every: Duration,
    /// A directory to be copied to `home/data`.
    pub copy_data: Option<PathBuf>,
    /// Leaves `no_new_privs` off, for agents that were allowed to be privileged.
    pub privileged: bool,
}

pub struct Forward {
    /// 0 means the listening socket that came as standard input.
    pub port: u16,
    pub socket: String,
    /// Connections at a time.
    pub connections: usize,
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        let mut config = Self { sample_every: Duration::from_secs(1), ..Self::default() };
        for record in text.split('\0').filter(|record| !record.is_empty()) {
            let (key, value) = record
                .split_once('=')
                .ok_or_else(|| format!("`{record}` in `launch` has no `=`"))?;
            config.set(key, value)?;
        }
        if config.argv.is_empty() {
            return Err("`launch` names no command".to_string());
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("`{key}` in `launch` is `{value}`, expected a number"))
        };
        match key {
            "container" => self.container = number()? != 0,
            "home" => self.home = PathBuf::from(value),
            "arg" => self.argv.push(value.to_string()),
            "env" => {
                let (name, value) = value
                    .split_once('=')
                    .ok_or_else(|| format!("`env` in `launch` is `{value}`"))?;
                self.env.push((name.to_string(), value.to_string()));
            }
            "log" => self.log = PathBuf::from(value),
            "log_limit" => self.log_limit = number()?,
            "forward" => {
                let bad = || {
                    format!("`forward` in `launch` is `{value}`, expected port:connections:socket")
                };
                let mut parts = value.splitn(3, ':');
                let mut part = || parts.next().ok_or_else(bad);
                let port = part()?.parse().map_err(|_| bad())?;
                let connections = part()?.parse().map_err(|_| bad())?;
                let socket = part()?.to_string();
                self.forwards.push(Forward { port, socket, connections });
            }
            "watch_memory_bytes" => self.watch_memory_bytes = number()?,
            "watch_pids" => self.watch_pids = number()?,
            "nofile" => self.nofile = number()?,
            "backstop_s" => self.backstop = Duration::from_secs(number()?),
            "sample_ms" => self.sample_every = Duration::from_millis(number()?.max(10)),
            "copy_data" => self.copy_data = Some(PathBuf::from(value)),
            "privileged" => self.privileged = number()? != 0,
            _ => return Err(format!("`launch` has an unknown record `{key}`")),
        }
        Ok(())
    }
}
