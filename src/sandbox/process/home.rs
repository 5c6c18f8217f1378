//! The folder that stands for `/home` where an attempt is a plain process.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::attempt::launch::{DataMode, LaunchSpec};
use crate::sandbox::salvage;

/// Makes the folder anew, with the agent's files and the public data in it.
pub(super) fn prepare_home(
    spec: &LaunchSpec,
    home: &Path,
    agent_dir: Option<&Path>,
) -> io::Result<()> {
    salvage::fresh_directory(home)?;
    for name in ["submission", "logs", "code", "agent", "data", "nonroot", "tmp"] {
        fs_err::create_dir(home.join(name))?;
    }
    if let Some(agent_dir) = agent_dir {
        copy_tree(agent_dir, &home.join("agent"))?;
    }
    let data = home.join("data");
    for entry in fs_err::read_dir(&spec.public_dir)? {
        let entry = entry?;
        let place = data.join(entry.file_name());
        match spec.data_mode {
            _ if entry.file_name() == "description.md" => {}
            DataMode::ReadOnly => fs_err::os::unix::fs::symlink(entry.path(), place)?,
            DataMode::Copy => copy_tree(&entry.path(), &place)?,
        }
    }
    fs_err::write(data.join("description.md"), &spec.description)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if fs_err::metadata(from)?.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in fs_err::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs_err::copy(from, to).map(|_| ())
}

/// Bytes on disk below a directory; links are not followed.
pub(crate) fn tree_bytes(path: &Path) -> u64 {
    let Ok(facts) = std::fs::symlink_metadata(path) else { return 0 };
    let own = facts.blocks() * 512;
    if !facts.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| tree_bytes(&entry.path())).sum::<u64>()
}
