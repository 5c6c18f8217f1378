//! Settings files and the command line: keys are made from the options, so that a new option has
//! one, and values become the options' defaults, which variables and flags override.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::app::error::{CliError, Exit};
#[cfg(target_os = "linux")]
use crate::app::settings::LLM;
use crate::app::settings::{Base, InForce, Key, Kind, Places, RUN, Schema, Setting, Settings};

/// Commands with a table of their own.
const TABLES: [&str; 5] = ["compare", "prepare", "report", RUN, "serve"];

/// Commands that no setting changes: a damaged file must not keep anybody from their help.
const WITHOUT: [&str; 4] = ["completions", "config", "man", "reference"];

/// Options that are for one call alone, by command; `None` are all commands.
const ONE_CALL: [(Option<&str>, &str); 15] = [
    (None, "config"),
    (None, "help"),
    (None, "json"),
    (None, "no-config"),
    (None, "profile"),
    (None, "version"),
    (Some("compare"), "against"),
    (Some("prepare"), "check"),
    (Some("prepare"), "force"),
    (Some("prepare"), "raw-dir"),
    (Some("prepare"), "raw-zip"),
    (Some(RUN), "detach"),
    (Some(RUN), "dry-run"),
    (Some(RUN), "plan-only"),
    (Some(RUN), "resume"),
];

/// The options that choose competitions are one choice: a stronger layer makes it anew.
const CHOICE: &str = "SelectionArgs";

/// The keys of settings files.
pub(super) fn schema() -> Schema {
    let mut root = super::command();
    root.build();
    let mut schema = Schema::default();
    for arg in root.get_arguments().filter(|arg| arg.is_global_set()) {
        note(&root, None, arg, &mut schema.top, &mut schema.without_key);
    }
    for table in TABLES {
        let Some(command) = root.find_subcommand(table) else { continue };
        let mut keys = Vec::new();
        for arg in command.get_arguments().filter(|arg| !arg.is_global_set()) {
            note(command, Some(table), arg, &mut keys, &mut schema.without_key);
        }
        schema.tables.insert(table.to_owned(), keys);
    }
    schema
}

fn note(
    command: &Command,
    table: Option<&str>,
    arg: &Arg,
    keys: &mut Vec<Key>,
    without: &mut BTreeMap<String, String>,
) {
    let Some(long) = arg.get_long() else { return };
    let is_one_call =
        ONE_CALL.iter().any(|(of, name)| *name == long && of.is_none_or(|of| Some(of) == table));
    if is_one_call {
        without.insert(long.to_owned(), "it is for one call".to_owned());
    } else if arg.is_hide_env_values_set() {
        let variable = arg.get_env().unwrap_or_default().display();
        without.insert(
            long.to_owned(),
            format!("secrets do not belong in settings files; set `{variable}`"),
        );
    } else {
        keys.push(key(command, arg, long));
    }
}

fn key(command: &Command, arg: &Arg, long: &str) -> Key {
    let kind = match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => Kind::Switch,
        ArgAction::Count => Kind::Count,
        ArgAction::Append => Kind::List,
        _ if arg.get_value_delimiter().is_some() => Kind::List,
        _ => Kind::One,
    };
    let parsed = arg.get_value_parser().type_id();
    let names = arg.get_value_names().unwrap_or_default();
    let base = if parsed == TypeId::of::<PathBuf>() {
        Base::Path
    } else if names.iter().any(|name| name.starts_with("SOURCE")) {
        Base::Mount
    } else if names.iter().any(|name| name.contains("DIR") || name.contains("FILE")) {
        Base::NameOrPath
    } else {
        Base::Text
    };
    let choice = command
        .get_groups()
        .filter(|group| group.get_id() == CHOICE)
        .find(|group| group.get_args().any(|id| id == arg.get_id()))
        .map(|group| group.get_id().to_string());
    Key { name: long.to_owned(), kind, base, choice }
}

/// The settings files that a command line, `typed`, asks for; none under `--no-config`.
pub(super) fn read(typed: &ArgMatches, schema: &Schema) -> Result<(Places, Settings), CliError> {
    let named = typed.get_one::<PathBuf>("config");
    let places = Places::usual(named.map(PathBuf::as_path))?;
    let settings = match typed.get_flag("no_config") {
        true => Settings::default(),
        false => Settings::read(&places, schema)?,
    };
    Ok((places, settings))
}

/// The settings of language models that `run` takes without `--llm`: the file that `llm` below
/// `[run]` or in the profile names, or the one with an `[llm]` table.
///
/// # Errors
/// A settings file is damaged, or there is no such profile.
#[cfg(target_os = "linux")]
pub(super) fn llm_file(
    typed: &ArgMatches,
    profile: Option<&str>,
) -> Result<Option<PathBuf>, CliError> {
    let schema = schema();
    let (_, settings) = read(typed, &schema)?;
    if let Some(profile) = profile {
        settings.check_profile(profile)?;
    }
    let held = settings.of(RUN, profile, &schema);
    let llm = held.into_iter().find(|held| held.setting.key == LLM);
    let Some(llm) = llm else { return Ok(None) };
    check(&llm, &schema)?;
    Ok(llm.setting.values.first().map(PathBuf::from))
}

/// The words of a command line, with `--switch=false` and `--switch=true` taken out: a switch that a
/// file sets could not be unset otherwise.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// What clap gets.
    pub(super) words: Vec<OsString>,
    /// Long names of switches that were typed as false.
    pub(super) off: Vec<String>,
}

impl Words {
    /// Takes the switches out.
    pub(super) fn new(typed: impl IntoIterator<Item = OsString>) -> Self {
        let typed: Vec<OsString> = typed.into_iter().collect();
        let may_be_one = |word: &OsString| {
            word.to_str().is_some_and(|text| text.ends_with("=true") || text.ends_with("=false"))
        };
        if !typed.iter().any(may_be_one) {
            return Self { words: typed, off: Vec::new() };
        }
        let mut root = super::command();
        root.build();
        let switches = |command: &Command| -> Vec<String> {
            let switches = command
                .get_arguments()
                .filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
            switches.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
        };
        let mut typed = typed.into_iter();
        let mut words: Vec<OsString> = typed.next().into_iter().collect();
        let mut off = Vec::new();
        let mut known = switches(&root);
        let mut is_command_known = false;
        let mut is_verbatim = false;
        for word in typed {
            is_verbatim |= word == "--";
            let text = word.to_str().filter(|_| !is_verbatim).unwrap_or_default();
            if !is_command_known && let Some(command) = root.find_subcommand(text) {
                known.extend(switches(command));
                is_command_known = true;
            }
            let switch = text.strip_prefix("--").and_then(|text| text.split_once('='));
            match switch.filter(|(name, _)| known.iter().any(|known| known == name)) {
                Some((name, "true")) => words.push(format!("--{name}").into()),
                Some((name, "false")) => off.push(name.to_owned()),
                _ => words.push(word),
            }
        }
        Self { words, off }
    }
}

/// What a command line says of settings before they are read.
struct Wanted<'a> {
    command: &'a str,
    project: Option<PathBuf>,
    profile: Option<String>,
    /// Whether a planned group is resumed, which goes by its plan.
    is_resumed: bool,
}

/// The whole command line with the settings of its files as defaults; none if there is nothing
/// that changes `first`, which is what it says without them. `options` are the flags in it.
pub(super) fn layered(
    first: &ArgMatches,
    options: &[String],
    off: &[String],
) -> Result<Option<Command>, CliError> {
    let Some((name, matches)) = first.subcommand() else { return Ok(None) };
    let without_files = || {
        let unset = |root, switch: &String| without_variable(root, name, switch);
        (!off.is_empty()).then(|| off.iter().fold(super::command(), unset))
    };
    if WITHOUT.contains(&name) || matches.get_flag("no_config") {
        return Ok(without_files());
    }
    let run = (name == RUN).then_some(matches);
    let wanted = Wanted {
        command: name,
        project: matches.get_one::<PathBuf>("config").cloned(),
        profile: run.and_then(|run| run.get_one::<String>("profile")).cloned(),
        is_resumed: run.is_some_and(|run| run.contains_id("resume")),
    };
    let places = Places::usual(wanted.project.as_deref())?;
    if places.found()?.is_empty() && wanted.profile.is_none() {
        return Ok(without_files());
    }
    let schema = schema();
    let settings = Settings::read(&places, &schema)?;
    if let Some(profile) = wanted.profile.as_deref().filter(|_| !wanted.is_resumed) {
        settings.check_profile(profile)?;
    }
    let given: Vec<&str> = options
        .iter()
        .map(|flag| flag.trim_start_matches('-'))
        .chain(off.iter().map(String::as_str))
        .collect();
    let mut held = settings.of(wanted.command, wanted.profile.as_deref(), &schema);
    held.retain(|held| {
        // A resumed group goes by its plan.
        let is_planned = wanted.is_resumed && held.setting.table.is_some();
        !is_planned && !is_given(held.setting, &given, &schema)
    });
    for held in &held {
        check(held, &schema)?;
    }
    let root = without_files().unwrap_or_else(super::command);
    Ok(Some(layered_with(root, held.iter().map(|held| held.setting))))
}

/// A command line with settings as the defaults of its options.
pub(super) fn layered_with<'a>(
    root: Command,
    settings: impl IntoIterator<Item = &'a Setting>,
) -> Command {
    settings.into_iter().fold(root, with_default)
}

/// Whether the command line has the setting's option, or another one of the same choice.
fn is_given(setting: &Setting, given: &[&str], schema: &Schema) -> bool {
    let key = |name: &str| schema.key(setting.table.as_deref(), name);
    let choice = key(&setting.key).and_then(|key| key.choice.as_deref());
    given.iter().any(|given| {
        *given == setting.key
            || choice.is_some_and(|choice| {
                key(given).is_some_and(|key| key.choice.as_deref() == Some(choice))
            })
    })
}

fn change(root: Command, table: Option<&str>, long: &str, change: impl Fn(Arg) -> Arg) -> Command {
    let change_in = |command: Command| {
        command.mut_args(|arg| if arg.get_long() == Some(long) { change(arg) } else { arg })
    };
    match table {
        None => change_in(root),
        Some(table) => root.mut_subcommand(table, change_in),
    }
}

fn with_default(root: Command, setting: &Setting) -> Command {
    let set = |arg: Arg| arg.default_values(setting.values.iter().map(String::from));
    change(root, setting.table.as_deref(), &setting.key, set)
}

/// A switch that was typed as false puts its variable aside as well.
fn without_variable(root: Command, command: &str, switch: &str) -> Command {
    let unset = |arg: Arg| arg.env(clap::builder::Resettable::Reset);
    let root = change(root, None, switch, unset);
    change(root, Some(command), switch, unset)
}

/// Checks a setting's values with the option's own parser.
///
/// # Errors
/// Names the file, the line, the key and the value, and what was expected.
pub(super) fn check(held: &InForce<'_>, schema: &Schema) -> Result<(), CliError> {
    let setting = held.setting;
    let table = setting.table.as_deref();
    let Some(key) = schema.key(table, &setting.key) else { return Ok(()) };
    if matches!(key.kind, Kind::Switch | Kind::Count) {
        return Ok(());
    }
    for value in &setting.values {
        let option = format!("--{}={value}", setting.key);
        // Options of every command are checked with one that asks for nothing else.
        let words = ["medalist", table.unwrap_or("metrics"), &option];
        let Err(error) = super::command().try_get_matches_from(words) else { continue };
        let why = match error.kind() {
            ErrorKind::ValueValidation => error.source().map(ToString::to_string),
            ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(known)) if !known.is_empty() => {
                    Some(format!("expected one of `{}`", known.join("`, `")))
                }
                _ => Some("it is empty".to_owned()),
            },
            // Others are about what else a call of the command needs.
            _ => continue,
        };
        let (path, line) = (held.file.path.display(), setting.line);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        return Err(CliError::message(
            Exit::BadInput,
            format_args!("`{path}`, line {line}: `{}` is `{value}`{why}", setting.key),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn words(typed: &[&str]) -> (Vec<String>, Vec<String>) {
        let taken = Words::new(typed.iter().map(OsString::from));
        let words = taken.words.into_iter().map(|word| word.into_string().unwrap()).collect();
        (words, taken.off)
    }

    #[test]
    fn every_option_of_run_has_a_key_or_is_for_one_call() {
        let schema = schema();
        let mut root = super::super::command();
        root.build();
        let run = root.find_subcommand("run").unwrap();
        let mut seen = 0;
        for arg in run.get_arguments() {
            let long = arg.get_long().expect("options of `run` have long names");
            let table = if arg.is_global_set() { None } else { Some("run") };
            let is_key = schema.key(table, long).is_some();
            let is_one_call = schema.without_key.contains_key(long);
            assert!(is_key != is_one_call, "--{long}");
            seen += usize::from(is_key);
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn options_for_one_call_exist() {
        let mut root = super::super::command();
        root.build();
        for (command, long) in ONE_CALL {
            // A global option is in every command once it is built; the others name theirs.
            let command = root.find_subcommand(command.unwrap_or("run")).unwrap();
            let has = command.get_arguments().any(|arg| arg.get_long() == Some(long));
            assert!(has, "{} --{long}", command.get_name());
        }
    }

    #[test]
    fn paths_and_choices_are_seen_in_the_options() {
        let schema = schema();
        let base = |table, name: &str| schema.key(table, name).unwrap().base;
        assert_eq!(base(None, "data-dir"), Base::Path);
        assert_eq!(base(Some("run"), "agents-dir"), Base::Path);
        assert_eq!(base(Some("run"), "agent"), Base::NameOrPath);
        assert_eq!(base(Some("run"), "mount"), Base::Mount);
        assert_eq!(base(Some("run"), "timeout"), Base::Text);
        let chosen: Vec<&str> = schema.tables["run"]
            .iter()
            .filter(|key| key.choice.is_some())
            .map(|key| key.name.as_str())
            .collect();
        assert_eq!(chosen, ["competition", "suite", "lite", "all", "list"]);
    }

    #[test]
    fn switches_can_be_typed_as_false() {
        let typed = ["medalist", "run", "--fail-fast=false", "--dry-run=true", "--notes=false"];
        let (words_left, off) = words(&typed);
        assert_eq!(words_left, ["medalist", "run", "--dry-run", "--notes=false"]);
        assert_eq!(off, ["fail-fast"]);
        let (words_left, off) = words(&["medalist", "report", "--", "--json=false"]);
        assert_eq!((words_left.len(), off.len()), (4, 0));
        let (words_left, _) = words(&["medalist", "run", "--fail-fast=maybe"]);
        assert_eq!(words_left[2], "--fail-fast=maybe");
    }

    #[test]
    fn values_are_checked_by_the_options_own_parsers() {
        let schema = schema();
        let refused = |text: &str| {
            let path = Path::new("/p/medalist.toml");
            let origin = crate::app::settings::Origin::Project;
            let file = crate::app::settings::File::parse(text, path, origin, &schema).unwrap();
            let held = InForce { setting: &file.settings[0], file: &file };
            check(&held, &schema).err().map(|error| error.render())
        };
        for good in [
            "[run]\ntimeout = \"90min\"",
            "[run]\ngpus = 2",
            "[run]\nmount = \"w\"",
            "[compare]\nmargin = 1.5",
            "runs-dir = \"r\"",
        ] {
            assert_eq!(refused(good), None, "{good}");
        }
        for (bad, expected) in [
            (
                "[run]\ntimeout = 24",
                "`/p/medalist.toml`, line 2: `timeout` is `24`: time unit needed",
            ),
            (
                "[run]\nexecutor = \"dockre\"",
                "`executor` is `dockre`: expected one of `docker`, `podman`",
            ),
            ("[run]\nseeds = 0", "`seeds` is `0`: 0 is not in 1..=1000"),
            ("[run]\ngpu-pool = [\"x\"]", "`gpu-pool` is `x`: "),
            ("[run]\nsnapshot-every = \"\"", "`snapshot-every` is ``"),
            ("data-dir = \"\"", "`data-dir` is ``: it is empty"),
        ] {
            let shown = refused(bad).unwrap_or_default();
            assert!(shown.contains(expected), "{bad}: {shown}");
        }
    }
}
