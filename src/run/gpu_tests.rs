//! Whole runs with GPUs on scripted attempts, a scripted driver and tokio's paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use medalist_reports::record::{AttemptRecord, OutcomeKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::tests::{NumberJudge, Recorder, never, plan, until_the_bell};
use super::*;
use crate::attempt::launch::{BoxFuture, LaunchSpec};
use crate::attempt::limits::{GpuAccess, GpuRequest};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::Plan;
use crate::host::files::read_json;
use crate::host::gpu::{GpuDriver, GpuError, Inventory, Sample};
use crate::host::store::GroupDir;
use crate::run::events::{EventKind, RunStats};
use crate::sandbox::Executor as _;
use crate::sandbox::fake::{FakeExecutor, Script};

type Samples = dyn Fn(&str) -> Sample + Send + Sync;

/// A driver that says what a test wants.
struct FakeDriver(Box<Samples>);

impl GpuDriver for FakeDriver {
    fn samples<'a>(
        &'a self,
        devices: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Sample>, GpuError>> {
        Box::pin(async move {
            let sample = |device: &String| Sample { device: device.clone(), ..(self.0)(device) };
            Ok(devices.iter().map(sample).collect())
        })
    }
}

fn idle() -> Sample {
    Sample {
        memory_bytes: Some(0),
        utilisation: Some(0.0),
        memory_errors: Some(0),
        ..Sample::default()
    }
}

/// Keeps the books of who started on which GPU, beside the scheduler's own.
#[derive(Clone, Default)]
struct Audit {
    executor: Arc<OnceLock<Arc<FakeExecutor>>>,
    held: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    starts: Arc<Mutex<Vec<(String, Vec<String>)>>>,
    share: usize,
}

impl Audit {
    fn on_start(&self, spec: &LaunchSpec) {
        let present = self.executor.get().map(|executor| executor.present()).unwrap_or_default();
        let devices: Vec<String> = spec.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        let mut held = self.held.lock().unwrap();
        held.retain(|name, _| present.contains(name));
        for device in &devices {
            let others = held.values().filter(|devices| devices.contains(device)).count();
            assert!(others < self.share, "{device} has {others} attempts on it already");
        }
        held.insert(spec.name.clone(), devices.clone());
        self.starts.lock().unwrap().push((spec.name.clone(), devices));
    }

    /// An executor whose starts are written down.
    fn executor(
        &self,
        script: impl Fn(&LaunchSpec) -> Script + Send + Sync + 'static,
    ) -> Arc<FakeExecutor> {
        let audit = self.clone();
        let executor = Arc::new(FakeExecutor::new(move |spec| {
            audit.on_start(spec);
            script(spec)
        }));
        assert!(self.executor.set(Arc::clone(&executor)).is_ok());
        executor
    }

    fn new(share: usize) -> Self {
        Self { share, ..Self::default() }
    }
}

/// One life of a harness on a machine with `devices` GPUs.
async fn life(
    plan: &Plan,
    group: &GroupDir,
    executor: &Arc<FakeExecutor>,
    driver: Arc<dyn GpuDriver>,
    devices: usize,
    recorder: &Recorder,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Option<RunStats> {
    let units = pool::tests::gpus(devices, 8);
    let inventory = Inventory { driver: "1".into(), gpus: units };
    let held: Vec<String> = pool::tests::gpus(devices, 8).into_iter().map(|gpu| gpu.uuid).collect();
    let (gpus, bad) = Gpus::open(inventory, GpuAccess::DeviceRequest, driver, &held, None).await;
    assert_eq!(bad, []);
    let state = Arc::new(Run {
        plan: plan.clone(),
        group: group.clone(),
        only: None,
        apart: None,
        executor: Arc::clone(executor) as Arc<dyn crate::sandbox::Executor>,
        info: executor.check().await.unwrap(),
        judge: Arc::new(NumberJudge),
        capacity: Capacity { cpus: 1e6, memory_bytes: u64::MAX, attempts: usize::MAX },
        gpus: Some(gpus),
        hardware: Default::default(),
        llm: None,
        local_program: None,
    });
    until_the_bell(state, recorder, cancels).await
}

fn records(plan: &Plan, group: &GroupDir) -> Vec<AttemptRecord> {
    plan.attempts
        .iter()
        .map(|attempt| read_json(&group.attempt(&attempt.dir).record()).unwrap())
        .collect()
}

fn gold(seconds: u64) -> Script {
    Script {
        takes: Some(Duration::from_secs(seconds)),
        submission: Some(b"0.95".to_vec()),
        ..Script::default()
    }
}

fn warnings(recorder: &Recorder) -> Vec<String> {
    let text = |kind: EventKind| match kind {
        EventKind::Warning { message, .. } => Some(message.into_string()),
        _ => None,
    };
    recorder.kinds().into_iter().filter_map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_card_costs_a_try_on_another_one_and_is_handed_out_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let began = Instant::now();
    let driver = FakeDriver(Box::new(move |device| {
        let mut sample = Sample { utilisation: Some(0.5), ..idle() };
        if device == "GPU-0" && began.elapsed() > Duration::from_secs(20) {
            sample.fault = Some("GPU is lost".into());
        }
        sample
    }));
    let audit = Audit::new(1);
    let executor = audit.executor(|_| gold(60));
    let plan = Plan { gpus: GpuRequest::Count(1), ..plan(4, 1) };
    let recorder = Recorder::default();
    let stats =
        life(&plan, &group, &executor, Arc::new(driver), 2, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.finished, stats.gold, stats.infrastructure), (4, 4, 0));
    let records = records(&plan, &group);
    let first = &records[0];
    assert_eq!(first.tries[0].outcome.as_ref().unwrap().kind, OutcomeKind::GpuLost);
    assert_eq!(
        (first.tries[0].gpus[0].uuid.as_str(), first.tries[1].gpus[0].uuid.as_str()),
        ("GPU-0", "GPU-1")
    );
    // It was noticed by the second look after the loss, long before the agent was done.
    assert!(first.tries[0].took_s.unwrap() < 40.0, "{:?}", first.tries);
    let starts = audit.starts.lock().unwrap().clone();
    assert_eq!(starts.iter().filter(|(_, devices)| devices == &["GPU-0"]).count(), 1);
    let warnings = warnings(&recorder);
    assert_eq!(warnings, ["GPU GPU-0: GPU is lost; it is left out of this run from now on"]);
    let usage = &records[1].usage;
    assert_eq!((usage.gpu_utilisation, usage.gpu_memory_peak_bytes), (Some(0.5), Some(0)));
    assert_eq!(
        (records[1].conditions.limits.gpus, records[1].conditions.gpu_access.as_deref()),
        (1, Some("device-request"))
    );
}

#[tokio::test(start_paused = true)]
async fn memory_errors_spoil_an_attempt_and_leave_nobody_a_card_at_last() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let began = Instant::now();
    // The errors come so late that only the look after the end can see them.
    let driver = FakeDriver(Box::new(move |_| {
        let errors = u64::from(began.elapsed() > Duration::from_secs(58));
        Sample { memory_errors: Some(errors), ..idle() }
    }));
    let audit = Audit::new(1);
    let executor = audit.executor(|_| gold(60));
    let plan = Plan { gpus: GpuRequest::Count(1), ..plan(2, 1) };
    let recorder = Recorder::default();
    let stats =
        life(&plan, &group, &executor, Arc::new(driver), 1, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.finished, stats.infrastructure), (2, 2));
    assert_eq!(audit.starts.lock().unwrap().len(), 1);
    let records = records(&plan, &group);
    for record in &records {
        assert_eq!(record.outcome.as_ref().unwrap().kind, OutcomeKind::GpuLost);
    }
    let detail = records[1].outcome.as_ref().unwrap().detail.clone().unwrap();
    assert!(detail.contains("0 of the 1 GPUs of this run are left"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_card_is_handed_on_only_when_its_memory_is_empty() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let began = Instant::now();
    // What the first attempt had on GPU-0 goes away 20 s after its end; what the next one had,
    // never.
    let driver = FakeDriver(Box::new(move |device| {
        let now = began.elapsed().as_secs();
        let used = device == "GPU-0" && !(80..=100).contains(&now);
        Sample { memory_bytes: Some(if used && now > 5 { 9 << 30 } else { 0 }), ..idle() }
    }));
    let audit = Audit::new(1);
    let executor = audit.executor(|_| gold(60));
    let plan = Plan { gpus: GpuRequest::Uuids(vec!["GPU-0".into()]), ..plan(3, 1) };
    let recorder = Recorder::default();
    let stats =
        life(&plan, &group, &executor, Arc::new(driver), 2, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.finished, stats.gold, stats.infrastructure), (3, 2, 1));
    let records = records(&plan, &group);
    let began = |record: &AttemptRecord| record.tries[0].started_at.unwrap();
    assert_eq!(
        records[1].outcome.as_ref().unwrap().kind,
        OutcomeKind::Finished,
        "its end is its own, whatever it left"
    );
    assert!(began(&records[1]) >= began(&records[0]));
    let warnings = warnings(&recorder);
    assert!(
        warnings.len() == 1 && warnings[0].contains("9.0 GiB of its memory are in use"),
        "{warnings:?}"
    );
    // It is noticed at the end of the attempt that left it, not by the next one that would have had
    // the GPU.
    let blamed = recorder.kinds().into_iter().find_map(|kind| match kind {
        EventKind::Warning { key, .. } => key.map(|key| key.competition),
        _ => None,
    });
    assert_eq!(blamed.as_deref(), Some("c1"));
    assert_eq!(records[0].usage.gpu_memory_peak_bytes, Some(9 << 30));
}

#[tokio::test(start_paused = true)]
async fn a_harness_killed_at_any_event_keeps_every_card_with_its_attempt() {
    let plan = Plan { gpus: GpuRequest::Count(1), ..plan(4, 1) };
    let mut ring_at = 0;
    loop {
        ring_at += 1;
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let audit = Audit::new(1);
        let executor = audit.executor(|_| gold(20));
        let driver: Arc<dyn GpuDriver> = Arc::new(FakeDriver(Box::new(|_| idle())));
        let dying = Recorder { ring_at: Some(ring_at), ..Recorder::default() };
        let mut unasked = never();
        let first =
            life(&plan, &group, &executor, Arc::clone(&driver), 2, &dying, &mut unasked).await;
        let stats = life(&plan, &group, &executor, driver, 2, &Recorder::default(), &mut unasked)
            .await
            .unwrap();
        assert_eq!((stats.finished, stats.gold), (4, 4), "killed at event {ring_at}");
        let starts = audit.starts.lock().unwrap().clone();
        assert_eq!(starts.len(), 4, "every attempt starts once; killed at event {ring_at}");
        for (record, attempt) in records(&plan, &group).iter().zip(&plan.attempts) {
            let devices = &starts.iter().find(|(name, _)| *name == attempt.dir).unwrap().1;
            let recorded: Vec<&str> =
                record.tries[0].gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
            assert_eq!(recorded, *devices, "killed at event {ring_at}");
        }
        if first.is_some() {
            break;
        }
    }
    assert!(ring_at > 20, "{ring_at}");
}

#[tokio::test(start_paused = true)]
async fn shared_cards_hold_their_number_and_cancelled_attempts_give_theirs_back() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let audit = Audit::new(3);
    let executor = audit.executor(|_| gold(40));
    let plan = Plan { gpus: GpuRequest::Count(1), gpu_share: 3, ..plan(8, 1) };
    let (sender, mut cancels) = mpsc::channel(4);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        sender.send(StopRequest::Group(CancelReason::Interrupt)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let driver: Arc<dyn GpuDriver> =
        Arc::new(FakeDriver(Box::new(|_| Sample { memory_bytes: Some(1), ..idle() })));
    let stats =
        life(&plan, &group, &executor, Arc::clone(&driver), 2, &Recorder::default(), &mut cancels)
            .await
            .unwrap();
    assert_eq!(
        (stats.finished, stats.cancelled),
        (8, 2),
        "six at once, then two that are interrupted"
    );
    let stats = life(&plan, &group, &executor, driver, 2, &Recorder::default(), &mut never())
        .await
        .unwrap();
    assert_eq!((stats.finished, stats.gold), (8, 8));
    let most = audit
        .starts
        .lock()
        .unwrap()
        .iter()
        .map(|(_, devices)| devices[0].clone())
        .collect::<BTreeSet<_>>();
    assert_eq!(most.len(), 2, "both GPUs are used");
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// 10,000 attempts of one to eight GPUs over 64 GPUs on eight nodes, each of which ends when it
/// likes within its limit.
#[tokio::test(start_paused = true)]
async fn ten_thousand_attempts_keep_64_gpus_busy() {
    // Memory is a process's: what other tests take of it must not count.
    const ALONE: &str = "THIS_TEST_IS_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", "run::gpu_tests::ten_thousand_attempts_keep_64_gpus_busy"]);
        let output = own.env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let shared_memory = Path::new("/dev/shm");
    let temp = if shared_memory.is_dir() {
        tempfile::tempdir_in(shared_memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let mut plan = Plan { gpus: GpuRequest::Count(1), ..plan(2000, 5) };
    // Seconds stand for hours: shorter than the time between two looks at an agent, of which
    // millions would prove nothing.
    plan.limits.timeout = Duration::from_millis(2400);
    plan.limits.grace = Duration::from_millis(100);
    let sizes = [1, 1, 1, 1, 2, 2, 4, 8];
    let size = |attempt: &crate::attempt::plan::PlannedAttempt| {
        let number: usize = attempt.key.competition[1..].parse().unwrap();
        sizes[number % sizes.len()]
    };
    // As the plan does: in a seed the bigger ones first.
    plan.attempts.sort_by_key(|attempt| (attempt.key.seed, std::cmp::Reverse(size(attempt))));
    for attempt in &mut plan.attempts {
        attempt.gpus = Some(GpuRequest::Count(size(attempt)));
    }
    // Length by name: from 0.2 to 2.2 s, spread evenly and alike in every run.
    let takes = |name: &str| {
        let hash = name
            .bytes()
            .fold(17u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Duration::from_millis(200 + hash % 2000)
    };
    let area: f64 =
        plan.attempts.iter().map(|a| f64::from(size(a)) * takes(&a.dir).as_secs_f64()).sum();
    let bound = area / 64.0;
    let audit = Audit::new(1);
    let began = Instant::now();
    let started = Arc::new(Mutex::new(BTreeMap::<String, Duration>::new()));
    let noted = Arc::clone(&started);
    let executor = audit.executor(move |spec| {
        noted.lock().unwrap().insert(spec.name.clone(), began.elapsed());
        Script { takes: Some(takes(&spec.name)), ..Script::default() }
    });
    let driver: Arc<dyn GpuDriver> = Arc::new(FakeDriver(Box::new(|_| idle())));
    let before = resident();
    let recorder = Recorder { forget: true, ..Recorder::default() };
    let stats = life(&plan, &group, &executor, driver, 64, &recorder, &mut never()).await.unwrap();
    let took = began.elapsed().as_secs_f64();
    let grown = resident().saturating_sub(before);
    assert_eq!((stats.finished, stats.infrastructure), (10_000, 0));
    // Nobody starves: in the order of the plan, an attempt starts at most a few lengths of an
    // attempt after one behind it.
    let started = started.lock().unwrap();
    let mut latest_behind = Duration::MAX;
    let mut worst = Duration::ZERO;
    for attempt in plan.attempts.iter().rev() {
        let at = started[&attempt.dir];
        worst = worst.max(at.saturating_sub(latest_behind));
        latest_behind = latest_behind.min(at);
    }
    println!(
        "10,000 attempts on 64 GPUs: {took:.1} s of simulated time, lower bound {bound:.1} s ({:+.2} %), worst overtaking {:.1} s, \
         {} MiB more memory",
        (took / bound - 1.0) * 100.0,
        worst.as_secs_f64(),
        grown >> 20
    );
    assert!(took <= bound * 1.05, "{took} s, lower bound {bound} s");
    assert!(worst <= plan.limits.timeout * 2, "{worst:?}");
    assert!(grown < 100 << 20, "{grown} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_card_that_another_harness_hands_out_is_left_to_it() {
    let claims = tempfile::tempdir().unwrap();
    let harness = async || {
        let inventory = Inventory { driver: "1".into(), gpus: pool::tests::gpus(2, 8) };
        let driver = Arc::new(FakeDriver(Box::new(|_| idle())));
        let claims = Some(claims.path().to_owned());
        Gpus::open(inventory, GpuAccess::DeviceRequest, driver, &[], claims).await.0
    };
    let (first, second) = (harness().await, harness().await);
    let devices: Vec<String> = first.units().iter().map(|gpu| gpu.uuid.clone()).collect();
    let lease =
        |device: usize| pool::Lease { uuids: vec![devices[device].clone()], alone: vec![true] };
    let held = first.watch(&lease(0), 1);
    held.ready().await.unwrap();
    held.ready().await.unwrap();
    let refused = second.watch(&lease(0), 1).ready().await.unwrap_err();
    assert!(refused.cause.contains("another medalist"), "{refused}");
    assert!(second.watch(&lease(0), 2).ready().await.is_err(), "a GPU of one's own is not shared");
    let other = second.watch(&lease(1), 2);
    other.ready().await.unwrap();
    first.watch(&lease(1), 2).ready().await.unwrap();
    assert!(first.watch(&lease(1), 1).ready().await.is_err(), "a shared GPU is nobody's own");
    drop(held);
    second.watch(&lease(0), 1).ready().await.unwrap();
}
