//! Puts an image's layers into a directory. Runs in a process of its own that is root of a user
//! namespace and has the directory as its root: links lead nowhere else, and what has rights on the
//! machine (devices, programs that change their user) is not made.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use medalist_init::protocol::IdMap;
use nix::sys::stat::Mode;
use tar::EntryType;

use crate::host::files::if_there;
use crate::host::machine;

/// A file of that name says that a name of a lower layer is gone.
const WHITEOUT: &[u8] = b".wh.";
/// And this one that everything of the lower layers in its directory is.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What must stay free on the disk.
const RESERVE: u64 = 1 << 30;
/// Between two looks at what is free.
const LOOK_EVERY: u64 = 256 << 20;

/// Applies layers to `/`, which is the directory of the image.
pub(super) struct Unpacker<'a> {
    users: &'a IdMap,
    groups: &'a IdMap,
    /// Bytes of all files so far.
    pub(super) bytes: u64,
    looked_at: u64,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(users: &'a IdMap, groups: &'a IdMap) -> Self {
        Self { users, groups, bytes: 0, looked_at: 0 }
    }

    /// Applies the tar of one layer.
    pub(super) fn apply(&mut self, layer: &mut dyn Read) -> io::Result<()> {
        let mut made = HashSet::new();
        for entry in tar::Archive::new(layer).entries()? {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            if matches!(kind, EntryType::XGlobalHeader | EntryType::Char | EntryType::Block) {
                continue;
            }
            let path = below_root(&entry.path_bytes())?;
            let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            if name == OPAQUE {
                remove_lower(path.parent().unwrap_or(Path::new("/")), &made)?;
                continue;
            }
            if let Some(gone) = name.strip_prefix(WHITEOUT) {
                remove(&path.with_file_name(OsStr::from_bytes(gone)))?;
                continue;
            }
            self.look_at_disk(entry.size())?;
            self.make(&mut entry, kind, &path).map_err(|error| {
                io::Error::new(error.kind(), format!("`{}` in a layer: {error}", path.display()))
            })?;
            made.insert(path);
        }
        Ok(())
    }

    fn make(
        &mut self,
        entry: &mut tar::Entry<'_, &mut dyn Read>,
        kind: EntryType,
        path: &Path,
    ) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let known = fs::symlink_metadata(path);
        let kept = kind.is_dir() && known.as_ref().is_ok_and(fs::Metadata::is_dir);
        if known.is_ok() && !kept {
            remove(path)?;
        }
        match kind {
            EntryType::Directory if kept => {}
            EntryType::Directory => fs::create_dir(path)?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                symlink(OsStr::from_bytes(&target), path)?;
            }
            EntryType::Link => {
                let target = below_root(&entry.link_name_bytes().unwrap_or_default())?;
                // It has the rights of the file that it is.
                return fs::hard_link(target, path);
            }
            EntryType::Fifo => nix::unistd::mkfifo(path, Mode::S_IRUSR)?,
            _ => {
                let mut file = File::options().write(true).create_new(true).open(path)?;
                self.bytes += io::copy(entry, &mut file)?;
                let seconds = entry.header().mtime().unwrap_or(0).min(u64::from(u32::MAX));
                // Compiled Python knows its source by its time.
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))?;
            }
        }
        self.give_rights(entry.header(), kind, path)
    }

    fn give_rights(&self, header: &tar::Header, kind: EntryType, path: &Path) -> io::Result<()> {
        let known = |map: &IdMap, id: io::Result<u64>| {
            // A number that is nobody here is root's, as it is in a container without it.
            id.ok().and_then(|id| u32::try_from(id).ok()).filter(|id| map.has(*id)).unwrap_or(0)
        };
        lchown(
            path,
            Some(known(self.users, header.uid())),
            Some(known(self.groups, header.gid())),
        )?;
        if kind == EntryType::Symlink {
            return Ok(());
        }
        // Without the bits that change a user.
        let mode = header.mode().unwrap_or(0o755) & 0o1777;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn look_at_disk(&mut self, coming: u64) -> io::Result<()> {
        if self.bytes + coming >= self.looked_at {
            self.looked_at = self.bytes + coming + LOOK_EVERY;
            if machine::free_bytes(Path::new("/"))? < RESERVE + coming {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }
}

/// A name of a layer as a path below `/`.
fn below_root(name: &[u8]) -> io::Result<PathBuf> {
    let mut path = PathBuf::from("/");
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let shown = String::from_utf8_lossy(name);
                let why = format!("a layer names `{shown}`, which leads out of the image");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
    }
    Ok(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // What should be above it is a file: then there is nothing.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what lower layers have in a directory.
fn remove_lower(dir: &Path, made: &HashSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if !made.iter().any(|own| own.starts_with(&path)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Copies a tree with its rights, owners and times.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let facts = fs::symlink_metadata(from)?;
    let kind = facts.file_type();
    if kind.is_dir() {
        if !to.is_dir() {
            fs::create_dir(to)?;
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
        File::options().append(true).open(to)?.set_modified(facts.modified()?)?;
    } else {
        nix::unistd::mkfifo(to, Mode::S_IRUSR)?;
    }
    lchown(to, Some(facts.uid()), Some(facts.gid()))?;
    if !kind.is_symlink() {
        fs::set_permissions(to, Permissions::from_mode(facts.mode() & 0o1777))?;
    }
    Ok(())
}

/// Removes a tree, whatever rights its directories have.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    if_there(fs::remove_dir_all(path)).map(drop)
}
