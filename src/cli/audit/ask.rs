//! The parts of `medalist audit` that ask a language model.

use std::path::PathBuf;

use medalist_audit::Confidence;
use medalist_llm::Picodollars;

use super::Format;
use crate::app::audit::ask::{Access, AskRequest};
use crate::app::audit::familiarity::{FamiliarityRequest, familiarity};
use crate::app::audit::judge::{JudgeRequest, LEAST_CONTEXT, judge};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;
use crate::app::terminal::look;

/// What a language model is asked, and what that may cost (docs/judge.md).
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Asking a language model")]
pub(super) struct AskArgs {
    /// Have a language model read conversation, output and code in place of the rules, and quote what may
    /// be a violation. How often it is right is not measured.
    #[arg(long, value_name = "MODEL", requires = "llm", conflicts_with = "familiarity")]
    judge: Option<String>,
    /// Measure how much the models that `--model` names know the competitions, and set it beside the medal
    /// rate. Rows of the public data go to their providers.
    #[arg(long, requires = "llm", requires = "model")]
    familiarity: bool,
    /// A model for `--familiarity`, by the provider's name for it; may be repeated.
    #[arg(long, value_name = "NAME", requires = "familiarity")]
    model: Vec<String>,
    /// Settings of language models: an `llm.toml` (docs/llm.md).
    #[arg(long, value_name = "FILE")]
    llm: Option<PathBuf>,
    /// What all questions together may cost, those of earlier calls of the command too.
    #[arg(long, value_name = "DOLLARS", default_value = "5.00", value_parser = dollars)]
    budget: Picodollars,
    /// Tokens that the judge's context holds; what it reads is cut into pieces that fit.
    #[arg(long, value_name = "TOKENS", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(i64::from(LEAST_CONTEXT)..))]
    context_tokens: u32,
    /// Say how many questions there are and what they may cost, and exit.
    #[arg(long)]
    estimate: bool,
    /// Ask no provider: take the answers that are recorded, and count what has none as not judged.
    #[arg(long, conflicts_with = "estimate")]
    recorded: bool,
}

fn dollars(text: &str) -> Result<Picodollars, String> {
    Picodollars::parse(text.trim_start_matches('$'))
        .ok_or_else(|| "expected dollars such as `5.00`".to_owned())
}

impl AskArgs {
    /// Whether a model is to be asked.
    pub(super) fn is_given(&self) -> bool {
        self.judge.is_some() || self.familiarity
    }

    /// Asks.
    ///
    /// # Errors
    /// A group is missing or damaged, or a model cannot be asked at all.
    pub(super) fn run(
        &self,
        groups: &[PathBuf],
        format: Format,
        fail_on: Option<Confidence>,
        context: &Context,
    ) -> Result<Exit, CliError> {
        let Some(settings) = self.llm.clone() else {
            return Err(CliError::message(Exit::Usage, "no settings of language models are named")
                .hint("give `--llm FILE`"));
        };
        let ask = AskRequest {
            settings,
            model: self.judge.clone().unwrap_or_default(),
            budget: self.budget,
            access: match (self.estimate, self.recorded) {
                (true, _) => Access::Nobody,
                (false, true) => Access::Recording,
                (false, false) => Access::Provider,
            },
        };
        let runtime = start_runtime()?;
        if self.familiarity {
            let request = FamiliarityRequest { groups, models: &self.model, ask };
            let found = runtime.block_on(familiarity(&request, context))?;
            if !self.estimate {
                context.print(match format {
                    Format::Text => found.text(look()),
                    Format::Markdown => found.markdown(),
                    Format::Json => serde_json::to_string_pretty(&found)? + "\n",
                })?;
            }
            return Ok(Exit::Success);
        }
        let request = JudgeRequest { groups, ask, context_tokens: self.context_tokens };
        let judged = runtime.block_on(judge(&request, context))?;
        if self.estimate {
            return Ok(Exit::Success);
        }
        context.print(match format {
            Format::Text => judged.text(look()),
            Format::Markdown => judged.markdown(),
            Format::Json => serde_json::to_string_pretty(&judged)? + "\n",
        })?;
        Ok(if fail_on.is_some_and(|confidence| judged.has(confidence)) {
            Exit::Findings
        } else if judged.has_gaps() {
            Exit::Partial
        } else {
            Exit::Success
        })
    }
}
