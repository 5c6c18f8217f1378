//! `report`, `leaderboard` and `compare` as a user runs them, on published results.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/runs/impulse-lite22")
}

fn medalist(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("medalist").expect("the binary is built");
    command.args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_published_low_row_is_reproduced_and_merged() {
    let output = medalist(&[
        "leaderboard",
        &golden().display().to_string(),
        "--agent",
        "Impulse",
        "--llm",
        "undisclosed",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert_eq!(table.lines().count(), 2 + 26 + 1);
    let row = table.lines().find(|line| line.starts_with("| Impulse |")).expect("the measured row");
    assert!(
        row.contains("| 86.36 ± 0.00 | n/a | n/a | n/a |") && row.contains("measured, 3 seeds"),
        "{row}"
    );
    let said = text(&output.stderr);
    assert!(
        said.contains("no Medium column for `Impulse`: Missing reports for competitions: "),
        "{said}"
    );
    assert!(said.contains(" and 35 more; cannot build complete seeds."), "{said}");
}

#[test]
fn the_aggregator_is_reproduced_for_every_catalogue_split() {
    let expected: Value = serde_json::from_slice(
        &std::fs::read(golden().join("expected_aggregate.json")).expect("a golden file"),
    )
    .expect("valid JSON");
    let run = |arguments: &[&str]| {
        let dir = golden().display().to_string();
        medalist(&[&["leaderboard", dir.as_str()], arguments].concat())
    };
    for (name, case) in expected.as_object().expect("cases by name") {
        let arguments: Vec<&str> = case["arguments"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let output = run(&arguments);
        if let Some(start) = case.get("message_starts").and_then(Value::as_str) {
            assert_eq!(output.status.code(), Some(3), "{name}");
            assert!(
                text(&output.stderr).starts_with(&format!("error: {start}")),
                "{name}: {}",
                text(&output.stderr)
            );
            continue;
        }
        let found: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mean =
            |value: &Value| value["aggregate"]["metrics"]["any_medal_percentage"]["mean"].as_f64();
        assert_eq!(mean(&found), mean(case), "{name}");
        assert_eq!(
            found["aggregate"]["num_seeds_averaged"], case["aggregate"]["num_seeds_averaged"],
            "{name}"
        );
    }
}

#[test]
fn a_report_on_foreign_files_has_facts_and_percentiles_from_the_catalogue() {
    let out = std::env::temp_dir().join(format!("medalist-foreign-report-{}", std::process::id()));
    let (dir, to) = (golden().display().to_string(), out.display().to_string());
    let output = medalist(&[
        "report",
        &dir,
        "--out",
        &to,
        "--format",
        "html,json,csv,markdown,mlebench,plots,pages,parquet",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("confirmation: 86.4% any medal (57 of 66 attempts on 22 competitions"),
        "{shown}"
    );
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).expect("report.json"))
            .expect("valid JSON");
    let attempt = &report["attempts"][0];
    assert_eq!(attempt["key"]["competition"], "aerial-cactus-identification");
    assert_eq!(attempt["modality"], "image");
    assert_eq!(attempt["grade"]["percentile"], 100.0);
    let again = medalist(&[
        "report",
        &out.join("confirmation_1_grading_report_grading_report.json").display().to_string(),
        "--json",
        "--format",
        "json",
        "--out",
        &to,
    ]);
    let again: Value = serde_json::from_slice(&again.stdout).expect("our own export is read back");
    assert_eq!(again["attempts"].as_array().map(Vec::len), Some(22));
    for file in [
        "report.html",
        "attempts.csv",
        "attempts.parquet",
        "report.md",
        "plots/medal-rates.svg",
        "pages/index.html",
        "pages/attempts/0.html",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    std::fs::remove_dir_all(out).expect("the test's own folder");
}

#[test]
fn a_gate_gives_its_exit_code_and_files_for_ci() {
    let report = |n: u32| {
        golden().join(format!("confirmation_{n}_grading_report.json")).display().to_string()
    };
    let same = medalist(&["compare", &report(1), "--against", &report(2), "--fail-on-regression"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    assert!(
        text(&same.stdout).contains("no regression found: the medal rate did not fall"),
        "{}",
        text(&same.stdout)
    );

    let out = std::env::temp_dir().join(format!("medalist-gate-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("writable");
    let mut bad: Value =
        serde_json::from_str(&std::fs::read_to_string(report(1)).expect("a golden file"))
            .expect("valid");
    for entry in bad["competition_reports"].as_array_mut().expect("a list") {
        for flag in ["gold_medal", "silver_medal", "bronze_medal", "any_medal"] {
            entry[flag] = false.into();
        }
    }
    let worse = out.join("worse_grading_report.json");
    std::fs::write(&worse, bad.to_string()).expect("writable");
    let (junit, markdown) = (out.join("gate.xml"), out.join("gate.md"));
    let gate = medalist(&[
        "compare",
        &report(1),
        "--against",
        &worse.display().to_string(),
        "--fail-on-regression",
        "--junit",
        &junit.display().to_string(),
        "--markdown",
        &markdown.display().to_string(),
    ]);
    assert_eq!(gate.status.code(), Some(6), "{}{}", text(&gate.stdout), text(&gate.stderr));
    assert!(
        std::fs::read_to_string(junit)
            .expect("written")
            .contains("<failure message=\"the medal rate fell by 86.4 points")
    );
    assert!(std::fs::read_to_string(markdown).expect("written").starts_with("### Regression\n"));
    let usage = medalist(&["compare", &report(1), "--against", &report(2), "--confidence", "101"]);
    assert_eq!(usage.status.code(), Some(2));
    std::fs::remove_dir_all(out).expect("the test's own folder");
}
