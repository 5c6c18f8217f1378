//! A hostile agent in a sealed container: whatever it tries must fail or be contained, and the run
//! must go on.
//!
//! The only addresses that are ever a target are those of listeners that the tests themselves run.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medalist::attempt::limits::Network;
use medalist::attempt::outcome::Outcome;
use medalist::sandbox::{Stop, StopReason};

use crate::executor_bench::{Bench, Finished, Kind};

/// Runs attacks and fails if one succeeded; gives the names of those that were held.
async fn held(bench: &Bench, steps: &[&str]) -> (Finished, Vec<String>) {
    let run = bench.run(steps).await;
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
    let log = run.log();
    let open: Vec<&str> = log.lines().filter(|line| line.contains(": OPEN (")).collect();
    assert!(open.is_empty(), "{open:#?}");
    // What `scripts/attack` counts.
    log.lines().filter(|line| line.contains(": held (")).for_each(|line| println!("{line}"));
    let held = log
        .lines()
        .filter_map(|line| line.split_once(": held ("))
        .map(|(name, _)| name.to_string())
        .collect();
    (run, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_traces_clocks_modules_and_privileges_are_out_of_reach() {
    for bench in Bench::sealed().await {
        let (_, held) = held(&bench, &["attack", "system"]).await;
        assert!(held.len() >= 28, "{held:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_sockets_init_and_the_hosts_files_are_out_of_reach() {
    for bench in Bench::sealed().await {
        let secrets = tempfile::tempdir().unwrap();
        let answers = secrets.path().join("answers.csv");
        std::fs::write(&answers, "id,y\n1,1\n").unwrap();
        let other = bench.spec(&[]);
        let paths = [
            answers.display().to_string(),
            other.attempt_dir.root().display().to_string(),
            // Where all attempts of the run lie.
            other.attempt_dir.root().parent().unwrap().display().to_string(),
            env!("CARGO_MANIFEST_DIR").to_string(),
            "/var/lib/docker".to_string(),
        ];
        let mut steps = vec!["attack", "files"];
        steps.extend(paths.iter().map(String::as_str));
        let public = other.public_dir.clone();
        let before = std::fs::read_to_string(public.join("train.csv")).unwrap();
        let (_, held) = held(&bench, &steps).await;
        assert!(held.len() >= 22 + 2 * paths.len(), "{held:?}");
        assert_eq!(std::fs::read_to_string(public.join("train.csv")).unwrap(), before);
        assert!(!public.join("new").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_host_nor_a_neighbour_can_be_reached() {
    for bench in Bench::sealed().await {
        // The neighbour has a network where the executor has one to give; its address comes from its
        // own log.
        let mut spec = bench.spec(&["attack", "listen", "7777"]);
        let opened = bench.kind == Kind::Docker;
        if opened {
            spec.network = Network::Open;
        }
        let log = spec.attempt_dir.log();
        let neighbour = bench.executor.start(Arc::new(spec)).await.unwrap();
        let address = loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some((_, address)) =
                text.split_once("listening on ").filter(|_| text.ends_with('\n'))
            {
                break address.trim().to_string();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let reached = Arc::new(AtomicUsize::new(0));
        let mut targets = vec!["127.0.0.1:7777".to_string()];
        if opened {
            let there = tokio::net::TcpStream::connect(&address).await;
            assert!(
                there.is_ok(),
                "the neighbour at {address} does not listen, so nothing would be shown"
            );
            targets = vec![address];
        }
        // The bridge's own address is the host as containers see it; where there is no bridge, the
        // loopback is left.
        for at in ["172.17.0.1:0", "127.0.0.1:0"] {
            if let Ok(listener) = TcpListener::bind(at) {
                targets.push(listener.local_addr().unwrap().to_string());
                let reached = Arc::clone(&reached);
                std::thread::spawn(move || {
                    for _ in listener.incoming() {
                        reached.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let mut steps = vec!["attack", "network"];
        steps.extend(targets.iter().map(String::as_str));
        let (_, held) = held(&bench, &steps).await;
        assert_eq!(held.iter().filter(|name| *name == "a listener").count(), targets.len());
        assert_eq!(reached.load(Ordering::Relaxed), 0);
        neighbour.stop(Stop::Kill, &StopReason::Abandoned).await.unwrap();
        neighbour.wait().await.unwrap();
        neighbour.remove().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_the_harness_is_in_any_environment() {
    for bench in Bench::sealed().await {
        // Cargo gives the tests this variable, as a user gives the harness a key.
        let (run, _) =
            held(&bench, &["attack", "secrets", env!("CARGO_MANIFEST_DIR"), "+", "environment"])
                .await;
        let log = run.log();
        let names: Vec<&str> =
            log.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"AGENT_KEY"));
        for name in ["DOCKER_HOST", "KAGGLE_KEY", "KAGGLE_USERNAME", "CARGO_HOME"] {
            assert!(!names.contains(&name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_validation_service_survives_garbage_and_cannot_be_replaced() {
    for bench in Bench::sealed().await {
        let (run, held) =
            held(&bench, &["attack", "service", "+", "validate", "id,y\n", "+", "health"]).await;
        let log = run.log();
        assert!(
            log.ends_with("200 {\"result\":\"Submission is valid.\",\"is_valid\":true}\n200 {\"status\":\"running\"}\n"),
            "{log}"
        );
        assert!(held.contains(&"take the service's place".to_string()));
        assert_eq!(run.end.usage.validations, 1);
        let left: Vec<String> =
            run.names().into_iter().filter(|name| name.starts_with("validate-")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_pipes_and_trees_are_refused_and_the_submission_is_taken() {
    for bench in Bench::sealed().await {
        for (what, error) in [
            ("sparse", "submission is read no further: its refused files are too large"),
            ("many", "submission has more than 1000 entries"),
        ] {
            let run = bench
                .run_with(&["attack", "plant", what], |spec| {
                    // The disk limit would not let a sparse file of 10 GB be made at all.
                    spec.limits.disk_bytes = 0;
                })
                .await;
            assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
            assert_eq!(
                run.file("submission/submission.csv").as_deref(),
                Some("id,label\n1,0\n"),
                "{}",
                run.log()
            );
            let salvage = run.end.salvage.as_ref().unwrap();
            assert!(salvage.submission);
            // A refused file costs nothing where it need not be read to get past it.
            let passed = what == "sparse" && bench.kind == Kind::Namespaces;
            let said = salvage.errors.iter().any(|found| found == error);
            assert!(said != passed, "{what}: {:?}", salvage.errors);
            let whys: Vec<&str> =
                salvage.refused.iter().map(|refused| refused.why.as_str()).collect();
            let expected: &[&str] = match what {
                "sparse" => &["too large: 10737418240 bytes"],
                // A folder gives its entries in any order, and its thousand may not hold these.
                _ if bench.kind == Kind::Namespaces => &[],
                _ => &["more than 32 levels deep", "a symbolic link", "a pipe"],
            };
            for why in expected {
                assert!(whys.contains(why), "{what}: {whys:?}");
            }
            for entry in walk(&run.dir.join("submission")) {
                let kind = std::fs::symlink_metadata(&entry).unwrap().file_type();
                assert!(kind.is_dir() || kind.is_file(), "{}", entry.display());
            }
        }
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_file_above_the_disk_limit_ends_the_agent() {
    for bench in Bench::sealed().await {
        let run = bench.run(&["sparse", "10000000000"]).await;
        assert_eq!(run.end.outcome, Outcome::DiskFull, "{}", run.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowlist_opens_its_entries_and_nothing_else() {
    for bench in Bench::sealed().await {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let allowed = listener.local_addr().unwrap().to_string();
        let other = closed.local_addr().unwrap().to_string();
        let by_name = allowed.replace("127.0.0.1", "localhost");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut text = String::new();
                let _ = std::io::Read::read_to_string(&mut stream, &mut text);
                let _ = std::io::Write::write_all(&mut stream, format!("{text} pong").as_bytes());
            }
        });
        let steps = [
            "connect-through",
            "3128",
            &allowed,
            "+",
            "connect-through",
            "3128",
            &other,
            "+",
            "connect-through",
            "3128",
            &by_name,
            "+",
            "attack",
            "network",
            &allowed,
        ];
        let run = bench
            .run_with(&steps, |spec| {
                spec.network = Network::Allowlist(vec![allowed.clone(), by_name.clone()])
            })
            .await;
        let log = run.log();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[0], "200 ping pong", "{log}");
        assert_eq!(lines[1], "403", "not on the list");
        assert_eq!(lines[2], "403", "a name must not lead to this machine");
        assert!(!log.contains(": OPEN"), "{log}");
        let record = run.file("network.jsonl").unwrap();
        assert_eq!(record.lines().count(), 3, "{record}");
        assert!(
            record.contains(r#""verdict":"connected","sent_bytes":4,"received_bytes":9"#),
            "{record}"
        );
    }
}
