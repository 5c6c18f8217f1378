//! The report as a table for a terminal.

use std::fmt::Write as _;

use crate::attempt::Measure;
use crate::data::{AgentReport, AttemptReport, ReportData};
use crate::text;

/// Longest column before a cell is cut.
const WIDEST: usize = 44;

/// Summary, breakdowns and attempts as plain text.
///
/// `attempts` is the highest number of attempts to list; beyond it the summary says how many were
/// left out.
pub fn render(data: &ReportData, attempts: usize) -> String {
    let mut out = String::new();
    for agent in &data.agents {
        summary(&mut out, agent);
    }
    let mut rows = Vec::new();
    for agent in &data.agents {
        for part in agent.by_complexity.iter().chain(&agent.by_modality) {
            let estimate = part.get(Measure::AnyMedal);
            rows.push(vec![
                agent.agent.clone(),
                part.name.clone(),
                part.competitions.to_string(),
                text::percent(estimate.value),
                text::counted(estimate),
                text::interval(estimate.headline().map(|(interval, _)| interval)),
            ]);
        }
    }
    table(
        &mut out,
        &["agent", "part", "competitions", "any medal", "counted", "95% interval"],
        &[2, 3, 4, 5],
        &rows,
    );
    out.push('\n');
    let listed: Vec<Vec<String>> = data.attempts.iter().take(attempts).map(attempt_row).collect();
    let heads = ["competition", "agent", "seed", "score", "medal", "percentile", "outcome", "time"];
    table(&mut out, &heads, &[2, 3, 5, 7], &listed);
    if data.attempts.len() > attempts {
        let _ = writeln!(out, "... and {} more attempts", data.attempts.len() - attempts);
    }
    out
}

fn summary(out: &mut String, agent: &AgentReport) {
    let medal = agent.overall.get(Measure::AnyMedal);
    let counts = &agent.counts;
    let _ = writeln!(
        out,
        "{}: {} any medal ({} of {} attempts on {} competitions: {} gold, {} silver, {} bronze)",
        agent.agent,
        text::percent(medal.value),
        counts.medals(),
        counts.planned,
        agent.overall.competitions,
        counts.gold,
        counts.silver,
        counts.bronze,
    );
    if let Some(seeds) = &medal.seeds {
        let _ = writeln!(
            out,
            "  mean ± SEM over {} seed(s): {} ± {}",
            seeds.values.len(),
            text::percent(Some(seeds.mean)),
            text::percent(Some(seeds.sem)),
        );
    }
    let on_like_these = medal.on_like_these.or(medal.wilson);
    let _ = writeln!(
        out,
        "  95% interval on these competitions: {}; on competitions like these: {}",
        text::interval(medal.on_these),
        text::interval(on_like_these),
    );
    let _ = writeln!(
        out,
        "  valid submissions: {} of {}; infrastructure failures: {} of {}; unfinished: {} of {}",
        counts.valid,
        counts.planned,
        counts.infrastructure,
        counts.planned,
        counts.unfinished,
        counts.planned,
    );
    for note in &medal.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out.push('\n');
}

fn attempt_row(attempt: &AttemptReport) -> Vec<String> {
    let grade = &attempt.grade;
    let medal = match grade.medal {
        Some(medal) => medal.to_string(),
        None if grade.valid && grade.above_median => "above median".to_owned(),
        None if grade.valid => "-".to_owned(),
        None if grade.exists => "invalid".to_owned(),
        None => "no submission".to_owned(),
    };
    let mark = if attempt.infrastructure { " (infrastructure)" } else { "" };
    vec![
        attempt.key.competition.clone(),
        attempt.key.agent.clone(),
        attempt.key.seed.to_string(),
        text::score(grade.score),
        medal,
        text::percent(grade.percentile.map(|p| p / 100.0)),
        format!("{}{mark}", attempt.outcome.replace('_', " ")),
        text::duration(attempt.took_s),
    ]
}

/// A table with two blanks between columns; the columns in `right` are aligned to the right.
pub fn table(out: &mut String, heads: &[&str], right: &[usize], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let cut = |text: &str| -> String {
        if text.chars().count() <= WIDEST {
            return text.to_owned();
        }
        text.chars().take(WIDEST - 1).chain(['…']).collect()
    };
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(i, head)| {
            rows.iter()
                .map(|row| row[i].chars().count())
                .max()
                .unwrap_or(0)
                .max(head.chars().count())
        })
        .collect();
    let line = |cells: Vec<&str>| -> String {
        let cells: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(i, cell)| {
                let gap = " ".repeat(widths[i] - cell.chars().count());
                if right.contains(&i) { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let _ = writeln!(out, "{}", line(heads.to_vec()));
    let _ = writeln!(out, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
    for row in &rows {
        let _ = writeln!(out, "{}", line(row.iter().map(String::as_str).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = String::new();
        table(
            &mut out,
            &["a", "n"],
            &[1],
            &[vec!["x".into(), "10".into()], vec!["long".into(), "5".into()]],
        );
        assert_eq!(out, "a      n\n--------\nx     10\nlong   5\n");
    }
}
