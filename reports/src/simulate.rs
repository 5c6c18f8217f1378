//! Made-up run groups with known truth, for tests of the statistics, for benchmarks and for looking
//! at pages.

use std::path::PathBuf;

use chrono::{DateTime, Duration, Utc};

use crate::attempt::{Attempt, Ending, Grade, Medal, Thresholds};
use crate::read::{Group, Reading};
use crate::record::{
    AgentRecord, AttemptKey, AttemptRecord, CompetitionFacts, ConditionsRecord, GroupRecord,
    HardwareRecord, LimitsRecord, LlmRecord, LlmTokens, LlmTotals, OutcomeKind, OutcomeRecord,
    Phase, PhaseRecord, SnapshotRecord, TryRecord, UsageRecord,
};
use crate::stats::simulate::Medals;
use crate::stats::{Cluster, Rng};

/// What to make up.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Agent id.
    pub agent: String,
    /// Competitions; their true medal rates are drawn from a U-shaped distribution, as real ones
    /// are.
    pub competitions: usize,
    pub seeds: u32,
    /// Added to every competition's true medal rate, then cut to 0..1.
    pub shift: f64,
    /// Chance that an attempt is lost to infrastructure.
    pub infrastructure: f64,
    /// Seed of the competitions' true rates; equal for versions that are to be compared.
    pub truth: u64,
    /// Seed of the attempts.
    pub draw: u64,
}

impl Simulation {
    /// True medal rate of every competition.
    pub fn rates(&self) -> Vec<f64> {
        self.made_up().rates()
    }

    /// Medal or not for every competition and seed, and nothing else.
    pub fn medals(&self) -> Vec<Cluster> {
        self.made_up().clusters()
    }

    fn made_up(&self) -> Medals {
        let Self { competitions, seeds, shift, truth, draw, .. } = *self;
        Medals { competitions, seeds, shift, truth, draw }
    }

    /// A whole run group.
    pub fn group(&self) -> Group {
        let started: DateTime<Utc> =
            DateTime::UNIX_EPOCH + Duration::days(20_000 + (self.draw % 300) as i64);
        let id = format!("{}_run-group_{}", started.format("%Y-%m-%dT%H-%M-%S-UTC"), self.agent);
        let mut rng = Rng::new(self.draw);
        let mut attempts = Vec::new();
        for (c, p) in self.rates().into_iter().enumerate() {
            for seed in 0..self.seeds {
                attempts.push(self.attempt(c, p, seed, &id, started, &mut rng));
            }
        }
        let record = GroupRecord {
            id: id.clone(),
            agent: AgentRecord {
                id: self.agent.clone(),
                backbone: Some("a-simulated-model".to_owned()),
                ..AgentRecord::default()
            },
            suite: Some("all".to_owned()),
            started_at: Some(started),
            ended_at: Some(started + Duration::hours(30)),
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..GroupRecord::default()
        };
        Group {
            path: PathBuf::from(&id),
            id,
            agent: self.agent.clone(),
            agent_is_recorded: true,
            record: Some(record),
            attempts,
        }
    }

    /// A reading of this group alone.
    pub fn reading(&self) -> Reading {
        Reading { groups: vec![self.group()], warnings: Vec::new() }
    }

    fn attempt(
        &self,
        c: usize,
        p: f64,
        seed: u32,
        group: &str,
        started: DateTime<Utc>,
        rng: &mut Rng,
    ) -> Attempt {
        let modality = ["image", "text", "tabular", "time series", "audio", "multimodal"][c % 6];
        let complexity = ["low", "medium", "medium", "high"][c % 4];
        let facts = CompetitionFacts {
            id: format!("simulated-{modality}-challenge-{c:02}").replace(' ', "-"),
            title: format!("Simulated {modality} challenge {c}"),
            modality: modality.to_owned(),
            category: format!("{modality} classification"),
            complexity: complexity.to_owned(),
            metric: "roc_auc".to_owned(),
            suites: vec!["all".to_owned()],
            size_bytes: Some(10_u64.pow(7 + c as u32 % 4)),
            ended: None,
        };
        let thresholds = Thresholds { gold: 0.95, silver: 0.93, bronze: 0.90, median: 0.80 };
        let won = rng.unit() < p;
        let quality = rng.unit();
        let lost = rng.unit() < self.infrastructure;
        let score = if won { 0.90 + 0.08 * quality } else { 0.65 + 0.2499 * quality };
        let valid = !lost && (won || quality > 0.12);
        let medal = (valid && won).then_some(match score {
            s if s >= thresholds.gold => Medal::Gold,
            s if s >= thresholds.silver => Medal::Silver,
            _ => Medal::Bronze,
        });
        let grade = Grade {
            score: valid.then_some((score * 1e5).round() / 1e5),
            medal,
            gold: medal == Some(Medal::Gold),
            silver: medal == Some(Medal::Silver),
            bronze: medal == Some(Medal::Bronze),
            above_median: valid && score > thresholds.median,
            exists: valid || (!lost && quality > 0.05),
            valid,
            thresholds: Some(thresholds),
            rank: valid.then_some(1 + ((1.0 - score) * 3000.0) as u64),
            own_leaderboard: None,
            teams: Some(1200),
            percentile: valid.then(|| (100.0 * (1.0 - (1.0 - score) * 2.5)).max(0.0)),
            has_leaderboard: true,
            has_thresholds: true,
            problem: (!valid && !lost).then(|| "column `target` is missing".to_owned()),
            ..Grade::default()
        };
        let took = 600.0 + 20_000.0 * rng.unit();
        let kind = if lost {
            OutcomeKind::EngineLost
        } else if quality > 0.9 {
            OutcomeKind::TimedOut
        } else {
            OutcomeKind::Finished
        };
        let outcome = OutcomeRecord { kind, infrastructure: lost, ..OutcomeRecord::default() };
        let snapshots = (1..=if valid && c < 4 { 6 } else { 0 })
            .map(|i| SnapshotRecord {
                after_s: took * f64::from(i) / 6.0,
                valid: true,
                score: Some(score - 0.2 * (1.0 - f64::from(i) / 6.0).powi(2)),
                ..SnapshotRecord::default()
            })
            .collect();
        let key = AttemptKey { competition: facts.id.clone(), agent: self.agent.clone(), seed };
        let conditions = ConditionsRecord {
            executor: "docker".to_owned(),
            network: "sealed".to_owned(),
            sealed: true,
            data_edition: Some("v1".to_owned()),
            limits: LimitsRecord { time_s: Some(86_400.0), ..LimitsRecord::default() },
            hardware: HardwareRecord {
                cpu: "Simulated CPU".to_owned(),
                cpu_count: 16,
                ..HardwareRecord::default()
            },
            ..ConditionsRecord::default()
        };
        let record = AttemptRecord {
            key: key.clone(),
            group: group.to_owned(),
            competition: facts.clone(),
            outcome: Some(outcome.clone()),
            started_at: Some(started),
            took_s: Some(took),
            tries: vec![TryRecord { number: 1, took_s: Some(took), ..TryRecord::default() }],
            usage: UsageRecord {
                memory_peak_bytes: Some((took * 1e6) as u64),
                ..UsageRecord::default()
            },
            conditions,
            snapshots,
            phases: phases(took),
            llm: Some(llm_calls(took)),
            ..AttemptRecord::default()
        };
        Attempt {
            key,
            group: group.to_owned(),
            dir: None,
            facts,
            ending: Ending::Ended(outcome),
            grade,
            record: Some(Box::new(record)),
        }
    }
}

/// Calls of an agent that asks two models for as long as it runs.
fn llm_calls(took: f64) -> LlmRecord {
    let part = |share: f64| {
        let calls = (share * took / 30.0) as u64 + 1;
        let tokens = LlmTokens {
            input: 800 * calls,
            cache_read: 2_400 * calls,
            cache_write_5m: 200 * calls,
            output: 500 * calls,
            reasoning: 200 * calls,
            ..LlmTokens::default()
        };
        let picodollars = (share * (0.5 + took / 10_000.0) * 1e12) as u64;
        LlmTotals { calls, tokens, picodollars, ..LlmTotals::default() }
    };
    let (large, small) = (part(0.8), part(0.2));
    let mut totals = large;
    totals.add(&small);
    LlmRecord {
        totals,
        models: [("simulated-large".to_owned(), large), ("simulated-small".to_owned(), small)]
            .into(),
        errors: [("429".to_owned(), 2)].into(),
        outcomes: [("ok".to_owned(), large.calls + small.calls - 2)].into(),
        ttft_p50_ms: Some(400.0 + took / 100.0),
        ttft_p95_ms: Some(900.0 + took / 50.0),
        llm_time_s: 0.4 * took,
        ..LlmRecord::default()
    }
}

fn phases(took: f64) -> Vec<PhaseRecord> {
    let mut began_s = 0.0;
    [
        (Phase::Image, 40.0),
        (Phase::Create, 2.0),
        (Phase::Agent, took),
        (Phase::Collect, 3.0),
        (Phase::Grade, 1.5),
    ]
    .into_iter()
    .map(|(name, took_s)| {
        let phase = PhaseRecord { name, began_s, took_s };
        began_s += took_s;
        phase
    })
    .collect()
}
