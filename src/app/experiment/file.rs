//! The experiment as a file: what is crossed, what is compared, and what would confound it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use medalist_competitions::suggestion;
use medalist_llm::Picodollars;
use medalist_reports::experiment::{Cell, Factor};
use medalist_reports::stats::sequential::Spending;
use medalist_reports::stats::stopping::Rule;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::super::error::{CliError, Exit};
use super::super::settings::Base;

/// Most seeds of an experiment, as of a run.
const MOST_SEEDS: u32 = 1_000;
/// Most cells that one experiment crosses.
const MOST_CELLS: usize = 500;

/// `FILE.toml` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    notes: Option<String>,
    compare: Option<Factor>,
    agents: Vec<Entry<Agent>>,
    #[serde(default)]
    models: Vec<Entry<Model>>,
    #[serde(default)]
    budgets: Vec<Budget>,
    suites: Vec<Entry<Suite>>,
    #[serde(default = "one")]
    seeds: u32,
    #[serde(default = "one")]
    stage_seeds: u32,
    #[serde(default)]
    alpha: Option<f64>,
    #[serde(default)]
    stop: Stop,
    #[serde(default)]
    max_dollars: Option<Money>,
    #[serde(default, deserialize_with = "one_or_more")]
    prior: Vec<PathBuf>,
    /// Read with the options' own parsers.
    #[serde(default, rename = "run")]
    _run: toml::Table,
}

fn one() -> u32 {
    1
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(one) => Ok(vec![one.into()]),
        several => several.try_into().map_err(|_| {
            serde::de::Error::custom("expected a run group's folder, or a list of them")
        }),
    }
}

/// When to stop before the last stage.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stop {
    rule: StopRule,
    futility: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StopRule {
    #[default]
    ObrienFleming,
    Pocock,
    Never,
}

/// An agent with its settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// What the experiment calls it; the agent's name if not given.
    name: Option<String>,
    /// As `run --agent` takes it.
    pub agent: String,
    /// Other values of its settings.
    #[serde(default)]
    pub kwargs: toml::Table,
    /// The models that it is run with, where not all.
    models: Option<Vec<String>>,
    /// The budgets that it is run on, where not all.
    budgets: Option<Vec<String>>,
    /// The suites that it is run on, where not all.
    suites: Option<Vec<String>>,
}

impl From<String> for Agent {
    fn from(agent: String) -> Self {
        let kwargs = toml::Table::new();
        Self { name: None, agent, kwargs, models: None, budgets: None, suites: None }
    }
}

impl Agent {
    /// What the experiment calls it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| {
            let name = self.agent.trim_end_matches('/');
            name.rsplit('/').next().unwrap_or(name)
        })
    }
}

/// A model, and models of an agent's roles.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    name: Option<String>,
    /// As `run --model` takes it.
    pub model: String,
    /// As `run --role` takes them.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
}

impl From<String> for Model {
    fn from(model: String) -> Self {
        Self { name: None, model, roles: BTreeMap::new() }
    }
}

impl Model {
    /// What the experiment calls it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.model)
    }
}

/// What an attempt may use up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What the experiment calls it.
    pub name: String,
    /// Dollars for language models.
    pub dollars: Option<Money>,
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
    /// Calls.
    pub calls: Option<u64>,
    /// Wall clock, as `run --timeout` takes it.
    pub timeout: Option<String>,
}

impl Budget {
    /// What it sets, in words that can be compared.
    pub fn parts(&self) -> [(&'static str, Option<String>); 4] {
        [
            ("dollars", self.dollars.as_ref().map(|money| money.0.to_string())),
            ("tokens", self.tokens.map(|count| count.to_string())),
            ("calls", self.calls.map(|count| count.to_string())),
            ("timeout", self.timeout.clone()),
        ]
    }
}

/// A suite, or competitions of one's own choice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// A suite's name, or, with `competitions`, any.
    pub name: String,
    /// Their ids; none for those of the suite.
    #[serde(default)]
    pub competitions: Vec<String>,
}

impl From<String> for Suite {
    fn from(name: String) -> Self {
        Self { name, competitions: Vec::new() }
    }
}

/// Dollars, in quotes or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money(pub Picodollars);

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match toml::Value::deserialize(from)? {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        Picodollars::parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no amount; expected dollars such as \"5.00\""
            ))
        })
    }
}

/// A name alone, or a table with more.
#[derive(Debug)]
struct Entry<T>(T);

impl<'de, T: Deserialize<'de> + From<String>> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for Either<T> {
            type Value = Entry<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a table")
            }

            fn visit_str<E>(self, name: &str) -> Result<Entry<T>, E> {
                Ok(Entry(T::from(name.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
        }
        from.deserialize_any(Either(PhantomData))
    }
}

/// An experiment that was read, crossed and found sound.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The file, absolute.
    pub file: PathBuf,
    /// Its text, of which `[run]` is read apart.
    pub text: String,
    /// Its name, which is its folder's below the runs folder.
    pub name: String,
    /// Free words of the user.
    pub notes: Option<String>,
    /// What is compared.
    pub compare: Factor,
    /// The agents.
    pub agents: Vec<Agent>,
    /// The models; none if agents bring their own.
    pub models: Vec<Model>,
    /// The budgets; none if that of `[run]` holds.
    pub budgets: Vec<Budget>,
    /// The suites.
    pub suites: Vec<Suite>,
    /// Seeds a competition and cell after each stage.
    pub stages: Vec<u32>,
    /// When to stop.
    pub rule: Rule,
    /// What it may cost.
    pub max_dollars: Option<Picodollars>,
    /// Run groups that tell what an attempt takes.
    pub prior: Vec<PathBuf>,
    /// The combinations, in the file's order.
    pub cells: Vec<Cell>,
}

impl Experiment {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, has an unknown key or value, or compares what it confounds.
    pub fn read(file: &Path) -> Result<Self, CliError> {
        let file = std::path::absolute(file)?;
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let what = format!("cannot read the experiment `{}`", file.display());
            CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what))
                .hint("docs/experiments.md shows how to write one")
        })?;
        Self::parse(text, file)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// As [`Experiment::read`].
    pub fn parse(text: String, file: PathBuf) -> Result<Self, CliError> {
        let path = file.display().to_string();
        let written: Written = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            CliError::message(
                Exit::BadInput,
                format_args!("`{path}`{line}: {}", with_nearest(error.message())),
            )
            .hint("docs/experiments.md has every key")
        })?;
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = written.name.clone().or(stem).unwrap_or_default();
        let mut agents: Vec<Agent> = written.agents.into_iter().map(|entry| entry.0).collect();
        for agent in &mut agents {
            agent.name.get_or_insert_with(|| Agent::from(agent.agent.clone()).name().to_owned());
            agent.agent = Base::NameOrPath.from(&agent.agent, &dir);
        }
        let rule = rule(written.alpha, &written.stop).map_err(|why| refuse(&path, why))?;
        let mut experiment = Self {
            name,
            notes: written.notes,
            compare: written.compare.unwrap_or(Factor::Agent),
            agents,
            models: written.models.into_iter().map(|entry| entry.0).collect(),
            budgets: written.budgets,
            suites: written.suites.into_iter().map(|entry| entry.0).collect(),
            stages: stages(written.seeds, written.stage_seeds).map_err(|why| refuse(&path, why))?,
            rule,
            max_dollars: written.max_dollars.map(|money| money.0),
            prior: written.prior.iter().map(|path| dir.join(path)).collect(),
            cells: Vec::new(),
            file,
            text,
        };
        experiment.check_names().map_err(|why| refuse(&path, why))?;
        experiment.cells = experiment.cross();
        if experiment.cells.len() > MOST_CELLS {
            let why = format!("it crosses {} cells, at most {MOST_CELLS}", experiment.cells.len());
            return Err(refuse(&path, why));
        }
        experiment.settle(written.compare).map_err(|error| error.context(format!("`{path}`")))?;
        Ok(experiment)
    }

    /// Names that stand in folders and tables, each once, and lists that name what there is.
    fn check_names(&self) -> Result<(), String> {
        is_name("name", &self.name)?;
        let all = |what: &str, names: Vec<&str>| -> Result<(), String> {
            let mut seen = BTreeSet::new();
            for name in names {
                if name.is_empty() || name.chars().any(char::is_control) {
                    return Err(format!("a name of `{what}` is empty or cannot be shown"));
                }
                if !seen.insert(name) {
                    return Err(format!(
                        "`{what}` has `{name}` twice; give one of them another `name`"
                    ));
                }
            }
            Ok(())
        };
        if self.agents.is_empty() || self.suites.is_empty() {
            let what = if self.agents.is_empty() { "agents" } else { "suites" };
            return Err(format!("`{what}` is empty, expected at least one"));
        }
        all("agents", self.agents.iter().map(Agent::name).collect())?;
        all("models", self.models.iter().map(Model::name).collect())?;
        all("budgets", self.budgets.iter().map(|budget| budget.name.as_str()).collect())?;
        all("suites", self.suites.iter().map(|suite| suite.name.as_str()).collect())?;
        for agent in &self.agents {
            let lists = [
                ("models", &agent.models, self.models.iter().map(Model::name).collect::<Vec<_>>()),
                ("budgets", &agent.budgets, self.budgets.iter().map(|b| b.name.as_str()).collect()),
                ("suites", &agent.suites, self.suites.iter().map(|s| s.name.as_str()).collect()),
            ];
            for (what, listed, known) in lists {
                let mut names = listed.iter().flatten();
                if let Some(name) = names.find(|name| !known.contains(&name.as_str())) {
                    let nearest = suggestion(name, known.iter().copied());
                    return Err(format!(
                        "agent `{}` is to run with `{name}` of `{what}`, which the experiment does not have{nearest}",
                        agent.name()
                    ));
                }
            }
            check_kwargs(agent, !self.models.is_empty())?;
        }
        Ok(())
    }

    /// All combinations, in the file's order.
    fn cross(&self) -> Vec<Cell> {
        let models: Vec<Option<&str>> = optional(self.models.iter().map(Model::name));
        let budgets: Vec<Option<&str>> = optional(self.budgets.iter().map(|b| b.name.as_str()));
        let takes = |list: &Option<Vec<String>>, name: Option<&str>| {
            list.as_ref().is_none_or(|list| name.is_none_or(|name| list.iter().any(|n| n == name)))
        };
        let mut cells = Vec::new();
        for suite in &self.suites {
            for model in &models {
                for budget in &budgets {
                    let runs = |agent: &&Agent| {
                        takes(&agent.models, *model)
                            && takes(&agent.budgets, *budget)
                            && takes(&agent.suites, Some(&suite.name))
                    };
                    cells.extend(self.agents.iter().filter(runs).map(|agent| Cell {
                        agent: agent.name().to_owned(),
                        model: model.map(str::to_owned),
                        budget: budget.map(str::to_owned),
                        suite: suite.name.clone(),
                    }));
                }
            }
        }
        cells
    }

    /// The agent of a cell.
    pub fn agent(&self, cell: &Cell) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.name() == cell.agent)
    }

    /// The model of a cell.
    pub fn model(&self, cell: &Cell) -> Option<&Model> {
        let name = cell.model.as_deref()?;
        self.models.iter().find(|model| model.name() == name)
    }

    /// The budget of a cell.
    pub fn budget(&self, cell: &Cell) -> Option<&Budget> {
        let name = cell.budget.as_deref()?;
        self.budgets.iter().find(|budget| budget.name == name)
    }

    /// The suite of a cell.
    pub fn suite(&self, cell: &Cell) -> Option<&Suite> {
        self.suites.iter().find(|suite| suite.name == cell.suite)
    }
}

fn refuse(path: &str, why: String) -> CliError {
    CliError::message(Exit::BadInput, format_args!("`{path}`: {why}"))
}

/// All of them, or the one that is not set.
fn optional<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Option<&'a str>> {
    let named: Vec<Option<&str>> = names.map(Some).collect();
    if named.is_empty() { vec![None] } else { named }
}

/// A name that is a folder's too.
fn is_name(what: &str, name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 80 && !name.starts_with('.') && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "`{what}` is `{}`, expected up to 80 letters, digits, `.`, `_` and `-`, since it names the experiment's folder",
        medalist_grading::untrusted::Shown::new(name)
    ))
}

/// Settings are plain values, and none of them is the model, which is a factor of its own.
fn check_kwargs(agent: &Agent, has_models: bool) -> Result<(), String> {
    for (key, value) in &agent.kwargs {
        if matches!(value, toml::Value::Table(_) | toml::Value::Array(_)) {
            return Err(format!(
                "`kwargs.{key}` of agent `{}` is a {}, expected a string, a number, `true` or `false`",
                agent.name(),
                value.type_str()
            ));
        }
        let last = key.rsplit('.').next().unwrap_or(key);
        let is_model = last.split(['_', '-']).any(|word| word == "model");
        if is_model && has_models {
            return Err(format!(
                "`kwargs.{key}` of agent `{}` sets a model beside `models`: the model would change with the agent",
                agent.name()
            ));
        }
    }
    Ok(())
}

fn stages(seeds: u32, of_stage: u32) -> Result<Vec<u32>, String> {
    if !(1..=MOST_SEEDS).contains(&seeds) {
        return Err(format!("`seeds` is {seeds}, expected 1 to {MOST_SEEDS}"));
    }
    if !(1..=seeds).contains(&of_stage) {
        return Err(format!("`stage_seeds` is {of_stage}, expected 1 to {seeds}, the `seeds`"));
    }
    let mut stages: Vec<u32> = (1..=seeds / of_stage).map(|stage| stage * of_stage).collect();
    if !seeds.is_multiple_of(of_stage) {
        stages.push(seeds);
    }
    Ok(stages)
}

fn rule(alpha: Option<f64>, stop: &Stop) -> Result<Rule, String> {
    let alpha = alpha.unwrap_or(Rule::default().alpha);
    if !(alpha > 0.0 && alpha <= 0.5) {
        return Err(format!("`alpha` is {alpha}, expected an error rate above 0, 0.5 at most"));
    }
    let spending = match stop.rule {
        StopRule::ObrienFleming => Some(Spending::ObrienFleming),
        StopRule::Pocock => Some(Spending::Pocock),
        StopRule::Never => None,
    };
    let futility = match (stop.futility, spending) {
        (Some(power), _) if !(0.0..1.0).contains(&power) => {
            return Err(format!(
                "`stop.futility` is {power}, expected a probability from 0 (never) to below 1"
            ));
        }
        (Some(power), _) => Some(power).filter(|power| *power > 0.0),
        (None, None) => None,
        (None, Some(_)) => Rule::default().futility,
    };
    Ok(Rule { spending, alpha, futility })
}

/// A message of the parser with the nearest of the names that it lists.
fn with_nearest(message: &str) -> String {
    let message = message.trim_end();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((typed, known)) if message.starts_with("unknown ") => {
            format!("{message}{}", suggestion(typed, known.iter().copied()))
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
