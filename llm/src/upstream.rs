//! Sends requests to providers, and tries again where that costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::check::chain;
use crate::config::{Auth, ConfigError, Timeouts, Upstream, Via};
use crate::dialect::{Dialect, Refusal};
use crate::outage::{Gates, HoldClock};
use crate::scrub::Needles;
use crate::service::{self, Link};

/// Errors are read up to this size.
const ERROR_BYTES: usize = 1 << 20;
/// How often a provider's own mistake (500) is tried again before the client hears of it.
const BRIEF_TRIES: u32 = 2;

/// A provider with its key.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) config: Upstream,
    key: Option<String>,
    via: Via,
    pub(crate) needles: Arc<Needles>,
    /// The server does not know `stream_options`.
    pub(crate) no_stream_options: AtomicBool,
}

impl Provider {
    pub(crate) fn new(name: &str, config: &Upstream, via: Via) -> Result<Self, ConfigError> {
        let key = config.read_key(name)?;
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            needles: Arc::new(Needles::new(key.as_deref().unwrap_or_default())),
            key,
            via,
            no_stream_options: AtomicBool::new(false),
        })
    }

    /// The headers that go to the provider: those on the list, and the key in the place where the
    /// client put its own.
    pub(crate) fn headers(&self, client: &HeaderMap, dialect: Dialect) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in client {
            if passes_up(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let auth = self.config.auth.unwrap_or(match dialect {
            Dialect::OpenAi => Auth::Bearer,
            Dialect::Gemini => Auth::XGoogApiKey,
            Dialect::Anthropic if client.contains_key("x-api-key") => Auth::XApiKey,
            Dialect::Anthropic if client.contains_key(header::AUTHORIZATION) => Auth::Bearer,
            Dialect::Anthropic => Auth::XApiKey,
        });
        if (self.via, auth) == (Via::Service, Auth::Bearer) {
            headers.insert(service::BEARER, HeaderValue::from_static("1"));
        }
        let Some(key) = &self.key else { return headers };
        let (name, value) = match auth {
            Auth::Bearer => ("authorization", format!("Bearer {key}")),
            Auth::XApiKey => ("x-api-key", key.clone()),
            Auth::XGoogApiKey => ("x-goog-api-key", key.clone()),
            Auth::ApiKey => ("api-key", key.clone()),
        };
        let mut value = HeaderValue::from_str(&value).expect("keys are checked when they are read");
        value.set_sensitive(true);
        headers.insert(name, value);
        headers
    }
}

/// Client headers that go to the provider. Credentials, cookies and what chooses who pays do not.
fn passes_up(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "accept"
            | "user-agent"
            | "openai-beta"
            | "anthropic-version"
            | "anthropic-beta"
            | "http-referer"
            | "x-title"
            | "x-app"
            | "x-goog-api-client"
            | "originator"
    ) || name.starts_with("x-stainless-")
}

/// Provider headers that go to the client.
pub(crate) fn passes_down(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "content-type"
            | "retry-after"
            | "retry-after-ms"
            | "x-should-retry"
            | "x-request-id"
            | "request-id"
            | "openai-model"
            | "openai-processing-ms"
            | "openai-version"
    ) || name.starts_with("x-ratelimit-")
        || name.starts_with("anthropic-ratelimit-")
}

/// How requests reach providers.
pub(crate) enum Way {
    /// Straight, or through a proxy.
    Direct(reqwest::Client),
    /// Through a gateway service.
    Service(Link),
}

/// Why a request that was sent once has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Nobody was reached, and nothing has begun.
    #[error("it cannot be reached: {0}")]
    Unreached(String),
    /// There was no head of an answer in time.
    #[error("it did not answer in time")]
    Late,
    /// The connection was closed before the head of an answer.
    #[error("it closed the connection before it answered")]
    Broke {
        /// Whether the provider may have begun to work on the request.
        may_cost: bool,
    },
    /// The gateway service does not take such a request, for a reason that is the operator's.
    #[error("the gateway service refuses the call: {0}")]
    Refused(String),
}

impl Failed {
    /// What the client is told; none if the request can be sent again.
    fn gave_up(self, provider: &str, patience: Duration) -> Option<GaveUp> {
        let (message, may_cost) = match self {
            Self::Unreached(_) => return None,
            Self::Late => {
                (format!("`{provider}` did not answer within {} s", patience.as_secs()), true)
            }
            Self::Broke { may_cost } => {
                (format!("`{provider}` closed the connection before it answered"), may_cost)
            }
            Self::Refused(why) => (format!("the gateway service refuses the call: {why}"), false),
        };
        Some(GaveUp { refusal: Refusal::BadGateway, message, may_cost })
    }
}

impl Way {
    /// Sends a request once, and waits for the head of an answer.
    pub(crate) async fn post(
        &self,
        provider: &Provider,
        request: &Outgoing,
        patience: Duration,
    ) -> Result<reqwest::Response, Failed> {
        match self {
            Self::Direct(client) => {
                let url = format!("{}{}", provider.config.base_url(), request.path);
                let body = request.body.clone();
                let post = client.post(url).headers(request.headers.clone()).body(body);
                match timeout(patience, post.send()).await {
                    Err(_) => Err(Failed::Late),
                    Ok(Err(error)) if error.is_connect() => {
                        Err(Failed::Unreached(chain(&error.without_url())))
                    }
                    Ok(Err(error)) => {
                        tracing::debug!("{}: {}", provider.name, error.without_url());
                        Err(Failed::Broke { may_cost: false })
                    }
                    Ok(Ok(response)) => Ok(response),
                }
            }
            Self::Service(link) => {
                let mut headers = request.headers.clone();
                if let Ok(model) = HeaderValue::from_str(&request.model) {
                    headers.insert(service::MODEL, model);
                }
                let path = format!("/{}{}", provider.name, request.path);
                link.post(&path, headers, request.body.clone(), patience).await
            }
        }
    }
}

/// A request to a provider.
pub(crate) struct Outgoing {
    /// What follows the provider's address.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The model that it asks for, which a gateway service is told.
    pub(crate) model: String,
}

/// What came back.
pub(crate) enum Reply {
    /// An answer whose body is still to come.
    Answer(Box<reqwest::Response>),
    /// An error that is the client's to handle.
    Error { status: u16, headers: HeaderMap, body: Bytes },
}

/// Why nothing came back that the client could use.
pub(crate) struct GaveUp {
    pub(crate) refusal: Refusal,
    pub(crate) message: String,
    /// Whether the provider may have begun to work on the request.
    pub(crate) may_cost: bool,
}

/// How a call is sent, and what it tells meanwhile.
pub(crate) struct Sending<'a> {
    pub(crate) way: &'a Way,
    pub(crate) gates: &'a Gates,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) holds: &'a Arc<HoldClock>,
    /// How long the client may wait for an overloaded provider.
    pub(crate) hold: Duration,
}

/// What is counted of a call's sending.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tries: u32,
    pub(crate) held: Duration,
    pub(crate) last_status: u16,
}

impl Sending<'_> {
    /// Sends a request until an answer, an error for the client, or the end of its patience.
    ///
    /// `without_usage` is the body for a provider that does not know `stream_options`.
    /// `before_try` runs before each try and gets its number. Only what has begun nothing is sent again: refused
    /// connections and overload; never a request that the provider may be working on.
    pub(crate) async fn send(
        &self,
        provider: &Provider,
        mut request: Outgoing,
        mut without_usage: Option<Bytes>,
        counts: &mut Counts,
        mut before_try: impl FnMut(u32),
    ) -> Result<Reply, GaveUp> {
        let key_gate = self.gates.gate(&provider.name, None);
        let model_gate = self.gates.gate(&provider.name, Some(&request.model));
        let deadline = Instant::now() + self.hold;
        let mut brief = 0;
        loop {
            let waiting = Instant::now();
            let closed = !key_gate.is_open() || !model_gate.is_open();
            let hold = closed.then(|| self.holds.hold());
            let passes =
                timeout_at(deadline, async { (key_gate.pass().await, model_gate.pass().await) })
                    .await;
            drop(hold);
            if closed {
                counts.held += waiting.elapsed();
            }
            let Ok((key_pass, model_pass)) = passes else {
                return Err(overloaded(&provider.name, counts));
            };
            counts.tries += 1;
            before_try(counts.tries);
            let patience = Duration::from_secs_f64(self.timeouts.first_byte_s);
            let response = match self.way.post(provider, &request, patience).await {
                Ok(response) => response,
                Err(failed) => match failed.gave_up(&provider.name, patience) {
                    Some(gave_up) => return Err(gave_up),
                    None => {
                        counts.last_status = 0;
                        model_pass.refused(0, None);
                        continue;
                    }
                },
            };
            let status = response.status().as_u16();
            counts.last_status = status;
            if (200..300).contains(&status) {
                key_pass.succeeded();
                model_pass.succeeded();
                return Ok(Reply::Answer(Box::new(response)));
            }
            if status < 400 {
                let message = format!(
                    "`{}` answered with a redirection, which is not followed",
                    provider.name
                );
                return Err(GaveUp { refusal: Refusal::BadGateway, message, may_cost: false });
            }
            let headers = response.headers().clone();
            let text = read_error(response).await;
            if status == 400
                && memchr::memmem::find(&text, b"stream_options").is_some()
                && let Some(body) = without_usage.take()
            {
                provider.no_stream_options.store(true, Ordering::Relaxed);
                request.body = body;
                continue;
            }
            let cap = Duration::from_secs_f64(self.timeouts.retry_after_s);
            let wait = retry_after(&headers, &text).map(|wait| wait.min(cap));
            match classify(status, &text) {
                Class::Money(code) => {
                    key_pass.money_refused(status, &code);
                }
                Class::Busy => {
                    key_pass.succeeded();
                    model_pass.refused(status, wait);
                }
                Class::Brief if brief < BRIEF_TRIES => {
                    brief += 1;
                    key_pass.succeeded();
                    drop(model_pass);
                    let wait = wait.unwrap_or(Duration::from_millis(250 << brief));
                    tokio::time::sleep_until((Instant::now() + wait).min(deadline)).await;
                }
                Class::Brief | Class::Clients => {
                    key_pass.succeeded();
                    return Ok(Reply::Error { status, headers, body: text });
                }
            }
        }
    }
}

fn overloaded(provider: &str, counts: &Counts) -> GaveUp {
    let why = match counts.last_status {
        0 => "cannot be reached".to_owned(),
        401 | 402 => "does not take calls at the moment; the operator has been told".to_owned(),
        status => format!("is overloaded (status {status})"),
    };
    let message = format!("`{provider}` {why}; try again");
    GaveUp { refusal: Refusal::Unavailable, message, may_cost: false }
}

pub(crate) async fn read_error(response: reqwest::Response) -> Bytes {
    let mut body: reqwest::Body = response.into();
    let mut text = BytesMut::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() > ERROR_BYTES {
                break;
            }
        }
    };
    // What has come by then is enough to say what is wrong.
    let _ = timeout(Duration::from_secs(20), read).await;
    text.truncate(ERROR_BYTES);
    text.freeze()
}

/// What an error status means for the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The provider refuses the key, or wants money.
    Money(String),
    /// The provider is overloaded: the call waits.
    Busy,
    /// The provider made a mistake: a few tries, then the client hears of it.
    Brief,
    /// The request is wrong.
    Clients,
}

pub(crate) fn classify(status: u16, body: &[u8]) -> Class {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    let code = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let codes = [
        code("code"),
        code("type"),
        code("status"),
        text_at(error, "/details/error_code"),
        text_at(error, "/details/0/reason"),
    ];
    let is_money = |code: &&String| {
        matches!(
            code.as_str(),
            "insufficient_quota"
                | "billing_hard_limit_reached"
                | "billing_not_active"
                | "billing_error"
                | "API_KEY_INVALID"
                | "invalid_api_key"
                | "account_deactivated"
        ) || code.ends_with("spend_limit_reached")
    };
    let message = code("message");
    let named = codes.iter().find(is_money).cloned();
    match status {
        401 | 402 => {
            Class::Money(named.unwrap_or_else(|| {
                codes.iter().find(|c| !c.is_empty()).cloned().unwrap_or_default()
            }))
        }
        400 | 403 | 429 if named.is_some() => Class::Money(named.unwrap_or_default()),
        400 if message.contains("credit balance is too low") => {
            Class::Money("credit_balance_too_low".to_owned())
        }
        // Waiting does not make a request smaller.
        429 if message.starts_with("Request too large") => Class::Clients,
        429 | 502 | 503 | 504 | 529 => Class::Busy,
        500 => Class::Brief,
        _ => Class::Clients,
    }
}

fn text_at(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// How long the provider asks to wait: by a header, or by Google's `RetryInfo` in the body.
pub(crate) fn retry_after(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let seconds = |n: f64| (n.is_finite() && n >= 0.0).then(|| Duration::from_secs_f64(n.min(1e6)));
    if let Some(wait) = text("retry-after-ms").and_then(|t| t.parse::<f64>().ok()) {
        return seconds(wait / 1e3);
    }
    if let Some(text) = text("retry-after") {
        if let Ok(number) = text.parse() {
            return seconds(number);
        }
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        return (date.to_utc() - chrono::Utc::now()).to_std().ok();
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let details = value.pointer("/error/details")?.as_array()?;
    let delay = details.iter().find_map(|d| d.get("retryDelay").and_then(Value::as_str))?;
    seconds(delay.strip_suffix('s')?.parse().ok()?)
}

/// How long a client waits for an answer, less a margin: by its own word, or by what is known of it.
pub(crate) fn patience(headers: &HeaderMap, most: f64) -> Duration {
    let number = |name: &str| {
        headers.get(name)?.to_str().ok()?.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0)
    };
    let said = number("x-stainless-read-timeout").or_else(|| number("x-stainless-timeout"));
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let known = agent.to_ascii_lowercase().starts_with("codex").then_some(300.0);
    let limit =
        said.or(known).map_or(most, |seconds: f64| (seconds - 15.0).max(seconds / 2.0).min(most));
    Duration::from_secs_f64(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn errors_are_told_apart() {
        for (status, body, expected) in [
            (
                429,
                r#"{"error":{"code":"rate_limit_exceeded","message":"Rate limit"}}"#,
                Class::Busy,
            ),
            (
                429,
                r#"{"error":{"code":"rate_limit_exceeded","message":"Request too large for m"}}"#,
                Class::Clients,
            ),
            (
                429,
                r#"{"error":{"type":"insufficient_quota"}}"#,
                Class::Money("insufficient_quota".into()),
            ),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}"#,
                Class::Money("enforced_spend_limit_reached".into()),
            ),
            (
                400,
                r#"{"error":{"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
                Class::Money("API_KEY_INVALID".into()),
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
                Class::Money("credit_balance_too_low".into()),
            ),
            (401, "not json", Class::Money(String::new())),
            (402, r#"{"error":{"code":"x"}}"#, Class::Money("x".into())),
            (400, r#"{"error":{"code":"context_length_exceeded"}}"#, Class::Clients),
            (403, "", Class::Clients),
            (500, "", Class::Brief),
            (503, "", Class::Busy),
            (529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, Class::Busy),
        ] {
            assert_eq!(classify(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let wait = |list: &[(&'static str, &str)], body: &str| {
            retry_after(&headers(list), body.as_bytes()).map(|d| d.as_millis())
        };
        assert_eq!(wait(&[("retry-after", "2.5"), ("retry-after-ms", "100")], ""), Some(100));
        assert_eq!(wait(&[("retry-after", "2.5")], ""), Some(2500));
        assert_eq!(wait(&[("retry-after", "-1")], ""), None);
        assert_eq!(wait(&[("retry-after", "inf")], ""), None);
        let soon = (chrono::Utc::now() + chrono::TimeDelta::seconds(90)).to_rfc2822();
        assert!(
            wait(&[("retry-after", &soon)], "").is_some_and(|ms| (80_000..=90_000).contains(&ms))
        );
        assert_eq!(wait(&[], r#"{"error":{"details":[{"retryDelay":"31s"}]}}"#), Some(31_000));
        assert_eq!(wait(&[], "x"), None);
    }

    #[test]
    fn clients_are_answered_before_they_give_up() {
        let wait = |list: &[(&'static str, &str)]| patience(&headers(list), 585.0).as_secs_f64();
        assert_eq!(wait(&[("x-stainless-read-timeout", "600")]), 585.0);
        assert_eq!(wait(&[("x-stainless-timeout", "60")]), 45.0);
        assert_eq!(wait(&[("x-stainless-timeout", "10")]), 5.0);
        assert_eq!(wait(&[("user-agent", "codex_cli_rs/0.1")]), 285.0);
        assert_eq!(wait(&[("x-stainless-timeout", "nan")]), 585.0);
    }

    #[test]
    fn the_key_replaces_the_clients_in_its_place_and_nothing_else_passes() {
        let provider = |name: &str, auth| {
            let config: Upstream = toml::from_str(auth).expect("good");
            Provider {
                name: name.into(),
                config,
                key: Some("real".into()),
                via: Via::Direct,
                needles: Arc::new(Needles::new("")),
                no_stream_options: AtomicBool::new(false),
            }
        };
        let client = headers(&[
            ("authorization", "Bearer dummy"),
            ("cookie", "c"),
            ("openai-organization", "o"),
            ("x-goog-api-key", "g"),
            ("anthropic-beta", "b"),
            ("x-stainless-os", "Linux"),
        ]);
        let sent = provider("openai", "").headers(&client, Dialect::OpenAi);
        assert_eq!(sent["authorization"], "Bearer real");
        assert_eq!(sent.len(), 5, "{sent:?}");
        let sent = provider("anthropic", "").headers(&client, Dialect::Anthropic);
        assert!(sent["authorization"] == "Bearer real" && !sent.contains_key("x-api-key"));
        let sent = provider("azure", "auth = \"api-key\"").headers(&client, Dialect::OpenAi);
        assert!(sent["api-key"] == "real" && !sent.contains_key("authorization"));
    }
}
