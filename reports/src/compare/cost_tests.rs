use super::*;
use crate::compare::{Comparison, compare};
use crate::compare_text;
use crate::read::Reading;
use crate::record::LlmRecord;
use crate::simulate::Simulation;
use crate::table::Look;

fn simulated(agent: &str, draw: u64) -> Reading {
    Simulation {
        agent: agent.to_owned(),
        competitions: 30,
        seeds: 3,
        shift: 0.0,
        infrastructure: 0.0,
        truth: 5,
        draw,
    }
    .reading()
}

/// The calls of every attempt, in order.
fn each(reading: &mut Reading, change: impl Fn(usize, &mut Option<LlmRecord>)) {
    for (i, attempt) in reading.groups[0].attempts.iter_mut().enumerate() {
        change(i, &mut attempt.record.as_mut().expect("simulated with records").llm);
    }
}

/// All attempts of both sides cost a dollar, the candidate's `factor` times as much.
fn priced(factor: f64) -> (Reading, Reading) {
    let (mut b, mut c) = (simulated("v1", 11), simulated("v2", 12));
    for (side, factor) in [(&mut b, 1.0), (&mut c, factor)] {
        each(side, |i, llm| {
            let totals = &mut llm.as_mut().expect("simulated with calls").totals;
            // A spread, so that there is something to be unsure of.
            let cents = 90.0 + (i % 3) as f64 * 10.0;
            totals.picodollars = (cents / 100.0 * factor * 1e12) as u64;
        });
    }
    (b, c)
}

fn gated(b: &Reading, c: &Reading, limit: f64) -> Comparison {
    let gate = Gate { max_cost_increase: Some(limit), ..Gate::default() };
    compare(b, c, gate).expect("shared competitions")
}

fn verdict(comparison: &Comparison) -> &CostVerdict {
    comparison.verdict.cost.as_ref().expect("asked for")
}

#[test]
fn a_rise_is_found_measured_and_held_against_its_limit() {
    let (b, c) = priced(1.25);
    let comparison = gated(&b, &c, 0.1);
    let cost = comparison.cost.as_ref().expect("recorded");
    assert!((cost.baseline - 1.0).abs() < 1e-9 && (cost.difference - 0.25).abs() < 1e-9);
    assert!((cost.relative.expect("not free") - 0.25).abs() < 1e-9);
    let interval = cost.on_these.expect("three seeds");
    assert!(interval.lower > 0.0 && interval.upper < 0.5 && !interval.rough, "{interval:?}");
    let like = cost.on_like_these.expect("many competitions");
    assert!(like.lower <= interval.lower && like.upper >= interval.upper);
    assert!(cost.p_rise < 0.001 && cost.p_on_these < 0.001);
    assert!(verdict(&comparison).exceeded, "{}", verdict(&comparison).reason);
    assert!(verdict(&comparison).reason.contains("rose by +$0.25 (+25.0%), more than 10.0%"));
    assert!(!verdict(&gated(&b, &c, 0.3)).exceeded);
    let mirrored = gated(&c, &b, 0.0);
    assert!(!verdict(&mirrored).exceeded);
    assert!(verdict(&mirrored).reason.contains("did not rise"), "{}", verdict(&mirrored).reason);
}

#[test]
fn a_rise_within_chance_passes() {
    let (mut b, mut c) = priced(1.0);
    // One attempt of many costs more.
    each(&mut c, |i, llm| {
        if i == 0 {
            llm.as_mut().expect("calls").totals.picodollars = 40_000_000_000_000;
        }
    });
    let comparison = gated(&b, &c, 0.1);
    assert!(comparison.cost.as_ref().and_then(|cost| cost.relative).expect("known") > 0.1);
    assert!(!verdict(&comparison).exceeded);
    assert!(verdict(&comparison).reason.contains("do not tell from chance"));
    // Fractions of a cent are as sure as dollars.
    let (mut cheap, mut dear) = priced(1.25);
    for side in [&mut cheap, &mut dear] {
        each(side, |_, llm| llm.as_mut().expect("calls").totals.picodollars /= 1_000_000_000);
    }
    assert!(verdict(&gated(&cheap, &dear, 0.1)).exceeded);
    each(&mut b, |_, llm| llm.as_mut().expect("calls").totals.picodollars = 0);
    let from_nothing = gated(&b, &c, 0.1);
    assert!(verdict(&from_nothing).exceeded, "{}", verdict(&from_nothing).reason);
    assert_eq!(from_nothing.cost.expect("recorded").relative, None);
}

#[test]
fn what_is_not_known_decides_nothing() {
    let (b, mut c) = priced(2.0);
    each(&mut c, |_, llm| llm.as_mut().expect("calls").totals.unpriced_calls = 1);
    let unpriced = gated(&b, &c, 0.1);
    assert!(!verdict(&unpriced).decided && !verdict(&unpriced).exceeded);
    assert!(
        verdict(&unpriced).reason.contains("known of 90 of 90 attempts before and 0 of 90 after")
    );
    let (mut b, mut c) = priced(2.0);
    for side in [&mut b, &mut c] {
        each(side, |_, llm| *llm = None);
    }
    let silent = gated(&b, &c, 0.1);
    assert_eq!(silent.cost, None);
    assert!(!verdict(&silent).decided && verdict(&silent).reason.contains("no side recorded"));
    let (b, mut c) = priced(2.0);
    for attempt in c.groups[0].attempts.iter_mut().take(50) {
        attempt.ending = crate::attempt::Ending::Unfinished;
    }
    let lost = gated(&b, &c, 0.1);
    assert!(!verdict(&lost).decided && verdict(&lost).reason.contains("were lost"));
    assert!(compare(&b, &c, Gate::default()).expect("shared").verdict.cost.is_none());
}

#[test]
fn every_form_of_a_comparison_tells_the_cost() {
    let (b, c) = priced(1.25);
    let comparison = gated(&b, &c, 0.1);
    let terminal = compare_text::terminal(&comparison, Look::default());
    assert!(terminal.contains("COST ABOVE THE LIMIT"), "{terminal}");
    assert!(terminal.lines().all(|line| line.chars().count() <= 80), "{terminal}");
    let markdown = compare_text::markdown(&comparison);
    assert!(markdown.contains("Cost of an attempt: $1.00 before, $1.25 after"), "{markdown}");
    let junit = compare_text::junit(&comparison);
    assert!(junit.contains("name=\"cost\"") && junit.contains("<failure"), "{junit}");
    let page = crate::html::comparison_page(&comparison).expect("a page");
    assert!(page.contains("Cost above the limit"));
    let text = serde_json::to_string(&comparison).expect("serialises");
    let again: Comparison = serde_json::from_str(&text).expect("parses");
    assert_eq!(again, comparison);
}
