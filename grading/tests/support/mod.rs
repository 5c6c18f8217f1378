//! Where golden gradings are, and what they are graded by.

use std::path::{Path, PathBuf};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `competition.toml` of a golden folder: its own, as a metric has that no competition of the
/// catalogue uses, else the catalogue's.
pub(crate) fn entry_of(folder: &Path) -> PathBuf {
    let own = folder.join("competition.toml");
    if own.is_file() {
        return own;
    }
    let id = folder.file_name().expect("a folder of `tests/golden/grading` has a name");
    repository().join("competitions/catalog").join(id).join("competition.toml")
}
