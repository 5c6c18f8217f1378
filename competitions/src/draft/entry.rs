//! The folder of a competition: written aside, read back, and put in place in one step.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use medalist_grading::GradingSpec;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Answers, Draft, DraftError, Earlier};
use crate::spec::split::SplitSpec;
use crate::spec::{
    CompetitionId, CompetitionSpec, DataPaths, KnownIssue, Modality, OpenChoice,
    PublishedThresholds, ThresholdSource,
};

const REPORT: &str = "report.json";

/// The `competition.toml`, in the order in which it is written.
#[derive(Serialize)]
struct Entry<'d> {
    id: &'d CompetitionId,
    title: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kaggle_slug: Option<&'d str>,
    modality: Modality,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_gb: Option<f64>,
    data: DataPaths,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<PublishedThresholds>,
    grading: GradingSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'d SplitSpec>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    known_issues: &'d [KnownIssue],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    open: &'d [OpenChoice],
}

/// What programs read of the report, and a later draft of this one.
#[derive(Serialize, Deserialize)]
struct Record {
    /// What was said.
    answers: Answers,
    /// SHA-256 of `competition.toml` as it was made.
    entry: String,
    /// What was decided.
    #[serde(default, skip_deserializing)]
    decisions: serde_json::Value,
    /// What Kaggle told.
    #[serde(default, skip_deserializing)]
    kaggle: serde_json::Value,
}

impl Draft<'_> {
    /// Writes the competition's folder below `dir` and gives its place. A folder that is there is
    /// replaced.
    ///
    /// # Errors
    /// [`DraftError::Io`]; then everything is as it was.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, DraftError> {
        let at = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| DraftError::Io { action, path, source }
        };
        fs::create_dir_all(dir).map_err(at("create", dir))?;
        let aside = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(dir)
            .map_err(at("create a folder in", dir))?;
        let made = aside.path().join(self.known.id.as_str());
        fs::create_dir(&made).map_err(at("create", &made))?;
        let open = self.open();
        let entry = self.entry(&open);
        let mut files = vec![
            ("competition.toml", entry.clone()),
            ("brief.md", self.brief()),
            ("report.md", self.report()),
            (REPORT, self.record(&entry)),
        ];
        if let Some(board) = &self.board {
            let mut text = "score\n".to_owned();
            for score in board.scores() {
                let _ = writeln!(text, "{score}");
            }
            files.push(("leaderboard.csv", text));
        }
        for (name, text) in files {
            let path = made.join(name);
            fs::write(&path, text).map_err(at("write", &path))?;
        }
        CompetitionSpec::read_folder(&made).map_err(DraftError::Entry)?;
        let place = dir.join(self.known.id.as_str());
        if place.exists() {
            let old = aside.path().join("old");
            fs::rename(&place, &old).map_err(at("replace", &place))?;
        }
        fs::rename(&made, &place).map_err(at("put in place", &place))?;
        Ok(place)
    }

    /// Whether the entry can be read.
    pub(super) fn check(&self) -> Result<(), crate::spec::SpecError> {
        let entry = self.entry(&self.open());
        let path = Path::new(self.known.id.as_str()).join("competition.toml");
        CompetitionSpec::parse(&entry, crate::spec::FolderFiles::default(), &path).map(drop)
    }

    fn entry(&self, open: &[OpenChoice]) -> String {
        let kaggle = self.known.kaggle.as_ref();
        let mut grading = GradingSpec::new(
            self.scoring.metric.name,
            self.scoring.direction,
            self.columns.ids.clone(),
            self.columns.targets.clone(),
        );
        grading.options = self.scoring.options.clone();
        if grading.target_columns.is_empty() {
            grading.target_columns.push("target".to_owned());
        }
        self.scoring.checks(&mut grading);
        let thresholds = self.board.as_ref().map(|board| {
            let medals = board.thresholds();
            PublishedThresholds {
                gold: medals.gold,
                silver: medals.silver,
                bronze: medals.bronze,
                median: medals.median,
                n_teams: u32::try_from(board.scores().len()).ok(),
                source: ThresholdSource::Leaderboard,
            }
        });
        let entry = Entry {
            id: &self.known.id,
            title: &self.known.title,
            kaggle_slug: kaggle.map(|facts| facts.slug.as_str()),
            modality: self.modality,
            category: kaggle.and_then(|facts| facts.category.as_deref()),
            size_gb: kaggle.and_then(|facts| facts.bytes).map(|bytes| bytes as f64 / 1e9),
            data: DataPaths {
                answers: "private/answers.csv".to_owned(),
                gold_submission: None,
                sample_submission: "public/sample_submission.csv".to_owned(),
            },
            thresholds,
            grading,
            split: self.split.as_ref(),
            known_issues: &self.issues,
            open,
        };
        let mut text =
            "# Made by `medalist competitions new`; report.md says from what evidence.\n"
                .to_owned();
        if !open.is_empty() {
            text.push_str("# The [[open]] tables at the end must be settled: correct the key each names, then remove the table.\n");
        }
        text.push('\n');
        text.push_str(&toml::to_string(&entry).expect("an entry is made of plain values"));
        text
    }

    fn record(&self, entry: &str) -> String {
        let record = Record {
            answers: self.answers.clone(),
            entry: hex::encode(Sha256::digest(entry)),
            decisions: serde_json::to_value(&self.decisions).unwrap_or_default(),
            kaggle: serde_json::to_value(&self.known.kaggle).unwrap_or_default(),
        };
        serde_json::to_string_pretty(&record).expect("a record is made of plain values") + "\n"
    }
}

/// What an earlier draft in a folder was told.
pub(super) fn earlier(folder: &Path) -> Option<Earlier> {
    let record: Record = serde_json::from_slice(&fs::read(folder.join(REPORT)).ok()?).ok()?;
    let entry = fs::read(folder.join("competition.toml")).ok()?;
    let is_untouched = hex::encode(Sha256::digest(entry)) == record.entry;
    Some(Earlier { answers: record.answers, is_untouched })
}
