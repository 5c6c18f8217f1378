//! From the agent's start to its end: waits for it, and brings it about when a limit or a request says
//! so.

use std::time::Duration;

use medalist_reports::record::Phase;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::watch::watch;
use super::{AttemptEvent, ENGINE_EVERY, WatchOptions, lock, next_request};
use crate::attempt::launch::{ExecutorError, LaunchSpec};
use crate::attempt::outcome::{CancelReason, Usage};
use crate::attempt::text::chain;
use crate::sandbox::{ExitCause, ExitReport, Running, Stop, StopReason};

/// An agent that runs, and what is known of it.
pub(super) struct Drive<'a> {
    pub(super) running: &'a dyn Running,
    pub(super) spec: &'a LaunchSpec,
    pub(super) options: &'a WatchOptions,
    pub(super) report: &'a (dyn Fn(AttemptEvent) + Sync),
    pub(super) base: Instant,
    pub(super) usage: Usage,
    /// Its end was asked for by a harness before this one.
    pub(super) inherited: bool,
}

impl Drive<'_> {
    /// Waits for the agent's end, and brings it about when a limit or a request says so. An error
    /// if the engine stays away: then the agent may still run.
    pub(super) async fn until_the_end(
        &mut self,
        requests: &mut mpsc::Receiver<CancelReason>,
    ) -> Result<(ExitCause, Option<StopReason>, Option<Duration>), ExecutorError> {
        let (running, limits, options) = (self.running, &self.spec.limits, self.options);
        let before = running.elapsed_before();
        let soft = self.base + limits.timeout.saturating_sub(before);
        let hard = self.base + (limits.timeout + limits.grace).saturating_sub(before);
        // Both move on while the clock stands still.
        let mut soft_at = soft + options.paused();
        let mut ending: Option<StopReason> = None;
        let mut kill_at: Option<Instant> = None;
        // A harness before this one has asked it to end: its reason stands, and its grace runs on.
        if let Some((why, ago)) = running.stopped().await {
            (self.report)(AttemptEvent::Phase(Phase::Grace));
            kill_at = Some(Instant::now() + limits.grace.saturating_sub(ago));
            ending = Some(why);
            self.inherited = true;
        }
        let mut give_up_at: Option<Instant> = None;
        let mut watching = true;
        let mut wait = running.wait();
        let mut waiting_since = Instant::now();
        let mut away: Option<(Instant, ExecutorError)> = None;
        let usage = std::mem::take(&mut self.usage);
        let usage = std::sync::Mutex::new(usage);
        let mut watch =
            Box::pin(watch(running, self.spec, options, self.base, &usage, self.report));
        let far = self.base + Duration::from_secs(3600 * 24 * 365);
        let mut ran = None;
        let cause = loop {
            tokio::select! {
                // The end first: an agent that ended by itself at its limit has not run into it.
                biased;
                end = &mut wait => match end {
                    Ok(ExitReport { cause, usage: last, ran: measured }) => {
                        lock(&usage).update(&last);
                        ran = measured;
                        break cause;
                    }
                    Err(error) if error.is_engine_away() => {
                        // A wait that lasted was one on an engine that had come back.
                        let since = match away.take() {
                            Some((since, _)) if waiting_since.elapsed() < ENGINE_EVERY * 3 => since,
                            _ => {
                                (self.report)(AttemptEvent::EngineAway { cause: chain(&error) });
                                Instant::now()
                            }
                        };
                        if since.elapsed() >= options.engine_patience {
                            return Err(error);
                        }
                        away = Some((since, error));
                        waiting_since = Instant::now();
                        wait = Box::pin(async move {
                            tokio::time::sleep(ENGINE_EVERY).await;
                            running.wait().await
                        });
                    }
                    Err(error) => break ExitCause::Lost(chain(&error)),
                },
                reason = next_request(requests) => {
                    let grace = reason != CancelReason::Kill;
                    match &mut ending {
                        // What a person asked for before stands: the job ends because of it.
                        Some(StopReason::Cancelled { .. }) if reason == CancelReason::JobEnds => {}
                        Some(StopReason::Cancelled { reason: known }) => *known = reason.max(*known),
                        Some(_) => {}
                        none => *none = Some(StopReason::Cancelled { reason }),
                    }
                    if !grace {
                        kill_at = Some(Instant::now());
                    } else if kill_at.is_none() && give_up_at.is_none() {
                        (self.report)(AttemptEvent::Phase(Phase::Grace));
                        stop(running, Stop::Term, ending.as_ref()).await;
                        kill_at = Some(Instant::now() + options.grace(reason, limits.grace));
                    } else if let (Some(at), CancelReason::JobEnds) = (kill_at, reason) {
                        // It has less time from now on, whatever it was promised.
                        kill_at = Some(at.min(Instant::now() + options.grace(reason, limits.grace)));
                    }
                }
                () = sleep_until(soft_at), if ending.is_none() => {
                    if Instant::now() < soft + options.paused() {
                        soft_at = soft + options.paused();
                        continue;
                    }
                    ending = Some(StopReason::TimedOut { killed: false });
                    (self.report)(AttemptEvent::Phase(Phase::Grace));
                    stop(running, Stop::Term, ending.as_ref()).await;
                    // From the deadline and not from now: a harness that came late gives nobody more time.
                    kill_at = Some(hard + options.paused());
                }
                () = sleep_until(kill_at.unwrap_or(far)), if kill_at.is_some() => {
                    if let Some(StopReason::TimedOut { killed }) = &mut ending {
                        *killed = true;
                    }
                    stop(running, Stop::Kill, ending.as_ref()).await;
                    kill_at = None;
                    give_up_at = Some(Instant::now() + options.kill_patience);
                }
                verdict = &mut watch, if watching => {
                    // No grace: over its disk limit an agent would use it to write on, and on a machine that failed
                    // there is nothing to win.
                    watching = false;
                    if ending.is_none() {
                        ending = Some(verdict);
                    }
                    kill_at = Some(Instant::now());
                }
                () = sleep_until(give_up_at.unwrap_or(far)), if give_up_at.is_some() => {
                    if let Some((_, error)) = away.filter(|_| waiting_since.elapsed() < ENGINE_EVERY * 3) {
                        return Err(error);
                    }
                    let patience = options.kill_patience.as_secs();
                    break ExitCause::Lost(format!("the agent did not end within {patience} s of its kill"));
                }
            }
        };
        drop(watch);
        self.usage = usage.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((cause, ending, ran))
    }
}

/// A signal that cannot be delivered is not the end: the wait tells whether the agent is still
/// there.
async fn stop(running: &dyn Running, how: Stop, why: Option<&StopReason>) {
    if let Err(error) = running.stop(how, why.unwrap_or(&StopReason::Abandoned)).await {
        tracing::warn!(
            attempt = running.token().name,
            ?how,
            error = chain(&error),
            "cannot stop the agent"
        );
    }
}
