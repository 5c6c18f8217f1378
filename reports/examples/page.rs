//! Writes the page of two made-up agents: `cargo run -p medalist-reports --example page -- report.html 75 3`.

use std::error::Error;

use chrono::Utc;
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::html;
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::Reading;
use medalist_reports::simulate::Simulation;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "report.html".to_owned());
    let competitions = args.next().map_or(Ok(75), |n| n.parse())?;
    let seeds = args.next().map_or(Ok(3), |n| n.parse())?;
    let agent = |agent: &str, shift, draw| Simulation {
        agent: agent.to_owned(),
        competitions,
        seeds,
        shift,
        infrastructure: 0.03,
        truth: 1,
        draw,
    };
    let reading = Reading {
        groups: vec![agent("baseline", 0.0, 2).group(), agent("candidate", 0.08, 3).group()],
        warnings: Vec::new(),
    };
    let options =
        ReportOptions { title: "Two agents".to_owned(), generated_at: Utc::now(), seed_rule: SeedRule::default() };
    std::fs::write(path, html::page(&ReportData::compute(&reading, &(), &options))?)?;
    Ok(())
}
