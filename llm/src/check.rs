//! Calls every provider once, and tells what it saw.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::gateway::Gateway;
use crate::meter::Meter;
use crate::route::Operation;
use crate::upstream::{Outgoing, Way};
use crate::usage::Buckets;

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to say which models it has.
const REACH: Duration = Duration::from_secs(20);

/// What one provider answered.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The upstream's name.
    pub upstream: String,
    /// The model that was called; none if the settings name none without a pattern.
    pub model: Option<String>,
    /// What came of it.
    pub result: Result<Answered, String>,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// How long it took.
    pub took: Duration,
    /// What it used.
    pub tokens: Buckets,
    /// What it cost in dollars; none if the price is unknown.
    pub dollars: Option<f64>,
}

/// What kept a provider from answering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Nobody answers at its address.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// It does not take the key, or wants money.
    #[error("it refuses the key with status {0}")]
    Refused(u16),
}

impl Gateway {
    /// Asks each provider for its list of models, which costs nothing, and gives those that nobody
    /// could work with: they cannot be reached, or refuse the key. One that is only overloaded
    /// comes back.
    pub async fn unreachable(&self) -> Vec<(String, Unreachable)> {
        let mut all = Vec::new();
        // A service asks by itself when it starts.
        let Way::Direct(client) = &self.way else { return all };
        for (name, provider) in &self.providers {
            let dialect = provider.config.dialect();
            let path = match dialect {
                Dialect::OpenAi => "/models",
                Dialect::Anthropic => "/v1/models",
                Dialect::Gemini => "/v1beta/models",
            };
            let headers = provider.headers(&dialect.own_headers(), dialect);
            let url = format!("{}{path}", provider.config.base_url());
            let request = client.get(url).headers(headers);
            let why = match tokio::time::timeout(REACH, request.send()).await {
                Err(_) => {
                    let seconds = REACH.as_secs();
                    Some(Unreachable::Away(format!("no answer within {seconds} s")))
                }
                Ok(Err(error)) => Some(Unreachable::Away(chain(&error.without_url()))),
                Ok(Ok(response)) => match response.status().as_u16() {
                    status @ (401..=403) => Some(Unreachable::Refused(status)),
                    _ => None,
                },
            };
            all.extend(why.map(|why| (name.clone(), why)));
        }
        all
    }

    /// Calls the first model that each upstream names with a request of a few tokens.
    pub async fn check(&self) -> Vec<Checked> {
        let mut all = Vec::new();
        for (name, provider) in &self.providers {
            let model =
                provider.config.models.iter().find(|m| !m.contains(['*', '#', '!'])).cloned();
            let result = match &model {
                Some(model) => self.check_one(name, model).await,
                None => {
                    Err("no model is named without a pattern; add one to `models` to try it"
                        .to_owned())
                }
            };
            all.push(Checked { upstream: name.clone(), model, result });
        }
        all
    }

    async fn check_one(&self, name: &str, model: &str) -> Result<Answered, String> {
        let provider = &self.providers[name];
        let dialect = provider.config.dialect();
        let (path, operation, body) = smallest(dialect, model);
        let started = Instant::now();
        let request = Outgoing {
            path,
            headers: provider.headers(&dialect.own_headers(), dialect),
            body: Bytes::from(body.to_string()),
            model: model.to_owned(),
        };
        let call = async {
            let sent = self.way.post(provider, &request, PATIENCE).await;
            let response = sent.map_err(|failed| failed.to_string())?;
            let status = response.status();
            let body: reqwest::Body = response.into();
            let body = body.collect().await.map_err(|error| chain(&error.without_url()))?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        let (status, text) = match tokio::time::timeout(PATIENCE, call).await {
            Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
            Ok(answer) => answer?,
        };
        let shown: String = String::from_utf8_lossy(&text).chars().take(300).collect();
        if provider.needles.found_in(&text) {
            return Err(format!("status {status}; its text holds the key and is not shown"));
        }
        if !status.is_success() {
            return Err(format!("status {status}: {shown}"));
        }
        let mut meter = Meter::new(dialect, operation, false, false);
        meter.next(text);
        meter.close();
        let (tokens, _) = meter.usage(0);
        let dollars =
            self.price(name, model, meter.tier()).map(|price| price.cost(&tokens).dollars());
        Ok(Answered { took: started.elapsed(), tokens, dollars })
    }
}

/// A request of a few tokens.
fn smallest(dialect: Dialect, model: &str) -> (String, Operation, Value) {
    let messages = json!([{"role": "user", "content": "Say yes."}]);
    match dialect {
        Dialect::OpenAi => (
            "/chat/completions".to_owned(),
            Operation::Chat,
            json!({"model": model, "messages": messages}),
        ),
        Dialect::Anthropic => (
            "/v1/messages".to_owned(),
            Operation::Messages,
            json!({"model": model, "max_tokens": 16, "messages": messages}),
        ),
        Dialect::Gemini => (
            format!("/v1beta/models/{model}:generateContent"),
            Operation::Generate,
            json!({"contents": [{"role": "user", "parts": [{"text": "Say yes."}]}]}),
        ),
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
