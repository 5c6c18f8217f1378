//! Submissions graded again from the answers, and what the grades come to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use medalist_grading::GradeReport;
use medalist_grading::report::submission_file;

use super::claim::{Check, Claim, Verdict};
use super::group::{Attempt, Group};
use crate::app::bundle::manifest::{Part, Results};
use crate::app::grading::Grading;
use crate::attempt::text::chain;
use crate::host::files::file_sha256;

/// What grading again came to.
#[derive(Debug, Default)]
pub(super) struct Regraded {
    /// By the attempt's folder.
    grades: BTreeMap<String, GradeReport>,
    /// Attempts with a submission that were not graded again.
    open: usize,
}

/// One thing to grade.
struct Job<'a> {
    attempt: &'a Attempt,
    /// Its place among the snapshots; none for the submission.
    snapshot: Option<usize>,
    path: PathBuf,
}

/// Grades every submission and every copy of one again, and compares.
pub(super) fn scores(
    group: &Group<'_>,
    grading: &Grading,
    without: &BTreeSet<Part>,
) -> (Claim, Regraded) {
    let mut check = Check::new("scores", "each submission is worth what its grade says");
    let mut regraded = Regraded::default();
    let editions = editions(group, grading, &mut check);
    let mut jobs = Vec::new();
    for attempt in &group.attempts {
        let (key, Some(record)) = (&attempt.planned.key, &attempt.record) else { continue };
        grade_by_itself(attempt, &mut check);
        let missing = without.contains(&Part::Submissions) && record.submission.is_some();
        if missing || !editions.contains(key.competition.as_str()) {
            regraded.open += usize::from(record.submission.is_some());
            continue;
        }
        if attempt.grade.is_none() {
            continue;
        }
        jobs.push(Job { attempt, snapshot: None, path: attempt.work.submission() });
        let copies = record.snapshots.iter().map(|copy| attempt.work.root().join(&copy.path));
        let copies = copies.enumerate().filter(|(_, path)| path.starts_with(group.dir.root()));
        jobs.extend(copies.map(|(at, path)| Job { attempt, snapshot: Some(at), path }));
    }
    if without.contains(&Part::Submissions) {
        check.open("submissions were left out");
    }
    let (mut graded, mut copies) = (0, 0);
    let named: Vec<_> = jobs
        .iter()
        .map(|job| {
            let id = job.attempt.planned.key.competition.as_str();
            (id, submission_file(Some(&job.path)))
        })
        .collect();
    for (job, result) in jobs.iter().zip(grading.report_all(&named)) {
        let key = &job.attempt.planned.key;
        match (result, job.snapshot) {
            (Err(error), snapshot) => {
                check.open(format!("{key}: {error}"));
                regraded.open += usize::from(snapshot.is_none());
            }
            (Ok(again), Some(at)) => {
                copies += 1;
                copy(job.attempt, at, &again, &mut check);
            }
            (Ok(again), None) => {
                graded += 1;
                compare(job.attempt, &again, &mut check);
                regraded.grades.insert(job.attempt.planned.dir.clone(), again);
            }
        }
    }
    check.holds(
        if graded > 0 { Verdict::Verified } else { Verdict::NotCheckable },
        match graded {
            0 => "nothing could be graded again here: prepare the competitions, and name them with `--data-dir`".to_owned(),
            _ => format!("{graded} attempts and {copies} copies were graded again by the answers here"),
        },
    );
    (check.claim(), regraded)
}

/// Competitions that are prepared here as they were for the group.
fn editions<'a>(group: &'a Group<'_>, grading: &Grading, check: &mut Check) -> BTreeSet<&'a str> {
    let mut usable = BTreeSet::new();
    let planned: BTreeSet<&str> =
        group.plan.attempts.iter().map(|one| one.key.competition.as_str()).collect();
    for id in planned {
        let target = match grading.target(id) {
            Ok(target) => target,
            Err(error) => {
                check.open(chain(&error));
                continue;
            }
        };
        if !target.answers_path().is_file() {
            check.open(format!("`{id}` is not prepared here"));
            continue;
        }
        let here =
            grading.spec(id).ok().map(|spec| grading.data().competition(&spec.id).manifest());
        let here = here.and_then(|path| file_sha256(&path).ok()).map(|(hash, _)| hash);
        let records = group.attempts.iter().filter(|one| one.planned.key.competition == id);
        let records = records.filter_map(|attempt| attempt.record.as_ref());
        let theirs: BTreeSet<&str> =
            records.filter_map(|record| record.conditions.data_sha256.as_deref()).collect();
        if theirs.iter().any(|theirs| Some(*theirs) != here.as_deref()) {
            check.open(format!("`{id}` is prepared here from other data, or in another way"));
            continue;
        }
        if theirs.is_empty() {
            check.note(format!("no record says which data `{id}` was run on"));
        }
        usable.insert(id);
    }
    usable
}

/// A grade agrees with itself, whoever made it.
fn grade_by_itself(attempt: &Attempt, check: &mut Check) {
    let key = &attempt.planned.key;
    let ended = attempt.record.as_ref().and_then(|record| record.outcome.as_ref());
    let Some(grade) = &attempt.grade else {
        check.expect(ended.is_none_or(|outcome| !outcome.is_final()), || {
            format!("{key} has ended and has no grade")
        });
        return;
    };
    let flags = [grade.gold_medal, grade.silver_medal, grade.bronze_medal];
    let won = flags.iter().filter(|flag| **flag).count();
    let same = grade.any_medal == (won == 1)
        && won <= 1
        && grade.medal.is_some() == grade.any_medal
        && (grade.valid_submission || grade.score.is_none() && !grade.any_medal)
        && (grade.submission_exists || !grade.valid_submission);
    check.expect(same, || format!("the grade of {key} contradicts itself"));
    check.expect(grade.competition_id == key.competition, || {
        format!("the grade of {key} is of `{}`", grade.competition_id)
    });
    if let Some(own) = &grade.own_leaderboard {
        check.note(format!("{key} is measured against a leaderboard of the sender's own: {own}"));
    }
}

fn same_number(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (1.0 + a.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn compare(attempt: &Attempt, again: &GradeReport, check: &mut Check) {
    let (key, Some(claimed)) = (&attempt.planned.key, &attempt.grade) else { return };
    let shown = |score: Option<f64>| score.map_or("no score".to_owned(), |score| score.to_string());
    check.expect(same_number(claimed.score, again.score), || {
        let (claimed, again) = (shown(claimed.score), shown(again.score));
        format!("{key} claims {claimed}, and graded again it is {again}")
    });
    check.expect(
        (claimed.submission_exists, claimed.valid_submission)
            == (again.submission_exists, again.valid_submission),
        || format!("{key}: whether the submission is there and valid is claimed otherwise"),
    );
    if claimed.own_leaderboard != again.own_leaderboard {
        check.open(format!("{key}: medals are by another leaderboard than the one in force here"));
        return;
    }
    let bounds = |grade: &GradeReport| {
        [
            grade.gold_threshold,
            grade.silver_threshold,
            grade.bronze_threshold,
            grade.median_threshold,
        ]
    };
    let same = bounds(claimed).iter().zip(bounds(again)).all(|(a, b)| same_number(*a, b));
    check.expect(same, || format!("{key}: the thresholds of medals are not those of the board"));
    check.expect(
        claimed.medal == again.medal && claimed.above_median == again.above_median,
        || {
            let medal = |grade: &GradeReport| {
                grade.medal.map_or("no medal".to_owned(), |medal| medal.to_string())
            };
            format!("{key} claims {}, and graded again it has {}", medal(claimed), medal(again))
        },
    );
}

fn copy(attempt: &Attempt, at: usize, again: &GradeReport, check: &mut Check) {
    let snapshot = attempt.record.as_ref().and_then(|record| record.snapshots.get(at));
    let (key, Some(claimed)) = (&attempt.planned.key, snapshot) else { return };
    let same = same_number(claimed.score, again.score) && claimed.valid == again.valid_submission;
    check.expect(same, || format!("the copy `{}` of {key} is worth something else", claimed.path));
}

/// The counts are those of the grades.
pub(super) fn results(group: &Group<'_>, regraded: &Regraded) -> (Claim, Results) {
    let mut check = Check::new("results", "the counts are what the attempts come to");
    let mut results = Results::default();
    for attempt in &group.attempts {
        let again = regraded.grades.get(&attempt.planned.dir);
        results.count(attempt.record.as_ref(), again.or(attempt.grade.as_ref()));
    }
    let claimed = &group.claim.results;
    check.expect(results == *claimed, || {
        format!(
            "claimed are {} medals of {} attempts, and {} of {} are there (valid: {} and {}, above the median: {} and {})",
            claimed.medals(),
            claimed.planned,
            results.medals(),
            results.planned,
            claimed.valid,
            results.valid,
            claimed.above_median,
            results.above_median,
        )
    });
    let medals = format!(
        "{} of {} attempts with a medal ({} gold, {} silver, {} bronze)",
        results.medals(),
        results.planned,
        results.gold,
        results.silver,
        results.bronze
    );
    match (regraded.open, regraded.grades.is_empty()) {
        (0, false) => check.holds(Verdict::Verified, format!("{medals}, by the grades made here")),
        (0, true) if results.submitted == 0 => check.holds(Verdict::Consistent, medals),
        (open, _) => {
            check.open(format!("{open} submissions were not graded again"));
            check.holds(Verdict::Consistent, format!("{medals}, by the sender's grades"));
        }
    }
    (check.claim(), results)
}
