//! Reports and comparisons on inputs that once gave wrong intervals or mixed agents up.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

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
