//! What every executor must do, told by agents that behave well, badly or not at all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use medalist::attempt::launch::DataMode;
use medalist::attempt::outcome::{CancelReason, Outcome};
use medalist::run::clock::AttemptEvent;
use medalist::sandbox::RunToken;
use medalist_reports::record::Phase;

use crate::executor_bench::{Bench, Kind, TEST_LABEL};

/// Makes each test once for every executor.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($bench:ident: &Bench) $body:block)*) => {
        $($(#[$doc])* async fn $name($bench: &Bench) $body)*

        mod docker {
            use super::{Bench, Kind};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(bench) = Bench::new(Kind::Docker).await {
                    super::$name(&bench).await;
                }
            })*
        }

        mod namespaces {
            use super::{Bench, Kind};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(bench) = Bench::new(Kind::Namespaces).await {
                    super::$name(&bench).await;
                }
            })*
        }

        mod process {
            use super::{Bench, Kind};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(bench) = Bench::new(Kind::Process).await {
                    super::$name(&bench).await;
                }
            })*
        }

        mod guide {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(bench) = crate::guide_executor::bench().await {
                    super::$name(&bench).await;
                }
            })*
        }
    };
}

contract! {
    async fn exits_0_and_everything_is_collected(bench: &Bench) {
        let steps =
            ["submit", "id,y\n1,2\n", "+", "log", "thoughts", "+", "code", "import sklearn", "+", "print", "hello"];
        let run = bench.run(&steps).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        assert_eq!(run.file("submission/submission.csv").as_deref(), Some("id,y\n1,2\n"));
        assert_eq!(run.file("logs/agent.log").as_deref(), Some("thoughts"));
        assert_eq!(run.file("code/agent.py").as_deref(), Some("import sklearn"));
        assert_eq!(run.log(), "hello\n");
        let salvage = run.end.salvage.as_ref().unwrap();
        assert!(salvage.submission);
        assert_eq!((salvage.files, salvage.refused_count, salvage.errors.len()), (3, 0, 0));
        assert_eq!(run.end.usage.log_bytes, 6);
        assert!(run.end.usage.peak_memory_bytes.is_some());
        assert_eq!(run.names(), ["code", "logs", "run.log", "submission"], "nothing of ours is left");
    }

    async fn exits_3(bench: &Bench) {
        let run = bench.run(&["submit", "id,y\n", "+", "exit", "3"]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 3 });
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn leaves_no_submission(bench: &Bench) {
        let run = bench.run(&["print", "I give up"]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        let salvage = run.end.salvage.unwrap();
        assert_eq!((salvage.submission, salvage.files, salvage.errors.len()), (false, 0, 0));
    }

    async fn leaves_a_link_as_submission(bench: &Bench) {
        let run = bench.run(&["link", "/etc/hostname"]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        let salvage = run.end.salvage.as_ref().unwrap();
        assert!(!salvage.submission);
        assert_eq!(salvage.refused[0].path, "submission/submission.csv");
        assert_eq!(salvage.refused[0].why, "a symbolic link");
        assert!(std::fs::symlink_metadata(run.dir.join("submission/submission.csv")).is_err());
    }

    async fn leaves_a_huge_sparse_submission(bench: &Bench) {
        let run = bench.run(&["sparse", "300000000"]).await;
        let salvage = run.end.salvage.as_ref().unwrap();
        assert!(!salvage.submission);
        assert_eq!(salvage.refused[0].why, "too large: 300000000 bytes");
    }

    async fn hangs_and_saves_its_work_in_its_grace(bench: &Bench) {
        let steps = ["save-on-term", "id,y\n9,9\n"];
        let run = bench.run_with(&steps, |spec| spec.limits.timeout = Duration::from_secs(5)).await;
        let Outcome::TimedOut { after, killed } = run.end.outcome else { panic!("{:?}", run.end.outcome) };
        assert!(!killed);
        assert!(after >= Duration::from_secs(5));
        assert_eq!(run.file("submission/submission.csv").as_deref(), Some("id,y\n9,9\n"));
    }

    async fn ignores_sigterm_and_is_killed_after_its_grace(bench: &Bench) {
        let steps = ["submit", "id,y\n", "+", "ignore-term", "+", "hang"];
        let run = bench
            .run_with(&steps, |spec| {
                spec.limits.timeout = Duration::from_secs(1);
                spec.limits.grace = Duration::from_secs(1);
            })
            .await;
        let Outcome::TimedOut { after, killed } = run.end.outcome else { panic!("{:?}", run.end.outcome) };
        assert!(killed);
        assert!(after >= Duration::from_secs(2));
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn forks_away_and_its_children_end_with_it(bench: &Bench) {
        let run = bench.run(&["fork-away", "+", "fork-away", "+", "submit", "id,y\n"]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        let children: Vec<String> =
            run.log().lines().filter_map(|line| line.strip_prefix("child ")).map(String::from).collect();
        assert_eq!(children.len(), 2, "{}", run.log());
        if bench.kind == Kind::Process {
            for child in children {
                let command = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
                assert!(!command.contains("probe"), "{child} lives: {command}");
            }
        }
    }

    async fn eats_memory(bench: &Bench) {
        let run = bench.run(&["submit", "id,y\n", "+", "eat-memory"]).await;
        assert_eq!(run.end.outcome, Outcome::OutOfMemory, "{}", run.log());
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn starts_too_many_processes(bench: &Bench) {
        let run = bench.run(&["fork-bomb", "2000", "+", "hang"]).await;
        assert_eq!(run.end.outcome, Outcome::TooManyProcesses, "{}", run.log());
    }

    async fn floods_its_log_and_goes_on(bench: &Bench) {
        let run = bench.run(&["flood", "20", "+", "submit", "id,y\n"]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        let kept = std::fs::metadata(run.dir.join("run.log")).unwrap().len();
        assert!((1 << 20..(1 << 20) + 200).contains(&kept), "{kept}");
        assert!(run.log().ends_with("\n[medalist] output beyond 1048576 bytes is dropped\n"));
        assert_eq!(run.end.usage.log_bytes, 20 << 20);
        assert_eq!(run.end.usage.log_bytes_dropped, 19 << 20);
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn fills_its_disk(bench: &Bench) {
        let steps = ["submit", "id,y\n", "+", "fill", "64", "+", "hang"];
        let run = bench.run_with(&steps, |spec| spec.limits.disk_bytes = 40 << 20).await;
        assert_eq!(run.end.outcome, Outcome::DiskFull, "{}", run.log());
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn validates_through_its_port(bench: &Bench) {
        let steps = [
            "health", "+", "validate", "id,y\n", "+", "validate", "nonsense", "+", "validate-as", "probe-competition",
            "id,y\n", "+", "validate-as", "other", "id,y\n", "+", "validate-nothing",
        ];
        let run = bench.run(&steps).await;
        let log = run.log();
        let lines: Vec<&str> = log.lines().collect();
        let expected = [
            r#"200 {"status":"running"}"#,
            r#"200 {"result":"Submission is valid.","is_valid":true}"#,
            r#"200 {"result":"Submission invalid! The header is wrong.","is_valid":false}"#,
            r#"200 {"result":"Submission is valid.","is_valid":true}"#,
            r#"400 {"error":"`exp-id` is `other`, expected `probe-competition`"}"#,
            r#"400 {"error":"the form has no part `file`"}"#,
        ];
        assert_eq!(lines, expected);
        assert_eq!(run.end.usage.validations, 3);
    }

    async fn a_submission_above_the_limit_is_refused_with_the_limit(bench: &Bench) {
        let large = "x".repeat(100_000);
        let run = bench.run_with(&["validate", &large], |spec| spec.limits.submission_bytes = 80_000).await;
        assert!(run.log().contains("Submission file has more than 80000 bytes."), "{}", run.log());
    }

    async fn is_told_its_task_and_budget(bench: &Bench) {
        let run = bench.run(&["environment"]).await;
        let log = run.log();
        let env: BTreeMap<&str, &str> = log.lines().filter_map(|line| line.split_once('=')).collect();
        for (name, value) in [
            ("COMPETITION_ID", "probe-competition"),
            ("TIME_LIMIT_SECS", "60"),
            ("MEDALIST_GRACE_S", "10"),
            ("SEED", "7"),
            ("AGENT_KEY", "agent-value"),
        ] {
            assert_eq!(env.get(name), Some(&value), "{name}");
        }
        assert!(env["SUBMISSION_DIR"].ends_with("/home/submission"));
        assert!(!env.contains_key("CARGO_MANIFEST_DIR"), "the harness's own environment stays outside");
    }

    async fn sees_the_data_with_our_brief(bench: &Bench) {
        for (mode, own_description) in
            [(DataMode::ReadOnly, true), (DataMode::ReadOnly, false), (DataMode::Copy, true)]
        {
            let spec = bench.spec(&[]);
            let home = match bench.kind {
                Kind::Docker | Kind::Namespaces => "/home".to_string(),
                Kind::Process => spec.attempt_dir.home().display().to_string(),
            };
            let at = |name: &str| format!("{home}/{name}");
            let (brief, data, instructions) = (at("data/description.md"), at("data/train.csv"), at("instructions.txt"));
            let steps = ["show", &brief, "+", "print", "", "+", "show", &data, "+", "show", &instructions, "+", "append", &instructions, "more"];
            let with_steps = bench.spec(&steps);
            let mut spec = spec;
            if !own_description {
                std::fs::remove_file(spec.public_dir.join("description.md")).unwrap();
            }
            spec.program = with_steps.program;
            spec.data_mode = mode;
            let public = spec.public_dir.clone();
            let run = bench.drive(spec, None, |_, _| {}).await;
            assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
            assert!(run.log().starts_with("the brief\nid,x\n1,2\n"), "{mode:?}: {}", run.log());
            assert!(run.log().contains(&format!("data is in {home}/data/")), "{}", run.log());
            assert_eq!(std::fs::read_dir(public).unwrap().count(), 1 + usize::from(own_description));
        }
    }

    async fn a_command_that_is_not_there_is_a_failed_setup(bench: &Bench) {
        let run = bench
            .run_with(&[], |spec| match &mut spec.program {
                medalist::attempt::launch::Program::Image { argv, .. } | medalist::attempt::launch::Program::Local { argv, .. } => {
                    *argv = vec!["no-such-command".to_string()];
                }
            })
            .await;
        // In an image the command is the image's own; on this machine it may be missing for now.
        let cause = match (&run.end.outcome, bench.kind.has_containers()) {
            (Outcome::ImageRefused { cause }, true) | (Outcome::SetupFailed { cause }, false) => cause,
            other => panic!("{other:?}"),
        };
        assert!(cause.contains("cannot start `no-such-command`"), "{cause}");
    }

    async fn a_cancelled_agent_gets_its_grace_and_a_killed_one_does_not(bench: &Bench) {
        for (reason, saved) in [(CancelReason::Interrupt, true), (CancelReason::Kill, false)] {
            let spec = bench.spec(&["save-on-term", "id,y\n"]);
            let log = spec.attempt_dir.log();
            let run = bench
                .drive(spec, None, |event, requests| {
                    // Once the agent is ready to be interrupted, and not before.
                    if matches!(event, AttemptEvent::Usage(_)) && std::fs::read(&log).is_ok_and(|text| text == b"ready\n") {
                        let _ = requests.try_send(reason);
                    }
                })
                .await;
            assert_eq!(run.end.outcome, Outcome::Cancelled { reason });
            assert_eq!(run.end.salvage.unwrap().submission, saved, "{reason:?}");
        }
    }

    async fn snapshots_show_submission_and_code_while_it_runs(bench: &Bench) {
        let spec = bench.spec(&["code", "import sklearn", "+", "submit", "id,y\n5,5\n", "+", "hang"]);
        let executor = &bench.executor;
        let dir = spec.attempt_dir.root().to_owned();
        let running = executor.start(std::sync::Arc::new(spec)).await.unwrap();
        let to = dir.join("snapshots/1.csv");
        while !running.snapshot(&to).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The agent may have been met between making the file and writing it.
        while std::fs::read_to_string(&to).unwrap() != "id,y\n5,5\n" {
            running.snapshot(&to).await.unwrap();
        }
        let code = dir.join("snapshots/code/1");
        assert_eq!(running.snapshot_code(&code).await.unwrap(), 0);
        let files: Vec<_> = std::fs::read_dir(&code).unwrap().map(|entry| entry.unwrap().path()).collect();
        let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, ["import sklearn"], "{files:?}");
        running.stop(medalist::sandbox::Stop::Kill, &medalist::sandbox::StopReason::Abandoned).await.unwrap();
        running.wait().await.unwrap();
        running.remove().await.unwrap();
    }

    async fn a_later_harness_finds_it_again_with_its_clock(bench: &Bench) {
        let spec = bench.spec(&["submit", "id,y\n", "+", "print", "before", "+", "hang"]);
        let token: Mutex<Option<RunToken>> = Mutex::new(None);
        let again = spec.clone();
        // The first harness is dropped in the middle of the attempt, as by a kill.
        let started = Mutex::new(None);
        let log = spec.attempt_dir.log();
        let first = bench.drive(spec, None, |event, _| {
            if let AttemptEvent::Started(its) = event {
                *token.lock().unwrap() = Some(its.clone());
                *started.lock().unwrap() = Some(Instant::now());
            }
        });
        let at_work = async {
            // An agent may be at work before its harness has heard of it.
            while token.lock().unwrap().is_none()
                || std::fs::read_to_string(&log).unwrap_or_default() != "before\n"
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            _ = first => panic!("the agent hangs"),
            () = at_work => {}
        }
        let token = token.into_inner().unwrap().expect("the agent started");
        let ran = started.into_inner().unwrap().expect("the agent started").elapsed();
        let labels = BTreeMap::from([(TEST_LABEL.to_string(), bench.label())]);
        let orphans = bench.executor.list_orphans(&labels).await.unwrap();
        assert_eq!(orphans.len(), 1);
        assert!(orphans[0].running);
        assert_eq!(orphans[0].token.name, token.name);

        let attached = bench.executor.attach(&token, std::sync::Arc::new(again.clone())).await.unwrap();
        assert!(attached.elapsed_before() >= ran, "its clock began anew");
        drop(attached);
        let mut spec = again;
        spec.limits.timeout = Duration::from_secs(5);
        let phases = Mutex::new(Vec::new());
        let run = bench
            .drive(spec, Some(token), |event, _| {
                if let AttemptEvent::Phase(phase) = event {
                    phases.lock().unwrap().push(phase.clone());
                }
            })
            .await;
        let Outcome::TimedOut { after, .. } = run.end.outcome else { panic!("{:?}", run.end.outcome) };
        assert!(after >= Duration::from_secs(5), "{after:?}");
        let phases = phases.into_inner().unwrap();
        assert_eq!(phases, [Phase::Create, Phase::Agent, Phase::Grace, Phase::Collect, Phase::Remove]);
        assert!(run.end.salvage.as_ref().unwrap().submission);
        assert_eq!(run.log(), "before\n");
    }

    async fn one_that_ended_unwatched_is_collected_later(bench: &Bench) {
        let spec = bench.spec(&["sleep", "500", "+", "submit", "id,y\n", "+", "exit", "5"]);
        let again = spec.clone();
        let began = Instant::now();
        let token = {
            let running = bench.executor.start(std::sync::Arc::new(spec)).await.unwrap();
            running.token()
        };
        let labels = BTreeMap::from([(TEST_LABEL.to_string(), bench.label())]);
        while bench.executor.list_orphans(&labels).await.unwrap()[0].running {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let ended_by_then = began.elapsed();
        let run = bench.drive(again, Some(token), |_, _| {}).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 5 });
        // It slept half a second, and the time until it is collected is not its own.
        assert!(run.end.took >= Duration::from_millis(450), "{:?}", run.end.took);
        assert!(run.end.took <= ended_by_then, "{:?} of {ended_by_then:?}", run.end.took);
        assert!(run.end.salvage.unwrap().submission);
    }

    async fn orphans_are_removed_with_all_they_started(bench: &Bench) {
        let spec = bench.spec(&["fork-away", "+", "hang"]);
        let token = bench.executor.start(std::sync::Arc::new(spec)).await.unwrap().token();
        bench.executor.remove_orphan(&token).await.unwrap();
        bench.executor.remove_orphan(&token).await.unwrap();
        let labels = BTreeMap::from([(TEST_LABEL.to_string(), bench.label())]);
        assert_eq!(bench.executor.list_orphans(&labels).await.unwrap(), []);
        let other = BTreeMap::from([(TEST_LABEL.to_string(), "nobody".to_string())]);
        assert_eq!(bench.executor.list_orphans(&other).await.unwrap(), []);
    }

    async fn a_gone_attempt_cannot_be_found_again(bench: &Bench) {
        let spec = bench.spec(&["exit", "0"]);
        let token = RunToken {
            executor: "any".to_string(),
            name: spec.name.clone(),
            id: "999999999@1".to_string(),
            started: chrono::Utc::now(),
        };
        let error = bench.executor.attach(&token, std::sync::Arc::new(spec)).await.err().unwrap();
        assert!(matches!(error, medalist::attempt::launch::ExecutorError::Gone { .. }), "{error:?}");
    }
}
