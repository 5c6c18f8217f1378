//! Calls of attempts to language models: what an attempt's record says of them, and their sums.
//!
//! Three states of a cost are kept apart everywhere: not recorded (no gateway stood between), not
//! priced (tokens are known and prices are not), and known. A sum in which something is missing is
//! a lower bound.

use std::collections::BTreeMap;

use medalist_grading::untrusted::Shown;
use serde::{Deserialize, Deserializer, Serialize};

use crate::attempt::Attempt;
use crate::record::{LlmRecord, LlmTokens, LlmTotals};

impl LlmTokens {
    /// Written to the provider's cache.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// Share of what went in that the provider had in its cache; `None` if nothing went in.
    pub fn cache_share(&self) -> Option<f64> {
        let all = self.sent();
        (all > 0).then(|| self.cache_read as f64 / all as f64)
    }
}

impl LlmTotals {
    /// What the calls cost.
    pub fn cost(&self) -> Cost {
        match self.unpriced_calls {
            0 => Cost::Known(self.known_dollars()),
            n if n >= self.calls => Cost::Unpriced,
            _ => Cost::AtLeast(self.known_dollars()),
        }
    }
}

/// What something cost, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "known", content = "usd", rename_all = "snake_case")]
pub enum Cost {
    /// So much.
    Known(f64),
    /// So much and something more, whose price or record is missing.
    AtLeast(f64),
    /// There is no price for any of it.
    Unpriced,
}

impl Cost {
    /// The dollars, or their lower bound.
    pub fn usd(self) -> Option<f64> {
        match self {
            Self::Known(usd) | Self::AtLeast(usd) => Some(usd),
            Self::Unpriced => None,
        }
    }

    /// The dollars if nothing is missing in them.
    pub fn exact(self) -> Option<f64> {
        match self {
            Self::Known(usd) => Some(usd),
            Self::AtLeast(_) | Self::Unpriced => None,
        }
    }

    /// The same, shared by `n`.
    fn per(self, n: usize) -> Self {
        match self {
            Self::Known(usd) => Self::Known(usd / n as f64),
            Self::AtLeast(usd) => Self::AtLeast(usd / n as f64),
            Self::Unpriced => Self::Unpriced,
        }
    }

    /// The same, with something missing.
    fn at_least(self) -> Self {
        match self {
            Self::Known(usd) => Self::AtLeast(usd),
            other => other,
        }
    }
}

impl LlmRecord {
    /// The record with a bounded number of names, each fit to be stored and shown.
    #[must_use]
    pub fn tamed(mut self) -> Self {
        self.models = tamed_totals(self.models);
        self.roles = tamed_totals(self.roles);
        for counts in [&mut self.errors, &mut self.policy, &mut self.outcomes] {
            let add = |sum: &mut u64, n: &u64| *sum = sum.saturating_add(*n);
            *counts = tamed(std::mem::take(counts), |n| *n, add);
        }
        self
    }

    /// Calls that did not end well.
    pub fn error_count(&self) -> u64 {
        self.errors.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// What the attempt cost, with earlier tries that a failing machine ended.
    pub fn cost(&self) -> Cost {
        self.with_earlier_tries().cost()
    }

    /// Whether a limit of its own or of its group was reached.
    pub fn reached_budget(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.reached_at.is_some())
            || self.outcomes.get("refused_budget").is_some_and(|calls| *calls > 0)
    }
}

/// Reads an attempt's `llm` object. One without sums, as no gateway writes it, counts as not
/// recorded, for its zeros would not be figures.
pub(crate) fn recorded<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LlmRecord>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?;
    let Some(value) = value.filter(|value| value.get("totals").is_some_and(|t| t.is_object()))
    else {
        return Ok(None);
    };
    let llm: LlmRecord = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
    Ok(Some(llm.tamed()))
}

/// Most names of a kind that are kept apart.
const NAMES: usize = 64;
/// Longest of them, in characters.
const LONGEST_NAME: usize = 100;
/// What the rest of them is called: no model and no role can have a name with parentheses.
const OTHERS: &str = "(others)";

fn tamed_totals(named: BTreeMap<String, LlmTotals>) -> BTreeMap<String, LlmTotals> {
    let weight = |totals: &LlmTotals| totals.calls.saturating_add(totals.replayed_calls);
    tamed(named, weight, LlmTotals::add)
}

/// Names that an agent chose are kept as far as they can be shown, and those of the most calls
/// alone: an agent may ask for any model, and for a new one each time. What is not kept apart is
/// summed up.
fn tamed<T: Default>(
    named: BTreeMap<String, T>,
    weight: impl Fn(&T) -> u64,
    add: impl Fn(&mut T, &T),
) -> BTreeMap<String, T> {
    let (rest, mut all): (Vec<_>, Vec<_>) = named.into_iter().partition(|(name, _)| name == OTHERS);
    all.sort_by_key(|(_, value)| std::cmp::Reverse(weight(value)));
    let mut kept: BTreeMap<String, T> = BTreeMap::new();
    for (i, (name, value)) in all.iter().chain(&rest).enumerate() {
        let name = match i {
            0..NAMES if name != OTHERS => Shown::cut(name, LONGEST_NAME).into_string(),
            _ => OTHERS.to_owned(),
        };
        add(kept.entry(name).or_default(), value);
    }
    kept
}

/// The calls of many attempts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmUse {
    /// Attempts whose calls are recorded.
    pub recorded: usize,
    /// All attempts.
    pub attempts: usize,
    /// Sums over the last tries of the recorded ones.
    pub totals: LlmTotals,
    /// Sums over their earlier tries, which a failing machine ended.
    pub earlier_tries: LlmTotals,
    /// By the model asked for.
    pub models: BTreeMap<String, LlmTotals>,
    /// Calls that did not end well.
    pub errors: u64,
    /// Attempts that reached a budget.
    pub budget_reached: usize,
    /// The median over attempts of their median milliseconds to the first piece of content.
    pub ttft_p50_ms: Option<f64>,
    /// Seconds of all calls.
    pub llm_time_s: f64,
    /// What all attempts cost, earlier tries too; a lower bound if some are not recorded or not
    /// priced.
    pub cost: Option<Cost>,
    /// What the last try of a recorded attempt cost in the mean.
    pub per_attempt: Option<Cost>,
    /// Medals of all attempts.
    pub medals: usize,
    /// What a medal cost: the cost of all attempts, shared by their medals; `None` without medals.
    pub per_medal: Option<Cost>,
}

impl LlmUse {
    /// Sums over attempts; `None` if none of them is recorded.
    pub fn of(attempts: &[&Attempt]) -> Option<Self> {
        let records: Vec<&LlmRecord> =
            attempts.iter().filter_map(|a| a.record.as_ref()?.llm.as_ref()).collect();
        if records.is_empty() {
            return None;
        }
        let medals = attempts.iter().filter(|a| a.grade.medal.is_some()).count();
        let mut sum =
            Self { recorded: records.len(), attempts: attempts.len(), medals, ..Self::default() };
        let mut first: Vec<f64> = records.iter().filter_map(|r| r.ttft_p50_ms).collect();
        first.sort_by(f64::total_cmp);
        sum.ttft_p50_ms = median(&first);
        for record in &records {
            sum.totals.add(&record.totals);
            for (model, totals) in &record.models {
                sum.models.entry(model.clone()).or_default().add(totals);
            }
            sum.errors = sum.errors.saturating_add(record.error_count());
            sum.budget_reached += usize::from(record.reached_budget());
            sum.earlier_tries.add(&record.earlier_tries.unwrap_or_default());
            sum.llm_time_s += record.llm_time_s;
        }
        sum.models = tamed_totals(sum.models);
        let mut paid = sum.totals;
        paid.add(&sum.earlier_tries);
        let all = paid.cost();
        let all = if sum.recorded < sum.attempts { all.at_least() } else { all };
        sum.cost = Some(all);
        sum.per_attempt = Some(sum.totals.cost().per(sum.recorded));
        sum.per_medal = (medals > 0).then(|| all.per(medals));
        Some(sum)
    }

    /// What must be known beside the figures, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let totals = &self.totals;
        let mut notes = vec![format!(
            "cost of {} of {} attempts, {} medals in all of them",
            self.recorded, self.attempts, self.medals
        )];
        let mut note = |is_so: bool, text: String| notes.extend(is_so.then_some(text));
        let (unpriced, calls) = (totals.unpriced_calls, totals.calls);
        note(unpriced > 0, format!("{unpriced} of {calls} calls have no known price"));
        let estimated = totals.estimated_calls;
        note(estimated > 0, format!("tokens of {estimated} of {calls} calls are estimated"));
        let replayed = totals.replayed_calls;
        note(replayed > 0, format!("{replayed} calls were answered from a recording, for nothing"));
        note(self.errors > 0, format!("{} calls did not end well", self.errors));
        let earlier = self.earlier_tries;
        note(
            earlier.calls > 0,
            format!(
                "{} of it for earlier tries, which a failing machine ended",
                crate::text::cost(Some(earlier.cost()))
            ),
        );
        let reached = self.budget_reached;
        note(reached > 0, format!("{reached} of {} attempts reached a budget", self.recorded));
        notes
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the gateway writes, word for word.
    const WRITTEN: &str = r#"{
        "totals": {"calls": 3, "retries": 1, "tokens": {"input": 100, "cache_read": 300, "cache_write_5m": 40,
            "cache_write_1h": 60, "output": 50, "reasoning": 20, "audio_input": 0, "audio_output": 0},
            "picodollars": 1500000000000, "unpriced_calls": 1, "estimated_calls": 0, "replayed_calls": 0, "replayed_tokens": 0},
        "models": {"m": {"calls": 3}}, "roles": {}, "errors": {"429": 2, "cut": 1}, "policy": {"web_search": 1},
        "outcomes": {"ok": 2, "refused_budget": 1}, "ttft_p50_ms": 210.5, "ttft_p95_ms": null, "llm_time_s": 12.5
    }"#;

    fn record(text: &str) -> Option<LlmRecord> {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default, deserialize_with = "recorded")]
            llm: Option<LlmRecord>,
        }
        serde_json::from_str::<Holder>(text).unwrap().llm
    }

    #[test]
    fn what_the_gateway_writes_is_read() {
        let llm = record(&format!("{{\"llm\": {WRITTEN}}}")).unwrap();
        let tokens = llm.totals.tokens;
        assert_eq!((tokens.sent(), tokens.received(), tokens.cache_write()), (500, 50, 100));
        assert_eq!(tokens.cache_share(), Some(0.6));
        assert_eq!(llm.totals.cost(), Cost::AtLeast(1.5));
        assert_eq!((llm.error_count(), llm.reached_budget()), (3, true));
    }

    #[test]
    fn what_is_missing_is_not_recorded_and_never_zero() {
        for text in
            ["{}", r#"{"llm": null}"#, r#"{"llm": {}}"#, r#"{"llm": {"calls": 4, "cost_usd": 2}}"#]
        {
            assert_eq!(record(text), None, "{text}");
        }
        let none_yet = record(r#"{"llm": {"totals": {"calls": 0}}}"#).unwrap();
        assert_eq!(none_yet.totals.cost(), Cost::Known(0.0));
        assert_eq!(none_yet.totals.tokens.cache_share(), None);
    }

    #[test]
    fn names_that_an_agent_chose_are_cut_and_few() {
        let mut models = serde_json::Map::new();
        for i in 0..1_000 {
            models.insert(format!("m{i}"), serde_json::json!({"calls": i}));
        }
        models.insert(format!("\u{202e}{}", "x".repeat(500)), serde_json::json!({"calls": 5_000}));
        let text =
            serde_json::json!({"llm": {"totals": {"calls": 1}, "models": models}}).to_string();
        let llm = record(&text).unwrap();
        let models = &llm.models;
        assert_eq!(models.len(), NAMES + 1);
        assert!(models.keys().all(|name| name.chars().count() <= LONGEST_NAME));
        assert!(models.keys().all(|name| !name.contains('\u{202e}')));
        assert!(models.contains_key("m999") && !models.contains_key("m1"));
        let calls: u64 = models.values().map(|totals| totals.calls).sum();
        assert_eq!(calls, 5_000 + 999 * 1_000 / 2, "none is lost");
        assert_eq!(llm.clone().tamed(), llm, "and once is enough");
    }

    #[test]
    fn a_cost_knows_what_is_missing_in_it() {
        let totals = |calls, unpriced_calls| LlmTotals {
            calls,
            unpriced_calls,
            picodollars: 2_000_000_000_000,
            ..LlmTotals::default()
        };
        assert_eq!(totals(4, 0).cost(), Cost::Known(2.0));
        assert_eq!(totals(4, 1).cost(), Cost::AtLeast(2.0));
        assert_eq!(LlmTotals { picodollars: 0, ..totals(4, 4) }.cost(), Cost::Unpriced);
        assert_eq!((Cost::AtLeast(2.0).exact(), Cost::AtLeast(2.0).usd()), (None, Some(2.0)));
    }
}
