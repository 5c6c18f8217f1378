//! What Kaggle calls its metrics, and which of ours each is.
//!
//! `data/kaggle_metrics.csv` lists the names as Kaggle's listing of competitions writes them; the
//! direction is the listing's own. The column `competitions` counts those of 2010 to 2022 in
//! Kaggle's public table of all competitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use medalist_grading::{Direction, METRICS, Metric};
use serde::Serialize;

use crate::nearest::closest;

/// A metric of Kaggle's.
#[derive(Clone, Debug, Serialize)]
pub struct KaggleMetric {
    /// What it is called; the first is the usual name.
    pub names: Vec<String>,
    /// Ours; none if the catalogue has no such metric.
    pub metric: Option<String>,
    /// Which scores are better.
    pub direction: Direction,
    /// The options that make ours the same.
    pub options: BTreeMap<String, toml::Value>,
    /// Options that the name does not tell.
    pub asks: Vec<String>,
    /// What differs, or what is missing.
    pub note: String,
    /// How many competitions of 2010 to 2022 had it.
    pub competitions: u32,
}

/// A name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kaggle's metric `{name}` is not known here{}", listed(.nearest))]
pub struct UnknownKaggleMetric {
    /// The name.
    pub name: String,
    /// The nearest that are known, nearest first.
    pub nearest: Vec<&'static str>,
}

fn listed(nearest: &[&str]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    format!("; the nearest names are {}", quoted.join(", "))
}

impl KaggleMetric {
    /// Ours, if the catalogue has it.
    pub fn ours(&self) -> Option<&'static Metric> {
        METRICS.iter().copied().find(|metric| Some(metric.name) == self.metric.as_deref())
    }
}

/// All of Kaggle's metrics that are known, those of most competitions first.
pub fn kaggle_metrics() -> &'static [KaggleMetric] {
    static ALL: OnceLock<Vec<KaggleMetric>> = OnceLock::new();
    ALL.get_or_init(|| read(include_str!("../data/kaggle_metrics.csv")))
}

/// Looks a name up. Case, blanks and signs do not count; a number after `@` is the metric's option
/// `k`, and is set in what is returned.
///
/// # Errors
/// [`UnknownKaggleMetric`] with the nearest names.
pub fn kaggle_metric(name: &str) -> Result<KaggleMetric, UnknownKaggleMetric> {
    static PLACES: OnceLock<HashMap<String, usize>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let rows = kaggle_metrics().iter().enumerate();
        rows.flat_map(|(row, metric)| metric.names.iter().map(move |name| (key(name).0, row)))
            .collect()
    });
    let (key, k) = key(name);
    if let Some(&row) = places.get(&key).filter(|_| !key.is_empty()) {
        let mut entry = kaggle_metrics()[row].clone();
        if let Some(k) = k.filter(|_| entry.asks.iter().any(|ask| ask == "k")) {
            entry.options.insert("k".to_owned(), toml::Value::Integer(k));
            entry.asks.retain(|ask| ask != "k");
        }
        return Ok(entry);
    }
    let names = kaggle_metrics().iter().flat_map(|metric| metric.names.iter().map(String::as_str));
    Err(UnknownKaggleMetric { name: name.to_owned(), nearest: closest(name, names, 3) })
}

/// A name without case and signs, and the number that stands for k in it.
fn key(name: &str) -> (String, Option<i64>) {
    let lower = name.trim().to_lowercase();
    let mut k = None;
    let plain = match lower.split_once('@') {
        Some((head, tail)) => {
            let digits: String = tail.chars().filter(char::is_ascii_digit).collect();
            k = digits.parse().ok();
            let rest: String = tail.chars().filter(|c| !c.is_ascii_digit()).collect();
            format!("{head}at{}", if k.is_some() { format!("k{rest}") } else { rest })
        }
        None => lower,
    };
    (plain.chars().filter(|c| c.is_alphanumeric()).collect(), k)
}

fn read(text: &str) -> Vec<KaggleMetric> {
    // The file is ours and a test reads all of it; a row that is not well-formed is left out.
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.records().filter_map(Result::ok);
    rows.filter_map(|row| {
        let listed = |cell: usize, sign: char| {
            let parts = row.get(cell).unwrap_or_default().split(sign);
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<String>>()
        };
        Some(KaggleMetric {
            names: listed(0, '|'),
            metric: row.get(1).filter(|name| !name.is_empty()).map(str::to_owned),
            direction: match row.get(2)? {
                "lower" => Direction::Lower,
                _ => Direction::Higher,
            },
            options: toml::from_str(row.get(3)?).ok()?,
            asks: listed(4, ','),
            note: row.get(5)?.to_owned(),
            competitions: row.get(6)?.parse().ok()?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_names_what_there_is() {
        let lines = include_str!("../data/kaggle_metrics.csv").lines().count();
        assert_eq!(kaggle_metrics().len(), lines - 1);
        let mut seen: HashMap<String, &str> = HashMap::new();
        for row in kaggle_metrics() {
            let first = row.names[0].as_str();
            for name in &row.names {
                let other = seen.insert(key(name).0, first);
                assert!(other.is_none_or(|other| other == first), "{name}: {first}, {other:?}");
            }
            match (&row.metric, row.ours()) {
                (None, _) => assert!(!row.note.is_empty(), "{first}: what is missing?"),
                (Some(name), None) => panic!("{first}: there is no metric `{name}`"),
                (Some(_), Some(metric)) => {
                    for option in row.options.keys().chain(&row.asks) {
                        let known = metric.options.iter().any(|known| known.name == option);
                        assert!(known, "{first}: `{option}` is no option of {}", metric.name);
                    }
                    for option in metric.options.iter().filter(|option| option.required) {
                        let is_told = row.options.contains_key(option.name);
                        let asked = row.asks.iter().any(|ask| ask == option.name);
                        assert!(is_told || asked, "{first}: nothing says `{}`", option.name);
                    }
                }
            }
        }
        assert!(seen.len() >= 120, "{}", seen.len());
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        let metric = |name: &str| kaggle_metric(name).unwrap();
        for name in ["AUC", "area under receiver operating characteristic curve", "ROC-AUC "] {
            assert_eq!(metric(name).metric.as_deref(), Some("roc_auc"), "{name}");
        }
        for (name, k) in [("MAP@5", 5), ("map@ 12", 12), ("MAP@3", 3)] {
            let found = metric(name);
            assert_eq!(found.options["k"].as_integer(), Some(k), "{name}");
            assert!(found.asks.is_empty());
        }
        assert_eq!(metric("MAP@{K}").asks, ["k"]);
        assert_eq!(metric("Root Mean Squared Error").direction, Direction::Lower);
        assert_eq!(metric("Halite").metric, None);
    }

    #[test]
    fn an_unknown_name_has_neighbours() {
        let unknown = kaggle_metric("Root Mean Squred Eror").unwrap_err();
        assert_eq!(unknown.nearest[0], "Root Mean Squared Error");
        assert!(unknown.to_string().contains("nearest names are `Root Mean Squared Error`"));
        assert!(kaggle_metric("").is_err());
    }
}
