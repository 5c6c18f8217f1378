//! The data directory: every path below it is built here.

use std::path::{Path, PathBuf};

use crate::CompetitionId;

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
///   .preparing/          a preparation at work, laid out alike
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

    /// A competition's folder.
    pub fn competition(&self, id: &CompetitionId) -> CompetitionDir {
        CompetitionDir::new(self.root.join(id.as_str()))
    }

    /// Kaggle's archive.
    pub fn archive(&self, id: &CompetitionId) -> PathBuf {
        self.competition(id).archive(id)
    }

    /// The unpacked archive, where it is kept.
    pub fn raw(&self, id: &CompetitionId) -> PathBuf {
        self.competition(id).raw()
    }

    /// What preparation makes: both sides.
    pub fn prepared(&self, id: &CompetitionId) -> PathBuf {
        self.competition(id).prepared()
    }

    /// What agents see.
    pub fn public(&self, id: &CompetitionId) -> PathBuf {
        self.competition(id).public()
    }

    /// The answers.
    pub fn private(&self, id: &CompetitionId) -> PathBuf {
        self.competition(id).private()
    }

    /// Whether the competition is prepared: both sides are there.
    pub fn is_prepared(&self, id: &CompetitionId) -> bool {
        self.public(id).is_dir() && self.private(id).is_dir()
    }
}

/// A competition's folder in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompetitionDir {
    root: PathBuf,
}

impl CompetitionDir {
    /// What agents see, below `prepared/`.
    pub const PUBLIC: &'static str = "public";
    /// The answers, below `prepared/`.
    pub const PRIVATE: &'static str = "private";

    /// The folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kaggle's archive.
    pub fn archive(&self, id: &CompetitionId) -> PathBuf {
        self.root.join(format!("{id}.zip"))
    }

    /// The unpacked archive, where it is kept.
    pub fn raw(&self) -> PathBuf {
        self.root.join("raw")
    }

    /// What preparation makes: both sides.
    pub fn prepared(&self) -> PathBuf {
        self.root.join("prepared")
    }

    /// What agents see.
    pub fn public(&self) -> PathBuf {
        self.prepared().join(Self::PUBLIC)
    }

    /// The answers.
    pub fn private(&self) -> PathBuf {
        self.prepared().join(Self::PRIVATE)
    }

    /// Every prepared file with its hash.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    /// How the data were prepared.
    pub fn prepare_record(&self) -> PathBuf {
        self.root.join("prepare.json")
    }

    /// A leaderboard of the user's own.
    pub fn leaderboard(&self) -> PathBuf {
        self.root.join("leaderboard.json")
    }

    /// Where a preparation works, laid out alike, until all of it is put in place at once.
    pub(crate) fn aside(&self) -> Self {
        Self::new(self.root.join(".preparing"))
    }

    /// Held by the process that prepares.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }
}
