//! Writes the pages of made-up agents into a folder: `cargo run -p medalist-reports --example page
//! -- DIR COMPETITIONS SEEDS AGENTS`.

use std::error::Error;
use std::path::PathBuf;

use chrono::Utc;
use medalist_reports::compare::{Gate, compare};
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::export::{self, Format};
use medalist_reports::history::History;
use medalist_reports::html;
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::plots::{self, Theme};
use medalist_reports::read::Reading;
use medalist_reports::simulate::Simulation;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "medalist-report".to_owned()));
    let competitions = args.next().map_or(Ok(75), |n| n.parse())?;
    let seeds = args.next().map_or(Ok(3), |n| n.parse())?;
    let agents: u64 = args.next().map_or(Ok(2), |n| n.parse())?;
    let agent = |agent: &str, shift, draw| Simulation {
        agent: agent.to_owned(),
        competitions,
        seeds,
        shift,
        infrastructure: 0.03,
        truth: 1,
        draw,
    };
    let (before, after) = (agent("baseline", 0.0, 2), agent("candidate", 0.08, 3));
    let mut groups = vec![before.group(), after.group()];
    for more in 2..agents {
        groups.push(agent(&format!("agent-{more}"), 0.02 * more as f64 - 0.2, more + 10).group());
    }
    let reading = Reading { groups, warnings: Vec::new() };
    let options = ReportOptions {
        title: format!("{agents} agents"),
        generated_at: Utc::now(),
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    let data = ReportData::compute(&reading, &(), &options);
    export::write(&dir, &data, &[Format::Html, Format::Pages, Format::Png], &())?;
    let comparison = compare(&before.reading(), &after.reading(), Gate::default())?;
    std::fs::write(dir.join("comparison.html"), html::comparison_page(&comparison)?)?;
    std::fs::write(
        dir.join("difference.png"),
        plots::difference(&comparison)?.to_png(Theme::Light)?,
    )?;
    let groups = (0..12).map(|draw| {
        agent(if draw % 2 == 0 { "baseline" } else { "candidate" }, 0.0, draw * 17).group()
    });
    let history = History::of(&Reading { groups: groups.collect(), warnings: Vec::new() });
    if let Some(plot) = plots::history(&history)? {
        std::fs::write(dir.join("history.svg"), plot.to_file()?)?;
        std::fs::write(dir.join("history.png"), plot.to_png(Theme::Light)?)?;
    }
    Ok(())
}
