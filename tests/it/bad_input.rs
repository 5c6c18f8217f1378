//! What can go wrong on the command line: each case has its message, its hint and its documented
//! exit code.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{TestContext, has_docker};

struct Case {
    name: &'static str,
    args: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
}

#[test]
fn every_mistake_is_named_with_a_way_out() {
    let context = TestContext::new();
    std::fs::create_dir_all(context.join("raw")).unwrap();
    std::fs::write(context.join("plain"), "not a folder").unwrap();
    let cases = [
        Case {
            name: "unknown id",
            args: &["competitions", "show", "spaceship-titanc"],
            code: 3,
            says: &["`spaceship-titanc`", "did you mean `spaceship-titanic`?", "hint:"],
        },
        Case {
            name: "unknown suite",
            args: &["prepare", "--suite", "lite2"],
            code: 3,
            says: &["`lite2`", "did you mean `lite`?", "`low`"],
        },
        Case {
            name: "unknown suite of a list",
            args: &["competitions", "list", "--suite", "meduim"],
            code: 3,
            says: &["`meduim`", "did you mean `medium`?"],
        },
        Case {
            name: "unknown modality",
            args: &["competitions", "list", "--modality", "tabluar"],
            code: 3,
            says: &["`tabluar`", "did you mean `tabular`?"],
        },
        Case {
            name: "unknown complexity",
            args: &["competitions", "list", "--complexity", "hihg"],
            code: 3,
            says: &["`hihg`", "did you mean `high`?"],
        },
        Case {
            name: "unknown metric",
            args: &["metrics", "log-los"],
            code: 3,
            says: &["`log-los`", "did you mean `log"],
        },
        Case {
            name: "unknown format of a report",
            args: &["report", "--format", "htlm"],
            code: 3,
            says: &["htlm", "html"],
        },
        Case {
            name: "mistyped agent",
            args: &["run", "--agent", "basline", "-c", "demo-digits"],
            code: 3,
            says: &["`basline`", "did you mean `baseline`?"],
        },
        Case {
            name: "mistyped network",
            args: &["run", "--agent", "sample", "-c", "demo-digits", "--network", "seald"],
            code: 3,
            says: &["`seald`", "did you mean `sealed`?"],
        },
        Case {
            name: "flag that a resumed group cannot take",
            args: &["run", "--resume", "no-such-group", "--parallel", "2", "--timeout", "1h"],
            code: 2,
            says: &["`--timeout`", "`--resume`", "hint: `--parallel`"],
        },
        Case {
            name: "nothing chosen",
            args: &["run", "--agent", "sample"],
            code: 2,
            says: &["no competition chosen", "hint:"],
        },
        Case {
            name: "raw file missing",
            args: &["prepare", "-c", "spaceship-titanic", "--raw-dir", "raw"],
            code: 3,
            says: &["train.csv", "spaceship-titanic"],
        },
        Case {
            name: "unknown agent",
            args: &["run", "--agent", "nobody", "-c", "spaceship-titanic"],
            code: 3,
            says: &["`nobody`", "sample", "baseline", "hint:"],
        },
        Case {
            name: "not prepared",
            args: &["run", "--agent", "sample", "-c", "spaceship-titanic", "--executor", "process"],
            code: 3,
            says: &[
                "`spaceship-titanic` is not prepared",
                "hint: prepare it first: medalist prepare -c spaceship-titanic",
            ],
        },
        Case {
            name: "no group to resume",
            args: &["run", "--resume", "no-such-group"],
            code: 3,
            says: &["plan.json", "hint:"],
        },
        Case {
            name: "unknown flag",
            args: &["run", "--agnet", "x"],
            code: 2,
            says: &["--agnet", "--agent"],
        },
        Case {
            name: "missing catalogue folder",
            args: &["--catalog", "nowhere", "competitions", "list"],
            code: 3,
            says: &["nowhere"],
        },
        Case {
            name: "data directory is a file",
            args: &["--data-dir", "plain", "prepare", "-c", "demo-digits"],
            code: 4,
            says: &["plain/demo-digits`", "hint:", "--data-dir"],
        },
        Case {
            name: "no group to replay",
            args: &["replay", "no-such-group"],
            code: 3,
            says: &["`no-such-group` is no run group", "plan.json", "hint:"],
        },
        Case {
            name: "no group at all to look at",
            args: &["--runs-dir", "none", "status"],
            code: 3,
            says: &["no run groups in `none`", "hint:"],
        },
        Case {
            name: "no attempt to follow",
            args: &["--runs-dir", "none", "logs", "-f", "demo-digits"],
            code: 3,
            says: &["no attempt `demo-digits`", "hint:", "--group"],
        },
    ];
    for case in cases {
        let called = context.run(case.args);
        assert_eq!(called.code, case.code, "{}: {called:#?}", case.name);
        for words in case.says {
            assert!(
                called.stderr.contains(words),
                "{}: no `{words}` in {}",
                case.name,
                called.stderr
            );
        }
        assert!(!called.stderr.contains("panicked"), "{}: {}", case.name, called.stderr);
    }
}

#[test]
fn a_missing_daemon_is_named_with_the_ways_out() {
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    let output = context
        .command()
        .env("DOCKER_HOST", format!("unix://{}", context.join("nobody.sock").display()))
        .args(["run", "--agent", "sample", "--suite", "demo"])
        .output()
        .unwrap();
    let called = crate::support::called(&output);
    assert_eq!(called.code, 4, "{called:#?}");
    for words in ["no container engine answers", "nobody.sock", "--executor process", "hint:"] {
        assert!(called.stderr.contains(words), "no `{words}` in {}", called.stderr);
    }
    assert!(!context.join("runs").exists(), "nothing is made before the engine is known to answer");
}

#[test]
fn a_missing_image_is_the_machines_failure() {
    if !has_docker() {
        return;
    }
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    let agent = context.join("ghost");
    std::fs::create_dir_all(&agent).unwrap();
    std::fs::write(
        agent.join("agent.toml"),
        "id = \"ghost\"\nbuild = \"image\"\nimage = \"medalist-test/no-such-image\"\n",
    )
    .unwrap();
    let called = context.run(&["run", "--agent", "ghost", "-c", "demo-digits", "--retries", "0"]);
    assert_eq!(called.code, 5, "{called:#?}");
    assert!(called.stderr.contains("medalist-test/no-such-image"), "{}", called.stderr);
}

/// Starts a run of an agent that never ends, and waits until it is under way.
fn endless_run(context: &TestContext) -> std::process::Child {
    context.ok(&["prepare", "--suite", "demo"]);
    let agent = context.join("endless");
    std::fs::create_dir_all(&agent).unwrap();
    std::fs::write(agent.join("agent.toml"), "id = \"endless\"\nbuild = \"dockerfile\"\n").unwrap();
    std::fs::write(
        agent.join("start.sh"),
        "cp \"$DATA_DIR/sample_submission.csv\" \"$SUBMISSION_DIR/submission.csv\"\ntrap '' TERM\necho under way\nfor i in $(seq 90); do sleep 1; done\n",
    )
    .unwrap();
    let child = context
        .command()
        .args([
            "run",
            "--agent",
            "endless",
            "-c",
            "demo-digits",
            "--executor",
            "process",
            "--seeds",
            "2",
            "--parallel",
            "1",
        ])
        .args(["--grace", "60s"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while !under_way(context) {
        assert!(began.elapsed() < Duration::from_secs(60), "the agent never started");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn under_way(context: &TestContext) -> bool {
    let logs = walk(&context.join("runs"), "run.log");
    logs.iter().any(|log| std::fs::read_to_string(log).is_ok_and(|text| text.contains("under way")))
}

fn walk(dir: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path(), name));
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
    found
}

fn interrupt(child: &std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}

#[test]
fn interrupted_twice_agents_are_killed_and_their_submissions_graded() {
    let context = TestContext::new();
    let mut child = endless_run(&context);
    interrupt(&child);
    // The second signal must be a second one, not merged with the first.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("stopping: ")), "the first signal is answered");
    interrupt(&child);
    // Reads on, so that the harness is not held up by a full pipe.
    lines.for_each(drop);
    let called = crate::support::called(&child.wait_with_output().unwrap());
    assert_eq!(called.code, 130, "{called:#?}");
    let records = walk(&context.join("runs"), "attempt.json");
    assert_eq!(records.len(), 1, "the second attempt never started");
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&records[0]).unwrap()).unwrap();
    assert_eq!(record["outcome"]["kind"], "cancelled");
    let grade: serde_json::Value =
        serde_json::from_slice(&std::fs::read(records[0].with_file_name("grade.json")).unwrap())
            .unwrap();
    assert_eq!(grade["valid_submission"], true, "what was there was salvaged and graded");
}

#[test]
fn interrupted_three_times_the_harness_ends_at_once() {
    let context = TestContext::new();
    let mut child = endless_run(&context);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Signals that come too close together count as one, so more than three may be sent.
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    let graded = walk(&context.join("runs"), "grade.json");
    assert!(graded.is_empty(), "it waited for the agent and graded it: {graded:?}");
}
