//! What an experiment comes to, before a cent is spent: attempts, hours, dollars, and the difference
//! that it could detect.

use std::fmt::Write as _;
use std::time::Duration;

use medalist_llm::Picodollars;
use medalist_llm::config::{PriceMode, UnknownPrice};
use medalist_reports::attempt::{Attempt, Measure};
use medalist_reports::experiment::pairs;
use medalist_reports::read::Reading;
use medalist_reports::stats::stopping::Sensitivity;
use medalist_reports::{stats, text};
use serde::Serialize;

use super::Arm;
use super::file::Experiment;
use crate::attempt::plan::Plan;
use crate::attempt::text::duration;
use crate::run::Forecast as Schedule;

/// Variance of a medal between attempts where each is a coin's toss: the most there can be.
const COIN: f64 = 0.25;
/// The same where most competitions are won nearly always or nearly never, with rates that are
/// uniform draws moved towards both ends, as in the simulations of docs/reports.md.
const EXTREME: f64 = 0.089_3;

/// What is expected of an attempt, from groups that ran before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prior {
    /// Attempts that it rests on.
    pub attempts: usize,
    /// Mean seconds of an attempt.
    pub seconds: Option<f64>,
    /// Mean dollars of an attempt, over those with a price.
    pub dollars: Option<f64>,
    /// Variance of a medal between attempts at a competition.
    pub variance: Option<f64>,
}

impl Prior {
    /// Of the attempts of `agents`, or of all if there are none of theirs.
    pub fn of(reading: &Reading, agents: &[&str]) -> Self {
        let own: Vec<&Attempt> =
            reading.attempts().filter(|a| agents.contains(&a.key.agent.as_str())).collect();
        let used = if own.is_empty() { reading.attempts().collect() } else { own };
        let kept: Vec<&Attempt> = used.into_iter().filter(|a| !a.is_lost()).collect();
        let record = |attempt: &&Attempt| attempt.record.as_deref().cloned();
        let seconds: Vec<f64> = kept.iter().filter_map(|a| record(a)?.took_s).collect();
        let dollars: Vec<f64> =
            kept.iter().filter_map(|a| record(a)?.llm?.cost().exact()).collect();
        let mut clusters = std::collections::BTreeMap::<(&str, &str), Vec<f64>>::new();
        for attempt in &kept {
            let key = (attempt.key.agent.as_str(), attempt.key.competition.as_str());
            clusters.entry(key).or_default().extend(Measure::AnyMedal.value(&attempt.grade));
        }
        let variances: Vec<f64> =
            clusters.values().filter_map(|values| stats::variance(values)).collect();
        let mean = |values: &[f64]| (!values.is_empty()).then(|| stats::mean(values));
        Self {
            attempts: kept.len(),
            seconds: mean(&seconds),
            dollars: mean(&dollars),
            // Attempts that never differed are no sign that they never will.
            variance: mean(&variances).filter(|variance| *variance > 0.0),
        }
    }
}

/// What an experiment comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Attempts of all stages.
    pub attempts: usize,
    /// Attempts of a whole stage, at most.
    pub stage_attempts: usize,
    /// Most attempts at once.
    pub at_once: usize,
    /// Seconds until the end if every attempt takes all of its time.
    pub longest_s: f64,
    /// Expected seconds until the end of the last stage.
    pub expected_s: Option<f64>,
    /// Most dollars that one try of every attempt may cost; `None` if nothing bounds them.
    pub most_dollars: Option<f64>,
    /// Expected dollars of all stages.
    pub expected_dollars: Option<f64>,
    /// What the expectations rest on.
    pub prior: Option<Prior>,
    /// Pairs that are compared.
    pub pairs: usize,
    /// Competitions of the smallest suite, whose pairs are the least sure.
    pub competitions: usize,
    /// What can be detected, for each variance that is assumed.
    pub detects: Vec<Sensitivity>,
}

/// The forecast of an experiment whose cells have these plans of all seeds; `schedules` say how each
/// is worked through.
pub fn forecast(
    experiment: &Experiment,
    arms: &[Arm],
    schedules: &[Schedule],
    prior: Option<Prior>,
) -> Forecast {
    let attempts: usize = arms.iter().map(|arm| arm.plan.attempts.len()).sum();
    let seeds = experiment.stages.last().copied().unwrap_or(1);
    let widest = experiment
        .stages
        .iter()
        .scan(0, |before, seeds| Some(seeds - std::mem::replace(before, *seeds)))
        .max()
        .unwrap_or(1);
    let at_once = schedules.iter().map(|schedule| schedule.at_once).max().unwrap_or(0);
    let longest_s: f64 = schedules.iter().map(|s| s.longest.as_secs_f64()).sum();
    let most: Option<Picodollars> = {
        let groups = experiment.stages.len() as u64;
        arms.iter().map(|arm| most_dollars(&arm.plan, groups)).sum()
    };
    let information: Vec<f64> =
        experiment.stages.iter().map(|stage| f64::from(*stage) / f64::from(seeds)).collect();
    let pairs = pairs(&experiment.cells, experiment.compare).len();
    let competitions =
        arms.iter().map(|arm| arm.plan.attempts.len() / seeds as usize).min().unwrap_or(0);
    let variances = match prior.as_ref().and_then(|prior| prior.variance) {
        Some(seen) => vec![seen],
        None => vec![COIN, EXTREME],
    };
    let detects = variances.into_iter().map(|variance| {
        experiment.rule.sensitivity(&information, pairs, competitions, seeds as usize, variance)
    });
    let of_prior = |of: fn(&Prior) -> Option<f64>| prior.as_ref().and_then(of);
    Forecast {
        attempts,
        stage_attempts: attempts / seeds as usize * widest as usize,
        at_once,
        longest_s,
        expected_s: of_prior(|p| p.seconds)
            .map(|seconds| seconds * attempts as f64 / at_once.max(1) as f64),
        most_dollars: most.map(Picodollars::dollars),
        expected_dollars: of_prior(|p| p.dollars).map(|dollars| dollars * attempts as f64),
        pairs,
        competitions,
        detects: detects.collect(),
        prior,
    }
}

/// The most that one try of every attempt of a plan may cost by its budgets, if it is run as so many
/// groups; `None` if nothing bounds it.
pub(super) fn most_dollars(plan: &Plan, groups: u64) -> Option<Picodollars> {
    let Some(llm) = &plan.llm else { return Some(Picodollars::default()) };
    let config = llm.config().ok()?;
    let is_free = config.upstreams.values().all(|upstream| upstream.price == PriceMode::Free);
    let is_replayed = llm.replay.is_some() && !config.replay.through;
    if is_free || is_replayed {
        return Some(Picodollars::default());
    }
    if config.budget.unknown_price == UnknownPrice::Allow {
        return None;
    }
    let count = plan.attempts.len() as u64;
    let attempt =
        config.budget.attempt.dollars.map(|most| Picodollars(most.0.saturating_mul(count)));
    let group = config.budget.group.dollars;
    match (attempt, group.map(|most| Picodollars(most.0.saturating_mul(groups)))) {
        (Some(attempt), Some(group)) => Some(attempt.min(group)),
        (one, other) => one.or(other),
    }
}

impl Forecast {
    /// In lines for a person.
    pub fn describe(&self, experiment: &Experiment, arms: &[Arm]) -> String {
        let mut out = String::new();
        let mut line = |name: &str, words: String| {
            let _ = writeln!(out, "{name:<12}{words}");
        };
        let stages = experiment.stages.len();
        let compare = experiment.compare;
        line("experiment", format!("{} ({})", experiment.name, experiment.file.display()));
        let values = arms.iter().map(|arm| arm.cell.value(compare));
        line("compares", format!("{compare}s: {}", listed(values)));
        for (name, set) in [
            ("models", arms.iter().filter_map(|arm| arm.cell.model.as_deref()).collect::<Vec<_>>()),
            ("budgets", arms.iter().filter_map(|arm| arm.cell.budget.as_deref()).collect()),
            ("suites", arms.iter().map(|arm| arm.cell.suite.as_str()).collect()),
        ] {
            if !set.is_empty() {
                line(name, listed(set.into_iter()));
            }
        }
        let rule = &experiment.rule;
        let early = match rule.spending {
            Some(_) if stages > 1 => "stops early when every pair is sure or promises too little",
            _ if stages > 1 => "runs to the end",
            _ => "no early look",
        };
        line(
            "stages",
            format!(
                "{stages}, with {} seeds a competition in all; {early}",
                experiment.stages.last().unwrap_or(&1)
            ),
        );
        line(
            "attempts",
            format!(
                "{} in {} cells ({} a stage, {} at once)",
                self.attempts,
                arms.len(),
                self.stage_attempts,
                self.at_once
            ),
        );
        let expected = self.expected_s.map_or_else(
            || "not known without `prior`".to_owned(),
            |s| duration(Duration::from_secs_f64(s.round())),
        );
        line(
            "hours",
            format!(
                "at most {}; expected: {expected}",
                duration(Duration::from_secs_f64(self.longest_s))
            ),
        );
        line("dollars", self.dollars());
        for (i, detects) in self.detects.iter().enumerate() {
            line(if i == 0 { "detects" } else { "" }, self.detectable(detects, stages));
        }
        out
    }

    fn dollars(&self) -> String {
        let expected = self.expected_dollars.map(text::dollars);
        let expected = expected.unwrap_or_else(|| "not known without `prior`".to_owned());
        match self.most_dollars {
            Some(0.0) => "none: no calls of language models are paid for".to_owned(),
            Some(most) => format!(
                "at most {}; expected: {expected}; tries that a failing machine ends come on top",
                text::dollars(most)
            ),
            None => format!(
                "nothing bounds them (`budgets`, or `[budget.attempt]` of the models' settings, would); expected: {expected}"
            ),
        }
    }

    fn detectable(&self, detects: &Sensitivity, stages: usize) -> String {
        let variance = detects.variance;
        let assumed = match &self.prior {
            Some(prior) if prior.variance.is_some() => {
                format!(
                    "attempts vary as in the {} before (variance {variance:.3})",
                    prior.attempts
                )
            }
            _ if variance == COIN => format!("each attempt is a coin's toss (variance {variance})"),
            _ => format!(
                "most competitions are won nearly always or nearly never (variance {variance:.3})"
            ),
        };
        let points = detects.detectable * 100.0;
        let found = match points {
            points if points >= 100.0 => "no difference, however large,".to_owned(),
            points => format!("{} points", text::number(points, 1)),
        };
        let mean = match stages {
            1 => String::new(),
            _ => format!(
                "; if it is that large, {} of {stages} stages in the mean",
                text::number(detects.mean_stages, 1)
            ),
        };
        format!(
            "{found} with 80% power on {} competitions, {} pair{}, if {assumed}{mean}",
            self.competitions,
            self.pairs,
            if self.pairs == 1 { "" } else { "s" }
        )
    }
}

/// Each once, in their order.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.join(", ")
}
