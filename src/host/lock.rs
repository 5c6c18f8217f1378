//! Files that are held against other processes.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::files::StoreError;

/// How often a lock is tried again that somebody may only have asked about.
const ASKED: u32 = 20;
/// Between two of these tries.
const ASKED_FOR: Duration = Duration::from_millis(10);

/// Locks a file, which is made if need be, without waiting; the lock is given back when the value is
/// dropped or the process dies.
///
/// # Errors
/// [`StoreError::Locked`] with the file's folder if another process holds it.
pub fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>, StoreError> {
    // Read and write: NFSv4 refuses a shared lock on a file that cannot be read, and one for this process
    // alone on a file that cannot be written.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => {
            StoreError::Locked { path: path.parent().unwrap_or(path).to_owned() }
        }
        errno => StoreError::io("lock", path)(errno.into()),
    })
}

/// Whether another process holds a file alone. Asking keeps nobody from taking it but for a moment,
/// for which [`lock_patiently`] waits.
pub fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let asked = Flock::lock(file, FlockArg::LockSharedNonblock);
    matches!(asked, Err((_, nix::errno::Errno::EWOULDBLOCK)))
}

/// As [`lock`], but waits a little for those who only ask.
///
/// # Errors
/// As [`lock`].
pub fn lock_patiently(path: &Path, how: FlockArg) -> Result<Flock<File>, StoreError> {
    for _ in 0..ASKED {
        match lock(path, how) {
            Err(StoreError::Locked { .. }) => std::thread::sleep(ASKED_FOR),
            other => return other,
        }
    }
    lock(path, how)
}
