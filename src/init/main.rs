//! The program that starts an agent, watches over it and ends with it.
//!
//! In a container it is PID 1: it prepares /home as MLE-bench's entrypoint does, starts the agent
//! as `nonroot`, keeps its output, reaps, forwards SIGTERM, and passes connections to
//! `localhost:5000` on to the harness over a Unix socket. Without containers it is the agent's
//! supervisor and does the same, and also looks after memory and processes. Everything happens on
//! one thread around one `poll`, so that an agent that uses up all processes cannot stop it.
//!
//! It is compiled by `build.rs` with rustc alone: the standard library only, statically linked.
//!
//! It is told what to do by the file `launch` in its control directory (see [`config`]) and answers
//! with the files `usage`, renewed all the time, and `exit` or `failed`, written once.

mod config;
mod forward;
mod gpus;
mod log;
mod measure;
mod setup;
mod sys;
mod validate;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::Config;
use forward::Forwarder;
use log::LogFile;
use measure::Meter;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let status = match words.as_slice() {
        ["run", control] => run(Path::new(control)),
        ["validate", file] => validate::post(Path::new(file)),
        ["gpus"] => gpus::report(),
        _ => {
            eprintln!("usage: medalist-init run CONTROL-DIR | validate FILE | gpus");
            2
        }
    };
    std::process::exit(status);
}

/// Runs the agent to its end and gives the exit status to end with.
fn run(control: &Path) -> i32 {
    let result = Config::read(&control.join("launch")).and_then(|config| {
        let started = Supervisor::start(control, &config)?;
        Ok(started.until_the_end())
    });
    match result {
        Ok(status) => status,
        Err(message) => {
            eprintln!("medalist-init: {message}");
            if let Err(error) = write_aside(&control.join("failed"), &message) {
                eprintln!("medalist-init: cannot say so to the harness: {error}");
            }
            125
        }
    }
}

/// Why the agent's processes were ended.
#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Exited,
    Memory,
    Processes,
    Killed,
    Backstop,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Killed => "killed",
            Self::Backstop => "backstop",
        }
    }
}

struct Supervisor<'a> {
    control: PathBuf,
    config: &'a Config,
    agent: i32,
    log: LogFile,
    forwarder: Forwarder,
    meter: Meter,
    signals: i32,
    began: Instant,
}

impl<'a> Supervisor<'a> {
    fn start(control: &Path, config: &'a Config) -> Result<Self, String> {
        if config.container {
            setup::prepare_home(control, config)?;
        } else {
            sys::become_supervisor();
        }
        let forwarder = Forwarder::open(control, config)?;
        let signals = sys::signal_pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let (read, write) = sys::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let log = LogFile::open(config, read)?;
        let agent = setup::spawn_agent(config, write)?;
        let meter = Meter::new(config);
        let supervisor = Self {
            control: control.to_path_buf(),
            config,
            agent,
            log,
            forwarder,
            meter,
            signals,
            began: Instant::now(),
        };
        Ok(supervisor)
    }

    fn until_the_end(mut self) -> i32 {
        let mut next_sample = Instant::now();
        let (reason, status) = loop {
            let now = Instant::now();
            if now >= next_sample {
                if let Some(reason) = self.sample() {
                    break (reason, 137);
                }
                next_sample = now + self.config.sample_every;
            }
            let mut fds =
                vec![sys::PollFd::readable(self.signals), sys::PollFd::readable(self.log.fd())];
            self.forwarder.wants(&mut fds);
            sys::poll(&mut fds, next_sample.saturating_duration_since(Instant::now()));
            self.log.read();
            self.forwarder.serve(&fds[2..]);
            if let Some(end) = self.signalled() {
                break end;
            }
        };
        self.end(reason, status)
    }

    /// Handles pending signals; gives the end if they bring it.
    fn signalled(&mut self) -> Option<(Reason, i32)> {
        let mut end = None;
        for signal in sys::pending_signals(self.signals) {
            match signal {
                sys::SIGTERM | sys::SIGINT => sys::kill(-self.agent, sys::SIGTERM),
                sys::SIGUSR2 => end = end.or(Some((Reason::Killed, 137))),
                _ => {}
            }
        }
        while let Some((pid, status)) = sys::reap() {
            if pid == self.agent {
                end = Some((Reason::Exited, status));
            }
        }
        end
    }

    fn sample(&mut self) -> Option<Reason> {
        let now = self.meter.sample();
        self.write_usage(&self.control.join("usage"), "");
        // Too many processes also fill the memory; the other way round it is rare.
        if self.config.watch_pids > 0 && now.pids > self.config.watch_pids {
            return Some(Reason::Processes);
        }
        if self.config.watch_memory_bytes > 0 && now.memory_bytes > self.config.watch_memory_bytes {
            return Some(Reason::Memory);
        }
        let over =
            self.config.backstop > Duration::ZERO && self.began.elapsed() > self.config.backstop;
        over.then_some(Reason::Backstop)
    }

    /// Ends every process, drains the output and writes the record of the end.
    fn end(mut self, reason: Reason, mut status: i32) -> i32 {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            if self.config.container {
                sys::kill(-1, sys::SIGKILL);
            } else {
                measure::kill_descendants();
            }
            let mut left = true;
            loop {
                match sys::reap_or_none_left() {
                    sys::Reaped::Child(pid, code)
                        if pid == self.agent && reason != Reason::Exited =>
                    {
                        status = code
                    }
                    sys::Reaped::Child(..) => {}
                    sys::Reaped::NotYet => break,
                    sys::Reaped::NoneLeft => {
                        left = false;
                        break;
                    }
                }
            }
            self.log.read();
            if !left || Instant::now() > patience {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.log.drain(Instant::now() + Duration::from_secs(2));
        self.meter.sample();
        let mut head = format!("status {status}\nreason {}\n", reason.name());
        for name in setup::COLLECTED {
            if setup::is_empty_directory(&self.config.home.join(name)) {
                head.push_str(&format!("empty {name}\n"));
            }
        }
        self.write_usage(&self.control.join("exit"), &head);
        status
    }

    fn write_usage(&self, path: &Path, head: &str) {
        let text = format!(
            "{head}{}log_bytes {}\nlog_dropped {}\nelapsed_ms {}\n",
            self.meter.lines(),
            self.log.bytes,
            self.log.dropped,
            self.began.elapsed().as_millis()
        );
        if let Err(error) = write_aside(path, &text) {
            eprintln!("medalist-init: cannot write `{}`: {error}", path.display());
        }
    }
}

/// Writes a file so that a reader sees the old or the new text, never a part.
fn write_aside(path: &Path, text: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text)?;
    std::fs::rename(&aside, path)
}
