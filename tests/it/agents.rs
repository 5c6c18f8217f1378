//! Agents as people take them: from the catalogue or in ten lines, with their models and packages.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::executor_bench::{IMAGE, engine};
use crate::support::{Called, TestContext, called, json};

const LLM: &str = "[upstreams.openai]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\nmodels = [\"big-*\"]\n";

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A context with prepared data and a command-line tool that is a few lines of bash.
fn tool(script: &str, settings: &str) -> TestContext {
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-bikes"]);
    write(&context.join("tool/do.sh"), script);
    let toml = format!(
        "id = \"tool\"\nkind = \"cli\"\ncommand = [\"bash\", \"{{agent_dir}}/do.sh\", \"{{model}}\", \"{{prompt}}\"]\n{settings}"
    );
    write(&context.join("tool/agent.toml"), &toml);
    context
}

/// Runs it as a plain process, which needs no image.
pub(crate) fn run(context: &TestContext, more: &[&str]) -> Called {
    let mut words = vec![
        "run",
        "--agent",
        "./tool",
        "-c",
        "demo-bikes",
        "--executor",
        "process",
        "--grace",
        "10s",
    ];
    if !more.contains(&"--timeout") {
        words.extend(["--timeout", "60s"]);
    }
    words.extend(more);
    context.run(&words)
}

pub(crate) fn group(context: &TestContext) -> PathBuf {
    let mut groups = std::fs::read_dir(context.join("runs")).unwrap();
    groups.next().unwrap().unwrap().path()
}

pub(crate) fn attempt(context: &TestContext) -> PathBuf {
    let plan = json(&group(context).join("plan.json"));
    group(context).join(plan["attempts"][0]["dir"].as_str().unwrap())
}

#[test]
fn the_catalogue_is_listed_shown_and_sound() {
    let context = TestContext::new();
    let listed = context.ok(&["agents", "list", "--json"]);
    let agents: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let of = |id: &str| agents.iter().find(|agent| agent["id"] == id).unwrap_or(&Value::Null);
    assert_eq!(of("sample")["takes_model"], false);
    assert_eq!(of("claude-code")["needs"]["llm"], serde_json::json!(["anthropic"]));
    assert!(of("aide")["roles"].as_object().unwrap().contains_key("feedback"));
    let mut narrow = context.command();
    narrow.args(["agents", "list"]).env("COLUMNS", "80");
    let table = called(&narrow.output().unwrap()).stdout;
    assert!(
        table.starts_with("ID") && table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    let page = context.ok(&["agents", "show", "codex"]).stdout;
    assert!(page.contains("a language model (openai)") && page.contains("--model"), "{page}");
    let missing = context.run(&["agents", "show", "codx"]);
    assert_eq!(missing.code, 3, "{missing:#?}");
    assert!(missing.stderr.contains("did you mean `codex`?"), "{missing:#?}");
}

#[test]
fn a_model_that_cannot_be_had_is_refused_before_anything_starts() {
    let context = TestContext::new();
    write(&context.join("llm.toml"), LLM);
    let cases: [(&[&str], &str); 8] = [
        (&["--agent", "sample", "--model", "big-1"], "agent `sample` takes no model"),
        (&["--agent", "codex", "--llm", "llm.toml"], "agent `codex` needs a model"),
        (&["--agent", "codex", "--model", "big-1"], "the run has none for it"),
        (&["--agent", "codex", "--model", "small-1", "--llm", "llm.toml"], "no upstream of `"),
        (
            &["--agent", "claude-code", "--model", "big-1", "--llm", "llm.toml"],
            "the agent speaks anthropic",
        ),
        (
            &[
                "--agent",
                "aide",
                "--model",
                "big-1",
                "--role",
                "feedbak=big-2",
                "--llm",
                "llm.toml",
            ],
            "has no role `feedbak`; did you mean `feedback`?",
        ),
        (
            &["--agent", "codex", "--model", "big-1", "--role", "coder=big-2", "--llm", "llm.toml"],
            "it has no roles",
        ),
        (&["--agent", "codex", "--model", "big `x`", "--llm", "llm.toml"], "is no name of a model"),
    ];
    for (words, expected) in cases {
        let mut all = vec!["run", "-c", "demo-bikes", "--plan-only"];
        all.extend(words);
        let refused = context.run(&all);
        assert_eq!(refused.code, 3, "{words:?}: {refused:#?}");
        assert!(refused.stderr.contains(expected), "{words:?}: {refused:#?}");
        assert!(!context.join("runs").exists(), "{words:?}");
    }
}

#[test]
fn a_tool_in_ten_lines_is_told_its_task_and_its_files_are_taken() {
    let script = "mkdir -p out/deep\ncp \"$DATA_DIR/sample_submission.csv\" out/deep/first.csv\nsleep 1\n\
                  sed s/100/50/ \"$DATA_DIR/sample_submission.csv\" > out/deep/second.csv\n\
                  echo \"model $1\"; echo \"$2\"; echo notes > notes.log; cp \"$0\" used.sh\n";
    let output = "prompt = \"Forecast {competition} in {time_limit_min} min, seed {seed}.\"\n\
                  [output]\nsubmission = [\"out/**/*.csv\"]\nlogs = [\"*.log\"]\ncode = [\"used.sh\"]\n";
    let context = tool(script, output);
    write(&context.join("medalist.toml"), "[run]\nmodel = \"big-1\"\n");
    let ran = run(&context, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempt(&context);
    let log = std::fs::read_to_string(dir.join("run.log")).unwrap();
    assert!(log.contains("model big-1\nForecast demo-bikes in 1 min, seed 0.\n"), "{log}");
    let submission = std::fs::read_to_string(dir.join("submission/submission.csv")).unwrap();
    assert!(submission.contains(",50"), "the newest file is the submission");
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true);
    assert!(dir.join("logs/notes.log").is_file() && dir.join("code/used.sh").is_file());
    assert_eq!(json(&group(&context).join("group.json"))["agent"]["backbone"], "big-1");
}

#[test]
fn a_tool_that_edits_a_workspace_leaves_its_submission_there() {
    let script = "[ \"$PWD\" = \"$1\" ] || exit 3\necho 'print(1)' > model.py\n\
                  cp \"$DATA_DIR/sample_submission.csv\" submission.csv\n";
    let context = tool("", "");
    write(&context.join("tool/do.sh"), script);
    let toml = "id = \"tool\"\nkind = \"cli\"\ncommand = [\"bash\", \"{agent_dir}/do.sh\", \"{workdir}\"]\n\
                [output]\nsubmission = [\"submission.csv\"]\ncode = [\"*.py\"]\n";
    write(&context.join("tool/agent.toml"), toml);
    let ran = run(&context, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempt(&context);
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true);
    assert!(dir.join("code/model.py").is_file());
}

#[test]
fn a_tool_is_ended_in_time_to_save_what_it_made() {
    let script = "trap 'cp \"$DATA_DIR/sample_submission.csv\" late.csv; exit 9' TERM\n\
                  while true; do sleep 0.2; done\n";
    let context = tool(script, "[budget]\nsave = \"50%\"\n[output]\nsubmission = [\"*.csv\"]\n");
    // A margin is at most a quarter of the time.
    let ran = run(&context, &["--model", "m", "--timeout", "24s"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempt(&context);
    let record = json(&dir.join("attempt.json"));
    assert_eq!(record["outcome"]["kind"], "finished", "{record:#}");
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true);
}

#[test]
fn an_agent_that_ends_at_once_is_named_with_its_last_words() {
    let context =
        tool("echo starting >&2; tty || { echo 'stdin is not a terminal'; exit 4; }\n", "");
    let ran = run(&context, &["--model", "m"]);
    assert!(ran.stderr.contains("ended after") && ran.stderr.contains("exit code 4"), "{ran:#?}");
    assert!(ran.stderr.contains("\n    stdin is not a terminal"), "{ran:#?}");
    assert!(ran.stderr.contains("`tty = true` in its agent.toml"), "{ran:#?}");

    let context = tool("tty && [ -t 1 ] && echo seen\n", "tty = true\n");
    assert_eq!(run(&context, &["--model", "m"]).code, 0);
    let log = std::fs::read_to_string(attempt(&context).join("run.log")).unwrap();
    assert!(log.contains("/dev/") && log.contains("seen"), "{log}");
}

/// A wheel of nothing.
fn wheel(dir: &Path) -> String {
    let path = dir.join("tiny-1.0-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let info = "tiny-1.0.dist-info";
    for (name, text) in [
        ("tiny.py", "".to_owned()),
        (
            &*format!("{info}/METADATA"),
            "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n".to_owned(),
        ),
        (
            &*format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
        (
            &*format!("{info}/RECORD"),
            format!("tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
        ),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

/// `agents build` where the only packages are those in `wheels/`.
fn build(context: &TestContext, hash: &str) -> Called {
    let pins = format!("tiny==1.0 --hash=sha256:{hash}\n");
    write(&context.join("packed/requirements.txt"), &pins);
    write(
        &context.join("packed/agent.toml"),
        &format!(
            "id = \"packed\"\nkind = \"cli\"\nbase = \"{IMAGE}\"\npackages = \"requirements.txt\"\n\
             command = [\"x\"]\n[needs]\npython = \"3.11\"\n"
        ),
    );
    let mut command = context.command();
    command.args(["agents", "build", "./packed"]);
    // The machine's own settings of pip are not the test's.
    for variable in ["PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"] {
        command.env_remove(variable);
    }
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_FIND_LINKS", context.join("wheels"));
    command.env("PIP_INDEX_URL", "http://127.0.0.1:9/simple");
    called(&command.output().unwrap())
}

/// The file that a message names as the whole log.
fn named_log(stderr: &str) -> String {
    let hint = stderr.lines().find(|line| line.contains("has all that")).expect(stderr);
    let path = hint.split('`').find(|part| part.ends_with(".log")).expect(hint);
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn doctor_looks_at_the_base_of_the_reference_agents() {
    if engine().await.is_none() {
        return;
    }
    let found = TestContext::new().run(&["agents", "doctor", "flat"]);
    assert!(found.stdout.contains("`medalist-env` is "), "{found:#?}");
}

#[tokio::test]
async fn packages_that_are_missing_or_changed_and_builds_that_fail_are_told_apart() {
    if engine().await.is_none() {
        return;
    }
    let context = TestContext::new();
    std::fs::create_dir(context.join("wheels")).unwrap();
    let away = build(&context, &"0".repeat(64));
    assert_eq!(away.code, 4, "{away:#?}");
    assert!(away.stderr.contains("the package index cannot be reached"), "{away:#?}");
    assert!(named_log(&away.stderr).contains("127.0.0.1"));

    let right = wheel(&context.join("wheels"));
    let changed = build(&context, &"0".repeat(64));
    assert_eq!(changed.code, 3, "{changed:#?}");
    assert!(changed.stderr.contains("is not the one that was pinned"), "{changed:#?}");
    assert!(named_log(&changed.stderr).contains(&right), "{changed:#?}");

    // The base of the test has no shell, so that no step of a build can run.
    let failed = build(&context, &right);
    assert_eq!(failed.code, 3, "{failed:#?}");
    assert!(failed.stderr.contains("cannot be built from"), "{failed:#?}");
    assert!(named_log(&failed.stderr).contains("Step 1/"), "{failed:#?}");
}
