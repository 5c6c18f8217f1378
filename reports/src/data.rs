//! A report as data: everything that a page, a table or a file shows is computed here once.

mod competition;
mod warnings;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use medalist_grading::untrusted::Shown;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Ending, Grade, Measure, Medal};
use crate::compare::{self, Change};
use crate::contamination::{Contamination, Cutoffs};
use crate::estimate::Estimate;
use crate::leaderboard::{self, Row, SeedRule};
use crate::llm::{Cost, LlmUse};
use crate::read::{CompetitionSource, Group, Reading};
use crate::record::{
    AttemptKey, CompetitionFacts, ConditionsRecord, FormatVersion, LlmRecord, OutcomeRecord,
    PhaseRecord, SnapshotRecord, SuiteRecord, TryRecord, UsageRecord,
};
use crate::stats::{self, SeedsNeeded};
use competition::competition_reports;
pub(crate) use warnings::{Difference, differences};
use warnings::{different_suites, mixed_conditions, suites_not_kept, uneven_coverage};
pub use warnings::{obfuscated_briefs, other_data};

/// The version of `report.json` that this crate writes.
pub const REPORT_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 2 };

/// A whole report. Serialised, it is `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Format of the file.
    pub format: FormatVersion,
    /// Heading.
    pub title: String,
    /// When the report was computed.
    pub generated_at: DateTime<Utc>,
    /// Version of the harness that computed it.
    pub harness_version: String,
    /// Agents, best first.
    pub agents: Vec<AgentReport>,
    /// Run groups that were read.
    pub groups: Vec<GroupReport>,
    /// Competitions, by id.
    pub competitions: Vec<CompetitionReport>,
    /// Attempts, by agent, competition, seed.
    pub attempts: Vec<AttemptReport>,
    /// The paired difference, where there are two agents with competitions in common.
    #[serde(default)]
    pub difference: Option<PairedDifference>,
    /// What was left out or read otherwise than it stands.
    pub warnings: Vec<String>,
}

/// How two agents differ on the competitions that both were run on, lost attempts left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The agent that is ranked first, by its rate with lost attempts as failed.
    pub first: String,
    /// The other.
    pub second: String,
    /// First minus second, in medal rates.
    pub change: Change,
    /// Probability that a test at 5% finds a true difference of five points on these competitions;
    /// `None` with one seed.
    pub power_at_five_points: Option<f64>,
    /// Seeds a competition and agent with which it is found 80 times in 100.
    pub seeds_needed: Option<SeedsNeeded>,
    /// Most attempts that a competition has now.
    pub seeds: usize,
}

/// One agent over all its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentReport {
    /// Agent id.
    pub agent: String,
    /// LLM that it uses, where known.
    pub backbone: Option<String>,
    /// How its attempts ended.
    pub counts: Counts,
    /// All measures over all competitions.
    pub overall: Breakdown,
    /// Medal rate over the attempts that were not lost; `None` if none was lost.
    #[serde(default)]
    pub without_lost: Option<Estimate>,
    /// One breakdown a modality.
    pub by_modality: Vec<Breakdown>,
    /// One breakdown a complexity.
    pub by_complexity: Vec<Breakdown>,
    /// One breakdown a category.
    pub by_category: Vec<Breakdown>,
    /// Chance of at least one medal in k attempts.
    pub pass_at_k: Vec<PassAtK>,
    /// Its line of the leaderboard.
    pub leaderboard: Row,
    /// Why columns of that line are missing.
    pub leaderboard_gaps: Vec<String>,
    /// Cost over all attempts in US dollars, as far as it is known; [`AgentReport::llm`] says
    /// whether something is missing.
    pub cost_usd: Option<f64>,
    /// Calls to language models; `None` if no attempt recorded any.
    #[serde(default)]
    pub llm: Option<LlmUse>,
    /// Wall-clock seconds of all attempts together.
    pub took_s: f64,
    /// Attempts whose condition differs, in words; empty if all ran under equal conditions.
    pub mixed_conditions: Vec<String>,
    /// Medal rates before and after the training cut-off that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contamination: Option<Contamination>,
}

/// How many attempts ended how. Everything is counted against `planned`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All attempts.
    pub planned: usize,
    /// With an end.
    pub ended: usize,
    /// Not begun, running, or cut off.
    pub unfinished: usize,
    /// Ended through the machine's fault. They count as failed in every rate.
    pub infrastructure: usize,
    /// With a submission.
    pub submitted: usize,
    /// With a valid one.
    pub valid: usize,
    /// Gold medals.
    pub gold: usize,
    /// Silver medals.
    pub silver: usize,
    /// Bronze medals.
    pub bronze: usize,
    /// Outcome tags and how often each occurred.
    pub outcomes: BTreeMap<String, usize>,
}

impl Counts {
    /// Medals of any colour.
    pub fn medals(&self) -> usize {
        self.gold + self.silver + self.bronze
    }
}

/// All measures over some competitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Name of the modality, complexity or category; `all` for everything.
    pub name: String,
    /// Competitions in it.
    pub competitions: usize,
    pub attempts: usize,
    /// Attempts in it that failed through the machine's fault.
    pub infrastructure: usize,
    /// One estimate a measure, in the order of [`Measure::ALL`].
    pub estimates: Vec<Estimate>,
}

impl Breakdown {
    /// The estimate of a measure.
    pub fn get(&self, measure: Measure) -> &Estimate {
        self.estimates.iter().find(|e| e.measure == measure).unwrap_or(&self.estimates[0])
    }
}

/// Chance of at least one medal in k attempts at a competition, averaged over competitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PassAtK {
    /// Attempts.
    pub k: usize,
    /// Chance, 0 to 1.
    pub value: f64,
    /// Competitions with at least k attempts.
    pub competitions: usize,
}

/// A run group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Name.
    pub id: String,
    pub agent: String,
    /// Version that the agent's package states; pages show it, `report.json` does not have it.
    #[serde(skip)]
    pub version: Option<String>,
    /// Suite that was asked for.
    pub suite: Option<String>,
    /// Which suite that is, if it is one in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_file: Option<SuiteRecord>,
    pub attempts: usize,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The user's own words.
    pub notes: Option<String>,
}

/// A competition and how each agent did on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompetitionReport {
    pub facts: CompetitionFacts,
    /// Thresholds and direction, where a grade told them.
    pub thresholds: Option<crate::attempt::Thresholds>,
    /// Whether a lower score is better.
    pub lower_is_better: bool,
    /// One entry an agent, in the order of [`ReportData::agents`].
    pub results: Vec<CompetitionResult>,
}

/// An agent's attempts at a competition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompetitionResult {
    /// Agent id.
    pub agent: String,
    /// Attempts with any medal.
    pub medals: usize,
    pub attempts: usize,
    /// Attempts lost to infrastructure.
    pub infrastructure: usize,
    /// Best score over valid submissions.
    pub best_score: Option<f64>,
    /// Mean percentile rank, 0 to 100, where a leaderboard is known.
    pub mean_percentile: Option<f64>,
    /// One entry a seed: medal, or `None`.
    pub seeds: Vec<Option<Medal>>,
}

/// An attempt as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which attempt.
    pub key: AttemptKey,
    /// Run group.
    pub group: String,
    /// Its folder as it was read, where there is one.
    pub dir: Option<PathBuf>,
    /// Modality of its competition.
    pub modality: String,
    /// Complexity of its competition.
    pub complexity: String,
    /// Outcome tag.
    pub outcome: String,
    /// One line on the outcome.
    pub detail: Option<Shown>,
    /// Whether the machine is to blame.
    pub infrastructure: bool,
    /// Grade of its submission.
    pub grade: Grade,
    /// Wall-clock seconds.
    pub took_s: Option<f64>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// What it used.
    pub usage: UsageRecord,
    /// What it ran under.
    pub conditions: Option<ConditionsRecord>,
    /// Scores over time.
    pub snapshots: Vec<SnapshotRecord>,
    /// All tries.
    pub tries: Vec<TryRecord>,
    /// Phases of the last try.
    pub phases: Vec<PhaseRecord>,
    /// LLM calls.
    pub llm: Option<LlmRecord>,
    /// How often the agent asked for validation.
    pub validations: Option<u64>,
}

/// What a report is asked to be.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Heading.
    pub title: String,
    /// When it is computed; tests fix it.
    pub generated_at: DateTime<Utc>,
    /// How leaderboard rows build their seeds.
    pub seed_rule: SeedRule,
    /// Training cut-offs to compare with.
    pub cutoffs: Cutoffs,
}

impl ReportData {
    /// Computes a report. Equal readings and options give an equal report.
    pub fn compute(
        reading: &Reading,
        source: &dyn CompetitionSource,
        options: &ReportOptions,
    ) -> Self {
        let spellings = KINDS.map(|of| spellings(reading, of));
        let mut by_agent: BTreeMap<&str, Vec<&Group>> = BTreeMap::new();
        for group in &reading.groups {
            by_agent.entry(&group.agent).or_default().push(group);
        }
        let by_agent: Vec<(&str, Vec<&Group>)> = by_agent.into_iter().collect();
        let mut agents: Vec<(AgentReport, Vec<&Attempt>)> = by_agent
            .par_iter()
            .map(|(agent, groups)| agent_report(agent, groups, source, options, &spellings))
            .collect();
        let rate = |agent: &AgentReport| agent.overall.get(Measure::AnyMedal).value.unwrap_or(-1.0);
        agents.sort_by(|a, b| {
            rate(&b.0).total_cmp(&rate(&a.0)).then_with(|| a.0.agent.cmp(&b.0.agent))
        });
        let mut warnings: Vec<String> = reading.warnings.iter().map(ToString::to_string).collect();
        for (agent, _) in &agents {
            warnings
                .extend(agent.mixed_conditions.iter().map(|m| format!("`{}`: {m}", agent.agent)));
        }
        warnings.extend(uneven_coverage(&agents));
        warnings.extend(suites_not_kept(&reading.groups));
        let difference = match agents.as_slice() {
            [(first, a), (second, b)] => {
                compare::paired_difference((&first.agent, a), (&second.agent, b))
            }
            _ => None,
        };
        let attempts = || agents.iter().flat_map(|(_, attempts)| attempts.iter().copied());
        warnings.extend(other_data(attempts()));
        warnings.extend(obfuscated_briefs(attempts()));
        Self {
            format: REPORT_FORMAT,
            title: options.title.clone(),
            generated_at: options.generated_at,
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: reading.groups.iter().map(group_report).collect(),
            competitions: competition_reports(&agents),
            attempts: attempts().map(AttemptReport::from).collect(),
            agents: agents.into_iter().map(|(agent, _)| agent).collect(),
            difference,
            warnings,
        }
    }

    /// Places of the competitions, by complexity and then by name.
    pub(crate) fn by_complexity(&self) -> impl Iterator<Item = usize> {
        let mut order: Vec<usize> = (0..self.competitions.len()).collect();
        order.sort_by_cached_key(|c| {
            let facts = &self.competitions[*c].facts;
            (part_order(&facts.complexity), part_key(&facts.complexity), facts.id.to_lowercase())
        });
        order.into_iter()
    }

    /// Attempts of one agent.
    pub fn attempts_of<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a AttemptReport> {
        self.attempts.iter().filter(move |attempt| attempt.key.agent == agent)
    }
}

/// Attempts by competition; within one, by the start of their group and then by seed, so that the
/// k-th is the k-th run.
pub(crate) fn by_competition<'a>(groups: &[&'a Group]) -> BTreeMap<&'a str, Vec<&'a Attempt>> {
    let mut order: Vec<&Group> = groups.to_vec();
    order.sort_by(|a, b| (&a.id, &a.path).cmp(&(&b.id, &b.path)));
    let mut map: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in order.iter().flat_map(|group| &group.attempts) {
        map.entry(&attempt.key.competition).or_default().push(attempt);
    }
    map
}

fn agent_report<'a>(
    agent: &str,
    groups: &[&'a Group],
    source: &dyn CompetitionSource,
    options: &ReportOptions,
    spellings: &[BTreeMap<String, &str>; 3],
) -> (AgentReport, Vec<&'a Attempt>) {
    let by_competition = by_competition(groups);
    let attempts: Vec<&Attempt> = by_competition.values().flatten().copied().collect();
    let [by_modality, by_complexity, by_category] =
        std::array::from_fn(|i| split(&by_competition, KINDS[i], &spellings[i]));
    let (leaderboard, problems) = leaderboard::row(groups, options.seed_rule, source);
    let record = groups.iter().find_map(|group| group.record.as_ref());
    let llm = LlmUse::of(&attempts);
    let report = AgentReport {
        agent: agent.to_owned(),
        backbone: record.and_then(|record| record.agent.backbone.clone()),
        counts: counts(&attempts),
        overall: breakdown("all".to_owned(), &by_competition),
        without_lost: without_lost(&by_competition),
        by_modality,
        by_complexity,
        by_category,
        pass_at_k: pass_at_k(&by_competition),
        leaderboard,
        leaderboard_gaps: problems
            .into_iter()
            .map(|(column, error)| format!("{column}: {error}"))
            .collect(),
        cost_usd: llm.as_ref().and_then(|llm| llm.cost).and_then(Cost::usd),
        llm,
        took_s: attempts.iter().filter_map(|a| a.record.as_ref()?.took_s).sum(),
        mixed_conditions: different_suites(groups)
            .into_iter()
            .chain(mixed_conditions(&attempts))
            .collect(),
        contamination: Contamination::of(agent, &options.cutoffs, &by_competition),
    };
    (report, attempts)
}

pub(crate) fn counts(attempts: &[&Attempt]) -> Counts {
    let mut counts = Counts { planned: attempts.len(), ..Counts::default() };
    for attempt in attempts {
        let grade = &attempt.grade;
        counts.ended += usize::from(attempt.has_ended());
        counts.unfinished += usize::from(matches!(attempt.ending, Ending::Unfinished));
        counts.infrastructure += usize::from(attempt.is_infrastructure());
        counts.submitted += usize::from(grade.exists);
        counts.valid += usize::from(grade.valid);
        counts.gold += usize::from(grade.medal == Some(Medal::Gold));
        counts.silver += usize::from(grade.medal == Some(Medal::Silver));
        counts.bronze += usize::from(grade.medal == Some(Medal::Bronze));
        *counts.outcomes.entry(attempt.outcome().to_owned()).or_default() += 1;
    }
    counts
}

fn breakdown(name: String, by_competition: &BTreeMap<&str, Vec<&Attempt>>) -> Breakdown {
    let all = by_competition.values().flatten();
    Breakdown {
        name,
        competitions: by_competition.len(),
        attempts: all.clone().count(),
        infrastructure: all.filter(|a| a.is_infrastructure()).count(),
        estimates: Measure::ALL.par_iter().map(|m| Estimate::of(*m, by_competition)).collect(),
    }
}

/// A fact of a competition to group by.
pub(crate) type FactOf = fn(&CompetitionFacts) -> &str;

/// Modality, complexity and category, in this order.
const KINDS: [FactOf; 3] = [|f| &f.modality, |f| &f.complexity, |f| &f.category];

/// The medal rate if lost attempts are left out in place of counted as failed.
fn without_lost(by_competition: &BTreeMap<&str, Vec<&Attempt>>) -> Option<Estimate> {
    let kept: BTreeMap<&str, Vec<&Attempt>> = by_competition
        .iter()
        .map(|(id, all)| (*id, all.iter().copied().filter(|a| !a.is_lost()).collect()))
        .collect();
    let lost = by_competition.values().flatten().any(|attempt| attempt.is_lost());
    lost.then(|| Estimate::of(Measure::AnyMedal, &kept))
}

fn split(
    by_competition: &BTreeMap<&str, Vec<&Attempt>>,
    of: FactOf,
    spellings: &BTreeMap<String, &str>,
) -> Vec<Breakdown> {
    let mut parts: BTreeMap<(usize, String), BTreeMap<&str, Vec<&Attempt>>> = BTreeMap::new();
    for (id, attempts) in by_competition {
        let key = part_key(attempts.first().map_or("unknown", |a| of(&a.facts)));
        parts.entry((part_order(&key), key)).or_default().insert(id, attempts.clone());
    }
    parts
        .into_iter()
        .map(|((_, key), part)| {
            breakdown(spellings.get(&key).map_or(key.clone(), |name| (*name).to_owned()), &part)
        })
        .collect()
}

/// One spelling for each part that attempts name, the first in order.
fn spellings(reading: &Reading, of: FactOf) -> BTreeMap<String, &str> {
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    for attempt in reading.attempts() {
        let name = of(&attempt.facts);
        let entry = spellings.entry(part_key(name)).or_insert(name);
        *entry = (*entry).min(name);
    }
    spellings
}

/// What spellings of one part have in common: `Image To Image`, `image-to-image`.
pub(crate) fn part_key(name: &str) -> String {
    name.trim().to_lowercase().replace(['-', '_'], " ")
}

/// Complexities come in their own order, everything else by name.
pub(crate) fn part_order(name: &str) -> usize {
    ["low", "medium", "high"].iter().position(|known| *known == part_key(name)).unwrap_or(3)
}

fn pass_at_k(by_competition: &BTreeMap<&str, Vec<&Attempt>>) -> Vec<PassAtK> {
    let most = by_competition.values().map(Vec::len).max().unwrap_or(0);
    (1..=most)
        .filter_map(|k| {
            let chances: Vec<f64> = by_competition
                .values()
                .filter_map(|attempts| {
                    let medals = attempts.iter().filter(|a| a.grade.medal.is_some()).count();
                    stats::pass_at_k(attempts.len(), medals, k)
                })
                .collect();
            (!chances.is_empty()).then(|| PassAtK {
                k,
                value: stats::mean(&chances),
                competitions: chances.len(),
            })
        })
        .collect()
}

fn group_report(group: &Group) -> GroupReport {
    let record = group.record.as_ref();
    GroupReport {
        id: group.id.clone(),
        agent: group.agent.clone(),
        version: record.and_then(|r| r.agent.version.clone()),
        suite: record.and_then(|r| r.suite.clone()),
        suite_file: record.and_then(|r| r.suite_file.clone()),
        attempts: group.attempts.len(),
        started_at: record.and_then(|r| r.started_at),
        ended_at: record.and_then(|r| r.ended_at),
        notes: record.and_then(|r| r.notes.clone()),
    }
}

/// What became of an attempt, for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A medal, also if the machine ended the attempt.
    Medal(Medal),
    /// Lost through the machine's fault.
    Infrastructure,
    /// Without an end.
    Unfinished,
    /// A valid submission without a medal.
    Valid,
    /// Neither.
    Invalid,
}

impl AttemptReport {
    /// As [`Attempt::is_lost`].
    pub fn is_lost(&self) -> bool {
        self.infrastructure || self.outcome == "unfinished"
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.grade.medal {
            Some(medal) => Standing::Medal(medal),
            None if self.infrastructure => Standing::Infrastructure,
            None if self.outcome == "unfinished" => Standing::Unfinished,
            None if self.grade.valid || self.grade.is_claimed => Standing::Valid,
            None => Standing::Invalid,
        }
    }
}

impl From<&Attempt> for AttemptReport {
    fn from(attempt: &Attempt) -> Self {
        let record = attempt.record.as_deref();
        let outcome: Option<&OutcomeRecord> = match &attempt.ending {
            Ending::Ended(outcome) => Some(outcome),
            _ => None,
        };
        Self {
            key: attempt.key.clone(),
            group: attempt.group.clone(),
            dir: attempt.dir.clone(),
            modality: attempt.facts.modality.clone(),
            complexity: attempt.facts.complexity.clone(),
            outcome: attempt.outcome().to_owned(),
            detail: outcome.and_then(|o| o.detail.clone()),
            infrastructure: attempt.is_infrastructure(),
            grade: attempt.grade.clone(),
            took_s: record.and_then(|r| r.took_s),
            started_at: record.and_then(|r| r.started_at),
            usage: record.map(|r| r.usage.clone()).unwrap_or_default(),
            conditions: record.map(|r| r.conditions.clone()),
            snapshots: record.map(|r| r.snapshots.clone()).unwrap_or_default(),
            tries: record.map(|r| r.tries.clone()).unwrap_or_default(),
            phases: record.map(|r| r.phases.clone()).unwrap_or_default(),
            llm: record.and_then(|r| r.llm.clone()),
            validations: record.and_then(|r| r.validations),
        }
    }
}

#[cfg(test)]
mod tests;
