//! The contamination gap: medal rates on competitions that ended before a model's training cut-off,
//! and after it.
//!
//! A model may have read about a competition that had ended when its training data were gathered:
//! solutions, kernels, perhaps the answers. It cannot have read so about one that ended later. The two
//! sets are different competitions, so that the gap also holds how much harder one of them is.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure};
use crate::estimate::{CONFIDENCE, Estimate};
use crate::stats::{self, Cluster, Interval};
use crate::text;

/// Competitions on a side below which a reader is told how little they prove.
const FEW: usize = 20;
/// Competitions without a date that are named.
const NAMED: usize = 5;

/// The training cut-offs that a report is asked to compare with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Of agents that are not named.
    pub all: Option<NaiveDate>,
    /// By agent.
    pub by_agent: BTreeMap<String, NaiveDate>,
}

impl Cutoffs {
    fn of(&self, agent: &str) -> Option<NaiveDate> {
        self.by_agent.get(agent).copied().or(self.all)
    }
}

/// Medal rates before and after a training cut-off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contamination {
    /// The last day of the training data.
    pub cutoff: NaiveDate,
    /// Competitions that ended on this day or before.
    pub before: Side,
    /// Competitions that ended later.
    pub after: Side,
    /// Competitions whose end is not known; they are on neither side.
    pub undated: Vec<String>,
    /// Medal rate before less that after: positive where the agent does better on what its model may
    /// have read about. `None` if a side is empty.
    pub gap: Option<f64>,
    /// 95% interval of the gap, for competitions like these. `None` if a side has fewer than two.
    pub interval: Option<Interval>,
    /// All of it in sentences.
    pub summary: Vec<String>,
}

/// One side of the cut-off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Competitions.
    pub competitions: usize,
    /// Attempts on them.
    pub attempts: usize,
    /// Attempts with a medal.
    pub medals: usize,
    /// Medal rate; `None` without a competition.
    pub rate: Option<f64>,
    /// 95% interval of it, for competitions like these.
    pub interval: Option<Interval>,
}

impl Side {
    fn of(part: &BTreeMap<&str, Vec<&Attempt>>) -> Self {
        let estimate = Estimate::of(Measure::AnyMedal, part);
        Self {
            competitions: estimate.competitions,
            attempts: estimate.attempts,
            medals: estimate.sum as usize,
            rate: estimate.value,
            interval: estimate.on_like_these,
        }
    }

    fn words(&self) -> String {
        format!(
            "{} ({} of {} attempts on {} competition{}, 95% {})",
            text::percent(self.rate),
            self.medals,
            self.attempts,
            self.competitions,
            if self.competitions == 1 { "" } else { "s" },
            text::interval(self.interval),
        )
    }
}

fn clusters(part: &BTreeMap<&str, Vec<&Attempt>>) -> Vec<Cluster> {
    let values = |attempts: &Vec<&Attempt>| -> Cluster {
        attempts.iter().filter_map(|attempt| Measure::AnyMedal.value(&attempt.grade)).collect()
    };
    part.values().map(values).collect()
}

impl Contamination {
    /// Of an agent's attempts, by competition; `None` if no cut-off is asked for.
    pub(crate) fn of(
        agent: &str,
        cutoffs: &Cutoffs,
        by_competition: &BTreeMap<&str, Vec<&Attempt>>,
    ) -> Option<Self> {
        let cutoff = cutoffs.of(agent)?;
        let (mut before, mut after, mut undated) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (id, attempts) in by_competition {
            match attempts.iter().find_map(|attempt| attempt.facts.ended) {
                Some(ended) if ended <= cutoff => before.insert(*id, attempts.clone()),
                Some(_) => after.insert(*id, attempts.clone()),
                None => {
                    undated.push((*id).to_owned());
                    None
                }
            };
        }
        let interval =
            stats::difference_of_others(&clusters(&after), &clusters(&before), CONFIDENCE);
        let (before, after) = (Side::of(&before), Side::of(&after));
        let gap = before.rate.zip(after.rate).map(|(before, after)| before - after);
        let mut found = Self { cutoff, before, after, undated, gap, interval, summary: Vec::new() };
        found.summary = found.sentences();
        Some(found)
    }

    fn sentences(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "any medal on competitions that ended by the training cut-off {}: {}; on later ones: {}",
            self.cutoff,
            self.before.words(),
            self.after.words()
        )];
        lines.push(match (self.gap, self.before.competitions, self.after.competitions) {
            (Some(gap), ..) => format!(
                "contamination gap (before less after): {} points, 95% {}",
                text::points(Some(gap)),
                match self.interval {
                    Some(interval) => text::points_interval(Some(interval)),
                    None => "not computable: one side has a single competition".to_owned(),
                }
            ),
            (None, 0, 0) => {
                "contamination gap: not computable, the end of no competition is known".to_owned()
            }
            (None, 0, _) => {
                "contamination gap: not computable, no competition ended by the cut-off".to_owned()
            }
            (None, ..) => {
                "contamination gap: not computable, no competition ended after the cut-off"
                    .to_owned()
            }
        });
        if !self.undated.is_empty() {
            let shown: Vec<String> =
                self.undated.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
            let more = if self.undated.len() > NAMED { ", ..." } else { "" };
            lines.push(format!(
                "{} competition{} without a known end {} on neither side: {}{more}",
                self.undated.len(),
                if self.undated.len() == 1 { "" } else { "s" },
                if self.undated.len() == 1 { "is" } else { "are" },
                shown.join(", ")
            ));
        }
        if self.gap.is_some() {
            let fewest = self.before.competitions.min(self.after.competitions);
            if fewest < FEW {
                let half = self.interval.map(|interval| {
                    let half = 100.0 * interval.width() / 2.0;
                    format!(": a gap below about {half:.0} points would not show")
                });
                lines.push(format!(
                    "with {fewest} competition{} on one side this proves little{}",
                    if fewest == 1 { "" } else { "s" },
                    half.unwrap_or_default()
                ));
            }
            lines.push(
                "the two sides are different competitions: the gap also holds how much harder one of them is"
                    .to_owned(),
            );
        }
        lines
    }
}

/// The gaps of all agents as Markdown; nothing if no cut-off was asked for.
pub(crate) fn markdown(data: &crate::data::ReportData) -> String {
    let mut out = String::new();
    for agent in &data.agents {
        let Some(found) = &agent.contamination else { continue };
        out.push_str(&format!("\n{} and its training cut-off:\n\n", text::markdown(&agent.agent)));
        for line in &found.summary {
            out.push_str(&format!("- {}\n", text::markdown(line)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::data::{ReportData, ReportOptions};
    use crate::read::Reading;
    use crate::simulate::Simulation;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn simulation() -> Simulation {
        Simulation {
            agent: "a".into(),
            competitions: 60,
            seeds: 3,
            shift: 0.0,
            infrastructure: 0.0,
            truth: 5,
            draw: 3,
        }
    }

    /// What is said of made-up attempts whose competitions ended on the days that `ended` gives.
    fn found(
        ended: impl Fn(usize) -> Option<NaiveDate>,
        cutoffs: Cutoffs,
    ) -> Option<Contamination> {
        let simulation = simulation();
        let mut group = simulation.group();
        for (at, attempt) in group.attempts.iter_mut().enumerate() {
            attempt.facts.ended = ended(at / simulation.seeds as usize);
        }
        let reading = Reading { groups: vec![group], ..Reading::default() };
        let options = ReportOptions {
            title: String::new(),
            generated_at: chrono::DateTime::UNIX_EPOCH,
            seed_rule: crate::leaderboard::SeedRule::default(),
            cutoffs,
        };
        ReportData::compute(&reading, &(), &options).agents.remove(0).contamination
    }

    fn all(day: NaiveDate) -> Cutoffs {
        Cutoffs { all: Some(day), ..Cutoffs::default() }
    }

    #[test]
    fn sides_are_told_apart_by_the_day() {
        let cutoff = day("2025-06-01");
        assert_eq!(found(|_| Some(cutoff), Cutoffs::default()), None);
        let later = day("2025-06-02");
        let halves =
            found(|at| Some(if at % 2 == 0 { cutoff } else { later }), all(cutoff)).unwrap();
        assert_eq!((halves.before.competitions, halves.after.competitions), (30, 30));
        let (gap, interval) = (halves.gap.unwrap(), halves.interval.unwrap());
        assert!((gap - (halves.before.rate.unwrap() - halves.after.rate.unwrap())).abs() < 1e-12);
        assert!(interval.lower < gap && gap < interval.upper, "{interval:?}");
        assert!(!halves.summary.iter().any(|line| line.contains("proves little")));
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        let cutoff = day("2025-06-01");
        let undated = found(|_| None, all(cutoff)).unwrap();
        assert_eq!((undated.gap, undated.interval, undated.undated.len()), (None, None, 60));
        assert!(undated.summary[1].contains("the end of no competition is known"));
        let before = found(|_| Some(cutoff), all(cutoff)).unwrap();
        assert!(before.summary[1].contains("no competition ended after"), "{:?}", before.summary);
        let one = found(|at| Some(if at == 0 { day("2026-01-01") } else { cutoff }), all(cutoff));
        let one = one.unwrap();
        assert!(one.gap.is_some() && one.interval.is_none());
        assert!(one.summary[1].contains("a single competition"), "{:?}", one.summary);
        assert!(one.summary[2].contains("proves little"), "{:?}", one.summary);
    }

    #[test]
    fn a_named_agent_has_its_own_cut_off() {
        let own = day("2024-01-01");
        let cutoffs =
            Cutoffs { all: Some(day("2025-06-01")), by_agent: [(simulation().agent, own)].into() };
        assert_eq!(found(|_| None, cutoffs).unwrap().cutoff, own);
    }
}
