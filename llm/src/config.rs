//! `llm.toml`: which providers there are, with whose keys, and what attempts may do with them.

mod key;
mod way;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::dialect::Dialect;
use crate::money::Picodollars;
use crate::prices::{self, OwnPrice, Price, PriceTable};
use crate::record::ReplayOptions;

pub use key::KeySource;
use key::key_source;
pub use way::Via;

/// Settings of the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Providers by the name that stands in a request's path: `/openai/v1/…`.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Upstream>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What agents may send.
    #[serde(default)]
    pub policy: Policy,
    /// What attempts and the run group may use up.
    #[serde(default)]
    pub budget: Budgets,
    /// Prices of models by `model` or `upstream/model`, before those of the table.
    #[serde(default)]
    pub prices: BTreeMap<String, OwnPrice>,
    /// What is written down.
    #[serde(default)]
    pub record: Record,
    /// Whether an attempt's time limit counts the time that it waits for overloaded providers.
    #[serde(default)]
    pub clock: Clock,
    /// How a recording is replayed, where one is.
    #[serde(default)]
    pub replay: ReplayOptions,
    /// Who sends calls to providers.
    #[serde(default)]
    pub via: Via,
    /// The proxy to providers, or `none`; by default that of the environment.
    pub proxy: Option<String>,
}

/// What an attempt's clock does while it waits for overloaded providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Clock {
    /// It runs on.
    #[default]
    #[serde(rename = "run on")]
    RunOn,
    /// It stands still.
    #[serde(rename = "pause on outage")]
    PauseOnOutage,
}

/// Settings of another program with those of the gateway in them.
#[derive(Deserialize)]
struct Within {
    llm: Config,
}

/// A provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Which wire format it speaks; known for well-known names, else `openai`.
    pub dialect: Option<Dialect>,
    /// Where it is: with `/v1` for the OpenAI dialect, without a version for the others.
    pub base_url: Option<String>,
    /// Where its key comes from; none for a server without keys.
    #[serde(default, deserialize_with = "key_source")]
    pub key: Option<KeySource>,
    /// Which header the key goes into; by default the one that the client used.
    pub auth: Option<Auth>,
    /// Models that agents may use, as patterns: `gpt-5*`.
    #[serde(default = "every_model")]
    pub models: Vec<String>,
    /// Host names that agents reach without a change of address, each with the path that stands
    /// before the routes: `api.openai.com/v1`. Known for well-known names.
    pub hosts: Option<Vec<String>>,
    /// `table` looks prices up, `free` is for one's own machines.
    #[serde(default)]
    pub price: PriceMode,
    /// The provider's name in the table of prices; known for well-known names.
    pub price_provider: Option<String>,
}

fn every_model() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The header that a key goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY` (Anthropic).
    XApiKey,
    /// `x-goog-api-key: KEY` (Google).
    XGoogApiKey,
    /// `api-key: KEY` (Azure).
    ApiKey,
}

/// How an upstream's calls are priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceMode {
    /// By the table and one's own rows.
    #[default]
    Table,
    /// Nothing.
    Free,
}

/// How long to wait, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to the provider.
    pub connect_s: f64,
    /// For the head of the provider's answer.
    pub first_byte_s: f64,
    /// Between two pieces of the provider's answer.
    pub idle_s: f64,
    /// For a request's head, and between two pieces of its body.
    pub request_s: f64,
    /// While a provider is overloaded, before the client is told; never longer than the client
    /// itself waits.
    pub hold_s: f64,
    /// The longest wait before a further try that a provider may ask for.
    pub retry_after_s: f64,
    /// An attempt whose calls have only failed for so long is ended as a failure of the machine.
    pub outage_s: f64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_s: 10.0,
            first_byte_s: 900.0,
            idle_s: 300.0,
            request_s: 60.0,
            hold_s: 585.0,
            retry_after_s: 60.0,
            outage_s: 14_400.0,
        }
    }
}

impl Timeouts {
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs_f64(self.idle_s)
    }

    /// How long an outage may last before the attempts that wait for its end are ended.
    pub fn outage(&self) -> Duration {
        Duration::from_secs_f64(self.outage_s)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_secs_f64(self.request_s)
    }
}

/// What agents may send.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What happens to tools that the provider would run for the agent, outside the seal.
    pub hosted_tools: HostedTools,
    /// The largest request body, in bytes, before and after decompression.
    pub request_bytes: usize,
    /// The most header fields of a request.
    pub headers: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hosted_tools: HostedTools::Strip, request_bytes: 64 << 20, headers: 100 }
    }
}

/// What happens to tools that the provider would run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostedTools {
    /// They are taken out of the request, which goes on.
    #[default]
    Strip,
    /// The request is refused.
    Refuse,
    /// They are let through: the attempt is not sealed.
    Allow,
}

/// Limits of use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// For each attempt.
    pub attempt: Limits,
    /// For all attempts of a run group together.
    pub group: Limits,
    /// How a call that may cost more than is left is treated.
    pub overshoot: Overshoot,
    /// Whether models without a known price may be called under a limit in dollars.
    pub unknown_price: UnknownPrice,
}

/// Limits of one account; none where nothing is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Dollars, as a decimal in quotes.
    #[serde(deserialize_with = "dollars")]
    pub dollars: Option<Picodollars>,
    /// Tokens of all kinds, cached ones too.
    pub tokens: Option<u64>,
    /// Calls that reach a provider.
    pub calls: Option<u64>,
}

fn dollars<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Picodollars>, D::Error> {
    let text = String::deserialize(from)?;
    Picodollars::parse(&text).map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is no amount; expected dollars such as \"5.00\""
        ))
    })
}

/// How a call that may cost more than is left is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overshoot {
    /// Calls reserve what they probably cost; the last may go over the limit.
    #[default]
    Bounded,
    /// Calls reserve the most that they can cost; the length of an answer is cut to what is left.
    Never,
}

/// What happens to models without a price under a limit in dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPrice {
    /// They are refused, since the limit could not hold.
    #[default]
    Refuse,
    /// They are called, and their dollars are not counted.
    Allow,
}

/// What is written down beside `calls.jsonl`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Requests and answers for people to read.
    pub transcript: bool,
    /// Requests and answers byte for byte, for a replay.
    pub recording: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self { transcript: true, recording: true }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is no TOML, or has a key or value that is not known.
    #[error("`{}`{}: {message}", path.display(), line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong, and the nearest known key.
        message: String,
    },
    /// A value does not fit the others.
    #[error("`{}`: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key cannot be had.
    #[error("upstream `{upstream}` has no key: {message}")]
    Key {
        /// Its name.
        upstream: String,
        /// Why.
        message: String,
    },
}

/// What is known of providers by their names.
struct WellKnown {
    name: &'static str,
    dialect: Dialect,
    base_url: &'static str,
    hosts: &'static [&'static str],
    price_provider: &'static str,
}

const WELL_KNOWN: [WellKnown; 5] = [
    WellKnown {
        name: "openai",
        dialect: Dialect::OpenAi,
        base_url: "https://api.openai.com/v1",
        hosts: &["api.openai.com/v1"],
        price_provider: "openai",
    },
    WellKnown {
        name: "anthropic",
        dialect: Dialect::Anthropic,
        base_url: "https://api.anthropic.com",
        hosts: &["api.anthropic.com"],
        price_provider: "anthropic",
    },
    WellKnown {
        name: "gemini",
        dialect: Dialect::Gemini,
        base_url: "https://generativelanguage.googleapis.com",
        hosts: &["generativelanguage.googleapis.com"],
        price_provider: "google",
    },
    WellKnown {
        name: "openrouter",
        dialect: Dialect::OpenAi,
        base_url: "https://openrouter.ai/api/v1",
        hosts: &["openrouter.ai/api/v1"],
        price_provider: "openrouter",
    },
    WellKnown {
        name: "deepseek",
        dialect: Dialect::OpenAi,
        base_url: "https://api.deepseek.com",
        hosts: &["api.deepseek.com/v1", "api.deepseek.com/beta", "api.deepseek.com"],
        price_provider: "deepseek",
    },
];

/// Names that stand for something else in a path.
const RESERVED: [&str; 4] = ["medalist", "r", "v1", "v1beta"];

impl Config {
    /// Reads and checks a settings file: `llm.toml`, or another program's settings with an `[llm]`
    /// table, of which the rest is not read.
    ///
    /// # Errors
    /// Names the line of a syntax error or unknown key with the nearest known one, and values that
    /// do not fit each other.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads settings from text; `path` is for messages and for key files named relative to it.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let is_within = toml::from_str::<toml::Table>(text)
            .is_ok_and(|table| table.get("llm").is_some_and(toml::Value::is_table));
        let parsed = match is_within {
            true => toml::from_str::<Within>(text).map(|within| within.llm),
            false => toml::from_str(text),
        };
        let mut config: Self = parsed.map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: error
                .span()
                .map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
            message: with_nearest_key(error.message()),
        })?;
        let invalid = |message| ConfigError::Invalid { path: path.to_owned(), message };
        for (name, upstream) in &mut config.upstreams {
            upstream.complete(name, path).map_err(invalid)?;
        }
        config.check().map_err(invalid)?;
        Ok(config)
    }

    /// Leaves all keys out: a replay asks no provider, and must not need what it would not use.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.upstreams.values_mut().for_each(|upstream| upstream.key = None);
        self
    }

    fn check(&self) -> Result<(), String> {
        if self.upstreams.is_empty() {
            return Err("no provider is named; add `[upstreams.openai]` or another".to_owned());
        }
        let t = &self.timeouts;
        for (key, value) in [
            ("connect_s", t.connect_s),
            ("first_byte_s", t.first_byte_s),
            ("idle_s", t.idle_s),
            ("request_s", t.request_s),
            ("hold_s", t.hold_s),
            ("retry_after_s", t.retry_after_s),
            ("outage_s", t.outage_s),
        ] {
            if !(value > 0.0 && value <= 1e6) {
                return Err(format!("`timeouts.{key}` is {value}; expected seconds above 0"));
            }
        }
        let mut hosts = BTreeMap::new();
        for (name, upstream) in &self.upstreams {
            for host in upstream.hosts.iter().flatten() {
                if let Some(other) = hosts.insert(host, name) {
                    return Err(format!("host `{host}` belongs to `{other}` and `{name}`"));
                }
            }
        }
        self.check_proxy()?;
        self.check_prices()
    }

    /// The table of prices with the settings' own rows before it.
    pub fn price_table(&self) -> PriceTable {
        PriceTable::new(self.prices.iter().map(|(model, price)| (model.clone(), *price)))
    }

    /// What a model costs at a time as an upstream serves it, by [`Config::price_table`]; none if nobody knows.
    pub fn price(
        &self,
        table: &PriceTable,
        upstream: &str,
        model: &str,
        tier: Option<&str>,
        at: DateTime<Utc>,
    ) -> Option<Price> {
        let settings = self.upstreams.get(upstream)?;
        if settings.price == PriceMode::Free {
            return Some(PriceTable::free());
        }
        let provider = settings.price_provider.as_deref().unwrap_or_default();
        table.find(upstream, provider, model, tier, at)
    }

    /// Under a limit in dollars, every model that is named without a pattern must have a price.
    fn check_prices(&self) -> Result<(), String> {
        let limited =
            [&self.budget.attempt, &self.budget.group].iter().any(|l| l.dollars.is_some());
        if !limited || self.budget.unknown_price == UnknownPrice::Allow {
            return Ok(());
        }
        let table = self.price_table();
        for (name, upstream) in &self.upstreams {
            for model in upstream.models.iter().filter(|m| !m.contains(['*', '#', '!'])) {
                if self.price(&table, name, model, None, Utc::now()).is_none() {
                    return Err(format!(
                        "`{name}` may use `{model}`, whose price is unknown, so that a budget in dollars cannot \
                         hold; add `[prices.\"{model}\"]`, or set `budget.unknown_price = \"allow\"`"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Upstream {
    fn complete(&mut self, name: &str, path: &Path) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) || RESERVED.contains(&name) {
            return Err(format!(
                "`{name}` cannot name an upstream; expected lower-case letters, digits, `-` and `_`"
            ));
        }
        let known = WELL_KNOWN.iter().find(|w| w.name == name);
        self.dialect = self.dialect.or(known.map(|w| w.dialect)).or(Some(Dialect::OpenAi));
        let base = self.base_url.take().or(known.map(|w| w.base_url.to_owned()));
        let base = base.ok_or_else(|| format!("`upstreams.{name}` lacks `base_url`"))?;
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") && !base.starts_with("http://") {
            return Err(format!(
                "`upstreams.{name}.base_url` is `{base}`; expected `https://…` or `http://…`"
            ));
        }
        self.base_url = Some(base);
        if self.hosts.is_none() {
            self.hosts =
                Some(known.iter().flat_map(|w| w.hosts).map(|h| (*h).to_owned()).collect());
        }
        for host in self.hosts.iter_mut().flatten() {
            *host = host.trim_end_matches('/').to_lowercase();
            let name = host.split('/').next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            if !name.contains('.') || !name.chars().all(plain) || name.starts_with('.') {
                return Err(format!("host `{host}` is no name such as `api.example.org/v1`"));
            }
        }
        if self.price_provider.is_none() {
            self.price_provider = known.map(|w| w.price_provider.to_owned());
        }
        if let Some(KeySource::File(file)) = &mut self.key
            && file.is_relative()
        {
            *file = path.parent().unwrap_or(Path::new("")).join(&file);
        }
        Ok(())
    }

    /// The wire format.
    pub fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or(Dialect::OpenAi)
    }

    /// The address without a slash at its end.
    pub fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or_default()
    }

    /// Whether agents may use a model. A pattern in `models` that starts with `!` excludes.
    pub fn allows(&self, model: &str) -> bool {
        prices::matches(&self.models, model)
    }
}

/// Adds the nearest known key to serde's message about an unknown one.
fn with_nearest_key(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"].iter().any(|m| message.starts_with(m));
    let (true, Some(wrong)) = (unknown, names.next()) else { return message.to_owned() };
    let nearest = names.min_by_key(|name| strsim::damerau_levenshtein(wrong, name));
    match nearest.filter(|name| strsim::damerau_levenshtein(wrong, name) <= 1 + name.len() / 3) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
