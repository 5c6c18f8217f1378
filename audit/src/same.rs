//! The same submission in several attempts at one competition.

use std::collections::HashSet;

use medalist_grading::untrusted::Shown;

use crate::finding::{Confidence, Finding, Rule};

/// Cells that are compared one by one.
pub const SAMPLE: usize = 2_000;
/// Different values from which equality is no chance.
const VARIED: usize = 20;
/// Share of equal cells from which two submissions are nearly the same.
const NEARLY: f64 = 0.9;
/// Names of other attempts in a finding.
const NAMED: usize = 3;

/// What is known of a submission.
#[derive(Debug, Clone, Default)]
pub struct Submitted {
    /// The attempt, for people.
    pub attempt: String,
    pub agent: String,
    /// A hash of the code that the attempt left, if it left any.
    pub code: Option<u64>,
    /// A hash of all predicted cells in the order of the ids.
    pub all: u64,
    /// Hashes of the first cells, up to [`SAMPLE`].
    pub cells: Vec<u64>,
    /// Whether it is the sample that the competition comes with.
    pub is_sample: bool,
}

/// How two submissions are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Alike {
    confidence: Confidence,
    share: f64,
    why: &'static str,
}

/// Finds submissions that are alike; each finding comes with the place of its submission in the list.
///
/// `file`: what a submission is called in its attempt. Takes time in proportion to the square of the number
/// of submissions, which is that of the attempts at one competition.
pub fn identical(file: &str, all: &[Submitted]) -> Vec<(usize, Finding)> {
    let mut found = Vec::new();
    for (at, own) in all.iter().enumerate() {
        let others = all.iter().enumerate().filter(|(other, _)| *other != at);
        let mut alike: Vec<(Alike, &Submitted)> =
            others.filter_map(|(_, other)| Some((compare(own, other)?, other))).collect();
        alike.sort_by(|a, b| {
            b.0.confidence.cmp(&a.0.confidence).then(b.0.share.total_cmp(&a.0.share))
        });
        let Some((surest, _)) = alike.first() else { continue };
        let names: Vec<&str> =
            alike.iter().take(NAMED).map(|(_, other)| other.attempt.as_str()).collect();
        let more = match alike.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let share = if surest.share < 1.0 {
            format!("{:.1} % of its values are those of", 100.0 * surest.share)
        } else {
            "it is the submission of".to_owned()
        };
        let finding = Finding {
            rule: Rule::IdenticalSubmissions,
            file: Shown::new(file),
            line: None,
            confidence: surest.confidence,
            evidence: Shown::new(&format!("{}{more}", names.join(", "))),
            says: format!(
                "{share} {} more attempt{}, {}",
                alike.len(),
                if alike.len() == 1 { "" } else { "s" },
                surest.why
            ),
        };
        found.push((at, finding));
    }
    found
}

fn compare(a: &Submitted, b: &Submitted) -> Option<Alike> {
    if a.is_sample || b.is_sample || a.cells.is_empty() {
        return None;
    }
    let varied: HashSet<u64> = a.cells.iter().copied().collect();
    if varied.len() < 2 {
        return None;
    }
    let share = match a.all == b.all {
        true => 1.0,
        false if a.cells.len() != b.cells.len() || varied.len() < VARIED => return None,
        false => {
            let equal = a.cells.iter().zip(&b.cells).filter(|(a, b)| a == b).count();
            // Nearly all, but not all: a difference may lie behind the sample.
            (equal as f64 / a.cells.len() as f64).min(0.999)
        }
    };
    if share < NEARLY {
        return None;
    }
    let same_agent = a.agent == b.agent;
    let same_code = a.code.is_some() && a.code == b.code;
    let (confidence, why) = match (same_agent, varied.len() >= VARIED, share < 1.0) {
        (false, true, false) => (Confidence::High, "of another agent"),
        (false, true, true) => (Confidence::Medium, "of another agent"),
        (false, false, _) => (Confidence::Low, "of another agent, and few values are different"),
        (true, true, false) if same_code => (Confidence::Low, "by the same code"),
        (true, true, false) if a.code.is_some() && b.code.is_some() => {
            (Confidence::Medium, "by other code of the same agent")
        }
        (true, ..) => (Confidence::Low, "of the same agent"),
    };
    Some(Alike { confidence, share, why })
}
