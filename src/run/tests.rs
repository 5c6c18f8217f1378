//! Whole runs on scripted attempts and tokio's paused clock, cut short at every point and gone on
//! with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, CompetitionFacts, HardwareRecord, OutcomeKind};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::*;
use crate::attempt::agents::{AgentSpec, Build, KwargsType};
use crate::attempt::launch::{DataMode, LaunchSpec, ValidationReply};
use crate::attempt::limits::{GpuRequest, Limits, Network};
use crate::attempt::outcome::CancelReason;
use crate::attempt::plan::{BriefKind, ExecutorKind, PLAN_FORMAT, Plan, attempts};
use crate::host::files::read_json;
use crate::host::store::GroupDir;
use crate::run::events::{EventKind, EventSink, RunEvent, RunStats, SinkError};
use crate::sandbox::Executor as _;
use crate::sandbox::fake::{FakeExecutor, Script};

struct AlwaysValid;

impl Validator for AlwaysValid {
    fn validate(&self, _: &Path) -> ValidationReply {
        ValidationReply { valid: true, message: "Submission is valid.".into() }
    }
}

/// Scores a submission by the number in it.
pub(super) struct NumberJudge;

impl Judge for NumberJudge {
    fn material(&self, _: &str) -> Result<Material, JudgeError> {
        Ok(Material {
            public_dir: "/nowhere".into(),
            description: "a task".into(),
            brief_source: "catalogue".into(),
            brief_sha256: "0".into(),
            brief_replaced: BTreeMap::new(),
            data_sha256: None,
            data_edition: "v1".into(),
            direction: Direction::Higher,
            validator: Arc::new(AlwaysValid),
        })
    }

    fn grade(&self, competition: &str, submission: &Path) -> Result<GradeReport, JudgeError> {
        let score = std::fs::read_to_string(submission)
            .ok()
            .and_then(|text| text.trim().parse::<f64>().ok());
        let gold = score.is_some_and(|score| score > 0.9);
        let report = serde_json::json!({
            "competition_id": competition, "score": score, "gold_threshold": 0.9, "silver_threshold": 0.8,
            "bronze_threshold": 0.7, "median_threshold": 0.5, "any_medal": gold, "gold_medal": gold, "medal": gold.then_some("gold"),
            "silver_medal": false, "bronze_medal": false, "above_median": gold, "submission_exists": score.is_some(),
            "valid_submission": score.is_some(), "is_lower_better": false, "created_at": "", "submission_path": "",
        });
        serde_json::from_value(report).map_err(|error| JudgeError { message: error.to_string() })
    }
}

/// Keeps events, and rings at the chosen one.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    pub(super) events: Arc<Mutex<Vec<RunEvent>>>,
    pub(super) ring_at: Option<usize>,
    pub(super) bell: Arc<Notify>,
    /// Keeps nothing, for long runs.
    pub(super) forget: bool,
}

impl Recorder {
    pub(super) fn kinds(&self) -> Vec<EventKind> {
        self.events.lock().unwrap().iter().map(|event| event.kind.clone()).collect()
    }
}

impl EventSink for Recorder {
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        let mut events = self.events.lock().unwrap();
        if self.forget {
            return Ok(());
        }
        events.push(event.clone());
        if self.ring_at == Some(events.len()) {
            self.bell.notify_one();
        }
        Ok(())
    }
}

pub(super) fn plan(competitions: usize, seeds: u32) -> Plan {
    let facts: Vec<CompetitionFacts> = (0..competitions)
        .map(|number| CompetitionFacts { id: format!("c{number}"), ..CompetitionFacts::default() })
        .collect();
    let mut number = 0;
    let uuid = || {
        number += 1;
        Uuid::from_u128(number)
    };
    Plan {
        format: PLAN_FORMAT,
        group: "group".into(),
        created_at: DateTime::from_timestamp(0, 0).unwrap(),
        suite: None,
        suite_file: None,
        executor: ExecutorKind::Docker,
        on: None,
        limits: Limits {
            timeout: Duration::from_secs(100),
            grace: Duration::from_secs(10),
            cpus: 1.0,
            memory_bytes: 1 << 20,
            ..Limits::default()
        },
        network: Network::Sealed,
        data: DataMode::ReadOnly,
        gpus: GpuRequest::None,
        gpu_share: 1,
        gpu_pool: Vec::new(),
        gpu_access: None,
        mounts: Vec::new(),
        parallel: None,
        retries: 2,
        fail_fast: false,
        snapshot_every: None,
        runtime: None,
        cpuset: None,
        pass_secrets: false,
        brief: BriefKind::Plain,
        llm: None,
        data_dir: "/nowhere".into(),
        catalog_dirs: Vec::new(),
        command: Vec::new(),
        notes: None,
        attempts: attempts("agent", &facts, 0..seeds, BriefKind::Plain, |_| None, uuid),
        agent: AgentSpec {
            id: "agent".into(),
            description: String::new(),
            version: None,
            backbone: String::new(),
            image: "image".into(),
            build: Build::Image,
            command: vec!["run".into()],
            kwargs_type: KwargsType::default(),
            env: BTreeMap::new(),
            privileged: false,
            files_sha256: String::new(),
            details: Default::default(),
        },
    }
}

/// Runs a plan until it is over or its `ring_at`-th event, at which the harness dies.
async fn life(
    plan: &Plan,
    group: &GroupDir,
    executor: &Arc<FakeExecutor>,
    recorder: &Recorder,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Option<RunStats> {
    let info = executor.check().await.unwrap();
    let state = Arc::new(Run {
        plan: plan.clone(),
        group: group.clone(),
        only: None,
        apart: None,
        executor: Arc::clone(executor) as Arc<dyn crate::sandbox::Executor>,
        info,
        judge: Arc::new(NumberJudge),
        capacity: Capacity { cpus: 2.0, memory_bytes: 1 << 30, attempts: usize::MAX },
        gpus: None,
        hardware: HardwareRecord::default(),
        llm: None,
        local_program: None,
    });
    until_the_bell(state, recorder, cancels).await
}

/// Runs to the end, or until the recorder rings.
pub(super) async fn until_the_bell(
    state: Arc<Run>,
    recorder: &Recorder,
    cancels: &mut mpsc::Receiver<StopRequest>,
) -> Option<RunStats> {
    let lock = state.group.lock().unwrap();
    let mut sinks: Vec<Box<dyn EventSink>> = vec![
        Box::new(sinks::JsonLines::open(&state.events()).unwrap()),
        Box::new(recorder.clone()),
    ];
    let bell = Arc::clone(&recorder.bell);
    tokio::select! {
        biased;
        () = bell.notified() => None,
        summary = run(state, Some(&lock), &mut sinks, cancels) => Some(summary.unwrap().stats),
    }
}

/// Ctrl-C, once, after a while.
fn interrupt_after(time: Duration) -> mpsc::Receiver<StopRequest> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        sender.send(StopRequest::Group(CancelReason::Interrupt)).await.unwrap();
        std::future::pending::<()>().await;
    });
    receiver
}

pub(super) fn never() -> mpsc::Receiver<StopRequest> {
    let (sender, receiver) = mpsc::channel(1);
    // A sender that lives for ever never asks for anything.
    std::mem::forget(sender);
    receiver
}

fn scores() -> FakeExecutor {
    FakeExecutor::new(|spec| Script {
        takes: Some(Duration::from_secs(20)),
        submission: Some(if spec.competition == "c0" { b"0.95".to_vec() } else { b"0.1".to_vec() }),
        ..Script::default()
    })
}

/// What must be equal however often a run was cut short.
fn results(plan: &Plan, group: &GroupDir) -> Vec<(String, OutcomeKind, Option<f64>)> {
    plan.attempts
        .iter()
        .map(|attempt| {
            let dir = group.attempt(&attempt.dir);
            let record: AttemptRecord = read_json(&dir.record()).unwrap();
            let grade: GradeReport = read_json(&dir.grade()).unwrap();
            (attempt.key.to_string(), record.outcome.unwrap().kind, grade.score)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_runs_to_its_end_two_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let (plan, executor, recorder) = (plan(3, 2), Arc::new(scores()), Recorder::default());
    let began = tokio::time::Instant::now();
    let stats = life(&plan, &group, &executor, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.planned, stats.finished, stats.valid, stats.gold), (6, 6, 6, 2));
    assert!(began.elapsed() < Duration::from_secs(62), "two at a time: {:?}", began.elapsed());
    let most = recorder.kinds().into_iter().filter_map(|kind| match kind {
        EventKind::Started { stats, .. } => Some(stats.running),
        _ => None,
    });
    assert_eq!(most.max(), Some(2));
    assert!(executor.present().is_empty(), "nothing is left behind");
    let metadata: serde_json::Value = read_json(&group.metadata()).unwrap();
    assert_eq!(metadata["runs"].as_object().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_record_says_what_was_open() {
    for open in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let mut plan = plan(1, 1);
        if open {
            plan.network = Network::Open;
            plan.pass_secrets = true;
            plan.mounts = vec!["/usr/share:/usr/share".parse().unwrap()];
            assert_eq!(plan.network_in_force(), "open");
            // A variable that is set wherever tests run.
            plan.agent.env.insert("KEY".into(), "${{ secrets.PATH }}".into());
        }
        life(&plan, &group, &Arc::new(scores()), &Recorder::default(), &mut never()).await.unwrap();
        let path = group.attempt(&plan.attempts[0].dir).record();
        let conditions = read_json::<AttemptRecord>(&path).unwrap().conditions;
        let (network, secrets) =
            if open { ("open", vec!["PATH".to_owned()]) } else { ("sealed", vec![]) };
        assert_eq!((conditions.network.as_str(), conditions.secrets), (network, Some(secrets)));
        assert_eq!(conditions.mounts.len(), usize::from(open));
        plan.executor = ExecutorKind::Process;
        assert_eq!(plan.network_in_force(), "open", "nothing holds a process off the network");
        assert!(!open || !conditions.sealed);
        let value = std::env::var("PATH").unwrap();
        assert!(!std::fs::read_to_string(path).unwrap().contains(&value), "the secret itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_harness_killed_at_any_event_loses_and_repeats_nothing() {
    let plan = plan(3, 1);
    let mut died = 0;
    let undisturbed = {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let recorder = Recorder::default();
        life(&plan, &group, &Arc::new(scores()), &recorder, &mut never()).await.unwrap();
        (results(&plan, &group), recorder.kinds().len())
    };
    for ring_at in 1..=undisturbed.1 {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let executor = Arc::new(FakeExecutor::new(move |spec| {
            counted.fetch_add(1, Ordering::Relaxed);
            Script {
                takes: Some(Duration::from_secs(20)),
                submission: Some(if spec.competition == "c0" {
                    b"0.95".to_vec()
                } else {
                    b"0.1".to_vec()
                }),
                ..Script::default()
            }
        }));
        let dying = Recorder { ring_at: Some(ring_at), ..Recorder::default() };
        let first = life(&plan, &group, &executor, &dying, &mut never()).await;
        let second =
            life(&plan, &group, &executor, &Recorder::default(), &mut never()).await.unwrap();
        died += usize::from(first.is_none());
        assert_eq!(results(&plan, &group), undisturbed.0, "killed at event {ring_at}");
        assert_eq!((second.finished, second.gold), (3, 1), "killed at event {ring_at}");
        assert_eq!(
            starts.load(Ordering::Relaxed),
            3,
            "every attempt starts once; killed at event {ring_at}"
        );
        assert!(executor.present().is_empty(), "killed at event {ring_at}");
    }
    // Samples of usage come when they come, so the number of events differs a little between lives.
    assert!(died + 3 >= undisturbed.1, "{died} of {} lives were cut short", undisturbed.1);
}

#[tokio::test(start_paused = true)]
async fn the_machines_failures_are_tried_again_and_the_agents_are_not() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let starts = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let counted = Arc::clone(&starts);
    let executor = Arc::new(FakeExecutor::new(move |spec| {
        let mut starts = counted.lock().unwrap();
        let number = starts.entry(spec.competition.clone()).or_default();
        *number += 1;
        match (spec.competition.as_str(), *number) {
            // Fails twice, then works.
            ("c0", 1 | 2) => {
                Script { start_error: Some("the daemon coughs".into()), ..Script::default() }
            }
            // Never works.
            ("c1", _) => Script { start_error: Some("no".into()), ..Script::default() },
            // Crashes by itself.
            ("c2", _) => {
                Script { cause: crate::sandbox::ExitCause::Exited(3), ..Script::default() }
            }
            _ => Script { submission: Some(b"0.95".to_vec()), ..Script::default() },
        }
    }));
    let (plan, recorder) = (plan(3, 1), Recorder::default());
    let stats = life(&plan, &group, &executor, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.finished, stats.gold, stats.infrastructure), (3, 1, 1));
    assert_eq!(
        *starts.lock().unwrap(),
        BTreeMap::from([("c0".into(), 3), ("c1".into(), 3), ("c2".into(), 1)])
    );
    let record = |number: usize| -> AttemptRecord {
        read_json(&group.attempt(&plan.attempts[number].dir).record()).unwrap()
    };
    assert_eq!(record(0).tries.len(), 3);
    assert_eq!(record(1).outcome.unwrap().kind, OutcomeKind::SetupFailed);
    assert_eq!(record(2).outcome.unwrap().exit_code, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_starts_nothing_more_and_can_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let (plan, executor) = (plan(2, 2), Arc::new(scores()));
    let mut cancels = interrupt_after(Duration::from_secs(5));
    let stats = life(&plan, &group, &executor, &Recorder::default(), &mut cancels).await.unwrap();
    assert_eq!((stats.finished, stats.cancelled, stats.running), (2, 2, 0));
    let stats = life(&plan, &group, &executor, &Recorder::default(), &mut never()).await.unwrap();
    assert_eq!((stats.finished, stats.cancelled, stats.gold), (4, 0, 2));
    let record: AttemptRecord = read_json(&group.attempt(&plan.attempts[0].dir).record()).unwrap();
    assert_eq!(record.tries.len(), 2, "the cancelled try is kept");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_a_person_ended_uses_up_no_retry() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let plan = Plan { retries: 1, ..plan(1, 1) };
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&starts);
    let executor =
        Arc::new(FakeExecutor::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
            // Stopped by hand, then failed by the machine, then well.
            1 => Script { start_error: Some("the daemon coughs".into()), ..Script::default() },
            _ => Script {
                takes: Some(Duration::from_secs(20)),
                submission: Some(b"0.95".to_vec()),
                ..Script::default()
            },
        }));
    let mut cancels = interrupt_after(Duration::from_secs(5));
    let stats = life(&plan, &group, &executor, &Recorder::default(), &mut cancels).await.unwrap();
    assert_eq!(stats.cancelled, 1);
    let stats = life(&plan, &group, &executor, &Recorder::default(), &mut never()).await.unwrap();
    assert_eq!((stats.gold, stats.infrastructure), (1, 0), "the one retry was still there");
    assert_eq!(starts.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn one_damaged_record_is_passed_over_and_a_damaged_grade_is_made_again() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let (plan, executor) = (plan(3, 1), Arc::new(scores()));
    life(&plan, &group, &executor, &Recorder::default(), &mut never()).await.unwrap();
    let dir = |number: usize| group.attempt(&plan.attempts[number].dir);
    std::fs::write(dir(0).record(), "{").unwrap();
    std::fs::write(dir(1).grade(), "").unwrap();
    std::fs::remove_file(dir(2).record()).unwrap();
    // What a harness leaves that is killed at the wrong moment.
    for left in [group.root().join(".aside-1"), dir(1).root().join(".aside-2"), dir(1).token()] {
        std::fs::write(left, "{").unwrap();
    }
    let recorder = Recorder::default();
    let stats = life(&plan, &group, &executor, &recorder, &mut never()).await.unwrap();
    assert_eq!((stats.planned, stats.finished), (3, 2));
    let warned: Vec<String> = recorder
        .kinds()
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::Warning { key: Some(key), message } => Some(format!("{key}: {message}")),
            _ => None,
        })
        .collect();
    assert!(
        warned.iter().any(|said| said.starts_with("c0/agent/0: ") && said.contains("passed over")),
        "{warned:?}"
    );
    assert!(
        warned.iter().any(|said| said.starts_with("c1/agent/0: ") && said.contains("graded again")),
        "{warned:?}"
    );
    assert_eq!(std::fs::read_to_string(dir(0).record()).unwrap(), "{", "it is left as it is");
    assert!(read_json::<GradeReport>(&dir(1).grade()).is_ok() && dir(2).grade().is_file());
    for left in [group.root().join(".aside-1"), dir(1).root().join(".aside-2"), dir(1).token()] {
        assert!(!left.exists(), "{} was not swept", left.display());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_the_run_where_that_is_asked() {
    let fails = |spec: &LaunchSpec| match spec.competition.as_str() {
        // A submission that is no number.
        "c0" => Script {
            takes: Some(Duration::from_secs(1)),
            submission: Some(b"nonsense".to_vec()),
            ..Script::default()
        },
        _ => Script {
            takes: Some(Duration::from_secs(20)),
            submission: Some(b"0.95".to_vec()),
            ..Script::default()
        },
    };
    for (fail_fast, finished, cancelled) in [(true, 2, 1), (false, 4, 0)] {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let plan = Plan { fail_fast, ..plan(4, 1) };
        let (executor, recorder) = (Arc::new(FakeExecutor::new(fails)), Recorder::default());
        let stats = life(&plan, &group, &executor, &recorder, &mut never()).await.unwrap();
        assert_eq!((stats.finished, stats.cancelled), (finished, cancelled), "{fail_fast}");
        let began = recorder.kinds().into_iter().any(|kind| matches!(kind, EventKind::CancelBegan { reason } if reason.contains("after another failure")));
        assert_eq!(began, fail_fast);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sealed_is_never_called_sealed() {
    let sealed = plan(1, 1);
    let privileged = AgentSpec { privileged: true, ..sealed.agent.clone() };
    let cases = [
        (sealed.clone(), true),
        (Plan { network: Network::Open, ..sealed.clone() }, false),
        (Plan { network: Network::Allowlist(vec!["example.org".into()]), ..sealed.clone() }, false),
        (Plan { agent: privileged, ..sealed }, false),
    ];
    for (plan, expected) in cases {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let recorder = Recorder::default();
        life(&plan, &group, &Arc::new(scores()), &recorder, &mut never()).await.unwrap();
        let told = recorder.kinds().into_iter().find_map(|kind| match kind {
            EventKind::GroupStarted { sealed, .. } => Some(sealed),
            _ => None,
        });
        let dir = group.attempt(&plan.attempts[0].dir);
        let record: AttemptRecord = read_json(&dir.record()).unwrap();
        assert_eq!((told, record.conditions.sealed), (Some(expected), expected), "{plan:?}");
        assert_eq!(record.conditions.network, plan.network.mode());
    }
    assert!(!plan(1, 1).is_sealed(false), "an executor that cannot seal seals nothing");
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_stopped_and_the_others_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
    let (plan, executor) = (plan(4, 1), Arc::new(scores()));
    let (sender, mut wishes) = mpsc::channel(4);
    let (running, waiting) = (plan.attempts[1].dir.clone(), plan.attempts[3].dir.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for dir in [running, waiting, "unknown".to_owned()] {
            sender.send(StopRequest::Attempt { dir, reason: CancelReason::Stopped }).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let stats = life(&plan, &group, &executor, &Recorder::default(), &mut wishes).await.unwrap();
    assert_eq!((stats.finished, stats.cancelled, stats.running), (4, 2, 0));
    let record = |number: usize| -> AttemptRecord {
        read_json(&group.attempt(&plan.attempts[number].dir).record()).unwrap()
    };
    let kinds: Vec<OutcomeKind> =
        (0..4).map(|number| record(number).outcome.unwrap().kind).collect();
    let (done, stopped) = (OutcomeKind::Finished, OutcomeKind::Cancelled);
    assert_eq!(kinds, [done.clone(), stopped.clone(), done, stopped]);
    assert!(record(1).took_s.unwrap() > 4.0);
    assert_eq!(record(3).took_s, Some(0.0), "the one that waited never began");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_restarted_costs_neither_a_try_nor_a_submission() {
    let plan = plan(4, 1);
    // Away at the first starts, while agents run, at their ends and between them.
    for (from, length) in [(0, 90), (5, 3), (10, 30), (19, 5), (20, 600), (21, 60)] {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let executor = Arc::new(scores());
        let daemon = Arc::clone(&executor);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(from)).await;
            daemon.go_away(tokio::time::Instant::now() + Duration::from_secs(length));
        });
        let recorder = Recorder::default();
        let stats = life(&plan, &group, &executor, &recorder, &mut never()).await.unwrap();
        assert_eq!(
            (stats.finished, stats.valid, stats.infrastructure),
            (4, 4, 0),
            "away from {from} for {length} s"
        );
        for attempt in &plan.attempts {
            let record: AttemptRecord = read_json(&group.attempt(&attempt.dir).record()).unwrap();
            assert_eq!(record.tries.len(), 1, "away from {from} for {length} s");
        }
        let warned = recorder.kinds().iter().any(|kind| matches!(kind, EventKind::Warning { .. }));
        assert!(warned || from < 20, "away from {from} for {length} s");
    }
}
