//! The system calls that make a container: namespaces, mounts, maps of users, a filter. With
//! `sys.rs` the only file with `unsafe`.
#![expect(unsafe_code, reason = "system calls without a safe name in the standard library")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::raw::{c_char, c_int, c_long, c_ulong, c_void};
use std::path::Path;

use crate::seccomp::Instruction;

pub(crate) const CLONE_NEWNS: c_int = 0x0002_0000;
pub(crate) const CLONE_NEWCGROUP: c_int = 0x0200_0000;
pub(crate) const CLONE_NEWUTS: c_int = 0x0400_0000;
pub(crate) const CLONE_NEWIPC: c_int = 0x0800_0000;
pub(crate) const CLONE_NEWUSER: c_int = 0x1000_0000;
pub(crate) const CLONE_NEWPID: c_int = 0x2000_0000;
pub(crate) const CLONE_NEWNET: c_int = 0x4000_0000;

pub(crate) const MS_RDONLY: c_ulong = 1;
pub(crate) const MS_NOSUID: c_ulong = 2;
pub(crate) const MS_NODEV: c_ulong = 4;
pub(crate) const MS_NOEXEC: c_ulong = 8;
pub(crate) const MS_BIND: c_ulong = 4096;
pub(crate) const MS_REC: c_ulong = 16_384;
pub(crate) const MS_PRIVATE: c_ulong = 1 << 18;

pub(crate) const ATTR_RDONLY: u64 = 1;
pub(crate) const ATTR_NOSUID: u64 = 2;
pub(crate) const ATTR_NODEV: u64 = 4;
pub(crate) const ATTR_NOEXEC: u64 = 8;

const AT_FDCWD: c_int = -100;
const MNT_DETACH: c_int = 2;
/// The number of this call is the same on every architecture.
const MOUNT_SETATTR: c_long = 442;
#[cfg(target_arch = "x86_64")]
const PIVOT_ROOT: c_long = 155;
#[cfg(not(target_arch = "x86_64"))]
const PIVOT_ROOT: c_long = 41;
const PR_SET_PDEATHSIG: c_int = 1;
const PR_SET_DUMPABLE: c_int = 4;
const PR_SET_SECCOMP: c_int = 22;
const SECCOMP_MODE_FILTER: c_ulong = 2;
const SIGKILL: c_ulong = 9;

unsafe extern "C" {
    #[link_name = "fork"]
    fn c_fork() -> c_int;
    #[link_name = "unshare"]
    fn c_unshare(flags: c_int) -> c_int;
    #[link_name = "mount"]
    fn c_mount(
        from: *const c_char,
        to: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount2(path: *const c_char, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    #[link_name = "sethostname"]
    fn c_sethostname(name: *const c_char, length: usize) -> c_int;
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
    fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    fn write(fd: c_int, buffer: *const u8, count: usize) -> isize;
    fn close(fd: c_int) -> c_int;
    fn getuid() -> u32;
    fn getgid() -> u32;
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn text(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// The real user and group of this process.
pub(crate) fn own_ids() -> (u32, u32) {
    // SAFETY: the calls have no preconditions.
    unsafe { (getuid(), getgid()) }
}

/// A copy of this process, which must have one thread: its id, or 0 in the copy.
pub(crate) fn fork() -> io::Result<i32> {
    // SAFETY: this program has one thread, so that no lock can be held in the copy.
    let pid = unsafe { c_fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: changes what this process sees, and no memory.
    check(unsafe { c_unshare(flags) })
}

/// Mounts; an empty `from` or `kind` is none.
pub(crate) fn mount(
    from: &Path,
    to: &Path,
    kind: &str,
    flags: c_ulong,
    data: &str,
) -> io::Result<()> {
    let (from, to, kind, data) = (text(from)?, text(to)?, CString::new(kind)?, CString::new(data)?);
    let data = if data.is_empty() { std::ptr::null() } else { data.as_ptr() };
    // SAFETY: all pointers are to terminated strings that live through the call.
    check(unsafe { c_mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, data.cast()) })
}

/// Adds attributes to a mount and to all mounts below it; those that are set already stay.
pub(crate) fn restrict(mounted: &Path, attributes: u64) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const AT_RECURSIVE: c_int = 0x8000;
    let path = text(mounted)?;
    let attributes = Attributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is a terminated string; the structure has the layout and size that are said.
    let result = unsafe {
        syscall(
            MOUNT_SETATTR,
            AT_FDCWD,
            path.as_ptr(),
            AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    check(c_int::try_from(result).unwrap_or(-1))
}

/// Makes the working directory, which must be a mount, the root directory; all else is out of reach
/// then.
pub(crate) fn become_root_directory() -> io::Result<()> {
    let here = c".";
    // SAFETY: terminated strings.
    unsafe {
        check(c_int::try_from(syscall(PIVOT_ROOT, here.as_ptr(), here.as_ptr())).unwrap_or(-1))?;
        check(umount2(here.as_ptr(), MNT_DETACH))
    }
}

pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the length is the name's.
    check(unsafe { c_sethostname(name.as_ptr().cast(), name.len()) })
}

/// This process ends when its parent does, and shows nothing of itself to others of its user.
pub(crate) fn end_with_parent() {
    // SAFETY: changes attributes of this process only.
    unsafe {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// Brings up the loopback of the network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    const AF_INET: c_int = 2;
    const SOCK_DGRAM: c_int = 2;
    const SIOCSIFFLAGS: c_ulong = 0x8914;
    const IFF_UP: u16 = 1;
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let mut request = Request { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the descriptor is this function's own; the request has the size of `struct ifreq`.
    unsafe {
        let fd = socket(AF_INET, SOCK_DGRAM, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        check(ioctl(fd.as_raw_fd(), SIOCSIFFLAGS, (&raw mut request).cast()))
    }
}

/// A user namespace in which this process's one user has another number; made between `fork` and
/// `exec`, where nothing may be allocated.
pub(crate) struct OwnUser {
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
}

impl OwnUser {
    /// `user` and `group` inside are root of the namespace that this process is in.
    pub(crate) fn new(user: u32, group: u32) -> Self {
        let map = |id: u32| format!("{id} 0 1\n").into_bytes();
        Self { uid_map: map(user), gid_map: map(group) }
    }

    pub(crate) fn enter(&self) -> io::Result<()> {
        // SAFETY: changes attributes of this process only. The maps can be written by a process that
        // shows itself.
        unsafe {
            check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))?;
            check(c_unshare(CLONE_NEWUSER))?;
            write_file(c"/proc/self/setgroups".as_ptr(), b"deny")?;
            write_file(c"/proc/self/uid_map".as_ptr(), &self.uid_map)?;
            write_file(c"/proc/self/gid_map".as_ptr(), &self.gid_map)
        }
    }
}

/// Writes a file of `/proc` with system calls alone.
unsafe fn write_file(path: *const c_char, bytes: &[u8]) -> io::Result<()> {
    const O_WRONLY: c_int = 1;
    // SAFETY: the path is a terminated string, the length the buffer's; the descriptor is closed.
    unsafe {
        let fd = open(path, O_WRONLY, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = write(fd, bytes.as_ptr(), bytes.len());
        let result = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        close(fd);
        result
    }
}

/// Filters the system calls of this process and of all that it starts, for good.
pub(crate) fn filter(program: &[Instruction]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { length, instructions: program.as_ptr() };
    let program: c_ulong = (&raw const program) as c_ulong;
    // SAFETY: the program lives through the call and has the length that is said.
    check(unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) })
}
