//! What difference of medal rates suites find 80 times in 100: `cargo run --release -p medalist-stats --example power -- [RUNS]`.

use medalist_stats::simulate::coverage::Rates;
use medalist_stats::simulate::power::Suite;
use rayon::prelude::*;

const SUITES: [(&str, usize); 4] = [("demo", 4), ("open", 12), ("lite", 22), ("all", 75)];
const SEEDS: [usize; 4] = [1, 3, 5, 10];

fn main() {
    let runs = std::env::args().nth(1).map_or(4_000, |runs| runs.parse().unwrap_or(4_000));
    for rates in [Rates::Extreme, Rates::Uniform] {
        println!("| {rates:?} | {} |", SEEDS.map(|seeds| format!("{seeds} seeds")).join(" | "));
        println!("| --- |{}", " ---: |".repeat(SEEDS.len()));
        for (name, competitions) in SUITES {
            let cells: Vec<String> = SEEDS
                .par_iter()
                .map(|&seeds| {
                    let found = Suite { competitions, seeds, rates }.detectable(0.8, 0.05, runs);
                    found.map_or_else(|| "none".to_owned(), |found| format!("{:.0}", found * 100.0))
                })
                .collect();
            println!("| `{name}`, {competitions} | {} |", cells.join(" | "));
        }
    }
}
