//! What is known of one competition: the facts of its `competition.toml` and the texts beside it.

mod check;
mod open;
mod source;
pub mod split;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::nearest::suggestion;
pub use open::{Candidate, OpenChoice, OpenChoices};
pub use source::SourceSpec;
use split::SplitSpec;
pub(crate) use text::TomlText;

/// The name of a competition, which is also the name of its folder: letters, digits, `-`, `_` and
/// `.`, as Kaggle has them.
///
/// Only parsing makes one, so an id is always safe to use as a path component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CompetitionId(String);

impl CompetitionId {
    const MAX_LENGTH: usize = 100;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot be a competition's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a competition id: expected 1 to 100 letters, digits, `-`, `_` or `.`, the first a letter or digit"
)]
pub struct CompetitionIdError(pub String);

impl FromStr for CompetitionId {
    type Err = CompetitionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= Self::MAX_LENGTH
            && text.chars().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(CompetitionIdError(text.chars().take(Self::MAX_LENGTH).collect()))
        }
    }
}

impl TryFrom<String> for CompetitionId {
    type Error = CompetitionIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CompetitionId> for String {
    fn from(id: CompetitionId) -> Self {
        id.0
    }
}

impl AsRef<str> for CompetitionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CompetitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A fixed set of words: the enum, its list, and the word of each variant for files, flags and
/// tables.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident ($what:literal) { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order in which tables list them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used in files, flags and tables.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let known: Vec<String> = Self::ALL.iter().map(|value| format!("`{value}`")).collect();
                    let nearest = suggestion(text, Self::ALL.iter().map(|value| value.as_str()));
                    format!("`{text}` is not a {}: expected one of {}{nearest}", $what, known.join(", "))
                })
            }
        }
    };
}

words! {
    /// The kind of data that dominates a competition; [`Modality::Multimodal`] only where no single
    /// kind does.
    Modality ("modality") {
        Image = "image",
        Text = "text",
        Tabular = "tabular",
        /// Values sampled over time: sensor traces, EEG, radio signals.
        TimeSeries = "time-series",
        Audio = "audio",
        Video = "video",
        /// Strings of biology: RNA, proteins.
        Sequence = "sequence",
        Multimodal = "multimodal",
    }
}

words! {
    /// How hard MLE-bench holds a competition to be, which is also the split it belongs to.
    Complexity ("complexity") {
        Low = "low",
        Medium = "medium",
        High = "high",
        /// MLE-bench's seven competitions for development, outside the 75.
        Dev = "dev",
        /// The embedded demo suite.
        Demo = "demo",
        /// Those whose data come in packages of public registries.
        Open = "open",
        /// Not rated; the default of a user's own competition.
        Unrated = "unrated",
    }
}

words! {
    /// What is wrong with a competition.
    IssueKind ("kind of issue") {
        /// Public files give test labels away.
        Leak = "leak",
        /// Train and test are not divided as the task says.
        BrokenSplit = "broken-split",
        /// The score is not what the metric's name says, or accepts what it should not.
        Grader = "grader",
        /// Prepared files are incomplete, empty or inconsistent.
        Data = "data",
        /// Published checksums do not fit the data.
        Checksum = "checksum",
        /// The medal thresholds say little about skill.
        Leaderboard = "leaderboard",
    }
}

words! {
    /// Where medal thresholds come from.
    ThresholdSource ("source of thresholds") {
        /// Computed from a final leaderboard by MLE-bench's rule.
        Leaderboard = "leaderboard",
        /// Taken from published grading reports, where the leaderboard at hand is incomplete.
        Report = "report",
        /// Chosen by the competition's author.
        Author = "author",
    }
}

/// One competition: the facts of its `competition.toml` and the texts beside it.
///
/// Unknown keys are errors, so a misspelt one is never silently ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompetitionSpec {
    /// Name of the folder, of the data directory's entry and of the competition in every record.
    pub id: CompetitionId,
    /// The competition's name for people.
    pub title: String,
    /// Where Kaggle has it (`kaggle.com/competitions/<slug>`), if it does.
    pub kaggle_slug: Option<String>,
    /// The kind of data that dominates.
    pub modality: Modality,
    /// MLE-bench's finer label, such as `Image Segmentation`.
    pub category: Option<String>,
    /// The split it belongs to.
    #[serde(default = "unrated")]
    pub complexity: Complexity,
    /// Size of the download in units of 10^9 bytes, where known.
    pub size_gb: Option<f64>,
    /// The day on which it ended on Kaggle, where known.
    pub ended: Option<NaiveDate>,
    /// Where the prepared files are.
    pub data: DataPaths,
    /// Scores that earn medals; `None` where nothing is known, and then no medal is given.
    pub thresholds: Option<PublishedThresholds>,
    /// What is wrong with the task, from public sources.
    #[serde(default)]
    pub known_issues: Vec<KnownIssue>,
    /// How submissions are scored.
    pub grading: medalist_grading::GradingSpec,
    /// The package that carries the raw data, where Kaggle does not.
    pub source: Option<SourceSpec>,
    /// How a user's own competition is prepared, if not by hand.
    pub prepare: Option<PrepareSpec>,
    /// How the data are prepared where that can be said without a program.
    pub split: Option<SplitSpec>,
    /// What is still to be decided; such a competition is neither prepared nor graded.
    #[serde(default)]
    pub open: Vec<OpenChoice>,
    #[serde(skip)]
    files: FolderFiles,
}

fn unrated() -> Complexity {
    Complexity::Unrated
}

/// The program that prepares a user's own competition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The program and its arguments; it runs in the competition's folder.
    pub command: Vec<String>,
    /// How long it may take, in seconds; six hours if left out.
    pub timeout_s: Option<u64>,
    /// How much memory each of its processes may take, in units of 10^9 bytes; 64 if left out.
    pub memory_gb: Option<f64>,
}

/// Where the prepared files are, relative to `<data-dir>/<id>/prepared/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPaths {
    /// What grading reads, such as `private/test.csv`.
    pub answers: String,
    /// A submission of the best score, where the answers themselves are not shaped like one.
    pub gold_submission: Option<String>,
    /// A valid submission without knowledge, such as `public/sample_submission.csv`; some are
    /// private.
    pub sample_submission: String,
}

/// Scores that earn medals, all inclusive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedThresholds {
    /// Score that earns gold.
    pub gold: f64,
    /// Score that earns silver.
    pub silver: f64,
    /// Score that earns bronze.
    pub bronze: f64,
    /// Score of the middle of the leaderboard.
    pub median: f64,
    /// Teams on the leaderboard that the thresholds belong to, where known.
    pub n_teams: Option<u32>,
    /// Where the figures come from.
    pub source: ThresholdSource,
}

impl PublishedThresholds {
    /// The thresholds alone, as grading takes them.
    pub fn medals(&self) -> medalist_grading::Thresholds {
        let &Self { gold, silver, bronze, median, .. } = self;
        medalist_grading::Thresholds { gold, silver, bronze, median }
    }
}

/// One entry of the register of what is wrong with a competition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownIssue {
    /// What sort of defect it is.
    pub kind: IssueKind,
    /// The defect and what follows from it.
    pub summary: String,
    /// Public page where it is reported or can be seen.
    pub source: String,
    /// What the strict verdict, reported beside the comparable score, does about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<String>,
    /// What `prepare --fixed` does about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Files that `prepare --fixed` leaves out: patterns relative to `prepared/` with `*` for any
    /// part of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave_out: Vec<String>,
    /// Files that the recipe makes otherwise under `--fixed`, as such patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// The md5s that MLE-bench publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksums {
    /// Of Kaggle's download.
    pub zip: Option<String>,
    /// Of files under `prepared/public`, by name.
    #[serde(default)]
    pub public: BTreeMap<String, String>,
    /// Of files under `prepared/private`, by name.
    #[serde(default)]
    pub private: BTreeMap<String, String>,
}

impl Checksums {
    /// How many files have a known checksum.
    pub fn len(&self) -> usize {
        usize::from(self.zip.is_some()) + self.public.len() + self.private.len()
    }

    /// Whether no checksum is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The texts of a competition's folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct FolderFiles {
    /// The texts of `competition.toml` and `checksums.toml`, as they were read.
    pub(crate) source: Cow<'static, str>,
    pub(crate) checksums_source: Option<Cow<'static, str>>,
    pub(crate) brief: Option<Cow<'static, str>>,
    pub(crate) leaderboard: Option<Cow<'static, str>>,
    pub(crate) checksums: Option<Checksums>,
    /// Raw data that are compiled in.
    pub(crate) raw_zip: Option<&'static [u8]>,
    /// Set for a folder outside the binary.
    pub(crate) folder: Option<PathBuf>,
}

/// A competition's folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the folder says what it must not, or lacks what it must say.
    #[error("`{}`{}: {problem}", path.display(), at_line(*.line))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where one can be named.
        line: Option<usize>,
        /// What is wrong and what was expected.
        problem: String,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

impl CompetitionSpec {
    /// The task in our own words (Markdown), which becomes `public/description.md`.
    pub fn brief(&self) -> Option<&str> {
        self.files.brief.as_deref()
    }

    /// Whether `prepare --fixed` makes other data than MLE-bench does.
    pub fn has_fix(&self) -> bool {
        self.known_issues.iter().any(|issue| issue.fixed.is_some())
    }

    /// The competition's page on Kaggle, if it is one of Kaggle's.
    pub fn kaggle_url(&self) -> Option<String> {
        self.kaggle_slug.as_ref().map(|slug| format!("https://www.kaggle.com/competitions/{slug}"))
    }

    /// The final leaderboard as CSV with the one column `score`, best first, if there is one.
    pub fn leaderboard_csv(&self) -> Option<&str> {
        self.files.leaderboard.as_deref()
    }

    /// The SHA-256 of each text of its folder, by the file's name.
    pub fn sha256(&self) -> BTreeMap<String, String> {
        let files = &self.files;
        let texts = [
            ("competition.toml", Some(&files.source)),
            ("brief.md", files.brief.as_ref()),
            ("leaderboard.csv", files.leaderboard.as_ref()),
            ("checksums.toml", files.checksums_source.as_ref()),
        ];
        let hash = |text: &str| hex::encode(Sha256::digest(text.as_bytes()));
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), hash(text?)))).collect()
    }

    /// The published checksums, if there are any.
    pub fn checksums(&self) -> Option<&Checksums> {
        self.files.checksums.as_ref()
    }

    /// The raw archive, for the few competitions whose data are compiled in.
    pub fn raw_zip(&self) -> Option<&'static [u8]> {
        self.files.raw_zip
    }

    /// The folder of a user's own competition; `None` for one that is compiled in.
    pub fn folder(&self) -> Option<&Path> {
        self.files.folder.as_deref()
    }

    /// The file that grading reads, below the competition's `prepared/` directory.
    pub fn answers_path(&self, prepared: &Path) -> PathBuf {
        prepared.join(&self.data.answers)
    }

    /// The sample submission, below the competition's `prepared/` directory.
    pub fn sample_submission_path(&self, prepared: &Path) -> PathBuf {
        prepared.join(&self.data.sample_submission)
    }

    /// Those files that grading needs and that are not below the competition's `prepared/`
    /// directory; only with none missing is a competition prepared.
    pub fn missing_files(&self, prepared: &Path) -> Vec<String> {
        let data = &self.data;
        let needed =
            [Some(&data.answers), Some(&data.sample_submission), data.gold_submission.as_ref()];
        let needed = needed.into_iter().flatten();
        needed.filter(|file| !prepared.join(file).is_file()).cloned().collect()
    }

    /// A submission of the best score, below the competition's `prepared/` directory: the answers
    /// themselves in most.
    pub fn gold_submission_path(&self, prepared: &Path) -> PathBuf {
        prepared.join(self.data.gold_submission.as_ref().unwrap_or(&self.data.answers))
    }

    /// Reads a competition from the texts of its folder; `path` names the `competition.toml` in
    /// messages.
    pub(crate) fn parse(text: &str, files: FolderFiles, path: &Path) -> Result<Self, SpecError> {
        let file = TomlText { text, path };
        let mut spec: Self = file.parse()?;
        spec.files = files;
        check::check(&spec, &file)?;
        Ok(spec)
    }

    /// Reads a competition from a folder on disk.
    pub(crate) fn read_folder(folder: &Path) -> Result<Self, SpecError> {
        let path = folder.join("competition.toml");
        let text = read_text(&path)?.ok_or_else(|| SpecError::Invalid {
            path: folder.to_owned(),
            line: None,
            problem: "there is no `competition.toml` in it".to_owned(),
        })?;
        let checksums = folder.join("checksums.toml");
        let checksums_source = read_text(&checksums)?;
        let files = FolderFiles {
            source: Cow::Owned(text.clone()),
            brief: read_text(&folder.join("brief.md"))?.map(Cow::Owned),
            leaderboard: read_text(&folder.join("leaderboard.csv"))?.map(Cow::Owned),
            checksums: checksums_source
                .as_deref()
                .map(|text| Checksums::parse(text, &checksums))
                .transpose()?,
            checksums_source: checksums_source.map(Cow::Owned),
            raw_zip: None,
            folder: Some(folder.to_owned()),
        };
        let mut spec = Self::parse(&text, files, &path)?;
        if let Some(board) = spec.leaderboard_csv() {
            let path = folder.join("leaderboard.csv");
            check::check_board(&spec, &TomlText { text: board, path: &path })?;
        }
        if spec.grading.metric == "command" {
            // The program is named relative to the folder, wherever grading is started.
            let place = fs_err::canonicalize(folder)
                .map_err(|source| SpecError::Read { path: folder.to_owned(), source })?;
            spec.grading
                .options
                .insert("folder".to_owned(), toml::Value::String(place.display().to_string()));
        }
        match folder.file_name() {
            Some(name) if name != spec.id.as_str() => {
                let problem = format!(
                    "`id` is `{}`, expected the name of its folder, `{}`",
                    spec.id,
                    name.display()
                );
                Err(TomlText { text: &text, path: &path }.error(&["id"], problem))
            }
            _ => Ok(spec),
        }
    }
}

impl Checksums {
    /// Reads a `checksums.toml`; `path` names it in messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, SpecError> {
        let file = TomlText { text, path };
        let sums = file.parse()?;
        check::check_checksums(&sums, &file)?;
        Ok(sums)
    }
}

pub(crate) fn read_text(path: &Path) -> Result<Option<String>, SpecError> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpecError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_path_components() {
        for good in ["AI4Code", "3d-object-detection-for-autonomous-vehicles", "a", "x_1.2"] {
            assert_eq!(good.parse::<CompetitionId>().map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "é", &"x".repeat(101)] {
            assert!(bad.parse::<CompetitionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prepared_paths_stay_inside() {
        for (path, inside) in [
            ("private/test.csv", true),
            ("public/a/b.csv", true),
            ("test.csv", false),
            ("private/", false),
            ("private/../../x", false),
            ("/private/x", false),
        ] {
            assert_eq!(check::is_prepared_path(path), inside, "{path}");
        }
    }

    #[test]
    fn words_print_and_parse_the_same() {
        for modality in Modality::ALL {
            assert_eq!(modality.to_string().parse(), Ok(*modality));
        }
        assert_eq!(
            "easy".parse::<Complexity>(),
            Err("`easy` is not a complexity: expected one of `low`, `medium`, `high`, `dev`, `demo`, `open`, `unrated`"
                .to_owned())
        );
    }
}
