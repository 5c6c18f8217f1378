//! Grades a submission by the `[grading]` table of a `competition.toml`:
//!
//! ```text
//! cargo run --release -p medalist-grading --example grade -- competition.toml submission.csv answers.csv
//! ```

use std::error::Error;
use std::path::Path;

use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, Verdict};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [competition, submission, answers] = &arguments[..] else {
        return Err("usage: grade COMPETITION.toml SUBMISSION.csv ANSWERS".into());
    };
    let mut entry: toml::Table = std::fs::read_to_string(competition)?.parse()?;
    let spec: GradingSpec =
        entry.remove("grading").ok_or("the file has no [grading] table")?.try_into()?;
    let grader = Grader::new(spec)?;
    let graded =
        grader.grade_files(Path::new(submission), Path::new(answers), &Limits::default())?;
    match graded.verdict {
        Verdict::Scored(score) => {
            println!("{}: {} ({})", grader.metric().name, score.rounded, score.raw)
        }
        Verdict::Invalid(invalid) => println!("invalid: {invalid}"),
    }
    for issue in graded.strict_issues {
        println!("strict: {issue}");
    }
    Ok(())
}
