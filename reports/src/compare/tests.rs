use super::*;
use crate::compare_text;
use crate::record::OutcomeRecord;
use crate::simulate::Simulation;
use crate::table::Look;

fn simulated(agent: &str, shift: f64, draw: u64) -> Reading {
    Simulation {
        agent: agent.to_owned(),
        competitions: 75,
        seeds: 3,
        shift,
        infrastructure: 0.0,
        truth: 5,
        draw,
    }
    .reading()
}

#[test]
fn a_large_drop_fails_the_gate_and_its_mirror_does_not() {
    let (good, bad) = (simulated("v1", 0.0, 11), simulated("v2", -0.25, 12));
    let down = compare(&good, &bad, Gate::default()).expect("shared competitions");
    assert!(down.verdict.regressed, "{}", down.verdict.reason);
    assert!(down.medal_rate.p_on_these < 0.001 && down.medal_rate.p_on_like_these < 0.001);
    assert!(down.medal_rate.on_these.expect("three seeds").upper < 0.0);
    let up = compare(&bad, &good, Gate::default()).expect("shared competitions");
    assert!(!up.verdict.regressed);
    assert!((up.medal_rate.difference + down.medal_rate.difference).abs() < 1e-12);
    assert_eq!((up.mcnemar.gained, up.mcnemar.lost), (down.mcnemar.lost, down.mcnemar.gained));
}

#[test]
fn a_margin_lets_small_drops_pass() {
    let (good, bad) = (simulated("v1", 0.0, 11), simulated("v2", -0.25, 12));
    let drop = -compare(&good, &bad, Gate::default()).expect("shared").medal_rate.difference;
    let gate = Gate { margin: drop + 0.01, ..Gate::default() };
    let verdict = compare(&good, &bad, gate).expect("shared").verdict;
    assert!(
        !verdict.regressed && verdict.reason.contains("less than the margin"),
        "{}",
        verdict.reason
    );
}

#[test]
fn a_version_against_itself_changes_nothing() {
    let (a, mut b) = (simulated("v1", 0.0, 11), simulated("v1", 0.0, 11));
    b.groups[0].path = "elsewhere".into();
    let same = compare(&a, &b, Gate::default()).expect("shared");
    assert_eq!(same.medal_rate.difference, 0.0);
    assert_eq!(same.medal_rate.p_on_like_these, 1.0);
    assert!(same.competitions.iter().all(|c| c.moved == Moved::Same));
    assert!(compare_text::terminal(&same, Look::default()).contains("no competition changed"));
}

#[test]
fn the_same_group_on_both_sides_and_nothing_shared_are_errors() {
    let a = simulated("v1", 0.0, 11);
    assert!(matches!(compare(&a, &a, Gate::default()), Err(CompareError::BothSides(_))));
    let mut b = simulated("v2", 0.0, 12);
    for attempt in &mut b.groups[0].attempts {
        attempt.key.competition.push('x');
    }
    let error = compare(&a, &b, Gate::default()).expect_err("nothing shared").to_string();
    assert_eq!(
        error,
        "the sides share no competition: 75 on the baseline's side, 75 on the candidate's"
    );
}

#[test]
fn another_task_is_refused_and_another_machine_flagged() {
    let (a, mut b) = (simulated("v1", 0.0, 11), simulated("v2", 0.0, 12));
    for attempt in &mut b.groups[0].attempts {
        let conditions = &mut attempt.record.as_mut().expect("simulated with records").conditions;
        conditions.hardware.cpu = "Another CPU".to_owned();
        if attempt.key.competition.ends_with("-03") {
            conditions.limits.time_s = Some(3600.0);
        }
    }
    let comparison = compare(&a, &b, Gate::default()).expect("shared");
    let refused: Vec<_> = comparison.refusals().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].condition, "time limit (s)");
    assert!(
        comparison
            .conditions
            .iter()
            .any(|d| d.condition == "processor model" && d.weight == Weight::Flagged)
    );
    let junit = compare_text::junit(&comparison);
    assert!(
        junit.contains("name=\"equal conditions\"")
            && junit.contains("<failure message=\"time limit (s) of"),
        "{junit}"
    );
}

#[test]
fn another_edition_of_the_data_is_refused() {
    let (a, mut b) = (simulated("v1", 0.0, 11), simulated("v2", 0.0, 12));
    b.groups[0].attempts[0].record.as_mut().expect("ours").conditions.data_edition =
        Some("fixed".to_owned());
    let comparison = compare(&a, &b, Gate::default()).expect("shared");
    let refused: Vec<_> = comparison.refusals().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].condition.as_str(), &refused[0].baseline),
        ("edition of the data", &vec!["v1".to_owned()])
    );
}

#[test]
fn one_seed_has_no_interval_on_these_but_one_on_ones_like_these() {
    let one = |agent: &str, draw| {
        Simulation {
            agent: agent.into(),
            competitions: 30,
            seeds: 1,
            shift: 0.0,
            infrastructure: 0.0,
            truth: 5,
            draw,
        }
        .reading()
    };
    let comparison = compare(&one("v1", 1), &one("v2", 2), Gate::default()).expect("shared");
    assert_eq!(comparison.medal_rate.on_these, None);
    assert!(comparison.medal_rate.on_like_these.is_some());
    assert_eq!(comparison.verdict.power_at_five_points, None);
}

/// A reading of the same agent of whose attempts one in `every` is lost.
fn losing(agent: &str, draw: u64, every: usize) -> Reading {
    let mut reading = simulated(agent, 0.0, draw);
    for attempt in reading.groups[0].attempts.iter_mut().step_by(every) {
        let outcome = OutcomeRecord {
            kind: "engine_lost".into(),
            infrastructure: true,
            ..OutcomeRecord::default()
        };
        attempt.ending = crate::attempt::Ending::Ended(outcome);
        attempt.grade = crate::attempt::Grade::default();
    }
    reading
}

#[test]
fn lost_attempts_are_not_blamed_on_the_agent() {
    let runs = 200;
    let alarms = (0..runs)
        .filter(|draw| {
            let base = simulated("v1", 0.0, 2 * draw + 100);
            let lossy = losing("v1", 2 * draw + 101, 10);
            compare(&base, &lossy, Gate::default()).expect("shared").verdict.regressed
        })
        .count();
    // 5 in 100 are asked for; with lost attempts counted as failed it would be most.
    assert!(alarms <= 20, "{alarms} alarms of {runs}");
    let comparison =
        compare(&simulated("v1", 0.0, 1), &losing("v1", 2, 10), Gate::default()).expect("shared");
    let planned = comparison.as_planned.expect("some were lost");
    assert!(planned.candidate < comparison.medal_rate.candidate, "{planned:?}");
    assert_eq!(planned.baseline, comparison.medal_rate.baseline);
    let text = compare_text::terminal(&comparison, Look::default());
    assert!(text.contains("with lost attempts counted as failed"), "{text}");
}

#[test]
fn a_side_that_lost_most_attempts_decides_nothing() {
    let (good, mut gone) = (simulated("v1", 0.0, 11), losing("v2", 12, 1));
    let comparison = compare(&good, &gone, Gate::default()).expect("shared");
    assert!(!comparison.verdict.decided && !comparison.verdict.regressed);
    assert_eq!(comparison.verdict.heading(), "Not decided");
    let junit = compare_text::junit(&comparison);
    assert!(junit.contains("<error message=\"more than half"), "{junit}");
    for attempt in &mut gone.groups[0].attempts {
        attempt.ending = crate::attempt::Ending::Unfinished;
    }
    assert!(!compare(&good, &gone, Gate::default()).expect("shared").verdict.decided);
}

#[test]
fn the_terminal_fits_80_columns_and_claims_no_more_than_it_knows() {
    let (a, b) = (simulated("v1", 0.0, 11), simulated("v2", -0.01, 13));
    let comparison = compare(&a, &b, Gate { wanted_drop: 0.1, ..Gate::default() }).expect("shared");
    let text = compare_text::terminal(&comparison, Look::default());
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("no regression found: "), "{text}");
    assert!(text.contains("a true drop of 10 points would be caught with probability"), "{text}");
    assert!(text.contains("to catch it 80 times in 100 takes about"), "{text}");
    assert!(!text.contains("chance explains") && !text.contains("-0.0 "), "{text}");
    let markdown = compare_text::markdown(&comparison);
    assert!(markdown.starts_with("### No regression found"), "{markdown}");
}

#[test]
fn names_from_files_cannot_break_the_formats() {
    let (a, mut b) = (simulated("v1", 0.0, 11), simulated("v2", 0.0, 12));
    let evil = "x|<b>\"&\u{1}";
    b.groups[0].agent = evil.to_owned();
    let mut a = a;
    for reading in [&mut a, &mut b] {
        for attempt in &mut reading.groups[0].attempts[..3] {
            attempt.key.competition = evil.to_owned();
        }
    }
    let comparison = compare(&a, &b, Gate::default()).expect("shared");
    let junit = compare_text::junit(&comparison);
    assert!(!junit.contains("<b>") && !junit.contains('\u{1}'));
    assert!(!compare_text::markdown(&comparison).contains("x|<b>"));
}

/// Medals of two versions on 75 competitions with three seeds, the second `drop` worse on average.
fn medal_pairs(drop: f64, draw: u64) -> Vec<(Cluster, Cluster)> {
    let simulation = |shift, draw| Simulation {
        agent: String::new(),
        competitions: 75,
        seeds: 3,
        shift,
        infrastructure: 0.0,
        truth: 5,
        draw,
    };
    let rate = |shift| stats::mean(&simulation(shift, 0).rates());
    // Rates end at 0, so a shift lowers their mean by less than itself.
    let (mut low, mut high) = (-0.5, 0.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if rate(0.0) - rate(middle) > drop { low = middle } else { high = middle }
    }
    let (baseline, candidate) = (simulation(0.0, draw * 2 + 1), simulation(low, draw * 2 + 2));
    baseline.medals().into_iter().zip(candidate.medals()).collect()
}

#[test]
fn a_drop_of_five_points_is_caught_as_often_as_the_gate_says() {
    let runs = 2_000;
    let gates = [
        Gate::default(),
        Gate { confidence: 0.9, ..Gate::default() },
        Gate { margin: 0.04, confidence: 0.9, ..Gate::default() },
    ];
    for gate in gates {
        let (mut caught, mut promised) = (0.0, 0.0);
        for draw in 0..runs {
            let pairs = medal_pairs(0.05, draw);
            let verdict = verdict(&pairs, &change(&pairs), gate, true);
            caught += if verdict.regressed { 1.0 } else { 0.0 };
            promised += verdict.power_at_five_points.expect("three seeds");
        }
        let (caught, promised) = (caught / runs as f64, promised / runs as f64);
        assert!((0.2..0.9).contains(&caught), "caught {caught}: neither never nor always");
        assert!(
            (caught - promised).abs() < 0.03,
            "caught {caught}, promised {promised} by {gate:?}"
        );
    }
}
