//! Placeholders in an agent's settings, such as `{model}` and `{time_limit_min}`: one mechanism for
//! its command, its arguments, its environment and its prompt.

use std::collections::BTreeMap;
use std::time::Duration;

use medalist_competitions::suggestion;
use medalist_llm::config::Limits as Budget;
use serde::{Deserialize, Serialize};

use super::{AgentError, AgentSpec};
use crate::attempt::limits::Limits;

/// What stands before a role's name in a placeholder.
const ROLE: &str = "role.";

/// Every placeholder but those of roles, and what it becomes.
pub(crate) const PLACEHOLDERS: [(&str, &str); 19] = [
    ("model", "the name given with `--model`"),
    ("prompt", "the task in words: `prompt` of agent.toml, or the harness's own"),
    ("time_limit_s", "seconds that the agent has, less the margin for saving"),
    ("time_limit_min", "the same in whole minutes, at least 1"),
    ("time_limit_h", "the same in hours, with two decimals"),
    ("steps", "the same divided by `budget.step`, at least 1"),
    ("dollars", "dollars for language models, less the margin"),
    ("tokens", "tokens of language models, less the margin"),
    ("calls", "calls of language models, less the margin"),
    ("home", "the folder that the others are in, `/home` in a container"),
    ("workdir", "a folder of the agent's own to work in"),
    ("data_dir", "the public data"),
    ("submission_dir", "where `submission.csv` goes"),
    ("logs_dir", "logs that are kept"),
    ("code_dir", "code that is kept"),
    ("agent_dir", "the agent's own files"),
    ("competition", "the competition's id"),
    ("seed", "the attempt's seed"),
    ("cpus", "processors, as a whole number"),
];

/// Placeholders of an amount that a budget may not name.
const AMOUNTS: [&str; 3] = ["dollars", "tokens", "calls"];

/// The prompt of agents that take one and have none of their own.
pub(super) const PROMPT: &str = "\
You are an expert machine-learning engineer. Solve the competition that {data_dir}/description.md describes, alone: nobody \
answers questions. The rules and your budget are in {home}/instructions.txt; read both files first.\n\
- The data are in {data_dir}, read-only. There is no internet, and nothing can be installed. Work in {workdir}.\n\
- Train a model and write its predictions for the test set to {submission_dir}/submission.csv, in the form of the sample \
submission. Write a valid file early and replace it when you have a better one.\n\
- Check the file with: bash {home}/validate_submission.sh {submission_dir}/submission.csv\n\
- You have {time_limit_min} minutes in all. Run programs in the foreground, and keep copies of your scripts in {code_dir}.\n\
- When the file is valid and you cannot improve it any more, say so and end.\n";

/// How an agent is told its share of time and money.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetShare {
    /// What is held back so that work can be saved: a time such as `2min`, or a share such as `5%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<Margin>,
    /// How long one step of the agent is taken to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Span>,
    /// Dollars that it is told where the run has no budget in dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars: Option<f64>,
    /// Likewise in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Likewise in calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

/// A length of time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(length) if !length.is_zero() => Ok(Self(length)),
            _ => Err(format!("`{text}` is no length of time; expected one such as `2min`")),
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        humantime::format_duration(span.0).to_string()
    }
}

/// What is held back of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Margin {
    /// Of the time alone.
    Time(Duration),
    /// Of everything, in percent.
    Percent(f64),
}

impl Default for Margin {
    fn default() -> Self {
        Self::Percent(5.0)
    }
}

impl TryFrom<String> for Margin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match (percent, humantime::parse_duration(&text)) {
            (Some(percent), _) if (0.0..=50.0).contains(&percent) => Ok(Self::Percent(percent)),
            (None, Ok(time)) => Ok(Self::Time(time)),
            _ => Err(format!(
                "`{text}` is no margin; expected a time such as `2min`, or a share up to `50%`"
            )),
        }
    }
}

impl From<Margin> for String {
    fn from(margin: Margin) -> Self {
        match margin {
            Margin::Time(time) => humantime::format_duration(time).to_string(),
            Margin::Percent(percent) => format!("{percent}%"),
        }
    }
}

impl Margin {
    /// What is left of a time. A margin never takes more than a quarter: a short limit is used too.
    fn of_time(self, limit: Duration) -> Duration {
        let margin = match self {
            Self::Time(time) => time,
            Self::Percent(percent) => limit.mul_f64(percent / 100.0),
        };
        limit - margin.min(limit / 4)
    }

    fn of_amount(self, amount: f64) -> f64 {
        match self {
            Self::Time(_) => amount,
            Self::Percent(percent) => amount * (1.0 - percent / 100.0),
        }
    }
}

/// What one attempt's placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Where the agent's folders are: `/home` in a container.
    pub home: &'a str,
    /// The attempt's limits.
    pub limits: &'a Limits,
    /// What an attempt may spend on language models.
    pub budget: Budget,
    /// The competition's id.
    pub competition: &'a str,
    /// The attempt's seed.
    pub seed: u32,
}

impl Told<'_> {
    /// What a placeholder stands for; `None` if nothing says.
    fn value(&self, agent: &AgentSpec, name: &str) -> Option<String> {
        let details = &agent.details;
        let share = &details.budget;
        let save = share.save.unwrap_or_default();
        let time = save.of_time(self.limits.timeout);
        let whole = |amount: u64| (save.of_amount(amount as f64) as u64).to_string();
        let below = |folder: &str| Some(format!("{}/{folder}", self.home));
        if let Some(role) = name.strip_prefix(ROLE) {
            return details.role_models.get(role).or(details.model.as_ref()).cloned();
        }
        match name {
            "model" => details.model.clone(),
            "time_limit_s" => Some(time.as_secs().max(1).to_string()),
            "time_limit_min" => Some((time.as_secs() / 60).max(1).to_string()),
            "time_limit_h" => Some(format!("{:.2}", (time.as_secs_f64() / 3600.0).max(0.01))),
            "steps" => {
                let step = share.step?.0.as_secs_f64();
                Some(((time.as_secs_f64() / step) as u64).max(1).to_string())
            }
            "dollars" => {
                let given = self.budget.dollars.map(medalist_llm::Picodollars::dollars);
                given.or(share.dollars).map(|dollars| format!("{:.2}", save.of_amount(dollars)))
            }
            "tokens" => self.budget.tokens.or(share.tokens).map(whole),
            "calls" => self.budget.calls.or(share.calls).map(whole),
            "home" => Some(self.home.to_owned()),
            "workdir" => below("work"),
            "data_dir" => below("data"),
            "submission_dir" => below("submission"),
            "logs_dir" => below("logs"),
            "code_dir" => below("code"),
            "agent_dir" => below("agent"),
            "competition" => Some(self.competition.to_owned()),
            "seed" => Some(self.seed.to_string()),
            "cpus" => Some((self.limits.cpus.ceil() as u64).max(1).to_string()),
            _ => None,
        }
    }

    /// A text of an agent's settings with its placeholders filled in.
    pub(super) fn fill(&self, agent: &AgentSpec, text: &str) -> Result<String, AgentError> {
        substitute(text, |name| {
            if name == "prompt" {
                // The prompt's own placeholders; it cannot hold itself.
                let prompt = agent.details.prompt.as_deref().unwrap_or(PROMPT);
                return substitute(prompt, |name| self.wanted(agent, name));
            }
            self.wanted(agent, name)
        })
    }

    fn wanted(&self, agent: &AgentSpec, name: &str) -> Result<String, AgentError> {
        self.value(agent, name).ok_or_else(|| {
            let agent = agent.id.clone();
            let how = match name {
                "steps" => "`step` below `[budget]` of its agent.toml says how long one takes".to_owned(),
                _ if AMOUNTS.contains(&name) => format!(
                    "`{name}` below `[budget.attempt]` of the settings of language models says how many, or below `[budget]` \
                     of its agent.toml"
                ),
                _ => "`--model` names it".to_owned(),
            };
            AgentError::NotTold { agent, placeholder: name.to_owned(), how }
        })
    }
}

/// Refuses placeholders that there are not, and roles that the agent does not have.
///
/// # Errors
/// A message with the nearest name.
pub(super) fn check(text: &str, roles: &BTreeMap<String, String>) -> Result<(), String> {
    substitute(text, |name| {
        let known = match name.strip_prefix(ROLE) {
            Some(role) => roles.contains_key(role),
            None => PLACEHOLDERS.iter().any(|(known, _)| *known == name),
        };
        if known {
            return Ok(String::new());
        }
        let of_roles: Vec<String> = roles.keys().map(|role| format!("{ROLE}{role}")).collect();
        let all = PLACEHOLDERS.iter().map(|(name, _)| *name);
        let nearest = suggestion(name, all.chain(of_roles.iter().map(String::as_str)));
        Err(format!(
            "there is no placeholder `{{{name}}}`{nearest} (a text in braces that is none is written `{{{{{name}}}}}`)"
        ))
    })
    .map(|_| ())
}

/// The placeholders in a text.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let _ = substitute::<()>(text, |name| {
        found.push(name.to_owned());
        Ok(String::new())
    });
    found
}

/// A text with each `{name}` replaced. `{{name}}` is the text `{name}`; what is no name in braces,
/// such as JSON, and what follows a `$` or `%`, such as `${HOME}`, `${{ secrets.KEY }}` and curl's
/// `%{http_code}`, stays as it is.
fn substitute<E>(text: &str, mut of: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        rest = after;
        if before.ends_with(['$', '%']) {
            let verbatim = rest.strip_prefix('{').map_or("{", |inner| {
                rest = inner;
                "{{"
            });
            out.push_str(verbatim);
        } else if let Some((name, tail)) = rest.strip_prefix('{').and_then(named)
            && let Some(tail) = tail.strip_prefix('}')
        {
            out.push_str(&format!("{{{name}}}"));
            rest = tail;
        } else if let Some((name, tail)) = named(rest) {
            out.push_str(&of(name)?);
            rest = tail;
        } else {
            out.push('{');
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The name that ends at the next closing brace, and what follows it.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, tail) = text.split_once('}')?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits);
    is_name.then_some((name, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        substitute::<()>(text, |name| Ok(format!("<{name}>"))).unwrap()
    }

    #[test]
    fn only_names_in_braces_are_placeholders() {
        for (text, expected) in [
            ("--model={model} {role.big-coder}", "--model=<model> <role.big-coder>"),
            ("awk {{print}} {x", "awk {print} {x"),
            (r#"{"a": {"b": 1}} {} {A} { model }"#, r#"{"a": {"b": 1}} {} {A} { model }"#),
            ("${HOME} ${{ secrets.KEY }} ${model}", "${HOME} ${{ secrets.KEY }} ${model}"),
            ("curl -w %{http_code} {model}", "curl -w %{http_code} <model>"),
            ("{{{model}}}", "{{model}}"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_the_nearest() {
        let roles = BTreeMap::from([("coder".to_owned(), String::new())]);
        check("{model} {role.coder} {time_limit_min}", &roles).unwrap();
        let error = check("{modle}", &roles).unwrap_err();
        assert!(error.contains("`{modle}`; did you mean `model`?"), "{error}");
        let error = check("{role.codr}", &roles).unwrap_err();
        assert!(error.contains("did you mean `role.coder`?"), "{error}");
        check(PROMPT, &BTreeMap::new()).unwrap();
    }

    #[test]
    fn a_margin_is_held_back_and_never_takes_a_short_limit() {
        let margin = |text: &str| Margin::try_from(text.to_owned());
        let hour = Duration::from_secs(3600);
        assert_eq!(margin("5%").unwrap().of_time(hour), Duration::from_secs(3420));
        assert_eq!(margin("2min").unwrap().of_time(hour), Duration::from_secs(3480));
        assert_eq!(margin("2min").unwrap().of_time(Duration::from_secs(60)).as_secs(), 45);
        assert_eq!(margin("10%").unwrap().of_amount(5.0), 4.5);
        for bad in ["", "5", "80%", "-1%", "soon"] {
            assert!(margin(bad).is_err(), "{bad}");
        }
        assert!(Span::try_from("0s".to_owned()).is_err());
    }
}
