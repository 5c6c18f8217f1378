//! Grades submissions: the one place where answers meet what an agent wrote.
//!
//! A run, `grade`, `grade-sample` and `validate` all come here, so that answers are read once for
//! a competition and not once for a submission, and so that a submission is graded in one function,
//! `grade_submission`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use medalist_competitions::{Catalogue, CatalogueError, CompetitionSpec, DataDir};
use medalist_grading::grade::SpecError;
use medalist_grading::report::submission_file;
use medalist_grading::table::{Limits, ReadError};
use medalist_grading::{
    Answers, GradeError, GradeReport, Graded, Grader, InvalidSubmission, PublicFacts,
};

use super::boards::{Board, BoardError};
use super::error::{CliError, Exit};

/// Answers that are kept: their files together, unless a single one is larger.
const KEPT_BYTES: u64 = 1 << 30;

/// Why a submission cannot be graded, for a reason other than the submission.
#[derive(Debug, thiserror::Error)]
pub enum GradingError {
    /// No such competition.
    #[error(transparent)]
    Unknown(#[from] CatalogueError),
    /// The competition's settings make no grader.
    #[error("cannot grade `{id}`")]
    Spec {
        /// The competition.
        id: String,
        #[source]
        source: SpecError,
    },
    /// The leaderboard in force cannot be used.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The answers cannot be read.
    #[error("cannot grade `{id}` with the answers `{}`", .path.display())]
    Answers {
        /// The competition.
        id: String,
        /// The file.
        path: PathBuf,
        #[source]
        source: ReadError,
    },
    /// The sample submission cannot be read.
    #[error("cannot read the sample submission `{}`", .path.display())]
    Sample {
        /// The competition.
        id: String,
        /// The file.
        path: PathBuf,
        #[source]
        source: ReadError,
    },
    /// The answers do not fit the competition.
    #[error("cannot grade `{id}` with its answers")]
    Grade {
        /// The competition.
        id: String,
        #[source]
        source: GradeError,
    },
}

impl GradingError {
    /// The error with its exit code and a way to go on.
    pub fn for_user(self) -> CliError {
        let hint = match &self {
            Self::Unknown(_) => Some("`medalist competitions list` shows all ids".to_owned()),
            Self::Answers { id, path, .. } if !path.exists() => Some(format!(
                "prepare the competition with `medalist prepare -c {id}`, or name the answers with `--answers`"
            )),
            Self::Sample { id, .. } => {
                Some(format!("prepare the competition with `medalist prepare -c {id}`"))
            }
            _ => None,
        };
        let error = CliError::new(Exit::BadInput, self);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Grades by a catalogue and the prepared data of a data directory.
pub struct Grading {
    catalogue: Catalogue,
    data: DataDir,
    kept: AnswersCache,
    facts: Mutex<BTreeMap<PathBuf, Arc<PublicFacts>>>,
}

impl Grading {
    /// Grades by these competitions and data.
    pub fn new(catalogue: Catalogue, data: DataDir) -> Self {
        Self { catalogue, data, kept: AnswersCache::default(), facts: Mutex::default() }
    }

    /// The data directory.
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// A competition of the catalogue.
    ///
    /// # Errors
    /// [`GradingError::Unknown`].
    pub fn spec(&self, id: &str) -> Result<&CompetitionSpec, GradingError> {
        Ok(self.catalogue.get(id)?)
    }

    /// A competition ready to grade, with the leaderboard that is in force.
    ///
    /// # Errors
    /// [`GradingError`] if it is unknown, or its settings or leaderboard are broken.
    pub fn target(&self, id: &str) -> Result<Target<'_>, GradingError> {
        let spec = self.spec(id)?;
        let grader = Grader::new(spec.grading.clone())
            .map_err(|source| GradingError::Spec { id: id.to_owned(), source })?;
        let board = Board::in_force(spec, self.data.root())?;
        Ok(Target { service: self, spec, grader, board })
    }
}

/// A competition ready to grade.
pub struct Target<'s> {
    service: &'s Grading,
    spec: &'s CompetitionSpec,
    grader: Grader,
    board: Board,
}

impl Target<'_> {
    /// Where the prepared answers are.
    pub fn answers_path(&self) -> PathBuf {
        self.spec.answers_path(&self.service.data.prepared(self.spec.id.as_str()))
    }

    /// Where the sample submission is.
    pub fn sample_path(&self) -> PathBuf {
        self.spec.sample_submission_path(&self.service.data.prepared(self.spec.id.as_str()))
    }

    /// The answers at a path, which may have been read before. Not for a thread of rayon's: one that
    /// waits for the answers could be the one that others need to read them.
    ///
    /// # Errors
    /// [`GradingError::Answers`].
    pub fn answers(&self, path: &Path) -> Result<Arc<Answers>, GradingError> {
        let read = || self.grader.read_answers(path);
        self.service.kept.get(path, read).map_err(|source| GradingError::Answers {
            id: self.spec.id.to_string(),
            path: path.to_owned(),
            source,
        })
    }

    /// Grades a submission against the answers at a path, which are only read where there is a
    /// submission.
    ///
    /// # Errors
    /// [`GradingError`] if the answers cannot be read or do not fit; a bad submission is a grade.
    pub fn report(
        &self,
        submission: Option<&Path>,
        answers: &Path,
    ) -> Result<GradeReport, GradingError> {
        self.report_with(submission, || self.answers(answers))
    }

    /// As [`Target::report`], against answers that `answers` gives, which is only called where there
    /// is a submission.
    ///
    /// # Errors
    /// As [`Target::report`].
    pub fn report_with(
        &self,
        submission: Option<&Path>,
        answers: impl FnOnce() -> Result<Arc<Answers>, GradingError> + Send,
    ) -> Result<GradeReport, GradingError> {
        let graded = match submission_file(submission) {
            Some(file) => Some(grade_submission(self, file, answers)?),
            None => None,
        };
        let facts = self.board.facts(self.spec);
        Ok(GradeReport::new(&facts, &self.grader, submission, graded))
    }

    /// What everybody may know of the answers, which decides whether a submission is valid; read
    /// once for a competition.
    ///
    /// # Errors
    /// [`GradingError::Sample`].
    pub fn public_facts(&self) -> Result<Arc<PublicFacts>, GradingError> {
        let path = self.sample_path();
        // The lock is held while reading, so that many attempts read a sample once.
        let mut known = self.service.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.get(&path) {
            return Ok(Arc::clone(facts));
        }
        let facts = PublicFacts::read(&path).map_err(|source| GradingError::Sample {
            id: self.spec.id.to_string(),
            path: path.clone(),
            source,
        })?;
        let facts = Arc::new(facts);
        known.insert(path, Arc::clone(&facts));
        Ok(facts)
    }

    /// What is wrong with a submission, by public facts alone.
    ///
    /// # Errors
    /// [`GradingError`] if the sample submission cannot be read or does not fit the competition.
    pub fn validate(
        &self,
        submission: &Path,
    ) -> Result<Result<(), InvalidSubmission>, GradingError> {
        validate_submission(&self.grader, submission, &*self.public_facts()?)
            .map_err(|source| GradingError::Grade { id: self.spec.id.to_string(), source })
    }

    /// What grades, alone.
    pub fn into_grader(self) -> Grader {
        self.grader
    }
}

/// Checks one submission by public facts: the other half of the seam.
///
/// # Errors
/// [`GradeError`] if the facts do not fit the competition.
pub fn validate_submission(
    grader: &Grader,
    submission: &Path,
    facts: &PublicFacts,
) -> Result<Result<(), InvalidSubmission>, GradeError> {
    grader.validate_file(submission, facts, &Limits::default())
}

/// Grades one submission. Everything that an agent wrote and that is read with the answers at hand
/// passes through here: this is the seam at which grading can be put into a process of its own.
/// Submission and answers are read at the same time.
///
/// # Errors
/// [`GradingError`] if the answers cannot be read or do not fit the competition.
fn grade_submission(
    target: &Target<'_>,
    submission: &Path,
    answers: impl FnOnce() -> Result<Arc<Answers>, GradingError> + Send,
) -> Result<Graded, GradingError> {
    let grader = &target.grader;
    let (table, answers) = std::thread::scope(|scope| {
        let answers = scope.spawn(answers);
        let table = grader.read_submission(submission, &Limits::default());
        (table, answers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    grader
        .grade_read(table, &*answers?)
        .map_err(|source| GradingError::Grade { id: target.spec.id.to_string(), source })
}

/// Answers that were read, the last used first, as long as their files are not too large together.
#[derive(Default)]
struct AnswersCache {
    slots: Mutex<BTreeMap<PathBuf, Arc<Slot>>>,
}

/// A file of answers.
struct Slot {
    stamp: Stamp,
    used: Mutex<SystemTime>,
    /// Locked while the file is read, so that many attempts on one competition read it once, and
    /// those on others do not wait.
    answers: Mutex<Option<Arc<Answers>>>,
}

/// Size and time of change of a file: another one is read again.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        path.metadata().map_or(Self::default(), |file| Self {
            bytes: file.len(),
            modified: file.modified().ok(),
        })
    }
}

impl AnswersCache {
    fn get(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<Answers, ReadError>,
    ) -> Result<Arc<Answers>, ReadError> {
        let slot = self.slot(path);
        let mut answers = slot.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match &*answers {
            Some(answers) => Ok(Arc::clone(answers)),
            None => Ok(Arc::clone(answers.insert(Arc::new(read()?)))),
        }
    }

    /// The file's slot; slots that were not used for longest make room for it.
    fn slot(&self, path: &Path) -> Arc<Slot> {
        let stamp = Stamp::of(path);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(path).filter(|slot| slot.stamp == stamp) {
            *slot.used.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::now();
            return Arc::clone(slot);
        }
        slots.remove(path);
        while !slots.is_empty()
            && slots.values().map(|slot| slot.stamp.bytes).sum::<u64>() + stamp.bytes > KEPT_BYTES
        {
            let used = |slot: &Slot| *slot.used.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest =
                slots.iter().min_by_key(|(_, slot)| used(slot)).map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { break };
            slots.remove(&oldest);
        }
        let used = Mutex::new(SystemTime::now());
        let slot = Arc::new(Slot { stamp, used, answers: Mutex::default() });
        slots.insert(path.to_owned(), Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn read(path: &Path, times: &AtomicUsize) -> Result<Answers, ReadError> {
        times.fetch_add(1, Ordering::Relaxed);
        Answers::read(path)
    }

    #[test]
    fn answers_are_read_once_until_they_change() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("answers.csv");
        std::fs::write(&path, "id,target\n1,0\n").unwrap();
        let (cache, times) = (AnswersCache::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| cache.get(&path, || read(&path, &times)).unwrap());
            }
        });
        assert_eq!(times.load(Ordering::Relaxed), 1);
        std::fs::write(&path, "id,target\n1,0\n2,1\n").unwrap();
        cache.get(&path, || read(&path, &times)).unwrap();
        assert_eq!(times.load(Ordering::Relaxed), 2, "prepared again");
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let temp = tempfile::tempdir().unwrap();
        let files = ["a", "b", "c"].map(|name| temp.path().join(name));
        let half = KEPT_BYTES / 2 - 1;
        for file in &files {
            std::fs::File::create(file).unwrap().set_len(half).unwrap();
        }
        let (cache, times) = (AnswersCache::default(), AtomicUsize::new(0));
        let small = temp.path().join("small.csv");
        std::fs::write(&small, "id\n1\n").unwrap();
        let get = |at: usize| {
            cache.get(&files[at], || read(&small, &times)).unwrap();
            times.load(Ordering::Relaxed)
        };
        assert_eq!([get(0), get(1), get(0), get(2), get(0), get(1)], [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_again() {
        let cache = AnswersCache::default();
        let path = Path::new("/nowhere/answers.csv");
        assert!(cache.get(path, || Answers::read(path)).is_err());
        let temp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temp.path(), "id\n1\n").unwrap();
        assert!(cache.get(path, || Answers::read(temp.path())).is_ok());
    }
}
