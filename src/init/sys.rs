//! The few system calls that the standard library has no safe name for. All `unsafe` of the program
//! is in this file.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::raw::{c_char, c_int, c_ulong};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

pub const SIGINT: i32 = 2;
pub const SIGKILL: i32 = 9;
pub const SIGUSR2: i32 = 12;
pub const SIGTERM: i32 = 15;
pub const SIGCHLD: i32 = 17;
pub const SIGSTOP: i32 = 19;

const SIGHUP: i32 = 1;
const SIG_IGN: usize = 1;
const WNOHANG: i32 = 1;
const ECHILD: i32 = 10;
const O_CLOEXEC: i32 = 0o2_000_000;
const O_NONBLOCK: i32 = 0o4_000;
const PR_SET_PDEATHSIG: i32 = 1;
const PR_SET_CHILD_SUBREAPER: i32 = 36;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
const RLIMIT_NOFILE: i32 = 7;

pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;

#[repr(C)]
pub struct PollFd {
    pub fd: c_int,
    pub events: i16,
    pub revents: i16,
}

#[repr(C)]
struct Rlimit {
    current: c_ulong,
    max: c_ulong,
}

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
    #[link_name = "poll"]
    fn c_poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    #[link_name = "kill"]
    fn c_kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut u8, count: usize) -> isize;
    fn write(fd: c_int, buffer: *const u8, count: usize) -> isize;
    fn fcntl(fd: c_int, command: c_int, argument: c_int) -> c_int;
    #[link_name = "setsid"]
    fn c_setsid() -> c_int;
    fn setgroups(count: usize, groups: *const u32) -> c_int;
    fn setresgid(real: u32, effective: u32, saved: u32) -> c_int;
    fn setresuid(real: u32, effective: u32, saved: u32) -> c_int;
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int;
    fn getrlimit(resource: c_int, limit: *mut Rlimit) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Rlimit) -> c_int;
    #[link_name = "umask"]
    fn c_umask(mask: u32) -> u32;
    #[link_name = "sysconf"]
    fn c_sysconf(name: c_int) -> i64;
    fn chown(path: *const c_char, owner: u32, group: u32) -> c_int;
}

impl PollFd {
    pub fn readable(fd: RawFd) -> Self {
        Self { fd, events: POLLIN, revents: 0 }
    }
}

/// Waits until one of `fds` is ready or the time is over.
pub fn poll(fds: &mut [PollFd], timeout: Duration) {
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
    // SAFETY: the pointer and the count describe `fds`, whose layout is that of `struct pollfd`.
    let count = unsafe { c_poll(fds.as_mut_ptr(), fds.len() as c_ulong, milliseconds) };
    if count < 0 {
        for fd in fds {
            fd.revents = 0;
        }
    }
}

/// The end of the pipe that the signal handler writes to.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(number: c_int) {
    let byte = u8::try_from(number).unwrap_or(0);
    // SAFETY: `write` is async-signal-safe and the byte lives on this stack frame. The pipe does
    // not block; when it is full, a wake-up is pending already.
    unsafe { write(SIGNAL_PIPE.load(Ordering::Relaxed), &raw const byte, 1) };
}

/// Makes signals readable: gives the descriptor from which [`pending_signals`] reads.
pub fn signal_pipe() -> io::Result<RawFd> {
    let (read, write) = raw_pipe(O_CLOEXEC | O_NONBLOCK)?;
    SIGNAL_PIPE.store(write, Ordering::Relaxed);
    for number in [SIGTERM, SIGINT, SIGUSR2, SIGCHLD] {
        let handler: extern "C" fn(c_int) = on_signal;
        // SAFETY: the handler is a C function of the right type that only calls async-signal-safe
        // functions.
        unsafe { signal(number, handler as usize) };
    }
    // SAFETY: ignoring a signal has no preconditions.
    unsafe { signal(SIGHUP, SIG_IGN) };
    Ok(read)
}

pub fn pending_signals(fd: RawFd) -> Vec<i32> {
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer is as long as said. The descriptor does not block.
    let count = unsafe { read(fd, buffer.as_mut_ptr(), buffer.len()) };
    let count = usize::try_from(count).unwrap_or(0);
    buffer[..count].iter().map(|byte| i32::from(*byte)).collect()
}

fn raw_pipe(flags: i32) -> io::Result<(RawFd, RawFd)> {
    let mut fds = [0; 2];
    // SAFETY: `pipe2` writes two descriptors to the array.
    if unsafe { pipe2(fds.as_mut_ptr(), flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((fds[0], fds[1]))
}

/// A pipe whose reading end does not block.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    const F_SETFL: i32 = 4;
    let (read, write) = raw_pipe(O_CLOEXEC)?;
    // SAFETY: the descriptors were just made and belong to nobody else.
    unsafe {
        fcntl(read, F_SETFL, O_NONBLOCK);
        Ok((OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write)))
    }
}

/// The descriptor that came as standard input.
pub fn standard_input() -> OwnedFd {
    // SAFETY: nothing else in this program uses standard input.
    unsafe { OwnedFd::from_raw_fd(0) }
}

pub fn kill(pid: i32, number: i32) {
    // SAFETY: sending a signal has no memory effects here; a target that is gone is no failure.
    unsafe { c_kill(pid, number) };
}

pub enum Reaped {
    /// A child and its status: 0 to 255, or 128 + n for signal n.
    Child(i32, i32),
    /// Children live.
    NotYet,
    /// There are no children.
    NoneLeft,
}

pub fn reap_or_none_left() -> Reaped {
    let mut status = 0;
    // SAFETY: `waitpid` writes one integer.
    let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
    if pid > 0 {
        let signal = status & 0x7f;
        let code = if signal == 0 { (status >> 8) & 0xff } else { 128 + signal };
        return Reaped::Child(pid, code);
    }
    let gone = pid < 0 && io::Error::last_os_error().raw_os_error() == Some(ECHILD);
    if gone { Reaped::NoneLeft } else { Reaped::NotYet }
}

pub fn reap() -> Option<(i32, i32)> {
    match reap_or_none_left() {
        Reaped::Child(pid, status) => Some((pid, status)),
        Reaped::NotYet | Reaped::NoneLeft => None,
    }
}

/// A session of its own, to which all orphans among its descendants come.
pub fn become_supervisor() {
    // SAFETY: neither call touches memory; `setsid` fails only in a group leader, which then stays
    // one.
    unsafe {
        c_setsid();
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
}

/// What the agent's process becomes between `fork` and `exec`.
pub struct Credentials {
    /// User, group and more groups; `None` keeps the supervisor's.
    pub ids: Option<(u32, u32, Vec<u32>)>,
    pub no_new_privileges: bool,
    pub nofile: u64,
}

impl Credentials {
    pub fn apply(&self) -> io::Result<()> {
        let check =
            |result: c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: plain system calls; the pointers are to values that live through the calls.
        unsafe {
            c_setsid();
            if self.nofile > 0 {
                let mut limit = Rlimit { current: 0, max: 0 };
                check(getrlimit(RLIMIT_NOFILE, &raw mut limit))?;
                // Nobody here may raise what the engine has set; a smaller limit than asked for is
                // kept.
                let most = self.nofile.min(limit.max);
                let limit = Rlimit { current: most, max: most };
                check(setrlimit(RLIMIT_NOFILE, &raw const limit))?;
            }
            if let Some((user, group, groups)) = &self.ids {
                check(setgroups(groups.len(), groups.as_ptr()))?;
                check(setresgid(*group, *group, *group))?;
                check(setresuid(*user, *user, *user))?;
            }
            if self.no_new_privileges {
                check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
            check(prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong, 0, 0, 0))
        }
    }
}

pub fn before_exec(command: &mut std::process::Command, credentials: Credentials) {
    use std::os::unix::process::CommandExt;
    // SAFETY: `apply` makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || credentials.apply()) };
}

pub fn umask(mask: u32) {
    // SAFETY: changes an attribute of this process only.
    unsafe { c_umask(mask) };
}

/// Clock ticks a second and bytes a page, as /proc counts.
pub fn proc_units() -> (u64, u64) {
    const SC_CLK_TCK: i32 = 2;
    const SC_PAGESIZE: i32 = 30;
    // SAFETY: reads two constants.
    let (ticks, page) = unsafe { (c_sysconf(SC_CLK_TCK), c_sysconf(SC_PAGESIZE)) };
    (u64::try_from(ticks).unwrap_or(100).max(1), u64::try_from(page).unwrap_or(4096))
}

pub fn change_owner(path: &std::path::Path, user: u32, group: u32) {
    use std::os::unix::ffi::OsStrExt;
    if let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: the path is a terminated string.
        unsafe { chown(path.as_ptr(), user, group) };
    }
}
