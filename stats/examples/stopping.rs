//! Counts how often looks at growing data stop an experiment: `cargo run --release -p
//! medalist-stats --example stopping -- [RUNS]`. Fails if an experiment in which nothing differs
//! is called different more than 5 times in 100; two standard errors of the count are allowed.
//!
//! A difference is the one that the design finds 80 times in 100 with a single test at its end, if
//! attempts vary like a coin's toss, but at most 40 points.

use std::process::ExitCode;

use medalist_stats::simulate::stopping::Design;
use medalist_stats::stopping::Rule;
use rayon::prelude::*;

fn main() -> ExitCode {
    let runs = std::env::args().nth(1).map_or(20_000, |runs| runs.parse().unwrap_or(20_000));
    let designs = Design::all();
    let found: Vec<_> = designs
        .par_iter()
        .map(|design| {
            let rule = Rule { spending: None, ..Rule::default() };
            let seeds = design.looks * design.seeds;
            let can = rule.sensitivity(&[1.0], 1, design.competitions, seeds, 0.25);
            let shift = can.detectable.min(0.4);
            (design.run(runs, 0.0, 1_000), shift, design.run(runs / 4, shift, 1_000))
        })
        .collect();
    println!(
        "| design | false | one test | stages | difference | found | one test | with futility | stages |"
    );
    println!("| --- |{}", " ---: |".repeat(8));
    let mut outside = 0;
    for (design, (none, shift, some)) in designs.iter().zip(&found) {
        let good = none.share() <= 0.05 + 2.0 * (0.05 * 0.95 / none.runs as f64).sqrt();
        outside += usize::from(!good);
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        println!(
            "| {design} | {}{} | {} | {} | {} | {} | {} | {} | {} |",
            percent(none.share()),
            if good { "" } else { " !" },
            percent(none.fixed_share()),
            percent(none.stages),
            percent(*shift),
            percent(some.share()),
            percent(some.fixed_share()),
            percent(some.futility_share()),
            percent(some.stages),
        );
    }
    println!("\n{outside} of {} beyond 5%", designs.len());
    if outside == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
