//! What a model knows, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use medalist_reports::table::{Column, Look, render};
use medalist_reports::text;

use super::{Correlation, Familiarity, GroupFamiliarity, Measured, Medals, Probe};

/// What stands below each table.
const NOTE: &str = "Score: share of right answers (text: mean probability of a token). Chance: the same answers held against what they \
were not asked for. That a model gives nothing away does not show that it knows nothing.";

impl Familiarity {
    /// For a terminal.
    pub fn text(&self, look: Look) -> String {
        let mut out = String::new();
        for group in &self.groups {
            let _ = writeln!(out, "{}  {}: what {} knows\n", group.id, group.agent, group.model);
            out.push_str(&render(&columns(), &rows(group), look));
            out.push('\n');
            for line in below(group) {
                let _ = writeln!(out, "{line}");
            }
            let _ = writeln!(out, "\n{NOTE}");
        }
        out
    }

    /// For a page or a pull request.
    pub fn markdown(&self) -> String {
        self.groups.iter().map(markdown_of).collect()
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("COMPETITION"),
        Column::new("TEST"),
        Column::new("SCORE").right(),
        Column::new("95 %").right(),
        Column::new("CHANCE").right(),
        Column::new("OF").right(),
        Column::new("MEDALS").right(),
        Column::new("95 %").right(),
    ]
}

fn rows(group: &GroupFamiliarity) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for one in &group.competitions {
        let (rate, interval) = match &one.medals {
            Medals::Rate { rate, interval, .. } => {
                (text::percent(Some(*rate)), text::interval(*interval))
            }
            Medals::NotMeasurable { .. } => ("not measurable".to_owned(), String::new()),
        };
        for (probe, measured) in &one.tests {
            let cells = match measured {
                Measured::Score(score) => [
                    text::percent(Some(score.score)),
                    text::interval(score.interval),
                    score
                        .chance
                        .map_or_else(|| "none".to_owned(), |chance| text::percent(Some(chance))),
                    score.count.to_string(),
                ],
                Measured::NotMeasurable { .. } => {
                    ["not measurable".to_owned(), String::new(), String::new(), String::new()]
                }
            };
            let mut row = vec![one.competition.clone(), probe.id().to_owned()];
            row.extend(cells);
            row.extend([rate.clone(), interval.clone()]);
            rows.push(row);
        }
    }
    rows
}

/// Rank correlations with the medal rate; tests that have none for the same reason in one line.
fn correlations(group: &GroupFamiliarity) -> Vec<String> {
    let mut lines = Vec::new();
    let mut without: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (probe, correlation) in &group.correlations {
        match correlation {
            Correlation::Spearman(found) => lines.push(format!(
                "{} and medal rate: rank correlation {:.2} ({:.2} to {:.2}{}) over {} competitions",
                probe.id(),
                found.rho,
                found.interval.lower,
                found.interval.upper,
                if found.interval.rough { ", rough" } else { "" },
                found.pairs
            )),
            Correlation::NotMeasurable { why } => without.entry(why).or_default().push(probe.id()),
        }
    }
    lines.extend(without.iter().map(|(why, probes)| {
        format!("{} and medal rate: not measurable: {why}", probes.join(", "))
    }));
    lines
}

/// Correlations, and why something is not measurable.
fn below(group: &GroupFamiliarity) -> Vec<String> {
    let mut lines = correlations(group);
    for one in &group.competitions {
        for (probe, measured) in &one.tests {
            match measured {
                // The same for all, and said in the documentation.
                Measured::NotMeasurable { .. } if *probe == Probe::Solutions => {}
                Measured::NotMeasurable { why } => {
                    lines.push(format!(
                        "{}, {}: not measurable: {why}",
                        one.competition,
                        probe.id()
                    ));
                }
                Measured::Score(score) => {
                    if score.unanswered > 0 {
                        let (competition, probe) = (&one.competition, probe.id());
                        lines.push(format!(
                            "{competition}, {probe}: {} questions have no answer",
                            score.unanswered
                        ));
                    }
                    if let (Some(near), Some(chance)) = (score.likeness, score.likeness_by_chance) {
                        lines.push(format!(
                            "{}, {}: likeness to the truth {near:.2}, to other rows {chance:.2}",
                            one.competition,
                            probe.id()
                        ));
                    }
                }
            }
        }
        if let Medals::NotMeasurable { why } = &one.medals {
            lines.push(format!("{}: medal rate not measurable: {why}", one.competition));
        }
    }
    lines.push(match group.spent {
        None => "Nothing was asked.".to_owned(),
        Some(spent) => format!("{} calls so far, {}.", spent.calls, text::dollars(spent.dollars)),
    });
    lines
}

/// One group's part of the Markdown.
pub(super) fn markdown_of(group: &GroupFamiliarity) -> String {
    let cell = |value: &str| text::markdown(value);
    let mut out = format!("## {}: what {} knows\n\n", cell(&group.id), cell(&group.model));
    let names = ["Competition", "Test", "Score", "95 %", "Chance", "Of", "Medals", "95 %"];
    let _ = writeln!(out, "| {} |\n|{}", names.join(" | "), "---|".repeat(names.len()));
    for row in rows(group) {
        let cells: Vec<String> = row.iter().map(|value| cell(value)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for line in below(group) {
        let _ = writeln!(out, "- {}", cell(&line));
    }
    let _ = writeln!(out, "\n{NOTE}\n");
    out
}
