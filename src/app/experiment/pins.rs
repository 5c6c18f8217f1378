//! What an experiment holds fixed: written down when it is planned, and asked again on each resume.

use std::collections::BTreeMap;

use medalist_reports::record::HardwareRecord;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::error::{CliError, Exit};
use super::super::judge::CatalogueJudge;
use super::Arm;
use super::file::Experiment;
use crate::attempt::VERSION;
use crate::attempt::plan::Plan;
use crate::run::Judge as _;

/// What is fixed, each under a name that a message can use.
pub(super) type Pins = BTreeMap<String, String>;

/// Keys of a plan that every cell shares.
const SHARED: [&str; 15] = [
    "executor",
    "network",
    "data",
    "brief",
    "gpus",
    "gpu_share",
    "gpu_pool",
    "gpu_access",
    "mounts",
    "snapshot_every",
    "runtime",
    "cpuset",
    "pass_secrets",
    "limits",
    "llm",
];

/// Memory that a machine reports differs a little from kernel to kernel.
const MEMORY_UNIT: u64 = 1 << 29;

/// The pins of an experiment whose cells have these plans.
///
/// # Errors
/// A competition's data cannot be read.
pub(super) fn pins(
    experiment: &Experiment,
    arms: &[Arm],
    judge: &CatalogueJudge,
    hardware: &HardwareRecord,
) -> Result<Pins, CliError> {
    let mut pins = of_file(experiment);
    pins.insert("medalist".to_owned(), VERSION.to_owned());
    pins.insert("machine".to_owned(), machine(hardware));
    for arm in arms {
        let (plan, cell) = (&arm.plan, &arm.cell);
        let agent = &plan.agent;
        let of_agent = |what: &str| format!("{what} of agent `{}`", cell.agent);
        pins.insert(of_agent("files (SHA-256)"), agent.files_sha256.clone());
        pins.insert(of_agent("image"), agent.image.clone());
        pins.insert(of_agent("command"), agent.command.join(" "));
        pins.insert(of_agent("environment"), text(&serde_json::to_value(&agent.env)?));
        let attempts = &plan.attempts;
        let mut competitions: Vec<&str> =
            attempts.iter().map(|attempt| attempt.key.competition.as_str()).collect();
        competitions.sort_unstable();
        competitions.dedup();
        pins.insert(format!("competitions of suite `{}`", cell.suite), competitions.join(", "));
        for competition in competitions {
            if !pins.contains_key(&format!("brief of `{competition}` (SHA-256)")) {
                of_data(&mut pins, competition, judge)?;
            }
        }
        for (key, value) in of_run(plan)? {
            // What a budget sets is pinned with the budget.
            let name = match &cell.budget {
                Some(budget) if ["limits.timeout", "llm"].contains(&key.as_str()) => {
                    format!("{key} on budget `{budget}`")
                }
                _ => key,
            };
            pins.insert(name, value);
        }
    }
    Ok(pins)
}

/// What the file itself says.
fn of_file(experiment: &Experiment) -> Pins {
    let rule = &experiment.rule;
    let spending = rule.spending.map_or_else(|| "never".to_owned(), |s| format!("{s:?}"));
    let futility = rule.futility.map_or_else(|| "never".to_owned(), |power| power.to_string());
    let stages: Vec<String> = experiment.stages.iter().map(ToString::to_string).collect();
    let mut pins = Pins::from([
        ("compare".to_owned(), experiment.compare.to_string()),
        ("seeds after each stage".to_owned(), stages.join(", ")),
        ("alpha".to_owned(), rule.alpha.to_string()),
        ("stop.rule".to_owned(), spending),
        ("stop.futility".to_owned(), futility),
        ("cells".to_owned(), {
            let cells: Vec<String> = experiment.cells.iter().map(ToString::to_string).collect();
            cells.join("; ")
        }),
    ]);
    for model in &experiment.models {
        let roles = model.roles.iter().map(|(role, model)| format!("{role}={model}"));
        let all: Vec<String> = std::iter::once(model.model.clone()).chain(roles).collect();
        pins.insert(format!("model `{}`", model.name()), all.join(", "));
    }
    for budget in &experiment.budgets {
        let parts = budget
            .parts()
            .into_iter()
            .filter_map(|(what, value)| value.map(|value| format!("{what} {value}")));
        let parts: Vec<String> = parts.collect();
        pins.insert(format!("budget `{}`", budget.name), parts.join(", "));
    }
    pins
}

fn of_data(pins: &mut Pins, competition: &str, judge: &CatalogueJudge) -> Result<(), CliError> {
    let material = judge.material(competition).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint(format!("`medalist prepare -c {competition}` prepares it"))
    })?;
    let of = |what: &str| format!("{what} of `{competition}` (SHA-256)");
    pins.insert(of("brief"), material.brief_sha256);
    // Data that MLE-bench prepared have no manifest to hash.
    let data = material.data_sha256.unwrap_or_else(|| "no manifest".to_owned());
    pins.insert(of("prepared data"), data);
    pins.insert(format!("edition of the data of `{competition}`"), material.data_edition);
    Ok(())
}

/// What every cell shares of a plan; limits one by one, and settings of models by their hash.
fn of_run(plan: &Plan) -> Result<Pins, CliError> {
    let plan = serde_json::to_value(plan)?;
    let mut pins = Pins::new();
    for key in SHARED {
        match (key, plan.get(key)) {
            ("limits", Some(Value::Object(limits))) => {
                pins.extend(
                    limits.iter().map(|(name, value)| (format!("limits.{name}"), text(value))),
                );
            }
            ("llm", Some(llm)) if !llm.is_null() => {
                let settings = llm.get("settings").map(text).unwrap_or_default();
                let hash = hex::encode(Sha256::digest(settings.as_bytes()));
                pins.insert("llm".to_owned(), hash);
                if let Some(replay) = llm.get("replay") {
                    pins.insert("llm.replay".to_owned(), text(replay));
                }
            }
            (_, value) => {
                pins.insert(key.to_owned(), value.map(text).unwrap_or_default());
            }
        }
    }
    Ok(pins)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn machine(hardware: &HardwareRecord) -> String {
    let memory = (hardware.memory_bytes + MEMORY_UNIT / 2) / MEMORY_UNIT;
    let mut words = format!(
        "{}, {} processors, {:.1} GiB",
        hardware.cpu,
        hardware.cpu_count,
        memory as f64 / 2.0
    );
    for gpu in &hardware.gpus {
        words.push_str(&format!(", {gpu}"));
    }
    words
}

/// What differs from what was planned, in words; each with its name.
pub(super) fn changes(planned: &Pins, now: &Pins) -> Vec<String> {
    let mut names: Vec<&String> = planned.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| planned.get(*name) != now.get(*name))
        .map(|name| {
            let said =
                |pins: &Pins| pins.get(name).map_or("nothing".to_owned(), |v| format!("`{v}`"));
            format!("{name}: was {}, is {}", said(planned), said(now))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_its_name_with_both_values() {
        let pins = |pairs: &[(&str, &str)]| -> Pins {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let planned = pins(&[("alpha", "0.05"), ("medalist", "1"), ("old", "x")]);
        assert!(changes(&planned, &planned).is_empty());
        let now = pins(&[("alpha", "0.1"), ("medalist", "1"), ("new", "y")]);
        assert_eq!(
            changes(&planned, &now),
            ["alpha: was `0.05`, is `0.1`", "new: was nothing, is `y`", "old: was `x`, is nothing"]
        );
    }

    #[test]
    fn a_machine_is_itself_with_a_little_more_or_less_memory() {
        let with = |memory_bytes, gpus: &[&str]| {
            machine(&HardwareRecord {
                cpu: "A".into(),
                cpu_count: 4,
                memory_bytes,
                gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(),
                ..HardwareRecord::default()
            })
        };
        assert_eq!(with(16 << 30, &[]), with((16 << 30) - (3 << 20), &[]));
        assert_ne!(with(16 << 30, &[]), with(8 << 30, &[]));
        assert_ne!(with(16 << 30, &["H200"]), with(16 << 30, &[]));
    }
}
