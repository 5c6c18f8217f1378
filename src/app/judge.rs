//! The catalogue as the runner sees it: what an agent gets on a competition, and what its
//! submission is worth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use medalist_competitions::prepare::PreparedRecord;
use medalist_competitions::{Catalogue, CatalogueError, CompetitionSpec};
use medalist_grading::report::grade_report;
use medalist_grading::{GradeReport, Grader, PublicFacts};
use sha2::{Digest as _, Sha256};

use crate::app::boards::Board;
use crate::attempt::launch::{ValidationReply, Validator};
use crate::attempt::text::hex;
use crate::host::store::file_sha256;
use crate::run::{Judge, JudgeError, Material};

/// Judges by the catalogue's competitions and the prepared data in a data directory.
pub struct CatalogueJudge {
    catalogue: Catalogue,
    data_dir: PathBuf,
    /// Sample submissions are read once for all validations of a competition.
    facts: Mutex<BTreeMap<String, Arc<PublicFacts>>>,
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
        Ok(Self { catalogue, data_dir, facts: Mutex::default() })
    }

    fn spec(&self, id: &str) -> Result<&CompetitionSpec, JudgeError> {
        self.catalogue.get(id).map_err(JudgeError::new)
    }

    fn prepared(&self, spec: &CompetitionSpec) -> PathBuf {
        self.data_dir.join(spec.id.as_str()).join("prepared")
    }

    fn facts(&self, spec: &CompetitionSpec) -> Result<Arc<PublicFacts>, JudgeError> {
        // The lock is held while reading, so that many attempts on one competition read its sample
        // once.
        let mut known = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.get(spec.id.as_str()) {
            return Ok(Arc::clone(facts));
        }
        let path = spec.sample_submission_path(&self.prepared(spec));
        let facts = PublicFacts::read(&path).map_err(|error| {
            JudgeError::new(error)
                .context(format!("cannot read the sample submission `{}`", path.display()))
        })?;
        let facts = Arc::new(facts);
        known.insert(spec.id.as_str().to_owned(), Arc::clone(&facts));
        Ok(facts)
    }
}

impl JudgeError {
    fn new(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { message }
    }

    fn context(self, what: impl std::fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message) }
    }
}

impl Judge for CatalogueJudge {
    fn material(&self, competition: &str) -> Result<Material, JudgeError> {
        let spec = self.spec(competition)?;
        let public_dir = self.prepared(spec).join("public");
        if !public_dir.is_dir() {
            return Err(JudgeError {
                message: format!(
                    "`{competition}` is not prepared: there is no `{}`",
                    public_dir.display()
                ),
            });
        }
        let grader = Grader::new(spec.grading.clone()).map_err(|error| {
            JudgeError::new(error).context(format!("cannot grade `{competition}`"))
        })?;
        // Better now than when the agent has worked for hours.
        let answers = spec.answers_path(&self.prepared(spec));
        fs_err::File::open(&answers)
            .map_err(|error| JudgeError::new(error).context("cannot read the answers"))?;
        let brief =
            spec.brief_in(&self.data_dir).map_err(JudgeError::new)?.ok_or_else(|| JudgeError {
                message: format!("`{competition}` has neither a description.md nor a brief.md"),
            })?;
        let (brief_source, description) = (brief.source.as_str(), brief.text.into_owned());
        Ok(Material {
            brief_source: brief_source.to_owned(),
            brief_sha256: hex(&Sha256::digest(description.as_bytes())),
            data_sha256: data_hash(&self.prepared(spec)),
            data_edition: PreparedRecord::edition_of(&self.data_dir, competition)
                .map_err(JudgeError::new)?,
            description,
            public_dir,
            validator: Arc::new(FormatValidator { grader, facts: self.facts(spec)? }),
        })
    }

    fn grade(&self, competition: &str, submission: &Path) -> Result<GradeReport, JudgeError> {
        let spec = self.spec(competition)?;
        let grader = Grader::new(spec.grading.clone()).map_err(JudgeError::new)?;
        let board = Board::in_force(spec, &self.data_dir).map_err(JudgeError::new)?;
        let answers = spec.answers_path(&self.prepared(spec));
        let exists = submission.symlink_metadata().is_ok();
        let report = grade_report(
            &board.facts(spec),
            &grader,
            exists.then_some(submission),
            &answers,
            &Default::default(),
        );
        report.map_err(|error| {
            JudgeError::new(error).context(format!("cannot grade `{competition}`"))
        })
    }
}

/// SHA-256 of the manifest that preparation left, which lists every prepared file with its hash.
fn data_hash(prepared: &Path) -> Option<String> {
    file_sha256(&prepared.parent()?.join("manifest.json")).ok().map(|(hash, _)| hash)
}

/// The validation service's judge, which holds no answers: only public facts decide. The words are
/// MLE-bench's.
struct FormatValidator {
    grader: Grader,
    facts: Arc<PublicFacts>,
}

impl Validator for FormatValidator {
    fn validate(&self, csv: &Path) -> ValidationReply {
        let refused = |why: String| ValidationReply {
            valid: false,
            message: format!(
                "Submission invalid! The attempt to grade the submission has resulted in the following error message:\n{why}"
            ),
        };
        match self.grader.validate_file(csv, &self.facts, &Default::default()) {
            Ok(Ok(())) => {
                ValidationReply { valid: true, message: "Submission is valid.".to_owned() }
            }
            Ok(Err(invalid)) => refused(invalid.message),
            Err(_) => refused("the submission cannot be checked on this machine".to_owned()),
        }
    }
}
