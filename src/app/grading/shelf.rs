//! Answers and sample submissions that were read, and what a submission is worth beside them.
//!
//! A worker process has one for itself; a program that uses this library has one in its own process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use medalist_grading::table::{Limits, ReadError};
use medalist_grading::{Answers, Graded, Grader, InvalidSubmission, PublicFacts};
use serde::{Deserialize, Serialize};

use crate::attempt::text::chain;

/// Files that are kept: their sizes together, unless a single one is larger. Several workers may
/// each keep as much.
const KEPT_BYTES: u64 = 256 << 20;

/// Why there is no verdict, for a reason other than the submission; each with the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Fault {
    /// The answers cannot be read.
    Answers(String),
    /// The sample submission cannot be read.
    Sample(String),
    /// The answers or the sample do not fit the competition.
    Fit(String),
}

/// What was read and is kept.
#[derive(Default)]
pub(super) struct Shelf {
    answers: Cache<Answers>,
    samples: Cache<PublicFacts>,
}

impl Shelf {
    /// Grades one submission; it and answers that are not here yet are read at the same time. Not
    /// for a thread of rayon's: one that waits for the answers could be the one that others need to
    /// read them.
    pub(super) fn grade(
        &self,
        grader: &Grader,
        submission: &Path,
        answers: &Path,
    ) -> Result<Graded, Fault> {
        let read_answers = || self.answers.get(answers, || grader.read_answers(answers));
        let read_submission = || grader.read_submission(submission, &Limits::default());
        let (table, answers) = if self.answers.holds(answers) {
            (read_submission(), read_answers())
        } else {
            std::thread::scope(|scope| {
                let answers = scope.spawn(read_answers);
                let table = read_submission();
                (table, answers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        };
        let answers = answers.map_err(|error| Fault::Answers(chain(&error)))?;
        grader.grade_read(table, &answers).map_err(|error| Fault::Fit(chain(&error)))
    }

    /// Checks one submission by the sample submission alone.
    pub(super) fn validate(
        &self,
        grader: &Grader,
        submission: &Path,
        sample: &Path,
    ) -> Result<Result<(), InvalidSubmission>, Fault> {
        let facts = self.sample(sample)?;
        let checked = grader.validate_file(submission, &facts, &Limits::default());
        checked.map_err(|error| Fault::Fit(chain(&error)))
    }

    /// The sample submission at a path.
    pub(super) fn sample(&self, path: &Path) -> Result<Arc<PublicFacts>, Fault> {
        let read = self.samples.get(path, || PublicFacts::read(path));
        read.map_err(|error| Fault::Sample(chain(&error)))
    }

    /// Bytes of files that are kept.
    #[cfg(target_os = "linux")]
    pub(super) fn kept_bytes(&self) -> u64 {
        self.answers.kept_bytes() + self.samples.kept_bytes()
    }

    /// Bytes of a file, if it is still to be read.
    #[cfg(target_os = "linux")]
    pub(super) fn unread_bytes(&self, path: &Path) -> u64 {
        match self.answers.holds(path) || self.samples.holds(path) {
            true => 0,
            false => Stamp::of(path).bytes,
        }
    }
}

/// Files that were read, the last used first, as long as they are not too large together.
struct Cache<T> {
    slots: Mutex<BTreeMap<PathBuf, Arc<Slot<T>>>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { slots: Mutex::default() }
    }
}

/// A file.
struct Slot<T> {
    stamp: Stamp,
    used: Mutex<SystemTime>,
    /// Locked while the file is read, so that many attempts on one competition read it once, and
    /// those on others do not wait.
    content: Mutex<Option<Arc<T>>>,
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

impl<T> Cache<T> {
    fn get(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<Arc<T>, ReadError> {
        let slot = self.slot(path);
        let mut content = slot.content.lock().unwrap_or_else(PoisonError::into_inner);
        match &*content {
            Some(content) => Ok(Arc::clone(content)),
            None => Ok(Arc::clone(content.insert(Arc::new(read()?)))),
        }
    }

    /// Whether a file is there as it is now, or being read.
    fn holds(&self, path: &Path) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(path).is_some_and(|slot| slot.stamp == Stamp::of(path))
    }

    #[cfg(target_os = "linux")]
    fn kept_bytes(&self) -> u64 {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().map(|slot| slot.stamp.bytes).sum()
    }

    /// The file's slot; slots that were not used for longest make room for it.
    fn slot(&self, path: &Path) -> Arc<Slot<T>> {
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
            let used = |slot: &Slot<T>| *slot.used.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest =
                slots.iter().min_by_key(|(_, slot)| used(slot)).map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { break };
            slots.remove(&oldest);
        }
        let used = Mutex::new(SystemTime::now());
        let slot = Arc::new(Slot { stamp, used, content: Mutex::default() });
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
        let (cache, times) = (Cache::<Answers>::default(), AtomicUsize::new(0));
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
        let (cache, times) = (Cache::<Answers>::default(), AtomicUsize::new(0));
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
        let cache = Cache::<Answers>::default();
        let path = Path::new("/nowhere/answers.csv");
        assert!(cache.get(path, || Answers::read(path)).is_err());
        let temp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temp.path(), "id\n1\n").unwrap();
        assert!(cache.get(path, || Answers::read(temp.path())).is_ok());
    }
}
