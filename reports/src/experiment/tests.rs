use std::collections::BTreeMap;
use std::path::Path;

use chrono::Utc;

use super::*;
use crate::simulate::Simulation;
use crate::stats::stopping::Rule;

fn cell(agent: &str, model: &str) -> Cell {
    Cell {
        agent: agent.to_owned(),
        model: Some(model.to_owned()),
        budget: None,
        suite: "all".to_owned(),
    }
}

fn groups(agent: &str, model: &str, shift: f64, draw: u64) -> CellGroups {
    let simulation = Simulation {
        agent: agent.to_owned(),
        competitions: 12,
        seeds: 3,
        shift,
        infrastructure: 0.05,
        truth: 4,
        draw,
    };
    CellGroups { cell: cell(agent, model), groups: vec![simulation.group()] }
}

fn design() -> Design {
    Design {
        compare: Factor::Agent,
        rule: Rule::default(),
        stages: vec![1, 2, 3],
        competitions: BTreeMap::from([("all".to_owned(), 12)]),
    }
}

fn report(cells: &[CellGroups], looks: usize) -> ExperimentReport {
    let design = design();
    let looks: Vec<Look> =
        design.stages[..looks].iter().map(|seeds| design.look(cells, *seeds, Utc::now())).collect();
    let options = ExperimentOptions {
        name: "flat <against> deep",
        notes: None,
        generated_at: Utc::now(),
        root: Path::new("."),
        planned_attempts: 144,
        warnings: vec!["a warning".to_owned()],
    };
    ExperimentReport::compute(cells, &design, &looks, &options)
}

fn cells() -> Vec<CellGroups> {
    vec![
        groups("flat", "large", -0.3, 1),
        groups("deep", "large", 0.3, 2),
        groups("flat", "small", 0.0, 3),
        groups("deep", "small", 0.0, 4),
    ]
}

#[test]
fn pairs_are_within_a_setting_and_in_order() {
    let keys: Vec<Cell> = cells().into_iter().map(|cell| cell.cell).collect();
    let named = |compare| -> Vec<String> {
        let pairs = pairs(&keys, compare);
        pairs.iter().map(|p| format!("{}-{} {}", p.candidate, p.baseline, p.setting)).collect()
    };
    assert_eq!(named(Factor::Agent), ["deep-flat large, all", "deep-flat small, all"]);
    assert_eq!(named(Factor::Model), ["small-large flat, all", "small-large deep, all"]);
    assert!(named(Factor::Budget).is_empty());
}

#[test]
fn a_report_has_a_table_for_each_backbone_and_a_verdict_for_each_pair() {
    let report = report(&cells(), 3);
    assert_eq!((report.tables.len(), report.pairs.len(), report.fronts.len()), (2, 2, 2));
    assert_eq!(report.progress, Progress::Complete);
    let clear = &report.pairs[0];
    assert!(clear.verdict.sure_at.is_some(), "{clear:#?}");
    assert_eq!(clear.heading(), "deep wins more medals than flat");
    let repeated = clear.repeated.expect("a look with a level");
    let plain = clear.change.as_ref().and_then(|change| change.on_these).expect("three seeds");
    assert!(repeated.width() >= plain.width(), "{repeated:?} {plain:?}");
    assert_eq!(report.begun_attempts, 144);
    let table = &report.tables[0];
    assert_eq!(table.rows[0].name, "flat");
    // Four competitions have snapshots, and all attempts a score at their end.
    assert!(table.time.curves[0].with_snapshots > 0 && !table.time.is_empty());
    assert!(table.time.curves[0].points.windows(2).all(|w| w[0].0 < w[1].0));
    // The made-up attempts have sums of calls and no lines of them.
    assert!(table.dollars.is_empty() && table.context.is_empty());
    assert_eq!(table.dollars.curves[0].attempts, 0);
    let kinds: Vec<&str> = table.wins.iter().map(|wins| wins.kind.as_str()).collect();
    assert_eq!(kinds, ["modality", "complexity", "data size"]);
    let sizes: Vec<&str> = table.wins[2].parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(sizes, ["below 100 MB", "100 MB to 1 GB", "1 to 10 GB", "10 GB and more"]);
    assert!(table.wins[0].parts.iter().all(|part| part.look_at.len() == 2));
}

#[test]
fn looks_decide_whether_an_experiment_is_over() {
    let clear = vec![groups("flat", "large", -0.9, 1), groups("deep", "large", 0.9, 2)];
    assert_eq!(report(&clear, 0).progress, Progress::Unfinished);
    assert_eq!(report(&clear, 0).pairs[0].heading(), "no look yet");
    let early = report(&clear, 2);
    assert_eq!(
        (early.progress, early.pairs[0].verdict.sure_at.is_some()),
        (Progress::StoppedEarly, true)
    );
}

#[test]
fn files_and_pictures_hold_what_was_computed() {
    let report = report(&cells(), 2);
    let page = crate::html::experiment_page(&report).expect("the page");
    assert!(!page.contains("<against>") && page.contains("&lt;against&gt;"));
    for id in ["differences", "front-0", "score-time-1", "wins", "looks"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let text = markdown(&report);
    for part in ["## large, all", "## Differences", "deep minus flat", "## Where each wins"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let shown = terminal(&report, crate::table::Look::default());
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("2 of 3 stages"), "{shown}");
    let json = crate::export::pretty_json(&report);
    let again: ExperimentReport = serde_json::from_str(&json).expect("it reads its own file");
    assert_eq!(again, report);
}

#[test]
fn the_front_leaves_out_what_is_beaten_or_not_known() {
    let mut all = cells();
    for attempt in &mut all[0].groups[0].attempts {
        if let Some(record) = &mut attempt.record {
            record.llm = None;
        }
    }
    let report = report(&all, 1);
    let front = &report.fronts[0];
    assert_eq!((front.of.as_str(), front.left_out.as_slice()), ("large", &["flat".to_owned()][..]));
    assert!(front.points.len() == 1 && front.points[0].on_front);
    let row = &report.tables[0].rows[0];
    assert_eq!(
        (row.per_medal(), row.tokens()),
        ("not recorded".to_owned(), "not recorded".to_owned())
    );
}
