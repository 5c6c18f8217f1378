//! Directories that are held open, and names below them that are never followed.
//!
//! The image chose everything below `/`: each of its names may be a link, a pipe or a device. A
//! path is therefore walked name by name from a directory that is held already, and what stands in
//! the way is an error that blames the image. Nothing of the agent runs yet, so nothing changes
//! between a look and what follows from it.
//!
//! The walk goes through `/proc/self/fd/N/name`, which is `openat` in the words of the standard
//! library; [`Dir`] makes sure that this really leads to the directory it holds.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::protocol::Failure;
use crate::sys;

/// A directory that is held open.
pub(crate) struct Dir {
    file: File,
    /// As people know it.
    path: PathBuf,
}

impl Dir {
    /// Opens a directory that the image had no hand in.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let flags = sys::O_DIRECTORY | sys::O_NOFOLLOW;
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| cannot("open", path, &error))?;
        Self::held(file, path.to_path_buf())
    }

    /// Takes the directory that is this process's input, and leaves it none.
    pub(crate) fn on_stdin() -> Result<Self, Failure> {
        let path = PathBuf::from("the control directory");
        let taken = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let file = taken.map_err(|error| cannot("take", &path, &error))?;
        sys::close(0);
        // The lowest number that is free is given out first.
        let null = File::open("/dev/null");
        std::mem::forget(null.map_err(|error| cannot("open", Path::new("/dev/null"), &error))?);
        Self::held(file, path)
    }

    /// Opens a container's root directory before it is one; messages call it `/`.
    pub(crate) fn open_root(path: &Path) -> Result<Self, Failure> {
        Ok(Self { path: PathBuf::from("/"), ..Self::open(path)? })
    }

    fn held(file: File, path: PathBuf) -> Result<Self, Failure> {
        let dir = Self { file, path };
        let own = dir.file.metadata().map_err(|error| cannot("look at", &dir.path, &error))?;
        let seen = fs::metadata(dir.handle());
        if seen.is_ok_and(|seen| (seen.dev(), seen.ino()) == (own.dev(), own.ino())) {
            Ok(dir)
        } else {
            Err(Failure::image("`/proc` does not show this process's own files"))
        }
    }

    /// A path that leads to this directory whatever becomes of its name.
    fn handle(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// A path to the entry `name` of this directory; its last part must not be followed.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.handle().join(name)
    }

    /// The path for messages.
    pub(crate) fn named(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What `name` is; `None` if there is nothing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<Metadata>, Failure> {
        match fs::symlink_metadata(self.at(name)) {
            Ok(facts) => Ok(Some(facts)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("look at", &self.named(name), &error)),
        }
    }

    /// Opens the directory `name`; anything else there is the image's fault.
    pub(crate) fn dir(&self, name: &str) -> Result<Self, Failure> {
        match self.look(name)? {
            Some(facts) => self.enter(name, &facts),
            None => Err(Failure::image(format!("`{}` is missing", self.named(name).display()))),
        }
    }

    /// Opens the directory `name`, which is made if there is nothing.
    pub(crate) fn dir_or_new(&self, name: &str) -> Result<Self, Failure> {
        let facts = match self.look(name)? {
            Some(facts) => facts,
            None => {
                fs::DirBuilder::new()
                    .mode(0o755)
                    .create(self.at(name))
                    .map_err(|error| cannot("make", &self.named(name), &error))?;
                return self.dir(name);
            }
        };
        self.enter(name, &facts)
    }

    fn enter(&self, name: &str, facts: &Metadata) -> Result<Self, Failure> {
        let path = self.named(name);
        if !facts.is_dir() {
            return Err(odd(&path, facts, "a directory"));
        }
        let flags = sys::O_DIRECTORY | sys::O_NOFOLLOW;
        let file = File::options().read(true).custom_flags(flags).open(self.at(name));
        Self::held(file.map_err(|error| cannot("open", &path, &error))?, path)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), Failure> {
        let set = self.file.set_permissions(Permissions::from_mode(mode));
        set.map_err(|error| cannot("set the mode of", &self.path, &error))
    }

    pub(crate) fn facts(&self) -> Result<Metadata, Failure> {
        self.file.metadata().map_err(|error| cannot("look at", &self.path, &error))
    }

    /// Makes the file `name` afresh, in place of a plain file of that name.
    pub(crate) fn new_file(&self, name: &str, mode: u32) -> Result<File, Failure> {
        let path = self.named(name);
        if let Some(facts) = self.look(name)? {
            if !facts.is_file() {
                return Err(odd(&path, &facts, "a plain file or nothing"));
            }
            fs::remove_file(self.at(name)).map_err(|error| cannot("replace", &path, &error))?;
        }
        let made = File::options().write(true).create_new(true).mode(mode).open(self.at(name));
        let file = made.map_err(|error| cannot("make", &path, &error))?;
        let set = file.set_permissions(Permissions::from_mode(mode));
        set.map_err(|error| cannot("set the mode of", &path, &error))?;
        Ok(file)
    }

    /// Opens the plain file `name` without waiting for anything.
    pub(crate) fn plain_file(
        &self,
        name: &str,
        options: &mut fs::OpenOptions,
    ) -> Result<File, Failure> {
        let path = self.named(name);
        let flags = sys::O_NOFOLLOW | sys::O_NONBLOCK;
        let file = options.custom_flags(flags).open(self.at(name));
        let file = file.map_err(|error| cannot("open", &path, &error))?;
        let facts = file.metadata().map_err(|error| cannot("look at", &path, &error))?;
        if facts.is_file() { Ok(file) } else { Err(odd(&path, &facts, "a plain file")) }
    }

    /// The text of the plain file `name`, of `limit` bytes at most.
    pub(crate) fn text(&self, name: &str, limit: usize) -> Result<String, Failure> {
        let path = self.named(name);
        let file = self.plain_file(name, File::options().read(true))?;
        let mut bytes = Vec::new();
        let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| cannot("read", &path, &error))?;
        if bytes.len() > limit {
            let path = path.display();
            return Err(Failure::machine(format!("`{path}` is longer than {limit} bytes")));
        }
        String::from_utf8(bytes)
            .map_err(|_| Failure::machine(format!("`{}` is not UTF-8", path.display())))
    }

    /// The names in it, as far as they can be read and are UTF-8, which all of ours are.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.handle()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Entries of any name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = fs::DirEntry> {
        fs::read_dir(self.handle()).into_iter().flatten().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(self.handle()).is_ok_and(|mut entries| entries.next().is_none())
    }
}

/// Says what stands where something else was expected.
pub(crate) fn odd(path: &Path, facts: &Metadata, expected: &str) -> Failure {
    let kind = facts.file_type();
    let what = if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device"
    };
    Failure::image(format!("`{}` in the image is {what}, expected {expected}", path.display()))
}

/// An error of the system; only a full or broken machine gives one to the container's root.
pub(crate) fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::machine(format!("cannot {verb} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::protocol::Blame;

    fn scratch(name: &str) -> (PathBuf, Dir) {
        let path =
            std::env::temp_dir().join(format!("medalist-init-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        (path, dir)
    }

    #[test]
    fn links_and_other_kinds_are_named_and_not_followed() {
        let (path, dir) = scratch("kinds");
        fs::create_dir(path.join("real")).unwrap();
        symlink("real", path.join("link")).unwrap();
        symlink("nowhere", path.join("dangling")).unwrap();
        fs::write(path.join("file"), "x").unwrap();
        let socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        for (name, what) in [
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("file", "a file"),
            ("socket", "a socket"),
        ] {
            for error in [dir.dir(name).err().unwrap(), dir.dir_or_new(name).err().unwrap()] {
                assert_eq!(error.blame, Blame::Image, "{name}");
                assert!(error.message.contains(what), "{}", error.message);
            }
        }
        for name in ["link", "dangling", "socket", "real"] {
            assert_eq!(dir.new_file(name, 0o644).err().unwrap().blame, Blame::Image, "{name}");
        }
        assert!(!path.join("nowhere").exists());
        assert!(dir.dir("real").is_ok() && dir.dir_or_new("new").is_ok());
        drop(socket);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_made_afresh_leaves_the_other_names_of_the_old_one_alone() {
        let (path, dir) = scratch("fresh");
        fs::write(path.join("kept"), "kept").unwrap();
        fs::hard_link(path.join("kept"), path.join("name")).unwrap();
        io::Write::write_all(&mut dir.new_file("name", 0o600).unwrap(), b"new").unwrap();
        assert_eq!(fs::read_to_string(path.join("kept")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(path.join("name")).unwrap(), "new");
        assert_eq!(dir.text("name", 3).unwrap(), "new");
        assert!(dir.text("name", 2).unwrap_err().message.contains("longer than 2"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_directory_is_held_whatever_becomes_of_its_name() {
        let (path, dir) = scratch("held");
        let inner = dir.dir_or_new("inner").unwrap();
        fs::rename(path.join("inner"), path.join("moved")).unwrap();
        symlink("/", path.join("inner")).unwrap();
        inner.new_file("here", 0o644).unwrap();
        assert!(path.join("moved/here").is_file());
        fs::write(path.join("moved").join(OsStr::from_bytes(b"\xff")), "").unwrap();
        assert_eq!(inner.names(), ["here"]);
        assert!(!inner.is_empty());
        fs::remove_dir_all(path).unwrap();
    }
}
