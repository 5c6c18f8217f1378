//! Questions of the harness's own: asked through the gateway like an agent's, so that they have a
//! budget, a bill and a recording, too.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::attempt::AttemptContext;
use crate::check::chain;
use crate::dialect::Dialect;
use crate::gateway::Gateway;
use crate::money::Picodollars;
use crate::usage::Buckets;

/// Bytes that are under way between a question and the gateway.
const PIPE: usize = 64 << 10;
/// The largest answer that is read.
const LARGEST: usize = 16 << 20;
/// Characters of a provider's error that are kept.
const REASON: usize = 300;

/// A model as one upstream serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The upstream's name in the settings.
    pub upstream: String,
    /// The model, by the provider's name for it.
    pub model: String,
    dialect: Dialect,
}

/// Why no upstream serves a model, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// The settings allow it at none.
    #[error("no upstream allows the model `{model}`; there are {}", upstreams.join(", "))]
    Nowhere {
        model: String,
        /// Their names.
        upstreams: Vec<String>,
    },
    /// The settings allow it at several.
    #[error("several upstreams allow the model `{model}`: {}", upstreams.join(", "))]
    Several {
        model: String,
        /// Their names.
        upstreams: Vec<String>,
    },
}

/// One question, which goes on from no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the model is told to do.
    pub system: String,
    /// What it is to do it with.
    pub user: String,
    /// Tokens that the answer may have.
    pub answer_tokens: u32,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It costs more than is left.
    #[error("the budget is used up")]
    Budget,
    /// It is not in the recording, and nobody else may be asked.
    #[error("it was not asked before, and only recorded answers are taken")]
    NotRecorded,
    /// The gateway or the provider refused it.
    #[error("status {status}: {message}")]
    Refused {
        status: u16,
        /// The beginning of what was said.
        message: String,
    },
    /// The answer is not of the form that its dialect has.
    #[error("the answer has no text where the dialect `{0}` has it")]
    Form(Dialect),
    /// The answer broke off, or is too large.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

impl Question {
    /// An estimate of the tokens that go in: a third of the bytes.
    pub fn input_tokens(&self) -> u64 {
        (self.system.len() + self.user.len()) as u64 / 3 + 16
    }
}

impl Gateway {
    /// The upstream that serves a model: the one that names it without a pattern, or the only one
    /// that allows it. `upstream/model` says which.
    ///
    /// # Errors
    /// None does, or several do.
    pub fn serving(&self, model: &str) -> Result<Served, NotServed> {
        let upstreams = &self.config().upstreams;
        let served = |upstream: &str, model: &str| Served {
            upstream: upstream.to_owned(),
            model: model.to_owned(),
            dialect: upstreams[upstream].dialect(),
        };
        if let Some((name, rest)) = model.split_once('/')
            && upstreams.get(name).is_some_and(|upstream| upstream.allows(rest))
        {
            return Ok(served(name, rest));
        }
        let names = |fits: &dyn Fn(&crate::config::Upstream) -> bool| -> Vec<String> {
            let fitting = upstreams.iter().filter(|(_, upstream)| fits(upstream));
            fitting.map(|(name, _)| name.clone()).collect()
        };
        let named = names(&|upstream| upstream.models.iter().any(|known| known == model));
        let allowed = names(&|upstream| upstream.allows(model));
        match (named.as_slice(), allowed.as_slice()) {
            ([one], _) | ([], [one]) => Ok(served(one, model)),
            ([], []) => Err(NotServed::Nowhere {
                model: model.to_owned(),
                upstreams: upstreams.keys().cloned().collect(),
            }),
            ([], several) | (several, _) => {
                Err(NotServed::Several { model: model.to_owned(), upstreams: several.to_vec() })
            }
        }
    }

    /// What so many tokens cost at a model's price now; `None` if the price is unknown.
    pub fn quote(&self, served: &Served, input: u64, output: u64) -> Option<Picodollars> {
        let price = self.price(&served.upstream, &served.model, None)?;
        Some(price.cost(&Buckets { input, output, ..Buckets::default() }))
    }

    /// Asks a question in the name of an attempt, and gives the text of the answer.
    ///
    /// # Errors
    /// [`Unanswered`] says why there is none.
    pub async fn ask(
        self: &Arc<Self>,
        attempt: &Arc<AttemptContext>,
        served: &Served,
        question: &Question,
    ) -> Result<String, Unanswered> {
        let (path, body) = request(served, question);
        let answer = self.post(attempt, &path, served.dialect, &body).await?;
        text_of(served.dialect, &answer).ok_or(Unanswered::Form(served.dialect))
    }

    /// The probability that a model gives each token of a text after those before it, but the first.
    ///
    /// Only servers that echo prompts with their probabilities can tell: those of OpenAI's older
    /// completions. No other says so by any one error: all count as refused.
    ///
    /// # Errors
    /// [`Unanswered`] says why they are not known.
    pub async fn probabilities(
        self: &Arc<Self>,
        attempt: &Arc<AttemptContext>,
        served: &Served,
        text: &str,
    ) -> Result<Vec<f64>, Unanswered> {
        let path = format!("/{}/v1/completions", served.upstream);
        let body = json!({"model": served.model, "prompt": text, "max_tokens": 1, "echo": true, "logprobs": 1,
            "temperature": 0});
        if served.dialect != Dialect::OpenAi {
            return Err(Unanswered::Form(served.dialect));
        }
        let answer = self.post(attempt, &path, served.dialect, &body).await?;
        let form = || Unanswered::Form(served.dialect);
        let logs = answer.pointer("/choices/0/logprobs/token_logprobs").and_then(Value::as_array);
        let logs = logs.ok_or_else(form)?;
        let used = answer.pointer("/usage/prompt_tokens").and_then(Value::as_u64);
        // The last is the answer's; the first has nothing before it.
        let prompt = used.map_or(logs.len().saturating_sub(1), |used| used as usize);
        let known = logs.iter().take(prompt).skip(1).filter_map(Value::as_f64);
        let known: Vec<f64> = known.filter(|log| *log <= 0.0).map(f64::exp).collect();
        if known.is_empty() { Err(form()) } else { Ok(known) }
    }

    async fn post(
        self: &Arc<Self>,
        attempt: &Arc<AttemptContext>,
        path: &str,
        dialect: Dialect,
        body: &Value,
    ) -> Result<Value, Unanswered> {
        let broken = |error: &dyn std::error::Error| Unanswered::Broken(chain(error));
        let (near, far) = tokio::io::duplex(PIPE);
        let (gateway, served) = (Arc::clone(self), Arc::clone(attempt));
        let serving = tokio::spawn(async move { gateway.serve(far, served).await });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near))
            .await
            .map_err(|error| broken(&error))?;
        let driving = tokio::spawn(connection);
        let mut request = Request::post(path)
            .header(header::HOST, "medalist")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| broken(&error))?;
        request.headers_mut().extend(dialect.own_headers());
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| broken(&*error))?.to_bytes();
        drop(sender);
        // The call has its line and its place in the recording once both are over.
        let _ = driving.await;
        let _ = serving.await;
        let parsed = serde_json::from_slice::<Value>(&body);
        match status {
            200..=299 => parsed.map_err(|error| broken(&error)),
            402 => Err(Unanswered::Budget),
            404 if attempt.replay.as_ref().is_some_and(|replay| !replay.options().through) => {
                Err(Unanswered::NotRecorded)
            }
            status => {
                let text = String::from_utf8_lossy(&body);
                let message = text.chars().map(|c| if c.is_control() { ' ' } else { c });
                Err(Unanswered::Refused { status, message: message.take(REASON).collect() })
            }
        }
    }
}

fn request(served: &Served, question: &Question) -> (String, Value) {
    let Question { system, user, answer_tokens } = question;
    let Served { upstream, model, dialect } = served;
    match dialect {
        Dialect::OpenAi => {
            // OpenAI's newer models know the new name alone, and other servers the old one.
            let limit = if upstream == "openai" { "max_completion_tokens" } else { "max_tokens" };
            let messages =
                json!([{"role": "system", "content": system}, {"role": "user", "content": user}]);
            let body = json!({"model": model, "messages": messages, limit: answer_tokens});
            (format!("/{upstream}/v1/chat/completions"), body)
        }
        Dialect::Anthropic => (
            format!("/{upstream}/v1/messages"),
            json!({"model": model, "max_tokens": answer_tokens, "system": system,
                "messages": [{"role": "user", "content": user}]}),
        ),
        Dialect::Gemini => (
            format!("/{upstream}/v1beta/models/{model}:generateContent"),
            json!({"systemInstruction": {"parts": [{"text": system}]},
                "contents": [{"role": "user", "parts": [{"text": user}]}],
                "generationConfig": {"maxOutputTokens": answer_tokens}}),
        ),
    }
}

/// What a model said, without what it thought.
fn text_of(dialect: Dialect, answer: &Value) -> Option<String> {
    let parts = |at: &str| answer.pointer(at).and_then(Value::as_array);
    let joined = |parts: &[Value], is_said: fn(&Value) -> bool| -> Option<String> {
        let said = parts.iter().filter(|part| is_said(part));
        let texts: Vec<&str> =
            said.filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
        (!texts.is_empty()).then(|| texts.concat())
    };
    match dialect {
        Dialect::OpenAi => {
            answer.pointer("/choices/0/message/content").and_then(Value::as_str).map(str::to_owned)
        }
        Dialect::Anthropic => {
            joined(parts("/content")?, |part| part.get("type").is_some_and(|kind| kind == "text"))
        }
        Dialect::Gemini => joined(parts("/candidates/0/content/parts")?, |part| {
            part.get("thought").is_none_or(|thought| thought == false)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::events::EventSink;

    fn gateway(text: &str) -> Arc<Gateway> {
        let config = Config::parse(text, std::path::Path::new("llm.toml")).expect("it is valid");
        Gateway::new(config, EventSink::ignore()).expect("it opens")
    }

    #[test]
    fn the_upstream_is_the_one_that_names_the_model_or_alone_allows_it() {
        let gateway = gateway(
            "[upstreams.a]\nbase_url = \"http://localhost:1/v1\"\nmodels = [\"m\", \"x*\"]\nprice = \"free\"\n\
             [upstreams.b]\nbase_url = \"http://localhost:2/v1\"\nmodels = [\"m*\", \"x*\"]\n",
        );
        let at = |model: &str| gateway.serving(model).map(|served| served.upstream);
        assert_eq!(at("m"), Ok("a".to_owned()), "it is named there");
        assert_eq!(at("m2"), Ok("b".to_owned()));
        assert_eq!(at("b/m"), Ok("b".to_owned()));
        assert!(matches!(at("x1"), Err(NotServed::Several { .. })));
        assert!(matches!(at("y"), Err(NotServed::Nowhere { .. })));
        let quote = |model: &str| gateway.quote(&gateway.serving(model).expect("served"), 10, 10);
        assert_eq!((quote("m"), quote("m2")), (Some(Picodollars(0)), None));
    }

    #[test]
    fn each_dialect_has_its_text_elsewhere() {
        for (dialect, answer) in [
            (Dialect::OpenAi, json!({"choices": [{"message": {"content": "said"}}]})),
            (
                Dialect::Anthropic,
                json!({"content": [{"type": "thinking", "text": "no"}, {"type": "text", "text": "said"}]}),
            ),
            (
                Dialect::Gemini,
                json!({"candidates": [{"content": {"parts": [{"text": "no", "thought": true}, {"text": "said"}]}}]}),
            ),
        ] {
            assert_eq!(text_of(dialect, &answer).as_deref(), Some("said"));
            assert_eq!(text_of(dialect, &json!({"choices": []})), None);
        }
    }
}
