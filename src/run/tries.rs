//! One attempt's task: its tries, and what is written into its folder.

pub(super) mod apart;
mod news;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use medalist_reports::record::{AttemptRecord, Phase, TryRecord};
use tokio::sync::mpsc;

use super::apart::{Apart, Beat};
use super::attempt_record::{finish_try, fresh_record};
use super::clock::{AttemptEnd, AttemptEvent, WatchOptions, next_request, run_attempt};
use super::dispatcher::{Run, RunError};
use super::gpu::{BadGpu, GpuWatch};
use super::grade::grade;
use super::llm::{LlmRun, in_words};
use super::messages::{AttemptMessage, AttemptUpdate, FinishedAttempt, StartPoint, TaskEnd};
use super::pool::Lease;
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{HOME, LaunchSpec};
use crate::attempt::outcome::{CancelReason, Outcome};
use crate::attempt::plan::PlannedAttempt;
use crate::host::files::{StoreError, if_there, read_json_if_there, write_json};
use crate::host::store::tries::{self as claims, TryEnd};
use crate::sandbox::{Postponed, RunToken};
use news::{Clock, News, close_phase};

/// Runs one attempt to its grade. Everything but a failure of our own files is an outcome.
pub(super) async fn run_tries(
    run: Arc<Run>,
    attempt: Arc<PlannedAttempt>,
    begin: StartPoint,
    lease: Lease,
    requests: mpsc::Receiver<CancelReason>,
    messages: mpsc::UnboundedSender<AttemptMessage>,
) -> Result<TaskEnd, RunError> {
    let dir = run.group.attempt(&attempt.dir);
    std::fs::create_dir_all(dir.root()).map_err(StoreError::io("create", dir.root()))?;
    let is_apart = run.only.is_some() || !claims::claimed(&dir)?.is_empty();
    let apart = run.apart.clone().filter(|_| is_apart);
    let record = match &apart {
        Some(_) => None,
        None => read_json_if_there::<AttemptRecord>(&dir.record())?,
    };
    let record = record.unwrap_or_else(|| fresh_record(&run, &attempt));
    let watch = match &run.gpus {
        Some(gpus) if !lease.uuids.is_empty() => Some(gpus.watch(&lease, run.plan.gpu_share)),
        _ => None,
    };
    let news = News { dir: attempt.dir.clone(), messages };
    let bad_gpus = Vec::new();
    let work = dir.clone();
    let mut tries = Tries {
        run,
        attempt,
        dir,
        work,
        apart,
        beat: None,
        record,
        watch,
        requests,
        news,
        bad_gpus,
    };
    let begin = match tries.begin_apart(begin)? {
        Began::At(begin) => begin,
        Began::Over(finished) => {
            return Ok(TaskEnd { finished: Some(*finished), bad_gpus: Vec::new() });
        }
    };
    let spec = match &begin {
        StartPoint::GradeOnly => {
            tries.close_llm().await;
            return tries.graded().await;
        }
        StartPoint::Unschedulable { why } => Err(Outcome::GpuLost { cause: why.clone() }),
        StartPoint::Fresh | StartPoint::Reattach { .. } => {
            tries.launch_spec().map_err(|cause| Outcome::SetupFailed { cause })
        }
    };
    let mut spec = match spec {
        Ok(spec) => spec,
        Err(outcome) => {
            tries.end_before_start(outcome)?;
            return tries.graded().await;
        }
    };
    let mut resume = match begin {
        StartPoint::Reattach { token, .. } => Some(token),
        _ => None,
    };
    loop {
        match tries.one(&mut spec, resume.take()).await? {
            Then::Again => {}
            Then::Grade => {
                tries.news.tell(AttemptUpdate::Phase(Phase::Grade));
                return tries.graded().await;
            }
            Then::OtherGpus => {
                return Ok(TaskEnd { finished: None, bad_gpus: tries.bad_gpus });
            }
        }
    }
}

/// What follows a try.
enum Then {
    /// Another one.
    Again,
    /// The grade.
    Grade,
    /// Back into the queue, for other GPUs.
    OtherGpus,
}

/// Where the task of an attempt whose tries are claimed begins.
enum Began {
    /// There.
    At(StartPoint),
    /// Another process has brought it to its end.
    Over(Box<FinishedAttempt>),
}

/// The tries of one attempt.
struct Tries {
    run: Arc<Run>,
    attempt: Arc<PlannedAttempt>,
    /// The attempt's folder.
    dir: AttemptDir,
    /// Where the try writes: the attempt's folder, or the try's own.
    work: AttemptDir,
    /// How the tries are claimed, where other processes may make some.
    apart: Option<Apart>,
    /// Says that the try lives.
    beat: Option<Beat>,
    record: AttemptRecord,
    /// Its GPUs, if it has any.
    watch: Option<Arc<GpuWatch>>,
    requests: mpsc::Receiver<CancelReason>,
    news: News,
    /// GPUs that must not be handed out again.
    bad_gpus: Vec<BadGpu>,
}

impl Tries {
    fn push_try(&mut self, number: u32) -> Result<(), StoreError> {
        let record = &mut self.record;
        record.outcome = None;
        record.tries.push(TryRecord {
            number,
            started_at: Some(Utc::now()),
            gpus: self.watch.as_ref().map(|watch| watch.records()).unwrap_or_default(),
            node: self.apart.as_ref().map(|apart| apart.us.place()),
            ..TryRecord::default()
        });
        // Both are the last try's alone.
        record.phases.clear();
        record.llm = None;
        write_json(&self.work.record(), record)
    }

    /// One try, from its GPUs to what follows from its end; `resume` takes up one that runs.
    async fn one(
        &mut self,
        spec: &mut LaunchSpec,
        resume: Option<RunToken>,
    ) -> Result<Then, RunError> {
        let attached = resume.is_some();
        let begun = self.record.tries.last().is_some_and(|last| last.outcome.is_none());
        if self.apart.is_some() && !attached && !begun {
            self.next_claimed()?;
            match self.launch_spec() {
                Ok(next) => *spec = next,
                Err(cause) => {
                    self.end_before_start(Outcome::SetupFailed { cause })?;
                    return Ok(Then::Grade);
                }
            }
        }
        if let Some(then) = self.take_gpus(attached).await? {
            return Ok(then);
        }
        if !attached && self.apart.is_none() {
            self.note_start()?;
        }
        let number = self.record.tries.last().map_or(1, |last| last.number);
        self.news.tell(AttemptUpdate::TryStarted { number, attached });
        match self.run_agent(spec, resume, number).await? {
            Some(end) => self.follow(end, attached, number).await,
            None => Ok(Then::Grade),
        }
    }

    /// Waits until the GPUs of a try can be used; what follows if they cannot, or if somebody asks
    /// for the end meanwhile.
    async fn take_gpus(&mut self, attached: bool) -> Result<Option<Then>, StoreError> {
        let Some(watch) = &self.watch else { return Ok(None) };
        if attached {
            // What runs already keeps its GPUs, whoever has claimed them since: its work would be
            // lost.
            if let Err(device) = watch.claim() {
                let message = format!("GPU {device}, though it was given to this one");
                self.news.tell(AttemptUpdate::warning(&message));
            }
            return Ok(None);
        }
        self.news.tell(AttemptUpdate::Phase(Phase::Gpu));
        let ready = tokio::select! {
            biased;
            reason = next_request(&mut self.requests) => {
                self.end_before_start(Outcome::of_request(reason))?;
                return Ok(Some(Then::Grade));
            }
            ready = watch.ready() => ready,
        };
        // Nothing of the attempt was spent: it goes back to the head of the queue.
        Ok(ready.err().map(|device| {
            self.bad_gpus = vec![device];
            Then::OtherGpus
        }))
    }

    /// Writes down that a try begins, before anything of it exists.
    fn note_start(&mut self) -> Result<(), StoreError> {
        let record = &mut self.record;
        // A harness that died before the container was made leaves a try without an end; it is this
        // one.
        record.tries.pop_if(|last| last.outcome.is_none());
        set_aside_last_try(&self.dir, record)?;
        let number = u32::try_from(record.tries.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.push_try(number)
    }

    /// Runs the agent of a try to its end; `None` if it may not call its language models.
    async fn run_agent(
        &mut self,
        spec: &LaunchSpec,
        resume: Option<RunToken>,
        number: u32,
    ) -> Result<Option<AttemptEnd>, RunError> {
        let run = Arc::clone(&self.run);
        let open = |llm: &LlmRun| llm.attempt(&self.work, &self.attempt.dir, number, &spec.limits);
        let opened = run.llm.as_ref().map(open);
        let access = match opened.transpose() {
            Ok(access) => access,
            Err(error) => {
                self.end_before_start(Outcome::SetupFailed { cause: in_words(&error) })?;
                return Ok(None);
            }
        };
        let spec = Arc::new(LaunchSpec { llm: access.clone(), ..spec.clone() });
        let options = WatchOptions {
            snapshot_every: run.plan.snapshot_every.map(|every| every.0),
            gpus: self.watch.clone(),
            llm: access.clone(),
            job: self.apart.as_ref().and_then(|apart| apart.job),
            ..WatchOptions::default()
        };
        let shared = Mutex::new((std::mem::take(&mut self.record), None::<StoreError>));
        let clock = Clock::default();
        let (dir, work, news) = (&self.dir, &self.work, &self.news);
        let report = |event: AttemptEvent| {
            let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (record, error) = &mut *guard;
            if let (AttemptEvent::Collected(_), Some(llm), Some(access)) =
                (&event, &run.llm, &access)
            {
                // Its last calls are not settled yet. A harness that dies before they are leaves
                // this bill.
                record.llm = Some(llm.record(access, dir));
            }
            if let Err(failed) = news.on_event(work, record, &clock, event) {
                error.get_or_insert(failed);
            }
        };
        let end = run_attempt(
            &*run.executor,
            Arc::clone(&spec),
            resume,
            &options,
            &mut self.requests,
            &report,
        )
        .await;
        let (record, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.record = record;
        if let (Some(llm), Some(access), None) = (&run.llm, &access, end.kept) {
            self.record.llm = Some(llm.close(access, &self.dir).await);
        }
        // The recording is whole once nobody holds the attempt's side of the gateway.
        drop((options, spec, access));
        close_phase(&mut self.record, clock.0.elapsed().as_secs_f64());
        if let Some(error) = error {
            return Err(error.into());
        }
        match end.kept {
            Some(Postponed::HostFull) => {
                let full = std::io::ErrorKind::StorageFull.into();
                let what = "collect what the agent left into";
                Err(StoreError::io(what, self.work.root())(full).into())
            }
            Some(Postponed::EngineAway) => Err(RunError::EngineAway {
                attempt: self.attempt.key.to_string(),
                cause: end.outcome.to_string(),
            }),
            None => Ok(Some(end)),
        }
    }

    /// Writes the end of a try down, and says what follows from it.
    async fn follow(
        &mut self,
        end: AttemptEnd,
        attached: bool,
        number: u32,
    ) -> Result<Then, RunError> {
        if let Some(left) = &end.left_behind {
            self.news.tell(AttemptUpdate::warning(&format!(
                "its container could not be removed ({left}); `medalist clean` removes it"
            )));
        }
        if let Some(hint) = end.salvage.as_ref().and_then(|salvage| salvage.hint.as_ref()) {
            self.news.tell(AttemptUpdate::Warning(hint.clone()));
        }
        finish_try(&mut self.record, &end);
        write_json(&self.work.record(), &self.record)?;
        remove_token(&self.work)?;
        if let Some(watch) = &self.watch {
            // A GPU is handed on only when what was on it is gone from its memory.
            self.bad_gpus = match watch.bad() {
                Some(device) => vec![device],
                None => watch.emptied().await.err().into_iter().collect(),
            };
        }
        let Some(failed) = self.failed_before_another(&end, attached) else {
            return Ok(Then::Grade);
        };
        let outcome = end.outcome.record();
        if let (Outcome::GpuLost { .. }, false) = (&end.outcome, self.bad_gpus.is_empty()) {
            let retry_in = Duration::ZERO;
            self.news.tell(AttemptUpdate::TryFailed { outcome, number, retry_in });
            return Ok(Then::OtherGpus);
        }
        let retry_in = backoff(failed);
        self.news.tell(AttemptUpdate::TryFailed { outcome, number, retry_in });
        tokio::select! {
            Some(reason) = self.requests.recv() => {
                self.end_before_start(Outcome::of_request(reason))?;
                Ok(Then::Grade)
            }
            () = tokio::time::sleep(retry_in) => Ok(Then::Again),
        }
    }

    /// How many tries the machine has failed, if there may be another one after this end.
    fn failed_before_another(&self, end: &AttemptEnd, attached: bool) -> Option<u32> {
        // A container that vanished while nobody watched costs no retry: the attempt simply has not
        // been made yet.
        let lost_while_away =
            attached && matches!(end.outcome, Outcome::EngineLost { .. }) && end.salvage.is_none();
        // What a person ended was no failure.
        let is_failure =
            |one: &&TryRecord| one.outcome.as_ref().is_some_and(|outcome| outcome.infrastructure);
        let failed = self.record.tries.iter().filter(is_failure).count();
        let failed = u32::try_from(failed).unwrap_or(u32::MAX);
        // What a provider refuses for want of money it refuses again.
        let refused = self.run.llm.as_ref().and_then(LlmRun::refused).is_some();
        let tries_left = (failed <= self.run.plan.retries || lost_while_away) && !refused;
        // A scheduler that takes the machine away says itself whether it gives another one.
        let lost = matches!(end.outcome, Outcome::NodeLost { .. });
        (end.outcome.is_infrastructure() && tries_left && !lost).then_some(failed)
    }

    /// Writes down the end of a try whose agent never ran, or that ends the wait for another one.
    fn end_before_start(&mut self, outcome: Outcome) -> Result<(), StoreError> {
        finish_try(&mut self.record, &AttemptEnd::before_start(outcome, None));
        write_json(&self.work.record(), &self.record)
    }

    /// Settles the bill of a try that a harness before this one has collected.
    async fn close_llm(&mut self) {
        let (Some(llm), Some(last)) = (&self.run.llm, self.record.tries.last()) else { return };
        let limits = &self.run.plan.limits;
        if let Ok(access) = llm.attempt(&self.work, &self.attempt.dir, last.number, limits) {
            self.record.llm = Some(llm.close(&access, &self.dir).await);
        }
    }

    /// Grades what the attempt left, which is over then.
    async fn graded(self) -> Result<TaskEnd, RunError> {
        let number = self.record.tries.last().map_or(1, |last| last.number);
        let finished = grade(&self.run, &self.attempt, &self.work, self.record.clone()).await?;
        if self.apart.is_some() {
            // Whoever has begun a later try has decided this one's end, and this process counts no more.
            if !claims::end(&self.dir, number, &TryEnd::Itself)? {
                return Err(self.elsewhere("a later try has begun".to_owned()));
            }
            claims::publish(&self.dir)?;
        }
        Ok(TaskEnd { finished: Some(finished), bad_gpus: self.bad_gpus })
    }

    /// Everything the executor needs, or why the attempt cannot start.
    fn launch_spec(&mut self) -> Result<LaunchSpec, String> {
        let (run, attempt, record) = (&self.run, &self.attempt, &mut self.record);
        let (plan, watch) = (&run.plan, self.watch.as_deref());
        let gpus = watch.map(GpuWatch::handles).unwrap_or_default();
        if !gpus.is_empty() {
            record.conditions.limits.gpus = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
            let into_container = run.gpus.as_ref().filter(|_| plan.executor.has_containers());
            record.conditions.gpu_access =
                into_container.map(|gpus| gpus.access().name().to_owned());
        }
        let material =
            run.judge.material(&attempt.key.competition).map_err(|error| error.to_string())?;
        record.conditions.brief_source = Some(material.brief_source);
        record.conditions.brief_sha256 = Some(material.brief_sha256);
        record.conditions.brief_replaced = material.brief_replaced;
        record.conditions.data_sha256 = material.data_sha256;
        record.conditions.data_edition = Some(material.data_edition);
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
        };
        let attempt_dir = AttemptDir::new(absolute(self.work.root())?);
        let home = match plan.executor.has_containers() {
            true => HOME.to_owned(),
            false => attempt_dir.home().to_string_lossy().into_owned(),
        };
        let (mut env, argv) = plan
            .resolve_agent(&attempt.key, &home, |name| std::env::var(name).ok())
            .map_err(|error| error.to_string())?;
        let direction = if material.direction.is_lower_better() { "lower" } else { "higher" };
        env.entry("MEDALIST_DIRECTION".to_owned()).or_insert_with(|| direction.to_owned());
        Ok(LaunchSpec {
            name: attempt.dir.clone(),
            labels: [(super::GROUP_LABEL.to_owned(), plan.group.clone())].into(),
            competition: plan.brief.told_id(&attempt.key.competition).to_owned(),
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
}

/// 10 s, 20 s, 40 s, ... at most 10 minutes: a daemon that restarts needs seconds, a full disk
/// needs a person.
fn backoff(tries: u32) -> Duration {
    Duration::from_secs((10u64 << tries.saturating_sub(1).min(6)).min(600))
}

/// Moves what a failed try left into `tries/<number>/`, so that the next one starts clean and
/// nothing is lost.
fn set_aside_last_try(dir: &AttemptDir, record: &AttemptRecord) -> Result<(), StoreError> {
    let Some(last) = record.tries.last() else { return Ok(()) };
    let aside = dir.earlier_try(last.number);
    for name in AttemptDir::LEFT_BY_A_TRY {
        let from = dir.root().join(name);
        // What shows a try of a process of its own is in that try's folder already.
        claims::unlink(&from)?;
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
    let path = dir.token();
    if_there(std::fs::remove_file(&path)).map(drop).map_err(StoreError::io("remove", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_ten_minutes() {
        let waits: Vec<u64> = [1, 2, 3, 7, 40].map(|tries| backoff(tries).as_secs()).to_vec();
        assert_eq!(waits, [10, 20, 40, 600, 600]);
    }
}
