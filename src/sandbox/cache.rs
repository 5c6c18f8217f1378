//! What outlasts this process and is this user's alone: the init as a program, where running
//! attempts leave their marks, and a directory on this machine's own disk.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::attempt::job::Allocation;

/// The container init, compiled by build.rs.
static INIT: &[u8] = include_bytes!(env!("MEDALIST_INIT"));

/// The init as a file that can be mounted and started; written once for each build of the harness.
pub(crate) fn init_program() -> io::Result<PathBuf> {
    static WRITTEN: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*written {
        Some(path) if path.exists() => Ok(path.clone()),
        _ => Ok(written.insert(write_init()?).clone()),
    }
}

fn write_init() -> io::Result<PathBuf> {
    let name = format!("medalist-init-{}", hex::encode(&Sha256::digest(INIT)[..8]));
    let dir = own_dir()?;
    let path = dir.join(name);
    if fs_err::read(&path).is_ok_and(|bytes| bytes == INIT) {
        return Ok(path);
    }
    let file = tempfile::NamedTempFile::new_in(&dir)?;
    fs_err::write(file.path(), INIT)?;
    fs_err::set_permissions(file.path(), PermissionsExt::from_mode(0o755))?;
    let (file, aside) = file.keep().map_err(|error| error.error)?;
    // A program that is open for writing cannot be started.
    drop(file);
    fs_err::rename(aside, &path)?;
    Ok(path)
}

/// Where things live that outlast this process and that other users cannot change.
pub(crate) fn dir() -> PathBuf {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let fallback = || std::env::temp_dir().join(format!("medalist-{}", nix::unistd::getuid()));
    cache.map_or_else(fallback, |cache| cache.join("medalist"))
}

/// [`dir`], made if need be. Where somebody else owns it or may write to it, nothing in it can
/// be trusted: its init would run as the root of every container.
pub(crate) fn own_dir() -> io::Result<PathBuf> {
    let dir = dir();
    check_own_dir(&dir)?;
    Ok(dir)
}

/// Names another directory on this machine's own disk.
pub(crate) const NODE_DIR: &str = "MEDALIST_NODE_DIR";

/// Where images and containers of this user lie: on the disk of this machine, never on a shared one.
pub(crate) fn node_dir() -> PathBuf {
    let given = std::env::var_os(NODE_DIR).map(PathBuf::from).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| PathBuf::from(format!("/var/tmp/medalist-{}", nix::unistd::getuid())))
}

/// Makes [`node_dir`] if need be, this user's alone.
pub(crate) fn own_node_dir(dir: &Path) -> io::Result<()> {
    let odd = |c: char| ",:\\\"".contains(c) || c.is_control();
    if dir.to_str().is_none_or(|text| text.chars().any(odd)) {
        let message = format!(
            "`{}` cannot hold containers: its path has a comma, a colon, a quote or a backslash, which the kernel's overlay does \
             not take; set `{NODE_DIR}`",
            dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    check_own_dir(dir).map_err(|error| {
        let message = format!("{error}; or set `{NODE_DIR}` to a directory on this machine's disk");
        io::Error::new(error.kind(), message)
    })
}

/// Whether other machines may see this folder: this process is part of a scheduler's job, or the folder
/// is on a network's file system.
pub(crate) fn is_shared(dir: &Path) -> bool {
    Allocation::current().is_some() || is_on_network(dir)
}

/// Whether a folder, or the nearest one above it that exists, is on a network's file system.
fn is_on_network(dir: &Path) -> bool {
    // From the headers of Linux and of the file systems that it does not carry itself.
    const NFS: i64 = 0x6969;
    const SMB: [i64; 2] = [0xFF53_4D42, 0xFE53_4D42];
    const LUSTRE: i64 = 0x0BD0_0BD0;
    const GPFS: i64 = 0x4750_4653;
    const CEPH: i64 = 0x00C3_6400;
    const BEEGFS: i64 = 0x1983_0326;
    const AFS: [i64; 2] = [0x6B41_4653, 0x5346_414F];
    let Some(there) = dir.ancestors().find(|dir| dir.exists()) else { return false };
    let Ok(facts) = nix::sys::statfs::statfs(there) else { return false };
    #[expect(clippy::unnecessary_cast, reason = "its width differs between systems")]
    let kind = facts.filesystem_type().0 as i64;
    [NFS, LUSTRE, GPFS, CEPH, BEEGFS].contains(&kind) || SMB.contains(&kind) || AFS.contains(&kind)
}

/// Where something of the file or folder `of` lives on this machine's own disk: the same place for the
/// same path, for this user alone.
pub(crate) fn place_on_this_machine(of: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(of)?;
    let name = hex::encode(&Sha256::digest(path.as_os_str().as_bytes())[..12]);
    Ok(machine_dir()?.join(name))
}

/// A folder of this user's alone on this machine's own disk: the job's, where it has one.
pub(crate) fn machine_dir() -> io::Result<PathBuf> {
    let scratch = Allocation::current().and_then(|job| job.scratch).filter(|dir| dir.is_dir());
    let base = scratch.unwrap_or_else(std::env::temp_dir);
    let dir = base.join(format!("medalist-{}", nix::unistd::getuid()));
    check_own_dir(&dir)?;
    Ok(dir)
}

fn check_own_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let facts = fs_err::symlink_metadata(dir)?;
    let owner = facts.uid();
    let own = facts.is_dir() && owner == nix::unistd::getuid().as_raw();
    if own && facts.mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = format!(
        "`{}` must be a directory that only this user can write to (it has mode {:o} and user {owner}); set `XDG_CACHE_HOME`",
        dir.display(),
        facts.mode() & 0o7777,
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_this_user_holds_the_init() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        check_own_dir(&inner).unwrap();
        assert_eq!(fs_err::metadata(&inner).unwrap().mode() & 0o777, 0o700);
        fs_err::set_permissions(&inner, PermissionsExt::from_mode(0o777)).unwrap();
        let error = check_own_dir(&inner).unwrap_err().to_string();
        assert!(error.contains("777") && error.contains("XDG_CACHE_HOME"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(check_own_dir(&link).is_err());
    }

    #[test]
    fn a_directory_that_the_overlay_cannot_take_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a,b", "a:b", "a\\b", "a\"b"] {
            let error = own_node_dir(&dir.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(NODE_DIR), "{error}");
        }
        own_node_dir(&dir.path().join("plain")).unwrap();
    }

    #[test]
    fn a_path_has_one_place_on_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| place_on_this_machine(&dir.path().join(name)).unwrap();
        assert_eq!(place("a/control"), place("a/control"));
        assert_ne!(place("a/control"), place("b/control"));
        let facts = fs_err::metadata(place("a").parent().unwrap()).unwrap();
        assert_eq!(facts.mode() & 0o777, 0o700);
        assert!(!is_on_network(&dir.path().join("not/there")));
    }

    #[test]
    fn the_init_is_a_static_program() {
        let path = init_program().unwrap();
        assert_eq!(&fs_err::read(&path).unwrap()[..4], b"\x7fELF");
        assert!(std::process::Command::new(path).output().unwrap().status.code() == Some(2));
    }
}
