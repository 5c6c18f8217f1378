//! Conditions that differ between the two sides, each with what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConditionDifference, Pair, Weight};
use crate::attempt::Attempt;
use crate::record::ConditionsRecord;

/// Condition, weight, whether it belongs to a competition, and its value in words.
type Facet = (&'static str, Weight, bool, fn(&ConditionsRecord) -> String);

const FACETS: [Facet; 19] = [
    ("brief", Weight::Refused, true, |c| known_or(c.brief_sha256.as_deref())),
    ("prepared data", Weight::Refused, true, |c| known_or(c.data_sha256.as_deref())),
    ("edition of the data", Weight::Refused, true, |c| known_or(c.data_edition.as_deref())),
    ("time limit (s)", Weight::Refused, true, |c| {
        c.limits.time_s.map_or("none".into(), |s| s.to_string())
    }),
    ("network", Weight::Refused, false, |c| {
        format!("{} {}", c.network, c.network_hosts.join(" ")).trim().to_owned()
    }),
    ("memory limit (bytes)", Weight::Flagged, false, |c| {
        c.limits.memory_bytes.map_or("none".into(), |b| b.to_string())
    }),
    ("processors", Weight::Flagged, false, |c| {
        c.limits.cpus.map_or("none".into(), |n| n.to_string())
    }),
    ("GPUs handed out", Weight::Flagged, false, |c| c.limits.gpus.to_string()),
    ("attempts on a GPU", Weight::Flagged, false, |c| c.limits.gpu_share.unwrap_or(1).to_string()),
    ("mounted directories", Weight::Flagged, false, |c| {
        if c.mounts.is_empty() { "none".into() } else { c.mounts.join(", ") }
    }),
    ("secrets handed over", Weight::Flagged, false, |c| match c.secrets.as_deref() {
        None => "unknown".into(),
        Some([]) => "none".into(),
        Some(names) => names.join(", "),
    }),
    ("executor", Weight::Flagged, false, |c| c.executor.clone()),
    ("sealed", Weight::Flagged, false, |c| c.sealed.to_string()),
    ("processor model", Weight::Flagged, false, |c| c.hardware.cpu.clone()),
    ("GPU models", Weight::Flagged, false, |c| c.hardware.gpus.join(", ")),
    ("GPU driver", Weight::Flagged, false, |c| {
        c.hardware.gpu_driver.clone().unwrap_or_else(|| "none".into())
    }),
    ("harness version", Weight::Flagged, false, |c| c.harness_version.clone()),
    ("image", Weight::Expected, false, |c| known_or(c.image_digest.as_deref())),
    ("agent package", Weight::Expected, false, |c| known_or(c.agent_sha256.as_deref())),
];

fn known_or(value: Option<&str>) -> String {
    value.unwrap_or("unknown").to_owned()
}

pub(super) fn condition_differences(pairs: &BTreeMap<&str, Pair<'_>>) -> Vec<ConditionDifference> {
    let seen = |attempts: &[&Attempt], of: fn(&ConditionsRecord) -> String| -> BTreeSet<String> {
        attempts.iter().filter_map(|a| a.record.as_ref()).map(|r| of(&r.conditions)).collect()
    };
    let mut differences = Vec::new();
    for (condition, weight, per_competition, of) in FACETS {
        let mut all = (BTreeSet::new(), BTreeSet::new());
        for (id, (b, c)) in pairs {
            let (b, c) = (seen(b, of), seen(c, of));
            // Foreign reports say nothing on conditions, and an unknown value proves no difference.
            let silent =
                |side: &BTreeSet<String>| side.is_empty() || side.iter().all(|v| v == "unknown");
            if per_competition && !silent(&b) && !silent(&c) && b != c {
                differences.push(ConditionDifference {
                    condition: condition.to_owned(),
                    baseline: b.iter().cloned().collect(),
                    candidate: c.iter().cloned().collect(),
                    competition: Some((*id).to_owned()),
                    weight,
                });
            }
            all.0.extend(b);
            all.1.extend(c);
        }
        if !per_competition && !all.0.is_empty() && !all.1.is_empty() && all.0 != all.1 {
            differences.push(ConditionDifference {
                condition: condition.to_owned(),
                baseline: all.0.into_iter().collect(),
                candidate: all.1.into_iter().collect(),
                competition: None,
                weight,
            });
        }
    }
    let recorded = |side: fn(&Pair<'_>) -> bool| pairs.values().any(side);
    let (b, c) = (
        recorded(|p| p.0.iter().any(|a| a.record.is_some())),
        recorded(|p| p.1.iter().any(|a| a.record.is_some())),
    );
    if !(b && c) {
        let word = |known: bool| vec![if known { "recorded" } else { "not recorded" }.to_owned()];
        differences.push(ConditionDifference {
            condition: "conditions".to_owned(),
            baseline: word(b),
            candidate: word(c),
            competition: None,
            weight: Weight::Flagged,
        });
    }
    differences
}
