//! The data directory: every path below it is built here.

use std::path::{Path, PathBuf};

/// The data directory, laid out as MLE-bench does:
///
/// ```text
/// <data-dir>/<id>/
///   <id>.zip             Kaggle's archive
///   raw/                 what it unpacks to, where that is kept
///   prepared/public/     what agents see
///   prepared/private/    the answers
///   manifest.json        every prepared file with its hash
///   prepare.json         how the data were prepared
///   leaderboard.json     a leaderboard of the user's own
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The data directory at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a competition.
    pub fn home(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Kaggle's archive.
    pub fn archive(&self, id: &str) -> PathBuf {
        self.home(id).join(format!("{id}.zip"))
    }

    /// The unpacked archive, where it is kept.
    pub fn raw(&self, id: &str) -> PathBuf {
        self.home(id).join("raw")
    }

    /// What preparation makes: both sides.
    pub fn prepared(&self, id: &str) -> PathBuf {
        self.home(id).join("prepared")
    }

    /// What agents see.
    pub fn public(&self, id: &str) -> PathBuf {
        self.prepared(id).join("public")
    }

    /// The answers.
    pub fn private(&self, id: &str) -> PathBuf {
        self.prepared(id).join("private")
    }

    /// Every prepared file with its hash.
    pub fn manifest(&self, id: &str) -> PathBuf {
        self.home(id).join("manifest.json")
    }

    /// How the data were prepared.
    pub fn prepare_record(&self, id: &str) -> PathBuf {
        self.home(id).join("prepare.json")
    }

    /// A leaderboard of the user's own.
    pub fn leaderboard(&self, id: &str) -> PathBuf {
        self.home(id).join("leaderboard.json")
    }

    /// Whether the competition is prepared: both sides are there.
    pub fn is_prepared(&self, id: &str) -> bool {
        self.public(id).is_dir() && self.private(id).is_dir()
    }
}
