//! Copies of an agent's code, beside those of its submission.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::attempt::dir::AttemptDir;
use crate::host::files::{Hashed, if_there};
use crate::sandbox::Running;

/// The code of an agent at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCopy {
    /// The folder with it: that of an earlier copy if nothing has changed since.
    pub path: PathBuf,
    /// Files that were left out: too large, or no plain files.
    pub left_out: u64,
}

/// The copies of one attempt.
#[derive(Debug, Default)]
pub(super) struct CodeCopies {
    last: Option<(CodeCopy, String)>,
}

impl CodeCopies {
    /// Copies the code, and gives the copy with the bytes that it takes; none if there is no code.
    pub(super) async fn take(
        &mut self,
        running: &dyn Running,
        dir: &AttemptDir,
        after_s: u64,
    ) -> Option<(CodeCopy, u64)> {
        let path = dir.snapshot_of_code(after_s);
        let left_out = match running.snapshot_code(&path).await {
            Ok(left_out) => left_out,
            Err(error) => {
                tracing::debug!(%error, "no copy of the code");
                return None;
            }
        };
        let below = path.clone();
        let read = tokio::task::spawn_blocking(move || read(&below)).await;
        let (sha256, bytes) = read.map_err(io::Error::other).flatten().ok().flatten()?;
        match &self.last {
            Some((last, known)) if *known == sha256 => {
                remove(&path);
                Some((CodeCopy { left_out, ..last.clone() }, 0))
            }
            _ => {
                let copy = CodeCopy { path, left_out };
                self.last = Some((copy.clone(), sha256));
                Some((copy, bytes))
            }
        }
    }
}

/// Removes a copy for which there is no room or no need.
pub(super) fn remove(path: &Path) {
    if let Err(error) = if_there(std::fs::remove_dir_all(path)) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a copy of the code");
    }
}

/// A hash of all that lies below a folder, and how many bytes; none if no file does.
fn read(folder: &Path) -> io::Result<Option<(String, u64)>> {
    let mut all = Sha256::new();
    let mut bytes = 0;
    let files = files_below(folder)?;
    for path in &files {
        let mut file = Hashed::new(std::fs::File::open(path)?);
        io::copy(&mut file, &mut io::sink())?;
        let (sha256, length, _) = file.finish();
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        // No name has a zero, and no hash another length.
        all.update(name.as_bytes());
        all.update([0]);
        all.update(sha256);
        bytes += length;
    }
    Ok((!files.is_empty()).then(|| (hex::encode(all.finalize()), bytes)))
}

/// Bytes of all files below a folder.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let files = files_below(folder).unwrap_or_default();
    files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// All files below a folder that this program has made, in order.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = WalkDir::new(folder).into_iter().filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => None,
        Ok(entry) => Some(Ok(entry.into_path())),
        Err(error) => Some(Err(io::Error::from(error))),
    });
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.sort_unstable();
    Ok(files)
}
