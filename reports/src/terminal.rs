//! The report as tables for a terminal.

use std::fmt::Write as _;

use medalist_grading::untrusted::Shown;

use crate::attempt::Measure;
use crate::data::{AgentReport, AttemptReport, ReportData};
use crate::record::LlmTotals;
use crate::table::{self, Column, Look};
use crate::text;

/// Summary, breakdowns and attempts as text.
///
/// `attempts` is the highest number of attempts to list; beyond it the summary says how many were
/// left out.
pub fn render(data: &ReportData, attempts: usize, look: Look) -> String {
    let mut out = String::new();
    if data.agents.len() > 3 {
        out.push_str(&ranking(data, look));
        out.push('\n');
    } else {
        for agent in &data.agents {
            summary(&mut out, agent, look);
        }
    }
    // With one agent its name is not repeated.
    let first = usize::from(data.agents.len() == 1);
    let mut rows = Vec::new();
    for agent in &data.agents {
        for part in agent.by_complexity.iter().chain(&agent.by_modality) {
            let estimate = part.get(Measure::AnyMedal);
            let cells = [
                agent.agent.clone(),
                part.name.clone(),
                part.competitions.to_string(),
                text::percent(estimate.value),
                text::counted(estimate),
                text::interval(estimate.headline().map(|(interval, _)| interval)),
            ];
            rows.push(cells[first..].to_vec());
        }
    }
    let columns = [
        Column::new("agent").cut(),
        Column::new("part").cut(),
        Column::new("tasks").right(),
        Column::new("any medal").right(),
        Column::new("counted").right(),
        Column::new("95% interval").right(),
    ];
    out.push_str(&table::render(&columns[first..], &rows, look));
    out.push('\n');
    let costs = costs(data, look);
    if !costs.is_empty() {
        out.push_str(&costs);
        out.push('\n');
    }
    let is_metered = data.agents.iter().any(|agent| agent.llm.is_some());
    let last = if is_metered { 9 } else { 8 };
    let listed: Vec<Vec<String>> =
        data.attempts.iter().take(attempts).map(|a| attempt_row(a)[first..last].to_vec()).collect();
    let columns = [
        Column::new("agent").cut(),
        Column::new("competition").cut(),
        Column::new("seed").right(),
        Column::new("score").right(),
        Column::new("medal"),
        Column::new("place").right().optional(2),
        Column::new("outcome").cut(),
        Column::new("time").right().optional(1),
        Column::new("cost").right().optional(3),
    ];
    out.push_str(&table::render(&columns[first..last], &listed, look));
    if data.attempts.len() > attempts {
        let _ = writeln!(out, "... and {} more attempts", data.attempts.len() - attempts);
    }
    out
}

/// The agents with their medal rates, best first.
fn ranking(data: &ReportData, look: Look) -> String {
    let rows: Vec<Vec<String>> = data
        .agents
        .iter()
        .enumerate()
        .map(|(i, agent)| {
            let medal = agent.overall.get(Measure::AnyMedal);
            vec![
                (i + 1).to_string(),
                agent.agent.clone(),
                text::percent(medal.value),
                text::counted(medal),
                text::interval(medal.headline().map(|(interval, _)| interval)),
                format!("{} of {}", agent.counts.valid, agent.counts.planned),
                (agent.counts.infrastructure + agent.counts.unfinished).to_string(),
            ]
        })
        .collect();
    let columns = [
        Column::new("").right(),
        Column::new("agent").cut(),
        Column::new("any medal").right(),
        Column::new("counted").right(),
        Column::new("95% interval").right(),
        Column::new("valid").right().optional(1),
        Column::new("lost").right(),
    ];
    table::render(&columns, &rows, look)
}

fn summary(out: &mut String, agent: &AgentReport, look: Look) {
    let medal = agent.overall.get(Measure::AnyMedal);
    let counts = &agent.counts;
    let mut put = |text: String| {
        let _ = writeln!(out, "{}", table::wrap(&text, look.width, 4));
    };
    put(format!(
        "{}: {} any medal ({} of {} attempts on {} competition{}: {} gold, {} silver, {} bronze)",
        look.paint(&agent.agent, "1"),
        look.paint(&text::percent(medal.value), "1"),
        counts.medals(),
        counts.planned,
        agent.overall.competitions,
        if agent.overall.competitions == 1 { "" } else { "s" },
        counts.gold,
        counts.silver,
        counts.bronze,
    ));
    let mut put = |text: String| {
        let _ = writeln!(out, "  {}", table::wrap(&text, look.width - 2, 4));
    };
    put(format!("95% interval on these competitions: {}", text::interval(medal.on_these)));
    put(format!(
        "95% interval on competitions like these: {}",
        text::interval(medal.on_like_these)
    ));
    if let Some(seeds) = &medal.seeds {
        put(format!(
            "mean ± SEM over {} seed(s): {} ± {}",
            seeds.values.len(),
            text::percent(Some(seeds.mean)),
            text::percent(Some(seeds.sem)),
        ));
    }
    if let Some(kept) = &agent.without_lost {
        put(format!(
            "without the lost attempts: {} ({})",
            text::percent(kept.value),
            text::counted(kept)
        ));
    }
    for line in agent.contamination.iter().flat_map(|found| &found.summary) {
        put(line.clone());
    }
    if counts.outcomes.contains_key("claimed") {
        put("claimed, not measured: of submissions and ends nothing is known".to_owned());
        out.push('\n');
        return;
    }
    put(format!(
        "valid submissions: {} of {planned}; infrastructure failures: {} of {planned}; unfinished: {} of {planned}",
        counts.valid,
        counts.infrastructure,
        counts.unfinished,
        planned = counts.planned,
    ));
    for note in &medal.notes {
        put(format!("note: {note}"));
    }
    out.push('\n');
}

fn attempt_row(attempt: &AttemptReport) -> [String; 9] {
    let grade = &attempt.grade;
    let medal = match grade.medal {
        Some(medal) => medal.to_string(),
        None if grade.valid && grade.above_median => "above median".to_owned(),
        None if grade.valid => "-".to_owned(),
        None if grade.exists => "invalid".to_owned(),
        None => "no submission".to_owned(),
    };
    let mark = if attempt.infrastructure { " (infrastructure)" } else { "" };
    [
        attempt.key.agent.clone(),
        attempt.key.competition.clone(),
        attempt.key.seed.to_string(),
        text::score(grade.score),
        medal,
        text::percent(grade.percentile.map(|p| p / 100.0)),
        format!("{}{mark}", attempt.outcome.replace('_', " ")),
        text::duration(attempt.took_s),
        text::cost(attempt.llm.as_ref().map(|llm| llm.cost())),
    ]
}

/// Longest name of a model in the table of costs, where columns of figures give way first.
const NAME: usize = 36;

/// What language models cost, by agent and model; nothing if no calls were recorded.
fn costs(data: &ReportData, look: Look) -> String {
    let mut rows = Vec::new();
    for agent in &data.agents {
        let Some(llm) = &agent.llm else { continue };
        let row = |name: String, totals: &LlmTotals, cost: String, rest: [String; 3]| {
            let tokens = &totals.tokens;
            let [attempt, medal, first] = rest;
            vec![
                name,
                cost,
                attempt,
                medal,
                totals.calls.to_string(),
                text::tokens(tokens.sent()),
                text::percent(tokens.cache_share()),
                text::tokens(tokens.received()),
                first,
            ]
        };
        let medal =
            llm.per_medal.map_or_else(|| "no medal".to_owned(), |cost| text::cost(Some(cost)));
        let first = text::duration(llm.ttft_p50_ms.map(|ms| ms / 1e3));
        let rest = [text::cost(llm.per_attempt), medal, first];
        let name = Shown::cut(&agent.agent, NAME).into_string();
        rows.push(row(name, &llm.totals, text::cost(llm.cost), rest));
        for (model, totals) in &llm.models {
            let cost = text::cost(Some(totals.cost()));
            let model = Shown::cut(model, NAME).into_string();
            rows.push(row(format!(" {model}"), totals, cost, Default::default()));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        Column::new("models"),
        Column::new("cost").right(),
        Column::new("an attempt").right(),
        Column::new("a medal").right(),
        Column::new("calls").right().optional(2),
        Column::new("in").right().optional(4),
        Column::new("cached").right().optional(3),
        Column::new("out").right().optional(5),
        Column::new("first token").right().optional(1),
    ];
    let mut out = table::render(&columns, &rows, look);
    for agent in &data.agents {
        let Some(llm) = &agent.llm else { continue };
        for note in llm.notes() {
            let _ = writeln!(
                out,
                "{}",
                table::wrap(&format!("note: {}: {note}", agent.agent), look.width, 6)
            );
        }
    }
    out
}
