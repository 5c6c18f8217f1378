//! A user's own competition: the example that `docs/own-competition.md` explains, prepared and
//! graded by the program.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
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
fn a_split_that_is_said_needs_no_program() {
    let own = Own::new();
    own.prepare("garden-birds");
    let read = |file: &str| {
        std::fs::read_to_string(own.prepared("garden-birds", file)).expect("it was prepared")
    };
    let column = |file: &str, place: usize| -> Vec<String> {
        let text = read(file);
        text.lines().skip(1).map(|row| row.split(',').nth(place).unwrap().to_owned()).collect()
    };
    let (train, test) = (column("public/train.csv", 1), column("public/test.csv", 1));
    let raw = std::fs::read_to_string(Own::folder("garden-birds").join("raw/visits.csv")).unwrap();
    assert_eq!(train.len() + test.len(), raw.lines().count() - 1);
    assert!(train.iter().all(|garden| !test.contains(garden)), "{train:?} {test:?}");
    for (part, gardens) in [("train", &train), ("test", &test)] {
        let mut gardens = gardens.clone();
        gardens.dedup();
        assert_eq!(column(&format!("public/{part}_gardens.csv"), 0), gardens);
    }
    assert_eq!(column("public/test.csv", 0), column("private/answers.csv", 0));
    assert!(read("public/test.csv").starts_with("visit,garden,month,hour,feeders\n"));
    let sample =
        own.grade("garden-birds", &own.prepared("garden-birds", "public/sample_submission.csv"));
    assert!(sample["score"].as_f64().is_some_and(|score| score > 3.5), "{sample}");
    let perfect = own.grade("garden-birds", &own.prepared("garden-birds", "private/answers.csv"));
    assert_eq!((&perfect["score"], &perfect["gold_medal"]), (&Value::from(0.0), &true.into()));

    let output = own.run(&["competitions", "doctor", "garden-birds", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("the findings are JSON");
    let checks = found[0]["checks"].as_array().expect("there are checks");
    assert!(checks.iter().all(|check| check["state"] != "failed"), "{found:#}");

    // The agent that submits the sample gets the score of the sample.
    let runs = own.data.path().join("runs");
    let arguments = ["run", "--agent", "sample", "-c", "garden-birds", "--executor", "process"];
    let output = own.run(&[&arguments[..], &["--runs-dir", &runs.to_string_lossy()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let grades: Vec<Value> = walkdir::WalkDir::new(runs)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() == "grade.json")
        .map(|entry| serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap())
        .collect();
    assert_eq!(grades.len(), 1);
    assert_eq!(grades[0]["score"], sample["score"]);
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
        ["garden-birds", "plant-heights", "vowels"].iter().all(|id| table.contains(id))
            && table.lines().count() == 4,
        "{table}"
    );
}

/// A copy of `plant-heights` with one text of its entry in place of another, in a catalogue of its
/// own.
fn changed(folder: &Path, from: &str, to: &str) -> PathBuf {
    let (own, mine) = (Own::folder("plant-heights"), folder.join("catalogue/plant-heights"));
    std::fs::create_dir_all(&mine).unwrap();
    for name in ["brief.md", "prepare.sh"] {
        std::fs::copy(own.join(name), mine.join(name)).unwrap();
    }
    let text = std::fs::read_to_string(own.join("competition.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(mine.join("competition.toml"), text.replacen(from, to, 1)).unwrap();
    folder.join("catalogue")
}

fn run_in(catalogue: &Path, data: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
    command.args(arguments).arg("--catalog").arg(catalogue).arg("--data-dir").arg(data);
    let output = command.output().expect("the program starts");
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_command_refuses_an_entry_that_cannot_be_used() {
    for (from, to, message) in [
        ("\"rmse\"", "\"rmsee\"", "unknown metric `rmsee`"),
        ("gold = 1.5", "gold = inf", "`thresholds.gold` is inf"),
        ("gold = 1.5", "gold = nan", "`thresholds.gold` is NaN"),
        ("gold = 1.5", "gold = 9.5", "9.5"),
        (
            "\nid_columns",
            "\nanswer_columns = [\"a\", \"b\"]\nid_columns",
            "has 2 names, expected 1",
        ),
        ("\ncommand =", "\ncomand =", "did you mean `command`?"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = changed(folder.path(), from, to);
        for arguments in [
            &["competitions", "show", "plant-heights"][..],
            &["competitions", "doctor", "plant-heights"],
            &["prepare", "-c", "plant-heights"],
        ] {
            let (code, text) = run_in(&catalogue, folder.path(), arguments);
            assert_eq!(code, 3, "{arguments:?}: {text}");
            assert!(text.contains(message), "{arguments:?}: {text}");
            assert!(text.contains("plant-heights/competition.toml`, line "), "{text}");
        }
    }
}

#[test]
fn a_command_that_makes_too_little_or_takes_too_long_prepares_nothing() {
    for (from, to, message) in [
        (
            "[\"sh\", \"prepare.sh\"]",
            "[\"sh\", \"-c\", \"echo x > $PUBLIC_DIR/x\"]",
            "did not make `private/answers.csv`",
        ),
        (
            "[\"sh\", \"prepare.sh\"]",
            "[\"sleep\", \"1000\"]\ntimeout_s = 1",
            "it took longer than 1 s",
        ),
        ("[\"sh\", \"prepare.sh\"]", "[\"sh\", \"-c\", \"exit 9\"]", "exit status: 9"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = changed(folder.path(), from, to);
        let raw = Own::folder("plant-heights").join("raw");
        let arguments = ["prepare", "-c", "plant-heights", "--raw-dir", raw.to_str().unwrap()];
        let (code, text) = run_in(&catalogue, folder.path(), &arguments);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains(message), "{text}");
        assert!(!folder.path().join("plant-heights/prepared").exists());
    }
}

#[test]
fn a_command_ends_with_the_program_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, raw) = (folder.path().join("pipe"), Own::folder("plant-heights").join("raw"));
    // The command and its child hold the pipe open for writing for as long as they live.
    let script =
        format!("mkfifo {0}; exec 3<> {0}; sleep 1000 & touch {0}.up; sleep 1000", pipe.display());
    let command = format!("[\"sh\", \"-c\", \"{script}\"]");
    let catalogue = changed(folder.path(), "[\"sh\", \"prepare.sh\"]", &command);
    let mut program = Command::new(env!("CARGO_BIN_EXE_medalist"))
        .args(["prepare", "-c", "plant-heights", "--raw-dir"])
        .args([&raw, Path::new("--catalog"), &catalogue, Path::new("--data-dir"), folder.path()])
        .spawn()
        .expect("the program starts");
    let came = |what: &str, is_there: &mut dyn FnMut() -> bool| {
        let began = std::time::Instant::now();
        while !is_there() {
            assert!(began.elapsed().as_secs() < 60, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    came("the command never started", &mut || folder.path().join("pipe.up").exists());
    program.kill().expect("it runs");
    program.wait().expect("it ran");
    // Without a writer a pipe is at its end; with one it has nothing yet.
    const O_NONBLOCK: i32 = 0o4000;
    let mut reader =
        std::fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(pipe).unwrap();
    came("the command outlived the program", &mut || {
        reader.read(&mut [0]).is_ok_and(|read| read == 0)
    });
}

#[test]
fn a_check_that_was_skipped_is_not_as_it_must_be() {
    let own = Own::new();
    own.prepare("plant-heights");
    let output = own.run(&["competitions", "doctor", "plant-heights", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("the findings are JSON");
    let checks = found[0]["checks"].as_array().expect("there are checks");
    for (layer, verdict) in found[0]["verdicts"].as_object().expect("there are verdicts") {
        let skipped = checks.iter().any(|c| c["layer"] == **layer && c["state"] == "skipped");
        assert!(!(skipped && verdict == "same"), "{layer}: {found:#}");
    }
    assert_eq!(found[0]["verdicts"]["grading"], "same", "{found:#}");
    std::fs::remove_file(own.prepared("plant-heights", "private/answers.csv")).unwrap();
    let output = own.run(&["competitions", "doctor", "plant-heights"]);
    assert_eq!(output.status.code(), Some(5));
    let sheet = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(sheet.contains("what grading needs  DIFFERS"), "{sheet}");
}
