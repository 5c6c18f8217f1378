//! What a leaderboard entry must disclose about how it was made.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::attempt::Attempt;
use crate::read::Reading;
use crate::record::{AttemptRecord, ConditionsRecord};
use crate::text;

/// The block in Markdown, one line a fact; facts that differ between attempts list every value.
pub fn markdown(reading: &Reading) -> String {
    let attempts: Vec<&Attempt> = reading.attempts().collect();
    let records: Vec<&AttemptRecord> =
        attempts.iter().filter_map(|a| a.record.as_deref()).collect();
    let missing = attempts.len() - records.len();
    let of = |get: &dyn Fn(&AttemptRecord) -> String| -> String {
        // A record without conditions, as other programs write it, has only their defaults.
        let told = |r: &AttemptRecord| match r.conditions == ConditionsRecord::default() {
            true => String::new(),
            false => get(r),
        };
        let mut values: BTreeSet<String> = records.iter().map(|r| told(r)).collect();
        let some_say_nothing = values.remove("") || missing > 0;
        let mut values: Vec<String> = values.iter().map(|value| text::markdown(value)).collect();
        if some_say_nothing && !values.is_empty() {
            values.push("not recorded for others".to_owned());
        }
        if values.is_empty() { "not recorded".to_owned() } else { values.join("; ") }
    };
    let agents: BTreeSet<&str> = reading.groups.iter().map(|group| group.agent.as_str()).collect();
    let backbones: BTreeSet<&str> = reading
        .groups
        .iter()
        .filter_map(|group| group.record.as_ref()?.agent.backbone.as_deref())
        .collect();
    let competitions: BTreeSet<&str> =
        attempts.iter().map(|a| a.key.competition.as_str()).collect();
    let join =
        |set: BTreeSet<&str>| set.into_iter().map(text::markdown).collect::<Vec<_>>().join(", ");
    let mut out = String::from("### Disclosure\n\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "- **{name}**: {value}");
    };
    line("Agent", join(agents));
    line("LLMs", if backbones.is_empty() { "not recorded".to_owned() } else { join(backbones) });
    line("Attempts", format!("{} on {} competitions", attempts.len(), competitions.len()));
    if missing > 0 {
        line(
            "Attempts without a record",
            format!(
                "{missing} of {}; how they were run is not known, and nothing below is said of them",
                attempts.len()
            ),
        );
    }
    let lost = records.iter().filter(|r| r.outcome.as_ref().is_some_and(|o| o.infrastructure));
    line(
        "Infrastructure failures",
        if records.is_empty() {
            "not recorded".to_owned()
        } else {
            format!("{} of {}", lost.count(), records.len())
        },
    );
    line("Edition of the data", of(&|r| r.conditions.data_edition.clone().unwrap_or_default()));
    line(
        "Time limit",
        of(&|r| {
            r.conditions
                .limits
                .time_s
                .map_or_else(|| "none".to_owned(), |time| text::duration(Some(time)))
        }),
    );
    line(
        "Processor",
        of(&|r| match r.conditions.hardware.cpu.as_str() {
            "" => String::new(),
            cpu => format!("{cpu} ({} logical)", r.conditions.hardware.cpu_count),
        }),
    );
    line(
        "Memory of the machine",
        of(&|r| match r.conditions.hardware.memory_bytes {
            0 => String::new(),
            bytes => text::bytes(bytes),
        }),
    );
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
    line(
        "Secrets handed to the agent",
        of(&|r| match r.conditions.secrets.as_deref() {
            None => String::new(),
            Some([]) => "none".to_owned(),
            Some(names) => names.join(", "),
        }),
    );
    line("Executor", of(&|r| r.conditions.executor.clone()));
    line("Limits that the kernel does not hold", of(&|r| not_held(r)));
    // The harness shows an agent nothing else; what an agent finds that is not sealed in, nobody
    // knows.
    line(
        "Feedback on the test set",
        of(&|r| {
            if r.conditions.harness_version.is_empty() {
                String::new()
            } else if r.conditions.sealed {
                "validity of the submission's format only; no scores".to_owned()
            } else {
                "validity of the submission's format; the agent was not sealed in, and what else it found is not known".to_owned()
            }
        }),
    );
    line("Validations asked for", validations(&records));
    line("Image", of(&|r| r.conditions.image_digest.clone().unwrap_or_default()));
    line("Agent package (SHA-256)", of(&|r| r.conditions.agent_sha256.clone().unwrap_or_default()));
    line(
        "Harness",
        of(&|r| match r.conditions.harness_version.as_str() {
            "" => String::new(),
            version => format!("medalist {version}"),
        }),
    );
    out
}

/// Limits of the machine's resources that are only measured, or held by nobody.
fn not_held(record: &AttemptRecord) -> String {
    let known = &record.conditions.enforcement;
    let words = known.iter().filter_map(|(limit, by)| match (limit.as_str(), by.as_str()) {
        // The clock is the harness's everywhere.
        ("timeout", _) | (_, "kernel") => None,
        (limit, "watched") => Some(format!("{limit} (measured)")),
        (limit, _) => Some(limit.to_owned()),
    });
    let words: Vec<String> = words.collect();
    match (known.is_empty(), words.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "none".to_owned(),
        (false, false) => words.join(", "),
    }
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
    fn nothing_is_said_of_attempts_without_a_record() {
        let mut reading = simulation().reading();
        for attempt in reading.groups.iter_mut().flat_map(|group| &mut group.attempts) {
            attempt.record = None;
            attempt.ending = crate::attempt::Ending::Unrecorded;
        }
        let text = markdown(&reading);
        for fact in ["Infrastructure failures", "Feedback on the test set", "Network", "Sealed"] {
            assert!(text.contains(&format!("- **{fact}**: not recorded\n")), "{text}");
        }
        assert!(text.contains("- **Attempts without a record**: 2 of 2;"), "{text}");
    }

    #[test]
    fn what_opened_the_seal_is_said_and_what_is_not_recorded_is_not() {
        let mut reading = simulation().reading();
        let of = |reading: &mut Reading, conditions: ConditionsRecord| {
            for attempt in reading.groups.iter_mut().flat_map(|group| &mut group.attempts) {
                attempt.record.as_mut().expect("simulated with records").conditions =
                    conditions.clone();
            }
            markdown(reading)
        };
        let text = of(
            &mut reading,
            ConditionsRecord {
                executor: "process".into(),
                network: "open".into(),
                mounts: vec!["/srv/weights:/home/weights".into()],
                secrets: Some(vec!["API_KEY".into()]),
                harness_version: "1.2.3".into(),
                enforcement: [
                    ("cpus", "none"),
                    ("memory", "watched"),
                    ("pids", "kernel"),
                    ("timeout", "watched"),
                ]
                .map(|(limit, by)| (limit.to_owned(), by.to_owned()))
                .into(),
                ..ConditionsRecord::default()
            },
        );
        for line in [
            "- **Limits that the kernel does not hold**: cpus, memory (measured)\n",
            "- **Network**: open\n",
            "- **Sealed**: no\n",
            "- **Executor**: process\n",
            "- **Mounted from the machine**: /srv/weights:/home/weights\n",
            "- **Feedback on the test set**: validity of the submission's format; the agent was not sealed in",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(
            text.contains("- **Secrets handed to the agent**: API_KEY\n")
                && !text.contains("machine**: none\n"),
            "{text}"
        );
        let text = of(&mut reading, ConditionsRecord::default());
        for fact in [
            "Time limit",
            "Network",
            "Sealed",
            "Mounted from the machine",
            "Secrets handed to the agent",
        ] {
            assert!(text.contains(&format!("- **{fact}**: not recorded\n")), "{fact}: {text}");
        }
    }

    fn simulation() -> Simulation {
        Simulation {
            agent: "a".into(),
            competitions: 2,
            seeds: 1,
            shift: 0.0,
            infrastructure: 0.0,
            truth: 1,
            draw: 1,
        }
    }

    #[test]
    fn every_fact_has_a_line_and_differing_values_are_all_named() {
        let mut reading = simulation().reading();
        let record = reading.groups[0].attempts[0].record.as_mut().expect("simulated with records");
        record.conditions.network = "open".into();
        let text = markdown(&reading);
        assert!(text.contains("- **Network**: open; sealed\n"), "{text}");
        assert!(text.contains("- **GPU models**: not recorded\n"), "{text}");
        assert!(text.contains("- **Time limit**: 24 h 00 min\n"), "{text}");
    }
}
