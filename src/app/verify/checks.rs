//! What a group says of itself, set against what else it says: plan, log, records, tries.

use std::collections::{BTreeMap, BTreeSet};

use medalist_competitions::{Catalogue, Suite};
use medalist_reports::record::{AttemptKey, OutcomeKind, OutcomeRecord};

use super::claim::{Check, Claim, Verdict};
use super::group::{Attempt, Group};
use super::log::{AttemptTold, Log};
use super::open::Opened;
use crate::run::events::{GradeLine, RunStats};

/// Two figures that were made of one.
const ALIKE: f64 = 1e-6;

fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= ALIKE * (1.0 + a.abs())
}

/// Every planned attempt is reported, and none was chosen.
pub(super) fn attempts(group: &Group<'_>, catalogue: Option<&Catalogue>) -> Claim {
    let mut check = Check::new("attempts", "every planned attempt is reported, none was chosen");
    let (plan, id) = (&group.plan, &group.claim.id);
    check.expect(plan.group == *id, || format!("the plan is of the group `{}`", plan.group));
    check.expect(group.claim.agent == plan.agent.id, || "the manifest names another agent".into());
    for what in &group.unreadable {
        check.wrong(what);
    }
    for folder in &group.unplanned {
        check.wrong(format!("`{folder}` is an attempt that the plan does not name"));
    }
    planned(group, catalogue, &mut check);
    match &group.record {
        Some(record) => {
            let planned = plan.attempts.iter().map(|attempt| (&attempt.key, attempt.dir.as_str()));
            let recorded = record.attempts.iter().map(|one| (&one.key, one.dir.as_str()));
            check.expect(planned.eq(recorded), || {
                "`group.json` has other attempts than the plan".to_owned()
            });
        }
        None => check.wrong("there is no `group.json`"),
    }
    for log in &group.told.logs {
        // A process of its own that makes one attempt counts that alone.
        let planned = if log.of_group { plan.attempts.len() } else { 1 };
        for session in log.sessions.iter().filter(|session| session.planned != planned) {
            let (name, told) = (&log.name, session.planned);
            check.wrong(format!("`{name}` tells of {told} planned attempts, expected {planned}"));
        }
    }
    let mut unfinished = 0;
    for attempt in &group.attempts {
        let key = &attempt.planned.key;
        let told = group.told.attempts.get(key);
        match &attempt.record {
            Some(record) => {
                check.expect(record.key == *key && record.group == plan.group, || {
                    format!("the record of {key} is of another attempt: {}", record.key)
                });
                unfinished += usize::from(record.outcome.is_none());
            }
            None if told.is_some() => {
                check.wrong(format!("{key} was started, and there is no record of it"));
            }
            None => unfinished += 1,
        }
    }
    let planned: BTreeSet<&AttemptKey> = plan.attempts.iter().map(|one| &one.key).collect();
    for key in group.told.attempts.keys().filter(|key| !planned.contains(key)) {
        check.wrong(format!("{key} was started, and the plan does not name it"));
    }
    if unfinished > 0 {
        let total = plan.attempts.len();
        check.note(format!("{unfinished} of {total} attempts have no end; they count as no medal"));
    }
    let (verdict, reason) = match witnessed(group, 0) {
        true => (Verdict::Verified, "the plan stands at the head of a chain that you have seen"),
        false => (
            Verdict::Consistent,
            "nobody outside has seen the plan before the run; other groups that were made and not shown cannot be known",
        ),
    };
    check.holds(verdict, reason);
    check.claim()
}

/// The plan has the same seeds of every competition, and every competition of its suite.
fn planned(group: &Group<'_>, catalogue: Option<&Catalogue>, check: &mut Check) {
    let mut seeds: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for attempt in &group.plan.attempts {
        let key = &attempt.key;
        check.expect(seeds.entry(&key.competition).or_default().insert(key.seed), || {
            format!("{key} is planned twice")
        });
        check.expect(key.agent == group.plan.agent.id, || format!("{key} is of another agent"));
    }
    let most = seeds.values().map(BTreeSet::len).max().unwrap_or(0) as u32;
    for (competition, seeds) in &seeds {
        let missing: Vec<u32> = (0..most).filter(|seed| !seeds.contains(seed)).collect();
        check.expect(missing.is_empty(), || {
            format!("`{competition}` has no seed {}, and other competitions have", list(&missing))
        });
    }
    suite(group, catalogue, &seeds, check);
}

/// All competitions of the suite are there.
fn suite(
    group: &Group<'_>,
    catalogue: Option<&Catalogue>,
    seeds: &BTreeMap<&str, BTreeSet<u32>>,
    check: &mut Check,
) {
    let Some(name) = &group.plan.suite else {
        check.note("competitions were named one by one, so that the choice of them shows nothing");
        return;
    };
    let (Some(catalogue), Ok(suite)) = (catalogue, name.parse::<Suite>()) else {
        check.open(format!("the suite `{name}` is not known here"));
        return;
    };
    for spec in catalogue.suite(suite) {
        check.expect(seeds.contains_key(spec.id.as_str()), || {
            format!("`{}` is in the suite `{name}` and was not planned", spec.id)
        });
    }
}

/// Whether somebody has seen a link of one of the logs, from a line on; line 0 is the plan.
fn witnessed(group: &Group<'_>, from: usize) -> bool {
    group.told.logs.iter().any(|log| log.witnessed.values().any(|line| *line >= from))
}

/// The event logs are whole.
pub(super) fn chain(group: &Group<'_>) -> Claim {
    let mut check = Check::new("log", "no event was changed, dropped, added or moved");
    let logs = &group.told.logs;
    check.expect(!logs.is_empty(), || "there is no event log".to_owned());
    let (mut chained, mut unchained, mut torn) = (0, 0, 0);
    for log in logs {
        let name = &log.name;
        for line in &log.breaks {
            check.wrong(format!("line {line} of `{name}` does not follow from the line before it"));
        }
        for what in log.numbers.iter().chain(&log.counts) {
            check.wrong(format!("`{name}`: {what}"));
        }
        // A group that an older version began has events without a link, and they come first.
        check.expect(log.chained == 0 || log.unchained == 0, || {
            format!("{} events of `{name}` have no link, and others have", log.unchained)
        });
        (chained, unchained, torn) =
            (chained + log.chained, unchained + log.unchained, torn + log.torn);
        for (link, line) in &log.witnessed {
            check.note(format!("line {line} of `{name}` has the link {link} that you have seen"));
        }
    }
    if let Some(end) = &group.claim.chain {
        let own = logs.iter().find(|log| log.of_group);
        check.expect(own.is_some_and(|log| log.chained > 0), || {
            format!("the manifest names the link {end}, and the log has none")
        });
    }
    if torn > 0 {
        check.note(format!("{torn} lines were cut short, as a harness that is killed leaves them"));
    }
    let harnesses: usize = logs.iter().map(|log| log.sessions.len()).sum();
    check.note(format!("{} events, {harnesses} starts of a harness", chained + unchained));
    match (chained, witnessed(group, 1)) {
        (0, _) => check.holds(
            Verdict::NotCheckable,
            "the group was made by a version that wrote no chain",
        ),
        (_, true) => check.holds(
            Verdict::Verified,
            "the chain is whole up to a link that you have seen; what comes behind it is consistent",
        ),
        (_, false) => check.holds(
            Verdict::Consistent,
            "the chain is whole from the plan on; who holds all files can make another, unless a link was shown to somebody (`--witness`)",
        ),
    }
    check.claim()
}

/// Records say what the log says.
pub(super) fn records(group: &Group<'_>, opened: &Opened) -> Claim {
    let mut check = Check::new("records", "records, grades and files say what the log says");
    if group.told.logs.is_empty() {
        check.holds(Verdict::NotCheckable, "there is no event log");
    } else {
        check.holds(Verdict::Consistent, "each attempt's end, grade and copies are in the log");
    }
    let resumed = group.told.logs.iter().any(|log| log.sessions.len() > 1);
    for attempt in &group.attempts {
        let key = &attempt.planned.key;
        let Some(record) = &attempt.record else { continue };
        submission(group, attempt, opened, &mut check);
        let Some(told) = group.told.attempts.get(key) else {
            check.expect(record.tries.is_empty() || group.told.logs.is_empty(), || {
                format!("no log tells of {key}")
            });
            continue;
        };
        let Some(outcome) = &record.outcome else { continue };
        match told.ends.last() {
            Some(end) => {
                check.expect(end.outcome == *outcome, || {
                    format!(
                        "{key} ended as {}, and its record says {}",
                        word(&end.outcome),
                        word(outcome)
                    )
                });
                let took_s = record.took_s.unwrap_or(0.0);
                check.expect(alike(end.took_s, took_s), || {
                    format!("{key} took {:.3} s, and its record says {took_s:.3} s", end.took_s)
                });
                let grade = attempt.grade.as_ref().map(GradeLine::from).unwrap_or_default();
                check.expect(end.grade == grade, || {
                    format!("{key} ended with “{}”, and its grade says “{grade}”", end.grade)
                });
            }
            None if resumed => {
                check.open(format!("a harness was killed before it told of the end of {key}"));
            }
            None => check.wrong(format!("the log does not tell of the end of {key}")),
        }
        snapshots(group, attempt, told, opened, resumed, &mut check);
    }
    metadata(group, &mut check);
    check.claim()
}

fn word(outcome: &OutcomeRecord) -> String {
    match outcome.exit_code {
        Some(code) => format!("`{}` with exit code {code}", outcome.kind.as_str()),
        None => format!("`{}`", outcome.kind.as_str()),
    }
}

/// The submission is the one that was recorded.
fn submission(group: &Group<'_>, attempt: &Attempt, opened: &Opened, check: &mut Check) {
    let (key, Some(record)) = (&attempt.planned.key, &attempt.record) else { return };
    let path = "submission/submission.csv";
    let listed = attempt.listed(group, opened, path).or_else(|| left_out(group, attempt, opened));
    match (&record.submission, listed) {
        (Some(submission), Some((sha256, bytes))) => {
            let recorded = submission.sha256.as_deref();
            check.expect(submission.bytes == bytes && recorded == Some(sha256.as_str()), || {
                format!("the submission of {key} is not the one that was recorded")
            });
        }
        (Some(_), None) => check.wrong(format!("{key} has left a submission, which is not there")),
        (None, Some(_)) if record.outcome.is_some() => {
            check.wrong(format!("{key} has left no submission by its record, and there is one"));
        }
        (None, _) => {}
    }
}

/// What the manifest says of a submission that was left out.
fn left_out(group: &Group<'_>, attempt: &Attempt, opened: &Opened) -> Option<(String, u64)> {
    let path = attempt.work.submission();
    let below = path.strip_prefix(group.dir.root()).ok()?.to_str()?;
    let path = format!("{}/{below}", group.claim.id);
    let file = opened.manifest.left_out.iter().find(|file| file.path == path)?;
    Some((file.sha256.clone(), file.bytes))
}

/// The copies of the submission are those that the log tells of.
fn snapshots(
    group: &Group<'_>,
    attempt: &Attempt,
    told: &AttemptTold,
    opened: &Opened,
    resumed: bool,
    check: &mut Check,
) {
    let (key, Some(record)) = (&attempt.planned.key, &attempt.record) else { return };
    let last = record.tries.last().map_or(1, |last| last.number);
    let none = Vec::new();
    let taken = told.snapshots.get(&last).unwrap_or(&none);
    if resumed && taken.len() != record.snapshots.len() {
        check.open(format!("a harness was killed, and not all copies of {key} are in the log"));
        return;
    }
    check.expect(taken.len() == record.snapshots.len(), || {
        let (told, has) = (taken.len(), record.snapshots.len());
        format!("the log tells of {told} copies of the submission of {key}, its record of {has}")
    });
    for ((after_s, bytes), snapshot) in taken.iter().zip(&record.snapshots) {
        let same = alike(*after_s, snapshot.after_s);
        let listed = attempt.listed(group, opened, &snapshot.path);
        let same = same && listed.is_none_or(|(_, size)| size == *bytes);
        check.expect(same, || {
            format!("the copy `{}` of {key} is not the one of the log", snapshot.path)
        });
    }
}

/// MLE-bench's summary, and the counts at the log's end.
fn metadata(group: &Group<'_>, check: &mut Check) {
    let value: Option<serde_json::Value> = std::fs::read(group.dir.metadata())
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let runs = value.as_ref().and_then(|value| value.get("runs")?.as_object());
    let mut stats = RunStats { planned: group.attempts.len(), ..RunStats::default() };
    for attempt in &group.attempts {
        let key = &attempt.planned.key;
        let outcome = attempt.record.as_ref().and_then(|record| record.outcome.as_ref());
        let Some(outcome) = outcome else { continue };
        stats.count(outcome, &attempt.grade.as_ref().map(GradeLine::from).unwrap_or_default());
        if let Some(runs) = runs {
            let success =
                runs.get(&attempt.planned.dir).and_then(|run| run.get("success")?.as_bool());
            check.expect(success == Some(!outcome.infrastructure), || {
                format!("`metadata.json` does not say of {key} what its record says")
            });
        }
    }
    let own = group.told.logs.iter().find(|log| log.of_group);
    if let Some(finished) = own.and_then(|log| log.finished.as_ref()) {
        check.expect(*finished == stats, || {
            format!("the log ends with “{finished}”, and the records come to “{stats}”")
        });
    }
}

/// No try is hidden.
pub(super) fn tries(group: &Group<'_>) -> Claim {
    let mut check = Check::new("tries", "every try is shown");
    let logs = &group.told.logs;
    match logs.is_empty() {
        true => check.holds(Verdict::NotCheckable, "there is no event log"),
        false => check.holds(Verdict::Consistent, "the records have the tries that the log has"),
    }
    let mut repeated = 0;
    for attempt in &group.attempts {
        let key = &attempt.planned.key;
        let Some(record) = &attempt.record else { continue };
        repeated += record.tries.len().saturating_sub(1);
        let numbers: BTreeSet<u32> = record.tries.iter().map(|one| one.number).collect();
        let is_ordered = record.tries.windows(2).all(|pair| pair[0].number < pair[1].number);
        check.expect(is_ordered, || format!("the tries of {key} are in no order"));
        for one in record.tries.iter().rev().skip(1) {
            let failed = one.outcome.as_ref().is_some_and(|outcome| !outcome.is_final());
            let lost = one.outcome.is_none();
            check.expect(failed || lost, || {
                format!("try {} of {key} ended well, and there is a later one", one.number)
            });
            let shown = one.outcome.as_ref().map_or_else(|| "its harness died".to_owned(), word);
            check.note(format!("try {} of {key}: {shown}", one.number));
        }
        let Some(told) = group.told.attempts.get(key) else { continue };
        for number in told.tries.keys().chain(told.failed.keys()) {
            check.expect(numbers.contains(number), || {
                format!("the log tells of try {number} of {key}, and its record does not")
            });
        }
        for one in &record.tries {
            // What could not even be set up is never told of as started.
            let set_up = one.outcome.as_ref().is_none_or(|it| it.kind != OutcomeKind::SetupFailed);
            let told_of = told.tries.contains_key(&one.number) || one.node.is_some();
            check.expect(told_of || !set_up, || {
                format!("the record of {key} has try {}, and no log tells of it", one.number)
            });
            let failed = told.failed.get(&one.number);
            check.expect(failed.is_none() || failed == one.outcome.as_ref(), || {
                format!("try {} of {key} failed in another way by the log", one.number)
            });
        }
        for (number, start) in &told.tries {
            check.expect(start.dir == attempt.planned.dir, || {
                format!("try {number} of {key} was made in `{}`", start.dir)
            });
        }
    }
    check.note(match repeated {
        0 => "no attempt was tried again".to_owned(),
        count => format!("{count} tries were made again"),
    });
    check.claim()
}

/// What counts as one list in words.
fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The programs that ran the group.
pub(super) fn programs(group: &Group<'_>, own: Option<&str>) -> Claim {
    let mut check = Check::new("program", "an unmodified medalist ran the attempts");
    let sessions = group.told.logs.iter().flat_map(|log: &Log| &log.sessions);
    let programs: BTreeSet<Option<&str>> = sessions.map(|one| one.program.as_deref()).collect();
    for program in &programs {
        check.note(match program {
            Some(hash) if Some(*hash) == own => format!("{hash}, which is this very program"),
            Some(hash) => format!("{hash}, which is another program than this one"),
            None => "a program that is not recorded".to_owned(),
        });
    }
    check.holds(
        Verdict::NotCheckable,
        "a modified program writes any hash; times, seals, limits, what agents saw and how often the run was made are then its word alone",
    );
    check.claim()
}
