//! The built-in agents as programs: on the demo suite, and on data that are not what they hope for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use medalist::app::judge::CatalogueJudge;
use medalist::run::Judge;
use medalist_competitions::prepare::{PrepareRequest, RawInput, prepare};
use medalist_competitions::{Catalogue, Suite};

const SAMPLE: &str = env!("MEDALIST_AGENT_SAMPLE");
const BASELINE: &str = env!("MEDALIST_AGENT_BASELINE");

/// Runs an agent on a folder of public data; its other folders are below `home`.
fn run(program: &str, data: &Path, home: &Path, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.env_clear().env("DATA_DIR", data);
    // A port where nothing listens: another test's validation service must not be asked.
    command.env("MEDALIST_VALIDATE_URL", "http://localhost:9/validate");
    for (variable, name) in
        [("SUBMISSION_DIR", "submission"), ("LOGS_DIR", "logs"), ("CODE_DIR", "code")]
    {
        command.env(variable, home.join(name));
    }
    command.envs(env.iter().copied()).output().expect("the agent starts")
}

fn submission(home: &Path) -> PathBuf {
    home.join("submission/submission.csv")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Prepares a demo competition with its brief, as an executor shows it, and gives the folder of its
/// public data.
fn prepared(id: &str, data_dir: &Path) -> PathBuf {
    let catalogue = Catalogue::embedded().expect("the catalogue is well formed");
    let spec = catalogue.get(id).expect("a demo competition");
    let request = PrepareRequest {
        spec,
        data_dir,
        raw: RawInput::DataDir,
        downloads: None,
        fetch: None,
        overrides: BTreeMap::new(),
        keep_raw: false,
        verify: false,
        fixed: false,
        force: false,
    };
    let public = prepare(&request, &()).expect("the demo data are embedded").path.join("public");
    fs::write(public.join("description.md"), spec.brief().expect("it has a brief"))
        .expect("the folder is writable");
    public
}

#[test]
fn the_baseline_earns_medals_where_the_sample_earns_none() {
    let temp = tempfile::tempdir().expect("a scratch folder");
    let data_dir = temp.path().join("data");
    let judge = CatalogueJudge::new(data_dir.clone(), &[]).expect("the catalogue is well formed");
    let catalogue = Catalogue::embedded().expect("the catalogue is well formed");
    for id in catalogue.suite(Suite::Demo).map(|spec| spec.id.as_str()) {
        let public = prepared(id, &data_dir);
        let grade = |program: &str, name: &str| {
            let home = temp.path().join(format!("{id}-{name}"));
            let output = run(program, &public, &home, &[("SEED", "0")]);
            assert!(output.status.success(), "{name} on {id}: {}", text(&output.stdout));
            let report = judge.grade(id, &submission(&home)).expect("the answers are there");
            assert!(report.valid_submission, "{name} on {id}: {:?}", report.invalid);
            report
        };
        let (sample, baseline) = (grade(SAMPLE, "sample"), grade(BASELINE, "baseline"));
        assert!(!sample.any_medal && !sample.above_median, "{id}: {:?}", sample.score);
        assert!(baseline.any_medal && baseline.above_median, "{id}: {:?}", baseline.score);
        let home = temp.path().join(format!("{id}-baseline"));
        let notes = fs::read_to_string(home.join("code/notes.md")).expect("it leaves notes");
        assert!(notes.contains("sample submission: sample_submission.csv"), "{notes}");
        assert!(home.join("logs/agent.log").is_file());
    }
}

#[test]
fn a_seed_decides_a_submission() {
    let temp = tempfile::tempdir().expect("a scratch folder");
    let public = prepared("demo-bikes", &temp.path().join("data"));
    let made = |name: &str, seed: &str| {
        let home = temp.path().join(name);
        assert!(run(BASELINE, &public, &home, &[("SEED", seed)]).status.success());
        fs::read(submission(&home)).expect("a submission")
    };
    let first = made("first", "7");
    assert!(first == made("again", "7"), "equal seeds differ");
    assert!(first != made("other", "8"), "the seed makes no difference");
}

#[test]
fn a_mixed_table_with_gaps_is_learnt() {
    let temp = tempfile::tempdir().expect("a scratch folder");
    let data = temp.path().join("data");
    fs::create_dir(&data).expect("the folder is new");
    // The label is the deck of the cabin, now and then missing; quotes, commas and CRLF are in the
    // way.
    let row = |n: usize| {
        let cabin = if n.is_multiple_of(17) {
            String::new()
        } else {
            format!("{}/{}/P", ["A", "B"][n * 7 % 5 % 2], n)
        };
        (format!("{n:04}_01,{cabin},\"Doe, \"\"{n}\"\"\",{}", n % 80), n * 7 % 5 % 2 == 1)
    };
    let table = |rows: std::ops::Range<usize>, label: bool| {
        let mut out = format!("Id,Cabin,Name,Age{}\r\n", if label { ",Gone" } else { "" });
        for n in rows {
            let (cells, gone) = row(n);
            out += &format!(
                "{cells}{}\r\n",
                if !label {
                    ""
                } else if gone {
                    ",True"
                } else {
                    ",False"
                }
            );
        }
        out
    };
    fs::write(data.join("train.csv"), table(0..400, true)).expect("writable");
    fs::write(data.join("test.csv"), table(400..500, false)).expect("writable");
    // The sample asks for the rows from the last to the first.
    let sample: String = (400..500).rev().map(|n| format!("{n:04}_01,False\n")).collect();
    fs::write(data.join("sample_submission.csv"), format!("Id,Gone\n{sample}")).expect("writable");
    let home = temp.path().join("home");
    let output = run(BASELINE, &data, &home, &[]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let made = fs::read_to_string(submission(&home)).expect("a submission");
    let lines: Vec<&str> = made.lines().collect();
    assert_eq!((lines.len(), lines[0], &lines[1][..8]), (101, "Id,Gone", "0499_01,"));
    let right = (400..500)
        .rev()
        .zip(&lines[1..])
        .filter(|(n, line)| line.ends_with("True") == row(*n).1)
        .count();
    assert!(right >= 90, "{right} of 100 are right");
}

#[test]
fn what_cannot_be_learnt_still_leaves_a_valid_file() {
    let temp = tempfile::tempdir().expect("a scratch folder");
    let data = temp.path().join("data");
    fs::create_dir(&data).expect("the folder is new");
    let case = |train: &str| {
        fs::write(data.join("sampleSubmission.csv"), "id,label\n1,0\n2,0\n").expect("writable");
        fs::write(data.join("train.csv"), train).expect("writable");
        let home = temp.path().join("home");
        let output = run(BASELINE, &data, &home, &[]);
        (
            output.status.success(),
            text(&output.stdout),
            fs::read_to_string(submission(&home)).unwrap_or_default(),
        )
    };
    let (finished, said, made) = case("id,label\n3,0\n4,1\n");
    assert!(
        finished && said.contains("too few rows") && made.lines().count() == 3,
        "{said}\n{made}"
    );
    let (finished, said, made) = case("id,other,more\n3,0,1\n4,1,2\n");
    assert!(
        !finished && said.contains("no column `label`") && made.starts_with("id,label\n1,"),
        "{said}\n{made}"
    );
    let (finished, said, _) = case("");
    assert!(!finished && said.contains("train.csv"), "{said}");
}

#[test]
fn a_folder_without_a_sample_is_reported() {
    let temp = tempfile::tempdir().expect("a scratch folder");
    for program in [SAMPLE, BASELINE] {
        let output = run(program, &temp.path().join("nothing"), &temp.path().join("home"), &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("no sample submission") || said.contains("cannot read"), "{said}");
    }
}
