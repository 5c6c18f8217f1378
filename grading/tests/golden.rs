//! Grades the golden submissions and compares with the reference's scores.
//!
//! The sample in `tests/golden/grading` is always run. `MEDALIST_GOLDEN=DIR` runs another
//! collection of the same shape, and `MEDALIST_GOLDEN_IDS=a,b` only some of its competitions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, Verdict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    case: String,
    valid: bool,
    score: Option<f64>,
    raw_score: Option<f64>,
    #[serde(default)]
    nan: bool,
    special: Option<String>,
    submission: Option<String>,
    answers: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    grading: toml::Table,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn grader(id: &str) -> Option<Grader> {
    let path = repository().join("competitions/catalog").join(id).join("competition.toml");
    let entry: Entry = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    if entry.grading["metric"].as_str() == Some("unset") {
        return None;
    }
    let spec: GradingSpec =
        entry.grading.try_into().unwrap_or_else(|error| panic!("{id}: {error}"));
    Some(Grader::new(spec).unwrap_or_else(|error| panic!("{id}: {error}")))
}

/// What is wrong with the verdict on a case, if anything.
fn fault(id: &str, case: &Case, folder: &Path, answers: &Path, grader: &Grader) -> Option<String> {
    let submission =
        folder.join(case.submission.clone().unwrap_or_else(|| format!("{}.csv", case.case)));
    let answers =
        case.answers.as_ref().map_or_else(|| answers.to_owned(), |name| folder.join(name));
    let graded = match grader.grade_files(&submission, &answers, &Limits::default()) {
        Ok(graded) => graded,
        Err(error) => return Some(format!("error: {error:?}")),
    };
    let score = match graded.verdict {
        Verdict::Invalid(invalid) if case.valid => return Some(format!("invalid: {invalid}")),
        Verdict::Invalid(_) => return None,
        Verdict::Scored(score) if !case.valid => {
            return Some(format!("score {}, expected a refusal", score.raw));
        }
        Verdict::Scored(score) => score,
    };
    if case.nan || case.special.is_some() {
        let expected = case.special.as_deref().unwrap_or("NaN");
        return (score.raw.to_string() != expected)
            .then(|| format!("score {}, expected {expected}", score.raw));
    }
    let (raw, rounded) = (case.raw_score.unwrap(), case.score.unwrap());
    // The arc cosine near 1 turns the last bit of a sine into 1e-8.
    let tolerance = if id == "icecube-neutrinos-in-deep-ice" { 1e-7 } else { 1e-9 };
    let close = (score.raw - raw).abs() <= tolerance * raw.abs().max(1.0)
        && (score.rounded - rounded).abs() < 1.1e-5;
    (!close).then(|| format!("score {} ({}), expected {raw} ({rounded})", score.raw, score.rounded))
}

#[test]
fn golden_submissions_score_as_the_reference_says() {
    let folder = std::env::var_os("MEDALIST_GOLDEN")
        .map_or_else(|| repository().join("tests/golden/grading"), PathBuf::from);
    let only = std::env::var("MEDALIST_GOLDEN_IDS").ok();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let (mut cases_run, mut faults, mut unset) = (0, BTreeMap::new(), Vec::new());
    for folder in folders {
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if !folder.join("cases.json").is_file()
            || only.as_ref().is_some_and(|only| !only.split(',').any(|o| o == id))
        {
            continue;
        }
        let Some(grader) = grader(&id) else {
            unset.push(id);
            continue;
        };
        let read = |name: &str| -> Vec<Case> {
            serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
        };
        let mut cases = read("cases.json");
        if folder.join("cases_alt.json").is_file() {
            cases.extend(read("cases_alt.json"));
        }
        let answers = ["answers.csv", "answers.jsonl"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.is_file());
        let answers = answers.unwrap_or_else(|| folder.join("answers.csv"));
        for case in &cases {
            cases_run += 1;
            if let Some(fault) = fault(&id, case, &folder, &answers, &grader) {
                faults
                    .entry(id.clone())
                    .or_insert_with(Vec::new)
                    .push(format!("{}: {fault}", case.case));
            }
        }
    }
    println!("{cases_run} cases, {} competitions with faults, {} unset", faults.len(), unset.len());
    assert!(cases_run > 0, "no cases in {}", folder.display());
    assert!(faults.is_empty(), "{faults:#?}");
}
