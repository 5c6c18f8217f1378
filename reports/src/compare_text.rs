//! A comparison for people and for CI: terminal, Markdown for a pull request, JUnit XML.

use std::fmt::Write as _;

use crate::compare::{
    AttemptBrief, Change, Comparison, CompetitionChange, ConditionDifference, Moved, Weight,
};
use crate::leaderboard::escape as escape_markdown;
use crate::plots::escape as escape_xml;
use crate::terminal::table;
use crate::text;

/// Competitions that a summary lists at most.
const LISTED: usize = 20;

fn attempts(attempts: &[AttemptBrief]) -> String {
    attempts
        .iter()
        .map(|a| match (a.medal, a.score) {
            (Some(medal), Some(score)) => format!("{medal} {}", text::score(Some(score))),
            (_, Some(score)) => text::score(Some(score)),
            _ if a.infrastructure => "infrastructure".to_owned(),
            _ => "none".to_owned(),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn medals(attempts: &[AttemptBrief]) -> String {
    format!("{} of {}", attempts.iter().filter(|a| a.medal.is_some()).count(), attempts.len())
}

fn condition(difference: &ConditionDifference) -> String {
    let shorten = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|v| v.chars().take(40).collect()).collect();
        if values.is_empty() { "unknown".to_owned() } else { values.join(", ") }
    };
    let place =
        difference.competition.as_ref().map_or_else(String::new, |id| format!(" of `{id}`"));
    let weight = match difference.weight {
        Weight::Refused => "not comparable",
        Weight::Flagged => "may explain a change",
        Weight::Expected => "expected",
    };
    let (b, c) = (shorten(&difference.baseline), shorten(&difference.candidate));
    format!("{}{place}: {b} against {c} ({weight})", difference.condition)
}

pub(crate) fn conditions(comparison: &Comparison) -> Vec<String> {
    let mut lines: Vec<String> = comparison.conditions.iter().map(condition).collect();
    if lines.len() > LISTED {
        let more = lines.len() - LISTED;
        lines.truncate(LISTED);
        lines.push(format!("and {more} more differences in conditions"));
    }
    lines
}

fn moved(comparison: &Comparison) -> impl Iterator<Item = &CompetitionChange> {
    comparison.competitions.iter().filter(|change| change.moved != Moved::Same)
}

fn sides(comparison: &Comparison) -> String {
    let (b, c) = (&comparison.baseline, &comparison.candidate);
    format!(
        "baseline {} ({} of {} attempts with a medal), candidate {} ({} of {}), paired on {} competitions",
        b.agents.join(", "),
        b.medals,
        b.attempts,
        c.agents.join(", "),
        c.medals,
        c.attempts,
        comparison.paired
    )
}

fn left_out(comparison: &Comparison) -> Vec<String> {
    [("baseline", &comparison.only_baseline), ("candidate", &comparison.only_candidate)]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(side, ids)| {
            let n = ids.len();
            let shown =
                ids.iter().take(5).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
            let more = if n > 5 { ", ..." } else { "" };
            format!("left out: {n} competition(s) of the {side} alone ({shown}{more})")
        })
        .collect()
}

/// The comparison for a terminal.
pub fn terminal(comparison: &Comparison) -> String {
    let mut out = format!("{}\n\n", sides(comparison));
    let mut rows = Vec::new();
    let mut put = |name: String, change: &Change, p: Option<f64>| {
        rows.push(vec![
            name,
            change.competitions.to_string(),
            text::percent(Some(change.baseline)),
            text::percent(Some(change.candidate)),
            text::points(Some(change.difference)),
            text::points_interval(change.on_these),
            text::p_value(change.p_on_these),
            text::points_interval(change.on_like_these),
            text::p_value(change.p_on_like_these),
            p.map_or_else(String::new, text::p_value),
        ]);
    };
    put("any medal".to_owned(), &comparison.medal_rate, None);
    if let Some(percentile) = &comparison.percentile {
        put("percentile rank".to_owned(), percentile, None);
    }
    for part in &comparison.parts {
        put(format!("any medal, {}", part.name), &part.change, Some(part.p_corrected));
    }
    let heads = [
        "",
        "n",
        "baseline",
        "candidate",
        "change",
        "on these",
        "p",
        "on like these",
        "p",
        "Holm p",
    ];
    table(&mut out, &heads, &[1, 2, 3, 4, 5, 6, 7, 8, 9], &rows);
    let m = comparison.mcnemar;
    let _ = writeln!(
        out,
        "\nMcNemar over {} competitions: {} gained, {} lost, p = {}",
        comparison.paired,
        m.gained,
        m.lost,
        text::p_value(m.p)
    );
    if let Some(detectable) = comparison.medal_rate.detectable_on_these {
        let _ = writeln!(
            out,
            "detectable with 80% power on these competitions: {:.1} points",
            detectable * 100.0
        );
    }
    if let Some(detectable) = comparison.medal_rate.detectable_on_like_these {
        let _ = writeln!(
            out,
            "detectable with 80% power on ones like these: {:.1} points",
            detectable * 100.0
        );
    }
    let rows: Vec<Vec<String>> = moved(comparison)
        .take(LISTED)
        .map(|change| {
            vec![
                change.competition.clone(),
                if change.moved == Moved::Up { "up" } else { "down" }.to_owned(),
                medals(&change.baseline),
                medals(&change.candidate),
                text::points(change.percentile_difference),
                text::p_value(change.p),
                text::p_value(change.p_corrected),
            ]
        })
        .collect();
    if rows.is_empty() {
        out.push_str("\nno competition changed its share of medals\n");
    } else {
        let _ = writeln!(
            out,
            "\n{} of {} competitions moved",
            moved(comparison).count(),
            comparison.paired
        );
        table(
            &mut out,
            &["competition", "moved", "before", "after", "percentile", "p", "Holm p"],
            &[4, 5, 6],
            &rows,
        );
    }
    let notes: Vec<String> = conditions(comparison)
        .into_iter()
        .chain(left_out(comparison))
        .chain(comparison.warnings.clone())
        .collect();
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    let verdict = &comparison.verdict;
    let _ = writeln!(
        out,
        "\n{}: {}{}",
        if verdict.regressed { "REGRESSION" } else { "no regression" },
        verdict.reason,
        power(comparison)
    );
    out
}

fn power(comparison: &Comparison) -> String {
    match comparison.verdict.power_at_five_points {
        Some(power) => {
            format!(
                "; a true drop of 5 points would be caught with probability {}",
                text::percent(Some(power))
            )
        }
        None => {
            "; with one attempt a competition the chance of catching a drop is not known".to_owned()
        }
    }
}

/// The comparison for a pull request.
pub fn markdown(comparison: &Comparison) -> String {
    let verdict = &comparison.verdict;
    let mut out = format!(
        "### {}\n\n{}. {}{}.\n\n",
        if verdict.regressed { "Regression" } else { "No regression" },
        escape_markdown(&text::capitalised(&sides(comparison))),
        text::capitalised(&verdict.reason),
        power(comparison)
    );
    out.push_str(
        "| | Competitions | Baseline | Candidate | Change | 95% on these | p | 95% on ones like these | p | Holm p |\n",
    );
    out.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    let mut put = |name: &str, change: &Change, corrected: Option<f64>| {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            escape_markdown(name),
            change.competitions,
            text::percent(Some(change.baseline)),
            text::percent(Some(change.candidate)),
            text::points(Some(change.difference)),
            text::points_interval(change.on_these),
            text::p_value(change.p_on_these),
            text::points_interval(change.on_like_these),
            text::p_value(change.p_on_like_these),
            corrected.map_or_else(String::new, text::p_value),
        );
    };
    put("Any medal", &comparison.medal_rate, None);
    if let Some(percentile) = &comparison.percentile {
        put("Percentile rank", percentile, None);
    }
    for part in &comparison.parts {
        put(&format!("Any medal, {}", part.name), &part.change, Some(part.p_corrected));
    }
    let m = comparison.mcnemar;
    let _ = writeln!(
        out,
        "\nMcNemar: {} gained, {} lost, p = {}.",
        m.gained,
        m.lost,
        text::p_value(m.p)
    );
    let listed: Vec<&CompetitionChange> = moved(comparison).take(LISTED).collect();
    if !listed.is_empty() {
        let all = moved(comparison).count();
        let _ = writeln!(
            out,
            "\n<details><summary>{all} of {} competitions moved</summary>\n",
            comparison.paired
        );
        out.push_str("| Competition | Before | After | Attempts before | Attempts after | Holm p |\n| --- | --- | --- | --- | --- | ---: |\n");
        for change in listed {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                escape_markdown(&change.competition),
                medals(&change.baseline),
                medals(&change.candidate),
                attempts(&change.baseline),
                attempts(&change.candidate),
                text::p_value(change.p_corrected),
            );
        }
        out.push_str("\n</details>\n");
    }
    let notes: Vec<String> = conditions(comparison)
        .into_iter()
        .chain(left_out(comparison))
        .chain(comparison.warnings.clone())
        .collect();
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "- {}", escape_markdown(&note));
    }
    out
}

/// The comparison as JUnit XML: a test case for the gate, one for the conditions, and one a
/// competition.
///
/// A competition fails if its share of medals fell and Holm's correction leaves it below one minus
/// the gate's confidence; with a few seeds that is rare, so the gate is what counts.
pub fn junit(comparison: &Comparison) -> String {
    let mut cases = Vec::new();
    let verdict = &comparison.verdict;
    cases.push((
        "gate",
        "medal rate".to_owned(),
        verdict.regressed.then(|| verdict.reason.clone()),
        power(comparison),
    ));
    let refused: Vec<String> = comparison.refusals().map(condition).collect();
    cases.push((
        "gate",
        "equal conditions".to_owned(),
        (!refused.is_empty()).then(|| refused.join("; ")),
        String::new(),
    ));
    let alpha = 1.0 - verdict.gate.confidence;
    for change in &comparison.competitions {
        let words = format!(
            "before: {}; after: {}",
            attempts(&change.baseline),
            attempts(&change.candidate)
        );
        let failed = change.moved == Moved::Down && change.p_corrected <= alpha;
        cases.push((
            "competition",
            change.competition.clone(),
            failed.then(|| words.clone()),
            words,
        ));
    }
    let failures = cases.iter().filter(|(_, _, failure, _)| failure.is_some()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"medalist compare\" tests=\"{n}\" failures=\"{failures}\">\n  \
         <testsuite name=\"medalist compare\" tests=\"{n}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">\n",
        n = cases.len(),
    );
    for (class, name, failure, words) in cases {
        let _ = write!(
            out,
            "    <testcase classname=\"{class}\" name=\"{}\">",
            escape_xml(&printable(&name))
        );
        if let Some(failure) = failure {
            let _ = write!(out, "<failure message=\"{}\"/>", escape_xml(&printable(&failure)));
        }
        if !words.is_empty() {
            let _ = write!(out, "<system-out>{}</system-out>", escape_xml(&printable(&words)));
        }
        out.push_str("</testcase>\n");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// XML 1.0 has no place for most control characters, not even escaped.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
