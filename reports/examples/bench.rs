//! Times a report with all its files on made-up groups: `cargo run --profile fast -p medalist-reports --example bench -- 100 75 3`.

use std::error::Error;
use std::time::Instant;

use chrono::Utc;
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::export::{self, Format};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::Reading;
use medalist_reports::simulate::Simulation;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(Ok(default), |n| n.parse());
    let (groups, competitions, seeds) = (number(1)?, number(75)?, number(3)?);
    let reading = Reading {
        groups: (0..groups)
            .map(|i| {
                Simulation {
                    agent: format!("agent-{i}"),
                    competitions: competitions as usize,
                    seeds: seeds as u32,
                    shift: 0.0,
                    infrastructure: 0.03,
                    truth: 1,
                    draw: i,
                }
                .group()
            })
            .collect(),
        warnings: Vec::new(),
    };
    let options = ReportOptions { title: "Bench".to_owned(), generated_at: Utc::now(), seed_rule: SeedRule::default() };
    let start = Instant::now();
    let data = ReportData::compute(&reading, &(), &options);
    println!("computed {} attempts in {:.3} s", data.attempts.len(), start.elapsed().as_secs_f64());
    let dir = std::env::temp_dir().join("medalist-bench-report");
    for format in Format::ALL {
        let start = Instant::now();
        let written = export::write(&dir, &data, &[format])?;
        let bytes: u64 = written.iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
        println!(
            "{:<9} {:.3} s, {bytes} bytes in {} files",
            format.name(),
            start.elapsed().as_secs_f64(),
            written.len()
        );
    }
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown"));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
