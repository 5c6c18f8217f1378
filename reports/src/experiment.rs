//! The report of an experiment: agents, models and budgets that were crossed, with everything else
//! pinned.
//!
//! A *cell* is one combination of an agent, a model, a budget and a suite. One of the first three is
//! what the experiment compares; cells that are equal in all else make a *setting*, in which the
//! compared ones stand side by side and are paired.

mod calls;
mod curves;
mod design;
mod money;
mod text;
mod wins;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure};
use crate::compare::{self, Change};
use crate::data::{Counts, by_competition, counts};
use crate::estimate::Estimate;
use crate::llm::LlmUse;
use crate::plots::PlotError;
use crate::read::Group;
use crate::record::FormatVersion;
use crate::stats::stopping::PairVerdict;
use crate::stats::{self, Cluster, Interval, SeedsNeeded};

pub use self::curves::{Curve, Growth};
pub use self::design::{Cell, CellGroups, Design, Factor, Look, Pair, Setting, pairs};
pub use self::money::{Front, FrontPoint, RoleShare, Roles};
pub use self::text::{markdown, terminal};
pub use self::wins::{Link, Part, Wins};

/// The version of `experiment-report.json` that this crate writes.
pub const EXPERIMENT_REPORT_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Where an experiment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Stages are left.
    Unfinished,
    /// Every stage was run.
    Complete,
    /// Stopped, since every pair is sure, or promises too little.
    StoppedEarly,
}

/// A whole report. Serialised, it is `experiment-report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentReport {
    /// Format of the file.
    pub format: FormatVersion,
    /// The experiment's name.
    pub name: String,
    /// The user's own words.
    pub notes: Option<String>,
    /// When the report was computed.
    pub generated_at: DateTime<Utc>,
    /// Version of the harness that computed it.
    pub harness_version: String,
    /// How it was made.
    pub design: Design,
    /// Where it is.
    pub progress: Progress,
    /// Attempts of the whole plan.
    pub planned_attempts: usize,
    /// Attempts that were planned in the stages that have begun.
    pub begun_attempts: usize,
    /// One table for each setting.
    pub tables: Vec<Table>,
    /// One entry for each pair.
    pub pairs: Vec<PairReport>,
    /// Cost against medals, for each backbone and suite.
    pub fronts: Vec<Front>,
    /// What must be known beside the figures.
    pub warnings: Vec<String>,
}

/// The compared values in one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What they have in common.
    pub setting: Setting,
    /// One row a value, in the experiment's order.
    pub rows: Vec<Row>,
    /// Normalised score against elapsed seconds.
    pub time: Growth,
    /// Normalised score against dollars.
    pub dollars: Growth,
    /// Tokens that a call reads, against elapsed seconds.
    pub context: Growth,
    /// Share of the money that each part of an agent spent.
    pub roles: Vec<Roles>,
    /// Where each wins.
    pub wins: Vec<Wins>,
}

/// One compared value in a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The compared value.
    pub name: String,
    /// The language model that its agent names.
    pub backbone: Option<String>,
    /// How its attempts ended.
    pub counts: Counts,
    /// Medal rate; lost attempts count as failed.
    pub medal_rate: Estimate,
    /// Medal rate without lost attempts; `None` if none was lost.
    pub without_lost: Option<Estimate>,
    /// Normalised score: share of the way from the median to the gold threshold.
    pub score: Estimate,
    /// Calls to language models; `None` if no attempt recorded any.
    pub llm: Option<LlmUse>,
    /// Mean wall-clock seconds of an attempt; `None` if no attempt recorded any.
    pub mean_time_s: Option<f64>,
}

/// Two compared values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairReport {
    /// Which.
    #[serde(flatten)]
    pub pair: Pair,
    /// Candidate minus baseline, in medal rates, over all attempts that were not lost; `None` if no
    /// competition has such attempts of both.
    pub change: Option<Change>,
    /// Interval of the difference that holds at every look at once; `None` where a look has none.
    pub repeated: Option<Interval>,
    /// Probability that a test at 5% finds a true difference of five points with as many attempts.
    pub power_at_five_points: Option<f64>,
    /// Seeds a competition and value with which it is found 80 times in 100.
    pub seeds_needed: Option<SeedsNeeded>,
    /// What the looks say.
    pub verdict: PairVerdict,
}

impl PairReport {
    /// The verdict in a few words.
    pub fn heading(&self) -> String {
        let Some(last) = self.verdict.looks.last() else {
            return "no look yet".to_owned();
        };
        let (base, cand) = (&self.pair.baseline, &self.pair.candidate);
        match self.verdict.sure_at {
            Some(look) => {
                let difference = self.verdict.looks[look].evidence.difference;
                let (better, worse) = if difference > 0.0 { (cand, base) } else { (base, cand) };
                format!("{better} wins more medals than {worse}")
            }
            None if self.verdict.futile => {
                "no difference found, and more attempts are unlikely to show one".to_owned()
            }
            None if last.conditional_power.is_some() => "not decided yet".to_owned(),
            None => "no difference found".to_owned(),
        }
    }
}

/// What a report is asked to be.
#[derive(Debug, Clone)]
pub struct ExperimentOptions<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// The user's own words.
    pub notes: Option<&'a str>,
    /// When it is computed; tests fix it.
    pub generated_at: DateTime<Utc>,
    /// The folder that links start from.
    pub root: &'a Path,
    /// Attempts of the whole plan.
    pub planned_attempts: usize,
    /// What was left out of the groups.
    pub warnings: Vec<String>,
}

impl ExperimentReport {
    /// Computes a report from the groups of every cell, in the experiment's order, and the looks
    /// that were made.
    pub fn compute(
        cells: &[CellGroups],
        design: &Design,
        looks: &[Look],
        options: &ExperimentOptions<'_>,
    ) -> Self {
        let compare = design.compare;
        let mut settings: Vec<Setting> = Vec::new();
        for cell in cells {
            let setting = cell.cell.setting(compare);
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
        let tables = settings
            .into_iter()
            .map(|setting| {
                let own: Vec<&CellGroups> =
                    cells.iter().filter(|c| c.cell.setting(compare) == setting).collect();
                table(setting, &own, compare, options.root)
            })
            .collect();
        let keys: Vec<Cell> = cells.iter().map(|cell| cell.cell.clone()).collect();
        let pairs = pairs(&keys, compare);
        let verdicts = design.judge(pairs.len(), looks);
        let settled = !verdicts.is_empty() && verdicts.iter().all(PairVerdict::is_settled);
        let progress = match looks.len() {
            made if made >= design.stages.len() => Progress::Complete,
            _ if settled => Progress::StoppedEarly,
            _ => Progress::Unfinished,
        };
        let begun = cells.iter().flat_map(|c| &c.groups).map(|group| group.attempts.len()).sum();
        Self {
            format: EXPERIMENT_REPORT_FORMAT,
            name: options.name.to_owned(),
            notes: options.notes.map(str::to_owned),
            generated_at: options.generated_at,
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            design: design.clone(),
            progress,
            planned_attempts: options.planned_attempts,
            begun_attempts: begun,
            tables,
            pairs: pairs
                .into_iter()
                .zip(verdicts)
                .map(|(pair, verdict)| pair_report(pair, verdict, cells, design))
                .collect(),
            fronts: money::fronts(cells, compare),
            warnings: options.warnings.clone(),
        }
    }

    /// Whether any attempt recorded calls to language models.
    pub fn is_metered(&self) -> bool {
        self.tables.iter().flat_map(|table| &table.rows).any(|row| row.llm.is_some())
    }
}

fn table(setting: Setting, cells: &[&CellGroups], compare: Factor, root: &Path) -> Table {
    let arms: Vec<(&str, Vec<&Attempt>)> =
        cells.iter().map(|cell| (cell.cell.value(compare), cell.attempts())).collect();
    let read: Vec<(&str, Vec<curves::Watched<'_>>)> = arms
        .iter()
        .map(|(name, attempts)| (*name, attempts.iter().map(|a| curves::Watched::of(a)).collect()))
        .collect();
    Table {
        setting,
        rows: cells.iter().zip(&arms).map(|(cell, (name, _))| row(name, cell)).collect(),
        time: curves::against_time(&read),
        dollars: curves::against_dollars(&read),
        context: curves::context(&read),
        roles: arms.iter().map(|(name, attempts)| money::roles(name, attempts)).collect(),
        wins: wins::wins(&arms, root),
    }
}

fn row(name: &str, cell: &CellGroups) -> Row {
    let groups: Vec<&Group> = cell.groups.iter().collect();
    let by_competition = by_competition(&groups);
    let attempts: Vec<&Attempt> = by_competition.values().flatten().copied().collect();
    let kept: BTreeMap<&str, Vec<&Attempt>> = by_competition
        .iter()
        .map(|(id, all)| (*id, all.iter().copied().filter(|a| !a.is_lost()).collect()))
        .collect();
    let lost = attempts.iter().any(|attempt| attempt.is_lost());
    let times: Vec<f64> = attempts.iter().filter_map(|a| a.record.as_ref()?.took_s).collect();
    let record = groups.iter().find_map(|group| group.record.as_ref());
    Row {
        name: name.to_owned(),
        backbone: record.and_then(|record| record.agent.backbone.clone()),
        counts: counts(&attempts),
        medal_rate: Estimate::of(Measure::AnyMedal, &by_competition),
        without_lost: lost.then(|| Estimate::of(Measure::AnyMedal, &kept)),
        score: Estimate::of(Measure::NormalisedScore, &by_competition),
        llm: LlmUse::of(&attempts),
        mean_time_s: (!times.is_empty()).then(|| stats::mean(&times)),
    }
}

fn pair_report(
    pair: Pair,
    verdict: PairVerdict,
    cells: &[CellGroups],
    design: &Design,
) -> PairReport {
    let of = |value: &str| -> Vec<&Attempt> {
        cells
            .iter()
            .filter(|c| c.cell.setting(design.compare) == pair.setting)
            .filter(|c| c.cell.value(design.compare) == value)
            .flat_map(CellGroups::attempts)
            .collect()
    };
    let (baseline, candidate) = (of(&pair.baseline), of(&pair.candidate));
    let difference =
        compare::paired_difference((&pair.candidate, &candidate), (&pair.baseline, &baseline));
    let level = verdict.looks.last().map(|look| look.level).filter(|level| *level > 0.0);
    let repeated = level.and_then(|level| {
        let values = design.values(cells, &pair, u32::MAX);
        let both: Vec<(Cluster, Cluster)> =
            values.into_iter().filter(|(b, c)| !b.is_empty() && !c.is_empty()).collect();
        stats::difference_on_these(&both, 1.0 - level)
    });
    PairReport {
        repeated,
        power_at_five_points: difference.as_ref().and_then(|d| d.power_at_five_points),
        seeds_needed: difference.as_ref().and_then(|d| d.seeds_needed),
        change: difference.map(|difference| difference.change),
        pair,
        verdict,
    }
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFiles {
    /// The page.
    pub page: PathBuf,
    /// The data.
    pub json: PathBuf,
    /// The summary.
    pub markdown: PathBuf,
}

/// Writes `report.html`, `experiment-report.json` and `experiment-report.md` into `dir`, each aside
/// and renamed.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    dir: &Path,
    report: &ExperimentReport,
) -> Result<ReportFiles, crate::export::WriteError> {
    let files = ReportFiles {
        page: dir.join("report.html"),
        json: dir.join("experiment-report.json"),
        markdown: dir.join("experiment-report.md"),
    };
    let page = crate::html::experiment_page(report)?;
    crate::export::write_file(&files.page, page.as_bytes())?;
    crate::export::write_file(&files.json, crate::export::pretty_json(report).as_bytes())?;
    crate::export::write_file(&files.markdown, markdown(report).as_bytes())?;
    Ok(files)
}

/// The pictures of a report.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn plots(report: &ExperimentReport) -> Result<Vec<crate::plots::Plot>, PlotError> {
    crate::plots::experiment(report)
}

#[cfg(test)]
mod tests;
