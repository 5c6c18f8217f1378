//! The medal rate of an agent over its run groups in time.

use chrono::{DateTime, Utc};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attempt::Measure;
use crate::data::by_competition;
use crate::estimate::Estimate;
use crate::llm::{Cost, LlmUse};
use crate::read::{Group, Reading};
use crate::record::FormatVersion;
use crate::stats::Interval;
use crate::table::{self, Column, Look};
use crate::text;

/// The version of the history's JSON that this crate writes.
pub const HISTORY_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 1 };

/// Run groups in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Format of the file.
    pub format: FormatVersion,
    /// One entry a run group, by agent and then by time; groups without a time come first.
    pub entries: Vec<HistoryEntry>,
}

/// A run group as a point in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Agent id.
    pub agent: String,
    /// Version that its package states.
    pub agent_version: Option<String>,
    /// Run group.
    pub group: String,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// Suite that was asked for.
    pub suite: Option<String>,
    /// Medal rate.
    pub any_medal: Estimate,
    /// Mean percentile rank.
    pub percentile: Estimate,
    /// Attempts lost to infrastructure; they count as failed.
    pub infrastructure: usize,
    /// What language models cost all attempts, lost ones and earlier tries too; `None` if no
    /// attempt's calls are recorded.
    pub cost: Option<Cost>,
    /// What the last try of a recorded attempt cost in the mean.
    pub cost_per_attempt: Option<Cost>,
}

impl History {
    /// The history of everything that was read.
    pub fn of(reading: &Reading) -> Self {
        let mut entries: Vec<HistoryEntry> = reading.groups.par_iter().map(entry).collect();
        entries.sort_by(|a, b| {
            (&a.agent, a.started_at, &a.group).cmp(&(&b.agent, b.started_at, &b.group))
        });
        Self { format: HISTORY_FORMAT, entries }
    }

    /// A table with one line a run group; the columns of costs are there if any are known of.
    pub fn terminal(&self, look: Look) -> String {
        let has_costs = self.entries.iter().any(|entry| entry.cost.is_some());
        let rows: Vec<Vec<String>> = self
            .entries
            .iter()
            .map(|entry| {
                let (interval, on) = entry.interval().map_or((None, ""), |(i, on)| (Some(i), on));
                let mut row = vec![
                    entry.started_at.map_or_else(
                        || "unknown".to_owned(),
                        |at| at.format("%Y-%m-%d %H:%M").to_string(),
                    ),
                    entry.agent.clone(),
                    entry.agent_version.clone().unwrap_or_else(|| "-".to_owned()),
                    entry.suite.clone().unwrap_or_else(|| "-".to_owned()),
                    text::counted(&entry.any_medal),
                    text::percent(entry.any_medal.value),
                    text::interval(interval),
                    on.to_owned(),
                    text::percent(entry.percentile.value),
                    entry.infrastructure.to_string(),
                ];
                if has_costs {
                    row.extend([entry.cost, entry.cost_per_attempt].map(text::cost));
                }
                row
            })
            .collect();
        let mut columns = vec![
            Column::new("began"),
            Column::new("agent").cut(),
            Column::new("version").optional(1),
            Column::new("suite").optional(2),
            Column::new("medals").right(),
            Column::new("rate").right(),
            Column::new("95% interval").right(),
            Column::new("on"),
            Column::new("place").right().optional(3),
            Column::new("lost").right().optional(4),
        ];
        if has_costs {
            columns.push(Column::new("cost").right().optional(6));
            columns.push(Column::new("an attempt").right().optional(5));
        }
        table::render(&columns, &rows, look)
    }
}

impl HistoryEntry {
    /// The interval to show: on the group's own competitions, which are what later groups run too;
    /// where one seed says nothing about them, on competitions like these.
    pub fn interval(&self) -> Option<(Interval, &'static str)> {
        let these = self.any_medal.on_these.map(|interval| (interval, "these"));
        these.or_else(|| self.any_medal.on_like_these.map(|interval| (interval, "like these")))
    }
}

fn entry(group: &Group) -> HistoryEntry {
    let attempts = by_competition(&[group]);
    let record = group.record.as_ref();
    let llm = LlmUse::of(&group.attempts.iter().collect::<Vec<_>>());
    HistoryEntry {
        agent: group.agent.clone(),
        agent_version: record.and_then(|r| r.agent.version.clone()),
        group: group.id.clone(),
        started_at: record.and_then(|r| r.started_at),
        suite: record.and_then(|r| r.suite.clone()),
        any_medal: Estimate::of(Measure::AnyMedal, &attempts),
        percentile: Estimate::of(Measure::Percentile, &attempts),
        infrastructure: group.attempts.iter().filter(|a| a.is_infrastructure()).count(),
        cost: llm.as_ref().and_then(|llm| llm.cost),
        cost_per_attempt: llm.and_then(|llm| llm.per_attempt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulation;

    fn group(draw: u64) -> Group {
        Simulation {
            agent: "a".into(),
            competitions: 5,
            seeds: 2,
            shift: 0.0,
            infrastructure: 0.0,
            truth: 1,
            draw,
        }
        .group()
    }

    fn history(groups: Vec<Group>) -> History {
        History::of(&Reading { groups, warnings: Vec::new() })
    }

    #[test]
    fn groups_are_in_order_of_time_with_their_denominators() {
        let history = history(vec![group(9), group(2), group(5)]);
        assert!(history.entries.is_sorted_by_key(|entry| entry.started_at));
        assert!(history.entries.iter().all(|entry| entry.any_medal.attempts == 10));
        assert_eq!(history.terminal(Look::default()).lines().count(), 4);
    }

    #[test]
    fn costs_are_those_of_the_group_and_what_is_not_known_is_no_zero() {
        let forget = |mut group: Group, count: usize| {
            for attempt in group.attempts.iter_mut().take(count) {
                attempt.record.as_mut().unwrap().llm = None;
            }
            group
        };
        let mut unpriced = group(2);
        for attempt in &mut unpriced.attempts {
            let totals = &mut attempt.record.as_mut().unwrap().llm.as_mut().unwrap().totals;
            (totals.unpriced_calls, totals.picodollars) = (totals.calls, 0);
        }
        let history = history(vec![group(1), unpriced, forget(group(3), 4), forget(group(4), 10)]);
        let [known, unpriced, partly, unrecorded] = &history.entries[..] else { panic!("four") };
        let usd = known.cost.and_then(Cost::exact).unwrap();
        assert!(usd > 0.0);
        assert_eq!(known.cost_per_attempt, Some(Cost::Known(usd / 10.0)));
        assert_eq!(unpriced.cost, Some(Cost::Unpriced));
        assert!(matches!(partly.cost, Some(Cost::AtLeast(usd)) if usd > 0.0));
        assert!(matches!(partly.cost_per_attempt, Some(Cost::Known(usd)) if usd > 0.0));
        assert_eq!((unrecorded.cost, unrecorded.cost_per_attempt), (None, None));

        let table = history.terminal(Look::plain(200));
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].contains("  cost") && lines[0].contains("an attempt"), "{table}");
        for (line, shown) in lines[1..].iter().zip(["$", "unpriced", "at least $", "not recorded"])
        {
            assert!(line.contains(shown), "{table}");
        }
        let without = self::history(vec![forget(group(4), 10)]).terminal(Look::plain(200));
        assert!(!without.contains("cost"), "{without}");
    }

    #[test]
    fn a_history_of_an_older_version_is_read() {
        let mut value = serde_json::to_value(history(vec![group(1)])).unwrap();
        let entry = value["entries"][0].as_object_mut().unwrap();
        assert!(entry.remove("cost").is_some() && entry.remove("cost_per_attempt").is_some());
        let read: History = serde_json::from_value(value).unwrap();
        assert_eq!(read.entries[0].cost, None);
    }
}
