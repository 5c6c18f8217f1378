//! Leaderboard rows as MLE-bench's aggregator computes them, and the published table.
//!
//! Only flags are read: scores, thresholds and outcomes do not enter. [`aggregate`] keeps the
//! reference's order of floating-point operations, so its numbers are equal to the last digit.

mod published;

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::attempt::Grade;
use crate::read::{CompetitionSource, Group};
use crate::table::{self, Column, Look};
use crate::{stats, text};

pub use published::{PublishedError, published, read_published};

/// The four splits of a leaderboard row: name in the table, suite.
pub const SPLITS: [(&str, &str); 4] =
    [("Low", "low"), ("Medium", "medium"), ("High", "high"), ("All", "all")];

/// How seeds are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeedRule {
    /// Number of seeds; `None` for all complete ones.
    pub seeds: Option<usize>,
    /// Fill gaps with attempts that failed, up to the competition with most attempts.
    pub pad_missing: bool,
}

/// Percentages of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedMetrics {
    /// Competitions of the split.
    pub total_competitions: f64,
    /// Share with a submission.
    pub submission_exists_percentage: f64,
    /// Share with a valid one.
    pub valid_submissions_percentage: f64,
    /// Share above the median.
    pub above_median_percentage: f64,
    /// Share with gold.
    pub gold_medal_percentage: f64,
    /// Share with silver.
    pub silver_medal_percentage: f64,
    /// Share with bronze.
    pub bronze_medal_percentage: f64,
    /// Share with any of the three.
    pub any_medal_percentage: f64,
}

/// Mean over seeds and how far off it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Mean - 1.96 standard errors, not clipped.
    pub ci_lower: f64,
    /// Mean + 1.96 standard errors, not clipped.
    pub ci_upper: f64,
    /// Sample standard deviation by the root of n; 0 for one seed.
    pub standard_error: f64,
}

impl MetricSummary {
    /// Summary of one number a seed.
    pub fn of(values: &[f64]) -> Self {
        let (mean, standard_error) = (stats::mean(values), stats::standard_error(values));
        Self {
            mean,
            ci_lower: mean - 1.96 * standard_error,
            ci_upper: mean + 1.96 * standard_error,
            standard_error,
        }
    }
}

/// Summaries of all eight numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Competitions of the split.
    pub total_competitions: MetricSummary,
    /// Share with a submission.
    pub submission_exists_percentage: MetricSummary,
    /// Share with a valid one.
    pub valid_submissions_percentage: MetricSummary,
    /// Share above the median.
    pub above_median_percentage: MetricSummary,
    /// Share with gold.
    pub gold_medal_percentage: MetricSummary,
    /// Share with silver.
    pub silver_medal_percentage: MetricSummary,
    /// Share with bronze.
    pub bronze_medal_percentage: MetricSummary,
    /// Share with any of the three.
    pub any_medal_percentage: MetricSummary,
}

/// What the reference prints after the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Seeds that the means are over.
    pub num_seeds_averaged: usize,
    /// Ids in the split.
    pub num_competitions_per_seed: usize,
    /// Mean and uncertainty of each number.
    pub metrics: Metrics,
}

/// The reference's refusals, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// Without padding, every competition needs an attempt.
    #[error("Missing reports for competitions: {}; cannot build complete seeds.", .0.join(", "))]
    Missing(Vec<String>),
    /// With padding, at least one attempt is needed.
    #[error("No reports available to form any seed.")]
    Nothing,
    /// More seeds were asked for than there are.
    #[error("Requested {requested} seeds, but only {available} complete seeds available.")]
    TooFew {
        /// Asked for.
        requested: usize,
        /// At hand.
        available: usize,
    },
    /// The split is not known.
    #[error("there is no suite `{0}`")]
    UnknownSuite(String),
}

impl AggregateError {
    /// The refusal in one line: of many competitions, the first few are named.
    pub fn brief(&self) -> String {
        /// Names that fit a line or two of a terminal.
        const NAMED: usize = 3;
        match self {
            Self::Missing(ids) if ids.len() > NAMED => format!(
                "Missing reports for competitions: {} and {} more; cannot build complete seeds.",
                ids[..NAMED].join(", "),
                ids.len() - NAMED
            ),
            other => other.to_string(),
        }
    }
}

/// Entries in the order in which seeds take them.
///
/// # Source
/// openai/mle-bench at 783b15a, `experiments/aggregate_grading_reports.py`: reports by path,
/// entries by competition id, stable.
fn entries<'a>(groups: &[&'a Group]) -> HashMap<&'a str, Vec<&'a Grade>> {
    let mut order: Vec<&Group> = groups.to_vec();
    order.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    let mut by_competition: HashMap<&str, Vec<&Grade>> = HashMap::new();
    for attempt in order.iter().flat_map(|group| &group.attempts) {
        by_competition.entry(&attempt.key.competition).or_default().push(&attempt.grade);
    }
    by_competition
}

/// Seeds of a split and their summary.
///
/// # Errors
/// [`AggregateError`], where the reference refuses too.
pub fn aggregate(
    groups: &[&Group],
    split: &[String],
    rule: SeedRule,
) -> Result<(Vec<SeedMetrics>, Aggregate), AggregateError> {
    let by_competition = entries(groups);
    let count = |id: &String| by_competition.get(id.as_str()).map_or(0, Vec::len);
    let available = if rule.pad_missing {
        let most = split.iter().map(count).max().unwrap_or(0);
        if most == 0 {
            return Err(AggregateError::Nothing);
        }
        most
    } else {
        let missing: Vec<String> = split.iter().filter(|id| count(id) == 0).cloned().collect();
        if !missing.is_empty() {
            return Err(AggregateError::Missing(missing));
        }
        split.iter().map(count).min().unwrap_or(0)
    };
    let seeds = match rule.seeds {
        Some(requested) if requested > available => {
            return Err(AggregateError::TooFew { requested, available });
        }
        Some(requested) => requested,
        None => available,
    };
    if seeds == 0 {
        return Err(AggregateError::Nothing);
    }
    let padding = Grade::default();
    let built: Vec<SeedMetrics> = (0..seeds)
        .map(|k| {
            let seed: Vec<&Grade> = split
                .iter()
                .map(|id| {
                    by_competition
                        .get(id.as_str())
                        .and_then(|grades| grades.get(k).copied())
                        .unwrap_or(&padding)
                })
                .collect();
            seed_metrics(&seed)
        })
        .collect();
    let metrics = summarise(&built);
    let aggregate =
        Aggregate { num_seeds_averaged: seeds, num_competitions_per_seed: split.len(), metrics };
    Ok((built, aggregate))
}

fn seed_metrics(seed: &[&Grade]) -> SeedMetrics {
    let total = seed.len() as f64;
    let share = |holds: fn(&Grade) -> bool| {
        seed.iter().filter(|grade| holds(grade)).count() as f64 / total * 100.0
    };
    SeedMetrics {
        total_competitions: total,
        submission_exists_percentage: share(|g| g.exists),
        valid_submissions_percentage: share(|g| g.valid),
        above_median_percentage: share(|g| g.above_median),
        gold_medal_percentage: share(|g| g.gold),
        silver_medal_percentage: share(|g| g.silver),
        bronze_medal_percentage: share(|g| g.bronze),
        any_medal_percentage: share(|g| g.gold || g.silver || g.bronze),
    }
}

fn summarise(seeds: &[SeedMetrics]) -> Metrics {
    let of = |get: fn(&SeedMetrics) -> f64| {
        MetricSummary::of(&seeds.iter().map(get).collect::<Vec<_>>())
    };
    Metrics {
        total_competitions: of(|s| s.total_competitions),
        submission_exists_percentage: of(|s| s.submission_exists_percentage),
        valid_submissions_percentage: of(|s| s.valid_submissions_percentage),
        above_median_percentage: of(|s| s.above_median_percentage),
        gold_medal_percentage: of(|s| s.gold_medal_percentage),
        silver_medal_percentage: of(|s| s.silver_medal_percentage),
        bronze_medal_percentage: of(|s| s.bronze_medal_percentage),
        any_medal_percentage: of(|s| s.any_medal_percentage),
    }
}

/// Mean ± standard error of one split, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Mean of the any-medal percentage.
    pub mean: f64,
    /// Standard error of the mean.
    pub sem: f64,
    /// Seeds behind it; `None` for published numbers.
    pub seeds: Option<usize>,
    /// Competitions behind it.
    pub competitions: usize,
}

/// A line of the leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub agent: String,
    /// LLM or LLMs.
    pub llm: String,
    /// Low, Medium, High, All; `None` where the split is not covered.
    pub cells: [Option<Cell>; 4],
    /// Hours an attempt may take.
    pub hours: Option<f64>,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Whether its numbers were taken from the published table and not computed here.
    pub published: bool,
    /// Whether it was computed from medals that somebody claims.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// Heading of the published table, if it is not the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Whether incomplete seeds were padded with failures.
    pub padded: bool,
    /// Whether the table marks known leakage.
    pub known_leakage: bool,
    /// Whether the table says that the agent's source code is there; `None` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_code: Option<bool>,
    /// Whether the table says that the grading reports are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grading_reports: Option<bool>,
}

impl Row {
    /// Any-medal percentage over all 75 competitions, to sort by.
    pub fn all(&self) -> Option<f64> {
        self.cells[3].map(|cell| cell.mean)
    }
}

/// The row of groups of one agent: each split that can be computed, and why the others cannot.
pub fn row(
    groups: &[&Group],
    rule: SeedRule,
    source: &dyn CompetitionSource,
) -> (Row, Vec<(&'static str, AggregateError)>) {
    let mut problems = Vec::new();
    let cells = SPLITS.map(|(label, suite)| {
        let computed = match source.suite(suite) {
            Some(ids) => aggregate(groups, &ids, rule).map(|(_, aggregate)| aggregate),
            None => Err(AggregateError::UnknownSuite(suite.to_owned())),
        };
        match computed {
            Ok(aggregate) => {
                let medals = aggregate.metrics.any_medal_percentage;
                Some(Cell {
                    mean: medals.mean,
                    sem: medals.standard_error,
                    seeds: Some(aggregate.num_seeds_averaged),
                    competitions: aggregate.num_competitions_per_seed,
                })
            }
            Err(error) => {
                problems.push((label, error));
                None
            }
        }
    });
    let record = groups.iter().find_map(|group| group.record.as_ref());
    let time_s = groups
        .iter()
        .flat_map(|group| &group.attempts)
        .filter_map(|attempt| attempt.record.as_ref()?.conditions.limits.time_s)
        .max_by(f64::total_cmp);
    let date = groups
        .iter()
        .filter_map(|group| group.record.as_ref()?.started_at)
        .max()
        .map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string());
    let row = Row {
        agent: groups.first().map_or_else(String::new, |group| group.agent.clone()),
        llm: record
            .and_then(|record| record.agent.backbone.clone())
            .unwrap_or_else(|| "-".to_owned()),
        cells,
        hours: time_s.map(|s| s / 3600.0),
        date,
        published: false,
        claimed: groups.iter().flat_map(|g| &g.attempts).any(|attempt| attempt.grade.is_claimed),
        section: None,
        padded: rule.pad_missing,
        known_leakage: false,
        source_code: None,
        grading_reports: None,
    };
    (row, problems)
}

/// Sorts best first: by All, rows without it last by Low.
pub fn sort(rows: &mut [Row]) {
    let key = |row: &Row| (row.all().unwrap_or(-1.0), row.cells[0].map_or(-1.0, |cell| cell.mean));
    rows.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
}

/// The table in the form of MLE-bench's README, with a column that tells measured from published
/// rows.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| Agent | LLM(s) used | Low == Lite (%) | Medium (%) | High (%) | All (%) | Running Time (hours) | Date | Source Code Available | Grading Reports Available | Source |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let cells = row.cells.map(|cell| cell.map_or_else(|| "n/a".to_owned(), Cell::text));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            text::markdown(&row.agent),
            text::markdown(&row.llm),
            cells.join(" | "),
            row.hours(),
            row.date(),
            mark(row.source_code),
            mark(row.grading_reports),
            text::markdown(&row.source()),
        );
    }
    out
}

/// The same table for a terminal.
pub fn terminal(rows: &[Row], look: Look) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let [low, medium, high, all] =
                row.cells.map(|cell| cell.map_or_else(|| "n/a".to_owned(), Cell::text));
            let source = if row.published { "published".to_owned() } else { row.source() };
            vec![
                row.agent.clone(),
                row.llm.clone(),
                low,
                medium,
                high,
                all,
                row.hours(),
                row.date().to_owned(),
                source,
            ]
        })
        .collect();
    let columns = [
        Column::new("agent").cut(),
        Column::new("LLM").cut().optional(3),
        Column::new("low %").right(),
        Column::new("medium %").right(),
        Column::new("high %").right(),
        Column::new("all %").right(),
        Column::new("hours").right().optional(2),
        Column::new("date").optional(1),
        Column::new("source").cut(),
    ];
    table::render(&columns, &rows, look)
}

/// As MLE-bench's table marks it.
fn mark(is_there: Option<bool>) -> &'static str {
    match is_there {
        Some(true) => "✓",
        Some(false) => "X",
        None => "-",
    }
}

impl Cell {
    fn text(self) -> String {
        format!("{} ± {}", text::number(self.mean, 2), text::number(self.sem, 2))
    }
}

impl Row {
    fn hours(&self) -> String {
        let round = |hours: f64| format!("{}", (hours * 100.0).round() / 100.0);
        self.hours.map_or_else(|| "-".to_owned(), round)
    }

    fn date(&self) -> &str {
        if self.date.is_empty() { "-" } else { &self.date }
    }

    /// Where its numbers come from, in words.
    pub fn source(&self) -> String {
        let seeds = self.cells.iter().flatten().filter_map(|cell| cell.seeds).min();
        let source = match (self.published, seeds) {
            _ if self.claimed => "claimed, not measured".to_owned(),
            (true, _) => "published, not measured".to_owned(),
            (false, Some(1)) => "measured, 1 seed".to_owned(),
            (false, Some(seeds)) => format!("measured, {seeds} seeds"),
            (false, None) => "measured".to_owned(),
        };
        let padded = if self.padded { ", padded" } else { "" };
        let leakage = if self.known_leakage { ", known leakage" } else { "" };
        let section = self.section.as_ref().map_or(String::new(), |name| format!(", {name}"));
        format!("{source}{section}{padded}{leakage}")
    }
}

#[cfg(test)]
mod tests;
