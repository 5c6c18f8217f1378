//! The command line: one file per subcommand, each with its clap `Args` and a `run`.
//!
//! Data goes to stdout and everything else to stderr. A subcommand returns the exit code or a
//! [`CliError`].

#[cfg(target_os = "linux")]
pub mod agents;
#[cfg(target_os = "linux")]
pub mod audit;
pub mod briefs;
#[cfg(target_os = "linux")]
pub mod bundle;
mod checkup;
#[cfg(target_os = "linux")]
pub mod clean;
pub mod compare;
pub mod competitions;
pub mod config;
#[cfg(target_os = "linux")]
pub mod demo;
pub mod disclose;
#[cfg(target_os = "linux")]
pub mod doctor;
#[cfg(target_os = "linux")]
pub mod experiment;
mod fairness;
#[cfg(target_os = "linux")]
pub mod gateway;
pub mod grade;
pub mod grade_sample;
pub mod history;
#[cfg(target_os = "linux")]
pub mod key;
pub mod leaderboard;
#[cfg(target_os = "linux")]
pub mod llm;
#[cfg(target_os = "linux")]
pub mod logs;
pub mod metrics;
#[cfg(target_os = "linux")]
mod new_competition;
#[cfg(target_os = "linux")]
pub mod prepare;
pub mod reference;
#[cfg(target_os = "linux")]
pub mod replay;
pub mod report;
#[cfg(target_os = "linux")]
pub mod run;
pub mod selection;
#[cfg(target_os = "linux")]
pub mod serve;
mod settings;
#[cfg(target_os = "linux")]
pub mod stop;
mod suites;
#[cfg(target_os = "linux")]
pub mod transcript;
pub mod validate;
#[cfg(target_os = "linux")]
pub mod verify;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use bytesize::ByteSize;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::app::context::{Context, default_data_dir};
use crate::app::error::{CliError, Exit};
#[cfg(target_os = "linux")]
use crate::app::grading::worker;
#[cfg(target_os = "linux")]
use crate::app::grading::workers::GradingLimits;
#[cfg(target_os = "linux")]
use crate::sandbox::namespaces::worker as namespaces;

/// Evaluate machine-learning agents on MLE-bench.
#[derive(Parser, Debug)]
#[command(name = "medalist", version = crate::attempt::VERSION, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(clap::Args, Debug, Clone)]
pub struct Global {
    /// Directory of prepared competitions, in MLE-bench's layout.
    #[arg(long, global = true, env = "MEDALIST_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of run groups.
    #[arg(long, global = true, env = "MEDALIST_RUNS_DIR", value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// A folder with your own competitions, added to the built-in catalogue; may be repeated.
    #[arg(long = "catalog", global = true, env = "MEDALIST_CATALOG", value_name = "DIR")]
    catalog: Vec<PathBuf>,
    /// The project's settings file; by default the nearest `medalist.toml` in this folder or above.
    #[arg(long, global = true, env = "MEDALIST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read no settings files.
    #[arg(long, global = true, env = "MEDALIST_NO_CONFIG")]
    no_config: bool,
    /// Print less on stderr; twice for errors only.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    quiet: u8,
    /// Print more on stderr; twice for the details of every call.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Most memory that grading one submission may take beside its answers; one that takes more is
    /// invalid. Without it 8 GiB, or three quarters of the free memory if that is less.
    #[cfg(target_os = "linux")]
    #[arg(long, global = true, env = "MEDALIST_GRADING_MEMORY", value_name = "SIZE")]
    grading_memory: Option<ByteSize>,
    /// Longest time that grading one submission may take; one that takes longer is invalid. An
    /// agent's question to the validation service may take a fifth of it.
    #[cfg(target_os = "linux")]
    #[arg(long, global = true, env = "MEDALIST_GRADING_TIME", default_value = "5min", value_parser = humantime::parse_duration, value_name = "TIME")]
    grading_time: Duration,
    /// Show no progress bars.
    #[arg(long, global = true, env = "MEDALIST_NO_PROGRESS")]
    no_progress: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    #[cfg(target_os = "linux")]
    Demo(demo::Args),
    #[cfg(target_os = "linux")]
    Doctor(doctor::Args),
    #[cfg(target_os = "linux")]
    Agents(agents::AgentsArgs),
    Competitions(competitions::CompetitionsArgs),
    Suites(suites::SuitesArgs),
    #[cfg(target_os = "linux")]
    Prepare(prepare::Args),
    Briefs(briefs::BriefsArgs),
    #[cfg(target_os = "linux")]
    Run(Box<run::Args>),
    #[cfg(target_os = "linux")]
    Attempt(run::AttemptArgs),
    #[cfg(target_os = "linux")]
    Experiment(experiment::Args),
    #[cfg(target_os = "linux")]
    Status(replay::StatusArgs),
    #[cfg(target_os = "linux")]
    Replay(replay::ReplayArgs),
    #[cfg(target_os = "linux")]
    Logs(logs::Args),
    #[cfg(target_os = "linux")]
    Transcript(transcript::Args),
    #[cfg(target_os = "linux")]
    Llm(llm::Args),
    #[cfg(target_os = "linux")]
    Gateway(gateway::Args),
    #[cfg(target_os = "linux")]
    Stop(stop::Args),
    #[cfg(target_os = "linux")]
    Clean(clean::Args),
    Validate(validate::Args),
    Grade(grade::Args),
    GradeSample(grade_sample::Args),
    Metrics(metrics::Args),
    Report(report::Args),
    #[cfg(target_os = "linux")]
    Serve(serve::Args),
    Compare(compare::Args),
    Leaderboard(leaderboard::Args),
    History(history::Args),
    Disclose(disclose::Args),
    #[cfg(target_os = "linux")]
    Bundle(bundle::Args),
    #[cfg(target_os = "linux")]
    Verify(verify::Args),
    #[cfg(target_os = "linux")]
    Audit(audit::Args),
    #[cfg(target_os = "linux")]
    Key(key::KeyArgs),
    Config(config::Args),
    Completions(reference::CompletionsArgs),
    Man(reference::ManArgs),
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// What is told to who looks for a command that only Linux has.
const ELSEWHERE: &str =
    "agents run on Linux: use medalist there, or in WSL2; here it grades, reports and compares";

/// Whether bars can be drawn on stderr; a terminal that cannot move its cursor gets plain lines.
fn can_draw() -> bool {
    let can_move =
        std::env::var_os("TERM").map_or(cfg!(windows), |term| term != "dumb" && !term.is_empty());
    std::io::stderr().is_terminal() && can_move
}

/// The places and manners that the global options ask for.
fn context(global: &Global) -> Context {
    Context {
        data_dir: global.data_dir.clone().unwrap_or_else(default_data_dir),
        runs_dir: global.runs_dir.clone().unwrap_or_else(|| PathBuf::from("runs")),
        catalog_dirs: global.catalog.clone(),
        quiet: global.quiet,
        progress: can_draw() && !global.no_progress && global.quiet == 0,
        #[cfg(target_os = "linux")]
        grading_limits: GradingLimits {
            memory_bytes: global.grading_memory.map(|size| size.0),
            time: global.grading_time,
        },
    }
}

/// Arguments of a subcommand from words as a user would type them.
fn typed<T: clap::Args>(words: impl IntoIterator<Item = String>) -> Result<T, CliError> {
    let command = T::augment_args(clap::Command::new("medalist").no_binary_name(true));
    Ok(T::from_arg_matches(&command.try_get_matches_from(words)?)?)
}

fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (1.., _) => "error",
        (0, 0) => "warn",
        (0, 1) => "medalist=info,warn",
        (0, _) => "medalist=debug,info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MEDALIST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // A second initialisation (tests in one process) is harmless.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Unheard).try_init();
}

/// Stderr for the log: what cannot be written is lost, where the subscriber would panic over it.
struct Unheard;

impl std::io::Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The whole command line as clap knows it.
fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the subcommand and gives the process's exit code.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    // Not a subcommand: nobody is to call it, and it is to start quickly.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == worker::ARGUMENT) {
        return worker::main();
    }
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|argument| argument == namespaces::ARGUMENT) {
        return namespaces::main();
    }
    let typed = settings::Words::new(std::env::args_os());
    // The command and its flags say which settings hold, and these are its defaults.
    let first = match command().try_get_matches_from(&typed.words) {
        Ok(first) => first,
        Err(error) => return usage(&error),
    };
    let given = given(&first);
    let layered = match settings::layered(&first, &given, &typed.off) {
        Ok(layered) => layered,
        Err(error) => return error.report(),
    };
    let parsed = match &layered {
        Some(layered) => layered.clone().try_get_matches_from(&typed.words),
        None => Ok(first.clone()),
    };
    #[cfg(target_os = "linux")]
    let parsed = match parsed.as_ref().map(suites::limits::defaults) {
        Ok(Ok(limits)) if !limits.is_empty() => {
            let root = layered.unwrap_or_else(command);
            settings::layered_with(root, &limits).try_get_matches_from(&typed.words)
        }
        Ok(Err(error)) => return error.report(),
        _ => parsed,
    };
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    start_logging(&cli.global);
    let context = context(&cli.global);
    match dispatch(cli.command, &given, &first, &context) {
        Ok(exit) => exit.into(),
        Err(error) => error.report(),
    }
}

/// Prints clap's error, or the help or version that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if cfg!(not(target_os = "linux")) && error.kind() == clap::error::ErrorKind::InvalidSubcommand {
        eprintln!("note: {ELSEWHERE}");
    }
    exit_of_usage(error)
}

/// The exit code of a command line that clap refuses: a name that does not exist is bad input
/// wherever it stands, all else is wrong usage.
fn exit_of_usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        clap::error::ErrorKind::InvalidValue => Exit::BadInput.into(),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code())),
    }
}

/// The flags that were typed, each as `--flag`: neither defaults nor environment variables.
fn given(matches: &clap::ArgMatches) -> Vec<String> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let mut cli = command();
    // Global flags are only in a subcommand once the command is built.
    cli.build();
    let Some(command) = cli.find_subcommand(name) else { return Vec::new() };
    command
        .get_arguments()
        .filter(|argument| {
            let id = argument.get_id().as_str();
            matches!(matches.try_contains_id(id), Ok(true))
                && matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
        })
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect()
}

fn dispatch(
    command: Command,
    given: &[String],
    typed: &clap::ArgMatches,
    context: &Context,
) -> Result<Exit, CliError> {
    match command {
        #[cfg(target_os = "linux")]
        Command::Demo(args) => demo::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Agents(args) => agents::run(&args, context),
        Command::Competitions(args) => competitions::run(&args, context),
        Command::Suites(args) => suites::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Prepare(args) => prepare::run(&args, context),
        Command::Briefs(args) => briefs::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(&args, given, context),
        #[cfg(target_os = "linux")]
        Command::Attempt(args) => run::attempt(&args, context),
        #[cfg(target_os = "linux")]
        Command::Experiment(args) => experiment::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Status(args) => replay::status(&args, context),
        #[cfg(target_os = "linux")]
        Command::Replay(args) => replay::replay(&args, context),
        #[cfg(target_os = "linux")]
        Command::Logs(args) => logs::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Transcript(args) => transcript::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Llm(args) => llm::run(&args, typed, context),
        #[cfg(target_os = "linux")]
        Command::Gateway(args) => gateway::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Stop(args) => stop::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Clean(args) => clean::run(&args, context),
        Command::Validate(args) => validate::run(&args, context),
        Command::Grade(args) => grade::run(&args, context),
        Command::GradeSample(args) => grade_sample::run(&args, context),
        Command::Metrics(args) => metrics::run(&args, context),
        Command::Report(args) => report::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Serve(args) => serve::run(&args, context),
        Command::Compare(args) => compare::run(&args, context),
        Command::Leaderboard(args) => leaderboard::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Disclose(args) => disclose::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Bundle(args) => bundle::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Verify(args) => verify::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Audit(args) => audit::run(&args, context),
        #[cfg(target_os = "linux")]
        Command::Key(args) => key::run(&args, context),
        Command::Config(args) => config::run(&args, typed, context),
        Command::Completions(args) => reference::completions(&args, context),
        Command::Man(args) => reference::man(&args, context),
        Command::Reference(args) => reference::reference(&args, context),
    }
}
