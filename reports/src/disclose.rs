//! What a leaderboard entry must disclose about how it was made.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::attempt::Attempt;
use crate::read::Reading;
use crate::record::AttemptRecord;
use crate::text;

/// The block in Markdown, one line a fact; facts that differ between attempts list every value.
pub fn markdown(reading: &Reading) -> String {
    let attempts: Vec<&Attempt> = reading.attempts().collect();
    let records: Vec<&AttemptRecord> =
        attempts.iter().filter_map(|a| a.record.as_deref()).collect();
    let of = |get: &dyn Fn(&AttemptRecord) -> String| -> String {
        let values: BTreeSet<String> =
            records.iter().map(|r| get(r)).filter(|value| !value.is_empty()).collect();
        if values.is_empty() {
            "not recorded".to_owned()
        } else {
            values.into_iter().collect::<Vec<_>>().join("; ")
        }
    };
    let agents: BTreeSet<&str> = reading.groups.iter().map(|group| group.agent.as_str()).collect();
    let backbones: BTreeSet<&str> = reading
        .groups
        .iter()
        .filter_map(|group| group.record.as_ref()?.agent.backbone.as_deref())
        .collect();
    let competitions: BTreeSet<&str> =
        attempts.iter().map(|a| a.key.competition.as_str()).collect();
    let join = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(", ");
    let mut out = String::from("### Disclosure\n\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "- **{name}**: {value}");
    };
    line("Agent", join(agents));
    line("LLMs", if backbones.is_empty() { "not recorded".to_owned() } else { join(backbones) });
    line("Attempts", format!("{} on {} competitions", attempts.len(), competitions.len()));
    line(
        "Infrastructure failures",
        format!(
            "{} of {}",
            attempts.iter().filter(|a| a.is_infrastructure()).count(),
            attempts.len()
        ),
    );
    line("Edition of the data", of(&|r| r.conditions.data_edition.clone().unwrap_or_default()));
    line("Time limit", of(&|r| text::duration(r.conditions.limits.time_s)));
    line(
        "Processor",
        of(&|r| {
            format!("{} ({} logical)", r.conditions.hardware.cpu, r.conditions.hardware.cpu_count)
        }),
    );
    line("Memory of the machine", of(&|r| text::bytes(r.conditions.hardware.memory_bytes)));
    line("GPUs handed to an attempt", of(&|r| r.conditions.limits.gpus.to_string()));
    line(
        "Attempts that share a GPU",
        of(&|r| r.conditions.limits.gpu_share.unwrap_or(1).to_string()),
    );
    line("GPU models", of(&|r| r.conditions.hardware.gpus.join(", ")));
    line("GPU driver", of(&|r| r.conditions.hardware.gpu_driver.clone().unwrap_or_default()));
    line("Kernel", of(&|r| r.conditions.hardware.kernel.clone()));
    line("Network", of(&|r| network(r)));
    line("Sealed", of(&|r| if r.conditions.sealed { "yes" } else { "no" }.to_owned()));
    line(
        "Mounted from the machine",
        of(&|r| match r.conditions.mounts.as_slice() {
            [] => "nothing".to_owned(),
            mounts => mounts.join(", "),
        }),
    );
    line("Executor", of(&|r| r.conditions.executor.clone()));
    line(
        "Feedback on the test set",
        "validity of the submission's format only; scores are never shown".to_owned(),
    );
    line("Validations asked for", validations(&records));
    line("Image", of(&|r| r.conditions.image_digest.clone().unwrap_or_default()));
    line("Agent package (SHA-256)", of(&|r| r.conditions.agent_sha256.clone().unwrap_or_default()));
    line("Harness", of(&|r| format!("medalist {}", r.conditions.harness_version)));
    out
}

fn network(record: &AttemptRecord) -> String {
    let conditions = &record.conditions;
    match conditions.network.as_str() {
        "allowlist" => format!("allowlist: {}", conditions.network_hosts.join(", ")),
        mode => mode.to_owned(),
    }
}

fn validations(records: &[&AttemptRecord]) -> String {
    let counts: Vec<u64> = records.iter().filter_map(|r| r.validations).collect();
    match counts.iter().max() {
        None => "not recorded".to_owned(),
        Some(most) => {
            format!("{} in all, at most {most} in one attempt", counts.iter().sum::<u64>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulation;

    #[test]
    fn every_fact_has_a_line_and_differing_values_are_all_named() {
        let simulation = Simulation {
            agent: "a".into(),
            competitions: 2,
            seeds: 1,
            shift: 0.0,
            infrastructure: 0.0,
            truth: 1,
            draw: 1,
        };
        let mut reading = simulation.reading();
        let record = reading.groups[0].attempts[0].record.as_mut().expect("simulated with records");
        record.conditions.network = "open".into();
        let text = markdown(&reading);
        assert!(text.contains("- **Network**: open; sealed\n"), "{text}");
        assert!(text.contains("- **GPU models**: not recorded\n"), "{text}");
        assert!(text.contains("- **Time limit**: 24 h 00 min\n"), "{text}");
    }
}
