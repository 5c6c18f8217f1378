//! Reports and comparisons on inputs that once gave wrong intervals or mixed agents up.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

use crate::support::TestContext;

fn input(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/reports")
        .join(name)
        .display()
        .to_string()
}

fn medalist(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("medalist").expect("the binary is built");
    command.args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `report.json` of some inputs.
fn report(name: &str, paths: &[String]) -> Value {
    let out = std::env::temp_dir().join(format!("medalist-{name}-{}", std::process::id()));
    let dir = out.display().to_string();
    let mut args = vec!["report", "--json", "--format", "json", "--out", &dir];
    args.extend(paths.iter().map(String::as_str));
    let output = medalist(&args);
    let _ = std::fs::remove_dir_all(out);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("valid JSON")
}

/// The estimate of any medal of the first agent.
fn any_medal(report: &Value) -> &Value {
    &report["agents"][0]["overall"]["estimates"][0]
}

fn width(interval: &Value) -> f64 {
    let end = |name: &str| interval[name].as_f64().expect("an interval");
    end("upper") - end("lower")
}

#[test]
fn single_attempts_beside_a_few_repeated_ones_make_a_wide_interval() {
    let report = report("uneven", &[input("uneven")]);
    let (these, like) = (&any_medal(&report)["on_these"], &any_medal(&report)["on_like_these"]);
    assert!(width(these) > 0.15 && width(like) > 0.15, "{these} {like}");
    assert_eq!(these["rough"], true, "two competitions stand for 75");
}

#[test]
fn an_interval_agrees_with_its_test() {
    let side = |name: &str| input(&format!("like-interval/{name}_grading_report.json"));
    let output = medalist(&["compare", &side("b"), "--against", &side("c"), "--json"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
    let change = &comparison["medal_rate"];
    assert_eq!(change["p_on_like_these"], 0.125);
    let like = &change["on_like_these"];
    assert!(like["lower"].as_f64() < Some(0.0) && like["upper"].as_f64() > Some(0.0), "{like}");
    assert!(width(like) >= width(&change["on_these"]), "{change}");
    assert!(
        change["detectable_on_like_these"].as_f64() >= change["detectable_on_these"].as_f64(),
        "{change}"
    );
}

#[test]
fn one_competition_says_nothing_of_others() {
    let report = report("one", &[input("one-competition")]);
    let estimate = any_medal(&report);
    assert_eq!(estimate["on_like_these"], Value::Null);
    assert_eq!(estimate["on_these"]["rough"], true);
    let lower = estimate["on_these"]["lower"].as_f64().expect("Wilson's interval");
    assert!((lower - 0.375_53).abs() < 1e-4, "{lower}");
    let history = medalist(&["history", &input("one-competition")]);
    let table = text(&history.stdout);
    assert!(table.contains(" these ") && !table.contains("like these"), "{table}");
}

#[test]
fn two_agents_in_one_folder_are_two() {
    let agents = |report: &Value| -> Vec<String> {
        let agents = report["agents"].as_array().expect("a list");
        agents.iter().map(|a| a["agent"].as_str().expect("a name").to_owned()).collect()
    };
    let folder = input("two-agents-one-folder");
    let both = report("two", std::slice::from_ref(&folder));
    assert_eq!(agents(&both), ["agentA", "agentB"]);
    assert_eq!(both["difference"]["first"], "agentA");
    let one = report("one-of-two", &[folder.clone(), "--agent".into(), "agentB".into()]);
    assert_eq!(agents(&one), ["agentB"]);
    let as_one = report("as-one", &[folder, "--agent".into(), "mine".into()]);
    assert_eq!(agents(&as_one), ["mine"]);
    assert_eq!(any_medal(&as_one)["attempts"], 150);
}

#[test]
fn groups_of_an_experiment_are_one_agent_with_seeds() {
    let runs = std::env::temp_dir().join(format!("medalist-experiment-{}", std::process::id()));
    let source = PathBuf::from(input("one-competition")).join("x_grading_report.json");
    let groups = ["x_group1", "x_group2", "other"];
    for group in groups {
        std::fs::create_dir_all(runs.join(group)).expect("writable");
        std::fs::copy(
            &source,
            runs.join(group).join("2025-01-02T03-04-05-GMT_grading_report.json"),
        )
        .expect("a copy");
    }
    let lines: String = groups.iter().map(|group| format!("e,{group}\n")).collect();
    std::fs::write(
        runs.join("run_group_experiments.csv"),
        format!("experiment_id,run_group\n{lines}"),
    )
    .expect("writable");
    let dir = runs.display().to_string();
    let of = |args: &[&str]| {
        let args =
            [&["report", "--json", "--runs-dir", &dir, "--format", "json", "--out", &dir], args];
        let output = medalist(&args.concat());
        serde_json::from_slice::<Value>(&output.stdout).expect("valid JSON")
    };
    let experiment = of(&["--experiment-id", "e"]);
    let folder = of(&[]);
    std::fs::remove_dir_all(runs).expect("the test's own folder");
    assert_eq!(experiment["agents"][0]["agent"], "e");
    assert_eq!(any_medal(&experiment)["attempts"], 15);
    let agents: Vec<&Value> =
        folder["agents"].as_array().expect("a list").iter().map(|a| &a["agent"]).collect();
    assert_eq!(agents, ["other", "x"]);
}

#[test]
fn tables_fit_80_columns_in_a_pipe_and_have_no_colours() {
    let side = |name: &str| input(&format!("like-interval/{name}_grading_report.json"));
    let out = std::env::temp_dir().join(format!("medalist-columns-{}", std::process::id()));
    let dir = out.display().to_string();
    let runs: [&[&str]; 3] = [
        &["report", &input("two-agents-one-folder"), "--format", "json", "--out", &dir],
        &["compare", &side("b"), "--against", &side("c"), "--plan", "3"],
        &["history", &input("two-agents-one-folder")],
    ];
    for args in runs {
        let output = medalist(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", args[0]);
        }
    }
    let _ = std::fs::remove_dir_all(out);
}

/// A group of three attempts that cost `dollars` each, and something more by seed; none if nothing
/// was recorded.
fn group_of(context: &TestContext, dollars: Option<f64>) -> String {
    let run = ["run", "--agent", "sample", "-c", "demo-digits", "--seeds", "3"];
    context.ok(&[&run[..], &["--executor", "process"]].concat());
    let runs = std::fs::read_dir(context.join("runs")).expect("run groups");
    let newest = runs.map(|entry| entry.expect("an entry").path()).max().expect("a group");
    for attempt in std::fs::read_dir(&newest).expect("a group's folder") {
        let path = attempt.expect("an entry").path().join("attempt.json");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let mut record: Value = serde_json::from_str(&text).expect("valid JSON");
        if let Some(dollars) = dollars {
            let seed = record["key"]["seed"].as_f64().expect("a seed");
            let picodollars = ((dollars + seed / 100.0) * 1e12) as u64;
            let totals = serde_json::json!({"calls": 10, "picodollars": picodollars});
            record["llm"] = serde_json::json!({"totals": totals, "models": {"m": totals}});
        }
        std::fs::write(&path, record.to_string()).expect("writable");
    }
    // Groups of one second are told apart by a number at the end of their names.
    let kept = context.join(&format!("kept-{}", dollars.unwrap_or_default()));
    std::fs::rename(&newest, &kept).expect("the test's own folder");
    kept.display().to_string()
}

#[test]
fn costs_are_a_gate_with_the_codes_of_the_others() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-digits"]);
    let (cheap, dear, silent) =
        (group_of(&context, Some(1.0)), group_of(&context, Some(2.0)), group_of(&context, None));
    let compared = |b: &str, c: &str, limit: &str| {
        context.run(&["compare", b, "--against", c, "--max-cost-increase", limit])
    };
    let above = compared(&cheap, &dear, "10%");
    assert_eq!(above.code, 6, "{above:#?}");
    assert!(above.stdout.contains("COST ABOVE THE LIMIT"), "{above:#?}");
    assert_eq!(compared(&cheap, &dear, "200%").code, 0);
    assert_eq!(compared(&dear, &cheap, "0").code, 0);
    let unknown = compared(&cheap, &silent, "10%");
    assert_eq!(unknown.code, 5, "{unknown:#?}");
    assert!(unknown.stdout.contains("cost not decided"), "{unknown:#?}");
    assert_eq!(compared(&cheap, &dear, "much").code, 2);
    // Without the flag costs are shown, and nothing fails for them.
    let shown = context.ok(&["compare", &cheap, "--against", &dear, "--fail-on-regression"]);
    assert!(shown.stdout.contains("cost of an attempt: $1.01 before, $2.01 after"), "{shown:#?}");
    let report = context.ok(&["report", &cheap, "--format", "json", "--out", "out"]);
    assert!(report.stdout.contains("no medal") && report.stdout.contains("$3.03"), "{report:#?}");
}

#[test]
fn what_attempts_had_reached_by_a_time_is_reported_from_the_same_runs() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-digits"]);
    let other = group_of(&context, None);
    context.ok(&["run", "--agent", "sample", "-c", "demo-digits", "--executor", "process"]);
    let runs = std::fs::read_dir(context.join("runs")).expect("run groups");
    let group = runs.map(|entry| entry.expect("an entry").path()).max().expect("a group");
    let entries = std::fs::read_dir(&group).expect("a group's folder");
    let record = entries.map(|entry| entry.expect("an entry").path().join("attempt.json"));
    let record = record.into_iter().find(|path| path.is_file()).expect("an attempt");
    let read = std::fs::read(&record).expect("readable");
    let mut value: Value = serde_json::from_slice(&read).expect("valid JSON");
    value["took_s"] = 20_000.into();
    let snapshot = |after_s: u32, score: f64| serde_json::json!({"after_s": after_s, "valid": true, "score": score});
    value["snapshots"] = serde_json::json!([snapshot(3000, 1.5), snapshot(7000, 0.05)]);
    std::fs::write(&record, value.to_string()).expect("writable");
    let group = group.display().to_string();

    let shown = context.ok(&["report", &group, "--at", "1h,2h,6h", "--json"]);
    let reports: Value = serde_json::from_str(&shown.stdout).expect("valid JSON");
    let grade = |report: usize| &reports[report]["attempts"][0]["grade"];
    assert_eq!((&grade(0)["score"], &grade(0)["medal"]), (&1.5.into(), &Value::Null));
    assert_eq!((&grade(1)["score"], &grade(1)["gold"]), (&0.05.into(), &true.into()));
    assert_ne!(grade(2)["score"], grade(1)["score"], "it was over, and its submission counts");
    assert!(shown.stderr.contains("last valid snapshot"), "{shown:#?}");
    assert!(Path::new(&group).join("report/after-1h/report.html").is_file());

    let board = context.ok(&["leaderboard", "--measured-only", "--at", "1h,2h", &group]);
    assert!(board.stdout.contains("| sample, 2h |"), "{board:#?}");
    let compared =
        context.ok(&["compare", &group, "--against", &other, "--at", "1h,2h", "--plan", "5"]);
    assert_eq!(compared.stdout.matches("After ").count(), 2, "{compared:#?}");
    let page = context.join("page.html").display().to_string();
    let files = ["compare", &group, "--against", &other, "--at", "1h,2h", "--html", &page];
    assert_eq!(context.run(&files).code, 2);
}

#[test]
fn claims_stand_beside_measurements_and_say_so() {
    let context = TestContext::new();
    let table = context.join("paper.csv");
    std::fs::write(&table, "competition,seed,medal\ndemo-digits,0,gold\ndemo-bikes,0,none\n")
        .expect("writable");
    let path = table.display().to_string();
    let report = context.ok(&["report", &path, "--out", "out", "--format", "html,json"]);
    assert!(report.stdout.contains("paper (claimed): 50.0% any medal"), "{report:#?}");
    assert!(report.stdout.contains("claimed, not measured"), "{report:#?}");
    assert!(!report.stdout.contains("valid submissions"), "{report:#?}");
    let page = std::fs::read_to_string(context.join("out/report.html")).expect("a page");
    assert!(page.contains("nothing of them was checked"), "the page says so above all");
    let row =
        ["leaderboard", "--measured-only", &path, "--date", "2026-04-01", "--source", "a paper"];
    let board = context.ok(&row);
    assert!(board.stdout.contains("claimed, not measured, a paper |"), "{board:#?}");

    std::fs::write(&table, "competition,medal\ndemo-digits,platinum\n").expect("writable");
    let refused = context.run(&["report", &path, "--out", "out"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("line 2, column `medal`: `platinum`"), "{refused:#?}");
}
