//! `medalist experiment`: agents, models and budgets crossed in a file, run in stages and reported.

use std::ops::Range;
use std::path::PathBuf;

use clap::FromArgMatches as _;
use medalist_llm::Picodollars;
use medalist_reports::{experiment, export};

use super::settings::{check, layered_with, schema};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::experiment::{CellRequest, Course, Experiment, prepare};
use crate::app::plan::Pace;
use crate::app::run::start_runtime;
use crate::app::settings::{File, InForce, Origin, Setting};
use crate::app::terminal::look;
use crate::attempt::plan::Plan;

/// Keys of `run` that an experiment has a place of its own for, or that are for one group.
const TAKEN: [(&str, &str); 11] = [
    ("agent", "agents stand in `agents`, at the top"),
    ("all", "suites stand in `suites`, at the top"),
    ("competition", "`suites` takes `{ name = \"mine\", competitions = [...] }`"),
    ("events", "each group of an experiment has its own `events.jsonl`"),
    ("list", "`suites` takes `{ name = \"mine\", competitions = [...] }`"),
    ("lite", "suites stand in `suites`, at the top"),
    ("llm-replay", "recordings are of one run group"),
    ("model", "models stand in `models`, at the top"),
    (
        "role",
        "models of roles stand in `models`: `{ model = \"NAME\", roles = { coder = \"NAME\" } }`",
    ),
    ("seeds", "`seeds` stands at the top"),
    ("suite", "suites stand in `suites`, at the top"),
];

/// Run an experiment from a file: agents, models and budgets crossed, with everything else pinned.
///
/// The plan is printed first. Every stage gives each combination the same seeds; after each stage
/// the differences are tested, and the experiment stops when they are clear. The same command goes on
/// where it was cut short.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The experiment (docs/experiments.md).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the plan, and whether it can run here, and exit.
    #[arg(long, visible_alias = "plan")]
    dry_run: bool,
    /// Print the plan as JSON, or with --report the report.
    #[arg(long)]
    json: bool,
    /// Write the report of what has run, and exit.
    #[arg(long, conflicts_with = "dry_run")]
    report: bool,
    /// Refuse to start what may cost more, in dollars; over the file's `max_dollars`.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    max_dollars: Option<Picodollars>,
    /// Attempts at the same time, over the file's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    parallel: Option<u64>,
}

fn dollars(text: &str) -> Result<Picodollars, String> {
    Picodollars::parse(text.trim_start_matches('$'))
        .ok_or_else(|| "expected dollars such as `5.00`".to_owned())
}

/// Runs the subcommand.
///
/// # Errors
/// [`CliError`] with the documented exit codes.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let experiment = Experiment::read(&args.file)?;
    let settings = settings(&experiment)?;
    let base = run_args(&settings, &[])?;
    let planner = |request: &CellRequest<'_>, seeds: Range<u32>| -> Result<Plan, CliError> {
        run_args(&settings, &words(request))?.plan_of(seeds, context)
    };
    let runtime = start_runtime()?;
    let prepared = runtime.block_on(prepare(experiment, &planner, context))?;
    if args.report {
        let (report, files) = prepared.report(context)?;
        let text = match args.json {
            true => export::pretty_json(&report),
            false => experiment::terminal(&report, look()),
        };
        context.print(text)?;
        context.say(format_args!("wrote {}", files.page.display()));
        return Ok(Exit::Success);
    }
    let text = match args.json {
        true => export::pretty_json(&prepared.forecast),
        false => format!("{}\n", prepared.forecast.describe(&prepared.experiment, &prepared.arms)),
    };
    context.print(text)?;
    if args.dry_run {
        prepared.check_dollars(args.max_dollars)?;
        runtime.block_on(prepared.check(context))?;
        return Ok(Exit::Success);
    }
    let parallel = args.parallel.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let pace = base.pace();
    let pace = Pace { parallel: parallel.or(pace.parallel), ..pace };
    let course = Course { pace, max_dollars: args.max_dollars };
    let (report, files, exit) = runtime.block_on(prepared.run(course, context))?;
    if !args.json {
        context.print(experiment::terminal(&report, look()))?;
    }
    for file in [&files.page, &files.json, &files.markdown] {
        context.say(format_args!("wrote {}", file.display()));
    }
    Ok(exit)
}

/// The file's `[run]`, each value checked by the option's own parser.
fn settings(experiment: &Experiment) -> Result<Vec<Setting>, CliError> {
    let schema = schema();
    let settings = Setting::of_run(&experiment.text, &experiment.file, &schema, &TAKEN)?;
    let file = File {
        path: experiment.file.clone(),
        origin: Origin::Project,
        settings: Vec::new(),
        llm: None,
        profiles: Vec::new(),
    };
    for setting in &settings {
        check(&InForce { setting, file: &file }, &schema)?;
    }
    Ok(settings)
}

/// The flags of `run` for a cell.
fn words(request: &CellRequest<'_>) -> Vec<String> {
    let mut words = vec!["--agent".to_owned(), request.agent.to_owned()];
    if let Some(model) = request.model {
        words.extend(["--model".to_owned(), model.model.clone()]);
        for (role, model) in &model.roles {
            words.extend(["--role".to_owned(), format!("{role}={model}")]);
        }
    }
    if request.suite.competitions.is_empty() {
        words.extend(["--suite".to_owned(), request.suite.name.clone()]);
    } else {
        words.push("--competition".to_owned());
        words.extend(request.suite.competitions.iter().cloned());
    }
    if let Some(timeout) = request.timeout {
        words.extend(["--timeout".to_owned(), timeout.to_owned()]);
    }
    words
}

/// Arguments of `run` from words, with settings as their defaults.
fn run_args(settings: &[Setting], words: &[String]) -> Result<super::run::Args, CliError> {
    let typed = ["medalist", "run"].into_iter().map(str::to_owned).chain(words.iter().cloned());
    let matches =
        layered_with(super::command(), settings).try_get_matches_from(typed).map_err(|error| {
            // A cell's words come from the file, so that what is wrong with them is its fault.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            CliError::message(Exit::BadInput, first.to_owned())
        })?;
    let run = matches.subcommand_matches("run");
    let run = run.ok_or_else(|| CliError::message(Exit::Failure, "`run` is no command"))?;
    Ok(super::run::Args::from_arg_matches(run)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_taken_is_an_option_of_run() {
        let schema = schema();
        for (key, _) in TAKEN {
            assert!(schema.key(Some("run"), key).is_some(), "{key}");
        }
    }

    #[test]
    fn the_files_run_table_becomes_defaults() {
        let text = "agents = [\"sample\", \"baseline\"]\nsuites = [\"demo\"]\n[run]\ntimeout = \"90s\"\nparallel = 3\n";
        let experiment = Experiment::parse(text.to_owned(), "/e/x.toml".into()).unwrap();
        let args = run_args(&settings(&experiment).unwrap(), &[]).unwrap();
        assert_eq!(args.limits.timeout.as_secs(), 90);
        assert_eq!(args.pace().parallel, Some(3));
        let typed = ["--timeout".to_owned(), "5s".to_owned()];
        let args = run_args(&settings(&experiment).unwrap(), &typed).unwrap();
        assert_eq!(args.limits.timeout.as_secs(), 5);
    }

    #[test]
    fn a_key_of_run_that_is_no_setting_here_says_where_it_goes() {
        let refused = |run: &str| {
            let text = format!("agents = [\"a\", \"b\"]\nsuites = [\"demo\"]\n[run]\n{run}\n");
            let experiment = Experiment::parse(text, "/e/x.toml".into()).unwrap();
            let error = settings(&experiment).unwrap_err();
            assert_eq!(error.exit(), Exit::BadInput);
            error.render()
        };
        for (run, words) in [
            (
                "agent = \"a\"",
                "`/e/x.toml`, line 4: `agent` does not belong in `[run]`: agents stand in",
            ),
            ("seeds = 3", "`seeds` does not belong"),
            ("timeot = \"1h\"", "unknown key `timeot` in `[run]`; did you mean `timeout`?"),
            ("timeout = 24", "`timeout` is `24`: time unit needed"),
            ("resume = \"x\"", "`resume` is no setting: it is for one call"),
        ] {
            let shown = refused(run);
            assert!(shown.contains(words), "{run}: {shown}");
        }
    }
}
