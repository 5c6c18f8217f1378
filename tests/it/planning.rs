//! What `run --dry-run` says before anything starts.

use serde_json::{Value, json};

use crate::support::TestContext;

/// The plan, which is shown whatever stands in its way here.
fn plan(context: &TestContext, args: &[&str]) -> Value {
    let called = context.run(
        &[&["run", "--agent", "sample", "-c", "demo-bikes", "--dry-run", "--json"], args].concat(),
    );
    serde_json::from_str(&called.stdout).unwrap_or_else(|error| panic!("{error}: {called:#?}"))
}

#[test]
fn attempts_run_one_by_one_are_all_in_status_and_replay() {
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    let planned = context.ok(&[
        "run",
        "--agent",
        "sample",
        "--suite",
        "demo",
        "--executor",
        "process",
        "--plan-only",
    ]);
    let group = planned.stdout.trim();
    let nothing = context.run(&["status", group]);
    assert_eq!(nothing.code, 3, "{nothing:#?}");
    assert!(nothing.stderr.contains("nothing has happened"), "{nothing:#?}");
    for id in ["demo-digits", "demo-bikes"] {
        context.ok(&["attempt", group, id]);
    }
    let status = || -> Value {
        serde_json::from_str(&context.ok(&["status", group, "--json"]).stdout).unwrap()
    };
    let expected = |finished: u64| json!([4, 0, finished, finished]);
    let counts = |stats: &Value| {
        json!([stats["planned"], stats["running"], stats["finished"], stats["valid"]])
    };
    assert_eq!(counts(&status()), expected(2));
    let replay = context.ok(&["replay", group]).stdout;
    for id in ["demo-digits", "demo-bikes"] {
        assert!(replay.contains(&format!("{id}/sample/0: finished")), "{replay}");
    }
    let lines = context.ok(&["replay", group, "--json"]).stdout;
    let times: Vec<String> = lines
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["at"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(times.is_sorted() && times.len() > 8, "{times:?}");

    // What the group's own harness does afterwards comes on top and counts nothing twice.
    let resumed =
        context.ok(&["run", "--resume", group, "--parallel", "1", "--events", "mine.jsonl"]);
    assert!(!resumed.stderr.contains("demo-digits/sample/0: started"), "{resumed:#?}");
    assert_eq!(counts(&status()), expected(4));
    assert!(context.join("mine.jsonl").is_file());
}

#[test]
fn a_resumed_group_takes_its_pace_and_nothing_else() {
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    let planned = context.ok(&[
        "run",
        "--agent",
        "sample",
        "-c",
        "demo-digits",
        "--executor",
        "process",
        "--plan-only",
    ]);
    let group = planned.stdout.trim();
    for flag in [
        ["--timeout", "1h"],
        ["--gpus", "1"],
        ["--seeds", "2"],
        ["--executor", "docker"],
        ["--network", "open"],
        ["--data", "copy"],
        ["--data-dir", "elsewhere"],
    ] {
        let refused = context.run(&[&["run", "--resume", group], &flag[..]].concat());
        assert_eq!(refused.code, 2, "{flag:?}: {refused:#?}");
        assert!(refused.stderr.contains(&format!("`{}`", flag[0])), "{refused:#?}");
    }
    let data = context.join("data");
    let pace = ["--parallel", "1", "--retries", "0", "--fail-fast", "--data-dir"];
    context.ok(&[&["run", "--resume", group], &pace[..], &[data.to_str().unwrap()]].concat());
}

#[test]
fn data_are_copied_where_that_is_asked() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-digits"]);
    let agent = context.join("changer");
    std::fs::create_dir_all(&agent).unwrap();
    std::fs::write(
        agent.join("agent.toml"),
        "id = \"changer\"\nversion = \"1.2\"\nbuild = \"dockerfile\"\n",
    )
    .unwrap();
    std::fs::write(
        agent.join("start.sh"),
        "cp \"$DATA_DIR/sample_submission.csv\" \"$SUBMISSION_DIR/submission.csv\"\n\
         echo changed > \"$DATA_DIR/description.md\" && echo wrote\ncat \"$DATA_DIR/../instructions.txt\"\n",
    )
    .unwrap();
    let run = ["run", "--agent", "changer", "-c", "demo-digits", "--executor", "process"];
    assert_eq!(plan(&context, &[])["data"], Value::Null, "the default is not written");
    context.ok(&[&run[..], &["--data", "copy"]].concat());
    let group = newest(&context.join("runs"));
    let record: Value =
        serde_json::from_slice(&std::fs::read(group.join("group.json")).unwrap()).unwrap();
    assert_eq!(record["agent"]["version"], "1.2");
    let attempt = group.join(record["attempts"][0]["dir"].as_str().unwrap());
    let log = std::fs::read_to_string(attempt.join("run.log")).unwrap();
    assert!(log.contains("wrote") && log.contains("your own copy"), "{log}");
    let ours = context.join("data/demo-digits/prepared/public/description.md");
    // The description may only exist in the agent's copy.
    assert!(!std::fs::read_to_string(ours).is_ok_and(|text| text.contains("changed")));
}

/// The only run group in a folder.
fn newest(runs: &std::path::Path) -> std::path::PathBuf {
    let mut groups: Vec<_> =
        std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    groups.sort();
    groups.pop().unwrap()
}

#[test]
fn mle_benchs_container_config_is_taken_and_flags_win() {
    let context = TestContext::new();
    let config = r#"{"mem_limit": "3g", "shm_size": "1G", "nano_cpus": 1.5e9, "runtime": "sysbox-runc", "cpuset_cpus": "0-1",
                     "network_mode": "bridge", "pids_limit": 512}"#;
    std::fs::write(context.join("config.json"), config).unwrap();
    let made = plan(
        &context,
        &["--container-config", "config.json", "--shm", "2GiB", "--network", "sealed"],
    );
    let limits = &made["limits"];
    assert_eq!((&limits["memory_bytes"], &limits["cpus"]), (&json!(3_u64 << 30), &json!(1.5)));
    assert_eq!((&limits["shm_bytes"], &limits["pids"]), (&json!(2_u64 << 30), &json!(512)));
    assert_eq!((&made["runtime"], &made["cpuset"]), (&json!("sysbox-runc"), &json!("0-1")));
    assert_eq!(made["network"], "sealed", "a flag wins");
    assert_eq!(plan(&context, &["--container-config", "config.json"])["network"], "open");
    let plain = plan(&context, &[]);
    assert_eq!((&plain["network"], &plain["limits"]["pids"]), (&json!("sealed"), &json!(4096)));

    std::fs::write(context.join("bad.json"), r#"{"cap_add": ["SYS_ADMIN"]}"#).unwrap();
    let refused = context.run(&[
        "run",
        "--agent",
        "sample",
        "-c",
        "demo-bikes",
        "--dry-run",
        "--container-config",
        "bad.json",
    ]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(
        refused.stderr.contains("`bad.json`") && refused.stderr.contains("`cap_add`"),
        "{refused:#?}"
    );
}
