//! The two system calls that the standard library has no safe name for. All `unsafe` of the program
//! is here.

#![expect(unsafe_code, reason = "system calls without a safe name in the standard library")]

use std::sync::atomic::{AtomicBool, Ordering};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn kill(process: i32, number: i32) -> i32;
}

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: i32) {
    ASKED_TO_STOP.store(true, Ordering::Relaxed);
}

/// From now on SIGTERM is remembered in place of ending the program.
pub(crate) fn hear_sigterm() {
    let handler: extern "C" fn(i32) = on_signal;
    // SAFETY: the handler stores one atomic flag, which is allowed in a signal handler.
    unsafe { signal(SIGTERM, handler as usize) };
}

/// Whether SIGTERM came.
pub(crate) fn stopped() -> bool {
    ASKED_TO_STOP.load(Ordering::Relaxed)
}

/// Ends a process group at once: a command and all that it started. One that is gone is no error.
pub(crate) fn kill_group(leader: u32) {
    let Ok(leader) = i32::try_from(leader) else { return };
    // SAFETY: `kill` takes two integers and touches no memory of this program.
    unsafe { kill(-leader, SIGKILL) };
}
