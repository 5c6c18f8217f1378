//! An experiment: agents, models, budgets and suites crossed, with everything else pinned; planned,
//! run in stages, looked at after each, and reported.
//!
//! ```text
//! <runs>/<experiment>/
//!   experiment.json          what was planned and pinned; asked again on each resume
//!   looks.json               what each look found; a look once made stands
//!   <cell>_seeds-<k>[-<m>]/  a run group for each cell and stage
//!   report.html, experiment-report.json, experiment-report.md
//! ```
//! Nothing else says how far an experiment is: groups on disk do, so that a harness may be killed at
//! any moment.

mod confounding;
mod file;
mod forecast;
mod pins;
mod stages;

use std::ops::Range;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use medalist_llm::Picodollars;
use medalist_reports::experiment::{Cell, CellGroups, Design, ExperimentOptions, ExperimentReport};
use medalist_reports::experiment::{Look, ReportFiles, write};
use medalist_reports::read::{self, ReadError};
use medalist_reports::record::FormatVersion;
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::{CliError, Exit};
use super::judge::CatalogueJudge;
use super::plan::capacity;
use super::report::Source;
use super::{gpu, preflight};
use crate::attempt::plan::Plan;
use crate::host::files::{read_json_if_there, write_json};
use crate::host::lock::lock;
use crate::host::machine;
use crate::host::store::GroupDir;

pub use self::file::{Agent, Budget, Experiment, Model, Suite};
pub use self::forecast::{Forecast, Prior, forecast};
use self::pins::Pins;
pub use self::stages::Course;

/// The version of `experiment.json` and `looks.json` that this program writes.
pub const EXPERIMENT_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// What a cell asks of `medalist run`.
#[derive(Debug, Clone, Copy)]
pub struct CellRequest<'a> {
    /// The agent, as `--agent` takes it.
    pub agent: &'a str,
    /// The model and those of roles; `None` if agents bring their own.
    pub model: Option<&'a Model>,
    /// The competitions.
    pub suite: &'a Suite,
    /// The time limit of the budget, as `--timeout` takes it.
    pub timeout: Option<&'a str>,
}

/// Makes the plan of a cell with some seeds, of everything that the file's `[run]` says.
pub type Planner<'a> = dyn Fn(&CellRequest<'_>, Range<u32>) -> Result<Plan, CliError> + 'a;

/// A cell with the plan of some of its seeds.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Which.
    pub cell: Cell,
    /// Its plan.
    pub plan: Plan,
}

/// An experiment with all that it takes to run it.
pub struct Prepared<'a> {
    /// What was asked for.
    pub experiment: Experiment,
    /// Makes plans.
    planner: &'a Planner<'a>,
    /// Each cell with the plan of all of its seeds.
    pub arms: Vec<Arm>,
    /// What it comes to.
    pub forecast: Forecast,
    /// Its folder.
    pub root: PathBuf,
}

/// `experiment.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: FormatVersion,
    name: String,
    /// When it was planned.
    created_at: DateTime<Utc>,
    /// The file that it was planned from.
    file: PathBuf,
    /// The file's text.
    text: String,
    /// What must not change.
    pins: Pins,
}

/// `looks.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Looks {
    format: FormatVersion,
    looks: Vec<Look>,
}

/// Plans an experiment: every cell with all seeds, and what they come to.
///
/// # Errors
/// A cell that cannot be planned, agents that differ in their own models, or groups that cannot be
/// read.
pub async fn prepare<'a>(
    experiment: Experiment,
    planner: &'a Planner<'a>,
    context: &Context,
) -> Result<Prepared<'a>, CliError> {
    let seeds = 0..experiment.stages.last().copied().unwrap_or(1);
    let mut arms = Vec::with_capacity(experiment.cells.len());
    for cell in &experiment.cells {
        let plan = plan_cell(&experiment, cell, seeds.clone(), planner)?;
        arms.push(Arm { cell: cell.clone(), plan });
    }
    experiment.check_backbones(&arms)?;
    let prior = read_prior(&experiment, context)?;
    let mut schedules = Vec::with_capacity(arms.len());
    for arm in &arms {
        let found = gpu::find(&arm.plan).await.ok().flatten();
        let gpus = found.map(|(_, inventory)| inventory.gpus).unwrap_or_default();
        schedules.push(crate::run::forecast(&arm.plan, capacity(&arm.plan), &gpus));
    }
    let forecast = forecast(&experiment, &arms, &schedules, prior);
    let root = context.runs_dir.join(&experiment.name);
    Ok(Prepared { experiment, planner, arms, forecast, root })
}

/// What earlier groups say of an attempt, if the file names any.
fn read_prior(experiment: &Experiment, context: &Context) -> Result<Option<Prior>, CliError> {
    if experiment.prior.is_empty() {
        return Ok(None);
    }
    let paths: Vec<PathBuf> = experiment
        .prior
        .iter()
        .map(|path| match path.file_name() {
            Some(name) if !path.exists() => context.runs_dir.join(name),
            _ => path.clone(),
        })
        .collect();
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let reading = read::read(&paths, &source).map_err(|error| {
        CliError::new(Exit::BadInput, anyhow::Error::new(error))
            .context("`prior` cannot be read")
            .hint("`prior` names run groups or folders of them, from the file's folder or the runs folder")
    })?;
    let names: Vec<&str> = experiment.agents.iter().map(Agent::name).collect();
    Ok(Some(Prior::of(&reading, &names)))
}

/// The plan of a cell: that of `[run]`, with what the cell's agent, model and budget change.
fn plan_cell(
    experiment: &Experiment,
    cell: &Cell,
    seeds: Range<u32>,
    planner: &Planner<'_>,
) -> Result<Plan, CliError> {
    let (Some(agent), Some(suite)) = (experiment.agent(cell), experiment.suite(cell)) else {
        return Err(CliError::message(Exit::Failure, format_args!("cell `{cell}` has no agent")));
    };
    let budget = experiment.budget(cell);
    let request = CellRequest {
        agent: &agent.agent,
        model: experiment.model(cell),
        suite,
        timeout: budget.and_then(|budget| budget.timeout.as_deref()),
    };
    let mut plan = planner(&request, seeds)
        .map_err(|error| error.context(format!("cell `{cell}` cannot be planned")))?;
    plan.agent = plan.agent.with_kwargs(&agent.kwargs);
    // Arms of one agent with other settings are told apart by what the experiment calls them.
    agent.name().clone_into(&mut plan.agent.id);
    for attempt in &mut plan.attempts {
        agent.name().clone_into(&mut attempt.key.agent);
    }
    plan.suite = Some(cell.suite.clone());
    plan.notes = plan.notes.or_else(|| experiment.notes.clone());
    if let Some(budget) = budget {
        apply_budget(&mut plan, budget)?;
    }
    Ok(plan)
}

/// Puts a budget's limits in the place of those that the settings of models have for an attempt.
fn apply_budget(plan: &mut Plan, budget: &Budget) -> Result<(), CliError> {
    let limits: Vec<(&str, serde_json::Value)> = [
        ("dollars", budget.dollars.map(|money| money.0.to_string().replace('$', "").into())),
        ("tokens", budget.tokens.map(Into::into)),
        ("calls", budget.calls.map(Into::into)),
    ]
    .into_iter()
    .filter_map(|(what, value)| Some((what, value?)))
    .collect();
    if limits.is_empty() {
        return Ok(());
    }
    let Some(llm) = &mut plan.llm else {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!(
                "budget `{}` limits calls of language models, and `[run]` names no `llm`",
                budget.name
            ),
        )
        .hint(
            "name the settings of the gateway: `llm = \"llm.toml\"` below `[run]` (docs/llm.md)",
        ));
    };
    let object = serde_json::Value::Object(serde_json::Map::new());
    if !llm.settings["budget"].is_object() {
        llm.settings["budget"] = object.clone();
    }
    if !llm.settings["budget"]["attempt"].is_object() {
        llm.settings["budget"]["attempt"] = object;
    }
    for (what, value) in limits {
        llm.settings["budget"]["attempt"][what] = value;
    }
    llm.config().map_err(|error| CliError::new(Exit::BadInput, error))?;
    Ok(())
}

impl Prepared<'_> {
    /// Refuses a plan that may cost more than `max_dollars` or the file allow.
    ///
    /// # Errors
    /// Exit code 3, with what it may cost.
    pub fn check_dollars(&self, max_dollars: Option<Picodollars>) -> Result<(), CliError> {
        let Some(allowed) = max_dollars.or(self.experiment.max_dollars) else { return Ok(()) };
        let refuse = |what: String| {
            Err(CliError::message(Exit::BadInput, what)
                .hint("give attempts a smaller budget, plan fewer seeds, or allow more with `--max-dollars`"))
        };
        match self.forecast.most_dollars {
            None => refuse(format!(
                "nothing bounds what this experiment costs, and {allowed} are allowed"
            )),
            Some(most) if most > allowed.dollars() => refuse(format!(
                "this experiment may cost {}, and {allowed} are allowed",
                medalist_reports::text::dollars(most)
            )),
            Some(_) => Ok(()),
        }
    }

    /// Checks that every cell can run here.
    ///
    /// # Errors
    /// What stands in the way of the first that cannot.
    pub async fn check(&self, context: &Context) -> Result<(), CliError> {
        let mut context = context.clone();
        for arm in &self.arms {
            let checked = preflight::check(&arm.plan, &context).await;
            // The cells share what is warned of.
            context.quiet = 2;
            checked.map_err(|error| error.context(format!("cell `{}` cannot run", arm.cell)))?;
        }
        Ok(())
    }

    /// Takes the experiment for this process, and holds what is pinned against what was planned;
    /// writes it down if it was not planned yet.
    async fn claim(&self, context: &Context) -> Result<impl Sized + use<>, CliError> {
        std::fs::create_dir_all(&self.root)?;
        let held = lock(&self.root.join("experiment.lock"), FlockArg::LockExclusiveNonblock)
            .map_err(|error| {
                CliError::new(Exit::BadInput, error).hint("wait for it, or stop it")
            })?;
        let Some(first) = self.arms.first() else { return Ok(held) };
        let judge = CatalogueJudge::of_plan(&first.plan)
            .map_err(|error| CliError::new(Exit::BadInput, error))?;
        let mut hardware = machine::hardware();
        for arm in &self.arms {
            if let Some((_, inventory)) = gpu::find(&arm.plan).await? {
                hardware.gpus = inventory.gpus.iter().map(|gpu| gpu.model.clone()).collect();
                hardware.gpu_driver = Some(inventory.driver);
            }
        }
        let now = pins::pins(&self.experiment, &self.arms, &judge, &hardware)?;
        match self.record()? {
            Some(record) if self.is_begun() => self.hold_against(&record, &now)?,
            // What was planned and never begun binds nobody.
            _ => {
                let record = Record {
                    format: EXPERIMENT_FORMAT,
                    name: self.experiment.name.clone(),
                    created_at: Utc::now(),
                    file: self.experiment.file.clone(),
                    text: self.experiment.text.clone(),
                    pins: now,
                };
                write_json(&self.record_path(), &record)?;
            }
        }
        context.say(format_args!("folder: {}", self.root.display()));
        Ok(held)
    }

    /// Whether any of its groups was begun.
    fn is_begun(&self) -> bool {
        let ranges = self.ranges();
        let groups = (0..self.arms.len()).flat_map(|n| ranges.iter().map(move |seeds| (n, seeds)));
        groups.into_iter().any(|(number, seeds)| self.group(number, seeds).plan().is_file())
    }

    fn record_path(&self) -> PathBuf {
        self.root.join("experiment.json")
    }

    fn record(&self) -> Result<Option<Record>, CliError> {
        let record: Option<Record> = read_json_if_there(&self.record_path())
            .map_err(|error| CliError::new(Exit::BadInput, error))?;
        match &record {
            Some(known) if !EXPERIMENT_FORMAT.reads(known.format) => Err(CliError::message(
                Exit::BadInput,
                format_args!(
                    "`{}` has format {}, this program reads up to {EXPERIMENT_FORMAT}",
                    self.record_path().display(),
                    known.format
                ),
            )
            .hint("a newer medalist made this experiment; use that one")),
            _ => Ok(record),
        }
    }

    fn hold_against(&self, record: &Record, now: &Pins) -> Result<(), CliError> {
        let changes = pins::changes(&record.pins, now);
        if changes.is_empty() {
            return Ok(());
        }
        let name = &self.experiment.name;
        let mut what = format!(
            "experiment `{name}` was planned on {} with something else pinned:",
            record.created_at.format("%Y-%m-%d")
        );
        for change in &changes {
            what.push_str(&format!("\n  - {change}"));
        }
        Err(CliError::message(Exit::BadInput, what)
            .hint("its attempts would not compare with those that ran already; put it back as it was, or start a new experiment under another `name`"))
    }

    /// How the report sees the experiment.
    fn design(&self) -> Design {
        let seeds = self.experiment.stages.last().copied().unwrap_or(1).max(1) as usize;
        let competitions =
            self.arms.iter().map(|arm| (arm.cell.suite.clone(), arm.plan.attempts.len() / seeds));
        Design {
            compare: self.experiment.compare,
            rule: self.experiment.rule,
            stages: self.experiment.stages.clone(),
            competitions: competitions.collect(),
        }
    }

    fn looks_path(&self) -> PathBuf {
        self.root.join("looks.json")
    }

    fn looks(&self) -> Result<Vec<Look>, CliError> {
        let looks: Option<Looks> = read_json_if_there(&self.looks_path())
            .map_err(|error| CliError::new(Exit::BadInput, error))?;
        Ok(looks.map(|looks| looks.looks).unwrap_or_default())
    }

    /// The folder of a cell's group with these seeds; the number keeps cells apart whose names have
    /// letters that folders do not take.
    fn group(&self, number: usize, seeds: &Range<u32>) -> GroupDir {
        let cell = &self.arms[number].cell;
        let parts =
            [Some(&cell.agent), cell.model.as_ref(), cell.budget.as_ref(), Some(&cell.suite)];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' };
        let words: String = parts
            .join("_")
            .chars()
            .map(|c| if c == '_' { c } else { plain(c) })
            .take(100)
            .collect();
        let last = seeds.end - 1;
        let of = match seeds.start == last {
            true => format!("seeds-{last}"),
            false => format!("seeds-{}-{last}", seeds.start),
        };
        GroupDir::new(self.root.join(format!("{:02}_{words}_{of}", number + 1)))
    }

    /// The seeds of each stage.
    fn ranges(&self) -> Vec<Range<u32>> {
        let mut begin = 0;
        let ends = self.experiment.stages.iter();
        ends.map(|end| std::mem::replace(&mut begin, *end)..*end).collect()
    }

    /// Reads the groups that there are, by cell, with what was left out.
    fn read(&self, context: &Context) -> Result<(Vec<CellGroups>, Vec<String>), CliError> {
        let source = Source::new(context.catalogue()?, &context.data_dir);
        let mut warnings = Vec::new();
        let mut cells = Vec::with_capacity(self.arms.len());
        for (number, arm) in self.arms.iter().enumerate() {
            let dirs = self.ranges().into_iter().map(|seeds| self.group(number, &seeds));
            let paths: Vec<PathBuf> =
                dirs.filter(|dir| dir.group().is_file()).map(|dir| dir.root().to_owned()).collect();
            let mut groups = Vec::new();
            if !paths.is_empty() {
                match read::read(&paths, &source) {
                    Ok(reading) => {
                        groups = reading.groups;
                        warnings.extend(reading.warnings.iter().map(ToString::to_string));
                    }
                    Err(ReadError::Nothing { warnings: more, .. }) => {
                        warnings.extend(more.iter().map(ToString::to_string));
                    }
                    Err(error) => {
                        return Err(CliError::new(Exit::BadInput, anyhow::Error::new(error)));
                    }
                }
            }
            cells.push(CellGroups { cell: arm.cell.clone(), groups });
        }
        Ok((cells, warnings))
    }

    /// Computes the report of what has run, and writes its files into the experiment's folder.
    ///
    /// # Errors
    /// Nothing has run, or a file cannot be written.
    pub fn report(&self, context: &Context) -> Result<(ExperimentReport, ReportFiles), CliError> {
        let (cells, mut warnings) = self.read(context)?;
        if cells.iter().all(|cell| cell.groups.is_empty()) {
            return Err(CliError::message(
                Exit::BadInput,
                format_args!("nothing of experiment `{}` has run yet", self.experiment.name),
            ));
        }
        warnings.extend(unequal_conditions(&cells));
        let options = ExperimentOptions {
            name: &self.experiment.name,
            notes: self.experiment.notes.as_deref(),
            generated_at: Utc::now(),
            root: &self.root,
            planned_attempts: self.forecast.attempts,
            warnings,
        };
        let report = ExperimentReport::compute(&cells, &self.design(), &self.looks()?, &options);
        let files = write(&self.root, &report)
            .map_err(|error| CliError::new(Exit::Failure, anyhow::Error::new(error)))?;
        Ok((report, files))
    }
}

/// Says which cells ran unsealed, since agents may have seen the answers.
fn unequal_conditions(cells: &[CellGroups]) -> Vec<String> {
    let unsealed =
        cells.iter().flat_map(|cell| &cell.groups).flat_map(|group| &group.attempts).filter(
            |attempt| attempt.record.as_ref().is_some_and(|record| !record.conditions.sealed),
        );
    match unsealed.count() {
        0 => Vec::new(),
        count => vec![format!(
            "{count} attempts were not sealed: their agents could reach the network or this machine"
        )],
    }
}
