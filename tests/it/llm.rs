//! Agents in sealed containers that call language models through the harness.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::executor_bench::{IMAGE, engine, probe};
use crate::support::llm_provider::{Mood, Provider, TOKENS};
use crate::support::{Called, TestContext, called, json, life};

/// What the harness must keep to itself.
pub(crate) const KEY: &str = "sk-real-key-0123456789abcdefghijkl";
pub(crate) const CHAT: &str = "/openai/v1/chat/completions";

fn ask(text: &str) -> String {
    format!(
        r#"{{"model":"gpt-test","max_tokens":400,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    )
}

/// A scratch folder with prepared data, an agent that takes its steps, and settings.
pub(crate) fn prepared(provider: &Provider, settings: &str, steps: &[&str]) -> TestContext {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes", "demo-flights"]);
    agent(&context, steps);
    provider.settings(&context.join("llm.toml"), settings);
    context
}

pub(crate) fn agent(context: &TestContext, steps: &[&str]) {
    let agent = context.join("agents/probe");
    std::fs::create_dir_all(&agent).unwrap();
    let command: Vec<&str> =
        std::iter::once("/home/agent/probe").chain(steps.iter().copied()).collect();
    let toml = format!(
        "id = \"probe\"\nbuild = \"image\"\nimage = \"{IMAGE}\"\ncommand = {command:?}\n\
         [env]\nOPENAI_API_KEY = \"${{{{ secrets.TEST_LLM_KEY }}}}\"\n"
    );
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
}

pub(crate) fn run_command(context: &TestContext, competitions: &[&str], more: &[&str]) -> Command {
    let mut command = context.command();
    command.args(["run", "--agent", "agents/probe", "-c"]).args(competitions);
    command.args(["--cpus", "0.5", "--memory", "256MiB", "--disk", "1GiB", "--grace", "5s"]);
    command.args(more).env("TEST_LLM_KEY", KEY).stdin(Stdio::null());
    command
}

pub(crate) fn run(context: &TestContext, competitions: &[&str], more: &[&str]) -> Called {
    called(&run_command(context, competitions, more).output().unwrap())
}

/// The groups below `runs/`, the oldest first.
pub(crate) fn groups(context: &TestContext) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(context.join("runs")).into_iter().flatten();
    let mut groups: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    groups.sort_by_key(|group| json(&group.join("plan.json"))["created_at"].to_string());
    groups
}

/// The folders of a group's attempts, in the plan's order.
pub(crate) fn attempts(group: &Path) -> Vec<PathBuf> {
    let plan = json(&group.join("plan.json"));
    let attempts = plan["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| group.join(attempt["dir"].as_str().unwrap())).collect()
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder that holds `needle`, also where it is compressed.
pub(crate) fn holds(root: &Path, needle: &str) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle.as_bytes());
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root) {
        let path = entry.unwrap().into_path();
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let unpacked = path.extension().is_some_and(|extension| extension == "gz").then(|| {
            let output = Command::new("gzip").arg("-dc").arg(&path).output();
            output.map(|output| output.stdout).unwrap_or_default()
        });
        if has(&bytes) || unpacked.is_some_and(|bytes| has(&bytes)) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_agent_calls_models_the_bill_is_known_and_the_key_is_nowhere() {
    if engine().await.is_none() {
        return;
    }
    let provider = Provider::start(Duration::ZERO);
    let hosted = r#"{"model":"gpt-test","messages":[{"role":"user","content":"s"}],"tools":[{"type":"web_search"},{"type":"function","function":{"name":"f"}}]}"#;
    let backwards: String = KEY.chars().rev().collect();
    let question = ask("hello");
    let context = prepared(
        &provider,
        "[budget.attempt]\ndollars = \"5.00\"\n[budget.group]\ndollars = \"50\"\n",
        &[
            "llm",
            CHAT,
            &question,
            "+",
            "llm",
            "/r/judge/openai/v1/chat/completions",
            hosted,
            "+",
            "llm",
            "/openai/v1/files",
            "{}",
            "+",
            "llm-budget",
            "+",
            "environment",
            "+",
            "find",
            &backwards,
            "+",
            "submit-sample",
        ],
    );
    let ran = run(&context, &["demo-bikes"], &["--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let group = groups(&context).remove(0);
    let dir = attempts(&group).remove(0);
    let log = text(&dir.join("run.log"));
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("200 ") && lines[0].contains("answer 1"), "{log}");
    assert!(lines[1].contains("answer 2"), "{log}");
    assert!(lines[2].starts_with("403 "), "{log}");
    assert!(log.contains("\nOPENAI_BASE_URL=http://localhost:4000/openai/v1\n"), "{log}");
    assert!(
        log.contains("\nOPENAI_API_KEY=medalist-gateway\n"),
        "the secret is not handed over: {log}"
    );
    assert!(log.contains("\nSSL_CERT_FILE=/medalist/bundle.pem\n"), "{log}");
    let searched = lines.iter().find(|line| line.starts_with("searched")).unwrap();
    assert!(searched.ends_with("found []"), "{searched}");
    // The provider was given the real one, and no tool that it would run itself.
    assert_eq!(provider.keys(), [KEY]);
    assert_eq!(provider.bodies()[1]["tools"].as_array().unwrap().len(), 1);
    assert_eq!(holds(&context.join("runs"), KEY), Vec::<PathBuf>::new());

    let record = json(&dir.join("attempt.json"));
    let llm = &record["llm"];
    let calls = 2 * TOKENS.1;
    assert_eq!(llm["totals"]["calls"], 2, "{llm:#}");
    assert_eq!(llm["totals"]["tokens"]["output"], calls, "{llm:#}");
    assert_eq!(llm["totals"]["picodollars"], calls * 2_500_000, "{llm:#}");
    assert_eq!(llm["roles"]["judge"]["calls"], 1, "{llm:#}");
    assert_eq!(llm["budget"]["dollars"], 5.0, "{llm:#}");
    assert_eq!(
        (&llm["budget"]["reached_at"], &llm["hosted_tools"]),
        (&Value::Null, &"strip".into())
    );
    assert!(llm["policy"].as_object().unwrap().values().count() >= 2, "{llm:#}");
    assert_eq!(record["conditions"]["sealed"], true);
    let grade = json(&dir.join("grade.json"));
    assert_eq!((&grade["llm"]["calls"], &grade["llm"]["dollars"]), (&2.into(), &0.002.into()));
    let whole = json(&group.join("group.json"));
    assert_eq!(whole["llm"]["totals"]["calls"], 2, "{whole:#}");
    assert_eq!(whole["llm"]["budget"]["dollars"], 50.0, "{whole:#}");
    assert!(!dir.join("llm/tls.json").exists(), "the certificate's key outlives the attempt");
    let plan = json(&group.join("plan.json"));
    assert_eq!(plan["llm"]["settings"]["upstreams"]["openai"]["key"]["env"], "TEST_LLM_KEY");
    assert!(context.ok(&["status"]).stdout.contains("language models: $"), "status has the money");

    let shown = context.ok(&["transcript", "demo-bikes"]).stdout;
    for what in
        ["hello", "answer 1", "as judge, new conversation 2", "tokens in", "phase      agent"]
    {
        assert!(shown.contains(what), "`{what}` is missing:\n{shown}");
    }
    context.ok(&["transcript", "demo-bikes", "--format", "atif", "--out", "t.json"]);
    let trajectory = json(&context.join("t.json"));
    assert_eq!(trajectory["steps"][0]["message"], "hello", "{trajectory:#}");
    assert_eq!(trajectory["subagent_trajectories"][0]["trajectory_id"], "judge");
    assert_eq!(trajectory["final_metrics"]["total_completion_tokens"], calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_one_cent_stops_exactly_under_32_calls_at_once() {
    if engine().await.is_none() {
        return;
    }
    let provider = Provider::start(Duration::from_millis(50));
    let question = ask("hello");
    let context = prepared(
        &provider,
        "[budget.attempt]\ndollars = \"0.01\"\n",
        &["llm-many", "32", CHAT, &question, "+", "llm", CHAT, &question, "+", "submit-sample"],
    );
    let ran = run(&context, &["demo-bikes"], &["--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("is used up"), "{ran:#?}");
    let dir = attempts(&groups(&context)[0]).remove(0);
    let log = text(&dir.join("run.log"));
    // A call costs $0.001.
    assert!(log.starts_with("{\"200\": 10, \"402\": 22}\n402 "), "{log}");
    assert!(log.contains("$0.01"), "the agent is told why: {log}");
    assert_eq!(provider.answered(), 10);
    let record = json(&dir.join("attempt.json"));
    assert_eq!(record["llm"]["totals"]["picodollars"], 10_000_000_000_u64);
    assert!(record["llm"]["budget"]["reached_at"].is_string(), "{record:#}");
    assert_eq!(record["outcome"]["kind"], "finished", "a budget is no outcome");
    assert_eq!(json(&dir.join("grade.json"))["llm"]["budget_reached"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_needs_no_provider_and_gives_the_same_bytes() {
    if engine().await.is_none() {
        return;
    }
    let provider = Provider::start(Duration::ZERO);
    let (same, other) = (ask("hello"), ask("other"));
    let context = prepared(
        &provider,
        "",
        &[
            "llm",
            CHAT,
            &same,
            "+",
            "llm",
            CHAT,
            &other,
            "+",
            "llm",
            CHAT,
            &same,
            "+",
            "llm-submit",
            CHAT,
            &other,
            "+",
            "submit-sample",
        ],
    );
    let competitions = ["demo-bikes", "demo-flights"];
    let ran = run(&context, &competitions, &["--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let recorded = groups(&context).remove(0);
    assert_eq!(provider.answered(), 8);
    provider.set(Mood::RefusesKey);
    let name = recorded.file_name().unwrap().to_str().unwrap();
    let mut command = run_command(&context, &competitions, &["--llm-replay", name]);
    let replayed = called(&command.env_remove("TEST_LLM_KEY").output().unwrap());
    assert_eq!(replayed.code, 0, "{replayed:#?}");
    assert_eq!((provider.answered(), provider.refused()), (8, 0), "the provider was asked");
    let again = groups(&context).remove(1);
    for (before, after) in attempts(&recorded).iter().zip(attempts(&again)) {
        for file in ["run.log", "submission/submission.csv", "code/answer"] {
            let (before, after) =
                (std::fs::read(before.join(file)), std::fs::read(after.join(file)));
            assert_eq!(before.unwrap(), after.unwrap(), "{file}");
        }
        let llm = &json(&after.join("attempt.json"))["llm"];
        assert_eq!(
            (&llm["totals"]["replayed_calls"], &llm["totals"]["calls"]),
            (&4.into(), &0.into())
        );
        assert_eq!(llm["replay_of"], name);
    }

    // Another question has no answer, and the operator is told which is nearest.
    agent(&context, &["llm", CHAT, &ask("new"), "+", "submit-sample"]);
    let missed = run(&context, &["demo-bikes"], &["--llm-replay", name]);
    assert_eq!(missed.code, 0, "{missed:#?}");
    assert!(missed.stderr.contains("not in the recording"), "{missed:#?}");
    let dir = attempts(&groups(&context)[2]).remove(0);
    assert!(text(&dir.join("run.log")).starts_with("404 "));
    let more = run(&context, &["demo-bikes"], &["--llm-replay", name, "--seeds", "2"]);
    assert_eq!(more.code, 3, "{more:#?}");
    assert!(more.stderr.contains("no recording for `demo-bikes/probe/1`"), "{more:#?}");
}

#[test]
fn what_is_wrong_with_models_is_said_before_anything_starts() {
    let provider = Provider::start(Duration::ZERO);
    let context = prepared(&provider, "", &["submit-sample"]);
    let expect = |called: &Called, code: i32, says: &[&str]| {
        assert_eq!(called.code, code, "{called:#?}");
        for words in says {
            assert!(called.stderr.contains(words), "`{words}`: {called:#?}");
        }
        assert!(groups(&context).is_empty(), "{called:#?}");
    };
    let with = |more: &str| {
        provider.settings(&context.join("other.toml"), more);
        run(&context, &["demo-bikes"], &["--executor", "process", "--llm", "other.toml"])
    };
    expect(&with("[polcy]\n"), 3, &["other.toml", "line", "`polcy`", "did you mean `policy`?"]);
    let mut command =
        run_command(&context, &["demo-bikes"], &["--executor", "process", "--llm", "llm.toml"]);
    let keyless = called(&command.env_remove("TEST_LLM_KEY").output().unwrap());
    expect(&keyless, 4, &["TEST_LLM_KEY", "not set", "hint:"]);
    provider.set(Mood::RefusesKey);
    expect(&with(""), 4, &["`openai`", "refuses the key with status 401", "upstreams.openai.key"]);
    provider.set(Mood::Answers);
    std::fs::write(
        context.join("other.toml"),
        "[upstreams.x]\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"m\"]\n",
    )
    .unwrap();
    let away = run(&context, &["demo-bikes"], &["--executor", "process", "--llm", "other.toml"]);
    expect(&away, 4, &["`x`", "cannot be reached", "http://127.0.0.1:1/v1"]);
    let text = "[upstreams.x]\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"m\"]\n[budget.attempt]\ndollars = \"1\"\n";
    std::fs::write(context.join("other.toml"), text).unwrap();
    let unpriced =
        run(&context, &["demo-bikes"], &["--executor", "process", "--llm", "other.toml"]);
    expect(&unpriced, 3, &["price is unknown", "[prices.\"m\"]"]);
    let none = run(&context, &["demo-bikes"], &["--llm", "no.toml"]);
    expect(&none, 3, &["no.toml", "hint:"]);
    let no_group = run(&context, &["demo-bikes"], &["--llm-replay", "none"]);
    expect(&no_group, 3, &["`none` is no run group"]);

    let check = |context: &TestContext| {
        let mut command = context.command();
        called(
            &command.args(["llm", "check", "llm.toml"]).env("TEST_LLM_KEY", KEY).output().unwrap(),
        )
    };
    let good = check(&context);
    assert_eq!(good.code, 0, "{good:#?}");
    assert!(good.stdout.contains("gpt-test") && good.stdout.contains("0.001000"), "{good:#?}");
    provider.set(Mood::RefusesKey);
    let bad = check(&context);
    assert_eq!(bad.code, 4, "{bad:#?}");
    assert!(bad.stdout.contains("401") && !bad.stdout.contains(KEY), "{bad:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_wants_money_pauses_the_run_and_resume_goes_on() {
    if engine().await.is_none() {
        return;
    }
    let provider = Provider::start(Duration::ZERO);
    let question = ask("hello");
    let context = prepared(
        &provider,
        "[timeouts]\nhold_s = 1\noutage_s = 1.5\n",
        &["llm-patient", CHAT, &question, "+", "submit-sample"],
    );
    provider.set(Mood::WantsMoney);
    let competitions = ["demo-bikes", "demo-flights"];
    let ran = run(&context, &competitions, &["--llm", "llm.toml", "--parallel", "1"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    for words in ["`openai` refuses the key or wants money", "nothing more starts", "run --resume"]
    {
        assert!(ran.stderr.contains(words), "`{words}`: {ran:#?}");
    }
    let group = groups(&context).remove(0);
    let dirs = attempts(&group);
    let first = json(&dirs[0].join("attempt.json"));
    assert_eq!(first["outcome"]["kind"], "llm_outage", "{first:#}");
    assert_eq!(first["outcome"]["infrastructure"], true);
    assert!(!dirs[1].join("attempt.json").exists(), "a second attempt was started");
    provider.set(Mood::Answers);
    let mut command = context.command();
    command.args(["run", "--resume", group.to_str().unwrap()]).env("TEST_LLM_KEY", KEY);
    let resumed = called(&command.output().unwrap());
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    for dir in attempts(&group) {
        let record = json(&dir.join("attempt.json"));
        assert_eq!(record["outcome"]["kind"], "finished", "{record:#}");
        assert_eq!(record["llm"]["totals"]["calls"], 1, "{record:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_stands_still_while_a_provider_is_overloaded_if_settings_say_so() {
    if engine().await.is_none() {
        return;
    }
    let question = ask("hello");
    for (clock, outcome) in [("pause on outage", "finished"), ("run on", "timed_out")] {
        let provider = Provider::start(Duration::ZERO);
        let context = prepared(
            &provider,
            "[record]\ntranscript = false\n[timeouts]\nhold_s = 60\n",
            &["llm-patient", CHAT, &question, "+", "submit-sample"],
        );
        let settings = text(&context.join("llm.toml"));
        std::fs::write(context.join("llm.toml"), format!("clock = \"{clock}\"\n{settings}"))
            .unwrap();
        provider.set(Mood::Overloaded);
        let mut command =
            run_command(&context, &["demo-bikes"], &["--llm", "llm.toml", "--timeout", "4s"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One refusal a second: longer than the time limit allows.
        while provider.refused() < 8 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        provider.set(Mood::Answers);
        let ran = called(&child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{clock}: {ran:#?}");
        let dir = attempts(&groups(&context)[0]).remove(0);
        let record = json(&dir.join("attempt.json"));
        assert_eq!(record["outcome"]["kind"], outcome, "{clock}: {record:#}");
        assert_eq!(record["llm"]["clock_paused"], clock == "pause on outage");
        assert!(record["llm"]["held_s"].as_f64().unwrap() > 2.0, "{record:#}");
        assert!(!dir.join("llm/transcript.jsonl.gz").exists());
    }
}

#[test]
fn a_plain_process_reaches_the_gateway_on_loopback() {
    let provider = Provider::start(Duration::ZERO);
    let question = ask("hello");
    let context = prepared(&provider, "", &[]);
    let agent = context.join("agents/probe");
    std::fs::copy(probe(), agent.join("probe")).unwrap();
    let command = ["probe", "llm", CHAT, &question, "+", "submit-sample"];
    let toml = format!("id = \"probe\"\nbuild = \"dockerfile\"\ncommand = {command:?}\n");
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    std::fs::write(agent.join("Dockerfile"), "FROM scratch\n").unwrap();
    let ran = run(&context, &["demo-bikes"], &["--executor", "process", "--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempts(&groups(&context)[0]).remove(0);
    let log = text(&dir.join("run.log"));
    assert!(log.starts_with("200 ") && log.contains("answer 1"), "{log}");
    assert_eq!(json(&dir.join("attempt.json"))["llm"]["totals"]["calls"], 1);
}

#[test]
fn an_agent_that_calls_ten_thousand_models_leaves_a_small_record() {
    const CALLS: u64 = 10_000;
    let provider = Provider::start(Duration::ZERO);
    let context = prepared(&provider, "", &[]);
    let settings = format!(
        "[upstreams.openai]\nbase_url = \"http://127.0.0.1:{}/v1\"\nprice = \"free\"\n[record]\nrecording = false\n\
         transcript = false\n",
        provider.port
    );
    std::fs::write(context.join("llm.toml"), settings).unwrap();
    let agent = context.join("agents/probe");
    std::fs::copy(probe(), agent.join("probe")).unwrap();
    // Tools by names that a terminal obeys, some longer than any line, and a model of many calls.
    let tools: Vec<String> = (0..200)
        .map(|i| format!(r#"{{"type":"\u001b[2J\u202e{i}{}"}}"#, "x".repeat(300)))
        .collect();
    let odd = format!(r#"{{"model":"often","messages":[],"tools":[{}]}}"#, tools.join(","));
    let often = r#"{"model":"often","messages":[]}"#;
    let count = CALLS.to_string();
    let mut command = vec!["probe", "llm-names", &count];
    for body in [&odd, often, often] {
        command.extend(["+", "llm", CHAT, body]);
    }
    command.extend(["+", "submit-sample"]);
    let toml = format!("id = \"probe\"\nbuild = \"dockerfile\"\ncommand = {command:?}\n");
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    std::fs::write(agent.join("Dockerfile"), "FROM scratch\n").unwrap();
    let ran = run(&context, &["demo-bikes"], &["--executor", "process", "--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempts(&groups(&context)[0]).remove(0);
    let log = text(&dir.join("run.log"));
    assert!(log.starts_with(&format!("{{\"200\": {CALLS}}}\n200 ")), "{log}");

    let record = json(&dir.join("attempt.json"));
    let llm = &record["llm"];
    assert_eq!(llm["totals"]["calls"], CALLS + 3, "{llm:#}");
    for names in [&llm["models"], &llm["roles"]] {
        let names = names.as_object().unwrap();
        assert!(names.len() <= 65, "{} names", names.len());
        assert_eq!(names["often"]["calls"], 3, "the model of the most calls is kept: {names:#?}");
        let sum: u64 = names.values().map(|totals| totals["calls"].as_u64().unwrap()).sum();
        assert_eq!(sum, CALLS + 3, "no call is lost");
        assert_eq!(names["(others)"]["calls"], CALLS - 63, "{names:#?}");
    }
    let policy = llm["policy"].as_object().unwrap();
    assert!((1..=65).contains(&policy.len()), "{policy:#?}");
    for kind in policy.keys() {
        assert!(kind.chars().count() <= 100, "{kind}");
        assert!(!kind.contains(['\u{1b}', '\u{202e}']), "{kind:?}");
    }
    let size = std::fs::metadata(dir.join("attempt.json")).unwrap().len();
    assert!(size < 100_000, "{size} bytes");
    let longest = text(&dir.join("llm/calls.jsonl")).lines().map(str::len).max();
    assert!(longest < Some(40_000), "{longest:?} bytes in a line");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_killed_with_calls_under_way_loses_no_call_and_its_agents_go_on() {
    if engine().await.is_none() {
        return;
    }
    // Two attempts at the same time, each with a call under way most of it.
    let question = ask("hello");
    let steps = ["llm-patient", CHAT, &question];
    let steps = [&steps[..], &["+"], &steps, &["+", "submit-sample"]].concat();
    let competitions = ["demo-bikes", "demo-flights"];
    let settings = "[budget.attempt]\ndollars = \"1\"\n[budget.group]\ndollars = \"2\"\n";
    let more = ["--llm", "llm.toml", "--parallel", "2", "--events", "-"];
    let context = prepared(&Provider::start(Duration::ZERO), settings, &steps);
    let mut kill_at = None;
    let (mut events, mut cut_short) = (0, 0);
    loop {
        let provider = Provider::start(Duration::from_millis(300));
        provider.settings(&context.join("llm.toml"), settings);
        let told = life(run_command(&context, &competitions, &more), kill_at);
        let group = groups(&context).pop().unwrap();
        if let Some(at) = kill_at {
            cut_short += usize::from(told >= at);
            let mut command = context.command();
            command.args(["run", "--resume", group.to_str().unwrap()]).env("TEST_LLM_KEY", KEY);
            let resumed = called(&command.output().unwrap());
            assert_eq!(resumed.code, 0, "killed at event {at}: {resumed:#?}");
        } else {
            events = told;
        }
        let (mut billed, mut picodollars) = (0, 0);
        for dir in attempts(&group) {
            let record = json(&dir.join("attempt.json"));
            assert_eq!(record["outcome"]["kind"], "finished", "killed at {kill_at:?}: {record:#}");
            assert_eq!(record["tries"].as_array().unwrap().len(), 1, "killed at {kill_at:?}");
            let log = text(&dir.join("run.log"));
            assert_eq!(log.lines().filter(|line| line.starts_with("200 ")).count(), 2, "{log}");
            let totals = &record["llm"]["totals"];
            assert!(totals["calls"].as_u64() >= Some(2), "killed at {kill_at:?}: {record:#}");
            billed += totals["calls"].as_u64().unwrap();
            picodollars += totals["picodollars"].as_u64().unwrap();
        }
        // Whatever the provider was paid for is in the bill; of each attempt, a call may be there
        // that never came.
        let answered = provider.answered() as u64;
        assert!(
            (answered..=answered + 2).contains(&billed),
            "killed at {kill_at:?}: {billed} billed, {answered} answered"
        );
        assert!(picodollars >= answered * 1_000_000_000, "killed at {kill_at:?}: {picodollars}");
        let whole = &json(&group.join("group.json"))["llm"]["totals"];
        assert_eq!((&whole["calls"], &whole["picodollars"]), (&billed.into(), &picodollars.into()));
        kill_at = Some(kill_at.map_or(1, |at| at + 1));
        if kill_at > Some(events) {
            break;
        }
    }
    // The last lives may have fewer events than the first.
    assert!(
        events >= 12 && cut_short + 4 >= events,
        "{cut_short} of {events} lives were cut short"
    );
}
