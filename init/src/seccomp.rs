//! The filter of an agent's system calls where no engine sets one.
//!
//! It refuses what Docker's own filter refuses to a container without privileges: whatever
//! administers the machine, makes namespaces or mounts, reaches beside the container, or is a large
//! part of the kernel that training needs nothing of. What a newer kernel adds is not there.

/// `struct sock_filter` of the kernel.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ERROR: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// Places in `struct seccomp_data`; the first argument's lower half on machines of this byte order.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// All flags of `clone` that make a namespace.
const NAMESPACES: u32 = 0x7e02_0000;
/// Unix, IPv4, IPv6 and netlink. Others are not kept in by a network namespace (vsock), or are
/// large.
const FAMILIES: [u32; 4] = [1, 2, 10, 16];
/// What `personality` may be set to, as with Docker.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The last call that was looked at, `mseal`.
const LAST: u32 = 462;

/// Calls with the same number on every architecture: the mount calls, io_uring, `pidfd_getfd`,
/// `mount_setattr`, `quotactl_fd`, `process_mrelease`, `set_mempolicy_home_node`.
const DENIED_EVERYWHERE: [u32; 14] =
    [428, 429, 430, 431, 432, 433, 425, 426, 427, 438, 442, 443, 448, 450];

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
    /// The first number of the x32 calls.
    pub(super) const OTHER_TABLE: u32 = 0x4000_0000;
    pub(super) const CLONE: u32 = 56;
    pub(super) const SOCKET: u32 = 41;
    pub(super) const PERSONALITY: u32 = 135;
    /// acct, add_key, bpf, clock_adjtime, clock_settime, create_module, delete_module, finit_module,
    /// init_module, get_kernel_syms, ioperm, iopl, kcmp, kexec_file_load, kexec_load, keyctl,
    /// lookup_dcookie, mount, move_pages, nfsservctl, open_by_handle_at, perf_event_open, pivot_root,
    /// query_module, quotactl, reboot, request_key, setns, settimeofday, swapon, swapoff, _sysctl,
    /// sysfs, umount2, unshare, uselib, userfaultfd, ustat, vhangup, chroot, sethostname,
    /// setdomainname, syslog, fanotify_init, get_mempolicy, mbind, set_mempolicy, migrate_pages.
    pub(super) const DENIED: [u32; 48] = [
        163, 248, 321, 305, 227, 174, 176, 313, 175, 177, 173, 172, 312, 320, 246, 250, 212, 165,
        279, 180, 304, 298, 155, 178, 179, 169, 249, 308, 164, 167, 168, 156, 139, 166, 272, 134,
        323, 136, 153, 161, 170, 171, 103, 300, 239, 237, 238, 256,
    ];
}
#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
    pub(super) const OTHER_TABLE: u32 = 0x4000_0000;
    pub(super) const CLONE: u32 = 220;
    pub(super) const SOCKET: u32 = 198;
    pub(super) const PERSONALITY: u32 = 92;
    /// The same as on x86_64, as far as they are there.
    pub(super) const DENIED: [u32; 37] = [
        89, 217, 280, 266, 112, 106, 273, 105, 272, 294, 104, 219, 18, 40, 239, 42, 265, 241, 41,
        60, 142, 218, 268, 170, 224, 225, 39, 97, 282, 58, 51, 161, 162, 116, 262, 236, 237,
    ];
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the filter of system calls has no numbers for this architecture");

const CLONE3: u32 = 435;

fn load(place: u32) -> Instruction {
    Instruction { code: LOAD, jump_true: 0, jump_false: 0, value: place }
}

fn end(value: u32) -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, value }
}

/// Ends with `result` if the comparison holds.
fn end_if(code: u16, value: u32, result: u32) -> [Instruction; 2] {
    [Instruction { code, jump_true: 0, jump_false: 1, value }, end(result)]
}

/// The first argument of `call` must be one of `allowed`.
fn one_of(call: u32, allowed: &[u32], otherwise: u32, to: &mut Vec<Instruction>) {
    // Past the load, the comparisons with their ends, and the last end.
    let past = u8::try_from(2 + 2 * allowed.len()).unwrap_or(u8::MAX);
    to.push(Instruction { code: IF_EQUAL, jump_true: 0, jump_false: past, value: call });
    to.push(load(FIRST_ARGUMENT));
    for value in allowed {
        to.extend(end_if(IF_EQUAL, *value, ALLOW));
    }
    to.push(end(ERROR | otherwise));
}

/// The filter as a program for the kernel.
pub(crate) fn program() -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    program.push(Instruction {
        code: IF_EQUAL,
        jump_true: 1,
        jump_false: 0,
        value: numbers::ARCHITECTURE,
    });
    program.push(end(ERROR | ENOSYS));
    program.push(load(NUMBER));
    let last = numbers::OTHER_TABLE.min(LAST);
    program.extend(end_if(IF_GREATER, last, ERROR | ENOSYS));
    for number in numbers::DENIED.iter().chain(&DENIED_EVERYWHERE) {
        program.extend(end_if(IF_EQUAL, *number, ERROR | EPERM));
    }
    // Its flags are in memory, which a filter cannot read; libraries then use `clone`.
    program.extend(end_if(IF_EQUAL, CLONE3, ERROR | ENOSYS));
    program.push(Instruction {
        code: IF_EQUAL,
        jump_true: 0,
        jump_false: 4,
        value: numbers::CLONE,
    });
    program.push(load(FIRST_ARGUMENT));
    program.extend(end_if(IF_ANY_BIT, NAMESPACES, ERROR | EPERM));
    program.push(end(ALLOW));
    one_of(numbers::SOCKET, &FAMILIES, EAFNOSUPPORT, &mut program);
    one_of(numbers::PERSONALITY, &PERSONALITIES, EPERM, &mut program);
    program.push(end(ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter gives for a call: the kernel's machine, as far as the program uses it.
    fn verdict(architecture: u32, number: u32, argument: u32) -> u32 {
        let program = program();
        let (mut at, mut held) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let holds = match instruction.code {
                LOAD => {
                    held = match instruction.value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("no field at {other}"),
                    };
                    continue;
                }
                RETURN => return instruction.value,
                IF_EQUAL => held == instruction.value,
                IF_GREATER => held > instruction.value,
                IF_ANY_BIT => held & instruction.value != 0,
                other => panic!("no instruction {other}"),
            };
            at += usize::from(if holds { instruction.jump_true } else { instruction.jump_false });
        }
    }

    fn here(number: u32, argument: u32) -> u32 {
        verdict(numbers::ARCHITECTURE, number, argument)
    }

    #[test]
    fn what_administers_is_refused_and_the_rest_is_not() {
        for number in numbers::DENIED.iter().chain(&DENIED_EVERYWHERE) {
            assert_eq!(here(*number, 0), ERROR | EPERM, "{number}");
        }
        let refused = numbers::DENIED.len() + DENIED_EVERYWHERE.len();
        let all = (0..=LAST).filter(|number| here(*number, 0) != ALLOW).count();
        // And `clone3`, and a socket of no family.
        assert_eq!(all, refused + 2);
        assert_eq!(here(CLONE3, 0), ERROR | ENOSYS);
        assert_eq!(here(LAST + 1, 0), ERROR | ENOSYS);
        assert_eq!(here(numbers::OTHER_TABLE + 1, 0), ERROR | ENOSYS);
        assert_eq!(verdict(0x4000_0003, 0, 0), ERROR | ENOSYS, "a program of 32 bits");
    }

    #[test]
    fn arguments_count() {
        assert_eq!(here(numbers::CLONE, 0x0100), ALLOW);
        for flag in [0x0002_0000, 0x0200_0000, 0x1000_0000, 0x4000_0000] {
            assert_eq!(here(numbers::CLONE, flag), ERROR | EPERM, "{flag:x}");
        }
        for (family, expected) in [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW)] {
            assert_eq!(here(numbers::SOCKET, family), expected);
        }
        for family in [17, 38, 40] {
            assert_eq!(here(numbers::SOCKET, family), ERROR | EAFNOSUPPORT, "{family}");
        }
        assert_eq!(here(numbers::PERSONALITY, 0xffff_ffff), ALLOW);
        assert_eq!(here(numbers::PERSONALITY, 0x0040_0000), ERROR | EPERM);
    }
}
