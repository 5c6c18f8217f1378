//! Suites as files: which competitions, in which version, within which limits; to be published and
//! pinned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::prepare::{Manifest, PrepareError, PreparedRecord};
use crate::spec::{CompetitionId, SpecError, TomlText};
use crate::{Catalogue, CompetitionSpec, DataDir, Suite};

/// The version of the files that this crate writes; it reads the same major version.
const FORMAT: &str = "1.0";
/// Largest file that is read.
const LARGEST: u64 = 4 << 20;
/// What is hashed of the prepared data.
const DATA: &str = "data";

/// A suite in a file, `suite.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteFile {
    /// The version of the format, `1.0`.
    pub format: String,
    /// Its name in records and reports; not one of the built-in suites'.
    pub name: String,
    /// The version that its author gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was made.
    pub created: NaiveDate,
    /// The day after which all its competitions ended, of a suite that was made by date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<NaiveDate>,
    /// The author's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Options of `medalist run` by their long names, which hold unless a flag says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, toml::Value>,
    /// Its competitions.
    pub competitions: Vec<SuiteEntry>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    sha256: String,
}

/// A competition of a suite, and the version of it that is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteEntry {
    /// Its id.
    pub id: CompetitionId,
    /// The day on which it ended, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<NaiveDate>,
    /// The licence of its data, as its source says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// How the data were prepared: `v1`, `fixed`, or what was changed; left out where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// SHA-256 by what is hashed: the files of its folder, and `data` for all prepared files. Empty
    /// where the version is not pinned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
}

/// In what a competition here is not the one that a suite means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuiteDifference {
    /// The competition.
    pub id: CompetitionId,
    /// What differs: a file, `edition`, `data`, or the competition itself.
    pub what: String,
    /// What the suite says.
    pub expected: String,
    /// What is here.
    pub found: String,
}

impl std::fmt::Display for SuiteDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| text.chars().take(12).collect::<String>();
        write!(
            f,
            "`{}`: {} is {}, the suite says {}",
            self.id,
            self.what,
            short(&self.found),
            short(&self.expected)
        )
    }
}

impl SuiteEntry {
    /// The competition as it is here, pinned; its data only where they are prepared.
    ///
    /// # Errors
    /// The record of the preparation is damaged.
    pub fn of(spec: &CompetitionSpec, data_dir: &Path) -> Result<Self, PrepareError> {
        let mut entry = Self {
            id: spec.id.clone(),
            ended: spec.ended,
            licence: None,
            edition: None,
            sha256: spec.sha256(),
        };
        if let Some((edition, data)) = prepared(&spec.id, data_dir)? {
            entry.edition = Some(edition);
            entry.sha256.extend(data.map(|data| (DATA.to_owned(), data)));
        }
        Ok(entry)
    }
}

/// The edition of the prepared data and, where a preparation of ours left a manifest, the hash of all
/// files; `None` if the competition is not prepared.
fn prepared(
    id: &CompetitionId,
    data_dir: &Path,
) -> Result<Option<(String, Option<String>)>, PrepareError> {
    let data = DataDir::new(data_dir);
    if !data.is_prepared(id) {
        return Ok(None);
    }
    let edition = PreparedRecord::edition_of(data_dir, id)?;
    let manifest = Manifest::read(&data.competition(id).manifest())?;
    Ok(Some((edition, manifest.map(|manifest| hash_of(&manifest)))))
}

/// Names and contents of all files.
fn hash_of(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    for (name, entry) in manifest.iter() {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(entry.sha256);
    }
    hex::encode(hash.finalize())
}

/// Whether the name of a suite means a file: it has a slash or ends in `.toml`.
pub fn is_suite_file(name: &str) -> bool {
    name.contains('/') || name.ends_with(".toml")
}

impl SuiteFile {
    /// A suite of these competitions, which was not written yet.
    pub fn new(name: &str, created: NaiveDate, competitions: Vec<SuiteEntry>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            version: None,
            created,
            after: None,
            notes: None,
            limits: BTreeMap::new(),
            competitions,
            path: PathBuf::new(),
            sha256: String::new(),
        }
    }

    /// Reads a suite.
    ///
    /// # Errors
    /// The file cannot be read, or says what it must not, with the line.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let unreadable = |source| SpecError::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        let file = |text| TomlText { text, path };
        if size > LARGEST {
            let problem = format!("it has {size} bytes, expected at most {LARGEST}");
            return Err(file("").error(&[], problem));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut suite: Self = file(&text).parse()?;
        suite.path = path.to_owned();
        suite.sha256 = hex::encode(Sha256::digest(text.as_bytes()));
        suite.check().map_err(|(keys, problem)| file(&text).error(keys, problem))?;
        Ok(suite)
    }

    fn check(&self) -> Result<(), (&'static [&'static str], String)> {
        if self.format.split_once('.').is_none_or(|(major, _)| major != "1") {
            let problem = format!("`format` is `{}`, this program reads 1.x", self.format);
            return Err((&["format"], problem));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 100 || !self.name.chars().all(plain) {
            let problem = format!(
                "`name` is `{}`, expected 1 to 100 letters, digits, `-`, `_` or `.`",
                self.name
            );
            return Err((&["name"], problem));
        }
        if self.name.parse::<Suite>().is_ok() {
            let problem = format!("`name` is `{}`, which is a built-in suite", self.name);
            return Err((&["name"], problem));
        }
        if self.competitions.is_empty() {
            return Err((&["competitions"], "`competitions` is empty".to_owned()));
        }
        for (at, entry) in self.competitions.iter().enumerate() {
            if self.competitions[..at].iter().any(|before| before.id == entry.id) {
                return Err((&["competitions"], format!("`{}` is there twice", entry.id)));
            }
            let is_hash = |hash: &&String| {
                hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            if let Some((what, hash)) = entry.sha256.iter().find(|(_, hash)| !is_hash(hash)) {
                let problem = format!(
                    "`sha256.{what}` of `{}` is `{hash}`, expected 64 hexadecimal digits",
                    entry.id
                );
                return Err((&["competitions"], problem));
            }
        }
        Ok(())
    }

    /// The file's text.
    ///
    /// # Errors
    /// A limit is a value that TOML cannot have in a table, which none that was read is.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of the file: which suite this is.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its limits as they would be typed.
    pub fn limits(&self) -> impl Iterator<Item = (&str, String)> {
        self.limits.iter().map(|(key, value)| {
            let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.as_str(), word)
        })
    }

    /// In what the competitions here are not those that the suite means. Data are compared where they
    /// are prepared, if `data_dir` is given.
    ///
    /// # Errors
    /// The record of a preparation is damaged.
    pub fn differences(
        &self,
        catalogue: &Catalogue,
        data_dir: Option<&Path>,
    ) -> Result<Vec<SuiteDifference>, PrepareError> {
        let mut found = Vec::new();
        for entry in &self.competitions {
            let mut differs = |what: &str, expected: &str, here: &str| {
                if expected != here {
                    found.push(SuiteDifference {
                        id: entry.id.clone(),
                        what: what.to_owned(),
                        expected: expected.to_owned(),
                        found: here.to_owned(),
                    });
                }
            };
            let Ok(spec) = catalogue.get(entry.id.as_str()) else {
                differs("the competition", "in the catalogue", "not there");
                continue;
            };
            if entry.sha256.is_empty() {
                differs("its version", "not pinned", "here");
                continue;
            }
            let here = spec.sha256();
            for name in
                here.keys().chain(entry.sha256.keys().filter(|key| !here.contains_key(*key)))
            {
                let none = "not there".to_owned();
                let of =
                    |hashes: &BTreeMap<String, String>| hashes.get(name).unwrap_or(&none).clone();
                if name != DATA {
                    differs(name, &of(&entry.sha256), &of(&here));
                }
            }
            let Some(data_dir) = data_dir else { continue };
            let Some((edition, data)) = prepared(&entry.id, data_dir)? else { continue };
            if let Some(expected) = &entry.edition {
                differs("edition", expected, &edition);
            }
            if let (Some(expected), Some(data)) = (entry.sha256.get(DATA), data) {
                differs(DATA, expected, &data);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> SuiteEntry {
        let catalogue = Catalogue::embedded().unwrap();
        let none = tempfile::tempdir().unwrap();
        SuiteEntry::of(catalogue.get(id).unwrap(), none.path()).unwrap()
    }

    fn written(suite: &SuiteFile) -> Result<SuiteFile, String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("suite.toml");
        std::fs::write(&path, suite.to_toml().unwrap()).unwrap();
        SuiteFile::read(&path).map_err(|error| error.to_string())
    }

    fn suite() -> SuiteFile {
        let day = "2026-06-01".parse().unwrap();
        let mut suite = SuiteFile::new("mine", day, vec![entry("demo-bikes"), entry("AI4Code")]);
        suite.limits.insert("timeout".to_owned(), toml::Value::String("24h".to_owned()));
        suite.limits.insert("seeds".to_owned(), toml::Value::Integer(3));
        suite
    }

    #[test]
    fn a_suite_is_read_as_it_was_written() {
        let (made, read) = (suite(), written(&suite()).unwrap());
        assert_eq!(made.to_toml().unwrap(), read.to_toml().unwrap());
        assert_eq!(read.sha256().len(), 64);
        let limits: Vec<(&str, String)> = read.limits().collect();
        assert_eq!(limits, [("seeds", "3".to_owned()), ("timeout", "24h".to_owned())]);
        let catalogue = Catalogue::embedded().unwrap();
        assert_eq!(read.differences(&catalogue, None).unwrap(), []);
    }

    #[test]
    fn what_differs_is_named() {
        let catalogue = Catalogue::embedded().unwrap();
        let mut other = suite();
        let zero = "0".repeat(64);
        other.competitions[0].sha256.insert("leaderboard.csv".to_owned(), zero);
        other.competitions[1].id = "no-such-competition".parse().unwrap();
        let found = written(&other).unwrap().differences(&catalogue, None).unwrap();
        let told: Vec<(&str, &str)> =
            found.iter().map(|found| (found.id.as_str(), found.what.as_str())).collect();
        assert_eq!(
            told,
            [("demo-bikes", "leaderboard.csv"), ("no-such-competition", "the competition")]
        );
        assert!(found[0].to_string().contains("the suite says 000000000000"), "{}", found[0]);
        let mut open = suite();
        open.competitions[0].sha256.clear();
        let found = written(&open).unwrap().differences(&catalogue, None).unwrap();
        assert_eq!(found[0].what, "its version");
    }

    #[test]
    fn what_no_suite_may_say_is_refused() {
        let refused = |change: &dyn Fn(&mut SuiteFile)| {
            let mut suite = suite();
            change(&mut suite);
            written(&suite).unwrap_err()
        };
        assert!(refused(&|suite| suite.name = "lite".into()).contains("is a built-in suite"));
        assert!(refused(&|suite| suite.name = "a b".into()).contains("`name` is `a b`"));
        assert!(refused(&|suite| suite.format = "2.0".into()).contains("reads 1.x"));
        assert!(refused(&|suite| suite.competitions.clear()).contains("empty"));
        let twice = |suite: &mut SuiteFile| suite.competitions.push(entry("AI4Code"));
        assert!(refused(&twice).contains("`AI4Code` is there twice"));
        let bad = |suite: &mut SuiteFile| {
            suite.competitions[0].sha256.insert("data".to_owned(), "xyz".to_owned());
        };
        assert!(refused(&bad).contains("expected 64 hexadecimal digits"));
        assert!(is_suite_file("suites/a") && is_suite_file("a.toml") && !is_suite_file("low"));
    }
}
