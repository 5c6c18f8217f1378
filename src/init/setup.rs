//! Makes /home what MLE-bench's entrypoint makes it, and starts the agent.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Config;
use crate::sys;

/// Where the harness mounts this program.
const SELF: &str = "/.medalist-init";
const USER: &str = "nonroot";
/// Directories of the agent that the harness takes over.
pub const COLLECTED: [&str; 3] = ["submission", "logs", "code"];

pub fn prepare_home(control: &Path, config: &Config) -> Result<(), String> {
    sys::umask(0o022);
    // What lies beside the control directory is the harness's, not the agent's.
    if let Some(outer) = control.parent() {
        set_mode(outer, 0o700)?;
    }
    let home = &config.home;
    for name in COLLECTED.into_iter().chain(["agent"]) {
        make_directory(&home.join(name), 0o777)?;
    }
    // The engine mounts an empty one over the image's, and may give it the mode of what it hides.
    make_directory(Path::new("/private"), 0o700)?;
    make_directory(Path::new("/tmp"), 0o1777)?;
    for entry in fs::read_dir(control.join("files")).into_iter().flatten().flatten() {
        let to = home.join(entry.file_name());
        fs::copy(entry.path(), &to)
            .map_err(|error| format!("cannot write `{}`: {error}", to.display()))?;
    }
    let script = home.join("validate_submission.sh");
    if !script.exists() {
        let text = format!("#!/bin/sh\nexec {SELF} validate \"$1\"\n");
        fs::write(&script, text)
            .map_err(|error| format!("cannot write `{}`: {error}", script.display()))?;
        set_mode(&script, 0o755)?;
    }
    if let Some(from) = &config.copy_data {
        copy_tree(from, &home.join("data"))
            .map_err(|error| format!("cannot copy the data: {error}"))?;
    }
    let data = if config.copy_data.is_some() { PathBuf::new() } else { home.join("data") };
    open_up(home, &data);
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| format!("cannot set the mode of `{}`: {error}", path.display()))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), String> {
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Ok(()) => set_mode(path, mode),
        Err(error) => Err(format!("cannot make `{}`: {error}", path.display())),
    }
}

/// Readable and writable for all, as MLE-bench's `chmod a+rw` below /home; links are left alone,
/// and so is the data.
fn open_up(path: &Path, except: &Path) {
    if path == except {
        return;
    }
    let Ok(facts) = fs::symlink_metadata(path) else { return };
    if facts.file_type().is_symlink() {
        return;
    }
    // A mode that is right already is not set again: it would copy the file up from the image.
    if facts.mode() & 0o666 != 0o666 {
        let _ = fs::set_permissions(path, Permissions::from_mode(facts.mode() & 0o7777 | 0o666));
    }
    if facts.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            open_up(&entry.path(), except);
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if fs::metadata(from)?.is_dir() {
        DirBuilder::new().recursive(true).mode(0o777).create(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(|_| ())
}

/// True for a directory, and no link to one, that holds nothing.
pub fn is_empty_directory(path: &Path) -> bool {
    let real = fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir());
    real && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

struct User {
    id: u32,
    group: u32,
    groups: Vec<u32>,
    home: PathBuf,
}

/// The user `nonroot` of the image, or one with the ids it would have, added to the image's tables.
fn find_user() -> User {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let row = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|row| row.first() == Some(&USER));
    if let Some(row) = row
        && let [_, _, id, group, _, home, ..] = row.as_slice()
        && let (Ok(id), Ok(group)) = (id.parse(), group.parse())
        && id != 0
    {
        let mut member_of = vec![group];
        for line in groups.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [_, _, number, members] = fields.as_slice()
                && members.split(',').any(|member| member == USER)
                && let Ok(number) = number.parse()
            {
                member_of.push(number);
            }
        }
        return User { id, group, groups: member_of, home: PathBuf::from(home) };
    }
    let taken =
        |id: u32| passwd.lines().any(|line| line.split(':').nth(2) == Some(&id.to_string()));
    let id = (1000..2000).find(|id| !taken(*id)).unwrap_or(1000);
    let home = format!("/home/{USER}");
    // Some images have no tables, or cannot be written to: the agent then runs under a bare number.
    let _ = fs::create_dir_all("/etc");
    append("/etc/passwd", &format!("{USER}:x:{id}:{id}::{home}:/bin/sh\n"));
    append("/etc/group", &format!("{USER}:x:{id}:\n"));
    User { id, group: id, groups: vec![id], home: PathBuf::from(home) }
}

fn append(path: &str, line: &str) {
    let file = File::options().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// Starts the agent with its output in `output`, and gives its process id.
pub fn spawn_agent(config: &Config, output: OwnedFd) -> Result<i32, String> {
    let errors =
        output.try_clone().map_err(|error| format!("cannot copy a descriptor: {error}"))?;
    let mut command = Command::new(&config.argv[0]);
    command.args(&config.argv[1..]).current_dir(&config.home);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut ids = None;
    if config.container {
        let user = find_user();
        if !user.home.exists() && fs::create_dir_all(&user.home).is_ok() {
            sys::change_owner(&user.home, user.id, user.group);
        }
        command.env("HOME", &user.home).env("USER", USER);
        ids = Some((user.id, user.group, user.groups));
    }
    command.envs(config.env.iter().map(|(name, value)| (name, value)));
    let credentials =
        sys::Credentials { ids, no_new_privileges: !config.privileged, nofile: config.nofile };
    sys::before_exec(&mut command, credentials);
    let child =
        command.spawn().map_err(|error| format!("cannot start `{}`: {error}", config.argv[0]))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    // When memory runs out the kernel must take the agent's processes, not this one.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
    Ok(pid)
}
