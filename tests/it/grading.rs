//! `grade`, `grade-sample`, `validate` and `metrics` as users call them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

const CACTUS: &str = "aerial-cactus-identification";

pub(crate) fn golden(id: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grading").join(id).join(file)
}

fn medalist(arguments: &[&str]) -> Output {
    Command::cargo_bin("medalist").unwrap().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn report(submission: &Path, id: &str) -> Value {
    let answers = golden(id, "answers.csv");
    let output = medalist(&[
        "grade-sample",
        submission.to_str().unwrap(),
        id,
        "--answers",
        answers.to_str().unwrap(),
        "--json",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A data directory in which the golden answers are the prepared ones.
pub(crate) fn data_dir(id: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let prepared = data.path().join(id).join("prepared");
    fs::create_dir_all(prepared.join("private")).unwrap();
    fs::create_dir_all(prepared.join("public")).unwrap();
    fs::copy(golden(id, "answers.csv"), prepared.join("private/test.csv")).unwrap();
    let ids = fs::read_to_string(golden(id, "answers.csv")).unwrap();
    let sample: String =
        ids.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + ",0.5\n").collect();
    let sample = sample.replacen("id,0.5", "id,has_cactus", 1);
    fs::write(prepared.join("public/sample_submission.csv"), sample).unwrap();
    data
}

#[test]
fn a_perfect_submission_gets_gold() {
    let report = report(&golden(CACTUS, "perfect.csv"), CACTUS);
    assert_eq!((report["score"].as_f64(), report["medal"].as_str()), (Some(1.0), Some("gold")));
    assert_eq!(
        (report["gold_medal"].as_bool(), report["silver_medal"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!((report["rank"].as_u64(), report["percentile"].as_f64()), (Some(1), Some(100.0)));
    assert_eq!(report["submission_exists"], true);
}

#[test]
fn hostile_files_are_invalid_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("gzip.csv"), b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    fs::write(path("parquet.csv"), b"PAR1\x15\x04").unwrap();
    fs::write(path("utf16.csv"), b"\xff\xfei\0d\0").unwrap();
    fs::write(path("latin1.csv"), b"id,has_cactus\ncaf\xe9,1\n").unwrap();
    fs::write(path("ragged.csv"), b"id,has_cactus\na,1\nb,1,1\n").unwrap();
    fs::write(path("quote.csv"), b"id,has_cactus\na,\"1\n").unwrap();
    fs::write(path("empty.csv"), b"").unwrap();
    std::os::unix::fs::symlink(golden(CACTUS, "perfect.csv"), path("link.csv")).unwrap();
    nix::unistd::mkfifo(&path("pipe.csv"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for (name, kind) in [
        ("gzip", "foreign_format"),
        ("parquet", "foreign_format"),
        ("utf16", "foreign_format"),
        ("latin1", "encoding"),
        ("ragged", "malformed"),
        ("quote", "malformed"),
        ("empty", "missing_column"),
        ("link", "not_a_file"),
        ("pipe", "not_a_file"),
    ] {
        let report = report(&path(&format!("{name}.csv")), CACTUS);
        assert_eq!(
            (&report["valid_submission"], &report["score"]),
            (&Value::Bool(false), &Value::Null),
            "{name}"
        );
        assert_eq!(report["invalid"]["kind"], kind, "{name}: {}", report["invalid"]);
    }
    let missing = report(&path("nothing.csv"), CACTUS);
    assert_eq!(
        (&missing["submission_exists"], &missing["invalid"]),
        (&Value::Bool(false), &Value::Null)
    );
}

#[test]
fn thresholds_come_without_a_submission_and_in_mlebenchs_form() {
    let output = medalist(&["grade-sample", "None", CACTUS]);
    assert!(output.status.success());
    let stderr = text(&output.stderr);
    let json = stderr.split_once("Competition report:\n").unwrap().1;
    let report: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&report["competition_id"], report["gold_threshold"].as_f64()),
        (&Value::from(CACTUS), Some(1.0))
    );
    assert!(json.contains("\n    \"score\": null,"), "{json}");
}

#[test]
fn what_cannot_be_graded_has_its_exit_code() {
    let output = medalist(&["grade-sample", "None", "no-such-competition"]);
    assert_eq!(output.status.code(), Some(3));
    let submission = golden(CACTUS, "perfect.csv");
    let submission = submission.to_str().unwrap();
    let output = medalist(&["--data-dir", "/nonexistent", "grade-sample", submission, CACTUS]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("medalist prepare -c"), "{}", text(&output.stderr));
}

#[test]
fn a_list_is_graded_whatever_single_lines_do() {
    let data = data_dir(CACTUS);
    let line =
        |path: &str| format!("{{\"competition_id\": \"{CACTUS}\", \"submission_path\": {path}}}\n");
    let perfect = format!("\"{}\"", golden(CACTUS, "perfect.csv").display());
    let bad = data.path().join("bad.csv");
    fs::write(&bad, "id\n1\n").unwrap();
    let list = data.path().join("list.jsonl");
    let text_of_list = format!(
        "# a comment\n// another\n\n{}{}{}{{\"competition_id\": \"unknown\", \"submission_path\": null}}\nnot json\n",
        line(&perfect),
        line("null"),
        line(&format!("\"{}\"", bad.display()))
    );
    fs::write(&list, text_of_list).unwrap();
    let out = data.path().join("out");
    let arguments =
        ["grade", "--submission", list.to_str().unwrap(), "--output-dir", out.to_str().unwrap()];
    let output = medalist(
        &[&arguments[..], &["--data-dir", data.path().to_str().unwrap(), "--json"]].concat(),
    );
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].to_str().unwrap().ends_with("_grading_report.json"));
    let report: Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report, printed);
    let totals = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(
        (
            totals("total_runs"),
            totals("total_runs_with_submissions"),
            totals("total_valid_submissions")
        ),
        (5, 2, 1)
    );
    assert_eq!(
        (totals("total_medals"), totals("total_gold_medals"), totals("total_above_median")),
        (1, 1, 1)
    );
    assert_eq!(report["competition_reports"].as_array().unwrap().len(), 3);
    assert_eq!(report["failures"].as_array().unwrap().len(), 2);
}

#[test]
fn validation_says_valid_or_why_not_and_no_score() {
    let data = data_dir(CACTUS);
    let perfect = golden(CACTUS, "perfect.csv");
    let broken = data.path().join("broken.csv");
    fs::write(&broken, fs::read_to_string(&perfect).unwrap().replacen("has_cactus", "cactus", 1))
        .unwrap();
    for public in [&[][..], &["--public-only"]] {
        let validate = |path: &Path| {
            let arguments = [
                "--data-dir",
                data.path().to_str().unwrap(),
                "validate",
                path.to_str().unwrap(),
                CACTUS,
            ];
            medalist(&[&arguments[..], public].concat())
        };
        let output = validate(&perfect);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(0), "Submission is valid.\n")
        );
        let output = validate(&broken);
        assert_eq!(output.status.code(), Some(8));
        let message = text(&output.stdout);
        assert!(message.starts_with("Submission invalid! "), "{message}");
        assert!(message.contains("has no column `has_cactus`"), "{message}");
        let output = validate(Path::new("nothing.csv"));
        assert!(
            text(&output.stdout)
                .starts_with("Submission invalid! Submission file nothing.csv does not exist.")
        );
        let output = validate(Path::new("/etc/hostname"));
        assert_eq!(
            text(&output.stdout),
            "Submission invalid! Submission file must be a CSV file.\n"
        );
    }
}

#[test]
fn metrics_are_listed_and_explained() {
    let output = medalist(&["metrics", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), medalist_grading::METRICS.len());
    let output = medalist(&["metrics", "auroc"]);
    assert!(text(&output.stdout).starts_with("roc_auc\n"));
    assert_eq!(medalist(&["metrics", "nothing"]).status.code(), Some(3));
}
