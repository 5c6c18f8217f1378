//! Validation by public facts, beside grading by the answers, over the golden submissions.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, METRICS, PublicFacts, Verdict};
use serde::Deserialize;
use support::{entry_of, repository};

#[derive(Deserialize)]
struct Case {
    case: String,
    submission: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    grading: GradingSpec,
}

/// Golden submissions that are graded and yet not valid, since what saves them is not public.
const STRICTER: &[(&str, &str, &str)] = &[
    (
        "jigsaw-toxic-comment-classification-challenge",
        "quirk_nan_in_skipped_rows",
        "which comments are not graded is not public",
    ),
    ("osic-pulmonary-fibrosis-progression", "edge_scored_rows_only", SCORED_WEEKS),
    ("osic-pulmonary-fibrosis-progression", "quirk_one_row_repeated", SCORED_WEEKS),
    ("osic-pulmonary-fibrosis-progression", "quirk_only_best_row", SCORED_WEEKS),
    (
        "ventilator-pressure-prediction",
        "quirk_blank_expiratory_rows",
        "which rows are graded is told by a column of the answers",
    ),
];
const SCORED_WEEKS: &str = "which weeks are graded is not public";

/// Golden submissions that are valid and yet not graded, since what fails them is not public.
const LAXER: &[(&str, &str, &str)] = &[];

/// The competitions with golden submissions, and where these are.
fn competitions() -> Vec<(String, PathBuf, Grader)> {
    let folder = std::env::var_os("MEDALIST_GOLDEN")
        .map_or_else(|| repository().join("tests/golden/grading"), PathBuf::from);
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("cases.json").is_file());
    folders.sort();
    let competition = |folder: PathBuf| {
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let entry: Entry = toml::from_str(&fs::read_to_string(entry_of(&folder)).unwrap()).unwrap();
        (id, folder, Grader::new(entry.grading).unwrap())
    };
    folders.into_iter().map(competition).collect()
}

fn submissions(folder: &Path) -> BTreeMap<String, PathBuf> {
    let cases: Vec<Case> =
        serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let path = |case: &Case| {
        folder.join(case.submission.clone().unwrap_or_else(|| format!("{}.csv", case.case)))
    };
    cases.iter().map(|case| (case.case.clone(), path(case))).collect()
}

#[test]
fn every_metric_has_golden_submissions() {
    let covered: BTreeSet<&str> =
        competitions().iter().map(|(_, _, grader)| grader.metric().name).collect();
    let all: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    // A program of the competition's author is tested beside the metric.
    assert_eq!(all.difference(&covered).copied().collect::<Vec<_>>(), ["command"]);
}

#[test]
fn validation_differs_from_grading_only_where_truth_decides() {
    let (mut stricter, mut laxer) = (BTreeMap::new(), BTreeMap::new());
    for (id, folder, grader) in competitions() {
        let facts = PublicFacts::read(&folder.join("sample.csv")).unwrap();
        let answers = ["answers.csv", "answers.jsonl"].map(|name| folder.join(name));
        let answers = answers.iter().find(|path| path.is_file()).unwrap();
        let answers = grader.read_answers(answers).unwrap();
        for (case, path) in submissions(&folder) {
            let limits = Limits::default();
            let valid = grader.validate_file(&path, &facts, &limits).unwrap();
            let graded = grader.grade_file(&path, &answers, &limits).unwrap().verdict;
            match (graded, valid) {
                (Verdict::Scored(_), Err(invalid)) => {
                    stricter.insert((id.clone(), case), invalid.to_string());
                }
                (Verdict::Invalid(invalid), Ok(())) => {
                    laxer.insert((id.clone(), case), invalid.to_string());
                }
                _ => {}
            }
        }
    }
    let unexplained = |found: BTreeMap<(String, String), String>, known: &[(&str, &str, &str)]| {
        let mut found = found;
        found.retain(|(id, case), _| !known.iter().any(|known| known.0 == id && known.1 == case));
        found
    };
    if std::env::var_os("MEDALIST_GOLDEN").is_none() {
        for (known, found) in [(STRICTER, &stricter), (LAXER, &laxer)] {
            for (id, case, why) in known {
                let key = ((*id).to_owned(), (*case).to_owned());
                assert!(found.contains_key(&key), "{id} {case} no longer differs ({why})");
            }
        }
    }
    let (stricter, laxer) = (unexplained(stricter, STRICTER), unexplained(laxer, LAXER));
    assert!(stricter.is_empty() && laxer.is_empty(), "stricter: {stricter:#?}\nlaxer: {laxer:#?}");
}
