//! Files that are held against other processes.

use std::fs::{File, OpenOptions};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::files::StoreError;

/// Locks a file, which is made if need be, without waiting; the lock is given back when the value is
/// dropped or the process dies.
///
/// # Errors
/// [`StoreError::Locked`] with the file's folder if another process holds it.
pub fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => {
            StoreError::Locked { path: path.parent().unwrap_or(path).to_owned() }
        }
        errno => StoreError::io("lock", path)(errno.into()),
    })
}
