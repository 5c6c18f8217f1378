//! A user's own competition: the example that `docs/own-competition.md` explains, prepared and
//! graded by the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The example's folder and a data directory of the test's own.
struct Own {
    data: TempDir,
}

impl Own {
    fn new() -> Self {
        Self { data: tempfile::tempdir().expect("a temporary directory can be made") }
    }

    fn folder(id: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own-competition").join(id)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
        command
            .args(arguments)
            .arg("--catalog")
            .arg(Self::folder(""))
            .arg("--data-dir")
            .arg(self.data.path());
        command.output().expect("the program starts")
    }

    fn prepare(&self, id: &str) {
        let raw = Self::folder(id).join("raw");
        let output = self.run(&["prepare", "-c", id, "--raw-dir", &raw.to_string_lossy()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn prepared(&self, id: &str, file: &str) -> PathBuf {
        self.data.path().join(id).join("prepared").join(file)
    }

    fn grade(&self, id: &str, submission: &Path) -> Value {
        let output = self.run(&["grade-sample", &submission.to_string_lossy(), id, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the report is JSON")
    }
}

#[test]
fn a_built_in_metric_grades_prepared_data() {
    let own = Own::new();
    own.prepare("plant-heights");
    let sample =
        own.grade("plant-heights", &own.prepared("plant-heights", "public/sample_submission.csv"));
    assert!(sample["score"].as_f64().is_some_and(|score| score > 3.0), "{sample}");
    assert_eq!(sample["bronze_medal"], false);
    let perfect = own.grade("plant-heights", &own.prepared("plant-heights", "private/answers.csv"));
    assert_eq!(
        (&perfect["score"], &perfect["gold_medal"]),
        (&Value::from(0.0), &Value::from(true))
    );
}

#[test]
fn a_program_of_its_own_grades() {
    let own = Own::new();
    own.prepare("vowels");
    let sample = own.grade("vowels", &own.prepared("vowels", "public/sample_submission.csv"));
    assert_eq!(sample["score"], 0.85);
    let wrong = own.data.path().join("wrong.csv");
    let text = std::fs::read_to_string(own.prepared("vowels", "private/answers.csv"))
        .expect("it was prepared");
    std::fs::write(&wrong, text.replacen("w01,2", "w01,two", 1))
        .expect("the directory is writable");
    let invalid = own.grade("vowels", &wrong);
    assert_eq!(invalid["valid_submission"], false);
    assert!(invalid.to_string().contains("word w01 has no whole number"), "{invalid}");
}

#[test]
fn it_is_listed_beside_the_built_in_ones() {
    let own = Own::new();
    let output = own.run(&["competitions", "show", "plant-heights", "--json"]);
    let facts: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(facts["thresholds"]["gold"], 1.5);
    assert_eq!(facts["suites"], serde_json::json!([]));
    let output = own.run(&["competitions", "list", "--complexity", "unrated"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("plant-heights") && table.contains("vowels") && table.lines().count() == 3,
        "{table}"
    );
}
