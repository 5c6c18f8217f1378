//! A comparison for people and for CI: terminal, Markdown for a pull request, JUnit XML.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::compare::{
    AttemptBrief, Change, Comparison, CompetitionChange, ConditionDifference, CostChange, Moved,
    Weight,
};
use crate::table::{self, Column, Look};
use crate::text;
use crate::text::markdown as escape_markdown;

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
    let lost = (!comparison.lost.is_empty()).then(|| {
        let ids: Vec<String> = comparison.lost.iter().map(|id| format!("`{id}`")).collect();
        format!("left out: {}, where a side lost every attempt", ids.join(", "))
    });
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
        .chain(lost)
        .collect()
}

/// The comparison for a terminal.
pub fn terminal(comparison: &Comparison, look: Look) -> String {
    let mut out = format!("{}\n\n", table::wrap(&sides(comparison), look.width, 2));
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
            p.map_or_else(String::new, text::p_value),
        ]);
    };
    put("any medal".to_owned(), &comparison.medal_rate, None);
    if let Some(percentile) = &comparison.percentile {
        put("place".to_owned(), percentile, None);
    }
    for part in &comparison.parts {
        put(format!(" {}", part.name), &part.change, Some(part.p_corrected));
    }
    let columns = [
        Column::new("").cut(),
        Column::new("tasks").right().optional(2),
        Column::new("before").right(),
        Column::new("after").right(),
        Column::new("change").right(),
        Column::new("95% on these").right(),
        Column::new("p").right(),
        Column::new("Holm p").right().optional(1),
    ];
    out.push_str(&table::render(&columns, &rows, look));
    let mut put = |line: String| {
        let _ = writeln!(out, "{}", table::wrap(&line, look.width, 2));
    };
    put(String::new());
    for line in beyond(comparison) {
        put(line);
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
    put(String::new());
    if rows.is_empty() {
        put("no competition changed its share of medals".to_owned());
    } else {
        let all = moved(comparison).count();
        put(format!("{all} of {} competitions moved", comparison.competitions.len()));
        let columns = [
            Column::new("competition").cut(),
            Column::new("moved"),
            Column::new("before").right(),
            Column::new("after").right(),
            Column::new("place").right().optional(2),
            Column::new("p").right().optional(1),
            Column::new("Holm p").right(),
        ];
        out.push_str(&table::render(&columns, &rows, look));
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "{}", table::wrap(&format!("note: {note}"), look.width, 6));
    }
    let verdict = &comparison.verdict;
    let code = match (verdict.decided, verdict.regressed) {
        (false, _) => "1;33",
        (true, true) => "1;31",
        (true, false) => "1",
    };
    let heading = verdict.heading();
    let heading = if verdict.regressed { heading.to_uppercase() } else { heading.to_lowercase() };
    let words = format!("{heading}: {}; {}", verdict.reason, power(comparison));
    let words = table::wrap(&words, look.width, 2);
    let _ = writeln!(out, "\n{}", words.replacen(&heading, &look.paint(&heading, code), 1));
    if let Some(cost) = &verdict.cost {
        let (heading, code) = match (cost.decided, cost.exceeded) {
            (false, _) => ("cost not decided", "1;33"),
            (true, true) => ("COST ABOVE THE LIMIT", "1;31"),
            (true, false) => ("cost within the limit", "1"),
        };
        let words = table::wrap(&format!("{heading}: {}", cost.reason), look.width, 2);
        let _ = writeln!(out, "{}", words.replacen(heading, &look.paint(heading, code), 1));
    }
    out
}

/// What else is known of the change: on competitions like these, as planned, McNemar, what could
/// have been found.
pub(crate) fn beyond(comparison: &Comparison) -> Vec<String> {
    let change = &comparison.medal_rate;
    let mut lines = vec![format!(
        "on competitions like these: any medal {} points ({})",
        text::points_interval(change.on_like_these),
        text::p_equals(change.p_on_like_these)
    )];
    if let Some(planned) = comparison.as_planned {
        lines.push(format!(
            "with lost attempts counted as failed: {} before, {} after, change {} points (not tested)",
            text::percent(Some(planned.baseline)),
            text::percent(Some(planned.candidate)),
            text::points(Some(planned.difference))
        ));
    }
    lines.extend(comparison.cost.as_ref().map(CostChange::words));
    let m = comparison.mcnemar;
    lines.push(format!(
        "McNemar over {} competitions: {} gained, {} lost, {}",
        change.competitions,
        m.gained,
        m.lost,
        text::p_equals(m.p)
    ));
    let detectable = |name: &str, change: Option<f64>| match change {
        Some(change) => format!("{} points {name}", text::number(change * 100.0, 1)),
        None => format!("none {name}"),
    };
    lines.push(format!(
        "smallest true change found 80 times in 100 at 5%: {}, {}",
        detectable("on these competitions", change.detectable_on_these),
        detectable("on ones like these", change.detectable_on_like_these)
    ));
    lines
}

fn notes(comparison: &Comparison) -> Vec<String> {
    conditions(comparison)
        .into_iter()
        .chain(left_out(comparison))
        .chain(comparison.warnings.clone())
        .collect()
}

/// How likely the wanted drop is caught, and with how many seeds it would be.
pub fn power(comparison: &Comparison) -> String {
    let verdict = &comparison.verdict;
    let points = text::number(verdict.gate.wanted_drop * 100.0, 1);
    let points = points.strip_suffix(".0").unwrap_or(&points);
    let now = match verdict.power {
        Some(power) => format!(
            "a true drop of {points} points would be caught with probability {}",
            text::percent(Some(power))
        ),
        None => format!(
            "with one attempt a competition the chance of catching a true drop of {points} points is not known"
        ),
    };
    let needed = verdict.seeds_needed.map_or_else(String::new, |needed| {
        format!(
            "; to catch it 80 times in 100 takes {}{} seed{} a side (here: {})",
            if needed.at_most { "at most " } else { "about " },
            needed.seeds,
            if needed.seeds == 1 { "" } else { "s" },
            verdict.seeds
        )
    });
    now + &needed
}

/// The comparison for a pull request.
pub fn markdown(comparison: &Comparison) -> String {
    let verdict = &comparison.verdict;
    let mut out = format!(
        "### {}\n\n{}. {}; {}.\n\n",
        verdict.heading(),
        escape_markdown(&text::capitalised(&sides(comparison))),
        text::capitalised(&verdict.reason),
        power(comparison)
    );
    if let Some(cost) = &verdict.cost {
        let _ = writeln!(out, "{}.\n", text::capitalised(&cost.reason));
    }
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
    out.push('\n');
    for line in beyond(comparison) {
        let _ = writeln!(out, "- {}", text::capitalised(&line));
    }
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
    let notes = notes(comparison);
    if !notes.is_empty() {
        out.push_str("\nNotes:\n\n");
    }
    for note in notes {
        let _ = writeln!(out, "- {}", escape_markdown(&note));
    }
    out
}

/// The comparison as JUnit XML: a test case for the gate, one for the conditions, and one a
/// competition. A gate that cannot decide is an error, not a failure.
///
/// A competition fails if its share of medals fell and Holm's correction leaves it below one minus
/// the gate's confidence; with a few seeds that is rare, so the gate is what counts.
pub fn junit(comparison: &Comparison) -> String {
    const NAME: &str = "medalist compare";
    let mut suite = TestSuite::new(NAME);
    let verdict = &comparison.verdict;
    let mut put =
        |class: &str, name: &str, problem: Option<(NonSuccessKind, String)>, words: &str| {
            let mut status = problem.as_ref().map_or_else(TestCaseStatus::success, |(kind, _)| {
                TestCaseStatus::non_success(*kind)
            });
            if let Some((_, message)) = problem {
                status.set_message(message);
            }
            let mut case = TestCase::new(name, status);
            case.set_classname(class);
            if !words.is_empty() {
                case.set_system_out(words);
            }
            suite.add_test_case(case);
        };
    let problem = match (verdict.decided, verdict.regressed) {
        (false, _) => Some((NonSuccessKind::Error, verdict.reason.clone())),
        (true, true) => Some((NonSuccessKind::Failure, verdict.reason.clone())),
        (true, false) => None,
    };
    put("gate", "medal rate", problem, &power(comparison));
    if let Some(cost) = &verdict.cost {
        let problem = match (cost.decided, cost.exceeded) {
            (false, _) => Some((NonSuccessKind::Error, cost.reason.clone())),
            (true, true) => Some((NonSuccessKind::Failure, cost.reason.clone())),
            (true, false) => None,
        };
        put("gate", "cost", problem, &cost.reason);
    }
    let refused: Vec<String> = comparison.refusals().map(condition).collect();
    let problem = (!refused.is_empty()).then(|| (NonSuccessKind::Failure, refused.join("; ")));
    put("gate", "equal conditions", problem, "");
    let alpha = 1.0 - verdict.gate.confidence;
    for change in &comparison.competitions {
        let words = format!(
            "before: {}; after: {}",
            attempts(&change.baseline),
            attempts(&change.candidate)
        );
        let failed = change.moved == Moved::Down && change.p_corrected <= alpha;
        let problem = failed.then(|| (NonSuccessKind::Failure, words.clone()));
        put("competition", &change.competition, problem, &words);
    }
    let mut report = Report::new(NAME);
    report.add_test_suite(suite);
    report
        .to_string()
        .expect("a string takes every write, and its texts are cleaned of what XML cannot hold")
}
