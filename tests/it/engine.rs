//! The container engine: images, a daemon that is not there, and one that goes away under an
//! attempt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medalist::attempt::launch::{ExecutorError, LABEL_NAME, Program};
use medalist::attempt::outcome::{CancelReason, Outcome};
use medalist::run::clock::{AttemptEvent, WatchOptions, run_attempt};
use medalist::sandbox::docker::DockerExecutor;
use medalist::sandbox::engine::{BuildRequest, Engine, EngineError, tar_directory};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::executor_bench::{Bench, IMAGE, Kind, engine, probe};

#[tokio::test]
async fn no_daemon_is_said_with_a_hint() {
    let error = Engine::connect_to("unix:///nowhere/docker.sock").await.unwrap_err();
    assert_eq!(error.to_string(), "no container engine answers at `unix:///nowhere/docker.sock`");
    let error = ExecutorError::from(error);
    assert!(error.hint().unwrap().contains("DOCKER_HOST"));
    let error = Engine::connect_to("/var/run/docker.sock").await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }));
}

#[tokio::test]
async fn a_socket_that_is_no_engine_is_no_engine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 smtp ready\r\n").await;
        }
    });
    let error = Engine::connect_to(&format!("unix://{}", path.display())).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    server.abort();
}

#[tokio::test]
async fn images_are_imported_built_found_and_removed() {
    let Some(engine) = engine().await else { return };
    let imported = engine.image(IMAGE).await.unwrap().unwrap();
    assert!(imported.id.starts_with("sha256:"), "{imported:?}");
    assert_eq!(engine.image("medalist-test/none:latest").await.unwrap(), None);

    let context = tempfile::tempdir().unwrap();
    std::fs::copy(probe(), context.path().join("probe")).unwrap();
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM scratch\nARG WHERE\nCOPY probe ${WHERE}/probe\n",
    )
    .unwrap();
    let request = BuildRequest {
        tag: "medalist-test/built:latest".to_string(),
        arguments: BTreeMap::from([("WHERE".to_string(), "/home/agent".to_string())]),
        ..BuildRequest::default()
    };
    let mut lines = Vec::new();
    let mut on_line = |line: &str| lines.push(line.to_string());
    let built =
        engine.build(&request, tar_directory(context.path()).unwrap(), &mut on_line).await.unwrap();
    assert_eq!(built.reference, "medalist-test/built:latest");
    assert!(
        lines.iter().any(|line| line.starts_with("Step 3/3") || line.starts_with("STEP 3/3")),
        "{lines:?}"
    );

    std::fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY nothing /\n").unwrap();
    let failing =
        BuildRequest { tag: "medalist-test/failing:latest".to_string(), ..BuildRequest::default() };
    let error = engine
        .build(&failing, tar_directory(context.path()).unwrap(), &mut |_| {})
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");

    engine.remove_image("medalist-test/built:latest").await.unwrap();
    engine.remove_image("medalist-test/built:latest").await.unwrap();
    assert_eq!(engine.image("medalist-test/built:latest").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_is_an_outcome_with_a_hint() {
    let Some(bench) = Bench::new(Kind::Docker).await else { return };
    // A registry on this machine's own loopback that is not there: nothing leaves the machine.
    let reference = "127.0.0.1:9/medalist-test/none:1".to_string();
    let program = Program::Image { reference: reference.clone(), argv: Vec::new() };
    let error = bench.executor.prepare_image(&program).await.unwrap_err();
    assert!(matches!(error, ExecutorError::ImageMissing { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("docker load"));
    let run = bench.run_with(&[], |spec| spec.program = program).await;
    assert_eq!(run.end.outcome, Outcome::ImageMissing { image: reference });
    assert!(run.end.outcome.is_infrastructure());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_runtime_is_named_with_those_that_are_there() {
    let Some(bench) = Bench::new(Kind::Docker).await else { return };
    let run =
        bench.run_with(&["exit", "0"], |spec| spec.runtime = Some("sysbox-runk".to_string())).await;
    let Outcome::SetupFailed { cause } = &run.end.outcome else { panic!("{:?}", run.end.outcome) };
    assert!(cause.contains("`sysbox-runk`") && cause.contains("runc"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_executor_says_what_it_is_and_holds() {
    let Some(bench) = Bench::new(Kind::Docker).await else { return };
    let info = bench.executor.check().await.unwrap();
    assert!(info.sealed);
    for name in ["version", "api", "storage_driver", "cgroup_version", "kernel", "runtimes"] {
        assert!(info.details.contains_key(name), "{name}");
    }
    for name in ["timeout", "cpus", "memory", "pids", "disk", "log", "nofile", "shm"] {
        assert!(info.limits.contains_key(name), "{name}");
    }
    let process = Bench::new(Kind::Process).await.unwrap().executor.check().await.unwrap();
    assert!(!process.sealed);
    assert!(process.warnings[0].contains("unsealed"));
}

/// Passes connections on to the real engine until it is dropped.
struct Proxy {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Proxy {
    fn start(path: &Path, to: PathBuf) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = UnixStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { path: path.to_path_buf(), task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Runs an agent whose daemon goes away once it has started, and comes back if `comes_back`.
async fn with_a_daemon_that_goes_away(steps: &[&str], comes_back: bool) -> Option<(Outcome, bool)> {
    let bench = Bench::new(Kind::Docker).await?;
    let real = engine().await?;
    let socket = PathBuf::from(real.address().strip_prefix("unix://")?);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let proxy = std::sync::Mutex::new(Some(Proxy::start(&path, socket.clone())));
    let through = Engine::connect_to(&format!("unix://{}", path.display())).await.unwrap();
    let executor = DockerExecutor::new(through);
    let spec = bench.spec(steps);
    let labels = BTreeMap::from([(LABEL_NAME.to_string(), spec.name.clone())]);
    let (_sender, mut requests) = mpsc::channel::<CancelReason>(1);
    let (lost, mut gone) = mpsc::channel::<()>(1);
    let report = |event: AttemptEvent| match event {
        AttemptEvent::Started(_) => drop(proxy.lock().unwrap().take()),
        AttemptEvent::EngineAway { .. } => drop(lost.try_send(())),
        _ => {}
    };
    let engine_patience = Duration::from_secs(3);
    let options =
        WatchOptions { host_reserve_bytes: 0, engine_patience, ..WatchOptions::default() };
    let attempt = run_attempt(&executor, Arc::new(spec), None, &options, &mut requests, &report);
    let returns = async {
        if comes_back {
            gone.recv().await;
            *proxy.lock().unwrap() = Some(Proxy::start(&path, socket.clone()));
        }
    };
    let (end, ()) = tokio::join!(attempt, returns);
    // Nothing of the attempt may stay, whatever the harness could still do.
    let orphans = bench.executor.list_orphans(&labels).await.unwrap();
    for orphan in &orphans {
        bench.executor.remove_orphan(&orphan.token).await.unwrap();
    }
    assert_eq!(
        end.kept.is_some(),
        !orphans.is_empty(),
        "what cannot be collected stays where it is"
    );
    Some((end.outcome, end.salvage.is_some_and(|salvage| salvage.submission)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_stays_away_is_an_infrastructure_failure() {
    let Some((outcome, _)) = with_a_daemon_that_goes_away(&["hang"], false).await else { return };
    assert!(matches!(outcome, Outcome::EngineLost { .. }), "{outcome:?}");
    assert!(outcome.is_infrastructure());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_comes_back_costs_nothing() {
    let steps = ["sleep", "2000", "+", "submit", "id,y\n"];
    let Some((outcome, submission)) = with_a_daemon_that_goes_away(&steps, true).await else {
        return;
    };
    assert_eq!(outcome, Outcome::Finished { exit: 0 });
    assert!(submission);
}
