//! A container without an engine: user, mount, process, network, IPC, host name and control group
//! namespaces that the init makes itself, without being root.
//!
//! Three processes take part. The supervisor, which the harness starts, enters all namespaces but
//! those of mounts and processes: it sees this machine, listens in the container's network, measures
//! and kills. Its child is the container's first process: it builds the file systems, forgets the
//! rest, starts the agent and reaps. The agent is in all of them. The control directory has no name
//! in the container, and neither of the two is to be seen or signalled from it, but for the first
//! process, to which the kernel delivers only a SIGTERM that goes back to the agent.
//!
//! Where the machine gives this user a range of numbers, root of the container is the user and the
//! agent another number of the range. Where it does not, there is one number for both, and the agent
//! gets a user namespace of its own below the container's, from which it has no rights over it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::dir::Dir;
use crate::kernel;
use crate::mounts;
use crate::protocol::{Failure, IdMap, Launch, Namespaces};
use crate::setup;
use crate::sys;

/// The supervisor's side of a container.
pub(crate) struct Cell {
    /// The container's first process.
    pub(crate) first: i32,
    /// Bytes that the init wrote before the agent began.
    pub(crate) baseline: u64,
    report: File,
}

impl Cell {
    /// Whether the agent was at its limit of processes when it ended; nothing if nobody could tell.
    pub(crate) fn was_full(&mut self, limit: u64) -> bool {
        let mut text = String::new();
        let _ = self.report.read_to_string(&mut text);
        let left = text.lines().find_map(|line| line.strip_prefix("left ")?.parse::<u64>().ok());
        limit > 0 && left.is_some_and(|left| left >= limit)
    }
}

fn maps(namespaces: &Namespaces) -> Result<(IdMap, IdMap), Failure> {
    let both = IdMap::parse(&namespaces.uid_map)
        .and_then(|users| Ok((users, IdMap::parse(&namespaces.gid_map)?)));
    both.map_err(Failure::machine)
}

/// Makes a user namespace with these maps and becomes its root.
fn become_root_of_own(users: &IdMap, groups: &IdMap) -> io::Result<()> {
    if users.is_single() && groups.is_single() {
        kernel::unshare(kernel::CLONE_NEWUSER)?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", users.lines())?;
        return std::fs::write("/proc/self/gid_map", groups.lines());
    }
    // Only a process outside may write such a map, or the program that the system has for it.
    let text = |map: &IdMap| map.lines().trim_end().replace(' ', ":").replace('\n', ",");
    let mut helper = Command::new("/proc/self/exe")
        .args(["map", &std::process::id().to_string(), &text(users), &text(groups)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    kernel::unshare(kernel::CLONE_NEWUSER)?;
    drop(helper.stdin.take().map(|mut go| go.write_all(b"go")));
    let ended = helper.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_string();
    Err(io::Error::other(format!("the users could not be mapped: {said}")))
}

/// `map PID USERS GROUPS`: maps the users of a process that has made a user namespace, once it says
/// so.
pub(crate) fn map(pid: &str, users: &str, groups: &str) -> i32 {
    let done = || -> Result<(), String> {
        let mut go = [0; 2];
        io::stdin().read_exact(&mut go).map_err(|error| error.to_string())?;
        for (map, file, program) in
            [(users, "uid_map", "newuidmap"), (groups, "gid_map", "newgidmap")]
        {
            let lines = IdMap::parse(map)?.lines();
            if kernel::own_ids().0 == 0 {
                let path = format!("/proc/{pid}/{file}");
                std::fs::write(&path, lines).map_err(|error| format!("`{path}`: {error}"))?;
                continue;
            }
            let status = Command::new(program).arg(pid).args(lines.split_whitespace()).status();
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => return Err(format!("`{program}` ended with {status}")),
                Err(error) => return Err(format!("cannot run `{program}`: {error}")),
            }
        }
        Ok(())
    };
    match done() {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            1
        }
    }
}

/// `enter USERS GROUPS PROGRAM ARGUMENTS`: runs a program of the harness as root of a user namespace
/// with these maps, so that it reaches what containers with the same maps have left.
pub(crate) fn enter(users: &str, groups: &str, command: &[&str]) -> i32 {
    let done = || -> Result<(), String> {
        let (users, groups) = (IdMap::parse(users)?, IdMap::parse(groups)?);
        become_root_of_own(&users, &groups).map_err(|error| error.to_string())?;
        let (program, arguments) = command.split_first().ok_or("names no program")?;
        Err(Command::new(program).args(arguments).exec().to_string())
    };
    eprintln!("medalist-init: {}", done().err().unwrap_or_default());
    125
}

/// `probe USERS GROUPS STORAGE KIND`: makes all namespaces and the file systems in them, with an
/// `overlay` or without; prints what this machine does not allow, or nothing.
pub(crate) fn probe(users: &str, groups: &str, storage: &str, kind: &str) -> i32 {
    let namespaces = Namespaces {
        storage: storage.to_string(),
        image: format!("{storage}/image"),
        overlay: kind == "overlay",
        uid_map: users.to_string(),
        gid_map: groups.to_string(),
        ..Namespaces::default()
    };
    let tried = isolate(&namespaces)
        .and_then(|single| in_a_child(|| mounts::enter(&namespaces, single).map(drop)));
    match tried {
        Ok(said) => println!("{said}"),
        Err(failure) => println!("{}", failure.message),
    }
    0
}

/// Does something in a first process of its own; gives what went wrong.
fn in_a_child(work: impl FnOnce() -> Result<(), Failure>) -> Result<String, Failure> {
    let broken = |error: io::Error| Failure::machine(format!("cannot start a process: {error}"));
    kernel::unshare(kernel::CLONE_NEWPID).map_err(broken)?;
    let (read, write) = sys::pipe().map_err(broken)?;
    let child = kernel::fork().map_err(broken)?;
    if child == 0 {
        let mut report = File::from(write);
        let done = kernel::unshare(kernel::CLONE_NEWNS).map_err(broken).and_then(|()| work());
        let failed = done.err().map(|failure| failure.message).unwrap_or_default();
        let _ = report.write_all(failed.as_bytes());
        std::process::exit(0);
    }
    drop(write);
    let mut said = String::new();
    let mut report = blocking(read);
    let _ = report.read_to_string(&mut said);
    while !matches!(sys::reap_or_none_left(), sys::Reaped::NoneLeft) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(said)
}

/// A pipe's end that waits.
fn blocking(end: OwnedFd) -> File {
    sys::wait_on(end.as_raw_fd());
    File::from(end)
}

/// Enters all namespaces that the supervisor shares with the container, and those of processes for
/// its children; true if all users are one.
pub(crate) fn isolate(namespaces: &Namespaces) -> Result<bool, Failure> {
    let (users, groups) = maps(namespaces)?;
    let not = |what: &str| {
        let what = what.to_string();
        move |error: io::Error| {
            Failure::machine(format!("this machine does not allow {what} here: {error}"))
        }
    };
    become_root_of_own(&users, &groups).map_err(not("a user namespace"))?;
    let all = [
        (kernel::CLONE_NEWNET, "a network namespace"),
        (kernel::CLONE_NEWIPC, "an IPC namespace"),
        (kernel::CLONE_NEWUTS, "a namespace of host names"),
        (kernel::CLONE_NEWCGROUP, "a namespace of control groups"),
    ];
    for (flag, what) in all {
        kernel::unshare(flag).map_err(not(what))?;
    }
    kernel::loopback_up().map_err(not("its loopback"))?;
    Ok(users.is_single())
}

/// Starts the container's first process and waits until the agent runs.
pub(crate) fn start(
    launch: &Launch,
    namespaces: &Namespaces,
    control: &Dir,
    output: OwnedFd,
) -> Result<Cell, Failure> {
    let broken = |error: io::Error| Failure::machine(format!("cannot start a process: {error}"));
    kernel::unshare(kernel::CLONE_NEWPID).map_err(broken)?;
    let (read, write) = sys::pipe().map_err(broken)?;
    let first = kernel::fork().map_err(broken)?;
    if first == 0 {
        drop(read);
        std::process::exit(first_process(launch, namespaces, control, output, File::from(write)));
    }
    drop((write, output));
    let mut report = blocking(read);
    let mut line = Vec::new();
    let mut byte = [0];
    // One byte at a time: what comes after the line is read at the end.
    while report.read(&mut byte).is_ok_and(|count| count == 1) && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    match line.split_once(' ') {
        Some(("began", bytes)) => Ok(Cell { first, baseline: bytes.parse().unwrap_or(0), report }),
        Some(_) => Err(Failure::parse(&line)),
        None => Err(Failure::machine("the container's first process ended before it began")),
    }
}

/// What the container's first process does, from its start to its exit status.
fn first_process(
    launch: &Launch,
    namespaces: &Namespaces,
    control: &Dir,
    output: OwnedFd,
    mut report: File,
) -> i32 {
    kernel::end_with_parent();
    sys::become_supervisor();
    let started = build(launch, namespaces, control, output);
    let (agent, signals) = match started {
        Ok((agent, baseline, signals)) => {
            if writeln!(report, "began {baseline}").is_err() {
                return 125;
            }
            (agent, signals)
        }
        Err(failure) => {
            let _ = report.write_all(failure.to_text().as_bytes());
            return 125;
        }
    };
    loop {
        let mut fds = [sys::PollFd::readable(signals), sys::PollFd::readable(report.as_raw_fd())];
        // Only a supervisor that is gone wakes it here: the pipe cannot be read.
        fds[1].events = 0;
        sys::poll(&mut fds, Duration::from_secs(60));
        if fds[1].revents != 0 {
            return 125;
        }
        for signal in sys::pending_signals(signals) {
            if signal == sys::SIGTERM {
                sys::kill(-agent, sys::SIGTERM);
            }
        }
        while let Some((pid, status)) = sys::reap() {
            if pid == agent {
                // The kernel ends all others with this process.
                let _ = writeln!(report, "left {}", threads());
                return status;
            }
        }
    }
}

/// Processes and threads of the container.
fn threads() -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
        .sum()
}

fn build(
    launch: &Launch,
    namespaces: &Namespaces,
    control: &Dir,
    output: OwnedFd,
) -> Result<(i32, u64, i32), Failure> {
    let broken = |error: io::Error| Failure::machine(format!("cannot make the container: {error}"));
    let (users, groups) = maps(namespaces)?;
    kernel::unshare(kernel::CLONE_NEWNS).map_err(broken)?;
    let (root, storage) = mounts::enter(namespaces, users.is_single())?;
    // The data that are to be copied lie in a directory that is closed before the agent begins.
    let inner = namespaces.program.trim_start_matches('/').trim_end_matches("-init");
    let inner = if launch.copy_data { root.dir(inner)? } else { Dir::open(Path::new("/"))? };
    setup::prepare(&root, &inner, control, launch)?;
    if launch.copy_data {
        inner.set_mode(0o700)?;
    }
    let home = root.dir("home")?;
    for name in setup::COLLECTED {
        mounts::copy_up(&home.dir(name)?, setup::DEPTH);
    }
    let baseline = mounts::tree_bytes(&storage.at("upper"));
    let signals = sys::signal_pipe().map_err(broken)?;
    let container = setup::Container { root: &root, maps: Some((&users, &groups)) };
    let agent = setup::spawn_agent(launch, Some(&container), output)?;
    Ok((agent, baseline, signals))
}
