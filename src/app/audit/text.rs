//! An audit for people: on a terminal, and as Markdown.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use medalist_audit::{Confidence, Finding, Rule};
use medalist_grading::untrusted::Shown;
use medalist_reports::table::{Column, Look, render, wrap};
use medalist_reports::text::markdown as escaped;

use super::{Audit, GroupAudit, NotChecked};

/// What stands at the end of every audit.
const MEANING: &str = "A finding is a question, not a verdict: each quotes the line to look at. Nothing was excluded for it. What rules do not look for, they do not find (docs/audit.md says how often they are right).";

const COLUMNS: [Column; 5] = [
    Column::new("no.").right(),
    Column::new("confidence"),
    Column::new("rule"),
    Column::new("attempt").cut(),
    Column::new("where").cut(),
];

/// A finding with whom it is on.
struct Row<'a> {
    whom: String,
    finding: &'a Finding,
}

fn rows(group: &GroupAudit) -> Vec<Row<'_>> {
    // A bundle's plan is a stranger's.
    let of_attempt =
        |attempt: &super::AttemptAudit| Shown::new(&attempt.key.to_string()).into_string();
    let mut rows: Vec<Row<'_>> = group
        .attempts
        .iter()
        .flat_map(|attempt| {
            attempt.findings.iter().map(move |finding| Row { whom: of_attempt(attempt), finding })
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.finding.confidence));
    rows
}

fn place(finding: &Finding) -> String {
    match finding.line {
        Some(line) => format!("{}:{line}", finding.file),
        None => finding.file.as_str().to_owned(),
    }
}

/// What was not checked, with how many attempts it holds for.
fn not_checked(group: &GroupAudit) -> Vec<(&NotChecked, usize)> {
    let mut counts: BTreeMap<&NotChecked, usize> = BTreeMap::new();
    for one in group.attempts.iter().flat_map(|attempt| &attempt.not_checked) {
        *counts.entry(one).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn attempts(count: usize) -> String {
    format!("{count} attempt{}", if count == 1 { "" } else { "s" })
}

fn counts(audit: &Audit) -> String {
    let count = |confidence: Confidence| {
        let found = audit.findings().filter(|finding| finding.confidence == confidence).count();
        format!("{found} {confidence}")
    };
    let counts: Vec<String> = Confidence::ALL.into_iter().rev().map(count).collect();
    format!("findings: {}", counts.join(", "))
}

pub(super) fn plain(audit: &Audit, look: Look) -> String {
    let mut out = String::new();
    for group in &audit.groups {
        let _ = writeln!(
            out,
            "{} (agent {}): {}",
            group.id,
            group.agent,
            attempts(group.attempts.len())
        );
        let rows = rows(group);
        let cells: Vec<Vec<String>> = rows
            .iter()
            .enumerate()
            .map(|(at, Row { whom, finding })| {
                vec![
                    (at + 1).to_string(),
                    finding.confidence.to_string(),
                    finding.rule.to_string(),
                    whom.clone(),
                    place(finding),
                ]
            })
            .collect();
        out.push_str(&render(&COLUMNS, &cells, look));
        out.push_str(if rows.is_empty() { "no findings\n" } else { "\n" });
        for (at, Row { finding, .. }) in rows.iter().enumerate() {
            let line = format!("{}. {}", at + 1, finding.says);
            let _ = writeln!(out, "{}", wrap(&line, look.width, 4));
            let quoted = format!("{}: {}", place(finding), finding.evidence);
            let _ = writeln!(out, "    {}", wrap(&quoted, look.width.saturating_sub(4), 6));
        }
        let open = not_checked(group);
        if !open.is_empty() {
            out.push_str("\nnot checked:\n");
        }
        for (one, count) in open {
            let line = format!("{}: {} ({})", one.rule, one.why, attempts(count));
            let _ = writeln!(out, "  {}", wrap(&line, look.width.saturating_sub(2), 6));
        }
        for line in &group.refused {
            let _ = writeln!(out, "  not looked at: {line}");
        }
        out.push('\n');
    }
    let data: Vec<_> = audit.competitions.iter().collect();
    if data.iter().any(|one| !one.findings.is_empty() || !one.not_checked.is_empty()) {
        out.push_str("The competitions' data (context of every score on them):\n");
    }
    for competition in data {
        for finding in &competition.findings {
            let line = format!(
                "{}: {} {}: {} ({}: {})",
                competition.id,
                finding.confidence,
                finding.rule,
                finding.says,
                place(finding),
                finding.evidence
            );
            let _ = writeln!(out, "  {}", wrap(&line, look.width.saturating_sub(2), 4));
        }
        for one in &competition.not_checked {
            let line = format!("{}: {} not checked: {}", competition.id, one.rule, one.why);
            let _ = writeln!(out, "  {}", wrap(&line, look.width.saturating_sub(2), 4));
        }
    }
    let _ = writeln!(out, "\n{}\n{}", counts(audit), wrap(MEANING, look.width, 0));
    out
}

pub(super) fn markdown(audit: &Audit) -> String {
    let mut out = String::from("### Audit\n\n");
    let _ = writeln!(out, "{}\n", counts(audit));
    for group in &audit.groups {
        let (id, agent) = (escaped(&group.id), escaped(&group.agent));
        let _ = writeln!(out, "#### {id} (agent {agent})\n");
        let rows = rows(group);
        if rows.is_empty() {
            out.push_str("No findings.\n\n");
        } else {
            out.push_str("| confidence | rule | attempt | where | evidence | why |\n| --- | --- | --- | --- | --- | --- |\n");
        }
        for Row { whom, finding } in &rows {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                finding.confidence,
                finding.rule,
                escaped(whom),
                escaped(&place(finding)),
                escaped(&finding.evidence),
                escaped(&finding.says)
            );
        }
        let open = not_checked(group);
        if !open.is_empty() {
            out.push_str("\nNot checked:\n\n");
        }
        for (one, count) in open {
            let _ = writeln!(out, "- {}: {} ({})", one.rule, escaped(&one.why), attempts(count));
        }
        for line in &group.refused {
            let _ = writeln!(out, "- not looked at: {}", escaped(line));
        }
        out.push('\n');
    }
    let data = || audit.competitions.iter();
    if data().any(|one| !one.findings.is_empty() || !one.not_checked.is_empty()) {
        out.push_str("#### The competitions' data\n\n");
    }
    for competition in data() {
        let id = escaped(&competition.id);
        for finding in &competition.findings {
            let (rule, says, at) = (finding.rule, escaped(&finding.says), escaped(&place(finding)));
            let _ = writeln!(out, "- {id}: {} {rule}: {says} ({at})", finding.confidence);
        }
        for one in &competition.not_checked {
            let _ = writeln!(out, "- {id}: {} not checked: {}", one.rule, escaped(&one.why));
        }
    }
    out.push_str("\nWhat the rules ask:\n\n");
    for rule in Rule::ALL {
        let _ = writeln!(out, "- {rule}: {}", rule.question());
    }
    let _ = writeln!(out, "\n{MEANING}");
    out
}
