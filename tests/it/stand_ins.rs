//! Adapters whose programs cannot be had here, and agents that speak a protocol: each with a stand-in
//! that behaves as the program's public description says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::agents::{attempt, group, run, write};
use crate::support::{TestContext, called, json};

/// A copy of an adapter of the catalogue with a program in it that stands for the real one.
fn stand_in(id: &str, program: &str, text: &str) -> TestContext {
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-bikes"]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents").join(id);
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        write(&context.join("tool").join(entry.file_name()), &text);
    }
    let path = context.join("tool/program").join(program);
    write(&path, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    context
}

#[test]
fn aibuildai_gets_its_terminal_and_arguments_and_its_playground_is_mapped() {
    let program = r#"#!/bin/bash
[ -t 0 ] && [ -t 1 ] || { echo "the display needs a terminal"; exit 70; }
while [ $# -gt 0 ]; do
    case "$1" in
        --task-name) task="$2"; shift ;;
        --data-dir) data="$2"; shift ;;
        --playground-dir) playground="$2"; shift ;;
        --instruction) instruction="$2"; shift ;;
        --no-form) form=no ;;
        *) echo "unknown flag $1"; exit 2 ;;
    esac
    shift
done
[ "$form" = no ] && [ "$ANTHROPIC_MODEL" = opus ] || exit 3
case "$instruction" in *"2 minutes in all"*) ;; *) echo "$instruction"; exit 4 ;; esac
out="$playground/code/$task/2026-01-01"
mkdir -p "$out/candidate_1"
echo train > "$out/candidate_1/train.py"
echo infer > "$out/inference.py"
cp "$data/sample_submission.csv" "$out/submission.csv"
trap 'exit 0' TERM
sleep 60 & wait
"#;
    let context = stand_in("aibuildai", "aibuildai", program);
    // It does not end by itself: its time less the margin is up after 142 s, the harness's stop comes first.
    let mut command = context.command();
    command.args(["run", "--agent", "./tool", "-c", "demo-bikes", "--executor", "process"]);
    command.args(["--model", "opus", "--timeout", "150s", "--grace", "20s"]);
    let running = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let arrived = || {
        let groups = std::fs::read_dir(context.join("runs")).ok()?;
        let group = groups.flatten().next()?.path();
        let plan: Value =
            serde_json::from_slice(&std::fs::read(group.join("plan.json")).ok()?).ok()?;
        let dir = group.join(plan["attempts"][0]["dir"].as_str()?);
        let at = dir.join("home/submission/submission.csv");
        (at.is_file() || dir.join("grade.json").is_file()).then_some(())
    };
    while arrived().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    context.run(&["stop", "demo-bikes"]);
    called(&running.wait_with_output().unwrap());
    let dir = attempt(&context);
    let log = std::fs::read_to_string(dir.join("run.log")).unwrap();
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true, "{log}");
    let kept = |name: &str| dir.join("code").join(name);
    assert!(kept("inference.py").is_file() && kept("candidate_1/train.py").is_file(), "{log}");
}

#[test]
fn mlevolve_finds_its_data_its_models_and_a_grading_port_that_tells_no_score() {
    let program = r#"
import json, os, pathlib, sys, urllib.request
given = dict(word.split("=", 1) for word in sys.argv[1:])
data = pathlib.Path(given["dataset_dir"], given["exp_id"], "prepared/public")
assert data == pathlib.Path(given["data_dir"]) and (data / "train.csv").is_file(), data
assert pathlib.Path(given["desc_file"]).is_file()
assert given["agent.code.model"] == "big" and given["agent.feedback.model"] == "small", given
assert given["agent.time_limit"] == "270" and given["agent.steps"] == "3" and given["agent.seed"] == "0", given
assert given["agent.code.base_url"] == "http://models" and given["agent.feedback.api_key"] == "k"
sample = (data / "sample_submission.csv").read_bytes()
part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="submission.csv"\r\n\r\n' + sample + b"\r\n--x--\r\n"
def validate(name):
    address = f"http://127.0.0.1:{os.environ['GRADING_SERVER_PORT']}/validate"
    headers = {"exp-id": name, "content-type": "multipart/form-data; boundary=x"}
    return json.load(urllib.request.urlopen(urllib.request.Request(address, part, headers)))
answer = validate(given["exp_id"])
assert answer["is_valid"] is True and not any(c.isdigit() for c in answer["result"]), answer
print("validated", answer)
out = pathlib.Path("runs", given["exp_name"], "best_submission")
out.mkdir(parents=True)
(out / "submission.csv").write_bytes(sample)
"#;
    let context = stand_in("mlevolve", "run.py", program);
    let toml = std::fs::read_to_string(context.join("tool/agent.toml")).unwrap();
    let toml =
        format!("{toml}\n[env]\nOPENAI_BASE_URL = \"http://models\"\nOPENAI_API_KEY = \"k\"\n");
    write(&context.join("tool/agent.toml"), &toml);
    let more = ["--model", "big", "--role", "feedback=small", "--timeout", "300s"];
    let ran = run(&context, &more);
    let dir = attempt(&context);
    let log = std::fs::read_to_string(dir.join("run.log")).unwrap();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(log.contains("validated"), "{log}");
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true, "{log}");
    assert_eq!(
        json(&group(&context).join("group.json"))["agent"]["backbone"],
        "big, feedback: small"
    );
}

/// Adds to the adapter's environment where its models would be.
fn with_models(context: &TestContext) {
    let path = context.join("tool/agent.toml");
    let mut toml: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let env = toml.entry("env").or_insert_with(|| toml::Table::new().into());
    for (name, value) in [("OPENAI_BASE_URL", "http://models/v1"), ("OPENAI_API_KEY", "k")] {
        env.as_table_mut().unwrap().insert(name.to_owned(), value.into());
    }
    write(&path, &toml.to_string());
}

/// The log of the attempt, whose submission is valid and whose first value is the one given.
fn submitted(context: &TestContext, value: &str) -> String {
    let dir = attempt(context);
    let log = std::fs::read_to_string(dir.join("run.log")).unwrap();
    assert_eq!(json(&dir.join("grade.json"))["valid_submission"], true, "{log}");
    let submission = std::fs::read_to_string(dir.join("submission/submission.csv")).unwrap();
    let first = submission.lines().nth(1).unwrap();
    assert!(first.ends_with(&format!(",{value}")), "{first}\n{log}");
    log
}

/// Python of stand-ins: the sample submission with another value in each row.
const SUBMISSION: &str = r#"
def submission(path, value):
    data = pathlib.Path(os.environ["DATA_DIR"], "sample_submission.csv").read_text().splitlines()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([data[0], *(line.rsplit(",", 1)[0] + f",{value}" for line in data[1:])]) + "\n")
"#;

#[test]
fn ml_master_finds_its_data_its_models_and_a_validation_server() {
    let program = format!(
        r#"
import json, os, pathlib, re, sys, urllib.request
{SUBMISSION}
given = dict(word.split("=", 1) for word in sys.argv[1:])
data = pathlib.Path(given["data_dir"])
assert data == pathlib.Path(given["dataset_dir"], os.environ["COMPETITION_ID"], "prepared/public") and (data / "train.csv").is_file()
told = pathlib.Path(given["desc_file"]).read_text()
assert (data / "description.md").read_text() in told, told[:200]
assert given["agent.code.model"] == "deepseek-r1" and given["agent.feedback.model"] == "small", given
assert given["agent.time_limit"] == "285" == given["exec.timeout"] and given["agent.steps"] == "3" == os.environ["STEP_LIMIT"], given
assert given["agent.code.base_url"] == "http://models/v1" and given["agent.feedback.api_key"] == "k"
assert os.environ["TIME_LIMIT"] == "0hrs 5mins 0secs", os.environ["TIME_LIMIT"]
workspace = pathlib.Path("workspaces/run", given["exp_name"])
submission(workspace / "submission/submission_1.csv", 7)
# As its `utils/server_utils.py` and its agent do.
server = re.search(r'"(http://[^"]+)"', (pathlib.Path(__file__).parent / "utils/server_utils.py").read_text())[1]
assert not server.endswith(":5001"), server
assert urllib.request.urlopen(f"{{server}}/health").status == 200
part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="s.csv"\r\n\r\n' + (workspace / "submission/submission_1.csv").read_bytes() + b"\r\n--x--\r\n"
headers = {{"exp-id": given["exp_name"].split("_")[0], "content-type": "multipart/form-data; boundary=x"}}
answer = json.load(urllib.request.urlopen(urllib.request.Request(f"{{server}}/validate", part, headers)))
assert answer["is_valid"] is True and not any(c.isdigit() for c in answer["result"]), answer
submission(workspace / "best_submission/submission.csv", 7)
(workspace / "best_solution").mkdir()
(workspace / "best_solution/solution.py").write_text("train")
logs = pathlib.Path("logs/run", given["exp_name"])
logs.mkdir(parents=True)
(logs / "ml-master.log").write_text("a log")
"#
    );
    let context = stand_in("ml-master", "main_mcts.py", &program);
    let server = "server_url_list = [\n\"http://127.0.0.1:5001\",\n]\n";
    write(&context.join("tool/program/utils/server_utils.py"), server);
    with_models(&context);
    let more = ["--model", "deepseek-r1", "--role", "feedback=small", "--timeout", "300s"];
    assert_eq!(run(&context, &more).code, 0);
    submitted(&context, "7");
    let dir = attempt(&context);
    assert!(dir.join("logs/ml-master.log").is_file());
    assert!(dir.join("code/best_solution/solution.py").is_file());
}

#[test]
fn aira_dojo_is_told_no_score_and_its_best_solution_is_taken() {
    let program = format!(
        r#"
import datetime, json, os, pathlib, sys
from mlebench.data import is_dataset_prepared
from mlebench.grade import validate_submission
from mlebench.grade_helpers import CompetitionReport
from mlebench.registry import Registry, registry
from mlebench.utils import get_logger, load_answers, purple, read_csv
{SUBMISSION}
given = dict(word.rsplit("=", 1) for word in sys.argv[1:])
assert given["solver"] == "mlebench/greedy" and given["interpreter"] == "python" and given["task"] == "mlebench/_default", given
assert given["solver.time_limit_secs"] == "285" and given["solver.step_limit"] == "2" and given["logger.use_wandb"] == "False"
for operator, model in [("analyze", "small"), ("debug", "big"), ("draft", "big"), ("improve", "big")]:
    client = f"solver.operators.{{operator}}.llm.client"
    assert given[f"solver/client@{{client}}"] == "litellm_4o" and given[f"{{client}}.use_azure_client"] == "False"
    assert given[f"{{client}}.model_id"] == f"'{{model}}'" and given[f"{{client}}.base_url"] == "'http://models/v1'", given
assert os.environ["PRIMARY_KEY"] == "k" and os.environ["LOGGING_DIR"] and os.environ["SUPERIMAGE_DIR"]
root = pathlib.Path(os.environ["MLE_BENCH_DATA_DIR"])
prepared = root / given["task.name"] / "prepared"
assert (prepared / "public/train.csv").is_file() and not (prepared / "private").exists()
competition = registry.set_data_dir(root).get_competition(given["task.name"])
assert competition.grader.is_lower_better(None) is True and is_dataset_prepared(competition, grading_only=True)
assert not competition.answers.exists() and competition.description
out = pathlib.Path(given["logger.output_dir"])
(out / "checkpoint").mkdir(parents=True)
file = out / "workspace_agent/submission.csv"
file.parent.mkdir()
file.write_text("nothing\n")
assert validate_submission(file, competition)[0] is False
for step, metric in enumerate([0.4, 0.5]):
    submission(file, 11 * (step + 1))
    valid, said = validate_submission(file, competition)
    assert valid and not any(c.isdigit() for c in said), said
    score = competition.grader(file, load_answers(competition.answers))
    ranks = competition.grader.rank_score(score, None)
    report = CompetitionReport(competition_id=competition.id, score=score, any_medal=ranks["gold_medal"], submission_exists=True, valid_submission=score is not None,
                               is_lower_better=True, created_at=datetime.datetime.now(), submission_path=str(file), **ranks).to_dict()
    assert report["score"] is None and report["gold_threshold"] is None and not report["any_medal"], report
    file.unlink()
    node = {{"code": f"solution {{step}}", "metric": metric, "metric_maximize": False, "metric_info": report, "is_buggy": False}}
    with open(out / "checkpoint/journal.jsonl", "a") as journal:
        journal.write(json.dumps(node) + "\n")
with open(out / "checkpoint/journal.jsonl", "a") as journal:
    journal.write('{{"code": "cut o')
sys.exit(3)
"#
    );
    let context = stand_in("aira-dojo", "src/dojo/main_run.py", &program);
    with_models(&context);
    let more = ["--model", "big", "--role", "feedback=small", "--timeout", "300s"];
    run(&context, &more);
    let log = submitted(&context, "11");
    assert!(log.contains("the best of 2 solutions"), "{log}");
    let dir = attempt(&context);
    let code = std::fs::read_to_string(dir.join("code/solution.py")).unwrap();
    assert_eq!(code, "solution 0");
    assert!(dir.join("logs/checkpoint/journal.jsonl").is_file());
    assert_eq!(json(&dir.join("attempt.json"))["outcome"]["exit_code"], 3, "{log}");
}

#[test]
fn kapso_never_sees_a_medal_and_its_debug_runs_do_not_count() {
    let program = format!(
        r#"
import argparse, os, pathlib
import mlebench
from mlebench.data import download_and_prepare_dataset
from mlebench.grade import grade_csv, validate_submission
from mlebench.registry import registry
{SUBMISSION}
parser = argparse.ArgumentParser()
parser.add_argument("-c", "--competition")
parser.add_argument("-i", "--iterations", type=int)
parser.add_argument("-m", "--mode")
parser.add_argument("-d", "--coding-agent")
parser.add_argument("--no-kg", action="store_true")
given = parser.parse_args()
assert given.iterations == 1 and given.mode == "MLE_CONFIGS" and given.coding_agent == "aider" and given.no_kg, given
assert given.competition in registry.list_competition_ids()
competition = registry.get_competition(given.competition)
download_and_prepare_dataset(competition)
assert any(competition.public_dir.glob("train*")) and os.environ["MLE_SEED"] == "0"
assert grade_csv(pathlib.Path("dummy.csv"), competition).is_lower_better is True
config = pathlib.Path(__file__).with_name("config.yaml").read_text()
assert 'idea_generation_model: "big"' in config and '  - "big"' in config and '  model: "small"' in config, config
assert 'type: "aider"' in config and "fetch_huggingface_models: false" in config and "gpt" not in config, config
file = pathlib.Path("tmp/experiment_workspace/1/output_data_main/final_submission.csv")
submission(file, 1)
assert validate_submission(file, competition)[0]
submission(file, 2)
assert validate_submission(file, competition)[0]
report = grade_csv(file, competition)
assert report.valid_submission and report.score is None and not report.any_medal and report.median_threshold is None, report
# The debug run of a next experiment, which is cut short.
submission(file, 3)
assert validate_submission(file, competition)[0]
print(report)
"#
    );
    let context = stand_in("kapso", "benchmarks/mle/runner.py", &program);
    let config = "modes:\n  MLE_CONFIGS:\n    search_strategy:\n      params:\n        idea_generation_model: \"gpt-5\"\n        \
                  idea_generation_ensemble_models:\n          - \"gpt-5\"\n    coding_agent:\n      type: \"aider\"\n      \
                  model: \"gpt-5-mini\"\n    fetch_huggingface_models: true\n";
    write(&context.join("tool/program/benchmarks/mle/config.yaml"), config);
    let more = ["--model", "big", "--role", "code=small", "--timeout", "300s"];
    let ran = run(&context, &more);
    assert_eq!(ran.code, 0, "{ran:#?}");
    submitted(&context, "2");
}

/// An agent that speaks the Agent Client Protocol. `work` is what it does with a prompt, with `ask(method, params)`
/// and `tell(update)` at hand; it returns why the turn ends.
fn acp(work: &str, settings: &str) -> TestContext {
    let program = format!(
        r#"
import json, os, pathlib, sys, time
{SUBMISSION}
session, cancelled, last = "s1", False, 100
def send(message):
    sys.stdout.write(json.dumps({{"jsonrpc": "2.0", **message}}) + "\n")
    sys.stdout.flush()
def take():
    line = sys.stdin.readline()
    return json.loads(line) if line else sys.exit(0)
def tell(name, **update):
    send({{"method": "session/update", "params": {{"sessionId": session, "update": {{"sessionUpdate": name, **update}}}}}})
def ask(method, **params):
    global last
    last += 1
    send({{"id": last, "method": method, "params": {{"sessionId": session, **params}}}})
    answer = take()
    assert answer["id"] == last, answer
    return answer
def permit(kind, path):
    options = [{{"optionId": "y", "name": "Yes", "kind": "allow_once"}}, {{"optionId": "n", "name": "No", "kind": "reject_once"}}]
    call = {{"toolCallId": "1", "kind": kind, "locations": [{{"path": str(path)}}]}}
    return ask("session/request_permission", toolCall=call, options=options)["result"]["outcome"]
def work(prompt):
{work}
print("a banner before the protocol")
while True:
    message = take()
    method, params = message["method"], message.get("params")
    if method == "initialize":
        assert params["protocolVersion"] == 1 and params["clientCapabilities"] == {{"fs": {{"readTextFile": True, "writeTextFile": True}}, "terminal": False}}
        send({{"id": message["id"], "result": {{"protocolVersion": int(sys.argv[1]), "agentCapabilities": {{}}, "authMethods": []}}}})
    elif method == "session/new":
        assert params["mcpServers"] == [] and pathlib.Path(params["cwd"]).samefile("."), params
        send({{"id": message["id"], "result": {{"sessionId": session}}}})
    elif method == "session/prompt":
        assert params["sessionId"] == session and params["prompt"][0]["type"] == "text"
        send({{"id": message["id"], "result": {{"stopReason": work(params["prompt"][0]["text"])}}}})
"#
    );
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-bikes"]);
    write(&context.join("tool/agent.py"), &program);
    let toml = format!(
        "id = \"tool\"\nkind = \"acp\"\ncommand = [\"python3\", \"{{agent_dir}}/agent.py\", \"1\"]\n\
         prompt = \"Forecast {{competition}} with {{model}}.\"\n{settings}"
    );
    write(&context.join("tool/agent.toml"), &toml);
    context
}

#[test]
fn an_agent_of_the_client_protocol_is_prompted_and_answered() {
    let work = r#"
    assert prompt == "Forecast demo-bikes with big.", prompt
    tell("agent_message_chunk", content={"type": "text", "text": "I look "})
    tell("agent_message_chunk", content={"type": "text", "text": "at the data."})
    tell("plan", entries=[{"content": "forecast", "priority": "high", "status": "pending"}])
    tell("something_of_a_later_version", content=[1, 2])
    data = pathlib.Path(os.environ["DATA_DIR"])
    text = ask("fs/read_text_file", path=str(data / "sample_submission.csv"))["result"]["content"]
    lines = text.splitlines(keepends=True)
    assert ask("fs/read_text_file", path=str(data / "sample_submission.csv"), line=2, limit=2)["result"]["content"] == "".join(lines[1:3])
    assert ask("fs/read_text_file", path="train.csv")["error"]["code"] == -32602
    assert ask("fs/read_text_file", path=str(data / "none"))["error"]["code"] == -32602
    target = pathlib.Path(os.environ["SUBMISSION_DIR"], "submission.csv")
    assert permit("edit", target) == {"outcome": "selected", "optionId": "y"}
    assert permit("execute", "/bin/sh") == {"outcome": "selected", "optionId": "y"}
    assert permit("edit", "/etc/passwd") == {"outcome": "selected", "optionId": "n"}
    assert permit("delete", pathlib.Path.cwd() / "../data/train.csv") == {"outcome": "selected", "optionId": "n"}
    tell("tool_call", toolCallId="1", title="write the file", kind="edit", status="pending")
    body = "".join([lines[0], *(line.rsplit(",", 1)[0] + ",9\n" for line in lines[1:])])
    assert "result" in ask("fs/write_text_file", path=str(target), content=body)
    outside = ask("fs/write_text_file", path="/etc/medalist-test", content="x")
    assert outside["error"]["code"] == -32602 and "outside" in outside["error"]["message"], outside
    assert ask("terminal/create", command="ls")["error"]["code"] == -32601
    return "end_turn"
"#;
    let context = acp(work, "");
    let ran = run(&context, &["--model", "big"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let log = submitted(&context, "9");
    for line in [
        "a banner before the protocol\n",
        "I look at the data.\n[plan] pending: forecast\n",
        "[edit] write the file\n",
        "acp: the turn ended: end_turn\n",
    ] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    let messages = std::fs::read_to_string(attempt(&context).join("logs/acp.jsonl")).unwrap();
    let messages: Vec<Value> =
        messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages[0]["message"]["method"], "initialize");
    assert!(messages.iter().any(|line| line["from"] == "agent"));
}

#[test]
fn an_agent_of_the_client_protocol_is_cancelled_in_its_own_way() {
    let work = r#"
    while True:
        message = take()
        if message["method"] == "session/cancel":
            assert message["params"] == {"sessionId": session} and "id" not in message
            options = [{"optionId": "y", "name": "Yes", "kind": "allow_once"}]
            assert ask("session/request_permission", toolCall={"toolCallId": "1"}, options=options)["result"]["outcome"] == {"outcome": "cancelled"}
            submission(pathlib.Path("mine/last.csv"), 5)
            return "cancelled"
"#;
    let context = acp(work, "[output]\nsubmission = [\"mine/*.csv\"]\n");
    let ran = run(&context, &["--model", "big", "--timeout", "12s"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let log = submitted(&context, "5");
    assert!(log.contains("acp: the turn ended: cancelled"), "{log}");
}

#[test]
fn an_agent_that_breaks_the_client_protocol_is_named() {
    for (version, work, expected) in [
        ("2", "    pass\n", "speaks version 2 of the protocol, expected 1"),
        ("1", "    sys.exit(7)\n", "the agent ended with exit code 7"),
        ("1", "    return 'refusal'\n", "the turn ended: refusal"),
    ] {
        let context = acp(work, "");
        let path = context.join("tool/agent.toml");
        let toml = std::fs::read_to_string(&path).unwrap();
        write(&path, &toml.replace("\"1\"]", &format!("{version:?}]")));
        let ran = run(&context, &["--model", "big"]);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("exit code 1"), "{ran:#?}");
    }
}
