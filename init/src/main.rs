//! The program that starts an agent, watches over it and ends with it.
//!
//! In a container it is PID 1: it prepares /home as MLE-bench's entrypoint does, starts the agent
//! as `nonroot`, keeps its output, reaps, forwards SIGTERM, and passes connections to
//! `localhost:5000` and other ports on to the harness over Unix sockets. Without containers it is the agent's
//! supervisor and does the same, and also looks after memory and processes. Everything happens on
//! one thread around one `poll`, so that an agent that uses up all processes cannot stop it.
//!
//! The standard library only, linked statically.
//!
//! It trusts nothing of the image: see [`dir`] and [`user`]. What it is told and what it answers is
//! in [`protocol`], through files of a control directory that it opens once and then holds.

mod cell;
mod dir;
mod forward;
mod gpus;
mod kernel;
mod log;
mod measure;
mod mounts;
#[expect(dead_code, unreachable_pub, reason = "the library shows the same file to the harness")]
mod protocol;
mod seccomp;
mod setup;
mod sys;
mod trust;
mod user;
mod validate;

use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use cell::Cell;
use dir::Dir;
use forward::Forwarder;
use log::LogFile;
use measure::Meter;
use protocol::{
    EXIT, FAILED, Failure, INNER_CONTROL, LAUNCH, LAUNCH_LIMIT, Launch, RESERVE, Reason, Record,
    STOP, USAGE,
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let status = match words.as_slice() {
        ["run", control] => run(|| Place::beside_the_harness(Path::new(control))),
        ["run"] => run(Place::on_stdin),
        ["contain", inner] => run(|| Place::in_a_container(inner)),
        ["map", pid, users, groups] => cell::map(pid, users, groups),
        ["enter", users, groups, command @ ..] => cell::enter(users, groups, command),
        ["probe", users, groups, storage, kind] => cell::probe(users, groups, storage, kind),
        ["validate", file] => validate::post(Path::new(file)),
        ["gpus"] => gpus::report(),
        _ => {
            eprintln!(
                "usage: medalist-init run [CONTROL-DIR] | contain NAME | validate FILE | gpus | enter USERS GROUPS COMMAND... \
                 | map PID USERS GROUPS | probe USERS GROUPS STORAGE overlay|copy"
            );
            2
        }
    };
    std::process::exit(status);
}

/// The directories that are held open.
struct Place {
    control: Dir,
    /// The container's root directory, and the one below it that only root may enter.
    container: Option<(Dir, Dir)>,
}

impl Place {
    fn beside_the_harness(control: &Path) -> Result<Self, Failure> {
        Ok(Self { control: Dir::open(control)?, container: None })
    }

    /// The directory is what stands in place of the input: every process of a container may read the
    /// arguments of its first process, which are this one's.
    fn on_stdin() -> Result<Self, Failure> {
        Ok(Self { control: Dir::on_stdin()?, container: None })
    }

    /// Below `/`, `name` was made by the engine after the image was; its like cannot be in it.
    fn in_a_container(name: &str) -> Result<Self, Failure> {
        let root = Dir::open(Path::new("/"))?;
        let inner = root.dir(name).map_err(Failure::of_machine)?;
        if inner.facts()?.uid() != 0 {
            return Err(Failure::machine(format!("`/{name}` does not belong to root")));
        }
        // What lies in it is the harness's, not the agent's.
        inner.set_mode(0o700)?;
        let control = inner.dir(INNER_CONTROL).map_err(Failure::of_machine)?;
        Ok(Self { control, container: Some((root, inner)) })
    }
}

/// Runs the agent to its end and gives the exit status to end with.
fn run(open: impl FnOnce() -> Result<Place, Failure>) -> i32 {
    setup::close_inherited();
    let place = match open() {
        Ok(place) => place,
        Err(failure) => {
            eprintln!("medalist-init: {}", failure.message);
            return 125;
        }
    };
    let started = place.control.text(LAUNCH, LAUNCH_LIMIT).map_err(Failure::of_machine);
    let launch = started.and_then(|text| Launch::parse(&text).map_err(Failure::machine));
    let result = launch.and_then(|launch| {
        let supervisor = Supervisor::start(&place, &launch)?;
        Ok(supervisor.until_the_end())
    });
    result.unwrap_or_else(|failure| {
        eprintln!("medalist-init: {}", failure.message);
        if let Err(error) = write_aside(&place.control, FAILED, &failure.to_text()) {
            eprintln!("medalist-init: cannot say so to the harness: {error}");
        }
        125
    })
}

struct Supervisor<'a> {
    control: &'a Dir,
    launch: &'a Launch,
    /// The agent, or the first process of the container around it.
    agent: i32,
    cell: Option<Cell>,
    log: LogFile,
    forwarder: Forwarder,
    meter: Meter,
    signals: i32,
    began: Instant,
    /// What the record says from the start on.
    fixed: Record,
}

impl<'a> Supervisor<'a> {
    fn start(place: &'a Place, launch: &'a Launch) -> Result<Self, Failure> {
        let no_pipe = |error| Failure::machine(format!("cannot make a pipe: {error}"));
        let control = &place.control;
        let mut baseline = match &place.container {
            Some((root, inner)) => setup::prepare(root, inner, control, launch)?,
            None => {
                sys::become_supervisor();
                0
            }
        };
        if let Some(namespaces) = &launch.namespaces {
            cell::isolate(namespaces)?;
        }
        let forwarder = Forwarder::open(control, launch)?;
        let signals = sys::signal_pipe().map_err(no_pipe)?;
        let (read, write) = sys::pipe().map_err(no_pipe)?;
        let inner = place.container.as_ref().map(|(_, inner)| inner);
        let log = LogFile::new(setup::open_log(inner, launch)?, launch.log_limit, read);
        let (agent, cell) = match (&launch.namespaces, &place.container) {
            (Some(namespaces), _) => {
                let cell = cell::start(launch, namespaces, control, write)?;
                baseline = cell.baseline;
                (cell.first, Some(cell))
            }
            (None, Some((root, _))) => {
                let container = setup::Container { root, maps: None };
                (setup::spawn_agent(launch, Some(&container), write)?, None)
            }
            (None, None) => (setup::spawn_agent(launch, None, write)?, None),
        };
        // After the start, so that the agent does not inherit it: each connection takes two.
        sys::raise_open_files();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let fixed = Record {
            began_ms: u64::try_from(now.as_millis()).ok(),
            baseline_bytes: Some(baseline),
            ..Record::default()
        };
        let (meter, began) = (Meter::new(launch), Instant::now());
        Ok(Self { control, launch, agent, cell, log, forwarder, meter, signals, began, fixed })
    }

    fn until_the_end(mut self) -> i32 {
        let every = match self.launch.sample_every {
            Duration::ZERO if self.meter.is_held_by_kernel() || !self.launch.container => {
                Duration::from_secs(1)
            }
            // What nobody holds is looked at often.
            Duration::ZERO => Duration::from_millis(100),
            every => every.max(Duration::from_millis(10)),
        };
        let mut next_sample = Instant::now();
        let (reason, status) = loop {
            let now = Instant::now();
            if now >= next_sample {
                if let Some(reason) = self.sample() {
                    break (reason, 137);
                }
                next_sample = now + every;
            }
            let mut fds =
                vec![sys::PollFd::readable(self.signals), sys::PollFd::readable(self.log.fd())];
            self.forwarder.wants(&mut fds);
            sys::poll(&mut fds, next_sample.saturating_duration_since(Instant::now()));
            if fds[1].revents != 0 {
                self.log.read();
            }
            self.forwarder.serve(&fds[2..]);
            if fds[0].revents != 0
                && let Some(end) = self.signalled()
            {
                break end;
            }
        };
        self.end(reason, status)
    }

    /// Handles pending signals; gives the end if they bring it.
    fn signalled(&mut self) -> Option<(Reason, i32)> {
        let mut end = None;
        for signal in sys::pending_signals(self.signals) {
            if signal == sys::SIGCHLD {
                continue;
            }
            // The harness says why before it signals; whoever else does so is not the agent.
            if !matches!(self.control.look(STOP), Ok(Some(_))) {
                self.fixed.outside_signal = u64::try_from(signal).ok();
            }
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
        if let Err(error) = write_aside(self.control, USAGE, &self.record().to_text()) {
            eprintln!("medalist-init: cannot write `{USAGE}`: {error}");
        }
        let launch = self.launch;
        let over = launch.backstop > Duration::ZERO && self.began.elapsed() > launch.backstop;
        if self.meter.is_held_by_kernel() {
            return over.then_some(Reason::Backstop);
        }
        // Too many processes also fill the memory; the other way round it is rare.
        if launch.watch_pids > 0 && now.pids > launch.watch_pids {
            return Some(Reason::Processes);
        }
        if launch.watch_memory_bytes > 0 && now.memory_bytes > launch.watch_memory_bytes {
            return Some(Reason::Memory);
        }
        over.then_some(Reason::Backstop)
    }

    /// Ends every process, drains the output and writes the record of the end.
    fn end(mut self, reason: Reason, mut status: i32) -> i32 {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            if self.launch.container {
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
        if self.cell.as_mut().is_some_and(|cell| cell.was_full(self.launch.watch_pids)) {
            self.fixed.pids_refused = Some(1);
        }
        let home = Path::new(&self.launch.home);
        let record = Record {
            status: Some(status),
            reason: Some(reason),
            empty: setup::empty_directories(home),
            lone_submission: Some(u64::from(setup::is_lone_submission(home))),
            ..self.record()
        };
        if let Err(error) = write_last_words(self.control, &record.to_text()) {
            eprintln!("medalist-init: cannot write `{EXIT}`: {error}");
        }
        status
    }

    fn record(&self) -> Record {
        let measured = self.meter.record();
        Record {
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).ok(),
            log_bytes: Some(self.log.bytes),
            log_dropped: Some(self.log.dropped),
            outside_signal: self.fixed.outside_signal,
            began_ms: self.fixed.began_ms,
            baseline_bytes: self.fixed.baseline_bytes,
            pids_refused: self.fixed.pids_refused.or(measured.pids_refused),
            ..measured
        }
    }
}

/// Writes a file so that a reader sees the old or the new text, never a part.
fn write_aside(control: &Dir, name: &str, text: &str) -> std::io::Result<()> {
    let aside = format!("{name}.new");
    let mut file = control
        .new_file(&aside, 0o644)
        .map_err(|failure| std::io::Error::other(failure.message))?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(control.at(&aside), control.at(name))
}

/// Writes the account of the end, into the room that was set aside for it where there is no other.
fn write_last_words(control: &Dir, text: &str) -> std::io::Result<()> {
    write_aside(control, EXIT, text).or_else(|_| {
        let mut options = std::fs::File::options();
        let file = control.plain_file(RESERVE, options.write(true));
        let file = file.map_err(|failure| std::io::Error::other(failure.message))?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)?;
        std::fs::rename(control.at(RESERVE), control.at(EXIT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_fit_into_the_room_set_aside_where_there_is_no_other() {
        let path = std::env::temp_dir().join(format!("medalist-words-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let control = Dir::open(&path).unwrap();
        write_last_words(&control, "status 0\n").unwrap();
        assert_eq!(control.text(EXIT, 100).unwrap(), "status 0\n");
        // Nothing can be made beside it, as on a disk that has run full.
        std::fs::create_dir(path.join("exit.new")).unwrap();
        std::fs::remove_file(path.join(EXIT)).unwrap();
        assert!(write_last_words(&control, "status 1\n").is_err());
        std::fs::write(path.join(RESERVE), [b'\n'; 4096]).unwrap();
        write_last_words(&control, "status 1\n").unwrap();
        assert_eq!(control.text(EXIT, 100).unwrap(), "status 1\n");
        std::fs::remove_dir_all(path).unwrap();
    }
}
