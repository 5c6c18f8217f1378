//! What an attempt's calls of language models came to, as its record keeps it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Calls of language models through the gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmRecord {
    /// All calls of the last try.
    pub totals: LlmTotals,
    /// By the model asked for.
    pub models: BTreeMap<String, LlmTotals>,
    /// By the agent's own names for its parts.
    pub roles: BTreeMap<String, LlmTotals>,
    /// Calls that did not end well, by kind of error.
    pub errors: BTreeMap<String, u64>,
    /// Requests that the rules refused, and tools that they took out, by kind.
    pub policy: BTreeMap<String, u64>,
    /// How calls ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Of the calls with content, half had their first piece after so many milliseconds.
    pub ttft_p50_ms: Option<f64>,
    /// 95 of 100 had it after so many.
    pub ttft_p95_ms: Option<f64>,
    /// The sum of all calls' durations in seconds, time held aside.
    pub llm_time_s: f64,
    /// How long the attempt waited for overloaded providers, in seconds.
    pub held_s: f64,
    /// Whether its clock stood still meanwhile.
    pub clock_paused: bool,
    /// What it might use up, and whether it did; `None` without any limit.
    pub budget: Option<LlmBudgetRecord>,
    /// What happened to tools that a provider would have run: `strip`, `refuse` or `allow`. An
    /// attempt under `allow` is not sealed.
    pub hosted_tools: String,
    /// The table of prices: its source and date.
    pub prices: Option<String>,
    /// The group whose recordings answered in place of providers.
    pub replay_of: Option<String>,
    /// What earlier tries of the attempt used, which a failing machine ended.
    pub earlier_tries: Option<LlmTotals>,
}

/// Sums of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmTotals {
    /// Calls that reached a provider.
    pub calls: u64,
    /// Times that the gateway sent calls again.
    pub retries: u64,
    /// Tokens by kind.
    pub tokens: LlmTokens,
    /// The price in 10⁻¹² dollars of the calls whose price is known.
    pub picodollars: u64,
    /// Calls whose price is not known; the dollars are too low if there are any.
    pub unpriced_calls: u64,
    /// Calls whose tokens the provider did not report to the end.
    pub estimated_calls: u64,
    /// Calls answered from a recording.
    pub replayed_calls: u64,
    /// Tokens of calls answered from a recording.
    pub replayed_tokens: u64,
}

/// Tokens by kind. No token is in two of them, except that `reasoning` is a part of `output`.
///
/// The gateway counts in a type of its own with the same fields: it is a library for others, and this
/// crate reads records without it and its async runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmTokens {
    /// Read at the full price.
    pub input: u64,
    /// Read from the provider's cache.
    pub cache_read: u64,
    /// Written to the provider's cache for a short time.
    pub cache_write_5m: u64,
    /// Written to the provider's cache for a long time.
    pub cache_write_1h: u64,
    /// Text written, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
    /// Audio heard.
    pub audio_input: u64,
    /// Audio spoken.
    pub audio_output: u64,
}

impl LlmTotals {
    /// Adds other calls.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.retries += other.retries;
        self.tokens.add(&other.tokens);
        self.picodollars = self.picodollars.saturating_add(other.picodollars);
        self.unpriced_calls += other.unpriced_calls;
        self.estimated_calls += other.estimated_calls;
        self.replayed_calls += other.replayed_calls;
        self.replayed_tokens = self.replayed_tokens.saturating_add(other.replayed_tokens);
    }

    /// What they cost in dollars, if the price of each is known.
    pub fn dollars(&self) -> Option<f64> {
        (self.unpriced_calls == 0).then(|| self.known_dollars())
    }

    /// What those calls cost in dollars whose price is known.
    pub fn known_dollars(&self) -> f64 {
        self.picodollars as f64 / 1e12
    }
}

impl LlmTokens {
    fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (mine, more) in self.all_mut().into_iter().zip(other.all_mut()) {
            *mine = mine.saturating_add(*more);
        }
    }

    fn all_mut(&mut self) -> [&mut u64; 8] {
        let Self {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            audio_input,
            audio_output,
        } = self;
        [
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            audio_input,
            audio_output,
        ]
    }

    /// All tokens that went in.
    pub fn sent(&self) -> u64 {
        [self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_input]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// All tokens that came out.
    pub fn received(&self) -> u64 {
        self.output.saturating_add(self.audio_output)
    }
}

/// Limits of use, and when one of them was first reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmBudgetRecord {
    /// Dollars.
    pub dollars: Option<f64>,
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
    /// Calls.
    pub calls: Option<u64>,
    /// When a limit was first reached.
    pub reached_at: Option<DateTime<Utc>>,
}

impl LlmRecord {
    /// The last try's calls and those of earlier tries: all that was paid for.
    pub fn with_earlier_tries(&self) -> LlmTotals {
        let mut all = self.totals;
        all.add(&self.earlier_tries.unwrap_or_default());
        all
    }
}

/// What the attempts of a group came to together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmGroupRecord {
    /// All calls of all attempts that are over, earlier tries included.
    pub totals: LlmTotals,
    /// What they might use up together; `None` without any limit.
    pub budget: Option<LlmBudgetRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_whole_and_one_call_without_a_price_leaves_no_price() {
        let one = LlmTotals {
            calls: 1,
            tokens: LlmTokens { input: 5, audio_output: 2, ..LlmTokens::default() },
            picodollars: 2_500_000_000_000,
            ..LlmTotals::default()
        };
        let record = LlmRecord { totals: one, earlier_tries: Some(one), ..LlmRecord::default() };
        let all = record.with_earlier_tries();
        assert_eq!((all.calls, all.tokens.sent(), all.tokens.received()), (2, 10, 4));
        assert_eq!(all.dollars(), Some(5.0));
        let unpriced = LlmTotals { unpriced_calls: 1, ..all };
        assert_eq!((unpriced.dollars(), unpriced.known_dollars()), (None, 5.0));
    }
}
