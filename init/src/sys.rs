//! The few system calls that the standard library has no safe name for. All `unsafe` of the program
//! is in this file and in `kernel.rs`.
#![expect(unsafe_code, reason = "system calls without a safe name in the standard library")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::raw::{c_int, c_long, c_ulong};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGUSR2: i32 = 12;
pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGCHLD: i32 = 17;
pub(crate) const SIGSTOP: i32 = 19;

const SIGHUP: i32 = 1;
const SIG_IGN: usize = 1;
const WNOHANG: i32 = 1;
const ECHILD: i32 = 10;
const O_CLOEXEC: i32 = 0o2_000_000;
pub(crate) const O_NONBLOCK: i32 = 0o4_000;
const PR_SET_PDEATHSIG: i32 = 1;
const PR_SET_CHILD_SUBREAPER: i32 = 36;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
const PR_GET_NO_NEW_PRIVS: i32 = 39;
const PR_CAPBSET_READ: i32 = 23;
const PR_CAPBSET_DROP: i32 = 24;
const PR_CAP_AMBIENT: i32 = 47;
const PR_CAP_AMBIENT_IS_SET: c_ulong = 1;
const PR_CAP_AMBIENT_CLEAR_ALL: c_ulong = 4;
/// More capabilities than a kernel numbers.
const CAPABILITIES: c_ulong = 64;
const RLIMIT_FSIZE: i32 = 1;
const RLIMIT_CORE: i32 = 4;
const RLIMIT_NPROC: i32 = 6;
const RLIMIT_NOFILE: i32 = 7;
const O_PATH: c_ulong = 0o10_000_000;
/// What [`Credentials::apply`] gives when the kernel shows other credentials than were asked for:
/// ENOTRECOVERABLE, which none of its calls gives.
pub(crate) const SWITCH_FAILED: i32 = 131;

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod flags {
    pub(crate) const O_DIRECTORY: i32 = 0o200_000;
    pub(crate) const O_NOFOLLOW: i32 = 0o400_000;
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
mod flags {
    pub(crate) const O_DIRECTORY: i32 = 0o40_000;
    pub(crate) const O_NOFOLLOW: i32 = 0o100_000;
}
pub(crate) use flags::{O_DIRECTORY, O_NOFOLLOW};

pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLOUT: i16 = 4;

#[repr(C)]
pub(crate) struct PollFd {
    pub(crate) fd: c_int,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
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
    #[link_name = "close"]
    fn c_close(fd: c_int) -> c_int;
    fn fchdir(fd: c_int) -> c_int;
    fn getrusage(who: c_int, usage: *mut c_long) -> c_int;
    fn getresuid(real: *mut u32, effective: *mut u32, saved: *mut u32) -> c_int;
    fn getresgid(real: *mut u32, effective: *mut u32, saved: *mut u32) -> c_int;
    fn getgroups(count: c_int, groups: *mut u32) -> c_int;
    fn capset(header: *mut CapabilityHeader, data: *const [CapabilitySets; 2]) -> c_int;
    fn capget(header: *mut CapabilityHeader, data: *mut [CapabilitySets; 2]) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

impl PollFd {
    pub(crate) fn readable(fd: RawFd) -> Self {
        Self { fd, events: POLLIN, revents: 0 }
    }
}

/// Waits until one of `fds` is ready or the time is over.
pub(crate) fn poll(fds: &mut [PollFd], timeout: Duration) {
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
pub(crate) fn signal_pipe() -> io::Result<RawFd> {
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

pub(crate) fn pending_signals(fd: RawFd) -> Vec<i32> {
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
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    const F_SETFL: i32 = 4;
    let (read, write) = raw_pipe(O_CLOEXEC)?;
    // SAFETY: the descriptors were just made and belong to nobody else.
    unsafe {
        fcntl(read, F_SETFL, O_NONBLOCK);
        Ok((OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write)))
    }
}

/// Lets reads of a descriptor wait.
pub(crate) fn wait_on(fd: RawFd) {
    const F_SETFL: i32 = 4;
    // SAFETY: changes a flag of a descriptor that the caller holds.
    unsafe { fcntl(fd, F_SETFL, 0) };
}

/// A listening socket that came as standard input or, as `number` 1, as standard output.
pub(crate) fn inherited(number: u8) -> OwnedFd {
    // SAFETY: a supervisor of agents neither reads the one nor writes to the other, and takes each once.
    unsafe { OwnedFd::from_raw_fd(RawFd::from(number)) }
}

pub(crate) fn kill(pid: i32, number: i32) {
    // SAFETY: sending a signal has no memory effects here; a target that is gone is no failure.
    unsafe { c_kill(pid, number) };
}

pub(crate) enum Reaped {
    /// A child and its status: 0 to 255, or 128 + n for signal n.
    Child(i32, i32),
    /// Children live.
    NotYet,
    /// There are no children.
    NoneLeft,
}

pub(crate) fn reap_or_none_left() -> Reaped {
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

pub(crate) fn reap() -> Option<(i32, i32)> {
    match reap_or_none_left() {
        Reaped::Child(pid, status) => Some((pid, status)),
        Reaped::NotYet | Reaped::NoneLeft => None,
    }
}

/// A session of its own, to which all orphans among its descendants come.
pub(crate) fn become_supervisor() {
    // SAFETY: neither call touches memory; `setsid` fails only in a group leader, which then stays
    // one.
    unsafe {
        c_setsid();
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
}

/// Lets this process open as many files as it may.
pub(crate) fn raise_open_files() {
    let mut limit = Rlimit { current: 0, max: 0 };
    // SAFETY: plain system calls; the pointers are to a value that lives through them. A limit that
    // cannot be raised is kept.
    unsafe {
        if getrlimit(RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.current = limit.max;
            setrlimit(RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// What the agent's process becomes between `fork` and `exec`.
pub(crate) struct Credentials {
    /// User, group and all groups; `None` keeps the supervisor's.
    pub(crate) ids: Option<(u32, u32, Vec<u32>)>,
    pub(crate) no_new_privileges: bool,
    pub(crate) nofile: u64,
    /// Directories to start in: the first that the agent may enter.
    pub(crate) workdirs: Vec<OwnedFd>,
    /// What an engine sets for its containers, where there is none.
    pub(crate) without_engine: Option<WithoutEngine>,
}

/// What keeps an agent in, beside its user, where no engine does.
pub(crate) struct WithoutEngine {
    /// The most processes and threads of its user in its namespace, 0 for any.
    pub(crate) nproc: u64,
    /// Bytes of its largest file, 0 for any.
    pub(crate) fsize: u64,
    /// A user namespace of its own, where all users of the container are one.
    pub(crate) own_user: Option<crate::kernel::OwnUser>,
    pub(crate) filter: Vec<crate::seccomp::Instruction>,
}

/// Lowers a limit for good, as far as it is not lower already.
unsafe fn lower(resource: c_int, most: u64) -> io::Result<()> {
    let mut limit = Rlimit { current: 0, max: 0 };
    // SAFETY: the pointers are to a value that lives through the calls.
    unsafe {
        check(getrlimit(resource, &raw mut limit))?;
        let most = most.min(limit.max);
        limit = Rlimit { current: most, max: most };
        check(setrlimit(resource, &raw const limit))
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn must_be(held: bool) -> io::Result<()> {
    if held { Ok(()) } else { Err(io::Error::from_raw_os_error(SWITCH_FAILED)) }
}

impl Credentials {
    /// Runs in the agent's process: system calls only, no allocation that could wait for a lock.
    pub(crate) fn apply(&self) -> io::Result<()> {
        // SAFETY: plain system calls; the pointers are to values that live through the calls.
        unsafe {
            c_setsid();
            if self.nofile > 0 {
                // Nobody here may raise what the engine has set; a smaller limit than asked for is
                // kept.
                lower(RLIMIT_NOFILE, self.nofile)?;
            }
            if let Some(own) = self.own_user() {
                own.enter()?;
            }
            if self.ids.is_some() && self.no_new_privileges {
                for capability in 0..CAPABILITIES {
                    if prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 {
                        check(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))?;
                    }
                }
            }
            if let Some((user, group, groups)) = &self.ids {
                // A namespace of one user has no groups to choose from.
                if self.own_user().is_none() {
                    check(setgroups(groups.len(), groups.as_ptr()))?;
                }
                check(setresgid(*group, *group, *group))?;
                check(setresuid(*user, *user, *user))?;
                prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
                let none = [CapabilitySets::default(); 2];
                let mut header = capability_header();
                check(capset(&raw mut header, &raw const none))?;
            }
            if self.no_new_privileges {
                check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
            check(prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong, 0, 0, 0))?;
            self.read_back()?;
            for workdir in &self.workdirs {
                if fchdir(std::os::fd::AsRawFd::as_raw_fd(workdir)) == 0 {
                    break;
                }
            }
            if let Some(set) = &self.without_engine {
                lower(RLIMIT_CORE, 0)?;
                if set.fsize > 0 {
                    lower(RLIMIT_FSIZE, set.fsize)?;
                }
                if set.nproc > 0 {
                    lower(RLIMIT_NPROC, set.nproc)?;
                }
                crate::kernel::filter(&set.filter)?;
            }
        }
        Ok(())
    }

    fn own_user(&self) -> Option<&crate::kernel::OwnUser> {
        self.without_engine.as_ref()?.own_user.as_ref()
    }

    /// Asks the kernel whether the process is what it was made: some calls succeed and do nothing,
    /// such as a switch to user -1.
    unsafe fn read_back(&self) -> io::Result<()> {
        // SAFETY: as in `apply`.
        unsafe {
            if self.no_new_privileges {
                must_be(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)?;
            }
            let Some((user, group, groups)) = &self.ids else { return Ok(()) };
            let (mut real, mut effective, mut saved) = (0, 0, 0);
            check(getresuid(&raw mut real, &raw mut effective, &raw mut saved))?;
            must_be([real, effective, saved] == [*user; 3] && *user != 0)?;
            check(getresgid(&raw mut real, &raw mut effective, &raw mut saved))?;
            must_be([real, effective, saved] == [*group; 3] && *group != 0)?;
            let mut found = [0_u32; 1024];
            let count = getgroups(found.len() as c_int, found.as_mut_ptr());
            let found = usize::try_from(count).ok().and_then(|count| found.get(..count));
            let same = found.is_some_and(|found| {
                found.len() == groups.len() && found.iter().all(|group| groups.contains(group))
            });
            must_be(same || self.own_user().is_some())?;
            let mut sets = [CapabilitySets::default(); 2];
            let mut header = capability_header();
            check(capget(&raw mut header, &raw mut sets))?;
            must_be(sets == [CapabilitySets::default(); 2])?;
            for capability in 0..CAPABILITIES {
                let ambient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
                must_be(ambient != 1)?;
                let bounding = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
                must_be(bounding != 1 || !self.no_new_privileges)?;
            }
        }
        Ok(())
    }
}

fn capability_header() -> CapabilityHeader {
    const VERSION_3: u32 = 0x2008_0522;
    CapabilityHeader { version: VERSION_3, pid: 0 }
}

/// Opens a directory to start in, which the image may have made a link. Links through `/proc` are
/// not followed: they could lead to what this process holds open. `None` where there is no such
/// directory, or the kernel or the engine does not know the call.
pub(crate) fn open_workdir(path: &str) -> Option<OwnedFd> {
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    const OPENAT2: c_long = 437;
    const AT_FDCWD: c_int = -100;
    const RESOLVE_NO_MAGICLINKS: u64 = 2;
    let flags = O_PATH | O_DIRECTORY as c_ulong | O_CLOEXEC as c_ulong;
    let how = OpenHow { flags, mode: 0, resolve: RESOLVE_NO_MAGICLINKS };
    let path =
        std::ffi::CString::new(path).ok().filter(|path| path.as_bytes().starts_with(b"/"))?;
    // SAFETY: the path is a terminated string, and `how` has the layout and size that are said.
    let fd =
        unsafe { syscall(OPENAT2, AT_FDCWD, path.as_ptr(), &raw const how, size_of::<OpenHow>()) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: called for the input, and for what is above 2 before anything of this program holds such.
    unsafe { c_close(fd) };
}

/// What the ended processes of the agent used, as the kernel counted it: the most bytes of memory
/// that one of them ever held, and microseconds of processor time.
pub(crate) fn used_by_ended() -> (u64, u64) {
    const CHILDREN: c_int = -1;
    /// `ru_maxrss` among the longs of `struct rusage`, after two times of two longs each.
    const MAX_RSS: usize = 4;
    let mut usage: [c_long; 36] = [0; 36];
    // SAFETY: `struct rusage` has 18 longs, of which the kernel writes no more than there are.
    unsafe { getrusage(CHILDREN, usage.as_mut_ptr()) };
    let number = |at: usize| u64::try_from(usage[at]).unwrap_or(0);
    let cpu_us = (number(0) + number(2)) * 1_000_000 + number(1) + number(3);
    (number(MAX_RSS) * 1024, cpu_us)
}

pub(crate) fn before_exec(command: &mut std::process::Command, credentials: Credentials) {
    use std::os::unix::process::CommandExt;
    // SAFETY: `apply` makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || credentials.apply()) };
}

pub(crate) fn umask(mask: u32) {
    // SAFETY: changes an attribute of this process only.
    unsafe { c_umask(mask) };
}

/// Clock ticks a second and bytes a page, as /proc counts.
pub(crate) fn proc_units() -> (u64, u64) {
    const SC_CLK_TCK: i32 = 2;
    const SC_PAGESIZE: i32 = 30;
    // SAFETY: reads two constants.
    let (ticks, page) = unsafe { (c_sysconf(SC_CLK_TCK), c_sysconf(SC_PAGESIZE)) };
    (u64::try_from(ticks).unwrap_or(100).max(1), u64::try_from(page).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ids: Option<(u32, u32, Vec<u32>)>) -> Credentials {
        Credentials {
            ids,
            no_new_privileges: true,
            nofile: 0,
            workdirs: Vec::new(),
            without_engine: None,
        }
    }

    fn is_root() -> bool {
        std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|text| text.contains("Uid:\t0\t0\t0"))
    }

    /// The outcome of a switch in a process of its own.
    fn switched(credentials: Credentials) -> io::Result<String> {
        let mut command = std::process::Command::new("cat");
        command.arg("/proc/self/status");
        before_exec(&mut command, credentials);
        Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
    }

    #[test]
    fn a_switch_that_does_nothing_is_noticed() {
        if !is_root() {
            return;
        }
        for ids in
            [(u32::MAX, 5, vec![5]), (5, u32::MAX, vec![5]), (0, 5, vec![5]), (5, 0, vec![0])]
        {
            let error = switched(credentials(Some(ids.clone()))).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(SWITCH_FAILED), "{ids:?}");
        }
    }

    #[test]
    fn a_switched_process_has_nothing_left() {
        if !is_root() {
            return;
        }
        let status = switched(credentials(Some((1234, 1235, vec![1235, 44])))).unwrap();
        for line in [
            "Uid:\t1234\t1234\t1234\t1234",
            "Gid:\t1235\t1235\t1235\t1235",
            "Groups:\t44 1235",
            "CapInh:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line} in {status}");
        }
    }

    #[test]
    fn a_working_directory_is_not_reached_through_open_descriptors() {
        use std::os::fd::AsRawFd;
        let held = std::fs::File::open("/tmp").unwrap();
        let magic = format!("/proc/self/fd/{}", held.as_raw_fd());
        assert!(std::fs::metadata(&magic).unwrap().is_dir());
        assert!(open_workdir(&magic).is_none());
        assert!(open_workdir("tmp").is_none() && open_workdir("/no/such").is_none());
        assert!(open_workdir("/tmp").is_some());
    }
}
