//! Archives in and out: zip (also beyond 4 GiB), 7z and tar.
//!
//! What comes in is not trusted: names must stay inside the target folder, links and devices are
//! refused, sizes are bounded and nothing is overwritten. What goes out is the same bytes for the
//! same input: fixed times, given order.

mod guard;
mod other;
mod pack;
mod shared_file;
#[cfg(test)]
mod tests;
mod unpack;
mod zip_names;
mod zip_source;

use std::path::PathBuf;

pub(crate) use guard::{Guard, safe_path};
pub(crate) use pack::Packing;
pub(crate) use unpack::{ArchiveKind, tar_names, unpack};
pub(crate) use zip_source::{CopyError, ZipReader, ZipSource};

/// What went wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is no archive of its kind, or only a part of one.
    #[error("`{archive}` is not a whole {kind} archive ({reason}); it may be cut short")]
    Unreadable {
        archive: String,
        /// `zip`, `7z` or `tar`.
        kind: &'static str,
        /// The reason in the decoder's words.
        reason: String,
    },
    /// The file is no archive but something else.
    #[error("`{archive}` is not a {kind} archive but {what}")]
    Other {
        archive: String,
        /// `zip`, `7z` or `tar`.
        kind: &'static str,
        /// What it is.
        what: String,
    },
    /// A member whose data are damaged.
    #[error("member `{member}` of `{archive}` cannot be read ({reason})")]
    Member {
        archive: String,
        member: String,
        /// The reason in the decoder's words.
        reason: String,
    },
    /// A member that must not be unpacked.
    #[error("member `{member}` of `{archive}` is refused: {what}")]
    Refused {
        archive: String,
        member: String,
        /// What is wrong with it.
        what: String,
    },
    /// An archive that would unpack to far more than it can honestly hold.
    #[error("`{archive}` is refused: {what}")]
    Bomb {
        archive: String,
        /// What was found and what is allowed.
        what: String,
    },
}
