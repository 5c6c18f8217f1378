//! From a request to its answer.

mod replies;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::attempt::AttemptContext;
use crate::call::{AnswerBody, Call, Relay, Replayed, new_job};
use crate::clean::Clean;
use crate::config::{HostedTools, UnknownPrice};
use crate::dialect::{Dialect, Refusal, error_body};
use crate::events::Event;
use crate::gateway::Gateway;
use crate::ledger::Ask;
use crate::meter::Meter;
use crate::policy;
use crate::record::{Outcome, Replay, canonical};
use crate::request::{Refused, Wants, check_head, parse_object, read_body, set_max_output};
use crate::route::{Door, NoRoute, Operation, Route, Target, clean_role, resolve};
use crate::upstream::{Counts, GaveUp, Outgoing, Provider, Reply, Sending, passes_down, patience};
use replies::{budget, closing, json_answer, refused, remaining};

/// Request headers that change what an answer means.
const MEANINGFUL: [&str; 3] = ["anthropic-beta", "anthropic-version", "openai-beta"];

type Answer = Response<AnswerBody>;

/// A request that has been read and checked.
struct Checked {
    route: Route,
    headers: HeaderMap,
    /// The body as the client sent it, decompressed.
    raw: Bytes,
    original: Value,
    body: Map<String, Value>,
    wants: Wants,
    /// Whether `body` is no longer what `raw` says.
    changed: bool,
}

impl Gateway {
    /// Answers one request, whatever it is.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        attempt: Arc<AttemptContext>,
        door: Door,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let mut answer = self.dispatch(parts, body, &attempt, &door).await;
        let (own, group) = attempt.balances();
        let headers = answer.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&remaining(&own, &group)) {
            headers.insert("x-medalist-budget-remaining", value);
        }
        if own.warning || group.warning {
            headers
                .insert("x-medalist-budget-warning", HeaderValue::from_static("80 percent used"));
        }
        answer
    }

    async fn dispatch(
        self: &Arc<Self>,
        parts: Parts,
        body: Incoming,
        attempt: &Arc<AttemptContext>,
        door: &Door,
    ) -> Answer {
        let serves = |host: &str| attempt.tls().is_some_and(|tls| tls.serves(host));
        let door = match check_head(&parts, door, serves) {
            Ok(door) => door,
            Err((refusal, message)) => return closing(refused(Dialect::OpenAi, refusal, &message)),
        };
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let target = resolve(&self.config, &door, &parts.method, path, query, &parts.headers);
        let route = match target {
            Ok(Target::Budget) => return budget(attempt),
            Ok(Target::Route(route)) => route,
            Err(NoRoute { dialect, refusal, message }) => {
                // What agents are forbidden to reach is worth a line; what does not exist is not.
                if refusal == Refusal::Policy {
                    let mut call = Call::new(Arc::clone(attempt));
                    call.record.route =
                        format!("{} {}", parts.method, path.chars().take(200).collect::<String>());
                    call.refuse(refusal, &message);
                }
                return closing(refused(dialect, refusal, &message));
            }
        };
        match route.operation {
            Operation::Hello => json_answer(200, Bytes::from_static(b"{}")),
            Operation::Models | Operation::Model => self.models(&route),
            _ => self.call(parts, body, attempt, route).await,
        }
    }

    /// A request for a model: read, checked, and sent or replayed.
    async fn call(
        self: &Arc<Self>,
        parts: Parts,
        body: Incoming,
        attempt: &Arc<AttemptContext>,
        route: Route,
    ) -> Answer {
        let dialect = route.dialect;
        let policy = &self.config.policy;
        let raw = match read_body(
            body,
            &parts.headers,
            policy.request_bytes,
            self.config.timeouts.request(),
        )
        .await
        {
            Ok(raw) => raw,
            Err((refusal, message)) => return closing(refused(dialect, refusal, &message)),
        };
        let mut call = Call::new(Arc::clone(attempt));
        call.record.route = format!("{} {}", parts.method, route.path);
        call.record.provider.clone_from(&route.upstream);
        call.record.operation = route.operation.name().to_owned();
        call.record.request_bytes = raw.len() as u64;
        call.record.client = text(&parts.headers, header::USER_AGENT.as_str())
            .map(|t| t.chars().take(100).collect());
        call.record.client_retry =
            text(&parts.headers, "x-stainless-retry-count").and_then(|t| t.parse().ok());
        let checked = match self.examine(&mut call, route, parts.headers, raw) {
            Ok(checked) => checked,
            Err((refusal, message)) => {
                call.refuse(refusal, &message);
                return refused(dialect, refusal, &message);
            }
        };
        let job_key = canonical(
            dialect,
            &call.record.route,
            &meaningful(&checked.headers),
            &checked.original,
        );
        if let Some(replay) = &attempt.replay {
            match self.replayed(replay, call, &checked, &job_key) {
                Ok(answer) => return answer,
                Err(live) => call = *live,
            }
        }
        if attempt.recorder().is_on() {
            let headers = meaningful(&checked.headers);
            let job = new_job(&call, dialect, headers, job_key, checked.original.clone());
            call.recording = Some(Box::new(job));
        }
        self.live(call, checked).await
    }

    /// Applies every rule that needs no money.
    fn examine(
        &self,
        call: &mut Call,
        route: Route,
        headers: HeaderMap,
        raw: Bytes,
    ) -> Result<Checked, Refused> {
        let mut body = parse_object(&raw)?;
        let original = Value::Object(body.clone());
        let provider = self.provider(&route);
        let wants =
            Wants::read(route.dialect, route.operation, route.model.as_deref(), &body, raw.len())?;
        let header_role = text(&headers, "x-medalist-role").and_then(clean_role);
        let record = &mut call.record;
        record.request_model.clone_from(&wants.model);
        record.role = route.role.clone().or(header_role).unwrap_or_else(|| wants.model.clone());
        record.stream = wants.stream;
        record.max_tokens = wants.max_output;
        let mode = self.config.policy.hosted_tools;
        let verdict = policy::apply(route.dialect, route.operation, &mut body, mode);
        record.stripped.clone_from(&verdict.stripped);
        if let Some(why) = verdict.refused {
            return Err((Refusal::Policy, why));
        }
        for model in std::iter::once(&wants.model).chain(&verdict.other_models) {
            if !provider.config.allows(model) {
                let allowed = provider.config.models.join(", ");
                let message = format!("model `{model}` is not allowed; allowed are: {allowed}");
                return Err((Refusal::Policy, message));
            }
        }
        if let Some(earlier) = body.get("previous_response_id").and_then(Value::as_str)
            && mode != HostedTools::Allow
            && !call.attempt.knows_response(earlier)
        {
            let message = "`previous_response_id` is no answer to this attempt".to_owned();
            return Err((Refusal::Policy, message));
        }
        let changed = !verdict.stripped.is_empty();
        Ok(Checked { route, headers, raw, original, body, wants, changed })
    }

    fn provider(&self, route: &Route) -> &Provider {
        &self.providers[&route.upstream]
    }

    /// The recorded answer; the call itself again if it must go to the provider.
    fn replayed(
        &self,
        replay: &Replay,
        mut call: Call,
        checked: &Checked,
        (key, request): &(String, Value),
    ) -> Result<Answer, Box<Call>> {
        let dialect = checked.route.dialect;
        let recorded = match replay.answer(dialect, &call.record.route, key, request) {
            Ok(recorded) => recorded,
            Err(_) if replay.options().through => return Err(Box::new(call)),
            Err(message) => {
                let attempt = call.attempt.id().to_owned();
                call.attempt.events().send(Event::ReplayMiss { attempt, message: message.clone() });
                call.refuse(Refusal::ReplayMiss, &message);
                return Ok(refused(dialect, Refusal::ReplayMiss, &message));
            }
        };
        let body = Bytes::from(recorded.body);
        let events = recorded
            .headers
            .iter()
            .any(|(n, v)| n == "content-type" && v.starts_with("text/event-stream"));
        let mut meter = Meter::new(dialect, checked.route.operation, events, false);
        meter.next(body.clone());
        meter.close();
        call.record.status = recorded.status;
        call.record.replayed_call = Some(recorded.call);
        call.record.response_bytes = body.len() as u64;
        call.meter = Some(meter);
        call.free = true;
        call.book(Outcome::ReplayHit);
        let (pace, whole) = (replay.options().pace, recorded.whole);
        let replayed = Replayed::new(body, recorded.chunks, pace, whole, call);
        let mut answer = Response::new(AnswerBody::Replayed(Box::new(replayed)));
        *answer.status_mut() =
            http::StatusCode::from_u16(recorded.status).unwrap_or(http::StatusCode::OK);
        for (name, value) in recorded.headers {
            if let (Ok(name), Ok(value)) =
                (http::HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                answer.headers_mut().append(name, value);
            }
        }
        answer.headers_mut().insert("x-medalist-replay", HeaderValue::from(recorded.call));
        Ok(answer)
    }

    /// Reserves, sends, and relays.
    async fn live(self: &Arc<Self>, mut call: Call, mut checked: Checked) -> Answer {
        let dialect = checked.route.dialect;
        let hold = patience(&checked.headers, self.config.timeouts.hold_s);
        if let Err((refusal, message)) = self.reserve(&mut call, &checked, hold).await {
            call.refuse(refusal, &message);
            return refused(dialect, refusal, &message);
        }
        if let Some(cap) = call.reservation.as_ref().and_then(|r| r.output_cap()) {
            let route = &checked.route;
            set_max_output(dialect, route.operation, &route.upstream, &mut checked.body, cap);
            call.record.cut_to = Some(cap);
            checked.changed = true;
        }
        let (outgoing, without_usage) = self.outgoing(&checked);
        let strip_usage = without_usage.is_some();
        let provider = self.provider(&checked.route);
        let attempt = Arc::clone(&call.attempt);
        let sending = Sending {
            way: &self.way,
            gates: &self.gates,
            timeouts: &self.config.timeouts,
            holds: &attempt.holds,
            hold,
        };
        let mut counts = Counts::default();
        let sent = sending
            .send(provider, outgoing, without_usage, &mut counts, |tries| {
                call.record.tries = tries;
                if tries == 1 {
                    call.mark_sent();
                }
            })
            .await;
        call.record.held_ms = counts.held.as_secs_f64() * 1e3;
        match sent {
            Ok(Reply::Answer(response)) => self.relay(call, checked, *response, strip_usage),
            Ok(Reply::Error { status, headers, body }) => {
                error_answer(call, provider, status, &headers, body)
            }
            Err(GaveUp { refusal, message, may_cost }) => {
                call.may_cost = may_cost;
                call.refuse(refusal, &message);
                refused(dialect, refusal, &message)
            }
        }
    }

    async fn reserve(
        self: &Arc<Self>,
        call: &mut Call,
        checked: &Checked,
        hold: Duration,
    ) -> Result<(), Refused> {
        let wants = &checked.wants;
        let (upstream, model) = (checked.route.upstream.clone(), wants.model.clone());
        call.free = checked.route.operation == Operation::CountTokens;
        let price = self.price(&upstream, &model, None);
        let (own, group) = call.attempt.balances();
        let limited = own.limits.dollars.is_some() || group.limits.dollars.is_some();
        if price.is_none()
            && limited
            && !call.free
            && self.config.budget.unknown_price == UnknownPrice::Refuse
        {
            let message = format!(
                "the price of `{model}` is unknown, so that the budget in dollars could not hold"
            );
            return Err((Refusal::Policy, message));
        }
        let context = price.as_ref().and_then(|p| p.context).unwrap_or(u64::MAX);
        call.input = if call.free { 0 } else { wants.input.min(context) };
        let ask = Ask {
            input: call.input,
            input_bound: if call.free { 0 } else { wants.input_bound },
            max_output: wants.max_output,
            choices: wants.choices,
            writes: wants.writes,
            price: price.as_ref().filter(|_| !call.free),
        };
        let since = Instant::now();
        let admitted = tokio::time::timeout(hold, self.ledger.admit(call.attempt.id(), &ask)).await;
        let waited = since.elapsed();
        call.record.budget_wait_ms =
            if waited > Duration::from_millis(1) { waited.as_secs_f64() * 1e3 } else { 0.0 };
        let gateway = Arc::clone(self);
        call.pricing = Some(Box::new(move |tier| gateway.price(&upstream, &model, tier)));
        match admitted {
            Ok(Ok(reservation)) => {
                call.reservation = Some(reservation);
                Ok(())
            }
            Ok(Err(why)) => Err((Refusal::Budget, why)),
            Err(_) => {
                let message =
                    "the rest of the budget is held by calls under way; try again".to_owned();
                Err((Refusal::Unavailable, message))
            }
        }
    }

    /// The request to the provider; and, where the gateway has added `stream_options` to it, the
    /// body without them. The chunk with the usage must then be taken out of the answer.
    fn outgoing(&self, checked: &Checked) -> (Outgoing, Option<Bytes>) {
        let route = &checked.route;
        let provider = self.provider(route);
        let plain = if checked.changed {
            Bytes::from(Value::Object(checked.body.clone()).to_string())
        } else {
            checked.raw.clone()
        };
        let streams = checked.wants.stream
            && matches!(route.operation, Operation::Chat | Operation::Completions);
        let asked = checked.body.get("stream_options").and_then(|o| o.get("include_usage"))
            == Some(&Value::Bool(true));
        let inject = streams && !asked && !provider.no_stream_options.load(Ordering::Relaxed);
        let body = if inject { with_usage(checked, &plain) } else { plain.clone() };
        let outgoing = Outgoing {
            path: route.target(),
            headers: provider.headers(&checked.headers, route.dialect),
            body,
            model: checked.wants.model.clone(),
        };
        (outgoing, inject.then_some(plain))
    }

    /// Passes an answer on as it comes.
    fn relay(
        &self,
        mut call: Call,
        checked: Checked,
        response: reqwest::Response,
        strip_usage: bool,
    ) -> Answer {
        let provider = self.provider(&checked.route);
        let response = Response::<reqwest::Body>::from(response);
        let (parts, source) = response.into_parts();
        let kind = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let events = kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
        let route = &checked.route;
        call.meter = Some(Meter::new(route.dialect, route.operation, events, strip_usage));
        call.record.status = parts.status.as_u16();
        let headers = down(&parts.headers, provider);
        if let Some(job) = &mut call.recording {
            job.answer.status = parts.status.as_u16();
            job.answer.headers = list(&headers);
        }
        let relay = Relay {
            source: Clean::new(source, &provider.needles, self.config.timeouts.idle()),
            call,
            upstream: route.upstream.clone(),
            events,
            done: false,
            gone: false,
        };
        let mut answer = Response::new(AnswerBody::Relay(Some(Box::new(relay))));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = headers;
        answer
    }

    /// The models that the settings allow, in the dialect's own list.
    fn models(&self, route: &Route) -> Answer {
        let config = &self.provider(route).config;
        let provider = config.price_provider.as_deref().unwrap_or_default();
        let names = match &route.model {
            Some(model) if !config.allows(model) => {
                return refused(
                    route.dialect,
                    Refusal::NotFound,
                    &format!("there is no model `{model}`"),
                );
            }
            Some(model) => vec![model.clone()],
            None => {
                let exact = config.models.iter().filter(|m| !m.contains(['*', '#', '!'])).cloned();
                let mut names: Vec<String> = exact.collect();
                names.extend(
                    self.prices
                        .names(provider)
                        .filter(|name| config.allows(name))
                        .map(str::to_owned),
                );
                names.dedup();
                names
            }
        };
        let one = |name: &String| match route.dialect {
            Dialect::OpenAi => {
                json!({"id": name, "object": "model", "created": 0, "owned_by": route.upstream})
            }
            Dialect::Anthropic => {
                json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
            }
            Dialect::Gemini => json!({"name": format!("models/{name}"), "displayName": name,
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"]}),
        };
        let all: Vec<Value> = names.iter().map(one).collect();
        let value = match (&route.model, route.dialect) {
            (Some(_), _) => all[0].clone(),
            (None, Dialect::OpenAi) => json!({"object": "list", "data": all}),
            (None, Dialect::Anthropic) => {
                json!({"data": all, "has_more": false, "first_id": names.first(), "last_id": names.last()})
            }
            (None, Dialect::Gemini) => json!({ "models": all }),
        };
        json_answer(200, value.to_string().into())
    }
}

/// The body with `include_usage`, every other byte as it was where that is possible.
fn with_usage(checked: &Checked, plain: &Bytes) -> Bytes {
    if checked.body.contains_key("stream_options") {
        let mut body = checked.body.clone();
        match body.get_mut("stream_options") {
            Some(Value::Object(options)) => {
                options.insert("include_usage".to_owned(), true.into());
            }
            _ => {
                body.insert("stream_options".to_owned(), json!({"include_usage": true}));
            }
        }
        return Value::Object(body).to_string().into();
    }
    let start = plain.iter().position(|b| *b == b'{').map_or(0, |at| at + 1);
    [&plain[..start], br#""stream_options":{"include_usage":true},"#, &plain[start..]]
        .concat()
        .into()
}

/// A provider's error, which is the client's to handle.
fn error_answer(
    mut call: Call,
    provider: &Provider,
    status: u16,
    headers: &HeaderMap,
    body: Bytes,
) -> Answer {
    call.may_cost = false;
    call.record.status = status;
    call.record.error = Some(status.to_string());
    let headers = down(headers, provider);
    let body = if provider.needles.found_in(&body) {
        let (upstream, attempt) = (provider.name.clone(), call.attempt.id().to_owned());
        call.attempt.events().send(Event::KeyInAnswer { upstream, attempt });
        error_body(
            provider.config.dialect(),
            Refusal::BadGateway,
            "the provider's error held a secret of the harness",
        )
    } else {
        body
    };
    if let Some(job) = &mut call.recording {
        job.answer.status = status;
        job.answer.headers = list(&headers);
    }
    call.book(Outcome::UpstreamError);
    call.keep_whole(&body);
    let mut answer = Response::new(AnswerBody::Full(Some(body)));
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *answer.headers_mut() = headers;
    answer
}

/// The provider's headers that the client gets.
pub(crate) fn down(headers: &HeaderMap, provider: &Provider) -> HeaderMap {
    let passes = |(name, value): &(&http::HeaderName, &HeaderValue)| {
        passes_down(name) && !provider.needles.found_in(value.as_bytes())
    };
    headers.iter().filter(passes).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn meaningful(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |name: &&str| text(headers, name).map(|v| ((*name).to_owned(), v.to_owned()));
    MEANINGFUL.iter().filter_map(value).collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}
