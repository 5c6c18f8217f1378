//! Claims and what they are worth.

use std::fmt;

use medalist_grading::untrusted::Shown;
use serde::Serialize;

/// How many lines of evidence a claim shows.
const SHOWN: usize = 20;

/// What a claim is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proved here, by what the sender cannot have made up.
    Verified,
    /// Everything in the bundle agrees with it; who made the bundle could have made that up.
    Consistent,
    /// What it takes to check it is not there.
    NotCheckable,
    /// Something in the bundle, or here, says otherwise.
    Contradicted,
}

impl Verdict {
    /// All, from the best to the worst.
    pub const ALL: [Self; 4] =
        [Self::Verified, Self::Consistent, Self::NotCheckable, Self::Contradicted];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verified => "verified",
            Self::Consistent => "consistent",
            Self::NotCheckable => "not checkable",
            Self::Contradicted => "contradicted",
        })
    }
}

/// One claim of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// A word for it: `scores`, `times`, ...
    pub id: &'static str,
    /// What is claimed.
    pub says: &'static str,
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// What contradicts it, or what could not be checked; 20 lines at most.
    pub evidence: Vec<String>,
    /// Lines of evidence in all.
    pub evidence_count: usize,
}

/// A claim while it is checked.
#[derive(Debug)]
pub(super) struct Check {
    id: &'static str,
    says: &'static str,
    /// What it is if nothing speaks against it.
    best: Verdict,
    reason: String,
    wrong: Lines,
    open: Lines,
    notes: Lines,
}

#[derive(Debug, Default)]
struct Lines {
    first: Vec<String>,
    count: usize,
}

impl Lines {
    fn add(&mut self, line: impl fmt::Display) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(Shown::message(&line.to_string()).into_string());
        }
    }
}

impl Check {
    /// A claim that is consistent unless something is found.
    pub(super) fn new(id: &'static str, says: &'static str) -> Self {
        Self {
            id,
            says,
            best: Verdict::Consistent,
            reason: String::new(),
            wrong: Lines::default(),
            open: Lines::default(),
            notes: Lines::default(),
        }
    }

    /// What the claim is if nothing speaks against it, and why.
    pub(super) fn holds(&mut self, best: Verdict, reason: impl Into<String>) {
        self.best = best;
        self.reason = reason.into();
    }

    /// Something says otherwise.
    pub(super) fn wrong(&mut self, what: impl fmt::Display) {
        self.wrong.add(what);
    }

    /// Something says otherwise, unless `is_right`.
    pub(super) fn expect(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong(what());
        }
    }

    /// A part of the claim that cannot be checked.
    pub(super) fn open(&mut self, what: impl fmt::Display) {
        self.open.add(what);
    }

    /// Something to be seen that speaks for nothing.
    pub(super) fn note(&mut self, what: impl fmt::Display) {
        self.notes.add(what);
    }

    /// The verdict.
    pub(super) fn claim(self) -> Claim {
        let Self { id, says, best, reason, wrong, open, notes } = self;
        // What is proved but for a part of it is not proved.
        let (verdict, reason) = match (wrong.count, best) {
            (1.., _) => (Verdict::Contradicted, wrong.first.first().cloned().unwrap_or_default()),
            (0, Verdict::Verified) if open.count > 0 => (Verdict::Consistent, reason),
            (0, best) => (best, reason),
        };
        let count = wrong.count + open.count + notes.count;
        let evidence = wrong.first.into_iter().chain(open.first).chain(notes.first);
        Claim {
            id,
            says,
            verdict,
            reason,
            evidence: evidence.take(SHOWN).collect(),
            evidence_count: count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_that_is_known_decides() {
        let check = |touch: &dyn Fn(&mut Check)| {
            let mut check = Check::new("x", "it is so");
            check.holds(Verdict::Verified, "seen");
            touch(&mut check);
            check.claim()
        };
        assert_eq!(check(&|_| ()).verdict, Verdict::Verified);
        assert_eq!(check(&|it| it.open("half")).verdict, Verdict::Consistent);
        let wrong = check(&|it| (0..50).for_each(|at| it.wrong(format!("no {at}\x1b"))));
        assert_eq!((wrong.verdict, wrong.evidence_count), (Verdict::Contradicted, 50));
        assert!(wrong.reason.contains("no 0") && !wrong.reason.contains('\x1b'), "{wrong:?}");
        assert_eq!(wrong.evidence.len(), SHOWN);
    }
}
