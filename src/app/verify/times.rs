//! Times, limits and the network of a group.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use medalist_reports::record::{AttemptRecord, OutcomeKind};

use super::claim::{Check, Claim, Verdict};
use super::group::{Attempt, Group};
use crate::attempt::limits::GpuRequest;
use crate::run::planned_conditions;
use crate::sandbox::services::allowlist::{self, Asked};

/// Between two clocks readings of one moment.
const SLACK: TimeDelta = TimeDelta::seconds(2);
/// From an agent's deadline to its end on a busy machine: the init ends it a minute late at most.
const LATE_S: f64 = 90.0;
/// From the start of the agent's phase to that of its clock.
const START_S: f64 = 60.0;
/// An attempt that ran on so long was told to stop.
const OVER_S: f64 = 5.0;
/// A silence in the log that is shown.
const SILENCE_S: f64 = 600.0;

/// Times agree with each other and with the limits.
pub(super) fn times(group: &Group<'_>) -> Claim {
    let mut check = Check::new("times", "times are possible, in order and within the limit");
    check.holds(
        Verdict::Consistent,
        "they agree with each other; that the clock was right, nobody but the machine has seen",
    );
    for log in &group.told.logs {
        for what in &log.backwards {
            check.wrong(format!("`{}`: {what}", log.name));
        }
        let early = log.first.is_some_and(|first| first + SLACK < group.plan.created_at);
        check.expect(!early, || format!("`{}` begins before the plan was made", log.name));
        if log.silence_s > SILENCE_S {
            let minutes = log.silence_s / 60.0;
            check.note(format!("`{}` is silent for {minutes:.0} min while agents ran", log.name));
        }
    }
    for attempt in &group.attempts {
        if let Some(record) = &attempt.record {
            attempt_times(group, attempt, record, &mut check);
        }
    }
    gpus(group, &mut check);
    check.claim()
}

fn attempt_times(group: &Group<'_>, attempt: &Attempt, record: &AttemptRecord, check: &mut Check) {
    let key = &attempt.planned.key;
    let limits = &group.plan.limits;
    let told = group.told.attempts.get(key);
    let mut before = Some(group.plan.created_at);
    for one in &record.tries {
        let (number, started) = (one.number, one.started_at);
        check.expect(started.zip(before).is_none_or(|(at, before)| at + SLACK >= before), || {
            format!("try {number} of {key} begins before what came before it")
        });
        let start = told.and_then(|told| told.tries.get(&number));
        if let (Some(at), Some(start)) = (started, start) {
            // Written down before it is told; on other machines by other clocks.
            let apart = (start.at - at).abs() > TimeDelta::seconds(60) + SLACK;
            check.expect(!apart || one.node.is_some(), || {
                format!("try {number} of {key} begins at {at}, and at {} by the log", start.at)
            });
        }
        before = started;
    }
    let Some(last) = record.tries.last() else { return };
    let took_s = record.took_s.unwrap_or(0.0);
    check.expect(took_s.is_finite() && took_s >= 0.0, || format!("{key} took {took_s} s"));
    check.expect(last.took_s.is_none() || last.took_s == record.took_s, || {
        format!("the last try of {key} took another time than {key}")
    });
    let took = TimeDelta::try_milliseconds((took_s * 1e3) as i64).unwrap_or(TimeDelta::MAX);
    if let Some((began, ended)) = last.started_at.zip(record.ended_at) {
        check.expect(ended - began + SLACK >= took, || {
            let span = (ended - began).as_seconds_f64();
            format!("{key} took {took_s:.1} s of the {span:.1} s from its start to its end")
        });
        let of_agent = record.phases.iter().filter(|phase| phase.name.as_str() == "agent");
        let agent: f64 = of_agent.map(|phase| phase.took_s).sum();
        check.expect(agent <= took_s + START_S, || {
            format!("{key} took {took_s:.1} s, and its agent ran for {agent:.1} s")
        });
    }
    if let Some((start, end)) =
        told.and_then(|told| told.tries.get(&last.number).zip(told.ends.last()))
    {
        check.expect(end.at - start.at + SLACK >= took, || {
            let span = (end.at - start.at).as_seconds_f64();
            format!(
                "{key} took {took_s:.1} s, and the log has {span:.1} s from its start to its end"
            )
        });
        check.expect(record.ended_at.is_none_or(|at| at <= end.at + SLACK), || {
            format!("{key} ended after the log tells of it")
        });
        let limit = limits.timeout.as_secs_f64();
        check.expect((start.timeout_s - limit).abs() < 1e-3, || {
            format!("{key} ran under a limit of {} s, and {limit} s are planned", start.timeout_s)
        });
    }
    let llm = record.llm.as_ref().filter(|llm| llm.clock_paused);
    let held_s = llm.map_or(0.0, |llm| llm.held_s);
    let limit = limits.timeout.as_secs_f64() + held_s;
    let most = limit + limits.grace.as_secs_f64() + LATE_S;
    check.expect(took_s <= most, || format!("{key} took {took_s:.1} s of {limit:.1} s"));
    let in_time = record.outcome.as_ref().is_some_and(|it| it.kind == OutcomeKind::Finished);
    check.expect(!in_time || took_s <= limit + OVER_S, || {
        format!("{key} ended by itself after {took_s:.1} s of {limit:.1} s")
    });
    for snapshot in &record.snapshots {
        check.expect(snapshot.after_s <= took_s + OVER_S + SLACK.as_seconds_f64(), || {
            format!(
                "a copy of {key} was taken after {:.0} s, and it took {took_s:.0} s",
                snapshot.after_s
            )
        });
    }
}

/// No GPU was used by more attempts at once than are said to share it.
fn gpus(group: &Group<'_>, check: &mut Check) {
    let share = group.plan.gpu_share.max(1) as usize;
    let mut uses: BTreeMap<&str, Vec<(DateTime<Utc>, i8, String)>> = BTreeMap::new();
    for attempt in &group.attempts {
        let Some(record) = &attempt.record else { continue };
        for one in &record.tries {
            let (Some(began), Some(took_s)) = (one.started_at, one.took_s) else { continue };
            let took = TimeDelta::try_milliseconds((took_s * 1e3) as i64).unwrap_or_default();
            for gpu in &one.gpus {
                let uses = uses.entry(&gpu.uuid).or_default();
                let name = attempt.planned.key.to_string();
                uses.push((began + SLACK, 1, name.clone()));
                uses.push(((began + took - SLACK).max(began + SLACK), -1, name));
            }
        }
        let planned = attempt.planned.gpus.as_ref().unwrap_or(&group.plan.gpus);
        let wanted = match planned {
            GpuRequest::None => Some(0),
            GpuRequest::Count(count) => Some(*count as usize),
            GpuRequest::Uuids(uuids) => Some(uuids.len()),
            GpuRequest::All => None,
        };
        let last = record.tries.last().filter(|last| last.outcome.is_some());
        let started = last.is_some_and(|last| last.took_s.is_some_and(|took_s| took_s > 0.0));
        if let (Some(wanted), Some(last), true) = (wanted, last, started) {
            check.expect(last.gpus.len() == wanted, || {
                let (key, has) = (&attempt.planned.key, last.gpus.len());
                format!("{key} had {has} GPUs, and {wanted} are planned")
            });
        }
    }
    for (uuid, mut uses) in uses {
        uses.sort();
        let mut now: Vec<String> = Vec::new();
        for (_, step, name) in uses {
            match step {
                1 => now.push(name),
                _ => {
                    if let Some(at) = now.iter().position(|one| *one == name) {
                        now.remove(at);
                    }
                }
            }
            check.expect(now.len() <= share, || {
                format!(
                    "{} had the GPU {uuid} at once, and {share} may share it",
                    now.join(" and ")
                )
            });
        }
    }
}

/// Limits, network and seal are those of the plan.
pub(super) fn conditions(group: &Group<'_>) -> Claim {
    let mut check =
        Check::new("conditions", "limits, network, seal and machine are as planned, for all alike");
    check.holds(
        Verdict::Consistent,
        "records, log and plan agree; that they were held, the program that ran the attempts says",
    );
    for session in group.told.logs.iter().flat_map(|log| &log.sessions) {
        let plan = &group.plan;
        check.expect(session.executor == plan.executor.to_string(), || {
            format!("a harness ran with the executor `{}`", session.executor)
        });
        check.expect(!session.sealed || plan.is_sealed(plan.executor.has_containers()), || {
            "a harness called attempts sealed, and the plan opens the seal".to_owned()
        });
        check.expect(session.group == plan.group && session.agent == plan.agent.id, || {
            format!("a harness ran `{}` of the agent `{}`", session.group, session.agent)
        });
    }
    let mut lax: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in &group.attempts {
        let Some(record) = &attempt.record else { continue };
        let (key, has) = (&attempt.planned.key, &record.conditions);
        let mut planned = planned_conditions(&group.plan, &attempt.planned);
        if matches!(attempt.planned.gpus.as_ref().unwrap_or(&group.plan.gpus), GpuRequest::All) {
            planned.limits.gpus = has.limits.gpus;
        }
        let mut same = |what: &str, is_same: bool| {
            check.expect(is_same, || format!("{key} had another {what} than the plan"));
        };
        same("executor", has.executor == planned.executor);
        same("network", has.network == planned.network);
        same("list of hosts", has.network_hosts == planned.network_hosts);
        same("set of limits", has.limits == planned.limits);
        same("set of mounts", has.mounts == planned.mounts);
        same("set of secrets", has.secrets == planned.secrets);
        let is_obfuscated = |source: &String| source.ends_with("+obfuscated");
        let wanted = !group.plan.brief.is_plain();
        same("kind of brief", has.brief_source.as_ref().is_none_or(|s| is_obfuscated(s) == wanted));
        same("agent", has.agent_sha256 == planned.agent_sha256);
        same("seal", !has.sealed || planned.sealed);
        same("competition", record.competition == attempt.planned.competition);
        if let Some(data) = &has.data_sha256 {
            let claimed = group.claim.data.get(&key.competition);
            same(
                "edition of the data in the manifest",
                claimed.is_some_and(|it| it.contains(data)),
            );
        }
        if let Some(image) = &has.image_digest {
            same("image in the manifest", group.claim.images.contains(image));
        }
        for (limit, by) in has.enforcement.iter().filter(|(_, by)| *by != "kernel") {
            *lax.entry(format!("the limit `{limit}` was {by}")).or_default() += 1;
        }
        connections(attempt, record, &mut check);
    }
    for (what, count) in lax {
        check.note(format!("{what} for {count} attempts"));
    }
    check.claim()
}

/// The proxy let nothing through that is not on the list.
fn connections(attempt: &Attempt, record: &AttemptRecord, check: &mut Check) {
    let path = attempt.work.network_log();
    if !path.is_file() {
        return;
    }
    let key = &attempt.planned.key;
    let hosts = &record.conditions.network_hosts;
    let read = crate::run::sinks::jsonl::lines(&path, |line| {
        let Some(asked) = Asked::read(line) else { return };
        if asked.connected {
            let target = &asked.target;
            check.expect(allowlist::lists(hosts, target), || {
                format!("{key} was connected to `{target}`, which is not on its list")
            });
        }
    });
    if let Err(error) = read {
        check.open(format!("the connections of {key} cannot be read: {error}"));
    }
}
