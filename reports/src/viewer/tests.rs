use chrono::{TimeZone as _, Utc};

use super::*;
use crate::data::{ReportData, ReportOptions};
use crate::html::PageOptions;
use crate::leaderboard::SeedRule;
use crate::read::Reading;
use crate::simulate::Simulation;

fn report(agents: u64, competitions: usize, seeds: u32) -> ReportData {
    let group = |draw| {
        Simulation {
            agent: format!("agent-{draw}"),
            competitions,
            seeds,
            shift: 0.0,
            infrastructure: 0.05,
            truth: 1,
            draw,
        }
        .group()
    };
    let reading = Reading { groups: (0..agents).map(group).collect(), warnings: Vec::new() };
    let options = ReportOptions {
        title: "Pages".to_owned(),
        generated_at: Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).single().expect("a date"),
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    ReportData::compute(&reading, &(), &options)
}

#[test]
fn the_index_of_thousands_of_attempts_is_small() {
    let data = report(11, 76, 3);
    assert!(data.attempts.len() > 2_500);
    let links: Vec<String> =
        (0..data.attempts.len()).map(|i| format!("attempts/{i}.html")).collect();
    let competition_links: Vec<String> =
        (0..76).map(|i| format!("competitions/{i}.html")).collect();
    let options = PageOptions { links: &links, competition_links: &competition_links, live: None };
    let page = html::page_with(&data, &plots::all(&data).expect("draws"), options).expect("fills");
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
}

#[test]
fn every_attempt_is_one_step_from_the_one_before() {
    // Few attempts are listed by agent, many are folded by competition.
    for (agents, competitions) in [(2, 5), (3, 20)] {
        let data = report(agents, competitions, 2);
        let site = Site::new(&data);
        let href = |number: usize| number.to_string();
        let links = Links { report: "r", attempt: &href, competition: &href };
        let nav = |number| serde_json::to_value(site.nav(number, links)).expect("plain");
        let mut at = (0..data.attempts.len())
            .find(|number| nav(*number)["previous"].is_null())
            .expect("a first one");
        let mut seen = vec![at];
        while let Some(next) = nav(at)["next"]["href"].as_str() {
            let next: usize = next.parse().expect("a number");
            assert_eq!(nav(next)["previous"]["href"], at.to_string());
            assert!(seen.len() < data.attempts.len(), "a circle");
            seen.push(next);
            at = next;
        }
        assert_eq!(seen.len(), data.attempts.len());
        let here = nav(0);
        assert_eq!(here["count_here"], agents * 2);
        assert_eq!(here["cells"].as_array().map(Vec::len), Some(agents as usize * 2));
    }
}

#[test]
fn a_competition_is_split_by_agent_and_version() {
    let mut data = report(2, 1, 3);
    data.groups[0].version = Some("1.0".to_owned());
    let places: Vec<usize> = (0..data.attempts.len()).collect();
    let rows = versions(&Site::new(&data), &data.competitions[0], &places);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows.iter().map(|row| row.attempts).sum::<usize>(), 6);
    assert_eq!(rows.iter().filter(|row| row.version == Some("1.0")).count(), 1);
    for row in &rows {
        assert!(row.worst <= row.median && row.median <= row.best, "higher is better: {row:?}");
    }
}

#[test]
fn the_better_snapshot_is_better_in_the_direction_of_the_metric() {
    let mut attempt = report(1, 1, 1).attempts.remove(0);
    attempt.snapshots = [(0.3, true), (0.5, true), (0.1, false)]
        .map(|(score, valid)| SnapshotRecord { score: Some(score), valid, ..Default::default() })
        .into();
    attempt.grade.score = Some(0.4);
    assert_eq!(better_snapshot(&attempt), Some(1));
    attempt.grade.lower_is_better = true;
    assert_eq!(better_snapshot(&attempt), Some(0));
    attempt.grade.score = Some(0.2);
    assert_eq!(better_snapshot(&attempt), None);
    attempt.grade.score = None;
    assert_eq!(better_snapshot(&attempt), Some(0));
}

#[test]
fn thousands_of_attempts_take_the_room_of_hundreds() {
    assert_eq!(Limit::each_of(0), Limit::MOST);
    assert_eq!(Limit::each_of(512), Limit::MOST);
    let all = |attempts: u64| Limit::each_of(attempts as usize).0 * attempts;
    assert!(all(2_500) <= Limit::MOST.0 * 512);
    assert_eq!(Limit::each_of(1_000_000), Limit::LEAST);
}

#[test]
fn a_long_story_keeps_its_beginning_and_end() {
    let said = |text: String| vec![Said { who: "model".to_owned(), text }];
    let step = |i: u32| Step {
        elapsed_s: f64::from(i),
        head: format!("call {i}"),
        is_call: true,
        said: said(format!("</script>\u{2028}{}", "x".repeat(990))),
    };
    let mut story = Story { steps: (0..100).map(step).collect(), ..Story::default() };
    let Told { script, note, .. } = story.tell(20_000);
    let script = script.expect("steps");
    assert!(script.len() < 25_000, "{} bytes", script.len());
    let note = note.expect("said");
    assert!(note.starts_with("82 of 100 steps are left out in the middle"), "{note}");
    assert!(script.starts_with("medalistPart(\"steps\",{\"begin\":[{\"at\":\"+0:00:00\""));
    assert!(script.contains("\"call 99\"") && !script.contains("\"call 50\""));
    assert!(!script.contains('\u{2028}'));

    let long = Step { said: said("é".repeat(100_000)), ..step(0) };
    let mut story = Story { steps: vec![long], ..Story::default() };
    let Told { script, note, .. } = story.tell(1 << 20);
    assert!(script.expect("a step").contains("are left out"));
    assert!(note.expect("said").starts_with("the middle of 1 long text is left out"));
    assert_eq!(Story::default().tell(10), Told::default());
}

#[test]
fn the_end_of_a_log_begins_with_a_whole_line() {
    assert_eq!(tail("short\ntext"), "short\ntext");
    let long = "é line\n".repeat(10_000);
    let end = tail(&long);
    assert!(end.starts_with("é line\n") && long.ends_with(end));
    assert!(end.len() <= LOG_TAIL && end.len() > LOG_TAIL - 10);
    assert_eq!(tail(&"x".repeat(LOG_TAIL + 5)).len(), LOG_TAIL);
}
