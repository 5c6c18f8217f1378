//! Folders that images are built from, where they are not the user's own: those that the harness
//! carries, and those of agents that its launcher runs.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::settings::{AgentToml, Source};
use crate::attempt::build_context::{BuildContext, EntryKind};

/// Runs an agent's command and takes over what it leaves, see the file itself.
const LAUNCH: &str = include_str!("launch.sh");
/// The launcher's name in an agent's folder.
pub(super) const LAUNCHER: &str = "launch.sh";
/// Speaks the Agent Client Protocol to an agent, see the file itself.
const ACP_CLIENT: &str = include_str!("acp.py");
/// Its name in an agent's folder.
pub(super) const ACP: &str = "acp.py";
/// Stands for the package `mlebench`, and tells no score, see the file itself.
const VALIDATES: &str = include_str!("mlebench.py");
/// Its path in an agent's folder; the launcher looks for it there.
const VALIDATE_ONLY: &str = "validate_only/mlebench.py";
/// The folder of an agent's downloaded packages in its build context.
pub(crate) const WHEELS: &str = "wheels";

/// Files of a folder that no agent needs at run time.
const NOT_COPIED: [&str; 5] =
    [".dockerignore", "Dockerfile", "README.md", "agent.toml", "requirements.in"];

/// Writes the folder to the cache, unless it is there, and gives its path. The path holds the hash of
/// the files, and what is found there is only taken if it has this hash.
///
/// # Errors
/// The system's, and a file that is in nobody's way but must not be replaced.
pub(super) fn make(toml: &AgentToml, source: &Source<'_>, cache: &Path) -> io::Result<PathBuf> {
    let agents = cache.join("agents");
    fs_err::create_dir_all(&agents)?;
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(&agents)?;
    let dir = aside.path();
    match source {
        Source::Embedded(files) => {
            for (name, text) in *files {
                write_below(dir, name, text)?;
            }
        }
        Source::Folder(own) => copy(own, dir)?,
    }
    for (name, text, given) in [
        (LAUNCHER, LAUNCH, toml.is_launched()),
        (ACP, ACP_CLIENT, toml.is_acp()),
        (VALIDATE_ONLY, VALIDATES, toml.is_validate_only()),
    ] {
        if given {
            write_below(dir, name, text)?;
        }
    }
    if toml.is_tool() {
        let text = dockerfile(toml, dir)?;
        fs_err::write(dir.join("Dockerfile"), text)?;
    }
    let hash = hash(dir)?;
    let name: String =
        toml.id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let place = agents.join(format!("{name}-{}", &hash[..12]));
    if self::hash(&place).is_ok_and(|found| found == hash) {
        return Ok(place);
    }
    if place.exists() {
        fs_err::remove_dir_all(&place)?;
    }
    match fs_err::rename(aside.path(), &place) {
        // Another harness may have made it meanwhile.
        Err(_) if self::hash(&place).is_ok_and(|found| found == hash) => Ok(place),
        Err(error) => Err(error),
        Ok(()) => Ok(place),
    }
}

fn write_below(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = dir.join(name);
    path.parent().map_or(Ok(()), fs_err::create_dir_all)?;
    fs_err::write(path, text)
}

fn hash(dir: &Path) -> io::Result<String> {
    BuildContext::read(dir, Path::new("Dockerfile"))?.sha256()
}

/// Copies what `.dockerignore` leaves of a folder.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let context = BuildContext::read(from, Path::new("Dockerfile"))?;
    for entry in &context.entries {
        let target = to.join(&entry.path);
        match &entry.kind {
            EntryKind::Folder => fs_err::create_dir_all(&target)?,
            EntryKind::Link(to) => std::os::unix::fs::symlink(to, &target)?,
            EntryKind::File { .. } => {
                fs_err::copy(context.source(entry), &target)?;
            }
        }
    }
    Ok(())
}

/// The Dockerfile of a command-line tool: its packages in an environment of their own, whose programs
/// come after the system's, its install lines, and its files. It has few steps, since each costs a
/// look through the whole image where the engine stores layers without the kernel's help.
fn dockerfile(toml: &AgentToml, dir: &Path) -> io::Result<String> {
    let mut text = format!(
        "# Made from agent.toml.\nFROM {}\n\
         ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/agent/bin\n",
        toml.base()
    );
    let mut steps = Vec::new();
    if let Some(packages) = toml.packages() {
        let name = packages.display().to_string();
        let _ = writeln!(text, "COPY {}", serde_json::json!([name, WHEELS, "/opt/packages/"]));
        steps.push("python3 -m venv /opt/agent".to_owned());
        steps.push(format!(
            "/opt/agent/bin/pip install --no-index --no-deps --no-cache-dir --require-hashes \
             --find-links /opt/packages -r /opt/packages/{name}"
        ));
        steps.push("rm -r /opt/packages".to_owned());
    }
    let install = toml.install().unwrap_or_default().lines().map(str::trim);
    steps.extend(install.filter(|line| !line.is_empty()).map(str::to_owned));
    steps.push("mkdir -p /home/agent /home/code /home/logs".to_owned());
    let _ = writeln!(text, "RUN {}", steps.join(" && "));
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_packages = toml.packages().is_some_and(|packages| packages == Path::new(&name));
        match entry.file_type()?.is_dir() {
            _ if is_packages || NOT_COPIED.contains(&name.as_str()) => {}
            true => folders.push(name),
            false => files.push(name),
        }
    }
    files.sort();
    folders.sort();
    files.push("/home/agent/".to_owned());
    let _ = writeln!(text, "COPY {}", serde_json::json!(files));
    for name in folders {
        let target = format!("/home/agent/{name}");
        let _ = writeln!(text, "COPY {}", serde_json::json!([name, target]));
    }
    Ok(text)
}
