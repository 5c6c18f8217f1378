//! Counts how often intervals hold the truth: `cargo run --release -p medalist-stats
//! --example coverage -- [RUNS]`. Fails if an interval that is not called rough, in a design where
//! most are not, holds it less than 93 or more than 97 times in 100 (98 for a difference where
//! nothing changed, which errs on the safe side). Two standard errors of the count are allowed.

use std::process::ExitCode;

use medalist_stats::simulate::coverage::{Design, QUESTIONS};
use rayon::prelude::*;

fn main() -> ExitCode {
    let runs = std::env::args().nth(1).map_or(20_000, |runs| runs.parse().unwrap_or(20_000));
    let designs = Design::all();
    let counts: Vec<_> = designs.par_iter().map(|design| design.cover(runs)).collect();
    println!("| design | {} |", QUESTIONS.join(" | "));
    println!("| --- |{}", " ---: |".repeat(QUESTIONS.len()));
    let mut outside = 0;
    for (design, counts) in designs.iter().zip(&counts) {
        let cells: Vec<String> = counts
            .iter()
            .zip(QUESTIONS)
            .map(|(count, question)| {
                if count.sure_share() < 0.5 {
                    return "rough".to_owned();
                }
                let most = if question.starts_with("no change") { 0.98 } else { 0.97 };
                let error = |share: f64| 2.0 * (share * (1.0 - share) / count.sure as f64).sqrt();
                let good = (0.93 - error(0.93)..=most + error(most)).contains(&count.coverage());
                outside += usize::from(!good);
                format!("{:.1}{}", count.coverage() * 100.0, if good { "" } else { " !" })
            })
            .collect();
        println!("| {design} | {} |", cells.join(" | "));
    }
    println!("\n{outside} outside 93 to 97 of {}", designs.len() * QUESTIONS.len());
    if outside == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
