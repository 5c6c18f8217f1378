//! One attempt's task: tries, what is written into its folder, and its grade.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{
    AttemptRecord, LlmRecord, OutcomeKind, OutcomeRecord, Phase, PhaseRecord, SnapshotRecord,
    SubmissionRecord, TryRecord,
};
use tokio::sync::mpsc;

use super::attempt_record::{finish_try, fresh_record};
use super::clock::{AttemptEnd, AttemptEvent, WatchOptions, run_attempt};
use super::dispatcher::{Run, RunError};
use super::gpu::GpuWatch;
use super::llm::LlmRun;
use super::messages::{AttemptMessage, AttemptUpdate, FinishedAttempt, StartPoint, TaskEnd};
use super::pool::Lease;
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{HOME, LaunchSpec};
use crate::attempt::outcome::{CancelReason, Outcome, Usage};
use crate::attempt::plan::{ExecutorKind, PlannedAttempt};
use crate::host::files::{StoreError, file_sha256, write_json};
use crate::run::events::GradeLine;
use crate::sandbox::Postponed;

/// Runs one attempt to its grade. Everything but a failure of our own files is an outcome.
pub(super) async fn run_tries(
    run: Arc<Run>,
    attempt: Arc<PlannedAttempt>,
    begin: StartPoint,
    lease: Lease,
    mut requests: mpsc::Receiver<CancelReason>,
    messages: mpsc::UnboundedSender<AttemptMessage>,
) -> Result<TaskEnd, RunError> {
    let dir = run.group.attempt(&attempt.dir);
    std::fs::create_dir_all(dir.root()).map_err(|source| StoreError::Io {
        verb: "create",
        path: dir.root().to_owned(),
        source,
    })?;
    let mut record = crate::host::files::read_json_if_there::<AttemptRecord>(&dir.record())?
        .unwrap_or_else(|| fresh_record(&run, &attempt));
    let watch = match &run.gpus {
        Some(gpus) if !lease.uuids.is_empty() => Some(gpus.watch(&lease, run.plan.gpu_share)),
        _ => None,
    };
    let spec = match &begin {
        StartPoint::GradeOnly => {
            if let (Some(llm), Some(number)) =
                (&run.llm, record.tries.last().map(|last| last.number))
                && let Ok(access) = llm.attempt(&dir, &attempt.dir, number, &run.plan.limits)
            {
                record.llm = Some(llm.close(&access, &dir).await);
            }
            return Ok(grade(&run, &attempt, &dir, record).await?.into());
        }
        StartPoint::Unschedulable { why } => Err(Outcome::GpuLost { cause: why.clone() }),
        StartPoint::Fresh | StartPoint::Reattach { .. } => {
            launch_spec(&run, &attempt, &dir, watch.as_deref(), &mut record)
                .map_err(|cause| Outcome::SetupFailed { cause })
        }
    };
    let spec = match spec {
        Ok(spec) => Arc::new(spec),
        Err(outcome) => {
            finish_try(&mut record, &AttemptEnd { outcome, ..failed_before_start(String::new()) });
            write_json(&dir.record(), &record)?;
            return Ok(grade(&run, &attempt, &dir, record).await?.into());
        }
    };
    let tell = |update: AttemptUpdate| {
        let _ = messages.send(AttemptMessage { dir: attempt.dir.clone(), update });
    };

    let mut bad_gpus = Vec::new();
    let mut begin = Some(begin);
    loop {
        let resume = match begin.take() {
            Some(StartPoint::Reattach { token, .. }) => Some(token),
            _ => None,
        };
        let attached = resume.is_some();
        if let (Some(watch), true) = (&watch, attached)
            && let Err(device) = watch.claim()
        {
            tell(AttemptUpdate::warning(&format!("GPU {device}, though it was given to this one")));
        }
        if let (Some(watch), false) = (&watch, attached) {
            tell(AttemptUpdate::Phase(Phase::Gpu));
            let ready = tokio::select! {
                biased;
                reason = super::clock::next_request(&mut requests) => {
                    let end = AttemptEnd { outcome: Outcome::Cancelled { reason }, ..failed_before_start(String::new()) };
                    finish_try(&mut record, &end);
                    write_json(&dir.record(), &record)?;
                    break;
                }
                ready = watch.ready() => ready,
            };
            if let Err(device) = ready {
                // Nothing of the attempt was spent: it goes back to the head of the queue.
                return Ok(TaskEnd { finished: None, bad_gpus: vec![device] });
            }
        }
        if !attached {
            // A harness that died before the container was made leaves a try without an end; it is
            // this one.
            record.tries.pop_if(|last| last.outcome.is_none());
            set_aside_last_try(&dir, &record)?;
            record.outcome = None;
            let number = u32::try_from(record.tries.len()).unwrap_or(u32::MAX).saturating_add(1);
            record.tries.push(TryRecord {
                number,
                started_at: Some(Utc::now()),
                gpus: watch.as_ref().map(|watch| watch.records()).unwrap_or_default(),
                ..TryRecord::default()
            });
            record.phases.clear();
            record.llm = None;
            write_json(&dir.record(), &record)?;
        }
        let number = record.tries.len() as u32;
        tell(AttemptUpdate::TryStarted { number, attached });

        let opened =
            run.llm.as_ref().map(|llm| llm.attempt(&dir, &attempt.dir, number, &spec.limits));
        let access = match opened.transpose() {
            Ok(access) => access,
            Err(error) => {
                finish_try(&mut record, &failed_before_start(super::llm::in_words(&error)));
                write_json(&dir.record(), &record)?;
                break;
            }
        };
        let spec = Arc::new(LaunchSpec { llm: access.clone(), ..(*spec).clone() });
        let options = WatchOptions {
            snapshot_every: run.plan.snapshot_every.map(|every| every.0),
            gpus: watch.clone(),
            llm: access.clone(),
            ..WatchOptions::default()
        };
        let shared = Mutex::new((record, None::<StoreError>));
        let clock = Clock::default();
        let report = |event: AttemptEvent| {
            let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (record, error) = &mut *guard;
            if let (AttemptEvent::Collected(_), Some(llm), Some(access)) =
                (&event, &run.llm, &access)
            {
                record.llm = Some(llm.record(access, &dir));
            }
            if let Err(failed) = on_event(&dir, record, &clock, &tell, event) {
                error.get_or_insert(failed);
            }
        };
        let end = run_attempt(
            &*run.executor,
            Arc::clone(&spec),
            resume,
            &options,
            &mut requests,
            &report,
        )
        .await;
        let (returned, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        record = returned;
        if let (Some(llm), Some(access), None) = (&run.llm, &access, end.kept) {
            record.llm = Some(llm.close(access, &dir).await);
        }
        // The recording is whole once nobody holds the attempt's side of the gateway.
        drop((options, spec, access));
        close_phase(&mut record, clock.0.elapsed().as_secs_f64());
        if let Some(error) = error {
            return Err(error.into());
        }
        match end.kept {
            Some(Postponed::HostFull) => {
                let (verb, path) = ("collect what the agent left into", dir.root().to_owned());
                let source = std::io::ErrorKind::StorageFull.into();
                return Err(StoreError::Io { verb, path, source }.into());
            }
            Some(Postponed::EngineAway) => {
                return Err(RunError::EngineAway {
                    attempt: attempt.key.to_string(),
                    cause: end.outcome.to_string(),
                });
            }
            None => {}
        }
        if let Some(left) = &end.left_behind {
            tell(AttemptUpdate::warning(&format!(
                "its container could not be removed ({left}); `medalist clean` removes it"
            )));
        }
        if let Some(hint) = end.salvage.as_ref().and_then(|salvage| salvage.hint.as_ref()) {
            tell(AttemptUpdate::Warning(hint.clone()));
        }
        finish_try(&mut record, &end);
        write_json(&dir.record(), &record)?;
        remove_token(&dir)?;

        if let Some(watch) = &watch {
            // A GPU is handed on only when what was on it is gone from its memory.
            bad_gpus = match watch.bad() {
                Some(device) => vec![device],
                None => watch.emptied().await.err().into_iter().collect(),
            };
        }

        // A container that vanished while nobody watched costs no retry: the attempt simply has not
        // been made yet.
        let lost_while_away =
            attached && matches!(end.outcome, Outcome::EngineLost { .. }) && end.salvage.is_none();
        // What a person ended was no failure.
        let failed = record
            .tries
            .iter()
            .filter(|one| one.outcome.as_ref().is_some_and(|outcome| outcome.infrastructure));
        let failed = u32::try_from(failed.count()).unwrap_or(u32::MAX);
        // What a provider refuses for want of money it refuses again.
        let refused = run.llm.as_ref().and_then(LlmRun::refused).is_some();
        let tries_left = (failed <= run.plan.retries || lost_while_away) && !refused;
        if !end.outcome.is_infrastructure() || !tries_left {
            break;
        }
        if let (Outcome::GpuLost { .. }, false) = (&end.outcome, bad_gpus.is_empty()) {
            let outcome = end.outcome.record();
            tell(AttemptUpdate::TryFailed { outcome, number, retry_in: Duration::ZERO });
            return Ok(TaskEnd { finished: None, bad_gpus });
        }
        let wait = backoff(failed);
        tell(AttemptUpdate::TryFailed { outcome: end.outcome.record(), number, retry_in: wait });
        tokio::select! {
            reason = requests.recv() => {
                if let Some(reason) = reason {
                    let end = AttemptEnd { outcome: Outcome::Cancelled { reason }, ..failed_before_start(String::new()) };
                    finish_try(&mut record, &end);
                    write_json(&dir.record(), &record)?;
                    break;
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    tell(AttemptUpdate::Phase(Phase::Grade));
    let finished = grade(&run, &attempt, &dir, record).await?;
    Ok(TaskEnd { finished: Some(finished), bad_gpus })
}

/// 10 s, 20 s, 40 s, ... at most 10 minutes: a daemon that restarts needs seconds, a full disk
/// needs a person.
fn backoff(tries: u32) -> Duration {
    Duration::from_secs((10u64 << tries.saturating_sub(1).min(6)).min(600))
}

/// Seconds since the current try began, for the time line.
struct Clock(std::time::Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

fn on_event(
    dir: &AttemptDir,
    record: &mut AttemptRecord,
    clock: &Clock,
    tell: &impl Fn(AttemptUpdate),
    event: AttemptEvent,
) -> Result<(), StoreError> {
    match event {
        AttemptEvent::Phase(phase) => {
            let began_s = clock.0.elapsed().as_secs_f64();
            close_phase(record, began_s);
            record.phases.push(PhaseRecord { name: phase.clone(), began_s, took_s: 0.0 });
            tell(AttemptUpdate::Phase(phase));
        }
        AttemptEvent::Image(image) => {
            record.conditions.image_digest = Some(image.digest.unwrap_or(image.id));
            // A harness that finds the container later cannot know what its image was.
            write_json(&dir.record(), record)?;
        }
        AttemptEvent::Started(token) => {
            record.started_at.get_or_insert(token.started);
            write_json(&dir.token(), &token)?;
            write_json(&dir.record(), record)?;
            tell(AttemptUpdate::AgentRuns { since: token.started });
        }
        AttemptEvent::EngineAway { cause } => {
            tell(AttemptUpdate::warning(&format!(
                "{cause}; waiting for the engine, agents run on meanwhile"
            )));
        }
        AttemptEvent::Usage(usage) => {
            tell(AttemptUpdate::Usage { usage, last_line: last_line(&dir.log()) })
        }
        AttemptEvent::SnapshotsFull { limit } => tell(AttemptUpdate::warning(&format!(
            "its snapshots have taken {}, its disk limit; no more are taken",
            bytesize::ByteSize(limit)
        ))),
        AttemptEvent::Snapshot { path, elapsed } => {
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            let path = dir.relative(&path);
            record.snapshots.push(SnapshotRecord {
                after_s: elapsed.as_secs_f64(),
                path,
                ..SnapshotRecord::default()
            });
            tell(AttemptUpdate::Snapshot { elapsed, bytes });
        }
        AttemptEvent::Collected(end) => {
            close_phase(record, clock.0.elapsed().as_secs_f64());
            finish_try(record, &end);
            write_json(&dir.record(), record)?;
        }
    }
    Ok(())
}

fn close_phase(record: &mut AttemptRecord, now_s: f64) {
    if let Some(last) = record.phases.last_mut()
        && last.took_s == 0.0
    {
        last.took_s = now_s - last.began_s;
    }
}

/// The end of the last line that the agent printed.
fn last_line(log: &Path) -> Shown {
    const TAIL: u64 = 512;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default();
    Shown::cut(line, 120)
}

/// Everything the executor needs, or why the attempt cannot start.
fn launch_spec(
    run: &Run,
    attempt: &PlannedAttempt,
    dir: &AttemptDir,
    watch: Option<&GpuWatch>,
    record: &mut AttemptRecord,
) -> Result<LaunchSpec, String> {
    let plan = &run.plan;
    let gpus = watch.map(GpuWatch::handles).unwrap_or_default();
    if !gpus.is_empty() {
        record.conditions.limits.gpus = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
        let into_container = run.gpus.as_ref().filter(|_| plan.executor == ExecutorKind::Docker);
        record.conditions.gpu_access = into_container.map(|gpus| gpus.access().name().to_owned());
    }
    let material =
        run.judge.material(&attempt.key.competition).map_err(|error| error.to_string())?;
    record.conditions.brief_source = Some(material.brief_source);
    record.conditions.brief_sha256 = Some(material.brief_sha256);
    record.conditions.data_sha256 = material.data_sha256;
    record.conditions.data_edition = Some(material.data_edition);
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
    };
    let attempt_dir = AttemptDir::new(absolute(dir.root())?);
    let home = match plan.executor {
        ExecutorKind::Docker => HOME.to_owned(),
        ExecutorKind::Process => attempt_dir.home().to_string_lossy().into_owned(),
    };
    let (env, argv) = plan
        .resolve_agent(&attempt.key, &home, |name| std::env::var(name).ok())
        .map_err(|error| error.to_string())?;
    Ok(LaunchSpec {
        name: attempt.dir.clone(),
        labels: [(super::GROUP_LABEL.to_owned(), plan.group.clone())].into(),
        competition: attempt.key.competition.clone(),
        program: run.program(argv),
        env: env.into_iter().collect(),
        public_dir: absolute(&material.public_dir)?,
        description: material.description,
        instructions: crate::attempt::instructions::text(&plan.limits, plan.data),
        attempt_dir,
        limits: plan.limits.clone(),
        network: plan.network.clone(),
        gpus,
        gpu_access: watch.map(GpuWatch::access).unwrap_or_default(),
        mounts: plan
            .mounts
            .iter()
            .map(|mount| (mount.source.clone(), mount.target.clone()))
            .collect(),
        data_mode: plan.data,
        seed: attempt.key.seed,
        privileged: plan.agent.privileged,
        cpuset: plan.cpuset.clone(),
        runtime: plan.runtime.clone(),
        validator: material.validator,
        // Opened anew for each try.
        llm: None,
    })
}

fn failed_before_start(cause: String) -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::SetupFailed { cause },
        usage: Usage::default(),
        salvage: None,
        image: None,
        started: None,
        took: Duration::ZERO,
        left_behind: None,
        kept: None,
    }
}

/// Moves what a failed try left into `tries/<number>/`, so that the next one starts clean and
/// nothing is lost.
fn set_aside_last_try(dir: &AttemptDir, record: &AttemptRecord) -> Result<(), StoreError> {
    let Some(last) = record.tries.last() else { return Ok(()) };
    let aside = dir.earlier_try(last.number);
    for name in AttemptDir::LEFT_BY_A_TRY {
        let from = dir.root().join(name);
        let to = aside.root().join(name);
        // A folder that is there already is the earlier try's, and this one that of a try whose
        // harness was killed before its container was made: the next try goes on with it.
        if !from.exists() || to.is_dir() {
            continue;
        }
        std::fs::create_dir_all(aside.root())
            .and_then(|()| std::fs::rename(&from, &to))
            .map_err(|source| StoreError::Io { verb: "move", path: from, source })?;
    }
    Ok(())
}

fn remove_token(dir: &AttemptDir) -> Result<(), StoreError> {
    match std::fs::remove_file(dir.token()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { verb: "remove", path: dir.token(), source: error })
        }
        _ => Ok(()),
    }
}

/// Grades what an ended attempt left, with its snapshots, and writes both down.
async fn grade(
    run: &Arc<Run>,
    attempt: &PlannedAttempt,
    dir: &AttemptDir,
    mut record: AttemptRecord,
) -> Result<FinishedAttempt, StoreError> {
    let began = std::time::Instant::now();
    let (run, dir, competition) = (Arc::clone(run), dir.clone(), attempt.key.competition.clone());
    let name = attempt.dir.clone();
    let task = tokio::task::spawn_blocking(move || {
        let report = run.judge.grade(&competition, &dir.submission());
        for snapshot in &mut record.snapshots {
            if let Ok(report) = run.judge.grade(&competition, &dir.root().join(&snapshot.path)) {
                snapshot.valid = report.valid_submission;
                snapshot.score = report.score;
                snapshot.medal = report.medal;
            }
        }
        record.submission = submission_record(&dir);
        // A harness that died here once has noted it already.
        record.phases.retain(|phase| phase.name != Phase::Grade);
        if let Some(last) = record.phases.last() {
            let began_s = last.began_s + last.took_s;
            record.phases.push(PhaseRecord {
                name: Phase::Grade,
                began_s,
                took_s: began.elapsed().as_secs_f64(),
            });
        }
        let grade = match &report {
            Ok(report) => GradeLine::from(report),
            Err(error) => {
                // The agent is not to blame for answers that cannot be read.
                record.outcome = Some(OutcomeRecord {
                    kind: OutcomeKind::GradingFailed,
                    infrastructure: true,
                    exit_code: record.outcome.as_ref().and_then(|outcome| outcome.exit_code),
                    detail: Some(Shown::message(&error.to_string())),
                });
                GradeLine::default()
            }
        };
        write_json(&dir.record(), &record)?;
        // The grade comes last: where there is one, nothing is left to be done.
        if let Ok(report) = &report {
            let llm = record.llm.as_ref().map(GradedLlm::of);
            write_json(&dir.grade(), &GradeFile { report, llm })?;
        }
        let outcome = record.outcome.clone().unwrap_or_default();
        Ok(FinishedAttempt {
            dir: name,
            outcome,
            grade,
            took: Duration::from_secs_f64(record.took_s.unwrap_or(0.0).max(0.0)),
        })
    });
    task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// `grade.json`: MLE-bench's report and ours, and what the attempt's language models cost.
#[derive(serde::Serialize)]
struct GradeFile<'a> {
    #[serde(flatten)]
    report: &'a GradeReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm: Option<GradedLlm>,
}

/// The cost beside a grade; `attempt.json` has all of it.
#[derive(serde::Serialize)]
struct GradedLlm {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// `None` where the price of a call is not known.
    dollars: Option<f64>,
    held_s: f64,
    budget_reached: bool,
}

impl GradedLlm {
    fn of(llm: &LlmRecord) -> Self {
        Self {
            calls: llm.totals.calls,
            input_tokens: llm.totals.tokens.sent(),
            output_tokens: llm.totals.tokens.received(),
            dollars: llm.totals.dollars(),
            held_s: llm.held_s,
            budget_reached: llm.budget.as_ref().is_some_and(|budget| budget.reached_at.is_some()),
        }
    }
}

fn submission_record(dir: &AttemptDir) -> Option<SubmissionRecord> {
    let path = dir.submission();
    let (sha256, bytes) = file_sha256(&path).ok()?;
    let path = dir.relative(&path);
    Some(SubmissionRecord { path, bytes, sha256: Some(sha256) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_ten_minutes() {
        let waits: Vec<u64> = [1, 2, 3, 7, 40].map(|tries| backoff(tries).as_secs()).to_vec();
        assert_eq!(waits, [10, 20, 40, 600, 600]);
    }

    #[test]
    fn the_last_line_is_safe_to_print() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("run.log");
        std::fs::write(&log, b"first\nsec\x1b[31mond \xff\n\n").unwrap();
        assert_eq!(last_line(&log), "sec\\u{1b}[31mond \u{fffd}");
        assert_eq!(last_line(&temp.path().join("none")), "");
    }
}
