//! Limits that a suite in a file sets: options of `run`, which hold unless a flag or a variable says
//! otherwise.

use clap::ArgMatches;
use medalist_competitions::{SuiteFile, suggestion};

use crate::app::error::{CliError, Exit};
use crate::app::settings::{RUN, Setting};
use crate::app::suites::ChosenSuite;
use crate::cli::{run, typed};

/// An option of `run` and its value in words.
type Limit = (&'static str, fn(&run::Args) -> String);

/// What a suite may set: whatever changes what a score means.
const LIMITS: [Limit; 12] = [
    ("brief", |args| format!("{:?}", args.brief)),
    ("cpus", |args| format!("{:?}", args.limits.cpus)),
    ("data", |args| format!("{:?}", args.data)),
    ("disk", |args| args.limits.disk.to_string()),
    ("gpus", |args| format!("{:?}", args.gpus.gpus)),
    ("grace", |args| format!("{:?}", args.limits.grace)),
    ("memory", |args| format!("{:?}", args.limits.memory)),
    ("network", |args| format!("{:?}", args.limits.network)),
    ("pids", |args| format!("{:?}", args.limits.pids)),
    ("seeds", |args| args.seeds.to_string()),
    ("shm", |args| format!("{:?}", args.limits.shm)),
    ("timeout", |args| format!("{:?}", args.limits.timeout)),
];

/// The limits of a suite as the options of a run that has nothing else.
///
/// # Errors
/// A key that no suite may set, or a value that the option does not take.
pub(super) fn parsed(file: &SuiteFile) -> Result<run::Args, CliError> {
    let bad = |what: String| {
        CliError::message(Exit::BadInput, format!("`{}`: {what}", file.path().display()))
    };
    let mut words = Vec::new();
    for (key, value) in file.limits() {
        let known = LIMITS.iter().map(|(known, _)| *known);
        if !known.clone().any(|known| known == key) {
            let names: Vec<&str> = known.clone().collect();
            return Err(bad(format!("`limits` cannot have `{key}`{}", suggestion(key, known)))
                .hint(format!("expected some of `{}`", names.join("`, `"))));
        }
        let word = format!("--{key}={value}");
        if let Err(error) = typed::<run::Args>([word.clone()]) {
            let why = error.render();
            let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return Err(bad(format!("`limits.{key}` is `{value}`: {why}")));
        }
        words.push(word);
    }
    typed(words)
}

/// The limits of the suite that a command line asks for, as defaults of its options; none if it is no
/// run on a suite in a file.
///
/// # Errors
/// The file cannot be used.
pub(in crate::cli) fn defaults(matches: &ArgMatches) -> Result<Vec<Setting>, CliError> {
    let suite = match matches.subcommand() {
        Some((RUN, run)) if !run.contains_id("resume") => run.get_one::<String>("suite"),
        _ => None,
    };
    let Some(ChosenSuite::File(file)) = suite.map(|name| ChosenSuite::named(name)).transpose()?
    else {
        return Ok(Vec::new());
    };
    parsed(&file)?;
    let setting = |(key, value): (&str, String)| Setting {
        profile: None,
        table: Some(RUN.to_owned()),
        key: key.to_owned(),
        values: vec![value],
        line: 0,
    };
    Ok(file.limits().map(setting).collect())
}

/// The limits of a suite that a run does not keep, in words.
///
/// # Errors
/// As [`parsed`].
pub(in crate::cli) fn departures(
    args: &run::Args,
    suite: &ChosenSuite,
) -> Result<Vec<String>, CliError> {
    let ChosenSuite::File(file) = suite else { return Ok(Vec::new()) };
    let wanted = parsed(file)?;
    let set = |key: &str| file.limits().find(|(set, _)| *set == key);
    Ok(LIMITS
        .iter()
        .filter_map(|(key, of)| {
            let (_, value) = set(key)?;
            (of(args) != of(&wanted))
                .then(|| format!("{key} is {}, the suite says {value}", of(args).trim_matches('"')))
        })
        .collect())
}
