//! A score that a program of the competition's author computes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, TryFromFloatSecsError};

use serde::Deserialize;

use super::{Metric, MetricOption, OptionKind};
use crate::invalid::{AnswersError, InvalidKind, InvalidSubmission, Refusal};
use crate::program::Program;
use crate::spec::GradingSpec;
use crate::table::Table;
use crate::task::{Answers, Task};

/// How long a program may take, unless its competition says otherwise.
const TIMEOUT_S: f64 = 600.0;
/// How much memory each of its processes may take, in units of 10^9 bytes.
const MEMORY_GB: f64 = 16.0;

/// The score of a program.
pub static COMMAND: Metric = Metric {
    name: "command",
    aliases: &[],
    summary: "The score that a program of the competition's author prints as JSON.",
    inputs: "whatever the program reads; the checks of the competition's entry are made before it is started",
    source: "the competition's own folder",
    options: &[
        MetricOption {
            name: "command",
            kind: OptionKind::Texts,
            required: true,
            doc: "the program and its arguments; the paths of submission and answers are added",
        },
        MetricOption {
            name: "folder",
            kind: OptionKind::Text,
            required: false,
            doc: "where the program runs; the catalogue sets it to the competition's folder",
        },
        MetricOption {
            name: "timeout_s",
            kind: OptionKind::Number,
            required: false,
            doc: "how long the program may take, in seconds (600)",
        },
        MetricOption {
            name: "memory_gb",
            kind: OptionKind::Number,
            required: false,
            doc: "how much memory each of its processes may take, in 10^9 bytes (16)",
        },
    ],
    validate: |_| Ok(()),
    score: run_program,
};

/// What the program prints: a score, or why the submission has none.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Score(f64),
    Invalid(String),
}

/// Gives the program both tables as they were read, so that it gets well-formed CSV of what was
/// checked.
fn run_program(task: &Task<'_>) -> Result<f64, Refusal> {
    let failed = |message: String| Refusal::from(AnswersError::Program { message });
    let command = task.spec.texts("command");
    let Some(program) = command.first() else {
        return Err(failed("`command` is empty".into()));
    };
    let scratch =
        tempfile::tempdir().map_err(|error| failed(format!("no temporary directory ({error})")))?;
    let copy = |name: &str, table: &Table| {
        let path = scratch.path().join(name);
        File::create(&path)
            .and_then(|file| write_csv(table, BufWriter::new(file)))
            .map(|()| path)
            .map_err(|error| failed(format!("cannot write `{name}` ({error})")))
    };
    let submission = copy("submission.csv", task.submission)?;
    let answers = match task.raw_answers() {
        Answers::Table(table) => copy("answers.csv", table)?,
        Answers::Lines(lines) => lines.path().to_owned(),
    };
    let timeout = timeout(task.spec);
    let timeout = timeout.map_err(|error| failed(format!("`timeout_s` is no time ({error})")))?;
    let memory = (positive(task.spec, "memory_gb", MEMORY_GB) * 1e9) as u64;
    let mut run = Program::new(&command, timeout, memory).argument(&submission).argument(&answers);
    let folder = task.spec.text("folder");
    if let Some(folder) = &folder {
        run = run.folder(Path::new(folder));
    }
    let printed = run.output().map_err(|error| failed(error.to_string()))?;
    let reply = serde_json::from_slice(&printed).map_err(|error| {
        failed(format!("`{program}` printed neither `{{\"score\": NUMBER}}` nor `{{\"invalid\": TEXT}}` ({error})"))
    })?;
    match reply {
        Reply::Score(score) => Ok(score),
        Reply::Invalid(reason) => {
            Err(InvalidSubmission::new(InvalidKind::Undefined, reason).into())
        }
    }
}

/// How long the program of a competition may take.
pub(crate) fn timeout(spec: &GradingSpec) -> Result<Duration, TryFromFloatSecsError> {
    Duration::try_from_secs_f64(positive(spec, "timeout_s", TIMEOUT_S))
}

fn positive(spec: &GradingSpec, key: &str, default: f64) -> f64 {
    spec.number(key).filter(|value| *value > 0.0).unwrap_or(default)
}

/// Writes the table as CSV, quoted where needed.
fn write_csv(table: &Table, mut out: impl Write) -> io::Result<()> {
    let columns: Vec<_> = (0..table.names().len()).map(|index| table.column_at(index)).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| -> io::Result<()> {
        for (index, cell) in cells.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if cell.contains(['"', ',', '\n', '\r']) {
                write!(out, "{comma}\"{}\"", cell.replace('"', "\"\""))?;
            } else {
                write!(out, "{comma}{cell}")?;
            }
        }
        writeln!(out)
    };
    line(&mut table.names().iter().map(String::as_str))?;
    for row in 0..table.rows() {
        line(&mut columns.iter().map(|column| column.raw(row)))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::write_csv;
    use crate::{Answers, GradeError, Grader, GradingSpec, Verdict, table::Limits, table::Table};

    /// Grades `id\n1\n2\n` by a shell program.
    fn graded(script: &str) -> Result<Verdict, GradeError> {
        let spec = toml::from_str::<GradingSpec>(&format!(
            "metric = \"command\"\ndirection = \"higher\"\nid_columns = [\"id\"]\ntarget_columns = []\n\
             options = {{ command = [\"sh\", \"-c\", {script:?}, \"sh\"] }}"
        ));
        let table = |text: &str| Table::parse(text.into(), &Limits::default()).expect("it is CSV");
        let grader = Grader::new(spec.expect("it is a grading table")).expect("the entry is right");
        grader.grade(&table("id\n1\n2\n"), &Answers::Table(table("id\n3\n")))
    }

    #[test]
    fn a_score_is_taken_and_a_refusal_told() {
        let script =
            "read a < \"$1\"; test \"$a\" = id && echo \"{\\\"score\\\": $(tail -n 1 \"$2\")}\"";
        assert_eq!(graded(script).expect("it scores").score().map(|score| score.raw), Some(3.0));
        match graded("echo '{\"invalid\": \"too few rows\"}'") {
            Ok(Verdict::Invalid(invalid)) => assert_eq!(invalid.message, "too few rows"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_program_reads_well_formed_csv() {
        let text = "id,note\r\n\r\n1,\"a \"\"b\"\", c\"\r\n2\r\n";
        let table = Table::parse(text.into(), &Limits::default()).expect("it is CSV");
        let mut written = Vec::new();
        write_csv(&table, &mut written).expect("a list takes all");
        let expected = "id,note\n1,\"a \"\"b\"\", c\"\n2,\n";
        assert_eq!(String::from_utf8(written).as_deref(), Ok(expected));
    }

    #[test]
    fn a_program_that_fails_is_no_fault_of_the_submission() {
        for (script, part) in [
            ("echo oops >&2; exit 3", "oops"),
            ("echo hello", "neither"),
            ("echo '{\"score\": \"high\"}'", "neither"),
        ] {
            match graded(script) {
                Err(GradeError::Answers(error)) => {
                    assert!(error.to_string().contains(part), "{error}")
                }
                other => panic!("{script}: {other:?}"),
            }
        }
    }
}
