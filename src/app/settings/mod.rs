//! Settings in layers: a user's file, a project's file, and profiles in both.
//!
//! What may stand in them comes from outside as a [`Schema`], made from the options of the command
//! line; variables and flags, which are stronger than files, are the command line's own.

mod file;
mod redact;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medalist_competitions::suggestion;

pub use self::file::{File, LLM, RUN, Setting};
pub use self::redact::llm_lines;
use super::error::{CliError, Exit};

/// The name of a project's settings file.
pub const PROJECT_FILE: &str = "medalist.toml";

/// Whose a settings file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user's, for all projects.
    User,
    /// The project's.
    Project,
}

impl Origin {
    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
        }
    }
}

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A boolean.
    Switch,
    /// How often a flag would be typed.
    Count,
    /// One value.
    One,
    /// Several values.
    List,
}

/// How a value is taken: as it stands, or with a path in it that starts at the file's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// As it stands.
    Text,
    /// A path.
    Path,
    /// A name, or a path if it has a slash or begins with a dot.
    NameOrPath,
    /// A path, and another one behind a colon that is not of this machine.
    Mount,
}

/// A key of a settings file.
#[derive(Debug, Clone)]
pub struct Key {
    /// The option's long name.
    pub name: String,
    /// What its value is.
    pub kind: Kind,
    /// How its value is taken.
    pub base: Base,
    /// Keys of one choice: a layer that has one of them puts aside all of weaker layers.
    pub choice: Option<String>,
}

/// What may stand in a settings file.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// Options of every command.
    pub top: Vec<Key>,
    /// Options of one command, by its name.
    pub tables: BTreeMap<String, Vec<Key>>,
    /// Options that have no key, with the reason.
    pub without_key: BTreeMap<String, String>,
}

impl Schema {
    /// A key of a command's table, or of the top.
    pub fn key(&self, table: Option<&str>, name: &str) -> Option<&Key> {
        self.keys(table).iter().find(|key| key.name == name)
    }

    fn keys(&self, table: Option<&str>) -> &[Key] {
        match table {
            None => &self.top,
            Some(table) => self.tables.get(table).map_or(&[], Vec::as_slice),
        }
    }

    fn names(&self, table: Option<&str>) -> impl Iterator<Item = &str> {
        self.keys(table).iter().map(|key| key.name.as_str())
    }

    /// The tables that know a key.
    fn homes(&self, key: &str) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str).filter(move |t| self.key(Some(t), key).is_some())
    }

    /// Why an option has no key.
    fn without_key(&self, name: &str) -> Option<&str> {
        let is_key = self.key(None, name).is_some() || self.homes(name).next().is_some();
        self.without_key.get(name).filter(|_| !is_key).map(String::as_str)
    }
}

/// Where settings files are looked for.
#[derive(Debug, Clone)]
pub struct Places {
    /// The user's file, if there is a home to have one in; it need not exist.
    pub user: Option<PathBuf>,
    /// The project's file.
    pub project: Project,
}

/// Which file is the project's.
#[derive(Debug, Clone)]
pub enum Project {
    /// This one, which must exist.
    Named(PathBuf),
    /// The nearest `medalist.toml` in this folder or above.
    Above(PathBuf),
}

impl Places {
    /// The usual places, with the project's file if one was named.
    ///
    /// # Errors
    /// The working directory cannot be told.
    pub fn usual(named: Option<&Path>) -> Result<Self, CliError> {
        let project = match named {
            Some(path) => Project::Named(std::path::absolute(path)?),
            None => Project::Above(std::env::current_dir()?),
        };
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let config = config.filter(|path| path.is_absolute()).or_else(home);
        Ok(Self { user: config.map(|dir| dir.join("medalist").join("config.toml")), project })
    }

    /// The files there are, the weakest first.
    ///
    /// # Errors
    /// The project's file belongs to somebody else.
    pub fn found(&self) -> Result<Vec<(Origin, PathBuf)>, CliError> {
        let user = self.user.clone().filter(|path| path.exists());
        let found = [(Origin::User, user), (Origin::Project, self.project_file()?)];
        Ok(found.into_iter().filter_map(|(origin, path)| Some((origin, path?))).collect())
    }

    /// The project's file, if there is one.
    fn project_file(&self) -> Result<Option<PathBuf>, CliError> {
        let start = match &self.project {
            Project::Named(path) => return Ok(Some(path.clone())),
            Project::Above(dir) => dir,
        };
        let found = start.ancestors().map(|dir| dir.join(PROJECT_FILE)).find(|path| path.exists());
        let Some(path) = found else { return Ok(None) };
        if let Some(owner) = foreign_owner(&path)? {
            let path = path.display();
            let message = format!("`{path}` belongs to another user (uid {owner})");
            return Err(CliError::message(Exit::BadInput, message).hint(format!(
                "read it and name it with `--config {path}`, or leave it out with `--no-config`"
            )));
        }
        Ok(Some(path))
    }
}

/// Who else a file belongs to than this user or root. Settings name programs to run, and one's own
/// folder may lie below one that others write to.
#[cfg(target_os = "linux")]
fn foreign_owner(path: &Path) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt as _;

    let owner = path.metadata()?.uid();
    Ok(Some(owner).filter(|owner| *owner != 0 && *owner != nix::unistd::geteuid().as_raw()))
}

/// Elsewhere no agents run, and settings name no programs.
#[cfg(not(target_os = "linux"))]
fn foreign_owner(_: &Path) -> std::io::Result<Option<u32>> {
    Ok(None)
}

/// The settings files that hold, the weakest first.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The files.
    pub files: Vec<File>,
}

/// A setting that holds, with the file that it stands in.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'a> {
    /// The value.
    pub setting: &'a Setting,
    /// Its file.
    pub file: &'a File,
}

impl Settings {
    /// Reads the files there are.
    ///
    /// # Errors
    /// A file cannot be read or is damaged, with the line.
    pub fn read(places: &Places, schema: &Schema) -> Result<Self, CliError> {
        let mut files = Vec::new();
        for (origin, path) in places.found()? {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let what = format!("cannot read the settings in `{}`", path.display());
                CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what))
                    .hint("repair or remove the file; `--no-config` does without settings files")
            })?;
            files.push(File::parse(&text, &path, origin, schema)?);
        }
        Ok(Self { files })
    }

    /// Checks that a profile exists.
    ///
    /// # Errors
    /// None of the files has it.
    pub fn check_profile(&self, profile: &str) -> Result<(), CliError> {
        let mut known: Vec<&str> =
            self.files.iter().flat_map(|file| &file.profiles).map(String::as_str).collect();
        if known.contains(&profile) {
            return Ok(());
        }
        known.sort_unstable();
        known.dedup();
        let nearest = suggestion(profile, known.iter().copied());
        let error = CliError::message(
            Exit::BadInput,
            format_args!("there is no profile `{profile}`{nearest}"),
        );
        Err(match known.is_empty() {
            true => error.hint(format!(
                "a profile is a table `[profile.{profile}]` in `{PROJECT_FILE}` or your own settings file"
            )),
            false => error.hint(format!("there are `{}`", known.join("`, `"))),
        })
    }

    /// The settings of a command that hold, each key once: those of the table `table` and of every
    /// command, changed by a profile. Stronger files win, and profiles win over plain tables.
    pub fn of(&self, table: &str, profile: Option<&str>, schema: &Schema) -> Vec<InForce<'_>> {
        let mut layers: Vec<Vec<InForce<'_>>> = Vec::new();
        for wanted in [None, profile] {
            for file in &self.files {
                let holds = |setting: &&Setting| {
                    setting.profile.as_deref() == wanted
                        && setting.table.as_deref().is_none_or(|of| of == table)
                };
                let settings = file.settings.iter().filter(holds);
                layers.push(settings.map(|setting| InForce { setting, file }).collect());
            }
            if profile.is_none() {
                break;
            }
        }
        let mut in_force: Vec<InForce<'_>> = Vec::new();
        for layer in layers.iter().rev() {
            let stronger: Vec<(String, Option<String>)> = in_force
                .iter()
                .map(|held| (held.setting.key.clone(), choice(held.setting, schema)))
                .collect();
            in_force.extend(layer.iter().copied().filter(|held| {
                let of = choice(held.setting, schema);
                !stronger
                    .iter()
                    .any(|(key, other)| *key == held.setting.key || (of.is_some() && *other == of))
            }));
        }
        in_force
    }
}

fn choice(setting: &Setting, schema: &Schema) -> Option<String> {
    schema.key(setting.table.as_deref(), &setting.key)?.choice.clone()
}

#[cfg(test)]
mod tests;
