//! How an experiment is made: cells, what is compared within which settings, and looks at pairs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure};
use crate::data::by_competition;
use crate::read::Group;
use crate::stats::Cluster;
use crate::stats::stopping::{Evidence, PairVerdict, Rule};

/// What an experiment can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Agents, on the same model and budget.
    Agent,
    /// Models, in the same agent and on the same budget.
    Model,
    /// Budgets, of the same agent and model.
    Budget,
}

impl Factor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Model, Self::Budget];

    /// Its word in files and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Budget => "budget",
        }
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One combination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The agent, with its settings.
    pub agent: String,
    /// The model; `None` for what the agent brings along.
    pub model: Option<String>,
    /// The budget; `None` for that of the run's settings.
    pub budget: Option<String>,
    /// The suite.
    pub suite: String,
}

impl Cell {
    /// The value of a factor, in words where none is set.
    pub fn value(&self, factor: Factor) -> &str {
        match factor {
            Factor::Agent => &self.agent,
            Factor::Model => self.model.as_deref().unwrap_or("its own model"),
            Factor::Budget => self.budget.as_deref().unwrap_or("budget as set"),
        }
    }

    /// What the cell has in common with those that it is compared with.
    pub fn setting(&self, compare: Factor) -> Setting {
        let of = |factor| (factor != compare).then(|| self.value(factor).to_owned());
        Setting {
            agent: of(Factor::Agent),
            model: of(Factor::Model).filter(|_| self.model.is_some()),
            budget: of(Factor::Budget).filter(|_| self.budget.is_some()),
            suite: self.suite.clone(),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.agent)?;
        for part in [&self.model, &self.budget].into_iter().flatten() {
            write!(f, ", {part}")?;
        }
        write!(f, ", {}", self.suite)
    }
}

/// What cells that are compared have in common; what is compared, and what the experiment does not
/// set, is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// The agent.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The budget.
    pub budget: Option<String>,
    /// The suite.
    pub suite: String,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.agent, &self.model, &self.budget].into_iter().flatten() {
            write!(f, "{part}, ")?;
        }
        write!(f, "{}", self.suite)
    }
}

/// Two compared values in a setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// What both have in common.
    pub setting: Setting,
    /// The one that counts as before: it stands first in the experiment.
    pub baseline: String,
    /// The other.
    pub candidate: String,
}

/// The pairs of an experiment's cells, in their order: within each setting every two.
pub fn pairs(cells: &[Cell], compare: Factor) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, first) in cells.iter().enumerate() {
        let setting = first.setting(compare);
        for second in cells[i + 1..].iter().filter(|cell| cell.setting(compare) == setting) {
            pairs.push(Pair {
                setting: setting.clone(),
                baseline: first.value(compare).to_owned(),
                candidate: second.value(compare).to_owned(),
            });
        }
    }
    pairs
}

/// A cell and the run groups of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CellGroups {
    /// Which.
    pub cell: Cell,
    /// One for each stage that has begun.
    pub groups: Vec<Group>,
}

impl CellGroups {
    pub(super) fn attempts(&self) -> Vec<&Attempt> {
        by_competition(&self.groups.iter().collect::<Vec<_>>()).into_values().flatten().collect()
    }
}

/// What a look found on every pair. Once made it stands, whatever becomes of its attempts later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Seeds a competition and cell that were planned until here.
    pub seeds: u32,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// What it found on each pair, in the order of [`pairs`].
    pub evidence: Vec<Evidence>,
}

/// How an experiment is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// What is compared.
    pub compare: Factor,
    /// When it stops.
    pub rule: Rule,
    /// Seeds a competition and cell after each stage; the last are all.
    pub stages: Vec<u32>,
    /// Competitions of each suite.
    pub competitions: BTreeMap<String, usize>,
}

impl Design {
    /// Seeds of the whole plan.
    pub fn seeds(&self) -> u32 {
        self.stages.last().copied().unwrap_or(0)
    }

    /// Shares of the information that the looks are to have.
    pub fn information(&self) -> Vec<f64> {
        let all = f64::from(self.seeds().max(1));
        self.stages.iter().map(|seeds| f64::from(*seeds) / all).collect()
    }

    /// The verdict on every pair after some looks.
    pub fn judge(&self, pairs: usize, looks: &[Look]) -> Vec<PairVerdict> {
        let history: Vec<Vec<Evidence>> = (0..pairs)
            .map(|i| looks.iter().filter_map(|look| look.evidence.get(i).copied()).collect())
            .collect();
        self.rule.monitor(&self.information()).judge(&history)
    }

    /// Looks at the attempts whose seed is below `seeds`.
    pub fn look(&self, cells: &[CellGroups], seeds: u32, made_at: DateTime<Utc>) -> Look {
        let keys: Vec<Cell> = cells.iter().map(|cell| cell.cell.clone()).collect();
        let evidence = pairs(&keys, self.compare)
            .iter()
            .map(|pair| {
                let values = self.values(cells, pair, seeds);
                let competitions =
                    self.competitions.get(&pair.setting.suite).copied().unwrap_or(values.len());
                Evidence::of(&values, competitions, self.seeds() as usize)
            })
            .collect();
        Look { seeds, made_at, evidence }
    }

    /// Medals of both sides a competition, lost attempts left out.
    pub(super) fn values(
        &self,
        cells: &[CellGroups],
        pair: &Pair,
        seeds: u32,
    ) -> Vec<(Cluster, Cluster)> {
        let mut values: BTreeMap<&str, (Cluster, Cluster)> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.cell.setting(self.compare) == pair.setting) {
            let value = cell.cell.value(self.compare);
            let is_baseline = value == pair.baseline;
            if !is_baseline && value != pair.candidate {
                continue;
            }
            let attempts = cell.groups.iter().flat_map(|group| &group.attempts);
            for attempt in attempts.filter(|a| !a.is_lost() && a.key.seed < seeds) {
                let both = values.entry(&attempt.key.competition).or_default();
                let side = if is_baseline { &mut both.0 } else { &mut both.1 };
                side.extend(Measure::AnyMedal.value(&attempt.grade));
            }
        }
        values.into_values().collect()
    }
}
