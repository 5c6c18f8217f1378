//! What a leaderboard entry must disclose about how it was made.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::attempt::Attempt;
use crate::read::Reading;
use crate::record::{AttemptRecord, ConditionsRecord, LlmRecord, LlmTotals};
use crate::text;

/// MLE-bench's disclosure form with what was recorded, in Markdown, and below it one line a fact; facts
/// that differ between attempts list every value. What no record says is "not recorded".
pub fn markdown(reading: &Reading) -> String {
    let mut out = form(reading);
    facts(reading, &mut out);
    out
}

/// The statement of MLE-bench's pull request template.
const STATEMENT: &str = "The scaffold/harness used in this leaderboard submission does not expose to the agent signals derived from the held-out test set during rollouts.";

/// The form of MLE-bench's pull request template. The statement is ticked if the records of all attempts
/// bear it out.
fn form(reading: &Reading) -> String {
    let attempts: Vec<&Attempt> = reading.attempts().collect();
    let sealed = attempts.iter().filter(|attempt| {
        let conditions = attempt.record.as_ref().map(|record| &record.conditions);
        conditions.is_some_and(|it| it.sealed && !it.harness_version.is_empty())
    });
    let (sealed, all) = (sealed.count(), attempts.len());
    let tick = if sealed == all && all > 0 { "x" } else { " " };
    let mut out = format!("## Leaderboard Submission Disclosure\n\n- [{tick}] {STATEMENT}\n");
    let _ = match (sealed, all) {
        (sealed, all) if sealed == all && all > 0 => writeln!(
            out,
            "  - recorded of all {all} attempts: they were sealed in, and heard whether a submission's format is valid, and nothing else of the test set"
        ),
        (sealed, all) => writeln!(
            out,
            "  - recorded of {sealed} of {all} attempts; the others were not sealed in or have no record, and what they found is not known"
        ),
    };
    out.push('\n');
    out
}

/// Days on which attempts began, from the first to the last.
fn dates(reading: &Reading) -> Option<String> {
    let began = |attempt: &Attempt| attempt.record.as_ref().and_then(|record| record.started_at);
    let days = reading.attempts().filter_map(began).map(|at| at.date_naive());
    let days: BTreeSet<chrono::NaiveDate> = days.collect();
    let (first, last) = (days.first()?, days.last()?);
    Some(if first == last { first.to_string() } else { format!("{first} to {last}") })
}

/// What the attempts' calls of language models came to, a line each.
fn llm_lines(records: &[&AttemptRecord]) -> Vec<(&'static str, String)> {
    let llm: Vec<&LlmRecord> = records.iter().filter_map(|record| record.llm.as_ref()).collect();
    if llm.is_empty() {
        return Vec::new();
    }
    let mut totals = LlmTotals::default();
    llm.iter().for_each(|one| totals.add(&one.with_earlier_tries()));
    let models: BTreeSet<&str> =
        llm.iter().flat_map(|one| one.models.keys()).map(String::as_str).collect();
    let words = |get: &dyn Fn(&LlmRecord) -> String| {
        let values: BTreeSet<String> = llm.iter().map(|one| get(one)).collect();
        values.iter().map(|value| text::markdown(value)).collect::<Vec<_>>().join("; ")
    };
    let models: Vec<String> = models.into_iter().map(text::markdown).collect();
    let calls = format!(
        "{} in {} attempts, {} tokens read and {} written",
        totals.calls,
        llm.len(),
        totals.tokens.sent(),
        totals.tokens.received()
    );
    let none = || "none".to_owned();
    vec![
        ("Models called", if models.is_empty() { none() } else { models.join(", ") }),
        ("Calls of language models", calls),
        ("Cost of language models", text::cost(Some(totals.cost()))),
        ("Table of prices", words(&|one| one.prices.clone().unwrap_or_else(none))),
        ("Tools that providers run", words(&|one| one.hosted_tools.clone())),
        (
            "Answered from a recording",
            words(&|one| one.replay_of.clone().unwrap_or_else(|| "no".to_owned())),
        ),
    ]
}

/// Tries that a failing machine or a person ended.
fn repeated(records: &[&AttemptRecord]) -> String {
    let again: usize = records.iter().map(|record| record.tries.len().saturating_sub(1)).sum();
    match (records.is_empty(), again) {
        (true, _) => "not recorded".to_owned(),
        (false, 0) => "none".to_owned(),
        (false, again) => format!("{again} in {} attempts", records.len()),
    }
}

fn facts(reading: &Reading, out: &mut String) {
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
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "- **{name}**: {value}");
    };
    line("Agent", join(agents));
    line("LLMs", if backbones.is_empty() { "not recorded".to_owned() } else { join(backbones) });
    line("Attempts", format!("{} on {} competitions", attempts.len(), competitions.len()));
    let seeds: BTreeSet<u32> = attempts.iter().map(|a| a.key.seed).collect();
    line("Seeds", seeds.len().to_string());
    line("Date", dates(reading).unwrap_or_else(|| "not recorded".to_owned()));
    line("Tries made again", repeated(&records));
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
    let took: Vec<f64> = records.iter().filter_map(|r| r.took_s).collect();
    let longest = took.iter().copied().reduce(f64::max);
    let mean = longest.map(|_| took.iter().sum::<f64>() / took.len() as f64);
    line(
        "Running time",
        match longest {
            None => "not recorded".to_owned(),
            longest => {
                format!("{} on average, {} at most", text::duration(mean), text::duration(longest))
            }
        },
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
    line("Brief", of(&|r| r.conditions.brief_source.clone().unwrap_or_default()));
    let llm = llm_lines(&records);
    if llm.is_empty() {
        line("Calls of language models", "not recorded".to_owned());
    }
    for (name, value) in llm {
        line(name, value);
    }
    // What only who submits knows.
    for name in ["Source code available", "Grading reports available", "Seen before by the models"]
    {
        line(name, "not recorded".to_owned());
    }
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
    fn the_form_is_ticked_only_if_every_record_bears_it_out() {
        let mut reading = simulation().reading();
        for attempt in reading.groups.iter_mut().flat_map(|group| &mut group.attempts) {
            let record = attempt.record.as_mut().expect("simulated with records");
            record.conditions.sealed = true;
            record.conditions.harness_version = "1.2.3".to_owned();
        }
        assert!(
            markdown(&reading).contains(&format!("\n- [x] {STATEMENT}\n  - recorded of all 2"))
        );
        let record = reading.groups[0].attempts[0].record.as_mut().expect("simulated with records");
        record.conditions.sealed = false;
        assert!(
            markdown(&reading).contains(&format!("\n- [ ] {STATEMENT}\n  - recorded of 1 of 2"))
        );
        reading.groups.clear();
        assert!(markdown(&reading).contains("- [ ]"), "nothing bears out nothing");
    }

    #[test]
    fn every_fact_has_a_line_and_differing_values_are_all_named() {
        let mut reading = simulation().reading();
        let record = reading.groups[0].attempts[0].record.as_mut().expect("simulated with records");
        record.conditions.network = "open".into();
        let text = markdown(&reading);
        assert!(text.contains("- **Network**: open; sealed\n"), "{text}");
        assert!(text.contains("- **GPU models**: not recorded\n"), "{text}");
        assert!(text.contains("- **Source code available**: not recorded\n"), "{text}");
        assert!(text.contains("- **Seeds**: 1\n"), "{text}");
        assert!(text.contains("- **Time limit**: 24 h 00 min\n"), "{text}");
    }
}
