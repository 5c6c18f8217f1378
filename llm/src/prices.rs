//! What tokens cost: a dated table, the user's own rows over it, and the arithmetic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use crate::money::{Picodollars, Rate};
use crate::usage::Buckets;

/// The table that comes with this crate.
static TABLE: LazyLock<TableFile> = LazyLock::new(|| {
    toml::from_str(include_str!("../data/prices.toml")).expect("the embedded table is tested")
});

/// A table of prices, with the user's own rows before it.
#[derive(Debug)]
pub struct PriceTable {
    own: BTreeMap<String, Rates>,
    table: &'static TableFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    source: String,
    taken: NaiveDate,
    models: Vec<Model>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    provider: String,
    id: String,
    context: Option<u64>,
    #[serde(rename = "match")]
    patterns: Vec<String>,
    prices: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    tier: Option<String>,
    from: Option<NaiveDate>,
    hours: Option<String>,
    #[serde(default)]
    long: Vec<Row>,
    above: Option<u64>,
    input: Option<DecimalRate>,
    output: Option<DecimalRate>,
    cache_read: Option<DecimalRate>,
    cache_write: Option<DecimalRate>,
    cache_write_1h: Option<DecimalRate>,
    audio_input: Option<DecimalRate>,
    audio_output: Option<DecimalRate>,
    per_thousand_calls: Option<DecimalRate>,
}

/// Decimal dollars per million tokens, written as a string so that no digit is lost.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct DecimalRate(pub Rate);

impl TryFrom<String> for DecimalRate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Rate::parse(&text).map(Self).ok_or_else(|| {
            format!("`{text}` is no price; expected dollars per million tokens such as \"1.25\"")
        })
    }
}

/// Prices that the user gives for a model, in dollars per million tokens.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPrice {
    /// Tokens read.
    pub input: DecimalRate,
    /// Tokens written.
    pub output: DecimalRate,
    /// Tokens read from a cache; `input` if not given.
    pub cache_read: Option<DecimalRate>,
    /// Tokens written to a cache for minutes; `input` if not given.
    pub cache_write: Option<DecimalRate>,
    /// Tokens written to a cache for hours; `cache_write` if not given.
    pub cache_write_1h: Option<DecimalRate>,
}

/// The prices of one call, in picodollars a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    input: Option<Rate>,
    output: Option<Rate>,
    cache_read: Option<Rate>,
    cache_write: Option<Rate>,
    cache_write_1h: Option<Rate>,
    audio_input: Option<Rate>,
    audio_output: Option<Rate>,
    /// Dollars for a thousand calls are 1,000 µ$ a call, whence 10⁹ picodollars a unit.
    per_call: Option<Rate>,
}

/// What a model costs at one moment: [`Price::cost`] gives a call's price.
#[derive(Clone, Debug)]
pub struct Price {
    /// Which row of which table this is, for the record.
    pub row: String,
    /// The longest input that the model takes, in tokens, where known.
    pub context: Option<u64>,
    base: Rates,
    long: Vec<(u64, Rates)>,
}

impl PriceTable {
    /// The table that comes with this crate, with the user's own rows by model before it.
    pub fn new(own: impl IntoIterator<Item = (String, OwnPrice)>) -> Self {
        let own =
            own.into_iter().map(|(model, price)| (model.to_lowercase(), price.rates())).collect();
        Self { own, table: &TABLE }
    }

    /// How the table names itself: source and date.
    pub fn id(&self) -> String {
        format!("{}, {}", self.table.source, self.table.taken)
    }

    /// The price of a model of `provider` at a time, served as `tier`; none if nobody knows it.
    ///
    /// The user's rows are looked up as `upstream/model` and `model`.
    pub fn find(
        &self,
        upstream: &str,
        provider: &str,
        model: &str,
        tier: Option<&str>,
        at: DateTime<Utc>,
    ) -> Option<Price> {
        let model = model.to_lowercase();
        for name in [format!("{}/{model}", upstream.to_lowercase()), model.clone()] {
            if let Some(rates) = self.own.get(&name) {
                return Some(Price {
                    row: format!("own: {name}"),
                    context: None,
                    base: *rates,
                    long: vec![],
                });
            }
        }
        let mut rows = self.table.models.iter().filter(|row| row.provider == provider);
        let row = rows.find(|row| matches(&row.patterns, &model))?;
        Some(row.price(tier, at, &self.id()))
    }

    /// The names of a provider's models in the table.
    pub(crate) fn names<'a>(&'a self, provider: &str) -> impl Iterator<Item = &'a str> {
        let provider = provider.to_owned();
        self.table.models.iter().filter(move |m| m.provider == provider).map(|m| m.id.as_str())
    }

    /// A price of nothing, for models on the user's own machines.
    pub fn free() -> Price {
        let zero = Some(Rate(0));
        let base = Rates { input: zero, output: zero, ..Rates::default() };
        Price { row: "free".to_owned(), context: None, base, long: vec![] }
    }
}

impl OwnPrice {
    fn rates(self) -> Rates {
        let rate = |r: Option<DecimalRate>| r.map(|r| r.0);
        Rates {
            input: Some(self.input.0),
            output: Some(self.output.0),
            cache_read: rate(self.cache_read),
            cache_write: rate(self.cache_write),
            cache_write_1h: rate(self.cache_write_1h),
            ..Rates::default()
        }
    }
}

impl Model {
    fn price(&self, tier: Option<&str>, at: DateTime<Utc>, table: &str) -> Price {
        let applies = |row: &&Row| row.applies(at);
        let standard = |row: &&Row| row.tier.is_none();
        let row = self.prices.iter().filter(standard).rfind(applies).unwrap_or(&self.prices[0]);
        let mut price = Price {
            row: format!("{}/{} ({table})", self.provider, self.id),
            context: self.context,
            base: row.rates(),
            long: row.long.iter().map(|r| (r.above.unwrap_or(0), r.rates())).collect(),
        };
        let of_tier = |row: &&Row| tier.is_some() && row.tier.as_deref() == tier;
        if let Some(row) = self.prices.iter().filter(of_tier).find(applies) {
            price.row = format!("{}/{} {} ({table})", self.provider, self.id, tier.unwrap_or(""));
            price.base = row.rates().or(price.base);
            for (above, rates) in &mut price.long {
                // A cliff of the standard tier does not apply to what the tier prices itself.
                let own = row.long.iter().find(|r| r.above == Some(*above));
                *rates = own.map(Row::rates).unwrap_or_default().or(row.rates()).or(*rates);
            }
        }
        price
    }
}

impl Row {
    fn applies(&self, at: DateTime<Utc>) -> bool {
        let hours = self.hours.as_deref().is_none_or(|hours| {
            let time = |text| NaiveTime::parse_from_str(text, "%H:%M").ok();
            let Some((Some(start), Some(end))) =
                hours.split_once('-').map(|(a, b)| (time(a), time(b)))
            else {
                return false;
            };
            let now = at.time();
            if end < start { now >= start || now < end } else { start <= now && now < end }
        });
        hours && self.from.is_none_or(|from| from <= at.date_naive())
    }

    fn rates(&self) -> Rates {
        let rate = |r: Option<DecimalRate>| r.map(|r| r.0);
        Rates {
            input: rate(self.input),
            output: rate(self.output),
            cache_read: rate(self.cache_read),
            cache_write: rate(self.cache_write),
            cache_write_1h: rate(self.cache_write_1h),
            audio_input: rate(self.audio_input),
            audio_output: rate(self.audio_output),
            per_call: rate(self.per_thousand_calls),
        }
    }
}

impl Rates {
    /// These rates, and the other's where these say nothing.
    fn or(self, other: Self) -> Self {
        Self {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cache_read: self.cache_read.or(other.cache_read),
            cache_write: self.cache_write.or(other.cache_write),
            cache_write_1h: self.cache_write_1h.or(other.cache_write_1h),
            audio_input: self.audio_input.or(other.audio_input),
            audio_output: self.audio_output.or(other.audio_output),
            per_call: self.per_call.or(other.per_call),
        }
    }

    fn cost(&self, tokens: &Buckets) -> Picodollars {
        let input = self.input.unwrap_or_default();
        let output = self.output.unwrap_or_default();
        let short = self.cache_write.unwrap_or(input);
        let call = Picodollars(self.per_call.unwrap_or_default().0.saturating_mul(1000));
        [
            input.of(tokens.input),
            self.cache_read.unwrap_or(input).of(tokens.cache_read),
            short.of(tokens.cache_write_5m),
            self.cache_write_1h.unwrap_or(short).of(tokens.cache_write_1h),
            output.of(tokens.output),
            self.audio_input.unwrap_or(input).of(tokens.audio_input),
            self.audio_output.unwrap_or(output).of(tokens.audio_output),
            call,
        ]
        .into_iter()
        .sum()
    }
}

impl Price {
    fn rates_for(&self, input: u64) -> Rates {
        let mut rates = self.base;
        for (above, dearer) in &self.long {
            if input > *above {
                rates = dearer.or(rates);
            }
        }
        rates
    }

    /// The price of a call. Beyond a long-context limit every token costs the higher rate.
    pub fn cost(&self, tokens: &Buckets) -> Picodollars {
        self.rates_for(tokens.all_input()).cost(tokens)
    }

    /// The highest price that `input` tokens can have, whatever the cache does, with `output` more.
    pub fn upper_bound(&self, input: u64, output: u64) -> Picodollars {
        let rates = self.rates_for(input);
        let dearest =
            [rates.input, rates.cache_write, rates.cache_write_1h].into_iter().flatten().max();
        let tokens = Buckets { input, output, ..Buckets::default() };
        Rates { input: dearest, ..rates }.cost(&tokens)
    }

    /// How many output tokens `money` pays for after `input` tokens; none if not even those.
    pub fn affordable_output(&self, money: Picodollars, input: u64) -> Option<u64> {
        let left = money.0.checked_sub(self.upper_bound(input, 0).0)?;
        let rate = self.rates_for(input).output.unwrap_or_default().0;
        Some(left.checked_div(rate).unwrap_or(u64::MAX))
    }
}

/// Whether a name fits a list of patterns: `*` is any text, `#` a digit, a leading `!` excludes.
pub(crate) fn matches(patterns: &[String], name: &str) -> bool {
    let (no, yes): (Vec<_>, Vec<_>) = patterns.iter().partition(|p| p.starts_with('!'));
    yes.iter().any(|p| glob(p.as_bytes(), name.as_bytes()))
        && !no.iter().any(|p| glob(&p.as_bytes()[1..], name.as_bytes()))
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(&c) if c == text[t] || (c == b'#' && text[t].is_ascii_digit()) => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, taken)) = star else { return false };
        star = Some((at, taken + 1));
        p = at + 1;
        t = taken + 1;
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> DateTime<Utc> {
        format!("{day}T12:00:00Z").parse().expect("a time")
    }

    fn dollars(
        provider: &str,
        model: &str,
        tier: Option<&str>,
        day: &str,
        tokens: Buckets,
    ) -> String {
        let table = PriceTable::new([]);
        let price = table.find(provider, provider, model, tier, at(day)).expect("a known model");
        price.cost(&tokens).to_string()
    }

    #[test]
    fn the_table_is_whole() {
        let table = PriceTable::new([]);
        assert!(table.table.models.len() > 300);
        for model in &table.table.models {
            let name = model.id.to_lowercase();
            assert!(!model.prices.is_empty() && model.prices[0].tier.is_none(), "{name}");
            assert!(model.prices[0].input.is_some(), "{name}");
            for row in &model.prices {
                assert!(row.long.windows(2).all(|w| w[0].above < w[1].above), "{name}");
                assert!(row.long.iter().all(|r| r.above.is_some()), "{name}");
            }
        }
    }

    /// The figures are genai-prices' own for the same calls.
    #[test]
    fn prices_agree_with_the_source() {
        let cached =
            Buckets { input: 20_000, cache_read: 80_000, output: 5_000, ..Buckets::default() };
        assert_eq!(dollars("anthropic", "claude-opus-4-6", None, "2026-11-28", cached), "$0.265");
        assert_eq!(dollars("openai", "gpt-5", None, "2026-11-28", cached), "$0.085");
        assert_eq!(dollars("openai", "gpt-5", Some("flex"), "2026-11-28", cached), "$0.0425");
        assert_eq!(dollars("openai", "gpt-5", Some("default"), "2026-11-28", cached), "$0.085");
    }

    #[test]
    fn long_inputs_cost_more_for_every_token_while_the_cliff_stood() {
        let long = Buckets { input: 300_000, output: 100, ..Buckets::default() };
        let edge = Buckets { input: 200_000, output: 100, ..Buckets::default() };
        assert_eq!(dollars("anthropic", "claude-opus-4-6", None, "2026-02-20", long), "$3.00375");
        assert_eq!(dollars("anthropic", "claude-opus-4-6", None, "2026-03-13", long), "$1.5025");
        assert_eq!(dollars("anthropic", "claude-opus-4-6", None, "2026-02-20", edge), "$1.0025");
    }

    #[test]
    fn own_rows_go_first_and_unknown_models_have_no_price() {
        let own: OwnPrice = toml::from_str("input = \"1\"\noutput = \"2\"").expect("a row");
        let table = PriceTable::new([("my-vllm/Qwen".to_owned(), own)]);
        let tokens = Buckets {
            input: 1_000_000,
            cache_read: 1_000_000,
            output: 500_000,
            ..Buckets::default()
        };
        let price = table.find("my-vllm", "", "qwen", None, at("2026-01-01")).expect("own row");
        assert_eq!(price.cost(&tokens).to_string(), "$3.00");
        assert!(table.find("other", "openai", "qwen", None, at("2026-01-01")).is_none());
    }

    #[test]
    fn the_upper_bound_holds_and_the_affordable_output_is_exact() {
        let table = PriceTable::new([]);
        let price = table.find("anthropic", "anthropic", "claude-opus-4-6", None, at("2026-11-28"));
        let price = price.expect("a known model");
        let written = Buckets { cache_write_1h: 1000, output: 10, ..Buckets::default() };
        assert!(price.cost(&written) <= price.upper_bound(1000, 10));
        let money = price.upper_bound(1000, 77);
        assert_eq!(price.affordable_output(money, 1000), Some(77));
        assert_eq!(price.affordable_output(Picodollars(money.0 - 1), 1000), Some(76));
        assert_eq!(price.affordable_output(Picodollars(1), 1000), None);
    }

    #[test]
    fn patterns_match_as_described() {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        for (patterns, name, expected) in [
            (list(&["gpt-5"]), "gpt-5", true),
            (list(&["gpt-5"]), "gpt-5.1", false),
            (list(&["claude-*-####"]), "claude-x-2025", true),
            (list(&["claude-*-####"]), "claude-x-202a", false),
            (list(&["*b*a"]), "abba", true),
            (list(&["g*", "!*-tts"]), "gemini-tts", false),
            (list(&["*"]), "", true),
        ] {
            assert_eq!(matches(&patterns, name), expected, "{patterns:?} {name}");
        }
    }
}
