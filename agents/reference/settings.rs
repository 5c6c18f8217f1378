//! What the agent is told: arguments, which `kwargs` of agent.toml become, and the environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Roles that call a language model.
pub(crate) const ROLES: [&str; 6] =
    ["engineer", "manager", "designer", "coder", "tuner", "aggregator"];
/// Candidates beyond this are refused: each is a model of its own to train.
const MOST_CANDIDATES: u32 = 16;

/// Which of the two agents this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Team {
    /// One agent in one loop.
    Flat,
    /// A manager and those it directs.
    Hierarchical,
}

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) team: Team,
    /// The model of roles that have none of their own; the first that the gateway lists if absent.
    pub(crate) model: Option<String>,
    /// Models by role.
    pub(crate) role_models: BTreeMap<String, String>,
    /// How many candidates there may be.
    pub(crate) candidates: u32,
    pub(crate) designer: bool,
    pub(crate) tuner: bool,
    /// Every role reads what all others did, in place of its task alone.
    pub(crate) shared_context: bool,
    /// Calls of a model that one role makes for one task.
    pub(crate) steps: u32,
    /// How long a command of the model may run.
    pub(crate) command: Duration,
    pub(crate) time_limit: Duration,
    pub(crate) data: PathBuf,
    pub(crate) submission: PathBuf,
    pub(crate) code: PathBuf,
    pub(crate) logs: PathBuf,
    /// OpenAI's dialect is spoken at this address.
    pub(crate) llm: String,
    /// The gateway without a path, if there is one.
    pub(crate) gateway: Option<String>,
    pub(crate) budget: Option<String>,
    pub(crate) validate: String,
    pub(crate) key: String,
    pub(crate) cpus: String,
}

impl Settings {
    /// Reads `flat` or `hierarchical` and `--key value` pairs; variables come from `env`.
    ///
    /// # Errors
    /// The argument that is unknown or malformed, and what was expected.
    pub(crate) fn read(
        arguments: &[String],
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let folder = |name: &str, usual: &str| PathBuf::from(env(name).unwrap_or(usual.into()));
        let team = match arguments.first().map(String::as_str) {
            Some("flat") => Team::Flat,
            Some("hierarchical") => Team::Hierarchical,
            other => {
                let found = other.map_or("nothing".into(), |word| format!("`{word}`"));
                return Err(format!(
                    "the first argument is {found}, expected `flat` or `hierarchical`"
                ));
            }
        };
        let mut settings = Self {
            team,
            model: env("MODEL").or_else(|| env("MEDALIST_MODEL")),
            role_models: BTreeMap::new(),
            candidates: 3,
            designer: true,
            tuner: true,
            shared_context: false,
            steps: 60,
            command: Duration::from_secs(3600),
            time_limit: Duration::from_secs(24 * 3600),
            data: folder("DATA_DIR", "/home/data"),
            submission: folder("SUBMISSION_DIR", "/home/submission"),
            code: folder("CODE_DIR", "/home/code"),
            logs: folder("LOGS_DIR", "/home/logs"),
            llm: env("OPENAI_BASE_URL").unwrap_or("http://localhost:4000/openai/v1".into()),
            gateway: env("MEDALIST_LLM_URL"),
            budget: env("MEDALIST_LLM_BUDGET_URL"),
            validate: env("MEDALIST_VALIDATE_URL")
                .unwrap_or("http://localhost:5000/validate".into()),
            key: env("OPENAI_API_KEY").unwrap_or("none".into()),
            cpus: env("MEDALIST_CPUS").unwrap_or("some".into()),
        };
        if let Some(seconds) = env("TIME_LIMIT_SECS") {
            let seconds = whole("TIME_LIMIT_SECS", &seconds)?;
            settings.time_limit = Duration::from_secs(seconds);
        }
        for role in ROLES {
            let own = env(&format!("MODEL_{}", role.to_uppercase()));
            settings.role_models.extend(own.map(|model| (role.to_owned(), model)));
        }
        let mut rest = arguments[1..].iter();
        while let Some(name) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("`{name}` has no value"))?;
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let key = name.strip_prefix("--").unwrap_or(name);
        if let Some(role) = key.strip_prefix("model-").filter(|role| ROLES.contains(role)) {
            self.role_models.insert(role.to_owned(), value.to_owned());
            return Ok(());
        }
        match key {
            "model" => self.model = Some(value.to_owned()),
            "candidates" => {
                let count = whole(name, value)?;
                let count = u32::try_from(count).ok().filter(|n| (1..=MOST_CANDIDATES).contains(n));
                self.candidates = count.ok_or_else(|| {
                    format!("`{name}` is {value}, expected 1 to {MOST_CANDIDATES}")
                })?;
            }
            "designer" => self.designer = truth(name, value)?,
            "tuner" => self.tuner = truth(name, value)?,
            "shared_context" => self.shared_context = truth(name, value)?,
            "steps" => self.steps = u32::try_from(whole(name, value)?).unwrap_or(u32::MAX).max(1),
            "command_s" => self.command = Duration::from_secs(whole(name, value)?.max(1)),
            _ => {
                return Err(format!(
                    "there is no setting `{name}`; known: model, model-ROLE with ROLE of {}, candidates, designer, tuner, \
                     shared_context, steps, command_s",
                    ROLES.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// What is kept back to end well: a twentieth, 2 to 60 seconds, a quarter at most.
    pub(crate) fn margin(&self) -> Duration {
        let twentieth = self.time_limit / 20;
        twentieth.clamp(Duration::from_secs(2), Duration::from_secs(60)).min(self.time_limit / 4)
    }
}

fn whole(name: &str, value: &str) -> Result<u64, String> {
    let number = value.trim().parse::<f64>().ok().filter(|number| *number >= 0.0);
    let number = number.filter(|number| number.fract() == 0.0 && *number < 1e15);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    number
        .map(|number| number as u64)
        .ok_or_else(|| format!("`{name}` is `{value}`, expected a whole number"))
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(format!("`{name}` is `{value}`, expected true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], env: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let find =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Settings::read(&arguments, find)
    }

    #[test]
    fn arguments_go_before_variables() {
        let env =
            [("MODEL", "a"), ("MODEL_CODER", "b"), ("TIME_LIMIT_SECS", "600"), ("DATA_DIR", "")];
        let settings =
            read(&["hierarchical", "--model", "c", "--tuner", "false", "--candidates", "1"], &env);
        let settings = settings.unwrap();
        assert_eq!(settings.model.as_deref(), Some("c"));
        assert_eq!(settings.role_models["coder"], "b");
        assert!(settings.designer && !settings.tuner && settings.candidates == 1);
        assert_eq!(settings.margin(), Duration::from_secs(30));
        assert_eq!(settings.data, PathBuf::from("/home/data"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, words) in [
            (&[][..], "the first argument is nothing"),
            (&["deep"], "`deep`, expected `flat` or `hierarchical`"),
            (&["flat", "--modle", "x"], "no setting `--modle`"),
            (&["flat", "--model"], "`--model` has no value"),
            (&["flat", "--candidates", "0"], "expected 1 to 16"),
            (&["flat", "--tuner", "perhaps"], "expected true or false"),
            (&["flat", "--steps", "1.5"], "expected a whole number"),
        ] {
            let problem = read(arguments, &[]).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn a_short_limit_is_used_too() {
        let settings = read(&["flat"], &[("TIME_LIMIT_SECS", "4")]).unwrap();
        assert_eq!(settings.margin(), Duration::from_secs(1));
    }
}
