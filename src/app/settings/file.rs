//! One settings file: its text checked against what may stand in it, every value with its line.

use std::path::{Path, PathBuf};

use medalist_competitions::suggestion;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Base, Key, Kind, Origin, Schema};
use crate::app::error::{CliError, Exit};

/// The table with settings of the gateway to language models.
pub const LLM: &str = "llm";
/// The table with the settings of `medalist run`, which profiles change.
pub const RUN: &str = "run";
/// The table of profiles.
const PROFILE: &str = "profile";

/// A settings file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub origin: Origin,
    /// Its values, in the order of the file's tables.
    pub settings: Vec<Setting>,
    /// Its `[llm]` table, with the table's line.
    pub llm: Option<(toml::Table, usize)>,
    /// The names of its profiles.
    pub profiles: Vec<String>,
}

/// A value of a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The profile that it belongs to; none if it always holds.
    pub profile: Option<String>,
    /// The command's table that its key belongs to; none for options of every command.
    pub table: Option<String>,
    /// The key: an option's long name.
    pub key: String,
    /// The values as they would be typed, with paths taken from the file's folder.
    pub values: Vec<String>,
    /// The line of the key, from 1.
    pub line: usize,
}

impl File {
    /// Reads a file's text.
    ///
    /// # Errors
    /// No TOML, a key that is not known, or a value of the wrong type; with the line.
    pub fn parse(
        text: &str,
        path: &Path,
        origin: Origin,
        schema: &Schema,
    ) -> Result<Self, CliError> {
        let reader = Reader { text, path, schema };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            reader.error(at, error.message().trim_end())
        })?;
        let mut file = Self {
            path: path.to_owned(),
            origin,
            settings: Vec::new(),
            llm: None,
            profiles: Vec::new(),
        };
        for (name, value) in table.get_ref() {
            let at = name.span().start;
            match (name.get_ref().as_ref(), value.get_ref()) {
                (LLM, DeValue::Table(_)) => file.llm = Some((reader.llm(at)?, reader.line(at))),
                (PROFILE, DeValue::Table(profiles)) => {
                    for (profile, value) in profiles {
                        let keys = reader.table_of(profile, value)?;
                        let name = profile.get_ref().as_ref();
                        reader.settings(keys, Place::Profile(name), &mut file.settings)?;
                        file.profiles.push(name.to_owned());
                    }
                }
                (command, DeValue::Table(keys)) if schema.tables.contains_key(command) => {
                    reader.settings(keys, Place::Table(command), &mut file.settings)?;
                }
                _ => reader.setting(name, value, Place::Top, &mut file.settings)?,
            }
        }
        // The table is what `--llm` with this file would give, unless `[run]` names another file.
        if let Some((_, line)) = file.llm
            && schema.key(Some(RUN), LLM).is_some()
            && !file.settings.iter().any(|s| s.profile.is_none() && s.key == LLM)
        {
            file.settings.push(Setting {
                profile: None,
                table: Some(RUN.to_owned()),
                key: LLM.to_owned(),
                values: vec![path.display().to_string()],
                line,
            });
        }
        Ok(file)
    }
}

impl Setting {
    /// Reads the `[run]` table of a file that has other tables of its own: every key of `run` but
    /// those that `taken` has, each with where it goes.
    ///
    /// # Errors
    /// As [`File::parse`].
    pub fn of_run(
        text: &str,
        path: &Path,
        schema: &Schema,
        taken: &[(&str, &str)],
    ) -> Result<Vec<Self>, CliError> {
        let reader = Reader { text, path, schema };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            reader.error(at, error.message().trim_end())
        })?;
        let mut found = Vec::new();
        let tables = table.get_ref().iter().filter(|(name, _)| name.get_ref().as_ref() == RUN);
        for (_, keys) in
            tables.filter_map(|(name, value)| Some((name, value.get_ref().as_table()?)))
        {
            for (name, _) in keys {
                let key = name.get_ref().as_ref();
                if let Some((_, home)) = taken.iter().find(|(taken, _)| *taken == key) {
                    let message = format_args!("`{key}` does not belong in `[run]`: {home}");
                    return Err(reader.error(name.span().start, message));
                }
            }
            reader.settings(keys, Place::Table(RUN), &mut found)?;
        }
        Ok(found)
    }
}

/// Where in a file a key stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Table(&'a str),
    Profile(&'a str),
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    schema: &'a Schema,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }

    fn error(&self, at: usize, message: impl std::fmt::Display) -> CliError {
        let (path, line) = (self.path.display(), self.line(at));
        CliError::message(Exit::BadInput, format_args!("`{path}`, line {line}: {message}"))
    }

    fn llm(&self, at: usize) -> Result<toml::Table, CliError> {
        let table: toml::Table =
            toml::from_str(self.text).map_err(|error| self.error(at, error.message()))?;
        match table.get(LLM) {
            Some(toml::Value::Table(llm)) => Ok(llm.clone()),
            _ => Err(self.error(at, "`llm` is no table")),
        }
    }

    fn table_of<'t, 'i>(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Result<&'t DeTable<'i>, CliError> {
        value.get_ref().as_table().ok_or_else(|| {
            let (name, found) = (name.get_ref(), a_type(value.get_ref()));
            let message = format!("profile `{name}` is {found}, expected `[profile.{name}]`");
            self.error(value.span().start, message)
        })
    }

    fn settings(
        &self,
        keys: &DeTable<'_>,
        place: Place<'_>,
        found: &mut Vec<Setting>,
    ) -> Result<(), CliError> {
        for (name, value) in keys {
            self.setting(name, value, place, found)?;
        }
        Ok(())
    }

    fn setting(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        place: Place<'_>,
        found: &mut Vec<Setting>,
    ) -> Result<(), CliError> {
        let key = name.get_ref().as_ref();
        let tables: &[Option<&str>] = match place {
            Place::Top => &[None],
            Place::Table(table) => &[Some(table)],
            Place::Profile(_) => &[Some(RUN), None],
        };
        let known = tables.iter().find_map(|table| Some((*table, self.schema.key(*table, key)?)));
        let Some((table, known)) = known else {
            return Err(self.unknown(name.span().start, key, value.get_ref(), place));
        };
        let values = self.values(known, value)?;
        found.push(Setting {
            profile: match place {
                Place::Profile(profile) => Some(profile.to_owned()),
                _ => None,
            },
            table: table.map(str::to_owned),
            key: key.to_owned(),
            values,
            line: self.line(name.span().start),
        });
        Ok(())
    }

    /// The error of a key that is not known in its place, with where it is known or the nearest
    /// key.
    fn unknown(&self, at: usize, key: &str, value: &DeValue<'_>, place: Place<'_>) -> CliError {
        let schema = self.schema;
        let is_table = value.is_table();
        let place_name = match place {
            Place::Top => "outside of tables".to_owned(),
            Place::Table(table) => format!("in `[{table}]`"),
            Place::Profile(profile) => format!("in `[profile.{profile}]`"),
        };
        if let Some(why) = schema.without_key(key) {
            return self.error(at, format_args!("`{key}` is no setting: {why}"));
        }
        let mut homes: Vec<String> =
            schema.homes(key).map(|table| format!("`[{table}]`")).collect();
        if schema.key(None, key).is_some() {
            homes.push("the top, before the first table".to_owned());
        }
        if !is_table && !homes.is_empty() {
            let message = format_args!("unknown key `{key}` {place_name}");
            return self.error(at, message).hint(format!("`{key}` goes to {}", homes.join(" or ")));
        }
        let mut near: Vec<&str> = match place {
            Place::Top => schema.names(None).collect(),
            Place::Table(table) => schema.names(Some(table)).collect(),
            Place::Profile(_) => schema.names(Some(RUN)).chain(schema.names(None)).collect(),
        };
        if matches!(place, Place::Top) {
            near.extend(schema.tables.keys().map(String::as_str).chain([LLM, PROFILE]));
        }
        let mut nearest = suggestion(key, near.iter().copied());
        if nearest.is_empty() && matches!(place, Place::Top) && !is_table {
            // A key of a command that was written before the first table.
            let of_commands = schema.tables.keys().flat_map(|t| schema.names(Some(t)));
            nearest = suggestion(key, of_commands);
        }
        let what = if is_table { "table" } else { "key" };
        self.error(at, format_args!("unknown {what} `{key}` {place_name}{nearest}"))
            .hint("`medalist config` lists all keys; a key is the long name of an option")
    }

    fn values(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, CliError> {
        if let (Kind::List, DeValue::Array(items)) = (key.kind, value.get_ref()) {
            return items.iter().map(|item| self.value(key, item)).collect();
        }
        Ok(vec![self.value(key, value)?])
    }

    fn value(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, CliError> {
        let text = match (key.kind, value.get_ref()) {
            (Kind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
            (Kind::Count | Kind::One | Kind::List, DeValue::Integer(number)) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
            }
            (Kind::One | Kind::List, DeValue::Float(number)) => Some(number.as_str().to_owned()),
            (Kind::One | Kind::List, DeValue::String(text)) => {
                Some(key.base.from(text, self.path.parent().unwrap_or(Path::new(""))))
            }
            _ => None,
        };
        text.ok_or_else(|| {
            let found = a_type(value.get_ref());
            let message = format!("`{}` is {found}, expected {}", key.name, key.kind.expected());
            self.error(value.span().start, message)
        })
    }
}

/// A value's type with its article.
fn a_type(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Switch => "`true` or `false`",
            Self::Count => "a number",
            Self::One => "a string or a number",
            Self::List => "a list of strings",
        }
    }
}

impl Base {
    /// A value with the path in it, if one is, taken from the folder `dir`.
    pub fn from(self, value: &str, dir: &Path) -> String {
        let joined = |path: &str| match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest).display().to_string(),
            _ => dir.join(path).display().to_string(),
        };
        match self {
            Self::Text => value.to_owned(),
            // A dash is standard output by convention; an empty path is refused as an option's is.
            Self::Path if value == "-" || value.is_empty() => value.to_owned(),
            Self::Path => joined(value),
            Self::NameOrPath if value.contains('/') || value.starts_with('.') => joined(value),
            Self::NameOrPath => value.to_owned(),
            Self::Mount => match value.split_once(':') {
                Some((source, target)) => format!("{}:{target}", joined(source)),
                None => joined(value),
            },
        }
    }
}
