//! Raw files among the prepared ones: a second name where the file system has such, a copy elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::manifest::ManifestEntry;
use super::raw::create_new;
use super::{PrepareError, error_at};

/// How a file was put at its target.
pub(super) enum Put {
    /// Written, and hashed on the way.
    Hashed(ManifestEntry),
    /// Linked or copied by the system; it has so many bytes.
    Linked(u64),
}

/// Gives a file a second name or, across file systems, copies it.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<Put, PrepareError> {
    let mut from = from.to_owned();
    let mut metadata = fs::symlink_metadata(&from).map_err(error_at("read", &from))?;
    if metadata.is_symlink() {
        // A link to a symbolic link would be one itself.
        from = fs::canonicalize(&from).map_err(error_at("read", &from))?;
        metadata = fs::metadata(&from).map_err(error_at("read", &from))?;
    }
    match fs::hard_link(&from, to) {
        Ok(()) => Ok(Put::Linked(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(error_at("write", to)(error))
        }
        Err(_) => {
            let mut source = File::open(&from).map_err(error_at("read", &from))?;
            let mut target = create_new(to)?;
            io::copy(&mut source, &mut target).map(Put::Linked).map_err(error_at("write", to))
        }
    }
}

/// Fails if a link below a directory leads out of it: what was unpacked from a stranger's archive
/// must not carry files of this machine among the data.
pub(super) fn refuse_links_out(folder: &Path) -> Result<(), PrepareError> {
    let home = fs::canonicalize(folder).map_err(error_at("read", folder))?;
    for entry in walkdir::WalkDir::new(&home) {
        let entry = entry.map_err(|error| {
            let place = error.path().unwrap_or(&home).to_owned();
            error_at("read", &place)(error.into())
        })?;
        if !entry.path_is_symlink() {
            continue;
        }
        // A link that leads nowhere gives nothing away; whoever needs it will say that it is
        // missing.
        let Ok(target) = fs::canonicalize(entry.path()) else { continue };
        if !target.starts_with(&home) {
            let (link, folder) = (entry.into_path(), folder.to_owned());
            return Err(PrepareError::LinkOut { link, folder, target });
        }
    }
    Ok(())
}
