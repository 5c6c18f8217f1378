//! The medal rate of an agent over its run groups in time.

use chrono::{DateTime, Utc};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attempt::Measure;
use crate::data::by_competition;
use crate::estimate::Estimate;
use crate::read::{Group, Reading};
use crate::record::FormatVersion;
use crate::stats::Interval;
use crate::table::{self, Column, Look};
use crate::text;

/// The version of the history's JSON that this crate writes.
pub const HISTORY_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

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

    /// A table with one line a run group.
    pub fn terminal(&self, look: Look) -> String {
        let rows: Vec<Vec<String>> = self
            .entries
            .iter()
            .map(|entry| {
                let (interval, on) = entry.interval().map_or((None, ""), |(i, on)| (Some(i), on));
                vec![
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
                ]
            })
            .collect();
        let columns = [
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
    HistoryEntry {
        agent: group.agent.clone(),
        agent_version: record.and_then(|r| r.agent.version.clone()),
        group: group.id.clone(),
        started_at: record.and_then(|r| r.started_at),
        suite: record.and_then(|r| r.suite.clone()),
        any_medal: Estimate::of(Measure::AnyMedal, &attempts),
        percentile: Estimate::of(Measure::Percentile, &attempts),
        infrastructure: group.attempts.iter().filter(|a| a.is_infrastructure()).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulation;

    #[test]
    fn groups_are_in_order_of_time_with_their_denominators() {
        let group = |draw| {
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
        };
        let reading = Reading { groups: vec![group(9), group(2), group(5)], warnings: Vec::new() };
        let history = History::of(&reading);
        assert!(history.entries.is_sorted_by_key(|entry| entry.started_at));
        assert!(history.entries.iter().all(|entry| entry.any_medal.attempts == 10));
        assert_eq!(history.terminal(Look::default()).lines().count(), 4);
    }
}
