//! Runs on the real engine that are cut short or stopped from outside: nothing is lost and nothing
//! is done twice.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medalist::sandbox::engine::{Engine, tar_directory};
use serde_json::Value;

use crate::executor_bench::{IMAGE, engine, probe};
use crate::support::island::Island;
use crate::support::{Called, TestContext, called, has_docker, json, life, skip};

const COMPETITIONS: [&str; 2] = ["demo-bikes", "demo-flights"];

/// A scratch folder with prepared data and an agent that takes its steps.
fn prepared(steps: &[&str]) -> TestContext {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", COMPETITIONS[0], COMPETITIONS[1]]);
    let agent = context.join("agents/probe");
    std::fs::create_dir_all(&agent).unwrap();
    let command: Vec<&str> =
        std::iter::once("/home/agent/probe").chain(steps.iter().copied()).collect();
    let toml =
        format!("id = \"probe\"\nbuild = \"image\"\nimage = \"{IMAGE}\"\ncommand = {command:?}\n");
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    context
}

/// `medalist run` of that agent on both competitions, with events on its stdout.
fn run_command(context: &TestContext, runs: &Path) -> Command {
    let mut command = context.command();
    command.args(["run", "--agent", "agents/probe", "-c"]).args(COMPETITIONS);
    command.args([
        "--cpus", "0.5", "--memory", "256MiB", "--disk", "1GiB", "--grace", "5s", "--events", "-",
    ]);
    command
        .arg("--runs-dir")
        .arg(runs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The only group below `runs`.
fn only_group(runs: &Path) -> PathBuf {
    let groups: Vec<PathBuf> =
        std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups[0].clone()
}

fn name(group: &Path) -> String {
    group.file_name().unwrap().to_string_lossy().into_owned()
}

/// What must be equal however often a run was cut short.
fn results(group: &Path) -> BTreeMap<String, Value> {
    let plan = json(&group.join("plan.json"));
    let attempts = plan["attempts"].as_array().unwrap();
    let one = |attempt: &Value| {
        let dir = group.join(attempt["dir"].as_str().unwrap());
        let (mut record, grade) = (json(&dir.join("attempt.json")), json(&dir.join("grade.json")));
        let conditions = record["conditions"].take();
        let result = serde_json::json!({
            "outcome": record["outcome"], "submission": record["submission"], "tries": record["tries"].as_array().unwrap().len(),
            "score": grade["score"], "valid": grade["valid_submission"], "percentile": grade["percentile"],
            "image": conditions["image_digest"], "data": conditions["data_sha256"], "limits": conditions["limits"],
        });
        (attempt["key"].as_str().unwrap().to_string(), result)
    };
    attempts.iter().map(one).collect()
}

/// The report's table without the group's name and the attempts' times.
fn table(context: &TestContext, group: &Path) -> String {
    let out = context.join("report").join(name(group));
    let called = context.ok(&["report", group.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let lines =
        called.stdout.lines().map(|line| line.split("  finished ").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").replace(&name(group), "GROUP")
}

/// Lines of `docker` about each attempt of a group.
fn docker(args: &[&str], group: &Path) -> Vec<Vec<String>> {
    let plan = json(&group.join("plan.json"));
    let about = |attempt: &Value| {
        let label = format!("label=io.medalist.attempt={}", attempt["dir"].as_str().unwrap());
        let output = Command::new("docker").args(args).args(["--filter", &label]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    };
    plan["attempts"].as_array().unwrap().iter().map(about).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harness_killed_at_any_event_loses_and_repeats_nothing() {
    if engine().await.is_none() {
        return;
    }
    let context = prepared(&["sleep", "700", "+", "print", "hello", "+", "submit-sample"]);
    let since = seconds_since_1970().to_string();
    let undisturbed = context.join("undisturbed");
    let events = life(run_command(&context, &undisturbed), None);
    assert!(events >= 14, "{events} events");
    let group = only_group(&undisturbed);
    let (expected, expected_table) = (results(&group), table(&context, &group));
    for result in expected.values() {
        assert_eq!(result["outcome"]["kind"], "finished", "{result:#}");
        assert_eq!(result["valid"], true, "{result:#}");
    }
    let next = AtomicUsize::new(1);
    let killed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let kill_at = next.fetch_add(1, Ordering::Relaxed);
                    if kill_at > events {
                        return;
                    }
                    let runs = context.join(&format!("killed-{kill_at}"));
                    let told = life(run_command(&context, &runs), Some(kill_at));
                    killed.fetch_add(usize::from(told >= kill_at), Ordering::Relaxed);
                    let group = only_group(&runs);
                    let resumed = context.run(&["run", "--resume", group.to_str().unwrap()]);
                    assert_eq!(resumed.code, 0, "killed at event {kill_at}: {resumed:#?}");
                    assert_eq!(results(&group), expected, "killed at event {kill_at}");
                    assert_eq!(
                        table(&context, &group),
                        expected_table,
                        "killed at event {kill_at}"
                    );
                    let left = docker(&["ps", "-aq"], &group).concat();
                    assert!(left.is_empty(), "killed at event {kill_at}: {left:?}");
                    let until = (seconds_since_1970() + 1).to_string();
                    let window =
                        ["events", "--since", &since, "--until", &until, "--filter", "event=start"];
                    for starts in docker(&window, &group) {
                        assert_eq!(
                            starts.len(),
                            1,
                            "killed at event {kill_at}: started once: {starts:#?}"
                        );
                    }
                }
            });
        }
    });
    assert!(killed.into_inner() + 3 >= events, "nearly all lives were cut short");
}

/// As `docker events` takes times.
fn seconds_since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until `ready` says yes.
fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < give_up, "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_terminal_watches_and_stops_single_attempts() {
    if engine().await.is_none() {
        return;
    }
    let context =
        prepared(&["print", "hello", "+", "submit-sample", "+", "print", "working", "+", "hang"]);
    let runs = context.join("runs");
    let child = run_command(&context, &runs).stdout(Stdio::null()).spawn().unwrap();
    let log_says = |competition: &str, text: &str| {
        let called = context.run(&["logs", competition]);
        called.code == 0 && called.stdout.contains(text)
    };
    until("both logs", || COMPETITIONS.iter().all(|competition| log_says(competition, "working")));
    // An agent prints before the harness has noted that it runs.
    until("both agents", || {
        let status = context.ok(&["status"]).stdout;
        status.contains("2 running") && status.contains("demo-bikes/probe/0  agent")
    });
    assert_eq!(context.ok(&["logs", "demo-bikes", "--tail", "1"]).stdout, "working\n");

    let mut follow = context.command();
    let follow =
        follow.args(["logs", "-f", "demo-bikes/probe/0"]).stdout(Stdio::piped()).spawn().unwrap();
    let stopped = context.ok(&["stop", "demo-bikes"]);
    assert!(
        stopped.stdout.contains("demo-bikes/probe/0  cancelled (stopped), score"),
        "{stopped:#?}"
    );
    let followed = called(&follow.wait_with_output().unwrap());
    assert_eq!(
        (followed.code, followed.stdout.as_str()),
        (0, "hello\nworking\n"),
        "it ends with the attempt"
    );
    assert!(context.ok(&["stop", "demo-bikes"]).stderr.contains("is over already"));
    let ambiguous = context.run(&["stop", "demo"]);
    assert!(ambiguous.stderr.contains("means 2 attempts"), "{ambiguous:#?}");

    let group = only_group(&runs);
    let all = context.ok(&["stop", "--all", "--group", &name(&group), "--kill"]);
    assert!(all.stderr.contains("run --resume"), "{all:#?}");
    let ended = called(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "stopped attempts are still to be made");
    let outcomes: Vec<String> =
        results(&group).values().map(|result| result["outcome"]["detail"].to_string()).collect();
    assert_eq!(outcomes, ["\"cancelled (stopped)\"", "\"cancelled (killed)\""]);
    for result in results(&group).values() {
        assert_eq!(result["valid"], true, "what was submitted is graded all the same: {result:#}");
    }
    let late = context.run(&["stop", "--all", "--group", &name(&group)]);
    assert_eq!(late.code, 3);
    assert!(late.stderr.contains("no harness runs"), "{late:#?}");
}

/// A Docker daemon of its own, so that it can be killed; its containers live on with the island.
struct Daemon<'a> {
    dir: PathBuf,
    island: &'a Island,
    process: Child,
}

impl<'a> Daemon<'a> {
    fn socket(dir: &Path) -> String {
        format!("unix://{}", dir.join("docker.sock").display())
    }

    fn start(dir: &Path, island: &'a Island) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(
            dir.join("daemon.json"),
            "{\"storage-driver\": \"vfs\", \"live-restore\": true}",
        )
        .unwrap();
        let _ = std::fs::remove_file(dir.join("docker.pid"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("dockerd.log"))
            .unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        let process = island
            .command("dockerd")
            .args([
                "--config-file",
                &at("daemon.json"),
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
            ])
            .args(["--pidfile", &at("docker.pid"), "-H", &Self::socket(dir)])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { dir: dir.to_owned(), island, process };
        until("the second daemon", || {
            let version = Command::new("docker")
                .args(["-H", &Self::socket(dir), "version"])
                .output()
                .unwrap();
            version.status.success()
        });
        daemon
    }

    /// Sends the daemon a signal and waits for its end. Its process number is the island's.
    fn end(&mut self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join("docker.pid")).unwrap_or_default();
        let mut kill = self.island.command("sh");
        kill.args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid]);
        assert!(kill.status().unwrap().success(), "the daemon is not there");
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_while_agents_run_or_are_collected_loses_nothing() {
    if !has_docker() {
        return;
    }
    let there = Command::new("dockerd")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        skip("dockerd", "there is no `dockerd` to start a second daemon from");
        return;
    }
    let Some(island) = Island::new() else { return };
    let context = prepared(&["print", "working", "+", "sleep", "6000", "+", "submit-sample"]);
    let mut daemon = Daemon::start(&context.join("daemon"), &island);
    let socket = Daemon::socket(&daemon.dir);
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("home/agent")).unwrap();
    std::fs::copy(probe(), root.path().join("home/agent/probe")).unwrap();
    let second = Engine::connect_to(&socket).await.unwrap();
    second.import(tar_directory(root.path()).unwrap(), IMAGE).await.unwrap();

    let runs = context.join("runs");
    let mut command = run_command(&context, &runs);
    let mut child = command.env("DOCKER_HOST", &socket).stderr(Stdio::piped()).spawn().unwrap();
    until("both agents", || {
        COMPETITIONS
            .iter()
            .all(|competition| context.run(&["logs", competition]).stdout.contains("working"))
    });
    // As the kernel does when memory is short.
    daemon.end("KILL");
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("waiting for the engine")), "it does not wait");
    until("the agents' end", || {
        !island.command("pgrep").args(["-x", "probe"]).status().unwrap().success()
    });
    let mut daemon = Daemon::start(&daemon.dir, &island);
    let said: Vec<String> = said.collect();
    let ended: Called = called(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{said:#?}");
    for (key, result) in results(&only_group(&runs)) {
        assert_eq!(result["outcome"]["kind"], "finished", "{key}: {result:#}");
        assert_eq!(
            (&result["valid"], &result["tries"]),
            (&Value::Bool(true), &Value::from(1)),
            "{key}: {result:#}"
        );
    }
    let left = Command::new("docker").args(["-H", &socket, "ps", "-aq"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    daemon.end("TERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_a_plan_run_as_processes_of_their_own() {
    if engine().await.is_none() {
        return;
    }
    let context = prepared(&["print", "working", "+", "sleep", "2500", "+", "submit-sample"]);
    let runs = context.join("runs");
    let limits = ["--cpus", "0.5", "--memory", "256MiB", "--disk", "1GiB"];
    let planned = context.ok(&[
        &["run", "--agent", "agents/probe", "--plan-only", "-c"],
        COMPETITIONS.as_slice(),
        limits.as_slice(),
    ]
    .concat());
    let group = only_group(&runs);
    assert_eq!(
        Path::new(planned.stdout.trim()).canonicalize().unwrap(),
        group.canonicalize().unwrap()
    );
    let name = name(&group);
    let start = |competition: &str| {
        context
            .command()
            .args(["attempt", &name, competition])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let processes = COMPETITIONS.map(start);
    until("both logs", || {
        COMPETITIONS
            .iter()
            .all(|competition| context.run(&["logs", competition]).stdout.contains("working"))
    });
    for taken in [
        context.run(&["attempt", &name, COMPETITIONS[0]]),
        context.run(&["run", "--resume", &name]),
    ] {
        assert_eq!(taken.code, 3, "{taken:#?}");
        assert!(taken.stderr.contains("another medalist is working on"), "{taken:#?}");
    }
    for process in processes {
        let ended = called(&process.wait_with_output().unwrap());
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
    let before = results(&group);
    assert!(
        before.values().all(|result| result["valid"] == true && result["tries"] == 1),
        "{before:#?}"
    );
    let resumed = context.ok(&["run", "--resume", &name]);
    assert!(resumed.stderr.contains("finished: 2/2 done"), "{resumed:#?}");
    assert_eq!(results(&group), before, "there was nothing left to do");
    assert!(json(&group.join("group.json"))["ended_at"].is_string());
    assert_eq!(json(&group.join("metadata.json"))["runs"].as_object().unwrap().len(), 2);
}
