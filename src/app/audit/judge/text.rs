//! What a judge said, for people.

use std::fmt::Write as _;

use medalist_reports::table::{Column, Look, render};
use medalist_reports::text;

use super::rubric::CRITERIA;
use super::{AttemptJudged, GroupJudged, Judged, UNMEASURED, Verdict};

impl Verdict {
    /// The word used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::NotJudged => "not judged",
            Self::Unclear => "unclear",
            Self::Yes => "yes",
        }
    }
}

impl Judged {
    /// For a terminal.
    pub fn text(&self, look: Look) -> String {
        let mut out = String::new();
        for group in &self.groups {
            let _ = writeln!(out, "{}  {}, judged by {}\n", group.id, group.agent, self.model);
            out.push_str(&render(&columns(), &rows(group), look));
            for attempt in &group.attempts {
                details(&mut out, attempt);
            }
            let _ = writeln!(out, "\n{}", asked(group));
        }
        let _ = writeln!(out, "{}", text::capitalised(self.note));
        out
    }

    /// For a page or a pull request.
    pub fn markdown(&self) -> String {
        self.groups.iter().map(|group| markdown_of(&self.model, group)).collect()
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("ATTEMPT"),
        Column::new("PIECES").right(),
        Column::new("YES"),
        Column::new("UNCLEAR"),
        Column::new("NOT JUDGED").right(),
        Column::new("QUOTES NOT FOUND").right(),
    ]
}

fn rows(group: &GroupJudged) -> Vec<Vec<String>> {
    let row = |attempt: &AttemptJudged| {
        vec![
            attempt.key.to_string(),
            attempt.pieces.to_string(),
            with(attempt, Verdict::Yes),
            with(attempt, Verdict::Unclear),
            gaps(attempt),
            attempt.quotes_not_found.to_string(),
        ]
    };
    group.attempts.iter().map(row).collect()
}

/// The criteria that have a verdict.
fn with(attempt: &AttemptJudged, verdict: Verdict) -> String {
    let ids = CRITERIA.iter().map(|criterion| criterion.id);
    ids.filter(|id| attempt.verdicts.get(id) == Some(&verdict)).collect::<Vec<_>>().join(", ")
}

/// Pieces that were not judged, of how many, and whether something was not read.
fn gaps(attempt: &AttemptJudged) -> String {
    let count = attempt.not_judged.len();
    match attempt.not_read.len() {
        0 => count.to_string(),
        parts => format!("{count} (and {parts} not read)"),
    }
}

fn details(out: &mut String, attempt: &AttemptJudged) {
    if attempt.findings.is_empty() && attempt.not_judged.is_empty() && attempt.not_read.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", attempt.key);
    for finding in &attempt.findings {
        let (file, line, evidence) = (&finding.file, finding.line, &finding.evidence);
        let (criterion, confidence) = (finding.criterion, finding.confidence);
        let _ = writeln!(out, "  {criterion} ({confidence}): {file}:{line}: {evidence}");
        if !finding.reason.is_empty() {
            let _ = writeln!(out, "      {}", finding.reason);
        }
    }
    for gap in &attempt.not_judged {
        let _ = writeln!(out, "  not judged: {}: {}", gap.piece, gap.why);
    }
    for what in &attempt.not_read {
        let _ = writeln!(out, "  not read: {what}");
    }
}

fn asked(group: &GroupJudged) -> String {
    match group.spent {
        None => "Nothing was asked.".to_owned(),
        Some(spent) => {
            format!("{} calls so far, {}.", spent.calls, text::dollars(spent.dollars))
        }
    }
}

/// One group's part of the Markdown.
pub(super) fn markdown_of(model: &str, group: &GroupJudged) -> String {
    let cell = |value: &str| text::markdown(value);
    let mut out = format!(
        "## {}: judged by {}\n\n{}. {}\n\n",
        cell(&group.id),
        cell(model),
        text::capitalised(UNMEASURED),
        asked(group)
    );
    let names: Vec<&str> =
        vec!["Attempt", "Pieces", "Yes", "Unclear", "Not judged", "Quotes not found"];
    let _ = writeln!(out, "| {} |\n|{}", names.join(" | "), "---|".repeat(names.len()));
    for row in rows(group) {
        let cells: Vec<String> = row.iter().map(|value| cell(value)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for attempt in &group.attempts {
        let mut text = String::new();
        details(&mut text, attempt);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let _ = writeln!(
                out,
                "{}- {}",
                if line.starts_with(' ') { "  " } else { "" },
                cell(line.trim())
            );
        }
    }
    out.push('\n');
    out
}
