//! Reports of users about running, each as the user would meet it: the same agent folder, the same
//! command, on the real engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mlebench_agents::base_image;
use crate::support::{Called, TestContext, called, json, skip};

/// What an agent does that simply submits.
const SUBMIT: &str = "cp /home/data/sample_submission.csv /home/submission/submission.csv\n";
/// Limits that leave room for other tests.
const SMALL: [&str; 8] =
    ["--grace", "3s", "--cpus", "0.5", "--memory", "512MiB", "--timeout", "60s"];

/// A scratch folder with prepared data and an agent whose image is built; `None` where it cannot be.
async fn agent(start: &str, more: &str) -> Option<TestContext> {
    let base = base_image().await?;
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights", "demo-bikes"]);
    let dir = context.join("case");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("agent.toml"), "id = \"case\"\nbuild = \"dockerfile\"\n").unwrap();
    let dockerfile = format!(
        "FROM {base}\nRUN mkdir -p /home/agent /home/submission /home/logs /home/code\nCOPY start.sh /home/agent/\n{more}"
    );
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    fs::write(dir.join("start.sh"), format!("#!/bin/bash\n{start}")).unwrap();
    Some(context)
}

/// The command line of a run on `demo-flights`.
fn run_words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--agent", "./case", "-c", "demo-flights"], &SMALL[..], more].concat()
}

fn run(context: &TestContext, more: &[&str]) -> Called {
    context.run(&run_words(more))
}

/// The newest group.
fn group(context: &TestContext) -> PathBuf {
    let entries = fs::read_dir(context.join("runs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// Files of this name in the attempts of a group, in the order of their folders.
fn of_attempts(group: &Path, name: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        fs::read_dir(group).unwrap().map(|entry| entry.unwrap().path().join(name)).collect();
    dirs.retain(|path| path.exists());
    dirs.sort();
    dirs
}

/// `attempt.json`, `grade.json` and `run.log` of the only attempt of the newest group.
fn only_attempt(context: &TestContext) -> (Value, Value, String) {
    let group = group(context);
    let records = of_attempts(&group, "attempt.json");
    let [record] = &records[..] else { panic!("{records:?}") };
    let grade = json(&record.with_file_name("grade.json"));
    let log = fs::read_to_string(record.with_file_name("run.log")).unwrap();
    (json(record), grade, log)
}

/// Waits until something is there.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the agent of the newest group has printed these words.
fn has_printed(context: &TestContext, words: &str) -> Option<()> {
    let group =
        fs::read_dir(context.join("runs")).ok()?.flatten().map(|entry| entry.path()).max()?;
    let logs = of_attempts(&group, "run.log");
    logs.iter()
        .any(|log| fs::read_to_string(log).is_ok_and(|text| text.contains(words)))
        .then_some(())
}

#[tokio::test]
async fn a_changed_agent_is_built_again() {
    let Some(context) = agent(&format!("echo VERSION ONE\n{SUBMIT}"), "").await else { return };
    assert_eq!(run(&context, &[]).code, 0);
    assert!(only_attempt(&context).2.contains("VERSION ONE"));
    let start = context.join("case/start.sh");
    fs::write(&start, fs::read_to_string(&start).unwrap().replace("ONE", "TWO")).unwrap();
    let second = TestContext::new();
    second.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let case = context.join("case");
    let words = run_words(&[]);
    let words: Vec<&str> = words
        .iter()
        .map(|word| if *word == "./case" { case.to_str().unwrap() } else { word })
        .collect();
    assert_eq!(second.run(&words).code, 0);
    assert!(only_attempt(&second).2.contains("VERSION TWO"));
}

#[tokio::test]
async fn a_container_that_somebody_else_stops_is_tried_again() {
    let start = format!("{SUBMIT}echo start\nsleep 6\necho end\n");
    let Some(context) = agent(&start, "").await else { return };
    let child = context.command().args(run_words(&[])).stderr(Stdio::piped()).spawn().unwrap();
    until("the agent never started", || has_printed(&context, "start"));
    let dir = of_attempts(&group(&context), "run.log")[0].clone();
    let name = dir.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let label = format!("label=io.medalist.attempt={name}");
    let id = Command::new("docker").args(["ps", "-q", "--filter", &label]).output().unwrap();
    let id = String::from_utf8(id.stdout).unwrap();
    let stopped = Command::new("docker").args(["stop", "-t", "5", id.trim()]).output().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    let ended = called(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{ended:#?}");
    let (record, grade, log) = only_attempt(&context);
    assert_eq!(record["tries"].as_array().unwrap().len(), 2, "{record:#}");
    assert_eq!(record["tries"][0]["outcome"]["infrastructure"], true, "{record:#}");
    assert_eq!(
        (&record["outcome"]["exit_code"], &grade["valid_submission"]),
        (&0.into(), &true.into())
    );
    assert!(log.contains("end"), "{log}");
}

#[tokio::test]
async fn a_link_in_place_of_a_submission_is_named_in_the_record() {
    let start = "cp /home/data/sample_submission.csv /home/code/best.csv\nln -s /home/code/best.csv /home/submission/submission.csv\n";
    let Some(context) = agent(start, "").await else { return };
    let ran = run(&context, &[]);
    assert!(ran.stderr.contains("a symbolic link"), "{ran:#?}");
    let (record, grade, _) = only_attempt(&context);
    assert_eq!(record["salvage"]["refused"][0]["why"], "a symbolic link", "{record:#}");
    assert_eq!(grade["submission_exists"], false);
}

#[tokio::test]
async fn a_hard_link_is_the_file_that_it_is() {
    let start = "cp /home/data/sample_submission.csv /home/submission/best.csv\nln /home/submission/best.csv /home/submission/submission.csv\n";
    let Some(context) = agent(start, "").await else { return };
    assert_eq!(run(&context, &[]).code, 0);
    assert_eq!(only_attempt(&context).1["valid_submission"], true);
}

#[tokio::test]
async fn an_agent_starts_in_its_images_working_directory() {
    let dockerfile = "RUN mkdir -p /home/agent/src/pkg && echo here > /home/agent/src/pkg/name\nWORKDIR /home/agent/src\n";
    let Some(context) = agent(&format!("pwd\ncat pkg/name\n{SUBMIT}"), dockerfile).await else {
        return;
    };
    assert_eq!(run(&context, &[]).code, 0);
    let (_, grade, log) = only_attempt(&context);
    assert!(log.contains("/home/agent/src\nhere\n"), "{log}");
    assert_eq!(grade["valid_submission"], true);
}

#[tokio::test]
async fn a_disk_is_watched_also_where_there_are_many_files() {
    let start = format!(
        "{SUBMIT}for d in 1 2 3 4; do mkdir -p /home/agent/w/$d; for i in {{1..2000}}; do : > /home/agent/w/$d/$i; done; done\n\
         for i in {{1..40}}; do head -c 5000000 /dev/zero >> /home/agent/big; sleep 1; done\necho end\n"
    );
    let Some(context) = agent(&start, "").await else { return };
    let ran = run(&context, &["--disk", "40MiB"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let (record, grade, log) = only_attempt(&context);
    assert_eq!(record["outcome"]["kind"], "disk_full", "{record:#}");
    assert!(!log.contains("end"), "{log}");
    assert_eq!(grade["valid_submission"], true, "what was there is collected");
}

#[tokio::test]
async fn a_display_that_cannot_be_written_ends_no_run() {
    let Some(context) = agent(SUBMIT, "").await else { return };
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = context.command();
    let status = command.args(run_words(&[])).stderr(full()).stdout(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(only_attempt(&context).1["valid_submission"], true);
    // A record of events that cannot be kept is a display too.
    for events in ["/dev/full", "-"] {
        let mut command = context.command();
        command.args(run_words(&["--events", events])).stdout(full());
        let ended = called(&command.stderr(Stdio::piped()).output().unwrap());
        assert_eq!(ended.code, 0, "{events}: {ended:#?}");
    }
}

#[tokio::test]
async fn a_sparse_file_in_the_agents_folder_is_sent_whole() {
    let Some(context) = agent(
        &format!("head -c 1 /home/agent/cache.db | tr '\\0' 0\n{SUBMIT}"),
        "COPY cache.db /home/agent/\n",
    )
    .await
    else {
        return;
    };
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::create(context.join("case/cache.db")).unwrap();
    file.write_all_at(b"x", 1 << 20).unwrap();
    let ran = run(&context, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(only_attempt(&context).2.starts_with('0'));
}

#[test]
fn a_group_is_resumed_from_another_folder() {
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights", "demo-bikes"]);
    let dir = context.join("case");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("agent.toml"), "id = \"case\"\nbuild = \"dockerfile\"\n").unwrap();
    fs::write(
        dir.join("start.sh"),
        "cp data/sample_submission.csv submission/submission.csv; echo start; sleep 3\n",
    )
    .unwrap();
    let mut command = context.command();
    command.args(["run", "--executor", "process", "--agent", "./case", "-c", "demo-flights"]);
    command.args(["demo-bikes", "--timeout", "20s", "--parallel", "1"]).stderr(Stdio::null());
    let mut harness = command.spawn().unwrap();
    until("the agent never started", || has_printed(&context, "start"));
    harness.kill().unwrap();
    harness.wait().unwrap();
    let group = group(&context);
    // What a killed harness can leave behind.
    fs::write(group.join(".aside-x1"), "{").unwrap();
    let attempts = of_attempts(&group, "run.log");
    let first = attempts[0].parent().unwrap();
    fs::write(first.join(".aside-x2"), "{").unwrap();
    let resume = ["run", "--resume", group.to_str().unwrap()];
    let output = context.command().current_dir("/").args(resume).output().unwrap();
    let resumed = called(&output);
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    assert_eq!(of_attempts(&group, "grade.json").len(), 2);
    for left in [group.join(".aside-x1"), first.join(".aside-x2")] {
        assert!(!left.exists(), "{}", left.display());
    }
    for name in ["running.json", "control"] {
        assert_eq!(of_attempts(&group, name), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn work_that_is_done_when_the_disk_runs_full_is_not_done_again() {
    let start = format!("{SUBMIT}head -c 30000000 /dev/zero | tr '\\0' y\nsleep 1\n");
    let Some(context) = agent(&start, "").await else { return };
    let small = context.join("small");
    fs::create_dir(&small).unwrap();
    let mount = |options: &str| {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&small)
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    let mounts_of = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    // Only root may ask which mounts the first process has.
    if mounts_of("1").is_some_and(|first| mounts_of("self") != Some(first)) {
        return skip("mount", "this process has mounts of its own, which the engine does not see");
    }
    if !mount("size=20m") {
        return skip("mount", "this user may not mount a small disk");
    }
    let ended = std::panic::catch_unwind(|| {
        let runs = small.join("runs");
        let place = ["--runs-dir", runs.to_str().unwrap()];
        run(&context, &place);
        let group = fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
        assert!(mount("remount,size=1500m"), "the disk cannot be made larger");
        let resumed = context.run(&["run", "--resume", group.to_str().unwrap()]);
        assert_eq!(resumed.code, 0, "{resumed:#?}");
        let record = json(&of_attempts(&group, "attempt.json")[0]);
        assert_eq!(record["outcome"]["exit_code"], 0, "{record:#}");
        assert_eq!(record["tries"].as_array().unwrap().len(), 1, "{record:#}");
    });
    let _ = Command::new("umount").arg(&small).status();
    ended.unwrap();
}

#[tokio::test]
async fn one_damaged_record_does_not_stop_the_rest() {
    let Some(context) = agent(SUBMIT, "").await else { return };
    let ran = run(&context, &["--seeds", "3"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let group = group(&context);
    let records = of_attempts(&group, "attempt.json");
    let key = |record: &Path| {
        let record = json(record);
        format!("demo-flights/case/{}", record["key"]["seed"].as_u64().unwrap())
    };
    let (damaged, ungraded) = (key(&records[0]), key(&records[1]));
    let redone = records[2].clone();
    fs::write(&records[0], "").unwrap();
    fs::write(records[1].with_file_name("grade.json"), "{\"competition_id\":").unwrap();
    fs::remove_file(&redone).unwrap();
    let events = group.join("events.jsonl");
    let log = fs::read_to_string(&events).unwrap();
    fs::write(&events, format!("{{\"seq\":\n{log}")).unwrap();

    let name = group.to_str().unwrap();
    let resumed = context.run(&["run", "--resume", name]);
    assert_eq!(resumed.code, 5, "{resumed:#?}");
    for words in [
        &format!("{damaged}: `{}` is damaged", records[0].display()),
        "Move the file away",
        &format!("{ungraded}: `"),
        "graded again",
        &format!("resume: medalist run --resume {name}"),
    ] {
        assert!(resumed.stderr.contains(words), "no `{words}` in {}", resumed.stderr);
    }
    assert!(redone.is_file(), "the attempt without a record is made again");
    assert_eq!(json(&records[1].with_file_name("grade.json"))["valid_submission"], true);
    assert_eq!(fs::read(&records[0]).unwrap(), b"", "what is damaged is left as it is");

    // A group with a damaged plan, newer than all others, is in nobody's way.
    let broken = context.join("runs/9999-01-01T00-00-00-UTC_run-group_x");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("plan.json"), "{").unwrap();
    for words in [&["status"][..], &["status", name], &["logs", &ungraded], &["stop", &ungraded]] {
        let said = context.run(words);
        assert_eq!(said.code, 0, "{words:?}: {said:#?}");
        assert!(said.stderr.contains("damaged"), "{words:?} names it: {said:#?}");
    }
    let report = context.run(&["report", "runs", "--out", "page"]);
    assert_eq!(report.code, 0, "{report:#?}");
    assert!(report.stderr.contains("attempt.json`: is empty; left out"), "{report:#?}");
    let cleaned = context.run(&["clean", "--group", group.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(cleaned.code, 0, "{cleaned:#?}");

    fs::rename(&records[0], context.join("away.json")).unwrap();
    let again = context.run(&["run", "--resume", name]);
    assert_eq!(again.code, 0, "{again:#?}");
}

#[tokio::test]
async fn limits_that_cannot_be_had_are_refused_before_anything_starts() {
    let Some(context) = agent(SUBMIT, "").await else { return };
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--cpus", "9999"], &["`--cpus 9999`", "the container engine has", "give `--cpus "]),
        (&["--cpus", "nan"], &["`--cpus NaN`", "no number of processors"]),
        (&["--cpus=-1"], &["`--cpus -1`"]),
        (&["--memory", "4"], &["`--memory 4`", "`--memory 4GiB`"]),
        (&["--memory", "900TiB"], &["`--memory 900.0TiB`", "the container engine has"]),
        (&["--network", "https://example.org"], &["`https://example.org`", "`example.org`"]),
        (&["--runtime", "no-such"], &["`--runtime no-such`", "`runc`"]),
        (&["--timeout", "0s"], &["`--timeout 0s`"]),
        (&["--disk", "100"], &["`--disk 100`", "`--disk 100GiB`"]),
    ];
    let base = ["run", "--agent", "./case", "-c", "demo-flights"];
    for (more, says) in cases {
        for dry in [&[][..], &["--dry-run"]] {
            let refused = context.run(&[&base, more, dry].concat());
            assert!([3, 4].contains(&refused.code), "{more:?} {dry:?}: {refused:#?}");
            for words in says {
                assert!(
                    refused.stderr.contains(words),
                    "{more:?} {dry:?}: no `{words}`: {refused:#?}"
                );
            }
        }
    }
    // All that is in the way is said at once.
    let both =
        context.run(&[&base[..], &["demo-digits", "--cpus", "nan", "--memory", "4"]].concat());
    assert_eq!(both.code, 3, "{both:#?}");
    for words in ["3 things", "`--cpus NaN`", "`--memory 4`", "medalist prepare -c demo-digits"] {
        assert!(both.stderr.contains(words), "no `{words}`: {both:#?}");
    }
    assert!(!context.join("runs").exists(), "nothing was made");
}

#[tokio::test]
async fn a_step_that_fails_is_a_build_error_with_its_last_lines() {
    let step = "RUN for i in {1..30}; do echo line $i; done; echo -e '\\033[31mE: no such package\\033[0m'; exit 7\n";
    let Some(context) = agent(SUBMIT, step).await else { return };
    let ran = run(&context, &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let error = &ran.stderr[ran.stderr.find("error: ").unwrap()..];
    for words in [
        "cannot be built from `",
        "case/Dockerfile",
        "7",
        "    line 30",
        "    E: no such package",
        "hint: ",
    ] {
        assert!(error.contains(words), "no `{words}` in {error}");
    }
    assert!(!error.contains("    line 1\n") && !ran.stderr.contains('\x1b'), "{}", ran.stderr);
}

#[tokio::test]
async fn an_interrupted_run_says_how_it_is_resumed() {
    let start = format!("{SUBMIT}echo start\nsleep 60\n");
    let Some(context) = agent(&start, "").await else { return };
    let child = context.command().args(run_words(&[])).stderr(Stdio::piped()).spawn().unwrap();
    until("the agent never started", || has_printed(&context, "start"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = called(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:#?}");
    let line = format!("resume: medalist run --resume {}", group(&context).display());
    assert!(ended.stderr.lines().any(|said| said == line), "{line}: {ended:#?}");
}

#[tokio::test]
async fn looking_at_a_group_does_not_keep_it_from_being_resumed() {
    let Some(context) = agent(SUBMIT, "").await else { return };
    assert_eq!(run(&context, &[]).code, 0);
    let group = group(&context);
    let name = group.to_str().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    context.run(&["status", name]);
                }
            });
        }
        let resumed: Vec<Called> =
            (0..10).map(|_| context.run(&["run", "--resume", name])).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for resumed in resumed {
            assert_eq!(resumed.code, 0, "{resumed:#?}");
        }
    });
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let context = TestContext::new();
    fs::write(context.join("bad.csv"), "id\n1\n").unwrap();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let mut shell = context.shell();
    shell.arg("-c").arg(format!(
        "set -o pipefail; {0} competitions list --json | head -c 1 >/dev/null; echo $?; {0} validate bad.csv demo-flights | true; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_medalist")
    ));
    let said = called(&shell.output().unwrap());
    assert_eq!(said.stdout.lines().collect::<Vec<_>>(), ["0", "8"], "{said:#?}");
    assert!(!said.stderr.contains("panicked"), "{said:#?}");
    // Data that cannot be kept are an error; messages that cannot be said are not.
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let lost = context.command().args(["competitions", "list"]).stdout(full()).output().unwrap();
    let lost = called(&lost);
    assert_eq!(lost.code, 7, "{lost:#?}");
    assert!(lost.stderr.contains("cannot write to stdout"), "{lost:#?}");
    let mut quiet = context.command();
    quiet.args(["prepare", "-c", "demo-bikes"]).env("MEDALIST_LOG", "trace");
    assert_eq!(quiet.stderr(full()).status().unwrap().code(), Some(0));
}

#[test]
fn a_terminal_that_cannot_draw_gets_lines() {
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let on_terminal = |term: &str| {
        let words = format!(
            "{} run --agent sample -c demo-flights --executor process --timeout 20s",
            env!("CARGO_BIN_EXE_medalist")
        );
        let mut script = Command::new("script");
        script.args(["-qec", &words, "/dev/null"]).current_dir(context.path());
        script.env("TERM", term).env("MEDALIST_DATA_DIR", context.join("data"));
        script.env("MEDALIST_RUNS_DIR", context.join("runs")).stdin(Stdio::null());
        script.output()
    };
    let Ok(dumb) = on_terminal("dumb") else {
        return skip("script", "`script` makes a terminal, and is not here");
    };
    let text = String::from_utf8_lossy(&dumb.stdout).into_owned();
    assert!(text.contains("demo-flights/sample/0: finished") && !text.contains('\x1b'), "{text:?}");
    let drawn = on_terminal("xterm").unwrap();
    let text = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert!(text.contains("\x1b[") && text.contains("1/1"), "{text:?}");
}
