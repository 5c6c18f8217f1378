//! An experiment's report for terminals and pull requests.

use std::fmt::Write as _;

use super::{ExperimentReport, PairReport, Progress, Row, Table};
use crate::llm::Cost;
use crate::table::{self, Column, Look};
use crate::text;

impl Progress {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unfinished => "not finished",
            Self::Complete => "complete",
            Self::StoppedEarly => "stopped early",
        }
    }
}

impl Row {
    /// Cost of a medal: dollars, `no medal`, or that nothing was recorded.
    pub fn per_medal(&self) -> String {
        match &self.llm {
            Some(llm) if llm.medals == 0 => "no medal".to_owned(),
            Some(llm) => text::cost(llm.per_medal),
            None => text::cost(None),
        }
    }

    /// Cost of an attempt.
    pub fn per_attempt(&self) -> Option<Cost> {
        self.llm.as_ref().and_then(|llm| llm.per_attempt)
    }

    /// Tokens in and out of all attempts, or that nothing was recorded.
    pub fn tokens(&self) -> String {
        self.llm.as_ref().map_or_else(
            || text::cost(None),
            |llm| {
                let tokens = &llm.totals.tokens;
                format!(
                    "{} in, {} out",
                    text::tokens(tokens.sent()),
                    text::tokens(tokens.received())
                )
            },
        )
    }
}

impl PairReport {
    /// The last look in words: p, the level that it had to reach, and what is left to gain.
    pub fn look(&self) -> String {
        let Some(look) = self.verdict.looks.last() else { return "no look yet".to_owned() };
        let number = self.verdict.looks.len();
        let needed = match text::level(look.level).as_str() {
            "never" => "which no p value would settle".to_owned(),
            level => format!("sure at {level}"),
        };
        let mut words = format!("look {number}: {}, {needed}", text::p_equals(look.evidence.p));
        if let Some(power) = look.conditional_power.filter(|_| self.verdict.sure_at.is_none()) {
            let _ = write!(words, "; conditional power {}", text::percent(Some(power)));
        }
        words
    }
}

/// A heading and the tables of every setting, and what is to be said of the pairs.
pub fn terminal(report: &ExperimentReport, look: Look) -> String {
    let mut out = format!("{}\n\n", table::wrap(&headline(report), look.width, 0));
    for table in &report.tables {
        let _ = writeln!(out, "{}", look.paint(&table.setting.to_string(), "1"));
        let columns = [
            Column::new(report.design.compare.as_str()).cut(),
            Column::new("any medal").right(),
            Column::new("counted").right(),
            Column::new("95% interval").right(),
            Column::new("an attempt").right().optional(2),
            Column::new("a medal").right().optional(1),
            Column::new("time").right().optional(3),
        ];
        let rows: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
        out.push_str(&table::render(&columns, &rows, look));
        for pair in report.pairs.iter().filter(|pair| pair.pair.setting == table.setting) {
            let _ = writeln!(out, "{}", table::wrap(&sentence(pair), look.width, 2));
        }
        out.push('\n');
    }
    out
}

/// Name, size and state in one sentence.
fn headline(report: &ExperimentReport) -> String {
    let stages = report.pairs.iter().map(|pair| pair.verdict.looks.len()).max().unwrap_or(0);
    format!(
        "{}: {}, {stages} of {} stages, {} of {} attempts",
        report.name,
        report.progress.words(),
        report.design.stages.len(),
        report.begun_attempts,
        report.planned_attempts
    )
}

fn cells(row: &Row) -> Vec<String> {
    let interval = row.medal_rate.headline().map(|(interval, _)| interval);
    vec![
        row.name.clone(),
        text::percent(row.medal_rate.value),
        text::counted(&row.medal_rate),
        text::interval(interval),
        text::cost(row.per_attempt()),
        row.per_medal(),
        text::duration(row.mean_time_s),
    ]
}

/// A pair in a sentence.
fn sentence(pair: &PairReport) -> String {
    let (base, cand) = (&pair.pair.baseline, &pair.pair.candidate);
    let Some(change) = &pair.change else {
        return format!("{cand} minus {base}: no competition has attempts of both");
    };
    format!(
        "{cand} minus {base}: {} points ({} on these), {}: {}",
        text::points(Some(change.difference)),
        text::points_interval(change.on_these),
        pair.look(),
        pair.heading()
    )
}

/// The report as Markdown.
pub fn markdown(report: &ExperimentReport) -> String {
    let mut out = format!(
        "# {}\n\n{}.\n",
        text::markdown(&report.name),
        text::markdown(&text::capitalised(&headline(report)))
    );
    if let Some(notes) = &report.notes {
        let _ = write!(out, "\n{}\n", text::markdown(notes));
    }
    for table in &report.tables {
        markdown_table(&mut out, report, table);
    }
    markdown_pairs(&mut out, report);
    for table in &report.tables {
        markdown_wins(&mut out, table);
        markdown_roles(&mut out, table);
    }
    if !report.warnings.is_empty() {
        out.push_str("\nWarnings:\n\n");
        for warning in &report.warnings {
            let _ = writeln!(out, "- {}", text::markdown(warning));
        }
    }
    out
}

fn markdown_table(out: &mut String, report: &ExperimentReport, table: &Table) {
    let _ = write!(
        out,
        "\n## {}\n\n| {} | Any medal | Counted | 95% on these | 95% on ones like these | Score | Valid | Lost | Cost | An attempt | A medal | Tokens | Mean time |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        text::markdown(&table.setting.to_string()),
        text::capitalised(report.design.compare.as_str()),
    );
    for row in &table.rows {
        let counts = &row.counts;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} of {} | {} | {} | {} | {} | {} | {} |",
            text::markdown(&row.name),
            text::percent(row.medal_rate.value),
            text::counted(&row.medal_rate),
            text::interval(row.medal_rate.on_these),
            text::interval(row.medal_rate.on_like_these),
            text::percent(row.score.value),
            counts.valid,
            counts.planned,
            counts.infrastructure + counts.unfinished,
            text::cost(row.llm.as_ref().and_then(|llm| llm.cost)),
            text::cost(row.per_attempt()),
            row.per_medal(),
            row.tokens(),
            text::duration(row.mean_time_s),
        );
    }
}

fn markdown_pairs(out: &mut String, report: &ExperimentReport) {
    if report.pairs.is_empty() {
        return;
    }
    out.push_str(
        "\n## Differences\n\n| Setting | Candidate minus baseline | Points | 95% on these | Holds at every look | p on these | Verdict | Last look |\n\
         | --- | --- | ---: | ---: | ---: | ---: | --- | --- |\n",
    );
    for pair in &report.pairs {
        let change = pair.change.as_ref();
        let _ = writeln!(
            out,
            "| {} | {} minus {} | {} | {} | {} | {} | {} | {} |",
            text::markdown(&pair.pair.setting.to_string()),
            text::markdown(&pair.pair.candidate),
            text::markdown(&pair.pair.baseline),
            text::points(change.map(|change| change.difference)),
            text::points_interval(change.and_then(|change| change.on_these)),
            text::points_interval(pair.repeated),
            change.map_or_else(|| "n/a".to_owned(), |change| text::p_value(change.p_on_these)),
            text::markdown(&pair.heading()),
            pair.look(),
        );
    }
}

fn markdown_wins(out: &mut String, table: &Table) {
    let _ = write!(
        out,
        "\n## Where each wins: {}\n\n| By | Part | Competitions |",
        text::markdown(&table.setting.to_string())
    );
    for row in &table.rows {
        let _ = write!(out, " {} |", text::markdown(&row.name));
    }
    out.push_str(" Ahead |\n| --- | --- | ---: |");
    out.push_str(&" ---: |".repeat(table.rows.len()));
    out.push_str(" --- |\n");
    for wins in &table.wins {
        for part in &wins.parts {
            let _ = write!(
                out,
                "| {} | {} | {} |",
                wins.kind,
                text::markdown(&part.name),
                part.competitions
            );
            for rate in &part.medal_rates {
                let _ = write!(out, " {} |", text::percent(*rate));
            }
            let ahead = part.leader.as_deref().unwrap_or("nobody");
            let by = if part.leader.is_some() && !part.by_medals { " (by score)" } else { "" };
            let _ = writeln!(out, " {}{by} |", text::markdown(ahead));
        }
    }
}

fn markdown_roles(out: &mut String, table: &Table) {
    if table.roles.iter().all(|roles| roles.roles.is_empty()) {
        return;
    }
    let _ = write!(
        out,
        "\n## Money by role: {}\n\n| Of | Role | Share | Cost | Calls | Tokens |\n| --- | --- | ---: | ---: | ---: | ---: |\n",
        text::markdown(&table.setting.to_string()),
    );
    for roles in &table.roles {
        for role in &roles.roles {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                text::markdown(&roles.name),
                text::markdown(&role.role),
                text::percent(role.share),
                text::cost(Some(role.cost)),
                role.calls,
                text::tokens(role.tokens),
            );
        }
        if roles.roles.is_empty() {
            let _ = writeln!(out, "| {} | not recorded | | | | |", text::markdown(&roles.name));
        }
    }
}
