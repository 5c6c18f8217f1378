//! `medalist suites`, and runs on suites in files.

use std::fs;

use serde_json::{Value, json};

use crate::support::kaggle_facts::Described;
use crate::support::kaggle_server::{KEY, KaggleServer, USERNAME, fake_zip};
use crate::support::{TestContext, called, json as read_json};

/// Plans a run on the suite `ours`.
const DRY_RUN: [&str; 8] =
    ["run", "--agent", "sample", "--suite", "ours.toml", "--executor", "process", "--dry-run"];

fn read(context: &TestContext, name: &str) -> String {
    fs::read_to_string(context.join(name)).unwrap()
}

#[test]
fn a_suite_is_made_pinned_and_run_within_its_limits() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes", "-c", "demo-flights"]);
    let made = [
        "suites",
        "new",
        "ours",
        "-c",
        "demo-bikes",
        "-c",
        "demo-flights",
        "--limit",
        "timeout=45s",
        "--limit",
        "seeds=2",
        "--suite-version",
        "7",
    ];
    context.ok(&made);
    let again = context.run(&made);
    assert_eq!(again.code, 3, "{again:#?}");
    assert!(again.stderr.contains("`ours.toml` is there already"), "{again:#?}");
    let shown: Value =
        serde_json::from_str(&context.ok(&["suites", "show", "ours.toml", "--json"]).stdout)
            .unwrap();
    assert_eq!(shown["limits"]["timeout"], "45s");
    for entry in shown["competitions"].as_array().unwrap() {
        assert_eq!(entry["edition"], "v1");
        for pinned in ["competition.toml", "brief.md", "leaderboard.csv", "checksums.toml", "data"]
        {
            assert_eq!(entry["sha256"][pinned].as_str().map(str::len), Some(64), "{entry:#}");
        }
    }
    assert_eq!(context.ok(&["suites", "check", "ours.toml", "--json"]).stdout, "[]\n");
    let plan = |more: &[&str]| -> Value {
        let args = [&DRY_RUN[..], &["--json"], more].concat();
        serde_json::from_str(&context.run(&args).stdout).unwrap()
    };
    let kept = plan(&[]);
    assert_eq!((&kept["suite"], kept["attempts"].as_array().unwrap().len()), (&"ours".into(), 4));
    assert_eq!(kept["suite_file"]["sha256"], shown["sha256"]);
    assert_eq!(kept["suite_file"]["version"], "7");
    assert_eq!(kept["suite_file"]["departures"], Value::Null);
    assert_eq!(kept["limits"]["timeout"], plan(&["--timeout", "45s"])["limits"]["timeout"]);
    let other = plan(&["--seeds", "1"]);
    assert_eq!(other["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(other["suite_file"]["departures"][0], "seeds is 1, the suite says 2");
    let listed = context.ok(&["competitions", "list", "--suite", "ours.toml", "--json"]).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 2);
}

#[test]
fn the_groups_record_and_reports_say_which_suite() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes"]);
    context.ok(&["suites", "new", "one", "-c", "demo-bikes", "--limit", "timeout=45s"]);
    let run = [
        "run",
        "--agent",
        "sample",
        "--suite",
        "./one.toml",
        "--executor",
        "process",
        "--timeout",
        "30s",
    ];
    let called = context.ok(&run);
    assert!(
        called.stderr.contains("the suite's limits are not kept: timeout is 30s"),
        "{called:#?}"
    );
    let group = fs::read_dir(context.join("runs")).unwrap().next().unwrap().unwrap().path();
    let record = read_json(&group.join("group.json"));
    let sha256 = record["suite_file"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!((&record["suite"], sha256.len()), (&"one".into(), 64));
    let args =
        ["report", group.to_str().unwrap(), "--out", "rep", "--format", "json,markdown,html"];
    let told = context.ok(&args);
    assert!(told.stderr.contains("did not keep the limits of the suite `one`"), "{told:#?}");
    assert_eq!(
        read_json(&context.join("rep/report.json"))["groups"][0]["suite_file"]["sha256"],
        *sha256
    );
    assert!(read(&context, "rep/report.md").contains(&sha256));
    assert!(read(&context, "rep/report.html").contains(&sha256[..12]));
}

#[test]
fn another_competition_is_refused_with_what_differs() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes"]);
    context.ok(&["suites", "new", "ours", "-c", "demo-bikes"]);
    let run = |what: &str| {
        let called = context.run(&DRY_RUN);
        assert_eq!(called.code, 3, "{called:#?}");
        assert!(called.stderr.contains(what), "{called:#?}");
        let checked = context.run(&["suites", "check", "ours.toml"]);
        assert_eq!(checked.code, 5, "{checked:#?}");
        assert!(checked.stdout.contains(what), "{checked:#?}");
    };
    let whole = read(&context, "ours.toml");
    let hash = |name: &str| {
        let line = whole.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit('"').nth(1).unwrap().to_owned()
    };
    let with = |name: &str| {
        fs::write(context.join("ours.toml"), whole.replace(&hash(name), &"0".repeat(64))).unwrap();
    };
    with("\"brief.md\"");
    run("`demo-bikes`: brief.md is ");
    with("data");
    run("`demo-bikes`: data is ");
    fs::write(context.join("ours.toml"), whole.replace("\"demo-bikes\"", "\"demo-bykes\""))
        .unwrap();
    run("`demo-bykes`: the competition is not there, the suite says in the cat");
    for (text, why) in [
        ("name = \"lite\"", "is a built-in suite"),
        ("name = \"ours\"\nnmae = 1", "unknown key `nmae`; did you mean `name`?"),
    ] {
        fs::write(context.join("ours.toml"), whole.replace("name = \"ours\"", text)).unwrap();
        let called = context.run(&["suites", "show", "ours.toml"]);
        assert_eq!(called.code, 3, "{called:#?}");
        assert!(called.stderr.contains(why) && called.stderr.contains("line "), "{called:#?}");
    }
    let limit = context.run(&["suites", "new", "b", "-c", "demo-bikes", "--limit", "timeuot=3h"]);
    assert_eq!(limit.code, 3, "{limit:#?}");
    assert!(limit.stderr.contains("did you mean `timeout`?"), "{limit:#?}");
    let value = context.run(&["suites", "new", "b", "-c", "demo-bikes", "--limit", "timeout=soon"]);
    assert_eq!(value.code, 3, "{value:#?}");
    assert!(value.stderr.contains("`limits.timeout` is `soon`"), "{value:#?}");
    assert!(!context.join("b.toml").exists());
}

#[test]
fn the_contamination_gap_is_computed_or_it_is_said_why_not() {
    let context = TestContext::new();
    // One medal in two before the cut-off, none of one after it, and one competition without a date.
    fs::write(
        context.join("claims.csv"),
        "competition,seed,medal\nleaf-classification,0,gold\nspooky-author-identification,0,\n\
         petfinder-pawpularity-score,0,\nspaceship-titanic,0,bronze\n",
    )
    .unwrap();
    let gap = |cutoff: &str| {
        let args = [
            "report",
            "claims.csv",
            "--out",
            "rep",
            "--format",
            "json,markdown,html",
            "--cutoff",
            cutoff,
        ];
        context.ok(&args);
        read_json(&context.join("rep/report.json"))["agents"][0]["contamination"].clone()
    };
    let found = gap("2020-01-01");
    assert_eq!(found["before"]["competitions"], 2, "{found:#}");
    assert_eq!(found["after"]["competitions"], 1, "{found:#}");
    assert_eq!((&found["gap"], &found["interval"]), (&0.5.into(), &Value::Null));
    assert_eq!(found["undated"][0], "spaceship-titanic");
    for file in ["rep/report.md", "rep/report.html"] {
        let text = read(&context, file);
        assert!(
            text.contains("ontamination gap (before less after): +50.0 points"),
            "{file}: {text}"
        );
        assert!(text.contains("proves little"), "{file}");
    }
    let found = gap("2026-06-01");
    assert_eq!(found["gap"], Value::Null);
    assert!(
        found["summary"][1].as_str().unwrap().contains("no competition ended after"),
        "{found:#}"
    );
    let wrong = context.run(&["report", "claims.csv", "--cutoff", "summer"]);
    assert_eq!(wrong.code, 2, "{wrong:#?}");
    assert!(wrong.stderr.contains("`summer` is no day such as 2025-06-01"), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_suite_has_what_may_be_used_and_says_why_the_rest_may_not() {
    let server = KaggleServer::start().await;
    let site = [
        ("good-one", json!({}), true),
        ("spaceship-titanic", json!({"deadline": "2026-07-02T23:59:00Z"}), true),
        ("an-old-one", json!({"deadline": "2026-05-31T23:59:00Z"}), true),
        ("it-still-runs", json!({"deadline": "2999-01-01T00:00:00Z"}), true),
        ("notebooks-only", json!({"isKernelsSubmissionsOnly": true}), true),
        ("without-licence", json!({"licenseName": ""}), true),
        ("without-metric", json!({"evaluationMetric": ""}), true),
        ("without-board", json!({}), false),
        ("a-hackathon", json!({"category": "Hackathon"}), true),
        ("closed-rules", json!({}), true),
    ];
    for (id, facts, has_board) in site {
        server.add(id, fake_zip(500), &[("train.csv", b"id\n1\n")]);
        let mut all = json!({"deadline": "2026-06-30T23:59:00Z", "evaluationMetric": "Accuracy"});
        for (key, value) in facts.as_object().unwrap() {
            all[key] = value.clone();
        }
        let board = has_board.then(|| vec![0.9, 0.8, 0.7]);
        server.describe(id, Described { facts: all, board, ..Described::default() });
    }
    server.close_rules("closed-rules");
    let context = TestContext::new();
    let mut command = context.command();
    command.args(["suites", "new", "fresh", "--after", "2026-06-01"]);
    command.env("KAGGLE_API_ENDPOINT", server.root());
    command.env("KAGGLE_USERNAME", USERNAME).env("KAGGLE_KEY", KEY);
    let made =
        tokio::task::spawn_blocking(move || called(&command.output().unwrap())).await.unwrap();
    assert_eq!(made.code, 0, "{made:#?}");
    for (id, why) in [
        ("notebooks-only", "its test data are hidden"),
        ("without-licence", "the licence of its data is not stated"),
        ("without-metric", "it names no metric"),
        ("without-board", "it has no leaderboard"),
        ("a-hackathon", "it is a hackathon"),
        ("closed-rules", "its rules are not accepted: open "),
    ] {
        let line = made.stdout.lines().find(|line| line.contains(id));
        assert!(line.is_some_and(|line| line.contains(why)), "{id}: {made:#?}");
    }
    for id in ["an-old-one", "it-still-runs", "good-one"] {
        assert!(!made.stdout.contains(id), "{id}: {made:#?}");
    }
    assert!(made.stderr.contains("`medalist competitions new`, such as good-one"), "{made:#?}");
    let shown: Value =
        serde_json::from_str(&context.ok(&["suites", "show", "fresh.toml", "--json"]).stdout)
            .unwrap();
    assert_eq!(shown["after"], "2026-06-01");
    let entries = shown["competitions"].as_array().unwrap();
    let of = |id: &str| entries.iter().find(|entry| entry["id"] == id).unwrap();
    assert_eq!(entries.len(), 2, "{shown:#}");
    assert_eq!(of("good-one")["ended"], "2026-06-30");
    assert_eq!(of("good-one")["licence"], "CC BY 4.0");
    assert_eq!(of("good-one")["sha256"], Value::Null, "it is not in the catalogue");
    assert!(of("spaceship-titanic")["sha256"]["competition.toml"].is_string());
    let refused = context.run(&[
        "run",
        "--agent",
        "sample",
        "--suite",
        "fresh.toml",
        "--executor",
        "process",
        "--dry-run",
    ]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("`good-one`: the competition is not there"), "{refused:#?}");
}
