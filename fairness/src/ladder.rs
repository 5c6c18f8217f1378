//! What simple models score, beside the leaderboard.

use std::path::{Path, PathBuf};

use medalist_agents::ladder::{Ladder, Rung as Way};
use medalist_grading::{Direction, Medal, Thresholds};
use serde::Serialize;

use crate::{Finding, NotMeasured, Score, Settings, Severity, Subject};

/// The ladder.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Each way to guess, the simplest first.
    pub rungs: Vec<Rung>,
    /// What the leaderboard asks for medals and for its middle.
    pub thresholds: Option<Thresholds>,
}

/// A way to guess and what it scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    /// `sample`, `mean`, `median`, `linear`, `trees`, `forecast` or `net`.
    pub name: &'static str,
    /// The rounded score.
    pub score: f64,
    /// The medal that it earns.
    pub medal: Option<Medal>,
    /// Percent of the leaderboard's teams that are not better.
    pub percentile: Option<f64>,
    /// Training rows that were learnt from.
    pub learnt: usize,
    /// Whether training was cut short by its time, which makes the score depend on the machine.
    pub cut_short: bool,
}

/// The best submission that was made, for what else is to be measured on it.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) name: &'static str,
    pub(crate) score: f64,
    pub(crate) path: PathBuf,
}

/// Makes submissions in `scratch` and has them graded; gives the best one, the sample submission if
/// there is no other.
pub(crate) fn measure(
    subject: &Subject<'_>,
    ladder: Option<&Ladder>,
    scratch: &Path,
    settings: Settings,
    score: &Score<'_>,
    report: &mut crate::Report,
) -> Option<Best> {
    report.ladder.thresholds = subject.thresholds;
    let direction = subject.grading.direction;
    let mut best: Option<Best> = None;
    let mut is_model = false;
    let mut keep = |name, path: PathBuf, learnt, cut_short, report: &mut crate::Report| {
        match score(&path) {
            Ok(score) => {
                let rung = rung(subject, name, score, learnt, cut_short);
                report.ladder.rungs.push(rung);
                let model = name != "sample";
                // The sample stands in only until there is something better founded.
                if best.as_ref().is_none_or(|best| {
                    (model && !is_model)
                        || best.score.is_nan()
                        || direction.is_better(score, best.score)
                }) {
                    best = Some(Best { name, score, path });
                }
                is_model |= model;
            }
            Err(why) => {
                report.not_measured.push(NotMeasured::new(format!("score of `{name}`"), why))
            }
        }
    };
    match subject.sample.canonicalize() {
        Ok(path) => keep("sample", path, 0, false, report),
        Err(error) => {
            report.not_measured.push(NotMeasured::new("score of `sample`", error.to_string()));
        }
    }
    for way in Way::ALL {
        let Some(ladder) = ladder else { break };
        let path = scratch.join(format!("{}.csv", way.name()));
        match ladder.climb(way, settings.seed, settings.time, &path) {
            Ok(climbed) => keep(way.name(), path, climbed.learnt, climbed.cut_short, report),
            Err(why) => {
                report.not_measured.push(NotMeasured::new(format!("model `{}`", way.name()), why));
            }
        }
    }
    if let Some(thresholds) = subject.thresholds {
        let found = findings(&report.ladder.rungs, thresholds, direction);
        report.findings.extend(found);
    }
    best
}

fn rung(
    subject: &Subject<'_>,
    name: &'static str,
    score: f64,
    learnt: usize,
    cut_short: bool,
) -> Rung {
    let direction = subject.grading.direction;
    let standing = subject.board.and_then(|board| board.standing(score, direction));
    Rung {
        name,
        score,
        medal: subject.thresholds.and_then(|thresholds| thresholds.medal(score, direction)),
        percentile: standing.map(|standing| standing.percentile),
        learnt,
        cut_short,
    }
}

/// Whether the ladder reaches above the board, or stays below its middle.
fn findings(rungs: &[Rung], thresholds: Thresholds, direction: Direction) -> Vec<Finding> {
    let best = |thoughtless: bool| {
        let of = |rung: &&Rung| matches!(rung.name, "sample" | "mean" | "median") == thoughtless;
        rungs.iter().filter(of).min_by(|a, b| direction.compare(a.score, b.score))
    };
    let mut found = Vec::new();
    let numbers = |rung: &Rung| {
        [
            ("score", rung.score),
            ("gold", thresholds.gold),
            ("bronze", thresholds.bronze),
            ("median", thresholds.median),
        ]
    };
    if let Some(rung) = best(true).filter(|rung| rung.medal.is_some()) {
        found.push(Finding::new(
            "medal-without-model",
            Severity::Fault,
            format!(
                "`{}`, which looks at no column, scores {} and earns a medal (bronze needs {})",
                rung.name, rung.score, thresholds.bronze
            ),
            "the board is of another task than the new split, or the metric is not the board's: do not compare with it",
            numbers(rung),
        ));
    }
    let Some(model) = best(false) else { return found };
    if model.medal == Some(Medal::Gold) {
        found.push(Finding::new(
            "ladder-tops-board",
            Severity::Warning,
            format!(
                "the simple model `{}` scores {}; gold needs {}",
                model.name, model.score, thresholds.gold
            ),
            "look for a leak, or for a split that is easier than the board's; medals here say little",
            numbers(model),
        ));
    } else if !direction.is_as_good(model.score, thresholds.median) {
        found.push(Finding::new(
            "ladder-below-median",
            Severity::Warning,
            format!(
                "the best simple model, `{}`, scores {} and does not reach the board's median, {}",
                model.name, model.score, thresholds.median
            ),
            "either the task needs more than these models can (pictures, texts, tables beside the main one), or the split is harder than the board's: compare with published solutions",
            numbers(model),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(name: &'static str, score: f64, medal: Option<Medal>) -> Rung {
        Rung { name, score, medal, percentile: None, learnt: 0, cut_short: false }
    }

    #[test]
    fn the_ladder_is_compared_in_the_metrics_direction() {
        let higher = Thresholds { gold: 0.9, silver: 0.8, bronze: 0.7, median: 0.6 };
        let lower = Thresholds { gold: 0.1, silver: 0.2, bronze: 0.3, median: 0.4 };
        let kinds = |rungs: &[Rung], thresholds, direction| -> Vec<&str> {
            findings(rungs, thresholds, direction).iter().map(|finding| finding.kind).collect()
        };
        let ladder =
            |sample, model: f64, medal| [rung("sample", sample, None), rung("trees", model, medal)];
        let gold = Some(Medal::Gold);
        assert_eq!(kinds(&ladder(0.5, 0.65, None), higher, Direction::Higher), [""; 0]);
        assert_eq!(
            kinds(&ladder(0.5, 0.55, None), higher, Direction::Higher),
            ["ladder-below-median"]
        );
        assert_eq!(
            kinds(&ladder(0.5, 0.95, gold), higher, Direction::Higher),
            ["ladder-tops-board"]
        );
        assert_eq!(kinds(&ladder(0.5, 0.35, None), lower, Direction::Lower), [""; 0]);
        assert_eq!(
            kinds(&ladder(0.5, 0.45, None), lower, Direction::Lower),
            ["ladder-below-median"]
        );
        let sample = [rung("sample", 0.2, Some(Medal::Silver))];
        assert_eq!(kinds(&sample, lower, Direction::Lower), ["medal-without-model"]);
    }
}
