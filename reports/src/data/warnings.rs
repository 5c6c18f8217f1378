//! What a reader of a report must know before comparing: attempts that are not alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{AgentReport, AttemptReport};
use crate::attempt::Attempt;
use crate::read::Group;
use crate::record::ConditionsRecord;

/// Suites that differ within one agent's groups, which gives some competitions more attempts than
/// others.
pub(super) fn different_suites(groups: &[&Group]) -> Option<String> {
    let suites: BTreeSet<&str> =
        groups.iter().filter_map(|group| group.record.as_ref()?.suite.as_deref()).collect();
    let names = suites.iter().copied().collect::<Vec<_>>().join(", ");
    (suites.len() > 1).then(|| {
        format!("its run groups are of different suites ({names}): competitions in several of them have more attempts")
    })
}

/// Groups on a suite in a file whose limits were not kept.
pub(super) fn suites_not_kept(groups: &[Group]) -> Vec<String> {
    groups
        .iter()
        .filter_map(|group| {
            let record = group.record.as_ref()?;
            let file = record.suite_file.as_ref().filter(|file| !file.departures.is_empty())?;
            Some(format!(
                "`{}` did not keep the limits of the suite `{}`: {}",
                group.id,
                record.suite.as_deref().unwrap_or_default(),
                file.departures.join("; ")
            ))
        })
        .collect()
}

/// A condition that readers must know of, and how its value is told.
type Facet = (&'static str, fn(&ConditionsRecord) -> String);

const FACETS: [Facet; 10] = [
    ("edition of the data", |c| c.data_edition.clone().unwrap_or_else(|| "unknown".to_owned())),
    ("brief", |c| match c.is_obfuscated() {
        true => "obfuscated".to_owned(),
        false => "plain".to_owned(),
    }),
    ("executor", |c| c.executor.clone()),
    ("network", |c| c.network.clone()),
    ("time limit", |c| c.limits.time_s.map_or("none".to_owned(), |s| format!("{s} s"))),
    ("memory limit", |c| c.limits.memory_bytes.map_or("none".to_owned(), |b| format!("{b} bytes"))),
    ("GPUs", |c| c.limits.gpus.to_string()),
    ("agent package", |c| short(c.agent_sha256.as_deref())),
    ("image", |c| short(c.image_digest.as_deref())),
    ("processor", |c| c.hardware.cpu.clone()),
];

/// Conditions that differ within one agent's attempts, which makes their mean a mix.
pub(super) fn mixed_conditions(attempts: &[&Attempt]) -> Vec<String> {
    FACETS
        .iter()
        .filter_map(|(name, of)| {
            let values: BTreeSet<String> = attempts
                .iter()
                .filter_map(|a| a.record.as_ref())
                .map(|r| of(&r.conditions))
                .collect();
            (values.len() > 1).then(|| {
                format!(
                    "attempts differ in {name} ({})",
                    values.into_iter().collect::<Vec<_>>().join(", ")
                )
            })
        })
        .collect()
}

/// A condition in which attempts differ.
#[derive(Debug, Serialize)]
pub(crate) struct Difference<'a> {
    name: &'static str,
    /// Its values, each with the attempts that ran under it and their agents.
    values: Vec<Value<'a>>,
}

#[derive(Debug, Serialize)]
struct Value<'a> {
    value: String,
    attempts: usize,
    agents: BTreeSet<&'a str>,
}

/// The conditions in which attempts of several agents differ, as far as they are recorded.
pub(crate) fn differences<'a>(
    attempts: impl Iterator<Item = &'a AttemptReport> + Clone,
) -> Vec<Difference<'a>> {
    let of_facet = |(name, of): &Facet| {
        let mut values: BTreeMap<String, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for attempt in attempts.clone() {
            let Some(conditions) = &attempt.conditions else { continue };
            let (count, agents) = values.entry(of(conditions)).or_default();
            *count += 1;
            agents.insert(&attempt.key.agent);
        }
        (values.len() > 1).then(|| Difference {
            name,
            values: values
                .into_iter()
                .map(|(value, (attempts, agents))| Value { value, attempts, agents })
                .collect(),
        })
    };
    FACETS.iter().filter_map(of_facet).collect()
}

fn short(hash: Option<&str>) -> String {
    let hash = hash.unwrap_or("unknown");
    hash.strip_prefix("sha256:").unwrap_or(hash).chars().take(12).collect()
}

pub(super) fn uneven_coverage(agents: &[(AgentReport, Vec<&Attempt>)]) -> Option<String> {
    let sets: BTreeSet<BTreeSet<&str>> = agents
        .iter()
        .map(|(_, attempts)| attempts.iter().map(|a| a.key.competition.as_str()).collect())
        .collect();
    (sets.len() > 1).then(|| {
        "the agents were run on different competitions: their overall rates do not compare; use `medalist compare`, which pairs them"
            .to_owned()
    })
}

/// A warning about attempts whose agents were not told where a competition comes from.
pub fn obfuscated_briefs<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Option<String> {
    let (mut all, mut obfuscated) = (0, 0);
    for attempt in attempts {
        all += 1;
        let record = attempt.record.as_ref();
        obfuscated += usize::from(record.is_some_and(|record| record.conditions.is_obfuscated()));
    }
    (obfuscated > 0).then(|| {
        format!(
            "{obfuscated} of {all} attempts were given an obfuscated brief: they do not compare with published results, \
             nor with attempts on the plain one"
        )
    })
}

/// A warning about attempts on data that published results are not on.
pub fn other_data<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Option<String> {
    let mut on = BTreeMap::new();
    let (mut all, mut other) = (0, 0);
    for attempt in attempts {
        all += 1;
        if let Some(edition) =
            attempt.record.as_ref().and_then(|record| record.conditions.other_data())
        {
            other += 1;
            on.insert(attempt.key.competition.as_str(), edition);
        }
    }
    let (competition, edition) = on.first_key_value()?;
    let more = if on.len() > 1 {
        format!(" and {} more competitions", on.len() - 1)
    } else {
        String::new()
    };
    Some(format!(
        "{other} of {all} attempts ran on data that are not MLE-bench's (`{competition}`: {edition}{more}): they do not \
         compare with published results, nor with attempts on the other edition"
    ))
}
