//! `medalist config`: every setting, its value, and where that comes from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use toml::Value;

use super::settings::{check, layered_with, read, schema};
use crate::app::context::{Context, default_data_dir};
use crate::app::error::{CliError, Exit};
use crate::app::settings::{InForce, Key, Kind, LLM, Places, Project, RUN, Settings, llm_lines};

/// Version of what `--json` prints.
const CONFIG_FORMAT: &str = "1.0";

/// Show every setting with its value and where that comes from: a default, a settings file, a
/// variable or a flag.
///
/// The text is a settings file itself. Keys of language models' providers are never shown.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A profile of the settings files, as `medalist run` takes it.
    #[arg(long, env = "MEDALIST_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// All settings.
#[derive(Debug, Serialize)]
struct Shown {
    format: &'static str,
    files: Vec<ShownFile>,
    profile: Option<String>,
    settings: Vec<ShownSetting>,
    llm: Option<ShownLlm>,
}

/// A settings file, or the place where one could be.
#[derive(Debug, Serialize)]
struct ShownFile {
    origin: &'static str,
    path: Option<String>,
    is_read: bool,
}

#[derive(Debug, Serialize)]
struct ShownSetting {
    table: Option<String>,
    key: String,
    value: Option<Value>,
    #[serde(flatten)]
    source: Source,
}

/// The `[llm]` table in force.
#[derive(Debug, Serialize)]
struct ShownLlm {
    file: String,
    line: usize,
    /// Dotted keys and their values as TOML.
    values: BTreeMap<String, String>,
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
enum Source {
    Default,
    NotSet,
    File { origin: &'static str, file: String, line: usize, profile: Option<String> },
    Variable { variable: String },
    Flag,
}

/// Runs the subcommand; `typed` is the command line.
///
/// # Errors
/// A settings file is damaged, or there is no such profile.
pub fn run(args: &Args, typed: &ArgMatches, context: &Context) -> Result<Exit, CliError> {
    let shown = look(args, typed)?;
    match args.json {
        true => context.print(format_args!("{}\n", serde_json::to_string_pretty(&shown)?))?,
        false => context.print(text(&shown))?,
    }
    Ok(Exit::Success)
}

fn look(args: &Args, typed: &ArgMatches) -> Result<Shown, CliError> {
    let schema = schema();
    let (places, settings) = read(typed, &schema)?;
    for file in &settings.files {
        for setting in &file.settings {
            check(&InForce { setting, file }, &schema)?;
        }
        #[cfg(target_os = "linux")]
        if file.llm.is_some() {
            crate::attempt::llm::LlmPlan::read(&file.path)
                .map_err(|error| CliError::new(Exit::BadInput, error))?;
        }
    }
    if let Some(profile) = &args.profile {
        settings.check_profile(profile)?;
    }
    let mut shown = Shown {
        format: CONFIG_FORMAT,
        files: files(&places, &settings),
        profile: args.profile.clone(),
        settings: Vec::new(),
        llm: None,
    };
    let globals = global_words(typed);
    // The keys of every command as `run` has them: profiles can change them for it.
    let mut tables: Vec<&str> = schema.tables.keys().map(String::as_str).collect();
    tables.sort_by_key(|table| *table != RUN);
    for (i, table) in tables.into_iter().enumerate() {
        let profile = args.profile.as_deref().filter(|_| table == RUN);
        let held = settings.of(table, profile, &schema);
        let matches = resolved(table, &held, &globals)?;
        let mut add = |of: Option<&str>, keys: &[Key]| {
            shown.settings.extend(keys.iter().map(|key| setting(of, key, &matches, &held)));
        };
        if i == 0 {
            add(None, &schema.top);
        }
        if table == RUN {
            shown.llm = llm(&held);
        }
        add(Some(table), &schema.tables[table]);
    }
    Ok(shown)
}

fn files(places: &Places, settings: &Settings) -> Vec<ShownFile> {
    let found = |origin: &str| settings.files.iter().find(|file| file.origin.as_str() == origin);
    let shown = |origin: &'static str, otherwise: Option<&std::path::Path>| {
        let file = found(origin);
        let path = file.map(|file| file.path.as_path()).or(otherwise);
        let path = path.map(|path| path.display().to_string());
        ShownFile { origin, path, is_read: file.is_some() }
    };
    let named = match &places.project {
        Project::Named(path) => Some(path.as_path()),
        Project::Above(_) => None,
    };
    vec![shown("user", places.user.as_deref()), shown("project", named)]
}

/// The options of every command as they were typed.
fn global_words(typed: &ArgMatches) -> Vec<String> {
    let mut words = Vec::new();
    for arg in super::command().get_arguments() {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        if typed.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        match arg.get_action() {
            clap::ArgAction::SetTrue => words.push(format!("--{long}")),
            clap::ArgAction::Count => {
                words.extend((0..typed.get_count(id)).map(|_| format!("--{long}")));
            }
            _ => {
                let values = typed.get_raw(id).into_iter().flatten();
                words.extend(values.map(|value| format!("--{long}={}", value.display())));
            }
        }
    }
    words
}

/// What a command would get: clap itself says it, so that this cannot differ from a real call.
fn resolved(table: &str, held: &[InForce<'_>], globals: &[String]) -> Result<ArgMatches, CliError> {
    let mut words = vec!["medalist".to_owned(), table.to_owned()];
    words.extend_from_slice(globals);
    if table == "compare" {
        words.extend(["baseline", "--against", "candidate"].map(str::to_owned));
    }
    let matches = layered_with(super::command(), held.iter().map(|held| held.setting))
        .try_get_matches_from(words)
        .map_err(|error| CliError::message(Exit::BadInput, first_line(&error)))?;
    matches
        .subcommand_matches(table)
        .cloned()
        .ok_or_else(|| CliError::message(Exit::Failure, format_args!("`{table}` has no options")))
}

/// Clap's message without its frame: it is about a variable, since all else was checked before.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn setting(
    of: Option<&str>,
    key: &Key,
    matches: &ArgMatches,
    held: &[InForce<'_>],
) -> ShownSetting {
    let id = id_of(of, key).filter(|id| matches.value_source(id).is_some());
    let raw: Option<Vec<String>> = id.as_ref().and_then(|id| {
        let values = matches.get_raw(id)?;
        Some(values.map(|value| value.display().to_string()).collect())
    });
    let in_file = held
        .iter()
        .find(|held| held.setting.key == key.name && held.setting.table.as_deref() == of);
    let source = match (id.as_ref().and_then(|id| matches.value_source(id)), in_file) {
        (Some(ValueSource::CommandLine), _) => Source::Flag,
        (Some(ValueSource::EnvVariable), _) => {
            Source::Variable { variable: variable(of, key).unwrap_or_default() }
        }
        (_, Some(held)) => Source::File {
            origin: held.file.origin.as_str(),
            file: held.file.path.display().to_string(),
            line: held.setting.line,
            profile: held.setting.profile.clone(),
        },
        (Some(_), None) => Source::Default,
        (None, None) => Source::NotSet,
    };
    let mut shown = ShownSetting {
        table: of.map(str::to_owned),
        key: key.name.clone(),
        value: raw.map(|values| value(key.kind, values, id.as_deref(), matches)),
        source,
    };
    // Defaults that are not the option's own but the program's.
    let default = match (of, key.name.as_str()) {
        (None, "data-dir") => Some(default_data_dir().display().to_string()),
        (None, "runs-dir") => Some("runs".to_owned()),
        _ => None,
    };
    if let (Source::NotSet, Some(default)) = (&shown.source, default) {
        shown.value = Some(Value::String(default));
        shown.source = Source::Default;
    }
    shown
}

fn with_option<T>(of: Option<&str>, key: &Key, what: impl Fn(&clap::Arg) -> T) -> Option<T> {
    let root = super::command();
    let command = match of {
        None => &root,
        Some(table) => root.find_subcommand(table)?,
    };
    command.get_arguments().find(|arg| arg.get_long() == Some(&key.name)).map(what)
}

fn id_of(of: Option<&str>, key: &Key) -> Option<String> {
    with_option(of, key, |arg| arg.get_id().to_string())
}

fn variable(of: Option<&str>, key: &Key) -> Option<String> {
    with_option(of, key, |arg| arg.get_env().unwrap_or_default().display().to_string())
}

fn value(kind: Kind, values: Vec<String>, id: Option<&str>, matches: &ArgMatches) -> Value {
    let id = id.unwrap_or_default();
    match kind {
        Kind::Switch => Value::Boolean(matches.get_flag(id)),
        Kind::Count => Value::Integer(matches.get_count(id).into()),
        Kind::One => Value::String(values.into_iter().next().unwrap_or_default()),
        Kind::List => Value::Array(values.into_iter().map(Value::String).collect()),
    }
}

/// The `[llm]` table, if `run` would read it.
fn llm(held: &[InForce<'_>]) -> Option<ShownLlm> {
    let held = held.iter().find(|held| held.setting.key == LLM)?;
    let file = held.file;
    let (table, line) = file.llm.as_ref()?;
    let path = file.path.display().to_string();
    (held.setting.values == [path.clone()]).then(|| ShownLlm {
        file: path,
        line: *line,
        values: llm_lines(table).into_iter().collect(),
    })
}

fn text(shown: &Shown) -> String {
    let mut out = String::new();
    for file in &shown.files {
        let state = match (&file.path, file.is_read) {
            (Some(path), true) => path.clone(),
            (Some(path), false) => format!("{path} (not read)"),
            (None, _) => "none".to_owned(),
        };
        let _ = writeln!(out, "# {:<8} {state}", file.origin);
    }
    if let Some(profile) = &shown.profile {
        let _ = writeln!(out, "# profile  {profile}");
    }
    out.push('\n');
    let lines: Vec<(Option<&str>, String, String)> = shown
        .settings
        .iter()
        .map(|setting| {
            let line = match &setting.value {
                Some(value) => format!("{} = {value}", setting.key),
                None => format!("# {} =", setting.key),
            };
            (setting.table.as_deref(), line, setting.source.to_string())
        })
        .collect();
    let width = lines.iter().map(|(_, line, _)| line.chars().count()).max().unwrap_or(0).min(48);
    let mut table = None;
    for (of, line, source) in &lines {
        if *of != table {
            let _ = writeln!(out, "\n[{}]", of.unwrap_or_default());
            table = *of;
        }
        let _ = writeln!(out, "{line:<width$}  # {source}");
    }
    if let Some(llm) = &shown.llm {
        let _ = writeln!(out, "\n# {}, line {}\n[{LLM}]", llm.file, llm.line);
        for (key, value) in &llm.values {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
    out
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::NotSet => f.write_str("not set"),
            Self::File { origin, line, profile: None, .. } => write!(f, "{origin}, line {line}"),
            Self::File { origin, line, profile: Some(profile), .. } => {
                write!(f, "{origin}, line {line}, profile {profile}")
            }
            Self::Variable { variable } => write!(f, "variable {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}
