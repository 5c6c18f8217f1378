//! The best submission so far: what is in the submission folder, at every moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a model says of a file, by its own cross-validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Claim {
    pub(crate) score: f64,
    pub(crate) higher_is_better: bool,
}

impl Claim {
    /// Whether it beats another of the same direction.
    fn beats(self, other: Self) -> bool {
        match self.higher_is_better {
            true => self.score > other.score,
            false => self.score < other.score,
        }
    }
}

/// What became of a valid file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Placed {
    /// It is the submission now.
    Best,
    /// The submission is better.
    Behind(Claim),
    /// It has no score, and the submission has.
    Unscored,
    /// It says the other direction than the submission does.
    OtherDirection,
}

#[derive(Debug, Default)]
struct State {
    best: Option<Option<Claim>>,
    /// The best claim of each candidate that has a valid file.
    candidates: Vec<(u32, Option<Claim>)>,
}

/// Keeps the best file where it is graded.
#[derive(Debug)]
pub(crate) struct Board {
    target: PathBuf,
    state: Mutex<State>,
}

impl Board {
    pub(crate) fn new(submission: &Path) -> Self {
        Self { target: submission.join("submission.csv"), state: Mutex::default() }
    }

    /// Whether there is a submission.
    pub(crate) fn has_submission(&self) -> bool {
        self.lock().best.is_some()
    }

    /// The candidates that have a valid file, in the order of their numbers.
    pub(crate) fn candidates(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> =
            self.lock().candidates.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes a valid file; `true` beside the place if it is the best of its candidate.
    ///
    /// # Errors
    /// The file cannot be copied.
    pub(crate) fn offer(
        &self,
        file: &Path,
        claim: Option<Claim>,
        candidate: Option<u32>,
    ) -> Result<(Placed, bool), String> {
        let mut state = self.lock();
        let placed = place(state.best, claim);
        if placed == Placed::Best {
            copy(file, &self.target)?;
            state.best = Some(claim);
        }
        let Some(number) = candidate else { return Ok((placed, false)) };
        let known = state.candidates.iter().position(|(other, _)| *other == number);
        let leads = place(known.map(|at| state.candidates[at].1), claim) == Placed::Best;
        match known {
            Some(at) if leads => state.candidates[at].1 = claim,
            Some(_) => {}
            None => state.candidates.push((number, claim)),
        }
        Ok((placed, leads))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `best` is absent while there is no file.
fn place(best: Option<Option<Claim>>, claim: Option<Claim>) -> Placed {
    match (best, claim) {
        (None | Some(None), _) => Placed::Best,
        (Some(Some(_)), None) => Placed::Unscored,
        (Some(Some(best)), Some(claim)) if best.higher_is_better != claim.higher_is_better => {
            Placed::OtherDirection
        }
        (Some(Some(best)), Some(claim)) if claim.beats(best) => Placed::Best,
        (Some(Some(best)), Some(_)) => Placed::Behind(best),
    }
}

/// Copies a file so that a reader of `to` sees the old one or the new one, whole.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let aside = to.with_extension("csv.new");
    // The bytes alone: a copied read-only file mode would be in the way of the next one.
    let written = fs::read(from).and_then(|bytes| fs::write(&aside, bytes));
    written
        .and_then(|()| fs::rename(&aside, to))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(score: f64, higher_is_better: bool) -> Option<Claim> {
        Some(Claim { score, higher_is_better })
    }

    #[test]
    fn the_better_claim_is_placed() {
        assert_eq!(place(None, None), Placed::Best);
        assert_eq!(place(Some(None), claim(0.1, true)), Placed::Best);
        assert_eq!(place(Some(claim(0.2, true)), claim(0.3, true)), Placed::Best);
        assert_eq!(place(Some(claim(0.2, false)), claim(0.1, false)), Placed::Best);
        let behind = Placed::Behind(Claim { score: 0.2, higher_is_better: false });
        assert_eq!(place(Some(claim(0.2, false)), claim(0.2, false)), behind);
        assert_eq!(
            place(Some(claim(0.2, true)), claim(f64::NAN, true)),
            Placed::Behind(Claim { score: 0.2, higher_is_better: true })
        );
        assert_eq!(place(Some(claim(0.2, true)), None), Placed::Unscored);
        assert_eq!(place(Some(claim(0.2, true)), claim(0.1, false)), Placed::OtherDirection);
    }

    #[test]
    fn the_submission_is_always_the_best_so_far() {
        let folder = std::env::temp_dir().join(format!("medalist-board-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let board = Board::new(&folder);
        let offer = |text: &str, score: f64, candidate: u32| {
            let file = folder.join("made.csv");
            fs::write(&file, text).unwrap();
            board.offer(&file, claim(score, true), Some(candidate)).unwrap()
        };
        assert_eq!(offer("first", 0.5, 2), (Placed::Best, true));
        let behind = Placed::Behind(Claim { score: 0.5, higher_is_better: true });
        assert_eq!(offer("second", 0.4, 1), (behind, true));
        assert_eq!(offer("third", 0.3, 1), (behind, false));
        assert_eq!(fs::read_to_string(folder.join("submission.csv")).unwrap(), "first");
        assert_eq!(offer("fourth", 0.6, 1), (Placed::Best, true));
        assert_eq!(fs::read_to_string(folder.join("submission.csv")).unwrap(), "fourth");
        assert_eq!(board.candidates(), [1, 2]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
