//! A Podman that the run starts for itself, and that somebody ends while it is needed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use medalist::sandbox::engine::tar_directory;

use crate::executor_bench::probe;
use crate::support::{TestContext, called, json, skip};

/// Processes of a service whose socket is below `dir`.
fn services(dir: &Path) -> Vec<i32> {
    let dir = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        command.contains(&dir) && command.contains("service")
    })
    .collect()
}

/// An image that no other store has.
const IMAGE: &str = "localhost/medalist-test/shared:1";

fn has_podman() -> bool {
    Command::new("podman").arg("--version").output().is_ok_and(|said| said.status.success())
}

/// Names, sizes and times of what is in a store; its locks are no images.
fn contents(store: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let entries = walkdir::WalkDir::new(store).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| {
        entry.file_type().is_file() && entry.path().extension().is_none_or(|kind| kind != "lock")
    });
    files
        .map(|entry| {
            let facts = entry.metadata().unwrap();
            (entry.path().to_owned(), (facts.len(), facts.modified().unwrap()))
        })
        .collect()
}

#[test]
fn images_of_a_store_that_machines_share_are_used_and_the_store_is_only_read() {
    if !has_podman() {
        return skip("podman", "`podman` cannot be run");
    }
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let root = context.join("root");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::copy(probe(), root.join("probe")).unwrap();
    let tar = context.join("image.tar");
    std::fs::write(&tar, tar_directory(&root).unwrap()).unwrap();
    let store = context.join("store");
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut fill = Command::new("podman");
    fill.arg("--root").arg(&store).arg("--runroot").arg(scratch.path());
    fill.args(["--storage-driver", "overlay"]);
    fill.args(["import", "-q"]).arg(&tar).arg(IMAGE);
    let filled = called(&fill.output().unwrap());
    assert_eq!(filled.code, 0, "{filled:#?}");
    let agent = context.join("shared");
    std::fs::create_dir_all(&agent).unwrap();
    let settings = format!(
        "id = \"shared\"\nbuild = \"image\"\nimage = \"{IMAGE}\"\ncommand = [\"/probe\", \"submit-sample\"]\n"
    );
    std::fs::write(agent.join("agent.toml"), settings).unwrap();
    let before = contents(&store);
    let node = tempfile::tempdir_in("/var/tmp").unwrap();
    let run = |images: Option<&Path>| {
        let mut run = context.command();
        run.args(["run", "--agent", "./shared", "-c", "demo-flights", "--executor", "podman"]);
        run.args(["--timeout", "60s", "--memory", "512MiB", "--disk", "1GiB", "--retries", "0"]);
        run.envs(images.map(|images| ("MEDALIST_PODMAN_IMAGES", images)));
        called(&run.env("MEDALIST_NODE_DIR", node.path()).output().unwrap())
    };
    let without = run(None);
    assert_ne!(without.code, 0, "{without:#?}");
    assert!(without.stderr.contains(IMAGE), "{without:#?}");
    let with = run(Some(&store));
    assert_eq!(with.code, 0, "{with:#?}");
    let records = walkdir::WalkDir::new(context.join("runs")).into_iter().flatten();
    let records = records.filter(|entry| entry.file_name() == "attempt.json");
    let outcomes: Vec<_> =
        records.map(|entry| json(entry.path())["outcome"]["kind"].clone()).collect();
    assert!(outcomes.contains(&"finished".into()), "{outcomes:?} {with:#?}");
    assert_eq!(contents(&store), before, "the store is no longer as it was");
}

#[test]
fn a_service_that_is_ended_comes_back_and_leaves_nothing() {
    if !has_podman() {
        return skip("podman", "`podman` cannot be run");
    }
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    // Its agent outlives the services that are ended, and ends while one is away or has just come.
    let agent = context.join("stays");
    std::fs::create_dir_all(&agent).unwrap();
    let settings = "id = \"stays\"\nbuild = \"scratch\"\nprogram = \"sample\"\ncommand = [\"/agent\"]\n[env]\nSTAY_SECS = \"5\"\n";
    std::fs::write(agent.join("agent.toml"), settings).unwrap();
    // Sockets have short paths.
    let node = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut run = context.command();
    run.args(["run", "--agent", "./stays", "-c", "demo-flights", "--executor", "podman"]);
    run.args(["--timeout", "120s", "--memory", "512MiB", "--disk", "1GiB"]);
    run.env("MEDALIST_NODE_DIR", node.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = run.spawn().unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    let before: Vec<String> =
        said.by_ref().take_while(|line| !line.contains(": started")).collect();
    // Again and again: also those that came back.
    let (mut last, mut ended) = (Vec::new(), 0);
    for _ in 0..4 {
        let found = loop {
            let found = services(node.path());
            if !found.is_empty() && found.iter().all(|pid| !last.contains(pid)) {
                break found;
            }
            if running.try_wait().unwrap().is_some() {
                break Vec::new();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        for pid in &found {
            let pid = nix::unistd::Pid::from_raw(*pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        ended += usize::from(!found.is_empty());
        last = found;
    }
    let rest: Vec<String> = said.collect();
    let ran = called(&running.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{before:?} {rest:#?}");
    assert!(ended >= 2, "{ended} services were ended: {before:?} {rest:#?}");
    let graded = walkdir::WalkDir::new(context.join("runs")).into_iter().flatten();
    assert!(graded.into_iter().any(|entry| entry.file_name() == "grade.json"), "{rest:#?}");
    assert_eq!(services(node.path()), Vec::<i32>::new());
    assert_eq!(std::fs::read_dir(node.path().join("podman")).unwrap().count(), 0);
}
