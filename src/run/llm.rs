//! The language models of a run group: one gateway for all attempts, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use medalist_llm::config::{ConfigError, HostedTools, Limits as LlmLimits};
use medalist_llm::events::{Event, EventSink};
use medalist_llm::ledger::{Balance, Leases};
use medalist_llm::record::{CallRecord, Replay, ReplayError, Summary};
use medalist_llm::{AttemptSpec, Gateway, GatewayError};
use medalist_reports::record::{
    AttemptRecord, LlmBudgetRecord, LlmGroupRecord, LlmRecord, LlmTotals,
};
use tokio::sync::mpsc;

use crate::attempt::dir::AttemptDir;
use crate::attempt::limits::Limits;
use crate::attempt::llm::LlmAccess;
use crate::attempt::outcome::LlmUsage;
use crate::attempt::plan::Plan;
use crate::attempt::text::chain;
use crate::host::files::{StoreError, read_json, read_json_if_there};
use crate::host::store::tries::Claim;
use crate::host::store::{GroupDir, tries};
use crate::run::leases::TryHolders;
use crate::sandbox::LONGEST_PAUSE;

/// How long calls are followed whose agent is gone, for the sake of their price.
const SETTLE: Duration = Duration::from_secs(15);
/// How often one attempt is heard about things of one kind; an agent can bring them about at will.
const TOLD: u32 = 5;

/// Why a group's attempts cannot have language models.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A record of the group.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was recorded.
    #[error("attempt `{attempt}` cannot be replayed")]
    Recording {
        /// The attempt that was to be answered from a recording.
        attempt: String,
        /// Why.
        #[source]
        source: ReplayError,
    },
}

/// The gateway of a run group.
pub struct LlmRun {
    gateway: Arc<Gateway>,
    /// Recordings by the folder of the attempt that they answer.
    recordings: BTreeMap<String, PathBuf>,
    replay_of: Option<String>,
    events: Mutex<Option<mpsc::UnboundedReceiver<Event>>>,
    /// Upstreams that refuse the key or want money.
    refused: Arc<Mutex<BTreeSet<String>>>,
}

impl LlmRun {
    /// The gateway of a plan; `None` if its agents get no language models. `recordings` are the
    /// folders that a replay answers from, by the attempt's own.
    ///
    /// # Errors
    /// A key cannot be had, or a recording cannot be read.
    pub fn open(
        plan: &Plan,
        recordings: BTreeMap<String, PathBuf>,
    ) -> Result<Option<Self>, LlmError> {
        let Some(settings) = &plan.llm else { return Ok(None) };
        let config = settings.config()?;
        for (attempt, path) in &recordings {
            Replay::open(path, config.replay)
                .map_err(|source| LlmError::Recording { attempt: attempt.clone(), source })?;
        }
        let refused = Arc::new(Mutex::new(BTreeSet::new()));
        let (sender, receiver) = mpsc::unbounded_channel();
        let sink = sink(Arc::clone(&refused), sender);
        let replayed = settings.replay.as_ref().and_then(|group| group.file_name());
        Ok(Some(Self {
            gateway: Gateway::new(config, sink)?,
            recordings,
            replay_of: replayed.map(|name| name.to_string_lossy().into_owned()),
            events: Mutex::new(Some(receiver)),
            refused,
        }))
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Whether providers are asked at all.
    pub fn asks_providers(&self) -> bool {
        self.recordings.is_empty() || self.gateway.config().replay.through
    }

    /// What the gateway tells; can be taken once.
    pub(super) fn events(&self) -> Option<mpsc::UnboundedReceiver<Event>> {
        lock(&self.events).take()
    }

    /// An upstream that refuses the key or wants money, if there is one: nothing more is started.
    pub(super) fn refused(&self) -> Option<String> {
        lock(&self.refused).first().cloned()
    }

    /// Counts what the group's attempts have cost before this harness began, apart from those that
    /// it will open itself; `own` is the number of the try that is its own already.
    pub(super) fn count_earlier(
        &self,
        plan: &Plan,
        group: &GroupDir,
        own: Option<u32>,
    ) -> Result<(), LlmError> {
        for (id, number, folder) in bills(plan, group)? {
            if Some(number) != own {
                self.gateway.count_earlier(&id, &folder)?;
            }
        }
        Ok(())
    }

    /// Leases what this process's tries spend of the group's budget, which other processes spend too;
    /// nothing if the group has none.
    pub(super) fn share_budget(&self, group: &GroupDir, us: &Claim) -> Result<(), LlmError> {
        let config = self.gateway.config();
        if config.budget.group == LlmLimits::default() {
            return Ok(());
        }
        // This process's own plan is a part of it.
        let plan: Plan = read_json(&group.plan())?;
        let before = bills(&plan, group)?.into_iter().map(|(id, _, folder)| (id, folder));
        let leases = Leases::open(
            group.llm_budget(),
            config.budget.group,
            plan.attempts.len(),
            Duration::from_secs_f64(config.timeouts.hold_s),
            before,
            Box::new(TryHolders::new(group.clone(), us.clone())),
        );
        let leases = leases.map_err(StoreError::io("read", &group.llm_budget()))?;
        self.gateway.share_budget(leases);
        Ok(())
    }

    /// Opens a try of an attempt, or opens it again.
    pub(super) fn attempt(
        &self,
        dir: &AttemptDir,
        name: &str,
        number: u32,
        limits: &Limits,
    ) -> Result<LlmAccess, LlmError> {
        let options = self.gateway.config().replay;
        let replay = self.recordings.get(name).map(|path| Replay::open(path, options)).transpose();
        let replay =
            replay.map_err(|source| LlmError::Recording { attempt: name.to_owned(), source })?;
        let longest = limits.timeout + limits.grace + LONGEST_PAUSE;
        let attempt = self.gateway.open(AttemptSpec {
            id: id(name, number),
            dir: dir.llm(),
            limits: None,
            until: Utc::now() + longest,
            replay,
        })?;
        Ok(LlmAccess { gateway: Arc::clone(&self.gateway), attempt })
    }

    /// Ends a try: its last calls are settled, and its bill is on disk.
    pub(super) async fn close(&self, access: &LlmAccess, dir: &AttemptDir) -> LlmRecord {
        access.attempt.settled(SETTLE).await;
        // Leases go back to a folder that may be on another machine.
        let attempt = Arc::clone(&access.attempt);
        let closed = tokio::task::spawn_blocking(move || attempt.close()).await;
        if let Err(error) = closed.map_err(std::io::Error::other).flatten() {
            tracing::warn!(attempt = access.attempt.id(), %error, "cannot close the bill");
        }
        self.record(access, dir)
    }

    /// What a try's calls have come to so far.
    pub(super) fn record(&self, access: &LlmAccess, dir: &AttemptDir) -> LlmRecord {
        // Through JSON, which both crates write alike: the gateway can be used without reports, and reports
        // without the gateway and its async runtime.
        let summary = access.attempt.summary().and_then(|summary| {
            let value = serde_json::to_value(summary)?;
            Ok(serde_json::from_value::<LlmRecord>(value)?.tamed())
        });
        let summary = summary.unwrap_or_else(|error| {
            tracing::warn!(attempt = access.attempt.id(), %error, "cannot read the bill");
            LlmRecord::default()
        });
        let config = self.gateway.config();
        LlmRecord {
            held_s: access.attempt.held().as_secs_f64(),
            clock_paused: access.pauses_the_clock(),
            budget: budget(&access.attempt.balances().0),
            hosted_tools: match config.policy.hosted_tools {
                HostedTools::Strip => "strip",
                HostedTools::Refuse => "refuse",
                HostedTools::Allow => "allow",
            }
            .to_owned(),
            prices: Some(self.gateway.price_table()),
            replay_of: self.replay_of.clone(),
            earlier_tries: earlier_tries(dir, number_of(access.attempt.id())),
            ..summary
        }
    }
}

/// The tries of a plan that are over, or that processes of their own have claimed: the name and number
/// of each, and the folder of its bill.
fn bills(plan: &Plan, group: &GroupDir) -> Result<Vec<(String, u32, PathBuf)>, StoreError> {
    let mut bills = Vec::new();
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        let apart = tries::claimed(&dir)?;
        if !apart.is_empty() {
            bills.extend(apart.into_iter().map(|one| {
                (id(&attempt.dir, one.number), one.number, dir.earlier_try(one.number).llm())
            }));
            continue;
        }
        let Some(record) = read_json_if_there::<AttemptRecord>(&dir.record())? else { continue };
        let last = u32::try_from(record.tries.len()).unwrap_or(u32::MAX);
        let over = record.outcome.is_some();
        for number in (1..=last).filter(|number| *number < last || over) {
            let folder = if number == last { dir.llm() } else { dir.earlier_try(number).llm() };
            bills.push((id(&attempt.dir, number), number, folder));
        }
    }
    Ok(bills)
}

/// The name of a try in the ledger.
pub(super) fn id(attempt: &str, number: u32) -> String {
    format!("{attempt}/{number}")
}

/// The try's number in its name.
pub(super) fn number_of(id: &str) -> u32 {
    id.rsplit_once('/').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

/// The attempt's folder in the name of a try.
pub(super) fn attempt_of(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(attempt, _)| attempt)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes who wants money, and passes events on as long as they are news.
fn sink(refused: Arc<Mutex<BTreeSet<String>>>, sender: mpsc::UnboundedSender<Event>) -> EventSink {
    let told: Mutex<BTreeMap<(String, &'static str), u32>> = Mutex::default();
    EventSink::new(move |event| {
        match &event {
            // Here and not where events are read: the next attempt must not start before.
            Event::MoneyRefused { upstream, .. } => {
                lock(&refused).insert(upstream.clone());
            }
            Event::MoneyAccepted { upstream } => {
                lock(&refused).remove(upstream);
            }
            _ => {}
        }
        let by_agent = match &event {
            Event::HandshakeRefused { attempt, .. } => Some((attempt, "handshake")),
            Event::ReplayMiss { attempt, .. } => Some((attempt, "replay")),
            Event::RecordFailed { attempt, .. } => Some((attempt, "record")),
            Event::KeyInAnswer { attempt, .. } => Some((attempt, "key")),
            _ => None,
        };
        if let Some((attempt, kind)) = by_agent {
            let mut told = lock(&told);
            let count = told.entry((attempt.clone(), kind)).or_default();
            *count += 1;
            if *count > TOLD {
                return;
            }
        }
        // Nobody listens once the run is over.
        let _ = sender.send(event);
    })
}

/// What an event says to people, and of which attempt's folder, if it is about one.
pub fn describe(event: &Event) -> (Option<String>, String) {
    let about = |id: &str| Some(attempt_of(id).to_owned());
    let of = |attempt: &Option<String>| match attempt {
        Some(_) => "its LLM budget",
        None => "the run group's LLM budget",
    };
    match event {
        Event::BudgetWarning { attempt, limit } => (
            attempt.as_deref().and_then(about),
            format!("80 % of {} in {limit} is used", of(attempt)),
        ),
        Event::BudgetReached { attempt, limit } => (
            attempt.as_deref().and_then(about),
            format!("{} in {limit} is used up; further calls are refused", of(attempt)),
        ),
        Event::MoneyRefused { upstream, status, code } => (
            None,
            format!(
                "`{upstream}` refuses the key or wants money (status {status}, {code}): nothing more starts, calls wait; \
                 it is asked again once a minute"
            ),
        ),
        Event::MoneyAccepted { upstream } => (None, format!("`{upstream}` takes calls again")),
        Event::OutageBegan { upstream, model, status, .. } => {
            let seen = match status {
                0 => "cannot be reached".to_owned(),
                status => format!("status {status}"),
            };
            (None, format!("no call of `{model}` at `{upstream}` succeeds ({seen}); calls wait"))
        }
        Event::OutageEnded { upstream, model, from, to } => {
            let seconds = (*to - *from).num_seconds();
            (None, format!("`{model}` at `{upstream}` answers again after {seconds} s"))
        }
        Event::ServiceAway { message } => {
            (None, format!("no gateway service takes calls ({message}); they wait"))
        }
        Event::ServiceBack { address } => {
            (None, format!("the gateway service at `{address}` takes calls"))
        }
        Event::KeyInAnswer { upstream, attempt } => (
            about(attempt),
            format!("an answer of `{upstream}` held its key and was cut before the agent saw it"),
        ),
        Event::HandshakeRefused { attempt, host, reason } => (
            about(attempt),
            format!(
                "a client does not take the gateway's certificate for `{host}` ({reason}); the base-URL variables work \
                 without one"
            ),
        ),
        Event::ReplayMiss { attempt, message } => {
            (about(attempt), format!("not in the recording: {message}"))
        }
        Event::RecordFailed { attempt, message } => {
            (about(attempt), format!("the record of LLM calls is not whole: {message}"))
        }
    }
}

fn budget(balance: &Balance) -> Option<LlmBudgetRecord> {
    let limits = balance.limits;
    (limits != LlmLimits::default()).then(|| LlmBudgetRecord {
        dollars: limits.dollars.map(medalist_llm::Picodollars::dollars),
        tokens: limits.tokens,
        calls: limits.calls,
        reached_at: balance.reached_at,
    })
}

/// What calls come to, in the words of records: through JSON, which both crates write alike.
pub fn totals_of(calls: &[CallRecord]) -> LlmTotals {
    let totals = serde_json::to_value(Summary::of(calls).totals);
    totals.and_then(serde_json::from_value).unwrap_or_default()
}

/// What earlier tries used, from their own bills.
fn earlier_tries(dir: &AttemptDir, number: u32) -> Option<LlmTotals> {
    let mut sum: Option<LlmTotals> = None;
    for number in 1..number {
        let earlier = dir.earlier_try(number);
        if !earlier.root().exists() {
            continue;
        }
        let calls = medalist_llm::record::read_calls(&earlier.llm()).unwrap_or_default();
        sum.get_or_insert_default().add(&totals_of(&calls));
    }
    sum
}

/// What the attempts of a group came to, from the records of those that are over; `None` if its
/// agents get no language models.
pub(super) fn group_record(
    plan: &Plan,
    group: &GroupDir,
    llm: Option<&LlmRun>,
) -> Option<LlmGroupRecord> {
    plan.llm.as_ref()?;
    let budget = llm.and_then(|llm| budget(&llm.gateway.group_balance()));
    Some(LlmGroupRecord { totals: recorded_totals(plan, group), budget })
}

/// What the records of a group's attempts say of their calls together.
pub fn recorded_totals(plan: &Plan, group: &GroupDir) -> LlmTotals {
    let mut totals = LlmTotals::default();
    for attempt in &plan.attempts {
        let record = read_json_if_there::<AttemptRecord>(&group.attempt(&attempt.dir).record());
        if let Some(llm) = record.ok().flatten().and_then(|record| record.llm) {
            totals.add(&llm.with_earlier_tries());
        }
    }
    totals
}

/// What an attempt has used so far, and its group.
pub(super) fn usage(access: &LlmAccess) -> LlmUsage {
    let (own, group) = access.attempt.balances();
    let limit = |balance: &Balance| balance.limits.dollars.map(medalist_llm::Picodollars::dollars);
    LlmUsage {
        calls: own.spent.calls,
        tokens: own.spent.tokens,
        dollars: own.spent.money.dollars(),
        dollars_limit: limit(&own),
        group_dollars: group.spent.money.dollars(),
        group_dollars_limit: limit(&group),
        held_s: access.attempt.held().as_secs_f64(),
    }
}

/// How an [`LlmError`] reads in a record of an attempt.
pub(super) fn in_words(error: &LlmError) -> String {
    format!("its language models: {}", chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_brings_about_is_told_a_few_times_and_money_is_noted() {
        let refused: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let sink = sink(Arc::clone(&refused), sender);
        let miss = Event::ReplayMiss { attempt: "c_1/2".to_owned(), message: "m".to_owned() };
        (0..100).for_each(|_| sink.send(miss.clone()));
        let heard = std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!(heard, TOLD as usize);
        assert_eq!(describe(&miss).0.as_deref(), Some("c_1"));

        let (upstream, code) = ("x".to_owned(), "quota".to_owned());
        let money = Event::MoneyRefused { upstream: upstream.clone(), status: 402, code };
        sink.send(money.clone());
        assert!(lock(&refused).contains("x"));
        let (about, text) = describe(&money);
        assert!(about.is_none() && text.contains("`x`") && text.contains("402"), "{text}");
        sink.send(Event::MoneyAccepted { upstream });
        assert!(lock(&refused).is_empty());
    }
}
