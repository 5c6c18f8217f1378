//! What agents reached on each competition.

use std::collections::BTreeMap;

use super::{AgentReport, CompetitionReport, CompetitionResult};
use crate::attempt::{Attempt, Measure};
use crate::stats;

pub(super) fn competition_reports(
    agents: &[(AgentReport, Vec<&Attempt>)],
) -> Vec<CompetitionReport> {
    let mut facts: BTreeMap<&str, &Attempt> = BTreeMap::new();
    for attempt in agents.iter().flat_map(|(_, attempts)| attempts) {
        // An attempt whose grade tells the thresholds is the better witness.
        let entry = facts.entry(&attempt.key.competition).or_insert(attempt);
        if entry.grade.thresholds.is_none() {
            *entry = attempt;
        }
    }
    facts
        .into_iter()
        .map(|(id, witness)| CompetitionReport {
            facts: witness.facts.clone(),
            thresholds: witness.grade.thresholds,
            lower_is_better: witness.grade.lower_is_better,
            results: agents
                .iter()
                .map(|(agent, attempts)| {
                    let here: Vec<&Attempt> =
                        attempts.iter().filter(|a| a.key.competition == id).copied().collect();
                    competition_result(&agent.agent, &here, witness.grade.lower_is_better)
                })
                .collect(),
        })
        .collect()
}

fn competition_result(
    agent: &str,
    attempts: &[&Attempt],
    lower_is_better: bool,
) -> CompetitionResult {
    let scores = attempts.iter().filter(|a| a.grade.valid).filter_map(|a| a.grade.score);
    let percentiles: Vec<f64> =
        attempts.iter().filter_map(|a| Measure::Percentile.value(&a.grade)).collect();
    CompetitionResult {
        agent: agent.to_owned(),
        medals: attempts.iter().filter(|a| a.grade.medal.is_some()).count(),
        attempts: attempts.len(),
        infrastructure: attempts.iter().filter(|a| a.is_infrastructure()).count(),
        best_score: if lower_is_better {
            scores.min_by(f64::total_cmp)
        } else {
            scores.max_by(f64::total_cmp)
        },
        mean_percentile: (!percentiles.is_empty()).then(|| stats::mean(&percentiles) * 100.0),
        seeds: attempts.iter().map(|a| a.grade.medal).collect(),
    }
}
