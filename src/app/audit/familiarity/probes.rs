//! What a model is asked of a competition, and what counts as known.

use std::path::PathBuf;

use medalist_competitions::{CompetitionSpec, Identity, obfuscate};
use medalist_llm::ask::Question;
use medalist_reports::stats::{Rng, SEED};
use serde::Serialize;
use serde_json::Value;

use super::super::ask::unfenced;
use super::table;
use crate::app::boards::Board;

/// Tokens that an answer may have: a model that thinks needs some before it says anything.
const ANSWER: u32 = 2_048;
/// Columns and rows that are asked for.
const COLUMNS: usize = 8;
const ROWS: usize = 20;
/// Parts of a brief from which the name is asked for, beside the whole.
const PARTS: usize = 4;
/// The least characters of such a part.
const PART: usize = 300;
/// How far a figure may be off, as a share of it.
const OFF: f64 = 0.01;
/// How much of a name must be right.
const LIKE: f64 = 0.85;

/// What is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The competition's name, from its obfuscated brief.
    Name,
    /// What the best solutions did.
    Solutions,
    /// How many teams there were, and the best score.
    Leaderboard,
    /// Statistics of columns of the training data.
    Columns,
    /// The second half of rows of the test data.
    Rows,
    /// The words of the description, one after the other.
    Text,
}

impl Probe {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Name, Self::Solutions, Self::Leaderboard, Self::Columns, Self::Rows, Self::Text];

    /// Its name, as in JSON.
    pub fn id(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Solutions => "solutions",
            Self::Leaderboard => "leaderboard",
            Self::Columns => "columns",
            Self::Rows => "rows",
            Self::Text => "text",
        }
    }
}

/// A competition that a model is asked about.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) spec: &'a CompetitionSpec,
    pub(super) identity: Identity,
    /// Who wrote the brief, and its text.
    pub(super) brief: Option<(&'static str, String)>,
    pub(super) board: Option<Board>,
    /// The prepared public data.
    pub(super) public: PathBuf,
}

/// What an answer is held against.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Truth {
    /// The competition's name.
    Name,
    /// Figures by their keys in the answer's JSON.
    Figures(Vec<(&'static str, f64)>),
    /// The rest of a row.
    Rest(String),
}

/// One question and what would be right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trial {
    pub(super) question: Question,
    pub(super) truth: Truth,
}

impl Subject<'_> {
    /// The questions of a probe.
    ///
    /// # Errors
    /// In words, why it cannot be measured.
    pub(super) fn trials(&self, probe: Probe) -> Result<Vec<Trial>, String> {
        match probe {
            Probe::Name => self.names(),
            Probe::Solutions => {
                Err("no text of a solution is at hand to hold an answer against".to_owned())
            }
            Probe::Leaderboard => self.leaderboard(),
            Probe::Columns => self.columns(),
            Probe::Rows => self.rows(),
            Probe::Text => Err("the text is not asked for but completed".to_owned()),
        }
    }

    /// The description whose words a model may have read.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(super) fn public_text(&self) -> Result<&str, String> {
        match &self.brief {
            None => Err("there is no description".to_owned()),
            Some(("catalogue", _)) => {
                Err("the brief is medalist's own, which no model has read as Kaggle's; import MLE-bench's".to_owned())
            }
            Some((_, text)) => Ok(text),
        }
    }

    fn names(&self) -> Result<Vec<Trial>, String> {
        let (_, brief) = self.brief.as_ref().ok_or("there is no description")?;
        let text = obfuscate(brief, &self.identity).text;
        let mut parts: Vec<&str> = vec![&text];
        let sections = text.split("\n## ").filter(|part| part.chars().count() >= PART);
        parts.extend(sections.take(PARTS));
        parts.dedup();
        let trial = |part: &str| Trial {
            question: question(
                "You are shown the description of a machine-learning competition, or a part of it, in which names are replaced. \
                 Say which competition it is, if you recognise it. Answer with one JSON object: {\"name\": TEXT}, or {\"name\": null} \
                 if you do not know it. Do not guess from the topic alone.",
                part.to_owned(),
            ),
            truth: Truth::Name,
        };
        Ok(parts.into_iter().map(trial).collect())
    }

    fn leaderboard(&self) -> Result<Vec<Trial>, String> {
        let board = self.board.as_ref().ok_or("the catalogue has no leaderboard of it")?;
        let mut figures = Vec::new();
        figures.extend(board.n_teams.map(|teams| ("teams", teams as f64)));
        let scores = board.leaderboard.as_ref().map(|board| board.scores());
        figures.extend(scores.and_then(<[f64]>::first).map(|best| ("best_score", *best)));
        if figures.is_empty() {
            return Err("the catalogue has no leaderboard of it".to_owned());
        }
        let what = format!(
            "The competition is \"{}\" on Kaggle ({}). How many teams are on its final private leaderboard, and what is the best \
             private score?",
            self.spec.title, self.spec.id
        );
        let rule = "You are asked for figures that you may remember. Answer with one JSON object: {\"teams\": NUMBER or null, \
                    \"best_score\": NUMBER or null}; null stands for what you do not know.";
        Ok(vec![Trial { question: question(rule, what), truth: Truth::Figures(figures) }])
    }

    fn columns(&self) -> Result<Vec<Trial>, String> {
        let table = table::find(&self.public, &["train.csv"]).ok_or("there is no `train.csv`")?;
        let columns = table::columns(&table, COLUMNS)?;
        let rule = "You are asked for statistics of a column that you may remember. Answer with one JSON object: {\"mean\": NUMBER or null, \
                    \"min\": NUMBER or null, \"max\": NUMBER or null, \"distinct\": NUMBER or null}; null stands for what you do not know.";
        let trial = |column: &table::Column| Trial {
            question: question(
                rule,
                format!(
                    "The competition is \"{}\" on Kaggle ({}). Its `train.csv` has a column `{}`. What are its mean, its smallest and \
                     its largest value, and how many different values has it?",
                    self.spec.title, self.spec.id, column.name
                ),
            ),
            truth: Truth::Figures(vec![
                ("mean", column.mean),
                ("min", column.min),
                ("max", column.max),
                ("distinct", column.distinct),
            ]),
        };
        Ok(columns.iter().map(trial).collect())
    }

    fn rows(&self) -> Result<Vec<Trial>, String> {
        let path = table::find(&self.public, &["test.csv", "train.csv"])
            .ok_or("there is neither a `test.csv` nor a `train.csv`")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let seed = self
            .spec
            .id
            .as_str()
            .bytes()
            .fold(SEED, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let (header, rows) = table::rows(&path, ROWS, &mut Rng::new(seed))
            .map_err(|why| format!("`{name}`: {why}"))?;
        let rule = "You are shown the first fields of a row of a CSV file that you may remember, and are to write the rest of the row, exactly. \
                    Answer with the missing fields alone, separated by commas, on one line.";
        let trial = |row: &table::Row| Trial {
            question: question(
                rule,
                format!(
                    "The file is `{name}` of the competition \"{}\" on Kaggle ({}).\n{header}\n{}",
                    self.spec.title, self.spec.id, row.shown
                ),
            ),
            truth: Truth::Rest(row.rest.clone()),
        };
        Ok(rows.iter().map(trial).collect())
    }

    /// Whether a text names the competition.
    pub(super) fn is_named_by(&self, name: &str) -> bool {
        let plain = |text: &str| -> String {
            text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let said = plain(name);
        if said.is_empty() {
            return false;
        }
        let names = std::iter::once(&self.identity.title).chain(&self.identity.ids);
        names.map(|name| plain(name)).any(|name| {
            said == name
                || (name.len() >= 10 && said.contains(&name))
                || strsim::normalized_levenshtein(&said, &name) >= LIKE
        })
    }
}

fn question(rule: &str, user: String) -> Question {
    Question { system: rule.to_owned(), user, answer_tokens: ANSWER }
}

/// The name that an answer gives; `None` if it gives none.
pub(super) fn name_in(answer: &str) -> Option<String> {
    let value: Value = serde_json::from_str(unfenced(answer)).ok()?;
    value.get("name")?.as_str().map(str::to_owned)
}

/// A figure that an answer gives under a key.
pub(super) fn figure_in(answer: &str, key: &str) -> Option<f64> {
    let value: Value = serde_json::from_str(unfenced(answer)).ok()?;
    value.get(key)?.as_f64()
}

/// Whether a figure is right.
pub(super) fn is_near(figure: f64, truth: f64) -> bool {
    (figure - truth).abs() <= OFF * truth.abs()
}

/// The rest of a row that an answer gives, of which the beginning may be said again.
pub(super) fn rest_in<'a>(answer: &'a str, shown: &str) -> &'a str {
    let line = unfenced(answer).lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = line.trim();
    line.strip_prefix(shown).unwrap_or(line)
}

/// How alike two texts are, from 0 to 1: one less the share of characters to be changed.
pub(super) fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_levenshtein(a, b)
}

#[cfg(test)]
mod tests {
    use medalist_competitions::Catalogue;

    use super::*;

    #[test]
    fn a_name_may_be_written_in_many_ways() {
        let catalogue = Catalogue::embedded().unwrap();
        let spec = catalogue.get("spaceship-titanic").unwrap();
        let subject = Subject {
            spec,
            identity: Identity::of(spec, std::path::Path::new("/nonexistent")),
            brief: None,
            board: None,
            public: PathBuf::new(),
        };
        for name in [
            "Spaceship Titanic",
            "spaceship-titanic",
            "Kaggle's Spaceship Titanic",
            "Spaceship Titanik",
        ] {
            assert!(subject.is_named_by(name), "{name}");
        }
        for name in ["Titanic", "", "Titanic - Machine Learning from Disaster", "spaceship"] {
            assert!(!subject.is_named_by(name), "{name}");
        }
        assert!(
            subject.trials(Probe::Solutions).is_err() && subject.trials(Probe::Columns).is_err()
        );
    }

    #[test]
    fn answers_are_read_and_anything_else_is_no_knowledge() {
        assert_eq!(name_in("```json\n{\"name\": \"X\"}\n```").as_deref(), Some("X"));
        for none in ["{\"name\": null}", "X", "{}", "[1]"] {
            assert_eq!(name_in(none), None, "{none}");
        }
        assert_eq!(figure_in("{\"mean\": 1.5, \"min\": null}", "mean"), Some(1.5));
        assert_eq!(figure_in("{\"mean\": 1.5, \"min\": null}", "min"), None);
        assert_eq!(rest_in("\n a,b,c,d \nmore", "a,b,"), "c,d");
        assert_eq!(rest_in("c,d", "a,b,"), "c,d");
        assert!(
            is_near(100.9, 100.0)
                && !is_near(102.0, 100.0)
                && is_near(0.0, 0.0)
                && !is_near(0.1, 0.0)
        );
    }
}
