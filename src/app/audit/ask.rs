//! A language model that is asked about attempts and competitions: opened with a budget, and with
//! the recording of what was asked before, which is not paid again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use medalist_llm::ask::{Question, Served, Unanswered};
use medalist_llm::config::{Limits, UnknownPrice};
use medalist_llm::events::EventSink;
use medalist_llm::record::{Exhausted, Replay, ReplayOptions};
use medalist_llm::{AttemptContext, AttemptSpec, Config, Gateway, Picodollars};
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use super::super::context::Context;
use super::super::error::{CliError, Exit};
use super::super::llm::{config_error, llm_error, reach, service_folders};
use crate::host::lock::lock;

/// Questions that are under way at the same time.
pub(super) const AT_ONCE: usize = 4;
/// How long a certificate of the gateway holds, which nobody here needs.
const DAYS: i64 = 30;

/// Which model is asked, and what that may cost.
#[derive(Debug, Clone)]
pub struct AskRequest {
    /// Settings of language models: an `llm.toml`.
    pub settings: PathBuf,
    /// The model, by the provider's name for it, or `upstream/model`.
    pub model: String,
    /// What all questions together may cost, those of earlier calls of the command too.
    pub budget: Picodollars,
    /// Who answers.
    pub access: Access,
}

/// Who answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The recording of what was asked before, and else the provider.
    Provider,
    /// The recording alone: no provider, and no key.
    Recording,
    /// Nobody: only the price is wanted.
    Nobody,
}

/// What questions come to before any is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Questions; those that are in the recording already cost nothing.
    pub questions: usize,
    /// Tokens that go in, about.
    pub input_tokens: u64,
    /// Tokens that come back, at most.
    pub output_tokens: u64,
    /// Dollars, at most about; none if the price is unknown.
    pub dollars: Option<f64>,
}

impl Default for Estimate {
    fn default() -> Self {
        Self { questions: 0, input_tokens: 0, output_tokens: 0, dollars: Some(0.0) }
    }
}

impl Estimate {
    /// Adds what other questions come to.
    pub(super) fn add(&mut self, other: &Self) {
        self.questions += other.questions;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.dollars = self.dollars.zip(other.dollars).map(|(a, b)| a + b);
    }
}

/// What was asked so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spent {
    /// Calls that reached a provider.
    pub calls: u64,
    /// Dollars, as far as prices are known.
    pub dollars: f64,
}

/// What is left of a budget.
pub(super) fn left_of(budget: Picodollars, spent: Option<Spent>) -> Picodollars {
    let spent = spent.map_or(0.0, |spent| spent.dollars);
    budget.saturating_sub(Picodollars((spent * 1e12) as u64))
}

/// A model that answers.
pub(super) struct Asker {
    gateway: Arc<Gateway>,
    attempt: Arc<AttemptContext>,
    served: Served,
    budget: Picodollars,
    _held: Flock<File>,
}

impl Asker {
    /// Opens the model; `dir` is the folder of its bill and recording, which is gone on with.
    ///
    /// # Errors
    /// The settings cannot be used, they allow the model nowhere, its price is unknown, nobody
    /// answers at the provider's address, or another process works in the folder.
    pub(super) async fn open(
        request: &AskRequest,
        dir: &Path,
        context: &Context,
    ) -> Result<Self, CliError> {
        let mut config = Config::read(&request.settings).map_err(config_error)?;
        config.record.recording = true;
        // Nobody comes by a provider's own name, so that no certificate is needed.
        config.upstreams.values_mut().for_each(|upstream| upstream.hosts = Some(Vec::new()));
        let asks = request.access == Access::Provider;
        if !asks {
            config = config.without_keys();
        }
        let prices_may_lack = config.budget.unknown_price == UnknownPrice::Allow;
        let gateway =
            Gateway::new(config, EventSink::ignore()).map_err(|error| llm_error(error.into()))?;
        let served = gateway
            .serving(&request.model)
            .map_err(|error| CliError::new(Exit::BadInput, error))?;
        if gateway.quote(&served, 1, 1).is_none() && !prices_may_lack && asks {
            let what = format!("the price of `{}` is unknown: no budget can hold", served.model);
            return Err(CliError::message(Exit::BadInput, what).hint(format!(
                "`[prices.\"{}\"]` in `{}` gives one; `price = \"free\"` is for your own server",
                served.model,
                request.settings.display()
            )));
        }
        if asks {
            gateway.find_service_in(service_folders(None, context));
            reach(&gateway).await?;
        }
        std::fs::create_dir_all(dir).map_err(|error| {
            CliError::new(Exit::Environment, error)
                .context(format!("cannot create `{}`", dir.display()))
        })?;
        let held =
            lock(&dir.join("ask.lock"), FlockArg::LockExclusiveNonblock).map_err(|error| {
                CliError::new(Exit::BadInput, error).hint("wait for it, or stop it")
            })?;
        let attempt = gateway
            .open(AttemptSpec {
                id: "audit".to_owned(),
                dir: dir.to_owned(),
                limits: Some(Limits { dollars: Some(request.budget), ..Limits::default() }),
                until: Utc::now() + TimeDelta::days(DAYS),
                replay: recorded(dir, request.access)?,
            })
            .map_err(|error| llm_error(error.into()))?;
        Ok(Self { gateway, attempt, served, budget: request.budget, _held: held })
    }

    /// What these questions come to.
    pub(super) fn estimate(&self, questions: impl Iterator<Item = Question>) -> Estimate {
        let mut estimate = Estimate::default();
        for question in questions {
            let (sent, most) = (question.input_tokens(), u64::from(question.answer_tokens));
            let price = self.gateway.quote(&self.served, sent, most).map(Picodollars::dollars);
            estimate.add(&Estimate {
                questions: 1,
                input_tokens: sent,
                output_tokens: most,
                dollars: price,
            });
        }
        estimate
    }

    /// Tells what questions come to beside the budget, before any is asked.
    pub(super) fn announce(&self, estimate: &Estimate, group: &str, context: &Context) {
        context.say(format_args!("{group}: {}", self.describe(estimate)));
        if estimate.dollars.is_some_and(|dollars| dollars > self.budget.dollars()) {
            context.warn("that may be more than the budget; questions beyond it are not asked");
        }
    }

    fn describe(&self, estimate: &Estimate) -> String {
        let dollars = estimate.dollars.map_or_else(
            || "price unknown".to_owned(),
            |dollars| format!("about ${dollars:.4} at most"),
        );
        format!(
            "{} questions to {}: about {} tokens in, at most {} out, {dollars}; budget {}",
            estimate.questions,
            self.served.model,
            estimate.input_tokens,
            estimate.output_tokens,
            self.budget
        )
    }

    /// The text that the model answers.
    pub(super) async fn ask(&self, question: &Question) -> Result<String, Unanswered> {
        self.gateway.ask(&self.attempt, &self.served, question).await
    }

    /// The probabilities of a text's tokens, where the server tells them.
    pub(super) async fn probabilities(&self, text: &str) -> Result<Vec<f64>, Unanswered> {
        self.gateway.probabilities(&self.attempt, &self.served, text).await
    }

    /// Ends the bill.
    pub(super) fn close(self) -> Result<Spent, CliError> {
        let spent = self.attempt.balances().0.spent;
        self.attempt.close()?;
        Ok(Spent { calls: spent.calls, dollars: spent.money.dollars() })
    }
}

/// What was asked before.
fn recorded(dir: &Path, access: Access) -> Result<Option<Replay>, CliError> {
    let recording = dir.join("recording");
    if !recording.join("index.jsonl").is_file() {
        return match access {
            Access::Provider | Access::Nobody => Ok(None),
            Access::Recording => Err(CliError::message(
                Exit::BadInput,
                format!("`{}` has no recording: nothing was asked yet", dir.display()),
            )
            .hint("leave `--recorded` out to ask the model")),
        };
    }
    let options = ReplayOptions {
        exhausted: Exhausted::Repeat,
        through: access == Access::Provider,
        ..ReplayOptions::default()
    };
    let replay = Replay::open(&recording, options).map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint(format!("without `{}` all questions are asked, and paid, again", dir.display()))
    })?;
    Ok(Some(replay))
}

/// A model's name as the name of a folder.
pub(super) fn folder_name(model: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = model.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    name.trim_start_matches('.').to_owned()
}

/// An answer without the one fence of code that models like to put round it.
pub(super) fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let Some(inside) = inside else { return text };
    // The language may stand behind the first mark.
    inside.split_once('\n').map_or(inside, |(_, rest)| rest).trim()
}
