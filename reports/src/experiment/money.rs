//! Where the money went: cost against medals, and shares of an agent's parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cell, CellGroups, Factor};
use crate::attempt::{Attempt, Measure};
use crate::data::by_competition;
use crate::estimate::Estimate;
use crate::llm::{Cost, LlmUse};
use crate::read::Group;
use crate::record::LlmTotals;

/// Cost against medal rate of everything that runs on one backbone, or of one agent if models are
/// compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Front {
    /// The backbone, or the agent.
    pub of: String,
    /// The suite.
    pub suite: String,
    /// What was run, in the experiment's order.
    pub points: Vec<FrontPoint>,
    /// What is left out, since its cost is not recorded or not priced.
    pub left_out: Vec<String>,
}

/// One point of a [`Front`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontPoint {
    /// What it is called beside the point.
    pub name: String,
    /// Place of its series, by the agent or the model.
    pub series: usize,
    /// What an attempt cost in the mean.
    pub cost: Cost,
    /// Share of attempts with a medal.
    pub medal_rate: f64,
    /// Whether none has more medals at the same or a lower cost. Never where the cost is a lower
    /// bound.
    pub on_front: bool,
}

/// The fronts of an experiment.
pub(super) fn fronts(cells: &[CellGroups], compare: Factor) -> Vec<Front> {
    // Along a front the backbone stays the same, unless it is what is compared.
    let (fixed, free) = match compare {
        Factor::Agent | Factor::Budget => (Factor::Model, Factor::Agent),
        Factor::Model => (Factor::Agent, Factor::Model),
    };
    let key = |cell: &Cell| (cell.value(fixed).to_owned(), cell.suite.clone());
    let mut fronts: Vec<Front> = Vec::new();
    let mut series: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for cell in cells {
        let (of, suite) = key(&cell.cell);
        let place = fronts.iter().position(|f| (&f.of, &f.suite) == (&of, &suite));
        let place = place.unwrap_or_else(|| {
            let (of, suite) = (of.clone(), suite.clone());
            fronts.push(Front { of, suite, points: Vec::new(), left_out: Vec::new() });
            fronts.len() - 1
        });
        let value = cell.cell.value(free);
        let names = series.entry((of, suite)).or_default();
        let number = names.iter().position(|name| name == value).unwrap_or_else(|| {
            names.push(value.to_owned());
            names.len() - 1
        });
        let name = match &cell.cell.budget {
            Some(budget) => format!("{value} [{budget}]"),
            None => value.to_owned(),
        };
        match costs(cell) {
            Some((cost, medal_rate)) => fronts[place].points.push(FrontPoint {
                name,
                series: number,
                cost,
                medal_rate,
                on_front: false,
            }),
            None => fronts[place].left_out.push(name),
        }
    }
    for front in &mut fronts {
        mark(&mut front.points);
    }
    fronts
}

fn costs(cell: &CellGroups) -> Option<(Cost, f64)> {
    let groups: Vec<&Group> = cell.groups.iter().collect();
    let by_competition = by_competition(&groups);
    let attempts: Vec<&Attempt> = by_competition.values().flatten().copied().collect();
    let cost = LlmUse::of(&attempts)?.per_attempt?;
    cost.usd()?;
    Some((cost, Estimate::of(Measure::AnyMedal, &by_competition).value?))
}

fn mark(points: &mut [FrontPoint]) {
    let known: Vec<Option<(f64, f64)>> =
        points.iter().map(|p| Some((p.cost.exact()?, p.medal_rate))).collect();
    for (i, point) in points.iter_mut().enumerate() {
        let Some((cost, rate)) = known[i] else { continue };
        let is_beaten = known.iter().flatten().any(|(other, wins)| {
            (*other <= cost && *wins > rate) || (*other < cost && *wins >= rate)
        });
        point.on_front = !is_beaten;
    }
}

/// Who of an agent's parts spent the money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roles {
    /// The compared value.
    pub name: String,
    /// Its parts, the most expensive first; none if no attempt recorded calls.
    pub roles: Vec<RoleShare>,
    /// Attempts whose calls are recorded.
    pub recorded: usize,
    /// All attempts.
    pub attempts: usize,
}

/// A part of an agent, by the name that it gives to the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleShare {
    /// Its name; the model's if the agent named no part.
    pub role: String,
    /// Calls.
    pub calls: u64,
    /// Tokens that went in and out.
    pub tokens: u64,
    /// What its calls cost.
    pub cost: Cost,
    /// Its share of the agent's dollars; `None` if a price is missing in them.
    pub share: Option<f64>,
}

pub(super) fn roles(name: &str, attempts: &[&Attempt]) -> Roles {
    let mut sums: BTreeMap<&str, LlmTotals> = BTreeMap::new();
    let mut recorded = 0;
    for llm in attempts.iter().filter_map(|attempt| attempt.record.as_ref()?.llm.as_ref()) {
        recorded += 1;
        for (role, totals) in &llm.roles {
            sums.entry(role).or_default().add(totals);
        }
    }
    let all: Option<f64> = sums.values().map(LlmTotals::dollars).sum();
    let mut roles: Vec<RoleShare> = sums
        .into_iter()
        .map(|(role, totals)| RoleShare {
            role: role.to_owned(),
            calls: totals.calls,
            tokens: totals.tokens.sent().saturating_add(totals.tokens.received()),
            cost: totals.cost(),
            share: all.filter(|all| *all > 0.0).map(|all| totals.known_dollars() / all),
        })
        .collect();
    roles.sort_by(|a, b| {
        let usd = |role: &RoleShare| role.cost.usd().unwrap_or(0.0);
        usd(b).total_cmp(&usd(a)).then_with(|| b.tokens.cmp(&a.tokens))
    });
    Roles { name: name.to_owned(), roles, recorded, attempts: attempts.len() }
}
