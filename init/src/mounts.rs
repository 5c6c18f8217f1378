//! The file systems of a container that the init makes itself.
//!
//! The image chose every name below its root: each mount's place is walked to name by name, and a
//! link in the way is the image's fault. All sources are the harness's or this machine's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::dir::{Dir, cannot, odd};
use crate::kernel::{
    self, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, MS_BIND, MS_NODEV, MS_NOEXEC,
    MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC,
};
use crate::protocol::{Failure, Namespaces};

/// Nodes that every program expects.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Parts of `/proc` and `/sys` that speak of the whole machine: hidden, and read-only.
const HIDDEN: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "proc/scsi",
    "sys/firmware",
    "sys/devices/virtual/powercap",
    "sys/fs/pstore",
];
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
/// Size of `/dev`, which holds a few names.
const DEV_BYTES: u64 = 64 << 10;

/// Makes the container's file systems and enters them: afterwards nothing else of the machine has a
/// name. Gives the root directory, and the attempt's storage, which is held open from before.
pub(crate) fn enter(namespaces: &Namespaces, single: bool) -> Result<(Dir, Dir), Failure> {
    let storage = Path::new(&namespaces.storage);
    let none = Path::new("");
    let private = kernel::mount(none, Path::new("/"), "", MS_REC | MS_PRIVATE, "");
    private.map_err(|error| cannot("keep mounts of the machine out of", Path::new("/"), &error))?;
    let root = mount_root(namespaces, storage)?;
    mount_proc_and_sys(&root)?;
    mount_dev(&root, namespaces)?;
    mount_private(&root, single)?;
    let held = Dir::open(storage).map_err(Failure::of_machine)?;
    for (source, target) in &namespaces.binds {
        bind_into(&root, Path::new(source), target)?;
    }
    let etc = root.dir_or_new("etc")?;
    let written = etc.new_file("hosts", 0o644)?.write_all(namespaces.hosts.as_bytes());
    written.map_err(|error| cannot("write", &etc.named("hosts"), &error))?;
    let named = kernel::set_host_name("medalist");
    named.map_err(|error| Failure::machine(format!("cannot set the host's name: {error}")))?;
    let entered = std::env::set_current_dir(storage.join("root"))
        .and_then(|()| kernel::become_root_directory());
    entered.map_err(|error| Failure::machine(format!("cannot enter the container: {error}")))?;
    Ok((Dir::open(Path::new("/"))?, held))
}

/// The image below what the attempt writes, or the attempt's own copy of it. Neither programs that
/// change their user nor devices work in it.
fn mount_root(namespaces: &Namespaces, storage: &Path) -> Result<Dir, Failure> {
    let place = storage.join("root");
    let cannot_mount = |error: std::io::Error| cannot("mount the image on", &place, &error);
    if namespaces.overlay {
        let (upper, work) = (storage.join("upper"), storage.join("work"));
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            namespaces.image,
            upper.display(),
            work.display()
        );
        let flags = MS_NOSUID | MS_NODEV;
        kernel::mount(Path::new("overlay"), &place, "overlay", flags, &options)
            .map_err(cannot_mount)?;
    } else {
        let upper = storage.join("upper");
        kernel::mount(&upper, &place, "", MS_BIND, "")
            .and_then(|()| kernel::restrict(&place, ATTR_NOSUID | ATTR_NODEV))
            .map_err(cannot_mount)?;
    }
    Dir::open_root(&place)
}

/// The place of a mount: the directory that it is in, and its name there. What is missing is made.
fn place(root: &Dir, path: &str, directory: bool) -> Result<PathBuf, Failure> {
    let mut names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let sound = |name: &&str| *name != "." && *name != "..";
    let last = names.pop().filter(|last| sound(last) && names.iter().all(sound));
    let last = last
        .ok_or_else(|| Failure::machine(format!("`/{path}` is no place to mount something at")))?;
    let mut dir = None;
    for name in names {
        dir = Some(dir.as_ref().unwrap_or(root).dir_or_new(name)?);
    }
    let dir = dir.as_ref().unwrap_or(root);
    if directory {
        dir.dir_or_new(last)?;
    } else {
        match dir.look(last)? {
            Some(facts) if facts.is_file() => {}
            Some(facts) => return Err(odd(&dir.named(last), &facts, "a plain file or nothing")),
            None => drop(dir.new_file(last, 0o644)?),
        }
    }
    // The directory is held only in here: by its own path, which nobody can change meanwhile.
    fs::canonicalize(dir.at(""))
        .map(|real| real.join(last))
        .map_err(|error| cannot("find", &dir.named(last), &error))
}

fn file_system(root: &Dir, path: &str, kind: &str, flags: u64, data: &str) -> Result<(), Failure> {
    let at = place(root, path, true)?;
    kernel::mount(Path::new(kind), &at, kind, flags, data)
        .map_err(|error| Failure::machine(format!("cannot mount `/{path}`: {error}")))
}

fn mount_proc_and_sys(root: &Dir) -> Result<(), Failure> {
    let closed = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    file_system(root, "proc", "proc", closed, "").map_err(|failure| {
        let hint = "where this machine's own /proc is partly hidden, as in containers, the kernel allows no new one";
        Failure { message: format!("{}; {hint}", failure.message), ..failure }
    })?;
    // Programs can do without it, and some machines do not allow it.
    let sys = place(root, "sys", true)?;
    let _ = kernel::mount(Path::new("sysfs"), &sys, "sysfs", closed | MS_RDONLY, "");
    for path in READ_ONLY {
        let at = root.at(path);
        if at.exists() {
            let done = kernel::mount(&at, &at, "", MS_BIND, "")
                .and_then(|()| kernel::restrict(&at, ATTR_RDONLY));
            done.map_err(|error| Failure::machine(format!("cannot close `/{path}`: {error}")))?;
        }
    }
    for path in HIDDEN {
        let at = root.at(path);
        let hidden = match fs::metadata(&at) {
            Ok(facts) if facts.is_dir() => {
                kernel::mount(Path::new("tmpfs"), &at, "tmpfs", closed | MS_RDONLY, "size=4096")
            }
            Ok(_) => kernel::mount(Path::new("/dev/null"), &at, "", MS_BIND, ""),
            Err(_) => Ok(()),
        };
        hidden.map_err(|error| Failure::machine(format!("cannot hide `/{path}`: {error}")))?;
    }
    Ok(())
}

fn mount_dev(root: &Dir, namespaces: &Namespaces) -> Result<(), Failure> {
    let quiet = MS_NOSUID | MS_NOEXEC;
    file_system(root, "dev", "tmpfs", quiet, &format!("mode=0755,size={DEV_BYTES}"))?;
    let dev = root.dir("dev").map_err(Failure::of_machine)?;
    for name in DEVICES {
        bind_node(root, &Path::new("/dev").join(name))?;
    }
    for node in &namespaces.devices {
        bind_node(root, Path::new(node))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.at(name)).map_err(|error| cannot("make", &dev.named(name), &error))?;
    }
    file_system(root, "dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")?;
    let closed = quiet | MS_NODEV;
    let size = match namespaces.shm_bytes {
        0 => "mode=1777".to_string(),
        bytes => format!("mode=1777,size={bytes}"),
    };
    file_system(root, "dev/shm", "tmpfs", closed, &size)?;
    // Message queues are used by next to nobody, and are a file system of their own in the kernel.
    let queues = place(root, "dev/mqueue", true)?;
    let _ = kernel::mount(Path::new("mqueue"), &queues, "mqueue", closed, "");
    Ok(())
}

fn bind_node(root: &Dir, node: &Path) -> Result<(), Failure> {
    let below = node.strip_prefix("/").unwrap_or(node);
    let at = place(root, &below.to_string_lossy(), false)?;
    let bound = kernel::mount(node, &at, "", MS_BIND, "")
        .and_then(|()| kernel::restrict(&at, ATTR_NOSUID | ATTR_NOEXEC));
    bound.map_err(|error| cannot("hand over", node, &error))
}

/// Where MLE-bench has the answers: empty, and closed for the agent, also for one that is root's
/// only user.
fn mount_private(root: &Dir, single: bool) -> Result<(), Failure> {
    let mode = if single { "mode=0000" } else { "mode=0700" };
    let closed = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    file_system(root, "private", "tmpfs", closed, &format!("{mode},size=4096"))
}

/// Mounts a directory or a file of the machine read-only.
fn bind_into(root: &Dir, source: &Path, target: &str) -> Result<(), Failure> {
    let facts = fs::metadata(source).map_err(|error| cannot("look at", source, &error))?;
    let at = place(root, target, facts.is_dir())?;
    kernel::mount(source, &at, "", MS_BIND | MS_REC, "")
        .and_then(|()| kernel::restrict(&at, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV))
        .map_err(|error| cannot("mount", source, &error))
}

/// Brings what the image has in a directory into the layer that the harness reads: afterwards that
/// layer alone shows all of it.
pub(crate) fn copy_up(dir: &Dir, depth: usize) {
    // Setting nothing is enough for the kernel to copy it.
    let touch = |path: &Path| std::os::unix::fs::lchown(path, None, None);
    for entry in dir.entries() {
        let Ok(facts) = entry.metadata() else { continue };
        let _ = touch(&entry.path());
        if facts.is_file() {
            // A later open for writing would copy it, too, and now its size counts as the image's.
            drop(File::options().append(true).open(entry.path()));
        }
        if facts.is_dir()
            && depth > 0
            && let Ok(name) = entry.file_name().into_string()
            && let Ok(below) = dir.dir(&name)
        {
            copy_up(&below, depth - 1);
        }
    }
}

/// Bytes on disk below a directory of the harness's own; links are not followed.
pub(crate) fn tree_bytes(path: &Path) -> u64 {
    let Ok(facts) = fs::symlink_metadata(path) else { return 0 };
    let own = facts.blocks() * 512;
    if !facts.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| tree_bytes(&entry.path())).sum::<u64>()
}
