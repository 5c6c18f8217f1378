//! Grades the golden submissions and compares with the reference's scores: a test for each
//! competition of `tests/golden/grading`, or of another collection in `MEDALIST_GOLDEN`.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, Verdict};
use serde::Deserialize;
use support::{entry_of, repository};

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

fn grader(id: &str, folder: &Path) -> Grader {
    let entry: Entry = toml::from_str(&fs::read_to_string(entry_of(folder)).unwrap()).unwrap();
    let spec: GradingSpec =
        entry.grading.try_into().unwrap_or_else(|error| panic!("{id}: {error}"));
    Grader::new(spec).unwrap_or_else(|error| panic!("{id}: {error}"))
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

/// Grades every case of a competition.
fn check(folder: &Path) -> Result<(), Failed> {
    let id = folder.file_name().unwrap().to_str().unwrap();
    let grader = grader(id, folder);
    let mut cases = Vec::<Case>::new();
    for name in ["cases.json", "cases_alt.json"] {
        if let Ok(text) = fs::read_to_string(folder.join(name)) {
            let read: Vec<Case> = serde_json::from_str(&text)?;
            cases.extend(read);
        }
    }
    if cases.is_empty() {
        return Err("it has no cases".into());
    }
    let answers = ["answers.jsonl", "answers.csv"].map(|name| folder.join(name));
    let answers = answers.iter().find(|path| path.is_file()).unwrap_or(&answers[1]);
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let fault = fault(id, case, folder, answers, &grader)?;
            Some(format!("{}: {fault}", case.case))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

fn main() -> ExitCode {
    let root = std::env::var_os("MEDALIST_GOLDEN")
        .map_or_else(|| repository().join("tests/golden/grading"), PathBuf::from);
    let entries = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let folders = entries.map(|entry| entry.unwrap().path());
    let mut trials: Vec<Trial> = folders
        .filter(|folder| folder.join("cases.json").is_file())
        .map(|folder| {
            let id = folder.file_name().unwrap().to_string_lossy().into_owned();
            Trial::test(id, move || check(&folder))
        })
        .collect();
    assert!(!trials.is_empty(), "no competitions in {}", root.display());
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
