//! The clock, the limits and the requests of single attempts, on scripted agents and paused time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;
use tokio::time::sleep_until;

use super::watch::is_own_doing;
use super::*;
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{DataMode, Program, ValidationReply, Validator};
use crate::attempt::limits::{GpuAccess, Limits, Network};
use crate::sandbox::fake::{FakeExecutor, Script};

struct Anything;

impl Validator for Anything {
    fn validate(&self, _: &Path) -> ValidationReply {
        ValidationReply { valid: true, message: String::new() }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn spec(dir: &Path) -> LaunchSpec {
    LaunchSpec {
        name: "attempt".to_string(),
        labels: BTreeMap::new(),
        competition: "c".to_string(),
        program: Program::Image { reference: "image".to_string(), argv: Vec::new() },
        env: Vec::new(),
        public_dir: dir.to_path_buf(),
        description: String::new(),
        instructions: String::new(),
        attempt_dir: AttemptDir::new(dir),
        limits: Limits {
            timeout: SECOND * 100,
            grace: SECOND * 20,
            disk_bytes: 1000,
            ..Limits::default()
        },
        network: Network::Sealed,
        gpus: Vec::new(),
        gpu_access: GpuAccess::default(),
        mounts: Vec::new(),
        data_mode: DataMode::ReadOnly,
        seed: 0,
        privileged: false,
        cpuset: None,
        runtime: None,
        validator: Arc::new(Anything),
        llm: None,
    }
}

fn options() -> WatchOptions {
    WatchOptions { host_reserve_bytes: 0, ..WatchOptions::default() }
}

/// Runs a script to its end, with requests at the given times.
async fn run(
    script: Script,
    options: &WatchOptions,
    asked: Vec<(Duration, CancelReason)>,
) -> (AttemptEnd, Vec<Phase>) {
    let dir = tempfile::tempdir().unwrap();
    let executor = FakeExecutor::new(move |_| script.clone());
    let phases = Mutex::new(Vec::new());
    let report = |event: AttemptEvent| {
        if let AttemptEvent::Phase(phase) = event {
            phases.lock().unwrap().push(phase);
        }
    };
    let (sender, mut requests) = mpsc::channel(8);
    let asking = async move {
        let base = Instant::now();
        for (at, reason) in asked {
            sleep_until(base + at).await;
            let _ = sender.send(reason).await;
        }
    };
    let attempt =
        run_attempt(&executor, Arc::new(spec(dir.path())), None, options, &mut requests, &report);
    let (end, ()) = tokio::join!(attempt, asking);
    assert_eq!(executor.present(), Vec::<String>::new());
    (end, phases.into_inner().unwrap())
}

fn hangs(after_term: Option<Duration>) -> Script {
    Script { takes: None, after_term, ..Script::default() }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_by_itself_is_finished() {
    let script = Script {
        cause: ExitCause::Exited(3),
        submission: Some(b"id\n".to_vec()),
        ..Script::default()
    };
    let (end, phases) = run(script, &options(), Vec::new()).await;
    assert_eq!(end.outcome, Outcome::Finished { exit: 3 });
    assert_eq!(end.took.as_secs(), 60);
    assert!(end.salvage.unwrap().submission);
    use Phase::{Agent, Collect, Create, Image, Remove};
    assert_eq!(phases, [Image, Create, Agent, Collect, Remove]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_gives_a_grace_and_its_end_kills() {
    let (end, phases) = run(hangs(Some(SECOND * 5)), &options(), Vec::new()).await;
    assert_eq!(end.outcome, Outcome::TimedOut { after: SECOND * 105, killed: false });
    assert!(phases.contains(&Phase::Grace));
    let (end, _) = run(hangs(None), &options(), Vec::new()).await;
    assert_eq!(end.outcome, Outcome::TimedOut { after: SECOND * 120, killed: true });
}

#[tokio::test(start_paused = true)]
async fn limits_and_failures_have_their_own_outcomes() {
    let ends = |cause: ExitCause| Script { cause, ..Script::default() };
    let cases = [
        (ends(ExitCause::OutOfMemory), Outcome::OutOfMemory),
        (ends(ExitCause::TooManyProcesses), Outcome::TooManyProcesses),
        (ends(ExitCause::DiskFull), Outcome::DiskFull),
        (
            ends(ExitCause::Lost("gone".to_string())),
            Outcome::EngineLost { cause: "gone".to_string() },
        ),
        (
            ends(ExitCause::SetupFailed("no bash".to_string())),
            Outcome::SetupFailed { cause: "no bash".to_string() },
        ),
        (Script { disk_bytes: Some(1001), ..hangs(None) }, Outcome::DiskFull),
        (Script { disk_bytes: Some(1000), ..Script::default() }, Outcome::Finished { exit: 0 }),
    ];
    for (script, expected) in cases {
        let (end, _) = run(script, &options(), Vec::new()).await;
        assert_eq!(end.outcome, expected);
    }
    let error = Script { start_error: Some("no such runtime".to_string()), ..Script::default() };
    let (end, _) = run(error, &options(), Vec::new()).await;
    assert_eq!(end.outcome, Outcome::SetupFailed { cause: "no such runtime".to_string() });
    assert_eq!((end.started, end.salvage), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_full_host_is_not_the_agents_fault() {
    let options = WatchOptions { host_reserve_bytes: u64::MAX, ..WatchOptions::default() };
    let (end, _) = run(hangs(None), &options, Vec::new()).await;
    assert!(matches!(end.outcome, Outcome::HostFull { .. }), "{:?}", end.outcome);
    assert!(end.outcome.is_infrastructure());
}

#[test]
fn a_host_that_the_agent_filled_is_the_agents_doing() {
    for (own, free, reserve, expected) in [
        (600, 500, 1000, true),
        (500, 500, 1000, true),
        (499, 500, 1000, false),
        (0, 999, 1000, false),
        (u64::MAX, 1, 1000, true),
    ] {
        assert_eq!(is_own_doing(own, free, reserve), expected, "{own} {free} {reserve}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_give_the_grace_and_the_most_urgent_reason_stays() {
    use CancelReason::{Interrupt, Kill, Stopped};
    let (end, _) = run(hangs(Some(SECOND)), &options(), vec![(SECOND * 10, Stopped)]).await;
    assert_eq!((end.outcome, end.took), (Outcome::Cancelled { reason: Stopped }, SECOND * 11));
    let (end, _) = run(hangs(None), &options(), vec![(SECOND * 10, Interrupt)]).await;
    assert_eq!((end.outcome, end.took), (Outcome::Cancelled { reason: Interrupt }, SECOND * 30));
    let (end, _) =
        run(hangs(None), &options(), vec![(SECOND * 10, Interrupt), (SECOND * 12, Kill)]).await;
    assert_eq!((end.outcome, end.took), (Outcome::Cancelled { reason: Kill }, SECOND * 12));
    let (end, _) = run(hangs(None), &options(), vec![(SECOND * 105, Kill)]).await;
    assert_eq!(end.outcome, Outcome::TimedOut { after: SECOND * 105, killed: true });
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_taken_at_their_interval() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script { submission: Some(b"id\n".to_vec()), ..Script::default() };
    let executor = FakeExecutor::new(move |_| script.clone());
    let (_sender, mut requests) = mpsc::channel(1);
    let taken = Mutex::new(Vec::new());
    let report = |event: AttemptEvent| {
        if let AttemptEvent::Snapshot { path, elapsed, .. } = event {
            assert!(path.is_file());
            taken.lock().unwrap().push(elapsed.as_secs());
        }
    };
    let options = WatchOptions { snapshot_every: Some(SECOND * 20), ..options() };
    run_attempt(&executor, Arc::new(spec(dir.path())), None, &options, &mut requests, &report)
        .await;
    assert_eq!(taken.into_inner().unwrap(), [20, 40]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_the_code_is_kept_for_each_change_while_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script {
        submission: Some(vec![b'x'; 100]),
        code: vec![(SECOND * 15, "first"), (SECOND * 35, "second, of more than is left")],
        ..Script::default()
    };
    let executor = FakeExecutor::new(move |_| script.clone());
    let (_sender, mut requests) = mpsc::channel(1);
    let told = Mutex::new(Vec::new());
    let report = |event: AttemptEvent| {
        if let AttemptEvent::Snapshot { code, elapsed, .. } = event {
            let code = code.map(|code| std::fs::read_to_string(code.path.join("main.py")).unwrap());
            told.lock().unwrap().push((elapsed.as_secs(), code));
        }
    };
    let options = WatchOptions { snapshot_every: Some(SECOND * 10), ..options() };
    let mut spec = spec(dir.path());
    // Room for four submissions and one of the codes.
    spec.limits.disk_bytes = 420;
    let copies = spec.attempt_dir.snapshots_of_code();
    run_attempt(&executor, Arc::new(spec), None, &options, &mut requests, &report).await;
    let first = || Some("first".to_string());
    let told = told.into_inner().unwrap();
    assert_eq!(told, [(10, None), (20, first()), (30, first()), (40, None)]);
    let left: Vec<_> =
        std::fs::read_dir(copies).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["0000020"]);
}

#[tokio::test(start_paused = true)]
async fn snapshots_take_no_more_room_than_the_disk_limit() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script { submission: Some(vec![b'x'; 400]), ..Script::default() };
    let executor = FakeExecutor::new(move |_| script.clone());
    let (_sender, mut requests) = mpsc::channel(1);
    let told = Mutex::new(Vec::new());
    let report = |event: AttemptEvent| match event {
        AttemptEvent::Snapshot { elapsed, .. } => told.lock().unwrap().push(elapsed.as_secs()),
        AttemptEvent::SnapshotsFull { limit } => told.lock().unwrap().push(limit),
        _ => {}
    };
    let options = WatchOptions { snapshot_every: Some(SECOND * 10), ..options() };
    let mut spec = spec(dir.path());
    spec.limits.disk_bytes = 1_000;
    let folder = spec.attempt_dir.snapshot(0).parent().unwrap().to_owned();
    run_attempt(&executor, Arc::new(spec), None, &options, &mut requests, &report).await;
    assert_eq!(told.into_inner().unwrap(), [10, 20, 1_000]);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
}

/// Runs an agent, drops the harness at `dropped`, and goes on at `resumed`.
async fn interrupted(script: Script, dropped: Duration, resumed: Duration) -> AttemptEnd {
    asked_and_interrupted(script, None, dropped, resumed).await
}

/// The same, with a request before.
async fn asked_and_interrupted(
    script: Script,
    asked: Option<(Duration, CancelReason)>,
    dropped: Duration,
    resumed: Duration,
) -> AttemptEnd {
    let dir = tempfile::tempdir().unwrap();
    let executor = FakeExecutor::new(move |_| script.clone());
    let (sender, mut requests) = mpsc::channel(1);
    if let Some((at, reason)) = asked {
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(at).await;
            let _ = sender.send(reason).await;
        });
    }
    let token = Mutex::new(None);
    let report = |event: AttemptEvent| {
        if let AttemptEvent::Started(started) = event {
            *token.lock().unwrap() = Some(started);
        }
    };
    let (spec, options) = (Arc::new(spec(dir.path())), options());
    let first = run_attempt(&executor, Arc::clone(&spec), None, &options, &mut requests, &report);
    assert!(tokio::time::timeout(dropped, first).await.is_err());
    tokio::time::sleep(resumed - dropped).await;
    let token = token.lock().unwrap().clone();
    run_attempt(&executor, spec, token, &options, &mut requests, &|_| {}).await
}

#[tokio::test(start_paused = true)]
async fn the_clock_runs_on_while_nobody_watches() {
    let timed_out = |after: u64, killed| Outcome::TimedOut { after: SECOND * after as u32, killed };
    let end = interrupted(hangs(None), SECOND * 30, SECOND * 60).await;
    assert_eq!(end.outcome, timed_out(120, true));
    let end = interrupted(hangs(Some(SECOND)), SECOND * 30, SECOND * 110).await;
    assert_eq!(end.outcome, timed_out(111, false));
    let end = interrupted(hangs(None), SECOND * 30, SECOND * 500).await;
    assert_eq!(end.outcome, timed_out(500, true));
    let script = Script { takes: Some(SECOND * 70), ..Script::default() };
    let end = interrupted(script, SECOND * 30, SECOND * 40).await;
    assert_eq!((end.outcome, end.took), (Outcome::Finished { exit: 0 }, SECOND * 70));
}

#[tokio::test(start_paused = true)]
async fn why_a_harness_that_died_ended_the_agent_stands() {
    let asked = Some((SECOND * 10, CancelReason::Interrupt));
    let cancelled = Outcome::Cancelled { reason: CancelReason::Interrupt };
    // It ended in its grace, and nobody was there.
    let script = hangs(Some(SECOND * 5));
    let end = asked_and_interrupted(script, asked, SECOND * 12, SECOND * 50).await;
    assert_eq!(end.outcome, cancelled);
    // It is still in its grace, which goes on.
    let end = asked_and_interrupted(hangs(None), asked, SECOND * 12, SECOND * 20).await;
    assert_eq!((end.outcome, end.took), (cancelled, SECOND * 30));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The model: the agent ends by itself, in its grace, or with it, whichever comes first.
    #[test]
    fn every_agent_ends_when_the_model_says(takes in 1_u32..300, after_term in prop::option::of(0_u32..60)) {
        let script = Script { takes: Some(SECOND * takes), after_term: after_term.map(|s| SECOND * s), ..Script::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (end, _) = runtime.block_on(run(script, &options(), Vec::new()));
        let (timeout, grace) = (100, 20);
        let graceful = after_term.map_or(u32::MAX, |after| timeout + after);
        let ended = takes.min(graceful).min(timeout + grace);
        prop_assert_eq!(end.took.as_secs(), u64::from(ended));
        match end.outcome {
            Outcome::Finished { exit: 0 } => prop_assert!(takes <= timeout),
            Outcome::TimedOut { killed, .. } => {
                prop_assert!(takes >= timeout);
                prop_assert!(killed || takes.min(graceful) <= timeout + grace);
                prop_assert!(!killed || takes.min(graceful) >= timeout + grace);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
