//! `medalist competitions doctor` on sound data, and on every kind of damage.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Called, TestContext};

const ID: &str = "spaceship-titanic";

/// A prepared competition to damage.
struct Patient {
    context: TestContext,
    id: &'static str,
}

impl Patient {
    fn of_golden() -> Self {
        // With a changed constant the published checksums, which are those of the real data, are
        // left aside.
        Self::of_golden_of(ID, &["--override", "test_size=0.2"])
    }

    fn of_golden_of(id: &'static str, more: &[&str]) -> Self {
        let context = TestContext::new();
        let zip =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/prepare/{id}.zip"));
        let zip = ["--raw-zip", zip.to_str().unwrap(), "--skip-verification"];
        context.ok(&[&["prepare", "-c", id], &zip[..], more].concat());
        Self { context, id }
    }

    fn of_demo() -> Self {
        let context = TestContext::new();
        context.ok(&["prepare", "-c", "demo-bikes"]);
        Self { context, id: "demo-bikes" }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.context.join("data").join(self.id).join("prepared").join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.file(name)).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "the test changes `{name}`");
        fs::write(self.file(name), changed).unwrap();
    }

    fn checked(&self) -> Called {
        self.context.run(&["competitions", "doctor", self.id])
    }

    /// The findings as JSON, and the exit code.
    fn findings(&self) -> (i32, Value) {
        let called = self.context.run(&["competitions", "doctor", self.id, "--json"]);
        let mut all: Value =
            serde_json::from_str(&called.stdout).unwrap_or_else(|_| panic!("{called:#?}"));
        (called.code, all[0].take())
    }

    /// Expects exactly these checks to fail, and these verdicts on raw, prepared and graded data.
    fn assert_fails(&self, failing: &[&str], verdicts: [&str; 3]) -> Value {
        let (code, findings) = self.findings();
        let checks = findings["checks"].as_array().unwrap();
        let failed: Vec<&str> = checks
            .iter()
            .filter(|check| check["state"] == "failed")
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(failed, failing, "{findings:#}");
        let found = ["raw", "prepared", "grading"]
            .map(|layer| findings["verdicts"][layer].as_str().unwrap());
        assert_eq!(found, verdicts, "{findings:#}");
        assert_eq!(code, if failing.is_empty() { 0 } else { 5 });
        findings
    }
}

fn check<'a>(findings: &'a Value, name: &str) -> &'a Value {
    findings["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == name)
        .expect("every check is named")
}

#[test]
fn sound_data_are_called_sound() {
    let demo = Patient::of_demo();
    let findings = demo.assert_fails(&[], ["same", "same", "same"]);
    assert_eq!(
        (&findings["edition"], check(&findings, "published")["state"].as_str()),
        (&"v1".into(), Some("passed"))
    );
    let sheet = demo.checked();
    assert_eq!(sheet.code, 0);
    assert!(sheet.stdout.contains("what grading needs  as it must be"), "{}", sheet.stdout);
    let golden = Patient::of_golden();
    let findings = golden.assert_fails(&[], ["unknown", "same", "same"]);
    assert_eq!(findings["edition"], "v1 with test_size=0.2");
    assert!(check(&findings, "download")["detail"].as_str().unwrap().contains("not at hand"));
    assert!(
        check(&findings, "no-answers")["detail"].as_str().unwrap().contains("2 tables"),
        "{findings:#}"
    );
}

#[test]
fn files_that_changed_vanished_or_came_are_named() {
    let patient = Patient::of_golden();
    patient.edit("public/train.csv", |text| text.replacen("Earth", "Venus", 1));
    fs::write(patient.file("public/notes.txt"), "mine").unwrap();
    let findings = patient.assert_fails(&["files"], ["unknown", "differs", "same"]);
    let files = check(&findings, "files")["files"].to_string();
    assert!(
        files.contains("other content in the same")
            && files.contains("not made by the preparation (4 bytes)"),
        "{files}"
    );
    fs::remove_file(patient.file("public/test.csv")).unwrap();
    let sheet = patient.checked();
    assert_eq!(sheet.code, 5);
    assert!(sheet.stdout.contains("`public/test.csv` is missing"), "{}", sheet.stdout);
    assert!(sheet.stdout.contains("prepared data       DIFFERS"), "{}", sheet.stdout);
}

#[test]
fn a_download_that_is_not_the_published_one_is_the_raw_verdict() {
    let patient = Patient::of_golden();
    let zip = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/prepare/{ID}.zip"));
    fs::copy(zip, patient.context.join("data").join(ID).join(format!("{ID}.zip"))).unwrap();
    let findings = patient.assert_fails(&["download"], ["differs", "same", "same"]);
    assert!(
        check(&findings, "download")["files"][0]["problem"].as_str().unwrap().contains("expected")
    );
}

#[test]
fn published_checksums_are_compared_by_verdict() {
    let patient = Patient::of_demo();
    patient.edit("public/train.csv", |text| format!("{text}\n"));
    patient.assert_fails(&["files", "published"], ["same", "differs", "same"]);
    let patient = Patient::of_demo();
    patient.edit("public/sample_submission.csv", |text| text.replacen(",100", ",101", 1));
    patient.assert_fails(&["graded-files", "published-graded"], ["same", "same", "differs"]);
}

#[test]
fn answers_that_do_not_win_are_found() {
    let patient = Patient::of_golden_of("tensorflow2-question-answering", &[]);
    patient.edit("private/gold_submission.csv", |text| {
        let (header, rows) = text.split_once('\n').unwrap();
        let wrong = rows.lines().map(|line| format!("{},0:1\n", line.split(',').next().unwrap()));
        format!("{header}\n{}", wrong.collect::<String>())
    });
    let findings = patient.findings().1;
    let check = check(&findings, "answers-win");
    assert_eq!(
        (&check["state"], &check["files"][0]["file"]),
        (&"failed".into(), &"private/gold_submission.csv".into())
    );
    assert!(check["files"][0]["problem"].as_str().unwrap().contains("gold needs"), "{check}");
    assert_eq!(findings["verdicts"]["grading"], "differs");

    let patient = Patient::of_golden();
    patient.edit("private/test.csv", |text| text.replacen("Transported", "transported", 1));
    let findings = patient.assert_fails(
        &["graded-files", "answers-win", "sample-valid"],
        ["unknown", "same", "differs"],
    );
    assert!(
        self::check(&findings, "answers-win")["files"][0]["problem"]
            .as_str()
            .unwrap()
            .contains("Transported")
    );
}

#[test]
fn a_sample_that_is_not_valid_is_found() {
    let patient = Patient::of_golden();
    patient.edit("public/sample_submission.csv", |text| {
        text.replacen("Transported", "transported", 1)
    });
    let findings =
        patient.assert_fails(&["graded-files", "sample-valid"], ["unknown", "same", "differs"]);
    assert!(
        check(&findings, "sample-valid")["files"][0]["problem"]
            .as_str()
            .unwrap()
            .contains("Transported")
    );
}

#[test]
fn ids_that_do_not_agree_are_found() {
    let patient = Patient::of_golden();
    let first = |text: &str| text.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let id = first(&fs::read_to_string(patient.file("public/sample_submission.csv")).unwrap());
    patient.edit("public/sample_submission.csv", |text| text.replacen(&id, "9999_99", 1));
    let findings = patient.assert_fails(
        &["graded-files", "sample-valid", "ids-agree"],
        ["unknown", "same", "differs"],
    );
    let files = check(&findings, "ids-agree")["files"].to_string();
    assert!(
        files.contains("such as `9999_99`") && files.contains(&format!("such as `{id}`")),
        "{files}"
    );
}

#[test]
fn public_files_that_tell_answers_are_found() {
    // The whole test table with its answers, also inside an archive; a column of guesses is no
    // leak.
    let patient = Patient::of_golden();
    let answers = fs::read_to_string(patient.file("private/test.csv")).unwrap();
    fs::write(patient.file("public/old_test.csv"), &answers).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(patient.file("public/more.zip")).unwrap());
    zip.start_file("a.csv", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(answers.as_bytes()).unwrap();
    zip.finish().unwrap();
    let flip =
        |line: &str| line.replace("True", "x").replace("False", "True").replace('x', "False");
    let guesses: Vec<String> = answers
        .lines()
        .enumerate()
        .map(|(k, line)| if k % 2 == 0 { line.into() } else { flip(line) })
        .collect();
    fs::write(patient.file("public/guesses.csv"), guesses.join("\n")).unwrap();
    let findings = patient.assert_fails(&["files", "no-answers"], ["unknown", "differs", "same"]);
    let files = check(&findings, "no-answers")["files"].as_array().unwrap();
    let named: Vec<&str> = files.iter().map(|file| file["file"].as_str().unwrap()).collect();
    assert_eq!(named, ["public/more.zip/a.csv", "public/old_test.csv"]);
    assert!(
        files[0]["problem"].as_str().unwrap().starts_with("tells `Transported` of "),
        "{files:?}"
    );
}

#[test]
fn a_sample_that_holds_the_answers_is_found() {
    let patient = Patient::of_golden();
    let answers = fs::read_to_string(patient.file("private/test.csv")).unwrap();
    let rows: Vec<String> = answers
        .lines()
        .map(|line| {
            format!("{},{}", line.split(',').next().unwrap(), line.rsplit(',').next().unwrap())
        })
        .collect();
    fs::write(patient.file("public/sample_submission.csv"), rows.join("\n")).unwrap();
    patient.assert_fails(&["graded-files", "no-answers"], ["unknown", "differs", "differs"]);
}

#[test]
fn answers_that_are_gone_are_named() {
    let patient = Patient::of_golden();
    fs::remove_file(patient.file("private/test.csv")).unwrap();
    let failing = ["graded-files", "answers-win", "sample-valid", "ids-agree"];
    // Whether answers are in the public part cannot be told without them.
    patient.assert_fails(&failing, ["unknown", "unknown", "differs"]);
}

#[test]
fn data_that_mle_bench_prepared_have_no_manifest() {
    let patient = Patient::of_demo();
    let home = patient.context.join("data/demo-bikes");
    for file in ["manifest.json", "prepare.json"] {
        fs::remove_file(home.join(file)).unwrap();
    }
    let findings = patient.assert_fails(&[], ["same", "same", "same"]);
    assert!(
        check(&findings, "files")["detail"].as_str().unwrap().starts_with("no manifest"),
        "{findings:#}"
    );
}

#[test]
fn all_prepared_ones_are_checked_and_unprepared_ones_named() {
    let context = TestContext::new();
    let none = context.run(&["competitions", "doctor", "--all"]);
    assert_eq!(none.code, 3, "{none:#?}");
    context.ok(&["prepare", "--suite", "demo"]);
    let all = context.ok(&["competitions", "doctor", "--all", "--json"]);
    let found: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 4);
    let other = context.run(&["competitions", "doctor", ID]);
    assert_eq!(other.code, 3);
    assert!(
        other.stderr.contains("`spaceship-titanic` is not prepared")
            && other.stderr.contains("hint:"),
        "{}",
        other.stderr
    );
    assert_eq!(context.run(&["competitions", "doctor"]).code, 2);
    assert_eq!(context.run(&["competitions", "doctor", "spaceship-titanc"]).code, 3);
}
