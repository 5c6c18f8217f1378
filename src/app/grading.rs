//! Grades submissions: the one place where answers meet what an agent wrote.
//!
//! A run, `grade`, `grade-sample`, `validate` and `competitions doctor` all come here. What an agent
//! wrote is read in a process of its own with limits on memory and time ([`workers`]), so that a
//! submission that is made to be dear ends that process and not the harness. Programs that use this
//! library may grade in their own process instead.

mod shelf;
#[cfg(target_os = "linux")]
pub mod worker;
#[cfg(target_os = "linux")]
pub mod workers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
#[cfg(target_os = "linux")]
use std::time::Duration;

use medalist_competitions::{Catalogue, CatalogueError, CompetitionSpec, DataDir, OpenChoices};
#[cfg(target_os = "linux")]
use medalist_grading::InvalidKind;
use medalist_grading::grade::SpecError;
use medalist_grading::report::submission_file;
use medalist_grading::{GradeReport, Graded, Grader, InvalidSubmission, Verdict};

use self::shelf::{Fault, Shelf};
#[cfg(target_os = "linux")]
use self::worker::{Done, FilePath, Work};
#[cfg(target_os = "linux")]
use self::workers::Workers;
use super::boards::{Board, BoardError};
use super::error::{CliError, Exit};
use crate::attempt::text::chain;

/// Why a submission cannot be graded, for a reason other than the submission.
#[derive(Debug, thiserror::Error)]
pub enum GradingError {
    /// No such competition.
    #[error(transparent)]
    Unknown(#[from] CatalogueError),
    /// What is graded is not decided yet.
    #[error(transparent)]
    Open(#[from] OpenChoices),
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
        source: Cause,
    },
    /// The sample submission cannot be read.
    #[error("cannot read the sample submission `{}`", .path.display())]
    Sample {
        /// The competition.
        id: String,
        /// The file.
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// The answers do not fit the competition.
    #[error("cannot grade `{id}` with its answers")]
    Grade {
        /// The competition.
        id: String,
        #[source]
        source: Cause,
    },
    /// The process that grades could not do its work.
    #[error("cannot grade `{id}`")]
    Worker {
        /// The competition.
        id: String,
        #[source]
        source: Cause,
    },
}

/// Why, as the process that grades said it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl GradingError {
    /// The error with its exit code and a way to go on.
    pub fn for_user(self) -> CliError {
        let hint = match &self {
            Self::Unknown(_) => Some("`medalist competitions list` shows all ids".to_owned()),
            Self::Open(open) => Some(open.remedy()),
            Self::Answers { id, path, .. } if !path.exists() => Some(format!(
                "prepare the competition with `medalist prepare -c {id}`, or name the answers with `--answers`"
            )),
            Self::Sample { id, .. } => {
                Some(format!("prepare the competition with `medalist prepare -c {id}`"))
            }
            _ => None,
        };
        let exit = match &self {
            Self::Worker { .. } => Exit::Failure,
            Self::Open(_) => Exit::Open,
            _ => Exit::BadInput,
        };
        let error = CliError::new(exit, self);
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
    place: Place,
}

/// Why there is no verdict.
#[derive(Debug)]
enum Failure {
    /// The competition's own files are at fault.
    Fault(Fault),
    /// The submission took more than it may: what is wrong with it, in words.
    #[cfg(target_os = "linux")]
    Over(String),
    /// The process that grades could not be started, or ended for another reason.
    #[cfg(target_os = "linux")]
    Lost(String),
}

impl Failure {
    fn into_words(self) -> String {
        match self {
            Self::Fault(Fault::Answers(why) | Fault::Sample(why) | Fault::Fit(why)) => why,
            #[cfg(target_os = "linux")]
            Self::Over(why) | Self::Lost(why) => why,
        }
    }
}

/// Where submissions are read.
enum Place {
    /// In this process.
    Here(Shelf),
    /// In processes of their own; those that check for agents never hold answers.
    #[cfg(target_os = "linux")]
    Workers { grade: Workers, check: Workers },
}

impl Grading {
    /// Grades by these competitions and data, in this process.
    pub fn new(catalogue: Catalogue, data: DataDir) -> Self {
        Self { catalogue, data, place: Place::Here(Shelf::default()) }
    }

    /// Grades in processes of their own: `workers` makes them.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn with_workers(self, workers: impl Fn() -> Workers) -> Self {
        Self { place: Place::Workers { grade: workers(), check: workers() }, ..self }
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
        spec.settled()?;
        let board = Board::in_force(spec, self.data.root())?;
        Ok(Target { service: self, rules: Rules::new(spec)?, spec, board })
    }

    /// The reports of submissions, each with its competition, in their order: as many are graded at a time as there are
    /// processors, and those of one competition after each other, since its answers are kept by who grades.
    ///
    /// # Errors
    /// Each for itself, in words: the competition or its answers cannot be used.
    pub fn report_all(&self, jobs: &[(&str, Option<&Path>)]) -> Vec<Result<GradeReport, String>> {
        let mut targets = BTreeMap::new();
        for (id, _) in jobs {
            let target = || self.target(id).map_err(|error| chain(&error));
            targets.entry(*id).or_insert_with(target);
        }
        let report = |(id, submission): (&str, Option<&Path>)| {
            let target = targets[id].as_ref().map_err(Clone::clone)?;
            let report = target.report(submission, &target.answers_path());
            report.map_err(|error| chain(&error))
        };
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|at| jobs[*at].0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, (sender, results)) = (AtomicUsize::new(0), mpsc::channel());
        std::thread::scope(|scope| {
            for _ in 0..threads.min(order.len()) {
                let (sender, next, order, report) = (sender.clone(), &next, &order, &report);
                scope.spawn(move || {
                    while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // The receiver lives until all threads have ended.
                        let _ = sender.send((*at, report(jobs[*at])));
                    }
                });
            }
        });
        drop(sender);
        let mut results: Vec<_> = results.into_iter().collect();
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// The rounded score of a competition's own file, graded as a submission is, or why it has none.
    ///
    /// # Errors
    /// Words: what is wrong with the file, with the answers, or with the competition's settings.
    pub fn score(
        &self,
        spec: &CompetitionSpec,
        submission: &Path,
        answers: &Path,
    ) -> Result<f64, String> {
        let rules = Rules::new(spec).map_err(|error| chain(&error))?;
        let graded = self.grade(&rules, submission, answers).map_err(Failure::into_words)?;
        match graded.verdict {
            Verdict::Scored(score) => Ok(score.rounded),
            Verdict::Invalid(invalid) => Err(invalid.to_string()),
        }
    }

    /// What checks an agent's submissions to a competition while it works, once it is known that it
    /// can.
    ///
    /// # Errors
    /// [`GradingError`], also where the sample submission cannot be read.
    pub fn checker(self: &Arc<Self>, id: &str) -> Result<Checker, GradingError> {
        let spec = self.spec(id)?;
        let sample = self.sample_path(spec);
        let checker = Checker { service: Arc::clone(self), rules: Rules::new(spec)?, sample };
        match checker.service.check(&checker.rules, None, &checker.sample) {
            Ok(_) => Ok(checker),
            Err(failure) => Err(checker.rules.error(failure, &checker.sample)),
        }
    }

    /// Where a competition's sample submission is.
    fn sample_path(&self, spec: &CompetitionSpec) -> PathBuf {
        spec.sample_submission_path(&self.data.prepared(&spec.id))
    }

    /// What is wrong with a submission, by public facts alone.
    fn validate(
        &self,
        rules: &Rules,
        submission: &Path,
        sample: &Path,
    ) -> Result<Result<(), InvalidSubmission>, GradingError> {
        let checked = self.check(rules, Some(submission), sample);
        checked.map_err(|failure| rules.error(failure, sample))
    }

    /// Grades one submission. Everything that an agent wrote and that is read with the answers at
    /// hand passes through here.
    fn grade(&self, rules: &Rules, submission: &Path, answers: &Path) -> Result<Graded, Failure> {
        match &self.place {
            Place::Here(shelf) => {
                shelf.grade(&rules.grader, submission, answers).map_err(Failure::Fault)
            }
            #[cfg(target_os = "linux")]
            Place::Workers { grade, .. } => grade_by(grade, rules, submission, answers),
        }
    }

    /// Checks one submission by the sample submission alone: the other half of the seam. Without a
    /// submission the sample is read, and nothing else.
    fn check(
        &self,
        rules: &Rules,
        submission: Option<&Path>,
        sample: &Path,
    ) -> Result<Result<(), InvalidSubmission>, Failure> {
        match (&self.place, submission) {
            (Place::Here(shelf), Some(submission)) => {
                shelf.validate(&rules.grader, submission, sample).map_err(Failure::Fault)
            }
            (Place::Here(shelf), None) => {
                shelf.sample(sample).map(|_| Ok(())).map_err(Failure::Fault)
            }
            #[cfg(target_os = "linux")]
            (Place::Workers { check, .. }, _) => check_by(check, rules, submission, sample),
        }
    }
}

#[cfg(target_os = "linux")]
fn grade_by(
    workers: &Workers,
    rules: &Rules,
    submission: &Path,
    answers: &Path,
) -> Result<Graded, Failure> {
    let work = Work::Grade {
        submission: FilePath(submission.to_owned()),
        answers: FilePath(answers.to_owned()),
    };
    let (time, program) = rules.time(workers.limits().time);
    match workers.ask(&rules.text, work, time, !program) {
        Ok(Done::Graded(graded)) => Ok(graded.into()),
        Ok(_) => Err(Failure::Lost("the process that grades gave another answer".to_owned())),
        Err(Failure::Over(why)) => Ok(Graded {
            verdict: Verdict::Invalid(too_dear(why)),
            strict_score: None,
            strict_issues: Vec::new(),
        }),
        Err(failure) => Err(failure),
    }
}

#[cfg(target_os = "linux")]
fn check_by(
    workers: &Workers,
    rules: &Rules,
    submission: Option<&Path>,
    sample: &Path,
) -> Result<Result<(), InvalidSubmission>, Failure> {
    let sample = FilePath(sample.to_owned());
    let work = match submission {
        Some(submission) => Work::Validate { submission: FilePath(submission.to_owned()), sample },
        None => Work::Sample { sample },
    };
    let limits = workers.limits();
    let time = if submission.is_some() { limits.question() } else { limits.time };
    match workers.ask(&rules.text, work, time, true) {
        Ok(Done::Validated(invalid)) => Ok(invalid.map_or(Ok(()), Err)),
        Ok(Done::Read) => Ok(Ok(())),
        Ok(Done::Graded(_)) => {
            Err(Failure::Lost("the process that grades gave another answer".to_owned()))
        }
        Err(Failure::Over(why)) if submission.is_some() => Ok(Err(too_dear(why))),
        Err(failure) => Err(failure),
    }
}

#[cfg(target_os = "linux")]
fn too_dear(why: String) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::TooExpensive, why)
}

/// How a competition is graded, in both forms that are needed.
struct Rules {
    id: String,
    grader: Grader,
    /// The `[grading]` table, for another process.
    #[cfg(target_os = "linux")]
    text: String,
}

impl Rules {
    fn new(spec: &CompetitionSpec) -> Result<Self, GradingError> {
        let id = spec.id.to_string();
        #[cfg(target_os = "linux")]
        let text = toml::to_string(&spec.grading).map_err(|error| GradingError::Worker {
            id: id.clone(),
            source: Cause(error.to_string()),
        })?;
        let grader = Grader::new(spec.grading.clone())
            .map_err(|source| GradingError::Spec { id: id.clone(), source })?;
        Ok(Self {
            id,
            grader,
            #[cfg(target_os = "linux")]
            text,
        })
    }

    /// How long a grading may take, and whether a program of the competition's author does it: then
    /// that program's own limit comes on top.
    #[cfg(target_os = "linux")]
    fn time(&self, time: Duration) -> (Duration, bool) {
        match self.grader.program_time() {
            Some(program) => (time.saturating_add(program), true),
            None => (time, false),
        }
    }

    /// An error about the competition's own file.
    fn error(&self, failure: Failure, own_file: &Path) -> GradingError {
        let (id, path) = (self.id.clone(), own_file.to_owned());
        match failure {
            Failure::Fault(Fault::Answers(why)) => {
                GradingError::Answers { id, path, source: Cause(why) }
            }
            Failure::Fault(Fault::Sample(why)) => {
                GradingError::Sample { id, path, source: Cause(why) }
            }
            Failure::Fault(Fault::Fit(why)) => GradingError::Grade { id, source: Cause(why) },
            #[cfg(target_os = "linux")]
            Failure::Over(why) | Failure::Lost(why) => {
                GradingError::Worker { id, source: Cause(why) }
            }
        }
    }
}

/// Checks an agent's submissions while it works.
pub struct Checker {
    service: Arc<Grading>,
    rules: Rules,
    sample: PathBuf,
}

impl Checker {
    /// What is wrong with a submission, by public facts alone.
    ///
    /// # Errors
    /// [`GradingError`] if the sample submission cannot be read or does not fit the competition.
    pub fn check(&self, submission: &Path) -> Result<Result<(), InvalidSubmission>, GradingError> {
        self.service.validate(&self.rules, submission, &self.sample)
    }
}

/// A competition ready to grade.
pub struct Target<'s> {
    service: &'s Grading,
    spec: &'s CompetitionSpec,
    rules: Rules,
    board: Board,
}

impl Target<'_> {
    /// Where the prepared answers are.
    pub fn answers_path(&self) -> PathBuf {
        self.spec.answers_path(&self.service.data.prepared(&self.spec.id))
    }

    /// Grades a submission against the answers at a path, which are only read where there is a
    /// submission. Not for a thread of rayon's.
    ///
    /// # Errors
    /// [`GradingError`] if the answers cannot be read or do not fit; a bad submission is a grade.
    pub fn report(
        &self,
        submission: Option<&Path>,
        answers: &Path,
    ) -> Result<GradeReport, GradingError> {
        let graded = submission_file(submission)
            .map(|file| self.service.grade(&self.rules, file, answers))
            .transpose()
            .map_err(|failure| self.rules.error(failure, answers))?;
        let facts = self.board.facts(self.spec);
        Ok(GradeReport::new(&facts, &self.rules.grader, submission, graded))
    }

    /// What is wrong with a submission, by public facts alone.
    ///
    /// # Errors
    /// [`GradingError`] if the sample submission cannot be read or does not fit the competition.
    pub fn validate(
        &self,
        submission: &Path,
    ) -> Result<Result<(), InvalidSubmission>, GradingError> {
        self.service.validate(&self.rules, submission, &self.service.sample_path(self.spec))
    }
}
