//! Whether what grading needs does its work: the answers win, the sample is valid, and both are
//! about the same rows.

use std::collections::HashSet;
use std::path::Path;

use medalist_grading::table::{Limits, Table};
use medalist_grading::{self as grading, Answers, Grader, chain};

use super::{Check, FileProblem, Layer, Subject, counted, failed, not_applicable, passed, skipped};

pub(super) fn checks(subject: &Subject<'_>) -> Vec<Check> {
    let names = ["answers-win", "sample-valid", "ids-agree"];
    let data = &subject.spec.data;
    let none = |detail: &str, files: Vec<FileProblem>| -> Vec<Check> {
        names.map(|name| failed(name, Layer::Grading, detail, files.clone())).into()
    };
    if let Err(error) = Grader::new(subject.spec.grading.clone()) {
        return none(&format!("the competition cannot be graded: {}", chain(&error)), Vec::new());
    }
    let path = subject.spec.answers_path(&subject.prepared);
    let ids_agree = match Answers::read(&path) {
        // Before anything is graded, so that large answers are not held twice.
        Ok(answers) => ids_agree(subject, &answers),
        Err(error) => {
            let files = vec![problem(&data.answers, chain(&error))];
            return none("the answers cannot be read", files);
        }
    };
    let graded = Graded { subject, answers: &path };
    // Both checks are about it, and it is graded once.
    let sample = graded.score(&data.sample_submission);
    vec![graded.answers_win(&sample), graded.sample_valid(&sample), ids_agree]
}

struct Graded<'a> {
    subject: &'a Subject<'a>,
    answers: &'a Path,
}

impl Graded<'_> {
    /// The rounded score of a prepared file, or why it has none.
    fn score(&self, file: &str) -> Result<f64, String> {
        let path = self.subject.prepared.join(file);
        // The prepared folder may be a link; the submission itself must not be one.
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        (self.subject.score)(&path, self.answers)
    }

    /// The answers, or a submission made of them, earn the best medal there is.
    fn answers_win(&self, sample: &Result<f64, String>) -> Check {
        const NAME: &str = "answers-win";
        let (spec, data) = (self.subject.spec, &self.subject.spec.data);
        let file = data.gold_submission.as_ref().unwrap_or(&data.answers);
        let score = match self.score(file) {
            Ok(score) => score,
            Err(why) => {
                let what = "the answers graded against themselves have no score";
                return failed(NAME, Layer::Grading, what, vec![problem(file, why)]);
            }
        };
        let direction = spec.grading.direction;
        let (wins, bar) = match (&spec.thresholds, sample) {
            (Some(thresholds), _) => (
                direction.is_as_good(score, thresholds.gold),
                format!("gold needs {}", thresholds.gold),
            ),
            (None, Ok(sample)) => {
                (direction.is_better(score, *sample), format!("the sample scores {sample}"))
            }
            (None, Err(_)) => {
                return skipped(
                    NAME,
                    Layer::Grading,
                    format!("{score}, with nothing to compare with"),
                );
            }
        };
        match wins {
            true => passed(
                NAME,
                Layer::Grading,
                format!("the answers graded against themselves score {score} ({bar})"),
            ),
            false => {
                let why = format!("scores {score} against the answers; {bar}");
                failed(
                    NAME,
                    Layer::Grading,
                    "the answers graded against themselves do not win",
                    vec![problem(file, why)],
                )
            }
        }
    }

    /// The sample submission is valid by the rule of `medalist validate`.
    fn sample_valid(&self, sample: &Result<f64, String>) -> Check {
        const NAME: &str = "sample-valid";
        let file = &self.subject.spec.data.sample_submission;
        match sample {
            Ok(score) => passed(
                NAME,
                Layer::Grading,
                format!("the sample submission is valid and scores {score}"),
            ),
            Err(why) => failed(
                NAME,
                Layer::Grading,
                "the sample submission is not valid",
                vec![problem(file, why.as_str())],
            ),
        }
    }
}

/// The sample submission asks for the rows that the answers have.
fn ids_agree(subject: &Subject<'_>, answers: &Answers) -> Check {
    const NAME: &str = "ids-agree";
    let (spec, file) = (&subject.spec.grading, &subject.spec.data.sample_submission);
    let Answers::Table(answers) = answers else {
        return not_applicable(NAME, Layer::Grading, "the answers are no table");
    };
    if spec.id_columns.is_empty() {
        return not_applicable(NAME, Layer::Grading, "rows have no names");
    }
    let sample = match Table::read(&subject.prepared.join(file), &Limits::default()) {
        Ok(sample) => sample,
        Err(error) => {
            return failed(
                NAME,
                Layer::Grading,
                "the sample cannot be read",
                vec![problem(file, chain(&error))],
            );
        }
    };
    let (Some(asked), Some(known)) =
        (ids(&sample, &spec.id_columns), ids(answers, spec.answer_ids()))
    else {
        return skipped(NAME, Layer::Grading, "the rows are not named in both files");
    };
    let mut files = Vec::new();
    let mut note = |file: &str, other: &str, ids: &HashSet<String>, in_other: &HashSet<String>| {
        let mut lone: Vec<&String> = ids.difference(in_other).collect();
        lone.sort_unstable();
        if let Some(first) = lone.first() {
            let count = counted(lone.len(), "id");
            files.push(problem(
                file,
                format!("has {count} that `{other}` has not, such as `{}`", shown(first)),
            ));
        }
    };
    let answers_file = &subject.spec.data.answers;
    // Where a submission may have more rows than the answers, the sample usually has.
    if !spec.checks.contains(&grading::Check::IdSuperset) {
        note(file, answers_file, &asked, &known);
    }
    note(answers_file, file, &known, &asked);
    match files.is_empty() {
        true => passed(
            NAME,
            Layer::Grading,
            format!("the sample names all {} of the answers", counted(known.len(), "id")),
        ),
        false => {
            failed(NAME, Layer::Grading, "sample and answers are not about the same rows", files)
        }
    }
}

/// The cells of several columns joined by this are one id.
pub(super) const JOINT: char = '\u{1f}';

fn shown(id: &str) -> String {
    id.replace(JOINT, ", ")
}

/// The distinct ids of a table, if it has those columns.
fn ids(table: &Table, names: &[String]) -> Option<HashSet<String>> {
    let columns: Vec<_> = names.iter().map(|name| table.column(name)).collect::<Option<_>>()?;
    let id = |row: usize| {
        let cells: Vec<&str> = columns.iter().map(|column| column.raw(row)).collect();
        cells.join(&JOINT.to_string())
    };
    (!columns.is_empty()).then(|| (0..table.rows()).map(id).collect())
}

fn problem(file: &str, problem: impl Into<String>) -> FileProblem {
    FileProblem { file: file.to_owned(), problem: problem.into() }
}
