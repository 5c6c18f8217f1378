//! The reference agents, sealed, with an upstream that is a scripted engineer: what wins a medal is the
//! code that ran in the container.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engineer::{Engineer, PYTHON_IMAGE, has_python_image};
use crate::support::{Called, TestContext, json};

const PROGRAM: &str = env!("MEDALIST_AGENT_REFERENCE");
const LIMITS: [&str; 10] =
    ["--cpus", "1", "--memory", "2GiB", "--timeout", "15min", "--grace", "5s", "--retries", "0"];

/// A scratch folder with prepared data and settings for the upstream; `None` where there is none.
fn prepared(engineer: &[&str], settings: &str, ids: &[&str]) -> Option<(TestContext, Engineer)> {
    if !has_python_image() {
        return None;
    }
    let engineer = Engineer::start(engineer)?;
    let context = TestContext::new();
    context.ok(&[&["-q", "prepare", "-c"], ids].concat());
    engineer.settings(&context.join("llm.toml"), settings);
    Some((context, engineer))
}

fn run(context: &TestContext, agent: &str, ids: &[&str]) -> Called {
    // Agents of the test's own have their model in their arguments.
    let model: &[&str] = if agent.contains('/') { &[] } else { &["--model", "engineer-large"] };
    let words = [&["run", "--agent", agent, "--llm", "llm.toml"], model, &["-c"], ids, &LIMITS[..]]
        .concat();
    context.run(&words)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders of the attempts of an agent's only group, by competition.
fn attempts(context: &TestContext, agent: &str) -> BTreeMap<String, PathBuf> {
    let groups = fs::read_dir(context.join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut groups: Vec<PathBuf> =
        groups.filter(|group| json(&group.join("plan.json"))["agent"]["id"] == agent).collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let group = groups.remove(0);
    let plan = json(&group.join("plan.json"));
    let attempts = plan["attempts"].as_array().unwrap().iter().map(|attempt| {
        let id = attempt["competition"]["id"].as_str().unwrap();
        (id.to_owned(), group.join(attempt["dir"].as_str().unwrap()))
    });
    attempts.collect()
}

/// An agent of the test's own: a reference agent with other arguments.
fn own_agent(context: &TestContext, id: &str, arguments: &[&str]) -> String {
    let dir = context.join("agents").join(id);
    fs::create_dir_all(&dir).unwrap();
    let command = [&["/agent"], arguments].concat();
    let toml = format!(
        "id = \"{id}\"\nbuild = \"scratch\"\nprogram = \"reference\"\nbase = \"{PYTHON_IMAGE}\"\ncommand = {command:?}\n"
    );
    fs::write(dir.join("agent.toml"), toml).unwrap();
    format!("agents/{id}")
}

/// The calls of each role as the bill has them; they and their price must add up to the totals.
fn roles(record: &Value) -> BTreeMap<String, u64> {
    let llm = &record["llm"];
    let roles = llm["roles"].as_object().unwrap_or_else(|| panic!("{record:#}"));
    let sum = |field: &str| roles.values().map(|role| role[field].as_u64().unwrap()).sum::<u64>();
    for field in ["calls", "picodollars"] {
        assert_eq!(Some(sum(field)), llm["totals"][field].as_u64(), "{field}: {llm:#}");
    }
    assert!(sum("picodollars") > 0, "{llm:#}");
    roles.iter().map(|(role, bill)| (role.clone(), bill["calls"].as_u64().unwrap())).collect()
}

/// The programs that the attempt left, and whether one of them trained a model.
fn programs(dir: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(dir.join("code")).into_iter();
    let paths = files.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "py")).collect()
}

fn progress(dir: &Path) -> Vec<Value> {
    let lines = text(&dir.join("logs/progress.jsonl"));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was said to models and by them, as the gateway kept it.
fn transcript(dir: &Path) -> String {
    let file = dir.join("llm/transcript.jsonl.gz");
    let output = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", file.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What must hold of every attempt: a medal, and the submission is what a program in `code/` wrote.
fn check_earned(context: &TestContext, id: &str, dir: &Path, made: &Path) {
    let record = json(&dir.join("attempt.json"));
    let grade = json(&dir.join("grade.json"));
    assert_eq!(record["outcome"]["kind"], "finished", "{}", text(&dir.join("run.log")));
    assert_eq!(record["conditions"]["sealed"], true, "{record:#}");
    assert_eq!(grade["valid_submission"], true, "{grade:#}");
    assert_eq!(grade["any_medal"], true, "{id}: {grade:#}");
    let submission = fs::read(dir.join("submission/submission.csv")).unwrap();
    assert!(fs::read(made).unwrap() == submission, "{} is not what was graded", made.display());
    // The programs are no list of answers: they name no row of the test set.
    let sample = text(&context.join("data").join(id).join("prepared/public/sample_submission.csv"));
    let programs = programs(dir);
    let trains = programs.iter().filter(|program| text(program).contains("def make(")).count();
    assert!(trains >= 2, "{programs:?}");
    for program in programs {
        let text = text(&program);
        for row in sample.lines().skip(1) {
            let key = row.split(',').next().unwrap();
            assert!(!text.contains(key), "{} names the row {key}", program.display());
        }
    }
}

#[test]
fn both_win_medals_on_every_demo_competition_by_code_that_ran() {
    let ids = ["demo-bikes", "demo-definitions", "demo-digits", "demo-flights"];
    let budget = "[budget.attempt]\ndollars = \"5.00\"\n";
    let Some((context, _engineer)) = prepared(&[], budget, &ids) else { return };
    for agent in ["flat", "hierarchical"] {
        let ran = run(&context, agent, &ids);
        assert_eq!(ran.code, 0, "{ran:#?}");
    }
    for (id, dir) in attempts(&context, "flat") {
        check_earned(&context, &id, &dir, &dir.join("code/submission.csv"));
        let record = json(&dir.join("attempt.json"));
        assert_eq!(roles(&record), BTreeMap::from([("engineer".to_owned(), 8)]));
        let saved = progress(&dir).iter().filter(|line| line["event"] == "saved").count();
        assert_eq!(saved, 2, "the second model beats the first: {}", text(&dir.join("run.log")));
    }
    for (id, dir) in attempts(&context, "hierarchical") {
        let progress = progress(&dir);
        let saved = progress.iter().rfind(|line| line["event"] == "saved").unwrap();
        let made = match saved["candidate"].as_u64() {
            Some(candidate) => dir.join(format!("code/candidate_{candidate}/best_submission.csv")),
            None => dir.join("code/submission.csv"),
        };
        check_earned(&context, &id, &dir, &made);
        let roles = roles(&json(&dir.join("attempt.json")));
        let expected =
            [("aggregator", 5), ("coder", 21), ("designer", 2), ("manager", 5), ("tuner", 15)];
        let expected = expected.map(|(role, calls)| (role.to_owned(), calls));
        assert_eq!(roles, BTreeMap::from(expected), "{}", text(&dir.join("run.log")));
        for candidate in 1..=3 {
            let folder = dir.join(format!("code/candidate_{candidate}"));
            for file in ["train.py", "inference.py", "checkpoint.joblib", "best_submission.csv"] {
                assert!(folder.join(file).is_file(), "{id}: no {file} of candidate {candidate}");
            }
        }
        let again = "the checkpoint gives the submission again";
        let seen = |line: &&Value| line["text"].as_str().is_some_and(|text| text.contains(again));
        assert_eq!(progress.iter().filter(seen).count(), 3, "{}", text(&dir.join("run.log")));
        // The coders worked at the same time: each began before the first was done.
        let of_coders = progress.iter().filter(|line| line["role"] == "coder");
        let mut turns = of_coders.filter_map(|line| line["event"].as_str());
        let begun =
            turns.by_ref().take_while(|event| *event != "ended").filter(|event| *event == "began");
        assert_eq!(begun.count(), 3);
    }
}

#[test]
fn an_upstream_that_lies_wins_nothing() {
    let ids = ["demo-flights"];
    let Some((context, _engineer)) = prepared(&["--skill", "liar"], "", &ids) else { return };
    for agent in ["flat", "hierarchical"] {
        let ran = run(&context, agent, &ids);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let dir = attempts(&context, agent).remove("demo-flights").unwrap();
        let claim = progress(&dir)
            .iter()
            .any(|line| line["event"] == "validated" && line["score"].as_f64() == Some(0.99999));
        assert!(claim, "{}", text(&dir.join("run.log")));
        let grade = json(&dir.join("grade.json"));
        assert_eq!(
            (&grade["valid_submission"], &grade["any_medal"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(grade["score"], 0.5, "the sample submission: {grade:#}");
    }
}

#[test]
fn switches_take_parts_of_the_hierarchy_away() {
    let ids = ["demo-digits"];
    let Some((context, _engineer)) = prepared(&[], "", &ids) else { return };
    let cases: [(&str, &[&str], &[(&str, u64)]); 2] = [
        (
            "alone",
            &[
                "--designer",
                "false",
                "--tuner",
                "false",
                "--candidates",
                "1",
                "--model",
                "engineer-small",
            ],
            &[("coder", 7), ("manager", 3)],
        ),
        (
            "shared",
            &[
                "--shared_context",
                "true",
                "--tuner",
                "false",
                "--candidates",
                "2",
                "--model-coder",
                "engineer-small",
            ],
            &[("aggregator", 5), ("coder", 14), ("designer", 2), ("manager", 4)],
        ),
    ];
    for (id, arguments, expected) in cases {
        let agent = own_agent(&context, id, &[&["hierarchical"], arguments].concat());
        let ran = run(&context, &agent, &ids);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let dir = attempts(&context, id).remove("demo-digits").unwrap();
        let record = json(&dir.join("attempt.json"));
        let expected = expected.iter().map(|(role, calls)| ((*role).to_owned(), *calls));
        assert_eq!(roles(&record), expected.collect(), "{}", text(&dir.join("run.log")));
        assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true);
        let models = record["llm"]["models"].as_object().unwrap();
        let named: Vec<&str> = models.keys().map(String::as_str).collect();
        match id {
            "alone" => assert_eq!(named.len(), 1, "{named:?}"),
            _ => assert_eq!(named.len(), 2, "{named:?}"),
        }
    }
    let shared = attempts(&context, "shared").remove("demo-digits").unwrap();
    assert!(transcript(&shared).contains("WHAT ALL OTHERS DID SO FAR"));
}

#[test]
fn a_spent_budget_ends_the_work_with_the_best_so_far() {
    let ids = ["demo-flights"];
    let budget = "[budget.attempt]\ncalls = 5\n";
    let Some((context, _engineer)) = prepared(&[], budget, &ids) else { return };
    let ran = run(&context, "flat", &ids);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempts(&context, "flat").remove("demo-flights").unwrap();
    let record = json(&dir.join("attempt.json"));
    assert_eq!(record["outcome"]["exit_code"], 0, "{record:#}");
    assert_eq!(record["llm"]["totals"]["calls"], 5);
    assert_eq!(json(&dir.join("grade.json"))["any_medal"], true, "the first model has one");
    let log = text(&dir.join("run.log"));
    assert!(log.contains("the budget for language models is spent"), "{log}");
    assert!(transcript(&dir).contains("calls of a language model]"), "it is told what is left");
}

/// A model on loopback that gives these answers one after another, and then none.
fn model(answers: Vec<Value>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        let mut answers = answers.into_iter();
        for mut stream in listener.incoming().flatten() {
            read_request(&mut stream);
            match answers.next() {
                Some(answer) => respond(&mut stream, &answer),
                None => silent.push(stream),
            }
        }
    });
    port
}

fn read_request(stream: &mut TcpStream) {
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        received.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&received).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).unwrap();
}

fn respond(stream: &mut TcpStream, answer: &Value) {
    let body = answer.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
}

fn uses(name: &str, arguments: &Value) -> Value {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    json!({"choices": [{"message": {"content": "I act.", "tool_calls": [{"id": "c", "function": function}]}}]})
}

#[test]
fn sigterm_ends_the_work_with_what_is_valid() {
    let validation = model(vec![json!({"result": "Submission is valid.", "is_valid": true})]);
    let port = model(vec![
        uses("write_file", &json!({"path": "made.csv", "content": "id,y\n1,2\n"})),
        uses("validate", &json!({"path": "made.csv", "score": 0.5, "higher_is_better": true})),
        uses("shell", &json!({"command": "echo started; sleep 600"})),
    ]);
    let context = TestContext::new();
    let mut command = Command::new(PROGRAM);
    command
        .args(["flat", "--model", "m"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.env("OPENAI_BASE_URL", format!("http://localhost:{port}/v1"));
    command.env("MEDALIST_VALIDATE_URL", format!("http://localhost:{validation}/validate"));
    for (variable, name) in [
        ("DATA_DIR", "data"),
        ("SUBMISSION_DIR", "submission"),
        ("CODE_DIR", "code"),
        ("LOGS_DIR", "logs"),
    ] {
        command.env(variable, context.join(name));
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let progress = context.join("logs/progress.jsonl");
    while !fs::read_to_string(&progress).is_ok_and(|text| text.contains("sleep 600")) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("asked to stop"), "{said}");
    assert_eq!(text(&context.join("submission/submission.csv")), "id,y\n1,2\n");
}

#[test]
fn a_model_that_cannot_be_used_is_said() {
    let port = model(vec![json!({"error": {"message": "no such thing"}})]);
    let context = TestContext::new();
    let mut command = Command::new(PROGRAM);
    command
        .args(["flat", "--model", "m"])
        .env_clear()
        .env("OPENAI_BASE_URL", format!("http://localhost:{port}"));
    for variable in ["SUBMISSION_DIR", "CODE_DIR", "LOGS_DIR"] {
        command.env(variable, context.path());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the language model cannot be used") && said.contains("no such thing"),
        "{said}"
    );
    let output = Command::new(PROGRAM).args(["flat", "--modle", "m"]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no setting `--modle`"));
}
