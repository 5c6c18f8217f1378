//! A submission that is made to be dear ends the process that grades it and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

use crate::grading::{data_dir, golden};

const CACTUS: &str = "aerial-cactus-identification";

fn medalist(data: &Path, limits: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("medalist").unwrap();
    command.arg("--data-dir").arg(data).args(limits).args(arguments).output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of 60 MB with the right columns.
fn large(folder: &Path) -> PathBuf {
    let mut text = String::from("id,has_cactus\n");
    for row in 0..1_500_000 {
        let _ = writeln!(text, "{row:032x}.jpg,0.5");
    }
    let path = folder.join("large.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn too_much_memory_makes_a_submission_invalid_and_others_are_graded() {
    let data = data_dir(CACTUS);
    let (large, perfect) = (large(data.path()), golden(CACTUS, "perfect.csv"));
    let small = ["--grading-memory", "40MiB"];
    let output = medalist(data.path(), &small, &["grade-sample", path(&large), CACTUS, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["submission_exists"], &report["valid_submission"]),
        (&true.into(), &false.into())
    );
    assert_eq!(report["invalid"]["kind"], "too_expensive", "{report}");
    let message = report["invalid"]["message"].as_str().unwrap();
    assert!(message.contains("40.0 MiB") && message.contains("`--grading-memory`"), "{message}");

    let output = medalist(data.path(), &small, &["validate", path(&large), CACTUS]);
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));

    // Without the limit it is read to its end, and refused for what is in it.
    let output = medalist(data.path(), &[], &["grade-sample", path(&large), CACTUS, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["invalid"]["kind"], "row_count", "{report}");

    let line = |file: &Path| {
        serde_json::json!({"competition_id": CACTUS, "submission_path": file}).to_string() + "\n"
    };
    let list = data.path().join("list.jsonl");
    fs::write(&list, [&large, &perfect, &large, &perfect].map(|file| line(file)).concat()).unwrap();
    let grade = ["grade", "--submission", path(&list), "--output-dir", path(data.path()), "--json"];
    let output = medalist(data.path(), &small, &grade);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let medals: Vec<&Value> = report["competition_reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|report| &report["medal"])
        .collect();
    assert_eq!(medals, [&Value::Null, &"gold".into(), &Value::Null, &"gold".into()]);
}

#[test]
fn too_much_time_makes_a_submission_invalid() {
    let data = data_dir(CACTUS);
    let perfect = golden(CACTUS, "perfect.csv");
    // No process starts as quickly.
    let output = medalist(
        data.path(),
        &["--grading-time", "10us"],
        &["grade-sample", path(&perfect), CACTUS, "--json"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["invalid"]["kind"], "too_expensive", "{report}");
    assert!(
        report["invalid"]["message"].as_str().unwrap().contains("`--grading-time`"),
        "{report}"
    );
}

#[test]
fn answers_that_are_too_large_for_the_limit_are_no_fault_of_the_submission() {
    let data = data_dir(CACTUS);
    let answers = data.path().join(CACTUS).join("prepared/private/test.csv");
    let text = fs::read_to_string(&answers).unwrap();
    let perfect = golden(CACTUS, "perfect.csv");
    // Columns that nobody grades, more bytes than the submission may use.
    let wide: String =
        text.lines().map(|line| format!("{line},{}\n", "x".repeat(100_000))).collect();
    fs::write(&answers, wide).unwrap();
    let limits = ["--grading-memory", "8MiB"];
    let output =
        medalist(data.path(), &limits, &["grade-sample", path(&perfect), CACTUS, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["medal"], "gold", "{report}");
}

#[test]
fn a_sample_that_is_dear_to_grade_is_a_finding_of_the_checkup() {
    let data = data_dir(CACTUS);
    let sample = data.path().join(CACTUS).join("prepared/public/sample_submission.csv");
    fs::rename(large(data.path()), &sample).unwrap();
    let limits = ["--grading-memory", "40MiB"];
    let output = medalist(data.path(), &limits, &["competitions", "doctor", CACTUS, "--json"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = |name: &str| {
        let checks = found[0]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap().clone()
    };
    let why = check("sample-valid")["files"][0]["problem"].as_str().unwrap().to_owned();
    assert!(why.contains("40.0 MiB") && why.contains("`--grading-memory`"), "{why}");
    assert_eq!(check("answers-win")["state"], "passed", "{found:#}");
}
