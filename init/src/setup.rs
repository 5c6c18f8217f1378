//! Makes /home what MLE-bench's entrypoint makes it, and starts the agent.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::dir::{Dir, cannot, odd};
use crate::kernel::OwnUser;
use crate::protocol::{FILES, Failure, INNER_DATA, INNER_LOG, IdMap, Launch};
use crate::seccomp;
use crate::sys;
use crate::trust;
use crate::user::{self, User};

/// Directories of the agent that the harness takes over.
pub(crate) const COLLECTED: [&str; 3] = ["submission", "logs", "code"];
const SCRIPT: &str = "validate_submission.sh";
/// Levels of directories that are opened for the agent; the rest is left as the image has it.
pub(crate) const DEPTH: usize = 200;

/// Prepares the container's directories; gives the bytes that this added to the container's layer.
///
/// `inner` is the directory that only root may enter, `control` the one in it.
pub(crate) fn prepare(
    root: &Dir,
    inner: &Dir,
    control: &Dir,
    launch: &Launch,
) -> Result<u64, Failure> {
    sys::umask(0o022);
    // The engine mounts an empty one over the image's, and may give it the mode of what it hides.
    if launch.namespaces.is_none() {
        root.dir_or_new("private")?.set_mode(0o700)?;
    }
    root.dir_or_new("tmp")?.set_mode(0o1777)?;
    let home = root.dir_or_new("home")?;
    for name in COLLECTED.into_iter().chain(["agent"]) {
        home.dir_or_new(name)?.set_mode(0o777)?;
    }
    let files = control.dir(FILES).map_err(Failure::of_machine)?;
    for name in files.names() {
        let mut from = files.plain_file(&name, File::options().read(true))?;
        let mut to = home.new_file(&name, 0o666)?;
        io::copy(&mut from, &mut to)
            .map_err(|error| cannot("write", &home.named(&name), &error))?;
    }
    if home.look(SCRIPT)?.is_none() {
        let program = match &launch.namespaces {
            Some(namespaces) => namespaces.program.clone().into(),
            None => std::env::current_exe().unwrap_or_default(),
        };
        let text = format!("#!/bin/sh\nexec {} validate \"$1\"\n", program.display());
        let written = home.new_file(SCRIPT, 0o777)?.write_all(text.as_bytes());
        written.map_err(|error| cannot("write", &home.named(SCRIPT), &error))?;
    }
    if launch.copy_data {
        copy_tree(
            &inner.dir(INNER_DATA).map_err(Failure::of_machine)?,
            &home.dir_or_new("data")?,
            0,
        )?;
    } else {
        home.dir("data")?;
    }
    let mut copied = match launch.trust {
        true => trust::install(root, control, &trust::own_bundles(&launch.env))?,
        false => 0,
    };
    let facts = home.facts()?;
    open_up(&home, facts.mode(), facts.dev(), 0, &mut copied);
    Ok(copied)
}

/// Readable and writable for all, as MLE-bench's `chmod a+rw` below /home. Links and what is
/// mounted are left alone. Adds up the files that the storage driver must copy for it.
fn open_up(dir: &Dir, mode: u32, device: u64, depth: usize, copied: &mut u64) {
    if mode & 0o666 != 0o666 {
        // The directory may be one that cannot be changed; then it stays as the image has it.
        let _ = dir.set_mode(mode & 0o7777 | 0o666);
    }
    for entry in dir.entries() {
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_symlink() || (facts.is_dir() && facts.dev() != device) {
            continue;
        }
        // A mode that is right already is not set again: it would copy the file up from the image.
        if !facts.is_dir() && facts.mode() & 0o666 != 0o666 {
            let mode = Permissions::from_mode(facts.mode() & 0o7777 | 0o666);
            if fs::set_permissions(entry.path(), mode).is_ok() && facts.is_file() {
                *copied += facts.blocks() * 512;
            }
        }
        if facts.is_dir()
            && depth < DEPTH
            && let Ok(name) = entry.file_name().into_string()
            && let Ok(below) = dir.dir(&name)
        {
            open_up(&below, facts.mode(), device, depth + 1, copied);
        }
    }
}

/// Copies the harness's own files into a directory that the image may have filled before.
fn copy_tree(from: &Dir, to: &Dir, depth: usize) -> Result<(), Failure> {
    if depth > DEPTH {
        return Err(Failure::machine("the public data are nested too deeply to be copied"));
    }
    for name in from.names() {
        let facts = fs::metadata(from.at(&name));
        let facts = facts.map_err(|error| cannot("look at", &from.named(&name), &error))?;
        if facts.is_dir() {
            copy_tree(&from.dir(&name)?, &to.dir_or_new(&name)?, depth + 1)?;
        } else {
            let mut data = File::open(from.at(&name))
                .map_err(|error| cannot("open", &from.named(&name), &error))?;
            let mut copy = to.new_file(&name, 0o666)?;
            io::copy(&mut data, &mut copy)
                .map_err(|error| cannot("write", &to.named(&name), &error))?;
        }
    }
    Ok(())
}

/// Which of the agent's directories hold nothing, now that none of its processes is left.
pub(crate) fn empty_directories(home: &Path) -> Vec<String> {
    let empty = |name: &&&str| {
        let walk = || -> Result<bool, Failure> { Ok(Dir::open(home)?.dir(name)?.is_empty()) };
        walk().unwrap_or(false)
    };
    COLLECTED.iter().filter(empty).map(ToString::to_string).collect()
}

/// Whether `submission.csv` is all that the agent submitted, so that nothing else need be fetched.
pub(crate) fn is_lone_submission(home: &Path) -> bool {
    let walk = || -> Result<bool, Failure> {
        let dir = Dir::open(home)?.dir("submission")?;
        let plain = dir.look("submission.csv")?.is_some_and(|facts| facts.is_file());
        Ok(plain && dir.entries().take(2).count() == 1)
    };
    walk().unwrap_or(false)
}

/// What an agent is started in.
pub(crate) struct Container<'a> {
    pub(crate) root: &'a Dir,
    /// Its users and groups, where the init made them.
    pub(crate) maps: Option<(&'a IdMap, &'a IdMap)>,
}

/// Starts the agent with its output in `output`, and gives its process id; `container` is where, if
/// not beside this process.
pub(crate) fn spawn_agent(
    launch: &Launch,
    container: Option<&Container<'_>>,
    output: OwnedFd,
) -> Result<i32, Failure> {
    let errors = output
        .try_clone()
        .map_err(|error| Failure::machine(format!("cannot copy a descriptor: {error}")))?;
    let mut command = Command::new(&launch.argv[0]);
    command.args(&launch.argv[1..]);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut credentials = sys::Credentials {
        ids: None,
        no_new_privileges: !launch.privileged,
        nofile: launch.nofile,
        workdirs: Vec::new(),
        without_engine: None,
    };
    match container {
        Some(Container { root, maps }) => {
            let mut user = User::choose(root)?;
            let mut one_user = false;
            if let Some((users, groups)) = maps {
                one_user = users.is_single();
                user = mapped(user, users, groups)?;
                credentials.without_engine = Some(sys::WithoutEngine {
                    nproc: launch.watch_pids,
                    fsize: launch.fsize,
                    own_user: one_user.then(|| OwnUser::new(user.id, user.group)),
                    filter: seccomp::program(),
                });
            }
            make_home(root, &user, one_user)?;
            command.env("HOME", &user.home).env("USER", user::NAME);
            credentials.ids = Some((user.id, user.group, user.groups));
            // Opened here and entered after the switch, so that it is the agent's rights that count.
            credentials.workdirs.extend(launch.workdir.as_deref().and_then(sys::open_workdir));
            credentials.workdirs.extend(sys::open_workdir(&launch.home));
        }
        None => {
            command.current_dir(&launch.home);
        }
    }
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    sys::before_exec(&mut command, credentials);
    let child = command
        .spawn()
        .map_err(|error| not_started(&launch.argv[0], &error, container.is_some()))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    // When memory runs out the kernel must take the agent's processes, not this one.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
    Ok(pid)
}

/// The user as the container's maps allow it. Groups beside its own that are nobody there are left
/// out; with one user for all it has no others.
fn mapped(user: User, users: &IdMap, groups: &IdMap) -> Result<User, Failure> {
    if users.is_single() {
        return Ok(User { groups: vec![user.group], ..user });
    }
    for (map, id, what) in [(users, user.id, "user"), (groups, user.group, "group")] {
        if !map.has(id) {
            let most = map.0.iter().map(|(inside, _, count)| inside + (count - 1)).max();
            return Err(Failure::image(format!(
                "`{}` has the {what} number {id}, and this machine gives the container none above {}",
                user::NAME,
                most.unwrap_or(0)
            )));
        }
    }
    let known = user.groups.iter().copied().filter(|group| groups.has(*group)).collect();
    Ok(User { groups: known, ..user })
}

/// The user's own directory, if it is below /home and not there.
fn make_home(root: &Dir, user: &User, one_user: bool) -> Result<(), Failure> {
    let Some(name) = user.own_directory() else { return Ok(()) };
    let home = root.dir("home")?;
    match home.look(name)? {
        Some(facts) if facts.is_dir() => Ok(()),
        Some(facts) => Err(odd(&home.named(name), &facts, "a directory")),
        None => {
            let made = fs::DirBuilder::new().mode(0o755).create(home.at(name));
            made.and_then(|()| {
                if one_user {
                    return Ok(());
                }
                std::os::unix::fs::lchown(home.at(name), Some(user.id), Some(user.group))
            })
            .map_err(|error| cannot("make", &home.named(name), &error))
        }
    }
}

/// What an agent that did not start says about the image, or about the machine.
fn not_started(program: &str, error: &io::Error, container: bool) -> Failure {
    const ENOMEM: i32 = 12;
    const EAGAIN: i32 = 11;
    let hint = match error.raw_os_error() {
        Some(sys::SWITCH_FAILED) => {
            return Failure::machine(
                "the switch to the agent's user did not hold, so it was not started",
            );
        }
        Some(ENOMEM | EAGAIN) => "",
        _ if error.kind() == io::ErrorKind::NotFound && program == "bash" => {
            "; the image has no bash, which agents are started with: put it in, or name another `command` in agent.toml"
        }
        _ if error.kind() == io::ErrorKind::NotFound => {
            "; the image has no such program, or not the interpreter that its first line names"
        }
        // ENOEXEC.
        Some(8) => "; it is no program of this machine's architecture, or a script without `#!`",
        _ => "; its user must be able to read and execute it",
    };
    let message = format!("cannot start `{program}`: {error}");
    if hint.is_empty() || !container {
        Failure::machine(message)
    } else {
        Failure::image(format!("{message}{hint}"))
    }
}

/// Opens the file that keeps the agent's output.
pub(crate) fn open_log(inner: Option<&Dir>, launch: &Launch) -> Result<File, Failure> {
    let mut options = File::options();
    options.append(true);
    match inner {
        Some(inner) => inner.plain_file(INNER_LOG, &mut options).map_err(Failure::of_machine),
        None => {
            let path = Path::new(&launch.log);
            let file = options.create(true).custom_flags(sys::O_NOFOLLOW).open(path);
            file.map_err(|error| cannot("open", path, &error))
        }
    }
}

/// Closes what a container runtime may have left open, before anything can inherit it.
pub(crate) fn close_inherited() {
    let fds = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let fds: Vec<i32> = fds
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    fds.into_iter().for_each(sys::close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Blame;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path =
            std::env::temp_dir().join(format!("medalist-setup-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_prepared_root_has_what_the_agent_needs_and_nothing_is_followed() {
        let path = scratch("root");
        fs::create_dir_all(path.join("home/data")).unwrap();
        fs::create_dir_all(path.join("home/agent/sub")).unwrap();
        fs::write(path.join("home/agent/sub/tool"), "x").unwrap();
        fs::set_permissions(path.join("home/agent/sub/tool"), Permissions::from_mode(0o700))
            .unwrap();
        fs::write(path.join("outside"), "x").unwrap();
        fs::set_permissions(path.join("outside"), Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("../../outside", path.join("home/agent/link")).unwrap();
        fs::create_dir_all(path.join("inner/control/files")).unwrap();
        fs::write(path.join("inner/control/files/instructions.txt"), "do").unwrap();
        let root = Dir::open(&path).unwrap();
        let inner = root.dir("inner").unwrap();
        let control = inner.dir("control").unwrap();
        let bytes = prepare(&root, &inner, &control, &Launch::default()).unwrap();
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o7777;
        for (name, expected) in [
            ("home", 0o777),
            ("home/code", 0o777),
            ("home/agent/sub", 0o777),
            ("home/agent/sub/tool", 0o766),
            ("home/instructions.txt", 0o666),
            ("tmp", 0o1777),
            ("private", 0o700),
            ("outside", 0o600),
        ] {
            assert_eq!(mode(name), expected, "{name}");
        }
        assert!(bytes >= 512, "{bytes}");
        assert_eq!(empty_directories(&path.join("home")), ["submission", "logs", "code"]);
        assert!(!is_lone_submission(&path.join("home")));
        fs::write(path.join("home/submission/submission.csv"), "id").unwrap();
        assert!(is_lone_submission(&path.join("home")));
        fs::write(path.join("home/submission/.hidden"), "").unwrap();
        assert!(!is_lone_submission(&path.join("home")));
        assert_eq!(empty_directories(&path.join("home")), ["logs", "code"]);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_stands_in_the_way_blames_the_image() {
        for name in [
            "home",
            "home/agent",
            "home/code",
            "home/submission",
            "home/logs",
            "home/data",
            "tmp",
            "private",
            "home/instructions.txt",
        ] {
            let path = scratch("way");
            for dir in ["home/data", "inner/control/files", "elsewhere"] {
                fs::create_dir_all(path.join(dir)).unwrap();
            }
            fs::write(path.join("inner/control/files/instructions.txt"), "do").unwrap();
            let _ = fs::remove_dir_all(path.join(name));
            std::os::unix::fs::symlink(path.join("elsewhere"), path.join(name)).unwrap();
            let root = Dir::open(&path).unwrap();
            let inner = root.dir("inner").unwrap();
            let control = inner.dir("control").unwrap();
            let error = prepare(&root, &inner, &control, &Launch::default()).unwrap_err();
            assert_eq!(error.blame, Blame::Image, "{name}: {}", error.message);
            assert!(error.message.contains("a symbolic link"), "{}", error.message);
            assert_eq!(fs::read_dir(path.join("elsewhere")).unwrap().count(), 0, "{name}");
            fs::remove_dir_all(path).unwrap();
        }
    }

    #[test]
    fn the_log_is_a_plain_file() {
        let path = scratch("log");
        fs::write(path.join("run.log"), "").unwrap();
        let dir = Dir::open(&path).unwrap();
        let mut log = open_log(Some(&dir), &Launch::default()).unwrap();
        log.write_all(b"line").unwrap();
        assert_eq!(fs::read_to_string(path.join("run.log")).unwrap(), "line");
        fs::remove_file(path.join("run.log")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path.join("run.log")).unwrap();
        assert!(open_log(Some(&dir), &Launch::default()).is_err());
        fs::remove_dir_all(path).unwrap();
    }
}
