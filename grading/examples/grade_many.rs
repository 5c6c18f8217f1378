//! Grades many submissions in one go, which `scripts/differential` does by the thousand:
//!
//! ```text
//! cargo run --release -p medalist-grading --example grade_many -- competitions/catalog < list > verdicts
//! ```
//!
//! Each line of the list is a competition's id, a submission and its answers, separated by tabs. Each
//! line of the output is a JSON object, in the same order.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, Verdict};
use rayon::prelude::*;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let catalogue = std::env::args().nth(1).ok_or("usage: grade_many CATALOGUE < LIST")?;
    let lines: Vec<String> = stdin().lock().lines().collect::<Result<_, _>>()?;
    let mut graders: HashMap<&str, Grader> = HashMap::new();
    let mut jobs = Vec::with_capacity(lines.len());
    for line in &lines {
        let mut fields = line.split('\t');
        let (Some(id), Some(submission), Some(answers)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("`{line}` is not an id, a submission and its answers").into());
        };
        if !graders.contains_key(id) {
            graders.insert(id, grader(&Path::new(&catalogue).join(id))?);
        }
        jobs.push((id, submission, answers));
    }
    let verdicts: Vec<Value> = jobs
        .par_iter()
        .map(|&(id, submission, answers)| verdict(&graders[id], submission, answers))
        .collect();
    let mut out = stdout().lock();
    for verdict in verdicts {
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}

fn grader(folder: &Path) -> Result<Grader, Box<dyn Error>> {
    let mut entry: toml::Table =
        std::fs::read_to_string(folder.join("competition.toml"))?.parse()?;
    let spec: GradingSpec =
        entry.remove("grading").ok_or("the file has no [grading] table")?.try_into()?;
    Ok(Grader::new(spec)?)
}

fn verdict(grader: &Grader, submission: &str, answers: &str) -> Value {
    match grader.grade_files(Path::new(submission), Path::new(answers), &Limits::default()) {
        // Numbers go as texts, since JSON has no NaN.
        Ok(graded) => match graded.verdict {
            Verdict::Scored(score) => json!({
                "valid": true,
                "raw": score.raw.to_string(),
                "score": score.rounded.to_string(),
                "strict": graded.strict_issues.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
            Verdict::Invalid(invalid) => json!({
                "valid": false, "message": invalid.to_string(), "row": invalid.row,
            }),
        },
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}
