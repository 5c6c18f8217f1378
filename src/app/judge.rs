//! The catalogue as the runner sees it: what an agent gets on a competition, and what its
//! submission is worth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medalist_competitions::prepare::PreparedRecord;
use medalist_competitions::{Catalogue, CatalogueError, DataDir, Identity, obfuscate};
use medalist_grading::GradeReport;
use sha2::{Digest as _, Sha256};

use super::grading::workers::Workers;
use super::grading::{Checker, Grading};
use crate::attempt::launch::{ValidationReply, Validator};
use crate::attempt::plan::{BriefKind, Plan};
use crate::attempt::text::chain;
use crate::host::files::file_sha256;
use crate::run::{Judge, JudgeError, Material};

/// Judges by the catalogue's competitions and the prepared data in a data directory.
pub struct CatalogueJudge {
    grading: Arc<Grading>,
    brief: BriefKind,
}

impl CatalogueJudge {
    /// Judges by the built-in catalogue and the user's own folders.
    ///
    /// # Errors
    /// [`CatalogueError`] if a folder is missing or malformed.
    pub fn new(data_dir: PathBuf, catalog_dirs: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut catalogue = Catalogue::embedded()?;
        for dir in catalog_dirs {
            catalogue = catalogue.with_dir(dir)?;
        }
        let grading = Arc::new(Grading::new(catalogue, DataDir::new(data_dir)));
        Ok(Self { grading, brief: BriefKind::Plain })
    }

    /// Judges for a plan: by its catalogues and data, and with the kind of brief that it has.
    ///
    /// # Errors
    /// As [`CatalogueJudge::new`].
    pub fn of_plan(plan: &Plan) -> Result<Self, CatalogueError> {
        let judge = Self::new(plan.data_dir.clone(), &plan.catalog_dirs)?;
        Ok(Self { brief: plan.brief, ..judge })
    }

    /// Reads what agents wrote in processes of their own, which `workers` makes.
    #[must_use]
    pub fn with_workers(self, workers: impl Fn() -> Workers) -> Self {
        let grading = Arc::into_inner(self.grading).expect("nobody was given it yet");
        Self { grading: Arc::new(grading.with_workers(workers)), brief: self.brief }
    }
}

fn judge_error(error: impl std::error::Error) -> JudgeError {
    JudgeError { message: chain(&error) }
}

impl Judge for CatalogueJudge {
    fn material(&self, competition: &str) -> Result<Material, JudgeError> {
        let spec = self.grading.spec(competition).map_err(judge_error)?;
        let data = self.grading.data();
        let public_dir = data.public(&spec.id);
        if !public_dir.is_dir() {
            let message =
                format!("`{competition}` is not prepared: there is no `{}`", public_dir.display());
            return Err(JudgeError { message });
        }
        let target = self.grading.target(competition).map_err(judge_error)?;
        // Better now than when the agent has worked for hours.
        fs_err::File::open(target.answers_path())
            .map_err(|error| JudgeError { message: format!("cannot read the answers: {error}") })?;
        let checker = self.grading.checker(competition).map_err(judge_error)?;
        let brief = spec.brief_in(data.root()).map_err(judge_error)?.ok_or_else(|| JudgeError {
            message: format!("`{competition}` has neither a description.md nor a brief.md"),
        })?;
        let source = brief.source.as_str().to_owned();
        let (brief_source, description, brief_replaced) = match self.brief {
            BriefKind::Plain => (source, brief.text.into_owned(), BTreeMap::new()),
            BriefKind::Obfuscated => {
                let done = obfuscate(&brief.text, &Identity::of(spec, data.root()));
                (format!("{source}+obfuscated"), done.text, done.replaced)
            }
        };
        Ok(Material {
            brief_source,
            brief_replaced,
            brief_sha256: hex::encode(Sha256::digest(description.as_bytes())),
            data_sha256: file_sha256(&data.competition(&spec.id).manifest())
                .ok()
                .map(|(hash, _)| hash),
            data_edition: PreparedRecord::edition_of(data.root(), &spec.id).map_err(judge_error)?,
            description,
            public_dir,
            direction: spec.grading.direction,
            validator: Arc::new(FormatValidator(checker)),
        })
    }

    fn grade(&self, competition: &str, submission: &Path) -> Result<GradeReport, JudgeError> {
        let target = self.grading.target(competition).map_err(judge_error)?;
        let submission = Some(submission).filter(|path| path.symlink_metadata().is_ok());
        target.report(submission, &target.answers_path()).map_err(judge_error)
    }
}

/// The validation service's judge, which holds no answers: only public facts decide. The words are
/// MLE-bench's.
struct FormatValidator(Checker);

impl Validator for FormatValidator {
    fn validate(&self, csv: &Path) -> ValidationReply {
        let refused = |why: String| ValidationReply {
            valid: false,
            message: format!(
                "Submission invalid! The attempt to grade the submission has resulted in the following error message:\n{why}"
            ),
        };
        match self.0.check(csv) {
            Ok(Ok(())) => {
                ValidationReply { valid: true, message: "Submission is valid.".to_owned() }
            }
            Ok(Err(invalid)) => refused(invalid.message.into_string()),
            Err(_) => refused("the submission cannot be checked on this machine".to_owned()),
        }
    }
}
